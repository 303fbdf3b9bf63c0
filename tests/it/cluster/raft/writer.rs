//! A client that writes through any server, one write after the other, and keeps account of what it was told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::history::{Fate, History, Write};
use crate::client::{Answer, Client, form};
use crate::dice::Dice;

const ROOT: &str = "/nacos/v1/ns";
/// Instances and services of each writer; instances that all of them write to.
const SLOTS: u64 = 4;
const SERVICES: u64 = 2;
const SHARED: u64 = 2;
/// The key of the switch, and the least value that it takes.
const SWITCH: &str = "switch";
const SWITCH_MIN: u64 = 1_000;
/// Refusals that say that nothing was done.
const REFUSALS: [&str; 6] =
    ["Could not find leader", "already exists", "not found", "not exist", "too many writes wait", "server is DOWN"];
/// One of so many acknowledged writes is read back at once.
const READ_BACK: u64 = 8;

/// How often each server was killed so far.
pub(super) type Kills = [AtomicU64; 3];

pub(super) struct Writer<'a> {
    id: u64,
    count: u64,
    servers: [SocketAddr; 3],
    clients: [Client; 3],
    dice: Dice,
    kills: &'a Kills,
    history: History,
    faults: Vec<String>,
}

/// What is written to.
enum Key {
    Instance(String, u64),
    /// A service that comes and goes.
    Service(String),
    Switch,
}

impl Key {
    fn name(&self) -> String {
        match self {
            Key::Instance(service, slot) => format!("{service}/{slot}"),
            Key::Service(service) => service.clone(),
            Key::Switch => SWITCH.to_owned(),
        }
    }
}

fn own_service(id: u64) -> String {
    format!("raft-own-{id}")
}

fn set_service(id: u64, number: u64) -> String {
    format!("raft-set-{id}-{number}")
}

const SHARED_SERVICE: &str = "raft-shared";

fn ip(slot: u64) -> String {
    format!("10.7.0.{slot}")
}

fn fate(answer: &std::io::Result<Answer>) -> Fate {
    match answer {
        Ok(answer) if answer.status == 200 => Fate::Done,
        Ok(answer) if REFUSALS.iter().any(|text| answer.text().contains(text)) => Fate::Refused,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Fate::Refused,
        _ => Fate::Unknown,
    }
}

fn note(answer: &std::io::Result<Answer>) -> String {
    match answer {
        Ok(answer) => format!("{} {}", answer.status, answer.text().chars().take(160).collect::<String>()),
        Err(error) => error.to_string(),
    }
}

impl<'a> Writer<'a> {
    /// The numbers that `id` writes are those of nobody else as long as `id` is below 100.
    pub(super) fn new(id: u64, servers: [SocketAddr; 3], seed: u64, kills: &'a Kills) -> Self {
        let (clients, dice) = (servers.map(Client::new), Dice::seeded(seed.wrapping_add(id)));
        Self { id, count: 0, servers, clients, dice, kills, history: History::default(), faults: Vec::new() }
    }

    /// What was done so far.
    pub(super) fn take(&mut self) -> (History, Vec<String>) {
        (std::mem::take(&mut self.history), std::mem::take(&mut self.faults))
    }

    pub(super) fn write(&mut self) {
        let key = match self.dice.within(0, 10) {
            0..=4 => Key::Instance(own_service(self.id), self.dice.within(0, SLOTS)),
            5..=6 => Key::Service(set_service(self.id, self.dice.within(0, SERVICES))),
            7..=8 => Key::Instance(SHARED_SERVICE.to_owned(), self.dice.within(0, SHARED)),
            _ => Key::Switch,
        };
        let server = self.dice.within(0, 3) as usize;
        if self.write_to(&key, server) != Fate::Done {
            // Who is gone, or has no leader, need not be asked all the time.
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// A write that all writes before it come before: once through each server, until it is acknowledged.
    pub(super) fn finish(&mut self, limit: Duration) {
        let deadline = Instant::now() + limit;
        for server in 0..3 {
            while self.write_to(&Key::Switch, server) != Fate::Done {
                assert!(Instant::now() < deadline, "no write through server {server} within {limit:?}");
                std::thread::sleep(Duration::from_millis(50));
            }
        }
    }

    fn write_to(&mut self, key: &Key, server: usize) -> Fate {
        self.count += 1;
        let number = self.count * 100 + self.id;
        let (method, target, value) = self.request(key, number);
        let kills = self.kills[server].load(Ordering::SeqCst);
        let sent = Instant::now();
        let answer = self.clients[server].send(method, &format!("{ROOT}/{target}"), &[], None);
        let fate = fate(&answer);
        let answered = Instant::now();
        let note = format!("{method} through {server}, {:?}: {}", answered - sent, note(&answer));
        self.history.add(key.name(), Write { value, sent, answered, fate, note: note.clone() });
        let is_own = !matches!(key, Key::Switch) && !key.name().starts_with(SHARED_SERVICE);
        if fate == Fate::Done && is_own && self.dice.within(0, READ_BACK) == 0 {
            self.read_back(key, server, kills, value, &note);
        }
        fate
    }

    fn request(&mut self, key: &Key, number: u64) -> (&'static str, String, Option<u64>) {
        match key {
            Key::Instance(service, slot) => {
                let method = ["POST", "POST", "PUT", "DELETE"][self.dice.within(0, 4) as usize];
                let (ip, metadata) = (ip(*slot), json!({"n": number.to_string()}).to_string());
                let mut pairs = vec![("serviceName", &**service), ("ip", &ip), ("port", "80"), ("ephemeral", "false")];
                if method != "DELETE" {
                    pairs.push(("metadata", &metadata));
                }
                (method, format!("instance?{}", form(&pairs)), (method != "DELETE").then_some(number))
            }
            Key::Service(service) => {
                let method = ["POST", "PUT", "PUT", "DELETE"][self.dice.within(0, 4) as usize];
                let metadata = format!("n={number}");
                let mut pairs = vec![("serviceName", &**service)];
                if method != "DELETE" {
                    pairs.extend([("metadata", &*metadata), ("protectThreshold", "0")]);
                }
                (method, format!("service?{}", form(&pairs)), (method != "DELETE").then_some(number))
            }
            Key::Switch => {
                let value = SWITCH_MIN + number;
                let target = format!("operator/switches?entry=defaultCacheMillis&value={value}");
                ("PUT", target, Some(value))
            }
        }
    }

    /// What was acknowledged is there at once where it was, if that server still lives.
    fn read_back(&mut self, key: &Key, server: usize, kills: u64, value: Option<u64>, note: &str) {
        let mut seen = BTreeMap::new();
        let read = match key {
            Key::Instance(service, _) => instances(self.servers[server], service, &mut seen),
            Key::Service(service) => settings(self.servers[server], service, &mut seen),
            Key::Switch => None,
        };
        let has_lived = self.kills[server].load(Ordering::SeqCst) == kills;
        let there = seen.get(&key.name()).copied();
        if read.is_some() && has_lived && there != value {
            self.faults.push(format!("{} is {there:?} at server {server} after {note} ({value:?})", key.name()));
        }
    }
}

fn json_of(server: SocketAddr, target: &str) -> Option<Result<Value, u16>> {
    let answer = Client::new(server).get(&format!("{ROOT}/{target}")).ok()?;
    Some(if answer.status == 200 { serde_json::from_slice(&answer.body).map_err(|_| 0) } else { Err(answer.status) })
}

fn instances(server: SocketAddr, service: &str, into: &mut BTreeMap<String, u64>) -> Option<()> {
    let list = json_of(server, &format!("instance/list?serviceName={service}"))?.ok()?;
    for host in list["hosts"].as_array()? {
        let slot = host["ip"].as_str()?.rsplit('.').next()?;
        into.insert(format!("{service}/{slot}"), host["metadata"]["n"].as_str()?.parse().ok()?);
    }
    Some(())
}

fn settings(server: SocketAddr, service: &str, into: &mut BTreeMap<String, u64>) -> Option<()> {
    match json_of(server, &format!("service?serviceName={service}"))? {
        Ok(found) => into.insert(service.to_owned(), found["metadata"]["n"].as_str()?.parse().ok()?),
        // Not there.
        Err(500) => None,
        Err(_) => return None,
    };
    Some(())
}

/// All that so many writers can have written, as this server shows it.
pub(super) fn everything(server: SocketAddr, writers: u64) -> Option<BTreeMap<String, u64>> {
    let mut seen = BTreeMap::new();
    instances(server, SHARED_SERVICE, &mut seen)?;
    for id in 0..writers {
        instances(server, &own_service(id), &mut seen)?;
        for number in 0..SERVICES {
            settings(server, &set_service(id, number), &mut seen)?;
        }
    }
    let switches = json_of(server, "operator/switches")?.ok()?;
    seen.insert(SWITCH.to_owned(), switches["defaultCacheMillis"].as_u64()?);
    Some(seen)
}
