//! What is asked for and what the answer has to be. Requests have the parameters of the Java client 1.4.2.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::OnceLock;

use serde_json::Value;

use nacre::tools::bench::bare::ANSWER;

/// Instances of a service.
pub(crate) const SIZE: usize = 10;

const PORT: u16 = 8080;
const NEW_PORT: u16 = 9000;
const BEAT_ANSWER: &[u8] = br#"{"clientBeatInterval":5000,"code":10200,"lightBeatEnabled":true}"#;
const OK: &[u8] = b"ok";
const NAME: &str = "DEFAULT_GROUP@@rates-";
const REF_TIME: &[u8] = br#""lastRefTime":"#;

/// A kind of request. Each request has a number, which says for which instance it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// As little as can be, to the bare server.
    Bare,
    /// The request of a light beat, to the bare server.
    BareBeat,
    /// A light beat of a known instance.
    Beat,
    /// The instances of a service.
    List,
    /// Registers a known instance once more (the first time: makes it known).
    Existing,
    /// Registers an instance that nobody has seen.
    New,
    /// Deregisters the one that [`Work::New`] registered under this number.
    Remove,
}

/// The instances that every server knows, [`SIZE`] in each service.
pub(crate) struct Fleet {
    services: usize,
    /// Requests that are sent again and again, by number: to put them together would cost the load what a beat costs
    /// the server.
    beats: Vec<Vec<u8>>,
    queries: Vec<Vec<u8>>,
    registrations: Vec<Vec<u8>>,
    lists: Vec<OnceLock<List>>,
}

/// A list that was found to be right; only its time may be another one later.
struct List {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl List {
    fn split(body: &[u8]) -> Option<(&[u8], &[u8])> {
        let at = body.windows(REF_TIME.len()).position(|window| window == REF_TIME)? + REF_TIME.len();
        let (before, rest) = body.split_at_checked(at)?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        Some((before, rest.get(digits..)?))
    }

    fn is(&self, body: &[u8]) -> bool {
        let time = body.strip_prefix(self.before.as_slice()).and_then(|rest| rest.strip_suffix(self.after.as_slice()));
        time.is_some_and(|time| !time.is_empty() && time.iter().all(u8::is_ascii_digit))
    }
}

impl Fleet {
    pub(crate) fn new(services: usize) -> Self {
        let lists = (0..services).map(|_| OnceLock::new()).collect();
        let empty = Self { services, beats: Vec::new(), queries: Vec::new(), registrations: Vec::new(), lists };
        let all = |work, count| (0..count).map(|number| empty.made(work, number)).collect();
        let (beats, registrations) = (all(Work::Beat, empty.known()), all(Work::Existing, empty.known()));
        let queries = all(Work::List, services as u64);
        Self { beats, queries, registrations, ..empty }
    }

    /// How many instances it has.
    pub(crate) fn known(&self) -> u64 {
        (self.services * SIZE) as u64
    }

    /// Requests that follow each other are for different services.
    fn service(&self, number: u64) -> usize {
        (number % self.services as u64) as usize
    }

    /// The address of the known instance `number`.
    fn ip(&self, number: u64) -> String {
        let (service, nth) = (self.service(number), number / self.services as u64 % SIZE as u64);
        format!("10.{}.{}.{}", service / 250, service % 250, nth + 1)
    }

    /// The request `number` of `work`; `made` is for one that is not kept.
    pub(crate) fn request<'a>(&'a self, work: Work, number: u64, made: &'a mut Vec<u8>) -> &'a [u8] {
        let kept = match work {
            Work::Beat | Work::BareBeat => &self.beats,
            Work::List => &self.queries,
            Work::Existing => &self.registrations,
            Work::Bare | Work::New | Work::Remove => {
                self.write_request(work, number, made);
                return made;
            }
        };
        kept.get((number % kept.len() as u64) as usize).map(Vec::as_slice).unwrap_or_default()
    }

    fn made(&self, work: Work, number: u64) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_request(work, number, &mut out);
        out
    }

    /// The same headers for all, as few as can be.
    fn write_request(&self, work: Work, number: u64, out: &mut Vec<u8>) {
        const AGENT: &str = "Host: 127.0.0.1\r\nUser-Agent: Nacos-Java-Client:v1.4.2\r\n";
        const PREFIX: &str = "/nacos/v1/ns/instance";
        let (known, service) = (|| self.ip(number), self.service(number));
        let name = format_args!("app=unknown&namespaceId=public&serviceName=DEFAULT_GROUP%40%40rates-{service:05}");
        out.clear();
        let written = match work {
            Work::Bare => write!(out, "GET / HTTP/1.1\r\n{AGENT}\r\n"),
            Work::Beat | Work::BareBeat => write!(
                out,
                "PUT {PREFIX}/beat?{name}&port={PORT}&clusterName=DEFAULT&ip={} HTTP/1.1\r\n{AGENT}Content-Length: 0\r\n\r\n",
                known()
            ),
            Work::List => write!(
                out,
                "GET {PREFIX}/list?{name}&clusters=&udpPort=0&clientIP=127.0.0.1&healthyOnly=false HTTP/1.1\r\n{AGENT}\r\n"
            ),
            Work::Existing | Work::New => {
                let (ip, port) = if work == Work::New { new_address(number) } else { (known(), PORT) };
                write!(
                    out,
                    "POST {PREFIX}?{name}&groupName=DEFAULT_GROUP&clusterName=DEFAULT&ip={ip}&port={port}&weight=1.0\
                     &enable=true&healthy=true&ephemeral=true&metadata=%7B%7D HTTP/1.1\r\n{AGENT}Content-Length: 0\r\n\r\n"
                )
            }
            Work::Remove => {
                let (ip, port) = new_address(number);
                write!(
                    out,
                    "DELETE {PREFIX}?{name}&clusterName=DEFAULT&ip={ip}&port={port}&ephemeral=true HTTP/1.1\r\n{AGENT}\r\n"
                )
            }
        };
        debug_assert!(written.is_ok(), "memory takes everything");
    }

    /// Whether `body` is the right answer to the request `number` of `work`.
    pub(crate) fn is_answer(&self, work: Work, number: u64, body: &[u8]) -> bool {
        match work {
            Work::Bare | Work::BareBeat => body == ANSWER.as_bytes(),
            Work::Beat => body == BEAT_ANSWER,
            Work::Existing | Work::New | Work::Remove => body == OK,
            Work::List => self.is_list(self.service(number), body),
        }
    }

    fn is_list(&self, service: usize, body: &[u8]) -> bool {
        let Some(list) = self.lists.get(service) else { return false };
        if let Some(list) = list.get() {
            return list.is(body);
        }
        let (Some((before, after)), true) = (List::split(body), self.is_complete(service, body)) else { return false };
        let list = list.get_or_init(|| List { before: before.into(), after: after.into() });
        list.is(body)
    }

    /// Whether it is the list of all instances of `service`, each of them healthy.
    fn is_complete(&self, service: usize, body: &[u8]) -> bool {
        let Ok(list) = serde_json::from_slice::<Value>(body) else { return false };
        let hosts = list.get("hosts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let live = |host: &&Value| ["healthy", "enabled"].iter().all(|name| host.get(name) == Some(&Value::Bool(true)));
        let ips: BTreeSet<_> = hosts.iter().filter(live).filter_map(|host| host.get("ip")?.as_str()).collect();
        let wanted: Vec<_> = (0..SIZE).map(|nth| self.ip((nth * self.services + service) as u64)).collect();
        let name = format!("{NAME}{service:05}");
        list.get("name").and_then(Value::as_str) == Some(name.as_str())
            && hosts.len() == SIZE
            && ips == wanted.iter().map(String::as_str).collect()
    }
}

/// The instance `number` of those that are registered as new: 2^24 addresses, then the next port.
fn new_address(number: u64) -> (String, u16) {
    let [.., a, b, c] = number.to_be_bytes();
    (format!("11.{a}.{b}.{c}"), NEW_PORT + ((number >> 24) & 0x3fff) as u16)
}
