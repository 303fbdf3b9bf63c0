use super::*;
use crate::model::Instance;

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn host(instance: &Instance) -> Host<'_> {
    Host { cluster: "C", ip: "10.1.1.1", port: 80, ephemeral: true, instance }
}

#[test]
fn a_service_with_its_clusters() {
    let key = ServiceKey::new("n", "G@@s1");
    let settings = ClusterSettings { check_port: 81, use_instance_port: false, ..ClusterSettings::default() };
    let part = ClusterPart { name: "C", settings: &settings, empty: true };
    assert_eq!(
        text(service(&key, &ServiceSettings::default(), [part])),
        concat!(
            r#"{"service":{"name":"s1","protectThreshold":0.0,"groupName":"G","selector":{"type":"none"},"metadata":{}},"#,
            r#""clusters":[{"serviceName":"G@@s1","name":"C","healthChecker":{"type":"TCP"},"defaultPort":80,"#,
            r#""defaultCheckPort":80,"useIPPort4Check":false,"metadata":{},"sitegroup":"","defCkport":81,"#,
            r#""empty":true,"defIPPort":81}]}"#
        )
    );
}

#[test]
fn an_instance_shows_what_its_reserved_metadata_ask_for() {
    let metadata = [
        ("preserved.heart.beat.interval", "1000"),
        ("preserved.heart.beat.timeout", "x"),
        ("preserved.instance.id.generator", "snowflake"),
    ];
    let instance = Instance {
        metadata: Some(metadata.into_iter().collect()),
        id: Some("7".into()),
        app: Some("shop".into()),
        healthy: false,
        ..Instance::default()
    };
    let shown = text(instances("G@@s1", [Listed { host: host(&instance), last_beat_ms: 1_614_850_000_000 }], 9));
    assert_eq!(
        shown,
        concat!(
            r#"{"list":[{"instanceId":"7","ip":"10.1.1.1","port":80,"weight":1.0,"healthy":false,"enabled":true,"#,
            r#""ephemeral":true,"clusterName":"C","serviceName":"G@@s1","#,
            r#""metadata":{"preserved.heart.beat.interval":"1000","preserved.heart.beat.timeout":"x","#,
            r#""preserved.instance.id.generator":"snowflake"},"lastBeat":1614850000000,"marked":false,"app":"shop","#,
            r#""instanceHeartBeatInterval":1000,"instanceHeartBeatTimeOut":15000,"ipDeleteTimeout":30000,"#,
            r#""instanceIdGenerator":"snowflake"}],"count":9}"#
        )
    );
    let plain = text(instances("G@@s1", [Listed { host: host(&Instance::default()), last_beat_ms: 0 }], 1));
    assert!(plain.contains(r#""instanceId":"10.1.1.1#80#C#G@@s1""#) && plain.contains(r#""app":"DEFAULT""#), "{plain}");
    assert!(plain.ends_with(r#""instanceIdGenerator":"simple"}],"count":1}"#), "{plain}");
    let other = Instance { metadata: Some([("a", "b")].into_iter().collect()), ..Instance::default() };
    let plain = text(instances("G@@s1", [Listed { host: host(&other), last_beat_ms: 0 }], 1));
    assert!(plain.ends_with(r#""ipDeleteTimeout":30000}],"count":1}"#), "{plain}");
}

#[test]
fn the_flag_is_set_at_and_below_the_threshold_but_not_without_instances() {
    let key = ServiceKey::new("n", "G@@s");
    let flag = |instances, healthy, protect_threshold| {
        let line = Line { key: &key, clusters: 1, instances, healthy, protect_threshold };
        text(services([line], 1)).contains(r#""triggerFlag":"true""#)
    };
    assert!(flag(5, 3, 0.6) && flag(2, 0, 0.0) && flag(2, 2, 1.0));
    assert!(!flag(5, 4, 0.6) && !flag(2, 1, 0.0) && !flag(0, 0, 1.0));
    let line = Line { key: &key, clusters: 1, instances: 2, healthy: 1, protect_threshold: 0.0 };
    assert_eq!(
        text(services([line], 3)),
        concat!(
            r#"{"serviceList":[{"name":"s","groupName":"G","clusterCount":1,"ipCount":2,"healthyInstanceCount":1,"#,
            r#""triggerFlag":"false"}],"count":3}"#
        )
    );
}

#[test]
fn services_with_their_instances() {
    let instance = Instance { metadata: Some([("a", "b")].into_iter().collect()), ..Instance::default() };
    let mut out = Vec::new();
    let clusters = [("C", vec![host(&instance)]), ("D", vec![])];
    write_with_instances(&ServiceKey::new("n", "G@@s1"), &Metadata::default(), clusters, &mut out);
    assert_eq!(
        text(out),
        concat!(
            r#"{"serviceName":"s1","groupName":"G","clusterMap":{"C":{"hosts":[{"valid":true,"metadata":{"a":"b"},"#,
            r#""port":80,"ip":"10.1.1.1","weight":1.0,"enabled":true}]},"D":{"hosts":[]}},"metadata":{}}"#
        )
    );
}

#[test]
fn times_of_checks() {
    let times = CheckTimes { cluster: "C", best_ms: i64::MAX, worst_ms: 0, normalized_ms: 2837 };
    assert_eq!(
        text(check_times([times])),
        r#"{"clusters":[{"name":"C","checkRTBest":9223372036854775807,"checkRTWorst":0,"checkRTNormalized":2837}]}"#
    );
}
