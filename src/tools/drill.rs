//! `nacre drill`: kills and restarts a server under clients that beat, and measures what they and consumers see.
//!
//! Clients, consumers and a subscriber are those of `beater`, `watcher` and `subscriber`; `process` is the
//! server; all of them note what happens in a `log`, which `timeline` turns into figures.

mod beater;
mod log;
mod page;
mod process;
mod round;
mod subscriber;
mod summary;
mod timeline;
mod watcher;

use std::sync::Arc;
use std::time::Duration;

use self::log::Log;
use self::process::Process;
use self::round::Drill;
use super::Verdict;
use super::client::Session;
use super::fleet::Fleet;
use super::report::facts::Facts;
use super::report::out::{self, Line};
use crate::config::flags::DrillFlags;
use crate::error::{Error, Result};

/// Beats of another interval are told to the server by metadata.
const USUAL_INTERVAL: Duration = Duration::from_secs(5);
const MIN_INTERVAL: Duration = Duration::from_millis(100);
const MIN_POLL: Duration = Duration::from_millis(20);
/// Open files besides clients.
const OTHER_FILES: u64 = 512;

/// Runs the command.
///
/// # Errors
/// [`Error::Input`] for flags that don't go together; others when the drill can't be run.
pub fn run(flags: &DrillFlags) -> Result<Verdict> {
    check(flags)?;
    let session = super::load::session(&flags.target)?;
    let _ = rlimit::increase_nofile_limit(u64::from(flags.clients) + OTHER_FILES);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::Setup(format!("no runtime: {error}")))?;
    let mut process = Process::new(flags, session.server())?;
    let mut facts = Facts::now("nacre drill", &session);
    let ran = runtime.block_on(async {
        tokio::select! {
            // Not before there is something to leave behind.
            ran = drilled(flags, &session, &mut process, &mut facts) => ran,
            () = super::signalled() => Err(Error::Unavailable("interrupted".into())),
        }
    });
    // Tasks still talk to the server: end them first.
    runtime.shutdown_background();
    let log_path = process.log_path().to_owned();
    process.finish(ran.is_err());
    let rounds = match ran {
        Ok(rounds) => rounds,
        Err(Error::Input(text)) => return Err(Error::Input(text)),
        Err(error) => {
            return Err(Error::Unavailable(format!("{error} (output of the server: {})", log_path.display())));
        }
    };
    let report = summary::Report::new(facts, flags, rounds);
    let stdout_is_taken = flags.target.json.as_deref().is_some_and(out::is_stdout);
    out::text(&report.text(), stdout_is_taken)?;
    if let Some(file) = &flags.html {
        out::page(file, &page::page(&report))?;
    }
    if let Some(file) = &flags.target.json {
        out::json(file, &report)?;
    }
    Ok(if report.is_good() { Verdict::Good } else { Verdict::Bad })
}

fn check(flags: &DrillFlags) -> Result<()> {
    let least = |name: &str, value: Duration, least: Duration| {
        if value >= least { Ok(()) } else { Err(Error::Input(format!("--{name} must be at least {least:?}"))) }
    };
    least("beat-interval", flags.beat_interval, MIN_INTERVAL)?;
    least("poll", flags.poll, MIN_POLL)?;
    least("patience", flags.patience, Duration::from_secs(1))?;
    if flags.services > flags.clients {
        return Err(Error::Input("--services must not be more than --clients".into()));
    }
    Ok(())
}

async fn drilled(
    flags: &DrillFlags,
    session: &Arc<Session>,
    process: &mut Process,
    facts: &mut Facts,
) -> Result<Vec<round::Round>> {
    let line = Line::new();
    let log = Arc::new(Log::new());
    let mut drill = Drill::begin(flags, session, fleet(flags), &log, process, &line).await?;
    facts.ask_version(session).await;
    let mut rounds = Vec::new();
    for nth in 0..flags.rounds {
        rounds.push(drill.round(nth, process, &line).await?);
    }
    drill.end(&line).await;
    process.stop_elsewhere(flags.patience).await?;
    Ok(rounds)
}

fn fleet(flags: &DrillFlags) -> Fleet {
    let ms = flags.beat_interval.as_millis();
    let usual = flags.beat_interval == USUAL_INTERVAL;
    Fleet {
        services: flags.services,
        instances: flags.clients,
        prefix: format!("nacre-drill-{}", flags.seed),
        namespace: flags.target.namespace.clone(),
        group: flags.target.group.clone(),
        metadata: if usual { "{}".into() } else { format!("{{\"preserved.heart.beat.interval\":\"{ms}\"}}") },
        period_ms: ms as u64,
    }
}
