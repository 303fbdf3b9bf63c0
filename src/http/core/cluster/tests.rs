use serde_json::{Value, json};

use crate::http::world::{World, options, send};
use crate::model::settings::{Setting, SettingKey, Switches};
use crate::model::{Instance, InstanceKey, Row, ServiceKey};

const MEMBER: &str = "127.0.0.2";

/// 10.0.0.1 (this server), 127.0.0.2, 127.0.0.3; and how to ask it as a member.
async fn cluster() -> (World, impl AsyncFn(&str, Value) -> Value) {
    let world = World::of(options(false), [MEMBER, "127.0.0.3"]);
    let to = world.serve().await;
    let ask = async move |head: &str, body: Value| {
        let (method, path) = head.split_once(' ').unwrap();
        let head = format!("{method} /nacos/v1/{path}\nContent-Type: application/json;charset=UTF-8");
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let heard = send(MEMBER, to, &head, &body).await;
        assert_eq!(heard.status, 200, "{head}: {}", heard.text());
        serde_json::from_slice(&heard.body).unwrap_or_else(|_| heard.text().into())
    };
    (world, ask)
}

fn member(ip: &str, state: &str, extend: Value, failures: u32) -> Value {
    let address = format!("{ip}:8848");
    json!({"ip": ip, "port": 8848, "state": state, "extendInfo": extend, "address": address, "failAccessCnt": failures})
}

#[tokio::test]
async fn members_are_shown_as_they_are_known() {
    let (world, ask) = cluster().await;
    let to_ms = world.app.members.own().extend.standing.unwrap().gap.to_ms;
    let standing = format!("restored;1;{to_ms}");
    let own = member("10.0.0.1", "UP", json!({"nacre": standing, "raftPort": "7848", "version": "1.4.8"}), 0);
    let unheard = |ip| member(ip, "DOWN", json!({"raftPort": "7848"}), 0);
    let nodes = json!([own, unheard(MEMBER), unheard("127.0.0.3")]);
    assert_eq!(ask("GET core/cluster/nodes?withInstances=false", json!(null)).await["data"], nodes);
    assert_eq!(ask("GET core/cluster/self", json!(null)).await["data"], own);
    assert_eq!(ask("GET core/cluster/health", json!(null)).await["data"], "UP");
    assert_eq!(ask("GET core/cluster/simple/nodes", json!(null)).await["data"], json!(["10.0.0.1:8848"]));

    // As a real member sends it: state and failures don't matter.
    let meta = json!({"metaDataMap": {"naming_persistent_service": {"leader": "127.0.0.2:7848", "term": 1}}});
    let said = json!({"lastRefreshTime": 5, "raftMetaData": meta, "raftPort": "7848", "version": "1.4.7"});
    let report = member(MEMBER, "DOWN", said, 3);
    assert_eq!(ask("POST core/cluster/report", report).await, json!({"code": 200, "message": null, "data": "true"}));
    let shown = ask("GET core/cluster/nodes?keyword=127.0.0.2", json!(null)).await["data"].take();
    let refreshed = shown[0]["extendInfo"]["lastRefreshTime"].as_u64().unwrap();
    assert!(refreshed > 1_600_000_000_000, "by the clock of this server: {refreshed}");
    let said = json!({"lastRefreshTime": refreshed, "raftMetaData": meta, "raftPort": "7848", "version": "1.4.7"});
    assert_eq!(shown, json!([member(MEMBER, "UP", said, 0)]));
    let up = json!(["10.0.0.1:8848", "127.0.0.2:8848"]);
    assert_eq!(ask("GET core/cluster/simple/nodes", json!(null)).await["data"], up);
    world.app.members.note_failure("127.0.0.2:8848", 1);
    assert_eq!(ask("GET core/cluster/simple/nodes", json!(null)).await["data"], json!(["10.0.0.1:8848"]));

    let states = |members: &Value| -> Vec<String> {
        members.as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(states(&ask("GET ns/operator/servers", json!(null)).await["servers"]), ["UP", "SUSPICIOUS", "DOWN"]);
    assert_eq!(states(&ask("GET ns/operator/servers?healthy=true", json!(null)).await["servers"]), ["UP"]);
    assert_eq!(
        states(&ask("GET ns/operator/distro/status", json!(null)).await["status"]),
        ["UP", "SUSPICIOUS", "DOWN"]
    );

    let stranger = member("8.8.8.8", "UP", json!({}), 0);
    assert_eq!(ask("POST core/cluster/report", stranger).await["data"], "false");
    // Asked by 127.0.0.2.
    let another = member("127.0.0.3", "UP", json!({}), 0);
    assert_eq!(ask("POST core/cluster/report", another).await["data"], "false", "each reports itself");
    assert_eq!(ask("POST core/cluster/report", json!({"ip": MEMBER})).await["code"], 400);
    assert_eq!(ask("GET console/server/state", json!(null)).await["standalone_mode"], "cluster");
}

#[tokio::test]
async fn members_of_old_versions_report_in_another_way() {
    let (world, ask) = cluster().await;
    let line = |address: &str| format!("site-1%23{address}%231795301880237%234");
    let two = format!("x%23y%0D%0A{}", line("127.0.0.3:8848"));
    assert_eq!(ask(&format!("GET ns/operator/server/status?serverStatus={two}"), json!(null)).await, "ok");
    let shown = ask("GET core/cluster/nodes?keyword=127.0.0.3", json!(null)).await["data"][0].take();
    assert_eq!(
        (&shown["state"], &shown["extendInfo"]["site"], &shown["extendInfo"]["weight"]),
        (&json!("UP"), &json!("site-1"), &json!("4"))
    );
    let again = world.app.members.find("127.0.0.3:8848").unwrap().extend.others.len();
    assert_eq!(ask(&format!("GET ns/operator/server/status?serverStatus={two}"), json!(null)).await, "ok");
    assert_eq!(world.app.members.find("127.0.0.3:8848").unwrap().extend.others.len(), again);
}

/// Registers an instance of this service.
fn register(world: &World, name: &str, port: i32) {
    let service = ServiceKey::new("public", name);
    let key = InstanceKey { service, cluster: "DEFAULT".into(), ip: "1.1.1.1".into(), port, ephemeral: true };
    world.app.registry.apply(Row::Instance(key, Some(Instance::default().into())), 1, true);
}

#[tokio::test]
async fn owners_are_found_by_the_hash() {
    let (world, ask) = cluster().await;
    // The numbers modulo three are 0, 1 and 2 (the vectors of section 4).
    let owners = [("owna-2", "10.0.0.1"), ("ownb-0", "127.0.0.2"), ("ownc-1", "127.0.0.3")];
    for (number, (name, _)) in owners.iter().enumerate() {
        (0..=number).for_each(|port| register(&world, &format!("DEFAULT_GROUP@@{name}"), i32::try_from(port).unwrap()));
    }
    for (name, owner) in owners {
        let found = ask(&format!("GET ns/operator/distro/server?serviceName=DEFAULT_GROUP@@{name}"), json!(null)).await;
        assert_eq!(found, json!({"responsibleServer": format!("{owner}:8848")}));
    }
    let counts = |metrics: &Value| {
        ["serviceCount", "instanceCount", "responsibleServiceCount", "responsibleInstanceCount"]
            .map(|name| metrics[name].as_u64().unwrap())
    };
    let metrics = ask("GET ns/operator/metrics", json!(null)).await;
    assert_eq!((counts(&metrics), &metrics["status"]), ([3, 6, 1, 1], &json!("UP")));
    let switches = Switches { distro_enabled: false, ..Switches::default() };
    world.put(SettingKey::Switches, Setting::Switches(Box::new(switches)));
    assert_eq!(counts(&ask("GET ns/operator/metrics", json!(null)).await), [3, 6, 3, 6]);
    let found = ask("GET ns/operator/distro/server?serviceName=DEFAULT_GROUP@@ownb-0", json!(null)).await;
    assert_eq!(found["responsibleServer"], "10.0.0.1:8848");
}

#[tokio::test]
async fn many_services_are_counted_elsewhere() {
    let (world, ask) = cluster().await;
    (0..5_000).for_each(|number| register(&world, &format!("DEFAULT_GROUP@@s{number}"), 1));
    let metrics = ask("GET ns/operator/metrics", json!(null)).await;
    let owned = metrics["responsibleServiceCount"].as_u64().unwrap();
    assert!((1_500..1_850).contains(&owned), "about a third of 5000: {owned}");
    assert_eq!(metrics["responsibleInstanceCount"], owned);
}

#[tokio::test]
async fn a_status_report_is_for_members() {
    let world = World::of(options(false), [MEMBER]);
    let to = world.serve().await;
    let post = async |sender: &str, statuses: &str| {
        let body = json!({"clientIP": sender, "statuses": statuses}).to_string();
        let heard =
            send(MEMBER, to, "POST /nacos/v1/ns/service/status\nContent-Type: application/json", body.as_bytes()).await;
        (heard.status, heard.text())
    };
    let sums = r#"{"namespaceId":"public","serviceName2Checksum":{"G@@s":"0123"}}"#;
    let ok = (200, "ok".to_owned());
    assert_eq!(post("127.0.0.2:8848", "not so").await, ok);
    assert_eq!(post("127.0.0.2", sums).await, ok, "a part of an address passes and has no effect");
    assert_eq!(post("10.0.0.1:8848", sums).await, ok, "the server itself tells nothing new");
    assert_eq!(post("1.2.3.4:5", sums).await, (500, "caused: ip: 1.2.3.4:5 is not in serverlist;".to_owned()));
    assert_ne!(post("127.0.0.2:8848", sums).await.0, 403);
}
