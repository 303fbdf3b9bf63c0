//! `kill -9` and restart of one server, of two, of all three, while clients beat, register and deregister.

use std::thread;
use std::time::{Duration, Instant};

use super::churn;
use super::clients::{self, population};
use super::trio::Trio;
use super::watch::{self, Ledger};
use crate::dice::Dice;
use crate::population::{say, setting};

/// How long servers are away: longer than it takes the others to see it.
const AWAY: Duration = Duration::from_millis(2_500);
/// What is compared at last may still be on its way.
const CONVERGED: Duration = Duration::from_secs(10);
const CHURNERS: u64 = 3;
const CHURN_PAUSE: Duration = Duration::from_millis(15);

/// Kills and starts each of these groups in turn, and checks what everybody saw.
fn drill(title: &str, groups: &[(&[usize], Duration)]) {
    let seed = setting("NACRE_KILL_SEED").unwrap_or_else(|| Dice::fresh().next() >> 24);
    let began = Instant::now();
    let mut trio = Trio::start("");
    let instances = population(2, 6);
    let wanted = watch::wanted(&instances);
    let mut clients = clients::start(trio.addresses(), &instances);
    watch::wait_complete(&trio.addresses(), &wanted, CONVERGED);
    let watching = watch::start(&trio.addresses(), &wanted);
    let churn = churn::start(&trio.addresses(), CHURNERS, CHURN_PAUSE, seed);
    // Copies of instances that beat every second would be too old now if their age counted at a take-over.
    thread::sleep(Duration::from_secs(9));
    let mut back = Vec::new();
    for (group, away) in groups {
        trio.kill9(group);
        thread::sleep(*away);
        back.push(trio.start_again(group));
        thread::sleep(Duration::from_millis(1_500));
    }
    let churners = churn.stop();
    let (writes, acknowledged, took) = churn::compare(&churners, &trio.addresses(), CONVERGED);
    let ledgers = watching.stop();
    clients.stop();
    say(&format!(
        "cluster kill test, {title}: NACRE_KILL_SEED={seed}, {:?}; all up again after {back:?}; {}; {writes} other writes, \
         {acknowledged} acknowledged, equal everywhere after {took:?}",
        began.elapsed(),
        clients.counts.text()
    ));
    conclude(&ledgers, groups);
    let notes = clients.counts.notes.lock().expect("nobody panicked");
    notes.iter().for_each(|note| println!("  {note}"));
    assert_eq!(clients.counts.again(), 0, "clients had to register again: {notes:#?}");
    assert!(acknowledged > writes / 2, "{acknowledged} of {writes} writes were acknowledged");
}

fn conclude(ledgers: &[Ledger], groups: &[(&[usize], Duration)]) {
    for (number, ledger) in ledgers.iter().enumerate() {
        say(&format!("  server {number}: {} lists, {} missing", ledger.answers, ledger.missing));
        let killed = groups.iter().filter(|(group, _)| group.contains(&number)).count() as u64;
        assert!(
            ledger.returns >= killed,
            "server {number} was killed {killed} times and came back {} times",
            ledger.returns
        );
        assert!(ledger.is_clean(), "server {number}: {ledger:#?}");
    }
}

#[test]
fn nobody_is_missing_anywhere_when_one_or_two_of_three_are_killed() {
    drill("one, then two", &[(&[1], AWAY), (&[0, 2], AWAY)]);
}

#[test]
fn nobody_is_missing_anywhere_when_all_three_are_killed() {
    // Twice, for long and for as short as it takes.
    drill("all three", &[(&[0, 1, 2], AWAY), (&[0, 1, 2], Duration::ZERO)]);
}
