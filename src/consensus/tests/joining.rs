//! How a group begins, and who comes and goes.

use super::*;

/// A server that stood alone and has instances.
async fn alone(dir: &Path, ports: std::ops::RangeInclusive<i32>) {
    let (_, commit, committer) = rooms(dir, Durability::Synced);
    for port in ports {
        commit.run(register(port)).await.unwrap();
    }
    commit.stop();
    committer.join().unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_stood_alone_brings_its_data() {
    let (net, dirs) = (Arc::new(Net::default()), Dirs::new());
    // Not the first address: what counts is who has something.
    alone(&dirs.of(2), 1..=300).await;
    let servers = three(&net, &dirs).await;
    let expected: Vec<i32> = (1..=300).collect();
    for server in &servers {
        until("the data of the second", || server.ports() == expected).await;
    }
    servers[0].group.run(register(301)).await.unwrap();
    // It is in the stores as well.
    stop_all(servers, &net).await;
    for number in 1..=3 {
        let (registry, commit, committer) = rooms(&dirs.of(number), Durability::Synced);
        assert_eq!(ports(&registry).len(), 301, "server {number}");
        commit.stop();
        committer.join().unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_its_disk_is_let_in_as_another() {
    let (net, dirs) = (Arc::new(Net::default()), Dirs::new());
    let mut servers = Vec::new();
    // Snapshots come often: what is missing is in no log.
    let often = |options| Options { snapshot_entries: 20, ..options };
    for number in 1..=3 {
        servers.push(Server::start_with(&net, number, &[1, 2, 3], &dirs.of(number), often).await);
    }
    led(&servers.iter().collect::<Vec<_>>(), &[1, 2, 3]).await;
    for port in 1..=100 {
        servers[0].group.run(register(port)).await.unwrap();
    }
    until("a snapshot", || servers[0].state().snapshot > Some(50)).await;
    let lost = servers.remove(2);
    let old = lost.group.inner.id;
    std::fs::remove_dir_all(lost.stop(&net).await).unwrap();
    let back = Server::start_with(&net, 3, &[1, 2, 3], &dirs.of(3), often).await;
    assert_ne!(back.group.inner.id, old);
    let expected: Vec<i32> = (1..=100).collect();
    until("all of it", || back.ports() == expected).await;
    let votes = |id| {
        let metrics = back.group.inner.running.try_read().map(|running| running.raft.metrics().borrow().clone());
        metrics.is_ok_and(|metrics| metrics.membership_config.voter_ids().any(|voter| voter == id))
    };
    until("its vote", || back.votes() && !votes(old)).await;
    servers.push(back);
    stop_all(servers, &net).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_group_follows_the_list() {
    let (net, dirs) = (Arc::new(Net::default()), Dirs::new());
    let mut servers = three(&net, &dirs).await;
    servers[0].group.run(register(1)).await.unwrap();
    // A fourth comes.
    servers.push(Server::start(&net, 4, &[1, 2, 3, 4], &dirs.of(4)).await);
    servers.iter().for_each(|server| server.list(&[1, 2, 3, 4]));
    led(&servers.iter().collect::<Vec<_>>(), &[1, 2, 3, 4]).await;
    until("its data", || servers[3].ports() == [1]).await;
    // The leader goes; it does not even know.
    let leader = led(&servers.iter().collect::<Vec<_>>(), &[1, 2, 3, 4]).await;
    let left: Vec<usize> = (1..=4).filter(|number| *number != leader + 1).collect();
    let rest: Vec<&Server> = servers.iter().enumerate().filter(|(at, _)| *at != leader).map(|(_, one)| one).collect();
    rest.iter().for_each(|server| server.list(&left));
    led(&rest, &left).await;
    until("it no longer leads", || !servers[leader].state().is_leader).await;
    rest[0].group.run(register(2)).await.unwrap();
    assert_eq!(servers[leader].ports(), [1]);
    // It comes back, without a restart.
    rest.iter().for_each(|server| server.list(&[1, 2, 3, 4]));
    led(&servers.iter().collect::<Vec<_>>(), &[1, 2, 3, 4]).await;
    until("what it missed", || servers[leader].ports() == [1, 2]).await;
    assert_eq!(servers[leader].group.run(register(3)).await, Ok(Outcome::Done));
    stop_all(servers, &net).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_store_comes_back_from_snapshot_and_log() {
    let (net, dirs) = (Arc::new(Net::default()), Dirs::new());
    let one = Server::start(&net, 1, &[1], &dirs.of(1)).await;
    led(&[&one], &[1]).await;
    for port in 1..=10 {
        one.group.run(register(port)).await.unwrap();
    }
    let dir = one.stop(&net).await;
    // All that the store has is gone; the group's folder is not.
    for entry in std::fs::read_dir(&dir).unwrap().map(Result::unwrap) {
        if entry.file_name() == "protocol" {
            continue;
        }
        let path = entry.path();
        if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
    }
    let one = Server::start_with(&net, 1, &[1], &dir, |options| Options { afresh: true, ..options }).await;
    led(&[&one], &[1]).await;
    until("all of it", || one.ports() == (1..=10).collect::<Vec<_>>()).await;
    // Who stands alone from now on leaves the log behind.
    let dir = one.stop(&net).await;
    leave_behind(&dir.join(FOLDER)).unwrap();
    leave_behind(&dir.join(FOLDER)).unwrap();
    assert!(!dir.join(FOLDER).exists());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_removed_and_stays_up_disturbs_nobody() {
    let (net, dirs) = (Arc::new(Net::default()), Dirs::new());
    let mut servers = three(&net, &dirs).await;
    let leader = led(&servers.iter().collect::<Vec<_>>(), &[1, 2, 3]).await;
    let out = (leader + 1) % 3;
    let left: Vec<usize> = (1..=3).filter(|number| *number != out + 1).collect();
    let removed = servers.remove(out);
    servers.iter().for_each(|server| server.list(&left));
    let both: Vec<&Server> = servers.iter().collect();
    let leader = led(&both, &left).await;
    let term = servers[leader].state().term;
    // It hears of nobody, and wants to be elected.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((led(&both, &left).await, servers[leader].state().term), (leader, term), "{:?}", removed.state());
    assert_eq!(servers[0].group.run(register(1)).await, Ok(Outcome::Done));
    servers.push(removed);
    stop_all(servers, &net).await;
}
