//! From what happened to figures. Pure: times are those of the entries, since the start of the drill.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::log::{Entry, Event, Mark, Sweep};

/// Width of the counts over time, in ms.
pub(super) const BUCKET_MS: u64 = 250;

/// The figures of a round. Times are from when the server was told to stop, in ms, unless said otherwise.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(super) struct Figures {
    /// Its process was gone.
    pub(super) gone_ms: Option<u64>,
    /// It was started.
    pub(super) start_ms: Option<u64>,
    /// From its start to its first answer of any kind.
    pub(super) start_to_first_answer_ms: Option<u64>,
    /// From its start to the first list that it served.
    pub(super) start_to_first_list_ms: Option<u64>,
    /// From its start until it called itself UP.
    pub(super) start_to_ready_ms: Option<u64>,
    /// From its start until all lists were served and complete for good.
    pub(super) start_to_full_ms: Option<u64>,
    /// Until all lists were served and complete for good: what a consumer had to bridge.
    pub(super) gap_ms: Option<u64>,
    /// Instances missing in the first look that was served after the start.
    pub(super) first_missing: Option<u32>,
    /// Most instances missing at a time, in lists that were served.
    pub(super) max_missing: u32,
    /// Instances missing x time, while lists were served.
    pub(super) missing_instance_s: f64,
    /// Most instances shown as unhealthy at a time.
    pub(super) max_unhealthy: u32,
    /// Instances shown as unhealthy x time.
    pub(super) unhealthy_instance_s: f64,
    /// Answers with status 200 and no instance.
    pub(super) empty_lists: u64,
    /// Queries for lists that were not answered with one.
    pub(super) refused_lists: u64,
    /// Beats that failed three times.
    pub(super) failed_beats: u64,
    /// Beats that were answered with code 20404.
    pub(super) unknown_beats: u64,
    /// Clients that registered again.
    pub(super) reregistrations: u64,
    /// Clients that tried to and failed three times.
    pub(super) failed_registrations: u64,
}

/// One look at the lists.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Point {
    /// Since the stop; before it negative.
    pub(super) at_ms: i64,
    #[serde(flatten)]
    pub(super) sweep: Sweep,
}

/// What happened within [`BUCKET_MS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Bucket {
    /// Its begin since the stop.
    pub(super) at_ms: i64,
    pub(super) refused_lists: u64,
    pub(super) failed_beats: u64,
    pub(super) unknown_beats: u64,
    pub(super) reregistrations: u64,
}

/// A round, from a little before the stop to its end.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub(super) struct Timeline {
    pub(super) figures: Figures,
    pub(super) points: Vec<Point>,
    /// Those in which something happened.
    pub(super) buckets: Vec<Bucket>,
}

impl Timeline {
    /// From the entries of one round, which has at most one of each mark.
    pub(super) fn of(entries: &[Entry]) -> Self {
        let mark = |wanted: Mark| entries.iter().find(|(_, event)| *event == Event::Mark(wanted)).map(|(at, _)| *at);
        let Some(stop) = mark(Mark::Stop) else { return Self::default() };
        let start = mark(Mark::Start);
        let since_stop = |at: Option<Duration>| at.map(|at| ms(at.saturating_sub(stop)));
        let since_start = |at: Option<Duration>| Some(ms(at?.saturating_sub(start?)));
        let full = start.and_then(|start| full(entries, start));
        let mut figures = Figures {
            gone_ms: since_stop(mark(Mark::Gone)),
            start_ms: since_stop(start),
            start_to_first_answer_ms: since_start(mark(Mark::FirstAnswer)),
            start_to_first_list_ms: since_start(mark(Mark::FirstList)),
            start_to_ready_ms: since_start(mark(Mark::Ready)),
            start_to_full_ms: since_start(full),
            gap_ms: since_stop(full),
            first_missing: start.and_then(|start| {
                sweeps(entries).find(|(at, sweep)| *at > start && sweep.served > 0).map(|(_, sweep)| sweep.missing)
            }),
            ..Figures::default()
        };
        figures.add_sweeps(entries, stop);
        let mut buckets = BTreeMap::new();
        for (at, event) in entries {
            figures.add_event(*event, *at >= stop);
            put(&mut buckets, signed_ms(*at, stop), *event);
        }
        let points = sweeps(entries).map(|(at, sweep)| Point { at_ms: signed_ms(at, stop), sweep }).collect();
        Self { figures, points, buckets: buckets.into_values().collect() }
    }
}

impl Figures {
    fn add_sweeps(&mut self, entries: &[Entry], stop: Duration) {
        let after: Vec<_> = sweeps(entries).filter(|(at, _)| *at >= stop).collect();
        for (_, sweep) in &after {
            self.max_missing = self.max_missing.max(sweep.missing);
            self.max_unhealthy = self.max_unhealthy.max(sweep.unhealthy);
            self.empty_lists += u64::from(sweep.empty);
            self.refused_lists += u64::from(sweep.refused);
        }
        // What a look has shown holds until the next one.
        for ((at, sweep), (next, _)) in after.iter().zip(after.iter().skip(1)) {
            let seconds = next.saturating_sub(*at).as_secs_f64();
            self.missing_instance_s += f64::from(sweep.missing) * seconds;
            self.unhealthy_instance_s += f64::from(sweep.unhealthy) * seconds;
        }
        for seconds in [&mut self.missing_instance_s, &mut self.unhealthy_instance_s] {
            *seconds = (*seconds * 1_000.0).round() / 1_000.0;
        }
    }

    fn add_event(&mut self, event: Event, after_stop: bool) {
        let count = match event {
            Event::BeatFailed => &mut self.failed_beats,
            Event::Unknown => &mut self.unknown_beats,
            Event::Reregistered => &mut self.reregistrations,
            Event::RegistrationFailed => &mut self.failed_registrations,
            Event::Mark(_) | Event::Sweep(_) => return,
        };
        *count += u64::from(after_stop);
    }
}

fn sweeps(entries: &[Entry]) -> impl Iterator<Item = (Duration, Sweep)> + '_ {
    entries.iter().filter_map(|(at, event)| if let Event::Sweep(sweep) = event { Some((*at, *sweep)) } else { None })
}

/// The first look after the start from which on every look was complete.
fn full(entries: &[Entry], start: Duration) -> Option<Duration> {
    let mut full = None;
    for (at, sweep) in sweeps(entries).filter(|(at, _)| *at > start) {
        full = if sweep.is_complete() { full.or(Some(at)) } else { None };
    }
    full
}

fn put(buckets: &mut BTreeMap<i64, Bucket>, at_ms: i64, event: Event) {
    let width = BUCKET_MS as i64;
    let at_ms = at_ms.div_euclid(width) * width;
    if matches!(event, Event::Mark(_)) || matches!(event, Event::Sweep(sweep) if sweep.refused == 0) {
        return;
    }
    let bucket = buckets.entry(at_ms).or_insert(Bucket { at_ms, ..Bucket::default() });
    match event {
        Event::Sweep(sweep) => bucket.refused_lists += u64::from(sweep.refused),
        Event::BeatFailed => bucket.failed_beats += 1,
        Event::Unknown => bucket.unknown_beats += 1,
        Event::Reregistered => bucket.reregistrations += 1,
        Event::RegistrationFailed | Event::Mark(_) => {}
    }
}

fn ms(time: Duration) -> u64 {
    time.as_millis() as u64
}

fn signed_ms(at: Duration, zero: Duration) -> i64 {
    at.as_millis() as i64 - zero.as_millis() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64, event: Event) -> Entry {
        (Duration::from_millis(ms), event)
    }

    fn sweep(served: u32, refused: u32, missing: u32) -> Event {
        Event::Sweep(Sweep { served, refused, missing, unhealthy: missing / 2, empty: u32::from(missing == 10) })
    }

    /// Stopped at 1.0 s, started at 1.5 s, 10 of 10 missing at 2.0 s, 4 at 2.5 s, none at 3.0 s.
    fn round() -> Vec<Entry> {
        vec![
            at(500, sweep(2, 0, 0)),
            at(900, Event::Unknown),
            at(1_000, Event::Mark(Mark::Stop)),
            at(1_010, Event::Mark(Mark::Gone)),
            at(1_100, sweep(0, 2, 0)),
            at(1_200, Event::BeatFailed),
            at(1_500, Event::Mark(Mark::Start)),
            at(1_900, Event::Mark(Mark::FirstAnswer)),
            at(1_950, Event::Mark(Mark::FirstList)),
            at(2_000, sweep(2, 0, 10)),
            at(2_100, Event::Mark(Mark::Ready)),
            at(2_200, Event::Unknown),
            at(2_201, Event::Reregistered),
            at(2_500, sweep(2, 0, 4)),
            at(3_000, sweep(2, 0, 0)),
            at(3_500, sweep(2, 0, 0)),
        ]
    }

    #[test]
    fn a_round_is_told_in_figures() {
        let figures = Timeline::of(&round()).figures;
        let wanted = Figures {
            gone_ms: Some(10),
            start_ms: Some(500),
            start_to_first_answer_ms: Some(400),
            start_to_first_list_ms: Some(450),
            start_to_ready_ms: Some(600),
            start_to_full_ms: Some(1_500),
            gap_ms: Some(2_000),
            first_missing: Some(10),
            max_missing: 10,
            // 10 for half a second and 4 for half a second.
            missing_instance_s: 7.0,
            max_unhealthy: 5,
            unhealthy_instance_s: 3.5,
            empty_lists: 1,
            refused_lists: 2,
            failed_beats: 1,
            unknown_beats: 1,
            reregistrations: 1,
            failed_registrations: 0,
        };
        assert_eq!(figures, wanted);
    }

    #[test]
    fn complete_means_for_good() {
        let mut entries = round();
        entries.push(at(4_000, sweep(2, 0, 1)));
        assert_eq!(Timeline::of(&entries).figures.gap_ms, None);
        entries.push(at(4_500, sweep(1, 1, 0)));
        entries.push(at(5_000, sweep(2, 0, 0)));
        let figures = Timeline::of(&entries).figures;
        assert_eq!((figures.gap_ms, figures.missing_instance_s), (Some(4_000), 7.5));
    }

    #[test]
    fn counts_over_time_begin_before_the_stop() {
        let timeline = Timeline::of(&round());
        let at: Vec<_> = timeline.buckets.iter().map(|bucket| bucket.at_ms).collect();
        assert_eq!(at, [-250, 0, 1_000]);
        assert_eq!((timeline.buckets[0].unknown_beats, timeline.buckets[1].refused_lists), (1, 2));
        assert_eq!((timeline.buckets[1].failed_beats, timeline.buckets[2].reregistrations), (1, 1));
        assert_eq!((timeline.points[0].at_ms, timeline.points.len()), (-500, 6));
    }

    #[test]
    fn a_server_that_never_comes_back_has_no_times() {
        let figures = Timeline::of(&round()[..7]).figures;
        assert_eq!((figures.start_ms, figures.gap_ms, figures.first_missing), (Some(500), None, None));
        assert_eq!(Timeline::of(&[]), Timeline::default());
    }
}
