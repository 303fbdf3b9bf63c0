//! A member next to real Nacos 1.4.8 nodes: the seven points of `spec/distro.md` 16, one test each. What this server
//! sends is what such a node needs, and what one sends is taken.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::fake::{
    CHECKSUM_HEADERS, FETCH_HEADERS, Fake, KNOWN_PATHS, PUSH_HEADERS, REPORT_HEADERS, Seen, datum, instance, key,
    now_ms,
};
use super::trio::{healthy, name_members, owned_by, serves, states, within};
use super::watch::list;
use crate::client::{Client, form};
use crate::server::Server;

const SOON: Duration = Duration::from_secs(8);
const DATUM: &str = "/nacos/v1/ns/distro/datum";
const CHECKSUM: &str = "/nacos/v1/ns/distro/checksum";
const REPORT: &str = "/nacos/v1/core/cluster/report";
/// A service that the real node has from the beginning.
const SEED: &str = "seed";

struct Mixed {
    server: Server,
    fake: Fake,
}

impl Mixed {
    /// One server of each kind, which see each other.
    fn start() -> Self {
        let mut fake = Fake::new();
        fake.hold(SEED, &[instance(SEED, "10.8.0.1", 80)]);
        let mut server = Server::stopped(&["--ip", "127.0.0.1"], |_| {});
        name_members(&server, &[server.address(), fake.address()]);
        fake.listen();
        server.restart();
        let mixed = Self { server, fake };
        within(SOON, "clients are served", || serves(mixed.at()).then_some(()).ok_or_else(|| mixed.server.log()));
        assert_eq!(mixed.fake.report_to(mixed.at()).status, 200);
        mixed.wait_state("UP");
        // With a store of its own it serves before it has loaded what the other one has.
        within(SOON, "what the other one has is there", || {
            let seen = mixed.listed(SEED);
            (seen == [("10.8.0.1".to_owned(), true)])
                .then_some(())
                .ok_or_else(|| format!("{seen:?} {}", mixed.server.log()))
        });
        mixed
    }

    fn at(&self) -> SocketAddr {
        self.server.address()
    }

    fn client(&self) -> Client {
        self.server.client()
    }

    fn wait_state(&self, state: &str) {
        let wanted = (self.fake.address().to_string(), state.to_owned());
        within(SOON, &format!("the other one is {state}"), || {
            let seen = states(self.at()).unwrap_or_default();
            seen.contains(&wanted).then_some(()).ok_or_else(|| format!("{seen:?}"))
        });
    }

    fn name(&self, hint: &str, of_fake: bool) -> String {
        let fake_first = self.fake.address().to_string() < self.at().to_string();
        owned_by(usize::from(fake_first != of_fake), 2, hint)
    }

    /// A name of a service that this server owns.
    fn own(&self, hint: &str) -> String {
        self.name(hint, false)
    }

    /// A name of a service that the real node owns.
    fn others(&self, hint: &str) -> String {
        self.name(hint, true)
    }

    fn register(&self, service: &str, ip: &str, more: &[(&str, &str)]) {
        let mut pairs = vec![("serviceName", service), ("ip", ip), ("port", "8080")];
        pairs.extend_from_slice(more);
        let answer = self.client().send("POST", &format!("/nacos/v1/ns/instance?{}", form(&pairs)), &[], None);
        assert_eq!(answer.expect("an answer").text(), "ok");
    }

    /// Health by address, as this server lists it.
    fn listed(&self, service: &str) -> Vec<(String, bool)> {
        let seen = list(&mut self.client(), service).expect("an answer").expect("a list");
        seen.into_iter().map(|((ip, _), healthy)| (ip, healthy)).collect()
    }

    fn wait_listed(&self, service: &str, wanted: &[(&str, bool)]) {
        let wanted: Vec<_> = wanted.iter().map(|(ip, healthy)| ((*ip).to_owned(), *healthy)).collect();
        within(SOON, service, || {
            let seen = self.listed(service);
            (seen == wanted).then_some(()).ok_or_else(|| format!("{seen:?}"))
        });
    }

    fn get(&self, path: &str) -> Value {
        let answer = self.client().get(&format!("/nacos/v1/{path}")).expect("an answer");
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        serde_json::from_slice(&answer.body).expect("JSON")
    }

    fn push(&self, service: &str, instances: &[Value]) {
        let body = json!({key(service): datum(service, instances)}).to_string();
        let answer = self.fake.send(self.at(), "PUT", DATUM, &PUSH_HEADERS, body.as_bytes());
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    }

    /// Nothing went to the real node that it doesn't understand. To be called at the end of each test.
    fn conclude(self) {
        for seen in self.fake.seen() {
            assert!(KNOWN_PATHS.contains(&seen.path()), "a real node has no {} {}", seen.method, seen.target);
            if seen.path() == DATUM && seen.method == "PUT" {
                check_push(&seen);
            }
            if seen.path() == CHECKSUM {
                assert_eq!(seen.parameter("source"), Some(self.at().to_string()));
                assert_eq!(seen.header("Content-Encoding"), None);
            }
        }
    }
}

/// A member of an instance in a datum, and whether a value is of the kind that a real node reads.
type Kind = (&'static str, fn(&Value) -> bool);

const MEMBERS: [Kind; 17] = [
    ("instanceId", Value::is_string),
    ("ip", Value::is_string),
    ("port", Value::is_u64),
    ("weight", Value::is_f64),
    ("healthy", Value::is_boolean),
    ("enabled", Value::is_boolean),
    ("ephemeral", Value::is_boolean),
    ("clusterName", Value::is_string),
    ("serviceName", Value::is_string),
    ("metadata", Value::is_object),
    ("lastBeat", Value::is_u64),
    ("marked", Value::is_boolean),
    ("app", Value::is_string),
    ("instanceHeartBeatInterval", Value::is_u64),
    ("instanceIdGenerator", Value::is_string),
    ("instanceHeartBeatTimeOut", Value::is_u64),
    ("ipDeleteTimeout", Value::is_u64),
];

/// A push that a real node takes: whole lists, at least one, nothing that it doesn't know, plain.
fn check_push(seen: &Seen) {
    assert_eq!(seen.header("User-Agent"), Some("Nacos-Server:1.4.8"));
    assert_eq!(seen.header("Client-Version"), Some("1.4.8"));
    assert_eq!(seen.header("Content-Encoding"), None, "a lie in the reference");
    let kind = seen.header("Content-Type").unwrap_or_default();
    assert!(kind.starts_with("application/json"), "{kind}");
    let body = seen.json();
    let lists = body.as_object().expect("a map of lists");
    assert!(!lists.is_empty(), "real nodes refuse an empty map");
    for (key, list) in lists {
        let names: Vec<_> = list.as_object().expect("a list").keys().map(String::as_str).collect();
        assert_eq!(names, ["key", "timestamp", "value"], "of {key}");
        assert_eq!((&list["key"], &list["timestamp"]), (&json!(key), &json!(1)));
        for instance in list["value"]["instanceList"].as_array().expect("instances") {
            for (name, value) in instance.as_object().expect("an instance") {
                let known = MEMBERS.iter().find(|(known, _)| known == name);
                assert!(known.is_some_and(|(_, fits)| fits(value)), "{name} of {instance}");
            }
            let age = now_ms().abs_diff(instance["lastBeat"].as_u64().expect("a time"));
            assert!(age < 60_000, "the last beat of {instance} is {age} ms away");
        }
    }
}

#[test]
fn point_1_a_report_is_answered() {
    let mixed = Mixed::start();
    let answer = mixed.fake.report_to(mixed.at());
    assert_eq!((answer.status, answer.header("Content-Type")), (200, Some("application/json")));
    assert_eq!(answer.text(), r#"{"code":200,"message":null,"data":"true"}"#);
    let nodes = mixed.get("core/cluster/nodes")["data"].clone();
    let address = json!(mixed.fake.address().to_string());
    let own = nodes.as_array().and_then(|all| all.iter().find(|one| one["address"] == address)).expect("it is listed");
    assert_eq!((&own["extendInfo"]["version"], &own["state"]), (&json!("1.4.8"), &json!("UP")));
    let leader = &mixed.fake.member()["extendInfo"]["raftMetaData"];
    assert_eq!(&own["extendInfo"]["raftMetaData"], leader, "what it says is kept");
    let mut stranger = mixed.fake.member();
    (stranger["address"], stranger["port"]) = (json!("127.0.0.1:1"), json!(1));
    let answer = mixed.fake.send(mixed.at(), "POST", REPORT, &REPORT_HEADERS, stranger.to_string().as_bytes());
    assert_eq!(answer.text(), r#"{"code":200,"message":null,"data":"false"}"#);
    mixed.conclude();
}

#[test]
fn point_2_this_server_reports_itself_with_a_version() {
    let mixed = Mixed::start();
    within(Duration::from_secs(15), "three reports", || {
        let count = mixed.fake.seen_at("POST", REPORT).len();
        (count >= 3).then_some(()).ok_or_else(|| count.to_string())
    });
    let reports = mixed.fake.seen_at("POST", REPORT);
    for report in &reports {
        let kind = report.header("Content-Type").unwrap_or_default();
        assert!(kind.starts_with("application/json"), "{kind}");
        assert_eq!(report.header("Nacos-Server"), Some("1.4.8"));
        let body = report.json();
        let port = mixed.at().port();
        assert_eq!((&body["ip"], &body["port"]), (&json!("127.0.0.1"), &json!(port)));
        assert_eq!((&body["address"], &body["state"]), (&json!(mixed.at().to_string()), &json!("UP")));
        let version = body["extendInfo"]["version"].as_str().expect("a version");
        let parts: Vec<u32> = version.split('.').map(|part| part.parse().expect("a number")).collect();
        assert!(parts >= vec![1, 4, 0], "{version}");
        assert_eq!(body["extendInfo"]["raftPort"], json!((port - 1000).to_string()));
        assert!(body["failAccessCnt"].is_u64(), "{body}");
    }
    // The first one at once, then after 5 s, then every 2 s.
    let gap = reports[2].at - reports[1].at;
    assert!((1_500..4_000).contains(&gap.as_millis()), "{gap:?}");
    mixed.conclude();
}

#[test]
fn point_3_what_a_real_node_calls_is_there() {
    let mixed = Mixed::start();
    let (theirs, own) = (mixed.others("three"), mixed.own("three-own"));
    // Pushed, with the lie about gzip.
    mixed.push(&theirs, &[instance(&theirs, "10.8.1.1", 80), instance(&theirs, "10.8.1.2", 80)]);
    mixed.wait_listed(&theirs, &[("10.8.1.1", true), ("10.8.1.2", true)]);
    mixed.register(&own, "10.8.2.1", &[]);
    // Fetched, by a GET with a body.
    let body = json!({"keys": format!("{},{},{}", key(&own), key("nobody"), key(&theirs))}).to_string();
    let answer = mixed.fake.send(mixed.at(), "GET", DATUM, &FETCH_HEADERS, body.as_bytes());
    assert_eq!((answer.status, answer.header("Content-Type")), (200, Some("application/octet-stream")));
    let some: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(some.as_object().map(|map| map.len()), Some(2), "{some}");
    assert_eq!(some[key(&own)]["value"]["instanceList"][0]["ip"], "10.8.2.1");
    assert!(
        some[key(&own)]["value"]["instanceList"][0].get("changedMs").is_none(),
        "only servers of this kind know that"
    );
    // All of it.
    let source = mixed.fake.address().to_string();
    let mut headers = CHECKSUM_HEADERS.to_vec();
    headers.push(("Request-Source", &source));
    let all = mixed.fake.send(mixed.at(), "GET", "/nacos/v1/ns/distro/datums?encoding=UTF-8&nofix=1", &headers, b"");
    assert_eq!((all.status, all.header("Content-Type")), (200, Some("application/octet-stream")));
    let all: Value = serde_json::from_slice(&all.body).expect("JSON");
    assert_eq!(all.as_object().map(|map| map.len()), Some(3), "with what was there at the start: {all}");
    // Health: asked for, and told of.
    let target =
        format!("/nacos/v1/ns/instance/statuses?key=public%23%23DEFAULT_GROUP%40%40{own}&encoding=UTF-8&nofix=1");
    let answer = mixed.fake.send(mixed.at(), "GET", &target, &CHECKSUM_HEADERS, b"");
    assert_eq!((answer.status, answer.text().as_str()), (200, r#"{"ips":["10.8.2.1:8080_true"]}"#));
    mixed.fake.say_health(&theirs, &["10.8.1.1:80_true", "10.8.1.2:80_false"]);
    let sums = json!({"namespaceId": "public", "serviceName2Checksum": {format!("DEFAULT_GROUP@@{theirs}"): "x"}});
    let body = json!({"clientIP": source, "statuses": sums.to_string()}).to_string();
    let headers = [("Content-Type", "application/json;charset=UTF-8"), ("User-Agent", "Nacos-Server:1.4.8")];
    let answer = mixed.fake.send(mixed.at(), "POST", "/nacos/v1/ns/service/status", &headers, body.as_bytes());
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    mixed.wait_listed(&theirs, &[("10.8.1.1", true), ("10.8.1.2", false)]);
    // Requests of clients, passed on.
    let full = format!("DEFAULT_GROUP@@{theirs}");
    let answer = mixed.get(&format!("ns/operator/distro/server?serviceName={full}"));
    assert_eq!(answer["responsibleServer"], source.as_str(), "the same hash over the same list");
    passed_on_to_this_server(&mixed, &own);
    mixed.conclude();
}

/// `spec/distro.md` 5.
fn passed_on_to_this_server(mixed: &Mixed, own: &str) {
    let source = mixed.fake.address().to_string();
    let headers = [
        ("Accept-Charset", "UTF-8"),
        ("Accept-Encoding", "identity"),
        ("Client-Version", "1.4.8"),
        ("Content-Type", "application/x-www-form-urlencoded;charset=UTF-8"),
        ("host", source.as_str()),
        ("Request-Source", source.as_str()),
        ("User-Agent", "Nacos-Server:1.4.8"),
        ("Content-Length", "0"),
    ];
    let beat = json!({"ip": "10.8.2.2", "port": 8080, "cluster": "DEFAULT", "serviceName": format!("DEFAULT_GROUP@@{own}"),
        "weight": 1.0, "metadata": {"by": "beat"}, "scheduled": false, "period": 5000, "stopped": false});
    let query = [("port", "8080"), ("ip", "10.8.2.2"), ("beat", &beat.to_string()), ("serviceName", own)];
    let target =
        |path: &str, query: &[(&str, &str)]| format!("/nacos/v1/ns/{path}?{}&encoding=UTF-8&nofix=1", form(query));
    let answer = mixed.fake.send(mixed.at(), "PUT", &target("instance/beat", &query), &headers, b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!(body["code"], 10_200);
    let query = [("serviceName", own), ("ip", "10.8.2.3"), ("port", "8080"), ("weight", "2.5")];
    let answer = mixed.fake.send(mixed.at(), "POST", &target("instance", &query), &headers, b"");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    let here: Vec<String> = mixed.listed(own).into_iter().map(|(ip, _)| ip).collect();
    assert_eq!(here, ["10.8.2.1", "10.8.2.2", "10.8.2.3"]);
}

#[test]
fn point_4_changes_and_checksums_are_told_and_differences_fetched() {
    let mixed = Mixed::start();
    // The list of `spec/distro.md` 7, whose checksum is known.
    let own = mixed.own("four");
    mixed.register(&own, "10.1.0.1", &[("weight", "2.5"), ("metadata", r#"{"zone":"z1","app":"ä b&c"}"#)]);
    let more = [("clusterName", "c2"), ("enabled", "false"), ("port", "8081")];
    let pairs = [("serviceName", own.as_str()), ("ip", "10.1.0.2")].into_iter().chain(more).collect::<Vec<_>>();
    let answer = mixed.client().send("POST", &format!("/nacos/v1/ns/instance?{}", form(&pairs)), &[], None);
    assert_eq!(answer.expect("an answer").text(), "ok");
    mixed.register(&own, "10.1.0.9", &[]);
    let pushed = mixed.fake.wait_for(SOON, "PUT", DATUM, |seen| {
        seen.json()[key(&own)]["value"]["instanceList"].as_array().is_some_and(|list| list.len() == 3)
    });
    check_push(&pushed);
    let sum = mixed.fake.wait_for(SOON, "PUT", CHECKSUM, |seen| seen.json().get(key(&own)).is_some());
    assert_eq!(sum.json()[key(&own)], "0f0a6d3ac2364d4b0ae33be614a96271");
    assert_eq!(sum.header("User-Agent"), Some("Nacos-Server:1.4.8"));
    for key in sum.json().as_object().expect("a map").keys() {
        let name = key.rsplit("##").next().expect("a name");
        let owner = mixed.get(&format!("ns/operator/distro/server?serviceName={name}"))["responsibleServer"].clone();
        assert_eq!(owner, mixed.at().to_string(), "{name}: only what it owns");
    }
    // A difference is fetched from the source, by a GET with a body.
    let theirs = mixed.others("four-theirs");
    mixed.fake.hold(&theirs, &[instance(&theirs, "10.8.4.1", 80)]);
    let source = mixed.fake.address();
    let body = json!({key(&theirs): "7f7db6b88ce58859712c6c5c2e9db2f2"}).to_string();
    let target = format!("{CHECKSUM}?source={source}");
    let answer = mixed.fake.send(mixed.at(), "PUT", &target, &CHECKSUM_HEADERS, body.as_bytes());
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    let fetch = mixed.fake.wait_for(SOON, "GET", DATUM, |_| true);
    assert_eq!(fetch.json(), json!({"keys": key(&theirs)}));
    assert!(fetch.header("User-Agent").is_some_and(|agent| agent.starts_with("Nacos-Server")), "it passes the gate");
    mixed.wait_listed(&theirs, &[("10.8.4.1", true)]);
    // What the owner does not name any more goes.
    let answer = mixed.fake.send(mixed.at(), "PUT", &target, &CHECKSUM_HEADERS, br#"{}"#);
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    mixed.wait_listed(&theirs, &[]);
    // The last one goes: an empty list is told, never an empty map.
    for (ip, port, cluster) in
        [("10.1.0.1", "8080", "DEFAULT"), ("10.1.0.2", "8081", "c2"), ("10.1.0.9", "8080", "DEFAULT")]
    {
        let query = form(&[("serviceName", own.as_str()), ("ip", ip), ("port", port), ("clusterName", cluster)]);
        let answer = mixed.client().send("DELETE", &format!("/nacos/v1/ns/instance?{query}"), &[], None);
        assert_eq!(answer.expect("an answer").text(), "ok");
    }
    mixed.fake.wait_for(SOON, "PUT", DATUM, |seen| seen.json()[key(&own)]["value"]["instanceList"] == json!([]));
    mixed.conclude();
}

#[test]
fn point_5_who_owns_what_follows_who_answers() {
    let mut mixed = Mixed::start();
    let theirs = mixed.others("five");
    // Passed on, with all that the client said, and the answer comes back.
    let query =
        form(&[("serviceName", theirs.as_str()), ("ip", "10.8.5.1"), ("port", "80"), ("metadata", r#"{"a":"ä&b"}"#)]);
    let answer = mixed.client().send("POST", &format!("/nacos/v1/ns/instance?{query}"), &[], None).expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    assert_eq!(answer.header("Content-Type"), Some("application/json;charset=UTF-8"), "as the reference has it");
    let passed = mixed.fake.wait_for(SOON, "POST", "/nacos/v1/ns/instance", |_| true);
    for (name, value) in [
        ("serviceName", theirs.as_str()),
        ("ip", "10.8.5.1"),
        ("port", "80"),
        ("metadata", r#"{"a":"ä&b"}"#),
        ("encoding", "UTF-8"),
        ("nofix", "1"),
    ] {
        assert_eq!(passed.parameter(name).as_deref(), Some(value), "{name} in {}", passed.target);
    }
    assert_eq!(passed.header("User-Agent"), Some("Nacos-Server:1.4.8"));
    assert_eq!(passed.header("Request-Source"), Some(mixed.at().to_string().as_str()));
    assert_eq!(passed.body, b"", "the reference reads no form of a POST");
    let beat = form(&[("serviceName", theirs.as_str()), ("ip", "10.8.5.1"), ("port", "80")]);
    let headers = [("Content-Type".to_owned(), "application/x-www-form-urlencoded;charset=UTF-8".to_owned())];
    let answer = mixed.client().send("PUT", "/nacos/v1/ns/instance/beat", &headers, Some(beat.as_bytes()));
    let body: Value = serde_json::from_slice(&answer.expect("an answer").body).expect("JSON");
    assert_eq!(body["code"], 10_200, "{body}");
    let passed = mixed.fake.wait_for(SOON, "PUT", "/nacos/v1/ns/instance/beat", |_| true);
    assert_eq!((passed.parameter("ip").as_deref(), passed.body.len()), (Some("10.8.5.1"), 0));
    // It goes: nobody is refused, and this server owns everything.
    mixed.fake.stop();
    mixed.register(&theirs, "10.8.5.2", &[]);
    mixed.wait_state("DOWN");
    assert_eq!(healthy(mixed.at()), Some(vec![mixed.at().to_string()]));
    let owner = |mixed: &Mixed| mixed.get(&format!("ns/operator/distro/server?serviceName=DEFAULT_GROUP@@{theirs}"));
    assert_eq!(owner(&mixed)["responsibleServer"], mixed.at().to_string());
    assert_eq!(mixed.listed(&theirs), [("10.8.5.2".to_owned(), true)]);
    // It comes back: an answer to a report is enough.
    mixed.fake.listen();
    mixed.wait_state("UP");
    assert_eq!(owner(&mixed)["responsibleServer"], mixed.fake.address().to_string());
    mixed.conclude();
}

#[test]
fn point_6_oddities_of_real_nodes_are_no_faults() {
    let mixed = Mixed::start();
    let answer = mixed.fake.send(mixed.at(), "PUT", DATUM, &PUSH_HEADERS, b"{}");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "else it comes every 6 s for ever");
    let target = format!("{CHECKSUM}?source={}", mixed.fake.address());
    let answer = mixed.fake.send(mixed.at(), "PUT", &target, &CHECKSUM_HEADERS, b"{}");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    // A key that is no ephemeral list, a list without most members, unknown members.
    let theirs = mixed.others("six");
    let least = json!({
        "com.alibaba.nacos.naming.iplist.public##DEFAULT_GROUP@@other": {"key": "x", "value": {"instanceList": []}},
        key(&theirs): {"key": key(&theirs), "value": {"instanceList": [{"ip": "10.8.6.1", "port": 5, "new": [1]}]}, "odd": {}}
    });
    let answer = mixed.fake.send(mixed.at(), "PUT", DATUM, &PUSH_HEADERS, least.to_string().as_bytes());
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    mixed.wait_listed(&theirs, &[("10.8.6.1", true)]);
    // What poisons a real node is refused here.
    let poison =
        json!({key(&theirs): {"key": key(&theirs), "value": {"instanceList": [null]}, "timestamp": 1}}).to_string();
    let answer = mixed.fake.send(mixed.at(), "PUT", DATUM, &PUSH_HEADERS, poison.as_bytes());
    assert!(answer.status >= 400, "{}", answer.text());
    mixed.wait_listed(&theirs, &[("10.8.6.1", true)]);
    // An expiry with its stray separator.
    let own = mixed.own("six-own");
    mixed.register(&own, "10.8.6.2", &[]);
    let target = format!(
        "/nacos/v1/ns/instance?ephemeral=true&serviceName=DEFAULT_GROUP%40%40{own}&port=8080&namespaceId=public&ip=10.8.6.2\
         &clusterName=DEFAULT&?encoding=UTF-8&nofix=1"
    );
    let source = mixed.fake.address().to_string();
    let headers = [("User-Agent", "Nacos-Server:1.4.8"), ("Request-Source", source.as_str())];
    let answer = mixed.fake.send(mixed.at(), "DELETE", &target, &headers, b"");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"));
    mixed.wait_listed(&own, &[]);
    // A node that has not switched to the Raft of 1.4 yet asks for votes, and is told what one says that has.
    let answer = mixed.fake.send(mixed.at(), "POST", "/nacos/v1/ns/raft/vote", &CHECKSUM_HEADERS, b"");
    assert_eq!((answer.status, answer.text().as_str()), (500, "caused: old raft protocol already stop;"));
    mixed.conclude();
}

#[test]
fn point_7_copies_of_real_nodes_stay_young() {
    let mixed = Mixed::start();
    let own = mixed.own("seven");
    mixed.register(&own, "10.8.7.1", &[]);
    let has = |seen: &Seen| seen.json().get(key(&own)).is_some();
    let first = mixed.fake.wait_for(SOON, "PUT", DATUM, has);
    // Nothing changes, but it beats; by and by the list is told again, with the time of the last beat.
    let beat = format!(
        "/nacos/v1/ns/instance/beat?{}",
        form(&[("serviceName", own.as_str()), ("ip", "10.8.7.1"), ("port", "8080")])
    );
    let mut again = None;
    within(Duration::from_secs(16), "the list is told again", || {
        let answer = mixed.client().send("PUT", &beat, &[], None).expect("an answer");
        assert!(crate::population::is_beat_ok(&answer), "{}", answer.text());
        std::thread::sleep(Duration::from_millis(500));
        let later = first.at + Duration::from_secs(3);
        again = mixed.fake.seen_at("PUT", DATUM).into_iter().find(|seen| seen.at > later && has(seen));
        again.as_ref().map(|_| ()).ok_or_else(String::new)
    });
    let age = |seen: &Seen| {
        let beat = seen.json()[key(&own)]["value"]["instanceList"][0]["lastBeat"].as_u64().expect("a time");
        now_ms().saturating_sub(beat) as i64 - seen.at.elapsed().as_millis() as i64
    };
    let again = again.expect("it was told again");
    assert!(age(&again) < 3_000, "{} ms old when it was told", age(&again));
    // And what it holds of theirs is young for one that loads from here.
    let source = mixed.fake.address().to_string();
    let headers = [("User-Agent", "Nacos-Server:1.4.8"), ("Request-Source", source.as_str())];
    let all = mixed.fake.send(mixed.at(), "GET", "/nacos/v1/ns/distro/datums?encoding=UTF-8&nofix=1", &headers, b"");
    let all: Value = serde_json::from_slice(&all.body).expect("JSON");
    for list in all.as_object().expect("a map").values() {
        for one in list["value"]["instanceList"].as_array().expect("instances") {
            let age = now_ms().saturating_sub(one["lastBeat"].as_u64().expect("a time"));
            assert!(age < 30_000, "{one} is {age} ms old");
        }
    }
    mixed.conclude();
}
