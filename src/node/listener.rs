//! The port: taken early, so that a second process fails at once, but not answered before the data are back.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::error::{Error, Result};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// Descriptors for everything that is no connection: store, logs, peers.
const OWN_DESCRIPTORS: u64 = 256;

/// Sees to it that the process may open as many descriptors as `connections` need; says so when it may not.
pub(super) fn make_room(connections: usize) {
    let wanted = connections as u64 + OWN_DESCRIPTORS;
    match rlimit::increase_nofile_limit(wanted) {
        Ok(allowed) if allowed < wanted => {
            tracing::warn!(allowed, wanted, "too few file descriptors for server.tomcat.max-connections (ulimit -n)");
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, wanted, "the limit of file descriptors could not be raised"),
    }
}

/// Takes the port. Clients are refused until [`listen`]. Without `address`: all addresses, of IPv6 too if there is any.
///
/// # Errors
/// [`Error::Setup`] when the port is in use or the address is not ours.
pub(super) fn bind(address: Option<IpAddr>, port: u16) -> Result<Socket> {
    let tried = match address {
        Some(address) => bind_to(SocketAddr::new(address, port)),
        None => bind_to(SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port)).or_else(|error| match error.kind() {
            io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied => Err(error),
            _ => bind_to(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
        }),
    };
    let place = address.map_or_else(|| format!("port {port}"), |address| SocketAddr::new(address, port).to_string());
    tried.map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => Error::Setup(format!("{place} is in use by another process")),
        _ => Error::Setup(format!("can't listen on {place}: {error}")),
    })
}

fn bind_to(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // Connections of an earlier process that are still closing don't stand in the way.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The port that was bound, which the system has chosen when 0 was asked for.
pub(super) fn port(socket: &Socket) -> Option<u16> {
    Some(socket.local_addr().ok()?.as_socket()?.port())
}

/// Starts to accept. To be called within the runtime.
///
/// # Errors
/// [`Error::Setup`] when the system refuses.
pub(super) fn listen(socket: Socket) -> Result<TcpListener> {
    let listen = || {
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        TcpListener::from_std(socket.into())
    };
    listen().map_err(|error: io::Error| match error.kind() {
        io::ErrorKind::AddrInUse => Error::Setup("the port is in use by another process".into()),
        _ => Error::Setup(format!("can't listen: {error}")),
    })
}
