use super::*;
use crate::model::{ClusterKey, Instance, InstanceKey, Row, ServiceKey};
use crate::registry::{Change, Registry};

const OK: Finding = Finding::Ok(1.0);
/// A service that another server checks.
const NOT_OURS: &str = "g@@not-ours";

/// A registry and a schedule that is told of every persistent newcomer, as the server does it.
struct World {
    registry: Registry,
    schedule: Schedule,
    params: CheckParams,
    now_ms: u64,
}

impl World {
    fn new() -> Self {
        let (registry, schedule) = (Registry::default(), Schedule::new(1));
        Self { registry, schedule, params: CheckParams::default(), now_ms: 1 }
    }

    fn apply(&mut self, row: Row) {
        if let Some(Change::Put { service, slot, new: true, .. }) = self.registry.apply(row, self.now_ms, true) {
            self.schedule.watch(service, slot, self.now_ms, &self.params);
        }
    }

    fn put(&mut self, key: &InstanceKey, instance: Instance) {
        self.apply(Row::Instance(key.clone(), Some(Arc::new(instance))));
    }

    fn set_checker(&mut self, service: &ServiceKey, checker: HealthChecker) {
        let key = ClusterKey { service: service.clone(), name: "DEFAULT".into() };
        let settings = ClusterSettings { checker, ..ClusterSettings::default() };
        self.apply(Row::Cluster(key, Some(Arc::new(settings))));
    }

    /// Moves on until checks are due, for at most `limit_ms`.
    fn next_run(&mut self, limit_ms: u64) -> Option<(u64, Vec<Job>)> {
        let end_ms = self.now_ms + limit_ms;
        while self.now_ms < end_ms {
            self.now_ms += 50;
            let jobs = self.schedule.tick(self.now_ms, &self.params, &|name| name != NOT_OURS);
            if !jobs.is_empty() {
                return Some((self.now_ms, jobs));
            }
        }
        None
    }

    fn finish(&mut self, jobs: Vec<Job>, finding: Finding) -> Vec<(InstanceKey, bool)> {
        let mut told = Vec::new();
        for job in jobs {
            match self.schedule.finish(job.number, finding, &self.params) {
                Some(Command::CheckedHealth { key, healthy }) => told.push((key, healthy)),
                None => {}
                Some(other) => panic!("{other:?}"),
            }
        }
        told
    }
}

fn service(namespace: &str) -> ServiceKey {
    ServiceKey::new(namespace, "g@@s")
}

fn key(namespace: &str, port: i32) -> InstanceKey {
    let service = service(namespace);
    InstanceKey { service, cluster: "DEFAULT".into(), ip: "10.0.0.1".into(), port, ephemeral: false }
}

#[test]
fn the_first_run_comes_two_to_seven_seconds_after_the_first_instance() {
    let mut firsts = Vec::new();
    for _ in 0..50 {
        let mut world = World::new();
        world.put(&key("public", 1), Instance::default());
        let (at, jobs) = world.next_run(7_200).unwrap();
        assert!((2_001..=7_151).contains(&at), "{at}");
        assert_eq!((jobs.len(), jobs[0].kind), (1, Kind::Tcp));
        firsts.push(at);
    }
    firsts.dedup();
    assert!(firsts.len() > 10, "not random: {firsts:?}");
    let mut world = World::new();
    world.params.tcp.max_ms = 0;
    world.put(&key("public", 1), Instance::default());
    assert!((2_001..=2_151).contains(&world.next_run(7_200).unwrap().0));
}

#[test]
fn every_result_moves_the_pause_of_the_cluster() {
    let mut world = World::new();
    world.put(&key("public", 1), Instance::default());
    world.put(&key("public", 2), Instance::default());
    for _ in 0..20 {
        let (_, jobs) = world.next_run(8_000).unwrap();
        assert_eq!(jobs.len(), 2);
        assert!(world.schedule.tick(world.now_ms, &world.params, &|_| true).is_empty());
        let _ = world.finish(jobs, OK);
    }
    let pause = |world: &mut World, finding| {
        let (first, jobs) = world.next_run(8_000).unwrap();
        let _ = world.finish(jobs, finding);
        let (second, jobs) = world.next_run(8_000).unwrap();
        let _ = world.finish(jobs, finding);
        second - first
    };
    assert!((1_000..=1_100).contains(&pause(&mut world, OK)), "the shortest pause of TCP");
    let _ = (0..10).map(|_| pause(&mut world, Finding::Busy)).count();
    assert!((5_000..=5_100).contains(&pause(&mut world, Finding::Busy)), "the longest");
}

#[test]
fn a_check_that_runs_is_not_started_twice_and_slows_the_cluster_down() {
    let mut world = World::new();
    world.put(&key("public", 1), Instance::default());
    let (first, held) = world.next_run(8_000).unwrap();
    assert_eq!(held.len(), 1);
    assert!(world.next_run(60_000).is_none(), "started twice");
    assert!(first < 8_000);
    assert!(world.finish(held, Finding::FailNow) == [(key("public", 1), false)]);
    assert_eq!(world.next_run(6_000).unwrap().1.len(), 1);
    let rt = world.schedule.clusters.values().next().unwrap().rt_ms;
    assert_eq!(rt, 5_000.0, "2 * rt for each run that found it running");
}

#[test]
fn three_successes_heal_and_one_refusal_is_enough() {
    let mut world = World::new();
    let sick = Instance { healthy: false, ..Instance::default() };
    world.put(&key("public", 1), sick);
    for told in [vec![], vec![], vec![(key("public", 1), true)]] {
        let jobs = world.next_run(8_000).unwrap().1;
        assert_eq!(world.finish(jobs, OK), told);
    }
    world.put(&key("public", 1), Instance::default());
    let jobs = world.next_run(8_000).unwrap().1;
    assert_eq!(world.finish(jobs, OK), [], "known as healthy");
    let jobs = world.next_run(8_000).unwrap().1;
    assert_eq!(world.finish(jobs, Finding::FailNow), [(key("public", 1), false)]);
}

#[test]
fn equal_names_in_two_namespaces_share_nothing() {
    let mut world = World::new();
    for namespace in ["a", "b"] {
        world.put(&key(namespace, 1), Instance { healthy: false, ..Instance::default() });
    }
    assert_eq!((world.schedule.cluster_count(), world.schedule.len()), (2, 2));
    let (mut told, mut runs) = (Vec::new(), HashMap::<_, u32>::new());
    while told.len() < 2 {
        for job in world.next_run(8_000).unwrap().1 {
            let (number, healthy) = (job.number, !world.finish(vec![job], OK).is_empty());
            let run = runs.entry(number).or_default();
            *run += 1;
            assert_eq!(healthy, *run >= 3, "{number} after {run}");
            if *run == 3 {
                told.push(number);
            }
        }
    }
    assert_ne!(told[0], told[1]);
}

#[test]
fn counters_start_afresh_for_an_instance_that_comes_back() {
    let mut world = World::new();
    let sick = Instance { healthy: false, ..Instance::default() };
    world.put(&key("public", 1), sick.clone());
    world.put(&key("public", 2), Instance::default());
    for _ in 0..2 {
        let jobs = world.next_run(8_000).unwrap().1;
        assert_eq!(world.finish(jobs, OK), []);
    }
    let held = world.next_run(8_000).unwrap().1;
    world.apply(Row::Instance(key("public", 1), None));
    world.put(&key("public", 1), sick);
    assert_eq!(world.finish(held, OK), [(key("public", 2), true)], "what is gone is not judged");
    for told in [vec![], vec![], vec![(key("public", 1), true)]] {
        let jobs = world.next_run(8_000).unwrap().1;
        assert_eq!(jobs.len(), 2);
        assert_eq!(world.finish(jobs, OK), told);
    }
}

#[test]
fn clusters_without_instances_cost_nothing() {
    let mut world = World::new();
    world.put(&key("a", 1), Instance::default());
    world.put(&key("b", 1), Instance::default());
    world.apply(Row::Instance(key("a", 1), None));
    world.apply(Row::Service(service("b"), None));
    assert!(world.next_run(8_000).is_none());
    assert_eq!((world.schedule.cluster_count(), world.schedule.len()), (0, 0));
    assert!(world.schedule.wheel.is_empty());
    // The service that was removed with its instances comes back as another one.
    world.put(&key("b", 1), Instance::default());
    assert_eq!(world.next_run(8_000).unwrap().1.len(), 1);
}

#[test]
fn marked_instances_and_those_of_the_checker_none_are_skipped() {
    let mut world = World::new();
    world.put(&key("public", 1), Instance { marked: true, ..Instance::default() });
    world.put(&key("public", 2), Instance::default());
    let (_, jobs) = world.next_run(8_000).unwrap();
    assert_eq!(jobs.iter().map(|job| job.slot.port()).collect::<Vec<_>>(), [2]);
    let _ = world.finish(jobs, OK);
    world.set_checker(&service("public"), HealthChecker::None);
    assert!(world.next_run(20_000).is_none());
    let http = HealthChecker::Http { path: "/".into(), headers: String::new(), expected_code: 200 };
    let mysql = HealthChecker::Mysql { user: None, pwd: None, cmd: None };
    for (checker, kind) in [(http, Kind::Http), (mysql, Kind::Mysql), (HealthChecker::Tcp, Kind::Tcp)] {
        world.set_checker(&service("public"), checker.clone());
        let (_, jobs) = world.next_run(8_000).unwrap();
        assert_eq!(jobs[0].kind, kind);
        assert_eq!(jobs[0].settings.as_ref().unwrap().checker, checker);
        let _ = world.finish(jobs, OK);
    }
}

#[test]
fn the_switch_and_the_whitelist_are_read_at_each_run() {
    let mut world = World::new();
    world.put(&key("public", 1), Instance::default());
    world.params.enabled = false;
    assert!(world.next_run(20_000).is_none());
    world.params.whitelist.insert("g@@s".into());
    let jobs = world.next_run(8_000).unwrap().1;
    let _ = world.finish(jobs, OK);
    let http = HealthChecker::Http { path: "/".into(), headers: String::new(), expected_code: 200 };
    world.set_checker(&service("public"), http);
    assert!(world.next_run(20_000).is_none(), "the whitelist is not for HTTP");
    world.params.enabled = true;
    assert!(world.next_run(8_000).is_some());
}

#[test]
fn the_number_of_results_that_is_needed_can_be_changed() {
    let mut world = World::new();
    world.params.check_times = 1;
    world.put(&key("public", 1), Instance::default());
    let jobs = world.next_run(8_000).unwrap().1;
    assert_eq!(world.finish(jobs, Finding::Fail), [(key("public", 1), false)]);
}

#[test]
fn findings_that_nobody_asked_for_are_ignored() {
    let mut world = World::new();
    world.put(&key("public", 1), Instance::default());
    let jobs = world.next_run(8_000).unwrap().1;
    let number = jobs[0].number;
    assert_eq!(world.finish(jobs, Finding::FailNow).len(), 1);
    for number in [number, 0, 77] {
        assert!(world.schedule.finish(number, Finding::FailNow, &world.params).is_none());
    }
}

#[test]
fn what_another_server_checks_is_not_checked_here() {
    let mut world = World::new();
    let theirs = InstanceKey { service: ServiceKey::new("public", NOT_OURS), ..key("public", 1) };
    world.put(&theirs, Instance::default());
    assert!(world.next_run(60_000).is_none());
    // When this server is to check it, it does at once.
    world.now_ms += 5_000;
    assert_eq!(world.schedule.tick(world.now_ms, &world.params, &|_| true).len(), 1);
}
