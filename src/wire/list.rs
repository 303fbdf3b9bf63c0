//! The answer to a query for the instances of a service (5.6); also what is pushed to subscribers.

use super::instance::{self, Host};
use super::{json, metadata};
use crate::model::{Metadata, plain_name};

/// Room for one host of the usual size, in bytes.
const USUAL_HOST_BYTES: usize = 320;
/// Room is reserved for at most this many hosts; more of them grow the buffer.
const MOST_RESERVED_HOSTS: usize = 16_384;

/// Everything of a list but its hosts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ListShape<'a> {
    /// The grouped name.
    pub service: &'a str,
    /// Show grouped names in `dom` and in the hosts (modern Java) instead of plain ones.
    pub grouped_names: bool,
    /// How long a client may keep the answer, in ms.
    pub cache_millis: u64,
    /// Now, in ms since 1970.
    pub last_ref_time_ms: i64,
    /// Of the whole service, 32 hex digits ([`super::checksum`]).
    pub checksum: &'a str,
    /// The parameter `clusters`, trimmed, echoed.
    pub clusters: &'a str,
    /// The parameter `env`, trimmed, echoed.
    pub env: &'a str,
    /// Of the service.
    pub metadata: &'a Metadata,
}

impl<'a> ListShape<'a> {
    /// The name this agent sees.
    pub fn shown_name(&self) -> &'a str {
        if self.grouped_names { self.service } else { plain_name(self.service) }
    }

    /// The full object: instances exist, though all of them may have been left out. Each host comes with the health to
    /// be shown; their order is kept.
    pub fn full<'h>(&self, hosts: impl Iterator<Item = (Host<'h>, bool)>) -> Vec<u8> {
        let reserved = hosts.size_hint().0.min(MOST_RESERVED_HOSTS) * USUAL_HOST_BYTES;
        let mut out = Vec::with_capacity(reserved + 512);
        let name = self.shown_name();
        out.extend_from_slice(br#"{"hosts":["#);
        json::separated(hosts, &mut out, |(host, healthy), out| {
            instance::write_host(&host, self.service, name, healthy, out);
        });
        out.extend_from_slice(b"],");
        self.write_head(&mut out);
        self.write_tail(&mut out);
        out
    }

    /// The "empty" object: no instances in the clusters asked for. Its members are in another order.
    pub fn empty(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(512);
        out.push(b'{');
        self.write_head(&mut out);
        out.extend_from_slice(br#","hosts":[]"#);
        self.write_tail(&mut out);
        out
    }

    /// `dom` to `env`.
    fn write_head(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#""dom":"#);
        json::string(self.shown_name(), out);
        out.extend_from_slice(br#","name":"#);
        json::string(self.service, out);
        out.extend_from_slice(br#","cacheMillis":"#);
        json::unsigned(self.cache_millis, out);
        out.extend_from_slice(br#","lastRefTime":"#);
        json::integer(self.last_ref_time_ms, out);
        out.extend_from_slice(br#","checksum":"#);
        json::string(self.checksum, out);
        out.extend_from_slice(br#","useSpecifiedURL":false,"clusters":"#);
        json::string(self.clusters, out);
        out.extend_from_slice(br#","env":"#);
        json::string(self.env, out);
    }

    fn write_tail(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(br#","metadata":"#);
        metadata::write_map(self.metadata, out);
        out.push(b'}');
    }
}

/// The object for a service that doesn't exist, the same for every agent. `service` is the grouped name.
pub fn unknown_service(service: &str, clusters: &str, cache_millis: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(128 + service.len() + clusters.len());
    out.extend_from_slice(br#"{"name":"#);
    json::string(service, &mut out);
    out.extend_from_slice(br#","clusters":"#);
    json::string(clusters, &mut out);
    out.extend_from_slice(br#","cacheMillis":"#);
    json::unsigned(cache_millis, &mut out);
    out.extend_from_slice(br#","hosts":[]}"#);
    out
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;
    use crate::model::Instance;

    const SUM: &str = "00e84167c3d7eb9a9f5be2db21d69fa4";

    fn shape(metadata: &Metadata) -> ListShape<'_> {
        ListShape {
            service: "DEFAULT_GROUP@@a",
            grouped_names: false,
            cache_millis: 3000,
            last_ref_time_ms: 1_700_000_000_000,
            checksum: SUM,
            clusters: "",
            env: "",
            metadata,
        }
    }

    fn text(json: Vec<u8>) -> String {
        let text = String::from_utf8(json).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
        text
    }

    #[test]
    fn a_list_with_hosts() {
        let instance = Instance::default();
        let host = Host { cluster: "DEFAULT", ip: "1.1.1.1", port: 80, ephemeral: true, instance: &instance };
        let (none, mut h1, mut h2) = (Metadata::default(), Vec::new(), Vec::new());
        instance::write_host(&host, "DEFAULT_GROUP@@a", "a", false, &mut h1);
        instance::write_host(&host, "DEFAULT_GROUP@@a", "a", true, &mut h2);
        let (h1, h2) = (String::from_utf8(h1).unwrap(), String::from_utf8(h2).unwrap());
        let tail = format!(
            concat!(
                r#""dom":"a","name":"DEFAULT_GROUP@@a","cacheMillis":3000,"lastRefTime":1700000000000,"#,
                r#""checksum":"{sum}","useSpecifiedURL":false,"clusters":"","env":"","metadata":{{}}}}"#
            ),
            sum = SUM
        );
        let two = shape(&none).full([(host, false), (host, true)].into_iter());
        assert_eq!(text(two), format!(r#"{{"hosts":[{h1},{h2}],{tail}"#));
        assert_eq!(text(shape(&none).full(iter::empty())), format!(r#"{{"hosts":[],{tail}"#));
    }

    #[test]
    fn an_empty_list_has_another_order() {
        let metadata = [("a", "b\"")].into_iter().collect();
        let shape = ListShape { clusters: "x,\"y", env: "e", cache_millis: 10000, ..shape(&metadata) };
        assert_eq!(
            text(shape.empty()),
            format!(
                concat!(
                    r#"{{"dom":"a","name":"DEFAULT_GROUP@@a","cacheMillis":10000,"lastRefTime":1700000000000,"#,
                    r#""checksum":"{sum}","useSpecifiedURL":false,"clusters":"x,\"y","env":"e","hosts":[],"#,
                    r#""metadata":{{"a":"b\""}}}}"#
                ),
                sum = SUM
            )
        );
    }

    #[test]
    fn modern_java_sees_grouped_names() {
        let (none, instance) = (Metadata::default(), Instance::default());
        let host = Host { cluster: "DEFAULT", ip: "1.1.1.1", port: 80, ephemeral: true, instance: &instance };
        let shape = ListShape { grouped_names: true, ..shape(&none) };
        let list = text(shape.full(iter::once((host, true))));
        assert!(list.contains(r#""dom":"DEFAULT_GROUP@@a","name":"DEFAULT_GROUP@@a""#), "{list}");
        assert!(list.contains(r#""serviceName":"DEFAULT_GROUP@@a","ephemeral""#), "{list}");
    }

    #[test]
    fn an_unknown_service() {
        assert_eq!(
            text(unknown_service("G@@none", "c1,c2", 3000)),
            r#"{"name":"G@@none","clusters":"c1,c2","cacheMillis":3000,"hosts":[]}"#
        );
    }
}
