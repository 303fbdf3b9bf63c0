//! Servers as child processes, and what the system says of them.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};

const START_TIMEOUT: Duration = Duration::from_secs(120);
/// Between two looks whether a server has started.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// Shows the server's own figures; as an environment variable a server without that property ignores it.
const EXPOSE: (&str, &str) = ("MANAGEMENT_ENDPOINTS_WEB_EXPOSURE_INCLUDE", "health,prometheus");

/// A running server. Dropping it kills the process.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Keeps the bare server going.
    _stdin: Option<ChildStdin>,
    log: Option<PathBuf>,
    /// Where it listens.
    pub address: SocketAddr,
    /// From the start of the process until it said that it takes requests.
    pub started_in: Duration,
}

impl Process {
    /// `program`, a nacre, as the server to compare with.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it does not start.
    pub fn bare(program: &Path) -> Result<Self> {
        let fault = |why: &dyn std::fmt::Display| Error::Unavailable(format!("the bare server does not start: {why}"));
        let began = Instant::now();
        let mut command = Command::new(program);
        command.args(["bench", "--be-the-bare-server"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|error| fault(&error))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut process = Self { child, _stdin: stdin, log: None, address, started_in: Duration::ZERO };
        let mut line = String::new();
        let stdout = stdout.ok_or_else(|| fault(&"no output"))?;
        BufReader::new(stdout).read_line(&mut line).map_err(|error| fault(&error))?;
        process.address = line.trim().parse().map_err(|_| fault(&"it names no port"))?;
        process.started_in = began.elapsed();
        Ok(process)
    }

    /// `program`, a nacre, on default settings but for the durability, with its home and its log in `folder`, which is
    /// created if missing. Returns when it takes requests.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it does not start, or `stop` becomes true before.
    pub fn nacre(program: &Path, folder: &Path, durability: &str, stop: &Arc<AtomicBool>) -> Result<Self> {
        let fault = |why: &dyn std::fmt::Display| {
            Error::Unavailable(format!("the server ({durability}) does not start: {why}"))
        };
        let (home, path) = (folder.join("home"), folder.join("log"));
        fs::create_dir_all(&home).map_err(|error| fault(&error))?;
        let log = File::create(&path).map_err(|error| fault(&error))?;
        let mut command = Command::new(program);
        // The settings of whoever runs this are not the defaults.
        for (name, _) in std::env::vars_os() {
            let upper = name.to_string_lossy().to_uppercase();
            if ["NACRE_", "NACOS_", "SERVER_", "MANAGEMENT_", "RUST_LOG"].iter().any(|prefix| upper.starts_with(prefix))
            {
                command.env_remove(name);
            }
        }
        command.args(["serve", "--bind", "127.0.0.1", "--port", "0", "--durability", durability, "--home"]).arg(&home);
        command.env(EXPOSE.0, EXPOSE.1).current_dir(folder).stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(|error| fault(&error))?).stderr(log);
        let began = Instant::now();
        let child = command.spawn().map_err(|error| fault(&error))?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut process = Self { child, _stdin: None, log: Some(path), address, started_in: Duration::ZERO };
        process.address = process.wait_for_address(stop)?;
        process.started_in = began.elapsed();
        Ok(process)
    }

    /// The log names the port when the server takes requests.
    fn wait_for_address(&mut self, stop: &AtomicBool) -> Result<SocketAddr> {
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if stop.load(Ordering::Relaxed) {
                return Err(Error::Unavailable("interrupted".into()));
            }
            self.still_alive()?;
            if let Some(address) = announced(&self.log_text()) {
                return Ok(address);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        Err(Error::Unavailable(format!("a server was not ready after {START_TIMEOUT:?}: {}", self.last_words())))
    }

    fn log_text(&self) -> String {
        self.log
            .as_ref()
            .and_then(|path| fs::read(path).ok())
            .map_or_else(String::new, |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The end of its log, on one line.
    fn last_words(&self) -> String {
        let log = self.log_text();
        let mut lines: Vec<&str> = log.lines().rev().take(5).collect();
        lines.reverse();
        lines.join(" | ")
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Nothing while it runs.
    ///
    /// # Errors
    /// [`Error::Unavailable`] that says how the process ended if it did.
    pub fn still_alive(&mut self) -> Result<()> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(Error::Unavailable(format!("a server ended: {status}: {}", self.last_words()))),
            Err(error) => Err(Error::Unavailable(format!("can't ask for a server: {error}"))),
        }
    }

    /// Kills it, as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) {
        // It may have ended by itself already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
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
pub fn cpu_us(id: Option<u32>) -> Option<u64> {
    const TICK_US: u64 = 10_000;
    let name = id.map_or_else(|| "self".to_owned(), |id| id.to_string());
    let stat = fs::read_to_string(format!("/proc/{name}/stat")).ok()?;
    // The name of the program is in parentheses and may hold anything.
    let mut fields = stat.get(stat.rfind(')')? + 1..)?.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) * TICK_US)
}

/// Bytes that a process has had written to the disk: whole pages, when they are first changed.
pub(super) fn written_bytes(id: u32) -> Option<u64> {
    number_after(&fs::read_to_string(format!("/proc/{id}/io")).ok()?, "write_bytes:")
}

/// Memory that a process has in use, in bytes.
pub(super) fn memory_bytes(id: u32) -> Option<u64> {
    Some(1_024 * number_after(&fs::read_to_string(format!("/proc/{id}/status")).ok()?, "VmRSS:")?)
}

/// The number in the line that begins with `name`.
pub(super) fn number_after(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_a_whole_line_only() {
        let line = "INFO Nacos started successfully in stand alone mode on 127.0.0.1:18848, x";
        assert_eq!(announced(line), None, "it may go on");
        assert_eq!(announced(&format!("{line}\nmore")), Some(SocketAddr::from(([127, 0, 0, 1], 18_848))));
        assert_eq!(announced("127.0.0.1:5\n"), None);
    }

    #[test]
    fn the_system_tells_of_processes() {
        assert_eq!(number_after("a: 1\nwrite_bytes: 4096\ncancelled_write_bytes: 7\n", "write_bytes:"), Some(4_096));
        assert!(cpu_us(None).is_some() && memory_bytes(std::process::id()).is_some_and(|bytes| bytes > 100_000));
    }
}
