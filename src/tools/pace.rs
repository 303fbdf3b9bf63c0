//! When the next request is due.
//!
//! Open loop: request `k` is due at a time that depends on the rate alone. When the server is slow the requests wait
//! here, and their latency counts from when they were due: a stall of the server shows in every request that fell into
//! it, not only in those that happened to be under way (coordinated omission).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// When a load ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Until {
    /// When each connection has gone through its instances once.
    Once,
    /// After this number of requests that count.
    Count(u64),
    /// After this time that counts.
    After(Duration),
}

/// The clockwork of an open loop: request `k` of all is due `k / rate` after the start, and thread `k % threads` sends
/// it. Pure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Schedule {
    /// Requests a second, above 0.
    pub rate: f64,
    /// How many threads send.
    pub threads: u64,
    /// Which one this is.
    pub thread: u64,
    /// How many requests all threads send.
    pub total: u64,
}

impl Schedule {
    /// How many this thread sends in all.
    pub fn share(&self) -> u64 {
        self.up_to(self.total)
    }

    /// When its request `nth` is due, from the start.
    pub fn due(&self, nth: u64) -> Duration {
        self.due_of(nth * self.threads + self.thread)
    }

    /// How many of its requests are due at `elapsed` after the start.
    pub fn due_by(&self, elapsed: Duration) -> u64 {
        // Rounding may be off by one either way.
        let mut all = (elapsed.as_secs_f64() * self.rate) as u64;
        while all > 0 && self.due_of(all - 1) > elapsed {
            all -= 1;
        }
        while self.due_of(all) <= elapsed {
            all += 1;
        }
        self.up_to(all.min(self.total))
    }

    fn due_of(&self, request: u64) -> Duration {
        Duration::from_nanos((request as f64 / self.rate * 1e9) as u64)
    }

    fn up_to(&self, all: u64) -> u64 {
        (all + self.threads - 1).saturating_sub(self.thread) / self.threads
    }
}

/// A request that may be sent now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// From when its latency counts.
    pub due: Instant,
    /// Whether it counts at all (not while warming up).
    pub counts: bool,
}

/// Hands out turns to the connections of one thread.
#[derive(Debug)]
pub struct Pace {
    start: Instant,
    counts_from: Instant,
    /// A closed loop without one.
    open: Option<Open>,
    until: Until,
    stop: Arc<AtomicBool>,
    /// Of [`Until::Count`]: handed out by all threads of a closed loop.
    handed_out: Arc<AtomicU64>,
}

#[derive(Debug)]
struct Open {
    schedule: Schedule,
    /// Nothing is sent after it.
    give_up: Instant,
    due: Semaphore,
    released: AtomicU64,
    taken: AtomicU64,
}

impl Pace {
    /// Of a closed loop; `handed_out` and `stop` are shared by all threads.
    pub fn closed(
        start: Instant,
        warm_up: Duration,
        until: Until,
        handed_out: Arc<AtomicU64>,
        stop: Arc<AtomicBool>,
    ) -> Self {
        Self { start, counts_from: start + warm_up, open: None, until, stop, handed_out }
    }

    /// Of an open loop with that schedule, in which the requests of the warm-up have their place. What has not been sent
    /// `patience` after the last one was due is not sent any more.
    pub fn open(
        start: Instant,
        warm_up: Duration,
        schedule: Schedule,
        patience: Duration,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let give_up = start + schedule.due_of(schedule.total) + patience;
        let (released, taken) = (AtomicU64::new(0), AtomicU64::new(0));
        let open = Open { schedule, give_up, due: Semaphore::new(0), released, taken };
        let (until, handed_out) = (Until::Once, Arc::default());
        Self { start, counts_from: start + warm_up, open: Some(open), until, stop, handed_out }
    }

    /// The next turn, when it is due; `None` at the end.
    pub async fn turn(&self) -> Option<Turn> {
        let Some(open) = &self.open else { return self.at_once(Instant::now()) };
        open.due.acquire().await.ok()?.forget();
        // Nobody else runs on this thread between these two lines.
        let nth = open.taken.load(Ordering::Relaxed);
        if nth >= open.schedule.share() || self.stopped() || Instant::now() >= open.give_up {
            // For the next one who waits.
            open.due.add_permits(1);
            return None;
        }
        open.taken.store(nth + 1, Ordering::Relaxed);
        let due = self.start + open.schedule.due(nth);
        Some(Turn { due, counts: due >= self.counts_from })
    }

    fn at_once(&self, now: Instant) -> Option<Turn> {
        if self.stopped() {
            return None;
        }
        let counts = now >= self.counts_from;
        let more = match self.until {
            Until::Once => true,
            Until::After(time) => now < self.counts_from + time,
            Until::Count(count) => !counts || self.handed_out.fetch_add(1, Ordering::Relaxed) < count,
        };
        more.then_some(Turn { due: now, counts })
    }

    /// Releases what is due at `now`; when to call again, or `None` when everything is released.
    pub fn release(&self, now: Instant) -> Option<Instant> {
        let open = self.open.as_ref()?;
        let share = open.schedule.share();
        let due = open.schedule.due_by(now.saturating_duration_since(self.start)).min(share);
        let before = open.released.swap(due, Ordering::Relaxed);
        // One more at the end lets those who wait see that it is over.
        let end = due == share || self.stopped();
        let more = due.saturating_sub(before) as usize + usize::from(end);
        open.due.add_permits(more);
        (!end).then(|| self.start + open.schedule.due(due))
    }

    /// Requests that were due and that nobody took, when the connections have ended: each with the time it was due.
    pub fn left(&self) -> impl Iterator<Item = Turn> + '_ {
        let open = self.open.iter().filter(|_| !self.stopped());
        open.flat_map(move |open| {
            let taken = open.taken.load(Ordering::Relaxed);
            (taken..open.released.load(Ordering::Relaxed).min(open.schedule.share())).map(move |nth| {
                let due = self.start + open.schedule.due(nth);
                Turn { due, counts: due >= self.counts_from }
            })
        })
    }

    /// From the start of the load to `at`.
    pub fn since_start(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }

    /// Whether somebody wants the load to end.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests;
