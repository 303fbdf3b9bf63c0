//! What the service manager hears from the real binary, which a socket of the test's own stands for.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::server::Server;

const TIMEOUT: Duration = Duration::from_secs(20);

/// The socket that `NOTIFY_SOCKET` names.
struct Manager {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Manager {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("a socket");
        socket.set_read_timeout(Some(TIMEOUT)).expect("a time limit");
        Self { socket, folder }
    }

    fn server(&self, variables: &[(&str, &str)]) -> Server {
        let mut server = Server::stopped(&[], |_| {});
        server.set_variable("NOTIFY_SOCKET", self.folder.path().join("notify").to_str().expect("a plain path"));
        variables.iter().for_each(|(name, value)| server.set_variable(name, value));
        server
    }

    /// The next message, which comes in time.
    fn next(&self) -> String {
        let mut bytes = [0; 4096];
        let length = self.socket.recv(&mut bytes).expect("a message in time");
        String::from_utf8(bytes[..length].to_vec()).expect("text")
    }

    /// The messages up to the one that has this line.
    fn until(&self, line: &str) -> Vec<String> {
        let mut heard: Vec<String> = Vec::new();
        while !heard.last().is_some_and(|last| has(last, line)) {
            heard.push(self.next());
        }
        heard
    }

    /// Forgets what has come up to now.
    fn drain(&self) {
        self.socket.set_nonblocking(true).expect("a socket");
        while self.socket.recv(&mut [0; 64]).is_ok() {}
        self.socket.set_nonblocking(false).expect("a socket");
    }
}

fn has(message: &str, line: &str) -> bool {
    message.lines().any(|one| one == line)
}

#[test]
fn a_start_a_reload_and_a_stop_are_told_in_order() {
    let manager = Manager::new();
    let mut server = manager.server(&[]);
    server.spawn();
    let start = manager.until("READY=1");
    assert!(start[0].contains("EXTEND_TIMEOUT_USEC=") && start[0].contains("STATUS="), "{start:?}");
    assert_eq!(start.iter().filter(|message| has(message, "READY=1")).count(), 1);
    assert!(has(start.last().expect("READY"), "STATUS=0 services, 0 instances"), "{start:?}");
    let ready = server.client().get("/nacos/v1/console/health/readiness").expect("READY=1 means that it answers");
    assert_eq!(ready.status, 200);
    server.configure("nacre.shutdown.drain-ms=40000");
    server.signal("HUP");
    let reload = manager.until("READY=1");
    assert!(has(&reload[0], "RELOADING=1") && reload[0].contains("MONOTONIC_USEC="), "{reload:?}");
    server.signal("TERM");
    let stop = manager.until("STOPPING=1");
    let last = stop.last().expect("STOPPING");
    assert!(has(last, "EXTEND_TIMEOUT_USEC=60000000"), "the drain, as it is now, and time for the store: {last}");
    assert!(!stop.iter().any(|message| message.contains("WATCHDOG=1")), "nobody asked for that: {stop:?}");
    assert!(server.wait_end(TIMEOUT).success());
}

#[test]
fn the_watchdog_is_fed_several_times_within_its_time() {
    let manager = Manager::new();
    let mut server = manager.server(&[("WATCHDOG_USEC", "600000")]);
    server.spawn();
    manager.until("READY=1");
    manager.until("WATCHDOG=1");
    let started = Instant::now();
    // What came while nobody read would seem to have come at once.
    manager.drain();
    for _ in 0..6 {
        manager.until("WATCHDOG=1");
    }
    let took = started.elapsed();
    assert!(took > Duration::from_millis(600) && took < Duration::from_secs(6), "6 meals in {took:?}");
    // Another process' watchdog is none of ours.
    server.signal("TERM");
    manager.until("STOPPING=1");
    assert!(server.wait_end(TIMEOUT).success());
    server.set_variable("WATCHDOG_PID", "1");
    server.spawn();
    manager.until("READY=1");
    manager.socket.set_read_timeout(Some(Duration::from_millis(900))).expect("a time limit");
    assert!(manager.socket.recv(&mut [0; 64]).is_err(), "nothing is told");
}
