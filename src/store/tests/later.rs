//! Rows that wait for no sync: what they cost, and what a killed process and a power cut leave of them.

use super::*;

/// Puts what is synced and what is told of it together from two times, as a power cut may leave them: `store` is what
/// reached the disk, `sidecar` may be older or newer.
fn after_power_cut(store: &Path, sidecar: &Path) -> tempfile::TempDir {
    let left = image(store);
    fs::copy(sidecar.join("sidecar"), left.path().join("sidecar")).unwrap();
    left
}

#[test]
fn they_cost_no_sync_and_survive_a_kill_after_the_next_tick() {
    for durability in [Durability::Synced, Durability::Written] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open_with(options(dir.path(), durability)).unwrap().store;
        store.append(&[instance("a", 1, 1.0)]).unwrap();
        let syncs = store.stats().syncs.spread().count();
        let rows: Vec<Row> = (1..=1500).map(subscriber).collect();
        rows.chunks(300).for_each(|rows| store.append_later(rows).unwrap());
        store.append_later(&[subscriber(7).removal()]).unwrap();
        store.tick(NOW_MS + 100).unwrap();
        let stats = store.stats();
        assert_eq!((stats.syncs.spread().count(), stats.batches.spread().count()), (syncs, 7), "{durability}");
        let left = image(dir.path());
        let again = open(left.path());
        let mut expected = content_of(&[rows, vec![instance("a", 1, 1.0)]].concat());
        expected.remove(&key::encode(&subscriber(7)));
        assert_eq!((again.content.len(), &again.report.damage), (1500, &None), "{durability}");
        assert_eq!(again.content, expected, "{durability}");
        assert_eq!((again.report.rows, again.report.subscriptions), (1500, 1499));
    }
}

#[test]
fn what_is_stored_after_them_takes_them_along() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).store;
    store.append_later(&[subscriber(1)]).unwrap();
    store.append(&[instance("a", 1, 1.0)]).unwrap();
    let left = image(dir.path());
    let again = open(left.path());
    assert_eq!(again.content, content_of(&[subscriber(1), instance("a", 1, 1.0)]));
    assert_eq!((again.report.damage, again.report.sequence), (None, 2));
    // The sidecar knows of both now: losing them shows.
    store.append_later(&[subscriber(2)]).unwrap();
    store.close().unwrap();
    let again = open(dir.path());
    assert_eq!((again.content.len(), again.report.damage, again.report.subscriptions), (3, None, 2));
}

#[test]
fn a_power_cut_may_take_them_but_nothing_else_unseen() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).store;
    store.append(&[instance("a", 1, 1.0)]).unwrap();
    let synced = image(dir.path());
    store.append_later(&[subscriber(1)]).unwrap();
    store.tick(NOW_MS + 5_000).unwrap();
    let handed_over = image(dir.path());

    let left = after_power_cut(synced.path(), handed_over.path());
    let again = open(left.path());
    assert_eq!(
        (again.content, again.report.damage),
        (content_of(&[instance("a", 1, 1.0)]), None),
        "only they are lost"
    );

    let left = after_power_cut(handed_over.path(), synced.path());
    let again = open(left.path());
    assert_eq!((again.content.len(), again.report.damage), (2, None), "an older sidecar");

    store.append(&[instance("a", 2, 1.0)]).unwrap();
    for lost in [&synced, &handed_over] {
        let left = after_power_cut(lost.path(), dir.path());
        let damage = open(left.path()).report.damage.expect("an instance is lost");
        assert!(damage.contains("but batch 3 with 3 rows was stored"), "{damage}");
    }
}

#[test]
fn a_write_that_fails_later_shows_at_the_tick_and_is_healed() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).store;
    store.append_later(&[subscriber(1)]).unwrap();
    store.disk.as_ref().unwrap().table().faults.write.store(true, Relaxed);
    assert!(matches!(store.tick(NOW_MS + 100), Err(Error::Storage(_))));
    assert!(matches!(store.append_later(&[subscriber(2)]), Err(Error::Storage(_))));
    store.rebuild(&mut vec![subscriber(1), subscriber(2)].into_iter()).unwrap();
    store.append_later(&[subscriber(3)]).unwrap();
    store.close().unwrap();
    let again = open(dir.path());
    assert_eq!((again.content, again.report.damage), (content_of(&[1, 2, 3].map(subscriber)), None));
}

/// A killed process leaves them in the system's memory. The next start finds them there, and must not tell of them in
/// the sidecar before they are on disk: a power cut after that start would look like damage.
#[test]
fn what_a_killed_process_left_is_synced_before_it_is_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).store;
    store.append(&[instance("a", 1, 1.0)]).unwrap();
    store.append_later(&[subscriber(1)]).unwrap();
    store.tick(NOW_MS + 100).unwrap();
    let left = image(dir.path());
    let sidecar = fs::read(left.path().join("sidecar")).unwrap();
    fs::write(left.path().join("refuse-sync"), "refused as asked").unwrap();
    let refused = open_with(Options::new(left.path())).unwrap_err();
    assert!(refused.message().contains("refused as asked"), "{refused:?}");
    assert_eq!(fs::read(left.path().join("sidecar")).unwrap(), sidecar);
    fs::remove_file(left.path().join("refuse-sync")).unwrap();
    let again = open(left.path());
    assert_eq!((again.content.len(), again.report.damage), (2, None));
}
