//! UDP push of the real binary: subscribers are sockets of this test.

use std::io::Read as _;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;
use serde_json::{Value, json};

use crate::client::{Client, form};
use crate::server::Server;

const JAVA: &str = "Nacos-Java-Client:v1.4.2";

/// A datagram that came.
struct Pushed {
    number: i64,
    list: Value,
    from: SocketAddr,
}

struct Subscriber {
    socket: UdpSocket,
    agent: &'static str,
}

impl Subscriber {
    fn at(ip: &str, agent: &'static str) -> Self {
        Self { socket: UdpSocket::bind((ip, 0)).expect("a socket"), agent }
    }

    fn port(&self) -> u16 {
        self.socket.local_addr().expect("an address").port()
    }

    /// Asks for the list; answers its `cacheMillis`.
    fn subscribe(&self, client: &mut Client, service: &str, client_ip: &str) -> i64 {
        subscribe(client, self.agent, self.port(), service, client_ip)
    }

    fn next(&self, within: Duration) -> Option<Pushed> {
        let mut buffer = vec![0; 65_536];
        self.socket.set_read_timeout(Some(within)).expect("a timeout");
        let (length, from) = self.socket.recv_from(&mut buffer).ok()?;
        let mut text = Vec::new();
        match &buffer[..length] {
            zipped @ [0x1f, 0x8b, ..] => _ = GzDecoder::new(zipped).read_to_end(&mut text).expect("gzip"),
            plain => text.extend_from_slice(plain),
        }
        let datagram: Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(datagram["type"], "dom");
        let list = serde_json::from_str(datagram["data"].as_str().expect("text")).expect("JSON in text");
        Some(Pushed { number: datagram["lastRefTime"].as_i64().expect("a number"), list, from })
    }

    fn acknowledge(&self, pushed: &Pushed) {
        let ack = json!({"type": "push-ack", "lastRefTime": pushed.number.to_string(), "data": ""});
        self.socket.send_to(ack.to_string().as_bytes(), pushed.from).expect("sent");
    }
}

/// Asks for the list as a client that takes pushes at that port; answers its `cacheMillis`.
fn subscribe(client: &mut Client, agent: &str, port: u16, service: &str, client_ip: &str) -> i64 {
    let port = port.to_string();
    let query = form(&[("serviceName", service), ("udpPort", &port), ("clientIP", client_ip), ("app", "shop")]);
    let headers = [("User-Agent".to_owned(), agent.to_owned())];
    let answer = client.send("GET", &format!("/nacos/v1/ns/instance/list?{query}"), &headers, None);
    let list: Value = serde_json::from_slice(&answer.expect("an answer").body).expect("JSON");
    list["cacheMillis"].as_i64().expect("a number")
}

fn change(client: &mut Client, method: &str, path: &str, pairs: &[(&str, &str)]) {
    let answer = client.send(method, &format!("/nacos/v1/ns/{path}?{}", form(pairs)), &[], None).expect("an answer");
    assert_eq!(answer.status, 200, "{}", answer.text());
}

fn register(client: &mut Client, service: &str, ip: &str) {
    change(client, "POST", "instance", &[("serviceName", service), ("ip", ip), ("port", "80")]);
}

fn state(client: &mut Client) -> Value {
    let answer = client.get("/nacos/v1/ns/operator/push/state?detail=true").expect("an answer");
    serde_json::from_slice(&answer.body).expect("JSON")
}

const SOON: Duration = Duration::from_millis(1_500);
const SILENCE: Duration = Duration::from_millis(300);
/// The server merges the changes of a second after a push.
const MERGED: Duration = Duration::from_millis(1_100);

/// Registers, and takes what each is told of it; also how long the slowest took after the answer: how long the disk
/// takes is none of the push's business.
fn told(client: &mut Client, service: &str, ip: &str, subscribers: [&Subscriber; 2]) -> ([Pushed; 2], Duration) {
    register(client, service, ip);
    let begun = Instant::now();
    let pushed = subscribers.map(|one| one.next(SOON).expect("a push"));
    (pushed, begun.elapsed())
}

/// Fails unless `first` or one of two more times is below `limit`: the machine may have stood still during one.
fn soon(first: Duration, limit: Duration, mut again: impl FnMut() -> Duration) {
    let mut times = vec![first];
    while times.iter().all(|time| *time >= limit) {
        assert!(times.len() < 3, "not within {limit:?}: {times:?}");
        std::thread::sleep(MERGED);
        times.push(again());
    }
}

#[test]
fn a_change_reaches_subscribers_at_once_in_their_shape() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let (java, go) = (Subscriber::at("127.0.0.1", JAVA), Subscriber::at("127.0.0.1", "Nacos-Go-Client:v1.0.1"));
    assert_eq!(java.subscribe(&mut client, "a", "127.0.0.1"), 10_000);
    assert_eq!(go.subscribe(&mut client, "a", ""), 10_000);
    let ([to_java, to_go], took) = told(&mut client, "a", "10.0.0.1", [&java, &go]);
    assert_eq!((&to_java.list["dom"], &to_go.list["dom"]), (&json!("DEFAULT_GROUP@@a"), &json!("a")));
    assert_eq!((&to_java.list["cacheMillis"], &to_java.list["hosts"][0]["ip"]), (&json!(10_000), &json!("10.0.0.1")));
    assert_eq!(to_java.number, to_go.number);
    java.acknowledge(&to_java);
    assert_eq!(state(&mut client)["total"], 2);
    let begun = Instant::now();
    let acknowledged = || Instant::now() > begun + SOON || state(&mut server.client())["succeed"] == 1;
    while !acknowledged() {}
    let now = state(&mut client);
    assert_eq!((&now["succeed"], now["data"].as_array().map(Vec::len)), (&json!(1), Some(1)), "{now}");
    // The reference waits for a second.
    soon(took, Duration::from_millis(700), || {
        java.subscribe(&mut client, "a", "127.0.0.1");
        go.subscribe(&mut client, "a", "");
        told(&mut client, "a", "10.0.0.1", [&java, &go]).1
    });
}

#[test]
fn what_is_told_though_nothing_differs() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let subscriber = Subscriber::at("127.0.0.1", JAVA);
    register(&mut client, "b", "10.0.0.1");
    change(
        &mut client,
        "PUT",
        "cluster",
        &[
            ("serviceName", "b"),
            ("clusterName", "DEFAULT"),
            ("checkPort", "80"),
            ("useInstancePort4Check", "true"),
            ("healthChecker", r#"{"type":"NONE"}"#),
        ],
    );
    subscriber.subscribe(&mut client, "b", "127.0.0.1");
    let at = [("serviceName", "b"), ("ip", "10.0.0.1"), ("port", "80")];
    let unknown = [("serviceName", "b"), ("ip", "10.0.0.9"), ("port", "80")];
    let healthy = [("serviceName", "b"), ("ip", "10.0.0.1"), ("port", "80"), ("healthy", "true")];
    let settings = [("serviceName", "b"), ("protectThreshold", "0.5")];
    for (method, path, pairs, told) in [
        ("POST", "instance", &at[..], true),
        ("DELETE", "instance", &unknown, true),
        ("PUT", "health/instance", &healthy, true),
        ("PUT", "instance/beat", &at, false),
        ("PUT", "service", &settings, false),
        ("DELETE", "service", &settings[..1], false),
    ] {
        change(&mut client, method, path, pairs);
        let pushed = subscriber.next(if told { SOON } else { SOON / 2 });
        assert_eq!(pushed.is_some(), told, "{method} {path}");
        pushed.iter().for_each(|pushed| subscriber.acknowledge(pushed));
        std::thread::sleep(MERGED);
        subscriber.subscribe(&mut client, "b", "127.0.0.1");
    }
}

#[test]
fn datagrams_go_where_the_query_came_from() {
    let (ours, other) = (Subscriber::at("127.0.0.1", JAVA), UdpSocket::bind("127.0.0.2:0").expect("a socket"));
    let port = other.local_addr().expect("an address").port();
    let elsewhere = Subscriber { socket: other, agent: JAVA };
    for (properties, reached) in [("", false), ("nacre.push.allow-client-ip=127.0.0.2/32\n", true)] {
        let server = Server::configured(&[], properties);
        let mut client = server.client();
        assert_eq!(elsewhere.subscribe(&mut client, "c", "127.0.0.2"), 10_000);
        assert_eq!(ours.subscribe(&mut client, "c", "10.9.9.9"), 10_000);
        let answer = client.get("/nacos/v1/ns/service/subscribers?serviceName=c").expect("an answer");
        let listed: Value = serde_json::from_slice(&answer.body).expect("JSON");
        assert_eq!(listed["count"], 2, "{listed}");
        let shown = &listed["subscribers"];
        assert!((0..2).any(|at| shown[at]["addrStr"] == format!("127.0.0.2:{port}")), "{listed}");
        register(&mut client, "c", "10.0.0.1");
        assert!(ours.next(SOON).is_some(), "{properties}");
        assert_eq!(elsewhere.next(SILENCE).is_some(), reached, "{properties}");
    }
}

#[test]
fn addresses_of_no_use_make_pollers() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let subscriber = Subscriber::at("127.0.0.1", JAVA);
    for client_ip in ["no.such.host.invalid", "300.1.1.1", "::1::"] {
        assert_eq!(subscriber.subscribe(&mut client, "d", client_ip), 3_000, "{client_ip}");
    }
    for client_ip in ["::1", "[::1]", "fe80::1%eth0", "localhost"] {
        assert_eq!(subscriber.subscribe(&mut client, "d", client_ip), 10_000, "{client_ip}");
    }
}

fn subscribers(client: &mut Client, service: &str) -> Value {
    let answer = client.get(&format!("/nacos/v1/ns/service/subscribers?serviceName={service}")).expect("an answer");
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// The store has a new subscription after a look of the sender (50 ms) and one of the committer (100 ms); the rest is
/// for a busy machine.
const STORED: Duration = Duration::from_secs(2);

#[test]
fn a_change_right_after_a_kill_is_pushed_at_once_to_those_who_were_subscribed() {
    let mut server = Server::start(&[]);
    let mut client = server.client();
    let (java, go) = (Subscriber::at("127.0.0.1", JAVA), Subscriber::at("127.0.0.1", "Nacos-Go-Client:v1.0.1"));
    java.subscribe(&mut client, "a", "127.0.0.1");
    go.subscribe(&mut client, "a", "10.9.9.9");
    register(&mut client, "a", "10.0.0.1");
    let before = java.next(SOON).expect("a push");
    assert!(go.next(SOON).is_some());
    let listed = subscribers(&mut client, "a");
    std::thread::sleep(STORED);
    for round in 0..2 {
        server.kill9();
        server.restart();
        let mut client = server.client();
        let report = server.restore_report();
        assert_eq!((&report["damage"], &report["subscriptions"]), (&Value::Null, &json!(2)), "{report}");
        assert_eq!(report["rows"], 3 + round, "{report}");
        assert_eq!(subscribers(&mut client, "a"), listed);
        let ([to_java, to_go], took) = told(&mut client, "a", "10.0.1.1", [&java, &go]);
        assert!(to_java.number > before.number, "numbers grow over restarts");
        assert_eq!((&to_java.list["dom"], &to_go.list["dom"]), (&json!("DEFAULT_GROUP@@a"), &json!("a")));
        assert_eq!(to_java.list["hosts"].as_array().map(Vec::len), Some(2), "{}", to_java.list);
        // The port of the server is another one; acknowledgements find it all the same.
        java.acknowledge(&to_java);
        let deadline = Instant::now() + SOON;
        while state(&mut client)["succeed"] != 1 && Instant::now() < deadline {}
        assert_eq!(state(&mut client)["succeed"], 1);
        // Nobody has asked again: each time it is the restored subscription that is told.
        soon(took, Duration::from_secs(1), || {
            let (pushed, took) = told(&mut client, "a", "10.0.1.1", [&java, &go]);
            java.acknowledge(&pushed[0]);
            took
        });
    }
}

#[test]
fn subscriptions_end_with_a_long_downtime_or_a_silent_client_and_leave_no_rows() {
    let mut server = Server::configured(&[], "nacre.restore.max-downtime-ms=1500\n");
    let subscriber = Subscriber::at("127.0.0.1", JAVA);
    subscriber.subscribe(&mut server.client(), "a", "127.0.0.1");
    std::thread::sleep(STORED);
    server.kill9();
    std::thread::sleep(Duration::from_millis(2_600));
    server.restart();
    assert_eq!(server.restore_report()["subscriptions"], 1);
    assert_eq!(subscribers(&mut server.client(), "a")["count"], 0);
    register(&mut server.client(), "a", "10.0.0.1");
    assert!(subscriber.next(SILENCE).is_none());
    std::thread::sleep(STORED);
    server.kill9();
    server.restart();
    let report = server.restore_report();
    assert_eq!((&report["rows"], &report["subscriptions"]), (&json!(1), &json!(0)), "{report}");
    // Dead ones are swept within 20 s after their life of 10 s; a push finds them at once.
    subscriber.subscribe(&mut server.client(), "a", "127.0.0.1");
    std::thread::sleep(STORED);
    server.kill9();
    server.restart();
    assert_eq!(server.restore_report()["subscriptions"], 1);
    std::thread::sleep(Duration::from_millis(10_600));
    register(&mut server.client(), "a", "10.0.0.2");
    assert!(subscriber.next(SILENCE).is_none(), "it has not asked for longer than its life");
    assert!(server.term().success());
    server.restart();
    let report = server.restore_report();
    assert_eq!((&report["rows"], &report["subscriptions"]), (&json!(2), &json!(0)), "{report}");
}

#[test]
fn nothing_is_stored_without_durability() {
    let mut server = Server::start(&["--durability", "off"]);
    let subscriber = Subscriber::at("127.0.0.1", JAVA);
    subscriber.subscribe(&mut server.client(), "a", "127.0.0.1");
    register(&mut server.client(), "a", "10.0.0.1");
    assert!(subscriber.next(SOON).is_some());
    std::thread::sleep(STORED);
    server.kill9();
    server.restart();
    assert_eq!(subscribers(&mut server.client(), "a")["count"], 0);
}

const LIVING: usize = 4_000;
const DEAD: usize = 1_000;
/// Where nobody listens. Not ports that the system gives to others: they would get what is pushed to the dead.
const FIRST_DEAD_PORT: u16 = 11_000;
/// For all of them, on a machine that is busy with other tests; 200 ms when it is not. Below the 10 s after which a push
/// is sent again.
const ALL_TOLD: Duration = Duration::from_secs(5);
/// How long subscriptions live there. The 10 s of the default may be over before the last of so many has asked.
const LONG_LIFE_MS: i64 = 60_000;
/// How much the server's memory may grow by 5,000 subscriptions and the first push to them (most of it is what any first
/// load and sled's buffers take), and by further pushes.
const MAX_GROWN_KIB: (u64, u64) = (80 << 10, 16 << 10);

#[test]
fn thousands_of_subscribers_are_told_though_many_are_dead() {
    let wanted = (LIVING + DEAD + 512) as u64;
    if rlimit::increase_nofile_limit(wanted).expect("a limit") < wanted {
        println!("skipped: this process may not open {wanted} files");
        return;
    }
    let server = Server::start(&[]);
    let mut client = server.client();
    let life = [("entry", "pushCacheMillis"), ("value", &*LONG_LIFE_MS.to_string())];
    change(&mut client, "PUT", "operator/switches", &life);
    let before_kib = server.memory_kib("VmRSS");
    for port in (FIRST_DEAD_PORT..).take(DEAD) {
        assert_eq!(subscribe(&mut client, JAVA, port, "many", "127.0.0.1"), LONG_LIFE_MS);
    }
    let living: Vec<Subscriber> = (0..LIVING).map(|_| Subscriber::at("127.0.0.1", JAVA)).collect();
    for one in &living {
        assert_eq!(one.subscribe(&mut client, "many", "127.0.0.1"), LONG_LIFE_MS);
    }
    register(&mut client, "many", "10.0.0.1");
    let begun = Instant::now();
    let mut times: Vec<Duration> = living
        .iter()
        .map(|one| {
            let pushed = one.next(ALL_TOLD).expect("a push");
            one.acknowledge(&pushed);
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    let (half, most, all) = (times[LIVING / 2], times[LIVING * 99 / 100], times[LIVING - 1]);
    println!("{LIVING} living of {}: p50 {half:?}, p99 {most:?}, all {all:?}, reading them included", LIVING + DEAD);
    assert!(all < ALL_TOLD, "{all:?}");
    let deadline = Instant::now() + SOON;
    while state(&mut client)["succeed"] != LIVING && Instant::now() < deadline {}
    let now = state(&mut client);
    assert_eq!((&now["total"], &now["succeed"]), (&json!(LIVING + DEAD), &json!(LIVING)), "{now}");
    let once_kib = server.memory_kib("VmHWM");
    // What is awaited from the dead must not pile up.
    for round in 0..6 {
        std::thread::sleep(Duration::from_millis(400));
        register(&mut client, "many", &format!("10.0.1.{round}"));
    }
    assert!(living.iter().all(|one| one.next(ALL_TOLD).is_some()));
    let first = once_kib.saturating_sub(before_kib);
    let further = server.memory_kib("VmHWM").saturating_sub(once_kib);
    println!("memory at the most: {first} KiB more for the first push, {further} KiB more for further ones");
    assert!(first < MAX_GROWN_KIB.0 && further < MAX_GROWN_KIB.1, "{first} KiB, {further} KiB");
}
