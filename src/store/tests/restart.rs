//! What is stored comes back, in every mode, and what else an undamaged start meets.

use std::{str::FromStr, sync::Mutex};

use proptest::prelude::*;

use super::*;

#[test]
fn every_form_of_row_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = open(dir.path());
    assert!(first.report.created && first.report.damage.is_none() && first.report.last_alive_ms.is_none());
    let rows: Vec<Row> = every_form().into_iter().chain(every_setting()).collect();
    first.store.append(&rows).unwrap();
    first.store.close().unwrap();
    let second = open(dir.path());
    assert_eq!(second.content, content_of(&rows));
    assert_eq!(second.report.damage, None);
    assert_eq!((second.report.created, second.report.sequence), (false, 1));
    assert_eq!(names_in(dir.path()), ["CURRENT", "lock", "sidecar", "store-000001"]);
}

#[test]
fn the_last_row_of_a_batch_counts_and_removals_remove() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).store;
    let row = |weight| instance("a", 1, weight);
    store.append(&[row(1.0), row(2.0), row(2.0).removal(), row(3.0), instance("b", 1, 1.0)]).unwrap();
    store.append(&[instance("b", 1, 1.0).removal(), instance("never", 1, 1.0).removal()]).unwrap();
    store.append(&[]).unwrap();
    assert_eq!(count(&store.stats().rows), 1);
    let batches = store.stats().batches.spread();
    assert_eq!((batches.count(), batches.sum), (2, 7));
    drop(store);
    let again = open(dir.path());
    assert_eq!(again.content, content_of(&[row(3.0)]));
    assert_eq!((again.report.damage, again.report.sequence), (None, 2));
}

#[test]
fn synced_and_written_survive_a_kill_and_interval_a_sync() {
    for (durability, syncs) in [(Durability::Synced, 3), (Durability::Written, 0), (Durability::Interval, 0)] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open_with(options(dir.path(), durability)).unwrap().store;
        let rows: Vec<Row> = (0..3).map(|port| instance("a", port, 1.0)).collect();
        for row in &rows {
            store.append(std::slice::from_ref(row)).unwrap();
        }
        assert_eq!(store.stats().syncs.spread().count(), syncs, "{durability}");
        if durability == Durability::Interval {
            store.tick(NOW_MS + INTERVAL_MS - 1).unwrap();
            assert_eq!(store.stats().syncs.spread().count(), 0);
            store.tick(NOW_MS + INTERVAL_MS).unwrap();
            store.tick(NOW_MS + 2 * INTERVAL_MS).unwrap();
            assert_eq!(store.stats().syncs.spread().count(), 1, "nothing new, nothing to sync");
        }
        let left = image(dir.path());
        let again = open(left.path());
        assert_eq!((again.content, again.report.damage), (content_of(&rows), None), "{durability}");
        store.close().unwrap();
    }
}

#[test]
fn off_touches_no_disk() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let mut opened = open_with(options(&data, Durability::Off)).unwrap();
    opened.store.append(&every_form()).unwrap();
    opened.store.tick(NOW_MS).unwrap();
    opened.store.rebuild(&mut every_form().into_iter()).unwrap();
    opened.store.close().unwrap();
    assert!(!data.exists());
}

#[test]
fn names_of_modes_are_read_and_printed() {
    for name in ["synced", "written", "interval", "off"] {
        assert_eq!(Durability::from_str(name).unwrap().to_string(), name);
    }
    for name in ["refuse", "memory"] {
        assert_eq!(OnFailure::from_str(name).unwrap().to_string(), name);
    }
    let error = Durability::from_str("Synced").unwrap_err();
    assert_eq!(error, Error::Setup("durability is synced, written, interval or off, not `Synced`".into()));
    assert!(matches!(OnFailure::from_str(""), Err(Error::Setup(_))));
}

#[test]
fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path());
    let error = open_with(Options::new(dir.path())).unwrap_err();
    let pid = std::process::id();
    let expected = format!("the data folder {} is in use by another process (process {pid})", dir.path().display());
    assert_eq!(error, Error::Setup(expected));
    drop(first);
    open(dir.path());
}

#[test]
fn a_folder_that_is_a_file_is_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("data");
    fs::write(&file, "").unwrap();
    let Err(Error::Setup(text)) = open_with(Options::new(&file)).map(drop) else { panic!("it opened") };
    assert!(text.starts_with(&format!("the data folder {} can't be used: ", file.display())), "{text}");
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn downtime_is_counted_from_the_last_tick() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).store;
    store.tick(NOW_MS - 500_000).unwrap();
    let left = image(dir.path());
    let report = open(left.path()).report;
    assert_eq!((report.last_alive_ms, report.downtime_ms), (Some(NOW_MS - 500_000), Some(500_000)));
    store.tick(NOW_MS + 1000).unwrap();
    store.close().unwrap();
    assert_eq!(open(dir.path()).report.downtime_ms, Some(0), "the clock went back");
}

#[test]
fn an_oversize_row_is_refused_and_nothing_of_its_batch_is_stored() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).store;
    let sized = |length: usize| {
        let Row::Instance(key, _) = instance("big", 1, 1.0) else { unreachable!() };
        let metadata = Some([("k", "v".repeat(length))].into_iter().collect());
        Row::Instance(key, Some(Arc::new(Instance { metadata, ..Instance::default() })))
    };
    let largest = (0..=MAX_ROW_BYTES).rev().find(|length| check_size(&sized(*length)).is_ok()).unwrap();
    let error = store.append(&[instance("a", 1, 1.0), sized(largest + 1)]).unwrap_err();
    assert_eq!(error, Error::Limit("a row of 65537 bytes is more than the 65536 that can be stored".into()));
    assert!(matches!(store.append(&[sized(10 * MAX_ROW_BYTES)]), Err(Error::Limit(_))));
    assert!(matches!(check_size(&sized(10 * MAX_ROW_BYTES)), Err(Error::Limit(_))));
    assert_eq!(store.failure(), None);
    store.append(&[sized(largest)]).unwrap();
    // Beside the time of its change.
    assert_eq!(count(&store.stats().live_bytes), MAX_ROW_BYTES as u64 + 8);
    store.close().unwrap();
    assert_eq!(open(dir.path()).content, content_of(&[sized(largest)]));
}

#[test]
fn progress_is_told_and_rows_of_many_services_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open_with(options(dir.path(), Durability::Written)).unwrap().store;
    let rows: Vec<Row> = (0..10_000).map(|n| instance(&format!("s{:04}", n / 10), n, f64::from(n))).collect();
    rows.chunks(500).for_each(|batch| store.append(batch).unwrap());
    store.close().unwrap();
    let seen = Mutex::new(Vec::new());
    let mut content = Content::new();
    let mut take = |rows: Vec<Row>| apply(&mut content, &rows);
    let progress = |at: Progress| seen.lock().unwrap().push(at);
    let (store, report) = Store::open(Options::new(dir.path()), NOW_MS, &mut take, &progress).unwrap();
    assert_eq!(content, content_of(&rows));
    assert_eq!((report.rows, report.bytes), (10_000, count(&store.stats().live_bytes)));
    let seen = seen.into_inner().unwrap();
    assert_eq!(seen[0].phase, Phase::Opening);
    let last = Progress { phase: Phase::Verifying, rows: 10_000, bytes: report.bytes, expected_rows: Some(10_000) };
    assert_eq!(seen.last(), Some(&last));
}

#[derive(Debug, Clone)]
enum Step {
    Append(Vec<Row>),
    Reopen,
    Kill,
    Rebuild,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let row = ("[ab\0\u{1}]{0,2}", -1..3_i32, 0..5_u8, any::<bool>()).prop_map(|(service, port, weight, put)| {
        let row = if weight == 4 {
            Row::Service(ServiceKey::new("n", &service), Some(Arc::new(ServiceSettings::default())))
        } else {
            instance(&service, port, f64::from(weight))
        };
        if put { row } else { row.removal() }
    });
    let step = prop_oneof![
        6 => prop::collection::vec(row, 1..6).prop_map(Step::Append),
        1 => Just(Step::Reopen),
        1 => Just(Step::Kill),
        1 => Just(Step::Rebuild),
    ];
    prop::collection::vec(step, 1..16)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_store_is_a_map_that_survives_restarts(steps in steps()) {
        let mut dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path()).store;
        let mut model = Content::new();
        for step in steps {
            match step {
                Step::Append(rows) => {
                    store.append(&rows).unwrap();
                    apply(&mut model, &rows);
                }
                Step::Rebuild => store.rebuild(&mut model.values().cloned()).unwrap(),
                Step::Reopen | Step::Kill => {
                    if matches!(step, Step::Reopen) {
                        store.close().unwrap();
                    } else {
                        let left = image(dir.path());
                        drop(store);
                        dir = left;
                    }
                    let again = open(dir.path());
                    prop_assert_eq!(&again.content, &model);
                    prop_assert_eq!(again.report.damage, None);
                    store = again.store;
                }
            }
            prop_assert_eq!(count(&store.stats().rows), model.len() as u64);
        }
    }
}
