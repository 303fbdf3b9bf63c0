//! Where a server is.

use std::net::{SocketAddr, ToSocketAddrs as _};

use url::{Host, Url};

use crate::error::{Error, Result};

/// Of a URL without a path, as every client of Nacos has it.
const CONTEXT: &str = "/nacos";
const PORT: u16 = 8848;

/// The address and the context path of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// The first address of its name.
    pub address: SocketAddr,
    /// For the header `Host`.
    pub host: String,
    /// Before `/v1`; empty or with a slash in front and none at the end.
    pub context: String,
}

impl Server {
    /// Reads `http://HOST[:8848][/nacos]`, also without `http://`.
    ///
    /// # Errors
    /// [`Error::Input`] for another text, and for a server that is not on this machine unless `allow_remote`;
    /// [`Error::Unavailable`] for a name without an address.
    pub fn parse(text: &str, allow_remote: bool) -> Result<Self> {
        let fault = |why: &str| Error::Input(format!("--server {text}: {why}"));
        let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&whole).map_err(|error| fault(&error.to_string()))?;
        if url.scheme() != "http" {
            return Err(fault("only http:// is possible"));
        }
        if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
            return Err(fault("must be http://HOST:PORT/CONTEXT; the login has its own flags"));
        }
        let explicit_port = whole
            .split_once("://")
            .is_some_and(|(_, rest)| rest.split('/').next().unwrap_or_default().ends_with(":80"));
        let port = url.port().unwrap_or(if explicit_port { 80 } else { PORT });
        let host = url.host().ok_or_else(|| fault("has no host"))?;
        let shown = format!("{host}:{port}");
        let found = match host {
            Host::Ipv4(ip) => vec![SocketAddr::from((ip, port))],
            Host::Ipv6(ip) => vec![SocketAddr::from((ip, port))],
            Host::Domain(name) => {
                let found = (name, port).to_socket_addrs();
                found.map_err(|error| Error::Unavailable(format!("--server {text}: {error}")))?.collect()
            }
        };
        // A name may have an address of either family, and the server may listen on one of them only.
        let first = found.iter().find(|address| address.is_ipv4()).or(found.first());
        let address = *first.ok_or_else(|| Error::Unavailable(format!("--server {text}: the name has no address")))?;
        if !allow_remote && !found.iter().all(|address| address.ip().to_canonical().is_loopback()) {
            return Err(fault("is not on this machine: give --allow-remote if it really is meant"));
        }
        let path = url.path().trim_end_matches('/');
        let context = if path.is_empty() { CONTEXT } else { path }.to_owned();
        Ok(Self { address, host: shown, context })
    }

    /// For people.
    pub fn shown(&self) -> String {
        format!("http://{}{}", self.host, self.context)
    }
}
