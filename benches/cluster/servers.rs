//! Three servers as child processes that name each other in conf/cluster.conf.

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::client::Client;

const START_TIMEOUT: Duration = Duration::from_secs(60);
/// Below the range from which systems take the near ends of connections.
const PORTS: std::ops::Range<u16> = 10_240..32_000;

/// One server. Dropping it kills the process.
pub(crate) struct Server {
    child: Option<Child>,
    home: PathBuf,
    pub(crate) address: SocketAddr,
}

impl Server {
    /// Starts the process, without waiting for anything.
    pub(crate) fn spawn(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.home.join("output"));
        let log = log.map_err(|error| format!("no file for the output: {error}"))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_nacre"));
        // The settings of whoever runs this are not the defaults.
        for (name, _) in std::env::vars_os() {
            let upper = name.to_string_lossy().to_uppercase();
            if ["NACRE_", "NACOS_", "SERVER_", "MANAGEMENT_", "RUST_LOG"].iter().any(|prefix| upper.starts_with(prefix))
            {
                command.env_remove(name);
            }
        }
        command.env("MANAGEMENT_ENDPOINTS_WEB_EXPOSURE_INCLUDE", "prometheus");
        command.args(["--bind", "127.0.0.1", "--ip", "127.0.0.1", "--port", &self.address.port().to_string()]);
        command.arg("--home").arg(&self.home).current_dir(&self.home).stdin(Stdio::null());
        command.stdout(log.try_clone().map_err(|error| error.to_string())?).stderr(log);
        self.child = Some(command.spawn().map_err(|error| format!("a server does not start: {error}"))?);
        Ok(())
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Takes its data away.
    pub(crate) fn forget(&self) -> Result<()> {
        fs::remove_dir_all(self.home.join("data")).map_err(|error| format!("the data can't be removed: {error}"))
    }

    pub(crate) fn id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    fn serves(&mut self) -> Result<bool> {
        let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
        if let Some(status) = ended {
            let log = fs::read_to_string(self.home.join("output")).unwrap_or_default();
            return Err(format!("a server has ended: {status}: {log}"));
        }
        let answer = Client::new(self.address).get("/nacos/v1/ns/instance/list?serviceName=nobody");
        Ok(answer.is_ok_and(|answer| answer.status == 200))
    }

    /// Waits until it serves clients.
    pub(crate) fn wait(&mut self) -> Result<()> {
        let began = Instant::now();
        while !self.serves()? {
            if began.elapsed() > START_TIMEOUT {
                return Err(format!("a server does not serve after {START_TIMEOUT:?}"));
            }
            thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port(from: u16) -> Result<u16> {
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    (from..PORTS.end).find(free).ok_or_else(|| "no free port".to_owned())
}

/// So many that serve, with their homes in `folder`; one stands alone.
pub(crate) fn start(folder: &Path, count: usize) -> Result<Vec<Server>> {
    let fault = |error: std::io::Error| format!("no home for a server: {error}");
    let spread = u16::try_from(std::process::id() % 20_000).unwrap_or_default();
    let mut next = PORTS.start + spread;
    let mut servers = Vec::new();
    for number in 0..count {
        let port = free_port(next)?;
        next = port + 1;
        let home = folder.join(number.to_string());
        fs::create_dir_all(home.join("conf")).map_err(fault)?;
        servers.push(Server { child: None, home, address: SocketAddr::from(([127, 0, 0, 1], port)) });
    }
    let members: String = servers.iter().map(|server| format!("{}\n", server.address)).collect();
    for server in &mut servers {
        if count > 1 {
            fs::write(server.home.join("conf/cluster.conf"), &members).map_err(fault)?;
        }
        server.spawn()?;
    }
    servers.iter_mut().try_for_each(Server::wait)?;
    Ok(servers)
}
