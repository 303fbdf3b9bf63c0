//! The one UDP socket: datagrams go out and acknowledgements come in.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

/// Room for datagrams and acknowledgements in the system, in bytes; it may grant less.
const BUFFER_BYTES: usize = 4 << 20;

/// A socket on a port of the system's choice.
pub struct PushSocket {
    socket: UdpSocket,
    /// Speaks to IPv4 by mapped addresses.
    is_v6: bool,
}

impl PushSocket {
    /// Binds to `address`; without one to all, of IPv6 too if there is any. To be called within the runtime.
    ///
    /// # Errors
    /// What the system says.
    pub fn bind(address: Option<IpAddr>) -> io::Result<Self> {
        match address {
            Some(address) => bind_to(address),
            None => bind_to(Ipv6Addr::UNSPECIFIED.into()).or_else(|_| bind_to(Ipv4Addr::UNSPECIFIED.into())),
        }
    }

    /// Sends without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when the system has no room; else what it says about this destination.
    pub fn try_send(&self, bytes: &[u8], to: SocketAddr) -> io::Result<()> {
        let to = match to.ip() {
            IpAddr::V4(ip) if self.is_v6 => SocketAddr::new(ip.to_ipv6_mapped().into(), to.port()),
            _ => to,
        };
        self.socket.try_send_to(bytes, to).map(|_| ())
    }

    /// There may be room again.
    ///
    /// # Errors
    /// What the system says.
    pub async fn writable(&self) -> io::Result<()> {
        self.socket.writable().await
    }

    /// A datagram may have come.
    ///
    /// # Errors
    /// What the system says.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await
    }

    /// A datagram that has come: its length and where it is from.
    ///
    /// # Errors
    /// `WouldBlock` when there is none.
    pub fn try_receive(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (length, from) = self.socket.try_recv_from(buffer)?;
        Ok((length, SocketAddr::new(from.ip().to_canonical(), from.port())))
    }
}

fn bind_to(address: IpAddr) -> io::Result<PushSocket> {
    let address = SocketAddr::new(address, 0);
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // More room lets bursts of acknowledgements wait; without it some are lost and their pushes retried.
    let _ = socket.set_recv_buffer_size(BUFFER_BYTES);
    let _ = socket.set_send_buffer_size(BUFFER_BYTES);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let is_v6 = address.is_ipv6();
    Ok(PushSocket { socket: UdpSocket::from_std(socket.into())?, is_v6 })
}
