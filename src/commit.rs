//! The write path: command -> rows -> store -> registry -> answer. This is the only place that knows the order.
//!
//! One thread drains a bounded queue. A batch is whatever arrived while the batch before was made durable: no timer,
//! no latency when idle (group commit). A batch is appended, made durable once, applied to the registry in log order;
//! then every waiter is answered and the changes are published (to some listeners before that). A command that reads before it writes is resolved
//! here, against the registry; if it reads what the batch at hand touches, that batch is committed first, so two such
//! commands can't lose each other's work.
//!
//! When the store refuses, the commands of the batch fail and memory stays as it was (except for what health found
//! out and who is subscribed); with back-off the whole registry is then written to a fresh store.

mod batch;
pub mod direct;
mod lines;
mod resolve;
mod status;
#[cfg(test)]
mod tests;

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::oneshot;

use crate::error::{Error, Result};
use crate::model::clock::{AwakeClock, Now};
use crate::model::command::{Command, Outcome};
use crate::registry::{Change, Registry};
use crate::store::{OnFailure, Store};
use batch::Batch;
pub use status::{Fate, Status};

/// How often the store is looked after when nothing is written.
const HOUSEKEEPING: Duration = Duration::from_millis(100);
/// First and longest pause between tries to heal the store.
const HEAL_BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

/// How long an agreed command waits before it looks for room in the queue again.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// Bounds and rules of the write path.
#[derive(Debug, Clone)]
pub struct Options {
    /// Commands that may wait; one more is refused.
    pub queue_len: usize,
    /// Rows of one batch; a single command may exceed it.
    pub batch_rows: usize,
    /// While the store is broken.
    pub on_failure: OnFailure,
}

/// Where a change comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// Clients of this server, operators, or health.
    Here,
    /// A peer told of it: it knows already.
    Peer,
}

/// Is told of every change, in order, after it took effect. Must not block.
pub type Listener = Box<dyn Fn(Origin, &[Change]) + Send>;

/// Who is told of changes.
#[derive(Default)]
pub struct Listeners {
    /// Before those are answered who asked for them: what these do must be done when the answer comes.
    pub before_answers: Vec<Listener>,
    /// After that.
    pub after_answers: Vec<Listener>,
}

impl From<Vec<Listener>> for Listeners {
    fn from(after_answers: Vec<Listener>) -> Self {
        Self { before_answers: Vec::new(), after_answers }
    }
}

struct Request {
    command: Command,
    waiter: Option<Waiter>,
    /// See [`Commit::run_agreed`].
    agreed: Option<Arc<str>>,
}

/// Somebody who waits for an answer.
struct Waiter {
    reply: oneshot::Sender<Result<Outcome>>,
    since: Instant,
}

#[allow(clippy::large_enum_variant, reason = "all but the last one are requests")]
enum Message {
    Request(Request),
    Stop,
}

/// Takes a command that somebody posts; `false`: it is for the committer.
pub type Diversion = Box<dyn Fn(&Command) -> bool + Send + Sync>;

/// The way in, cheap to clone.
#[derive(Clone)]
pub struct Commit {
    queue: SyncSender<Message>,
    status: Arc<Status>,
    diversion: Arc<OnceLock<Diversion>>,
}

impl Commit {
    /// Carries `command` out; answers when it is as durable as configured and visible.
    ///
    /// # Errors
    /// What resolving the command says; [`Error::Limit`] when the queue is full; [`Error::Storage`] when the store
    /// refuses (nothing changed).
    pub async fn run(&self, command: Command) -> Result<Outcome> {
        let (reply, answer) = oneshot::channel();
        self.send(Request { command, waiter: Some(Waiter { reply, since: Instant::now() }), agreed: None })?;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Hands `command` over without waiting for it.
    ///
    /// # Errors
    /// [`Error::Limit`] when the queue is full.
    pub fn post(&self, command: Command) -> Result<()> {
        if self.diversion.get().is_some_and(|takes| takes(&command)) {
            return Ok(());
        }
        self.send(Request { command, waiter: None, agreed: None })
    }

    /// Hands over a command that a group of servers has agreed on, and answers with where its outcome will come; so several
    /// can be handed over in their order. It is carried out in any case: it waits for room in the queue, and takes effect in
    /// memory even while the store refuses writes (the store is healed from memory). What comes of it depends only on what was
    /// agreed on before. `position` says how far this server is then: it is [known](crate::registry::Settings::agreed), and
    /// stored, if and only if the command was carried out, so nothing is carried out twice.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the server is stopping.
    pub async fn run_agreed(
        &self,
        command: Command,
        position: Arc<str>,
    ) -> Result<impl Future<Output = Result<Outcome>> + Send + use<>> {
        let (reply, answer) = oneshot::channel();
        let mut request =
            Request { command, waiter: Some(Waiter { reply, since: Instant::now() }), agreed: Some(position) };
        loop {
            match self.queue.try_send(Message::Request(request)) {
                Ok(()) => break,
                Err(TrySendError::Full(Message::Request(full))) => request = full,
                Err(_) => return Err(stopping()),
            }
            tokio::time::sleep(FULL_PAUSE).await;
        }
        self.status.count_queued();
        Ok(async { answer.await.unwrap_or_else(|_| Err(stopping())) })
    }

    /// From now on `diversion` sees every command that is [posted](Self::post), and may take it: others have to agree. The
    /// first one stays.
    pub fn divert(&self, diversion: Diversion) {
        // Nobody sets a second one.
        let _ = self.diversion.set(diversion);
    }

    /// How the store does.
    pub fn status(&self) -> &Status {
        &self.status
    }

    /// Lets the committer end after what is in the queue, and close the store.
    pub fn stop(&self) {
        // The committer may have ended already.
        let _ = self.queue.send(Message::Stop);
    }

    fn send(&self, request: Request) -> Result<()> {
        match self.queue.try_send(Message::Request(request)) {
            Ok(()) => {
                self.status.count_queued();
                Ok(())
            }
            Err(TrySendError::Full(_)) => {
                self.status.count_refused();
                Err(Error::Limit("too many writes are waiting, try again later".into()))
            }
            Err(TrySendError::Disconnected(_)) => Err(stopping()),
        }
    }
}

/// Why `command` would come to nothing, as the registry is now.
///
/// # Errors
/// What resolving it says.
pub fn check(registry: &Registry, command: &Command) -> Result<()> {
    // Time matters only to what peers tell, which nobody checks first.
    let never = Now { awake_ms: 0, wall_ms: 0 };
    resolve::resolve(registry, command, never).map(drop)
}

fn stopping() -> Error {
    Error::Unavailable("the server is stopping".into())
}

/// Starts the committer in a thread of its own.
///
/// # Errors
/// [`Error::Setup`] when there can be no thread.
pub fn start(
    registry: Arc<Registry>,
    store: Store,
    clock: AwakeClock,
    options: Options,
    listeners: impl Into<Listeners>,
) -> Result<(Commit, JoinHandle<Result<()>>)> {
    let (queue, requests) = sync_channel(options.queue_len);
    let status = Arc::new(Status::default());
    // A store that was opened but can't be written is healed like one that fails later.
    let broken = store.failure().map(str::to_owned);
    let mut committer = Committer {
        registry,
        store,
        clock,
        options,
        listeners: listeners.into(),
        requests,
        status: status.clone(),
        held: None,
        heal_at: None,
        backoff: HEAL_BACKOFF.0,
    };
    if let Some(reason) = broken {
        committer.note_failure(&reason);
    }
    let thread = std::thread::Builder::new().name("commit".into()).spawn(move || committer.run());
    let thread = thread.map_err(|e| Error::Setup(format!("no thread for the committer: {e}")))?;
    Ok((Commit { queue, status, diversion: Arc::default() }, thread))
}

/// Says so when the committer ends by a panic: nothing can be written then, and nobody must think that the node is ready.
struct Alarm(Arc<Status>);

impl Drop for Alarm {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set_failure(Some("the committer has panicked: the server has to be started again"));
        }
    }
}

struct Committer {
    registry: Arc<Registry>,
    store: Store,
    clock: AwakeClock,
    options: Options,
    listeners: Listeners,
    requests: Receiver<Message>,
    status: Arc<Status>,
    /// What has to wait for the batch at hand.
    held: Option<Message>,
    heal_at: Option<Instant>,
    backoff: Duration,
}

impl Committer {
    fn run(mut self) -> Result<()> {
        let _alarm = Alarm(self.status.clone());
        let mut next_housekeeping = Instant::now();
        loop {
            let first = match self.held.take() {
                Some(message) => Ok(message),
                None => self.requests.recv_timeout(HOUSEKEEPING),
            };
            match first {
                Ok(Message::Request(first)) => {
                    let batch = self.collect(first);
                    self.commit(batch);
                }
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.status.count_turn();
            let now = Instant::now();
            if now >= next_housekeeping {
                next_housekeeping = now + HOUSEKEEPING;
                self.look_after_store(now);
            }
        }
        self.store.close()
    }

    /// Resolves what is waiting, up to a batch.
    fn collect(&mut self, first: Request) -> Batch {
        let mut batch = Batch::default();
        let mut next = Some(first);
        while let Some(request) = next.take() {
            if batch.conflicts_with(&request.command) {
                self.held = Some(Message::Request(request));
                break;
            }
            let resolve = if request.agreed.is_some() { resolve::agreed::resolve } else { resolve::resolve };
            let now = self.now();
            let resolved = resolve(&self.registry, &request.command, now);
            self.status.count_taken();
            batch.push(request, resolved, &self.registry, now);
            if batch.row_count() < self.options.batch_rows {
                match self.requests.try_recv() {
                    Ok(Message::Request(request)) => next = Some(request),
                    Ok(Message::Stop) => self.held = Some(Message::Stop),
                    Err(_) => {}
                }
            }
        }
        batch
    }

    fn commit(&mut self, mut batch: Batch) {
        batch.close();
        self.status.count_batch(batch.len());
        let stored = if batch.row_count() == 0 {
            Ok(())
        } else if self.status.failure().is_some() {
            Err(self.refusal())
        } else {
            batch.append_to(&mut self.store).inspect_err(|error| self.note_failure(error.message()))
        };
        let refused = match stored {
            Err(error) if self.options.on_failure == OnFailure::Refuse => Some(error),
            _ => None,
        };
        let origin = batch.origin();
        let (changes, answers) = batch.apply(&self.registry, self.now(), refused, &self.status);
        let tell = |listeners: &[Listener]| {
            if !changes.is_empty() {
                listeners.iter().for_each(|listener| listener(origin, &changes));
            }
        };
        tell(&self.listeners.before_answers);
        let now = Instant::now();
        for (waiter, outcome) in answers {
            self.status.count_wait(now.duration_since(waiter.since));
            // The one who asked may have gone; the change stands.
            let _ = waiter.reply.send(outcome);
        }
        tell(&self.listeners.after_answers);
    }

    fn now(&self) -> Now {
        Now { awake_ms: self.clock.now_ms(), wall_ms: wall_now_ms() }
    }

    fn refusal(&self) -> Error {
        let reason = self.status.failure().unwrap_or_else(|| "unknown reason".into());
        Error::Storage(format!("the store takes no writes: {reason}"))
    }

    fn note_failure(&mut self, reason: &str) {
        tracing::error!(reason, "the store failed; writes are refused until it is healed");
        self.status.set_failure(Some(reason));
        self.status.count_failure();
        self.backoff = HEAL_BACKOFF.0;
        self.heal_at = Some(Instant::now() + self.backoff);
    }

    fn look_after_store(&mut self, now: Instant) {
        match self.heal_at {
            Some(at) if now >= at => self.heal(),
            Some(_) => {}
            None => {
                if let Err(error) = self.store.tick(wall_now_ms()) {
                    self.note_failure(error.message());
                }
            }
        }
    }

    /// The registry is the truth while the process lives: a fresh store is written from it.
    fn heal(&mut self) {
        // A large registry takes its time: every row counts as a sign of life.
        let mut rows = self.registry.rows().inspect(|_| self.status.count_turn());
        match self.store.rebuild(&mut rows) {
            Ok(()) => {
                tracing::warn!(instances = self.registry.instance_count(), "the store is healed; writes work again");
                self.status.set_failure(None);
                self.heal_at = None;
            }
            Err(error) => {
                tracing::warn!(%error, "the store could not be healed yet");
                self.status.set_failure(Some(error.message()));
                self.backoff = (self.backoff * 2).min(HEAL_BACKOFF.1);
                self.heal_at = Some(Instant::now() + self.backoff);
            }
        }
    }
}

fn wall_now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_millis() as u64).unwrap_or_default()
}
