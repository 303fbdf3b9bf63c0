//! What each server lists, polled all the time: nobody who lives may be missing from any answer, from the first one on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::clients::Instance;
use crate::client::{Client, form};

const MAX_NOTES: usize = 12;
/// Between two polls of a server that answers.
const PAUSE: Duration = Duration::from_millis(10);
/// And of one that doesn't.
const RETRY: Duration = Duration::from_millis(2);

/// Address and port of an instance, by service.
pub(crate) type Wanted = BTreeMap<String, BTreeSet<(String, u64)>>;

pub(crate) fn wanted(instances: &[Instance]) -> Wanted {
    let mut wanted = Wanted::new();
    for Instance { service, ip, port, .. } in instances {
        wanted.entry(service.clone()).or_default().insert((ip.clone(), *port));
    }
    wanted
}

/// Why a server that came back does not serve yet (`spec/persistent.md` 7).
const CATCHES_UP: &str = "Could not find leader!";

/// What one server listed.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ledger {
    pub(crate) answers: u64,
    /// Instances that were missing, summed up over the answers.
    pub(crate) missing: u64,
    /// Lists without anybody in them.
    pub(crate) empty: u64,
    pub(crate) unhealthy: u64,
    /// Listed, but never registered.
    pub(crate) unknown: u64,
    /// Answers with another status than 200.
    pub(crate) refused: u64,
    /// Answers of a server that had been away and was not UP again yet.
    pub(crate) waited: u64,
    /// How often it answered again after it had not.
    pub(crate) returns: u64,
    pub(crate) notes: Vec<String>,
}

impl Ledger {
    fn note(&mut self, text: impl FnOnce() -> String) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(text());
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        (self.missing, self.unhealthy, self.unknown, self.refused) == (0, 0, 0, 0)
    }
}

/// Ephemeral or not, what a list holds: health by address and port.
pub(crate) type Seen = BTreeMap<(String, u64), bool>;

/// The list of a service; the status and text if it is none.
pub(crate) fn list(client: &mut Client, service: &str) -> std::io::Result<Result<Seen, String>> {
    let query = form(&[("serviceName", service), ("healthyOnly", "false")]);
    let answer = client.get(&format!("/nacos/v1/ns/instance/list?{query}"))?;
    if answer.status != 200 {
        return Ok(Err(format!("{} {}", answer.status, answer.text())));
    }
    let body: Value = serde_json::from_slice(&answer.body).expect("the list is JSON");
    let hosts = body["hosts"].as_array().expect("the list has hosts");
    let one = |host: &Value| {
        let place = (host["ip"].as_str().expect("an address").to_owned(), host["port"].as_u64().expect("a port"));
        (place, host["healthy"].as_bool().expect("a health"))
    };
    Ok(Ok(hosts.iter().map(one).collect()))
}

/// Watchers that poll until they are asked what they saw.
pub(crate) struct Watch {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Ledger>>,
}

/// Polls all `servers`.
pub(crate) fn start(servers: &[SocketAddr], wanted: &Wanted) -> Watch {
    let stop = Arc::new(AtomicBool::new(false));
    let threads = servers.iter().map(|server| {
        let mut watcher = Watcher {
            client: Client::new(*server),
            wanted: wanted.clone(),
            ledger: Ledger::default(),
            began: Instant::now(),
            gone: false,
        };
        let stop = stop.clone();
        thread::spawn(move || {
            watcher.watch(&stop);
            watcher.ledger
        })
    });
    Watch { threads: threads.collect(), stop: stop.clone() }
}

impl Watch {
    /// What was seen of each.
    pub(crate) fn stop(mut self) -> Vec<Ledger> {
        self.stop.store(true, Ordering::Relaxed);
        let threads = std::mem::take(&mut self.threads);
        threads.into_iter().map(|thread| thread.join().expect("a watcher does not panic")).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

struct Watcher {
    client: Client,
    wanted: Wanted,
    ledger: Ledger,
    began: Instant,
    gone: bool,
}

impl Watcher {
    fn watch(&mut self, stop: &AtomicBool) {
        let wanted = self.wanted.clone();
        while !stop.load(Ordering::Relaxed) {
            // Of a server that comes back the first answer for every service is looked at, as fast as it can.
            let back = self.gone;
            for (service, everybody) in &wanted {
                match list(&mut self.client, service) {
                    // It came back a moment ago, and asks the others what they agreed on meanwhile: still as good as away.
                    Ok(Err(why)) if self.gone && why.contains(CATCHES_UP) => self.ledger.waited += 1,
                    Ok(seen) => {
                        self.ledger.returns += u64::from(std::mem::take(&mut self.gone));
                        self.compare(service, everybody, seen);
                    }
                    Err(_) => self.gone = true,
                }
                let pause = if self.gone { RETRY } else { PAUSE };
                if self.gone || !back {
                    thread::sleep(pause);
                }
                if stop.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
    }

    fn compare(&mut self, service: &str, everybody: &BTreeSet<(String, u64)>, seen: Result<Seen, String>) {
        let (ledger, at) = (&mut self.ledger, self.began.elapsed());
        ledger.answers += 1;
        let seen = match seen {
            Ok(seen) => seen,
            Err(why) => {
                ledger.refused += 1;
                ledger.note(|| format!("{service} at {at:?}: {why}"));
                return;
            }
        };
        let missing: Vec<_> = everybody.iter().filter(|place| !seen.contains_key(place)).collect();
        let unhealthy: Vec<_> = seen.iter().filter(|(_, healthy)| !**healthy).map(|(place, _)| place).collect();
        let unknown: Vec<_> = seen.keys().filter(|place| !everybody.contains(place)).collect();
        ledger.empty += u64::from(seen.is_empty());
        ledger.missing += missing.len() as u64;
        ledger.unhealthy += unhealthy.len() as u64;
        ledger.unknown += unknown.len() as u64;
        if !(missing.is_empty() && unhealthy.is_empty() && unknown.is_empty()) {
            ledger.note(|| {
                format!("{service} at {at:?}: missing {missing:?}, unhealthy {unhealthy:?}, unknown {unknown:?}")
            });
        }
    }
}

/// Waits until all `servers` list exactly those that are wanted, all healthy; how long that took.
pub(crate) fn wait_complete(servers: &[SocketAddr], wanted: &Wanted, limit: Duration) -> Duration {
    super::trio::within(limit, "everybody is listed everywhere", || {
        for server in servers {
            let mut client = Client::new(*server);
            for (service, everybody) in wanted {
                let seen = list(&mut client, service).map_err(|error| error.to_string())??;
                let healthy: BTreeSet<_> =
                    seen.into_iter().filter(|(_, healthy)| *healthy).map(|(place, _)| place).collect();
                if healthy != *everybody {
                    return Err(format!("{server} lists {healthy:?} as healthy in {service}, not {everybody:?}"));
                }
            }
        }
        Ok(())
    })
}
