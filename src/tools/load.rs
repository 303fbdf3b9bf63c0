//! `nacre load`: puts a scenario through and verifies that the server still has what it acknowledged.

mod summary;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::Verdict;
use super::client::{Server, Session};
use super::engine::{Engine, Live, Pass, Plan};
use super::fleet::{Fleet, MAX_INSTANCES};
use super::pace::Until;
use super::record::Record;
use super::report::facts::Facts;
use super::report::grouped;
use super::report::out::{self, Line};
use super::scenario::Work;
use super::verify::{Verification, verify};
use crate::config::flags::{LoadFlags, Scenario, TargetFlags};
use crate::error::{Error, Result};

const DURATION: Duration = Duration::from_secs(10);
/// More is a mistake.
const MAX_RATE: f64 = 10_000_000.0;
/// Open files besides connections.
const OTHER_FILES: u64 = 64;
/// Instances of a load don't beat unless that is what is measured: they would expire meanwhile.
const METADATA: &str = r#"{"preserved.heart.beat.timeout":"86400000","preserved.ip.delete.timeout":"86400000"}"#;

/// Runs the command.
///
/// # Errors
/// [`Error::Input`] for flags that don't go together; others when the load can't be made at all.
pub fn run(flags: &LoadFlags) -> Result<Verdict> {
    let session = session(&flags.target)?;
    let (fleet, plan) = plan(flags)?;
    let pass = Pass {
        work: Work::Scenario(flags.scenario),
        until: match flags.count {
            Some(count) => Until::Count(count),
            None => Until::After(flags.duration.unwrap_or(DURATION)),
        },
        warm_up: flags.warm_up,
        rate: flags.rate,
    };
    let (runtime, stop) = background(&session)?;
    let mut facts = Facts::now("nacre load", &session);
    runtime.block_on(facts.ask_version(&session));
    let line = Line::new();
    let engine = Engine::new(Arc::clone(&session), fleet, plan, Arc::clone(&stop));
    let mut load = Load { session, engine, line, runtime, wait: flags.verify_wait };
    let ran = load.all(&pass);
    let cleaned = if flags.keep { Ok(()) } else { load.clean(&stop) };
    drop(load.line);
    let (record, verified) = ran?;
    let interrupted = stop.load(Ordering::Relaxed);
    let report = summary::Report::new(facts, flags, &plan, record, verified, interrupted);
    let stdout_is_taken = flags.target.json.as_deref().is_some_and(out::is_stdout);
    out::text(&report.text(), stdout_is_taken)?;
    if let Some(file) = &flags.target.json {
        out::json(file, &report)?;
    }
    cleaned?;
    Ok(if report.is_good() { Verdict::Good } else { Verdict::Bad })
}

struct Load {
    session: Arc<Session>,
    engine: Engine,
    line: Line,
    runtime: tokio::runtime::Runtime,
    wait: Duration,
}

impl Load {
    /// Registers who must be there, measures, verifies.
    fn all(&mut self, pass: &Pass) -> Result<(Record, Verification)> {
        let needs_fleet = !matches!(pass.work, Work::Scenario(Scenario::Register | Scenario::Churn));
        let before = if needs_fleet { Some(self.prepare()?) } else { None };
        let line = &self.line;
        let record = self.engine.pass(*pass, &mut |live| line.say(told(pass, live)))?;
        let mut verified = self.verify();
        if let Some(before) = before {
            verified.missing += before.missing;
            verified.examples.extend(before.examples);
        }
        Ok((record, verified))
    }

    fn prepare(&mut self) -> Result<Verification> {
        let (line, all) = (&self.line, f64::from(self.engine.fleet().instances));
        let record = self.engine.pass(Pass::once(Work::Prepare), &mut |live| {
            line.say(format!("registering: {} of {}", grouped(live.record.good_count() as f64), grouped(all)));
        })?;
        if let Some(fault) = record.faults().first() {
            let said = if fault.example.is_empty() { String::new() } else { format!(": {}", fault.example) };
            return Err(Error::Unavailable(format!(
                "{} of {} instances could not be registered: {}{said}",
                grouped(record.fault_count() as f64),
                grouped(all),
                fault.fault
            )));
        }
        Ok(self.verify())
    }

    fn verify(&self) -> Verification {
        self.line.say("reading all lists: is everything there that was acknowledged?");
        self.runtime.block_on(verify(&self.session, self.engine.fleet(), self.engine.expected(), self.wait))
    }

    /// Deregisters what may be there, also after an interrupted run.
    fn clean(&mut self, stop: &AtomicBool) -> Result<()> {
        let stopped = stop.swap(false, Ordering::Relaxed);
        let line = &self.line;
        let record = self.engine.pass(Pass::once(Work::Clean), &mut |live| {
            line.say(format!("deregistering: {}", grouped(live.record.good_count() as f64)));
        });
        stop.fetch_or(stopped, Ordering::Relaxed);
        match record?.fault_count() {
            0 => Ok(()),
            count => Err(Error::Unavailable(format!("{count} instances could not be deregistered"))),
        }
    }
}

/// The session that the flags ask for. Nothing is sent yet.
///
/// # Errors
/// As [`Server::parse`]; [`Error::Input`] for a user without a password.
pub(super) fn session(target: &TargetFlags) -> Result<Arc<Session>> {
    let server = Server::parse(&target.server, target.allow_remote)?;
    Ok(Arc::new(match (&target.username, &target.password) {
        (Some(username), Some(password)) => Session::of_user(server, username, password),
        (Some(_), None) => return Err(Error::Input("--username needs --password or NACRE_PASSWORD".into())),
        _ => Session::anonymous(server),
    }))
}

fn plan(flags: &LoadFlags) -> Result<(Fleet, Plan)> {
    let fault = |text: String| Err(Error::Input(text));
    let instances = u64::from(flags.services) * u64::from(flags.instances);
    if instances > u64::from(MAX_INSTANCES) {
        return fault(format!("--services x --instances is {instances}, at most {MAX_INSTANCES} are possible"));
    }
    if flags.rate.is_some_and(|rate| !(rate > 0.0 && rate <= MAX_RATE)) {
        return fault(format!("--rate must be above 0 and at most {MAX_RATE}"));
    }
    if flags.timeout < Duration::from_millis(1) || flags.duration == Some(Duration::ZERO) {
        return fault("--timeout and --duration must be at least 1ms".into());
    }
    let instances = instances as u32;
    // Lists belong to nobody; of everything else a connection without instances has nothing to send.
    let connections =
        if flags.scenario == Scenario::List { flags.connections } else { flags.connections.min(instances) };
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as u32;
    let threads = flags.threads.unwrap_or((cores / 2).max(1)).min(connections);
    // Fewer files than wanted show as connections that can't be opened.
    let _ = rlimit::increase_nofile_limit(u64::from(connections) + OTHER_FILES);
    let fleet = Fleet {
        services: flags.services,
        instances,
        prefix: format!("nacre-load-{}", flags.seed),
        namespace: flags.target.namespace.clone(),
        group: flags.target.group.clone(),
        metadata: METADATA.into(),
        period_ms: 5_000,
    };
    Ok((fleet, Plan { connections, threads, timeout: flags.timeout, seed: flags.seed }))
}

/// Logs in, keeps the login fresh, and listens for signals: the first ends the run in good order, the second at once.
fn background(session: &Arc<Session>) -> Result<(tokio::runtime::Runtime, Arc<AtomicBool>)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = runtime.map_err(|error| Error::Setup(format!("no runtime: {error}")))?;
    runtime.block_on(session.login())?;
    runtime.spawn(Arc::clone(session).keep_fresh());
    let stop = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&stop);
    runtime.spawn(async move {
        super::signalled().await;
        told.store(true, Ordering::Relaxed);
        super::signalled().await;
        std::process::exit(super::INTERRUPTED);
    });
    Ok((runtime, stop))
}

fn told(pass: &Pass, live: &Live) -> String {
    let all = live.record.all();
    let whole = match pass.until {
        Until::After(time) => format!(" of {:.0} s", (pass.warm_up + time).as_secs_f64()),
        Until::Count(count) => format!(", {} of {}", grouped(all.good as f64), grouped(count as f64)),
        Until::Once => String::new(),
    };
    let rate = live.record.span.map_or(0.0, |(first, last)| all.good as f64 / (last - first).as_secs_f64().max(0.001));
    let summary = all.latencies.summary();
    format!(
        "{:.0} s{whole}: {}/s, p50 {:.2} ms, p99 {:.2} ms, {} faults",
        live.elapsed.as_secs_f64(),
        grouped(rate),
        summary.p50_ms,
        summary.p99_ms,
        grouped(live.record.fault_count() as f64)
    )
}
