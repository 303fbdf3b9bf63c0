//! Clients as nacos-client 1.4 is one: each registers once, beats, knows all servers, and registers again only when it is
//! told that nobody knows it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::trio::owned_by;
use crate::client::{Answer, Client, form};
use crate::dice::Dice;

/// Notes of what went wrong that are kept.
const MAX_NOTES: usize = 20;

/// Who is registered, and how it beats.
#[derive(Debug, Clone)]
pub(crate) struct Instance {
    pub(crate) service: String,
    pub(crate) ip: String,
    pub(crate) port: u64,
    /// `None`: as by default, every 5 s. Otherwise the metadata say so, and that it is unhealthy after four times that, and
    /// removed after seven times.
    pub(crate) beat_ms: Option<u64>,
    /// The servers that its client knows, by number.
    pub(crate) knows: Vec<usize>,
}

impl Instance {
    pub(crate) fn metadata(&self) -> Value {
        match self.beat_ms {
            None => json!({}),
            Some(ms) => json!({
                "preserved.heart.beat.interval": ms.to_string(),
                "preserved.heart.beat.timeout": (ms * 4).to_string(),
                "preserved.ip.delete.timeout": (ms * 7).to_string(),
            }),
        }
    }

    fn period_ms(&self) -> u64 {
        self.beat_ms.unwrap_or(5_000)
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        vec![
            ("app", "unknown".to_owned()),
            ("namespaceId", "public".to_owned()),
            ("serviceName", format!("DEFAULT_GROUP@@{}", self.service)),
            ("clusterName", "DEFAULT".to_owned()),
            ("ip", self.ip.clone()),
            ("port", self.port.to_string()),
        ]
    }

    pub(crate) fn register(&self, client: &mut Client) -> std::io::Result<Answer> {
        let mut pairs = self.parameters();
        pairs.extend([
            ("groupName", "DEFAULT_GROUP".to_owned()),
            ("weight", "1.0".to_owned()),
            ("enable", "true".to_owned()),
            ("healthy", "true".to_owned()),
            ("ephemeral", "true".to_owned()),
            ("metadata", self.metadata().to_string()),
        ]);
        client.send("POST", &format!("/nacos/v1/ns/instance?{}", form(&pairs)), &agent(), None)
    }

    pub(crate) fn beat(&self, client: &mut Client, light: bool) -> std::io::Result<Answer> {
        let target = format!("/nacos/v1/ns/instance/beat?{}", form(&self.parameters()));
        let mut headers = agent();
        headers.push(("Content-Type".to_owned(), "application/x-www-form-urlencoded;charset=UTF-8".to_owned()));
        if light {
            return client.send("PUT", &target, &headers, None);
        }
        let beat = json!({
            "cluster": "DEFAULT", "ip": self.ip, "metadata": self.metadata(), "period": self.period_ms(),
            "port": self.port, "scheduled": false, "serviceName": format!("DEFAULT_GROUP@@{}", self.service),
            "stopped": false, "weight": 1.0
        });
        client.send("PUT", &target, &headers, Some(form(&[("beat", beat.to_string())]).as_bytes()))
    }
}

fn agent() -> Vec<(String, String)> {
    [("Client-Version", "1.4.2"), ("User-Agent", "Nacos-Java-Client:v1.4.2")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
}

/// `each` instances in each of `services` services for every server. Every other one beats each second, so that copies
/// of it are old within a test.
pub(crate) fn population(services: usize, each: u64) -> Vec<Instance> {
    let mut all = Vec::new();
    for place in 0..3 {
        for number in 0..services {
            let service = owned_by(place, 3, &format!("steady-{place}-{number}"));
            for slot in 0..each {
                let ip = format!("10.{}.{number}.{}", place + 1, slot + 1);
                let beat_ms = (slot % 2 == 1).then_some(1_000);
                all.push(Instance { service: service.clone(), ip, port: 8_080, beat_ms, knows: vec![0, 1, 2] });
            }
        }
    }
    all
}

/// What the clients saw, all together.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) beats: AtomicU64,
    /// Code 20404, and so a registration.
    pub(crate) registered_again: AtomicU64,
    /// Calls that one server did not carry out; the next one was tried.
    pub(crate) failed: AtomicU64,
    /// Beats that no server took.
    pub(crate) failed_everywhere: AtomicU64,
    /// Longest beat, in ms, failed tries included.
    pub(crate) slowest_ms: AtomicU64,
    pub(crate) notes: Mutex<Vec<String>>,
}

impl Counts {
    fn note(&self, text: String) {
        let mut notes = self.notes.lock().expect("nobody panics with the lock");
        if notes.len() < MAX_NOTES {
            notes.push(text);
        }
    }

    pub(crate) fn again(&self) -> u64 {
        self.registered_again.load(Ordering::Relaxed)
    }

    pub(crate) fn text(&self) -> String {
        let [beats, again, failed, everywhere, slowest] =
            [&self.beats, &self.registered_again, &self.failed, &self.failed_everywhere, &self.slowest_ms]
                .map(|count| count.load(Ordering::Relaxed));
        format!(
            "{beats} beats (slowest {slowest} ms), {failed} tries failed, {everywhere} on all servers, {again} registered again"
        )
    }
}

/// Clients that beat until they are dropped.
pub(crate) struct Clients {
    pub(crate) counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// Registers all of them, through the servers in turn, and lets them beat.
pub(crate) fn start(servers: [SocketAddr; 3], instances: &[Instance]) -> Clients {
    let (counts, stop) = (Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
    let began = Instant::now();
    let threads = instances.iter().enumerate().map(|(number, instance)| {
        let mut one = Caller::new(servers, instance.clone(), number as u64, counts.clone());
        let (stop, all) = (stop.clone(), instances.len() as u64);
        thread::spawn(move || {
            one.call("a registration", |instance, client| instance.register(client)).expect("a server takes it");
            let first = one.instance.period_ms() * (number as u64) / all.max(1);
            one.beat_on(&stop, began, Instant::now() + Duration::from_millis(first));
        })
    });
    let threads = threads.collect();
    Clients { counts, stop, threads }
}

impl Clients {
    /// Ends them. A panic of one is one here.
    pub(crate) fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            thread.join().expect("a client does not panic");
        }
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // The test has failed already, or has called stop.
            let _ = thread.join();
        }
    }
}

struct Caller {
    instance: Instance,
    clients: Vec<Client>,
    dice: Dice,
    counts: Arc<Counts>,
}

impl Caller {
    fn new(servers: [SocketAddr; 3], instance: Instance, seed: u64, counts: Arc<Counts>) -> Self {
        let clients = instance.knows.iter().map(|number| Client::new(servers[*number])).collect();
        Self { instance, clients, dice: Dice::seeded(seed), counts }
    }

    /// Any server, then the next one if it fails.
    fn call(&mut self, what: &str, send: impl Fn(&Instance, &mut Client) -> std::io::Result<Answer>) -> Option<Answer> {
        let count = self.clients.len();
        let first = self.dice.within(0, count as u64) as usize;
        for turn in 0..count {
            let number = (first + turn) % count;
            // A kept connection may have ended meanwhile: real clients then take a new one.
            let client = &mut self.clients[number];
            let why = match send(&self.instance, client).or_else(|_| send(&self.instance, client)) {
                Ok(answer) if answer.status == 200 => return Some(answer),
                Ok(answer) => format!("{} {}", answer.status, answer.text()),
                Err(error) => error.to_string(),
            };
            self.counts.failed.fetch_add(1, Ordering::Relaxed);
            if !why.contains("refused") {
                let Instance { service, ip, .. } = &self.instance;
                let server = self.instance.knows[number];
                self.counts.note(format!("{what} of {ip} in {service} through server {server}: {why}"));
            }
        }
        None
    }

    fn beat_on(&mut self, stop: &AtomicBool, began: Instant, mut next: Instant) {
        let mut light = false;
        while !stop.load(Ordering::Relaxed) {
            let now = Instant::now();
            if now < next {
                thread::sleep((next - now).min(Duration::from_millis(50)));
                continue;
            }
            next = now + Duration::from_millis(self.instance.period_ms());
            let answer = self.call("a beat", |instance, client| instance.beat(client, light));
            self.counts.slowest_ms.fetch_max(now.elapsed().as_millis() as u64, Ordering::Relaxed);
            self.counts.beats.fetch_add(1, Ordering::Relaxed);
            let Some(answer) = answer else {
                self.counts.failed_everywhere.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            let body: Value = serde_json::from_slice(&answer.body).expect("the answer to a beat is JSON");
            light = body["lightBeatEnabled"] == true;
            if body["code"] == 20_404 {
                self.counts.registered_again.fetch_add(1, Ordering::Relaxed);
                let Instance { service, ip, .. } = &self.instance;
                self.counts.note(format!("{ip} in {service} registered again at {:?}", began.elapsed()));
                self.call("a registration", |instance, client| instance.register(client));
            }
        }
    }
}
