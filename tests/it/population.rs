//! Many instances whose every value follows from their numbers, so that each list can be checked exactly.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::client::{Answer, Client, form};
use crate::server::Server;

/// Nobody beats for most of them: they must not become unhealthy while a test looks at them.
const LONG_MS: &str = "600000";

/// Address and port.
pub(crate) type Place = (String, u64);

/// What a list tells of an instance.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Shape {
    pub(crate) metadata: BTreeMap<String, String>,
    pub(crate) weight: f64,
    pub(crate) healthy: bool,
    pub(crate) ephemeral: bool,
}

/// Services `0..services` with `size` instances each. `round` is in the metadata: an instance that is registered again in a
/// later round looks different.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Population {
    pub(crate) services: u64,
    pub(crate) size: u64,
}

/// Name of a service.
pub(crate) fn service(number: u64) -> String {
    format!("people.s{number}")
}

/// Where instance `slot` of service `number` is.
pub(crate) fn place(number: u64, slot: u64) -> Place {
    (format!("10.{}.{}.{}", number / 250, number % 250, slot % 250), 1_000 + slot)
}

/// What instance `slot` of service `number` looks like when registered in `round`.
pub(crate) fn shape(number: u64, slot: u64, round: u64) -> Shape {
    let mut metadata: BTreeMap<String, String> = ["preserved.heart.beat.timeout", "preserved.ip.delete.timeout"]
        .map(|key| (key.to_owned(), LONG_MS.to_owned()))
        .into();
    metadata.insert("who".to_owned(), format!("{number}-{slot}-{round}"));
    Shape { metadata, weight: 1.0 + slot as f64 / 10.0, healthy: true, ephemeral: true }
}

/// Registers one instance.
pub(crate) fn register(client: &mut Client, number: u64, slot: u64, round: u64) -> io::Result<Answer> {
    let shape = shape(number, slot, round);
    let (ip, port) = place(number, slot);
    let pairs = [
        ("serviceName", service(number)),
        ("ip", ip),
        ("port", port.to_string()),
        ("weight", shape.weight.to_string()),
        ("metadata", json!(shape.metadata).to_string()),
    ];
    client.send("POST", &format!("/nacos/v1/ns/instance?{}", form(&pairs)), &[], None)
}

/// Removes one instance.
pub(crate) fn deregister(client: &mut Client, number: u64, slot: u64) -> io::Result<Answer> {
    let (ip, port) = place(number, slot);
    let pairs = [("serviceName", service(number)), ("ip", ip), ("port", port.to_string())];
    client.send("DELETE", &format!("/nacos/v1/ns/instance?{}", form(&pairs)), &[], None)
}

/// Sends a light beat.
pub(crate) fn beat(client: &mut Client, number: u64, slot: u64) -> io::Result<Answer> {
    let (ip, port) = place(number, slot);
    let pairs = [("serviceName", service(number)), ("ip", ip), ("port", port.to_string())];
    client.send("PUT", &format!("/nacos/v1/ns/instance/beat?{}", form(&pairs)), &[], None)
}

/// Whether that is the answer to a beat of a known instance.
pub(crate) fn is_beat_ok(answer: &Answer) -> bool {
    let code = serde_json::from_slice::<Value>(&answer.body).ok().and_then(|body| body["code"].as_i64());
    (answer.status, code) == (200, Some(10_200))
}

/// Target of the list of a service.
pub(crate) fn list_target(number: u64) -> String {
    format!("/nacos/v1/ns/instance/list?{}", form(&[("serviceName", service(number))]))
}

/// What an answer with a list holds. Each instance once.
pub(crate) fn listed(answer: &Answer) -> BTreeMap<Place, Shape> {
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body: Value = serde_json::from_slice(&answer.body).expect("the list is JSON");
    let hosts = body["hosts"].as_array().expect("the list has hosts");
    let listed: BTreeMap<Place, Shape> = hosts.iter().map(one).collect();
    assert_eq!(listed.len(), hosts.len(), "an instance is listed twice: {}", answer.text());
    listed
}

fn one(host: &Value) -> (Place, Shape) {
    let place = (host["ip"].as_str().expect("an address").to_owned(), host["port"].as_u64().expect("a port"));
    let shape = Shape {
        metadata: serde_json::from_value(host["metadata"].clone()).expect("metadata of texts"),
        weight: host["weight"].as_f64().expect("a weight"),
        healthy: host["healthy"].as_bool().expect("a health"),
        ephemeral: host["ephemeral"].as_bool().expect("a kind"),
    };
    (place, shape)
}

impl Population {
    /// Registers all in `round` 0, from several connections at once.
    pub(crate) fn register(self, server: &Server) {
        self.each(server, |client, number, slot| {
            let answer = register(client, number, slot, 0).expect("an answer");
            assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
        });
    }

    /// Does something for all instances, from several connections at once.
    pub(crate) fn each(self, server: &Server, work: impl Fn(&mut Client, u64, u64) + Sync) {
        let next = AtomicU64::new(0);
        thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(|| {
                    let mut client = server.client();
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= self.services {
                            break;
                        }
                        (0..self.size).for_each(|slot| work(&mut client, number, slot));
                    }
                });
            }
        });
    }

    /// What the list of a service has to hold when nothing has changed since [`register`](Self::register).
    pub(crate) fn wanted(self, number: u64) -> BTreeMap<Place, Shape> {
        (0..self.size).map(|slot| (place(number, slot), shape(number, slot, 0))).collect()
    }
}

/// A line that is seen without `--nocapture`.
pub(crate) fn say(line: &str) {
    writeln!(io::stderr(), "{line}").expect("standard error takes text");
}

/// A number from the environment.
pub(crate) fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

/// For a test that this machine can't run. Root on a CI machine can: there it is a failure.
pub(crate) fn skip(what: &str, why: &str) {
    say(&format!("skipped: {what}: {why}"));
    let root = std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!(ci && root), "{what} can't be skipped here: {why}");
}
