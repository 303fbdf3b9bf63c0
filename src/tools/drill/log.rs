//! What happened when. Written by everything that watches, read by [`super::timeline`].

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Serialize;

use crate::error::{Error, Result};

/// A drill that notes more than this is stopped.
const MAX_ENTRIES: usize = 8_000_000;

/// A moment of a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// The server was told to stop.
    Stop,
    /// Its process was gone.
    Gone,
    /// It was started.
    Start,
    /// It answered anything at all.
    FirstAnswer,
    /// It answered with a list.
    FirstList,
    /// It called itself UP.
    Ready,
}

/// One look at all lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Sweep {
    /// Lists that were served.
    pub(super) served: u32,
    /// Lists that were not: refused, an error, no answer in time.
    pub(super) refused: u32,
    /// Of those served: instances of beating clients that are not in them.
    pub(super) missing: u32,
    /// Of those served: instances shown as unhealthy.
    pub(super) unhealthy: u32,
    /// Of those served: lists without a single instance.
    pub(super) empty: u32,
}

impl Sweep {
    /// Whether every list is served and nobody is missing.
    pub(super) fn is_complete(&self) -> bool {
        self.refused == 0 && self.missing == 0 && self.served > 0
    }
}

/// What can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    Mark(Mark),
    Sweep(Sweep),
    /// A beat was not answered with 200, three times.
    BeatFailed,
    /// A beat was answered with code 20404.
    Unknown,
    /// A client registered again.
    Reregistered,
    /// A client could not register again, three times.
    RegistrationFailed,
}

/// An event with its time since the start of the drill.
pub(super) type Entry = (Duration, Event);

/// All events in the order they were noted.
#[derive(Debug)]
pub(super) struct Log {
    start: Instant,
    entries: Mutex<Vec<Entry>>,
    /// Since when all lists are complete.
    complete_since: Mutex<Option<Instant>>,
}

impl Log {
    pub(super) fn new() -> Self {
        Self { start: Instant::now(), entries: Mutex::default(), complete_since: Mutex::default() }
    }

    /// Notes what happened now.
    pub(super) fn note(&self, event: Event) {
        let now = Instant::now();
        if let Event::Sweep(sweep) = event {
            let mut since = self.complete_since.lock();
            *since = if sweep.is_complete() { since.or(Some(now)) } else { None };
        }
        let mut entries = self.entries.lock();
        if entries.len() < MAX_ENTRIES {
            entries.push((now.saturating_duration_since(self.start), event));
        }
    }

    /// Since the start of the drill.
    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// For how long all lists have been complete.
    pub(super) fn complete_for(&self) -> Option<Duration> {
        self.complete_since.lock().map(|since| since.elapsed())
    }

    /// What was noted from `from` on.
    ///
    /// # Errors
    /// [`Error::Limit`] when not everything could be noted.
    pub(super) fn since(&self, from: Duration) -> Result<Vec<Entry>> {
        let entries = self.entries.lock();
        if entries.len() >= MAX_ENTRIES {
            return Err(Error::Limit(
                "more happened than can be noted: fewer --clients, --services or --rounds".into(),
            ));
        }
        Ok(entries.iter().filter(|(at, _)| *at >= from).copied().collect())
    }
}
