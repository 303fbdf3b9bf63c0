//! Carries out what the [`core`](super::core) decides: calls to members, lists into the registry. One thread keeps the
//! time; calls are tasks of the runtime; lists go through `commit` one after the other, in the order in which they came.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::Cluster;
use super::core::Action;
use crate::commit::Origin;
use crate::error::{Error, Result};
use crate::model::command::Command;
use crate::model::{InstanceKey, ServiceKey};
use crate::registry::Change;

/// How often the core is asked what is due.
const TICK: Duration = Duration::from_millis(20);
/// A full commit queue is tried again after this, so many times.
const QUEUE_RETRY: (Duration, u32) = (Duration::from_millis(20), 250);

/// What was changed here and is to be told to members. Each is kept once, so there is never more than there are instances
/// and services.
#[derive(Clone, Default)]
pub struct Notes(Arc<Mutex<Noted>>);

/// See [`Notes`].
#[derive(Default)]
pub(super) struct Noted {
    pub(super) instances: HashSet<InstanceKey>,
    /// Made empty.
    pub(super) services: HashSet<ServiceKey>,
}

impl Notes {
    /// Takes note of `changes`. What peers told is known to them.
    pub fn note(&self, origin: Origin, changes: &[Change]) {
        if origin == Origin::Peer {
            return;
        }
        let mut changed = self.0.lock();
        for change in changes {
            match change {
                Change::Put { service, slot, .. } | Change::Removed { service, slot } if slot.is_ephemeral() => {
                    changed.instances.insert(slot.key(service.key()));
                }
                // All else of a persistent one is agreed on.
                Change::Put { service, slot, by_health: true, .. } => {
                    changed.instances.insert(slot.key(service.key()));
                }
                Change::Made { service } => drop(changed.services.insert(service.key().clone())),
                _ => {}
            }
        }
    }

    pub(super) fn add(&self, key: InstanceKey) {
        self.0.lock().instances.insert(key);
    }

    pub(super) fn take(&self) -> Noted {
        std::mem::take(&mut self.0.lock())
    }
}

/// Something for the registry.
pub(super) struct Work {
    command: Command,
    /// Tells the core, if it wants to know.
    id: Option<u64>,
    /// Is told when it has taken effect.
    done: oneshot::Sender<Result<()>>,
}

/// The way to the task that takes lists in. Bounded by who may bring some: see [`Cluster::asked`], and one snapshot.
pub(super) type Intake = mpsc::UnboundedSender<Work>;

/// The running driver.
pub struct Driver {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Driver {
    /// Begins to keep the time for `cluster`; calls run on `runtime`.
    ///
    /// # Errors
    /// [`Error::Setup`] when there can be no thread.
    pub fn start(cluster: Arc<Cluster>, runtime: Handle) -> Result<Self> {
        let (intake, work) = mpsc::unbounded_channel();
        cluster.begin(intake, runtime.clone());
        runtime.spawn(take_in(cluster.clone(), work));
        let stop = Arc::new(AtomicBool::new(false));
        let stopping = stop.clone();
        let keep_time = move || {
            while !stopping.load(Ordering::Relaxed) {
                std::thread::sleep(TICK);
                cluster.tick();
            }
        };
        let thread = std::thread::Builder::new().name("cluster".into()).spawn(keep_time);
        let thread = thread.map_err(|e| Error::Setup(format!("no thread for the cluster: {e}")))?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread and waits for it.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            tracing::error!("the thread of the cluster had panicked");
        }
    }
}

/// Hands lists to the committer, one command after the other.
async fn take_in(cluster: Arc<Cluster>, mut work: mpsc::UnboundedReceiver<Work>) {
    while let Some(Work { command, id, done }) = work.recv().await {
        let outcome = commit(&cluster, command).await;
        if let Err(error) = &outcome {
            tracing::warn!(%error, "what a member told could not be taken in");
        }
        // Nobody may be waiting.
        let _ = done.send(outcome.as_ref().map(drop).map_err(Clone::clone));
        if let Some(id) = id {
            cluster.with_core(|core, now| core.merged(id, outcome, now));
        }
    }
}

async fn commit(cluster: &Cluster, command: Command) -> Result<crate::model::command::Outcome> {
    let (pause, tries) = QUEUE_RETRY;
    for _ in 0..tries {
        match cluster.commit().run(command.clone()).await {
            Err(Error::Limit(_)) => tokio::time::sleep(pause).await,
            outcome => return outcome,
        }
    }
    cluster.commit().run(command).await
}

impl Cluster {
    /// Has `actions` carried out. Answers one receiver for each thing that the registry is to take in.
    pub(super) fn carry_out(self: &Arc<Self>, actions: Vec<Action>) -> Vec<oneshot::Receiver<Result<()>>> {
        let Some((intake, runtime)) = self.begun() else { return Vec::new() };
        let mut waiting = Vec::new();
        for action in actions {
            let (command, id) = match action {
                Action::Call { id, to, request } => {
                    let cluster = self.clone();
                    runtime.spawn(async move {
                        let result = cluster.peers().call(&to, &request).await;
                        drop(request);
                        if let Err(failure) = &result {
                            tracing::debug!(to = &*to, %failure, "a call to a member failed");
                        }
                        // An answer may be a snapshot: not on a thread that answers clients.
                        let answering = cluster.clone();
                        let ended = move || answering.answered(id, result);
                        let _ = tokio::task::spawn_blocking(ended).await;
                    });
                    continue;
                }
                Action::Merge { id, merges } => (Command::Merge(merges), Some(id)),
                Action::Health(service, told) => (Command::PeerHealth(service, told), None),
            };
            let (done, receiver) = oneshot::channel();
            // Closed only when the server has stopped.
            let _ = intake.send(Work { command, id, done });
            waiting.push(receiver);
        }
        waiting
    }
}
