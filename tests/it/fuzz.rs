//! Malformed input: what is wrong with the request is said with the recorded status, by a 4xx, or by closing; the
//! process lives, and its memory does not grow.
//!
//! `NACRE_FUZZ_REQUESTS` sets how many broken requests are sent (10,000), `NACRE_FUZZ_SEED` repeats those of an earlier run.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::client::{encode, form};
use crate::dice::Dice;
use crate::population::{Population, list_target, listed, say, setting};
use crate::server::Server;

const REQUESTS: u64 = 10_000;
/// What memory may grow by in the fuzz loop; most of it is what its registrations need.
const GROWTH_KIB: u64 = 64 << 10;
const ROUTES: &[(&str, &str)] = &[
    ("POST", "/v1/ns/instance"),
    ("DELETE", "/v1/ns/instance"),
    ("PUT", "/v1/ns/instance"),
    ("PATCH", "/v1/ns/instance"),
    ("GET", "/v1/ns/instance"),
    ("GET", "/v1/ns/instance/list"),
    ("PUT", "/v1/ns/instance/beat"),
    ("GET", "/v1/ns/instance/statuses"),
    ("PUT", "/v1/ns/instance/metadata/batch"),
    ("DELETE", "/v1/ns/instance/metadata/batch"),
    ("POST", "/v1/ns/api"),
    ("DELETE", "/v1/ns/api"),
    ("PUT", "/v1/ns/api"),
    ("PATCH", "/v1/ns/api"),
    ("GET", "/v1/ns/api"),
    ("GET", "/v1/ns/api/list"),
    ("PUT", "/v1/ns/api/beat"),
    ("GET", "/v1/ns/api/statuses"),
    ("PUT", "/v1/ns/api/metadata/batch"),
    ("DELETE", "/v1/ns/api/metadata/batch"),
    ("GET", "/v1/ns/api/srvIPXT"),
    ("GET", "/v1/ns/api/clientBeat"),
    ("GET", "/v1/ns/api/allDomNames"),
    ("PUT", "/v1/ns/health"),
    ("PUT", "/v1/ns/health/instance"),
    ("GET", "/v1/ns/health/server"),
    ("POST", "/v1/ns/service"),
    ("PUT", "/v1/ns/cluster"),
    ("GET", "/v1/ns/operator/metrics"),
    ("GET", "/v1/ns/ops/metrics"),
    ("GET", "/v1/ns/operator/restore"),
    ("GET", "/v1/console/health/liveness"),
    ("GET", "/v1/console/health/readiness"),
    ("GET", "/v1/console/server/state"),
];
const NAMES: &[&str] = &[
    "serviceName",
    "ip",
    "port",
    "weight",
    "metadata",
    "ephemeral",
    "healthy",
    "enabled",
    "clusterName",
    "clusters",
    "namespaceId",
    "groupName",
    "beat",
    "key",
    "dom",
    "valid",
    "checkPort",
    "useInstancePort4Check",
    "healthChecker",
    "protectThreshold",
    "selector",
    "instances",
    "consistencyType",
    "encoding",
    "udpPort",
    "clientIP",
    "healthyOnly",
    "app",
    "tid",
];
const VALUES: &[&str] = &[
    "fuzz",
    "g@@fuzz",
    "@@",
    "@@x",
    "a@@b@@c",
    "10.0.0.1",
    "999.1.1.1",
    "::1",
    "8080",
    "-1",
    "65536",
    "99999999999",
    "0x10",
    "1e309",
    "NaN",
    "-0.0",
    "",
    " ",
    "true",
    "TRUE",
    "null",
    "{}",
    "[]",
    "{",
    "{\"a\":1}",
    "{\"a\":{\"b\":[1,2]}}",
    "{\"a\":\"\\ud800\"}",
    "a=b,c=d",
    "a=b=c",
    "=,=",
    "{\"ip\":\"10.0.0.1\",\"port\":8080,\"serviceName\":\"fuzz\",\"cluster\":\"C\"}",
    "{\"port\":1e99}",
    "{\"ip\":null}",
    "{\"type\":\"TCP\"}",
    "{\"type\":\"HTTP\",\"path\":1}",
    "{\"type\":\"label\",\"expression\":\"CONSUMER.label.x = PROVIDER.label.x\"}",
    "public##g@@fuzz",
    "####",
    "\u{0}",
    "\u{1f600}",
    "GBK",
    "UTF-16",
    "x-nothing",
];

/// What came back for raw bytes: a status, or none if the server only closed.
fn raw(server: &Server, bytes: &[u8]) -> (Option<u16>, String) {
    let mut stream = TcpStream::connect(server.address()).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a time limit");
    // The server may have answered, and closed, already.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let mut part = [0; 4_096];
    loop {
        match stream.read(&mut part) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&part[..count]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                panic!("no end of the answer to {:?}", String::from_utf8_lossy(bytes));
            }
            Err(_) => break,
        }
    }
    let text = String::from_utf8_lossy(&answer).into_owned();
    (text.get(9..12).and_then(|code| code.parse().ok()), text)
}

fn get(server: &Server, target: &str) -> (Option<u16>, String) {
    raw(server, format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
}

#[test]
fn malformed_paths_and_heads_are_refused() {
    let server = Server::start(&[]);
    let cases: &[(&str, &[u16])] = &[
        ("/nacos/v1/ns/instance/list%", &[400]),
        ("/nacos/v1/ns/instance/%zz", &[400]),
        ("/nacos/v1/ns/instance/%ff", &[400]),
        ("/nacos//v1/ns/instance/list", &[400]),
        ("/nacos/v1/ns/../ns/instance/list", &[400]),
        ("/nacos/v1/ns%2finstance/list", &[400]),
        ("/nacos/v1/ns/instance;a/list", &[400]),
        ("/nacos/v1/ns/instance%00", &[400]),
        ("/nacos/v1/ns/instance\\list", &[400]),
        ("/nacos/v1/ns/nothing", &[501]),
        ("/nacos/v2/ns/instance", &[404]),
        ("/", &[404]),
        ("*", &[400, 404]),
        ("nacos", &[400, 404]),
        ("http://other/nacos/v1/console/health/liveness", &[200]),
        ("/nacos/v1/ns/instance/list?serviceName=\u{e4}", &[200, 400]),
        ("/nacos/v1/ns/instance/list?serviceName=\u{1}", &[400]),
        ("/nacos/v1/ns/instance/list?%zz=1&&&=&serviceName=a", &[200]),
        ("/nacos/v1/ns/instance/list?serviceName=%zz", &[400]),
        ("/nacos/v1/ns/instance/list?serviceName=%ff", &[200]),
        ("/nacos/v1/ns/instance/list", &[400]),
    ];
    for (target, allowed) in cases {
        let (status, text) = get(&server, target);
        assert!(status.is_some_and(|status| allowed.contains(&status)), "{target:?}: {text}");
    }
    let heads: &[(&[u8], &[u16])] = &[
        (b"\r\n\r\n", &[400]),
        (b"GET\r\n\r\n", &[400]),
        (b"GET / HTTP/9.9\r\n\r\n", &[400, 505]),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", &[400]),
        (b"GET /nacos HTTP/1.1\r\nA b\r\n\r\n", &[400]),
        (b"GET /nacos HTTP/1.1\r\nHost: x\r\n A: b\r\n\r\n", &[400]),
        (b"GET /nacos HTTP/1.1\r\nA: \x00\r\n\r\n", &[400]),
        (b"POST /nacos/v1/ns/instance HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", &[400]),
        (b"POST /nacos/v1/ns/instance HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", &[400]),
        (b"POST /nacos/v1/ns/instance HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nab", &[400, 501]),
        (
            b"POST /nacos/v1/ns/instance HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n\
              Transfer-Encoding: chunked\r\n\r\nzz\r\n",
            &[400],
        ),
        (
            b"POST /nacos/v1/ns/instance HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data\r\nContent-Length: 2\r\n\r\nab",
            &[400],
        ),
    ];
    for (bytes, allowed) in heads {
        let (status, text) = raw(&server, bytes);
        assert!(status.is_none_or(|status| allowed.contains(&status)), "{:?}: {text}", String::from_utf8_lossy(bytes));
    }
    assert_eq!(get(&server, "/nacos/v1/console/health/readiness").0, Some(200));
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

/// Method, path, parameters that differ from good ones, status, and how the answer begins.
type Case = (&'static str, &'static str, &'static [(&'static str, &'static str)], u16, &'static str);

#[test]
fn malformed_parameters_get_the_status_of_the_reference() {
    let server = Server::start(&[]);
    let mut client = server.client();
    // 400 or 500 as the reference has it: numbers and names 400, what is out of range or unreadable 500.
    let cases: &[Case] = &[
        ("POST", "instance", &[("port", "x")], 400, "caused: For input string: \"x\";"),
        ("POST", "instance", &[("port", "99999999999")], 400, "caused: For input string: \"99999999999\";"),
        ("POST", "instance", &[("weight", "heavy")], 400, "caused: For input string: \"heavy\";"),
        ("POST", "instance", &[("weight", "-1")], 500, "caused: instance format invalid: "),
        ("POST", "instance", &[("weight", "NaN")], 400, "caused: For input string: \"NaN\";"),
        ("POST", "instance", &[("metadata", "{\"a\":")], 500, "caused: metadata format incorrect:{\"a\":;"),
        ("POST", "instance", &[("metadata", "[1]")], 500, "caused: metadata format incorrect:[1];"),
        ("POST", "instance", &[("metadata", "{\"a\":{}}")], 500, "caused: metadata format incorrect:"),
        ("POST", "instance", &[("serviceName", "a b")], 400, "caused: dom name can only have these characters"),
        ("POST", "instance", &[("serviceName", "@@x")], 400, "caused: "),
        ("POST", "instance", &[("clusterName", "a_b")], 400, "caused: cluster name can only have these characters"),
        ("POST", "instance", &[("ip", "")], 400, "caused: Param 'ip' is required.;"),
        ("PUT", "instance/beat", &[("beat", "{")], 500, "caused: "),
        ("PUT", "instance/beat", &[("beat", "{\"port\":1}")], 400, "caused: Param 'ip' is required.;"),
        ("PATCH", "instance", &[], 400, "caused: instance not found;"),
        ("GET", "instance", &[("serviceName", "none")], 500, "caused: no service DEFAULT_GROUP@@none found!;"),
        ("PUT", "instance/metadata/batch", &[("metadata", "{")], 500, "caused: metadata format incorrect:{;"),
    ];
    for (method, path, changes, status, said) in cases {
        let mut pairs = vec![("serviceName", "bad"), ("ip", "10.0.0.1"), ("port", "1")];
        for change in *changes {
            pairs.retain(|(name, _)| name != &change.0);
            pairs.push(*change);
        }
        let answer =
            client.send(method, &format!("/nacos/v1/ns/{path}?{}", form(&pairs)), &[], None).expect("an answer");
        let text = answer.text();
        assert!(
            answer.status == *status && text.starts_with(said),
            "{method} {path} {changes:?}: {} {text}",
            answer.status
        );
    }
    let metrics = client.get("/nacos/v1/ns/operator/metrics").expect("an answer").text();
    assert!(metrics.contains("\"instanceCount\":0"), "something was registered: {metrics}");
}

fn one_of<'a, T: ?Sized>(all: &[&'a T], dice: &mut Dice) -> &'a T {
    all[usize::try_from(dice.within(0, all.len() as u64)).expect("a small number")]
}

/// A request that makes sense, more or less.
fn sensible(dice: &mut Dice) -> Vec<u8> {
    let (method, path) = ROUTES[usize::try_from(dice.within(0, ROUTES.len() as u64)).expect("a small number")];
    let method = if dice.within(0, 10) == 0 {
        one_of(&["GET", "PUT", "HEAD", "OPTIONS", "TRACE", "BREW"], dice)
    } else {
        method
    };
    let mut pairs = Vec::new();
    if dice.within(0, 4) > 0 {
        pairs.extend([("serviceName", "fuzz"), ("ip", "10.0.0.1"), ("port", "8080")].map(|(n, v)| format!("{n}={v}")));
    }
    for _ in 0..dice.within(0, 12) {
        let (name, value) = (one_of(NAMES, dice), one_of(VALUES, dice));
        pairs.insert(0, format!("{name}={}", if dice.within(0, 8) == 0 { value.to_owned() } else { encode(value) }));
    }
    let parameters = pairs.join("&");
    let kinds = [
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded; charset=GBK",
        "application/json",
        "text/plain",
    ];
    let kind = one_of(&kinds, dice);
    let agent =
        one_of(&["Nacos-Java-Client:v1.4.2", "Nacos-Go-Client:v1.0.1", "curl/8", "Nacos-Java-Client:vabc", ""], dice);
    let head = |target: &str, more: &str| {
        format!("{method} /nacos{target} HTTP/1.1\r\nHost: x\r\nUser-Agent: {agent}\r\nConnection: close\r\n{more}\r\n")
    };
    match dice.within(0, 4) {
        0 => head(path, &format!("Content-Type: {kind}\r\nContent-Length: {}\r\n", parameters.len())) + &parameters,
        1 => {
            let chunk = format!("{:x}\r\n{parameters}\r\n0\r\n\r\n", parameters.len());
            head(path, &format!("Content-Type: {kind}\r\nTransfer-Encoding: chunked\r\n")) + &chunk
        }
        _ => head(&format!("{path}?{parameters}"), ""),
    }
    .into_bytes()
}

/// Changes some bytes of every other request.
fn mutate(bytes: &mut Vec<u8>, dice: &mut Dice) {
    let changes = if dice.within(0, 2) == 0 { 0 } else { dice.within(1, 4) };
    for _ in 0..changes {
        let at = usize::try_from(dice.within(0, bytes.len() as u64)).expect("a small number");
        match dice.within(0, 6) {
            0 => bytes[at] ^= 1 << dice.within(0, 8),
            1 => bytes[at] = dice.next() as u8,
            2 => bytes.truncate(at.max(1)),
            3 => bytes.insert(at, one_of(&[b"%", b"\r", b"\n", b"\0", b"&", b"=", b"\xff"], dice)[0]),
            4 => {
                let copied = bytes[at..(at + 40).min(bytes.len())].to_vec();
                bytes.splice(at..at, copied);
            }
            _ => drop(bytes.drain(at..(at + 8).min(bytes.len() - 1).max(at))),
        }
    }
}

#[test]
fn broken_requests_of_all_kinds_do_no_harm() {
    let requests = setting("NACRE_FUZZ_REQUESTS").unwrap_or(REQUESTS);
    let seed = setting("NACRE_FUZZ_SEED").unwrap_or_else(|| Dice::fresh().next() >> 24);
    let mut dice = Dice::seeded(seed);
    let mut server = Server::start(&[]);
    let people = Population { services: 3, size: 5 };
    people.register(&server);
    let mut before = 0;
    let mut tally = [0u64; 6];
    for number in 0..requests {
        if number == requests / 10 {
            before = server.memory_kib("VmRSS");
        }
        let mut bytes = sensible(&mut dice);
        mutate(&mut bytes, &mut dice);
        let (status, text) = raw(&server, &bytes);
        let shown =
            || format!("request {number} with NACRE_FUZZ_SEED={seed}: {:?}\n{text}", String::from_utf8_lossy(&bytes));
        assert!(server.ended().is_none(), "{}", shown());
        // A 500 is what the reference has for some faults: then it says what is wrong, and nothing broke.
        let known = status.is_none_or(|status| matches!(status, 100..=499 | 501 | 505) || text.contains("caused: "));
        assert!(known, "{}", shown());
        tally[usize::from(status.unwrap_or(0) / 100)] += 1;
    }
    let after = server.memory_kib("VmRSS");
    say(&format!(
        "fuzz test: {requests} requests (NACRE_FUZZ_SEED={seed}): {} closed without an answer, {} of 2xx, {} of 4xx, {} of 5xx; \
         VmRSS {before} -> {after} KiB",
        tally[0], tally[2], tally[4], tally[5]
    ));
    assert!(after < before + GROWTH_KIB, "memory grew from {before} to {after} KiB");
    assert_eq!(get(&server, "/nacos/v1/console/health/readiness").0, Some(200));
    assert!(!server.log().contains("panicked"), "{}", server.log());
    let mut client = server.client();
    for number in 0..people.services {
        assert_eq!(listed(&client.get(&list_target(number)).expect("an answer")), people.wanted(number));
    }
    server.kill9();
    server.restart();
    assert!(server.restore_report()["damage"].is_null(), "{}", server.restore_report());
}

/// One odd value in one parameter of an otherwise good request, for all of them: every answer is an answer.
#[test]
fn every_odd_value_in_every_parameter_of_every_path_is_answered() {
    let server = Server::start(&["--durability", "off"]);
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = server.client();
                while let Some((method, path)) = ROUTES.get(next.fetch_add(1, Ordering::Relaxed)) {
                    for (name, value) in NAMES.iter().flat_map(|name| VALUES.iter().map(move |value| (*name, *value))) {
                        let mut pairs = vec![("serviceName", "fuzz"), ("ip", "10.0.0.1"), ("port", "8080")];
                        pairs.retain(|(good, _)| *good != name);
                        pairs.push((name, value));
                        let target = format!("/nacos{path}?{}", form(&pairs));
                        let answer = client.send(method, &target, &[], None);
                        let answer = answer.unwrap_or_else(|error| panic!("{method} {target}: {error}"));
                        let known = answer.status < 500 || answer.text().starts_with("caused: ");
                        assert!(known, "{method} {target}: {} {}", answer.status, answer.text());
                    }
                }
            });
        }
    });
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
