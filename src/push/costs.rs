//! How long subscribers take to acknowledge (`spec/operator-api.md` 8), by periods of the wall clock; and which day it is.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// Length of a period in ms: they end at seconds 0, 15, 30 and 45.
const PERIOD_MS: u64 = 15_000;

/// From the moment at which pushes were ready to be sent to their acknowledgement, in ms; `None`: there was none.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Costs {
    /// The longest.
    pub max_ms: Option<u64>,
    /// The average.
    pub avg_ms: Option<f64>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    count: u64,
    sum_ms: u64,
    max_ms: u64,
}

/// The period at hand and the one before.
#[derive(Debug, Default)]
pub struct Periods {
    open: Tally,
    closed: Tally,
    /// Number of the one at hand since 1970.
    number: Option<u64>,
}

impl Periods {
    /// An acknowledgement came after that time.
    pub fn add(&mut self, cost_ms: u64) {
        self.open.count += 1;
        self.open.sum_ms = self.open.sum_ms.saturating_add(cost_ms);
        self.open.max_ms = self.open.max_ms.max(cost_ms);
    }

    /// Closes the period at hand if it is over at `wall_ms` since 1970. To be called often.
    pub fn tick(&mut self, wall_ms: u64) {
        let number = wall_ms / PERIOD_MS;
        if self.number.replace(number).is_some_and(|before| before != number) {
            self.closed = std::mem::take(&mut self.open);
        }
    }

    /// Those of the last period that is over.
    pub fn closed(&self) -> Costs {
        let Tally { count, sum_ms, max_ms } = self.closed;
        if count == 0 {
            return Costs::default();
        }
        Costs { max_ms: Some(max_ms), avg_ms: Some(sum_ms as f64 / count as f64) }
    }
}

/// The date in `zone` at `wall_ms` since 1970.
pub fn date(wall_ms: u64, zone: &TimeZone) -> Date {
    let at = i64::try_from(wall_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    at.unwrap_or_default().to_zoned(zone.clone()).date()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_ends_every_quarter_of_a_minute() {
        let mut periods = Periods::default();
        let shown = |max_ms, avg_ms| Costs { max_ms: Some(max_ms), avg_ms: Some(avg_ms) };
        // 22:33:32.5 of some day: this one began in the middle.
        let begun = 1_700_001_212_500;
        periods.tick(begun);
        [4, 1, 1].into_iter().for_each(|cost_ms| periods.add(cost_ms));
        periods.tick(begun + 12_499);
        assert_eq!(periods.closed(), Costs::default());
        periods.tick(begun + 12_500);
        assert_eq!(periods.closed(), shown(4, 2.0));
        periods.add(7);
        periods.tick(begun + 27_499);
        assert_eq!(periods.closed(), shown(4, 2.0));
        periods.tick(begun + 27_500);
        assert_eq!(periods.closed(), shown(7, 7.0));
        periods.tick(begun + 42_500);
        assert_eq!(periods.closed(), Costs::default(), "there was none");
    }

    #[test]
    fn days_begin_at_local_midnight() {
        let of = |text: &str, zone: &TimeZone| {
            let at: Timestamp = text.parse().unwrap();
            date(at.as_millisecond().cast_unsigned(), zone).to_string()
        };
        let kolkata = TimeZone::fixed(jiff::tz::Offset::from_seconds(19_800).unwrap());
        assert_eq!(of("2026-03-01T18:29:59.999Z", &kolkata), "2026-03-01");
        assert_eq!(of("2026-03-01T18:30:00Z", &kolkata), "2026-03-02");
        assert_eq!(of("2026-03-01T23:59:59Z", &TimeZone::UTC), "2026-03-01");
        assert_eq!(date(u64::MAX, &TimeZone::UTC).to_string(), "1970-01-01");
    }
}
