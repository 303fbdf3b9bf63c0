//! Links between nodes, one for each direction.

use fastrand::Rng;

/// What happens to messages from everyone to everyone.
pub(crate) struct Network {
    size: usize,
    blocked: Vec<bool>,
    /// Of 1,000 messages so many are lost.
    pub(crate) loss: u32,
    /// A message takes up to this long, in ms.
    pub(crate) slow_ms: u64,
}

impl Network {
    pub(crate) fn new(size: usize) -> Self {
        Self { size, blocked: vec![false; size * size], loss: 0, slow_ms: 4 }
    }

    pub(crate) fn block(&mut self, from: usize, to: usize, blocked: bool) {
        self.blocked[from * self.size + to] = blocked;
    }

    pub(crate) fn is_blocked(&self, from: usize, to: usize) -> bool {
        self.blocked[from * self.size + to]
    }

    pub(crate) fn calm(&mut self) {
        *self = Self::new(self.size);
    }

    /// How long a message takes; `None`: it is lost.
    pub(crate) fn carry(&self, from: usize, to: usize, rng: &mut Rng) -> Option<u64> {
        if self.is_blocked(from, to) || (self.loss > 0 && rng.u32(0..1_000) < self.loss) {
            return None;
        }
        Some(1 + rng.u64(0..self.slow_ms))
    }
}
