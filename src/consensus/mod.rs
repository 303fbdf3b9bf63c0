//! What Nacos keeps by Raft, kept by openraft: persistent instances, settings of services and clusters, switches, namespace
//! labels, users (`spec/persistent.md`). One group over the members of the cluster.
//!
//! A command that [`Consensus::is_agreed`] on goes to [`Consensus::run`] instead of `commit`. There it is proposed to the
//! leader (`propose`), comes into the log of a majority (`log`, on the ledger of `store`), and is carried out on every
//! server through `commit` (`machine`), each time to the same effect, whatever else a server has. It is answered when
//! this server too has carried it out. Everything ephemeral goes by, and waits for nothing here.
//!
//! `form` makes the group when there is none; `founding` keeps apart two of one name; `follow` keeps it the same as the list of members: one change at a time,
//! first as a learner, then as a voter. A server is who its ledger says it is, not where it can be found: one that has lost
//! its disk is a new one.

#![allow(clippy::result_large_err, reason = "the errors that openraft wants to have are large")]

mod entry;
mod follow;
mod form;
mod founding;
mod keeper;
mod log;
mod machine;
mod message;
mod network;
mod propose;
mod scope;
#[cfg(test)]
mod tests;
mod types;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use openraft::{RaftMetrics, ServerState, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::{Notify, RwLock, Semaphore, mpsc};

use crate::cluster::members::Members;
use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::model::command::Command;
use crate::registry::Registry;
use crate::store::Durability;
use crate::store::ledger::{self, Ledger};
use founding::{FOUNDING, Founding};
use keeper::Keeper;
use log::Log;
use machine::Machine;
pub use message::GROUP;
use message::{Answer, Ask, Letter, Standing};
use network::Network;
pub use network::Transport;
pub use propose::Proposals;
use types::{Id, Raft};

/// Where the log of the group is, below the data folder (as in the reference).
pub const FOLDER: &str = "protocol/raft/naming_persistent_service";
/// No message of the group is longer: about 1 MiB of entries and one that may have as much, in Base64, or a piece of a
/// snapshot, and what is said with them.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of a snapshot sent at a time.
const PIECE_BYTES: u64 = 512 * 1024;
/// Entries sent at a time.
const SENT_ENTRIES: u64 = 256;
/// Commands of this server that may wait for the group; one more is refused.
const WAITING: usize = 4_096;
/// How long opening the log may take.
const OPEN_LIMIT: Duration = Duration::from_secs(120);
/// How long closing the log may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);
/// Why clients have to wait, in the words of the reference.
const NO_LEADER: &str = "Could not find leader!";
const ID: &str = "id";

/// How the group is run.
#[derive(Debug, Clone)]
pub struct Options {
    /// [`FOLDER`] of the data folder.
    pub dir: PathBuf,
    /// When an entry counts as written, as for the store.
    pub durability: Durability,
    /// The rows in the registry may not be those that this server had: its store was damaged.
    pub afresh: bool,
    /// How often the leader is heard of, and how long it may take for one message to be answered.
    pub heartbeat_ms: u64,
    /// Without a leader for the longer time and another one at random between both, a server wants to be it.
    pub election_ms: (u64, u64),
    /// How long one piece of a snapshot, and taking in the whole, may take.
    pub snapshot_timeout_ms: u64,
    /// How long a write waits for a leader, and for its answer.
    pub write_timeout_ms: u64,
    /// A snapshot is made after this many entries, or this many bytes of them, or after this time if there is any.
    pub snapshot_entries: u64,
    /// See `snapshot_entries`.
    pub snapshot_bytes: usize,
    /// See `snapshot_entries`.
    pub snapshot_interval_ms: u64,
    /// How often membership is looked after.
    pub follow_ms: u64,
    /// How long the first start of a cluster waits for members that don't answer, once a majority does.
    pub form_grace_ms: u64,
}

impl Options {
    /// The defaults for a log in `dir`: a lost leader is replaced within 2 s or a little more.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            durability: Durability::default(),
            afresh: false,
            heartbeat_ms: 200,
            election_ms: (500, 1_000),
            snapshot_timeout_ms: 30_000,
            write_timeout_ms: 5_000,
            snapshot_entries: 5_000,
            snapshot_bytes: 32 * 1024 * 1024,
            snapshot_interval_ms: 1_800_000,
            follow_ms: 500,
            form_grace_ms: 10_000,
        }
    }
}

/// How the group stands, in the eyes of this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupState {
    /// HTTP address of the leader, if one is known.
    pub leader: Option<String>,
    /// The term.
    pub term: u64,
    /// HTTP addresses of the voters, sorted.
    pub voters: Vec<String>,
    /// This server leads.
    pub is_leader: bool,
    /// Number of the last entry in the log of this server.
    pub last_entry: Option<u64>,
    /// Number of the last entry that was carried out here.
    pub applied: Option<u64>,
    /// Number of the last entry in the snapshot of this server.
    pub snapshot: Option<u64>,
}

/// This server's part in the group. Cheap to clone.
#[derive(Clone)]
pub struct Consensus {
    inner: Arc<Inner>,
}

struct Inner {
    id: Id,
    options: Options,
    commit: Commit,
    registry: Arc<Registry>,
    members: Arc<Members>,
    keeper: Keeper,
    network: Network,
    config: Arc<openraft::Config>,
    running: RwLock<Running>,
    founding: Founding,
    /// Held while a server that holds nothing takes something in: it takes it from one group.
    taking_in: tokio::sync::Mutex<()>,
    promised: Mutex<Option<(Id, Instant)>>,
    waiting: Semaphore,
    proposals: Proposals,
    /// To the task that puts commands into the log.
    writer: mpsc::Sender<propose::Writing>,
    leaderless_since: Mutex<Option<Instant>>,
    /// When this server could not carry out in time what another had.
    lagged: Mutex<Option<Instant>>,
    /// Addresses of members that can't be let in.
    strangers: Mutex<BTreeSet<String>>,
    caught_up: AtomicBool,
    serves_anyway: AtomicBool,
    stopped: AtomicBool,
    /// Something happened that `follow` should look at.
    look: Notify,
}

/// What runs; it is replaced when the group is made, and after a fault.
struct Running {
    raft: Raft,
    log: Log,
}

impl Consensus {
    /// Takes up this server's part, as the log in the folder says it was left; where there is none, it waits for a group, or
    /// makes one with the others. To be called before the server listens, in a runtime; the others reach it by
    /// [`asked`](Self::asked).
    ///
    /// # Errors
    /// [`Error::Setup`]: the folder can't be used, or is from a later version.
    pub async fn start(
        options: Options,
        commit: Commit,
        registry: Arc<Registry>,
        members: Arc<Members>,
        transport: Arc<dyn Transport>,
    ) -> Result<Self> {
        let opening = {
            let (options, registry) = (options.clone(), registry.clone());
            move || open(&options, &registry)
        };
        let ledger = tokio::task::spawn_blocking(opening).await;
        let ledger = ledger.map_err(|fault| Error::Setup(format!("the raft log: {fault}")))??;
        let id = log::record(ledger.content(), ID)?;
        let founding = Founding::new(log::record::<Option<u64>>(ledger.content(), FOUNDING)?.flatten());
        let keeper = Keeper::start(ledger)?;
        let id = match id {
            Some(id) => id,
            None => form::new_id(&keeper).await?,
        };
        let network = Network {
            transport,
            own: members.own().address().into(),
            founding: founding.clone(),
            backoff: Duration::from_millis(options.heartbeat_ms),
        };
        let config = Arc::new(raft_config(&options)?);
        let parts = Parts { id, keeper: &keeper, network: &network, config: &config };
        let running = parts.run(&commit, &registry, options.afresh).await?;
        let (writer, writings) = mpsc::channel(WAITING);
        let inner = Inner {
            id,
            options,
            commit,
            registry,
            members,
            keeper,
            network,
            config,
            running: RwLock::new(running),
            founding,
            taking_in: tokio::sync::Mutex::new(()),
            promised: Mutex::new(None),
            waiting: Semaphore::new(WAITING),
            proposals: Proposals::default(),
            writer,
            leaderless_since: Mutex::new(Some(Instant::now())),
            lagged: Mutex::default(),
            strangers: Mutex::default(),
            caught_up: AtomicBool::new(false),
            serves_anyway: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            look: Notify::new(),
        };
        tracing::info!(id = format_args!("{id:016x}"), "this server takes its part in the group {GROUP}");
        let consensus = Self { inner: Arc::new(inner) };
        tokio::spawn(follow::run(consensus.clone()));
        tokio::spawn(propose::write(Arc::downgrade(&consensus.inner), writings));
        Ok(consensus)
    }

    /// Whether `command` is for [`run`](Self::run): all servers have to agree on at least a part of it.
    pub fn is_agreed(&self, command: &Command) -> bool {
        scope::is_agreed(&self.inner.registry, command)
    }

    /// Whether this server has shown all that the group agreed on before it started, at least once; until then clients
    /// should not be served (`spec/persistent.md` 7).
    pub fn has_caught_up(&self) -> bool {
        self.inner.caught_up.load(Ordering::Acquire)
    }

    /// The number of the last entry that this server has carried out; `None` before the first, and while the group is being
    /// restarted after a fault.
    pub fn carried_out(&self) -> Option<u64> {
        let running = self.inner.running.try_read().ok()?;
        let metrics = running.raft.metrics();
        metrics.borrow().last_applied.map(|position| position.index)
    }

    /// Why clients are not served yet; `None` once this server [has caught up](Self::has_caught_up) or serves anyway.
    pub fn obstacle(&self) -> Option<&'static str> {
        let serves = self.has_caught_up() || self.inner.serves_anyway.load(Ordering::Acquire);
        (!serves).then_some(NO_LEADER)
    }

    /// Clients have waited long enough.
    pub fn serve_anyway(&self) {
        if !self.inner.serves_anyway.swap(true, Ordering::AcqRel) && !self.has_caught_up() {
            tracing::warn!("clients are served though it is not known what the group has agreed on meanwhile");
        }
    }

    /// The list of members may have changed.
    pub fn members_changed(&self) {
        self.inner.look.notify_one();
    }

    /// How the group stands. While it is being restarted after a fault: `None`.
    pub fn state(&self) -> Option<GroupState> {
        let running = self.inner.running.try_read().ok()?;
        let metrics = running.raft.metrics().borrow().clone();
        let membership = metrics.membership_config.membership();
        let address = |id: Id| membership.get_node(&id).map(|node| node.addr.clone());
        let voters: BTreeSet<String> = membership.voter_ids().filter_map(address).collect();
        Some(GroupState {
            leader: metrics.current_leader.and_then(address),
            term: metrics.current_term,
            voters: voters.into_iter().collect(),
            is_leader: metrics.state == ServerState::Leader,
            last_entry: metrics.last_log_index,
            applied: metrics.last_applied.map(|position| position.index),
            snapshot: metrics.snapshot.map(|position| position.index),
        })
    }

    /// Has this server make a snapshot of what it has carried out, as it does by itself from time to time
    /// ([`Options::snapshot_entries`]); it is made soon after, unless one is being made.
    ///
    /// # Errors
    /// [`Error::Refused`] while the group is being restarted after a fault, or ends.
    pub async fn make_snapshot(&self) -> Result<()> {
        let asked = self.inner.raft().await.trigger().snapshot().await;
        asked.map_err(|fault| Error::Refused(format!("no snapshot can be made: {fault}")))
    }

    /// Answers what another server asks: the body of its request, the body of the answer.
    ///
    /// # Errors
    /// [`Error::Input`] for a body that is no message of the group.
    pub async fn asked(&self, body: &[u8]) -> Result<Bytes> {
        let letter = Letter::decode(body)?;
        let answer = self.answer(letter).await;
        let bytes = serde_json::to_vec(&answer);
        bytes.map(Bytes::from).map_err(|fault| Error::Refused(format!("a raft message: {fault}")))
    }

    async fn answer(&self, letter: Letter) -> Answer {
        let inner = &self.inner;
        if inner.stopped.load(Ordering::Acquire) {
            return Answer::Closed;
        }
        if letter.to.is_some_and(|to| to != inner.id) {
            return Answer::AnotherId(inner.id);
        }
        let log = inner.running.read().await.log.clone();
        let _taking_in = if letter.ask.brings() && log.is_empty() { Some(inner.taking_in.lock().await) } else { None };
        if let Some(answer) = inner.rebuff(&letter, &log).await {
            return answer;
        }
        match letter.ask {
            Ask::Append(request) => Answer::Append(inner.raft().await.append_entries(request).await),
            Ask::Vote(request) => Answer::Vote(inner.raft().await.vote(request).await),
            Ask::Snapshot(request) => Answer::Snapshot(inner.raft().await.install_snapshot(request).await),
            Ask::Propose(wish) => self.proposed_by_other(wish).await,
            Ask::ReadIndex => self.read_index_here().await,
            Ask::Standing => Answer::Standing(inner.standing(&letter.from).await),
            Ask::Promise(candidate) => Answer::Promise(inner.promise(candidate).await),
        }
    }

    /// Ends this server's part, and waits until the folder is free, for at most 10 s: a disk that takes nothing is not waited
    /// for longer.
    pub async fn stop(&self) {
        let since = Instant::now();
        self.inner.stopped.store(true, Ordering::Release);
        self.inner.look.notify_one();
        let ending = async {
            let running = self.inner.running.write().await;
            running.raft.shutdown().await
        };
        match tokio::time::timeout(CLOSE_LIMIT, ending).await {
            Ok(Ok(())) => {}
            Ok(Err(fault)) => tracing::warn!(%fault, "the group was left in disorder"),
            Err(_) => tracing::warn!("the group could not be left in time"),
        }
        self.inner.keeper.close(CLOSE_LIMIT.saturating_sub(since.elapsed())).await;
    }

    /// What became of the commands of this server that were proposed.
    pub fn proposals(&self) -> &Proposals {
        &self.inner.proposals
    }
}

/// Opens the ledger. One that begins after rows that are nowhere any more is moved aside: a server that can't know what it
/// has agreed to comes back as another.
fn open(options: &Options, registry: &Registry) -> Result<Ledger> {
    let open = || Ledger::open(&options.dir, options.durability, wall_now_ms(), OPEN_LIMIT);
    let ledger = open()?;
    let id = log::record::<Id>(ledger.content(), ID)?;
    let begins = log::record::<Option<types::Position>>(ledger.content(), log::PURGED)?.flatten().is_some();
    let has_rows = !options.afresh && id.is_some_and(|id| machine::is_known(registry, id));
    if !begins || has_rows || ledger.snapshot() != Ok(None) {
        return Ok(ledger);
    }
    drop(ledger);
    let aside = ledger::move_aside(&options.dir, "without-rows", wall_now_ms())?;
    tracing::error!(moved_aside = ?aside, "the rows that the raft log begins with are lost; this server joins as a new one");
    open()
}

/// Takes the log of a server that stands alone (again) out of the way: what it changes from now on is in no log, so it must
/// not come back as who it was. Its rows stay. To be called with [`FOLDER`] of the data folder when there is no group.
///
/// # Errors
/// [`Error::Setup`] when it can't be moved.
pub fn leave_behind(dir: &std::path::Path) -> Result<()> {
    if let Some(aside) = ledger::move_aside(dir, "left", wall_now_ms())? {
        tracing::warn!(moved_aside = %aside.display(), "this server was one of a group and now stands alone");
    }
    Ok(())
}

/// What a raft is made of, and stays the same.
struct Parts<'a> {
    id: Id,
    keeper: &'a Keeper,
    network: &'a Network,
    config: &'a Arc<openraft::Config>,
}

impl Parts<'_> {
    async fn run(&self, commit: &Commit, registry: &Arc<Registry>, afresh: bool) -> Result<Running> {
        let setup = |what: String| Error::Setup(format!("the raft log: {what}"));
        let content = self.keeper.content().await.map_err(|fault| setup(fault.to_string()))?;
        let log = Log::open(self.keeper.clone(), &content)?;
        let mut machine = Machine::open(self.id, commit.clone(), registry.clone(), self.keeper.clone(), afresh).await?;
        if log.is_empty() && self.network.founding.get().is_none() {
            machine.forget().await.map_err(|fault| setup(fault.to_string()))?;
        }
        let raft = Raft::new(self.id, self.config.clone(), self.network.clone(), log.clone(), machine).await;
        Ok(Running { raft: raft.map_err(|fault| setup(fault.to_string()))?, log })
    }
}

fn raft_config(options: &Options) -> Result<openraft::Config> {
    let config = openraft::Config {
        cluster_name: GROUP.to_owned(),
        heartbeat_interval: options.heartbeat_ms,
        election_timeout_min: options.election_ms.0,
        election_timeout_max: options.election_ms.1,
        install_snapshot_timeout: options.snapshot_timeout_ms,
        max_payload_entries: SENT_ENTRIES,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(options.snapshot_entries),
        // Who is further behind gets the snapshot; it has to be newer than that.
        replication_lag_threshold: options.snapshot_entries * 2,
        snapshot_max_chunk_size: PIECE_BYTES,
        max_in_snapshot_log_to_keep: options.snapshot_entries / 5,
        ..openraft::Config::default()
    };
    config.validate().map_err(|fault| Error::Setup(format!("the times of the group: {fault}")))
}

impl Inner {
    async fn raft(&self) -> Raft {
        self.running.read().await.raft.clone()
    }

    async fn metrics(&self) -> RaftMetrics<Id, openraft::BasicNode> {
        self.raft().await.metrics().borrow().clone()
    }

    async fn standing(&self, asker: &str) -> Standing {
        let (pristine, entries) = {
            let log = &self.running.read().await.log;
            (log.is_pristine(), log.has_entries())
        };
        // Nobody asks those that are not for their rows.
        let rows = if pristine { self.registry.agreed_rows().len() as u64 } else { 0 };
        let (founding, lists_you) = (self.founding.get(), self.members.knows(asker));
        Standing { id: self.id, pristine, founding, entries, rows, lists_you }
    }

    /// Runs raft anew on what is stored.
    async fn run_anew(&self, running: &mut Running) -> Result<()> {
        let parts = Parts { id: self.id, keeper: &self.keeper, network: &self.network, config: &self.config };
        *running = parts.run(&self.commit, &self.registry, false).await?;
        Ok(())
    }
}

fn wall_now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_millis() as u64).unwrap_or_default()
}
