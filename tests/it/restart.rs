//! A restart as clients see it: nothing, then everything. Prints how long the start takes and what memory it needs.
//!
//! `NACRE_RESTART_INSTANCES` and `NACRE_RESTART_SERVICES` set the size (20,000 in 2,000), `NACRE_RESTART_STARTS` how
//! often it is killed and started (1), `NACRE_RESTART_SETTLE_S` for how long to wait before memory is read again (0).

use std::io::ErrorKind;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{Answer, Client, form};
use crate::population::{Population, beat, is_beat_ok, list_target, listed, say, setting};
use crate::server::Server;

const INSTANCES: u64 = 20_000;
const SERVICES: u64 = 2_000;
/// Services that are asked for during the start.
const SAMPLE: u64 = 8;
const FIRST_ANSWER: Duration = Duration::from_secs(30);
const OTHERS: &str = "/nacos/v1/ns/instance/list?serviceName=others";

/// The first answer to a query. Until then connections are refused, not accepted and dropped.
fn first_answer(server: &Server, target: &str) -> (Answer, Duration) {
    let since = Instant::now();
    loop {
        match server.client().get(target) {
            Ok(answer) => return (answer, since.elapsed()),
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "before the first answer: {error}"),
        }
        assert!(since.elapsed() < FIRST_ANSWER, "no answer after {FIRST_ANSWER:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn ref_time(answer: &Answer) -> u64 {
    let body: Value = serde_json::from_slice(&answer.body).expect("the list is JSON");
    body["lastRefTime"].as_u64().expect("a time")
}

fn restored_lines(server: &Server) -> usize {
    server.whole_log().lines().filter(|line| line.contains(" restored ")).count()
}

fn list(server: &Server, number: u64) -> Answer {
    server.client().get(&list_target(number)).expect("an answer")
}

fn start_once(server: &mut Server, people: Population, sample: &[u64]) {
    let before: Vec<u64> = sample.iter().map(|number| ref_time(&list(server, *number))).collect();
    let lines = restored_lines(server);
    server.kill9();
    let refused = server.client().get(&list_target(0)).expect_err("a killed server answers");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
    let ready = thread::scope(|scope| {
        let spawned = Instant::now();
        server.spawn();
        let server = &*server;
        let polls: Vec<_> = sample
            .iter()
            .map(|number| scope.spawn(move || (*number, first_answer(server, &list_target(*number)))))
            .collect();
        let (probe, _) = first_answer(server, "/nacos/v1/console/health/readiness");
        let ready = spawned.elapsed();
        assert_eq!(probe.status, 200, "the first answer of readiness: {}", probe.text());
        for (poll, before) in polls.into_iter().zip(&before) {
            let (number, (answer, _)) = poll.join().expect("a first answer");
            assert!(listed(&answer) == people.wanted(number), "the first list of {number} is not complete");
            assert!(ref_time(&answer) >= *before, "lastRefTime of {number} went back");
        }
        ready
    });
    let memory = server.memory_kib("VmRSS");
    say(&format!(
        "restart test: {} instances in {} services: ready {} ms after the start of the process, VmRSS {} MiB, VmHWM {} MiB",
        people.services * people.size,
        people.services,
        ready.as_millis(),
        memory / 1_024,
        server.memory_kib("VmHWM") / 1_024
    ));
    assert_eq!(restored_lines(server), lines + 1, "one line about the restore");
}

#[test]
fn the_first_list_after_a_kill_is_complete() {
    let services = setting("NACRE_RESTART_SERVICES").unwrap_or(SERVICES);
    let size = setting("NACRE_RESTART_INSTANCES").unwrap_or(INSTANCES) / services;
    let people = Population { services, size };
    let sample: Vec<u64> = (0..SAMPLE).map(|number| number * (services - 1) / (SAMPLE - 1)).collect();
    let mut server = Server::start(&[]);
    people.register(&server);
    for _ in 0..setting("NACRE_RESTART_STARTS").unwrap_or(1) {
        start_once(&mut server, people, &sample);
    }
    if let Some(seconds) = setting("NACRE_RESTART_SETTLE_S") {
        thread::sleep(Duration::from_secs(seconds));
        let (now, most) = (server.memory_kib("VmRSS") / 1_024, server.memory_kib("VmHWM") / 1_024);
        say(&format!("restart test: {seconds} s later VmRSS {now} MiB, VmHWM {most} MiB"));
    }
    let report = server.restore_report();
    assert!(report["damage"].is_null() && report["skipped_rows"] == 0, "{report}");
    // One row each, and none for a service that nobody configured.
    assert_eq!(report["rows"].as_u64(), Some(services * size), "{report}");
    people.each(&server, |client, number, slot| {
        let answer = beat(client, number, slot).expect("an answer");
        assert!(is_beat_ok(&answer), "{}", answer.text());
    });
    let mut client = server.client();
    for number in 0..services {
        let answer = client.get(&list_target(number)).expect("an answer");
        assert!(listed(&answer) == people.wanted(number), "the list of {number} is not complete");
    }
}

fn parameters(port: u64, ephemeral: bool, healthy: bool) -> String {
    form(&[
        ("serviceName", "others".to_owned()),
        ("ip", "10.0.0.1".to_owned()),
        ("port", port.to_string()),
        ("ephemeral", ephemeral.to_string()),
        ("healthy", healthy.to_string()),
    ])
}

/// Ports by health.
fn health(client: &mut Client) -> Vec<(u64, bool)> {
    let answer = client.get(OTHERS).expect("an answer");
    listed(&answer).into_iter().map(|((_, port), shape)| (port, shape.healthy)).collect()
}

#[test]
fn after_a_long_downtime_instances_are_unhealthy_until_they_beat() {
    let mut server = Server::configured(&[], "nacre.restore.max-downtime-ms=1\n");
    let mut client = server.client();
    for (port, ephemeral, healthy) in [(1, true, true), (2, true, true), (3, false, true), (4, false, false)] {
        let target = format!("/nacos/v1/ns/instance?{}", parameters(port, ephemeral, healthy));
        assert_eq!(client.send("POST", &target, &[], None).expect("an answer").text(), "ok");
    }
    assert_eq!(health(&mut client), [(1, true), (2, true), (3, true), (4, false)]);
    server.kill9();
    thread::sleep(Duration::from_millis(20));
    server.restart();
    let mut client = server.client();
    assert!(server.restore_report()["downtime_ms"].as_u64().is_some_and(|ms| ms > 1), "{}", server.restore_report());
    assert_eq!(health(&mut client), [(1, false), (2, false), (3, true), (4, false)], "nobody has beaten yet");
    let target = format!("/nacos/v1/ns/instance/beat?{}", parameters(1, true, true));
    let answer = client.send("PUT", &target, &[], None).expect("an answer");
    assert!(is_beat_ok(&answer), "{}", answer.text());
    assert_eq!(health(&mut client), [(1, true), (2, false), (3, true), (4, false)], "one has beaten");
    assert!(server.log().contains("unhealthy_until_beat=2"), "{}", server.log());
}

#[test]
fn after_a_short_downtime_everybody_keeps_their_health() {
    let mut server = Server::start(&[]);
    let mut client = server.client();
    for (port, ephemeral, healthy) in [(1, true, true), (2, true, false), (3, false, true), (4, false, false)] {
        let target = format!("/nacos/v1/ns/instance?{}", parameters(port, ephemeral, healthy));
        assert_eq!(client.send("POST", &target, &[], None).expect("an answer").text(), "ok");
    }
    let before = health(&mut client);
    assert_eq!(before.len(), 4);
    server.kill9();
    server.restart();
    assert_eq!(health(&mut server.client()), before);
    assert_eq!(restored_lines(&server), 2, "one line a start\n{}", server.whole_log());
}
