//! `kill -9` under load, again and again on one home: everything acknowledged is there afterwards, nothing else is.
//!
//! Every writer owns its services, so what must be there is exact. The one write that each writer had in flight when
//! the process died may have happened or not; both are right.
//!
//! `NACRE_KILL_ROUNDS` sets the number of rounds (5), `NACRE_KILL_SEED` repeats the choices of an earlier run.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Answer, Client, form};
use crate::dice::Dice;
use crate::server::Server;

const WRITERS: u64 = 6;
/// Of each writer.
const SERVICES: u64 = 3;
/// Addresses of each service.
const SLOTS: u64 = 12;
const ROUNDS: u64 = 5;
/// How long the writers write before the kill: the bounds of the dice. Far below the 30 s after which an instance that
/// nobody beats is removed.
const LOAD_MS: (u64, u64) = (200, 1_500);
const FIRST_ANSWER: Duration = Duration::from_secs(20);
/// Until a write of the round is acknowledged, on a busy machine. Below the 15 s after which an instance that nobody
/// beats is unhealthy.
const FIRST_WRITE: Duration = Duration::from_secs(10);

/// What an instance looks like from outside.
#[derive(Debug, Clone, PartialEq)]
struct Shape {
    metadata: BTreeMap<String, String>,
    weight: f64,
    healthy: bool,
}

/// Service and slot.
type Place = (u64, u64);

/// A write that was sent and not answered: what it would leave at its place.
struct InFlight {
    place: Place,
    after: Option<Shape>,
}

/// What a comparison found.
#[derive(Debug, Default)]
struct Findings {
    instances: usize,
    lost: Vec<String>,
    undead: Vec<String>,
    wrong: Vec<String>,
    refused_beats: Vec<String>,
    /// Writes in flight, and how many of them had happened.
    in_flight: usize,
    happened: usize,
    first_answer: Duration,
}

struct Writer {
    id: u64,
    run: String,
    dice: Dice,
    client: Client,
    wanted: BTreeMap<Place, Shape>,
    in_flight: Option<InFlight>,
    writes: u64,
}

impl Writer {
    fn new(id: u64, seed: u64, server: SocketAddr) -> Self {
        Self {
            id,
            run: format!("{seed:x}"),
            dice: Dice::seeded(seed.wrapping_add(id + 1)),
            client: Client::new(server),
            wanted: BTreeMap::new(),
            in_flight: None,
            writes: 0,
        }
    }

    fn service(&self, service: u64) -> String {
        format!("kill.{}.w{}.s{service}", self.run, self.id)
    }

    fn address(&self, place: Place) -> (String, u64) {
        (format!("10.{}.{}.{}", self.id, place.0, place.1), 8_000 + place.1)
    }

    fn send(&mut self, method: &str, path: &str, place: Place, more: &[(&str, String)]) -> std::io::Result<Answer> {
        let (ip, port) = self.address(place);
        let mut pairs = vec![("serviceName", self.service(place.0)), ("ip", ip), ("port", port.to_string())];
        pairs.extend_from_slice(more);
        self.client.send(method, &format!("/nacos/v1/ns/{path}?{}", form(&pairs)), &[], None)
    }

    /// Writes until the server is gone, which must not be before it was `killed`; counts what is `acknowledged`.
    fn write_until(&mut self, killed: &AtomicBool, acknowledged: &AtomicU64) {
        while self.write() {
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
        assert!(killed.load(Ordering::SeqCst), "a write got no answer although the server was not killed yet");
    }

    /// One write; false when it was not answered.
    fn write(&mut self) -> bool {
        self.writes += 1;
        let place = (self.dice.within(0, SERVICES), self.dice.within(0, SLOTS));
        let before = self.wanted.get(&place).cloned();
        let metadata: BTreeMap<String, String> =
            [("n".to_owned(), self.writes.to_string()), ("by".to_owned(), format!("w{} ä=,\"", self.id))].into();
        let weight = self.dice.within(1, 1_000) as f64 / 10.0;
        let with_metadata = ("metadata", json!(metadata).to_string());
        let with_weight = ("weight", weight.to_string());
        // Writing again never changes health; a new instance is healthy.
        let whole = Some(Shape { metadata: metadata.clone(), weight, healthy: true });
        let (method, parameters, after) = match (before, self.dice.within(0, 100)) {
            (None, 0..70) => ("POST", vec![with_metadata, with_weight], whole),
            (None, _) => ("PUT", vec![with_metadata, with_weight], whole),
            (Some(_), 0..25) => ("DELETE", vec![], None),
            (Some(_), 25..40) => ("POST", vec![with_metadata, with_weight], whole),
            (Some(_), 40..60) => ("PUT", vec![with_metadata, with_weight], whole),
            (Some(shape), 60..90) => ("PATCH", vec![with_metadata], Some(Shape { metadata, ..shape })),
            (Some(shape), _) => ("PATCH", vec![with_weight], Some(Shape { weight, ..shape })),
        };
        match self.send(method, "instance", place, &parameters) {
            Ok(answer) => {
                assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{method} of {place:?}");
                match after {
                    Some(shape) => self.wanted.insert(place, shape),
                    None => self.wanted.remove(&place),
                };
                true
            }
            Err(_) => {
                self.in_flight = Some(InFlight { place, after });
                false
            }
        }
    }

    /// Compares the first answers that the server gives with what must be there, then beats what is there.
    fn verify(&mut self) -> Findings {
        let started = Instant::now();
        let mut findings = Findings::default();
        for service in 0..SERVICES {
            let listed = self.first_list(service, started);
            if service == 0 {
                findings.first_answer = started.elapsed();
            }
            for slot in 0..SLOTS {
                self.judge((service, slot), listed.get(&slot), &mut findings);
            }
            let (known, all) = (listed.keys().filter(|slot| **slot < SLOTS).count(), listed.len());
            if known != all {
                findings.undead.push(format!("{}: {} instances of nobody", self.service(service), all - known));
            }
        }
        for place in self.wanted.keys().copied().collect::<Vec<_>>() {
            let answer = self.send("PUT", "instance/beat", place, &[]).expect("a beat is answered");
            let code = serde_json::from_slice::<Value>(&answer.body).ok().and_then(|body| body["code"].as_i64());
            if (answer.status, code) != (200, Some(10_200)) {
                findings.refused_beats.push(format!("{} {place:?}: {}", self.service(place.0), answer.text()));
            }
        }
        findings.instances = self.wanted.len();
        findings
    }

    /// The first answer to a list query, by slot: no answer at all is waited for, a bad one is a failure.
    fn first_list(&mut self, service: u64, started: Instant) -> BTreeMap<u64, Shape> {
        let name = self.service(service);
        let target = format!("/nacos/v1/ns/instance/list?{}", form(&[("serviceName", &name)]));
        let answer = loop {
            match self.client.get(&target) {
                Ok(answer) => break answer,
                Err(error) => assert!(started.elapsed() < FIRST_ANSWER, "no answer after {FIRST_ANSWER:?}: {error}"),
            }
            thread::sleep(Duration::from_millis(2));
        };
        assert_eq!(answer.status, 200, "the first answer for {name}: {}", answer.text());
        let body: Value = serde_json::from_slice(&answer.body).expect("the list is JSON");
        let hosts = body["hosts"].as_array().expect("the list has hosts");
        let listed: BTreeMap<u64, Shape> = hosts.iter().map(|host| self.listed(service, host)).collect();
        assert_eq!(listed.len(), hosts.len(), "an instance is listed twice: {}", answer.text());
        listed
    }

    /// Slot and shape of an item of a list. What was never written gets a slot beyond the last.
    fn listed(&self, service: u64, host: &Value) -> (u64, Shape) {
        let slot = host["port"].as_u64().and_then(|port| port.checked_sub(8_000)).unwrap_or(u64::MAX);
        let ours = slot < SLOTS && host["ip"].as_str() == Some(&self.address((service, slot)).0);
        let metadata = serde_json::from_value(host["metadata"].clone()).expect("metadata of texts");
        let weight = host["weight"].as_f64().expect("a weight");
        let healthy = host["healthy"].as_bool().expect("a health");
        (if ours { slot } else { SLOTS + slot.min(60_000) }, Shape { metadata, weight, healthy })
    }

    fn judge(&mut self, place: Place, listed: Option<&Shape>, findings: &mut Findings) {
        if let Some(write) = self.in_flight.take_if(|write| write.place == place) {
            findings.in_flight += 1;
            if write.after.as_ref() == listed {
                findings.happened += 1;
                match write.after {
                    Some(shape) => self.wanted.insert(place, shape),
                    None => self.wanted.remove(&place),
                };
                return;
            }
        }
        let name = format!("{} {}", self.service(place.0), place.1);
        match (self.wanted.get(&place), listed) {
            (Some(_), None) => findings.lost.push(name),
            (None, Some(shape)) => findings.undead.push(format!("{name}: {shape:?}")),
            (Some(wanted), Some(shape)) if wanted != shape => {
                findings.wrong.push(format!("{name}: {wanted:?} was acknowledged, {shape:?} is listed"));
            }
            _ => {}
        }
    }
}

/// Runs `work` for every writer at once.
fn side_by_side<T: Send>(writers: &mut [Writer], work: impl Fn(&mut Writer) -> T + Sync) -> Vec<T> {
    thread::scope(|scope| {
        let threads: Vec<_> = writers.iter_mut().map(|writer| scope.spawn(|| work(writer))).collect();
        threads.into_iter().map(|thread| thread.join().expect("no writer fails")).collect()
    })
}

/// Adds up what the writers found; prints a line, and fails when anything is not as it was acknowledged.
fn conclude(title: &str, seed: u64, findings: Vec<Findings>) {
    let mut sum = Findings { first_answer: Duration::MAX, ..Findings::default() };
    for part in findings {
        sum.instances += part.instances;
        sum.lost.extend(part.lost);
        sum.undead.extend(part.undead);
        sum.wrong.extend(part.wrong);
        sum.refused_beats.extend(part.refused_beats);
        sum.in_flight += part.in_flight;
        sum.happened += part.happened;
        sum.first_answer = sum.first_answer.min(part.first_answer);
    }
    say(&format!(
        "{title}: {} instances, first list after {} ms, {} in flight ({} happened): {} lost, {} undead, {} wrong, {} beats refused",
        sum.instances,
        sum.first_answer.as_millis(),
        sum.in_flight,
        sum.happened,
        sum.lost.len(),
        sum.undead.len(),
        sum.wrong.len(),
        sum.refused_beats.len(),
    ));
    let bad = [&sum.lost, &sum.undead, &sum.wrong, &sum.refused_beats].iter().any(|found| !found.is_empty());
    assert!(!bad, "{title} with NACRE_KILL_SEED={seed}: {sum:#?}");
}

/// A line that is seen without `--nocapture`: the figures are the point of this test.
fn say(line: &str) {
    writeln!(std::io::stderr(), "kill test: {line}").expect("standard error takes text");
}

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_removed_comes_back() {
    let rounds = setting("NACRE_KILL_ROUNDS").unwrap_or(ROUNDS);
    let seed = setting("NACRE_KILL_SEED").unwrap_or_else(|| Dice::fresh().next() >> 24);
    say(&format!("{rounds} rounds, {WRITERS} writers, NACRE_KILL_SEED={seed}"));
    let mut dice = Dice::seeded(seed);
    let mut server = Server::start(&[]);
    let mut writers: Vec<Writer> = (0..WRITERS).map(|id| Writer::new(id, seed, server.address())).collect();
    for round in 1..=rounds {
        let load = Duration::from_millis(dice.within(LOAD_MS.0, LOAD_MS.1));
        let (killed, acknowledged) = (AtomicBool::new(false), AtomicU64::new(0));
        thread::scope(|scope| {
            scope.spawn(|| side_by_side(&mut writers, |writer| writer.write_until(&killed, &acknowledged)));
            let begun = Instant::now();
            thread::sleep(load);
            while acknowledged.load(Ordering::Relaxed) == 0 && begun.elapsed() < FIRST_WRITE {
                thread::sleep(Duration::from_millis(10));
            }
            killed.store(true, Ordering::SeqCst);
            server.kill9();
        });
        let acknowledged = acknowledged.into_inner();
        assert!(acknowledged > 0, "nothing was written in round {round}");
        server.spawn();
        let findings = side_by_side(&mut writers, Writer::verify);
        conclude(&format!("round {round}: {acknowledged} writes in {} ms", load.as_millis()), seed, findings);
    }
    let status = server.term();
    assert!(status.success(), "after SIGTERM: {status}\n{}", server.log());
    server.spawn();
    conclude("after a clean stop", seed, side_by_side(&mut writers, Writer::verify));
}
