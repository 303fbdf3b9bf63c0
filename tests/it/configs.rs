//! `/v1/cs`: what Dubbo asks of a configuration centre, answered by a server that is none.

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Answer, Client, form};
use crate::server::Server;

const CONFIGS: &str = "/nacos/v1/cs/configs";
const LISTENER: &str = "/nacos/v1/cs/configs/listener";
/// Name, group, digest (none: the client has no such configuration) and namespace, as the Java client writes them.
const LISTENED: &str = "app.migration\u{2}dubbo\u{2}\u{2}interop\u{1}";

fn listen(address: SocketAddr, headers: &[(&str, &str)], listened: &str) -> io::Result<Answer> {
    let mut headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    headers.push(("Content-Type".into(), "application/x-www-form-urlencoded".into()));
    let body = form(&[("Listening-Configs", listened)]);
    Client::new(address).send("POST", LISTENER, &headers, Some(body.as_bytes()))
}

#[test]
fn there_is_no_configuration_and_none_is_taken() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let answer = client.get(&format!("{CONFIGS}?dataId=dubbo.properties&group=dubbo&tenant=interop")).unwrap();
    assert_eq!((answer.status, answer.text().as_str()), (404, "config data not exist"));
    let mut publish = |name: &str| {
        let body = form(&[("dataId", name), ("group", "dubbo"), ("content", "{\"a\":1}")]);
        let headers = [("Content-Type".into(), "application/x-www-form-urlencoded".into())];
        let answer = client.send("POST", CONFIGS, &headers, Some(body.as_bytes())).unwrap();
        (answer.status, answer.text())
    };
    assert_eq!(publish("a.B:1.0::provider:app"), (200, "false".into()));
    assert_eq!(publish("a.B:1.0::consumer:app"), (200, "false".into()));
    let (status, text) = publish("app.yaml");
    assert!(status == 501 && text.contains("stores no configuration"), "{status} {text}");
    assert_eq!(publish("").0, 400);
}

#[test]
fn a_listener_is_held_only_if_it_asks_for_it() {
    let server = Server::start(&[]);
    let started = Instant::now();
    let asked = |headers: &[(&str, &str)], listened: &str| {
        let answer = listen(server.address(), headers, listened).unwrap();
        (answer.status, answer.text())
    };
    let waits = ("Long-Pulling-Timeout", "30000");
    assert_eq!(asked(&[], LISTENED), (200, String::new()));
    assert_eq!(asked(&[waits, ("Long-Pulling-Timeout-No-Hangup", "true")], LISTENED), (200, String::new()));
    assert_eq!(asked(&[waits], "").0, 400);
    assert_eq!(asked(&[("Long-Pulling-Timeout", "soon")], LISTENED).0, 400);
    assert!(started.elapsed() < Duration::from_secs(5), "held for {:?}", started.elapsed());

    let started = Instant::now();
    assert_eq!(asked(&[("Long-Pulling-Timeout", "1000")], LISTENED), (200, String::new()));
    assert!(started.elapsed() >= Duration::from_secs(10), "answered after {:?}", started.elapsed());
}

#[test]
fn a_server_that_stops_answers_those_that_it_holds_and_waits_for_none() {
    let mut server = Server::start(&[]);
    let address = server.address();
    let held: Vec<_> = (0..20)
        .map(|_| thread::spawn(move || listen(address, &[("Long-Pulling-Timeout", "30000")], LISTENED)))
        .collect();
    thread::sleep(Duration::from_millis(500));
    assert!(held.iter().all(|thread| !thread.is_finished()), "answered at once");
    let started = Instant::now();
    let status = server.term();
    assert!(status.success(), "{status}\n{}", server.log());
    assert!(started.elapsed() < Duration::from_secs(5), "it took {:?} to stop", started.elapsed());
    for thread in held {
        let answer = thread.join().unwrap().unwrap();
        assert_eq!((answer.status, answer.text().as_str()), (200, ""));
    }
    assert!(!server.log().contains("panicked"), "{}", server.log());
}
