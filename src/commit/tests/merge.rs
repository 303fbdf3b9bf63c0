//! What is taken in from peers.

use super::*;
use crate::commit::direct::{Done, carry_out};
use crate::model::Row;
use crate::model::peer::{Datum, Merge, Removed, Told, Trace};

/// A server that knows the time.
struct Node {
    registry: Registry,
    now: Now,
}

impl Node {
    fn new() -> Self {
        let registry = Registry::default();
        registry.removals().start(1_000_000);
        Self { registry, now: Now { awake_ms: 100_000, wall_ms: 1_100_000 } }
    }

    fn run(&self, command: Command) -> Done {
        carry_out(&self.registry, command, self.now)
    }

    fn register(&self, ip: &str, version: &str) {
        self.run(Command::Register(key("g@@s", ip), with(&[("v", version)])));
    }

    fn merge(&self, merge: Merge) -> (Vec<Row>, Vec<String>) {
        let done = self.run(Command::Merge(vec![merge]));
        assert_eq!(done.origin, Origin::Peer);
        let Ok(Outcome::Merged(back)) = done.outcome else { panic!("{:?}", done.outcome) };
        (done.rows, back.into_iter().map(|key| key.ip.to_string()).collect())
    }

    /// Host and the metadata `v` of all that is there, in order.
    fn list(&self) -> Vec<(String, String)> {
        let service = self.registry.service("public", "g@@s");
        let slots = service.map(|service| service.view().slots).unwrap_or_default();
        let version = |slot: &crate::registry::Slot| {
            slot.with(|i| i.metadata.as_ref().and_then(|m| m.get("v")).unwrap_or_default().to_owned())
        };
        slots.iter().map(|slot| (slot.ip().to_owned(), version(slot))).collect()
    }
}

fn told(ip: &str, version: &str, trace: Option<(u64, Option<u64>)>) -> Told {
    Told {
        key: key("g@@s", ip),
        instance: Arc::new(with(&[("v", version)])),
        last_beat_ms: 1_099_000,
        trace: trace
            .map(|(changed_ms, ago_ms)| Trace { changed_ms, heard_ms: ago_ms.map(|ago_ms| 1_100_000 - ago_ms) }),
    }
}

fn datum(told: Vec<Told>, removed: Option<(u64, &[(&str, u64)])>) -> Datum {
    let removed = removed.map(|(since_ms, keys)| Removed {
        since_ms,
        keys: keys.iter().map(|(ip, at)| (key("g@@s", ip), *at)).collect(),
        service_too: false,
    });
    Datum { service: ServiceKey::new("public", "g@@s"), told, removed }
}

fn from_owner(datum: Datum) -> Merge {
    Merge { datum, whole: true, from_owner: true }
}

fn from_other(datum: Datum) -> Merge {
    Merge { datum, whole: true, from_owner: false }
}

fn pairs(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter().map(|(ip, version)| ((*ip).to_owned(), (*version).to_owned())).collect()
}

#[test]
fn the_later_change_counts_whoever_tells_of_it() {
    let node = Node::new();
    node.register("1.1.1.1", "mine");
    let changed_ms = node.registry.find(&key("g@@s", "1.1.1.1")).unwrap().changed_ms();
    assert_eq!(changed_ms, 1_100_000);
    let older = told("1.1.1.1", "older", Some((changed_ms - 1, Some(0))));
    let (rows, back) = node.merge(from_owner(datum(vec![older.clone()], Some((0, &[])))));
    assert_eq!((rows.len(), back, node.list()), (0, vec!["1.1.1.1".into()], pairs(&[("1.1.1.1", "mine")])));
    let (rows, back) = node.merge(from_other(datum(vec![older], None)));
    assert_eq!((rows.len(), back.len(), node.list()), (0, 0, pairs(&[("1.1.1.1", "mine")])));
    let newer = told("1.1.1.1", "newer", Some((changed_ms + 1, Some(0))));
    let (rows, back) = node.merge(from_other(datum(vec![newer.clone()], None)));
    assert_eq!((rows.len(), back.len(), node.list()), (1, 0, pairs(&[("1.1.1.1", "newer")])));
    let (rows, _) = node.merge(from_other(datum(vec![newer], None)));
    assert_eq!(rows.len(), 0, "what is known is not stored again");
    node.register("1.1.1.1", "mine again");
    let after = node.registry.find(&key("g@@s", "1.1.1.1")).unwrap().changed_ms();
    assert_eq!(after, changed_ms + 2, "later than what it replaces, whatever the clock says");
}

#[test]
fn who_is_missing_in_the_list_of_the_owner_was_taken_out_or_was_never_known() {
    let node = Node::new();
    node.register("1.1.1.1", "");
    node.register("2.2.2.2", "");
    // It remembers removals since after both were heard of last: they may be among those it forgot.
    let (_, back) =
        node.merge(from_owner(datum(vec![told("1.1.1.1", "", Some((1_100_000, None)))], Some((1_100_001, &[])))));
    assert_eq!((back, node.list()), (vec![], pairs(&[("1.1.1.1", "")])));
    node.register("2.2.2.2", "");
    // It remembers all that it took out since before that: so it never knew this one.
    let (rows, back) = node.merge(from_owner(datum(vec![], Some((1_050_000, &[("1.1.1.1", 1_100_000)])))));
    assert_eq!((rows.len(), back, node.list()), (1, vec!["2.2.2.2".into()], pairs(&[("2.2.2.2", "")])));
    // Of another kind of server the owner's word counts, and others can take nothing away.
    let (_, _) = node.merge(from_other(datum(vec![], None)));
    assert_eq!(node.list(), pairs(&[("2.2.2.2", "")]));
    let (_, back) = node.merge(from_owner(datum(vec![], None)));
    assert_eq!((back, node.list()), (vec![], vec![]));
}

#[test]
fn a_service_is_made_by_an_empty_list_only_where_the_sender_has_it() {
    let node = Node::new();
    let mut empty = datum(vec![], Some((0, &[("1.1.1.1", 1_100_000)])));
    empty.removed.as_mut().unwrap().service_too = true;
    node.merge(from_owner(empty.clone()));
    assert!(node.registry.service("public", "g@@s").is_none(), "what was deleted does not come back");
    empty.removed.as_mut().unwrap().service_too = false;
    node.merge(from_owner(empty));
    assert!(node.registry.service("public", "g@@s").is_some());
}

#[test]
fn what_was_taken_out_does_not_come_back_with_an_old_copy() {
    let node = Node::new();
    node.register("1.1.1.1", "");
    node.run(Command::Deregister(key("g@@s", "1.1.1.1")));
    let removed_ms = node.registry.removals().when(&key("g@@s", "1.1.1.1")).unwrap();
    assert_eq!(removed_ms, 1_100_001);
    let copy = told("1.1.1.1", "", Some((1_100_000, Some(0))));
    let (rows, back) = node.merge(from_other(datum(vec![copy.clone()], None)));
    assert_eq!((rows.len(), back.len()), (0, 0));
    let (rows, back) = node.merge(from_owner(datum(vec![copy], None)));
    assert_eq!((rows.len(), back), (0, vec!["1.1.1.1".to_owned()]), "the owner should hear that it is gone");
    let again = told("1.1.1.1", "again", Some((removed_ms + 1, Some(0))));
    node.merge(from_other(datum(vec![again], None)));
    assert_eq!(node.list(), pairs(&[("1.1.1.1", "again")]));
    assert_eq!(node.registry.removals().when(&key("g@@s", "1.1.1.1")), None);
}

#[test]
fn what_was_deregistered_before_it_was_heard_of_does_not_appear() {
    let node = Node::new();
    node.run(Command::Deregister(key("g@@s", "a")));
    let late = |changed_ms| from_other(datum(vec![told("a", "1", Some((changed_ms, None)))], None));
    assert_eq!(node.merge(late(1_099_999)).0, []);
    assert_eq!(node.list(), []);
    node.merge(late(1_100_001));
    assert_eq!(node.list(), pairs(&[("a", "1")]), "that was later");
}

#[test]
fn a_removal_that_is_told_counts_unless_the_client_was_heard_of_since() {
    let node = Node::new();
    node.register("1.1.1.1", "");
    node.register("2.2.2.2", "");
    let merge = |removed_ms| Merge {
        datum: datum(vec![], Some((0, &[("1.1.1.1", removed_ms), ("3.3.3.3", removed_ms)]))),
        whole: false,
        from_owner: false,
    };
    node.merge(merge(1_099_999));
    assert_eq!(node.list().len(), 2);
    node.merge(merge(1_100_000));
    assert_eq!(node.list(), pairs(&[("2.2.2.2", "")]));
    assert_eq!(node.registry.removals().when(&key("g@@s", "3.3.3.3")), Some(1_100_000), "to tell others who ask");
}

#[test]
fn lists_of_other_servers_replace_copies_and_only_add_to_what_is_owned() {
    let node = Node::new();
    node.register("1.1.1.1", "mine");
    let silent = Told { last_beat_ms: 1_060_000, ..told("3.3.3.3", "", None) };
    let list = || vec![told("1.1.1.1", "theirs", None), told("2.2.2.2", "new", None), silent.clone()];
    node.merge(from_other(datum(list(), None)));
    assert_eq!(
        node.list(),
        pairs(&[("1.1.1.1", "mine"), ("2.2.2.2", "new")]),
        "who is silent for 40 s is not brought back"
    );
    node.merge(from_owner(datum(list(), None)));
    assert_eq!(node.list(), pairs(&[("1.1.1.1", "theirs"), ("2.2.2.2", "new"), ("3.3.3.3", "")]));
}

#[test]
fn a_copy_knows_when_its_client_was_heard_of() {
    let node = Node::new();
    node.merge(from_owner(datum(
        vec![told("1.1.1.1", "", Some((5, Some(7_000)))), told("2.2.2.2", "", Some((5, None)))],
        None,
    )));
    let heard = |ip: &str| node.registry.find(&key("g@@s", ip)).unwrap().last_beat_ms();
    assert_eq!((heard("1.1.1.1"), heard("2.2.2.2")), (93_000, 0));
    node.merge(from_owner(datum(
        vec![told("1.1.1.1", "", Some((5, Some(3_000)))), told("2.2.2.2", "", Some((5, None)))],
        None,
    )));
    assert_eq!((heard("1.1.1.1"), heard("2.2.2.2")), (97_000, 0));
    node.merge(from_owner(datum(vec![told("1.1.1.1", "", Some((5, Some(50_000))))], None)));
    assert_eq!(heard("1.1.1.1"), 97_000, "never back");
}

#[test]
fn the_owner_says_how_healthy_instances_are() {
    let mut node = Node::new();
    node.register("1.1.1.1", "");
    let sick = |changed_ms| {
        let told = told("1.1.1.1", "x", Some((changed_ms, None)));
        let instance = Arc::new(Instance { healthy: false, ..(*told.instance).clone() });
        datum(vec![Told { instance, ..told }], None)
    };
    let healthy = || node.registry.find(&key("g@@s", "1.1.1.1")).unwrap().instance().healthy;
    node.registry.find(&key("g@@s", "1.1.1.1")).unwrap().touch(105_000);
    node.now = Now { awake_ms: 105_000, wall_ms: 1_105_000 };
    node.merge(from_other(sick(1_100_001)));
    assert!(healthy() && node.list() == pairs(&[("1.1.1.1", "x")]), "all but the health is taken over");
    node.merge(from_owner(sick(1_100_002)));
    assert!(healthy(), "its client was heard of here since");
    node.now = Now { awake_ms: 116_000, wall_ms: 1_116_000 };
    node.merge(from_owner(sick(1_100_003)));
    assert!(!healthy());
    let done = node.run(Command::PeerHealth(ServiceKey::new("public", "g@@s"), vec![("1.1.1.1".into(), 80, true)]));
    assert!(healthy() && done.rows.len() == 1 && done.origin == Origin::Peer);
}

#[test]
fn what_no_server_may_hold_is_left_out() {
    let node = Node::new();
    let good = told("1.1.1.1", "", Some((1, None)));
    let key_of = |cluster: &str, ephemeral| InstanceKey { cluster: cluster.into(), ephemeral, ..good.key.clone() };
    let huge = "x".repeat(100_000);
    let list = vec![
        Told { key: key_of("a b", true), ..good.clone() },
        Told { key: key_of("DEFAULT", false), ..good.clone() },
        Told { key: key("g@@other", "2.2.2.2"), ..good.clone() },
        Told { instance: Arc::new(with(&[("x", &huge)])), ..told("3.3.3.3", "", Some((1, None))) },
        good.clone(),
    ];
    node.merge(from_owner(datum(list, None)));
    assert_eq!((node.list(), node.registry.instance_count()), (pairs(&[("1.1.1.1", "")]), 1));
    let odd = ServiceKey::new("public", "a b");
    let datum = Datum { service: odd, told: vec![], removed: None };
    node.merge(from_owner(datum));
    assert_eq!(node.registry.service_count(), 1);
}

#[test]
fn who_registers_after_a_removal_by_a_clock_that_is_ahead_stays() {
    let node = Node::new();
    node.register("1.1.1.1", "");
    let an_hour_ahead = node.now.wall_ms + 3_600_000;
    let removal =
        || Merge { datum: datum(vec![], Some((0, &[("1.1.1.1", an_hour_ahead)]))), whole: false, from_owner: false };
    node.merge(removal());
    assert_eq!(node.list(), []);
    node.register("1.1.1.1", "again");
    node.merge(removal());
    assert_eq!(node.list(), pairs(&[("1.1.1.1", "again")]));
}

#[test]
fn who_comes_with_a_list_has_the_full_time_to_beat() {
    let node = Node::new();
    node.merge(from_other(datum(vec![told("1.1.1.1", "", None), told("2.2.2.2", "", Some((5, None)))], None)));
    let service = node.registry.service("public", "g@@s").unwrap();
    for slot in service.slots() {
        assert_eq!((slot.last_beat_ms(), service.silent_from_ms(&slot)), (0, node.now.awake_ms));
    }
    let other = Node::new();
    other.merge(from_other(datum(vec![told("1.1.1.1", "", Some((5, Some(7_000))))], None)));
    let service = other.registry.service("public", "g@@s").unwrap();
    assert_eq!(service.silent_from_ms(&service.slots()[0]), other.now.awake_ms - 7_000, "what is known counts");
}
