//! A server that is cut off from the others refuses what all have to agree on, soon, and takes everything ephemeral.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::{PROPERTIES, leader};
use crate::client::{Answer, Client, form};
use crate::cluster::lan::{self, Lan, tell};
use crate::cluster::trio::within;
use crate::cluster::watch::list;

/// A write waits 5 s for a leader.
const REFUSED: Duration = Duration::from_secs(7);
const HEALED: Duration = Duration::from_secs(15);
const NO_LEADER: &str = "caused: com.alibaba.nacos.consistency.exception.ConsistencyException: Could not find leader : \
                         naming_persistent_service;";
/// As of a write that was under way when the others were lost: nobody knows.
const UNKNOWN: &str = "caused: com.alibaba.nacos.consistency.exception.ConsistencyException: operation failure;";
const PERSISTENT: &str = "agreed";
const EPHEMERAL: &str = "spread";

fn register(server: SocketAddr, service: &str, ip: &str, ephemeral: bool) -> (Answer, Duration) {
    let (ephemeral, began) = (ephemeral.to_string(), Instant::now());
    let long = r#"{"preserved.heart.beat.timeout":"600000","preserved.ip.delete.timeout":"600000"}"#;
    let pairs = [("serviceName", service), ("ip", ip), ("port", "80"), ("ephemeral", &*ephemeral), ("metadata", long)];
    let answer = Client::new(server).send("POST", &format!("/nacos/v1/ns/instance?{}", form(&pairs)), &[], None);
    (answer.expect("an answer"), began.elapsed())
}

fn listed(server: SocketAddr, service: &str) -> Vec<String> {
    let seen = list(&mut Client::new(server), service).expect("an answer").expect("a list");
    seen.into_keys().map(|(ip, _)| ip).collect()
}

/// Cuts `alone` off, writes on both sides, heals. `round` makes addresses differ. What is expected in the end.
fn cut_off(lan: &Lan, alone: usize, round: usize, agreed: &mut Vec<String>, spread: &mut Vec<String>) {
    let addresses = lan.trio.addresses();
    let others: Vec<usize> = (0..3).filter(|other| *other != alone).collect();
    let ways: Vec<(usize, usize)> = others.iter().flat_map(|other| [(alone, *other), (*other, alone)]).collect();
    ways.iter().for_each(|(from, to)| lan.cut(*from, *to));
    let mut outcomes = Vec::new();
    let mut refused = 0;
    for number in 0..3 {
        let ip = format!("10.6.{round}.{number}");
        let (answer, took) = register(addresses[alone], PERSISTENT, &ip, false);
        let text = answer.text();
        assert!(took < REFUSED, "after {took:?}: {text}");
        assert!(answer.status == 500 && (text == NO_LEADER || text == UNKNOWN), "{} {text}", answer.status);
        // What is unknown may be there or not.
        if text == NO_LEADER {
            refused += 1;
            assert!(!listed(addresses[alone], PERSISTENT).contains(&ip), "{ip} was refused");
        }
        outcomes.push(took);
        let ip = format!("10.6.{round}.{}", 100 + number);
        let (answer, took) = register(addresses[alone], EPHEMERAL, &ip, true);
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "ephemeral, after {took:?}");
        assert!(listed(addresses[alone], EPHEMERAL).contains(&ip), "{ip} was taken");
        outcomes.push(took);
        spread.push(ip);
    }
    assert!(refused > 0, "no write was refused for want of a leader");
    leader(&lan.trio, &others);
    for (number, other) in others.iter().enumerate() {
        let ip = format!("10.6.{round}.{}", 200 + number);
        let (answer, took) = register(addresses[*other], PERSISTENT, &ip, false);
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "through the majority, after {took:?}");
        agreed.push(ip);
    }
    tell(&format!("raft: server {alone} is cut off: persistent, ephemeral writes there in turn took {outcomes:?}"));
    ways.iter().for_each(|(from, to)| lan.heal(*from, *to));
}

fn all_agree(lan: &Lan, agreed: &[String], spread: &[String]) -> Duration {
    within(HEALED, "all agree", || {
        let persistent = lan.trio.addresses().map(|address| listed(address, PERSISTENT));
        let ephemeral = lan.trio.addresses().map(|address| listed(address, EPHEMERAL));
        let same = |lists: &[Vec<String>; 3]| lists[0] == lists[1] && lists[1] == lists[2];
        let complete = agreed.iter().all(|ip| persistent[0].contains(ip)) && ephemeral[0].len() == spread.len();
        if same(&persistent) && same(&ephemeral) && complete {
            Ok(())
        } else {
            Err(format!("{persistent:?}, {ephemeral:?}, expected {agreed:?}, {spread:?}"))
        }
    })
}

#[test]
fn a_minority_refuses_what_all_have_to_agree_on_and_takes_the_rest() {
    if lan::scene().is_none() {
        let own = "cluster::raft::minority::a_minority_refuses_what_all_have_to_agree_on_and_takes_the_rest";
        return lan::run(own, &["minority"]);
    }
    let lan = Lan::start(PROPERTIES);
    let first = leader(&lan.trio, &[0, 1, 2]);
    let (mut agreed, mut spread) = (vec!["10.6.9.9".to_owned()], Vec::new());
    let (answer, _) = register(lan.trio.addresses()[first], PERSISTENT, "10.6.9.9", false);
    assert_eq!(answer.text(), "ok");
    // The leader, and one that is not.
    cut_off(&lan, first, 0, &mut agreed, &mut spread);
    let took = all_agree(&lan, &agreed, &spread);
    lan.trio.wait_up();
    let second = (leader(&lan.trio, &[0, 1, 2]) + 1) % 3;
    cut_off(&lan, second, 1, &mut agreed, &mut spread);
    let again = all_agree(&lan, &agreed, &spread);
    tell(&format!("raft: all agree {took:?} and {again:?} after healing"));
}
