//! The order of things: everybody registers and beats; then, round by round, stop, start, a change, and waiting until
//! all is well for a while.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

use super::beater::Beater;
use super::log::{Event, Log, Mark};
use super::process::Process;
use super::subscriber::{Change, Subscriber};
use super::timeline::Timeline;
use super::watcher::{Watcher, first_answers, first_up};
use crate::config::flags::DrillFlags;
use crate::error::{Error, Result};
use crate::tools::client::{Connection, Session};
use crate::tools::fleet::{self, Fleet, Requests};
use crate::tools::report::out::Line;
use crate::tools::report::plain;

const PAUSE: Duration = Duration::from_millis(20);
/// What a chart shows before the stop.
const BEFORE: Duration = Duration::from_secs(2);
/// Requests at the same time while everybody registers.
const REGISTERING: usize = 32;
/// Services whose lists are subscribed, and changed after each start.
const SUBSCRIBED: u32 = 10;
/// A push before the stop must have come by then.
const PUSH_PATIENCE: Duration = Duration::from_secs(4);
/// Polls of the subscriber begin within this time.
const POLL_PHASE: Duration = Duration::from_secs(1);

/// What came of a round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Round {
    #[serde(flatten)]
    pub(super) timeline: Timeline,
    /// Whether all lists stayed complete for as long as they had to.
    pub(super) settled: bool,
    /// Changes made as soon as the server served a list again, each in a subscribed service of its own.
    pub(super) changes: Vec<Change>,
    /// Of such a change before the stop, in ms; without it the server does not push to this place at all.
    pub(super) push_before_ms: Option<u64>,
}

impl Round {
    /// Changes after the start that were not pushed.
    pub(super) fn lost_pushes(&self) -> usize {
        self.changes.iter().filter(|change| change.pushed_ms.is_none()).count()
    }
}

/// Everybody who talks to the server.
pub(super) struct Drill<'a> {
    flags: &'a DrillFlags,
    session: Arc<Session>,
    fleet: Arc<Fleet>,
    requests: Arc<Requests>,
    log: Arc<Log>,
    subscriber: Arc<Subscriber>,
    look: Arc<Notify>,
    /// Clients, consumers, subscriber; they end with it.
    tasks: JoinSet<()>,
    push_before_ms: Option<u64>,
}

impl<'a> Drill<'a> {
    /// Starts the server unless it runs, registers everybody, and lets them beat until all lists are complete.
    ///
    /// # Errors
    /// When the server does not start or does not take registrations.
    pub(super) async fn begin(
        flags: &'a DrillFlags,
        session: &Arc<Session>,
        fleet: Fleet,
        log: &Arc<Log>,
        process: &mut Process,
        line: &Line,
    ) -> Result<Self> {
        let runs = flags.running || flags.pid.is_some() || flags.pid_file.is_some();
        if !runs {
            if process.listens() {
                return Err(Error::Input(format!(
                    "something listens at {} already: stop it, or give --pid, --pid-file or --running",
                    session.server().shown()
                )));
            }
            line.say("starting the server");
            process.start()?;
        }
        let fleet = Arc::new(fleet);
        let requests = Arc::new(Requests::new(&fleet, session.server()));
        wait_for_answer(session, process, flags.patience).await?;
        session.login().await?;
        let subscriber = Subscriber::new(session, &fleet, SUBSCRIBED.min(flags.services)).await?;
        let mut drill = Self {
            flags,
            session: Arc::clone(session),
            fleet,
            requests,
            log: Arc::clone(log),
            subscriber,
            look: Arc::default(),
            tasks: JoinSet::new(),
            push_before_ms: None,
        };
        drill.tasks.spawn(Arc::clone(session).keep_fresh());
        drill.register_all(line).await?;
        drill.populate();
        drill.warm(line).await?;
        Ok(drill)
    }

    fn beater(&self, instance: u32) -> Beater {
        Beater::new(instance, &self.session, &self.requests, &self.log, self.flags.beat_interval)
    }

    async fn register_all(&self, line: &Line) -> Result<()> {
        let mut registering = JoinSet::new();
        let ended = |ended: Option<Result<Result<(), String>, tokio::task::JoinError>>| match ended {
            Some(Ok(Err(why))) => Err(Error::Unavailable(format!("a client can't register: {}", plain(&why)))),
            _ => Ok(()),
        };
        for instance in 0..self.fleet.instances {
            if registering.len() >= REGISTERING {
                ended(registering.join_next().await)?;
            }
            line.say(format!("registering {instance} of {}", self.fleet.instances));
            let mut beater = self.beater(instance);
            registering.spawn(async move { beater.register().await });
        }
        while let Some(last) = registering.join_next().await {
            ended(Some(last))?;
        }
        Ok(())
    }

    /// Everybody begins, at times that depend on the seed alone.
    fn populate(&mut self) {
        let mut rng = Rng::with_seed(self.flags.seed);
        let mut phase = |whole: Duration| whole.mul_f64(rng.f64());
        for instance in 0..self.fleet.instances {
            let beater = self.beater(instance);
            self.tasks.spawn(beater.live(phase(self.flags.beat_interval)));
        }
        for service in 0..SUBSCRIBED.min(self.flags.services) {
            self.tasks.spawn(Arc::clone(&self.subscriber).poll(service, phase(POLL_PHASE)));
        }
        self.tasks.spawn(Arc::clone(&self.subscriber).listen());
        let watcher = Watcher {
            session: Arc::clone(&self.session),
            fleet: Arc::clone(&self.fleet),
            requests: Arc::clone(&self.requests),
            log: Arc::clone(&self.log),
            every: self.flags.poll,
            at_once: Arc::clone(&self.look),
        };
        self.tasks.spawn(watcher.live());
    }

    /// Lets clients beat until all have switched to light beats, and sees whether pushes come at all.
    async fn warm(&mut self, line: &Line) -> Result<()> {
        let warm = self.flags.warm.unwrap_or(self.flags.beat_interval + Duration::from_secs(1)).max(BEFORE);
        let until = Instant::now() + warm;
        tokio::time::sleep(POLL_PHASE.min(warm)).await;
        line.say("everybody beats");
        self.change(1).await;
        let push_until = Instant::now() + PUSH_PATIENCE;
        while Instant::now() < push_until && !self.subscriber.all_pushed() {
            tokio::time::sleep(PAUSE).await;
        }
        self.push_before_ms = self.subscriber.changes().first().and_then(|change| change.pushed_ms);
        self.undo_changes(1).await;
        tokio::time::sleep(until.saturating_duration_since(Instant::now())).await;
        let patience = Instant::now() + self.flags.patience;
        while self.log.complete_for().is_none_or(|time| time < BEFORE) {
            if Instant::now() >= patience {
                return Err(Error::Unavailable("the lists are not complete, even before the first stop".into()));
            }
            tokio::time::sleep(PAUSE).await;
        }
        Ok(())
    }

    /// The instance that is registered in a service as a change: one that no client has.
    fn extra(&self, service: u32) -> u32 {
        self.fleet.instances.next_multiple_of(self.fleet.services) + service
    }

    /// Registers one more instance in each of the first services; the subscriber waits for them.
    async fn change(&self, services: u32) {
        let mut changing = JoinSet::new();
        for service in 0..services {
            let extra = self.extra(service);
            let mut beater = self.beater(extra);
            self.subscriber.expect(service, IpAddr::from(fleet::ip(extra)));
            // A change that fails is one that nobody hears of.
            changing.spawn(async move { beater.register().await });
        }
        while changing.join_next().await.is_some() {}
    }

    async fn undo_changes(&self, services: u32) {
        for service in 0..services {
            // It would leave by itself too: it does not beat.
            let _ = self.beater(self.extra(service)).deregister().await;
        }
    }

    /// Stops and starts the server and waits until all is well for long enough.
    ///
    /// # Errors
    /// When the server can't be stopped or started.
    pub(super) async fn round(&mut self, nth: u32, process: &mut Process, line: &Line) -> Result<Round> {
        let name = format!("round {} of {}", nth + 1, self.flags.rounds);
        line.say(format!("{name}: stopping the server"));
        let from = self.log.now().saturating_sub(BEFORE);
        self.log.note(Event::Mark(Mark::Stop));
        process.stop(self.flags.patience).await?;
        self.log.note(Event::Mark(Mark::Gone));
        tokio::time::sleep(self.flags.down).await;
        line.say(format!("{name}: starting the server"));
        self.log.note(Event::Mark(Mark::Start));
        process.start()?;
        let (session, requests) = (Arc::clone(&self.session), Arc::clone(&self.requests));
        let listed = tokio::spawn(first_answers(session, requests, Arc::clone(&self.log), Arc::clone(&self.look)));
        let up = tokio::spawn(first_up(Arc::clone(&self.session), Arc::clone(&self.log)));
        let settled = self.recovered(process, &listed, line, &name).await;
        listed.abort();
        up.abort();
        let changes = self.subscriber.changes();
        let settled = settled?;
        let timeline = Timeline::of(&self.log.since(from)?);
        self.undo_changes(SUBSCRIBED.min(self.flags.services)).await;
        Ok(Round { timeline, settled, changes, push_before_ms: self.push_before_ms })
    }

    /// Makes the changes as soon as a list is served; true when all lists stayed complete for long enough.
    async fn recovered(&self, process: &mut Process, listed: &JoinHandle<()>, line: &Line, name: &str) -> Result<bool> {
        let settle = self.flags.settle.unwrap_or(self.flags.beat_interval + Duration::from_secs(3));
        let started = Instant::now();
        let mut changed = false;
        loop {
            if let Some(status) = process.ended().filter(|status| !status.success()) {
                return Err(Error::Unavailable(format!("the server ended: {status}")));
            }
            if listed.is_finished() && !changed {
                changed = true;
                self.change(SUBSCRIBED.min(self.flags.services)).await;
            }
            let complete = self.log.complete_for().unwrap_or_default().min(started.elapsed());
            if changed && complete >= settle {
                return Ok(true);
            }
            if started.elapsed() >= self.flags.patience + settle {
                return Ok(false);
            }
            line.say(format!(
                "{name}: lists complete for {:.1} of {:.1} s",
                complete.as_secs_f64(),
                settle.as_secs_f64()
            ));
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Lets everybody go in good order.
    pub(super) async fn end(mut self, line: &Line) {
        line.say("deregistering");
        self.tasks.shutdown().await;
        let mut leaving = JoinSet::new();
        for instance in 0..self.fleet.instances {
            if leaving.len() >= REGISTERING {
                leaving.join_next().await;
            }
            let mut beater = self.beater(instance);
            leaving.spawn(async move { beater.deregister().await });
        }
        // Whoever can't say goodbye leaves by the ordinary rules.
        while leaving.join_next().await.is_some() {}
    }
}

async fn wait_for_answer(session: &Arc<Session>, process: &mut Process, patience: Duration) -> Result<()> {
    let request = fleet::get(session.server(), "/v1/ns/service/list?pageNo=1&pageSize=1");
    let mut connection = Connection::new(Arc::clone(session), Duration::from_secs(5));
    let began = Instant::now();
    loop {
        // Without a login, a refusal is an answer too.
        let last = match connection.ask(&request, b"").await {
            Ok(answer) if matches!(answer.status, 200 | 401 | 403) => return Ok(()),
            Ok(answer) => format!("status {}", answer.status),
            Err(fault) => fault.to_string(),
        };
        if let Some(status) = process.ended().filter(|status| !status.success()) {
            return Err(Error::Unavailable(format!("the server ended before it answered: {status}")));
        }
        if began.elapsed() >= patience {
            return Err(Error::Unavailable(format!("no answer from the server: {last}")));
        }
        tokio::time::sleep(PAUSE).await;
    }
}
