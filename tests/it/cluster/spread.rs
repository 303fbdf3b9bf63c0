//! How soon all three servers show a change that one of them took.

use std::thread;
use std::time::{Duration, Instant};

use super::trio::{Trio, owned_by};
use super::watch::list;
use crate::client::{Client, form};
use crate::population::say;

const CHANGES: usize = 200;
/// Of 100 changes 99 are visible within this; on a machine of its own within 300 ms.
const LIMIT: Duration = Duration::from_millis(1_000);
/// Of any.
const LOST: Duration = Duration::from_secs(15);

#[test]
fn a_change_is_visible_on_all_servers_soon() {
    let trio = Trio::start("");
    let addresses = trio.addresses();
    let services: Vec<String> = (0..3).map(|place| owned_by(place, 3, &format!("spread-{place}"))).collect();
    let mut writers = addresses.map(Client::new);
    let mut times = Vec::new();
    for change in 0..CHANGES {
        // Every writer with every owner, in turn; each address is registered and later deregistered.
        let (writer, service) = (change % 3, &services[change / 3 % 3]);
        let (round, registers) = (change / 18, change / 9 % 2 == 0);
        let ip = format!("10.1.{round}.{}", change % 9 + 1);
        let query = form(&[("serviceName", service.as_str()), ("ip", &ip), ("port", "80")]);
        let method = if registers { "POST" } else { "DELETE" };
        let sent = Instant::now();
        let answer = writers[writer].send(method, &format!("/nacos/v1/ns/instance?{query}"), &[], None);
        assert_eq!(answer.expect("an answer").text(), "ok");
        let place = (ip, 80);
        thread::scope(|scope| {
            let looks = addresses.map(|address| {
                let place = &place;
                scope.spawn(move || {
                    let mut client = Client::new(address);
                    loop {
                        let seen = list(&mut client, service).expect("an answer").expect("a list");
                        if seen.contains_key(place) == registers {
                            return sent.elapsed();
                        }
                        assert!(sent.elapsed() < LOST, "change {change} ({method}) is not at {address}");
                        thread::sleep(Duration::from_millis(2));
                    }
                })
            });
            times.push(looks.into_iter().map(|look| look.join().expect("it becomes visible")).max().expect("three"));
        });
    }
    times.sort_unstable();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let [p50, p90, p99, last] = [0.5, 0.9, 0.99, 1.0].map(at);
    say(&format!(
        "cluster spread test: {CHANGES} changes visible on all three: p50 {p50:?}, p90 {p90:?}, p99 {p99:?}, last {last:?}"
    ));
    assert!(p99 < LIMIT, "p99 {p99:?}");
}
