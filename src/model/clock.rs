//! The time that beats are judged by: milliseconds during which this process was awake. And how it goes with the time
//! that people and other servers know.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What the clock of a process shows at its start: a day. What its peers heard before that has a time on it, too.
pub const AT_START_MS: u64 = 86_400_000;

/// Milliseconds of awake time since the day before the start of the process. Only `health` advances it, by short steps, so that a
/// stopped or starved process (SIGSTOP, a laptop's lid) doesn't count its own absence against the living
/// (`spec/reliability.md` 6, row 6). Reading it costs one load: a beat asks no operating system for the time.
#[derive(Debug, Clone, Default)]
pub struct AwakeClock(Arc<AtomicU64>);

impl AwakeClock {
    /// A clock that shows `start_ms`.
    pub fn starting_at(start_ms: u64) -> Self {
        Self(Arc::new(AtomicU64::new(start_ms)))
    }

    /// Awake time in ms.
    pub fn now_ms(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Moves on by `step_ms`.
    pub fn advance(&self, step_ms: u64) {
        self.0.fetch_add(step_ms, Ordering::Relaxed);
    }
}

/// The same moment by both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Awake time, see [`AwakeClock`].
    pub awake_ms: u64,
    /// Epoch ms.
    pub wall_ms: u64,
}

impl Now {
    /// Epoch ms of an awake time.
    pub fn wall_of(&self, awake_ms: u64) -> u64 {
        self.wall_ms.saturating_sub(self.awake_ms.saturating_sub(awake_ms))
    }

    /// The awake time `ago_ms` before this; at least 1, because 0 stands for never. A day before the start of the process is
    /// the earliest.
    pub fn awake_before(&self, ago_ms: u64) -> u64 {
        self.awake_ms.saturating_sub(ago_ms).max(1)
    }
}
