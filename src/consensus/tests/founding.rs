//! Groups that are made twice, or half, and servers that are there twice.

use std::collections::BTreeMap;

use openraft::{CommittedLeaderId, LogId};

use super::*;
use crate::consensus::keeper::Keeper;
use crate::consensus::log::Log;
use crate::consensus::machine::Machine;
use crate::consensus::message::node;
use crate::consensus::types::Membership;
use crate::store::ledger::Writing;

fn record(name: &'static str, text: String) -> Writing {
    Writing { records: vec![(name, text.into_bytes().into())], ..Writing::default() }
}

/// Has the server with that folder this identity from its first start on.
async fn identified(dir: &Path, id: Id) {
    let ledger = Ledger::open(&dir.join(FOLDER), Durability::Synced, 0, PATIENCE).unwrap();
    let keeper = Keeper::start(ledger).unwrap();
    keeper.write(record(ID, id.to_string())).await.unwrap();
    keeper.close(PATIENCE).await;
}

/// Makes a group of the first three on server 1, which has the instance at port 7; kills it after `steps` of three: the rows
/// are its first state, the log begins, it has asked for votes.
async fn founded(dir: &Path, steps: usize) {
    let (registry, commit, committer) = rooms(dir, Durability::Synced);
    commit.run(register(7)).await.unwrap();
    let ledger = Ledger::open(&dir.join(FOLDER), Durability::Synced, 0, PATIENCE).unwrap();
    let keeper = Keeper::start(ledger).unwrap();
    // As large as can be: its numbers must not win by that.
    let id = (1 << 63) - 1;
    keeper.write(record(ID, id.to_string())).await.unwrap();
    let base = LogId::new(CommittedLeaderId::new(0, id), 0);
    let nodes = BTreeMap::from([(id, node(&address(1))), (2, node(&address(2))), (1 << 63, node(&address(3)))]);
    let membership = openraft::Membership::new(vec![nodes.keys().copied().collect()], nodes);
    let mut machine = Machine::open(id, commit.clone(), registry, keeper.clone(), false).await.unwrap();
    machine.begin_at(base, Membership::new(Some(base), membership)).await.unwrap();
    if steps > 1 {
        let log = Log::open(keeper.clone(), &keeper.content().await.unwrap()).unwrap();
        log.begin_at(base, 77).await.unwrap();
    }
    if steps > 2 {
        keeper.write(record("vote", serde_json::to_string(&openraft::Vote::new(1, id)).unwrap())).await.unwrap();
    }
    keeper.close(PATIENCE).await;
    commit.stop();
    committer.join().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_killed_while_it_makes_a_group_joins_the_one_of_the_others() {
    for steps in 1..=3 {
        let (net, dirs) = (Arc::new(Net::default()), Dirs::new());
        founded(&dirs.of(1), steps).await;
        identified(&dirs.of(2), 2).await;
        let second = Server::start(&net, 2, &[1, 2, 3], &dirs.of(2)).await;
        let third = Server::start(&net, 3, &[1, 2, 3], &dirs.of(3)).await;
        led(&[&second, &third], &[1, 2, 3]).await;
        let first = Server::start(&net, 1, &[1, 2, 3], &dirs.of(1)).await;
        second.group.run(register(8)).await.unwrap();
        until("the same on all", || {
            [&first, &second, &third].iter().all(|server| server.ports() == [8] && server.votes())
        })
        .await;
        // Also after a restart.
        let dir = first.stop(&net).await;
        let first = Server::start(&net, 1, &[1, 2, 3], &dir).await;
        led(&[&first, &second, &third], &[1, 2, 3]).await;
        assert_eq!(first.ports(), [8], "after {steps} steps");
        stop_all(vec![first, second, third], &net).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_killed_while_it_makes_a_group_makes_it_when_there_is_no_other() {
    for steps in 1..=3 {
        let (net, dirs) = (Arc::new(Net::default()), Dirs::new());
        founded(&dirs.of(1), steps).await;
        identified(&dirs.of(2), 2).await;
        let servers = three(&net, &dirs).await;
        for server in &servers {
            until("what it had", || server.ports() == [7]).await;
        }
        stop_all(servers, &net).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_groups_do_not_mix() {
    let (net, dirs) = (Arc::new(Net::default()), Dirs::new());
    let one = Server::start(&net, 1, &[1], &dirs.of(1)).await;
    let other = Server::start(&net, 2, &[2], &dirs.of(2)).await;
    one.group.run(register(1)).await.unwrap();
    for port in 2..=5 {
        other.group.run(register(port)).await.unwrap();
    }
    [&one, &other].iter().for_each(|server| server.list(&[1, 2]));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((one.ports(), other.ports()), (vec![1], vec![2, 3, 4, 5]));
    one.group.run(register(6)).await.unwrap();
    // As the log says.
    let dir = other.stop(&net).await;
    leave_behind(&dir.join(FOLDER)).unwrap();
    let other = Server::start(&net, 2, &[1, 2], &dir).await;
    led(&[&one, &other], &[1, 2]).await;
    until("the same", || one.ports() == [1, 6] && other.ports() == [1, 6]).await;
    stop_all(vec![one, other], &net).await;
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_of_a_server_takes_no_part() {
    let (net, dirs) = (Arc::new(Net::default()), Dirs::new());
    let mut servers = three(&net, &dirs).await;
    servers[0].group.run(register(1)).await.unwrap();
    let dir = servers.remove(1).stop(&net).await;
    copy(&dir, &dirs.of(4));
    servers.insert(1, Server::start(&net, 2, &[1, 2, 3], &dirs.of(2)).await);
    let double = Server::start(&net, 4, &[1, 2, 3, 4], &dirs.of(4)).await;
    servers.iter().for_each(|server| server.list(&[1, 2, 3, 4]));
    let leader = led(&servers.iter().collect::<Vec<_>>(), &[1, 2, 3]).await;
    let term = servers[leader].state().term;
    // It wants to be elected again and again.
    until("its votes", || double.state().term > term + 2).await;
    assert!(!double.state().is_leader);
    assert_eq!(
        servers[leader].state(),
        GroupState {
            last_entry: servers[leader].state().last_entry,
            applied: servers[leader].state().applied,
            ..servers[leader].state()
        }
    );
    for (server, port) in servers.iter().zip([2, 3, 4]) {
        assert_eq!(server.group.run(register(port)).await, Ok(Outcome::Done));
    }
    led(&servers.iter().collect::<Vec<_>>(), &[1, 2, 3]).await;
    assert_eq!(double.ports(), [1]);
    servers.push(double);
    stop_all(servers, &net).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_lost_its_rows_and_their_snapshot_comes_back_as_another() {
    let (net, dirs) = (Arc::new(Net::default()), Dirs::new());
    let mut servers = three(&net, &dirs).await;
    servers[0].group.run(register(1)).await.unwrap();
    let lost = servers.pop().unwrap();
    let old = lost.group.inner.id;
    let dir = lost.stop(&net).await;
    // The store is damaged, and says so, but its position is among what is left; the rows are not.
    let (registry, commit, committer) = rooms(&dir, Durability::Synced);
    assert!(registry.settings().agreed().is_some());
    commit.run(Command::Deregister(key(1, false))).await.unwrap();
    commit.stop();
    committer.join().unwrap().unwrap();
    let snapshot = dir.join(FOLDER).join("snapshot");
    let mut bytes = std::fs::read(&snapshot).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&snapshot, bytes).unwrap();
    let afresh = |options| Options { afresh: true, ..options };
    let back = Server::start_with(&net, 3, &[1, 2, 3], &dir, afresh).await;
    until("its rows", || back.ports() == [1] && back.votes()).await;
    assert_ne!(back.group.inner.id, old);
    servers.push(back);
    stop_all(servers, &net).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_waits_for_nothing_that_never_ends() {
    let (net, dirs) = (Arc::new(Net::default()), Dirs::new());
    let server = Server::start(&net, 1, &[1], &dirs.of(1)).await;
    let inner = server.group.inner.clone();
    // As what waits for a disk that takes nothing.
    let _held = inner.running.read().await;
    let since = Instant::now();
    tokio::time::timeout(PATIENCE, server.group.stop()).await.unwrap();
    assert!(since.elapsed() < CLOSE_LIMIT + Duration::from_secs(2), "{:?}", since.elapsed());
    server.commit.stop();
}
