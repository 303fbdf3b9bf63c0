//! Writing, losing servers, coming back.

use super::*;
use crate::error::Error;
use crate::model::ServiceSettings;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_on_any_server_is_on_all_and_at_once_where_it_was_made() {
    let (net, dirs) = (Arc::new(Net::default()), Dirs::new());
    let servers = three(&net, &dirs).await;
    for (at, server) in servers.iter().enumerate() {
        let port = at as i32 + 1;
        assert_eq!(server.group.run(register(port)).await, Ok(Outcome::Done));
        assert!(server.ports().contains(&port), "read your writes");
    }
    for server in &servers {
        until("all on all", || server.ports() == [1, 2, 3]).await;
        until("caught up", || server.group.has_caught_up()).await;
    }
    // What is refused is refused everywhere with the same words, and leaves nothing behind.
    let create = || Command::CreateService(service(), ServiceSettings::default());
    for server in &servers {
        let refused = server.group.run(create()).await.unwrap_err();
        assert!(matches!(&refused, Error::Input(text) if text.contains("already exists")), "{refused:?}");
    }
    let missing = Command::DeleteService(ServiceKey::new("public", "DEFAULT_GROUP@@none"));
    assert!(matches!(servers[1].group.run(missing).await, Err(Error::Input(_))));
    stop_all(servers, &net).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_is_replaced_and_takes_part_again() {
    let (net, dirs) = (Arc::new(Net::default()), Dirs::new());
    let mut servers = three(&net, &dirs).await;
    let mut expected = Vec::new();
    for round in 0..3 {
        let port = round * 10;
        assert_eq!(servers[0].group.run(register(port)).await, Ok(Outcome::Done));
        let leader = led(&servers.iter().collect::<Vec<_>>(), &[1, 2, 3]).await;
        let killed = servers.remove(leader);
        let number = 1 + (0..3).find(|n| killed.address == address(n + 1)).unwrap();
        killed.stop(&net).await;
        let since = Instant::now();
        // Sent while nobody leads yet: it waits.
        let outcome = servers[1].group.run(register(port + 1)).await;
        let again = servers[0].group.run(register(port + 1)).await;
        assert_eq!((again, outcome.is_ok() || since.elapsed() < PATIENCE), (Ok(Outcome::Done), true));
        expected.extend([port, port + 1]);
        servers.push(Server::start(&net, number, &[1, 2, 3], &dirs.of(number)).await);
        for server in &servers {
            until("what was agreed on meanwhile", || server.ports() == expected).await;
        }
    }
    stop_all(servers, &net).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_stopped_and_started_again_have_lost_nothing() {
    let (net, dirs) = (Arc::new(Net::default()), Dirs::new());
    let servers = three(&net, &dirs).await;
    for port in 1..=20 {
        servers[port as usize % 3].group.run(register(port)).await.unwrap();
    }
    servers[1].group.run(Command::Deregister(key(7, false))).await.unwrap();
    let ids: Vec<_> = servers.iter().map(|server| server.group.inner.id).collect();
    stop_all(servers, &net).await;
    let mut servers = Vec::new();
    for number in 1..=3 {
        servers.push(Server::start(&net, number, &[1, 2, 3], &dirs.of(number)).await);
    }
    assert_eq!(servers.iter().map(|server| server.group.inner.id).collect::<Vec<_>>(), ids);
    led(&servers.iter().collect::<Vec<_>>(), &[1, 2, 3]).await;
    let expected: Vec<i32> = (1..=20).filter(|port| *port != 7).collect();
    for server in &servers {
        until("all of it", || server.ports() == expected).await;
    }
    for server in &servers {
        assert_eq!(server.group.run(register(100)).await, Ok(Outcome::Done));
    }
    stop_all(servers, &net).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_for_both_kinds_are_taken_apart() {
    use crate::model::Metadata;
    use crate::model::command::{MetadataChange, Scope};
    let (net, dirs) = (Arc::new(Net::default()), Dirs::new());
    let servers = three(&net, &dirs).await;
    let ephemeral = Command::Register(key(2, true), Instance::default());
    assert!(!servers[0].group.is_agreed(&ephemeral) && servers[0].group.is_agreed(&register(1)));
    servers[0].commit.run(ephemeral).await.unwrap();
    servers[0].group.run(register(1)).await.unwrap();
    let added: Metadata = [("zone", "a")].into_iter().collect();
    let both = Scope::These(vec![key(2, true), key(1, false), key(9, false)]);
    let change = Command::ChangeMetadata(service(), both, MetadataChange::Merge(added.clone()));
    let outcome = servers[0].group.run(change).await;
    assert_eq!(outcome, Ok(Outcome::Updated(vec![key(1, false), key(2, true)])));
    for server in &servers {
        let of = |key| server.registry.find(&key).map(|slot| slot.instance().metadata.clone());
        until("the persistent one", || of(key(1, false)).flatten() == Some(added.clone())).await;
    }
    assert!(servers[1].registry.find(&key(2, true)).is_none(), "ephemeral instances go other ways");
    stop_all(servers, &net).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_that_want_the_same_at_once_one_gets_it() {
    let (net, dirs) = (Arc::new(Net::default()), Dirs::new());
    let servers = three(&net, &dirs).await;
    let mut asking = tokio::task::JoinSet::new();
    for number in 0..300 {
        let group = servers[number % 3].group.clone();
        asking.spawn(async move {
            let name = format!("DEFAULT_GROUP@@s{}", number % 10);
            group.run(Command::CreateService(ServiceKey::new("public", &name), ServiceSettings::default())).await
        });
    }
    let mut made = 0;
    while let Some(outcome) = asking.join_next().await {
        match outcome.unwrap() {
            Ok(_) => made += 1,
            Err(Error::Input(text)) => assert!(text.contains("already exists"), "{text}"),
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(made, 10);
    // They shared entries: there are far fewer of those than of commands.
    for server in &servers {
        until("all services", || server.registry.service_count() == 10).await;
        assert!(server.state().last_entry < Some(200), "{:?}", server.state());
    }
    stop_all(servers, &net).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_survives_any_server() {
    let (net, dirs) = (Arc::new(Net::default()), Dirs::new());
    let mut servers: Vec<Option<Server>> = three(&net, &dirs).await.into_iter().map(Some).collect();
    let acknowledged: Arc<Mutex<BTreeSet<i32>>> = Arc::default();
    let ended = Arc::new(AtomicBool::new(false));
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4 {
        let (net, acknowledged, ended) = (net.clone(), acknowledged.clone(), ended.clone());
        writers.spawn(async move {
            let mut random = fastrand::Rng::with_seed(writer as u64);
            let mut port = writer * 100_000;
            while !ended.load(Ordering::Relaxed) {
                let group = net.servers.lock().get(&address(random.usize(1..4))).cloned();
                let Some(group) = group else { continue };
                port += 1;
                if group.run(register(port)).await.is_ok() {
                    acknowledged.lock().insert(port);
                }
            }
        });
    }
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..6 {
        let at = random.usize(0..3);
        servers[at].take().unwrap().stop(&net).await;
        tokio::time::sleep(Duration::from_millis(random.u64(50..900))).await;
        servers[at] = Some(Server::start(&net, at + 1, &[1, 2, 3], &dirs.of(at + 1)).await);
        tokio::time::sleep(Duration::from_millis(random.u64(300..900))).await;
    }
    ended.store(true, Ordering::Relaxed);
    while writers.join_next().await.is_some() {}
    let servers: Vec<Server> = servers.into_iter().flatten().collect();
    led(&servers.iter().collect::<Vec<_>>(), &[1, 2, 3]).await;
    let acknowledged = std::mem::take(&mut *acknowledged.lock());
    assert!(acknowledged.len() > 50, "{} writes are too few to tell anything", acknowledged.len());
    for server in &servers {
        let is_there = || acknowledged.is_subset(&server.ports().into_iter().collect());
        until("all that was acknowledged", is_there).await;
    }
    until("the same everywhere", || {
        let first = servers[0].ports();
        servers.iter().all(|server| server.ports() == first)
    })
    .await;
    stop_all(servers, &net).await;
}
