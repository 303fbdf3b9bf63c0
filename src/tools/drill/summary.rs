//! The report of a drill.

use serde::Serialize;

use super::round::Round;
use super::timeline::Figures;
use crate::config::flags::DrillFlags;
use crate::tools::report::facts::Facts;
use crate::tools::report::table::Table;
use crate::tools::report::{grouped, plain};

/// What makes a drill fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Limits {
    pub(super) max_missing: u32,
    pub(super) max_reregistrations: u32,
    pub(super) max_gap_ms: Option<u64>,
    pub(super) max_lost_pushes: Option<u32>,
}

/// What a drill found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    pub(super) facts: Facts,
    /// Name of the server.
    pub(super) label: String,
    pub(super) start: String,
    pub(super) stop: String,
    pub(super) clients: u32,
    pub(super) services: u32,
    pub(super) beat_interval_ms: u64,
    pub(super) poll_ms: u64,
    pub(super) down_ms: u64,
    pub(super) seed: u64,
    pub(super) limits: Limits,
    pub(super) good: bool,
    /// Why it is not good.
    pub(super) reasons: Vec<String>,
    pub(super) rounds: Vec<Round>,
}

impl Report {
    pub(super) fn new(facts: Facts, flags: &DrillFlags, rounds: Vec<Round>) -> Self {
        let limits = Limits {
            max_missing: flags.max_missing,
            max_reregistrations: flags.max_reregistrations,
            max_gap_ms: flags.max_gap_ms,
            max_lost_pushes: flags.max_lost_pushes,
        };
        let reasons = reasons(&limits, &rounds);
        let version = facts.server_version.as_ref().map(|version| format!(" ({version})")).unwrap_or_default();
        Self {
            label: plain(flags.label.as_ref().unwrap_or(&format!("{}{version}", facts.server))),
            facts,
            start: plain(&flags.start),
            stop: plain(
                flags.stop.as_ref().unwrap_or(&format!("SIG{}", flags.kill.to_uppercase().trim_start_matches("SIG"))),
            ),
            clients: flags.clients,
            services: flags.services,
            beat_interval_ms: flags.beat_interval.as_millis() as u64,
            poll_ms: flags.poll.as_millis() as u64,
            down_ms: flags.down.as_millis() as u64,
            seed: flags.seed,
            limits,
            good: reasons.is_empty(),
            reasons,
            rounds,
        }
    }

    pub(super) fn is_good(&self) -> bool {
        self.good
    }

    /// One row a figure, one column a round.
    pub(super) fn table(&self) -> Table {
        let mut head = vec!["figure".to_owned()];
        head.extend((1..=self.rounds.len()).map(|nth| format!("round {nth}")));
        let mut table = Table::new(&head.iter().map(String::as_str).collect::<Vec<_>>());
        for (name, value) in FIGURES {
            let mut row = vec![(*name).to_owned()];
            row.extend(self.rounds.iter().map(value));
            table.row(row);
        }
        table
    }

    pub(super) fn text(&self) -> String {
        let mut out = format!(
            "{}: {} clients in {} services, beats every {:.1} s, lists every {} ms; stop: {}, down {} ms\n\n{}\n",
            self.label,
            grouped(f64::from(self.clients)),
            grouped(f64::from(self.services)),
            self.beat_interval_ms as f64 / 1e3,
            self.poll_ms,
            self.stop,
            self.down_ms,
            self.table().text()
        );
        self.reasons.iter().for_each(|reason| out += &format!("{reason}\n"));
        out + if self.good { "GOOD\n" } else { "BAD\n" }
    }
}

/// A figure of a round as text.
type Value = fn(&Round) -> String;

/// The rows of the table.
const FIGURES: &[(&str, Value)] = &[
    ("stop to end of the process, ms", |round| time(round.timeline.figures.gone_ms)),
    ("start to first answer, ms", |round| time(round.timeline.figures.start_to_first_answer_ms)),
    ("start to first list, ms", |round| time(round.timeline.figures.start_to_first_list_ms)),
    ("start to UP, ms", |round| time(round.timeline.figures.start_to_ready_ms)),
    ("start to complete lists, ms", |round| time(round.timeline.figures.start_to_full_ms)),
    ("stop to complete lists (gap), ms", |round| time(round.timeline.figures.gap_ms)),
    ("missing in the first lists", |round| time(round.timeline.figures.first_missing.map(u64::from))),
    ("most missing at once", |round| count(u64::from(round.timeline.figures.max_missing))),
    ("instance-seconds missing", |round| format!("{:.1}", round.timeline.figures.missing_instance_s)),
    ("most unhealthy at once", |round| count(u64::from(round.timeline.figures.max_unhealthy))),
    ("empty lists served", |round| count(round.timeline.figures.empty_lists)),
    ("lists not served", |round| count(round.timeline.figures.refused_lists)),
    ("beats that failed", |round| count(round.timeline.figures.failed_beats)),
    ("beats answered 20404", |round| count(round.timeline.figures.unknown_beats)),
    ("clients registered again", |round| count(round.timeline.figures.reregistrations)),
    ("registrations that failed", |round| count(round.timeline.figures.failed_registrations)),
    ("pushes lost", pushes),
    ("slowest push, ms", |round| time(round.changes.iter().filter_map(|change| change.pushed_ms).max())),
];

fn count(number: u64) -> String {
    grouped(number as f64)
}

fn time(ms: Option<u64>) -> String {
    ms.map_or("-".into(), count)
}

fn pushes(round: &Round) -> String {
    match round.push_before_ms {
        Some(_) => format!("{} of {}", round.lost_pushes(), round.changes.len()),
        None => "not measured".into(),
    }
}

fn reasons(limits: &Limits, rounds: &[Round]) -> Vec<String> {
    let mut reasons = Vec::new();
    for (nth, round) in rounds.iter().enumerate() {
        let Figures { max_missing, reregistrations, gap_ms, .. } = round.timeline.figures;
        let mut fault = |text: String| reasons.push(format!("round {}: {text}", nth + 1));
        if !round.settled {
            fault("the lists did not become complete again and stay so".into());
        }
        if max_missing > limits.max_missing {
            fault(format!("{max_missing} instances were missing at once, {} may be", limits.max_missing));
        }
        if reregistrations > u64::from(limits.max_reregistrations) {
            let most = limits.max_reregistrations;
            fault(format!("clients had to register again {reregistrations} times, {most} may be"));
        }
        if let (Some(most), Some(gap_ms)) = (limits.max_gap_ms, gap_ms.filter(|gap| limits.max_gap_ms < Some(*gap))) {
            fault(format!("lists were not complete for {gap_ms} ms, {most} may be"));
        }
        if let Some(most) = limits.max_lost_pushes {
            let lost = round.lost_pushes();
            if round.push_before_ms.is_none() {
                fault("no push came even before the stop, so none can be judged".into());
            } else if lost > most as usize {
                fault(format!("{lost} pushes were lost, {most} may be"));
            }
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::drill::subscriber::Change;
    use crate::tools::drill::timeline::Timeline;

    #[test]
    fn each_limit_is_judged() {
        let figures = Figures { max_missing: 3, reregistrations: 2, gap_ms: Some(700), ..Figures::default() };
        let timeline = Timeline { figures, ..Timeline::default() };
        let changes = vec![Change { pushed_ms: Some(1), polled_ms: None }, Change::default()];
        let round = Round { timeline, settled: true, changes, push_before_ms: Some(5) };
        let judge = |max_missing, max_reregistrations, max_gap_ms, max_lost_pushes| {
            let limits = Limits { max_missing, max_reregistrations, max_gap_ms, max_lost_pushes };
            reasons(&limits, std::slice::from_ref(&round)).len()
        };
        assert_eq!(judge(3, 2, Some(700), Some(1)), 0);
        assert_eq!(judge(3, 2, None, None), 0);
        assert_eq!([judge(2, 2, None, None), judge(3, 1, None, None), judge(3, 2, Some(699), None)], [1, 1, 1]);
        assert_eq!([judge(3, 2, None, Some(0)), judge(0, 0, Some(0), Some(0))], [1, 4]);
        let unsettled = Round { settled: false, push_before_ms: None, ..round.clone() };
        let limits = Limits { max_missing: 9, max_reregistrations: 9, max_gap_ms: None, max_lost_pushes: Some(9) };
        assert_eq!(reasons(&limits, &[round, unsettled]).len(), 2);
    }
}
