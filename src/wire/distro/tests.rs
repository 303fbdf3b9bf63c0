use proptest::prelude::*;

use super::*;
use crate::model::Instance;

fn host<'a>(ip: &'a str, port: i32, cluster: &'a str, instance: &'a Instance) -> Host<'a> {
    Host { cluster, ip, port, ephemeral: true, instance }
}

#[test]
fn checksums_are_those_of_real_nodes() {
    let metadata = Some([("zone", "z1"), ("app", "ä b&c")].into_iter().collect());
    let first = Instance { weight: 2.5, metadata, ..Instance::default() };
    let second = Instance { enabled: false, ..Instance::default() };
    let third = Instance::default();
    let mut hosts = [
        host("10.1.0.9", 8080, "DEFAULT", &third),
        host("10.1.0.1", 8080, "DEFAULT", &first),
        host("10.1.0.2", 8081, "c2", &second),
    ];
    assert_eq!(list_checksum(&hosts), "0f0a6d3ac2364d4b0ae33be614a96271");
    hosts.reverse();
    assert_eq!(list_checksum(&hosts), "0f0a6d3ac2364d4b0ae33be614a96271");
    assert_eq!(list_checksum(&[]), "d41d8cd98f00b204e9800998ecf8427e");
    let ids = Instance { id: Some("x".into()), app: Some("y".into()), marked: true, ..Instance::default() };
    assert_eq!(list_checksum(&[host("a", 1, "c", &ids)]), list_checksum(&[host("a", 1, "c", &third)]));
    let ill = Instance { healthy: false, ..Instance::default() };
    assert_ne!(list_checksum(&[host("a", 1, "c", &ill)]), list_checksum(&[host("a", 1, "c", &third)]));
}

#[test]
fn metadata_in_a_checksum_is_in_the_order_of_java() {
    let metadata = Some([("\u{ff5e}", "1"), ("\u{1f600}", "2"), ("a", "3")].into_iter().collect());
    let instance = Instance { metadata, ..Instance::default() };
    let text = "h:1_1.0_true_true_c_a:3,\u{1f600}:2,\u{ff5e}:1,,";
    assert_eq!(list_checksum(&[host("h", 1, "c", &instance)]), lower_hex(&Md5::digest(text)));
}

#[test]
fn maps_of_checksums() {
    let captured = concat!(
        r##"{"com.alibaba.nacos.naming.iplist.ephemeral.public##DEFAULT_GROUP@@ownb-0":"##,
        r##""7f7db6b88ce58859712c6c5c2e9db2f2"}"##
    );
    let service = ServiceKey::new("public", "DEFAULT_GROUP@@ownb-0");
    let sums = vec![(service.clone(), Some("7f7db6b88ce58859712c6c5c2e9db2f2".into()))];
    assert_eq!(parse_checksums(captured.as_bytes()), Ok(sums.clone()));
    let mut out = Vec::new();
    write_checksums(&sums, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), captured);
    let more = captured.replace("\"7f7db6b88ce58859712c6c5c2e9db2f2\"", "null,\"other\":\"x\"");
    assert_eq!(parse_checksums(more.as_bytes()), Ok(vec![(service, None)]));
    assert_eq!(parse_checksums(b"{}"), Ok(Vec::new()));
    for wrong in ["", "[]", "null", r#"{"a":{}}"#, r#"{"a":"b""#] {
        assert!(matches!(parse_checksums(wrong.as_bytes()), Err(Error::Input(_))), "{wrong}");
    }
    assert!(matches!(parse_checksums(b"{\"\xff\":1}"), Err(Error::Input(_))));
}

#[test]
fn keys_that_are_asked_for() {
    let captured = r##"{"keys":"com.alibaba.nacos.naming.iplist.ephemeral.public##DEFAULT_GROUP@@ownc-1"}"##;
    let one = ServiceKey::new("public", "DEFAULT_GROUP@@ownc-1");
    assert_eq!(parse_keys(captured.as_bytes()), Ok(vec![one.clone()]));
    let mut out = Vec::new();
    write_keys(std::slice::from_ref(&one), &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), captured);

    let all = [one.clone(), ServiceKey::new("a,b\"", "G@@s"), one.clone()];
    let mut out = Vec::new();
    write_keys(&all, &mut out);
    assert_eq!(parse_keys(&out), Ok(all.to_vec()));

    let others =
        captured.replace("\"}", ",com.alibaba.nacos.naming.domains.meta.public##G@@s,com.alibaba.nacos.naming.x\"}");
    assert_eq!(parse_keys(others.as_bytes()), Ok(vec![one]));
    assert_eq!(parse_keys(br#"{"keys":""}"#), Ok(Vec::new()));
    for wrong in ["", "{}", "[]", r#"{"keys":null}"#, r#"{"keys":[]}"#, "keys"] {
        assert!(matches!(parse_keys(wrong.as_bytes()), Err(Error::Refused(_))), "{wrong}");
    }
}

fn any_service() -> impl Strategy<Value = ServiceKey> {
    ("[a-z0-9,\"é😀-]{0,5}", "[a-zA-Z@.:_-]{1,8}").prop_map(|(namespace, name)| ServiceKey::new(&namespace, &name))
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        services in prop::collection::vec((any_service(), prop::option::of("[0-9a-f]{32}")), 0..4),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let sums: Vec<_> = services.iter().map(|(one, sum)| (one.clone(), sum.as_deref().map(Arc::from))).collect();
        let keys: Vec<_> = services.into_iter().map(|(one, _)| one).collect();
        let (mut all, mut asked) = (Vec::new(), Vec::new());
        write_checksums(&sums, &mut all);
        write_keys(&keys, &mut asked);
        prop_assert_eq!(parse_checksums(&all), Ok(sums));
        prop_assert_eq!(parse_keys(&asked), Ok(keys));
        for mut body in [all, asked] {
            let at = at.index(body.len());
            body[at] = byte;
            let _ = (parse_checksums(&body), parse_keys(&body));
        }
    }
}
