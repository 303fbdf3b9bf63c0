//! Two answers that are lists of texts: health of all instances (5.11), which servers also read of each other, and what
//! a metadata batch changed (5.12).

use std::borrow::Cow;

use serde::Deserialize;

use super::instance::{Host, push_printed_key};
use super::{json, number};
use crate::error::{Error, Result};
use crate::model::InstanceKey;

/// Host, port and health of an instance.
pub type Status = (Box<str>, i32, bool);

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

/// Reads what [`statuses`] writes. Hosts may have colons and underscores: the last ones of a text count, where the
/// reference takes the first (a fix).
///
/// # Errors
/// [`Error::Input`] when it is no such JSON.
pub fn parse(body: &[u8]) -> Result<Vec<Status>> {
    #[derive(Deserialize)]
    struct Answer<'a> {
        #[serde(borrow)]
        ips: Vec<Text<'a>>,
    }
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

    let wrong = |fault: serde_json::Error| Error::Input(format!("the statuses are not readable: {fault}"));
    let answer: Answer<'_> = serde_json::from_slice(body).map_err(wrong)?;
    let read = |Text(text): &Text<'_>| {
        status(text).ok_or_else(|| Error::Input(format!("the statuses are not readable: {text} is no status")))
    };
    answer.ips.iter().map(read).collect()
}

/// Of `ip:port_healthy`.
fn status(text: &str) -> Option<Status> {
    let (address, healthy) = text.rsplit_once('_')?;
    let (host, port) = address.rsplit_once(':')?;
    let healthy = match healthy {
        "true" => true,
        "false" => false,
        _ => return None,
    };
    Some((host.into(), number::integer(port)?, healthy))
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
    fn health_is_read_back() {
        let (up, down) = (Instance::default(), Instance { healthy: false, ..Instance::default() });
        let keys = [key("a_b:c\"", -1, "C", true), key("[::1]", 80, "C", true)];
        let body = statuses([Host::new(&keys[0], &up), Host::new(&keys[1], &down)]);
        assert_eq!(parse(&body), Ok(vec![("a_b:c\"".into(), -1, true), ("[::1]".into(), 80, false)]));
        let captured = br#"{"ips":["10.1.0.1:8080_true","10.1.0.2:8081_false"],"more":{}}"#;
        assert_eq!(parse(captured), Ok(vec![("10.1.0.1".into(), 8080, true), ("10.1.0.2".into(), 8081, false)]));
        assert_eq!(parse(br#"{"ips":[]}"#), Ok(Vec::new()));
        for wrong in [
            "",
            "[]",
            "{}",
            r#"{"ips":null}"#,
            r#"{"ips":[null]}"#,
            r#"{"ips":["a:1"]}"#,
            r#"{"ips":["a_true"]}"#,
            r#"{"ips":["a:x_true"]}"#,
            r#"{"ips":["a:1_yes"]}"#,
        ] {
            assert!(matches!(parse(wrong.as_bytes()), Err(Error::Input(_))), "{wrong}");
        }
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
