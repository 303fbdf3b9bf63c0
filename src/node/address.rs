//! Under which address this server is known (`spec/configuration.md` 4).

use std::net::{IpAddr, Ipv4Addr};

use crate::config::Config;

/// An address of a network interface, and the index of that.
type Local = (u32, IpAddr);

/// The host part, first that there is: what is configured; the one member that is listed with this port and an address
/// of this machine; the address that is listened on; the first IPv4 address of the network interface with the lowest
/// index that is no loopback; the loopback address, which at least answers here.
pub(super) fn own_host(config: &Config, port: u16) -> String {
    let listed: Vec<&str> = config.members.iter().filter(|m| m.port == port).map(|m| m.host.as_str()).collect();
    let bind = config.bind.filter(|address| !address.is_unspecified());
    choose(config.ip.as_deref(), bind, &listed, interfaces)
}

fn interfaces() -> Vec<Local> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(%error, "the network interfaces can't be listed");
        Vec::new()
    });
    interfaces.iter().map(|interface| (interface.index.unwrap_or(u32::MAX), interface.ip())).collect()
}

/// `listed`: hosts of members with the port of this server. Addresses are compared as text by everybody else, so
/// the text of the list counts.
fn choose(
    configured: Option<&str>,
    bind: Option<IpAddr>,
    listed: &[&str],
    interfaces: impl FnOnce() -> Vec<Local>,
) -> String {
    if let Some(host) = configured {
        let host = host.trim_matches(['[', ']']);
        let plain = host.parse::<IpAddr>().map_or_else(|_| host.to_owned(), |address| address.to_string());
        return listed
            .iter()
            .find(|listed| listed.eq_ignore_ascii_case(&plain))
            .map_or(plain, |text| (*text).to_owned());
    }
    let locals = bind.map_or_else(interfaces, |bind| vec![(0, bind)]);
    let has_loopback = locals.iter().any(|(_, address)| address.is_loopback());
    let is_here = |host: &str| match host.parse::<IpAddr>() {
        // All of 127.0.0.0/8 is this machine, though the interface names one.
        Ok(address) if bind.is_none() && address.is_loopback() => has_loopback,
        Ok(address) => locals.iter().any(|(_, local)| *local == address),
        Err(_) => has_loopback && host.eq_ignore_ascii_case("localhost"),
    };
    let mut here = listed.iter().filter(|host| is_here(host));
    if let (Some(host), None) = (here.next(), here.next()) {
        return (*host).to_owned();
    }
    if let Some(address) = bind {
        return address.to_string();
    }
    let found = first(&locals);
    if found.is_none() {
        tracing::warn!("no network interface has an IPv4 address; nacos.server.ip sets the address of this server");
    }
    found.unwrap_or(Ipv4Addr::LOCALHOST).to_string()
}

fn first(locals: &[Local]) -> Option<Ipv4Addr> {
    let usable = locals.iter().filter_map(|(index, address)| match address {
        IpAddr::V4(address) if !address.is_loopback() => Some((*index, *address)),
        _ => None,
    });
    // Of one interface the first that the system names.
    usable.min_by_key(|(index, _)| *index).map(|(_, address)| address)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(configured: Option<&str>, bind: Option<&str>, listed: &[&str]) -> String {
        let locals = [(3, "10.0.0.3"), (1, "127.0.0.1"), (1, "::1"), (2, "192.168.1.2"), (2, "2001:db8::2")];
        let locals = || locals.map(|(index, text)| (index, text.parse().unwrap())).to_vec();
        choose(configured, bind.map(|text| text.parse().unwrap()), listed, locals)
    }

    #[test]
    fn what_is_said_comes_first() {
        assert_eq!(chosen(Some("a.example"), Some("10.0.0.3"), &["10.0.0.3"]), "a.example");
        assert_eq!(chosen(Some("a.example"), None, &["A.example"]), "A.example", "as the others know it");
        assert_eq!(chosen(Some("[2001:DB8:0::7]"), None, &["10.0.0.3", "2001:db8::7"]), "2001:db8::7");
        assert_eq!(chosen(None, Some("10.0.0.9"), &[]), "10.0.0.9");
        assert_eq!(chosen(None, Some("::1"), &["10.0.0.3"]), "::1", "nobody reaches the one in the list");
        assert_eq!(chosen(None, None, &[]), "192.168.1.2");
        assert_eq!(choose(None, None, &[], Vec::new), "127.0.0.1");
    }

    #[test]
    fn the_one_listed_member_that_is_here_is_this_server() {
        assert_eq!(chosen(None, None, &["10.0.0.3"]), "10.0.0.3", "the second interface");
        assert_eq!(chosen(None, None, &["10.0.0.4", "127.0.0.1"]), "127.0.0.1");
        assert_eq!(chosen(None, None, &["127.0.0.7"]), "127.0.0.7");
        assert_eq!(chosen(None, None, &["2001:db8::2", "a.example"]), "2001:db8::2");
        assert_eq!(chosen(None, None, &["localhost"]), "localhost");
        assert_eq!(chosen(None, Some("127.0.0.1"), &["localhost"]), "localhost");
        assert_eq!(chosen(None, Some("127.0.0.1"), &["127.0.0.2", "127.0.0.3"]), "127.0.0.1");
        assert_eq!(chosen(None, Some("10.0.0.3"), &["localhost"]), "10.0.0.3");
        // Two could be it: as if nothing were listed.
        assert_eq!(chosen(None, None, &["10.0.0.3", "127.0.0.1"]), "192.168.1.2");
        assert_eq!(chosen(None, None, &["10.0.0.4"]), "192.168.1.2");
    }
}
