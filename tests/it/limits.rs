//! Limits of time and size, and what clients may expect of HTTP: the server says no, early, and goes on.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::client::{Answer, form};
use crate::population::{Population, is_beat_ok, list_target, listed};
use crate::server::Server;

const HEAD_MS: u64 = 400;
const BODY_MS: u64 = 600;
const IDLE_MS: u64 = 800;
/// Limits are looked at every 500 ms, and are kept to within twice that; the rest is for a busy machine.
const SLACK_MS: u64 = 2_500;
const SLOW_CLIENTS: usize = 20;
/// Defaults, or what the properties below say.
const HEAD_BYTES: usize = 128 << 10;
const BODY_BYTES: usize = 64 << 10;
const ROW_BYTES: usize = 64 << 10;
const PARAMETERS: usize = 10_000;

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a time limit");
    stream
}

/// Sends these bytes as they are, and returns everything that comes until the server closes.
fn exchange(server: &Server, bytes: &[u8]) -> String {
    let mut stream = connect(server);
    // The server may answer, and close, before it has read all.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn status(answer: &str) -> u16 {
    let code = answer.strip_prefix("HTTP/1.1 ").or_else(|| answer.strip_prefix("HTTP/1.0 "));
    let code = code.and_then(|rest| rest.get(..3)?.parse().ok());
    code.unwrap_or_else(|| panic!("no status line: {answer:?}"))
}

/// Sends `first`, then one byte every 50 ms; returns after how long the server closed.
fn dribble(server: &Server, first: &[u8], give_up: Duration) -> Duration {
    let mut stream = connect(server);
    let started = Instant::now();
    stream.write_all(first).expect("the beginning of a request");
    stream.set_read_timeout(Some(Duration::from_millis(50))).expect("a time limit");
    let mut byte = [0];
    while started.elapsed() < give_up {
        match stream.read(&mut byte) {
            Ok(0) => return started.elapsed(),
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => return started.elapsed(),
        }
        if stream.write_all(b"x").is_err() {
            return started.elapsed();
        }
    }
    panic!("still open after {give_up:?}");
}

#[test]
fn slow_senders_and_idle_ones_are_cut_off_and_others_are_not_disturbed() {
    let properties = format!(
        "nacre.http.head-timeout-ms={HEAD_MS}\nnacre.http.body-timeout-ms={BODY_MS}\nnacre.http.idle-timeout-ms={IDLE_MS}\n"
    );
    let server = Server::configured(&[], &properties);
    let body = b"POST /nacos/v1/ns/instance HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
        Content-Length: 1000\r\n\r\nserviceName=";
    let head = b"GET /nacos/v1/ns/instance/list?serviceName=";
    let give_up = Duration::from_secs(15);
    thread::scope(|scope| {
        let mut slow = Vec::new();
        for _ in 0..SLOW_CLIENTS {
            for (first, limit_ms) in [(&head[..], HEAD_MS), (&body[..], BODY_MS)] {
                let server = &server;
                slow.push((limit_ms, scope.spawn(move || dribble(server, first, give_up))));
            }
        }
        let mut unused = connect(&server);
        let mut client = server.client();
        let mut times = Vec::new();
        for _ in 0..100 {
            let asked = Instant::now();
            assert_eq!(client.get(&list_target(0)).expect("an answer").status, 200);
            times.push(asked.elapsed());
            thread::sleep(Duration::from_millis(5));
        }
        times.sort_unstable();
        // The machine may stand still once or twice.
        assert!(times[94] < Duration::from_secs(1), "another client waited: {:?}", &times[90..]);
        for (limit_ms, slow) in slow {
            let open = slow.join().expect("a slow client").as_millis();
            let (least, most) = (u128::from(limit_ms), u128::from(limit_ms + SLACK_MS));
            assert!((least..most).contains(&open), "with a limit of {limit_ms} ms cut off after {open} ms");
        }
        let mut byte = [0];
        assert_eq!(unused.read(&mut byte).expect("the server closes"), 0, "a connection without a request stays");
    });
    // A kept connection is closed after its idle time, not before.
    let mut kept = connect(&server);
    kept.write_all(b"GET /nacos/v1/console/health/liveness HTTP/1.1\r\nHost: x\r\n\r\n").expect("a request");
    let started = Instant::now();
    let mut answer = Vec::new();
    kept.read_to_end(&mut answer).expect("the server closes");
    let open_ms = started.elapsed().as_millis();
    assert_eq!(status(&String::from_utf8_lossy(&answer)), 200);
    let (least, most) = (u128::from(IDLE_MS), u128::from(IDLE_MS + SLACK_MS));
    assert!((least..most).contains(&open_ms), "idle for {open_ms} ms");
}

#[test]
fn oversize_heads_bodies_and_rows_are_refused_and_nothing_is_stored() {
    let server = Server::configured(&[], &format!("nacre.http.max-body-bytes={BODY_BYTES}\n"));
    let long = "x".repeat(HEAD_BYTES);
    let target =
        exchange(&server, format!("GET /nacos/v1/ns/instance/list?a={long} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes());
    assert!(matches!(status(&target), 414 | 431), "{target}");
    let header = exchange(&server, format!("GET /nacos/x HTTP/1.1\r\nHost: x\r\nA: {long}\r\n\r\n").as_bytes());
    assert_eq!(status(&header), 431);
    let many = "A: b\r\n".repeat(1_000);
    let headers = exchange(&server, format!("GET /nacos/x HTTP/1.1\r\nHost: x\r\n{many}\r\n").as_bytes());
    assert_eq!(status(&headers), 431);

    let form_head = |rest: &str| {
        format!(
            "POST /nacos/v1/ns/instance?serviceName=big&ip=10.0.0.1&port=1 HTTP/1.1\r\nHost: x\r\n\
             Content-Type: application/x-www-form-urlencoded\r\n{rest}\r\n\r\n"
        )
    };
    let announced = exchange(&server, form_head("Content-Length: 99999999999").as_bytes());
    assert_eq!(status(&announced), 413, "{announced}");
    let mut chunked = form_head("Transfer-Encoding: chunked").into_bytes();
    for _ in 0..BODY_BYTES / 4_096 + 2 {
        chunked.extend_from_slice(format!("1000\r\n{}\r\n", "y".repeat(4_096)).as_bytes());
    }
    let chunked = exchange(&server, &chunked);
    assert_eq!(status(&chunked), 413, "{chunked}");
    assert!(chunked.contains(&BODY_BYTES.to_string()), "the limit is named: {chunked}");

    let mut client = server.client();
    let value = "v".repeat(ROW_BYTES);
    let query = form(&[
        ("serviceName", "big"),
        ("ip", "10.0.0.1"),
        ("port", "1"),
        ("metadata", &json!({"k": value}).to_string()),
    ]);
    // Longer than a target may be, and above the limit of bodies: headers are where it fits.
    let answer = client.send("POST", &format!("/nacos/v1/ns/instance?{query}"), &[], None).expect("an answer");
    assert_eq!(answer.status, 414, "{}", answer.text());
    let body = client.get("/nacos/v1/ns/operator/metrics").expect("an answer").text();
    assert!(body.contains("\"instanceCount\":0"), "something was stored: {body}");
}

/// Metadata that make a row larger than can be stored.
#[test]
fn a_row_that_cannot_be_stored_is_refused_with_its_size() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let headers = [("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
    let mut send = |method: &str, path: &str, length: usize| -> Answer {
        let metadata = json!({"k": "v".repeat(length)}).to_string();
        let pairs = [("serviceName", "DEFAULT_GROUP@@big"), ("ip", "10.0.0.1"), ("port", "1"), ("metadata", &metadata)];
        client.send(method, path, &headers, Some(form(&pairs).as_bytes())).expect("an answer")
    };
    for length in [ROW_BYTES, 20 * ROW_BYTES] {
        let answer = send("POST", "/nacos/v1/ns/instance", length);
        assert_eq!(answer.status, 400, "{}", answer.text());
        assert!(answer.text().starts_with("caused: ") && answer.text().contains("65536"), "{}", answer.text());
    }
    assert_eq!(send("POST", "/nacos/v1/ns/instance", 1_000).text(), "ok");
    for (method, path) in [
        ("PUT", "/nacos/v1/ns/instance"),
        ("PATCH", "/nacos/v1/ns/instance"),
        ("PUT", "/nacos/v1/ns/instance/metadata/batch?consistencyType=ephemeral"),
    ] {
        let answer = send(method, path, ROW_BYTES);
        assert_eq!(answer.status, 400, "{method} {path}: {}", answer.text());
    }
    // Just below the limit is fine, and the failures have changed nothing.
    let mut client = server.client();
    let get = |client: &mut crate::client::Client| {
        let answer = client.get("/nacos/v1/ns/instance/list?serviceName=big").expect("an answer");
        listed(&answer).into_values().map(|shape| shape.metadata["k"].len()).collect::<Vec<_>>()
    };
    assert_eq!(get(&mut client), [1_000]);
    assert_eq!(send("PUT", "/nacos/v1/ns/instance", ROW_BYTES - 1_000).text(), "ok");
    assert_eq!(get(&mut client), [ROW_BYTES - 1_000]);
    assert_eq!(client.get("/nacos/v1/console/health/readiness").expect("an answer").status, 200);
}

#[test]
fn parameters_beyond_the_limit_are_dropped_as_the_reference_does() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let headers = [("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned())];
    let filler = |count: usize| (0..count).map(|i| format!("p{i}=1&")).collect::<String>();
    let own = "serviceName=many&ip=10.0.0.1&port=1";
    let mut post = |body: String| client.send("POST", "/nacos/v1/ns/instance", &headers, Some(body.as_bytes()));
    let within = post(filler(PARAMETERS - 3) + own).expect("an answer");
    assert_eq!((within.status, within.text().as_str()), (200, "ok"));
    let beyond = post(filler(PARAMETERS - 2) + own).expect("an answer");
    assert_eq!((beyond.status, beyond.text().as_str()), (400, "caused: Param 'port' is required.;"));
    let far = post(filler(100_000) + own).expect("an answer");
    assert_eq!((far.status, far.text().as_str()), (400, "caused: Param 'serviceName' is required.;"));
}

#[test]
fn clients_of_http_1_0_work_and_connections_are_used_again() {
    let server = Server::start(&[]);
    let people = Population { services: 2, size: 3 };
    people.register(&server);
    let old = exchange(&server, b"GET /nacos/v1/console/health/liveness HTTP/1.0\r\n\r\n");
    assert!(status(&old) == 200 && old.ends_with("\r\n\r\nOK"), "{old}");
    let beat = "PUT /nacos/v1/ns/instance/beat?serviceName=people.s0&ip=10.0.0.0&port=1000 HTTP/1.0\r\n";
    let old = exchange(&server, format!("{beat}Content-Length: 0\r\n\r\n").as_bytes());
    let body = old.split_once("\r\n\r\n").expect("an end of the head").1.as_bytes().to_vec();
    assert!(is_beat_ok(&Answer { status: status(&old), headers: vec![], body }), "{old}");

    // Many requests on one connection, and several sent before the first is answered.
    let mut stream = connect(&server);
    let near = stream.local_addr().expect("an address");
    let request = b"GET /nacos/v1/console/health/liveness HTTP/1.1\r\nHost: x\r\n\r\n";
    let last = b"GET /nacos/v1/console/health/liveness HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    stream.write_all(&[&request.repeat(20)[..], last].concat()).expect("requests");
    let mut answers = String::new();
    stream.read_to_string(&mut answers).expect("the server closes after the last");
    assert_eq!(answers.matches("HTTP/1.1 200 ").count(), 21, "on {near}: {answers}");
    // HTTP/1.0 with keep-alive, as old proxies do.
    let kept = exchange(
        &server,
        b"GET /nacos/v1/console/health/liveness HTTP/1.0\r\nConnection: keep-alive\r\n\r\n\
          GET /nacos/v1/console/health/liveness HTTP/1.0\r\n\r\n",
    );
    assert_eq!(kept.matches(" 200 ").count(), 2, "{kept}");
}

#[test]
fn a_cluster_asked_for_again_and_again_does_not_multiply_the_list() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for ip in 1..=5 {
        let path = format!("/nacos/v1/ns/instance?serviceName=s&clusterName=A&ip=1.1.1.{ip}&port=80");
        assert_eq!(client.send("POST", &path, &[], None).expect("an answer").status, 200);
    }
    let hosts = |clusters: &str| {
        let path = format!("/nacos/v1/ns/instance/list?serviceName=s&clusters={clusters}");
        let answer = server.client().send("GET", &path, &[], None).expect("an answer");
        let body: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        body["hosts"].as_array().expect("a list").len()
    };
    assert_eq!((hosts("A"), hosts("A,A"), hosts("A,B,A")), (5, 10, 10), "twice counts twice, as in the reference");
    assert_eq!(hosts(&"A,".repeat(20_000)), 10);
}
