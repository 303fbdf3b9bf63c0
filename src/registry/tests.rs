use std::sync::Arc;

use bytes::Bytes;

use super::*;
use crate::model::{ClusterKey, ClusterSettings, Instance, ServiceSettings};

fn key(service: &str, cluster: &str, ip: &str, ephemeral: bool) -> InstanceKey {
    InstanceKey { service: ServiceKey::new("ns", service), cluster: cluster.into(), ip: ip.into(), port: 80, ephemeral }
}

fn put(registry: &Registry, key: InstanceKey) -> Arc<Slot> {
    match registry.apply(Row::Instance(key, Some(Arc::new(Instance::default()))), 7, true) {
        Some(Change::Put { slot, .. }) => slot,
        _ => panic!("a put row puts"),
    }
}

const PLAIN: ListKey<'static> = ListKey { grouped_names: false, healthy_only: false, cache_ms: 3_000, clusters: "" };

#[test]
fn twins_of_address_cluster_and_kind_are_separate() {
    let registry = Registry::default();
    for (cluster, ephemeral) in [("A", true), ("A", false), ("B", true)] {
        put(&registry, key("g@@s", cluster, "1.1.1.1", ephemeral));
    }
    assert_eq!((registry.service_count(), registry.instance_count()), (1, 3));
    let gone = Row::Instance(key("g@@s", "A", "1.1.1.1", false), None);
    assert!(registry.apply(gone.clone(), 8, false).is_some());
    assert!(registry.apply(gone, 8, false).is_none(), "nothing is left to remove");
    assert!(registry.find(&key("g@@s", "A", "1.1.1.1", true)).is_some());
    assert!(registry.find(&key("g@@s", "A", "1.1.1.1", false)).is_none());
    assert_eq!(registry.instance_count(), 2);
}

#[test]
fn a_list_is_kept_until_the_service_changes() {
    let registry = Registry::default();
    put(&registry, key("g@@s", "A", "1.1.1.1", true));
    let service = registry.service("ns", "g@@s").unwrap();
    let view = service.view();
    let bytes = Bytes::from_static(b"list");
    service.keep_list(&view, &PLAIN, &bytes);
    assert_eq!(service.list(&PLAIN), Some(bytes.clone()));
    assert_eq!(service.list(&ListKey { grouped_names: true, ..PLAIN }), None, "another answer");
    assert_eq!(service.list(&ListKey { clusters: "A", ..PLAIN }), None, "another answer");
    put(&registry, key("g@@s", "A", "1.1.1.1", true));
    assert_eq!(service.list(&PLAIN), None, "a replaced instance is a change");
    service.keep_list(&view, &PLAIN, &bytes);
    assert_eq!(service.list(&PLAIN), None, "what was built from an older state is not kept");
}

#[test]
fn the_number_of_kept_lists_is_bounded() {
    let registry = Registry::default();
    put(&registry, key("g@@s", "A", "1.1.1.1", true));
    let service = registry.service("ns", "g@@s").unwrap();
    let view = service.view();
    let names: Vec<String> = (0..100).map(|i| format!("C{i}")).collect();
    for name in &names {
        service.keep_list(&view, &ListKey { clusters: name, ..PLAIN }, &Bytes::from_static(b"x"));
    }
    let kept = names.iter().filter(|name| service.list(&ListKey { clusters: name, ..PLAIN }).is_some()).count();
    assert_eq!(kept, 16);
}

#[test]
fn ref_times_grow_with_every_state_even_when_the_clock_goes_back() {
    let registry = Registry::default();
    put(&registry, key("g@@s", "A", "1.1.1.1", true));
    let service = registry.service("ns", "g@@s").unwrap();
    let view = service.view();
    assert_eq!(service.ref_ms(&view, 5_000), 5_000);
    assert_eq!(service.ref_ms(&view, 9_000), 5_000, "one state has one time");
    put(&registry, key("g@@s", "A", "1.1.1.2", true));
    let later = service.view();
    assert_eq!(service.ref_ms(&later, 4_000), 5_001);
    assert_eq!(service.ref_ms(&later, 10_000), 5_001);
}

#[test]
fn an_answer_of_an_older_state_is_never_dated_after_the_newer_one() {
    let registry = Registry::default();
    put(&registry, key("g@@s", "A", "1.1.1.1", true));
    let service = registry.service("ns", "g@@s").unwrap();
    let old = service.view();
    put(&registry, key("g@@s", "A", "1.1.1.2", true));
    let new = service.view();
    assert_eq!(service.ref_ms(&new, 100), 100);
    assert_eq!(service.ref_ms(&old, 150), 99);
    assert_eq!(service.ref_ms(&new, 200), 100);
}

#[test]
fn the_checksum_is_made_once_for_a_state() {
    let registry = Registry::default();
    put(&registry, key("g@@s", "A", "1.1.1.1", true));
    let service = registry.service("ns", "g@@s").unwrap();
    let view = service.view();
    assert_eq!(&*service.checksum(&view, || "one".into()), "one");
    assert_eq!(&*service.checksum(&view, || panic!("made again")), "one");
    put(&registry, key("g@@s", "A", "1.1.1.2", true));
    assert_eq!(&*service.checksum(&service.view(), || "two".into()), "two");
}

#[test]
fn a_view_is_in_a_fixed_order() {
    let registry = Registry::default();
    for (cluster, ip) in [("B", "1"), ("A", "2"), ("A", "10"), ("A", "1")] {
        put(&registry, key("g@@s", cluster, ip, true));
    }
    let view = registry.service("ns", "g@@s").unwrap().view();
    let order: Vec<_> = view.slots.iter().map(|slot| (slot.cluster().to_string(), slot.ip().to_owned())).collect();
    let expected = [("A", "1"), ("A", "10"), ("A", "2"), ("B", "1")];
    assert_eq!(order, expected.map(|(cluster, ip)| (cluster.to_owned(), ip.to_owned())));
}

#[test]
fn a_replacement_keeps_the_place_and_only_renews_the_beat_when_told() {
    let registry = Registry::default();
    let slot = put(&registry, key("g@@s", "A", "1.1.1.1", true));
    let row = |weight| {
        let instance = Instance { weight, ..Instance::default() };
        Row::Instance(key("g@@s", "A", "1.1.1.1", true), Some(Arc::new(instance)))
    };
    registry.apply(row(2.0), 50, false);
    assert_eq!((slot.instance().weight, slot.last_beat_ms()), (2.0, 7));
    registry.apply(row(3.0), 60, true);
    assert_eq!((slot.instance().weight, slot.last_beat_ms()), (3.0, 60));
}

#[test]
fn rows_hold_what_has_to_be_stored_and_rebuild_the_same() {
    let registry = Registry::default();
    let stored = ServiceKey::new("ns", "g@@stored");
    let cluster = ClusterKey { service: stored.clone(), name: "C".into() };
    registry.apply(Row::Service(stored, Some(Arc::new(ServiceSettings::default()))), 1, false);
    registry.apply(Row::Cluster(cluster, Some(Arc::new(ClusterSettings::default()))), 1, false);
    put(&registry, key("g@@s", "A", "1.1.1.1", true));
    registry.ensure_service(&ServiceKey::new("other", "g@@in-memory-only"));
    let rows: Vec<Row> = registry.rows().collect();
    assert_eq!(rows.len(), 3, "{rows:?}");
    let again = Registry::default();
    rows.iter().for_each(|row| drop(again.apply(row.clone(), 1, true)));
    assert_eq!(again.rows().collect::<Vec<_>>(), rows);
    assert_eq!((again.service_count(), again.instance_count()), (2, 1));
}

#[test]
fn a_removed_service_lets_go_of_its_instances() {
    let registry = Registry::default();
    let slot = put(&registry, key("g@@s", "A", "1.1.1.1", true));
    let change = registry.apply(Row::Service(slot.key(&ServiceKey::new("ns", "g@@s")).service, None), 1, false);
    assert!(matches!(change, Some(Change::Gone { .. })));
    assert!(slot.is_gone());
    assert_eq!((registry.service_count(), registry.instance_count()), (0, 0));
    assert_eq!(registry.namespaces().len(), 1, "a namespace never goes");
}

#[test]
fn names_have_their_characters() {
    assert!(
        is_service_name("G@@a.b:c_d-1") && !is_service_name("") && !is_service_name("a b") && !is_service_name("é")
    );
    assert!(is_cluster_name("Az-09") && !is_cluster_name("a_b") && !is_cluster_name("") && !is_cluster_name("a.b"));
}

#[test]
fn after_a_pause_what_was_heard_is_older_and_everybody_has_time() {
    let registry = Registry::default();
    let slot = put(&registry, key("g@@s", "c", "10.0.0.1", true));
    let service = registry.service("ns", "g@@s").unwrap();
    slot.touch(100_000);
    service.vouch(120_000);
    registry.resume(30_000, 121_000);
    assert_eq!((slot.last_beat_ms(), service.silent_from_ms(&slot)), (70_000, 121_000));
    assert_eq!(service.lived_ms(&slot), 90_000 - 15_000 - EXPIRY_GRACE_MS);
    registry.resume(1_000_000, 122_000);
    assert_eq!(slot.last_beat_ms(), 1, "0 would be never");
    slot.touch(0);
    registry.resume(5, 123_000);
    assert_eq!((slot.last_beat_ms(), service.lived_ms(&slot)), (0, 0));
}

#[test]
fn an_owner_vouches_for_what_was_there_and_not_for_what_came_later() {
    let registry = Registry::default();
    let early = put(&registry, key("g@@s", "c", "10.0.0.1", true));
    let service = registry.service("ns", "g@@s").unwrap();
    service.vouch(120_000);
    let late = put(&registry, key("g@@s", "c", "10.0.0.2", true));
    early.touch(0);
    late.touch(0);
    let lived_ms = 120_000 - 15_000 - EXPIRY_GRACE_MS;
    assert_eq!((service.lived_ms(&early), service.lived_ms(&late)), (lived_ms, 0));
    service.vouch(125_000);
    assert_eq!(service.lived_ms(&late), lived_ms + 5_000);
}

#[test]
fn any_timeout_that_a_client_asks_for_can_be_counted_with() {
    let registry = Registry::default();
    let key = key("g@@s", "c", "10.0.0.1", true);
    let metadata = [("preserved.heart.beat.timeout", u64::MAX.to_string())].into_iter().collect();
    let instance = Instance { metadata: Some(metadata), ..Instance::default() };
    registry.apply(Row::Instance(key.clone(), Some(Arc::new(instance))), 1, false);
    let (service, slot) = (registry.find_service(&key.service).unwrap(), registry.find(&key).unwrap());
    service.vouch(120_000);
    slot.touch(0);
    assert_eq!(service.lived_ms(&slot), 0);
}
