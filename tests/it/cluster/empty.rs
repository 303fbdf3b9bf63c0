//! A server that has lost its store: it serves nobody until it has what the others have, and then it has all.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use super::clients::{self, population};
use super::trio::{Trio, serves, within};
use super::watch;
use crate::client::Client;
use crate::population::say;

/// `spec/distro.md` 11, as recorded.
const REFUSAL: &str = "server is DOWNnow, detailed error message: Optional[Distro protocol is not initialized]";
/// Until a server that starts answers at all.
const UP_LIMIT: Duration = Duration::from_secs(20);
/// How long it is asked then while there is nothing to load from.
const WATCHED: Duration = Duration::from_millis(2_500);
const LIST: &str = "/nacos/v1/ns/instance/list?serviceName=";

#[test]
fn without_a_store_clients_are_refused_until_everything_was_loaded() {
    let mut trio = Trio::start("");
    let instances = population(4, 5);
    let wanted = watch::wanted(&instances);
    let mut clients = clients::start(trio.addresses(), &instances);
    watch::wait_complete(&trio.addresses(), &wanted, Duration::from_secs(10));
    trio.kill9(&[1]);
    fs::remove_dir_all(trio.servers[1].home().join("data")).expect("the data folder");
    // The others hang: there is nothing to load from, and nobody can say that there is nothing.
    for peer in [0, 2] {
        trio.servers[peer].signal("STOP");
    }
    let address = trio.addresses()[1];
    let target = format!("{LIST}{}", instances[0].service);
    let mut refusals = 0;
    trio.servers[1].spawn();
    let began = Instant::now();
    let mut refused_since = None;
    while refused_since.unwrap_or(began).elapsed() < refused_since.map_or(UP_LIMIT, |_| WATCHED) {
        if let Ok(answer) = Client::new(address).get(&target) {
            assert_eq!((answer.status, answer.text().as_str()), (503, REFUSAL), "after {:?}", began.elapsed());
            assert_eq!(answer.header("Content-Type"), None);
            refusals += 1;
            refused_since.get_or_insert_with(Instant::now);
        }
        thread::sleep(Duration::from_millis(20));
    }
    assert!(refusals > 20, "{refusals} answers while there was nothing to load\n{}", trio.servers[1].log());
    let watching = watch::start(&[address], &wanted);
    for peer in [0, 2] {
        trio.servers[peer].signal("CONT");
    }
    let resumed = Instant::now();
    within(Duration::from_secs(10), "clients are served", || serves(address).then_some(()).ok_or_else(String::new));
    let took = resumed.elapsed();
    trio.wait_up();
    watch::wait_complete(&trio.addresses(), &wanted, Duration::from_secs(10));
    let ledgers = watching.stop();
    clients.stop();
    say(&format!(
        "cluster test without a store: serves {took:?} after there was a peer to load from; {refusals} refusals before"
    ));
    let ledger = &ledgers[0];
    assert_eq!((ledger.missing, ledger.unknown), (0, 0), "the first list is complete: {ledger:#?}");
    assert!(ledger.answers > ledger.refused, "{ledger:#?}");
    assert_eq!(clients.counts.again(), 0, "{:#?}", clients.counts.notes);
}
