//! A subscriber: polls lists with a UDP port as the Java client does, takes pushes and acknowledges them. It tells when
//! a change became known, and how.

use std::io::Read as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::UdpSocket;

use crate::error::{Error, Result};
use crate::tools::client::{Connection, Session, encoded};
use crate::tools::fleet::{self, Fleet};
use crate::tools::verify::Listed;

/// A client that hears nothing, or of nobody, asks again after 1, 2, 4 ... s, at most this.
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// Between two polls, whatever the server says.
const POLLS_MS: std::ops::RangeInclusive<u64> = 500..=60_000;
const TIMEOUT: Duration = Duration::from_secs(5);
const DATAGRAM_BYTES: usize = 65_536;
/// Of an unpacked push.
const MAX_PUSH_BYTES: u64 = 16 << 20;

/// What became of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub(super) struct Change {
    /// From the request for the change until a push had it, in ms.
    pub(super) pushed_ms: Option<u64>,
    /// Until a poll had it.
    pub(super) polled_ms: Option<u64>,
}

/// The change that is waited for in a service.
#[derive(Debug, Clone, Copy)]
struct Awaited {
    address: IpAddr,
    since: Instant,
    change: Change,
}

/// A subscriber of the first services of a fleet.
#[derive(Debug)]
pub(super) struct Subscriber {
    session: Arc<Session>,
    fleet: Arc<Fleet>,
    socket: UdpSocket,
    client_ip: IpAddr,
    udp_port: u16,
    /// By service.
    awaited: Mutex<Vec<Option<Awaited>>>,
}

#[derive(Deserialize)]
struct Push {
    data: String,
    /// A number; what is acknowledged is its text.
    #[serde(rename = "lastRefTime")]
    last_ref_time: Value,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(flatten)]
    listed: Listed,
}

impl Subscriber {
    /// Of the first `services` ones. Opens its socket at the address from which this machine talks to the server.
    ///
    /// # Errors
    /// [`Error::Setup`] when that is not possible.
    pub(super) async fn new(session: &Arc<Session>, fleet: &Arc<Fleet>, services: u32) -> Result<Arc<Self>> {
        let fault = |error: std::io::Error| Error::Setup(format!("no UDP socket for pushes: {error}"));
        let server = session.server().address;
        let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let probe = UdpSocket::bind(any).await.map_err(fault)?;
        probe.connect(server).await.map_err(fault)?;
        let client_ip = probe.local_addr().map_err(fault)?.ip();
        let socket = UdpSocket::bind((client_ip, 0)).await.map_err(fault)?;
        let udp_port = socket.local_addr().map_err(fault)?.port();
        Ok(Arc::new(Self {
            session: Arc::clone(session),
            fleet: Arc::clone(fleet),
            socket,
            client_ip,
            udp_port,
            awaited: Mutex::new(vec![None; services as usize]),
        }))
    }

    /// From now on waits for a list of `service` with an instance of this address.
    pub(super) fn expect(&self, service: u32, address: IpAddr) {
        if let Some(place) = self.awaited.lock().get_mut(service as usize) {
            *place = Some(Awaited { address, since: Instant::now(), change: Change::default() });
        }
    }

    /// What became of all changes that were expected; none are from now on.
    pub(super) fn changes(&self) -> Vec<Change> {
        self.awaited.lock().iter_mut().filter_map(|place| place.take().map(|awaited| awaited.change)).collect()
    }

    /// Whether all changes came by push.
    pub(super) fn all_pushed(&self) -> bool {
        self.awaited.lock().iter().flatten().all(|awaited| awaited.change.pushed_ms.is_some())
    }

    fn seen(&self, service: u32, listed: &Listed, pushed: bool) {
        let mut awaited = self.awaited.lock();
        let Some(Some(awaited)) = awaited.get_mut(service as usize) else { return };
        if listed.hosts.iter().any(|host| host.ip.parse() == Ok(awaited.address)) {
            let change = &mut awaited.change;
            let place = if pushed { &mut change.pushed_ms } else { &mut change.polled_ms };
            place.get_or_insert(awaited.since.elapsed().as_millis() as u64);
        }
    }

    /// Takes pushes. Never ends.
    pub(super) async fn listen(self: Arc<Self>) {
        let mut bytes = vec![0; DATAGRAM_BYTES];
        loop {
            // Errors are those of acknowledgements that did not arrive: the server is down.
            let Ok((length, from)) = self.socket.recv_from(&mut bytes).await else { continue };
            let Some(push) = read_push(bytes.get(..length).unwrap_or_default()) else { continue };
            let time = push.last_ref_time.to_string();
            let ack =
                format!("{{\"type\": \"push-ack\", \"lastRefTime\":\"{}\", \"data\":\"\"}}", time.trim_matches('"'));
            let _ = self.socket.send_to(ack.as_bytes(), from).await;
            let Ok(named) = serde_json::from_str::<Named>(&push.data) else { continue };
            if let Some(service) = self.service(&named.name) {
                self.seen(service, &named.listed, true);
            }
        }
    }

    fn service(&self, name: &str) -> Option<u32> {
        let plain = name.split_once("@@").map_or(name, |(_, plain)| plain);
        let number = plain.strip_prefix(self.fleet.prefix.as_str())?.strip_prefix('-')?;
        number.parse().ok()
    }

    /// Polls a service, first after `phase`. Never ends.
    pub(super) async fn poll(self: Arc<Self>, service: u32, phase: Duration) {
        let fleet = &self.fleet;
        let request = fleet::get(
            self.session.server(),
            &format!(
                "/v1/ns/instance/list?namespaceId={}&serviceName={}&clusters=&udpPort={}&clientIP={}&healthyOnly=false&app=unknown",
                encoded(&fleet.namespace),
                encoded(&format!("{}@@{}", fleet.group, fleet.service_name(service))),
                self.udp_port,
                self.client_ip
            ),
        );
        let mut connection = Connection::new(Arc::clone(&self.session), TIMEOUT);
        tokio::time::sleep(phase).await;
        let mut failures = 0;
        loop {
            let answer = connection.ask(&request, b"").await.ok().filter(|answer| answer.status == 200);
            let listed = answer.and_then(|answer| serde_json::from_slice::<Listed>(answer.body).ok());
            if let Some(listed) = &listed {
                self.seen(service, listed, false);
            }
            tokio::time::sleep(pause(listed.as_ref(), &mut failures)).await;
        }
    }
}

/// Until the next poll.
fn pause(listed: Option<&Listed>, failures: &mut u32) -> Duration {
    match listed {
        Some(listed) if !listed.hosts.is_empty() => {
            *failures = 0;
            Duration::from_millis(listed.cache_millis.clamp(*POLLS_MS.start(), *POLLS_MS.end()))
        }
        _ => {
            let pause = Duration::from_secs(1 << (*failures).min(6));
            *failures += 1;
            pause.min(MAX_BACKOFF)
        }
    }
}

fn read_push(bytes: &[u8]) -> Option<Push> {
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return serde_json::from_slice(bytes).ok();
    }
    let mut text = Vec::new();
    GzDecoder::new(bytes).take(MAX_PUSH_BYTES).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::tools::client::Server;
    use crate::tools::client::fake::Fake;

    #[test]
    fn polls_slow_down_while_there_is_nobody() {
        let listed = |hosts: &str| {
            serde_json::from_str::<Listed>(&format!(r#"{{"hosts":[{hosts}],"cacheMillis":10000}}"#)).unwrap()
        };
        let (full, empty, mut failures) = (listed(r#"{"ip":"10.0.0.1","port":1}"#), listed(""), 0);
        let mut seconds = |listed: Option<&Listed>| pause(listed, &mut failures).as_secs();
        assert_eq!([seconds(Some(&full)), seconds(None), seconds(Some(&empty)), seconds(None)], [10, 1, 2, 4]);
        assert_eq!((4..9).map(|_| seconds(None)).collect::<Vec<_>>(), [8, 16, 32, 60, 60]);
        assert_eq!([seconds(Some(&full)), seconds(None)], [10, 1]);
    }

    #[tokio::test]
    async fn a_change_is_known_by_push_and_by_poll_and_pushes_are_acknowledged() {
        let list = r#"{"name":"G@@p-00001","hosts":[{"ip":"10.0.0.9","port":8080}],"cacheMillis":10000}"#;
        let fake = Fake::start(move |_| Fake::ok(list)).await;
        let session = Arc::new(Session::anonymous(Server::parse(&fake.url(), false).unwrap()));
        let fleet = Arc::new(Fleet {
            services: 2,
            instances: 2,
            prefix: "p".into(),
            namespace: "public".into(),
            group: "G".into(),
            metadata: "{}".into(),
            period_ms: 5_000,
        });
        let subscriber = Subscriber::new(&session, &fleet, 2).await.unwrap();
        tokio::spawn(Arc::clone(&subscriber).listen());
        subscriber.expect(0, IpAddr::from([10, 0, 0, 9]));
        subscriber.expect(1, IpAddr::from([10, 0, 0, 9]));
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let push = serde_json::json!({"type": "dom", "data": list, "lastRefTime": 77}).to_string();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        packed.write_all(push.as_bytes()).unwrap();
        for bytes in [b"rubbish".as_slice(), b"\x1f\x8brubbish", &packed.finish().unwrap()] {
            server.send_to(bytes, (subscriber.client_ip, subscriber.udp_port)).await.unwrap();
        }
        let mut ack = [0; 200];
        let length = server.recv(&mut ack).await.unwrap();
        assert_eq!(&ack[..length], br#"{"type": "push-ack", "lastRefTime":"77", "data":""}"#);
        while subscriber.awaited.lock()[1].unwrap().change.pushed_ms.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert!(!subscriber.all_pushed());
        let poll = tokio::spawn(Arc::clone(&subscriber).poll(0, Duration::ZERO));
        while subscriber.awaited.lock()[0].unwrap().change.polled_ms.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        poll.abort();
        let changes = subscriber.changes();
        assert!(changes[0].pushed_ms.is_none() && changes[1].pushed_ms.is_some() && changes[1].polled_ms.is_none());
        assert!(subscriber.changes().is_empty());
    }
}
