//! Who writes through one server finds what was written on that server, whichever owns the service.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;

use super::trio::{Trio, owned_by, within};
use crate::client::Client;

const ROUNDS: usize = 20;

/// Three servers that are past their start and know it of each other: before that, nobody relies on what another tells.
pub(super) fn ready() -> Trio {
    let trio = Trio::start("");
    within(Duration::from_secs(20), "all are ready", || {
        for server in trio.addresses() {
            let nodes = Client::new(server).get("/nacos/v1/core/cluster/nodes").map_err(|fault| fault.to_string())?;
            let nodes = nodes.text();
            // Those that are as new as each other take in the data of the first of them.
            let standings: Vec<&str> =
                nodes.split(r#""nacre":""#).skip(1).filter_map(|rest| rest.split('"').next()).collect();
            if standings.len() != 3
                || !standings[0].starts_with("ready;")
                || standings.iter().any(|one| *one != standings[0])
            {
                return Err(format!("{server}: {standings:?}"));
            }
        }
        Ok(())
    });
    trio
}

fn ask(client: &mut Client, method: &str, target: &str) -> (u16, String, String) {
    let answer = client.send(method, target, &[], None).expect("an answer");
    let label = answer.header("Content-Type").unwrap_or_default().to_owned();
    (answer.status, label, answer.text())
}

/// Addresses and health of the instances that a server lists.
fn listed(client: &mut Client, service: &str) -> Vec<(String, bool)> {
    let (status, _, text) = ask(client, "GET", &format!("/nacos/v1/ns/instance/list?serviceName={service}"));
    assert_eq!(status, 200, "{text}");
    let list: Value = serde_json::from_str(&text).expect("JSON");
    let hosts = list["hosts"].as_array().expect("a list").iter();
    let mut hosts: Vec<_> =
        hosts.map(|host| (host["ip"].as_str().unwrap_or_default().to_owned(), host["healthy"] == true)).collect();
    hosts.sort();
    hosts
}

/// One client at one server, with services that belong to the server number `owner`.
fn write_and_read(server: SocketAddr, owner: usize, own: bool) {
    let mut client = Client::new(server);
    for round in 0..ROUNDS {
        for persistent in [false, true] {
            let service = owned_by(owner, 3, &format!("own-{}-{round}-{persistent}", server.port()));
            let place = format!("serviceName={service}&ip=10.0.0.1&port=80&ephemeral={}", !persistent);
            let ok = (200, "text/plain;charset=UTF-8".to_owned(), "ok".to_owned());
            let about = format!("round {round}, persistent: {persistent}, own: {own}");
            assert_eq!(ask(&mut client, "POST", &format!("/nacos/v1/ns/instance?{place}")), ok, "{about}");
            assert_eq!(listed(&mut client, &service), [("10.0.0.1".to_owned(), true)], "{about}");
            let checks = format!("serviceName={service}&clusterName=DEFAULT&checkPort=80&useInstancePort4Check=true");
            let target = format!("/nacos/v1/ns/cluster?{checks}&healthChecker=%7B%22type%22%3A%22NONE%22%7D");
            assert_eq!(ask(&mut client, "PUT", &target).0, 200, "{about}");
            let target = format!("/nacos/v1/ns/health/instance?{place}&healthy=false");
            assert_eq!(ask(&mut client, "PUT", &target), ok, "{about}");
            // A list shows all as healthy when none is.
            let (_, _, text) = ask(&mut client, "GET", &format!("/nacos/v1/ns/instance?{place}"));
            assert!(text.contains("\"healthy\":false"), "{about}: {text}");
            let target = format!("/nacos/v1/ns/instance?{place}&weight=0.5");
            assert_eq!(ask(&mut client, "PATCH", &target).0, 200, "{about}");
            let (_, _, text) = ask(&mut client, "GET", &format!("/nacos/v1/ns/instance?{place}"));
            assert!(text.contains("\"weight\":0.5"), "{about}: {text}");
            assert_eq!(ask(&mut client, "DELETE", &format!("/nacos/v1/ns/instance?{place}")), ok, "{about}");
            assert_eq!(listed(&mut client, &service), [], "{about}");
        }
    }
}

#[test]
fn who_writes_through_a_server_reads_it_there() {
    let trio = ready();
    std::thread::scope(|scope| {
        for (number, server) in trio.addresses().into_iter().enumerate() {
            for owner in 0..3 {
                scope.spawn(move || write_and_read(server, owner, owner == number));
            }
        }
    });
}

#[test]
fn a_service_that_was_made_empty_is_empty_on_all_servers() {
    let trio = ready();
    for owner in 0..3 {
        let service = owned_by(owner, 3, "empty");
        let mut client = Client::new(trio.addresses()[0]);
        let place = format!("serviceName={service}&ip=10.0.0.1&port=80&clusterName=under_score");
        let answer = ask(&mut client, "POST", &format!("/nacos/v1/ns/instance?{place}"));
        assert_eq!((answer.0, &*answer.1), (400, "text/plain;charset=UTF-8"), "{}", answer.2);
        within(Duration::from_secs(2), "the service is on all", || {
            for server in trio.addresses() {
                let target = format!("/nacos/v1/ns/instance/list?serviceName={service}");
                let (_, _, text) = ask(&mut Client::new(server), "GET", &target);
                if !text.contains("\"checksum\"") {
                    return Err(format!("{server}: {text}"));
                }
            }
            Ok(())
        });
    }
}

#[test]
fn the_health_of_a_persistent_instance_is_known_to_all_at_once() {
    let trio = ready();
    // An exchange of checksums, which would show it too, comes every 5 s.
    for round in 0..6 {
        let service = owned_by(round % 3, 3, &format!("health-{round}"));
        let mut client = Client::new(trio.addresses()[0]);
        let place = format!("serviceName={service}&ip=10.0.0.1&port=80");
        assert_eq!(ask(&mut client, "POST", &format!("/nacos/v1/ns/instance?{place}&ephemeral=false")).0, 200);
        let checks = format!("serviceName={service}&clusterName=DEFAULT&checkPort=80&useInstancePort4Check=true");
        let target = format!("/nacos/v1/ns/cluster?{checks}&healthChecker=%7B%22type%22%3A%22NONE%22%7D");
        assert_eq!(ask(&mut client, "PUT", &target).0, 200);
        assert_eq!(ask(&mut client, "PUT", &format!("/nacos/v1/ns/health/instance?{place}&healthy=false")).0, 200);
        within(Duration::from_secs(2), "all know that it is unhealthy", || {
            for server in trio.addresses() {
                let (_, _, text) = ask(&mut Client::new(server), "GET", &format!("/nacos/v1/ns/instance?{place}"));
                if !text.contains("\"healthy\":false") {
                    return Err(format!("{server}: {text}"));
                }
            }
            Ok(())
        });
    }
}
