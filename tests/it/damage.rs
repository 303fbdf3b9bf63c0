//! A store damaged in every way: the server starts, says so, and never serves what was not registered.
//!
//! `NACRE_DAMAGE_ROUNDS` sets the number of damages (20), `NACRE_DAMAGE_SEED` repeats the choices of an earlier run.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::dice::Dice;
use crate::population::{self, Place, Population, Shape, deregister, list_target, listed, place, register, say, shape};
use crate::server::Server;

const ROUNDS: u64 = 20;
const PEOPLE: Population = Population { services: 50, size: 100 };
/// Instances that change after the first start, so that the store has something written after its snapshot.
const CHANGES: u64 = 400;
const READY_WITHIN: Duration = Duration::from_secs(5);

/// A data folder and what a server on it has to list, by service.
struct Base {
    name: &'static str,
    folder: TempDir,
    wanted: Vec<BTreeMap<Place, Shape>>,
}

/// What a round came to.
#[derive(Debug, Default)]
struct Tally {
    untouched: u64,
    reported: u64,
    missing_instances: usize,
    stale_instances: usize,
    slowest: Duration,
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder to copy") {
        let (from, to) = {
            let entry = entry.expect("an entry");
            (entry.path(), to.join(entry.file_name()))
        };
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).expect("a copy");
        }
    }
}

/// Takes a copy of the data of a server that does not run.
fn keep(name: &'static str, server: &Server, wanted: &[BTreeMap<Place, Shape>]) -> Base {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy(&server.home().join("data"), folder.path());
    Base { name, folder, wanted: wanted.to_vec() }
}

/// Removes, adds again and changes some instances.
fn change(server: &Server, wanted: &mut [BTreeMap<Place, Shape>], round: u64, dice: &mut Dice) {
    let mut client = server.client();
    for _ in 0..CHANGES {
        let (number, slot) = (dice.within(0, PEOPLE.services), dice.within(0, PEOPLE.size));
        let list = &mut wanted[usize::try_from(number).expect("a small number")];
        let answer = if dice.within(0, 3) == 0 {
            list.remove(&place(number, slot));
            deregister(&mut client, number, slot)
        } else {
            list.insert(place(number, slot), shape(number, slot, round));
            register(&mut client, number, slot, round)
        };
        assert_eq!(answer.expect("an answer").text(), "ok");
    }
}

/// Stores as they are after a kill and after a stop, with and without sled's snapshot (which it writes when it opens).
fn bases(dice: &mut Dice) -> Vec<Base> {
    let mut wanted: Vec<_> = (0..PEOPLE.services).map(|number| PEOPLE.wanted(number)).collect();
    let mut server = Server::start(&[]);
    PEOPLE.register(&server);
    server.kill9();
    let mut bases = vec![keep("killed at its first run", &server, &wanted)];
    server.restart();
    assert!(server.term().success(), "{}", server.log());
    bases.push(keep("stopped", &server, &wanted));
    server.restart();
    change(&server, &mut wanted, 1, dice);
    assert!(server.term().success(), "{}", server.log());
    bases.push(keep("changed and stopped", &server, &wanted));
    server.restart();
    change(&server, &mut wanted, 2, dice);
    server.kill9();
    bases.push(keep("changed and killed", &server, &wanted));
    bases
}

/// The files of the store that may be damaged: mostly sled's log.
fn target(data: &Path, dice: &mut Dice) -> PathBuf {
    let stores = fs::read_dir(data).expect("a data folder").filter_map(|entry| Some(entry.ok()?.path()));
    let store = stores.filter(|path| path.join("db").exists()).max().expect("a store");
    if dice.within(0, 100) < 80 {
        return store.join("db");
    }
    let mut files: Vec<PathBuf> = [&store, &data.to_owned()]
        .iter()
        .flat_map(|folder| fs::read_dir(folder).expect("a folder"))
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file() && !path.ends_with("db") && !path.ends_with("lock"))
        .collect();
    files.sort();
    let chosen = dice.within(0, files.len() as u64);
    files.swap_remove(usize::try_from(chosen).expect("a small number"))
}

/// Damages one file and says how.
fn damage(data: &Path, dice: &mut Dice) -> String {
    let path = target(data, dice);
    let name = path.strip_prefix(data).expect("below the data folder").display().to_string();
    let file = File::options().read(true).write(true).open(&path).expect("a file to damage");
    let length = file.metadata().expect("a length").len();
    if length == 0 {
        fs::remove_file(&path).expect("a file to remove");
        return format!("{name}: removed");
    }
    let at = dice.within(0, length);
    match dice.within(0, 5) {
        0 | 1 => {
            let bit = dice.within(0, 8);
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).expect("a byte");
            file.write_all_at(&[byte[0] ^ (1 << bit)], at).expect("a byte written");
            format!("{name}: bit {bit} of byte {at} of {length} flipped")
        }
        2 => {
            file.set_len(at).expect("a shorter file");
            format!("{name}: cut from {length} to {at} bytes")
        }
        3 => {
            let from = at / 4_096 * 4_096;
            let bytes = usize::try_from((length - from).min(4_096)).expect("a small number");
            file.write_all_at(&vec![0; bytes], from).expect("zeros written");
            format!("{name}: {bytes} bytes from {from} of {length} zeroed")
        }
        _ => {
            let bytes = usize::try_from((length - at).min(dice.within(1, 4_096))).expect("a small number");
            let noise: Vec<u8> = (0..bytes).map(|_| dice.next() as u8).collect();
            file.write_all_at(&noise, at).expect("noise written");
            format!("{name}: {bytes} bytes of noise at {at} of {length}")
        }
    }
}

/// Missing instances, and those that are listed as they once were. What never was is a failure.
fn compare(server: &Server, base: &Base) -> (usize, usize) {
    let mut client = server.client();
    let (mut missing, mut stale) = (0, 0);
    for (number, wanted) in (0..).zip(&base.wanted) {
        let listed = listed(&client.get(&list_target(number)).expect("an answer"));
        missing += wanted.keys().filter(|place| !listed.contains_key(*place)).count();
        let slots: BTreeMap<Place, u64> = (0..PEOPLE.size).map(|slot| (place(number, slot), slot)).collect();
        for (place, found) in &listed {
            if wanted.get(place) == Some(found) {
                continue;
            }
            let slot = *slots.get(place).unwrap_or_else(|| panic!("{place:?} was never registered: {found:?}"));
            let once = (0..3).any(|round| shape(number, slot, round) == *found);
            assert!(once, "{place:?} never looked like {found:?}");
            stale += 1;
        }
    }
    (missing, stale)
}

/// One damage on a copy of `base`.
fn round(title: &str, base: &Base, dice: &mut Dice, tally: &mut Tally) {
    let mut how = String::new();
    let mut server = Server::stopped(&[], |home| {
        let data = home.join("data");
        copy(base.folder.path(), &data);
        how = damage(&data, dice);
    });
    let title = format!("{title}, {}, {how}", base.name);
    let started = Instant::now();
    server.spawn();
    server.wait_ready().unwrap_or_else(|reason| panic!("{title}: {reason}"));
    let took = started.elapsed();
    assert!(took < READY_WITHIN, "{title}: ready only after {took:?}");
    tally.slowest = tally.slowest.max(took);
    let report = server.restore_report();
    let (missing, stale) = compare(&server, base);
    assert!(server.ended().is_none() && !server.log().contains("' panicked at"), "{title}: {}", server.log());
    if report["damage"].is_null() {
        assert_eq!((missing, stale), (0, 0), "{title}: {missing} lost and {stale} stale without a word: {report}");
        assert_eq!(report["skipped_rows"], 0, "{title}: {report}");
        tally.untouched += 1;
        return;
    }
    tally.reported += 1;
    tally.missing_instances += missing;
    tally.stale_instances += stale;
    assert!(server.whole_log().contains("the store was damaged"), "{title}: the log does not say so");
    if missing + stale > 0 {
        let kept = report["moved_aside"].as_str().unwrap_or_else(|| panic!("{title}: nothing was kept: {report}"));
        assert!(Path::new(kept).join("db").exists(), "{title}: {kept} is not there");
    }
    // What was saved stays, and the damage is told of once.
    let mut client = server.client();
    assert_eq!(register(&mut client, 0, 0, 0).expect("an answer").text(), "ok", "{title}: no writes");
    let before = compare(&server, base);
    server.kill9();
    server.restart();
    let report = server.restore_report();
    assert!(report["damage"].is_null(), "{title}: damaged again: {report}");
    assert_eq!(compare(&server, base), before, "{title}: not the same after another start");
}

#[test]
fn a_damaged_store_is_reported_and_never_served_as_whole() {
    let rounds = population::setting("NACRE_DAMAGE_ROUNDS").unwrap_or(ROUNDS);
    let seed = population::setting("NACRE_DAMAGE_SEED").unwrap_or_else(|| Dice::fresh().next() >> 24);
    let mut dice = Dice::seeded(seed);
    let bases = bases(&mut dice);
    let mut tally = Tally::default();
    for number in 1..=rounds {
        let base = &bases[usize::try_from(number).expect("a small number") % bases.len()];
        round(&format!("round {number} with NACRE_DAMAGE_SEED={seed}"), base, &mut dice, &mut tally);
    }
    say(&format!(
        "damage test: {rounds} damages (NACRE_DAMAGE_SEED={seed}): {} without effect, {} reported ({} instances missing, {} stale in them), \
         0 undetected, 0 wrong; slowest start {} ms",
        tally.untouched,
        tally.reported,
        tally.missing_instances,
        tally.stale_instances,
        tally.slowest.as_millis()
    ));
}

/// A file next to the log of a store with a snapshot, in bad state `change`.
fn spoil(data: &Path, name: &str, change: u64, dice: &mut Dice) {
    let store = data.join(fs::read_to_string(data.join("CURRENT")).expect("a name").trim());
    let snapshots = fs::read_dir(&store).expect("a store").filter_map(|entry| Some(entry.ok()?.path()));
    let snapshot = snapshots.filter(|path| path.to_string_lossy().contains("snap.")).max().expect("a snapshot");
    let path = match name {
        "snap" => snapshot,
        "generating" => store.join("snap.0000000000ABCDEF.generating"),
        "conf" => store.join(name),
        _ => data.join(name),
    };
    let before = fs::read(&path).unwrap_or_else(|_| vec![1; 1_000]);
    match change {
        REMOVED => fs::remove_file(&path),
        EMPTY => fs::write(&path, b""),
        CUT => fs::write(&path, &before[..before.len() / 2]),
        _ => fs::write(&path, before.iter().map(|_| dice.next() as u8).collect::<Vec<_>>()),
    }
    .expect("a spoilt file");
}

const REMOVED: u64 = 0;
const EMPTY: u64 = 1;
const CUT: u64 = 2;
const NOISE: u64 = 3;

/// Files that hold no rows: everything is there afterwards.
#[test]
fn what_only_saves_time_or_can_be_written_anew_costs_nothing() {
    let mut dice = Dice::seeded(1);
    let wanted: Vec<_> = (0..PEOPLE.services).map(|number| PEOPLE.wanted(number)).collect();
    let mut server = Server::start(&[]);
    PEOPLE.register(&server);
    server.kill9();
    server.restart();
    server.kill9();
    let base = keep("killed with a snapshot", &server, &wanted);
    for (name, changes, told) in [
        ("conf", &[REMOVED, EMPTY, CUT, NOISE][..], false),
        ("snap", &[REMOVED, EMPTY, CUT, NOISE], false),
        ("generating", &[NOISE], false),
        // Without these a loss could go unseen, or an old store be taken for the present one.
        ("CURRENT", &[REMOVED, NOISE], true),
        ("sidecar", &[REMOVED, NOISE], true),
    ] {
        for change in changes {
            let mut server = Server::stopped(&[], |home| {
                copy(base.folder.path(), &home.join("data"));
                spoil(&home.join("data"), name, *change, &mut dice);
            });
            server.spawn();
            server.wait_ready().unwrap_or_else(|reason| panic!("{name}, change {change}: {reason}"));
            let report = server.restore_report();
            assert_eq!(compare(&server, &base), (0, 0), "{name}, change {change}: {report}");
            assert_eq!(!report["damage"].is_null(), told, "{name}, change {change}: {report}");
            assert!(report["moved_aside"].is_null(), "{name}, change {change}: {report}");
        }
    }
}
