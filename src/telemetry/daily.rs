//! Counters that begin anew at local midnight, as some of Nacos' do (`spec/operator-api.md` 8).

use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// What happened since the last midnight, given numbers that only grow. Whoever shows it has to look now and then, or else
/// what happens between midnight and the first look counts for the day before.
#[derive(Debug, Default)]
pub struct Daily(Mutex<Day>);

#[derive(Debug, Default)]
struct Day {
    /// Epoch ms.
    ends_ms: u64,
    /// The number at the beginning.
    first: u64,
    /// The number at the last look.
    last: u64,
}

impl Daily {
    /// How much of `total` came since midnight, now.
    pub fn since_midnight(&self, total: u64) -> u64 {
        let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |passed| passed.as_millis() as u64);
        self.look(total, now_ms, next_midnight_ms)
    }

    fn look(&self, total: u64, now_ms: u64, next_midnight_ms: impl FnOnce() -> u64) -> u64 {
        let mut day = self.0.lock();
        if now_ms >= day.ends_ms {
            // The first day begins with the process.
            day.first = if day.ends_ms == 0 { 0 } else { day.last };
            day.ends_ms = next_midnight_ms().max(now_ms + 1);
        }
        if total < day.last {
            day.first = 0;
        }
        day.last = total;
        total.saturating_sub(day.first)
    }
}

fn next_midnight_ms() -> u64 {
    let midnight = jiff::Zoned::now().tomorrow().and_then(|tomorrow| tomorrow.start_of_day());
    // At the end of all calendars there is no tomorrow.
    midnight.map_or(u64::MAX, |midnight| midnight.timestamp().as_millisecond().max(0) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_begins_at_zero() {
        let daily = Daily::default();
        assert_eq!(daily.look(3, 50, || 100), 3);
        assert_eq!(daily.look(5, 99, || panic!("not yet")), 5);
        // Seen at 99: 5. What came after is of the new day.
        assert_eq!(daily.look(7, 100, || 200), 2);
        assert_eq!(daily.look(9, 150, || panic!("not yet")), 4);
        assert_eq!(daily.look(9, 1_000, || 1_100), 0);
    }

    #[test]
    fn a_number_that_began_anew_by_itself_is_taken_as_it_is() {
        let daily = Daily::default();
        assert_eq!(daily.look(5, 50, || 100), 5);
        assert_eq!(daily.look(6, 100, || 200), 1);
        assert_eq!(daily.look(2, 110, || panic!("not yet")), 2);
    }

    #[test]
    fn midnight_is_within_a_day() {
        let now_ms = jiff::Timestamp::now().as_millisecond() as u64;
        let left_ms = next_midnight_ms() - now_ms;
        assert!(left_ms <= 25 * 3_600_000, "{left_ms}");
    }
}
