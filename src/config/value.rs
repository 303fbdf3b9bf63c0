//! What the text of a property may be. Every rule answers with the value or with what is allowed, to be put after the
//! words "must be".

use std::net::IpAddr;

use ipnet::IpNet;

/// A whole number within bounds, both included.
pub(super) fn whole(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let value = text.parse::<u64>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
    value.filter(|n| (min..=max).contains(n)).ok_or_else(|| format!("a whole number from {min} to {max}"))
}

/// A number of bytes within bounds: plain or with `B`, `KB`, `MB`, `GB` (powers of 1024, as Spring has it; also `KiB` ...).
pub(super) fn bytes(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = text.get(digits.len()..).unwrap_or_default().trim().to_ascii_lowercase();
    let factor = match unit.as_str() {
        "" | "b" => Some(1),
        "k" | "kb" | "kib" => Some(1 << 10),
        "m" | "mb" | "mib" => Some(1 << 20),
        "g" | "gb" | "gib" => Some(1 << 30),
        _ => None,
    };
    let number = whole(digits, 0, u64::MAX).ok();
    let value = factor.zip(number).and_then(|(factor, number): (u64, u64)| number.checked_mul(factor));
    value
        .filter(|n| (min..=max).contains(n))
        .ok_or_else(|| format!("a number of bytes from {} to {}, such as 65536, 64KB or 1MB", size(min), size(max)))
}

/// Bytes in the largest unit that divides them.
fn size(bytes: u64) -> String {
    [(30, "GB"), (20, "MB"), (10, "KB")]
        .into_iter()
        .find(|(shift, _)| bytes > 0 && bytes.trailing_zeros() >= *shift)
        .map_or_else(|| bytes.to_string(), |(shift, unit)| format!("{}{unit}", bytes >> shift))
}

/// The words for true and false that Spring knows.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "on" | "yes" | "1" => Ok(true),
        "false" | "off" | "no" | "0" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}

/// One of the words of a list, in any case.
pub(super) fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("one of {}", names.join(", "))
    })
}

/// An address to listen on; `None` stands for all.
pub(super) fn bind(text: &str) -> Result<Option<IpAddr>, String> {
    if text == "*" {
        return Ok(None);
    }
    let plain = if text.eq_ignore_ascii_case("localhost") { "127.0.0.1" } else { unbracketed(text) };
    plain.parse().map(Some).map_err(|_| "an IP address of this machine, localhost, or * for all addresses".to_owned())
}

/// An address to listen on, and a port; an address of IPv6 stands in brackets.
pub(super) fn bind_with_port(text: &str) -> Result<(Option<IpAddr>, u16), String> {
    let allowed = || "an IP address, localhost or *, a colon and a port, such as 127.0.0.1:9100".to_owned();
    let (address, port) = text.rsplit_once(':').ok_or_else(allowed)?;
    let bracketed = address.starts_with('[') && address.ends_with(']');
    if address.contains(':') && !bracketed {
        return Err(allowed());
    }
    let port = whole(port, 0, u64::from(u16::MAX)).map_err(|_| allowed())?;
    Ok((bind(address).map_err(|_| allowed())?, u16::try_from(port).map_err(|_| allowed())?))
}

/// An address to be known by: an IP address or a name.
pub(super) fn address(text: &str) -> Result<String, String> {
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // Digits and dots alone are a mistyped address, not a name.
    let name = !text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let good = unbracketed(text).parse::<IpAddr>().is_ok() || (name && text.len() <= 253 && text.split('.').all(label));
    if good { Ok(text.to_owned()) } else { Err("an IP address or a host name, without a port".to_owned()) }
}

fn unbracketed(text: &str) -> &str {
    text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text)
}

/// The prefix of all paths: blank, or with a slash before and none behind.
pub(super) fn context_path(text: &str) -> Result<String, String> {
    let inner = text.trim_matches('/');
    if inner.is_empty() {
        return Ok(String::new());
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || "-._~!$&'()*+,=:@".contains(c);
    let segment = |s: &str| !s.is_empty() && s != "." && s != ".." && s.chars().all(legal);
    if inner.split('/').all(segment) {
        Ok(format!("/{inner}"))
    } else {
        Err("a path such as /nacos, or / for none, of letters, digits and -._~ without . or .. as a part".to_owned())
    }
}

/// Origins of other web pages that may call: `*`, or `scheme://host[:port]` with commas between.
pub(super) fn origins(text: &str) -> Result<Vec<String>, String> {
    let allowed = || "* or origins such as https://console.example:8443 with commas between".to_owned();
    let origin = |text: &str| {
        let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"))?;
        let legal = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        (!rest.is_empty() && rest.chars().all(legal)).then(|| text.to_ascii_lowercase())
    };
    if text == "*" {
        return Ok(vec!["*".to_owned()]);
    }
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| origin(part).ok_or_else(allowed))
        .collect()
}

/// Networks as CIDR, or single addresses, with commas between.
pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    let allowed = |_| "networks such as 10.0.0.0/8 or fd00::/8, or addresses, with commas between".to_owned();
    let network = |part: &str| part.parse().or_else(|_| part.parse::<IpAddr>().map(IpNet::from).map_err(allowed));
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(network).collect()
}

/// `text` fit for one line of a message: control characters escaped, at most 120 characters.
pub(super) fn shown(text: &str) -> String {
    const SHOWN_CHARS: usize = 120;
    let mut line = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == SHOWN_CHARS {
            line.push_str("...");
            break;
        }
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}
