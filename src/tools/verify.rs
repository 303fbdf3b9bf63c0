//! Whether the lists have what was acknowledged: who registered is there, who deregistered is not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use super::client::{Connection, Session};
use super::fleet::{Fleet, Kind, Requests};
use super::report::plain;
use super::scenario::Expect;

/// Lists that are read at the same time.
const READERS: u32 = 16;
/// Between two looks at lists that are not right yet.
const PAUSE: Duration = Duration::from_millis(100);
const TIMEOUT: Duration = Duration::from_secs(30);
/// Faults that are told one by one.
const EXAMPLES: usize = 10;

/// A list as far as tools look at it.
#[derive(Debug, Deserialize)]
pub struct Listed {
    /// All instances.
    pub hosts: Vec<Host>,
    /// For how long a client may keep the list, in ms.
    #[serde(rename = "cacheMillis", default)]
    pub cache_millis: u64,
}

/// An instance of a list.
#[derive(Debug, Deserialize)]
pub struct Host {
    /// Its address.
    pub ip: String,
    /// Its port.
    pub port: u32,
    /// Whether the server takes it for healthy.
    #[serde(default)]
    pub healthy: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Verification {
    /// Instances whose registration was acknowledged last, and how many of them are in no list.
    pub registered: u64,
    /// Acknowledged and not there.
    pub missing: u64,
    /// Instances whose deregistration was acknowledged last.
    pub deregistered: u64,
    /// Deregistered and still there.
    pub undead: u64,
    /// There, and taken for unhealthy.
    pub unhealthy: u64,
    /// Instances of which nothing can be said: a request went unanswered or failed.
    pub in_doubt: u64,
    /// Services whose list could not be read.
    pub unread: u64,
    /// How long it took until all was right, or was given up, in ms.
    pub took_ms: u64,
    /// Some of what is wrong. Without control characters.
    pub examples: Vec<String>,
}

impl Verification {
    /// Whether everything acknowledged is as it should be.
    pub fn is_good(&self) -> bool {
        self.missing == 0 && self.undead == 0 && self.unread == 0
    }
}

/// What one list shows.
#[derive(Debug, Clone, Default)]
struct Findings {
    missing: Vec<u32>,
    undead: Vec<u32>,
    unhealthy: u64,
    unread: Option<String>,
}

impl Findings {
    fn is_good(&self) -> bool {
        self.missing.is_empty() && self.undead.is_empty() && self.unread.is_none()
    }
}

/// Compares the lists with what is expected. A server may take up to `wait` until a change shows; until then lists that
/// are not right are read again.
pub async fn verify(session: &Arc<Session>, fleet: &Fleet, expect: &[Expect], wait: Duration) -> Verification {
    let began = Instant::now();
    let requests = Arc::new(Requests::new(fleet, session.server()));
    let shared: Arc<[Expect]> = expect.into();
    let mut open: Vec<u32> = (0..fleet.services).collect();
    let mut unhealthy = 0;
    let bad = loop {
        let found = read_all(session, fleet, &requests, &shared, open).await;
        unhealthy += found.values().filter(|found| found.is_good()).map(|found| found.unhealthy).sum::<u64>();
        let bad: BTreeMap<u32, Findings> = found.into_iter().filter(|(_, found)| !found.is_good()).collect();
        if bad.is_empty() || began.elapsed() >= wait {
            break bad;
        }
        open = bad.into_keys().collect();
        tokio::time::sleep(PAUSE).await;
    };
    let count = |wanted: &[Expect]| expect.iter().filter(|expect| wanted.contains(expect)).count() as u64;
    let mut all = Verification {
        registered: count(&[Expect::Present]),
        deregistered: count(&[Expect::Absent]),
        in_doubt: count(&[Expect::Unknown, Expect::InDoubt]),
        unhealthy,
        took_ms: began.elapsed().as_millis() as u64,
        ..Verification::default()
    };
    for (service, found) in bad {
        let name = fleet.service_name(service);
        all.missing += found.missing.len() as u64;
        all.undead += found.undead.len() as u64;
        all.unhealthy += found.unhealthy;
        all.unread += u64::from(found.unread.is_some());
        let told = |what: &str, all: &[u32]| -> Vec<String> {
            all.iter().take(EXAMPLES).map(|instance| format!("{what}: instance {instance} of {name}")).collect()
        };
        all.examples.extend(told("missing", &found.missing));
        all.examples.extend(told("still there", &found.undead));
        all.examples.extend(found.unread.map(|why| format!("no list of {name}: {why}")));
        all.examples.truncate(EXAMPLES);
    }
    for example in &mut all.examples {
        *example = plain(example);
    }
    all
}

async fn read_all(
    session: &Arc<Session>,
    fleet: &Fleet,
    requests: &Arc<Requests>,
    expect: &Arc<[Expect]>,
    services: Vec<u32>,
) -> BTreeMap<u32, Findings> {
    let (next, services) = (Arc::new(AtomicU32::new(0)), Arc::new(services));
    let found = Arc::new(Mutex::new(BTreeMap::new()));
    let mut readers = JoinSet::new();
    for _ in 0..READERS.min(services.len() as u32) {
        let mut connection = Connection::new(Arc::clone(session), TIMEOUT);
        let (next, services, found) = (Arc::clone(&next), Arc::clone(&services), Arc::clone(&found));
        let (fleet, requests, expect) = (fleet.clone(), Arc::clone(requests), Arc::clone(expect));
        readers.spawn(async move {
            let (mut head, mut body) = (Vec::new(), Vec::new());
            while let Some(service) = services.get(next.fetch_add(1, Ordering::Relaxed) as usize) {
                requests.write(Kind::List, *service, &mut head, &mut body);
                let listed = match connection.ask(&head, &body).await {
                    Ok(answer) if answer.status == 200 => {
                        serde_json::from_slice::<Listed>(answer.body).map_err(|_| "the answer is not a list".to_owned())
                    }
                    Ok(answer) => Err(format!("status {}", answer.status)),
                    Err(fault) => Err(fault.to_string()),
                };
                let findings = match listed {
                    Ok(listed) => compare(&fleet, *service, &listed, &expect),
                    Err(why) => Findings { unread: Some(why), ..Findings::default() },
                };
                found.lock().insert(*service, findings);
            }
        });
    }
    while readers.join_next().await.is_some() {}
    // A reader that panicked leaves services without findings: they count as unread.
    let mut found = std::mem::take(&mut *found.lock());
    for service in services.iter() {
        found.entry(*service).or_insert_with(|| Findings { unread: Some("not read".into()), ..Findings::default() });
    }
    found
}

fn compare(fleet: &Fleet, service: u32, listed: &Listed, expect: &[Expect]) -> Findings {
    let members = fleet.members(service);
    let mut there = vec![false; members.len()];
    let mut found = Findings::default();
    for host in &listed.hosts {
        let Some(instance) = fleet.instance_at(service, &host.ip, host.port) else { continue };
        found.unhealthy += u64::from(!host.healthy);
        if let Some(place) = there.get_mut((instance / fleet.services.max(1)) as usize) {
            *place = true;
        }
    }
    for (instance, there) in members.zip(there) {
        match (expect.get(instance as usize), there) {
            (Some(Expect::Present), false) => found.missing.push(instance),
            (Some(Expect::Absent), true) => found.undead.push(instance),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::client::Server;
    use crate::tools::client::fake::Fake;

    fn fleet() -> Fleet {
        let text = String::new;
        Fleet {
            services: 2,
            instances: 6,
            prefix: "p".into(),
            namespace: text(),
            group: text(),
            metadata: text(),
            period_ms: 5_000,
        }
    }

    fn list(instances: &[u32]) -> String {
        let host = |i: &u32| format!(r#"{{"ip":"10.0.0.{i}","port":8080,"healthy":true}}"#);
        format!(r#"{{"hosts":[{}]}}"#, instances.iter().map(host).collect::<Vec<_>>().join(","))
    }

    #[tokio::test]
    async fn a_missing_and_an_undead_instance_are_found() {
        // 0, 2, 4 and 1, 3, 5; 2 is missing, 5 was deregistered and is still there, 4 came and nobody knows.
        let fake = Fake::start(|request| {
            let body = if request.contains("p-00000") { list(&[0, 4]) } else { list(&[1, 3, 5]) };
            Fake::ok(&body)
        })
        .await;
        let session = Arc::new(Session::anonymous(Server::parse(&fake.url(), false).unwrap()));
        let mut expect =
            [Expect::Present, Expect::Present, Expect::Present, Expect::Absent, Expect::InDoubt, Expect::Absent];
        let found = verify(&session, &fleet(), &expect, Duration::ZERO).await;
        assert_eq!((found.registered, found.missing, found.deregistered, found.undead), (3, 1, 2, 2));
        assert_eq!((found.in_doubt, found.unread, found.is_good()), (1, 0, false));
        assert_eq!(found.examples[0], "missing: instance 2 of p-00000");

        expect = [Expect::Present; 6];
        expect[2] = Expect::Absent;
        assert!(verify(&session, &fleet(), &expect, Duration::ZERO).await.is_good());
    }

    #[tokio::test]
    async fn a_change_may_show_a_little_later() {
        let count = AtomicU32::new(0);
        let fake = Fake::start(move |_| {
            let late = count.fetch_add(1, Ordering::Relaxed) >= 4;
            Fake::ok(&list(if late { &[0, 1, 2, 3, 4, 5] } else { &[] }))
        })
        .await;
        let session = Arc::new(Session::anonymous(Server::parse(&fake.url(), false).unwrap()));
        let expect = [Expect::Present; 6];
        assert_eq!(verify(&session, &fleet(), &expect, Duration::ZERO).await.missing, 6);
        let found = verify(&session, &fleet(), &expect, Duration::from_secs(20)).await;
        assert!(found.is_good() && found.took_ms >= 90, "{found:?}");
    }

    #[tokio::test]
    async fn a_server_that_does_not_answer_proves_nothing() {
        let fake = Fake::start(|_| "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".into()).await;
        let session = Arc::new(Session::anonymous(Server::parse(&fake.url(), false).unwrap()));
        let found = verify(&session, &fleet(), &[Expect::Untouched; 6], Duration::ZERO).await;
        assert_eq!((found.unread, found.missing, found.is_good()), (2, 0, false));
        assert_eq!(found.examples[0], "no list of p-00000: status 503");
    }
}
