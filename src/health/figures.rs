//! What health counts; any thread may read it at any time.

use std::sync::atomic::{AtomicU64, Ordering};

use super::checks::params::Kind;
use crate::telemetry::daily::Daily;

/// See the module.
#[derive(Debug, Default)]
pub struct Figures {
    paused_ms: AtomicU64,
    checks: [Checked; 3],
}

#[derive(Debug, Default)]
struct Checked {
    total: AtomicU64,
    today: Daily,
}

impl Figures {
    /// How long the process was stopped or starved since the start, in ms.
    pub fn paused_ms(&self) -> u64 {
        self.paused_ms.load(Ordering::Relaxed)
    }

    /// Checks of this kind that have ended since the start, however.
    pub fn checks(&self, kind: Kind) -> u64 {
        self.of(kind).total.load(Ordering::Relaxed)
    }

    /// The same since local midnight.
    pub fn checks_today(&self, kind: Kind) -> u64 {
        self.of(kind).today.since_midnight(self.checks(kind))
    }

    pub(super) fn add_pause(&self, lost_ms: u64) {
        self.paused_ms.fetch_add(lost_ms, Ordering::Relaxed);
    }

    pub(super) fn count_check(&self, kind: Kind) {
        let checked = self.of(kind);
        // A check that ends after midnight is of the new day: look before it is counted.
        checked.today.since_midnight(checked.total.load(Ordering::Relaxed));
        checked.total.fetch_add(1, Ordering::Relaxed);
    }

    fn of(&self, kind: Kind) -> &Checked {
        let [tcp, http, mysql] = &self.checks;
        match kind {
            Kind::Tcp => tcp,
            Kind::Http => http,
            Kind::Mysql => mysql,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_apart() {
        let figures = Figures::default();
        figures.count_check(Kind::Tcp);
        figures.count_check(Kind::Tcp);
        figures.count_check(Kind::Mysql);
        figures.add_pause(700);
        assert_eq!([Kind::Tcp, Kind::Http, Kind::Mysql].map(|kind| figures.checks(kind)), [2, 0, 1]);
        assert_eq!(figures.checks_today(Kind::Mysql), 1);
        assert_eq!(figures.paused_ms(), 700);
    }
}
