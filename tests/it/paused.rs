//! A process that was stopped for longer than instances may be silent: nobody who lives pays for it.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, form};
use crate::population::{is_beat_ok, listed, say};
use crate::server::Server;

const METADATA: &str = r#"{"preserved.heart.beat.timeout":"1000","preserved.ip.delete.timeout":"2000"}"#;
const LIST: &str = "/nacos/v1/ns/instance/list?serviceName=paused";
const LIVING: u64 = 4;
/// Port of the one that dies.
const DEAD: u64 = LIVING;
const BEAT_EVERY: Duration = Duration::from_millis(300);
/// A client that was itself kept waiting for longer proves nothing.
const LONGEST_GAP: Duration = Duration::from_millis(700);
const PAUSE: Duration = Duration::from_millis(3_000);
/// The dead one is gone then: its limit, the second of grace, and what the machine may delay.
const WATCH: Duration = Duration::from_millis(4_000);
const ATTEMPTS: usize = 4;

fn parameters(port: u64) -> Vec<(&'static str, String)> {
    vec![("serviceName", "paused".to_owned()), ("ip", "10.0.0.1".to_owned()), ("port", port.to_string())]
}

fn register(client: &mut Client, port: u64) {
    let mut pairs = parameters(port);
    pairs.push(("metadata", METADATA.to_owned()));
    let answer = client.send("POST", &format!("/nacos/v1/ns/instance?{}", form(&pairs)), &[], None);
    assert_eq!(answer.expect("an answer").text(), "ok");
}

fn beat(client: &mut Client, port: u64) {
    let target = format!("/nacos/v1/ns/instance/beat?{}", form(&parameters(port)));
    let answer = client.send("PUT", &target, &[], None).expect("an answer");
    assert!(is_beat_ok(&answer), "a beat of {port}: {}", answer.text());
}

/// Health by port.
fn health(client: &mut Client) -> BTreeMap<u64, bool> {
    let answer = client.get(LIST).expect("an answer");
    listed(&answer).into_iter().map(|((_, port), shape)| (port, shape.healthy)).collect()
}

/// Beats for the living for a while and looks at the list in between. Returns when the dead one was missed first;
/// `Err` when this machine was too busy to beat in time.
fn live(client: &mut Client, since: Instant, time: Duration, dead_too: bool) -> Result<Option<Duration>, Duration> {
    let (mut last, mut missed) = (Instant::now(), None);
    (0..LIVING).for_each(|port| beat(client, port));
    while since.elapsed() < time {
        let seen = health(client);
        let gap = last.elapsed();
        if gap > LONGEST_GAP {
            return Err(gap);
        }
        for port in 0..LIVING {
            let healthy = seen.get(&port);
            assert_eq!(healthy, Some(&true), "{port}, which beats, after {:?}: {seen:?}", since.elapsed());
        }
        if !seen.contains_key(&DEAD) {
            missed.get_or_insert(since.elapsed());
        }
        if last.elapsed() >= BEAT_EVERY {
            last = Instant::now();
            (0..LIVING + u64::from(dead_too)).for_each(|port| beat(client, port));
        }
        thread::sleep(Duration::from_millis(30));
    }
    Ok(missed)
}

/// When the dead one was missed after the pause.
fn scenario() -> Result<Option<Duration>, Duration> {
    let mut server = Server::start(&[]);
    let mut client = server.client();
    (0..=DEAD).for_each(|port| register(&mut client, port));
    let missed = live(&mut client, Instant::now(), Duration::from_millis(1_000), true)?;
    assert_eq!(missed, None, "it still beat");
    server.signal("STOP");
    thread::sleep(PAUSE);
    let resumed = Instant::now();
    server.signal("CONT");
    let seen = health(&mut client);
    assert_eq!(seen.len() as u64, LIVING + 1, "right after the pause: {seen:?}");
    let missed = live(&mut client, resumed, WATCH, false)?;
    assert!(server.ended().is_none(), "{}", server.log());
    assert!(server.log().contains("the process was paused"), "{}", server.log());
    Ok(missed)
}

#[test]
fn a_pause_of_the_server_costs_no_living_instance() {
    for _ in 0..ATTEMPTS {
        match scenario() {
            Ok(missed) => {
                let missed = missed.expect("the one that died leaves");
                // Up to 300 ms without a beat before the pause and 500 ms of the pause count.
                assert!(missed > Duration::from_millis(900), "the one that died left after {missed:?} already");
                say(&format!("pause test: paused {PAUSE:?}; the living stay, the one that died left {missed:?} after"));
                return;
            }
            Err(gap) => say(&format!("pause test: this machine kept the client waiting for {gap:?}; again")),
        }
    }
    panic!("this machine was too busy {ATTEMPTS} times");
}
