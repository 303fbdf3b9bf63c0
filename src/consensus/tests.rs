//! A cluster in one process: servers with stores and ledgers on disk, a network that can be cut.

mod entries;
mod founding;
mod group;
mod joining;
mod partition;
mod storage;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::thread::JoinHandle;

use super::*;
use crate::cluster::message::Failure;
use crate::commit;
use crate::model::clock::AwakeClock;
use crate::model::command::Outcome;
use crate::model::member::Member;
use crate::model::peer::{Gap, Phase, Standing};
use crate::model::{Instance, InstanceKey, ServiceKey};
use crate::store::{OnFailure, Options as StoreOptions, Store};

/// The longest that anything may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who can reach whom.
#[derive(Default)]
struct Net {
    servers: Mutex<HashMap<String, Consensus>>,
    /// Those who can't reach the rest.
    islands: Mutex<HashSet<String>>,
}

impl Net {
    fn reaches(&self, from: &str, to: &str) -> bool {
        let islands = self.islands.lock();
        islands.contains(from) == islands.contains(to)
    }
}

struct Line(Arc<Net>, String);

impl Transport for Line {
    fn send(&self, to: &str, body: Bytes) -> Pin<Box<dyn Future<Output = Result<Bytes, Failure>> + Send>> {
        let (net, from, to) = (self.0.clone(), self.1.clone(), to.to_owned());
        Box::pin(async move {
            if !net.reaches(&from, &to) {
                std::future::pending::<()>().await;
            }
            let server = net.servers.lock().get(&to).cloned().ok_or(Failure::Refused)?;
            let answer = server.asked(&body).await.map_err(|error| Failure::Said(400, error.to_string()))?;
            if !net.reaches(&to, &from) {
                std::future::pending::<()>().await;
            }
            Ok(answer)
        })
    }
}

struct Server {
    address: String,
    dir: PathBuf,
    registry: Arc<Registry>,
    commit: Commit,
    committer: JoinHandle<Result<()>>,
    members: Arc<Members>,
    group: Consensus,
}

fn options(dir: &Path) -> Options {
    Options {
        heartbeat_ms: 50,
        election_ms: (150, 300),
        write_timeout_ms: 3_000,
        follow_ms: 50,
        form_grace_ms: 1_000,
        ..Options::new(dir.join(FOLDER))
    }
}

fn address(number: usize) -> String {
    format!("10.0.0.{number}:8848")
}

/// As known as it is after its first report.
fn member(number: usize) -> Member {
    let mut member = Member::new(&format!("10.0.0.{number}"), 8848);
    member.extend.standing = Some(Standing { phase: Phase::Ready, gap: Gap { from_ms: 0, to_ms: 0 } });
    member
}

/// A registry and what writes to it, with what is stored in `dir`.
fn rooms(dir: &Path, durability: Durability) -> (Arc<Registry>, Commit, JoinHandle<Result<()>>) {
    let registry = Arc::new(Registry::default());
    let store_options = StoreOptions { durability, ..StoreOptions::new(dir) };
    let mut apply = |rows: Vec<_>| rows.into_iter().for_each(|row| drop(registry.apply(row, 1, false)));
    let (store, report) = Store::open(store_options, 1_790_000_000_000, &mut apply, &|_| {}).unwrap();
    assert!(report.damage.is_none());
    let options = commit::Options { queue_len: 1_000, batch_rows: 100, on_failure: OnFailure::Refuse };
    let clock = AwakeClock::starting_at(1_000);
    let (commit, committer) = commit::start(registry.clone(), store, clock, options, Vec::new()).unwrap();
    (registry, commit, committer)
}

impl Server {
    async fn start(net: &Arc<Net>, number: usize, listed: &[usize], dir: &Path) -> Self {
        Self::start_with(net, number, listed, dir, |options| options).await
    }

    async fn start_with(
        net: &Arc<Net>,
        number: usize,
        listed: &[usize],
        dir: &Path,
        change: impl FnOnce(Options) -> Options,
    ) -> Self {
        let (registry, commit, committer) = rooms(dir, Durability::Synced);
        let members = Arc::new(Members::new(member(number), listed.iter().map(|other| member(*other)), 3));
        let line = Arc::new(Line(net.clone(), address(number)));
        let options = change(options(dir));
        let group = Consensus::start(options, commit.clone(), registry.clone(), members.clone(), line).await.unwrap();
        net.servers.lock().insert(address(number), group.clone());
        Self { address: address(number), dir: dir.to_owned(), registry, commit, committer, members, group }
    }

    /// As if killed: nobody is told.
    async fn stop(self, net: &Net) -> PathBuf {
        net.servers.lock().remove(&self.address);
        self.group.stop().await;
        self.commit.stop();
        self.committer.join().unwrap().unwrap();
        self.dir
    }

    fn ports(&self) -> Vec<i32> {
        ports(&self.registry)
    }

    fn list(&self, members: &[usize]) {
        self.members.replace(members.iter().map(|number| member(*number)));
        self.group.members_changed();
    }

    /// Whether it votes, as far as it knows.
    fn votes(&self) -> bool {
        let running = self.group.inner.running.try_read();
        let metrics = running.map(|running| running.raft.metrics().borrow().clone());
        metrics.is_ok_and(|metrics| metrics.membership_config.voter_ids().any(|id| id == self.group.inner.id))
    }

    fn state(&self) -> GroupState {
        self.group.state().unwrap()
    }
}

/// Ports of the persistent instances of the service that tests use.
fn ports(registry: &Registry) -> Vec<i32> {
    let service = registry.find_service(&service());
    let slots = service.map(|service| service.view().slots).unwrap_or_default();
    slots.iter().filter(|slot| !slot.is_ephemeral()).map(|slot| slot.port()).collect()
}

fn service() -> ServiceKey {
    ServiceKey::new("public", "DEFAULT_GROUP@@orders")
}

fn key(port: i32, ephemeral: bool) -> InstanceKey {
    InstanceKey { service: service(), cluster: "DEFAULT".into(), ip: "10.1.1.1".into(), port, ephemeral }
}

fn register(port: i32) -> Command {
    Command::Register(key(port, false), Instance::default())
}

/// Waits until `holds`.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let since = Instant::now();
    while !holds() {
        assert!(since.elapsed() < PATIENCE, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until all of them follow one leader, one of them, and shows all who votes.
async fn led(servers: &[&Server], voters: &[usize]) -> usize {
    let voters: Vec<String> = voters.iter().map(|number| address(*number)).collect();
    let leader = || {
        let states: Vec<GroupState> = servers.iter().map(|server| server.group.state()).collect::<Option<_>>()?;
        let leader = states.first()?.leader.clone()?;
        let agree = states.iter().all(|state| state.leader.as_ref() == Some(&leader) && state.voters == voters);
        let at = servers.iter().position(|server| server.address == leader)?;
        (agree && states.get(at)?.is_leader).then_some(at)
    };
    until("a leader of all", || leader().is_some()).await;
    leader().unwrap_or_default()
}

struct Dirs(tempfile::TempDir);

impl Dirs {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn of(&self, number: usize) -> PathBuf {
        self.0.path().join(number.to_string())
    }
}

/// Servers 1 to 3, as at the first start of a cluster.
async fn three(net: &Arc<Net>, dirs: &Dirs) -> Vec<Server> {
    let mut servers = Vec::new();
    for number in 1..=3 {
        servers.push(Server::start(net, number, &[1, 2, 3], &dirs.of(number)).await);
    }
    led(&servers.iter().collect::<Vec<_>>(), &[1, 2, 3]).await;
    servers
}

async fn stop_all(servers: Vec<Server>, net: &Net) {
    for server in servers {
        server.stop(net).await;
    }
}
