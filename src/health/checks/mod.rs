//! Active checks of persistent instances (`spec/health.md` 2): TCP, HTTP and MYSQL.
//!
//! [`schedule`] says what is due and what follows from the findings, without sockets or clocks; this file carries the
//! checks out. One thread does it all, whatever the number of targets, with at most [`IN_FLIGHT`] checks at a time; a
//! check that waits for its turn counts as running, so it is not due a second time and the pause of its cluster grows.
//! What is found goes through `commit` and is stored, so that a restart keeps it.

mod http;
mod mysql;
pub mod params;
pub mod schedule;
mod target;
mod tcp;
pub mod verdict;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::task::{Id, JoinSet};
use tokio::time::MissedTickBehavior;

use super::figures::Figures;
use super::{Inbox, IsOwner, TICK_MS};
use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::model::HealthChecker;
use crate::model::clock::AwakeClock;
use params::{Kind, SharedParams};
use schedule::{Job, Schedule};
use verdict::Finding;

/// Checks that may be under way at a time; each holds a socket.
pub const IN_FLIGHT: usize = 512;
/// Threads that look host names up, when targets have names.
const LOOKUP_THREADS: usize = 16;

/// The running thread.
pub struct Checks {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Checks {
    /// Starts checking what `is_owner` says is this server's to check. `inbox` must have been told of every restored instance.
    ///
    /// # Errors
    /// [`Error::Setup`] when there can be no thread or no runtime.
    pub fn start(
        commit: Commit,
        clock: AwakeClock,
        inbox: Inbox,
        params: SharedParams,
        figures: Arc<Figures>,
        is_owner: IsOwner,
    ) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(LOOKUP_THREADS)
            .thread_name("lookup")
            .build()
            .map_err(|e| Error::Setup(format!("no runtime for checks: {e}")))?;
        let stop = Arc::new(AtomicBool::new(false));
        let schedule = Schedule::new(clock.now_ms());
        let checker = Checker {
            schedule,
            commit,
            clock,
            inbox,
            params,
            figures,
            is_owner,
            waiting: VecDeque::new(),
            running: JoinSet::new(),
            given_out: HashMap::new(),
        };
        let stopping = stop.clone();
        let thread = std::thread::Builder::new().name("checks".into()).spawn(move || run(runtime, checker, &stopping));
        let thread = thread.map_err(|e| Error::Setup(format!("no thread for checks: {e}")))?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread and waits for it; checks under way are given up.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            tracing::error!("the thread of the checks had panicked");
        }
    }
}

fn run(runtime: Runtime, checker: Checker, stop: &AtomicBool) {
    runtime.block_on(checker.run(stop));
    // A look-up of a name can't be interrupted; it ends on its own.
    runtime.shutdown_background();
}

struct Checker {
    schedule: Schedule,
    commit: Commit,
    clock: AwakeClock,
    inbox: Inbox,
    params: SharedParams,
    /// Due, but [`IN_FLIGHT`] are under way. At most one entry an instance.
    waiting: VecDeque<Job>,
    running: JoinSet<Finding>,
    figures: Arc<Figures>,
    is_owner: IsOwner,
    /// Numbers and kinds of the jobs that are under way.
    given_out: HashMap<Id, (u64, Kind)>,
}

impl Checker {
    async fn run(mut self, stop: &AtomicBool) {
        let mut ticks = tokio::time::interval(Duration::from_millis(TICK_MS));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.load(Ordering::Relaxed) {
            tokio::select! {
                _ = ticks.tick() => self.tick(),
                Some(done) = self.running.join_next_with_id() => {
                    let (id, finding) = done.unwrap_or_else(|error| {
                        tracing::error!(%error, "a health check broke off");
                        (error.id(), Finding::Unknown)
                    });
                    self.finish(id, finding);
                }
            }
            self.fill();
        }
    }

    fn tick(&mut self) {
        let (now_ms, params) = (self.clock.now_ms(), self.params.get());
        for (service, slot) in self.inbox.take_persistent() {
            self.schedule.watch(service, slot, now_ms, &params);
        }
        self.waiting.extend(self.schedule.tick(now_ms, &params, &*self.is_owner));
    }

    fn fill(&mut self) {
        while self.running.len() < IN_FLIGHT
            && let Some(job) = self.waiting.pop_front()
        {
            let given = (job.number, job.kind);
            let task = self.running.spawn(async move { check(&job).await });
            self.given_out.insert(task.id(), given);
        }
    }

    fn finish(&mut self, id: Id, finding: Finding) {
        let Some((number, kind)) = self.given_out.remove(&id) else { return };
        self.figures.count_check(kind);
        tracing::debug!(target: "nacre::rt", number, ?finding, "a check has ended");
        let Some(command) = self.schedule.finish(number, finding, &self.params.get()) else { return };
        // A full queue is no loss: the checks after this one find the same.
        if self.commit.post(command).is_err() {
            tracing::debug!("the commit queue is full; the health that a check found has to wait");
        }
    }
}

async fn check(job: &Job) -> Finding {
    let (ip, port) = (job.slot.ip(), job.slot.port());
    let settings = job.settings.as_deref();
    let check_port = match settings {
        Some(settings) if !settings.use_instance_port => settings.check_port,
        _ => port,
    };
    match (job.kind, settings.map(|settings| &settings.checker)) {
        (Kind::Http, Some(HealthChecker::Http { path, headers, .. })) => {
            Box::pin(http::check(ip, check_port, path, headers)).await
        }
        (Kind::Mysql, Some(HealthChecker::Mysql { user, pwd, cmd })) => {
            let login = mysql::Login { user: user.as_deref(), password: pwd.as_deref(), command: cmd.as_deref() };
            Box::pin(mysql::check(ip, port, login)).await
        }
        _ => tcp::check(ip, check_port).await,
    }
}

#[cfg(test)]
mod tests;
