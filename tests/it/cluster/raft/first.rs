//! From one server to three: what a server that stood alone knows survives, and the two that join have it too.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use super::{PROPERTIES, leader};
use crate::auth;
use crate::client::{Client, form};
use crate::cluster::trio::{Trio, name_members, within};

/// Everything that has to survive, by request.
const SHOWN: [&str; 9] = [
    "/ns/instance/list?serviceName=kept",
    "/ns/service?serviceName=kept",
    "/ns/service?serviceName=empty",
    "/ns/catalog/instances?serviceName=kept&clusterName=DEFAULT&pageNo=1&pageSize=20",
    "/ns/operator/switches",
    "/console/namespaces",
    "/auth/users?pageNo=1&pageSize=9",
    "/auth/roles?pageNo=1&pageSize=9",
    "/auth/permissions?pageNo=1&pageSize=9",
];
/// What differs from look to look.
const PASSING: [&str; 4] = ["lastRefTime", "checksum", "lastBeat", "healthy"];
const JOINED: Duration = Duration::from_secs(20);

/// As the admin, if there is a `token`.
fn write_as(token: &str, server: SocketAddr, method: &str, path: &str, pairs: &[(&str, &str)]) {
    let mut target = format!("/nacos/v1{path}?{}", form(pairs));
    if !token.is_empty() {
        target += &format!("&accessToken={token}");
    }
    let answer = Client::new(server).send(method, &target, &[], None);
    let answer = answer.expect("an answer");
    assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
}

fn login(server: SocketAddr) -> String {
    let target = "/nacos/v1/auth/login?username=nacos&password=nacos";
    let answer = Client::new(server).send("POST", target, &[], None).expect("an answer");
    let body: Value = serde_json::from_slice(&answer.body).expect("a token as JSON");
    body["accessToken"].as_str().expect("a token").to_owned()
}

fn fill(server: SocketAddr) {
    let token = login(server);
    let write = |method, path, pairs: &[_]| write_as(&token, server, method, path, pairs);
    write("PUT", "/ns/operator/switches", &[("entry", "healthCheckEnabled"), ("value", "false")]);
    write("PUT", "/ns/operator/switches", &[("entry", "defaultCacheMillis"), ("value", "4321")]);
    for ip in ["10.6.0.1", "10.6.0.2", "10.6.0.3"] {
        let metadata = r#"{"zone":"a"}"#;
        let pairs =
            [("serviceName", "kept"), ("ip", ip), ("port", "80"), ("ephemeral", "false"), ("metadata", metadata)];
        write("POST", "/ns/instance", &pairs);
    }
    let settings = [("serviceName", "kept"), ("protectThreshold", "0.5"), ("metadata", "team=x")];
    write("PUT", "/ns/service", &settings);
    write("POST", "/ns/service", &[("serviceName", "empty"), ("metadata", "a=b")]);
    write(
        "POST",
        "/console/namespaces",
        &[("customNamespaceId", "dev"), ("namespaceName", "Dev"), ("namespaceDesc", "d")],
    );
    write("POST", "/auth/users", &[("username", "anna"), ("password", "pw")]);
    write("POST", "/auth/roles", &[("role", "dev"), ("username", "anna")]);
    write("POST", "/auth/permissions", &[("role", "dev"), ("resource", "dev:*:*"), ("action", "rw")]);
}

fn drop_passing(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|name, _| !PASSING.contains(&name.as_str()));
            members.values_mut().for_each(drop_passing);
        }
        Value::Array(items) => {
            items.iter_mut().for_each(drop_passing);
            items.sort_by_key(Value::to_string);
        }
        _ => {}
    }
}

fn shown(server: SocketAddr) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    for path in SHOWN {
        let answer = Client::new(server).get(&format!("/nacos/v1{path}")).map_err(|error| error.to_string())?;
        if answer.status != 200 {
            return Err(format!("{path}: {} {}", answer.status, answer.text()));
        }
        let mut value = serde_json::from_slice(&answer.body).map_err(|error| format!("{path}: {error}"))?;
        drop_passing(&mut value);
        all.push(value);
    }
    Ok(all)
}

#[test]
fn what_one_server_knew_three_know() {
    let mut trio = Trio::stopped(PROPERTIES, |_, _| Ipv4Addr::LOCALHOST);
    let addresses = trio.addresses();
    // Not the one that would come first anyhow.
    let first = 1;
    fs::remove_file(trio.servers[first].home().join("conf/cluster.conf")).expect("a file of members");
    trio.servers[first].configure(&[PROPERTIES, auth::PROPERTIES].concat());
    trio.servers[first].restart();
    fill(addresses[first]);
    assert!(trio.servers[first].term().success());
    // What is looked at does not need a login.
    trio.servers[first].configure(PROPERTIES);
    trio.servers[first].restart();
    let before = shown(addresses[first]).expect("all of it");
    assert!(trio.servers[first].term().success());
    name_members(&trio.servers[first], &addresses);
    let mut trio = trio.started();
    leader(&trio, &[0, 1, 2]);
    for address in addresses {
        within(JOINED, "it has all", || match shown(address)? {
            now if now == before => Ok(()),
            now => Err(format!("{address} shows {now:#?}, not {before:#?}")),
        });
    }
    // It is theirs now: with the first one gone, they go on.
    trio.kill9(&[first]);
    leader(&trio, &[0, 2]);
    write_as(
        "",
        addresses[0],
        "DELETE",
        "/ns/instance",
        &[("serviceName", "kept"), ("ip", "10.6.0.3"), ("port", "80"), ("ephemeral", "false")],
    );
    trio.start_again(&[first]);
    let list = shown(addresses[first]).expect("all of it")[0]["hosts"].as_array().map(Vec::len);
    assert_eq!(list, Some(2), "what was removed meanwhile does not come back");
}
