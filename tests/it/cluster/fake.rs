//! A member that is a real Nacos 1.4.8, as far as others can tell: it answers what such a node answers, byte by byte where
//! that is known (`spec/distro.md`, `spec/members.md`), and keeps every request that it gets.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::trio::within;
use crate::client::{Answer, Client};
use crate::server::free_port;

const KEY: &str = "com.alibaba.nacos.naming.iplist.ephemeral.public##DEFAULT_GROUP@@";
const MAX_REQUEST: u64 = 16 << 20;

/// The key of the list of a service in the default group.
pub(crate) fn key(service: &str) -> String {
    format!("{KEY}{service}")
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) method: String,
    /// Path and query.
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Seen {
    pub(crate) fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// A parameter of the query, decoded.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        let query = self.target.split_once('?')?.1;
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
        let text = value.replace('+', " ");
        percent_encoding::percent_decode_str(&text).decode_utf8().ok().map(Into::into)
    }

    pub(crate) fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_str(&text).unwrap_or_else(|fault| panic!("{} {}: {fault}: {text}", self.method, self.target))
    }
}

struct State {
    address: SocketAddr,
    seen: Mutex<Vec<Seen>>,
    /// What it holds: lists by key.
    lists: Mutex<BTreeMap<String, Value>>,
    /// The health that it tells of instances, by key as in `instance/statuses`.
    statuses: Mutex<BTreeMap<String, Vec<String>>>,
    stop: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

pub(crate) struct Fake {
    state: Arc<State>,
    listening: Option<JoinHandle<()>>,
}

impl Fake {
    /// A member that does not listen yet.
    pub(crate) fn new() -> Self {
        let state = State {
            address: SocketAddr::from(([127, 0, 0, 1], free_port())),
            seen: Mutex::default(),
            lists: Mutex::default(),
            statuses: Mutex::default(),
            stop: AtomicBool::new(false),
            open: Mutex::default(),
        };
        Self { state: Arc::new(state), listening: None }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.state.address
    }

    pub(crate) fn listen(&mut self) {
        let listener = TcpListener::bind(self.address()).expect("a free port");
        self.state.stop.store(false, Ordering::SeqCst);
        let state = self.state.clone();
        self.listening = Some(thread::spawn(move || {
            for stream in listener.incoming() {
                if state.stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                state.open.lock().expect("a lock").push(stream.try_clone().expect("a handle"));
                let state = state.clone();
                thread::spawn(move || state.serve(stream));
            }
        }));
    }

    /// Nobody listens any more, and what is open is closed.
    pub(crate) fn stop(&mut self) {
        let Some(listening) = self.listening.take() else { return };
        self.state.stop.store(true, Ordering::SeqCst);
        // Wakes it.
        drop(TcpStream::connect(self.address()));
        listening.join().expect("the listener does not panic");
        for stream in self.state.open.lock().expect("a lock").drain(..) {
            // The other side may have closed it.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// It holds this list from now on.
    pub(crate) fn hold(&self, service: &str, instances: &[Value]) {
        self.state.lists.lock().expect("a lock").insert(key(service), datum(service, instances));
    }

    /// What it says of the health of the instances of a service: `ip:port_true`.
    pub(crate) fn say_health(&self, service: &str, health: &[&str]) {
        let health = health.iter().map(|one| (*one).to_owned()).collect();
        self.state.statuses.lock().expect("a lock").insert(format!("public##DEFAULT_GROUP@@{service}"), health);
    }

    /// All that came so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().expect("a lock").clone()
    }

    /// What came with that method and path.
    pub(crate) fn seen_at(&self, method: &str, path: &str) -> Vec<Seen> {
        self.seen().into_iter().filter(|seen| seen.method == method && seen.path() == path).collect()
    }

    /// The first request of that kind that is `wanted`, as soon as there is one.
    pub(crate) fn wait_for(&self, limit: Duration, method: &str, path: &str, wanted: impl Fn(&Seen) -> bool) -> Seen {
        let mut found = None;
        within(limit, &format!("{method} {path}"), || {
            found = self.seen_at(method, path).into_iter().find(|seen| wanted(seen));
            found.as_ref().map(|_| ()).ok_or_else(|| {
                let all: Vec<_> = self.seen().iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect();
                format!("{all:#?}")
            })
        });
        found.expect("it was found")
    }

    /// How it describes itself.
    pub(crate) fn member(&self) -> Value {
        self.state.member()
    }

    /// Says that it is there, as it does every 2 s.
    pub(crate) fn report_to(&self, server: SocketAddr) -> Answer {
        let body = self.member().to_string();
        self.send(server, "POST", "/nacos/v1/core/cluster/report", &REPORT_HEADERS, body.as_bytes())
    }

    /// Sends a request with exactly these headers, `Host` and `Content-Length`.
    pub(crate) fn send(
        &self,
        server: SocketAddr,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let body = (!body.is_empty()).then_some(body);
        Client::new(server).send(method, target, &headers, body).expect("an answer")
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if !thread::panicking() {
            self.stop();
        }
    }
}

/// `spec/members.md` 4.
pub(crate) const REPORT_HEADERS: [(&str, &str); 5] = [
    ("Accept-Charset", "UTF-8"),
    ("Accept-Encoding", "gzip"),
    ("Content-Type", "application/json;charset=UTF-8"),
    ("Nacos-Server", "1.4.8"),
    ("User-Agent", "Apache-HttpAsyncClient/4.1.3 (Java/17.0.15)"),
];
/// `spec/distro.md` 6: the body is not packed, whatever they say.
pub(crate) const PUSH_HEADERS: [(&str, &str); 7] = [
    ("Accept-Charset", "UTF-8"),
    ("Accept-Encoding", "gzip,deflate,sdch"),
    ("Client-Version", "1.4.8"),
    ("Connection", "Keep-Alive"),
    ("Content-Encoding", "gzip"),
    ("Content-Type", "application/json;charset=UTF-8"),
    ("User-Agent", "Nacos-Server:1.4.8"),
];
/// `spec/distro.md` 7.
pub(crate) const CHECKSUM_HEADERS: [(&str, &str); 6] = [
    ("Accept-Charset", "UTF-8"),
    ("Accept-Encoding", "gzip"),
    ("Client-Version", "1.4.8"),
    ("Connection", "Keep-Alive"),
    ("Content-Type", "application/json;charset=UTF-8"),
    ("User-Agent", "Nacos-Server:1.4.8"),
];
/// `spec/distro.md` 8: a GET with a body, and not the agent of a server.
pub(crate) const FETCH_HEADERS: [(&str, &str); 5] = [
    ("Accept-Charset", "UTF-8"),
    ("Accept-Encoding", "gzip"),
    ("Content-Type", "application/json;charset=UTF-8"),
    ("Connection", "Keep-Alive"),
    ("User-Agent", "Apache-HttpClient/4.5.14 (Java/17.0.15)"),
];

/// An instance as a real node sends it (`spec/distro.md` 3).
pub(crate) fn instance(service: &str, ip: &str, port: u16) -> Value {
    json!({
        "instanceId": format!("{ip}#{port}#DEFAULT#DEFAULT_GROUP@@{service}"), "ip": ip, "port": port, "weight": 1.0,
        "healthy": true, "enabled": true, "ephemeral": true, "clusterName": "DEFAULT",
        "serviceName": format!("DEFAULT_GROUP@@{service}"), "metadata": {}, "lastBeat": now_ms(), "marked": false,
        "app": "DEFAULT", "instanceHeartBeatInterval": 5000, "instanceIdGenerator": "simple",
        "instanceHeartBeatTimeOut": 15000, "ipDeleteTimeout": 30000
    })
}

pub(crate) fn now_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_millis()).expect("a time")
}

pub(crate) fn datum(service: &str, instances: &[Value]) -> Value {
    json!({"key": key(service), "value": {"instanceList": instances}, "timestamp": 1})
}

impl State {
    fn member(&self) -> Value {
        let port = self.address.port();
        let raft = format!("127.0.0.1:{}", port - 1000);
        json!({
            "ip": "127.0.0.1", "port": port, "state": "UP",
            "extendInfo": {
                "lastRefreshTime": now_ms(),
                "raftMetaData": {"metaDataMap": {"naming_persistent_service": {
                    "leader": raft, "raftGroupMember": [raft], "term": 1
                }}},
                "raftPort": (port - 1000).to_string(), "version": "1.4.8"
            },
            "address": self.address.to_string(), "failAccessCnt": 0
        })
    }

    fn serve(&self, stream: TcpStream) {
        let mut out = stream.try_clone().expect("a handle");
        let mut stream = BufReader::new(stream.take(MAX_REQUEST));
        while let Ok(Some(seen)) = read_request(&mut stream) {
            let answer = self.answer(&seen);
            self.seen.lock().expect("a lock").push(seen);
            if out.write_all(&answer).is_err() {
                return;
            }
            stream.get_mut().set_limit(MAX_REQUEST);
        }
    }

    fn answer(&self, seen: &Seen) -> Vec<u8> {
        let lists = || self.lists.lock().expect("a lock").clone();
        let given = || serde_json::from_slice::<Value>(&seen.body).ok();
        let empty = "caused: receive empty entity!;";
        match (seen.method.as_str(), seen.path()) {
            ("POST", "/nacos/v1/core/cluster/report") => {
                let answer = json!({"code": 200, "message": null, "data": "true"});
                chunked(200, Some("application/json"), &answer.to_string())
            }
            ("GET", "/nacos/v1/core/cluster/self") => {
                let answer = json!({"code": 200, "message": null, "data": self.member()});
                chunked(200, Some("application/json"), &answer.to_string())
            }
            ("PUT", "/nacos/v1/ns/distro/datum") => match given().as_ref().and_then(Value::as_object) {
                Some(map) if !map.is_empty() => whole(200, "text/plain;charset=UTF-8", "ok"),
                Some(_) => whole(500, "text/plain;charset=UTF-8", empty),
                None => whole(500, "text/plain;charset=UTF-8", "caused: JSON parse error: it is none;"),
            },
            ("PUT", "/nacos/v1/ns/distro/checksum") if seen.parameter("source").is_some() && given().is_some() => {
                whole(200, "text/plain;charset=UTF-8", "ok")
            }
            ("GET", "/nacos/v1/ns/distro/datum") => {
                let keys = given().and_then(|body| body["keys"].as_str().map(str::to_owned)).unwrap_or_default();
                let lists = lists();
                let wanted: BTreeMap<_, _> =
                    lists.iter().filter(|(key, _)| keys.split(',').any(|one| one == *key)).collect();
                chunked(200, Some("application/octet-stream"), &json!(wanted).to_string())
            }
            ("GET", "/nacos/v1/ns/distro/datums") => {
                chunked(200, Some("application/octet-stream"), &json!(lists()).to_string())
            }
            ("POST", "/nacos/v1/ns/service/status") => whole(200, "text/plain;charset=UTF-8", "ok"),
            ("GET", "/nacos/v1/ns/instance/statuses") => {
                let known = self.statuses.lock().expect("a lock").clone();
                let ips = seen.parameter("key").and_then(|key| known.get(&key).cloned());
                match ips {
                    Some(ips) => chunked(200, Some("application/json;charset=UTF-8"), &json!({"ips": ips}).to_string()),
                    None => whole(500, "text/plain;charset=UTF-8", "caused: service: it not found.;"),
                }
            }
            ("PUT", "/nacos/v1/ns/instance/beat") => {
                let answer = json!({"clientBeatInterval": 5000, "code": 10200, "lightBeatEnabled": true});
                chunked(200, Some("application/json;charset=UTF-8"), &answer.to_string())
            }
            ("POST" | "PUT" | "DELETE", "/nacos/v1/ns/instance") => whole(200, "text/plain;charset=UTF-8", "ok"),
            (method, path) => whole(501, "text/plain;charset=UTF-8", &format!("no such api:{method}:{path}")),
        }
    }
}

/// Paths that real nodes answer; with anything else they can do nothing.
pub(crate) const KNOWN_PATHS: [&str; 9] = [
    "/nacos/v1/core/cluster/report",
    "/nacos/v1/core/cluster/self",
    "/nacos/v1/ns/distro/datum",
    "/nacos/v1/ns/distro/datums",
    "/nacos/v1/ns/distro/checksum",
    "/nacos/v1/ns/service/status",
    "/nacos/v1/ns/instance/statuses",
    "/nacos/v1/ns/instance/beat",
    "/nacos/v1/ns/instance",
];

fn whole(status: u16, kind: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status} \r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nDate: x\r\nKeep-Alive: timeout=60\r\nConnection: keep-alive\r\n\r\n{body}").into_bytes()
}

fn chunked(status: u16, kind: Option<&str>, body: &str) -> Vec<u8> {
    let kind = kind.map(|kind| format!("Content-Type: {kind}\r\n")).unwrap_or_default();
    let mut answer = format!("HTTP/1.1 {status} \r\n{kind}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    for piece in body.as_bytes().chunks(4_096) {
        answer.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
        answer.extend_from_slice(piece);
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"0\r\n\r\n");
    answer
}

/// `None` at the end of the connection.
fn read_request(from: &mut BufReader<io::Take<TcpStream>>) -> io::Result<Option<Seen>> {
    let mut line = String::new();
    if from.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        from.read_line(&mut line)?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or(io::ErrorKind::InvalidData)?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut seen = Seen { at: Instant::now(), method, target, headers, body: Vec::new() };
    let length: usize = seen.header("Content-Length").and_then(|length| length.parse().ok()).unwrap_or_default();
    seen.body.resize(length, 0);
    from.read_exact(&mut seen.body)?;
    Ok(Some(seen))
}
