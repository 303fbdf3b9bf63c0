//! `nacre bench`: what each durability mode costs on this machine, with servers of its own on the loopback interface.
//!
//! Everything that is compared is measured in one run, in turn: a round takes every mode through every kind of work, so
//! that whatever else the machine does hits all of them alike, and the medians of the rounds count. Floors are measured
//! in between: hyper that answers a constant, a sync after an append.
//!
//! | module | what it holds |
//! |---|---|
//! | [`process`] | servers as child processes |
//! | [`bare`] | the server to compare with |
//! | [`machine`] | what was measured on, its disk |
//! | `figures` | what a server says of its own store |
//! | `rates`, `scale`, `service` | the parts |
//! | `summary`, `page` | the report as text and JSON, as a page |

pub mod bare;
mod figures;
pub mod machine;
mod page;
pub mod process;
mod rates;
mod scale;
mod service;
mod summary;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime::Runtime;

use self::machine::{Folder, Machine};
use self::process::Process;
use self::summary::Report;
use super::Verdict;
use super::client::{Server, Session};
use super::engine::{Engine, Live, Pass, Plan};
use super::fleet::Fleet;
use super::pace::Until;
use super::record::Record;
use super::report::grouped;
use super::report::out::{self, Line};
use super::scenario::Work;
use super::verify::{Verification, verify};
use crate::config::flags::{BenchFlags, Mode, Part};
use crate::error::{Error, Result};

const SCALE: [u32; 3] = [10_000, 100_000, 1_000_000];
const TIMEOUT: Duration = Duration::from_secs(30);
/// Of a floor of the disk.
const SYNCS: usize = 400;
/// Open files besides connections.
const OTHER_FILES: u64 = 64;
/// Instances don't beat here, and must not go meanwhile.
const METADATA: &str = r#"{"preserved.heart.beat.timeout":"86400000","preserved.ip.delete.timeout":"86400000"}"#;

/// Runs the command.
///
/// # Errors
/// [`Error::Input`] for flags that can't be; others when it can't be measured.
pub fn run(flags: &BenchFlags) -> Result<Verdict> {
    if flags.be_the_bare_server {
        match bare::run()? {}
    }
    let bench = Bench::new(Settings::read(flags)?)?;
    let report = bench.all();
    drop(bench.line);
    let report = report?;
    let stdout_is_taken = flags.json.as_deref().is_some_and(out::is_stdout);
    out::text(&report.text(), stdout_is_taken)?;
    if let Some(file) = &flags.json {
        out::json(file, &report)?;
    }
    if let Some(file) = &flags.html {
        out::page(file, &page::page(&report))?;
    }
    Ok(if report.is_good() { Verdict::Good } else { Verdict::Bad })
}

/// The flags with everything filled in.
#[derive(Debug, Clone, PartialEq)]
struct Settings {
    seconds: Duration,
    rounds: u32,
    connections: u32,
    services: u32,
    instances: u32,
    modes: Vec<Mode>,
    parts: Vec<Part>,
    scale: Vec<u32>,
    restarts: u32,
    rest: Duration,
    /// Instances of the one large service.
    large: u32,
    syncs: usize,
    place: PathBuf,
    program: PathBuf,
    /// This program, which is the bare server too.
    own: PathBuf,
    /// After this time what is due by the clock (`nacre.store.interval-ms` is 100) has been written.
    settle: Duration,
    /// Pairs of one more instance; fewer say nothing.
    min_pairs: u64,
    seed: u64,
}

impl Settings {
    fn read(flags: &BenchFlags) -> Result<Self> {
        if flags.seconds < Duration::from_millis(50) || flags.seconds > Duration::from_secs(600) {
            return Err(Error::Input("--seconds must be from 50ms to 10m".into()));
        }
        let own = std::env::current_exe().map_err(|error| Error::Setup(format!("can't find myself: {error}")))?;
        // Servers run in folders of their own.
        let whole =
            |path: &Path| std::path::absolute(path).map_err(|e| Error::Input(format!("{}: {e}", path.display())));
        let all = |modes: &[Mode]| if modes.is_empty() { Mode::ALL.to_vec() } else { modes.to_vec() };
        let parts =
            if flags.only.is_empty() { vec![Part::Rates, Part::Scale, Part::Service] } else { flags.only.clone() };
        let mut modes = all(&flags.modes);
        modes.sort_unstable();
        modes.dedup();
        let mut scale = if flags.scale.is_empty() { SCALE.to_vec() } else { flags.scale.clone() };
        scale.sort_unstable();
        scale.dedup();
        let full = Self {
            seconds: flags.seconds,
            rounds: flags.rounds,
            connections: flags.connections,
            services: flags.services,
            instances: flags.instances,
            modes,
            parts,
            scale,
            restarts: flags.restarts,
            rest: flags.rest,
            large: 10_000,
            syncs: SYNCS,
            place: whole(flags.dir.as_deref().unwrap_or(Path::new(".")))?,
            program: flags.program.as_deref().map_or_else(|| Ok(own.clone()), whole)?,
            own,
            settle: Duration::from_millis(300),
            min_pairs: 100,
            seed: flags.seed,
        };
        Ok(if flags.quick { full.quick(flags) } else { full })
    }

    /// Little of everything.
    fn quick(self, flags: &BenchFlags) -> Self {
        Self {
            seconds: self.seconds.min(Duration::from_millis(150)),
            rounds: 1,
            connections: self.connections.min(8),
            services: self.services.min(20),
            scale: if flags.scale.is_empty() { vec![500] } else { self.scale },
            restarts: 1,
            rest: Duration::ZERO,
            large: 1_000,
            syncs: 20,
            settle: Duration::from_millis(150),
            min_pairs: 20,
            ..self
        }
    }

    /// The mode of parts that measure one: the first that stores anything.
    fn storing(&self) -> Mode {
        self.modes.iter().copied().find(|mode| *mode != Mode::Off).unwrap_or(Mode::Synced)
    }
}

/// What all parts need.
#[derive(Debug)]
struct Bench {
    settings: Settings,
    line: Line,
    runtime: Runtime,
    stop: Arc<AtomicBool>,
    folder: Folder,
}

impl Bench {
    fn new(settings: Settings) -> Result<Self> {
        let runtime = Runtime::new().map_err(|error| Error::Setup(format!("no runtime: {error}")))?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        runtime.spawn(async move {
            super::signalled().await;
            told.store(true, Ordering::Relaxed);
        });
        // Fewer files than wanted show as connections that can't be opened.
        let _ = rlimit::increase_nofile_limit(u64::from(settings.connections) + OTHER_FILES);
        let folder = Folder::new(&settings.place).map_err(|error| {
            Error::Setup(format!("no folder for the data in {}: {error}", settings.place.display()))
        })?;
        Ok(Self { settings, line: Line::new(), runtime, stop, folder })
    }

    fn all(&self) -> Result<Report> {
        let place = self.folder.path();
        let syncs = || {
            let syncs = machine::syncs(place, self.settings.syncs);
            syncs.map_err(|error| Error::Setup(format!("can't measure the disk: {error}")))
        };
        let mut report = Report::new(&self.settings, Machine::with(place), syncs()?);
        for part in &self.settings.parts {
            match part {
                Part::Rates => report.rates = Some(rates::measure(self)?),
                Part::Scale => report.sizes = scale::measure(self)?,
                Part::Service => report.service = Some(service::measure(self)?),
            }
        }
        report.fdatasync_after = syncs()?;
        report.told_rows();
        Ok(report)
    }

    /// A server of that mode in a folder of its own.
    fn serve(&self, name: &str, mode: Mode) -> Result<Process> {
        self.line.say(format!("starting a server ({})", mode.name()));
        Process::nacre(&self.settings.program, &self.folder.path().join(name), mode.name(), &self.stop)
    }

    /// An engine for instances on a server.
    fn engine(&self, address: SocketAddr, prefix: &str, services: u32, instances: u32) -> Result<Engine> {
        let fleet = Fleet {
            services,
            instances,
            prefix: prefix.to_owned(),
            namespace: "public".into(),
            group: "DEFAULT_GROUP".into(),
            metadata: METADATA.into(),
            period_ms: 5_000,
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as u32;
        let connections = self.settings.connections.min(instances);
        let threads = (cores / 2).clamp(1, connections);
        let plan = Plan { connections, threads, timeout: TIMEOUT, seed: self.settings.seed };
        Ok(Engine::new(session(address)?, fleet, plan, Arc::clone(&self.stop)))
    }

    /// Does the work; one wrong answer is an error. `what` is said meanwhile.
    fn pass(&self, engine: &mut Engine, work: Work, until: Until, what: &str) -> Result<Record> {
        let said = |live: &Live| {
            let rate = live.record.good_count() as f64 / live.elapsed.as_secs_f64().max(0.001);
            self.line.say(format!("{what}: {} at {}/s", grouped(live.record.good_count() as f64), grouped(rate)));
        };
        let pass = Pass { work, until, warm_up: Duration::ZERO, rate: None };
        let record = engine.pass(pass, &mut |live| said(live));
        self.interrupted()?;
        let record = record?;
        match record.faults().first() {
            None => Ok(record),
            Some(fault) => Err(Error::Unavailable(format!(
                "{what}: {} of {} requests failed: {} {}",
                record.fault_count(),
                record.fault_count() + record.good_count(),
                fault.fault,
                fault.example
            ))),
        }
    }

    /// Whether everything is as acknowledged.
    fn verify(&self, engine: &Engine, address: SocketAddr) -> Result<Verification> {
        self.line.say("reading all lists: is everything there that was acknowledged?");
        Ok(self.runtime.block_on(verify(&session(address)?, engine.fleet(), engine.expected(), TIMEOUT / 10)))
    }

    fn interrupted(&self) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Unavailable("interrupted".into())) } else { Ok(()) }
    }
}

fn session(address: SocketAddr) -> Result<Arc<Session>> {
    Ok(Arc::new(Session::anonymous(Server::parse(&format!("http://{address}"), false)?)))
}

/// The middle of the values; 0 of none.
fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_unstable_by(f64::total_cmp);
    let at = |place: usize| values.get(place).copied().unwrap_or_default();
    f64::midpoint(at(values.len() / 2), at(values.len().saturating_sub(1) / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_are_in_the_middle() {
        for (values, wanted) in [(&[][..], 0.0), (&[3.0], 3.0), (&[9.0, 1.0], 5.0), (&[7.0, 1.0, 2.0], 2.0)] {
            assert!((median(values.iter().copied()) - wanted).abs() < 1e-9, "{values:?}");
        }
    }

    #[test]
    fn what_is_not_given_is_filled_in() {
        let seconds = Duration::from_secs(1);
        let flags = BenchFlags { seconds, modes: vec![Mode::Off, Mode::Written, Mode::Off], ..BenchFlags::default() };
        let settings = Settings::read(&flags).unwrap();
        assert_eq!((settings.modes.as_slice(), settings.storing()), (&[Mode::Written, Mode::Off][..], Mode::Written));
        assert_eq!((settings.scale.as_slice(), settings.parts.len()), (&SCALE[..], 3));
        assert!(settings.program.is_absolute() && settings.place.is_absolute());
        let short = Settings::read(&BenchFlags { seconds: Duration::from_millis(1), ..flags });
        assert!(matches!(short, Err(Error::Input(_))));
    }
}
