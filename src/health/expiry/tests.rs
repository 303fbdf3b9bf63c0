use std::sync::Arc;

use super::*;
use crate::model::{BEAT_TIMEOUT_KEY, DELETE_TIMEOUT_KEY, Instance, InstanceKey, Row, ServiceKey};
use crate::registry::{Change, Registry};

fn key(ip: &str) -> InstanceKey {
    InstanceKey {
        service: ServiceKey::new("public", "DEFAULT_GROUP@@s"),
        cluster: "DEFAULT".into(),
        ip: ip.into(),
        port: 80,
        ephemeral: true,
    }
}

/// A service that somebody else owns.
const NOT_OURS: &str = "DEFAULT_GROUP@@theirs";

struct World {
    registry: Registry,
    expiry: Expiry,
    now_ms: u64,
    enabled: bool,
}

impl World {
    fn new(remove: bool) -> Self {
        Self { registry: Registry::default(), expiry: Expiry::new(0, remove), now_ms: 0, enabled: true }
    }

    fn put(&mut self, key: InstanceKey, instance: Instance) {
        let change = self.registry.apply(Row::Instance(key, Some(Arc::new(instance))), self.now_ms, true);
        if let Some(Change::Put { service, slot, .. }) = change {
            self.expiry.watch(service, slot, self.now_ms);
        }
    }

    fn with_limits(&mut self, ip: &str, limits: &[(&str, &str)]) {
        let metadata = limits.iter().copied().collect();
        self.put(key(ip), Instance { metadata: Some(metadata), ..Instance::default() });
    }

    /// Runs `ms` and carries out what comes; answers `(when, what, who)`.
    fn run(&mut self, ms: u64, mut beat: impl FnMut(u64, &Registry)) -> Vec<(u64, &'static str, String)> {
        let mut log = Vec::new();
        for _ in 0..ms / TICK_MS {
            self.now_ms += TICK_MS;
            beat(self.now_ms, &self.registry);
            for command in self.expiry.tick(self.now_ms, self.enabled, &|name| name != NOT_OURS) {
                match command {
                    Command::Fade { key, .. } => {
                        let before = self.registry.find(&key).unwrap().instance();
                        let instance = Instance { healthy: false, ..(*before).clone() };
                        log.push((self.now_ms, "fade", key.ip.to_string()));
                        self.registry.apply(Row::Instance(key, Some(Arc::new(instance))), self.now_ms, false);
                    }
                    Command::Expire { key, .. } => {
                        log.push((self.now_ms, "expire", key.ip.to_string()));
                        self.registry.apply(Row::Instance(key, None), self.now_ms, false);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
        log
    }
}

fn assert_near(log: &[(u64, &str, String)], expected: &[(u64, &str, &str)]) {
    let shown = format!("{log:?} for {expected:?}");
    assert_eq!(log.len(), expected.len(), "{shown}");
    for ((at, what, who), (limit, wanted, whose)) in log.iter().zip(expected) {
        assert_eq!((*what, who.as_str()), (*wanted, *whose), "{shown}");
        let (soonest, latest) = (limit + EXPIRY_GRACE_MS, limit + EXPIRY_GRACE_MS + 500);
        assert!(*at > soonest && *at < latest, "{shown}");
    }
}

#[test]
fn a_silent_instance_fades_after_15_s_and_goes_after_30_s() {
    let mut world = World::new(true);
    world.put(key("1.1.1.1"), Instance::default());
    let log = world.run(60_000, |_, _| {});
    assert_near(&log, &[(15_000, "fade", "1.1.1.1"), (30_000, "expire", "1.1.1.1")]);
    assert_eq!(world.registry.instance_count(), 0);
    world.run(60_000, |_, _| {});
    assert_eq!(world.expiry.planned(), 0, "what is gone is no longer looked at");
}

#[test]
fn beats_keep_it_and_each_renews_the_whole_limit() {
    let mut world = World::new(true);
    world.put(key("1.1.1.1"), Instance::default());
    let beat = |now: u64, registry: &Registry| {
        if now.is_multiple_of(14_000) && now <= 140_000 {
            registry.find(&key("1.1.1.1")).unwrap().touch(now);
        }
    };
    let log = world.run(200_000, beat);
    assert_near(&log, &[(155_000, "fade", "1.1.1.1"), (170_000, "expire", "1.1.1.1")]);
}

#[test]
fn limits_of_the_instance_count_and_each_is_judged_on_its_own() {
    let mut world = World::new(true);
    world.with_limits("1.1.1.1", &[(BEAT_TIMEOUT_KEY, "3000"), (DELETE_TIMEOUT_KEY, "1000")]);
    world.with_limits("1.1.1.2", &[(BEAT_TIMEOUT_KEY, "2000"), (DELETE_TIMEOUT_KEY, "4000")]);
    world.with_limits("1.1.1.3", &[(BEAT_TIMEOUT_KEY, "5s"), (DELETE_TIMEOUT_KEY, "-1")]);
    world.with_limits("1.1.1.4", &[(BEAT_TIMEOUT_KEY, "99999999999999999999999")]);
    let log = world.run(40_000, |_, _| {});
    let by = |ip: &str| log.iter().filter(|(_, _, who)| who == ip).cloned().collect::<Vec<_>>();
    assert_near(&by("1.1.1.1"), &[(1_000, "expire", "1.1.1.1")]);
    assert_near(&by("1.1.1.2"), &[(2_000, "fade", "1.1.1.2"), (4_000, "expire", "1.1.1.2")]);
    assert_near(&by("1.1.1.3"), &[(15_000, "fade", "1.1.1.3"), (30_000, "expire", "1.1.1.3")]);
    assert_near(&by("1.1.1.4"), &[(15_000, "fade", "1.1.1.4"), (30_000, "expire", "1.1.1.4")]);
}

#[test]
fn shorter_limits_count_at_once_and_leave_one_look_planned() {
    let mut world = World::new(true);
    world.put(key("1.1.1.1"), Instance::default());
    world.run(1_000, |_, _| {});
    for _ in 0..100 {
        world.with_limits("1.1.1.1", &[(BEAT_TIMEOUT_KEY, "2000"), (DELETE_TIMEOUT_KEY, "3000")]);
    }
    let log = world.run(10_000, |_, _| {});
    assert_near(&log, &[(3_000, "fade", "1.1.1.1"), (4_000, "expire", "1.1.1.1")]);
}

#[test]
fn without_removal_it_only_fades_and_fades_again_after_a_beat() {
    let mut world = World::new(false);
    world.put(key("1.1.1.1"), Instance::default());
    let log = world.run(100_000, |_, _| {});
    assert_near(&log, &[(15_000, "fade", "1.1.1.1")]);
    world.put(key("1.1.1.1"), Instance::default());
    let start = world.now_ms;
    let log = world.run(40_000, |_, _| {});
    assert_near(&log, &[(start + 15_000, "fade", "1.1.1.1")]);
}

#[test]
fn what_is_gone_is_let_go_of_long_before_its_own_limits() {
    let mut world = World::new(true);
    world.with_limits("1.1.1.1", &[(BEAT_TIMEOUT_KEY, "900000000000"), (DELETE_TIMEOUT_KEY, "900000000000")]);
    world.registry.apply(Row::Instance(key("1.1.1.1"), None), world.now_ms, false);
    world.run(110_000, |_, _| {});
    assert_eq!(world.expiry.planned(), 0);
}

#[test]
fn a_mass_expiry_comes_in_portions_and_whole() {
    let mut world = World::new(true);
    for number in 0..3_500 {
        world.put(key(&format!("10.0.{}.{}", number / 256, number % 256)), Instance::default());
    }
    let mut at_once = std::collections::BTreeMap::new();
    for (at, what, _) in world.run(40_000, |_, _| {}) {
        *at_once.entry((what, at)).or_insert(0) += 1;
    }
    assert!(at_once.values().all(|count| *count <= MAX_VERDICTS), "{at_once:?}");
    assert_eq!(at_once.values().sum::<usize>(), 7_000);
    assert_eq!(world.registry.instance_count(), 0);
}

#[test]
fn marked_instances_are_left_alone() {
    let mut world = World::new(true);
    world.put(key("1.1.1.1"), Instance { marked: true, ..Instance::default() });
    assert_near(&world.run(100_000, |_, _| {}), &[]);
}

#[test]
fn switched_off_nothing_happens_and_afterwards_all_that_was_due() {
    let mut world = World::new(true);
    world.put(key("1.1.1.1"), Instance::default());
    world.enabled = false;
    assert_near(&world.run(60_000, |_, _| {}), &[]);
    world.enabled = true;
    let log = world.run(2_000, |_, _| {});
    assert_eq!(log.iter().map(|(_, what, _)| *what).collect::<Vec<_>>(), ["expire"]);
    world.put(key("1.1.1.2"), Instance::default());
    world.enabled = false;
    world.run(20_000, |_, _| {});
    world.enabled = true;
    let log = world.run(2_000, |_, _| {});
    assert_eq!(log.iter().map(|(_, what, _)| *what).collect::<Vec<_>>(), ["fade"]);
}

#[test]
fn only_the_owner_judges_and_gives_full_timeouts_when_it_becomes_the_owner() {
    let mut world = World::new(true);
    let theirs = InstanceKey { service: ServiceKey::new("public", NOT_OURS), ..key("1.1.1.1") };
    world.put(theirs.clone(), Instance::default());
    assert_eq!(world.run(200_000, |_, _| {}), [], "silent for long, but not ours to judge");
    world.registry.find_service(&theirs.service).unwrap().grant_grace(world.now_ms);
    let mut first = None;
    while first.is_none() {
        world.now_ms += TICK_MS;
        first = world.expiry.tick(world.now_ms, true, &|_| true).pop();
    }
    assert!(matches!(first, Some(Command::Fade { .. })), "{first:?}");
    assert!((216_000..=217_000).contains(&world.now_ms), "{}", world.now_ms);
}
