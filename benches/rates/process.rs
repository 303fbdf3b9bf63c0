//! The servers as child processes.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Result, bare, load};

const START_TIMEOUT: Duration = Duration::from_secs(30);

/// A running server. Dropping it kills the process.
pub(crate) struct Process {
    child: Child,
    /// Keeps the bare server going.
    _stdin: Option<ChildStdin>,
    log: Option<PathBuf>,
    pub(crate) address: SocketAddr,
}

impl Process {
    /// This program again, in its other role.
    pub(crate) fn bare() -> Result<Self> {
        let own = std::env::current_exe().map_err(|error| format!("can't find myself: {error}"))?;
        let mut command = Command::new(own);
        command.arg(bare::ROLE).stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = command.spawn().map_err(|error| format!("the bare server: {error}"))?;
        let mut process = Self { child, _stdin: None, log: None, address: SocketAddr::from(([127, 0, 0, 1], 0)) };
        process._stdin = process.child.stdin.take();
        let mut line = String::new();
        let stdout = process.child.stdout.take().ok_or("the bare server has no output")?;
        BufReader::new(stdout).read_line(&mut line).map_err(|error| format!("the bare server: {error}"))?;
        process.address = line.trim().parse().map_err(|_| "the bare server did not start")?;
        Ok(process)
    }

    /// The server with its home in `folder`, which is created, ready to answer.
    pub(crate) fn nacre(folder: &Path, durability: &str) -> Result<Self> {
        let home = folder.join("home");
        let path = folder.join("log");
        let fault = |error| format!("the server ({durability}): {error}");
        fs::create_dir_all(&home).map_err(fault)?;
        let log = File::create(&path).map_err(fault)?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_nacre"));
        // The settings of whoever runs this are not the defaults.
        for (name, _) in std::env::vars_os() {
            let upper = name.to_string_lossy().to_uppercase();
            if ["NACRE_", "NACOS_", "SERVER_", "RUST_LOG"].iter().any(|prefix| upper.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        command.args(["serve", "--bind", "127.0.0.1", "--port", "0", "--durability", durability, "--home"]).arg(&home);
        command.current_dir(folder).stdin(Stdio::null()).stdout(log.try_clone().map_err(fault)?).stderr(log);
        let child = command.spawn().map_err(fault)?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut process = Self { child, _stdin: None, log: Some(path), address };
        process.address = process.wait_for_address()?;
        Ok(process)
    }

    /// The log names the port when the server takes requests.
    fn wait_for_address(&mut self) -> Result<SocketAddr> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline && !load::stopping() {
            self.still_alive()?;
            if let Some(address) = announced(&self.log_text()) {
                return Ok(address);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("a server was not ready after {START_TIMEOUT:?}:\n{}", self.log_text()))
    }

    fn log_text(&self) -> String {
        self.log.as_ref().and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default()
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// An error that says how the process ended if it did.
    pub(crate) fn still_alive(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(format!("a server ended: {status}\n{}", self.log_text())),
            Err(error) => Err(format!("can't ask for a server: {error}")),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address in the line that says that the server has started.
fn announced(log: &str) -> Option<SocketAddr> {
    let line = log.split_inclusive('\n').find(|line| line.contains("started successfully") && line.ends_with('\n'))?;
    let start = line.find("127.0.0.1:")?;
    let text = line.get(start..)?;
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.' && c != ':').unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

/// Processor time of a process (`None`: this one) since its start, in µs, to within 10 ms. `None` where the system does
/// not tell as Linux does.
pub(crate) fn cpu_us(id: Option<u32>) -> Option<u64> {
    const TICK_US: u64 = 10_000;
    let name = id.map_or_else(|| "self".to_owned(), |id| id.to_string());
    let stat = fs::read_to_string(format!("/proc/{name}/stat")).ok()?;
    // The name of the program is in parentheses and may hold anything.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * TICK_US)
}
