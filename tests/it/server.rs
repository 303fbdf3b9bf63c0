//! The real binary as a child process, with a home of its own that outlives restarts.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::client::Client;
use crate::dice::Dice;

const START_TIMEOUT: Duration = Duration::from_secs(20);
const STOP_TIMEOUT: Duration = Duration::from_secs(20);
/// How often another port is tried when the server ends before it is ready.
const ATTEMPTS: usize = 3;
/// Bytes of the captured output that a failure shows.
const SHOWN: usize = 8_000;

/// A running (or killed) server. Dropping it kills the process it started, and shows its output if the test failed.
pub(crate) struct Server {
    child: Option<Child>,
    folder: TempDir,
    port: u16,
    flags: Vec<String>,
    environment: Vec<(String, String)>,
    host: Ipv4Addr,
    /// Program and arguments that run the server as their last words.
    through: Vec<String>,
}

impl Server {
    /// Starts a server with an empty home and waits until it is ready.
    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, |_| {})
    }

    /// Starts a server with these lines in the configuration file of its home and waits until it is ready.
    pub(crate) fn configured(flags: &[&str], properties: &str) -> Self {
        Self::start_with(flags, |home| {
            fs::create_dir(home.join("conf")).expect("a folder for the configuration");
            fs::write(home.join("conf/application.properties"), properties).expect("a configuration file");
        })
    }

    /// Starts a server on a home that `fill` has put something into, and waits until it is ready.
    pub(crate) fn start_with(flags: &[&str], fill: impl FnOnce(&Path)) -> Self {
        let mut server = Self::stopped(flags, fill);
        for attempt in 1.. {
            server.spawn();
            match server.wait_ready() {
                Ok(()) => break,
                Err(reason) if attempt == ATTEMPTS => panic!("{reason}"),
                Err(_) => server.kill9(),
            }
            // Somebody else may have taken the port between the check and the server's bind.
            server.port = free_port();
        }
        server
    }

    /// A server that does not run yet, on a home that `fill` has put something into.
    pub(crate) fn stopped(flags: &[&str], fill: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let (environment, through) = (Vec::new(), Vec::new());
        let host = Ipv4Addr::LOCALHOST;
        let server = Self { child: None, folder, port: free_port(), flags, environment, host, through };
        fs::create_dir(server.home()).expect("a home folder");
        fill(&server.home());
        server
    }

    /// Sets a variable of the environment, for the next start.
    pub(crate) fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Adds a flag, for the next start.
    pub(crate) fn add_flag(&mut self, flag: &str) {
        self.flags.push(flag.to_owned());
    }

    /// From the next start on it listens at `host`, and the process is started by the words `through`, which must become
    /// it: `nsenter` does.
    pub(crate) fn move_to(&mut self, host: Ipv4Addr, through: &[&str]) {
        self.host = host;
        self.through = through.iter().map(|word| (*word).to_owned()).collect();
    }

    /// Replaces the configuration file, for the next start.
    pub(crate) fn configure(&self, properties: &str) {
        let conf = self.home().join("conf");
        fs::create_dir_all(&conf).expect("a folder for the configuration");
        fs::write(conf.join("application.properties"), properties).expect("a configuration file");
    }

    /// Starts the process again on the same home and port, without waiting for anything.
    pub(crate) fn spawn(&mut self) {
        assert!(self.child.is_none(), "the server runs already");
        let log = File::options().create(true).append(true).open(self.log_path()).expect("a file for the output");
        let mut words = self.through.iter().map(String::as_str).chain([env!("CARGO_BIN_EXE_nacre")]);
        let mut command = Command::new(words.next().expect("a program"));
        command.args(words);
        for (name, _) in std::env::vars_os() {
            let upper = name.to_string_lossy().to_uppercase();
            if upper.starts_with("NACRE_") || upper.starts_with("NACOS_") {
                command.env_remove(name);
            }
        }
        command.args(["--port", &self.port.to_string(), "--bind", &self.host.to_string(), "--home"]).arg(self.home());
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.args(&self.flags).current_dir(self.folder.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a second handle")).stderr(log);
        self.child = Some(command.spawn().expect("the binary starts"));
    }

    /// [`spawn`](Self::spawn), then waits until it is ready.
    pub(crate) fn restart(&mut self) {
        self.spawn();
        self.wait_ready().unwrap_or_else(|reason| panic!("{reason}"));
    }

    /// Waits until readiness answers 200; says why it did not.
    pub(crate) fn wait_ready(&mut self) -> Result<(), String> {
        let deadline = Instant::now() + START_TIMEOUT;
        let mut last = String::new();
        while Instant::now() < deadline {
            if let Some(status) = self.ended() {
                return Err(format!("the server ended before it was ready: {status}\n{}", self.log()));
            }
            match self.client().get("/nacos/v1/console/health/readiness") {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => last = format!("{} {}", answer.status, answer.text()),
                Err(error) => last = error.to_string(),
            }
            thread::sleep(Duration::from_millis(10));
        }
        Err(format!("the server was not ready after {START_TIMEOUT:?}: {last}\n{}", self.log()))
    }

    /// SIGKILL; nothing to do when it does not run.
    pub(crate) fn kill9(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself already.
            let _ = child.kill();
            child.wait().expect("the child ends");
        }
    }

    /// SIGTERM; waits for the end and returns how it ended.
    pub(crate) fn term(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait_end(STOP_TIMEOUT)
    }

    /// Waits for the end and returns how it ended.
    pub(crate) fn wait_end(&mut self, limit: Duration) -> ExitStatus {
        let mut child = self.child.take().expect("a running server");
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait().expect("a child to ask") {
                return status;
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.child = Some(child);
        panic!("the server still ran after {limit:?}");
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from((self.host, self.port))
    }

    /// A new client of this server, which connects at its first request.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.address())
    }

    /// The id of the running process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().expect("a running server").id()
    }

    /// How the process ended, if it did.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().expect("a child to ask"))
    }

    /// Sends a signal, by its name without SIG.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status()
            .expect("the command kill");
        assert!(sent.success(), "kill -{name} failed: {sent}");
    }

    /// A value in KiB of /proc/PID/status, such as `VmRSS`.
    pub(crate) fn memory_kib(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a running server");
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).expect("a known name");
        line.trim().trim_end_matches(" kB").parse().expect("a number of KiB")
    }

    /// What the last start found, as the server tells it.
    pub(crate) fn restore_report(&self) -> Value {
        let answer = self.client().get("/nacos/v1/ns/operator/restore").expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        serde_json::from_slice(&answer.body).expect("the report is JSON")
    }

    /// The folder given as `--home`.
    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("output.txt")
    }

    /// All that the process printed, all runs together.
    pub(crate) fn whole_log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// The end of what the process printed, all runs together.
    pub(crate) fn log(&self) -> String {
        tail(&self.log_path())
    }
}

fn tail(file: &Path) -> String {
    let bytes = fs::read(file).unwrap_or_default();
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(SHOWN)..]).into_owned()
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill9();
        if thread::panicking() {
            eprintln!("--- output of the server on port {} ---\n{}---", self.port, self.log());
        }
    }
}

/// A port that can be bound now. Below the range that systems take client ports from: one of those could be in use as
/// the near end of a test's own connection when a killed server wants its port back.
pub(crate) fn free_port() -> u16 {
    static TAKEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());
    let mut dice = Dice::fresh();
    for _ in 0..1_000 {
        let port = u16::try_from(dice.within(10_240, 32_000)).expect("a port");
        let free = TcpListener::bind(("127.0.0.1", port)).is_ok();
        if free && TAKEN.lock().expect("no test panics with the lock").insert(port) {
            return port;
        }
    }
    panic!("no free port");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_comes_back_on_its_port_however_it_ended() {
        let mut server = Server::start(&[]);
        let address = server.address();
        server.kill9();
        assert!(server.client().get("/nacos/v1/console/health/readiness").is_err(), "a killed server answers");
        server.restart();
        let status = server.term();
        assert!(status.success(), "after SIGTERM: {status}\n{}", server.log());
        server.restart();
        assert_eq!(server.address(), address);
        assert!(fs::read_dir(server.home()).expect("a home").next().is_some(), "nothing was written below --home");
    }
}
