//! SIGTERM, SIGINT and SIGHUP, sent to the real binary.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::server::Server;

const TIMEOUT: Duration = Duration::from_secs(20);
const LIST: &str = "/nacos/v1/ns/instance/list?serviceName=orders";
const INSTANCE: &str = "/nacos/v1/ns/instance?serviceName=orders&ip=10.0.0.1&port=80";

fn status(client: &mut Client, method: &str, target: &str, headers: &[(&str, &str)]) -> u16 {
    let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    client.send(method, target, &headers, None).expect("an answer").status
}

/// Waits until the server has said this often that SIGHUP was handled.
fn hang_up(server: &Server, times: usize) -> String {
    server.signal("HUP");
    let deadline = Instant::now() + TIMEOUT;
    while Instant::now() < deadline {
        let log = server.whole_log();
        let lines: Vec<_> = log.lines().filter(|line| line.contains("SIGHUP: ")).map(str::to_owned).collect();
        if lines.len() >= times {
            // A second line may follow the first.
            thread::sleep(Duration::from_millis(50));
            return server.whole_log();
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("SIGHUP was not handled:\n{}", server.log());
}

/// Waits until the server has said that it stops.
fn stopping(server: &Server) {
    let deadline = Instant::now() + TIMEOUT;
    while !server.whole_log().contains("SIGTERM: stopping") {
        assert!(Instant::now() < deadline, "SIGTERM was not handled:\n{}", server.log());
        thread::sleep(Duration::from_millis(10));
    }
}

/// A request whose body is not complete yet.
fn half_a_request(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).expect("a connection");
    stream.set_read_timeout(Some(TIMEOUT)).expect("a time limit");
    let head = "POST /nacos/v1/ns/instance HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    write!(stream, "{head}Content-Length: 37\r\n\r\nserviceName=late&ip=").expect("half a request");
    // It has to be read before the server is told to stop.
    thread::sleep(Duration::from_millis(200));
    stream
}

fn rest_of(stream: &mut TcpStream) -> String {
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer and the end");
    answer
}

#[test]
fn a_stop_is_quick_with_idle_connections_and_loses_nothing() {
    let mut server = Server::start(&["--durability", "interval"]);
    assert_eq!(status(&mut server.client(), "POST", INSTANCE, &[]), 200);
    let mut idle: Vec<_> = (0..100).map(|_| server.client()).collect();
    for client in &mut idle {
        assert_eq!(status(client, "GET", LIST, &[]), 200);
    }
    let started = Instant::now();
    assert!(server.term().success());
    let took = started.elapsed();
    println!("TERM to exit with 100 idle connections: {took:?}");
    // Connections with a request would have 5 s.
    assert!(took < Duration::from_secs(4), "{took:?}");
    drop(idle);
    server.restart();
    assert_eq!(server.restore_report()["rows"], 1, "{}", server.restore_report());
}

#[test]
fn requests_in_flight_end_and_new_ones_are_refused() {
    let mut server = Server::configured(&[], "nacre.shutdown.drain-ms=10000");
    let mut stream = half_a_request(&server);
    server.signal("TERM");
    stopping(&server);
    let deadline = Instant::now() + Duration::from_secs(5);
    while TcpStream::connect(server.address()).is_ok() {
        assert!(Instant::now() < deadline, "nobody is let in any more");
        assert!(server.ended().is_none(), "it waits");
        thread::sleep(Duration::from_millis(10));
    }
    thread::sleep(Duration::from_millis(300));
    assert!(server.ended().is_none(), "it waits");
    stream.write_all(b"10.0.0.1&port=808").expect("the rest");
    let answer = rest_of(&mut stream);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok"), "{answer}");
    assert!(server.wait_end(Duration::from_secs(8)).success());
    server.restart();
    assert_eq!(server.restore_report()["rows"], 1, "what was acknowledged while stopping is there");
}

#[test]
fn the_drain_has_an_end_that_is_configured_and_live() {
    let mut server = Server::configured(&[], "nacre.shutdown.drain-ms=60000");
    server.configure("nacre.shutdown.drain-ms=400");
    let log = hang_up(&server, 1);
    assert!(log.contains("in effect changed=\"nacre.shutdown.drain-ms"), "{log}");
    let mut stream = half_a_request(&server);
    let started = Instant::now();
    server.signal("INT");
    assert!(server.wait_end(TIMEOUT).success());
    let took = started.elapsed();
    assert!(took > Duration::from_millis(400) && took < Duration::from_secs(20), "{took:?}");
    assert!(!matches!(stream.read(&mut [0]), Ok(1..)), "cut off without an answer");
    assert!(server.log().contains("closed while they still had a request"), "{}", server.log());
}

#[test]
fn a_second_signal_ends_at_once() {
    let mut server = Server::configured(&[], "nacre.shutdown.drain-ms=60000");
    assert_eq!(status(&mut server.client(), "POST", INSTANCE, &[]), 200);
    let _stream = half_a_request(&server);
    server.signal("TERM");
    // Else both signals could be there when it looks, and either may be the first.
    stopping(&server);
    thread::sleep(Duration::from_millis(300));
    assert!(server.ended().is_none());
    let started = Instant::now();
    server.signal("INT");
    assert_eq!(server.wait_end(TIMEOUT).code(), Some(1));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert!(server.log().contains("SIGINT again: ending at once"), "{}", server.log());
    server.restart();
    assert_eq!(server.restore_report()["rows"], 1);
    assert!(server.restore_report()["damage"].is_null(), "{}", server.restore_report());
}

#[test]
fn sighup_puts_live_properties_into_effect() {
    let mut server = Server::configured(&[], "");
    let mut client = server.client();
    let cors = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "GET")];
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let body = format!("serviceName=big&ip=10.0.0.1&port=1&x={}", "x".repeat(100 << 10)).into_bytes();
    let post = |server: &Server| {
        let headers = [(form.0.to_owned(), form.1.to_owned())];
        server.client().send("POST", "/nacos/v1/ns/instance", &headers, Some(&body)).expect("an answer").status
    };
    let long = format!("{LIST}&x={}", "x".repeat(40 << 10));
    assert_ne!(status(&mut client, "OPTIONS", LIST, &cors), 200);
    assert_eq!((post(&server), status(&mut client, "GET", &long, &[])), (200, 200));
    assert!(hang_up(&server, 1).contains("nothing has changed"));
    // It would be cut off for its idle time too, some time from now.
    drop(client);
    server.configure(
        "nacre.cors.allow-origins=https://a.example\nnacre.http.max-body-bytes=64KB\nserver.max-http-header-size=32KB\n\
         nacre.http.idle-timeout-ms=300\nnacre.log.level=debug\nnacre.push.allow-client-ip=10.0.0.0/8\n\
         nacre.store.durability=written\nserver.port=1\n",
    );
    let log = hang_up(&server, 3);
    for key in ["nacre.cors.allow-origins", "nacre.push.allow-client-ip", "nacre.log.level"] {
        assert!(log.lines().any(|line| line.contains("is in effect changed=") && line.contains(key)), "{key}: {log}");
    }
    // The port is set by a flag: nothing changes there.
    assert!(log.contains("at the next start only changed=\"nacre.store.durability\"\n"), "{log}");
    assert!(!log.contains("DEBUG"), "{log}");
    let mut client = server.client();
    assert_eq!(status(&mut client, "OPTIONS", LIST, &cors), 200);
    assert_eq!(post(&server), 413);
    assert_eq!(status(&mut server.client(), "GET", &long, &[]), 431);
    thread::sleep(Duration::from_millis(2_000));
    assert!(client.get(LIST).is_err(), "an idle connection is closed earlier now");
    assert!(server.log().contains("DEBUG") && server.log().contains("over its time limit"), "{}", server.log());
    assert_eq!(status(&mut server.client(), "GET", LIST, &[]), 200);
    // The next time the same one still waits, and the others have not changed.
    let log = hang_up(&server, 4);
    assert_eq!(log.matches("at the next start only").count(), 2, "{log}");
    assert_eq!(log.matches("is in effect changed=").count(), 1, "{log}");
    assert!(server.term().success());
}

#[test]
fn a_wrong_file_changes_nothing_and_says_so_in_one_line() {
    let mut server = Server::configured(&[], "nacre.cors.allow-origins=https://a.example\n");
    let cors = [("Origin", "https://a.example"), ("Access-Control-Request-Method", "GET")];
    server.configure("nacre.cors.allow-origins=https://b.example\nnacre.http.max-body-bytes=many\n");
    let log = hang_up(&server, 1);
    let lines: Vec<_> = log.lines().filter(|line| line.contains("SIGHUP")).collect();
    assert_eq!(lines.len(), 1, "{log}");
    assert!(lines[0].contains("everything stays as it was") && lines[0].contains("max-body-bytes=many"), "{log}");
    assert_eq!(status(&mut server.client(), "OPTIONS", LIST, &cors), 200);
    assert!(server.ended().is_none());
    assert!(server.term().success());
}

#[test]
fn authentication_is_switched_on_and_off_live() {
    let mut server = Server::configured(&[], "");
    assert_eq!(status(&mut server.client(), "POST", INSTANCE, &[]), 200);
    let on = "nacos.core.auth.enabled=true\nnacre.auth.admin.password=a-password-of-the-test\n";
    server.configure(on);
    hang_up(&server, 1);
    assert_eq!(status(&mut server.client(), "POST", INSTANCE, &[]), 403);
    let login = "/nacos/v1/auth/login?username=nacos&password=a-password-of-the-test";
    let answer = server.client().send("POST", login, &[], None).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
    let token = answer["accessToken"].as_str().expect("a token").to_owned();
    let with_token = format!("{INSTANCE}&accessToken={token}");
    assert_eq!(status(&mut server.client(), "POST", &with_token, &[]), 200);
    // A key that is refused: authentication stays on, and the token good.
    server.configure(&format!("{on}nacos.core.auth.default.token.secret.key=short\n"));
    hang_up(&server, 2);
    assert_eq!(status(&mut server.client(), "POST", INSTANCE, &[]), 403);
    assert_eq!(status(&mut server.client(), "POST", &with_token, &[]), 200);
    server.configure("");
    hang_up(&server, 3);
    assert_eq!(status(&mut server.client(), "POST", INSTANCE, &[]), 200);
    assert!(server.term().success());
}
