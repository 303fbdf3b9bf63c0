//! Rounds of `kill -9` and restart under writers: what was acknowledged is there afterwards on every server, what was
//! refused is nowhere, and all servers show the same.
//!
//! `NACRE_RAFT_ROUNDS=100`: more rounds than in CI. `NACRE_RAFT_SEED`: the same kills again.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::history::{Fate, History};
use super::writer::{Kills, Writer, everything};
use super::{PROPERTIES, leader, leader_of, quantiles};
use crate::client::Client;
use crate::cluster::trio::{Trio, within};
use crate::dice::Dice;
use crate::population::{say, setting};

const ROUNDS: u64 = 4;
const WRITERS: u64 = 4;
const SETTLED: Duration = Duration::from_secs(10);
/// A write waits for a leader at most 5 s.
const FINISH_LIMIT: Duration = Duration::from_secs(15);

#[derive(Default)]
struct Figures {
    done: usize,
    refused: usize,
    unknown: usize,
    settled: Vec<Duration>,
    one: usize,
    leaders: usize,
    all: usize,
}

/// Who is killed in this round.
fn victims(trio: &Trio, dice: &mut Dice, figures: &mut Figures) -> Vec<usize> {
    match dice.within(0, 3) {
        0 => {
            figures.one += 1;
            vec![dice.within(0, 3) as usize]
        }
        1 => {
            figures.leaders += 1;
            let first = leader_of(trio.addresses()[0]);
            let leader = trio.addresses().iter().position(|address| Some(*address) == first);
            vec![leader.unwrap_or_default()]
        }
        _ => {
            figures.all += 1;
            vec![0, 1, 2]
        }
    }
}

/// Kills and starts under writers. What they did.
fn kill(trio: &mut Trio, victims: &[usize], dice: &mut Dice, writers: &mut [Writer<'_>], kills: &Kills) -> History {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for writer in writers.iter_mut() {
            let stop = &stop;
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    writer.write();
                }
                writer.finish(FINISH_LIMIT);
            });
        }
        thread::sleep(Duration::from_millis(dice.within(100, 600)));
        for number in victims {
            kills[*number].fetch_add(1, Ordering::SeqCst);
        }
        trio.kill9(victims);
        thread::sleep(Duration::from_millis(dice.within(0, 1_500)));
        for number in victims {
            trio.servers[*number].spawn();
            thread::sleep(Duration::from_millis(dice.within(0, 200)));
        }
        for number in victims {
            trio.servers[*number].wait_ready().unwrap_or_else(|reason| panic!("{reason}"));
        }
        thread::sleep(Duration::from_millis(dice.within(0, 500)));
        stop.store(true, Ordering::Relaxed);
    });
    let mut history = History::default();
    for writer in writers {
        let (more, faults) = writer.take();
        assert!(faults.is_empty(), "{faults:#?}");
        history.join(more);
    }
    history
}

/// All servers show the same, and it can have come of `history`. How long it took.
fn check(trio: &Trio, history: &mut History) -> Duration {
    let mut seen = Vec::new();
    let took = within(SETTLED, "all show the same", || {
        let all = trio.addresses().map(|address| everything(address, WRITERS));
        let [Some(first), Some(second), Some(third)] = all else { return Err("a server shows nothing".to_owned()) };
        let same = first == second && second == third;
        seen = vec![first, second, third];
        if same { Ok(()) } else { Err(format!("{seen:#?}")) }
    });
    let faults = history.settle(&seen[0]);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    took
}

#[test]
fn what_was_acknowledged_is_there_after_every_kill() {
    let rounds = setting("NACRE_RAFT_ROUNDS").unwrap_or(ROUNDS);
    let seed = setting("NACRE_RAFT_SEED").unwrap_or_else(|| Dice::fresh().next() >> 24);
    say(&format!("raft rounds: NACRE_RAFT_SEED={seed}"));
    let (began, mut dice, mut figures) = (Instant::now(), Dice::seeded(seed), Figures::default());
    let mut trio = Trio::start(PROPERTIES);
    leader(&trio, &[0, 1, 2]);
    let target = "/nacos/v1/ns/operator/switches?entry=healthCheckEnabled&value=false";
    let answer = Client::new(trio.addresses()[0]).send("PUT", target, &[], None).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let kills: Kills = [const { AtomicU64::new(0) }; 3];
    let new = |id| Writer::new(id, trio.addresses(), seed, &kills);
    let mut writers: Vec<Writer<'_>> = (0..WRITERS).map(new).collect();
    let mut history = History::default();
    for round in 0..rounds {
        let victims = victims(&trio, &mut dice, &mut figures);
        let more = kill(&mut trio, &victims, &mut dice, &mut writers, &kills);
        let counts = [Fate::Done, Fate::Refused, Fate::Unknown].map(|fate| more.count(fate));
        history.join(more);
        let took = check(&trio, &mut history);
        figures.settled.push(took);
        figures.done += counts[0];
        figures.refused += counts[1];
        figures.unknown += counts[2];
        println!("round {round}: killed {victims:?}; {counts:?} done, refused, unknown; the same after {took:?}");
    }
    let Figures { done, refused, unknown, settled, one, leaders, all } = figures;
    let (middle, worst) = quantiles(settled);
    say(&format!(
        "raft rounds: {rounds} in {:?} (one killed {one} times, the leader {leaders}, all {all}): {done} writes \
         acknowledged, {refused} refused, {unknown} unknown; nothing lost, nothing undone; the same everywhere after \
         {middle:?} (p50), {worst:?} (p99)",
        began.elapsed()
    ));
    assert!(done > 20 * rounds as usize, "{done} writes were acknowledged in {rounds} rounds");
}
