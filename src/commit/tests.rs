mod account;
mod agreed;
mod merge;
mod settings;
mod subscriptions;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::model::command::{Address, MetadataChange, Patch, Scope};
use crate::model::{ClusterKey, ClusterSettings, HealthChecker, Instance, InstanceKey, Metadata, ServiceKey};
use crate::store::{Durability, Options as StoreOptions, StoreStats};

fn key(service: &str, ip: &str) -> InstanceKey {
    InstanceKey {
        service: ServiceKey::new("public", service),
        cluster: "DEFAULT".into(),
        ip: ip.into(),
        port: 80,
        ephemeral: true,
    }
}

fn with(metadata: &[(&str, &str)]) -> Instance {
    Instance { metadata: Some(metadata.iter().copied().collect()), ..Instance::default() }
}

struct World {
    registry: Arc<Registry>,
    clock: AwakeClock,
    commit: Commit,
    thread: JoinHandle<Result<()>>,
    runtime: tokio::runtime::Runtime,
    changes: Arc<AtomicUsize>,
    stats: Arc<StoreStats>,
    dir: tempfile::TempDir,
}

impl World {
    fn new(durability: Durability) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let registry = Arc::new(Registry::default());
        let clock = AwakeClock::starting_at(1_000);
        let store_options = StoreOptions { durability, ..StoreOptions::new(dir.path().join("data")) };
        let (store, _) = Store::open(store_options, 0, &mut |_| {}, &|_| {}).unwrap();
        let stats = store.stats();
        let changes = Arc::new(AtomicUsize::new(0));
        let seen = changes.clone();
        let options = Options { queue_len: 1_000, batch_rows: 100, on_failure: OnFailure::Refuse };
        let listener: Listener = Box::new(move |_, changes: &[Change]| {
            seen.fetch_add(changes.len(), Ordering::Relaxed);
        });
        let (commit, thread) = start(registry.clone(), store, clock.clone(), options, vec![listener]).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { registry, clock, commit, thread, runtime, changes, stats, dir }
    }

    fn run(&self, command: Command) -> Result<Outcome> {
        self.runtime.block_on(self.commit.run(command))
    }

    /// Sends all before the first is answered, so that they meet in one batch.
    fn together(&self, commands: Vec<Command>) -> Vec<Result<Outcome>> {
        let waiting: Vec<_> = commands
            .into_iter()
            .map(|command| {
                let (reply, answer) = oneshot::channel();
                self.commit
                    .send(Request { command, waiter: Some(Waiter { reply, since: Instant::now() }), agreed: None })
                    .unwrap();
                answer
            })
            .collect();
        waiting.into_iter().map(|answer| self.runtime.block_on(answer).unwrap()).collect()
    }

    fn metadata(&self, key: &InstanceKey) -> Option<Metadata> {
        self.registry.find(key).unwrap().instance().metadata.clone()
    }

    fn stop(self) {
        self.commit.stop();
        self.thread.join().unwrap().unwrap();
    }
}

#[test]
fn an_answered_command_is_visible_and_told() {
    let world = World::new(Durability::Synced);
    let a = key("g@@s", "1.1.1.1");
    assert_eq!(world.run(Command::Register(a.clone(), with(&[("x", "1")]))), Ok(Outcome::Done));
    assert_eq!(world.metadata(&a), Some([("x", "1")].into_iter().collect()));
    assert_eq!(world.registry.find(&a).unwrap().last_beat_ms(), 1_000);
    assert_eq!(world.run(Command::Deregister(a.clone())), Ok(Outcome::Done));
    assert!(world.registry.find(&a).is_none());
    assert_eq!(world.registry.service_count(), 1, "the service stays");
    assert_eq!(world.run(Command::Deregister(a)), Ok(Outcome::Done), "what isn't there is no error");
    // Listeners hear of it after the answer; the next command waits for them.
    world.run(Command::CleanService(ServiceKey::new("public", "g@@none"))).unwrap();
    assert_eq!(world.changes.load(Ordering::Relaxed), 3);
    world.stop();
}

#[test]
fn a_restart_knows_when_instances_were_changed() {
    let world = World::new(Durability::Synced);
    let [a, b] = ["1.1.1.1", "1.1.1.2"].map(|ip| key("g@@s", ip));
    let together = [&a, &b].map(|key| Command::Register(key.clone(), with(&[("x", "1")])));
    assert!(world.together(together.to_vec()).iter().all(Result::is_ok));
    world.run(Command::Register(a.clone(), with(&[("x", "2")]))).unwrap();
    let [changed_ms, before_ms] = [&a, &b].map(|key| world.registry.find(key).unwrap().changed_ms());
    assert!(changed_ms >= before_ms && before_ms > 1_700_000_000_000);
    world.commit.stop();
    world.thread.join().unwrap().unwrap();
    let restored = Registry::default();
    let mut take = |rows: Vec<crate::model::Row>| rows.into_iter().for_each(|row| drop(restored.apply(row, 0, false)));
    Store::open(StoreOptions::new(world.dir.path().join("data")), 0, &mut take, &|_| {}).unwrap();
    assert_eq!([&a, &b].map(|key| restored.find(key).unwrap().changed_ms()), [changed_ms, before_ms]);
}

#[test]
fn registering_the_same_again_is_a_beat_and_told_but_not_stored() {
    let world = World::new(Durability::Synced);
    let a = key("g@@s", "1.1.1.1");
    let same = || Command::Register(a.clone(), with(&[("x", "1")]));
    world.run(same()).unwrap();
    let rows = || world.stats.batches.spread().sum;
    let stored = rows();
    world.clock.advance(4_000);
    world.run(same()).unwrap();
    assert_eq!((rows(), world.registry.find(&a).unwrap().last_beat_ms()), (stored, 5_000));
    world.run(Command::Register(a.clone(), with(&[("x", "2")]))).unwrap();
    assert_eq!(rows(), stored + 1);
    world.run(Command::CleanService(ServiceKey::new("public", "g@@none"))).unwrap();
    assert_eq!(world.changes.load(Ordering::Relaxed), 3, "listeners are told each time");
    // An unhealthy one stays so until it beats, however often it is registered.
    world.run(Command::Fade { key: a.clone(), last_beat_ms: 5_000 }).unwrap();
    let stored = rows();
    world.run(Command::Register(a.clone(), with(&[("x", "2")]))).unwrap();
    assert_eq!((rows(), world.registry.find(&a).unwrap().instance().healthy), (stored, false));
    world.stop();
}

#[test]
fn commands_that_read_before_they_write_lose_nothing_of_each_other() {
    let world = World::new(Durability::Written);
    let a = key("g@@s", "1.1.1.1");
    let service = a.service.clone();
    let merge = |k: &str, v: &str| {
        let change = MetadataChange::Merge([(k, v)].into_iter().collect());
        Command::ChangeMetadata(service.clone(), Scope::Kind(true), change)
    };
    let address = Address { service: service.clone(), cluster: "DEFAULT".into(), ip: a.ip.clone(), port: 80 };
    let weigh = Command::Patch(address, Patch { weight: Some(7.0), ..Patch::default() });
    let mut commands = vec![Command::Register(a.clone(), with(&[]))];
    commands.extend((0..40).map(|i| merge(&format!("k{i}"), &i.to_string())));
    commands.push(weigh);
    commands.extend((40..80).map(|i| merge(&format!("k{i}"), &i.to_string())));
    let outcomes = world.together(commands);
    assert!(outcomes.iter().all(|outcome| outcome.is_ok()), "{outcomes:?}");
    assert_eq!(outcomes[1], Ok(Outcome::Updated(vec![a.clone()])), "it saw the registration of the same batch");
    let instance = world.registry.find(&a).unwrap().instance();
    assert_eq!(instance.metadata.as_ref().unwrap().len(), 80);
    assert_eq!(instance.weight, 7.0);
    world.stop();
}

#[test]
fn registering_again_keeps_health_and_id_and_deregistering_in_between_does_not() {
    let world = World::new(Durability::Written);
    let a = key("g@@s", "1.1.1.1");
    let ill = Instance { healthy: false, ..with(&[("preserved.instance.id.generator", "snowflake")]) };
    world.run(Command::Register(a.clone(), ill)).unwrap();
    let outcomes = world.together(vec![
        Command::Register(a.clone(), with(&[])),
        Command::Register(key("g@@s", "1.1.1.2"), with(&[("preserved.instance.id.generator", "SnowFlake")])),
    ]);
    assert_eq!(outcomes, [Ok(Outcome::Done), Ok(Outcome::Done)]);
    let again = world.registry.find(&a).unwrap().instance();
    assert_eq!((again.healthy, again.id.as_deref()), (false, Some("0")));
    assert_eq!(world.registry.find(&key("g@@s", "1.1.1.2")).unwrap().instance().id.as_deref(), Some("1"));
    world.together(vec![Command::Deregister(a.clone()), Command::Register(a.clone(), with(&[]))]);
    let fresh = world.registry.find(&a).unwrap().instance();
    assert_eq!((fresh.healthy, fresh.id.as_deref()), (true, None));
    world.stop();
}

#[test]
fn names_are_checked_when_something_is_created() {
    let world = World::new(Durability::Off);
    let error = world.run(Command::Register(key("g@@a b", "1.1.1.1"), with(&[]))).unwrap_err();
    let text = "dom name can only have these characters: 0-9a-zA-Z-._:, current: g@@a b";
    assert_eq!(error, Error::Input(text.into()));
    assert_eq!(world.registry.service_count(), 0);
    let odd = InstanceKey { cluster: "a_b".into(), ..key("g@@s", "1.1.1.1") };
    let error = world.run(Command::Register(odd.clone(), with(&[]))).unwrap_err();
    let text = "cluster name can only have these characters: 0-9a-zA-Z-, current: a_b";
    assert_eq!(error, Error::Input(text.into()));
    assert_eq!(world.registry.service_count(), 1, "the service was made before the cluster was refused");
    assert!(world.run(Command::Deregister(odd)).is_err());
    world.stop();
}

#[test]
fn a_verdict_on_a_silent_instance_is_void_after_a_beat() {
    let world = World::new(Durability::Off);
    let a = key("g@@s", "1.1.1.1");
    world.run(Command::Register(a.clone(), with(&[]))).unwrap();
    let slot = world.registry.find(&a).unwrap();
    let seen = slot.last_beat_ms();
    world.clock.advance(10);
    slot.touch(world.clock.now_ms());
    world.run(Command::Fade { key: a.clone(), last_beat_ms: seen }).unwrap();
    world.run(Command::Expire { key: a.clone(), last_beat_ms: seen }).unwrap();
    assert!(slot.instance().healthy && world.registry.find(&a).is_some());
    let seen = slot.last_beat_ms();
    world.run(Command::Fade { key: a.clone(), last_beat_ms: seen }).unwrap();
    assert!(!slot.instance().healthy);
    world.run(Command::Heal(a.clone())).unwrap();
    assert!(slot.instance().healthy);
    assert_eq!(slot.last_beat_ms(), seen, "flips don't renew the beat");
    world.run(Command::Expire { key: a.clone(), last_beat_ms: seen }).unwrap();
    assert!(world.registry.find(&a).is_none() && slot.is_gone());
    world.stop();
}

#[test]
fn what_checks_found_is_stored_when_it_is_new_and_told_in_any_case() {
    let world = World::new(Durability::Synced);
    let key = InstanceKey { ephemeral: false, ..key("g@@checked", "1.1.1.1") };
    world.run(Command::Register(key.clone(), Instance::default())).unwrap();
    world.run(Command::CleanService(ServiceKey::new("public", "g@@none"))).unwrap();
    let told = || world.changes.load(Ordering::Relaxed);
    let found = |healthy| {
        let before = told();
        world.run(Command::CheckedHealth { key: key.clone(), healthy }).unwrap();
        // Listeners hear of it after the answer; the next command waits for them.
        world.run(Command::CleanService(ServiceKey::new("public", "g@@none"))).unwrap();
        (told() - before, world.registry.find(&key).unwrap().instance().healthy)
    };
    assert_eq!(found(true), (1, true));
    assert_eq!(found(false), (1, false));
    assert_eq!(found(false), (1, false));
    world.run(Command::Deregister(key.clone())).unwrap();
    world.run(Command::CleanService(ServiceKey::new("public", "g@@none"))).unwrap();
    let before = told();
    world.run(Command::CheckedHealth { key: key.clone(), healthy: true }).unwrap();
    world.run(Command::CleanService(ServiceKey::new("public", "g@@none"))).unwrap();
    assert!(told() == before && world.registry.find(&key).is_none(), "an instance that is gone stays away");
    world.stop();
}

#[test]
fn what_changes_nothing_is_told_where_subscribers_count_on_it() {
    let world = World::new(Durability::Synced);
    let (known, unknown) = (key("g@@told", "1.1.1.1"), key("g@@told", "1.1.1.2"));
    world.run(Command::Register(known.clone(), Instance::default())).unwrap();
    let cluster = ClusterKey { service: known.service.clone(), name: known.cluster.clone() };
    let settings = ClusterSettings { checker: HealthChecker::None, ..ClusterSettings::default() };
    world.run(Command::UpdateCluster(cluster, settings)).unwrap();
    let told = |command: Command| {
        // Listeners hear of it after the answer; the next command waits for them.
        let wait = || world.run(Command::CleanService(ServiceKey::new("public", "g@@none"))).unwrap();
        wait();
        let before = world.changes.load(Ordering::Relaxed);
        world.run(command).unwrap();
        wait();
        world.changes.load(Ordering::Relaxed) - before
    };
    let (service, ip, port) = (known.service.clone(), known.ip.clone(), known.port);
    let address = Address { service, cluster: known.cluster.clone(), ip, port };
    assert_eq!(told(Command::SetHealth(address, true)), 1);
    assert_eq!(told(Command::Deregister(unknown)), 1);
    assert_eq!(told(Command::Deregister(key("g@@nobody", "1.1.1.1"))), 0);
    assert_eq!(told(Command::Heal(known.clone())), 0);
    world.stop();
}

#[test]
fn a_deleted_service_takes_its_instances_and_clusters_with_it() {
    let world = World::new(Durability::Written);
    let service = ServiceKey::new("public", "g@@s");
    world.run(Command::CreateService(service.clone(), Default::default())).unwrap();
    let cluster = ClusterKey { service: service.clone(), name: "C".into() };
    let settings = ClusterSettings { checker: HealthChecker::None, ..ClusterSettings::default() };
    world.run(Command::UpdateCluster(cluster, settings)).unwrap();
    for ip in ["1.1.1.1", "1.1.1.2"] {
        world.run(Command::Register(key("g@@s", ip), with(&[]))).unwrap();
    }
    assert!(world.run(Command::CreateService(service.clone(), Default::default())).is_err());
    world.run(Command::CleanService(service.clone())).unwrap();
    assert_eq!(world.registry.service_count(), 1, "only empty services are cleaned");
    world.run(Command::DeleteService(service.clone())).unwrap();
    assert_eq!((world.registry.service_count(), world.registry.instance_count()), (0, 0));
    assert_eq!(world.registry.rows().count(), 0);
    assert!(world.run(Command::DeleteService(service)).is_err());
    world.stop();
}

#[test]
fn a_row_that_is_too_large_is_refused_and_nothing_changes() {
    let world = World::new(Durability::Written);
    let a = key("g@@s", "1.1.1.1");
    let big = "x".repeat(70_000);
    let error = world.run(Command::Register(a.clone(), with(&[("k", &big)]))).unwrap_err();
    assert!(matches!(error, Error::Input(_)), "{error:?}");
    assert!(world.registry.find(&a).is_none());
    assert_eq!(world.run(Command::Register(a, with(&[]))), Ok(Outcome::Done));
    world.stop();
}

#[test]
fn a_refused_registration_leaves_no_service_that_could_not_be_stored() {
    let world = World::new(Durability::Written);
    let long = InstanceKey {
        service: ServiceKey::new(&"n".repeat(70_000), "g@@s"),
        cluster: "!".into(),
        ..key("g@@s", "1.1.1.1")
    };
    assert!(matches!(world.run(Command::Register(long, with(&[]))), Err(Error::Input(_))));
    assert_eq!(world.registry.service_count(), 0);
    world.stop();
}

#[test]
fn a_full_queue_refuses_at_once() {
    let (queue, requests) = sync_channel(1);
    let commit = Commit { queue, status: Arc::default(), diversion: Arc::default() };
    let beat = || Command::Heal(key("g@@s", "1.1.1.1"));
    commit.post(beat()).unwrap();
    assert!(matches!(commit.post(beat()), Err(Error::Limit(_))));
    drop(requests);
    assert!(matches!(commit.post(beat()), Err(Error::Unavailable(_))));
}

#[test]
fn beats_do_not_judge_a_marked_instance() {
    let world = World::new(Durability::Off);
    let a = key("g@@s", "1.1.1.1");
    let marked = |healthy| Instance { marked: true, healthy, ..Instance::default() };
    world.run(Command::Register(a.clone(), marked(true))).unwrap();
    let slot = world.registry.find(&a).unwrap();
    world.run(Command::Fade { key: a.clone(), last_beat_ms: slot.last_beat_ms() }).unwrap();
    world.run(Command::Expire { key: a.clone(), last_beat_ms: slot.last_beat_ms() }).unwrap();
    assert!(slot.instance().healthy && !slot.is_gone());
    world.run(Command::Deregister(a.clone())).unwrap();
    world.run(Command::Register(a.clone(), marked(false))).unwrap();
    world.run(Command::Heal(a.clone())).unwrap();
    assert!(!world.registry.find(&a).unwrap().instance().healthy);
    world.stop();
}

#[test]
fn a_persistent_instance_refused_for_its_cluster_leaves_a_stored_service() {
    let world = World::new(Durability::Off);
    let odd = InstanceKey { cluster: "a_b".into(), ephemeral: false, ..key("g@@s", "1.1.1.1") };
    assert!(world.run(Command::Register(odd.clone(), with(&[]))).is_err());
    assert!(world.registry.find_service(&odd.service).unwrap().is_stored());
    world.stop();
}

#[test]
fn a_fault_of_a_deregistration_sees_the_service_made_in_the_same_batch() {
    let world = World::new(Durability::Off);
    let a = key("g@@s", "1.1.1.1");
    let odd = InstanceKey { cluster: "a_b".into(), ..a.clone() };
    for _ in 0..20 {
        let service = Command::DeleteService(a.service.clone());
        let answers = world.together(vec![
            Command::Register(a.clone(), with(&[])),
            Command::Deregister(odd.clone()),
            service,
            Command::Deregister(odd.clone()),
        ]);
        assert_eq!(answers.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, false, true, true]);
    }
    world.stop();
}

#[test]
fn the_committer_turns_until_it_is_stuck() {
    let registry = Arc::new(Registry::default());
    let dir = tempfile::tempdir().unwrap();
    let store_options = StoreOptions { durability: Durability::Off, ..StoreOptions::new(dir.path()) };
    let (store, _) = Store::open(store_options, 0, &mut |_| {}, &|_| {}).unwrap();
    let (stuck, free) = (Arc::new(parking_lot::Mutex::new(())), Arc::new(AtomicUsize::new(0)));
    let (waits_for, seen) = (stuck.clone(), free.clone());
    let listener: Listener = Box::new(move |_, _| {
        seen.fetch_add(1, Ordering::SeqCst);
        drop(waits_for.lock());
    });
    let options = Options { queue_len: 10, batch_rows: 10, on_failure: OnFailure::Refuse };
    let (commit, thread) = start(registry, store, AwakeClock::starting_at(1), options, vec![listener]).unwrap();
    let moves = || {
        let before = commit.status().turns();
        std::thread::sleep(Duration::from_millis(500));
        commit.status().turns() != before
    };
    assert!(moves(), "also when nothing is written");
    let held = stuck.lock();
    commit.post(Command::Register(key("g@@s", "10.0.0.1"), Instance::default())).unwrap();
    while free.load(Ordering::SeqCst) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(!moves());
    drop(held);
    assert!(moves());
    commit.stop();
    thread.join().unwrap().unwrap();
}

#[test]
fn a_store_that_is_healed_row_by_row_is_not_stuck() {
    let registry = Arc::new(Registry::default());
    for at in 0..500 {
        let row = crate::model::Row::Instance(key("g@@s", &format!("10.0.0.{at}")), Some(Arc::default()));
        registry.apply(row, 1, true);
    }
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = Store::open(StoreOptions::new(dir.path()), 0, &mut |_| {}, &|_| {}).unwrap();
    let mut committer = Committer {
        registry,
        store,
        clock: AwakeClock::starting_at(1),
        options: Options { queue_len: 1, batch_rows: 1, on_failure: OnFailure::Refuse },
        listeners: Listeners::default(),
        requests: sync_channel(1).1,
        status: Arc::default(),
        held: None,
        heal_at: Some(Instant::now()),
        backoff: HEAL_BACKOFF.0,
    };
    committer.heal();
    assert!(committer.status.turns() >= 500, "{}", committer.status.turns());
    committer.store.close().unwrap();
}
