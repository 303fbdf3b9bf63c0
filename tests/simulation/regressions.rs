//! What users of Nacos lost instances by, told again (`spec/reliability.md` 5). In each story nothing that had settled may
//! ever be missing from a list, nobody has to register again, and in the end all nodes hold the same.

use crate::faults::{Fault, Kind, Story};
use crate::sabotage::Sabotage;

/// Each story is played with so many orders of events.
const SEEDS: u64 = 8;

fn tell(kind: Kind, nodes: usize, faults: impl Fn(u64) -> Vec<(u64, Fault)>) {
    for seed in 0..SEEDS {
        let story = Story::told(kind, nodes, faults(seed));
        let figures = crate::play(story, seed, Sabotage::None, false).unwrap();
        assert_eq!(figures.longest_missing_ms, 0, "seed {seed}");
        // Just after a split a beat may be earlier at the owner than the instance that is new to it.
        assert!(figures.registered_again == 0 || kind == Kind::Partition, "seed {seed}: {figures:?}");
    }
}

/// While a member joins or leaves, two servers think that they own a service, and each drops what only the other has.
#[test]
fn nacos_10323_two_owners_of_a_service_drop_nothing() {
    tell(Kind::JoinAndLeave, 3, |seed| {
        vec![
            (0, Fault::Join(3)),
            (100, Fault::Client(0)),
            (1_000 + seed * 500, Fault::Client(3)),
            (5_000, Fault::Join(4)),
            (5_200, Fault::Client(4)),
            (9_000 + seed * 700, Fault::Close(1)),
            (10_000 + seed * 700, Fault::Leave(1)),
            (17_000 + seed * 300, Fault::Join(1)),
        ]
    });
}

/// After a split the servers differ for good.
#[test]
fn nacos_7734_both_sides_of_a_split_agree_again() {
    let (here, there) = ([0], [1, 2]);
    let split = move |at: u64| {
        let pairs = here.into_iter().flat_map(move |a| there.into_iter().flat_map(move |b| [(a, b), (b, a)]));
        pairs.map(move |(a, b)| (at, Fault::Block(a, b))).collect::<Vec<_>>()
    };
    tell(Kind::Partition, 3, |seed| {
        let mut faults = split(0);
        // What is new on either side is to be on both, and nobody is silent for long enough to be taken out.
        faults.extend([(9_000, Fault::Client(0)), (10_000, Fault::Client(1)), (10_500, Fault::Client(2))]);
        faults.push((11_000 + seed * 1_500, Fault::Calm));
        faults
    });
}

/// Nobody tells copies that their clients beat, and whoever takes over finds all of them silent.
#[test]
fn nacos_7697_who_takes_over_takes_nobody_for_silent() {
    tell(Kind::CrashOne, 3, |seed| {
        let node = seed as usize % 3;
        vec![(20_000, Fault::Crash(node)), (55_000 + seed * 1_000, Fault::Start(node))]
    });
}

/// Of servers that start one soon after the other, one loads from another that has nothing itself yet, and checksums are
/// sent before the data are there.
#[test]
fn nacos_8436_a_starting_server_is_nobodys_source() {
    tell(Kind::StoreLost, 3, |seed| {
        let (one, other) = (seed as usize % 3, (seed as usize + 1) % 3);
        vec![
            (0, Fault::Crash(one)),
            (0, Fault::LoseStore(one)),
            (50 * seed, Fault::Crash(other)),
            (50 * seed, Fault::LoseStore(other)),
            (1_000, Fault::Start(one)),
            (1_000 + 30 * seed, Fault::Start(other)),
        ]
    });
}

/// What a server has just accepted is not in the snapshot that it asked for before.
#[test]
fn nacos_15857_a_snapshot_deletes_nothing_that_was_just_accepted() {
    tell(Kind::CrashOne, 3, |seed| {
        let node = seed as usize % 3;
        vec![
            (0, Fault::Crash(node)),
            (6_000, Fault::Slow(600)),
            (6_001, Fault::Start(node)),
            (6_050 + 40 * seed, Fault::Client(node)),
            (6_300 + 90 * seed, Fault::Client(node)),
            (6_800 + 90 * seed, Fault::Client(node)),
        ]
    });
}
