//! Persistent instances are checked by the owner of their service, and the others follow it.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::{PROPERTIES, leader};
use nacre::cluster::ownership::hash;

use crate::client::{Client, form};
use crate::cluster::trio::{Trio, within};
use crate::population::say;

const SERVICE: &str = "checked";

/// A check comes every 2 to 7 s, and the others ask every 5 s.
const SEEN: Duration = Duration::from_secs(20);

/// As the server knows it; lists show nobody as unhealthy when all are.
fn health(server: SocketAddr) -> String {
    let target = format!("/nacos/v1/ns/instance/statuses?key=public%23%23DEFAULT_GROUP%40%40{SERVICE}");
    Client::new(server).get(&target).expect("an answer").text()
}

fn wait(trio: &Trio, healthy: bool) -> Duration {
    within(SEEN, &format!("healthy: {healthy}, everywhere"), || {
        let seen = trio.addresses().map(health);
        if seen.iter().all(|one| one.ends_with(&format!("_{healthy}\"]}}"))) {
            Ok(())
        } else {
            Err(format!("{seen:?}"))
        }
    })
}

/// TCP checks that a server made.
fn checks(server: SocketAddr) -> u64 {
    let answer = Client::new(server).get("/nacos/actuator/prometheus").expect("an answer");
    let line = r#"nacre_checks_total{kind="tcp"} "#;
    let text = answer.text();
    let value = text.lines().find_map(|one| one.strip_prefix(line)).unwrap_or_else(|| panic!("no checks in {text}"));
    value.parse().expect("a number")
}

/// Takes connections until it is to stop.
fn listen(listener: TcpListener, stop: Arc<AtomicBool>) -> thread::JoinHandle<()> {
    listener.set_nonblocking(true).expect("a setting of a socket");
    thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            match listener.accept() {
                Ok(_) => {}
                Err(_) => thread::sleep(Duration::from_millis(10)),
            }
        }
    })
}

#[test]
fn the_owner_checks_and_the_others_follow() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port().to_string();
    let stop = Arc::new(AtomicBool::new(false));
    let listening = listen(listener, stop.clone());
    let trio = Trio::start(&[PROPERTIES, "management.endpoints.web.exposure.include=*\n"].concat());
    leader(&trio, &[0, 1, 2]);
    let pairs = [("serviceName", SERVICE), ("ip", "127.0.0.1"), ("port", &*port), ("ephemeral", "false")];
    let target = format!("/nacos/v1/ns/instance?{}", form(&pairs));
    let answer = Client::new(trio.addresses()[0]).send("POST", &target, &[], None).expect("an answer");
    assert_eq!(answer.text(), "ok");
    wait(&trio, true);
    stop.store(true, Ordering::Relaxed);
    listening.join().expect("the listener does not panic");
    let down = wait(&trio, false);
    let listener = TcpListener::bind(format!("127.0.0.1:{port}")).expect("the port again");
    let stop = Arc::new(AtomicBool::new(false));
    let listening = listen(listener, stop.clone());
    let up = wait(&trio, true);
    stop.store(true, Ordering::Relaxed);
    listening.join().expect("the listener does not panic");
    let counts = trio.addresses().map(checks);
    say(&format!("raft checks: {counts:?}; a dead instance is seen as such everywhere after {down:?}, back {up:?}"));
    let owner = hash(&format!("DEFAULT_GROUP@@{SERVICE}")) as usize % 3;
    for (number, count) in counts.into_iter().enumerate() {
        assert_eq!(count > 0, number == owner, "the owner is {owner}, and server {number} made {count} checks");
    }
}
