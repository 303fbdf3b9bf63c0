//! What goes to subscribers and comes back from them (`spec/push.md`), and what is told about them.

use super::json;

/// The content of a datagram before compression, up to the number of the push; `list` is the JSON of a list answer.
pub fn datagram_head(list: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(list.len() + list.len() / 4 + 64);
    out.extend_from_slice(br#"{"type":"dom","data":"#);
    json::string(list, &mut out);
    out.extend_from_slice(br#","lastRefTime":"#);
    out
}

/// The rest of it: the `number` of the push and the end.
pub fn datagram_tail(number: i64) -> Vec<u8> {
    let mut out = Vec::with_capacity(24);
    json::integer(number, &mut out);
    out.push(b'}');
    out
}

/// The number of the push that a datagram acknowledges: text for Java and Go, a number for Node. `None`: it is no
/// acknowledgement.
pub fn acknowledged(datagram: &[u8]) -> Option<i64> {
    let ack: serde_json::Value = serde_json::from_slice(datagram).ok()?;
    let number = ack.get("lastRefTime")?;
    number.as_i64().or_else(|| number.as_str()?.parse().ok())
}

/// One that is pushed to, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscriber {
    /// The address it named.
    pub ip: String,
    /// Its UDP port.
    pub port: u16,
    /// Its header `User-Agent`.
    pub agent: String,
    /// Empty when it named none.
    pub app: String,
    /// The grouped name.
    pub service: String,
}

/// A page of subscribers in a namespace and how many there are in all (`spec/service-api.md` 2.7).
pub fn subscribers(namespace: &str, page: &[Subscriber], count: usize) -> Vec<u8> {
    let mut out = br#"{"subscribers":["#.to_vec();
    json::separated(page, &mut out, |one, out| {
        out.extend_from_slice(br#"{"addrStr":"#);
        json::string(&format!("{}:{}", one.ip, one.port), out);
        let members = [
            (&br#","agent":"#[..], one.agent.as_str()),
            (br#","app":"#, &one.app),
            (br#","ip":"#, &one.ip),
            (br#","namespaceId":"#, namespace),
            (br#","serviceName":"#, &one.service),
        ];
        for (name, value) in members {
            out.extend_from_slice(name);
            json::string(value, out);
        }
        out.push(b'}');
    });
    out.extend_from_slice(br#"],"count":"#);
    json::unsigned(count as u64, &mut out);
    out.push(b'}');
    out
}

/// The counters of `push/state` (`spec/push.md` 5); `awaiting` are the contents of datagrams, when they were asked for.
pub fn state(succeeded: u64, total: u64, awaiting: Option<&[String]>, reset: bool) -> Vec<u8> {
    let mut out = br#"{"succeed":"#.to_vec();
    json::unsigned(succeeded, &mut out);
    out.extend_from_slice(br#","total":"#);
    json::unsigned(total, &mut out);
    out.extend_from_slice(br#","ratio":"#);
    match total {
        0 => out.push(b'0'),
        _ => json::float(succeeded as f32 / total as f32, &mut out),
    }
    if let Some(awaiting) = awaiting {
        out.extend_from_slice(br#","data":["#);
        json::separated(awaiting, &mut out, |text, out| json::string(text, out));
        out.push(b']');
    }
    out.extend_from_slice(br#","reset":"#);
    json::boolean(reset, &mut out);
    out.push(b'}');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(json: Vec<u8>) -> String {
        let text = String::from_utf8(json).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap();
        text
    }

    #[test]
    fn a_datagram_holds_a_list_as_text() {
        assert_eq!(
            text([datagram_head(r#"{"dom":"a\"b"}"#), datagram_tail(1_702_622_686_968)].concat()),
            r#"{"type":"dom","data":"{\"dom\":\"a\\\"b\"}","lastRefTime":1702622686968}"#
        );
    }

    #[test]
    fn acknowledgements_of_all_clients() {
        for ack in [
            r#"{"type": "push-ack", "lastRefTime":"123", "data":""}"#,
            r#"{"data":"","lastRefTime":"123","type":"push-ack"}"#,
            r#"{"type":"push-ack","lastRefTime":123,"data":""}"#,
            r#"{"lastRefTime":123,"more":[{}]}"#,
            r#"{"type":"unknown-ack","lastRefTime":"123"}"#,
        ] {
            assert_eq!(acknowledged(ack.as_bytes()), Some(123), "{ack}");
        }
        for other in ["", "not json", "123", "[]", "{}", r#"{"lastRefTime":null}"#, r#"{"lastRefTime":"x"}"#] {
            assert_eq!(acknowledged(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn subscribers_in_their_shape() {
        let one = Subscriber {
            ip: "127.0.0.1".into(),
            port: 5555,
            agent: "Nacos-Java-Client:v1.4.8".into(),
            app: String::new(),
            service: "DEFAULT_GROUP@@a".into(),
        };
        assert_eq!(
            text(subscribers("public", &[one], 7)),
            concat!(
                r#"{"subscribers":[{"addrStr":"127.0.0.1:5555","agent":"Nacos-Java-Client:v1.4.8","app":"","#,
                r#""ip":"127.0.0.1","namespaceId":"public","serviceName":"DEFAULT_GROUP@@a"}],"count":7}"#
            )
        );
        assert_eq!(text(subscribers("x", &[], 0)), r#"{"subscribers":[],"count":0}"#);
    }

    #[test]
    fn states() {
        assert_eq!(text(state(0, 0, None, true)), r#"{"succeed":0,"total":0,"ratio":0,"reset":true}"#);
        assert_eq!(
            text(state(90, 149, Some(&["{}".into()]), false)),
            r#"{"succeed":90,"total":149,"ratio":0.60402685,"data":["{}"],"reset":false}"#
        );
    }

    proptest! {
        #[test]
        fn no_datagram_disturbs_the_receiver(bytes in any::<Vec<u8>>()) {
            let _ = acknowledged(&bytes);
        }
    }
}
