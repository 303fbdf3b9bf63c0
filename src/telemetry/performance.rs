//! The line of numbers that the reference writes into `naming-performance.log` every five minutes.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use super::category::PERFORMANCE;

const FIRST: Duration = Duration::from_secs(30);
const EVERY: Duration = Duration::from_secs(300);

/// What the line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// Services in all namespaces.
    pub services: usize,
    /// Instances of both kinds.
    pub instances: usize,
    /// Longest time from a push to its acknowledgement since the line before, ms; -1 without any.
    pub max_push_ms: i64,
    /// The average of those times, ms; -1 without any.
    pub avg_push_ms: i64,
}

/// Writes what `read` says until it is dropped.
pub async fn run(read: impl Fn() -> Numbers) {
    let mut ticks = interval_at(Instant::now() + FIRST, EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        tracing::info!(target: PERFORMANCE, "{}", line(&read()));
    }
}

fn line(numbers: &Numbers) -> String {
    let Numbers { services, instances, max_push_ms, avg_push_ms } = numbers;
    format!("PERFORMANCE:|{services}|{instances}|{max_push_ms}|{avg_push_ms}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_that_of_the_reference() {
        let numbers = Numbers { services: 3, instances: 40, max_push_ms: 12, avg_push_ms: -1 };
        assert_eq!(line(&numbers), "PERFORMANCE:|3|40|12|-1");
    }
}
