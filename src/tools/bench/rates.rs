//! Rates, latencies, bytes and syncs of every mode, round by round.

use std::sync::Arc;

use serde::Serialize;

use super::figures::{self, StoreFigures};
use super::process::{Process, cpu_us, written_bytes};
use super::{Bench, median, session};
use crate::config::flags::{Mode, Scenario};
use crate::error::Result;
use crate::tools::client::Session;
use crate::tools::engine::Engine;
use crate::tools::fleet::{Kind, MAX_INSTANCES};
use crate::tools::pace::Until;
use crate::tools::record::LatencySummary;
use crate::tools::scenario::{Expect, Work};
use crate::tools::verify::Verification;

/// New instances are prepared for this rate: nobody registers faster here.
const MAX_RATE: f64 = 400_000.0;
/// Name of the floor among the modes.
pub(super) const BARE: &str = "bare";

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Task {
    /// New instances.
    Register,
    /// The same ones.
    Deregister,
    /// What real clients send.
    Mixed,
}

impl Task {
    pub(super) const ALL: [Self; 3] = [Self::Register, Self::Deregister, Self::Mixed];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Deregister => "deregister",
            Self::Mixed => "mixed",
        }
    }
}

/// One mode at one task in one round.
#[derive(Debug, Clone)]
struct Round {
    rate_per_s: f64,
    latency: LatencySummary,
    requests: u64,
    changes: u64,
    server_cpu_us: Option<u64>,
    load_cpu_us: Option<u64>,
    written_bytes: Option<u64>,
    store: Option<StoreFigures>,
}

/// One mode at one task.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) mode: &'static str,
    pub(super) task: Task,
    /// Median of the rounds, and all of them.
    pub(super) rate_per_s: f64,
    pub(super) rates_per_s: Vec<f64>,
    /// Of the bare server's rate in the same round, median.
    pub(super) share_of_bare: f64,
    /// Median of the rounds, each.
    pub(super) latency: LatencySummary,
    /// Of all rounds together.
    pub(super) requests: u64,
    /// Of them that registered or deregistered.
    pub(super) changes: u64,
    pub(super) server_cpu_us_per_request: Option<f64>,
    pub(super) load_cpu_us_per_request: Option<f64>,
    pub(super) written_bytes: Option<u64>,
    pub(super) bytes_per_change: Option<f64>,
    /// Written bytes per byte of live row; of register.
    pub(super) write_amplification: Option<f64>,
    /// Summed up; `None` where the server does not tell.
    pub(super) store: Option<StoreFigures>,
}

/// What came of this part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Rates {
    pub(super) bare: Row,
    pub(super) rows: Vec<Row>,
    /// Of all modes.
    pub(super) verification: Verification,
}

impl Rates {
    pub(super) fn row(&self, mode: Mode, task: Task) -> Option<&Row> {
        self.rows.iter().find(|row| row.mode == mode.name() && row.task == task)
    }
}

/// A server with its instances.
struct Subject {
    mode: Option<Mode>,
    process: Process,
    session: Arc<Session>,
    /// Instances that stay; the bare server has none.
    steady: Option<Engine>,
    /// Instances that come and go.
    passing: Engine,
    rounds: Vec<(Task, Round)>,
}

pub(super) fn measure(bench: &Bench) -> Result<Rates> {
    let settings = &bench.settings;
    let mut subjects = vec![Subject::new(bench, None)?];
    for mode in &settings.modes {
        subjects.push(Subject::new(bench, Some(*mode))?);
    }
    for round in 0..settings.rounds as usize {
        for tasks in [&[Task::Register, Task::Deregister][..], &[Task::Mixed]] {
            // Nobody is always the first.
            subjects.rotate_left(round % 2 + 1);
            for subject in &mut subjects {
                tasks.iter().try_for_each(|task| subject.round(bench, round, *task))?;
            }
        }
    }
    let mut verification = Verification::default();
    for subject in &mut subjects {
        subject.process.still_alive()?;
        if let Some(steady) = &subject.steady {
            for engine in [steady, &subject.passing] {
                let found = bench.verify(engine, subject.process.address)?;
                verification = sum(verification, found);
            }
        }
    }
    subjects.sort_by_key(|subject| subject.mode);
    Ok(summed(&subjects, verification))
}

/// Adds what was found elsewhere.
pub(super) fn sum(mut all: Verification, found: Verification) -> Verification {
    all.registered += found.registered;
    all.missing += found.missing;
    all.deregistered += found.deregistered;
    all.undead += found.undead;
    all.unhealthy += found.unhealthy;
    all.in_doubt += found.in_doubt;
    all.unread += found.unread;
    all.took_ms += found.took_ms;
    all.examples.extend(found.examples);
    all
}

impl Subject {
    fn new(bench: &Bench, mode: Option<Mode>) -> Result<Self> {
        let settings = &bench.settings;
        let process = match mode {
            Some(mode) => bench.serve(mode.name(), mode)?,
            None => Process::bare(&settings.own)?,
        };
        let enough = MAX_RATE * settings.seconds.as_secs_f64();
        let enough = (enough as u32).clamp(settings.connections, MAX_INSTANCES);
        let passing = bench.engine(process.address, "nacre-bench-passing", settings.services, enough)?;
        let mut subject =
            Self { mode, session: session(process.address)?, process, steady: None, passing, rounds: Vec::new() };
        if mode.is_some() {
            let instances = settings.services * settings.instances;
            let mut steady =
                bench.engine(subject.process.address, "nacre-bench-steady", settings.services, instances)?;
            bench.pass(&mut steady, Work::Prepare, Until::Once, "registering those that stay")?;
            std::thread::sleep(settings.settle);
            subject.steady = Some(steady);
        }
        Ok(subject)
    }

    fn name(&self) -> &'static str {
        self.mode.map_or(BARE, Mode::name)
    }

    fn round(&mut self, bench: &Bench, round: usize, task: Task) -> Result<()> {
        let time = Until::After(bench.settings.seconds);
        let (engine, work, until) = match (task, &mut self.steady) {
            (Task::Register, _) => (&mut self.passing, Work::Prepare, time),
            (Task::Deregister, Some(_)) => (&mut self.passing, Work::Clean, Until::Once),
            (Task::Mixed, Some(steady)) => (steady, Work::Scenario(Scenario::Mixed), time),
            // It keeps nothing, and its answer is that to a registration.
            (_, None) => return Ok(()),
        };
        let id = self.process.id();
        let store = || (bench.runtime.block_on(figures::store(&self.session)), written_bytes(id));
        let what = format!(
            "round {} of {}, {} {}",
            round + 1,
            bench.settings.rounds,
            task.name(),
            self.mode.map_or(BARE, Mode::name)
        );
        let (store_before, bytes_before) = store();
        let (server_before, load_before) = (cpu_us(Some(id)), cpu_us(None));
        let record = bench.pass(engine, work, until, &what)?;
        let (server_after, load_after) = (cpu_us(Some(id)), cpu_us(None));
        if !matches!(self.mode, None | Some(Mode::Off)) {
            std::thread::sleep(bench.settings.settle);
        }
        let (store_after, bytes_after) = store();
        let since = |after: Option<u64>, before: Option<u64>| Some(after?.saturating_sub(before?));
        let span = record.span.map_or(0.0, |(first, last)| (last - first).as_secs_f64()).max(1e-6);
        let of_kind =
            |kinds: &[Kind]| record.tallies().filter(|(kind, _)| kinds.contains(kind)).map(|(_, t)| t.good).sum();
        self.rounds.push((
            task,
            Round {
                rate_per_s: record.good_count() as f64 / span,
                latency: record.all().latencies.summary(),
                requests: record.good_count(),
                changes: of_kind(&[Kind::Register, Kind::Deregister]),
                server_cpu_us: since(server_after, server_before),
                load_cpu_us: since(load_after, load_before),
                written_bytes: since(bytes_after, bytes_before),
                store: store_after.zip(store_before).map(|(after, before)| after.since(&before)),
            },
        ));
        debug_assert!(task != Task::Deregister || !self.passing.expected().contains(&Expect::Present));
        Ok(())
    }

    fn of(&self, task: Task) -> Vec<&Round> {
        self.rounds.iter().filter(|(done, _)| *done == task).map(|(_, round)| round).collect()
    }
}

fn summed(subjects: &[Subject], verification: Verification) -> Rates {
    let bare: Vec<f64> = subjects
        .iter()
        .filter(|subject| subject.mode.is_none())
        .flat_map(|subject| subject.of(Task::Register))
        .map(|round| round.rate_per_s)
        .collect();
    let mut rows = subjects.iter().flat_map(|subject| {
        let done = Task::ALL.into_iter().map(|task| (task, subject.of(task))).filter(|(_, rounds)| !rounds.is_empty());
        done.map(|(task, rounds)| row(subject.name(), task, &rounds, &bare)).collect::<Vec<_>>()
    });
    let floor = rows.next().unwrap_or_else(|| row(BARE, Task::Register, &[], &bare));
    Rates { bare: floor, rows: rows.collect(), verification }
}

fn row(mode: &'static str, task: Task, rounds: &[&Round], bare: &[f64]) -> Row {
    let of = |value: fn(&LatencySummary) -> f64| median(rounds.iter().map(|round| value(&round.latency)));
    let rates_per_s: Vec<f64> = rounds.iter().map(|round| round.rate_per_s).collect();
    let requests: u64 = rounds.iter().map(|round| round.requests).sum();
    let changes: u64 = rounds.iter().map(|round| round.changes).sum();
    let total = |value: fn(&Round) -> Option<u64>| rounds.iter().map(|round| value(round)).sum::<Option<u64>>();
    let each = |sum: Option<u64>, count: u64| sum.filter(|_| count > 0).map(|sum| sum as f64 / count as f64);
    let written_bytes = total(|round| round.written_bytes);
    let store = rounds.iter().try_fold(StoreFigures::default(), |mut all, round| {
        all.add(round.store.as_ref()?);
        Some(all)
    });
    Row {
        mode,
        task,
        rate_per_s: median(rates_per_s.iter().copied()),
        share_of_bare: median(rates_per_s.iter().zip(bare).map(|(rate, bare)| rate / bare)),
        rates_per_s,
        latency: LatencySummary {
            mean_ms: of(|l| l.mean_ms),
            p50_ms: of(|l| l.p50_ms),
            p90_ms: of(|l| l.p90_ms),
            p99_ms: of(|l| l.p99_ms),
            p999_ms: of(|l| l.p999_ms),
            max_ms: of(|l| l.max_ms),
        },
        requests,
        changes,
        server_cpu_us_per_request: each(total(|round| round.server_cpu_us), requests),
        load_cpu_us_per_request: each(total(|round| round.load_cpu_us), requests),
        written_bytes,
        bytes_per_change: each(written_bytes, changes),
        write_amplification: None,
        store,
    }
}
