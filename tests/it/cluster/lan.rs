//! A network of its own for each of three servers, so that they can be cut off from each other, one way or both. The
//! test runs itself in a network namespace with a bridge, where it reaches all of them at any time.
//!
//! A way is cut by a wrong hardware address for the other end: frames leave and nobody takes them, as on a real wire.

use std::io::Read;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::trio::{Trio, within};
use crate::population::{say, skip};

/// Names the scene to the test that runs in the namespace.
const SCENE: &str = "SCENE_IN_OWN_NETWORK";
/// Of a whole test; a process that nobody needs any more ends itself then.
const LIMIT: Duration = Duration::from_secs(180);
const NOBODY: &str = "02:00:00:00:0f:0f";

fn output(program: &str, arguments: &[&str]) -> Result<Output, String> {
    let result = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = result.map_err(|error| format!("{program}: {error}"))?;
    let fault = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() { Ok(output) } else { Err(format!("{program} {}: {fault}", arguments.join(" "))) }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// What is to be done by this process, if it runs in a namespace for a scene.
pub(crate) fn scene() -> Option<String> {
    std::env::var(SCENE).ok()
}

/// Runs `test`, by its whole name, once for each of `scenes`, all at the same time, each in a namespace of its own.
pub(crate) fn run(test: &str, scenes: &[&str]) {
    let user: &[&str] = if is_root() { &[] } else { &["--map-root-user"] };
    let set_up = "ip link set lo up && ip link add hub type bridge && ip link add port0 type veth peer name port9";
    let mut probe = vec!["--net"];
    probe.extend(user);
    probe.extend(["sh", "-c", set_up]);
    if let Err(why) = output("unshare", &probe).and_then(|_| output("nsenter", &["--version"])) {
        return skip(test, &format!("no network of its own can be made: {}", why.trim()));
    }
    thread::scope(|scope| {
        for name in scenes {
            scope.spawn(move || run_one(test, name, user));
        }
    });
}

fn run_one(test: &str, name: &str, user: &[&str]) {
    let own = std::env::current_exe().expect("a path of this program");
    let mut command = Command::new("unshare");
    command.arg("--net").args(user).arg(own).args(["--exact", test, "--nocapture"]).env(SCENE, name);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().expect("unshare starts");
    let mut stdout = child.stdout.take().expect("its output");
    let reader = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text).unwrap_or_default()
    });
    let deadline = Instant::now() + LIMIT;
    let status = loop {
        if let Some(status) = child.try_wait().expect("a child to ask") {
            break Some(status);
        }
        if Instant::now() > deadline {
            child.kill().expect("a child to kill");
            child.wait().expect("it ends");
            break None;
        }
        thread::sleep(Duration::from_millis(20));
    };
    let text = reader.join().expect("the reader does not panic");
    assert!(status.is_some_and(|status| status.success()), "{name}, in a network of its own: {status:?}\n{text}");
    assert!(text.contains("1 passed"), "{test} did not run:\n{text}");
}

/// Three servers, each in a namespace of its own that a process holds.
pub(crate) struct Lan {
    pub(crate) trio: Trio,
    holders: Vec<Holder>,
}

struct Holder(Child);

impl Holder {
    fn new() -> Self {
        let seconds = LIMIT.as_secs().to_string();
        Self(Command::new("unshare").args(["--net", "sleep", &seconds]).spawn().expect("unshare starts"))
    }

    fn namespace(&self) -> String {
        format!("--net=/proc/{}/ns/net", self.0.id())
    }

    /// Runs `ip` there.
    fn ip(&self, arguments: &str) {
        let namespace = self.namespace();
        let words: Vec<&str> = [namespace.as_str(), "ip"].into_iter().chain(arguments.split(' ')).collect();
        output("nsenter", &words).unwrap_or_else(|why| panic!("{why}"));
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn address(number: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, 98, 0, u8::try_from(number + 1).expect("a few servers"))
}

fn ip(arguments: &str) {
    let words: Vec<&str> = arguments.split(' ').collect();
    output("ip", &words).unwrap_or_else(|why| panic!("{why}"));
}

impl Lan {
    /// In the namespace of the test: the bridge, three namespaces, a server in each. They see each other.
    pub(crate) fn start(properties: &str) -> Self {
        ip("link set lo up");
        ip("link add hub type bridge");
        ip("addr add 10.98.0.254/24 dev hub");
        ip("link set hub up");
        let mut holders = Vec::new();
        let trio = Trio::stopped(properties, |number, server| {
            let holder = Holder::new();
            holder.wait_apart();
            ip(&format!("link add port{number} type veth peer name eth0 netns {}", holder.0.id()));
            ip(&format!("link set port{number} master hub up"));
            holder.ip("link set lo up");
            holder.ip(&format!("addr add {}/24 dev eth0", address(number)));
            holder.ip("link set eth0 up");
            server.move_to(address(number), &["nsenter", &holder.namespace()]);
            holders.push(holder);
            address(number)
        });
        Self { trio: trio.started(), holders }
    }

    /// From now on nothing that `from` sends arrives at `to`.
    pub(crate) fn cut(&self, from: usize, to: usize) {
        self.holders[from].ip(&format!("neigh replace {} lladdr {NOBODY} dev eth0 nud permanent", address(to)));
    }

    /// Undoes [`cut`](Self::cut).
    pub(crate) fn heal(&self, from: usize, to: usize) {
        self.holders[from].ip(&format!("neigh del {} dev eth0", address(to)));
    }
}

impl Holder {
    /// Waits until its namespace is another one than that of this process.
    fn wait_apart(&self) {
        let own = std::fs::read_link("/proc/self/ns/net").expect("a namespace");
        within(Duration::from_secs(10), "a namespace of its own", || {
            let its = std::fs::read_link(format!("/proc/{}/ns/net", self.0.id())).map_err(|error| error.to_string())?;
            if its == own { Err("it is the same".to_owned()) } else { Ok(()) }
        });
    }
}

/// A line of a test that runs in the namespace.
pub(crate) fn tell(text: &str) {
    say(&format!("cluster partition test: {text}"));
}
