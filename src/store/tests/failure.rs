//! Failing writes and syncs, and how the store heals.

use std::sync::atomic::AtomicBool;

use super::{
    super::{disk::Disk, table::Faults},
    *,
};

fn set(store: &Store, fault: impl Fn(&Faults) -> &AtomicBool, on: bool) {
    fault(&store.disk.as_ref().map(Disk::table).unwrap().faults).store(on, Relaxed);
}

#[test]
fn after_a_failed_write_or_sync_nothing_is_stored_until_the_rebuild() {
    type Kind = fn(&Faults) -> &AtomicBool;
    let kinds: [(&str, Kind); 2] = [("write", |f| &f.write), ("sync", |f| &f.sync)];
    for (name, fault) in kinds {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path()).store;
        store.append(&[instance("a", 1, 1.0)]).unwrap();
        set(&store, fault, true);
        let refused = Error::Storage(format!(
            "the store has failed and takes no writes until it is rebuilt: {name} failed as asked"
        ));
        assert_eq!(store.append(&[instance("a", 2, 1.0)]).unwrap_err(), refused);
        set(&store, fault, false);
        let syncs = store.stats().syncs.spread().count();
        assert_eq!(store.append(&[instance("a", 3, 1.0)]).unwrap_err(), refused, "it does not try again");
        store.tick(NOW_MS + 5000).unwrap();
        assert_eq!((store.stats().syncs.spread().count(), count(&store.stats().failures)), (syncs, 1));
        assert_eq!(store.failure(), Some(format!("{name} failed as asked").as_str()));

        let left = image(dir.path());
        let again = open(left.path());
        let mut content = again.content;
        content.remove(&key::encode(&instance("a", 2, 1.0)));
        assert_eq!((content, again.report.damage), (content_of(&[instance("a", 1, 1.0)]), None), "acked, and not 3");

        let live = [instance("a", 1, 1.0), instance("b", 1, 1.0)];
        store.rebuild(&mut live.clone().into_iter()).unwrap();
        assert_eq!(store.failure(), None);
        store.append(&[instance("c", 1, 1.0)]).unwrap();
        store.close().unwrap();
        assert_eq!(names_in(dir.path()), ["CURRENT", "lock", "sidecar", "store-000002"]);
        let again = open(dir.path());
        assert_eq!(again.content, content_of(&[live.to_vec(), vec![instance("c", 1, 1.0)]].concat()));
        assert_eq!(again.report.damage, None);
    }
}

#[test]
fn a_failed_interval_sync_is_told_once_and_fails_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open_with(options(dir.path(), Durability::Interval)).unwrap().store;
    store.append(&[instance("a", 1, 1.0)]).unwrap();
    set(&store, |f| &f.sync, true);
    assert!(matches!(store.tick(NOW_MS + 1000), Err(Error::Storage(_))));
    store.tick(NOW_MS + 2000).unwrap();
    assert_eq!(store.failure(), Some("sync failed as asked"));
    assert!(matches!(store.close(), Err(Error::Storage(_))));
}

#[test]
fn in_memory_mode_writes_pass_and_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { on_failure: OnFailure::Memory, ..Options::new(dir.path()) };
    let mut store = open_with(options).unwrap().store;
    set(&store, |f| &f.write, true);
    store.append(&[instance("a", 1, 1.0), instance("a", 2, 1.0)]).unwrap();
    store.append(&[instance("a", 3, 1.0)]).unwrap();
    assert_eq!((count(&store.stats().unstored_rows), store.failure()), (3, Some("write failed as asked")));
    let big = ["x".repeat(MAX_ROW_BYTES)].map(|name| instance(&name, 1, 1.0));
    assert!(matches!(store.append(&big), Err(Error::Limit(_))), "a later rebuild has to be possible");
}

#[test]
fn a_rebuild_that_fails_changes_nothing_and_can_be_repeated() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).store;
    store.append(&[instance("a", 1, 1.0)]).unwrap();
    set(&store, |f| &f.write, true);
    store.append(&[instance("a", 2, 1.0)]).unwrap_err();
    fs::write(dir.path().join("refuse-new"), "refused as asked").unwrap();
    for _ in 0..2 {
        let error = store.rebuild(&mut [instance("a", 1, 1.0)].into_iter()).unwrap_err();
        assert_eq!(error, Error::Storage("the store can't be rebuilt: refused as asked".into()));
    }
    fs::remove_file(dir.path().join("refuse-new")).unwrap();
    assert_eq!(names_in(dir.path()), ["CURRENT", "lock", "sidecar", "store-000001"]);
    let left = image(dir.path());
    assert_eq!(open(left.path()).content, content_of(&[instance("a", 1, 1.0)]));
    store.rebuild(&mut [instance("a", 1, 1.0)].into_iter()).unwrap();
    store.append(&[instance("a", 2, 1.0)]).unwrap();
    store.close().unwrap();
    assert_eq!(open(dir.path()).content.len(), 2);
}

#[test]
fn a_rebuild_spans_many_batches() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).store;
    let rows: Vec<Row> = (0..3001).map(|port| instance("a", port, 1.0)).collect();
    store.rebuild(&mut rows.iter().cloned()).unwrap();
    assert_eq!(count(&store.stats().rows), 3001);
    drop(store);
    let again = open(dir.path());
    assert_eq!((again.content, again.report.damage), (content_of(&rows), None));
}

#[test]
fn without_room_for_a_fresh_generation_the_failed_one_is_put_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).store;
    let stored: Vec<Row> = (0..3000).map(|port| instance("a", port, 1.0)).collect();
    store.append(&stored).unwrap();
    set(&store, |f| &f.write, true);
    store.append(&[instance("a", 2, 2.0)]).unwrap_err();
    fs::write(dir.path().join("refuse-new"), "no space (os error 28)").unwrap();
    // Other than what is stored: 1500 changed, 1490 removed, 5 new.
    let live: Vec<Row> = (0..10)
        .map(|port| instance("a", port, 1.0))
        .chain((1500..3000).map(|port| instance("a", port, 2.0)))
        .chain((0..5).map(|port| instance("b", port, 1.0)))
        .collect();
    assert!(store.rebuild(&mut live.iter().cloned()).is_err());
    store.rebuild(&mut live.iter().cloned()).unwrap();
    assert_eq!((store.failure(), count(&store.stats().rows)), (None, 1515));
    store.append(&[instance("c", 1, 1.0)]).unwrap();
    let left = image(dir.path());
    let again = open(left.path());
    assert_eq!(again.content, content_of(&[live, vec![instance("c", 1, 1.0)]].concat()));
    assert_eq!((again.report.damage, again.store.failure()), (None, None));
    assert!(names_in(left.path()).contains(&"store-000001".to_owned()));
}

#[test]
fn after_a_failed_sync_nothing_in_place_is_trusted() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).store;
    set(&store, |f| &f.sync, true);
    store.append(&[instance("a", 1, 1.0)]).unwrap_err();
    set(&store, |f| &f.sync, false);
    fs::write(dir.path().join("refuse-new"), "no space (os error 28)").unwrap();
    for _ in 0..4 {
        assert!(store.rebuild(&mut std::iter::empty()).is_err());
    }
    fs::remove_file(dir.path().join("refuse-new")).unwrap();
    store.rebuild(&mut std::iter::empty()).unwrap();
    assert_eq!(store.failure(), None);
}

/// The last step of a compaction fails after `CURRENT` was written: then that copy must not be what the next open takes
/// once the generation in use is put in order and goes on.
#[test]
fn a_store_put_in_order_in_place_is_the_one_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let eager = Options { compact_min_bytes: 0, compact_factor: 0, ..Options::new(dir.path()) };
    let mut store = open_with(eager).unwrap().store;
    store.append(&[instance("a", 1, 1.0)]).unwrap();
    fs::write(dir.path().join("refuse-current"), "no space (os error 28)").unwrap();
    assert!(matches!(store.tick(NOW_MS + 1000), Err(Error::Storage(_))));
    fs::remove_file(dir.path().join("refuse-current")).unwrap();
    fs::write(dir.path().join("refuse-new"), "no space (os error 28)").unwrap();
    store.rebuild(&mut [instance("a", 1, 1.0)].into_iter()).unwrap_err();
    store.rebuild(&mut [instance("a", 1, 1.0)].into_iter()).unwrap();
    fs::remove_file(dir.path().join("refuse-new")).unwrap();
    store.append(&[instance("a", 2, 1.0)]).unwrap();
    store.close().unwrap();
    let again = open(dir.path());
    let expected = content_of(&[instance("a", 1, 1.0), instance("a", 2, 1.0)]);
    assert_eq!((again.content, again.report.damage), (expected, None));
    assert_eq!(names_in(dir.path()), ["CURRENT", "lock", "sidecar", "store-000001"]);
}
