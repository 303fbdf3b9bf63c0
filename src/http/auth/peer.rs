//! Who is a server of this cluster (`spec/distro.md` 15). In the reference anybody is who reaches the port.

use std::net::IpAddr;

use hyper::header::HeaderMap;

use super::Auth;
use super::access::Access;
use crate::http::call::App;
use crate::http::reply::Reply;

impl Auth {
    /// Whether a request with these headers, over a connection from `ip`, comes from a server of this cluster: it shows
    /// the server identity or, if there is none, a member lives at that address. With authentication off the identity
    /// counts too.
    pub fn is_peer(&self, app: &App, headers: &HeaderMap, ip: IpAddr) -> bool {
        let rules = self.rules();
        match &rules.identity {
            Some(identity) if identity.is_shown(headers) => true,
            // What is closed to anybody without a login is not opened by leaving a check out.
            Some(_) if rules.enabled => false,
            None if app.members.is_from_member(ip) => true,
            _ => !rules.check_peers,
        }
    }

    /// Whether a request that [is of a peer](Self::is_peer) may speak for the member at `address`: it showed the server
    /// identity, which all share, or comes from there.
    pub fn speaks_for(&self, app: &App, address: &str, ip: IpAddr) -> bool {
        let rules = self.rules();
        rules.identity.is_some() || !rules.check_peers || app.members.is_from(address, ip)
    }

    /// The answer to a request that is for servers of a cluster and comes from somebody else, who can't prove in any other
    /// way that he may. Asked before a body is read, and again when it is there.
    pub fn refuse_stranger(
        &self,
        app: &App,
        access: Access,
        path: &str,
        headers: &HeaderMap,
        ip: IpAddr,
    ) -> Option<Reply> {
        if !access.is_of_peers() || app.cluster.is_none() || self.is_peer(app, headers, ip) {
            return None;
        }
        if access == Access::PeerOrAdmin && self.is_enabled() {
            return None;
        }
        let lacks = match self.rules().identity {
            Some(_) => "the server identity is missing or wrong".to_owned(),
            None => format!("no member has the address {}", ip.to_canonical()),
        };
        tracing::info!(peer = %ip, path, "refused: {lacks}");
        Some(Reply::forbidden(&format!("only servers of this cluster may do this: {lacks}"), path))
    }
}

#[cfg(test)]
mod tests;
