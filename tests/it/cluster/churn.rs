//! Clients that register and deregister all the time, each on places of its own, and know what was acknowledged.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::trio::{owned_by, within};
use crate::client::{Client, form};
use crate::dice::Dice;

/// Places of each churner in each of its services; there is one service for each owner.
const SLOTS: u64 = 6;
/// Nobody beats for them.
const LONG_MS: &str = "600000";

/// Service and slot.
type Place = (usize, u64);

/// What was acknowledged: the number of the last registration, `None` after a deregistration. Places whose last write
/// no server acknowledged are `Err`.
type Known = BTreeMap<Place, Result<Option<u64>, ()>>;

pub(crate) struct Churn {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Churner>>,
}

pub(crate) struct Churner {
    id: u64,
    clients: Vec<Client>,
    dice: Dice,
    known: Known,
    writes: u64,
    acknowledged: u64,
    began: Instant,
    /// The writes to each place, for people: when, what, and who took it.
    trail: BTreeMap<Place, Vec<String>>,
}

/// Lets `count` of them write until they are stopped; `pause` between two writes of one.
pub(crate) fn start(servers: &[SocketAddr], count: u64, pause: Duration, seed: u64) -> Churn {
    let stop = Arc::new(AtomicBool::new(false));
    let threads = (0..count).map(|id| {
        let clients = servers.iter().map(|server| Client::new(*server)).collect();
        let dice = Dice::seeded(seed.wrapping_add(id));
        let (known, trail, began) = (Known::new(), BTreeMap::new(), Instant::now());
        let mut one = Churner { id, clients, dice, known, writes: 0, acknowledged: 0, began, trail };
        let stop = stop.clone();
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                one.write();
                thread::sleep(pause);
            }
            one
        })
    });
    Churn { threads: threads.collect(), stop: stop.clone() }
}

impl Churn {
    pub(crate) fn stop(mut self) -> Vec<Churner> {
        self.stop.store(true, Ordering::Relaxed);
        let threads = std::mem::take(&mut self.threads);
        threads.into_iter().map(|thread| thread.join().expect("a writer does not panic")).collect()
    }
}

impl Drop for Churn {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn place_of(id: u64, (service, slot): Place) -> (String, String) {
    (owned_by(service, 3, &format!("churn-{id}-{service}")), format!("10.9{service}.{id}.{slot}"))
}

impl Churner {
    fn write(&mut self) {
        self.writes += 1;
        let place = (self.dice.within(0, 3) as usize, self.dice.within(0, SLOTS));
        let registers = self.dice.within(0, 3) > 0;
        let (service, ip) = place_of(self.id, place);
        let mut pairs = vec![("serviceName", service), ("ip", ip), ("port", "80".to_owned())];
        if registers {
            let metadata = json!({
                "n": self.writes.to_string(),
                "preserved.heart.beat.timeout": LONG_MS,
                "preserved.ip.delete.timeout": LONG_MS,
            });
            pairs.push(("metadata", metadata.to_string()));
        }
        let (method, target) =
            (if registers { "POST" } else { "DELETE" }, format!("/nacos/v1/ns/instance?{}", form(&pairs)));
        let count = self.clients.len();
        let first = self.dice.within(0, count as u64) as usize;
        let sent = self.began.elapsed().as_millis();
        let taker = (0..count).find(|turn| {
            let client = &mut self.clients[(first + turn) % count];
            let answer = client.send(method, &target, &[], None).or_else(|_| client.send(method, &target, &[], None));
            answer.is_ok_and(|answer| answer.status == 200 && answer.text() == "ok")
        });
        let (acknowledged, server) = (taker.is_some(), taker.map(|turn| (first + turn) % count));
        let answered = self.began.elapsed().as_millis();
        let line = format!("{} {method} at {sent} to {answered} ms by {server:?} from {first}", self.writes);
        self.trail.entry(place).or_default().push(line);
        self.acknowledged += u64::from(acknowledged);
        let known = if acknowledged { Ok(registers.then_some(self.writes)) } else { Err(()) };
        self.known.insert(place, known);
    }
}

/// Every server lists what was acknowledged and nothing else, within that time. Returns how many writes there were,
/// how many of them acknowledged, and how long it took.
pub(crate) fn compare(churners: &[Churner], servers: &[SocketAddr], limit: Duration) -> (u64, u64, Duration) {
    let took = within(limit, "what was acknowledged is listed everywhere", || {
        let faults: Vec<String> = churners.iter().flat_map(|one| one.differences(servers)).collect();
        if faults.is_empty() { Ok(()) } else { Err(faults.join("\n")) }
    });
    let sum = |of: fn(&Churner) -> u64| churners.iter().map(of).sum();
    (sum(|one| one.writes), sum(|one| one.acknowledged), took)
}

impl Churner {
    fn differences(&self, servers: &[SocketAddr]) -> Vec<String> {
        let mut faults = Vec::new();
        let seen: Vec<BTreeMap<Place, u64>> = servers.iter().map(|server| self.listed(*server)).collect();
        for (place, known) in &self.known {
            let all: Vec<Option<u64>> = seen.iter().map(|seen| seen.get(place).copied()).collect();
            let good = match known {
                Ok(known) => all.iter().all(|one| one == known),
                Err(()) => all.windows(2).all(|two| two[0] == two[1]),
            };
            if !good {
                let (service, ip) = place_of(self.id, *place);
                faults.push(format!(
                    "{ip} of {service}: acknowledged {known:?}, listed {all:?}; {:?}",
                    self.trail.get(place)
                ));
            }
        }
        faults
    }

    fn listed(&self, server: SocketAddr) -> BTreeMap<Place, u64> {
        let mut client = Client::new(server);
        let mut listed = BTreeMap::new();
        for service in 0..3 {
            let (name, _) = place_of(self.id, (service, 0));
            let answer = client.get(&format!("/nacos/v1/ns/instance/list?serviceName={name}")).expect("an answer");
            let body: Value = serde_json::from_slice(&answer.body).expect("the list is JSON");
            for host in body["hosts"].as_array().expect("the list has hosts") {
                let slot = host["ip"].as_str().and_then(|ip| ip.rsplit('.').next()?.parse().ok()).expect("a slot");
                let number = host["metadata"]["n"].as_str().and_then(|n| n.parse().ok()).expect("a number");
                listed.insert((service, slot), number);
            }
        }
        listed
    }
}
