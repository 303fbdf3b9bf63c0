//! Compaction beside appends.

use super::*;

/// Compacts whatever it looks at.
fn eager(dir: &Path, durability: Durability) -> Options {
    Options { compact_min_bytes: 0, compact_factor: 0, durability, ..Options::new(dir) }
}

/// A store with 30,000 rows, 2.5 MiB, whose compaction has copied 1 MiB, and these rows.
fn halfway(dir: &Path, durability: Durability) -> (Store, Content) {
    let mut store = open_with(eager(dir, durability)).unwrap().store;
    let rows: Vec<Row> = (0..30_000).map(|port| instance("a", port, 1.0)).collect();
    rows.chunks(500).for_each(|batch| store.append(batch).unwrap());
    let content = content_of(&rows);
    store.tick(NOW_MS + 1000).unwrap();
    assert!(store.disk.as_ref().unwrap().compaction().is_some());
    (store, content)
}

#[test]
fn appends_during_a_compaction_are_in_the_new_generation() {
    [Durability::Synced, Durability::Written, Durability::Interval].into_iter().for_each(appends_during_a_compaction);
}

fn appends_during_a_compaction(durability: Durability) {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut content) = halfway(dir.path(), durability);
    for step in 1..=3 {
        // Before and behind the cursor: changed, removed and new.
        let batch = [
            instance("a", 1, f64::from(step)),
            instance("a", 29_999, f64::from(step)),
            instance("a", 10 + step, 0.0).removal(),
            instance("a", 29_000 + step, 0.0).removal(),
            instance("0", step, 1.0),
            instance("z", step, 1.0),
        ];
        store.append(&batch).unwrap();
        apply(&mut content, &batch);
        assert_eq!(count(&store.stats().compactions), u64::from(step == 3));
        store.tick(NOW_MS + 1000 + u64::from(step.unsigned_abs())).unwrap();
        if step == 2 {
            // The copy is in use now, and complete in every mode.
            let left = image(dir.path());
            let again = open(left.path());
            assert_eq!((&again.content, again.report.damage), (&content, None), "{durability}");
        }
    }
    assert_eq!(count(&store.stats().compactions), 1);
    store.append(&[instance("after", 1, 1.0)]).unwrap();
    apply(&mut content, &[instance("after", 1, 1.0)]);
    store.close().unwrap();
    assert_eq!(names_in(dir.path()), ["CURRENT", "lock", "sidecar", "store-000002"]);
    let again = open(dir.path());
    assert_eq!((again.content, again.report.damage), (content, None));
}

#[test]
fn a_crash_in_the_middle_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, mut content) = halfway(dir.path(), Durability::Written);
    store.append(&[instance("a", 1, 7.0)]).unwrap();
    apply(&mut content, &[instance("a", 1, 7.0)]);
    assert!(names_in(dir.path()).contains(&"store-000002".to_owned()));
    drop(store);
    let again = open(dir.path());
    assert_eq!((again.content, again.report.damage), (content, None));
    assert_eq!(names_in(dir.path()), ["CURRENT", "lock", "sidecar", "store-000001"]);
}

#[test]
fn a_compaction_that_cannot_start_does_no_harm() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open_with(eager(dir.path(), Durability::Written)).unwrap().store;
    fs::write(dir.path().join("refuse-new"), "refused as asked").unwrap();
    store.append(&[instance("a", 1, 1.0)]).unwrap();
    store.tick(NOW_MS + 1000).unwrap();
    assert_eq!((store.failure(), count(&store.stats().compactions)), (None, 0));
    store.append(&[instance("a", 2, 1.0)]).unwrap();
    fs::remove_file(dir.path().join("refuse-new")).unwrap();
    store.tick(NOW_MS + 2000).unwrap();
    assert_eq!(count(&store.stats().compactions), 0, "it waits before it tries again");
    (0..3).for_each(|n| store.tick(NOW_MS + 61_000 + n).unwrap());
    assert_eq!(count(&store.stats().compactions), 1);
}

/// One that helped need not wait for the next.
#[test]
fn a_journal_that_grows_fast_is_compacted_again_and_again() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { compact_min_bytes: 2 << 20, durability: Durability::Written, ..Options::new(dir.path()) };
    let mut store = open_with(options).unwrap().store;
    for round in 0..100_u32 {
        let rows: Vec<Row> = (0..1000).map(|port| instance("a", port, f64::from(round))).collect();
        store.append(&rows).unwrap();
        store.tick(NOW_MS + u64::from(round) * 500).unwrap();
    }
    assert!(count(&store.stats().compactions) > 1);
    assert!(count(&store.stats().file_bytes) < 5 << 20, "{}", count(&store.stats().file_bytes));
}

#[test]
fn a_copy_that_fails_is_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = halfway(dir.path(), Durability::Written);
    store.disk.as_ref().unwrap().compaction().unwrap().fresh.table().faults.sync.store(true, Relaxed);
    store.tick(NOW_MS + 1001).unwrap();
    assert!(store.disk.as_ref().unwrap().compaction().is_none());
    assert_eq!(store.failure(), None);
    store.append(&[instance("a", 1, 2.0)]).unwrap();
    store.close().unwrap();
    assert_eq!(names_in(dir.path()), ["CURRENT", "lock", "sidecar", "store-000001"]);
    assert_eq!(open(dir.path()).content.len(), 30_000);
}

#[test]
fn a_file_that_only_grows_is_compacted_by_the_default_policy_scaled_down() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options { compact_min_bytes: 2 << 20, durability: Durability::Written, ..Options::new(dir.path()) };
    let mut store = open_with(options).unwrap().store;
    let mut now_ms = NOW_MS;
    for round in 0..400 {
        let rows: Vec<Row> = (0..100).map(|port| instance("a", port, f64::from(round))).collect();
        store.append(&rows).unwrap();
        now_ms += 1000;
        store.tick(now_ms).unwrap();
    }
    assert!(count(&store.stats().compactions) > 0, "file: {}", count(&store.stats().file_bytes));
    drop(store);
    let again = open(dir.path());
    let last: Vec<Row> = (0..100).map(|port| instance("a", port, 399.0)).collect();
    assert_eq!((again.content, again.report.damage), (content_of(&last), None));
}
