//! The services and instances of a tool, and every request about them, with the parameters of the Java client 1.4.2
//! (`spec/clients.md` 3.1).
//!
//! Instances have numbers from 0; instance `n` is in service `n % services`, so requests in the order of numbers go to
//! different services.

use std::io::Write as _;
use std::net::Ipv4Addr;

use super::client::{Server, encoded};

/// All instances have it; their addresses differ.
const PORT: u16 = 8080;
/// Addresses are 10.a.b.c.
pub const MAX_INSTANCES: u32 = 1 << 24;
const CLUSTER: &str = "DEFAULT";
const AGENT: &str = "Nacos-Java-Client:v1.4.2";

/// What a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// POST of an instance.
    Register,
    /// DELETE of an instance.
    Deregister,
    /// A beat with the instance in its body.
    BeatFull,
    /// A beat without.
    BeatLight,
    /// The instances of a service.
    List,
}

impl Kind {
    /// All of them, in the order of reports.
    pub const ALL: [Kind; 5] = [Self::Register, Self::Deregister, Self::BeatFull, Self::BeatLight, Self::List];

    /// For people and files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::Deregister => "deregister",
            Self::BeatFull => "beat-full",
            Self::BeatLight => "beat-light",
            Self::List => "list",
        }
    }
}

/// Who is registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// How many services, at least 1.
    pub services: u32,
    /// How many instances in all, at most [`MAX_INSTANCES`].
    pub instances: u32,
    /// Services are called `PREFIX-00000` and so on.
    pub prefix: String,
    /// Namespace id.
    pub namespace: String,
    /// Group of all services.
    pub group: String,
    /// Of every instance, as a JSON object.
    pub metadata: String,
    /// Between two beats, as beats say it.
    pub period_ms: u64,
}

impl Fleet {
    /// The service of that instance.
    pub fn service_of(&self, instance: u32) -> u32 {
        instance % self.services.max(1)
    }

    /// The name of a service without its group.
    pub fn service_name(&self, service: u32) -> String {
        format!("{}-{service:05}", self.prefix)
    }

    /// The instances of that service.
    pub fn members(&self, service: u32) -> impl ExactSizeIterator<Item = u32> + use<> {
        (service..self.instances).step_by(self.services.max(1) as usize)
    }

    /// The instance with this address, if it is one of `service`.
    pub fn instance_at(&self, service: u32, ip: &str, port: u32) -> Option<u32> {
        let [ten, a, b, c] = ip.parse::<Ipv4Addr>().ok()?.octets();
        let instance = u32::from_be_bytes([0, a, b, c]);
        let known = ten == 10 && port == u32::from(PORT) && instance < self.instances;
        (known && self.service_of(instance) == service).then_some(instance)
    }
}

/// The address of an instance.
pub fn ip(instance: u32) -> Ipv4Addr {
    Ipv4Addr::from((10 << 24) | (instance & (MAX_INSTANCES - 1)))
}

/// A part of a request.
#[derive(Debug, Clone)]
enum Piece {
    Text(Box<[u8]>),
    Service,
    Ip,
}

/// The requests of a fleet, put together from prepared pieces.
#[derive(Debug, Clone)]
pub struct Requests {
    services: u32,
    heads: [Vec<Piece>; 5],
    /// Of a full beat.
    beat: Vec<Piece>,
}

/// Stand in a pattern for what differs from request to request; a NUL is in no name.
const SERVICE: &str = "\0s";
const IP: &str = "\0i";

fn pieces(pattern: &str) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for (nth, part) in pattern.split('\0').enumerate() {
        let text = match (nth, part.as_bytes().first()) {
            (0, _) => part,
            (_, Some(b's')) => {
                pieces.push(Piece::Service);
                part.get(1..).unwrap_or_default()
            }
            _ => {
                pieces.push(Piece::Ip);
                part.get(1..).unwrap_or_default()
            }
        };
        pieces.push(Piece::Text(text.as_bytes().into()));
    }
    pieces
}

fn write_pieces(pieces: &[Piece], service: u32, instance: u32, out: &mut Vec<u8>) {
    out.clear();
    for piece in pieces {
        // Memory takes everything.
        let _ = match piece {
            Piece::Text(text) => out.write_all(text),
            Piece::Service => write!(out, "{service:05}"),
            Piece::Ip => write!(out, "{}", ip(instance)),
        };
    }
}

impl Requests {
    /// The requests of `fleet` to `server`.
    pub fn new(fleet: &Fleet, server: &Server) -> Self {
        let Server { host, context, .. } = server;
        let (namespace, group, prefix) = (encoded(&fleet.namespace), encoded(&fleet.group), encoded(&fleet.prefix));
        let path = format!("{context}/v1/ns/instance");
        let common = format!("app=unknown&namespaceId={namespace}&serviceName={group}%40%40{prefix}-{SERVICE}");
        let one = format!("{common}&clusterName={CLUSTER}&ip={IP}&port={PORT}");
        let metadata = encoded(&fleet.metadata);
        let name = serde_json::Value::from(format!("{}@@{}-", fleet.group, fleet.prefix)).to_string();
        let name = name.strip_suffix('"').unwrap_or_default();
        let json = format!(
            "{{\"cluster\":\"{CLUSTER}\",\"ip\":\"\u{1}\",\"metadata\":{},\"period\":{},\"port\":{PORT},\"scheduled\":false,\
             \"serviceName\":{name}\u{2}\",\"stopped\":false,\"weight\":1.0}}",
            fleet.metadata, fleet.period_ms
        );
        let beat = format!("beat={}&", encoded(&json).replace("%01", IP).replace("%02", SERVICE));
        // The length of a beat differs with the address: see `write`.
        let head = |line: &str, more: &str| {
            pieces(&format!(
                "{line} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {AGENT}\r\nClient-Version: 1.4.2\r\n{more}"
            ))
        };
        let empty = "Content-Length: 0\r\n";
        let register = format!(
            "POST {path}?{one}&groupName={group}&weight=1.0&enable=true&healthy=true&ephemeral=true&metadata={metadata}"
        );
        let list = format!("GET {path}/list?{common}&clusters=&udpPort=0&clientIP=127.0.0.1&healthyOnly=false");
        let heads = [
            head(&register, empty),
            head(&format!("DELETE {path}?{one}&ephemeral=true"), ""),
            head(
                &format!("PUT {path}/beat?{one}"),
                "Content-Type: application/x-www-form-urlencoded;charset=UTF-8\r\nContent-Length: ",
            ),
            head(&format!("PUT {path}/beat?{one}"), empty),
            head(&list, ""),
        ];
        Self { services: fleet.services.max(1), heads, beat: pieces(&beat) }
    }

    /// Puts the request of `kind` for an instance, or for a service if it is a list, into `head` and `body`.
    pub fn write(&self, kind: Kind, number: u32, head: &mut Vec<u8>, body: &mut Vec<u8>) {
        let [register, deregister, full, light, list] = &self.heads;
        let service = if kind == Kind::List { number } else { number % self.services };
        body.clear();
        match kind {
            Kind::Register => write_pieces(register, service, number, head),
            Kind::Deregister => write_pieces(deregister, service, number, head),
            Kind::BeatLight => write_pieces(light, service, number, head),
            Kind::List => write_pieces(list, service, number, head),
            Kind::BeatFull => {
                write_pieces(&self.beat, service, number, body);
                write_pieces(full, service, number, head);
                // As above.
                let _ = write!(head, "{}\r\n", body.len());
            }
        }
    }
}

/// A GET of `path` below the context path.
pub fn get(server: &Server, path: &str) -> Vec<u8> {
    let Server { host, context, .. } = server;
    format!("GET {context}{path} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {AGENT}\r\n").into_bytes()
}

#[cfg(test)]
impl Fleet {
    /// One whose names don't matter.
    pub(super) fn nameless(services: u32, instances: u32) -> Self {
        let text = String::new;
        Self {
            services,
            instances,
            prefix: text(),
            namespace: text(),
            group: text(),
            metadata: text(),
            period_ms: 5_000,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fleet() -> Fleet {
        Fleet {
            services: 3,
            instances: 7,
            prefix: "a b\"".into(),
            namespace: "public".into(),
            group: "G:1".into(),
            metadata: r#"{"a":"é&b"}"#.into(),
            period_ms: 700,
        }
    }

    #[test]
    fn instances_are_found_again_by_service_and_address() {
        let fleet = fleet();
        assert_eq!(fleet.members(1).collect::<Vec<_>>(), [1, 4]);
        assert_eq!(fleet.instance_at(1, "10.0.0.4", 8080), Some(4));
        for (service, ip, port) in
            [(2, "10.0.0.4", 8080), (1, "11.0.0.4", 8080), (1, "10.0.0.4", 1), (1, "10.0.0.7", 8080)]
        {
            assert_eq!(fleet.instance_at(service, ip, port), None, "{service} {ip} {port}");
        }
        assert_eq!(fleet.service_name(2), "a b\"-00002");
    }

    #[test]
    fn requests_are_those_of_the_java_client() {
        let server = Server::parse("127.0.0.1:1", false).unwrap();
        let requests = Requests::new(&fleet(), &server);
        let (mut head, mut body) = (Vec::new(), Vec::new());
        requests.write(Kind::BeatFull, 4, &mut head, &mut body);
        let (head, body) = (String::from_utf8(head).unwrap(), String::from_utf8(body).unwrap());
        assert!(head.starts_with(
            "PUT /nacos/v1/ns/instance/beat?app=unknown&namespaceId=public&serviceName=G%3A1%40%40a%20b%22-00001\
             &clusterName=DEFAULT&ip=10.0.0.4&port=8080 HTTP/1.1\r\nHost: 127.0.0.1:1\r\n"
        ));
        assert!(head.ends_with(&format!("Content-Length: {}\r\n", body.len())));
        let json = body.strip_prefix("beat=").unwrap().strip_suffix('&').unwrap();
        let json = percent_encoding::percent_decode_str(json).decode_utf8().unwrap();
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["serviceName"], "G:1@@a b\"-00001");
        assert_eq!(json["period"], 700);
        assert_eq!((&json["ip"], &json["metadata"]["a"]), (&"10.0.0.4".into(), &"é&b".into()));

        let mut head = Vec::new();
        requests.write(Kind::List, 2, &mut head, &mut Vec::new());
        assert!(head.starts_with(
            b"GET /nacos/v1/ns/instance/list?app=unknown&namespaceId=public&serviceName=G%3A1%40%40a%20b%22-00002&"
        ));
    }
}
