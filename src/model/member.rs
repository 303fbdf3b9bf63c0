//! A server of the cluster as the others know it (`spec/operator-api.md` 5.1).

/// How far below the HTTP port the port of the consensus protocol is.
const RAFT_PORT_OFFSET: i32 = 1_000;

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// IP address or name; IPv6 in brackets.
    pub ip: String,
    /// HTTP port.
    pub port: u16,
    /// When a report about it last came, epoch ms.
    pub refreshed_ms: Option<u64>,
}

impl Member {
    /// The member on `host` (IPv6 with or without brackets).
    pub fn new(host: &str, port: u16) -> Self {
        let bare = host.trim_matches(['[', ']']);
        let ip = if bare.contains(':') { format!("[{bare}]") } else { bare.to_owned() };
        Self { ip, port, refreshed_ms: None }
    }

    /// `ip:port`.
    pub fn address(&self) -> String {
        format!("{}:{}", self.ip, self.port)
    }

    /// What it says about the port of its consensus protocol; not bounded to ports, as in the reference.
    pub fn raft_port(&self) -> i32 {
        i32::from(self.port) - RAFT_PORT_OFFSET
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
