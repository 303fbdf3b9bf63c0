use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::error::Error;
use crate::model::peer::Trace;
use crate::model::{Instance, InstanceKey, MAX_ROW_BYTES, Metadata};

/// As a real node sent it (section 3).
const CAPTURED: &str = concat!(
    r##"{"com.alibaba.nacos.naming.iplist.ephemeral.public##DEFAULT_GROUP@@capb-2":"##,
    r##"{"key":"com.alibaba.nacos.naming.iplist.ephemeral.public##DEFAULT_GROUP@@capb-2","##,
    r##""value":{"instanceList":["##,
    r##"{"instanceId":"10.1.0.1#8080#DEFAULT#DEFAULT_GROUP@@capb-2","ip":"10.1.0.1","port":8080,"weight":2.5,"##,
    r##""healthy":true,"enabled":true,"ephemeral":true,"clusterName":"DEFAULT","##,
    r##""serviceName":"DEFAULT_GROUP@@capb-2","metadata":{"app":"ä b&c","zone":"z1"},"lastBeat":1795302036228,"##,
    r##""marked":false,"app":"DEFAULT","instanceHeartBeatInterval":5000,"instanceHeartBeatTimeOut":15000,"##,
    r##""ipDeleteTimeout":30000},"##,
    r##"{"instanceId":"10.1.0.2#8081#c2#DEFAULT_GROUP@@capb-2","ip":"10.1.0.2","port":8081,"weight":1.0,"##,
    r##""healthy":true,"enabled":false,"ephemeral":true,"clusterName":"c2","##,
    r##""serviceName":"DEFAULT_GROUP@@capb-2","metadata":{},"lastBeat":1795302035201,"marked":false,"##,
    r##""app":"DEFAULT","instanceHeartBeatInterval":5000,"instanceIdGenerator":"simple","##,
    r##""instanceHeartBeatTimeOut":15000,"ipDeleteTimeout":30000}]},"##,
    r##""timestamp":1}}"##
);

fn service() -> ServiceKey {
    ServiceKey::new("public", "G@@s")
}

fn told(ip: &str, cluster: &str, instance: Instance) -> Told {
    let key = InstanceKey { service: service(), cluster: cluster.into(), ip: ip.into(), port: 80, ephemeral: true };
    Told { key, instance: Arc::new(instance), last_beat_ms: 7, trace: None }
}

fn text(data: &[Datum], own: bool) -> String {
    let mut out = Vec::new();
    write(data, own, &mut out);
    String::from_utf8(out).unwrap()
}

/// The list of the service with these instances as JSON.
fn list(instances: &str) -> String {
    format!(r##"{{"{}":{{"value":{{"instanceList":[{instances}]}}}}}}"##, key(&service()))
}

fn one(instance: &str) -> Told {
    let mut data = parse(list(instance).as_bytes()).unwrap();
    data.pop().unwrap().told.pop().unwrap()
}

fn fault(body: &str) -> String {
    match parse(body.as_bytes()) {
        Err(Error::Input(text)) => text,
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn keys() {
    let service = ServiceKey::new("public", "DEFAULT_GROUP@@capb-2");
    let text = "com.alibaba.nacos.naming.iplist.ephemeral.public##DEFAULT_GROUP@@capb-2";
    assert_eq!(key(&service), text);
    assert_eq!(service_of(text), Some(service.clone()));
    assert_eq!(service_of(&format!("{text}##more")), Some(service));
    let nameless = service_of("com.alibaba.nacos.naming.iplist.ephemeral.##");
    assert_eq!(nameless, Some(ServiceKey::new("", "")));
    for other in [
        "",
        "com.alibaba.nacos.naming.iplist.ephemeral.public",
        "com.alibaba.nacos.naming.iplist.public##DEFAULT_GROUP@@capb-2",
        "com.alibaba.nacos.naming.domains.meta.public##DEFAULT_GROUP@@capb-2",
        "com.alibaba.nacos.naming.domains.meta.00-00---000-NACOS_SWITCH_DOMAIN-000---00-00",
    ] {
        assert_eq!(service_of(other), None, "{other}");
    }
}

#[test]
fn what_a_real_node_sent_is_read_and_written_alike() {
    let data = parse(CAPTURED.as_bytes()).unwrap();
    assert_eq!(data.len(), 1);
    assert_eq!(data[0].service, ServiceKey::new("public", "DEFAULT_GROUP@@capb-2"));
    assert_eq!(data[0].removed, None);
    let [first, second] = &data[0].told[..] else { panic!("{data:?}") };
    assert_eq!((&*first.key.ip, first.key.port, &*first.key.cluster), ("10.1.0.1", 8080, "DEFAULT"));
    assert_eq!((first.last_beat_ms, first.trace), (1795302036228, None));
    let metadata: Metadata = [("zone", "z1"), ("app", "ä b&c")].into_iter().collect();
    assert_eq!(*first.instance, Instance { weight: 2.5, metadata: Some(metadata), ..Instance::default() });
    assert_eq!(*second.instance, Instance { enabled: false, ..Instance::default() });
    assert_eq!(text(&data, false), CAPTURED);
    assert_eq!(text(&data, true), CAPTURED);
}

#[test]
fn only_what_is_for_servers_of_this_kind_is_left_out_for_others() {
    let trace = |heard_ms| Some(Trace { changed_ms: 5, heard_ms });
    let plain = Told { trace: trace(Some(6)), ..told("a", "DEFAULT", Instance::default()) };
    let bare = Instance { metadata: None, id: Some("9".into()), app: Some("x".into()), ..Instance::default() };
    let silent = Told { trace: trace(None), ..told("b", "c\"", bare) };
    let keys = vec![(told("é", "D", Instance::default()).key, 2)];
    let removed = Removed { since_ms: 1, keys, service_too: false };
    let datum = Datum { service: service(), told: vec![plain, silent], removed: Some(removed) };
    let own = text(std::slice::from_ref(&datum), true);
    assert!(own.contains(r#""ipDeleteTimeout":30000,"changedMs":5,"heardMs":6},{"#), "{own}");
    assert!(own.contains(r#""ipDeleteTimeout":30000,"changedMs":5}]},"timestamp":1,"removed":{"#), "{own}");
    assert!(own.ends_with(r#":{"sinceMs":1,"keys":[{"ip":"é","port":80,"clusterName":"D","removedMs":2}]}}}"#));
    assert_eq!(parse(own.as_bytes()), Ok(vec![datum.clone()]));

    let others = text(std::slice::from_ref(&datum), false);
    for member in ["changedMs", "heardMs", "removed", "null"] {
        assert!(!others.contains(member), "{member} in {others}");
    }
    let mut parts = Vec::new();
    write_parts(&[(&datum, true), (&datum, false)], &mut parts);
    assert_eq!(parse_parts(&parts), Ok(vec![(datum.clone(), true), (datum, false)]));
}

#[test]
fn the_smallest_instance() {
    let small = one(r#"{"ip":"5.5.5.5","port":5}"#);
    assert_eq!((&*small.key.ip, small.key.port, &*small.key.cluster), ("5.5.5.5", 5, "DEFAULT"));
    assert_eq!((&*small.instance, small.last_beat_ms), (&Instance::default(), 0));
}

#[test]
fn members_are_read_tolerantly() {
    let metadata = |text: &str| one(&format!(r#"{{"ip":"a","metadata":{text}}}"#)).instance.metadata.clone();
    assert_eq!(metadata("null"), None);
    let expected: Metadata = [("a", "1"), ("t", "true"), ("f", "1.5")].into_iter().collect();
    assert_eq!(metadata(r#"{"a":1,"t":true,"n":null,"f":1.5}"#), Some(expected));
    for (weight, expected) in
        [("1", 1.0), ("20000", 10_000.0), ("0.001", 0.01), ("0", 0.0), ("-1", 0.0), ("\"2.5\"", 2.5), ("null", 1.0)]
    {
        assert_eq!(one(&format!(r#"{{"ip":"a","weight":{weight}}}"#)).instance.weight, expected, "{weight}");
    }
    let odd = one(
        r#"{"ip":"a","port":"8","healthy":"false","enabled":0,"marked":true,"clusterName":"","serviceName":"other",
            "instanceId":"a#8#DEFAULT#G@@s","app":null,"tenant":"t","lastBeat":-5,"ephemeral":null,"new":{"x":[1]}}"#,
    );
    assert_eq!((odd.key.port, &*odd.key.cluster, odd.last_beat_ms), (8, "DEFAULT", 0));
    assert_eq!(*odd.instance, Instance { healthy: false, enabled: false, marked: true, ..Instance::default() });
    assert_eq!(one(r#"{"ip":"a","instanceId":"17","app":"shop"}"#).instance.id.as_deref(), Some("17"));
    assert_eq!(one(r##"{"ip":"a\"","port":8,"instanceId":"a\"#8#DEFAULT#G@@s"}"##).instance.id, None);
}

#[test]
fn what_is_not_ephemeral_is_skipped() {
    let body = format!(
        r#"{{"com.alibaba.nacos.naming.iplist.public##G@@s":{{"value":null}},{}"#,
        &list(r#"{"ip":"a","ephemeral":false},{"ip":"b"}"#)[1..]
    );
    let data = parse(body.as_bytes()).unwrap();
    assert_eq!((data.len(), data[0].told.len()), (1, 1));
    assert_eq!(&*data[0].told[0].key.ip, "b");
    assert_eq!(parse(b"{}"), Ok(Vec::new()));
    assert_eq!(parse(list("").as_bytes()).unwrap()[0].told, []);
}

#[test]
fn what_would_poison_a_store_is_refused() {
    let key = key(&service());
    for (body, part) in [
        (list("null"), "null"),
        (list(r#"{"port":5}"#), "no ip"),
        (list(r#"{"ip":" "}"#), "no ip"),
        (list(r#"{"ip":"a","port":2147483648}"#), "port"),
        (list(r#"{"ip":"a","weight":"NaN"}"#), "weight"),
        (list(r#"{"ip":"a","weight":1e999}"#), "number out of range"),
        (list(r#"{"ip":"a","healthy":"maybe"}"#), "healthy"),
        (list(r#"{"ip":"a","metadata":{"a":{}}}"#), "map"),
        (list(&format!(r#"{{"ip":"{}"}}"#, "a".repeat(MAX_ROW_BYTES))), "can be stored"),
        (format!(r#"{{"{key}":null}}"#), "null"),
        (format!(r#"{{"{key}":{{}}}}"#), "no value"),
        (format!(r#"{{"{key}":{{"value":null}}}}"#), "null"),
        (format!(r#"{{"{key}":{{"value":{{}}}}}}"#), "no instanceList"),
        (format!(r#"{{"{key}":{{"value":{{"instanceList":null}}}}}}"#), "null"),
        (format!(r#"{{"{key}":{{"key":"{key}2","value":{{"instanceList":[]}}}}}}"#), "another service"),
        (format!(r#"{{"{key}":{{"key":"x","value":{{"instanceList":[]}}}}}}"#), "not that of an ephemeral list"),
        (format!("{} more", list("")), "trailing"),
        ("[]".into(), "invalid type"),
        (String::new(), "EOF"),
    ] {
        let text = fault(&body);
        assert!(text.contains(part), "{text} of {}", &body[..body.len().min(200)]);
    }
    for (body, part) in [
        ("{}", "invalid type"),
        ("[{}]", "no key"),
        ("[null]", "null"),
        (r#"[{"value":{"instanceList":[]}}]"#, "behind its value"),
        (&format!(r#"[{{"key":"{key}","value":{{"instanceList":[]}}}}]"#), "whole"),
    ] {
        assert!(matches!(parse_parts(body.as_bytes()), Err(Error::Input(text)) if text.contains(part)), "{body}");
    }
}

#[test]
fn names_of_clusters_are_kept_once() {
    let body = list(r#"{"ip":"a","clusterName":"x"},{"ip":"b"},{"ip":"c","clusterName":"x"},{"ip":"d"}"#);
    let told = parse(body.as_bytes()).unwrap().pop().unwrap().told;
    assert!(Arc::ptr_eq(&told[0].key.cluster, &told[2].key.cluster));
    assert!(Arc::ptr_eq(&told[1].key.cluster, &told[3].key.cluster));
    assert!(Arc::ptr_eq(&told[0].key.service.name, &told[3].key.service.name));
}

fn any_told() -> impl Strategy<Value = Told> {
    let texts = || prop::option::of("[a-z\"\\\\é😀,#]{1,6}");
    let pairs = prop::option::of(prop::collection::btree_map(any::<String>(), any::<String>(), 0..3));
    let place = ("[a-z0-9.:\"]{1,9}", "[a-zA-Z-]{1,3}", any::<i32>());
    let rest = (prop_oneof![Just(0.0), 0.01..=10_000.0], any::<[bool; 3]>(), pairs, texts(), texts());
    let times = (0..=i64::MAX as u64, prop::option::of((any::<u64>(), prop::option::of(any::<u64>()))));
    (place, rest, times).prop_map(
        |((ip, cluster, port), (weight, [healthy, enabled, marked], metadata, id, app), times)| {
            let metadata = metadata.map(|pairs| pairs.into_iter().collect());
            let (id, app) = (id.map(Into::into), app.map(Into::into));
            let instance = Instance { weight, healthy, enabled, marked, metadata, id, app, changed_ms: 0 };
            let mut told = told(&ip, &cluster, instance);
            told.key.port = port;
            let trace = times.1.map(|(changed_ms, heard_ms)| Trace { changed_ms, heard_ms });
            Told { last_beat_ms: times.0, trace, ..told }
        },
    )
}

fn any_datum() -> impl Strategy<Value = Datum> {
    let keys = prop::collection::vec((any_told(), any::<u64>()), 0..3);
    let removed = prop::option::of((any::<u64>(), keys, any::<bool>()));
    (prop::collection::vec(any_told(), 0..4), removed).prop_map(|(told, removed)| {
        let removed = removed.map(|(since_ms, keys, service_too)| {
            let keys = keys.into_iter().map(|(told, removed_ms)| (told.key, removed_ms)).collect();
            Removed { since_ms, keys, service_too }
        });
        Datum { service: service(), told, removed }
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(datum in any_datum(), whole in any::<bool>()) {
        let own = text(std::slice::from_ref(&datum), true);
        prop_assert_eq!(parse(own.as_bytes()), Ok(vec![datum.clone()]));
        let mut parts = Vec::new();
        write_parts(&[(&datum, whole)], &mut parts);
        prop_assert_eq!(parse_parts(&parts), Ok(vec![(datum.clone(), whole)]));

        let others = text(std::slice::from_ref(&datum), false);
        let mut plain = parse(others.as_bytes()).unwrap().pop().unwrap();
        prop_assert!(plain.removed.is_none() && plain.told.iter().all(|told| told.trace.is_none()));
        for (told, was) in plain.told.iter_mut().zip(&datum.told) {
            told.trace = was.trace;
            if was.instance.metadata.is_none() {
                told.instance = was.instance.clone();
            }
        }
        prop_assert_eq!(plain.told, datum.told);
    }

    #[test]
    fn reading_never_panics(
        datum in any_datum(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), any::<bool>()), 1..6),
    ) {
        let mut parts = Vec::new();
        write_parts(&[(&datum, true)], &mut parts);
        for mut body in [text(&[datum], true).into_bytes(), parts, CAPTURED.into()] {
            for (at, byte, cut) in &changes {
                let at = at.index(body.len());
                if *cut {
                    body.remove(at);
                } else {
                    body[at] = *byte;
                }
            }
            let _ = (parse(&body), parse_parts(&body));
        }
    }
}
