//! How the write path does: why writes don't work now, and counters.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use crate::model::command::Command;
use crate::telemetry::histogram::{Histogram, SIZES, Spread, TIMES_US};

/// What became of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Rows changed.
    Changed,
    /// No row changed: there was nothing to do, or nothing that is stored.
    Unchanged,
    /// It can't be done to what there is.
    Rejected,
    /// The store did not take it.
    Unstored,
}

/// All of them, with their names.
const FATES: [(Fate, &str); 4] = [
    (Fate::Changed, "changed"),
    (Fate::Unchanged, "unchanged"),
    (Fate::Rejected, "rejected"),
    (Fate::Unstored, "unstored"),
];

/// Names of kinds of commands, in the order of [`kind`].
const KINDS: [&str; 23] = [
    "register",
    "deregister",
    "replace",
    "patch",
    "metadata",
    "set_health",
    "heal",
    "fade",
    "expire",
    "checked_health",
    "create_service",
    "update_service",
    "delete_service",
    "clean_service",
    "update_cluster",
    "switch",
    "label",
    "account",
    "subscriptions",
    "merge",
    "peer_health",
    "install",
    "nothing",
];

/// The number of a kind of commands.
pub(super) fn kind(command: &Command) -> usize {
    match command {
        Command::Register(..) => 0,
        Command::Deregister(..) => 1,
        Command::Replace(..) => 2,
        Command::Patch(..) => 3,
        Command::ChangeMetadata(..) => 4,
        Command::SetHealth(..) => 5,
        Command::Heal(..) => 6,
        Command::Fade { .. } => 7,
        Command::Expire { .. } => 8,
        Command::CheckedHealth { .. } => 9,
        Command::CreateService(..) => 10,
        Command::UpdateService(..) => 11,
        Command::DeleteService(..) => 12,
        Command::CleanService(..) => 13,
        Command::UpdateCluster(..) => 14,
        Command::Switch(..) => 15,
        Command::Label(..) => 16,
        Command::Account(..) => 17,
        Command::Subscriptions(..) => 18,
        Command::Merge(_) => 19,
        Command::PeerHealth(..) => 20,
        Command::Install(_) => 21,
        Command::Nothing => 22,
    }
}

/// See the module. Any thread may read it at any time.
#[derive(Debug)]
pub struct Status {
    failure: RwLock<Option<Arc<str>>>,
    failures: AtomicU64,
    queued: AtomicU64,
    taken: AtomicU64,
    refused: AtomicU64,
    turns: AtomicU64,
    fates: [[AtomicU64; FATES.len()]; KINDS.len()],
    batches: Histogram,
    waits: Histogram,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            failure: RwLock::default(),
            failures: AtomicU64::default(),
            queued: AtomicU64::default(),
            taken: AtomicU64::default(),
            refused: AtomicU64::default(),
            turns: AtomicU64::default(),
            fates: Default::default(),
            batches: Histogram::new(SIZES),
            waits: Histogram::new(TIMES_US),
        }
    }
}

impl Status {
    /// Why the store takes no writes; `None` when it does.
    pub fn failure(&self) -> Option<Arc<str>> {
        self.failure.read().clone()
    }

    /// How often the store has failed since the start.
    pub fn failures(&self) -> u64 {
        self.failures.load(Ordering::Relaxed)
    }

    /// Grows with every turn of the committer, and with every row that a store is healed with: at least every 100 ms, unless
    /// the disk takes longer or no turn comes any more.
    pub fn turns(&self) -> u64 {
        self.turns.load(Ordering::Relaxed)
    }

    /// Counts a turn of the committer.
    pub(super) fn count_turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    /// Commands that wait to be taken up.
    pub fn queue_len(&self) -> u64 {
        // In this order: what is taken in between was queued before.
        let taken = self.taken.load(Ordering::Acquire);
        self.queued.load(Ordering::Relaxed).saturating_sub(taken)
    }

    /// Commands that found the queue full.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Kinds of commands, what became of them, and of how many, for those that there were.
    pub fn commands(&self) -> Vec<(&'static str, &'static str, u64)> {
        let of_kind = |(name, fates): (&'static str, &[AtomicU64; FATES.len()])| {
            let counts = fates.each_ref().map(|count| count.load(Ordering::Relaxed));
            FATES.into_iter().zip(counts).map(move |((_, fate), count)| (name, fate, count))
        };
        KINDS.into_iter().zip(&self.fates).flat_map(of_kind).filter(|(.., count)| *count > 0).collect()
    }

    /// Commands of one batch.
    pub fn batches(&self) -> Spread {
        self.batches.spread()
    }

    /// Microseconds from queueing a command to its answer, of those that somebody waits for.
    pub fn waits(&self) -> Spread {
        self.waits.spread()
    }

    pub(super) fn set_failure(&self, reason: Option<&str>) {
        *self.failure.write() = reason.map(Into::into);
    }

    pub(super) fn count_failure(&self) {
        self.failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_queued(&self) {
        self.queued.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_taken(&self) {
        self.taken.fetch_add(1, Ordering::Release);
    }

    pub(super) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_batch(&self, commands: usize) {
        self.batches.note(commands as u64);
    }

    pub(super) fn count_fate(&self, kind: usize, fate: Fate) {
        if let Some(count) = self.fates.get(kind).and_then(|fates| fates.get(fate as usize)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn count_wait(&self, waited: Duration) {
        self.waits.note(u64::try_from(waited.as_micros()).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fate_stands_at_its_number() {
        for (at, (fate, _)) in FATES.into_iter().enumerate() {
            assert_eq!(fate as usize, at);
        }
    }
}
