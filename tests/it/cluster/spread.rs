//! How soon all three servers show a change that one of them took.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use super::trio::{Trio, owned_by};
use super::watch::list;
use crate::client::{Client, form};
use crate::population::say;

const WRITERS: usize = 4;
/// Of each writer.
const CHANGES: usize = 50;
/// Of 100 changes 90 are visible within this; on a machine of its own 99 within 300 ms.
const MOST: Duration = Duration::from_millis(500);
/// Of 100 changes 99. One moment in which the machine stands still delays a change of every writer: 2 of 100.
const NEARLY_ALL: Duration = Duration::from_secs(3);
/// Of any.
const LOST: Duration = Duration::from_secs(15);

#[test]
fn a_change_is_visible_on_all_servers_soon() {
    let trio = Trio::start("");
    let addresses = trio.addresses();
    let times = thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write(writer, addresses))).collect();
        let times = writers.into_iter().flat_map(|writer| writer.join().expect("every change becomes visible"));
        let mut times: Vec<Duration> = times.collect();
        times.sort_unstable();
        times
    });
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let [p50, p90, p99, last] = [0.5, 0.9, 0.99, 1.0].map(at);
    let count = times.len();
    say(&format!(
        "cluster spread test: {count} changes visible on all three: p50 {p50:?}, p90 {p90:?}, p99 {p99:?}, last {last:?}"
    ));
    assert!(p90 < MOST && p99 < NEARLY_ALL, "p90 {p90:?}, p99 {p99:?}");
}

/// Registers and deregisters, through every server and for services of every owner in turn; how long each took.
fn write(writer: usize, servers: [SocketAddr; 3]) -> Vec<Duration> {
    let mut clients = servers.map(Client::new);
    let mut times = Vec::new();
    for change in 0..CHANGES {
        let service = owned_by(change / 3 % 3, 3, &format!("spread-{writer}-{}", change / 3 % 3));
        let (round, registers) = (change / 18, change / 9 % 2 == 0);
        let ip = format!("10.{writer}.{round}.{}", change % 9 + 1);
        let query = form(&[("serviceName", service.as_str()), ("ip", &ip), ("port", "80")]);
        let method = if registers { "POST" } else { "DELETE" };
        let sent = Instant::now();
        let answer = clients[change % 3].send(method, &format!("/nacos/v1/ns/instance?{query}"), &[], None);
        assert_eq!(answer.expect("an answer").text(), "ok");
        let place = (ip, 80);
        for client in &mut clients {
            while list(client, &service).expect("an answer").expect("a list").contains_key(&place) != registers {
                assert!(sent.elapsed() < LOST, "change {change} of {writer} ({method}) is not everywhere");
                thread::sleep(Duration::from_millis(2));
            }
        }
        times.push(sent.elapsed());
    }
    times
}
