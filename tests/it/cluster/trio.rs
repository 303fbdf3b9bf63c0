//! Three servers that name each other in conf/cluster.conf.

use std::net::{Ipv4Addr, SocketAddr};
use std::thread;
use std::time::{Duration, Instant};

use nacre::cluster::ownership::hash;
use serde_json::Value;

use crate::client::Client;
use crate::server::Server;

/// Until all of them see each other.
const UP_LIMIT: Duration = Duration::from_secs(30);

/// Their order is that of their addresses as texts, so the place of one is also its place in the list of owners.
pub(crate) struct Trio {
    pub(crate) servers: [Server; 3],
}

/// What cluster.conf says.
pub(crate) fn conf(addresses: &[SocketAddr]) -> String {
    addresses.iter().map(|address| format!("{address}\n")).collect()
}

/// Names for cluster.conf in the home of a server that does not run yet.
pub(crate) fn name_members(server: &Server, addresses: &[SocketAddr]) {
    std::fs::create_dir_all(server.home().join("conf")).expect("a folder for the configuration");
    std::fs::write(server.home().join("conf/cluster.conf"), conf(addresses)).expect("a file of members");
}

/// The members as a server lists them: address and state.
pub(crate) fn states(server: SocketAddr) -> Option<Vec<(String, String)>> {
    let answer = Client::new(server).get("/nacos/v1/core/cluster/nodes").ok()?;
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    Some(body["data"].as_array()?.iter().map(|node| (word(&node["address"]), word(&node["state"]))).collect())
}

/// The addresses that a server counts as healthy.
pub(crate) fn healthy(server: SocketAddr) -> Option<Vec<String>> {
    let answer = Client::new(server).get("/nacos/v1/core/cluster/simple/nodes").ok()?;
    let body: Value = serde_json::from_slice(&answer.body).ok()?;
    let mut healthy: Vec<String> = serde_json::from_value(body["data"].clone()).ok()?;
    healthy.sort();
    Some(healthy)
}

/// Whether clients are served.
pub(crate) fn serves(server: SocketAddr) -> bool {
    let answer = Client::new(server).get("/nacos/v1/ns/instance/list?serviceName=nobody");
    answer.is_ok_and(|answer| answer.status == 200)
}

/// A name of a service, without its group, whose owner is member `place` of `count` when all are up.
pub(crate) fn owned_by(place: usize, count: usize, hint: &str) -> String {
    let name = |number: u32| format!("{hint}-{number}");
    let owner = |name: &String| hash(&format!("DEFAULT_GROUP@@{name}")) as usize % count;
    (0..).map(name).find(|name| owner(name) == place).expect("every member owns something")
}

/// Repeats `probe` until it says yes; how long that took.
pub(crate) fn within(limit: Duration, what: &str, mut probe: impl FnMut() -> Result<(), String>) -> Duration {
    let began = Instant::now();
    loop {
        match probe() {
            Ok(()) => return began.elapsed(),
            Err(why) => assert!(began.elapsed() < limit, "{what}: not within {limit:?}: {why}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

impl Trio {
    /// Three servers on the loopback interface that see each other.
    pub(crate) fn start(properties: &str) -> Self {
        let trio = Self::stopped(properties, |_, _| Ipv4Addr::LOCALHOST);
        trio.started()
    }

    /// Three servers that don't run yet, on what `place` says and does.
    pub(crate) fn stopped(properties: &str, mut place: impl FnMut(usize, &mut Server) -> Ipv4Addr) -> Self {
        let mut servers = [0, 1, 2].map(|number| {
            let mut server = Server::stopped(&[], |_| {});
            let host = place(number, &mut server);
            server.add_flag("--ip");
            server.add_flag(&host.to_string());
            server.configure(properties);
            server
        });
        servers.sort_by_key(|server| server.address().to_string());
        let addresses = servers.each_ref().map(Server::address);
        servers.iter().for_each(|server| name_members(server, &addresses));
        Self { servers }
    }

    /// Starts all, and waits until they see each other.
    pub(crate) fn started(mut self) -> Self {
        self.start_again(&[0, 1, 2]);
        self
    }

    pub(crate) fn addresses(&self) -> [SocketAddr; 3] {
        self.servers.each_ref().map(Server::address)
    }

    /// SIGKILL for these, at the same moment.
    pub(crate) fn kill9(&mut self, numbers: &[usize]) {
        thread::scope(|scope| {
            for (number, server) in self.servers.iter_mut().enumerate() {
                if numbers.contains(&number) {
                    scope.spawn(|| server.kill9());
                }
            }
        });
    }

    /// Starts these, and waits until everybody sees everybody and serves; how long that took.
    pub(crate) fn start_again(&mut self, numbers: &[usize]) -> Duration {
        numbers.iter().for_each(|number| self.servers[*number].spawn());
        let began = Instant::now();
        for number in numbers {
            self.servers[*number].wait_ready().unwrap_or_else(|reason| panic!("{reason}"));
        }
        self.wait_up();
        began.elapsed()
    }

    /// Waits until everybody sees everybody, and serves clients.
    pub(crate) fn wait_up(&self) -> Duration {
        let mut all = self.addresses().map(|address| address.to_string()).to_vec();
        all.sort();
        within(UP_LIMIT, "all three are up", || {
            for address in self.addresses() {
                let seen = states(address).unwrap_or_default();
                let wanted: Vec<_> = all.iter().map(|address| (address.clone(), "UP".to_owned())).collect();
                if seen != wanted || healthy(address).as_ref() != Some(&all) {
                    return Err(format!("{address} sees {seen:?}"));
                }
                if !serves(address) {
                    return Err(format!("{address} serves no clients"));
                }
            }
            Ok(())
        })
    }
}
