//! The bytes on disk: keys and values, and stores of older and newer schemas.

use std::{ops::Bound, time::Duration};

use proptest::prelude::*;

use super::{
    super::{
        codec::{self, Base, Fault},
        folder::Folder,
        key::{Key, KeyFault, Names, PackKey},
        pack::{self, Frames, Unpacker},
        sidecar::{Record, Sidecar},
        table::{Table, Writes},
    },
    *,
};

const LIMIT: Duration = Duration::from_secs(10);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn key_of(row: &Row) -> Key {
    match row {
        Row::Instance(key, _) => Key::Instance(key.clone()),
        Row::Service(key, _) => Key::Service(key.clone()),
        Row::Cluster(key, _) => Key::Cluster(key.clone()),
        Row::Setting(key, _) => Key::Setting(key.clone()),
        Row::Subscription(key, _) => Key::Subscription(key.clone()),
    }
}

fn setting_key(kind: u8, names: [&str; 3]) -> SettingKey {
    let [a, b, c] = names.map(Into::into);
    match kind {
        0 => SettingKey::Switches,
        1 => SettingKey::Namespace(a),
        2 => SettingKey::User(a),
        3 => SettingKey::Role { role: a, user: b },
        _ => SettingKey::Permission { role: a, resource: b, action: c },
    }
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof!["[a\0\u{1}\u{ff}]{0,4}", any::<String>()]
}

fn keys() -> impl Strategy<Value = Row> {
    (names(), names(), names(), names(), any::<i32>(), 0..10_u8).prop_map(
        |(namespace, name, cluster, ip, port, kind)| {
            let service = ServiceKey::new(&namespace, &name);
            match kind {
                0 => Row::Service(service, None),
                1 => Row::Cluster(ClusterKey { service, name: cluster.into() }, None),
                9 => {
                    let [listed, to] = [format!("10.0.0.1:{}", port as u16), format!("[::{:x}]:1", port as u16)];
                    subscription(service, [&listed, &to, "::1"], [&cluster, &ip, ""]).removal()
                }
                4.. => Row::Setting(setting_key(kind - 4, [&namespace, &name, &cluster]), None),
                _ => {
                    let ephemeral = kind == 2;
                    let key = InstanceKey { service, cluster: cluster.into(), ip: ip.into(), port, ephemeral };
                    Row::Instance(key, None)
                }
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn keys_decode_to_what_they_encode(rows in prop::collection::vec(keys(), 1..5)) {
        let mut shared = Names::default();
        for row in rows {
            prop_assert_eq!(shared.decode(&key::encode(&row)), Ok(key_of(&row)));
        }
    }

    #[test]
    fn keys_of_a_kind_sort_like_their_names(a in keys(), b in keys()) {
        let order = match (&a, &b) {
            (Row::Instance(a, _), Row::Instance(b, _)) if a.ephemeral == b.ephemeral => Some(a.cmp(b)),
            (Row::Service(a, _), Row::Service(b, _)) => Some(a.cmp(b)),
            (Row::Cluster(a, _), Row::Cluster(b, _)) => Some(a.cmp(b)),
            (Row::Setting(a, _), Row::Setting(b, _)) => Some(a.cmp(b)),
            _ => None,
        };
        if let Some(order) = order {
            prop_assert_eq!(key::encode(&a).cmp(&key::encode(&b)), order);
        }
    }

    #[test]
    fn any_bytes_are_a_key_or_not_but_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..40), kind in 0..9_u8) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = kind * 0x10;
        }
        let _ = Names::default().decode(&bytes);
        for version in 1..=codec::SCHEMA {
            let _ = codec::decode(&bytes, &bytes, version, &mut Names::default());
            let (value, _) = codec::seal(&bytes, version, 1, &[&bytes]);
            let _ = codec::decode_single(&bytes, &value, &mut Names::default());
        }
    }
}

#[test]
fn what_is_no_key_is_told_apart() {
    let mut names = Names::default();
    assert_eq!(names.decode(&[]), Err(KeyFault::Malformed));
    assert_eq!(names.decode(&[0x51, 0, 1]), Err(KeyFault::UnknownKind(0x51)));
    assert_eq!(names.decode(&[0x30, b'a', 0, 1]), Err(KeyFault::Malformed), "a part is missing");
    assert_eq!(names.decode(&[0x30, 0, 1, 0, 1, 0]), Err(KeyFault::Malformed), "more than the parts");
    assert_eq!(names.decode(&[0x30, 0, 2, 0, 1]), Err(KeyFault::Malformed), "no such escape");
    assert_eq!(names.decode(&[0x30, 0xC3, 0, 1, 0, 1]), Err(KeyFault::Malformed), "no UTF-8");
    let to =
        |address: &str| [&[0x80, 0, 1, 0, 1][..], address.as_bytes(), b"\0\x011.2.3.4:5\0\x01\0\x01\0\x01"].concat();
    assert!(names.decode(&to("1.2.3.4:5")).is_ok());
    for other in ["1.2.3.4", "1.2.3.4:05", "[::0]:5", "host:5", ""] {
        assert_eq!(names.decode(&to(other)), Err(KeyFault::Malformed), "{other}");
    }
}

fn every_row() -> Vec<Row> {
    every_form().into_iter().chain(every_setting()).chain(every_subscription()).collect()
}

fn frames_of(rows: &[Row]) -> Frames {
    let mut frames = Frames::default();
    rows.iter().for_each(|row| frames.push(row).unwrap());
    frames
}

/// The bytes of schema 4, and of the values of rows of schema 2. If this fails, stores in the field become unreadable: a
/// change needs a new schema.
#[test]
fn golden_bytes() {
    let golden = include_str!("golden.txt");
    let single = |row: &Row| {
        let (key, value, _) = codec::encode_single(row, 2, 0x0102);
        format!("{} {}\n", hex(&key), hex(&value))
    };
    let few = frames_of(&[instance("a", 1, 1.0), subscriber(1), instance("a", 1, 1.0).removal()]);
    let line = |pack: &pack::Pack| format!("{} {}\n", hex(&pack.key), hex(&pack.value));
    let base = Base { rows: 3, sum: u64::MAX, position: 300 };
    let actual: String = every_row()
        .iter()
        .map(single)
        .chain([format!("01 {}\n", hex(&codec::encode_old_base(3, u64::MAX, 2, 7)))])
        .chain([format!("00 {}\n", hex(&codec::encode_schema(4)))])
        .chain([format!("01 {}\n", hex(&codec::encode_base(base, 7).unwrap()))])
        .chain(pack::base(&few, 5).iter().map(line))
        .chain(pack::journal(&few, 0x0102, 0x0304).iter().map(line))
        .collect();
    assert_eq!(actual, golden);
}

/// What is let through without being encoded is small enough.
#[test]
fn the_bound_of_a_row_is_above_its_size() {
    for row in every_form() {
        let size = frames_of(std::slice::from_ref(&row)).size();
        assert!(codec::bound(&row).is_none_or(|bound| bound >= size), "{row:?}: {size}");
    }
    let big = |bytes: usize| match instance("a", 1, 1.0) {
        Row::Instance(key, _) => {
            let metadata = Some([("k", "x".repeat(bytes))].into_iter().collect());
            Row::Instance(key, Some(Arc::new(Instance { metadata, ..Instance::default() })))
        }
        row => row,
    };
    assert!(codec::check_size(&big(65_000)).is_ok() && codec::check_size(&big(65_600)).is_err());
}

#[test]
fn a_changed_bit_anywhere_in_a_pack_or_single_row_is_seen() {
    let read = |key: &[u8], value: &[u8]| {
        let key = PackKey::decode(key).ok_or(Fault::Damaged)?;
        let (mut rows, mut names) = (Vec::new(), Names::default());
        let see = |at, frame: pack::Frame<'_>| {
            rows.push((at, codec::decode(frame.key, frame.payload.unwrap(), codec::SCHEMA, &mut names)));
        };
        Unpacker::default().open(key, value, see).map(|_| rows)
    };
    for row in every_row() {
        let pack = pack::journal(&frames_of(std::slice::from_ref(&row)), 5, 9).remove(0);
        assert_eq!(read(&pack.key, &pack.value).unwrap(), [(9, Ok(row.clone()))]);
        each_bit(&pack.key, &pack.value, |key, value| assert_eq!(read(key, value).unwrap_err(), Fault::Damaged));
        for version in [1, 2] {
            let (key, value, _) = codec::encode_single(&row, version, 5);
            assert!(codec::decode_single(&key, &value, &mut Names::default()).is_ok());
            each_bit(&key, &value, |key, value| {
                assert_eq!(codec::decode_single(key, value, &mut Names::default()).unwrap_err(), Fault::Damaged);
            });
        }
    }
}

/// Calls `see` with every bit of the two changed, and with every shorter value.
fn each_bit(key: &[u8], value: &[u8], see: impl Fn(&[u8], &[u8])) {
    for bit in 0..(key.len() + value.len()) * 8 {
        let (mut key, mut value) = (key.to_vec(), value.to_vec());
        let byte = bit / 8;
        let at = if byte < key.len() { &mut key[byte] } else { &mut value[byte - key.len()] };
        *at ^= 1 << (bit % 8);
        see(&key, &value);
    }
    (0..value.len()).for_each(|length| see(key, &value[..length]));
}

/// Two values that fall back by one batch: an xor of their plain checksums would not change.
#[test]
fn sums_see_values_that_fall_back_together() {
    let crc = |number, sequence| codec::seal(&[number], 3, sequence, &[b"rows"]).1;
    assert_eq!(crc(1, 5) ^ crc(2, 5), crc(1, 6) ^ crc(2, 6), "a crc is linear");
    let sum = |sequence| codec::mixed(crc(1, sequence)) ^ codec::mixed(crc(2, sequence));
    assert_ne!(sum(5), sum(6));
}

/// What the schema 1 fixture holds.
fn old_rows() -> Vec<Row> {
    let bare = |row| match row {
        Row::Instance(key, Some(instance)) => {
            Row::Instance(key, Some(Arc::new(Instance { id: None, app: None, ..(*instance).clone() })))
        }
        row => row,
    };
    every_form().into_iter().chain((0..20).map(|port| instance("old", port, 1.5))).map(bare).collect()
}

/// Makes a store with these values, as the program of that schema would have left it.
fn write_store(dir: &Path, schema: u8, base: &[u8], values: &[(Vec<u8>, Vec<u8>)], side: (u64, u64)) {
    let folder = Folder::create(dir).unwrap();
    let table = Table::create(&folder.generation(1), CACHE_BYTES, LIMIT).unwrap();
    let mut writes = Writes::default();
    writes.insert(&key::SCHEMA, &codec::encode_schema(schema));
    values.iter().for_each(|(key, value)| writes.insert(key, value));
    writes.insert(&key::BASE, base);
    table.apply(writes).unwrap();
    table.sync().unwrap();
    let (rows, sum) = side;
    let record = Record { generation: 1, sequence: 3, rows, sum, last_alive_ms: NOW_MS - 1 };
    Sidecar::open(&folder.sidecar(), &record).unwrap();
    folder.set_current(1).unwrap();
}

/// A store of schema 1 or 2 with rows of any of both.
fn write_old_store(dir: &Path, schema: u8, version: u8, rows: &[Row]) {
    let singles: Vec<_> = rows.iter().map(|row| codec::encode_single(row, version, 2)).collect();
    let sum = singles.iter().fold(0, |sum, (_, _, crc)| sum ^ codec::mixed(*crc));
    let base = codec::encode_old_base(rows.len() as u64, sum, schema, 3);
    let values: Vec<_> = singles.into_iter().map(|(key, value, _)| (key, value)).collect();
    write_store(dir, schema, &base, &values, (rows.len() as u64, sum));
}

fn fixture(schema: u8) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/store-schema-{schema}"))
}

/// All were written by the program of their time: 1 in one batch, 2 with rows that changed and that were removed, 3 with
/// some in the base and some in the journal, one of them in two packs.
#[test]
fn stores_of_older_schemas_are_migrated_once() {
    let changed = instance("old", 3, 2.5);
    let of_2 = [every_row(), (0..20).map(|port| instance("old", port, 1.5)).collect(), vec![changed]].concat();
    let of_3 = [&of_2[..], &[long(8_000), instance("new", 1, 1.0)]].concat();
    for (schema, rows, sequence, downtime_ms) in [(1, old_rows(), 4, 1), (2, of_2, 5, 0), (3, of_3, 5, 1)] {
        let dir = image(&fixture(schema));
        let first = open(dir.path());
        assert_eq!(first.content, content_of(&rows), "{schema}");
        assert!(stamps(&first.content).iter().all(|stamp| *stamp == 0), "it did not say");
        assert_eq!((first.report.damage, first.report.moved_aside), (None, None), "{schema}");
        assert_eq!((first.report.downtime_ms, first.report.sequence), (Some(downtime_ms), sequence));
        assert_eq!(first.store.failure(), None);
        assert_migrated(&first.store);
        first.store.close().unwrap();
        let generation = if schema == 3 { "store-000003" } else { "store-000002" };
        assert_eq!(names_in(dir.path()), ["CURRENT", "lock", "sidecar", generation]);
        let second = open(dir.path());
        assert_eq!((second.content, second.report.sequence), (content_of(&rows), sequence));
        assert_eq!(second.report.damage, None);
    }
}

/// An instance with so much metadata.
fn long(bytes: usize) -> Row {
    let Row::Instance(key, _) = instance("long", 1, 1.0) else { unreachable!() };
    let metadata = Some([("k", "x".repeat(bytes))].into_iter().collect());
    Row::Instance(key, Some(Arc::new(Instance { metadata, ..Instance::default() })))
}

/// What the present schema adds to a row does not count: the largest row there was is not too large now.
#[test]
fn the_largest_row_of_an_older_schema_is_migrated() {
    let largest = (0..=MAX_ROW_BYTES).rev().map(long).find(|row| codec::check_size(row).is_ok()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    write_old_store(dir.path(), 2, 2, std::slice::from_ref(&largest));
    let opened = open(dir.path());
    assert_eq!((opened.content, opened.report.damage), (content_of(std::slice::from_ref(&largest)), None));
    opened.store.close().unwrap();
    assert_eq!(open(dir.path()).content, content_of(std::slice::from_ref(&largest)));

    let frames = frames_of(&[largest, instance("a", 1, 1.0), instance("a", 1, 1.0).removal(), every_form().remove(1)]);
    let mut old = Frames::default();
    for frame in frames.iter() {
        let unstamped = |payload: &'_ [u8]| payload[..payload.len() - 8 * usize::from(frame.key[0] == 0x10)].to_vec();
        old.copy(pack::Frame { payload: frame.payload.map(unstamped).as_deref(), ..frame });
    }
    let (mut unpacker, mut names, mut rows) = (Unpacker::default(), Names::default(), Vec::new());
    for made in pack::journal(&old, 7, 1) {
        let key = PackKey::decode(&made.key).unwrap();
        let payload = codec::unseal(&made.key, &made.value).unwrap().payload.to_vec();
        let (value, _) = codec::seal(&made.key, 3, 7, &[&payload]);
        let see = |at, frame: pack::Frame<'_>| {
            let row =
                frame.payload.map(|payload| codec::decode(frame.key, payload, codec::SCHEMA, &mut names).unwrap());
            rows.push((at, frame.size(), row));
        };
        unpacker.open(key, &value, see).unwrap();
    }
    assert!(rows.iter().map(|(_, size, _)| *size).eq(frames.iter().map(|frame| frame.size())));
    assert!(
        rows.iter()
            .all(|(_, _, row)| row.as_ref().is_none_or(|row| stamps(&content_of(std::slice::from_ref(row))) == [0]))
    );
    assert_eq!(rows.iter().map(|(at, ..)| *at).collect::<Vec<_>>(), [1, 2, 3, 4]);
}

/// Nothing but packs of the present version is in it.
fn assert_migrated(store: &Store) {
    let table = store.disk.as_ref().unwrap().table();
    assert_eq!(table.get(&key::SCHEMA).unwrap(), Some(codec::encode_schema(4)));
    let see = |key: &[u8], value: &[u8]| {
        assert!(PackKey::decode(key).is_some() && value[0] == 4);
        std::ops::ControlFlow::Continue(())
    };
    table.visit(Bound::Included(&key::FIRST), Bound::Unbounded, see).unwrap();
}

/// Rows of the old version in a store of the next schema: a migration in place left these.
#[test]
fn rows_of_both_old_versions_read() {
    let dir = tempfile::tempdir().unwrap();
    write_old_store(dir.path(), 2, 1, &old_rows());
    let opened = open(dir.path());
    assert_eq!((opened.content, opened.report.damage), (content_of(&old_rows()), None));
    assert_migrated(&opened.store);
}

#[test]
fn a_damaged_store_of_an_older_schema_keeps_what_is_sound() {
    let dir = tempfile::tempdir().unwrap();
    let mut values: Vec<_> = old_rows().iter().map(|row| codec::encode_single(row, 2, 2)).collect();
    let sum = values.iter().fold(0, |sum, (_, _, crc)| sum ^ codec::mixed(*crc));
    values[0].1[12] ^= 1;
    let rows = values.len() as u64;
    let base = codec::encode_old_base(rows, sum, 2, 3);
    let values: Vec<_> = values.into_iter().map(|(key, value, _)| (key, value)).collect();
    write_store(dir.path(), 2, &base, &values, (rows, sum));
    let opened = open(dir.path());
    assert_eq!((opened.content, opened.report.skipped_rows), (content_of(&old_rows()[1..]), 1));
    let damage = format!("1 rows do not verify; it was made with {rows} rows, of these {} were found", rows - 1);
    assert!(opened.report.damage.is_some_and(|found| found.starts_with(&damage)));
}

#[test]
fn a_newer_schema_kind_or_row_is_refused_by_name_and_left_alone() {
    let (key, value, _) = codec::encode_single(&instance("a", 9, 1.0), 2, 1);
    let kind = vec![0x51, b'x', 0, 1];
    let single_kind = (kind.clone(), codec::seal(&kind, 2, 1, &[b"?"]).0);
    let single_row = (key.clone(), codec::seal(&key, 3, 1, &[b"?"]).0);
    let mut frames = frames_of(&every_form());
    frames.copy(pack::Frame { key: &kind, payload: Some(b"?") });
    let packed = |pack: pack::Pack| (pack.key.to_vec(), pack.value);
    let kind_in_pack = packed(pack::journal(&frames, 4, 1).remove(0));
    let pack = (kind_in_pack.0.clone(), codec::seal(&kind_in_pack.0, 5, 1, &[b"?"]).0);
    let holds = |what| {
        format!("store-000001 holds {what}, which this version does not know: it needs a later version of nacre")
    };
    let schema =
        "store-000001 has schema 5, and this version reads up to 4: it needs a later version of nacre".to_owned();
    let cases = [
        (5, (key, value), schema),
        (2, single_kind, holds("a row of kind 0x51")),
        (2, single_row, holds("a row of version 3")),
        (4, kind_in_pack, holds("a row of kind 0x51")),
        (4, pack, holds("a pack of version 5")),
    ];
    for (schema, value, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        let base = codec::encode_base(Base::default(), 3).unwrap();
        write_store(dir.path(), schema, &base, &[value], (0, 0));
        for _ in 0..2 {
            assert_eq!(open_with(Options::new(dir.path())).unwrap_err(), Error::Setup(expected.clone()));
        }
        assert_eq!(names_in(dir.path()), ["CURRENT", "lock", "sidecar", "store-000001"]);
    }
}
