//! A cluster of simulated servers: real registries, members, cores and expiry, on a network and with clocks that are
//! driven from one seed. Faults by seed, then healing, then the rules of `simulation/check.rs` must hold.
//!
//! A failure names its seed. `SIM_SEED=n cargo test --test simulation` runs that one and tells what happened;
//! `SIM_SEEDS=count` sets how many of each kind are run (in a release build 1,000 take well under two minutes).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "all of it is test code; clippy.toml only knows functions marked as tests"
)]

#[path = "simulation/check.rs"]
mod check;
#[path = "simulation/client.rs"]
mod client;
#[path = "simulation/faults.rs"]
mod faults;
#[path = "simulation/network.rs"]
mod network;
#[path = "simulation/node.rs"]
mod node;
#[path = "simulation/regressions.rs"]
mod regressions;
#[path = "simulation/requests.rs"]
mod requests;
#[path = "simulation/sabotage.rs"]
mod sabotage;
#[path = "simulation/world.rs"]
mod world;

use faults::Kind;
use sabotage::Sabotage;

/// Seeds in all unless `SIM_SEEDS` says otherwise.
const SEEDS: u64 = 100;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Runs one seed; what is wrong with it, if anything.
fn run(seed: u64, kind: Kind, sabotage: Sabotage, tells: bool) -> Result<check::Figures, String> {
    play(faults::Story::of(seed, kind), seed, sabotage, tells)
}

fn play(story: faults::Story, seed: u64, sabotage: Sabotage, tells: bool) -> Result<check::Figures, String> {
    let kind = story.kind;
    let mut world = world::World::new(seed, &story, sabotage);
    let result = check::play(&mut world, &story);
    if tells || (result.is_err() && sabotage == Sabotage::None) {
        println!("seed {seed}, {kind:?}: {} nodes, faults {:#?}", story.nodes, story.faults);
        if tells {
            println!("{}", world.trace.join("\n"));
        }
    }
    result.map_err(|fault| {
        format!("seed {seed} ({kind:?}): {fault}\nreplay: SIM_SEED={seed} cargo test --test simulation -- --nocapture")
    })
}

#[test]
fn nothing_alive_is_lost_and_nothing_dead_stays() {
    let (first, count) = match number("SIM_SEED") {
        Some(seed) => (seed, 1),
        None => (0, number("SIM_SEEDS").unwrap_or(SEEDS)),
    };
    let only_one = count == 1;
    let mut faults = Vec::new();
    let mut totals: std::collections::BTreeMap<String, check::Figures> = std::collections::BTreeMap::new();
    for seed in first..first + count {
        let kind = Kind::of(seed);
        match run(seed, kind, Sabotage::None, only_one) {
            Ok(figures) => {
                if number("SIM_TELL") == Some(1) && figures.registered_again > 0 {
                    println!("again {seed} {kind:?} {figures:?}");
                }
                totals.entry(format!("{kind:?}")).or_default().add(&figures)
            }
            Err(fault) => faults.push(fault),
        }
    }
    for (kind, figures) in &totals {
        println!("{kind:<16} {figures:?}");
    }
    let shown = faults.iter().take(10).cloned().collect::<Vec<_>>().join("\n\n");
    assert!(faults.is_empty(), "{} of {count} seeds failed\n{shown}", faults.len());
}

/// The rules are worth their name: whichever is broken, the simulation notices.
#[test]
fn every_broken_rule_is_noticed() {
    /// So many seeds a broken rule has to survive.
    const ENOUGH: u64 = 160;
    let mut unnoticed = Vec::new();
    for (sabotage, kind) in sabotage::ALL {
        let noticed = (0..ENOUGH).find_map(|seed| Some((seed, run(seed, kind, sabotage, false).err()?)));
        match noticed {
            Some((seed, fault)) => println!("{sabotage:?}: seed {seed}: {}", fault.lines().next().unwrap_or_default()),
            None => unnoticed.push(sabotage),
        }
    }
    assert!(unnoticed.is_empty(), "nobody noticed {unnoticed:?}");
}
