//! The server as a process: started by a command, stopped by a command or a signal.
//!
//! What a command starts is a process group of its own, so that a signal reaches the server also when a script started
//! it. Nothing else is ever signalled.

use std::fs::File;
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group, test_kill_process, test_kill_process_group};

use crate::config::flags::DrillFlags;
use crate::error::{Error, Result};
use crate::tools::client::Server;

const PAUSE: Duration = Duration::from_millis(2);
/// To find out whether anything listens.
const CONNECT: Duration = Duration::from_secs(2);
/// At the end, before SIGKILL.
const LAST_PATIENCE: Duration = Duration::from_secs(20);

/// How the server is stopped.
#[derive(Debug)]
enum Stop {
    Command(String),
    Signal(Signal),
}

/// The server under test.
#[derive(Debug)]
pub(super) struct Process {
    start: String,
    stop: Stop,
    /// Of a server that somebody else started.
    pid: Option<i32>,
    pid_file: Option<PathBuf>,
    /// What the start command began.
    child: Option<Child>,
    log: File,
    log_path: PathBuf,
    temporary: bool,
    leave_running: bool,
    address: std::net::SocketAddr,
}

fn signal(name: &str) -> Result<Signal> {
    let upper = name.to_ascii_uppercase();
    Ok(match upper.strip_prefix("SIG").unwrap_or(&upper) {
        "KILL" | "9" => Signal::KILL,
        "TERM" | "15" => Signal::TERM,
        "INT" | "2" => Signal::INT,
        "QUIT" | "3" => Signal::QUIT,
        "HUP" | "1" => Signal::HUP,
        "ABRT" | "6" => Signal::ABORT,
        _ => return Err(Error::Input(format!("--kill {name}: must be KILL, TERM, INT, QUIT, HUP or ABRT"))),
    })
}

/// The file for what the server says: the one that is named, or a new one that only this user can read.
fn output(named: Option<&Path>) -> Result<(File, PathBuf)> {
    let fault = |path: &Path, error: &dyn std::fmt::Display| {
        Error::Setup(format!("{} can't be written: {error}", path.display()))
    };
    match named {
        Some(path) => Ok((File::create(path).map_err(|error| fault(path, &error))?, path.to_owned())),
        None => {
            let made = tempfile::Builder::new().prefix("nacre-drill-").suffix(".log").tempfile();
            let made = made.map_err(|error| fault(&std::env::temp_dir(), &error))?;
            made.keep().map_err(|error| fault(&std::env::temp_dir(), &error))
        }
    }
}

impl Process {
    /// Nothing is started yet.
    ///
    /// # Errors
    /// [`Error::Input`] for an unknown signal; [`Error::Setup`] when the file for the output can't be made.
    pub(super) fn new(flags: &DrillFlags, server: &Server) -> Result<Self> {
        let stop = match &flags.stop {
            Some(command) => Stop::Command(command.clone()),
            None => Stop::Signal(signal(&flags.kill)?),
        };
        let (log, log_path) = output(flags.server_log.as_deref())?;
        Ok(Self {
            start: flags.start.clone(),
            stop,
            pid: flags.pid,
            pid_file: flags.pid_file.clone(),
            child: None,
            log,
            log_path,
            temporary: flags.server_log.is_none(),
            leave_running: flags.leave_running,
            address: server.address,
        })
    }

    /// Where its output goes.
    pub(super) fn log_path(&self) -> &Path {
        &self.log_path
    }

    /// Whether something listens where the server should.
    pub(super) fn listens(&self) -> bool {
        TcpStream::connect_timeout(&self.address, CONNECT).is_ok()
    }

    /// Runs the start command.
    ///
    /// # Errors
    /// [`Error::Setup`] when there is no shell.
    pub(super) fn start(&mut self) -> Result<()> {
        // The one that was given before is dead.
        self.pid = None;
        self.child = Some(self.spawn(&self.start)?);
        Ok(())
    }

    fn spawn(&self, command: &str) -> Result<Child> {
        let fault = |error: std::io::Error| Error::Setup(format!("sh -c {command:?} can't be run: {error}"));
        let (out, err) = (self.log.try_clone().map_err(fault)?, self.log.try_clone().map_err(fault)?);
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command).stdin(Stdio::null()).stdout(out).stderr(err).process_group(0);
        // The drill's own login is none of the server's business.
        shell.env_remove("NACRE_PASSWORD");
        shell.spawn().map_err(fault)
    }

    /// How what was started ended, if all of it has. A script that did its work may have left a server behind elsewhere.
    pub(super) fn ended(&mut self) -> Option<ExitStatus> {
        let child = self.child.as_mut()?;
        let status = child.try_wait().ok().flatten()?;
        let group = Pid::from_child(child);
        (!group_lives(group)).then_some(status)
    }

    /// Stops the server and waits until it is gone.
    ///
    /// # Errors
    /// [`Error::Setup`] when it can't be stopped, or not in time.
    pub(super) async fn stop(&mut self, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let given = self.given()?;
        match &self.stop {
            Stop::Command(command) => self.run(command, deadline).await?,
            Stop::Signal(signal) => self.send(*signal, given)?,
        }
        while !self.is_gone(given) {
            if Instant::now() >= deadline {
                return Err(Error::Setup(format!("the server still runs {} s after its stop", patience.as_secs())));
            }
            tokio::time::sleep(PAUSE).await;
        }
        self.child = None;
        Ok(())
    }

    /// The process that somebody else tells of.
    fn given(&self) -> Result<Option<Pid>> {
        let raw = match (&self.pid_file, self.pid) {
            (Some(file), _) => {
                let text = std::fs::read_to_string(file);
                let text = text.map_err(|error| Error::Setup(format!("{}: {error}", file.display())))?;
                let pid = text.trim().parse().ok().filter(|pid: &i32| *pid > 1);
                Some(pid.ok_or_else(|| Error::Setup(format!("{} holds no process id", file.display())))?)
            }
            (None, pid) => pid,
        };
        Ok(raw.and_then(Pid::from_raw))
    }

    async fn run(&self, command: &str, deadline: Instant) -> Result<()> {
        let mut child = self.spawn(command)?;
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(Error::Setup(format!("--stop failed: {status}"))),
                Ok(None) if Instant::now() < deadline => tokio::time::sleep(PAUSE).await,
                Ok(None) => {
                    // It may have ended in this moment.
                    let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
                    return Err(Error::Setup("--stop does not end".into()));
                }
                Err(error) => return Err(Error::Setup(format!("--stop: {error}"))),
            }
        }
    }

    fn send(&self, signal: Signal, given: Option<Pid>) -> Result<()> {
        let sent = match (given, &self.child) {
            (Some(pid), _) => kill_process(pid, signal),
            (None, Some(child)) => kill_process_group(Pid::from_child(child), signal),
            (None, None) => return Err(Error::Input("there is no process to stop: give --pid or --pid-file".into())),
        };
        sent.map_err(|error| Error::Setup(format!("the signal can't be sent (--pid-file or --stop may help): {error}")))
    }

    fn is_gone(&mut self, given: Option<Pid>) -> bool {
        let leader = self.child.as_mut().is_none_or(|child| child.try_wait().is_ok_and(|status| status.is_some()));
        if let Some(pid) = given {
            return test_kill_process(pid).is_err() || is_zombie(pid);
        }
        // A command may come back before the server is gone that it stops.
        let asked = matches!(self.stop, Stop::Command(_));
        match &self.child {
            Some(child) => leader && !group_lives(Pid::from_child(child)) && !(asked && self.listens()),
            None => !self.listens(),
        }
    }

    /// Stops a server that is not reached by a signal to what was started: one that a script left elsewhere.
    ///
    /// # Errors
    /// As [`stop`](Self::stop).
    pub(super) async fn stop_elsewhere(&mut self, patience: Duration) -> Result<()> {
        let elsewhere = matches!(self.stop, Stop::Command(_)) || self.pid_file.is_some();
        if self.leave_running || !elsewhere {
            return Ok(());
        }
        if let Stop::Signal(signal) = &mut self.stop {
            *signal = Signal::TERM;
        }
        self.stop(patience).await
    }

    /// Stops what the drill started, unless it is to be left.
    pub(super) fn finish(&mut self, keep_log: bool) {
        if let Some(mut child) = self.child.take().filter(|_| !self.leave_running) {
            let group = Pid::from_child(&child);
            // Whoever has ended already can't be signalled.
            let _ = kill_process_group(group, Signal::TERM);
            let deadline = Instant::now() + LAST_PATIENCE;
            let gone = |child: &mut Child| child.try_wait().is_ok_and(|status| status.is_some()) && !group_lives(group);
            while !gone(&mut child) && Instant::now() < deadline {
                std::thread::sleep(PAUSE);
            }
            let _ = kill_process_group(group, Signal::KILL);
            let _ = child.wait();
        }
        let empty = self.log.metadata().is_ok_and(|log| log.len() == 0);
        if self.temporary && (empty || !keep_log) && !self.leave_running {
            let _ = std::fs::remove_file(&self.log_path);
        }
    }
}

impl Drop for Process {
    /// After an error: nothing that was started stays, its output does.
    fn drop(&mut self) {
        self.finish(true);
    }
}

/// Ended, and its parent has not noticed.
fn is_zombie(pid: Pid) -> bool {
    stat(&pid.as_raw_nonzero().to_string()).is_some_and(|(state, _)| state == 'Z')
}

/// State and process group of a process.
fn stat(pid: &str) -> Option<(char, i32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    Some((fields.next()?.chars().next()?, fields.nth(1)?.parse().ok()?))
}

/// Whether a process of this group runs. Members that have ended count until somebody waits for them, and in a
/// container that may be nobody: so a look at each of them decides.
fn group_lives(group: Pid) -> bool {
    if test_kill_process_group(group).is_err() {
        return false;
    }
    let Ok(processes) = std::fs::read_dir("/proc") else { return true };
    let names = processes.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut stats = names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter_map(|pid| stat(&pid));
    stats.any(|(state, of)| of == group.as_raw_nonzero().get() && !matches!(state, 'Z' | 'X'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(start: &str, stop: Option<&str>, folder: &Path) -> Process {
        let flags = DrillFlags {
            start: start.into(),
            stop: stop.map(str::to_owned),
            kill: "SIGKILL".into(),
            server_log: Some(folder.join("log")),
            ..DrillFlags::default()
        };
        // Nobody listens there.
        Process::new(&flags, &Server::parse("127.0.0.1:1", false).unwrap()).unwrap()
    }

    #[tokio::test]
    async fn a_script_is_stopped_with_all_that_it_started() {
        let folder = tempfile::tempdir().unwrap();
        let pids = folder.path().join("pids");
        let start = format!("sleep 600 & echo $! >{0}; sleep 601 & echo $! >>{0}; wait", pids.display());
        let mut process = process(&start, None, folder.path());
        process.start().unwrap();
        let read = || std::fs::read_to_string(&pids).unwrap_or_default();
        while read().lines().count() < 2 {
            tokio::time::sleep(PAUSE).await;
        }
        assert_eq!(process.ended(), None);
        process.stop(Duration::from_secs(20)).await.unwrap();
        for pid in read().lines().map(|line| Pid::from_raw(line.parse().unwrap()).unwrap()) {
            assert!(test_kill_process(pid).is_err() || is_zombie(pid), "{pid:?} lives");
        }
    }

    #[tokio::test]
    async fn commands_that_fail_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let mut failing = process("echo broken; exit 3", Some("exit 4"), folder.path());
        failing.start().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let status = loop {
            match failing.ended() {
                Some(status) => break status,
                None => assert!(Instant::now() < deadline),
            }
            tokio::time::sleep(PAUSE).await;
        };
        assert_eq!(status.code(), Some(3));
        assert_eq!(std::fs::read_to_string(failing.log_path()).unwrap(), "broken\n");
        let stopped = failing.stop(Duration::from_secs(20)).await;
        assert!(matches!(&stopped, Err(Error::Setup(text)) if text.contains("exit status: 4")), "{stopped:?}");
        let slow = process("", Some("sleep 600"), folder.path()).stop(Duration::from_millis(50)).await;
        assert!(matches!(&slow, Err(Error::Setup(text)) if text.contains("does not end")), "{slow:?}");
    }

    #[test]
    fn only_known_signals_are_taken() {
        assert_eq!(signal("sigterm"), Ok(Signal::TERM));
        assert!(signal("STOP").is_err() && signal("").is_err());
    }
}
