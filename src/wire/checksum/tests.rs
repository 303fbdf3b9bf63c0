use proptest::prelude::*;

use super::*;
use crate::model::{HealthChecker, Instance};

fn host<'a>(ip: &'a str, port: i32, cluster: &'a str, instance: &'a Instance) -> Host<'a> {
    Host { cluster, ip, port, ephemeral: true, instance }
}

fn service_text(clusters: &[(&str, &ClusterSettings)], counts: (usize, usize)) -> String {
    let mut out = Vec::new();
    write_service("G@@s", 0.35, clusters, counts, &mut out);
    String::from_utf8(out).unwrap()
}

fn host_text(hosts: &[Host<'_>]) -> String {
    let mut out = Vec::new();
    write_hosts(hosts, &mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn example_of_the_specification() {
    let (settings, instance) = (ClusterSettings::default(), Instance::default());
    let sum =
        checksum("DEFAULT_GROUP@@abc", 0.0, &[("DEFAULT", &settings)], &[host("1.1.1.1", 80, "DEFAULT", &instance)]);
    assert_eq!(sum, "00e84167c3d7eb9a9f5be2db21d69fa4");
}

#[test]
fn recorded_empty_service() {
    assert_eq!(checksum("DEFAULT_GROUP@@checksum-pin", 0.5, &[], &[]), "db4fa850032aecacb955ee6db3be0cd4");
}

#[test]
fn the_service_text() {
    let tcp = ClusterSettings::default();
    let http = ClusterSettings {
        checker: HealthChecker::Http { path: "/a".into(), headers: "h:v".into(), expected_code: 200 },
        check_port: 81,
        use_instance_port: false,
        ..ClusterSettings::default()
    };
    let mysql = ClusterSettings {
        checker: HealthChecker::Mysql { user: Some("u".into()), pwd: Some("secret".into()), cmd: None },
        ..ClusterSettings::default()
    };
    assert_eq!(
        service_text(&[("a", &tcp), ("b", &http), ("c", &mysql)], (1, 3)),
        concat!(
            r#"{"invalidIPCount":1,"name":"G@@s","ipCount":3,"owners":[],"protectThreshold":0.35,"clusters":["#,
            r#"{"healthChecker":{},"defIPPort":80,"defCkport":80,"name":"a","useIPPort4Check":true,"sitegroup":""},"#,
            r#"{"healthChecker":{"path":"/a","headers":"h:v","expectedResponseCode":200},"defIPPort":81,"#,
            r#""defCkport":81,"name":"b","useIPPort4Check":false,"sitegroup":""},"#,
            r#"{"healthChecker":{"user":"u","pwd":"secret"},"defIPPort":80,"defCkport":80,"name":"c","#,
            r#""useIPPort4Check":true,"sitegroup":""}]}"#
        )
    );
}

#[test]
fn hosts_are_sorted_as_texts() {
    let up = Instance::default();
    let down = Instance { healthy: false, weight: 1e7, ..Instance::default() };
    let hosts = [
        host("2", 80, "A", &up),
        host("10", 9, "A", &up),
        host("10", 80, "B", &down),
        host("10", 80, "A", &up),
        host("10", 0, "A", &up),
        host("\u{ff5e}", 1, "A", &up),
        host("\u{1f600}", 1, "A", &up),
    ];
    let expected = "10:80_1.0_true_A,10:80_1.0E7_false_B,10:9_1.0_true_A,10:0_1.0_true_A,2:80_1.0_true_A,\
                    \u{1f600}:1_1.0_true_A,\u{ff5e}:1_1.0_true_A,";
    assert_eq!(host_text(&hosts), expected);
    let mut turned = hosts;
    turned.reverse();
    assert_eq!(host_text(&turned), expected);
}

#[test]
fn clusters_come_as_from_a_hash_map() {
    let settings = ClusterSettings::default();
    let order = |names: &[&str]| -> Vec<String> {
        let clusters: Vec<(&str, &ClusterSettings)> = names.iter().map(|name| (*name, &settings)).collect();
        in_hash_map_order(&clusters).into_iter().map(|(name, _)| name.to_owned()).collect()
    };
    assert_eq!(java_hash("hello"), 99_162_322);
    assert_eq!(java_hash("\u{1f600}"), 0xd83d_u32 * 31 + 0xde00);
    // As a Java 17 HashMap gives them out.
    let names = [
        "DEFAULT",
        "shanghai",
        "beijing",
        "hangzhou",
        "cluster-7",
        "shenzhen",
        "eu-west",
        "us-east",
        "blue",
        "green",
        "canary",
        "c0",
        "c1",
        "zone-b",
    ];
    assert_eq!(order(&names[..5]), ["hangzhou", "shanghai", "cluster-7", "beijing", "DEFAULT"]);
    let of_32 = [
        "eu-west",
        "canary",
        "green",
        "beijing",
        "c0",
        "c1",
        "us-east",
        "blue",
        "hangzhou",
        "shanghai",
        "cluster-7",
        "shenzhen",
        "DEFAULT",
        "zone-b",
    ];
    assert_eq!(order(&names), of_32);
    // "a" = 97 and "q" = 113 share a bucket of 16; of 32 they don't.
    assert_eq!(order(&["q", "b", "a"]), ["q", "a", "b"]);
    assert_eq!(order(&["a", "q"]), ["a", "q"]);
    let twelve = ["q", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"];
    assert_eq!(order(&twelve)[0], "q");
    let mut thirteen = twelve.to_vec();
    thirteen.push("l");
    let ordered = order(&thirteen);
    assert_eq!((ordered[0].as_str(), ordered[12].as_str()), ("a", "q"));
}

proptest! {
    #[test]
    fn texts_compare_by_utf16_units(
        a in "[a\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}]{0,4}",
        b in any::<String>(),
        c in "[a\u{d7ff}\u{e000}\u{ffff}\u{10000}\u{10ffff}]{0,4}",
    ) {
        for (a, b) in [(&a, &b), (&a, &c)] {
            prop_assert_eq!(by_utf16_units(a.as_bytes(), b.as_bytes()), a.encode_utf16().cmp(b.encode_utf16()));
        }
    }
}
