//! What the store tells about itself: [`RestoreReport`] and [`Progress`] of an open, [`StoreStats`] while it runs.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use serde::Serialize;

use crate::telemetry::histogram::{Histogram, SIZES, TIMES_US};

/// What [`Store::open`](super::Store::open) is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// sled reads its log; it tells no progress.
    Opening,
    /// Rows are read, checked, decoded and handed over.
    Verifying,
    /// Good rows of a damaged or old store are written to a fresh one.
    Rewriting,
}

/// How far an open is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The present step.
    pub phase: Phase,
    /// Rows done in this step.
    pub rows: u64,
    /// Bytes (keys and values) of these rows.
    pub bytes: u64,
    /// Rows that the store says it has; `None` when it can't say.
    pub expected_rows: Option<u64>,
}

/// What an open found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// Rows restored, of all kinds.
    pub rows: u64,
    /// How many of them are subscriptions.
    pub subscriptions: u64,
    /// Their size (keys and values) in bytes.
    pub bytes: u64,
    /// How long it took, in milliseconds.
    pub time_ms: u64,
    /// Rows that were stored, but were not there to be read or did not verify.
    pub skipped_rows: u64,
    /// What was found damaged or lost; `None` when everything acknowledged is there. Then ask the peers.
    pub damage: Option<String>,
    /// Where the damaged folder is kept.
    pub moved_aside: Option<PathBuf>,
    /// When the store was last in use, Unix time in milliseconds.
    pub last_alive_ms: Option<u64>,
    /// For how long it was not in use, in milliseconds; 0 when the clock went back.
    pub downtime_ms: Option<u64>,
    /// Sequence of the last batch.
    pub sequence: u64,
    /// Whether there was no store before.
    pub created: bool,
}

/// Counters of a running store; any thread may read them at any time.
#[derive(Debug)]
pub struct StoreStats {
    /// Live rows of all kinds, subscriptions too.
    pub rows: AtomicU64,
    /// Size of the live rows (keys and values) in bytes.
    pub live_bytes: AtomicU64,
    /// Size of sled's file in bytes; refreshed once a second.
    pub file_bytes: AtomicU64,
    /// Rows of each batch stored, removals included.
    pub batches: Histogram,
    /// Time of each sync (fdatasync) of a batch in microseconds, sled's flush included.
    pub syncs: Histogram,
    /// Failed writes and syncs.
    pub failures: AtomicU64,
    /// Rows that [`OnFailure::Memory`](super::OnFailure::Memory) let pass without storing them.
    pub unstored_rows: AtomicU64,
    /// Compactions completed.
    pub compactions: AtomicU64,
    /// Rebuilds completed.
    pub rebuilds: AtomicU64,
}

impl Default for StoreStats {
    fn default() -> Self {
        Self {
            rows: AtomicU64::default(),
            live_bytes: AtomicU64::default(),
            file_bytes: AtomicU64::default(),
            batches: Histogram::new(SIZES),
            syncs: Histogram::new(TIMES_US),
            failures: AtomicU64::default(),
            unstored_rows: AtomicU64::default(),
            compactions: AtomicU64::default(),
            rebuilds: AtomicU64::default(),
        }
    }
}

impl StoreStats {
    pub(super) fn add(counter: &AtomicU64, n: u64) {
        counter.fetch_add(n, Relaxed);
    }

    pub(super) fn count_sync(&self, took: Duration) {
        self.syncs.note(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }
}
