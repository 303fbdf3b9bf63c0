//! Under which address this server is known (`spec/configuration.md` 4).

use std::net::{IpAddr, Ipv4Addr};

use if_addrs::Interface;

/// The host part: what is configured; else the address that is listened on, if it is one; else the first IPv4 address of
/// the network interface with the lowest index that is no loopback; else the loopback address, which at least answers
/// here.
pub(super) fn own_host(configured: Option<&str>, bind: Option<IpAddr>) -> String {
    if let Some(host) = configured {
        return host.to_owned();
    }
    if let Some(address) = bind.filter(|address| !address.is_unspecified()) {
        return address.to_string();
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "the network interfaces can't be listed");
        Vec::new()
    });
    let found = first(&interfaces);
    if found.is_none() {
        tracing::warn!("no network interface has an IPv4 address; nacos.server.ip sets the address of this server");
    }
    found.unwrap_or(Ipv4Addr::LOCALHOST).to_string()
}

fn first(interfaces: &[Interface]) -> Option<Ipv4Addr> {
    let usable = interfaces.iter().filter_map(|interface| match interface.ip() {
        IpAddr::V4(address) if !address.is_loopback() => Some((interface.index.unwrap_or(u32::MAX), address)),
        _ => None,
    });
    // Of one interface the first that the system names.
    usable.min_by_key(|(index, _)| *index).map(|(_, address)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_comes_first() {
        let bind = |text: &str| Some(text.parse().unwrap());
        assert_eq!(own_host(Some("a.example"), bind("10.0.0.1")), "a.example");
        assert_eq!(own_host(None, bind("10.0.0.1")), "10.0.0.1");
        assert_eq!(own_host(None, bind("::1")), "::1");
        assert!(own_host(None, bind("0.0.0.0")).parse::<Ipv4Addr>().is_ok_and(|found| !found.is_unspecified()));
        assert_eq!(first(&[]), None);
    }
}
