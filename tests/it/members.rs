//! This server as a member of its cluster of one, and the root of the context path.

use serde_json::{Value, json};

use crate::client::Answer;
use crate::server::Server;

fn body(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.text());
    serde_json::from_slice(&answer.body).expect("JSON")
}

#[test]
fn one_record_shows_this_server_everywhere() {
    let server = Server::start(&["--ip", "10.1.2.3"]);
    let mut client = server.client();
    let address = format!("10.1.2.3:{}", server.address().port());
    let mut get = |path: &str| body(&client.get(&format!("/nacos/v1/{path}")).expect("an answer"));
    let before = get("core/cluster/self")["data"].clone();
    assert_eq!((&before["ip"], &before["address"]), (&json!("10.1.2.3"), &json!(address)));
    assert_eq!(before["extendInfo"].get("lastRefreshTime"), None);
    let report = json!({"ip": "6.6.6.6", "port": 6, "address": address, "extendInfo": {"version": "9"}}).to_string();
    let headers = [("Content-Type".to_owned(), "application/json;charset=UTF-8".to_owned())];
    let path = "/nacos/v1/core/cluster/report";
    let answer = server.client().send("POST", path, &headers, Some(report.as_bytes())).expect("an answer");
    assert_eq!(body(&answer), json!({"code": 200, "message": null, "data": "true"}));
    let after = get("core/cluster/self")["data"].clone();
    assert!(after["extendInfo"]["lastRefreshTime"].is_number());
    assert_eq!((&after["ip"], &after["extendInfo"]["version"]), (&before["ip"], &before["extendInfo"]["version"]));
    assert_eq!(get("core/cluster/nodes")["data"], json!([after]));
    assert_eq!(get("core/cluster/nodes?keyword=10.1.2")["data"], json!([after]));
    assert_eq!(get("ns/operator/servers"), json!({"servers": [after]}));
    assert_eq!(get("ns/ops/distro/status"), json!({"status": [after]}));
    assert_eq!(get("ns/operator/distro/status?action=other"), json!({}));
    assert_eq!(get("core/cluster/simple/nodes")["data"], json!([address]));
    assert_eq!(get("ns/operator/cluster/state")["ip"], json!(address));
}

#[test]
fn bodies_that_are_no_json_or_too_long_are_refused() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let mut post = |path: &str, kind: &str, body: &[u8]| {
        let headers = [("Content-Type".to_owned(), kind.to_owned())];
        client.send("POST", &format!("/nacos/v1/core/{path}"), &headers, Some(body)).expect("an answer").status
    };
    for path in ["cluster/report", "cluster/server/leave"] {
        assert_eq!(post(path, "text/plain", b"{}"), 500);
        assert_eq!(post(path, "application/json", b""), 500);
        assert_eq!(post(path, "application/json", &b"[".repeat(100_000)), 500);
        assert_eq!(post(path, "application/json", &vec![b' '; (8 << 20) + 1]), 413);
    }
    assert_eq!(post("ops/raft", "application/json", b"{}"), 200);
    assert_eq!(post("ops/raft", "application/json", b"[]"), 500);
}

#[test]
fn a_server_that_stands_alone_has_no_group_to_command() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let mut order = |body: &str| {
        let headers = [("Content-Type".to_owned(), "application/json".to_owned())];
        let answer = client.send("POST", "/nacos/v1/core/ops/raft", &headers, Some(body.as_bytes()));
        serde_json::from_slice::<serde_json::Value>(&answer.expect("an answer").body).expect("JSON")
    };
    assert_eq!(order("{}"), json!({"code": 200, "message": null, "data": null}));
    let message = "this server stands alone and has no raft group";
    assert_eq!(order(r#"{"command":"doSnapshot"}"#), json!({"code": 500, "message": message, "data": null}));
    let other = order(r#"{"command":"doSnapshot","groupId":"other"}"#);
    assert_eq!(other, json!({"code": 500, "message": "not this raft group : other", "data": null}));
}

#[test]
fn the_root_of_the_context_path() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let answer = client.get("/nacos").expect("an answer");
    let place = format!("http://{}/nacos/", server.address());
    assert_eq!((answer.status, answer.header("Location"), answer.body.len()), (302, Some(place.as_str()), 0));
    let page = client.get("/nacos/").expect("an answer");
    assert_eq!((page.status, page.header("Content-Type")), (200, Some("text/html;charset=UTF-8")));
    assert_eq!(page.header("Content-Security-Policy"), Some("script-src 'self'"));
    let text = page.text();
    for link in text.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        let status = client.get(&format!("/nacos/{}", link.replace("&amp;", "&"))).expect("an answer").status;
        assert_eq!(status, 200, "{link}");
    }
    assert_eq!(client.get("/nacos/actuator/prometheus").expect("an answer").status, 404);
}
