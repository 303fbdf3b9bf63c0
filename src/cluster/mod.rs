//! The servers that belong together: who they are, who owns what, what they tell each other.
//!
//! [`core`] decides, without I/O; [`driver`] carries out; [`peer`] speaks HTTP; `http` asks [`Cluster`].

pub mod core;
pub mod driver;
pub mod figures;
pub mod members;
pub mod message;
pub mod ownership;
pub mod peer;

use std::sync::Arc;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;

use self::core::{Action, Core, Settings, date_restored, welcome_services};
use driver::{Intake, Noted, Notes};
use members::Members;
use message::{Answer, Failure, Request};
use peer::Peers;

use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::model::clock::{AwakeClock, Now};
use crate::model::peer::{Phase, Standing};
use crate::model::{InstanceKey, ServiceKey};
use crate::registry::Registry;

/// What readiness and refused clients are told while there are no data.
const NOT_INITIALIZED: &str = "Distro protocol is not initialized";

/// Requests of members that are answered at a time: each may hold lists in memory.
const MAX_ASKED: usize = 64;
/// So long the two servers that a request passes wait for each other at most before it is answered: the one to hear of the
/// change, and each to have carried out what the other has of what is agreed on.
pub const SETTLE: Duration = Duration::from_millis(500);

/// What a cluster is made of.
pub struct Parts {
    /// How often what is done.
    pub settings: Settings,
    /// Who belongs to it.
    pub members: Arc<Members>,
    /// The state in memory, restored.
    pub registry: Arc<Registry>,
    /// The write path.
    pub commit: Commit,
    /// The time that beats are noted with.
    pub clock: AwakeClock,
    /// The way to the others.
    pub peers: Arc<Peers>,
    /// What the committer tells of changes.
    pub notes: Notes,
    /// When what was restored was last right, epoch ms; `None`: nothing usable was.
    pub as_of_ms: Option<u64>,
}

/// This server's part in a cluster of several.
pub struct Cluster {
    members: Arc<Members>,
    registry: Arc<Registry>,
    commit: Commit,
    clock: AwakeClock,
    peers: Arc<Peers>,
    notes: Notes,
    core: Mutex<Core>,
    has_data: AtomicBool,
    begun: OnceLock<(Intake, Handle)>,
    /// One place for each request of a member that is being answered.
    places: Arc<Semaphore>,
    settling: Mutex<Vec<Settling>>,
}

/// Somebody who waits until a member has been told. Each is a request that is being answered.
struct Settling {
    to: Arc<str>,
    service: ServiceKey,
    upto: u64,
    waits: oneshot::Sender<()>,
}

impl Cluster {
    /// With nothing known of the others yet, and nothing going on before [`Driver::start`](driver::Driver::start).
    pub fn new(parts: Parts) -> Self {
        let Parts { settings, members, registry, commit, clock, peers, notes, as_of_ms } = parts;
        if let Some(as_of_ms) = as_of_ms {
            date_restored(&registry, as_of_ms);
        }
        let (seen, awake) = (registry.clone(), clock.clone());
        members.on_change(Box::new(move |old, new| welcome_services(&seen, old, new, awake.now_ms())));
        let core = Core::new(settings, members.clone(), registry.clone(), as_of_ms, now(&clock));
        let has_data = AtomicBool::new(core.has_data());
        let begun = OnceLock::new();
        let (core, places) = (Mutex::new(core), Arc::new(Semaphore::new(MAX_ASKED)));
        Self {
            members,
            registry,
            commit,
            clock,
            peers,
            notes,
            core,
            has_data,
            begun,
            places,
            settling: Mutex::default(),
        }
    }

    /// Who the others are.
    pub fn members(&self) -> &Arc<Members> {
        &self.members
    }

    /// The way to the others.
    pub fn peers(&self) -> &Arc<Peers> {
        &self.peers
    }

    fn commit(&self) -> &Commit {
        &self.commit
    }

    /// Whether this server is responsible for the service with this grouped name, as of now. With the switch
    /// `distroEnabled` off every server is, for all.
    pub fn is_owner(&self, name: &str) -> bool {
        !self.registry.settings().switches().distro_enabled || self.members.view().is_owner(name)
    }

    /// A beat came for an instance of the service with this grouped name. Its owner is told of those that came here
    /// because it could not be reached.
    pub fn note_beat(&self, name: &str, key: impl FnOnce() -> InstanceKey) {
        if !self.members.view().is_owner(name) {
            self.notes.add(key());
        }
    }

    /// How far others can rely on this server.
    pub fn standing(&self) -> Standing {
        self.core.lock().standing()
    }

    /// Lists that are still to be told to each member, by address.
    pub fn waiting(&self) -> Vec<(String, usize)> {
        let others = self.members.others();
        let core = self.core.lock();
        let waiting = |address: String| {
            let lists = core.waiting(&address);
            (address, lists)
        };
        others.iter().map(|member| waiting(member.address())).collect()
    }

    /// Why clients are not served yet, in the words of the reference; `None` when they are.
    pub fn obstacle(&self) -> Option<&'static str> {
        (!self.has_data.load(Ordering::Acquire)).then_some(NOT_INITIALIZED)
    }

    /// Whether the data have been compared with those of a member, as far as there is one.
    pub fn is_ready(&self) -> bool {
        self.standing().phase == Phase::Ready
    }

    /// This server can be reached from now on: the others are told.
    pub fn serve(self: &Arc<Self>) {
        self.with_core(|core, now| core.serve(now));
    }

    /// The members at these addresses leave; this server never does. With `notify` the other members are to hear of it.
    /// Who can't be told drops who left when it can't be reached, or is told by an operator.
    pub async fn leave(&self, addresses: Vec<String>, notify: bool) {
        if notify {
            let mut telling = JoinSet::new();
            for member in self.members.others() {
                let (peers, addresses) = (self.peers.clone(), addresses.clone());
                telling.spawn(async move {
                    let address = member.address();
                    if let Err(failure) = peers.call(&address, &Request::Leave(addresses)).await {
                        tracing::warn!(to = address, %failure, "a member could not be told who leaves");
                    }
                });
            }
            // Each call has a time-out of its own.
            telling.join_all().await;
        }
        self.members.remove(&addresses);
    }

    /// Answers what a member asks; `from` is its address if it said so. What follows for the registry has taken effect
    /// when this returns. Whoever goes away before that keeps the place until then: else members that lose patience while the
    /// store is slow and ask again would make ever more lists wait for it.
    ///
    /// # Errors
    /// [`Error::Limit`] when too many ask at once; that and [`Error::Storage`] of the write path.
    pub async fn asked(self: &Arc<Self>, from: Option<&str>, request: Request) -> Result<Answer> {
        let too_many = |_| Error::Limit("too many members ask at once, try again later".into());
        let place = self.places.clone().try_acquire_owned().map_err(too_many)?;
        let (cluster, from) = (self.clone(), from.map(str::to_owned));
        let answering = tokio::spawn(async move {
            let _until_the_end = place;
            cluster.answer(from, request).await
        });
        answering.await.map_err(stopping)?
    }

    async fn answer(self: Arc<Self>, from: Option<String>, request: Request) -> Result<Answer> {
        // Lists can be long, and the core may be at work: not on a thread that answers clients.
        let work = move || {
            let mut answer = Answer::Unknown;
            let waiting = self.with_core(|core, now| {
                let (said, actions) = core.asked(from.as_deref(), request, now);
                answer = said;
                actions
            });
            (answer, waiting)
        };
        let (answer, waiting) = tokio::task::spawn_blocking(work).await.map_err(stopping)?;
        for done in waiting {
            done.await.map_err(stopping)??;
        }
        Ok(answer)
    }

    /// Waits until the member at `to` has been told of everything that was changed here of `service` before the call, but not
    /// for long, and not beyond `until`: who passed a request on and answers its client shows from then on what came of it.
    pub async fn settle(self: &Arc<Self>, to: Arc<str>, service: ServiceKey, until: Instant) {
        let until = until.min(Instant::now() + SETTLE);
        let looked = self.core.try_lock().map(|core| self.hurry(core, to.clone(), service.clone()));
        let looked = match looked {
            Some(looked) => looked,
            // It is at work: not on a thread that answers clients.
            None => {
                let cluster = self.clone();
                let looking = tokio::task::spawn_blocking(move || cluster.hurry(cluster.core.lock(), to, service));
                looking.await.ok().flatten()
            }
        };
        if let Some(told) = looked {
            // It is dropped when it is told.
            let _ = tokio::time::timeout_at(until.into(), told).await;
        }
    }

    fn hurry(
        self: &Arc<Self>,
        core: MutexGuard<'_, Core>,
        to: Arc<str>,
        service: ServiceKey,
    ) -> Option<oneshot::Receiver<()>> {
        let mut told = None;
        self.decide(core, |core, now| {
            self.note_changes(core, now);
            let (upto, actions) = core.hurry(&to, &service, now);
            if let Some(upto) = upto {
                let (waits, receiver) = oneshot::channel();
                self.settling.lock().push(Settling { to, service, upto, waits });
                told = Some(receiver);
            }
            actions
        });
        told
    }

    /// Lets those go on whose changes have been told.
    fn release(&self, core: &Core, now: Now) {
        let waits = |s: &mut Settling| !s.waits.is_closed() && core.owes(&s.to, &s.service, s.upto, now);
        self.settling.lock().retain_mut(waits);
    }

    fn answered(self: &Arc<Self>, id: u64, result: std::result::Result<Answer, Failure>) {
        self.with_core(|core, now| {
            let actions = core.answered(id, result, now);
            self.release(core, now);
            actions
        });
    }

    fn tick(self: &Arc<Self>) {
        self.with_core(|core, now| {
            self.note_changes(core, now);
            let actions = core.tick(now);
            self.release(core, now);
            actions
        });
    }

    /// Under the lock of the core: else what was taken here might be looked for there before it is there.
    fn note_changes(&self, core: &mut Core, now: Now) {
        let Noted { instances, services } = self.notes.take();
        instances.iter().for_each(|key| core.note(&key.service, key, now));
        services.iter().for_each(|key| core.note_made(key, now));
    }

    /// Lets the core decide, and has what comes of it carried out.
    fn with_core(
        self: &Arc<Self>,
        decide: impl FnOnce(&mut Core, Now) -> Vec<Action>,
    ) -> Vec<oneshot::Receiver<Result<()>>> {
        self.decide(self.core.lock(), decide)
    }

    fn decide(
        self: &Arc<Self>,
        mut core: MutexGuard<'_, Core>,
        decide: impl FnOnce(&mut Core, Now) -> Vec<Action>,
    ) -> Vec<oneshot::Receiver<Result<()>>> {
        let actions = decide(&mut core, now(&self.clock));
        self.has_data.store(core.has_data(), Ordering::Release);
        // What goes to the registry must keep the order of decisions: under the lock.
        self.carry_out(actions)
    }

    fn begin(&self, intake: Intake, runtime: Handle) {
        // There is one driver.
        let _ = self.begun.set((intake, runtime));
    }

    fn begun(&self) -> Option<(Intake, Handle)> {
        self.begun.get().cloned()
    }
}

/// Whatever ended a task.
fn stopping<E>(_: E) -> Error {
    Error::Unavailable("the server is stopping".into())
}

fn now(clock: &AwakeClock) -> Now {
    let wall_ms = SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_millis() as u64).unwrap_or_default();
    Now { awake_ms: clock.now_ms(), wall_ms }
}
