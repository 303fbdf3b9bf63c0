//! The bytes on disk: keys and values, and stores of older and newer schemas.

use std::{ops::Bound, time::Duration};

use proptest::prelude::*;

use super::{
    super::{
        codec::{self, BatchRow, Fault},
        folder::Folder,
        index::Index,
        key::{Key, KeyFault, Names},
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
        let value = codec::seal_any(&bytes, codec::SCHEMA, &bytes);
        let _ = codec::decode(&bytes, &value, &mut Names::default());
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

/// The bytes of schema 2. If this fails, stores in the field become unreadable: a change needs a new schema.
#[test]
fn golden_bytes() {
    let golden = include_str!("golden.txt");
    let actual: String = every_form()
        .iter()
        .chain(&every_setting())
        .chain(&every_subscription())
        .map(|row| codec::encode(row, 0x0102).unwrap())
        .map(|row| format!("{} {}\n", hex(&row.key), hex(&row.value.unwrap())))
        .chain([format!("00 {}\n", hex(&codec::encode_schema(2)))])
        .chain([format!("01 {}\n", hex(&codec::encode_batch(BatchRow { rows: 3, sum: u64::MAX }, 7).unwrap()))])
        .collect();
    assert_eq!(actual, golden);
}

/// What is let through without being encoded is small enough.
#[test]
fn the_bound_of_a_row_is_above_its_size() {
    for row in every_form() {
        let encoded = codec::encode(&row, u64::MAX).unwrap();
        let size = encoded.key.len() + encoded.value.unwrap().len();
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
fn a_changed_bit_anywhere_in_a_row_is_seen() {
    for row in every_form().into_iter().chain(every_setting()).chain(every_subscription()) {
        let encoded = codec::encode(&row, 5).unwrap();
        let (key, value) = (encoded.key, encoded.value.unwrap());
        let decoded = codec::decode(&key, &value, &mut Names::default()).unwrap();
        assert_eq!((decoded.row, decoded.sequence, decoded.version), (row, 5, 2));
        for bit in 0..value.len() * 8 {
            let mut bad = value.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(codec::decode(&key, &bad, &mut Names::default()).unwrap_err(), Fault::Damaged);
        }
        for bit in 0..key.len() * 8 {
            let mut bad = key.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(codec::decode(&bad, &value, &mut Names::default()).unwrap_err(), Fault::Damaged);
        }
        for length in 0..value.len() {
            assert!(codec::decode(&key, &value[..length], &mut Names::default()).is_err());
        }
    }
}

/// Two rows that fall back by one batch: an xor of their plain checksums would not change.
#[test]
fn sums_see_rows_that_fall_back_together() {
    let sums = |sequence| {
        let mut index = Index::default();
        for port in [1, 2] {
            let row = codec::encode(&instance("a", port, 1.0), sequence).unwrap();
            let entry = index.hasher().entry(&row.key, row.crc, 100);
            index.put(entry);
        }
        index.sums()
    };
    let crc = |port, sequence| codec::encode(&instance("a", port, 1.0), sequence).unwrap().crc;
    assert_eq!(crc(1, 5) ^ crc(2, 5), crc(1, 6) ^ crc(2, 6), "a crc is linear");
    assert_eq!(sums(5).rows, sums(6).rows);
    assert_ne!(sums(5).sum, sums(6).sum);
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

/// Makes a store of any schema, as the program of that time would have left it.
fn write_store(dir: &Path, schema: u8, rows: &[(Vec<u8>, Vec<u8>, u32)]) {
    let folder = Folder::create(dir).unwrap();
    let table = Table::create(&folder.generation(1), CACHE_BYTES, LIMIT).unwrap();
    let (mut writes, mut index) = (Writes::default(), Index::default());
    writes.insert(&key::SCHEMA, &codec::encode_schema(schema));
    for (key, value, crc) in rows {
        writes.insert(key, value);
        let entry = index.hasher().entry(key, *crc, key.len() + value.len());
        index.put(entry);
    }
    let sums = index.sums();
    writes.insert(&key::BATCH, &codec::encode_batch(sums.batch_row(), 3).unwrap());
    table.apply(writes).unwrap();
    table.sync().unwrap();
    let record = Record { generation: 1, sequence: 3, rows: sums.rows, sum: sums.sum, last_alive_ms: NOW_MS - 1 };
    Sidecar::open(&folder.sidecar(), &record).unwrap();
    folder.set_current(1).unwrap();
}

fn fixture() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/store-schema-1")
}

/// Writes the fixture anew when asked to; the stored one came from here.
#[test]
fn schema_1_fixture_is_written_when_asked_for() {
    if std::env::var_os("STORE_WRITE_FIXTURES").is_some() {
        let rows: Vec<_> = old_rows().iter().map(|row| codec::encode_v1(row, 2)).collect();
        let _ = fs::remove_dir_all(fixture());
        write_store(&fixture(), 1, &rows);
    }
    assert!(fixture().join("store-000001/db").exists());
}

#[test]
fn a_store_of_schema_1_is_migrated_once() {
    let dir = image(&fixture());
    let first = open(dir.path());
    assert_eq!(first.content, content_of(&old_rows()));
    assert_eq!((first.report.damage, first.report.moved_aside, first.report.downtime_ms), (None, None, Some(1)));
    assert_eq!((first.report.sequence, first.store.failure()), (4, None));
    let table = first.store.disk.as_ref().unwrap().table();
    assert_eq!(table.get(&key::SCHEMA).unwrap(), Some(codec::encode_schema(2)));
    let mut versions = Vec::new();
    let see = |_: &[u8], value: &[u8]| {
        versions.push(value[0]);
        std::ops::ControlFlow::Continue(())
    };
    table.visit(Bound::Included(&key::FIRST), Bound::Unbounded, see).unwrap();
    assert_eq!(versions, vec![2; old_rows().len()]);
    first.store.close().unwrap();
    assert_eq!(names_in(dir.path()), ["CURRENT", "lock", "sidecar", "store-000002"]);
    let second = open(dir.path());
    assert_eq!((second.content, second.report.sequence), (content_of(&old_rows()), 4));
}

/// Rows of the old version in a store of the new schema: a migration in place would leave these.
#[test]
fn rows_of_both_versions_read() {
    let dir = tempfile::tempdir().unwrap();
    let rows: Vec<_> = old_rows().iter().map(|row| codec::encode_v1(row, 2)).collect();
    write_store(dir.path(), 2, &rows);
    let opened = open(dir.path());
    assert_eq!((opened.content, opened.report.damage), (content_of(&old_rows()), None));
}

#[test]
fn a_newer_schema_kind_or_row_is_refused_by_name_and_left_alone() {
    let sound = |row: &Row| {
        let encoded = codec::encode(row, 3).unwrap();
        (encoded.key, encoded.value.unwrap(), encoded.crc)
    };
    let kind = vec![0x51, b'x', 0, 1];
    let newer_kind = (kind.clone(), codec::seal_any(&kind, 2, b"?"), 1);
    let key = key::encode(&instance("a", 9, 1.0));
    let newer_row = (key.clone(), codec::seal_any(&key, 3, b"?"), 1);
    let cases = [
        (3, vec![], "store-000001 has schema 3, and this version reads up to 2: it needs a later version of nacre"),
        (
            2,
            vec![newer_kind],
            "store-000001 holds a row of kind 0x51, which this version does not know: it needs a later \
             version of nacre",
        ),
        (
            2,
            vec![newer_row],
            "store-000001 holds a row of version 3, which this version does not know: it needs a later \
             version of nacre",
        ),
    ];
    for (schema, extra, expected) in cases {
        let dir = tempfile::tempdir().unwrap();
        let rows: Vec<_> = every_form().iter().map(sound).chain(extra).collect();
        write_store(dir.path(), schema, &rows);
        for _ in 0..2 {
            assert_eq!(open_with(Options::new(dir.path())).unwrap_err(), Error::Setup(expected.into()));
        }
        assert_eq!(names_in(dir.path()), ["CURRENT", "lock", "sidecar", "store-000001"]);
    }
}
