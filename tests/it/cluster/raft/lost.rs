//! Two of three disks are lost: nobody decides anything alone, until an operator says whose rows count.

use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use super::{PROPERTIES, leader};
use crate::client::{Answer, Client, form};
use crate::cluster::trio::{Trio, name_members, serves, within};
use crate::cluster::watch::list;

const SERVICE: &str = "lost-majority";
/// Of the answer to a write that can't be agreed on (5 s), with room.
const REFUSED: Duration = Duration::from_secs(8);
const LIMIT: Duration = Duration::from_secs(20);

fn register(server: SocketAddr, ip: &str) -> Answer {
    let pairs = [("serviceName", SERVICE), ("ip", ip), ("port", "80"), ("ephemeral", "false")];
    let target = format!("/nacos/v1/ns/instance?{}", form(&pairs));
    Client::new(server).send("POST", &target, &[], None).expect("an answer")
}

fn listed(server: SocketAddr) -> Result<Vec<String>, String> {
    let seen = list(&mut Client::new(server), SERVICE).map_err(|error| error.to_string())??;
    Ok(seen.into_keys().map(|(ip, _)| ip).collect())
}

fn order_a_snapshot(server: SocketAddr) {
    let order = |body: &str| {
        let headers = [("Content-Type".to_owned(), "application/json".to_owned())];
        let answer = Client::new(server).send("POST", "/nacos/v1/core/ops/raft", &headers, Some(body.as_bytes()));
        answer.expect("an answer").text()
    };
    let figure = |name: &str| {
        let page = Client::new(server).get("/nacos/actuator/prometheus").expect("an answer").text();
        let line = page.lines().find(|line| line.starts_with(&format!("{name} "))).map(str::to_owned);
        line.and_then(|line| line.split(' ').nth(1)?.parse::<f64>().ok()).expect("a figure")
    };
    let (before, applied) = (figure("nacre_raft_snapshot_entry"), figure("nacre_raft_applied_entry"));
    assert!(before < applied, "there is something to keep: {before}, {applied}");
    assert!(order(r#"{"command":"removePeer","value":"10.0.0.1:80"}"#).contains("Not support command : removePeer"));
    let body = r#"{"groupId":"naming_persistent_service","command":"doSnapshot"}"#;
    assert_eq!(order(body), r#"{"code":200,"message":null,"data":null}"#);
    within(LIMIT, "a snapshot", || match figure("nacre_raft_snapshot_entry") {
        now if now >= applied => Ok(()),
        now => Err(format!("up to {now} of {applied}")),
    });
}

fn lose_disk(trio: &Trio, number: usize) {
    fs::remove_dir_all(trio.servers[number].home().join("data")).expect("a folder of data");
}

#[test]
fn what_one_of_three_still_has_counts_when_an_operator_says_so() {
    let mut trio = Trio::start(&[PROPERTIES, "management.endpoints.web.exposure.include=*\n"].concat());
    let addresses = trio.addresses();
    leader(&trio, &[0, 1, 2]);
    for (server, ip) in addresses.iter().zip(["10.7.0.1", "10.7.0.2", "10.7.0.3"]) {
        let answer = register(*server, ip);
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
    let all = ["10.7.0.1", "10.7.0.2", "10.7.0.3"];
    let survivor = 1;
    within(LIMIT, "the survivor has all", || match listed(addresses[survivor])? {
        ips if ips == all => Ok(()),
        ips => Err(format!("{ips:?}")),
    });
    // What was agreed on is found in a snapshot too.
    order_a_snapshot(addresses[survivor]);

    trio.kill9(&[0, 1, 2]);
    lose_disk(&trio, 0);
    lose_disk(&trio, 2);
    for server in &mut trio.servers {
        server.spawn();
    }
    within(LIMIT, "the survivor serves", || serves(addresses[survivor]).then_some(()).ok_or_else(String::new));
    for server in addresses {
        let mut answer = None;
        let took = within(LIMIT, "an answer", || {
            answer = Some(register(server, "10.7.0.9"));
            Ok(())
        });
        let status = answer.map_or(0, |answer| answer.status);
        assert!((500..=503).contains(&status) && took < REFUSED, "{server} answered {status} after {took:?}");
    }
    assert_eq!(listed(addresses[survivor]).as_deref(), Ok(&all.map(str::to_owned)[..]), "and it is there to read");

    // As the README says.
    trio.kill9(&[0, 1, 2]);
    fs::remove_file(trio.servers[survivor].home().join("conf/cluster.conf")).expect("a file of members");
    trio.servers[survivor].restart();
    assert!(trio.servers[survivor].term().success());
    name_members(&trio.servers[survivor], &addresses);
    lose_disk(&trio, 0);
    lose_disk(&trio, 2);
    let trio = trio.started();
    leader(&trio, &[0, 1, 2]);
    let answer = register(addresses[0], "10.7.0.4");
    assert_eq!(answer.status, 200, "{}", answer.text());
    for server in addresses {
        within(LIMIT, "all of it", || match listed(server)? {
            ips if ips == ["10.7.0.1", "10.7.0.2", "10.7.0.3", "10.7.0.4"] => Ok(()),
            ips => Err(format!("{server} lists {ips:?}")),
        });
    }
}
