//! Active checks of persistent instances against real sockets, and what a restart keeps of them.

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::form;
use crate::server::Server;

/// The first check comes within 7 s, the second and third each after at most as long.
const LIMIT: Duration = Duration::from_secs(25);

fn write(server: &Server, method: &str, path: &str, pairs: &[(&str, &str)]) {
    let target = format!("/nacos/v1/ns/{path}?{}", form(pairs));
    let answer = server.client().send(method, &target, &[], None).expect("an answer");
    assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{method} {target}");
}

fn statuses(server: &Server) -> String {
    let answer = server.client().get("/nacos/v1/ns/instance/statuses?key=DEFAULT_GROUP%40%40s").expect("an answer");
    let json: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    let mut all: Vec<&str> = json["ips"].as_array().expect("a list").iter().filter_map(|ip| ip.as_str()).collect();
    all.sort_unstable();
    all.join(" ")
}

#[test]
fn a_restart_keeps_the_health_that_checks_found() {
    let mut server = Server::start(&[]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let open = listener.local_addr().expect("an address").port().to_string();
    let closed = TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port().to_string();
    for (port, healthy) in [(&open, "false"), (&closed, "true")] {
        let common = [("serviceName", "s"), ("ip", "127.0.0.1"), ("port", port), ("ephemeral", "false")];
        write(&server, "POST", "instance", &[&common[..], &[("healthy", healthy)]].concat());
    }
    let mut found = [format!("127.0.0.1:{open}_true"), format!("127.0.0.1:{closed}_false")];
    found.sort_unstable();
    let found = found.join(" ");
    let deadline = Instant::now() + LIMIT;
    while statuses(&server) != found {
        assert!(Instant::now() < deadline, "{}", statuses(&server));
        thread::sleep(Duration::from_millis(50));
    }
    // What a check found waits for nobody: the store may still be at it.
    write(&server, "POST", "instance", &[("serviceName", "t"), ("ip", "127.0.0.1"), ("port", "1")]);
    drop(listener);
    server.kill9();
    server.restart();
    assert_eq!(statuses(&server), found, "in the first answer");
    let deadline = Instant::now() + LIMIT;
    let refused = format!("127.0.0.1:{open}_false");
    while !statuses(&server).contains(&refused) {
        assert!(Instant::now() < deadline, "restored instances are not checked: {}", statuses(&server));
        thread::sleep(Duration::from_millis(50));
    }
}
