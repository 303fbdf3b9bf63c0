//! A server of the cluster as the others know it (`spec/members.md` 2 and 3).

use super::peer::Standing;

/// How far below the HTTP port the port of the consensus protocol is.
const RAFT_PORT_OFFSET: i32 = 1_000;

/// Whether a member can be counted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not used; other servers may report it of themselves.
    Starting,
    /// It answers.
    Up,
    /// It failed to answer lately; still counted on.
    Suspicious,
    /// It is not there.
    Down,
    /// Not used; other servers may report it of themselves.
    Isolation,
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// IP address or name; IPv6 in brackets.
    pub ip: String,
    /// HTTP port.
    pub port: u16,
    /// As this server sees it.
    pub state: State,
    /// Calls to it that failed one after the other.
    pub failures: u32,
    /// What it reported of itself.
    pub extend: Extend,
}

/// What a member reports beside its address; each report replaces all of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Extend {
    /// When a report about it last came, epoch ms.
    pub refreshed_ms: Option<u64>,
    /// Port of its consensus protocol; `None` is the usual one, see [`Member::raft_port`].
    pub raft_port: Option<String>,
    /// Version of the API; `None` until it has reported.
    pub version: Option<String>,
    /// State of its consensus groups: the JSON value, compact.
    pub raft_meta: Option<String>,
    /// Only servers of this kind have it.
    pub standing: Option<Standing>,
    /// What else was reported (`site`, `adWeight`, `weight`): name, and the JSON value, compact.
    pub others: Vec<(String, String)>,
}

impl Member {
    /// The member on `host` (IPv6 with or without brackets), up.
    pub fn new(host: &str, port: u16) -> Self {
        let bare = host.trim_matches(['[', ']']);
        let ip = if bare.contains(':') { format!("[{bare}]") } else { bare.to_owned() };
        Self { ip, port, state: State::Up, failures: 0, extend: Extend::default() }
    }

    /// `ip:port`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.ip, self.port)
    }

    /// What it says about the port of its consensus protocol; not bounded to ports, as in the reference.
    pub fn raft_port(&self) -> i32 {
        i32::from(self.port) - RAFT_PORT_OFFSET
    }

    /// Whether it is a server of this kind, as far as is known.
    pub fn is_nacre(&self) -> bool {
        self.extend.standing.is_some()
    }

    /// Whether it is known to be a server of another kind, which has no part in what servers of this kind agree on.
    pub fn is_other_kind(&self) -> bool {
        self.extend.version.is_some() && !self.is_nacre()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(Member::new("10.0.0.1", 8848).address(), "10.0.0.1:8848");
        assert_eq!(Member::new("2001:db8::1", 1).address(), "[2001:db8::1]:1");
        assert_eq!(Member::new("[::1]", 1).address(), "[::1]:1");
        assert_eq!((Member::new("a", 8848).raft_port(), Member::new("a", 1).raft_port()), (7848, -999));
    }
}
