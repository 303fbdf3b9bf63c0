//! Switches of the real binary: each entry, what it brings about, and what is left after `kill -9`.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::client::{Answer, Client, form};
use crate::server::Server;

const SWITCHES: &str = "/nacos/v1/ns/operator/switches";

fn send(client: &mut Client, method: &str, path: &str, pairs: &[(&str, &str)]) -> Answer {
    client.send(method, &format!("/nacos/v1/{path}?{}", form(pairs)), &[], None).expect("an answer")
}

fn set(client: &mut Client, entry: &str, value: &str) {
    let answer = send(client, "PUT", "ns/operator/switches", &[("entry", entry), ("value", value)]);
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{entry}={value}");
}

fn body(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).expect("JSON")
}

fn switches(client: &mut Client) -> Value {
    body(&client.get(SWITCHES).expect("an answer"))
}

fn instance(name: &'static str) -> [(&'static str, &'static str); 3] {
    [("serviceName", name), ("ip", "10.0.0.1"), ("port", "80")]
}

#[test]
fn every_entry_shows_in_its_member() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let before = switches(&mut client);
    for (entry, value, member, shown) in [
        ("distroThreshold", "0.5", "distroThreshold", json!(0.5)),
        ("clientBeatInterval", "7000", "clientBeatInterval", json!(7000)),
        ("pushVersion", "java:1.2.3", "pushJavaVersion", json!("1.2.3")),
        ("pushVersion", "python:1.2.4", "pushPythonVersion", json!("1.2.4")),
        ("pushVersion", "go:1.2.5", "pushGoVersion", json!("1.2.5")),
        ("pushVersion", "c:1.2.6", "pushCVersion", json!("1.2.6")),
        ("pushCacheMillis", "15000", "defaultPushCacheMillis", json!(15000)),
        ("defaultCacheMillis", "4000", "defaultCacheMillis", json!(4000)),
        ("masters", "a,b", "masters", json!(["a", "b"])),
        ("distro", "false", "distroEnabled", json!(false)),
        ("check", "false", "healthCheckEnabled", json!(false)),
        ("pushEnabled", "false", "pushEnabled", json!(false)),
        ("serviceStatusSynchronizationPeriodMillis", "6000", "serviceStatusSynchronizationPeriodMillis", json!(6000)),
        ("serverStatusSynchronizationPeriodMillis", "3000", "serverStatusSynchronizationPeriodMillis", json!(3000)),
        ("healthCheckTimes", "5", "checkTimes", json!(5)),
        ("disableAddIP", "true", "disableAddIP", json!(true)),
        ("sendBeatOnly", "true", "sendBeatOnly", json!(true)),
        ("limitedUrlMap", "/x:404", "limitedUrlMap", json!({"/x": 404})),
        ("overriddenServerStatus", "UP", "overriddenServerStatus", json!("UP")),
        ("defaultInstanceEphemeral", "false", "defaultInstanceEphemeral", json!(false)),
        ("distroServerExpiredMillis", "1", "distroServerExpiredMillis", json!(1)),
        ("lightBeatEnabled", "false", "lightBeatEnabled", json!(false)),
        ("autoChangeHealthCheckEnabled", "no", "autoChangeHealthCheckEnabled", json!(false)),
    ] {
        assert_ne!(before[member], shown, "{member} has that value already");
        set(&mut client, entry, value);
        let mut expected = before.clone();
        expected[member] = shown;
        assert_eq!(switches(&mut client), expected, "{entry}={value}");
        set(&mut client, "batch", "{}");
        assert_eq!(switches(&mut client), before, "batch resets {entry}");
    }
    set(&mut client, "enableStandalone", "false");
    assert_eq!(switches(&mut client), before, "enableStandalone never changes");
}

#[test]
fn beats_lists_and_kinds_follow_the_switches() {
    let server = Server::start(&[]);
    let mut client = server.client();
    set(&mut client, "clientBeatInterval", "7000");
    set(&mut client, "lightBeatEnabled", "false");
    set(&mut client, "defaultCacheMillis", "4000");
    let unknown = body(&send(&mut client, "PUT", "ns/instance/beat", &instance("s")));
    assert_eq!(unknown, json!({"clientBeatInterval": 7000, "code": 20404}));
    assert_eq!(send(&mut client, "POST", "ns/instance", &instance("s")).status, 200);
    let beat = body(&send(&mut client, "PUT", "ns/instance/beat", &instance("s")));
    assert_eq!(beat, json!({"clientBeatInterval": 7000, "code": 10200, "lightBeatEnabled": false}));
    for service in ["s", "nosuch"] {
        let list = body(&send(&mut client, "GET", "ns/instance/list", &[("serviceName", service)]));
        assert_eq!(list["cacheMillis"], 4000, "{service}");
    }
    set(&mut client, "defaultCacheMillis", "5000");
    let list = body(&send(&mut client, "GET", "ns/instance/list", &[("serviceName", "s")]));
    assert_eq!(list["cacheMillis"], 5000, "a list that was built before");
    set(&mut client, "defaultInstanceEphemeral", "false");
    assert_eq!(send(&mut client, "POST", "ns/instance", &instance("kind")).status, 200);
    let list = body(&send(&mut client, "GET", "ns/instance/list", &[("serviceName", "kind")]));
    assert_eq!(list["hosts"][0]["ephemeral"], false);
    assert_eq!(send(&mut client, "DELETE", "ns/instance", &instance("kind")).status, 200);
    let list = body(&send(&mut client, "GET", "ns/instance/list", &[("serviceName", "kind")]));
    assert_eq!(list["hosts"], json!([]), "removed as the kind that is the default");
}

#[test]
fn without_checks_nobody_expires() {
    let server = Server::start(&[]);
    let mut client = server.client();
    set(&mut client, "check", "false");
    let limits = r#"{"preserved.heart.beat.timeout":"200","preserved.ip.delete.timeout":"600"}"#;
    let [name, ip, port] = instance("s");
    assert_eq!(send(&mut client, "POST", "ns/instance", &[name, ip, port, ("metadata", limits)]).status, 200);
    let mut hosts = || body(&send(&mut client, "GET", "ns/instance/list", &[name]))["hosts"].clone();
    thread::sleep(Duration::from_millis(1_500));
    let there = hosts();
    assert_eq!((there.as_array().map(Vec::len), &there[0]["healthy"]), (Some(1), &json!(true)));
    set(&mut server.client(), "check", "true");
    let deadline = Instant::now() + Duration::from_secs(5);
    while hosts() != json!([]) {
        assert!(Instant::now() < deadline, "it expires once checks are on again");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn the_status_shuts_the_naming_api_and_no_agent_opens_it() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let mut asked = |method: &str, path: &str, agent: &str| {
        let headers = [("User-Agent".to_owned(), agent.to_owned())];
        let answer = client.send(method, &format!("/nacos/v1/{path}"), &headers, None).expect("an answer");
        (answer.status, answer.header("Content-Type").is_some(), answer.text())
    };
    let mut operator = server.client();
    for (status, get, put) in [("DOWN", 503, 503), ("READ_ONLY", 200, 503), ("WRITE_ONLY", 503, 400), ("UP", 200, 400)]
    {
        set(&mut operator, "overriddenServerStatus", status);
        for agent in ["", "Nacos-Server:v1.4.8", "Nacos-Java-Client:v1.4.2"] {
            let (code, labelled, text) = asked("GET", "ns/operator/metrics", agent);
            assert_eq!(code, get, "GET while {status}");
            if code == 503 {
                let shut = format!("server is {status}now, please try again later!");
                assert_eq!((labelled, text), (false, shut));
            } else {
                assert!(text.contains(&format!("\"status\":\"{status}\"")), "{text}");
            }
            assert_eq!(asked("PUT", "ns/instance/beat", agent).0, put, "PUT while {status}");
            assert_eq!(asked("GET", "core/cluster/health", agent).0, 200, "core while {status}");
            assert_eq!(asked("GET", "console/health/readiness", agent).0, 200, "a probe while {status}");
        }
    }
    set(&mut operator, "limitedUrlMap", "/nacos/v1/ns:404");
    assert_eq!(asked("GET", "ns/operator/metrics", ""), (404, false, String::new()));
    assert_eq!(asked("GET", "core/cluster/health", "").0, 200);
    set(&mut operator, "batch", "{}");
    assert_eq!(asked("GET", "ns/operator/metrics", "").0, 200);
}

#[test]
fn switches_and_namespaces_survive_a_kill_but_debug_changes_do_not() {
    let mut server = Server::start(&[]);
    let mut client = server.client();
    set(&mut client, "clientBeatInterval", "7000");
    set(&mut client, "overriddenServerStatus", "WRITE_ONLY");
    set(&mut client, "overriddenServerStatus", "null");
    for (id, name) in [("dev", "Development"), ("test", "Test"), ("gone", "Gone")] {
        let pairs = [("customNamespaceId", id), ("namespaceName", name), ("namespaceDesc", "text")];
        assert_eq!(send(&mut client, "POST", "console/namespaces", &pairs).text(), "true");
    }
    assert_eq!(send(&mut client, "DELETE", "console/namespaces", &[("namespaceId", "gone")]).text(), "true");
    let stored = switches(&mut client);
    let pairs = [("entry", "defaultCacheMillis"), ("value", "9000"), ("debug", "true")];
    assert_eq!(send(&mut client, "PUT", "ns/operator/switches", &pairs).text(), "ok");
    let debugged = switches(&mut client);
    assert_eq!((&debugged["defaultCacheMillis"], &debugged["clientBeatInterval"]), (&json!(9000), &json!(7000)));
    server.kill9();
    server.restart();
    let mut client = server.client();
    assert_eq!(switches(&mut client), stored);
    assert_eq!((&stored["clientBeatInterval"], &stored["overriddenServerStatus"]), (&json!(7000), &json!("")));
    let list = body(&send(&mut client, "GET", "console/namespaces", &[]));
    let ids: Vec<&str> =
        list["data"].as_array().expect("a list").iter().filter_map(|n| n["namespace"].as_str()).collect();
    assert_eq!(ids, ["", "dev", "test"]);
    let one = body(&send(&mut client, "GET", "console/namespaces", &[("show", "all"), ("namespaceId", "dev")]));
    assert_eq!((&one["namespaceShowName"], &one["namespaceDesc"]), (&json!("Development"), &json!("text")));
}

#[test]
fn log_levels_change_while_it_runs() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let changed = "the log level was changed";
    let mut level = |path: &str, logger: &str, level: &str, lines: usize| {
        let answer = send(&mut client, "PUT", path, &[("logName", logger), ("logLevel", level)]);
        assert_eq!(answer.status, 200);
        // The answer does not wait for the line.
        let deadline = Instant::now() + Duration::from_secs(10);
        while server.log().matches(changed).count() != lines {
            assert!(Instant::now() < deadline, "{logger} {level}: not {lines} lines\n{}", server.log());
            thread::sleep(Duration::from_millis(10));
        }
    };
    level("ns/operator/log", "nosuch", "INFO", 0);
    level("ns/operator/log", "naming-server", "warn", 1);
    // The line about it is not logged any more.
    level("core/ops/log", "core", "OFF", 1);
    level("core/ops/log", "core", "ALL", 2);
}
