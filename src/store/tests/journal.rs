//! The journal: rows that override others wherever they are, batches and rows of every size, and gaps in it.

use std::ops::{Bound, ControlFlow};

use super::{
    super::{
        codec,
        key::PackKey,
        table::{Table, Writes},
    },
    *,
};

fn table(store: &Store) -> &Table {
    store.disk.as_ref().unwrap().table()
}

/// Keys and values of all packs.
fn packs(store: &Store) -> Vec<(PackKey, Vec<u8>)> {
    let mut packs = Vec::new();
    let see = |key: &[u8], value: &[u8]| {
        packs.push((PackKey::decode(key).unwrap(), value.to_vec()));
        ControlFlow::Continue(())
    };
    table(store).visit(Bound::Included(&key::FIRST), Bound::Unbounded, see).unwrap();
    packs
}

fn sized(service: &str, port: i32, bytes: usize) -> Row {
    match instance(service, port, 1.0) {
        Row::Instance(key, _) => {
            let metadata = Some([("k", "x".repeat(bytes))].into_iter().collect());
            Row::Instance(key, Some(Arc::new(Instance { metadata, ..Instance::default() })))
        }
        row => row,
    }
}

/// Compacts as soon as it is looked at.
fn compact(dir: &Path) -> Content {
    let eager = Options { compact_min_bytes: 0, compact_factor: 0, ..Options::new(dir) };
    let mut store = open_with(eager).unwrap().store;
    for step in 0..100 {
        store.tick(NOW_MS + 1000 + step).unwrap();
        if count(&store.stats().compactions) > 0 {
            break;
        }
    }
    assert!(packs(&store).iter().all(|(key, _)| !key.is_journal), "all of it is in the base");
    store.close().unwrap();
    open(dir).content
}

#[test]
fn a_batch_is_one_pack_and_a_large_one_a_few() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).store;
    let rows: Vec<Row> = (0..50).map(|port| instance("a", port, 1.0)).collect();
    store.append(&rows).unwrap();
    let many: Vec<Row> = (0..1000).map(|port| instance("b", port, 1.0)).collect();
    store.append(&many).unwrap();
    let keys: Vec<PackKey> = packs(&store).iter().map(|(key, _)| *key).collect();
    assert_eq!(keys[0], PackKey { is_journal: true, number: 1, part: 0 });
    let parts = u32::try_from(keys.len() - 1).unwrap();
    assert!((10..25).contains(&parts), "{parts} packs for 1000 rows");
    let expected: Vec<_> = (0..parts).map(|part| PackKey { is_journal: true, number: 2, part }).collect();
    assert_eq!(keys[1..], expected);
}

/// The engine would put larger pages in files that nobody syncs.
#[test]
fn no_page_leaves_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).store;
    for port in 0..60 {
        store.append(&[sized("a", port, 60_000), sized("b", port, 6_900), sized("c", port, 6_900)]).unwrap();
    }
    store.close().unwrap();
    for generation in ["store-000001", "store-000002"] {
        let blobs = dir.path().join(generation).join("blobs");
        assert!(names_in(&blobs).is_empty(), "{:?}", names_in(&blobs));
        compact(dir.path());
    }
}

#[test]
fn later_rows_override_earlier_ones_wherever_they_are() {
    let dir = tempfile::tempdir().unwrap();
    let mut model = Content::new();
    let put = |store: &mut Store, model: &mut Content, batch: &[Row]| {
        store.append(batch).unwrap();
        apply(model, batch);
    };
    let mut store = open(dir.path()).store;
    let many: Vec<Row> = (0..3000).map(|port| instance("a", port, 1.0)).collect();
    put(&mut store, &mut model, &many);
    put(&mut store, &mut model, &[sized("big", 1, 60_000), sized("big", 2, 60_000), sized("big", 3, 30_000)]);
    store.close().unwrap();
    assert_eq!(compact(dir.path()), model);
    for round in 0..3 {
        let mut opened = open(dir.path());
        assert_eq!((&opened.content, &opened.report.damage), (&model, &None), "{round}");
        let store = &mut opened.store;
        let changed: Vec<Row> = (0..500).map(|port| instance("a", port * 3 + round, 2.0 + f64::from(round))).collect();
        put(store, &mut model, &changed);
        let removed: Vec<Row> = (0..200).map(|port| instance("a", port * 5 + round, 1.0).removal()).collect();
        put(store, &mut model, &removed);
        put(store, &mut model, &[sized("big", 1 + round, 50_000), sized("big", 9, 100), sized("big", 2, 9).removal()]);
        let bytes = count(&store.stats().live_bytes);
        assert_eq!(count(&store.stats().rows), model.len() as u64);
        opened.store.close().unwrap();
        if round == 1 {
            assert_eq!(compact(dir.path()), model);
        }
        let again = open(dir.path());
        assert_eq!((again.report.rows, again.report.bytes), (model.len() as u64, bytes));
    }
    assert_eq!(open(dir.path()).content, model);
}

/// Seven batches of ten instances, of which batch 4 also changes what batch 1 holds and removes one of batch 2.
fn seven(dir: &Path) -> (Store, Vec<Vec<Row>>) {
    let mut store = open(dir).store;
    let mut batches: Vec<Vec<Row>> =
        (1..8).map(|batch| (0..10).map(|port| instance(&format!("s{batch}"), port, 1.0)).collect()).collect();
    batches[3].extend([instance("s1", 0, 7.0), instance("s2", 0, 1.0).removal()]);
    batches.iter().for_each(|batch| store.append(batch).unwrap());
    (store, batches)
}

type Change<'a> = &'a dyn Fn(&mut Vec<u8>);

/// Changes the first pack of this number, or removes it.
fn change(store: &Store, number: u64, to: Option<Change<'_>>) {
    let (key, mut value) = packs(store).into_iter().find(|(key, _)| key.number == number).unwrap();
    let mut writes = Writes::default();
    match to {
        Some(to) => {
            to(&mut value);
            writes.insert(&key.encode(), &value);
        }
        None => writes.remove(&key.encode()),
    }
    table(store).apply(writes).unwrap();
    table(store).sync().unwrap();
}

/// What is lost is what the pack told, no more; what overrode nothing else stays, and the gap is told of.
#[test]
fn a_gap_in_the_journal_costs_what_is_in_it() {
    type Harm = fn(&Store, u64);
    let harms: [(Harm, &str); 2] = [
        (|store, number| change(store, number, None), ""),
        (|store, number| change(store, number, Some(&|value| value[30] ^= 4)), "1 packs of rows do not verify; "),
    ];
    for (harm, also) in harms {
        for number in 1..=7 {
            let dir = tempfile::tempdir().unwrap();
            let (store, mut batches) = seven(dir.path());
            let rows = batches[usize::try_from(number).unwrap() - 1].len();
            harm(&store, number);
            let left = image(dir.path());
            let opened = open(left.path());
            batches[usize::try_from(number).unwrap() - 1].clear();
            assert_eq!(opened.content, content_of(&batches.concat()), "without {number}");
            let damage = opened.report.damage.clone().unwrap();
            let expected = match number {
                7 => format!("{also}it ends at batch 6 with 59 rows, but batch 7 with 69 rows was stored"),
                _ => format!("{also}{rows} rows are missing in its journal; batch 7 holds"),
            };
            assert!(damage.starts_with(&expected), "{damage}");
            let skipped = if number == 7 { 0 } else { rows as u64 };
            assert_eq!(opened.report.skipped_rows, skipped);
            let aside = opened.report.moved_aside.clone().unwrap();
            assert!(aside.join("db").exists());
            let content = opened.content;
            opened.store.close().unwrap();
            let again = open(left.path());
            assert_eq!((again.content, again.report.damage), (content, None));
        }
    }
}

#[test]
fn other_rows_under_the_same_sequence_are_seen() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = seven(dir.path());
    let (key, value) = packs(&store).into_iter().find(|(key, _)| key.number == 7).unwrap();
    let body = value[9..value.len() - 4].to_vec();
    let other =
        [&body[..12], &body[12..].iter().map(|byte| if *byte == b's' { b't' } else { *byte }).collect::<Vec<_>>()]
            .concat();
    change(&store, 7, Some(&|value| *value = codec::seal(&key.encode(), codec::SCHEMA, 7, &[&other]).0));
    let left = image(dir.path());
    let damage = open(left.path()).report.damage;
    assert_eq!(damage.as_deref(), Some("batch 7 holds 69 rows, but 69 were stored, or not the same"));
}

/// What the base lost shows at the next open; what is lost while it is copied makes the store fail.
#[test]
fn a_gap_is_not_copied_over() {
    let dir = tempfile::tempdir().unwrap();
    let (store, batches) = seven(dir.path());
    store.close().unwrap();
    let content = compact(dir.path());
    assert_eq!(content, content_of(&batches.concat()));
    let eager = Options { compact_min_bytes: 0, compact_factor: 0, ..Options::new(dir.path()) };
    let mut store = open_with(eager).unwrap().store;
    change(&store, 0, None);
    let left = image(dir.path());
    let opened = open(left.path());
    let damage = opened.report.damage.unwrap();
    assert!(damage.starts_with("it was made with 69 rows, of these 4"), "{damage}");
    assert!(opened.content.len() < 60 && opened.content.iter().all(|(key, row)| content.get(key) == Some(row)));
    assert_eq!(opened.report.skipped_rows, 69 - opened.content.len() as u64);

    let error = store.tick(NOW_MS + 1000).unwrap_err();
    assert!(error.message().contains("rows are gone from it"), "{error:?}");
    assert_eq!(count(&store.stats().compactions), 0);
    store.rebuild(&mut content.values().cloned()).unwrap();
    store.close().unwrap();
    let again = open(dir.path());
    assert_eq!((again.content, again.report.damage), (content, None));
}
