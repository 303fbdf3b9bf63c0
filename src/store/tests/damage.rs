//! Damaged stores and their exact outcome: what is restored, what is reported, what is kept aside.

use super::{super::sidecar, *};

/// A store of 40 services of 50 instances in 41 batches, closed; with a snapshot if it was opened again.
pub(super) fn build(dir: &Path, with_snapshot: bool) -> Content {
    let mut store = open_with(options(dir, Durability::Written)).unwrap().store;
    let mut content = Content::new();
    let mut put = |batch: &[Row]| {
        store.append(batch).unwrap();
        apply(&mut content, batch);
    };
    for service in 0..40 {
        put(&(0..50).map(|port| instance(&format!("s{service:02}"), port, 1.0)).collect::<Vec<_>>());
    }
    put(&[instance("s00", 0, 9.0), instance("s39", 49, 9.0).removal()]);
    store.close().unwrap();
    if with_snapshot {
        open(dir).store.close().unwrap();
        assert_eq!(snapshots(&dir.join("store-000001")).len(), 1);
    }
    content
}

fn snapshots(generation: &Path) -> Vec<String> {
    names_in(generation).into_iter().filter(|name| name.starts_with("snap.")).collect()
}

/// Names in the data folder without the time in that of a damaged generation.
fn names(dir: &Path) -> Vec<String> {
    names_in(dir).iter().map(|name| name.replace("20260921T141320Z-", "")).collect()
}

const AFTER_DAMAGE: [&str; 5] = ["CURRENT", "damaged-store-000001", "lock", "sidecar", "store-000002"];
const AS_BEFORE: [&str; 4] = ["CURRENT", "lock", "sidecar", "store-000001"];

/// Whatever was found: the next open finds the same rows and nothing wrong.
fn assert_healed(opened: Opened, dir: &Path) {
    let (content, sequence) = (opened.content, opened.report.sequence);
    assert_eq!(opened.store.failure(), None);
    opened.store.close().unwrap();
    let again = open(dir);
    assert_eq!((again.content, again.report.damage, again.report.sequence), (content, None, sequence));
}

#[test]
fn damaged_snapshots_and_settings_cost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let content = build(dir.path(), true);
    let snapshot = snapshots(&dir.path().join("store-000001")).remove(0);
    type Harm = fn(&Path, &str);
    let harms: [(&str, Harm); 7] = [
        ("a half-written snapshot", |dir, _| fs::write(dir.join("snap.FFFFFFFFFFFFFFFF.generating"), "torn").unwrap()),
        ("an empty half-written snapshot", |dir, _| fs::write(dir.join("snap.00.generating"), "").unwrap()),
        ("an empty snapshot", |dir, snapshot| fs::write(dir.join(snapshot), "").unwrap()),
        ("a torn snapshot", |dir, snapshot| truncate(&dir.join(snapshot), 100)),
        ("no snapshot", |dir, snapshot| fs::remove_file(dir.join(snapshot)).unwrap()),
        ("empty settings", |dir, _| fs::write(dir.join("conf"), "").unwrap()),
        ("no settings", |dir, _| fs::remove_file(dir.join("conf")).unwrap()),
    ];
    for (name, harm) in harms {
        let left = image(dir.path());
        harm(&left.path().join("store-000001"), &snapshot);
        let opened = open(left.path());
        assert_eq!((&opened.content, &opened.report.damage), (&content, &None), "{name}");
        assert_eq!(names(left.path()), AS_BEFORE, "{name}");
        assert_healed(opened, left.path());
    }
}

fn truncate(path: &Path, length: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

/// Each harm to the folder, what is reported, whether all rows are there, and what is in the folder then.
#[test]
fn missing_and_torn_files_have_stated_outcomes() {
    let dir = tempfile::tempdir().unwrap();
    let content = build(dir.path(), false);
    type Harm = fn(&Path);
    #[rustfmt::skip]
    let harms: [(Harm, &str, bool, &[&str]); 11] = [
        (|d| fs::remove_file(d.join("sidecar")).unwrap(),
         "the sidecar is missing: loss of the last batches can't be told", true, &AS_BEFORE),
        (|d| fs::write(d.join("sidecar"), "torn").unwrap(),
         "the sidecar is unreadable: loss of the last batches can't be told", true, &AS_BEFORE),
        (|d| fs::remove_file(d.join("CURRENT")).unwrap(), "CURRENT is missing", true, &AS_BEFORE),
        (|d| fs::write(d.join("CURRENT"), "store-").unwrap(), "CURRENT is unreadable", true, &AS_BEFORE),
        (|d| fs::write(d.join("CURRENT"), "store-000007\n").unwrap(), "store-000007 is missing", true, &AS_BEFORE),
        (|d| fs::remove_dir_all(d.join("store-000001")).unwrap(),
         "the store is gone, only traces of it are left", false, &AS_BEFORE),
        (|d| { fs::remove_dir_all(d.join("store-000001")).unwrap(); fs::remove_file(d.join("CURRENT")).unwrap(); },
         "the store is gone, only traces of it are left", false, &AS_BEFORE),
        (|d| fs::remove_file(d.join("store-000001/db")).unwrap(),
         "store-000001 can't be opened: there is no file `db` in it", false, &AFTER_DAMAGE),
        (|d| { fs::remove_dir_all(d.join("store-000001")).unwrap(); fs::create_dir(d.join("store-000001")).unwrap(); },
         "store-000001 can't be opened: there is no file `db` in it", false, &AFTER_DAMAGE),
        (|d| truncate(&d.join("store-000001/db"), 0),
         "the schema row is missing or damaged; the base row is missing or damaged; 0 rows were found", false,
         &AFTER_DAMAGE),
        // sled's own settings hold no row: they are written anew, and nothing is lost or to be reported.
        (|d| fs::write(d.join("store-000001/conf"), "garbage of some length").unwrap(), "", true, &AS_BEFORE),
    ];
    for (harm, damage, all, folder) in harms {
        let left = image(dir.path());
        harm(left.path());
        let opened = open(left.path());
        let found = opened.report.damage.clone().unwrap_or_default();
        assert!(found.starts_with(damage) && found.is_empty() == damage.is_empty(), "{found}");
        assert_eq!(opened.content, if all { content.clone() } else { Content::new() }, "{damage}");
        assert_eq!(names(left.path()), folder, "{damage}");
        assert!(!opened.report.created);
        assert_healed(opened, left.path());
    }
}

#[test]
fn a_first_start_cut_short_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path()).store.close().unwrap();
    fs::remove_file(dir.path().join("CURRENT")).unwrap();
    fs::remove_file(dir.path().join("sidecar")).unwrap();
    let opened = open(dir.path());
    assert_eq!((opened.report.created, &opened.report.damage), (true, &None));
    assert_healed(opened, dir.path());
}

#[test]
fn an_older_store_in_place_of_the_newest_is_seen() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path()).store;
    store.append(&[instance("a", 1, 1.0)]).unwrap();
    let older = image(dir.path());
    store.append(&[instance("a", 2, 1.0)]).unwrap();
    store.close().unwrap();
    fs::copy(older.path().join("store-000001/db"), dir.path().join("store-000001/db")).unwrap();
    let opened = open(dir.path());
    assert_eq!(opened.content, content_of(&[instance("a", 1, 1.0)]));
    let damage = "it ends at batch 1 with 1 rows, but batch 2 with 2 rows was stored";
    assert_eq!(opened.report.damage.as_deref(), Some(damage));
    assert_eq!(opened.report.moved_aside, Some(dir.path().join("damaged-20260921T141320Z-store-000001")));
    assert_eq!((names(dir.path()), opened.report.sequence), (AFTER_DAMAGE.map(String::from).to_vec(), 3));
    assert_healed(opened, dir.path());
}

/// Without CURRENT and sidecar the newest generation may be a copy that was never completed.
#[test]
fn an_incomplete_generation_is_not_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let content = build(dir.path(), false);
    let incomplete = super::super::fresh::Fresh::begin(
        &super::super::folder::Folder::create(dir.path()).unwrap(),
        CACHE_BYTES,
        std::time::Duration::from_secs(10),
    );
    drop(incomplete.unwrap());
    fs::remove_file(dir.path().join("CURRENT")).unwrap();
    fs::remove_file(dir.path().join("sidecar")).unwrap();
    let opened = open(dir.path());
    assert_eq!(opened.content, content);
    assert_eq!(names(dir.path()), ["CURRENT", "damaged-store-000002", "lock", "sidecar", "store-000001"]);
    assert_healed(opened, dir.path());
}

#[test]
fn a_damaged_store_that_cannot_be_replaced_starts_and_is_kept_by_the_rebuild() {
    let dir = tempfile::tempdir().unwrap();
    let content = build(dir.path(), false);
    let mut record = match sidecar::Sidecar::read(&dir.path().join("sidecar")) {
        sidecar::Found::Record(record) => record,
        other => panic!("{other:?}"),
    };
    record.sequence += 1;
    sidecar::Sidecar::open(&dir.path().join("sidecar"), &record).unwrap();
    fs::write(dir.path().join("refuse-new"), "refused as asked").unwrap();
    for _ in 0..2 {
        let mut opened = open(dir.path());
        assert_eq!(opened.content, content);
        let damage = "it ends at batch 41 with 1999 rows, but batch 42 with 1999 rows was stored";
        assert_eq!(opened.report.damage.as_deref(), Some(damage), "as long as it is not rebuilt");
        assert!(opened.store.failure().is_some_and(|reason| reason.ends_with("refused as asked")));
        assert!(matches!(opened.store.append(&[instance("a", 1, 1.0)]), Err(Error::Storage(_))));
        opened.store.tick(NOW_MS + 1000).unwrap();
        assert!(opened.store.rebuild(&mut content.values().cloned()).is_err());
    }
    fs::remove_file(dir.path().join("refuse-new")).unwrap();
    let mut opened = open_with(Options { open_timeout_ms: 20_000, ..Options::new(dir.path()) }).unwrap();
    opened.store.rebuild(&mut content.values().cloned()).unwrap();
    assert!(names(dir.path()).contains(&"damaged-store-000001".to_owned()));
    assert_healed(opened_of(opened, &content), dir.path());
}

fn opened_of(mut opened: Opened, content: &Content) -> Opened {
    opened.report.sequence += 1;
    opened.content.clone_from(content);
    opened
}

/// What hangs is moved aside, not lost; it goes on hanging in its own thread.
#[test]
fn a_store_that_takes_too_long_is_moved_aside() {
    let dir = tempfile::tempdir().unwrap();
    build(dir.path(), false);
    let limit = "2s";
    for (file, damage) in [
        ("hang-open", format!("store-000001 can't be opened: it does not open within {limit}")),
        (
            "hang-read",
            format!(
                "it could not be read within {limit}; it ends at batch 0 with 0 rows, but batch 41 with 1999 rows was \
                 stored"
            ),
        ),
    ] {
        let left = image(dir.path());
        fs::write(left.path().join("store-000001").join(file), "").unwrap();
        let opened = open_with(Options { open_timeout_ms: 2000, ..Options::new(left.path()) }).unwrap();
        assert_eq!((opened.report.damage.as_ref(), opened.report.rows), (Some(&damage), 0));
        assert_eq!(names(left.path()), AFTER_DAMAGE);
        assert_healed(opened, left.path());
    }
}

/// A start that replaced a damaged store and was killed before it could say so.
#[test]
fn damage_that_an_earlier_start_found_is_reported_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let folder = super::super::folder::Folder::create(dir.path()).unwrap();
    let content = build(dir.path(), false);
    copy_dir(&dir.path().join("store-000001"), &dir.path().join("store-000002"));
    folder.mark_damaged(1, "4 rows do not verify").unwrap();
    folder.set_current(2).unwrap();
    let opened = open(dir.path());
    assert_eq!(opened.content, content);
    let damage = "an earlier start found damage in store-000001: 4 rows do not verify";
    assert_eq!(opened.report.damage.as_deref(), Some(damage));
    assert_eq!(names(dir.path()), AFTER_DAMAGE);
    assert_healed(opened, dir.path());
}

pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

/// What happened to one store.
pub(super) fn harm(db: &Path, random: &mut Random) -> String {
    let mut bytes = fs::read(db).unwrap();
    let length = bytes.len() as u64;
    let at = usize::try_from(random.below(length)).unwrap();
    let what = match random.below(5) {
        0 | 1 => {
            bytes[at] ^= 1 << random.below(8);
            format!("bit flipped at {at}")
        }
        2 => {
            bytes.truncate(at);
            format!("cut to {at}")
        }
        3 => {
            bytes.iter_mut().skip(at / 4096 * 4096).take(4096).for_each(|byte| *byte = 0);
            format!("zeroes from {}", at / 4096 * 4096)
        }
        _ => {
            let bad = random.below(256);
            bytes.iter_mut().skip(at).take(512).enumerate().for_each(|(n, byte)| *byte = (n as u64 * bad) as u8);
            format!("garbage from {at}")
        }
    };
    fs::write(db, bytes).unwrap();
    what
}

/// Random damage to sled's file: every start succeeds, no loss goes unreported, no row is one that never was.
#[test]
fn no_damage_goes_undetected() {
    let rounds = std::env::var("STORE_DAMAGE_ROUNDS").ok().map_or(60, |rounds| rounds.parse().unwrap());
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let content = build(dirs[0].path(), false);
    assert_eq!(build(dirs[1].path(), true), content);
    let mut was = content.clone();
    apply(&mut was, &[instance("s39", 49, 1.0)]);
    let before = instance("s00", 0, 1.0);
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    let (mut whole, mut reported, mut salvaged, mut empty, mut slowest_ms) = (0, 0, 0, 0, 0);
    for round in 0..rounds {
        let dir = image(dirs[round % 2].path());
        let what = harm(&dir.path().join("store-000001/db"), &mut random);
        let opened = open(dir.path());
        slowest_ms = slowest_ms.max(opened.report.time_ms);
        for (key, row) in &opened.content {
            assert!(was.get(key) == Some(row) || *row == before, "{what}: {row:?} never was");
        }
        if opened.content == content {
            whole += 1;
        } else {
            assert!(opened.report.damage.is_some(), "{what}: {} rows are gone unseen", content.len());
            assert!(opened.report.moved_aside.as_ref().is_some_and(|path| path.join("db").exists()), "{what}");
            if opened.content.is_empty() { empty += 1 } else { salvaged += 1 }
        }
        reported += u32::from(opened.report.damage.is_some());
        assert_healed(opened, dir.path());
    }
    println!("{rounds} rounds: {whole} whole, {salvaged} in part, {empty} empty; {reported} reported; {slowest_ms} ms");
}
