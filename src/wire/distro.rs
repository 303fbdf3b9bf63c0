//! Checksums of lists of ephemeral instances, and the keys that are asked for (`spec/distro.md` 7 and 8).

use std::borrow::Cow;
use std::sync::Arc;

use md5::{Digest, Md5};
use serde::Deserialize;

use super::checksum::{by_utf16_units, in_order, lower_hex};
use super::datum::{service_of, write_key};
use super::instance::Host;
use super::object::{self, Scalar};
use super::{json, number};
use crate::error::{Error, Result};
use crate::model::{Metadata, ServiceKey};

/// Between the keys of a list of keys. A namespace may contain it; what follows in a key never does.
const BEFORE_KEY: &str = ",com.alibaba.nacos.naming.";

/// The checksum of a list (section 7): MD5 as 32 lower-case hex digits. `hosts` in any order.
pub fn list_checksum(hosts: &[Host<'_>]) -> String {
    let mut digest = Md5::new();
    let mut text = Vec::with_capacity(256);
    for host in in_order(hosts) {
        text.clear();
        text.extend_from_slice(host.ip.as_bytes());
        text.push(b':');
        json::integer(host.port.into(), &mut text);
        text.push(b'_');
        number::java_double(host.instance.weight, &mut text);
        text.extend_from_slice(if host.instance.healthy { b"_true_" } else { b"_false_" });
        json::boolean(host.instance.enabled, &mut text);
        text.push(b'_');
        text.extend_from_slice(host.cluster.as_bytes());
        text.push(b'_');
        if let Some(metadata) = &host.instance.metadata {
            push_pairs(metadata, &mut text);
        }
        text.push(b',');
        digest.update(&text);
    }
    lower_hex(&digest.finalize())
}

fn push_pairs(metadata: &Metadata, out: &mut Vec<u8>) {
    let mut pairs: Vec<(&str, &str)> = metadata.iter().collect();
    pairs.sort_by(|(a, _), (b, _)| by_utf16_units(a.as_bytes(), b.as_bytes()));
    for (key, value) in pairs {
        out.extend_from_slice(key.as_bytes());
        out.push(b':');
        out.extend_from_slice(value.as_bytes());
        out.push(b',');
    }
}

/// Appends the JSON object key -> checksum.
pub fn write_checksums(sums: &[(ServiceKey, Option<Arc<str>>)], out: &mut Vec<u8>) {
    out.push(b'{');
    json::separated(sums, out, |(service, sum), out| {
        write_key(service, out);
        out.push(b':');
        match sum {
            Some(sum) => json::string(sum, out),
            None => out.extend_from_slice(b"null"),
        }
    });
    out.push(b'}');
}

/// Reads the JSON object key -> checksum. Keys that are not of ephemeral lists are skipped.
///
/// # Errors
/// [`Error::Input`] when there is no such JSON.
pub fn parse_checksums(body: &[u8]) -> Result<Vec<(ServiceKey, Option<Arc<str>>)>> {
    let wrong = || Error::Input("the body must be a JSON object of keys and checksums".into());
    let text = str::from_utf8(body).map_err(|_| wrong())?;
    let mut sums = Vec::new();
    object::members(text, |key, value| {
        let sum = Scalar::of(value)?.into_text();
        sums.extend(service_of(&key).map(|service| (service, sum.map(Arc::from))));
        Some(())
    })
    .ok_or_else(wrong)?;
    Ok(sums)
}

/// Appends `{"keys":"KEY,KEY"}`.
pub fn write_keys(services: &[ServiceKey], out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"keys":""#);
    json::separated(services, out, |service, out| {
        let start = out.len();
        write_key(service, out);
        // Without the quotes: all are one text.
        out.pop();
        out.remove(start);
    });
    out.extend_from_slice(br#""}"#);
}

/// Reads `{"keys":"KEY,KEY"}`. Keys that are not of ephemeral lists are skipped.
///
/// # Errors
/// [`Error::Refused`] when there is no such JSON.
pub fn parse_keys(body: &[u8]) -> Result<Vec<ServiceKey>> {
    #[derive(Deserialize)]
    struct Asked<'a> {
        #[serde(borrow)]
        keys: Cow<'a, str>,
    }
    let asked: Asked<'_> =
        serde_json::from_slice(body).map_err(|fault| Error::Refused(format!("no keys are asked for: {fault}")))?;
    let mut services = Vec::new();
    let mut rest = asked.keys.as_ref();
    while !rest.is_empty() {
        let (key, after) = rest.split_at(rest.find(BEFORE_KEY).unwrap_or(rest.len()));
        services.extend(service_of(key.trim()));
        rest = after.get(1..).unwrap_or_default();
    }
    Ok(services)
}

#[cfg(test)]
mod tests;
