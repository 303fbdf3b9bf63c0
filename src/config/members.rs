//! Members of a cluster as `conf/cluster.conf`, `nacos.member.list` and `--member` name them.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use super::{properties, value};
use crate::error::Error;

/// Port of members that are named without one.
const DEFAULT_PORT: u16 = 8848;
/// A longer list is none of members: each talks to all others.
const MAX_MEMBERS: usize = 1_000;

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// IP address or name; IPv6 without brackets.
    pub host: String,
    /// Its HTTP port.
    pub port: u16,
}

impl Member {
    /// Reads `host`, `host:port` or `[v6]:port`; `?raft_port=...` of older versions is ignored.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let allowed = || "host:port, such as 192.168.16.101:8848 or [2001:db8::1]:8848".to_owned();
        let address = text.split('?').next().unwrap_or_default().trim();
        if let Some(rest) = address.strip_prefix('[') {
            let (host, port) = rest.split_once(']').ok_or_else(allowed)?;
            let host: Ipv6Addr = host.parse().map_err(|_| allowed())?;
            let port = if port.is_empty() { None } else { Some(port.strip_prefix(':').ok_or_else(allowed)?) };
            return Ok(Self { host: host.to_string(), port: port_of(port).ok_or_else(allowed)? });
        }
        if let Ok(host) = address.parse::<Ipv6Addr>() {
            return Ok(Self { host: host.to_string(), port: DEFAULT_PORT });
        }
        let (host, port) = address.split_once(':').map_or((address, None), |(host, port)| (host, Some(port)));
        let host = value::address(host).map_err(|_| allowed())?;
        Ok(Self { host, port: port_of(port).ok_or_else(allowed)? })
    }

    /// Whether this is the node itself, as far as that shows without asking the network.
    pub(super) fn is_own(&self, ip: Option<&str>, bind: Option<IpAddr>, port: u16) -> bool {
        let same = |other: &str| self.host.eq_ignore_ascii_case(other.trim_matches(['[', ']']));
        let address = self.host.parse::<IpAddr>().ok();
        let loopback = address.map_or_else(|| same("localhost"), |ip| ip.is_loopback());
        self.port == port && (loopback || ip.is_some_and(same) || (address.is_some() && address == bind))
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

fn port_of(text: Option<&str>) -> Option<u16> {
    let Some(text) = text else { return Some(DEFAULT_PORT) };
    value::whole(text, 1, u64::from(u16::MAX)).ok().and_then(|port| u16::try_from(port).ok())
}

/// Members with commas between, blanks around them; each once.
pub(super) fn list(text: &str) -> Result<Vec<Member>, String> {
    let mut members = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        add(&mut members, Member::parse(part)?)?;
    }
    Ok(members)
}

fn add(members: &mut Vec<Member>, member: Member) -> Result<(), String> {
    if !members.contains(&member) {
        members.push(member);
    }
    if members.len() > MAX_MEMBERS { Err(format!("at most {MAX_MEMBERS} members")) } else { Ok(()) }
}

/// Members of a cluster.conf; one wrong entry makes all of it wrong, and the error is the number of its line and what is
/// the matter: half a list would be another cluster.
pub(super) fn file(text: &str) -> Result<Vec<Member>, (usize, String)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let mut members = Vec::new();
    for (number, line) in text.split(['\n', '\r']).enumerate() {
        let entries = line.split('#').next().unwrap_or_default();
        for entry in entries.split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let wrong = |allowed: String| (number + 1, format!("{} must be {allowed}", value::shown(entry)));
            let member = Member::parse(entry).map_err(wrong)?;
            add(&mut members, member).map_err(|allowed| (number + 1, format!("there may be {allowed}")))?;
        }
    }
    Ok(members)
}

/// The members that the file at `path` names, each once; `None` when there is no such file.
///
/// # Errors
/// [`Error::Setup`] of one line when it can't be read (or has more than 1 MiB) or an entry is wrong.
pub fn read_file(path: &Path) -> Result<Option<Vec<Member>>, Error> {
    let Some(bytes) = properties::read_file(path)? else { return Ok(None) };
    // Comments may be in any encoding.
    let members = file(&String::from_utf8_lossy(&bytes));
    members.map(Some).map_err(|(line, fault)| Error::Setup(format!("{} line {line}: {fault}", path.display())))
}
