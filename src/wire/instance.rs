//! One instance as JSON: an element of a list (5.6) and the answer about one (5.5).

use super::{json, metadata};
use crate::model::{Instance, InstanceKey};

/// An instance with its address, all borrowed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Host<'a> {
    /// Name of its cluster.
    pub cluster: &'a str,
    /// Any text.
    pub ip: &'a str,
    /// Any number.
    pub port: i32,
    /// Lives by beats (true) or by checks (false).
    pub ephemeral: bool,
    /// The rest.
    pub instance: &'a Instance,
}

impl<'a> Host<'a> {
    /// Of the two halves that a row of the registry is made of.
    pub fn new(key: &'a InstanceKey, instance: &'a Instance) -> Self {
        Self { cluster: &key.cluster, ip: &key.ip, port: key.port, ephemeral: key.ephemeral, instance }
    }
}

/// Appends the HOST object of 5.6. `service` is the grouped name, `shown_name` the one this agent sees, `shown_healthy`
/// what protection makes of the health.
pub fn write_host(host: &Host<'_>, service: &str, shown_name: &str, shown_healthy: bool, out: &mut Vec<u8>) {
    let instance = host.instance;
    out.extend_from_slice(br#"{"ip":"#);
    json::string(host.ip, out);
    out.extend_from_slice(br#","port":"#);
    json::integer(host.port.into(), out);
    out.extend_from_slice(br#","valid":"#);
    json::boolean(shown_healthy, out);
    out.extend_from_slice(br#","healthy":"#);
    json::boolean(shown_healthy, out);
    out.extend_from_slice(br#","marked":"#);
    json::boolean(instance.marked, out);
    out.extend_from_slice(br#","instanceId":"#);
    write_id(host, service, out);
    out.extend_from_slice(br#","metadata":"#);
    metadata::write_json(&instance.metadata, out);
    out.extend_from_slice(br#","enabled":"#);
    json::boolean(instance.enabled, out);
    out.extend_from_slice(br#","weight":"#);
    json::double(instance.weight, out);
    out.extend_from_slice(br#","clusterName":"#);
    json::string(host.cluster, out);
    out.extend_from_slice(br#","serviceName":"#);
    json::string(shown_name, out);
    out.extend_from_slice(br#","ephemeral":"#);
    json::boolean(host.ephemeral, out);
    out.push(b'}');
}

/// The object of 5.5, with the true health. `service` is the grouped name, for every agent.
pub fn write_detail(host: &Host<'_>, service: &str, out: &mut Vec<u8>) {
    let instance = host.instance;
    out.extend_from_slice(br#"{"service":"#);
    json::string(service, out);
    out.extend_from_slice(br#","ip":"#);
    json::string(host.ip, out);
    out.extend_from_slice(br#","port":"#);
    json::integer(host.port.into(), out);
    out.extend_from_slice(br#","clusterName":"#);
    json::string(host.cluster, out);
    out.extend_from_slice(br#","weight":"#);
    json::double(instance.weight, out);
    out.extend_from_slice(br#","healthy":"#);
    json::boolean(instance.healthy, out);
    out.extend_from_slice(br#","instanceId":"#);
    write_id(host, service, out);
    out.extend_from_slice(br#","metadata":"#);
    metadata::write_json(&instance.metadata, out);
    out.push(b'}');
}

/// The id as a JSON text: its own, or `ip#port#cluster#service` (2.3). `service` is the grouped name.
pub fn write_id(host: &Host<'_>, service: &str, out: &mut Vec<u8>) {
    if let Some(id) = &host.instance.id {
        return json::string(id, out);
    }
    out.push(b'"');
    json::escaped(host.ip, out);
    out.push(b'#');
    json::integer(host.port.into(), out);
    out.push(b'#');
    json::escaped(host.cluster, out);
    out.push(b'#');
    json::escaped(service, out);
    out.push(b'"');
}

/// The printed key of section 2, unescaped: `ip:port:unknown:cluster`, without the port when that is 0 or less.
pub(super) fn push_printed_key(ip: &str, port: i32, cluster: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(ip.as_bytes());
    if port > 0 {
        out.push(b':');
        json::integer(port.into(), out);
    }
    out.extend_from_slice(b":unknown:");
    out.extend_from_slice(cluster.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServiceKey;

    fn text(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn key() -> InstanceKey {
        InstanceKey {
            service: ServiceKey::new("public", "DEFAULT_GROUP@@a"),
            cluster: "DEFAULT".into(),
            ip: "1.1.1.1".into(),
            port: 80,
            ephemeral: true,
        }
    }

    #[test]
    fn a_host_in_a_list() {
        let (key, instance) = (key(), Instance::default());
        let host = Host::new(&key, &instance);
        assert_eq!(
            text(|out| write_host(&host, "DEFAULT_GROUP@@a", "a", true, out)),
            concat!(
                r##"{"ip":"1.1.1.1","port":80,"valid":true,"healthy":true,"marked":false,"##,
                r##""instanceId":"1.1.1.1#80#DEFAULT#DEFAULT_GROUP@@a","metadata":{},"enabled":true,"##,
                r##""weight":1.0,"clusterName":"DEFAULT","serviceName":"a","ephemeral":true}"##
            )
        );
    }

    #[test]
    fn everything_of_a_host_is_shown_and_escaped() {
        let instance = Instance {
            weight: 0.01,
            healthy: true,
            enabled: false,
            marked: true,
            metadata: None,
            id: Some("7".into()),
            app: Some("x".into()),
            changed_ms: 0,
        };
        let host = Host { cluster: "C-1", ip: "[::1]\"", port: -5, ephemeral: false, instance: &instance };
        assert_eq!(
            text(|out| write_host(&host, "G@@s", "G@@s", false, out)),
            concat!(
                r##"{"ip":"[::1]\"","port":-5,"valid":false,"healthy":false,"marked":true,"instanceId":"7","##,
                r##""metadata":null,"enabled":false,"weight":0.01,"clusterName":"C-1","serviceName":"G@@s","##,
                r##""ephemeral":false}"##
            )
        );
        let plain = Instance::default();
        let host = Host { instance: &plain, ..host };
        assert_eq!(text(|out| write_id(&host, "G@@s", out)), r##""[::1]\"#-5#C-1#G@@s""##);
    }

    #[test]
    fn one_instance() {
        let key = key();
        let metadata = Some([("a", "1")].into_iter().collect());
        let instance = Instance { healthy: false, weight: 2.5, metadata, ..Instance::default() };
        let host = Host::new(&key, &instance);
        assert_eq!(
            text(|out| write_detail(&host, "DEFAULT_GROUP@@a", out)),
            concat!(
                r##"{"service":"DEFAULT_GROUP@@a","ip":"1.1.1.1","port":80,"clusterName":"DEFAULT","weight":2.5,"##,
                r##""healthy":false,"instanceId":"1.1.1.1#80#DEFAULT#DEFAULT_GROUP@@a","metadata":{"a":"1"}}"##
            )
        );
    }

    #[test]
    fn printed_keys_are_those_of_the_model() {
        for port in [80, 0, -1] {
            let key = InstanceKey { port, ..key() };
            assert_eq!(text(|out| push_printed_key(&key.ip, key.port, &key.cluster, out)), key.printed());
        }
    }
}
