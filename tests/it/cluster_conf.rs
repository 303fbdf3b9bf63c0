//! `conf/cluster.conf` of a running server: who takes part, and what a change of the file does.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::server::Server;

/// A change of the file has to be in effect within it.
const LIMIT: Duration = Duration::from_secs(2);

/// A server that runs with this file; `SELF` in it is its own address.
fn server(flags: &[&str], text: &str) -> Server {
    let mut server = Server::stopped(flags, |home| fs::create_dir(home.join("conf")).expect("a folder"));
    write(&server, text);
    server.restart();
    server
}

fn write(server: &Server, text: &str) {
    let text = text.replace("SELF", &server.address().to_string());
    fs::write(server.home().join("conf/cluster.conf"), text).expect("a file of members");
}

/// Addresses of the members; the own one is `SELF`.
fn nodes(server: &Server) -> Vec<String> {
    let answer = server.client().get("/nacos/v1/core/cluster/nodes").expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let (own, data) = (server.address().to_string(), body["data"].as_array().expect("a list"));
    let addresses = data.iter().map(|member| member["address"].as_str().expect("an address"));
    let mut nodes: Vec<_> = addresses.map(|address| address.replace(&own, "SELF")).collect();
    nodes.sort();
    nodes
}

/// Waits until the log has this many lines with `text`.
fn logged(server: &Server, text: &str, times: usize) {
    let deadline = Instant::now() + LIMIT;
    while server.whole_log().lines().filter(|line| line.contains(text)).count() < times {
        assert!(Instant::now() < deadline, "not {times} times: {text}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn until(server: &Server, wanted: &[&str]) {
    let started = Instant::now();
    while nodes(server) != wanted {
        assert!(started.elapsed() < LIMIT, "{:?} instead of {wanted:?}", nodes(server));
        thread::sleep(Duration::from_millis(10));
    }
    println!("in effect after {:?}", started.elapsed());
}

#[test]
fn a_changed_file_is_in_effect_at_once_and_a_wrong_one_changes_nothing() {
    let mut server = server(&[], "# us\r\nSELF # me\r\n127.0.0.1:1,127.0.0.1:2\r\n");
    assert_eq!(nodes(&server), ["127.0.0.1:1", "127.0.0.1:2", "SELF"]);
    assert!(server.whole_log().contains("Nacos started successfully in cluster mode"));
    let mut all = ["127.0.0.1:1".to_owned(), "127.0.0.1:2".to_owned(), server.address().to_string()];
    all.sort();
    logged(&server, &format!("[serverlist] updated to : [{}]", all.join(", ")), 1);

    write(&server, "SELF\n127.0.0.1:2\n127.0.0.1:3\n");
    until(&server, &["127.0.0.1:2", "127.0.0.1:3", "SELF"]);
    let (before, after) = (server.home().join("conf/cluster.conf.new"), server.home().join("conf/cluster.conf"));
    fs::write(&before, format!("{}\n127.0.0.1:4", server.address())).expect("a new file");
    fs::rename(&before, &after).expect("the new file in its place");
    until(&server, &["127.0.0.1:4", "SELF"]);

    let stays = "the members stay as they are";
    write(&server, "SELF\n127.0.0.1:5\n127.0.0.1:x\n");
    logged(&server, stays, 1);
    assert!(server.whole_log().contains("cluster.conf line 3: 127.0.0.1:x must be host:port"), "{}", server.log());
    write(&server, "");
    logged(&server, stays, 2);
    assert_eq!(nodes(&server), ["127.0.0.1:4", "SELF"]);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(server.whole_log().matches(stays).count(), 2, "once for each fault:\n{}", server.log());

    // Without this server: it adds itself and says so.
    let missing = "is not among the members of conf/cluster.conf";
    assert!(!server.whole_log().contains(missing));
    write(&server, "127.0.0.1:6");
    until(&server, &["127.0.0.1:6", "SELF"]);
    logged(&server, missing, 1);
    // Comments stay: the file is the operator's.
    write(&server, "# mine\nSELF\n127.0.0.1:7");
    until(&server, &["127.0.0.1:7", "SELF"]);
    assert!(fs::read_to_string(after).expect("the file").starts_with("# mine\n"));
    assert!(server.term().success());
}

#[test]
fn a_property_of_members_is_read_again_at_sighup() {
    let mut server = Server::stopped(&[], |_| {});
    let own = server.address();
    server.configure(&format!("nacos.member.list={own},127.0.0.1:1\n"));
    server.restart();
    assert_eq!(nodes(&server), ["127.0.0.1:1", "SELF"]);
    server.configure(&format!("nacos.member.list={own},127.0.0.1:2\n"));
    server.signal("HUP");
    until(&server, &["127.0.0.1:2", "SELF"]);
    logged(&server, "is in effect changed=\"nacos.member.list\"", 1);
    server.configure("");
    server.signal("HUP");
    logged(&server, "at the next start only changed=\"nacos.member.list\"", 1);
    assert_eq!(nodes(&server), ["127.0.0.1:2", "SELF"], "nobody is no list");
    // The file wins over the property as soon as it is there.
    write(&server, "SELF\n127.0.0.1:3");
    until(&server, &["127.0.0.1:3", "SELF"]);
    server.signal("HUP");
    logged(&server, "nothing has changed", 1);
    write(&server, "127.0.0.1:x");
    server.signal("HUP");
    logged(&server, "SIGHUP: everything stays as it was: ", 1);
    assert_eq!(nodes(&server), ["127.0.0.1:3", "SELF"]);
    assert!(server.term().success());
}

#[test]
fn flags_win_over_the_file_for_good() {
    let mut server = Server::stopped(&[], |_| {});
    let own = server.address().to_string();
    for member in [own.as_str(), "127.0.0.1:1"] {
        server.add_flag("--member");
        server.add_flag(member);
    }
    server.restart();
    fs::create_dir_all(server.home().join("conf")).expect("a folder");
    write(&server, "SELF\n127.0.0.1:2\n127.0.0.1:x");
    thread::sleep(Duration::from_secs(1));
    server.signal("HUP");
    logged(&server, "nothing has changed", 1);
    assert_eq!(nodes(&server), ["127.0.0.1:1", "SELF"]);
    assert!(server.term().success());
}

#[test]
fn a_server_that_was_started_alone_stays_so_and_says_it() {
    let mut server = server(&[], "SELF");
    assert!(server.whole_log().contains("Nacos started successfully in stand alone mode"));
    write(&server, "SELF\n127.0.0.1:1");
    logged(&server, "conf/cluster.conf now names 127.0.0.1:1: this server was started alone", 1);
    assert_eq!(nodes(&server), ["SELF"]);
    assert!(server.term().success());
    server.restart();
    assert_eq!(nodes(&server), ["127.0.0.1:1", "SELF"]);
    // Nothing is half true: with a wrong line it does not start.
    assert!(server.term().success());
    write(&server, "SELF\n127.0.0.1:y");
    server.spawn();
    let status = server.wait_end(Duration::from_secs(10));
    assert_eq!(status.code(), Some(2), "{}", server.log());
    assert!(server.log().contains("cluster.conf line 2: 127.0.0.1:y must be host:port"), "{}", server.log());
}
