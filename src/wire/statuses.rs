//! Two answers that are lists of texts: health of all instances (5.11) and what a metadata batch changed (5.12).

use super::instance::{Host, push_printed_key};
use super::json;
use crate::model::InstanceKey;

/// `{"ips":["ip:port_healthy",..]}` with the true health of every instance, in the order given (5.11).
pub fn statuses<'a>(hosts: impl IntoIterator<Item = Host<'a>>) -> Vec<u8> {
    let mut out = br#"{"ips":["#.to_vec();
    json::separated(hosts, &mut out, |host, out| {
        out.push(b'"');
        json::escaped(host.ip, out);
        out.push(b':');
        json::integer(host.port.into(), out);
        out.push(b'_');
        json::boolean(host.instance.healthy, out);
        out.push(b'"');
    });
    out.extend_from_slice(b"]}");
    out
}

/// `{"updated":["KEY:ephemeral","KEY:persist",..]}` with printed keys, in the order given: persistent ones belong first
/// (5.12).
pub fn updated<'a>(keys: impl IntoIterator<Item = &'a InstanceKey>) -> Vec<u8> {
    let mut out = br#"{"updated":["#.to_vec();
    let mut printed = Vec::new();
    json::separated(keys, &mut out, |key, out| {
        printed.clear();
        push_printed_key(&key.ip, key.port, &key.cluster, &mut printed);
        printed.extend_from_slice(if key.ephemeral { b":ephemeral" } else { b":persist" });
        json::string(&String::from_utf8_lossy(&printed), out);
    });
    out.extend_from_slice(b"]}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Instance, ServiceKey};

    fn key(ip: &str, port: i32, cluster: &str, ephemeral: bool) -> InstanceKey {
        let service = ServiceKey::new("public", "G@@s");
        InstanceKey { service, cluster: cluster.into(), ip: ip.into(), port, ephemeral }
    }

    #[test]
    fn health_of_all() {
        let up = Instance::default();
        let down = Instance { healthy: false, enabled: false, ..Instance::default() };
        let keys = [key("1.1.1.1", 80, "DEFAULT", true), key("a\"", 0, "C", false)];
        let hosts = [Host::new(&keys[0], &up), Host::new(&keys[1], &down)];
        assert_eq!(String::from_utf8(statuses(hosts)).unwrap(), r#"{"ips":["1.1.1.1:80_true","a\":0_false"]}"#);
        assert_eq!(statuses([]), br#"{"ips":[]}"#);
    }

    #[test]
    fn what_was_updated() {
        let keys = [key("1.1.1.1", 80, "DEFAULT", true), key("1.1.1.2", 80, "C", false), key("\\x", 0, "C", true)];
        assert_eq!(
            String::from_utf8(updated(&keys)).unwrap(),
            concat!(
                r#"{"updated":["1.1.1.1:80:unknown:DEFAULT:ephemeral","1.1.1.2:80:unknown:C:persist","#,
                r#""\\x:unknown:C:ephemeral"]}"#
            )
        );
        assert_eq!(updated([]), br#"{"updated":[]}"#);
    }
}
