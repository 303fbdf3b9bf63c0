//! What came of requests: latencies, counts, faults. One record per thread; reports add them up.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::fleet::Kind;
use super::report::plain;

/// Longer latencies count as this one, in ns: an hour.
const MAX_NS: u64 = 3_600_000_000_000;
/// Kinds of faults that are told apart; more of them are counted together.
const MAX_FAULTS: usize = 64;
/// Characters of an answer that are kept as an example.
const EXAMPLE_CHARS: usize = 200;

/// Latencies, exact to 3 digits.
#[derive(Debug, Clone)]
pub struct Latencies {
    histogram: Option<Histogram<u64>>,
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

impl Latencies {
    /// None so far.
    pub fn new() -> Self {
        // These bounds are always good; without a histogram nothing would be counted.
        Self { histogram: Histogram::new_with_max(MAX_NS, 3).ok() }
    }

    /// Counts one.
    pub fn add(&mut self, latency: Duration) {
        if let Some(histogram) = &mut self.histogram {
            histogram.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(MAX_NS).max(1));
        }
    }

    /// Counts all of `other`.
    pub fn merge(&mut self, other: &Self) {
        if let (Some(histogram), Some(other)) = (&mut self.histogram, &other.histogram) {
            // Both have the same bounds.
            let _ = histogram.add(other);
        }
    }

    /// How many.
    pub fn count(&self) -> u64 {
        self.histogram.as_ref().map_or(0, Histogram::len)
    }

    /// `share` (0 to 1) of them were not longer; zero of none.
    pub fn at(&self, share: f64) -> Duration {
        self.histogram.as_ref().map_or(Duration::ZERO, |all| Duration::from_nanos(all.value_at_quantile(share)))
    }

    /// The longest; zero of none.
    pub fn max(&self) -> Duration {
        self.histogram.as_ref().map_or(Duration::ZERO, |all| Duration::from_nanos(all.max()))
    }

    /// The mean; zero of none.
    pub fn mean(&self) -> Duration {
        self.histogram.as_ref().map_or(Duration::ZERO, |all| Duration::from_nanos(all.mean() as u64))
    }

    /// For reports.
    pub fn summary(&self) -> LatencySummary {
        let ms = |time: Duration| (time.as_nanos() as f64 / 1e3).round() / 1e3;
        LatencySummary {
            mean_ms: ms(self.mean()),
            p50_ms: ms(self.at(0.50)),
            p90_ms: ms(self.at(0.90)),
            p99_ms: ms(self.at(0.99)),
            p999_ms: ms(self.at(0.999)),
            max_ms: ms(self.max()),
        }
    }
}

/// Latencies in numbers, in ms.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
#[allow(missing_docs, reason = "the names say all")]
pub struct LatencySummary {
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

/// A kind of fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FaultCount {
    /// Of which request.
    pub request: &'static str,
    /// `status 500`, `connection refused`, ...
    pub fault: String,
    /// How often.
    pub count: u64,
    /// What the server said the first time; empty if nothing. Without control characters.
    pub example: String,
}

/// The requests of one kind.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// Of everything that was answered, with whatever status, or given up as too slow.
    pub latencies: Latencies,
    /// Right answers.
    pub good: u64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
}

/// What came of the requests that count.
#[derive(Debug, Clone, Default)]
pub struct Record {
    tallies: BTreeMap<Kind, Tally>,
    faults: BTreeMap<(Kind, String), (u64, String)>,
    /// From when requests were due until they were sent.
    pub waited: Latencies,
    /// Beats of acknowledged instances that the server did not know (code 20404).
    pub forgotten: u64,
    /// The first request was due, and the last answer came, at these times after the start.
    pub span: Option<(Duration, Duration)>,
}

impl Record {
    /// A right answer.
    pub fn good(&mut self, kind: Kind, latency: Duration, body_bytes: usize) {
        let tally = self.tallies.entry(kind).or_default();
        tally.latencies.add(latency);
        tally.good += 1;
        tally.body_bytes += body_bytes as u64;
    }

    /// Anything else; with a `latency` when there was an answer or none came in time. `example` is what the server said.
    pub fn fault(&mut self, kind: Kind, fault: String, latency: Option<Duration>, example: &[u8]) {
        let tally = self.tallies.entry(kind).or_default();
        if let Some(latency) = latency {
            tally.latencies.add(latency);
        }
        let key = match (kind, fault) {
            key if self.faults.len() < MAX_FAULTS || self.faults.contains_key(&key) => key,
            _ => (kind, "others".to_owned()),
        };
        let entry = self.faults.entry(key).or_insert_with(|| {
            let start = example.get(..EXAMPLE_CHARS * 4).unwrap_or(example);
            (0, plain(&String::from_utf8_lossy(start)).chars().take(EXAMPLE_CHARS).collect())
        });
        entry.0 += 1;
    }

    /// Notes when a request was due and when it was done with, after the start.
    pub fn stretch(&mut self, due: Duration, done: Duration) {
        let (first, last) = self.span.unwrap_or((due, done));
        self.span = Some((first.min(due), last.max(done)));
    }

    /// Adds another one.
    pub fn merge(&mut self, other: &Self) {
        for (kind, theirs) in &other.tallies {
            let tally = self.tallies.entry(*kind).or_default();
            tally.latencies.merge(&theirs.latencies);
            tally.good += theirs.good;
            tally.body_bytes += theirs.body_bytes;
        }
        for (key, (count, example)) in &other.faults {
            self.faults.entry(key.clone()).or_insert_with(|| (0, example.clone())).0 += count;
        }
        self.waited.merge(&other.waited);
        self.forgotten += other.forgotten;
        if let Some((first, last)) = other.span {
            self.stretch(first, last);
        }
    }

    /// By kind, in the order of reports.
    pub fn tallies(&self) -> impl Iterator<Item = (Kind, &Tally)> {
        self.tallies.iter().map(|(kind, tally)| (*kind, tally))
    }

    /// All kinds together.
    pub fn all(&self) -> Tally {
        let mut all = Tally::default();
        for tally in self.tallies.values() {
            all.latencies.merge(&tally.latencies);
            all.good += tally.good;
            all.body_bytes += tally.body_bytes;
        }
        all
    }

    /// Right answers so far.
    pub fn good_count(&self) -> u64 {
        self.tallies.values().map(|tally| tally.good).sum()
    }

    /// Faults so far.
    pub fn fault_count(&self) -> u64 {
        self.faults.values().map(|(count, _)| count).sum()
    }

    /// Every kind of fault, most frequent first.
    pub fn faults(&self) -> Vec<FaultCount> {
        let mut faults: Vec<_> = self
            .faults
            .iter()
            .map(|((kind, fault), (count, example))| FaultCount {
                request: kind.name(),
                fault: fault.clone(),
                count: *count,
                example: example.clone(),
            })
            .collect();
        faults.sort_by_key(|fault| std::cmp::Reverse(fault.count));
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut latencies = Latencies::new();
        for ms in 1..=1_000 {
            latencies.add(MS * ms);
        }
        let summary = latencies.summary();
        for (is, wanted) in [
            (summary.p50_ms, 500.0),
            (summary.p90_ms, 900.0),
            (summary.p99_ms, 990.0),
            (summary.p999_ms, 999.0),
            (summary.max_ms, 1_000.0),
            (summary.mean_ms, 500.5),
        ] {
            assert!((is - wanted).abs() <= wanted * 0.001, "{is} {wanted}");
        }
        assert_eq!(Latencies::new().summary(), LatencySummary::default());
    }

    #[test]
    fn records_add_up_and_faults_stay_few() {
        let (mut one, mut other) = (Record::default(), Record::default());
        one.good(Kind::List, MS, 10);
        one.fault(Kind::List, "status 500".into(), Some(MS * 9), b"\x1b[31mred\nline");
        other.good(Kind::Register, MS * 3, 2);
        other.fault(Kind::List, "status 500".into(), None, b"later");
        one.stretch(MS * 5, MS * 6);
        other.stretch(MS, MS * 2);
        one.merge(&other);
        let all = one.all();
        assert_eq!((all.good, all.body_bytes, all.latencies.count()), (2, 12, 3));
        assert_eq!(one.span, Some((MS, MS * 6)));
        let faults = one.faults();
        assert_eq!((faults.len(), faults[0].count, faults[0].request), (1, 2, "list"));
        assert!(!faults[0].example.contains(['\x1b', '\n']), "{:?}", faults[0].example);
        for nth in 0..1_000 {
            one.fault(Kind::List, format!("status {nth}"), None, b"");
        }
        assert!(one.faults().len() <= MAX_FAULTS + Kind::ALL.len());
        assert_eq!(one.fault_count(), 1_002);
    }
}
