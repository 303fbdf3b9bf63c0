//! The checksum of a service (5.10): the same number as a Nacos peer computes for the same service.

use std::cmp::Ordering;
use std::ops::Range;

use md5::{Digest, Md5};

use super::instance::{Host, push_printed_key};
use super::{checker, json, number};
use crate::model::ClusterSettings;

/// MD5 as 32 lower-case hex digits. `service` is the grouped name, `clusters` are in order of their creation, `hosts`
/// in any order and of both kinds.
pub fn checksum(
    service: &str,
    protect_threshold: f32,
    clusters: &[(&str, &ClusterSettings)],
    hosts: &[Host<'_>],
) -> String {
    let mut text = Vec::with_capacity(256 + hosts.len() * 48);
    let invalid = hosts.iter().filter(|host| !host.instance.healthy).count();
    write_service(service, protect_threshold, clusters, (invalid, hosts.len()), &mut text);
    write_hosts(hosts, &mut text);
    lower_hex(&Md5::digest(&text))
}

/// Two hex digits for each byte.
pub(super) fn lower_hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

/// The compact JSON at the start of the text.
fn write_service(
    service: &str,
    protect_threshold: f32,
    clusters: &[(&str, &ClusterSettings)],
    (invalid, all): (usize, usize),
    out: &mut Vec<u8>,
) {
    out.extend_from_slice(br#"{"invalidIPCount":"#);
    json::unsigned(invalid as u64, out);
    out.extend_from_slice(br#","name":"#);
    json::string(service, out);
    out.extend_from_slice(br#","ipCount":"#);
    json::unsigned(all as u64, out);
    out.extend_from_slice(br#","owners":[],"protectThreshold":"#);
    json::float(protect_threshold, out);
    out.extend_from_slice(br#","clusters":["#);
    json::separated(in_hash_map_order(clusters), out, |(name, settings), out| {
        out.extend_from_slice(br#"{"healthChecker":"#);
        checker::write_without_type(&settings.checker, out);
        out.extend_from_slice(br#","defIPPort":"#);
        json::integer(settings.check_port.into(), out);
        out.extend_from_slice(br#","defCkport":"#);
        json::integer(settings.check_port.into(), out);
        out.extend_from_slice(br#","name":"#);
        json::string(name, out);
        out.extend_from_slice(br#","useIPPort4Check":"#);
        json::boolean(settings.use_instance_port, out);
        out.extend_from_slice(br#","sitegroup":""}"#);
    });
    out.extend_from_slice(b"]}");
}

/// As checksums go through instances: sorted by a text of each.
pub(super) fn in_order<'h, 'a>(hosts: &'h [Host<'a>]) -> impl Iterator<Item = &'h Host<'a>> {
    let mut keys = Vec::with_capacity(hosts.len() * 64);
    let mut order: Vec<(Range<usize>, &Host<'_>)> = Vec::with_capacity(hosts.len());
    for host in hosts {
        let start = keys.len();
        push_printed_key(host.ip, host.port, host.cluster, &mut keys);
        keys.push(b'_');
        number::java_double(host.instance.weight, &mut keys);
        keys.extend_from_slice(if host.instance.healthy { b"_true_" } else { b"_false_" });
        json::boolean(host.instance.marked, &mut keys);
        keys.push(b'_');
        keys.extend_from_slice(host.cluster.as_bytes());
        order.push((start..keys.len(), host));
    }
    let key = |range: &Range<usize>| keys.get(range.clone()).unwrap_or_default();
    order.sort_by(|(a, _), (b, _)| by_utf16_units(key(a), key(b)));
    order.into_iter().map(|(_, host)| host)
}

fn write_hosts(hosts: &[Host<'_>], out: &mut Vec<u8>) {
    for host in in_order(hosts) {
        out.extend_from_slice(host.ip.as_bytes());
        out.push(b':');
        json::integer(host.port.into(), out);
        out.push(b'_');
        number::java_double(host.instance.weight, out);
        out.extend_from_slice(if host.instance.healthy { b"_true_" } else { b"_false_" });
        out.extend_from_slice(host.cluster.as_bytes());
        out.push(b',');
    }
}

/// Compares two UTF-8 texts as Java compares strings. The orders differ in one thing: characters beyond U+FFFF (first
/// byte F0 and up) are pairs of surrogates in UTF-16 and so come before U+E000..U+FFFF (first byte EE and EF).
pub fn by_utf16_units(a: &[u8], b: &[u8]) -> Ordering {
    let rank = |byte: u8| match byte {
        0xee | 0xef => byte + 0x10,
        _ => byte,
    };
    match a.iter().zip(b).find(|(a, b)| a != b) {
        Some((&a, &b)) => rank(a).cmp(&rank(b)),
        None => a.len().cmp(&b.len()),
    }
}

/// The order in which a Java hash map gives out keys that were put in one by one: by bucket, then by time.
fn in_hash_map_order<'a>(clusters: &[(&'a str, &'a ClusterSettings)]) -> Vec<(&'a str, &'a ClusterSettings)> {
    let mut capacity: usize = 16;
    while clusters.len() > capacity / 4 * 3 {
        capacity *= 2;
    }
    let mut ordered = clusters.to_vec();
    ordered.sort_by_cached_key(|(name, _)| {
        let hash = java_hash(name);
        (hash ^ (hash >> 16)) as usize & (capacity - 1)
    });
    ordered
}

/// `String.hashCode`, as unsigned bits.
fn java_hash(text: &str) -> u32 {
    text.encode_utf16().fold(0, |hash, unit| hash.wrapping_mul(31).wrapping_add(unit.into()))
}

#[cfg(test)]
mod tests;
