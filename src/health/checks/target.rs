//! Where a check goes, and what is no fault of the target.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

use super::verdict::Finding;

/// Limit of connecting (`spec/health.md` 2.4 to 2.6).
pub(super) const CONNECT_LIMIT: Duration = Duration::from_millis(500);
/// Limit of looking up a host name. Not part of the limit for connecting: look-ups wait for one of few threads.
const LOOKUP_LIMIT: Duration = Duration::from_secs(3);
/// `ENFILE` and `EMFILE`: no file descriptor left.
const NO_DESCRIPTOR: [i32; 2] = [23, 24];
/// `ENOBUFS`.
const NO_BUFFER: i32 = 105;

/// The address of `host`, which may stand in brackets, and `port`.
///
/// # Errors
/// What the check found when there is no such address: names that are unknown, ports that can't be.
pub(super) async fn address(host: &str, port: i32) -> Result<SocketAddr, Finding> {
    let port = u16::try_from(port).map_err(|_| Finding::Fail)?;
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip, port));
    }
    let found = timeout(LOOKUP_LIMIT, tokio::net::lookup_host((bare, port))).await.map_err(|_| Finding::Busy)?;
    let all: Vec<SocketAddr> = found.map_err(|_| Finding::Fail)?.collect();
    let first = all.iter().find(|address| address.is_ipv4()).or(all.first());
    first.copied().ok_or(Finding::Fail)
}

/// Connects within the limit.
///
/// # Errors
/// What the check found.
pub(super) async fn connect(address: SocketAddr) -> Result<TcpStream, Finding> {
    match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(finding_of(&error, address.is_ipv4())),
        Err(_) => Err(Finding::Busy),
    }
}

/// What a failed connection says. A machine without IPv6 has no address for it either, which is not a lack that passes.
pub(super) fn finding_of(error: &io::Error, ipv4: bool) -> Finding {
    let number = error.raw_os_error().unwrap_or_default();
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Finding::FailNow,
        io::ErrorKind::TimedOut => Finding::Busy,
        io::ErrorKind::OutOfMemory => Finding::Unknown,
        io::ErrorKind::AddrNotAvailable if ipv4 => Finding::Unknown,
        _ if NO_DESCRIPTOR.contains(&number) || number == NO_BUFFER => Finding::Unknown,
        _ => Finding::Fail,
    }
}
