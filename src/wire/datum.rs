//! Lists of ephemeral instances as the members of a cluster exchange them (`spec/distro.md` 2 and 3), with what only
//! servers of this kind say: when an instance was changed, when its client was heard of, what was taken out. Real nodes
//! ignore members that they don't know, and leave those out.

mod loose;
mod read;

use super::catalog::id_generator;
use super::instance::{Host, write_id};
use super::{json, metadata};
use crate::model::peer::{Datum, Removed, Told};
use crate::model::{DEFAULT_APP, DEFAULT_BEAT_INTERVAL_MS, ServiceKey};

pub use read::{parse, parse_parts};

/// What the key of an ephemeral list begins with.
const EPHEMERAL: &str = "com.alibaba.nacos.naming.iplist.ephemeral.";
/// Between namespace and grouped name in a key.
const SEPARATOR: &str = "##";
/// Room for an instance without metadata, in bytes.
const USUAL_BYTES: usize = 480;

/// The key of the ephemeral list of `service` (section 2).
pub fn key(service: &ServiceKey) -> String {
    [EPHEMERAL, &service.namespace, SEPARATOR, &service.name].concat()
}

/// Whose ephemeral list has this key (section 2): the namespace ends at the first `##`, the grouped name at the second.
/// `None` for any other kind of key. The names are not judged.
pub fn service_of(key: &str) -> Option<ServiceKey> {
    let mut names = key.strip_prefix(EPHEMERAL)?.split(SEPARATOR);
    Some(ServiceKey::new(names.next()?, names.next()?))
}

/// Appends the JSON object key -> datum (section 3). With `own` also what only servers of this kind say.
pub fn write(data: &[Datum], own: bool, out: &mut Vec<u8>) {
    out.reserve(data.iter().map(|datum| 256 + datum.told.len() * USUAL_BYTES).sum());
    out.push(b'{');
    json::separated(data, out, |datum, out| {
        write_key(&datum.service, out);
        out.extend_from_slice(br#":{"key":"#);
        write_key(&datum.service, out);
        write_value(datum, own, out);
        out.extend_from_slice(br#","timestamp":1"#);
        if let Some(removed) = datum.removed.as_ref().filter(|_| own) {
            write_removed(removed, out);
        }
        out.push(b'}');
    });
    out.push(b'}');
}

/// Appends a JSON array of lists and parts of lists, each with whether it is a whole list. Only servers of this kind
/// exchange it.
pub fn write_parts(parts: &[(&Datum, bool)], out: &mut Vec<u8>) {
    out.reserve(parts.iter().map(|(datum, _)| 256 + datum.told.len() * USUAL_BYTES).sum());
    out.push(b'[');
    json::separated(parts, out, |(datum, whole), out| {
        out.extend_from_slice(br#"{"key":"#);
        write_key(&datum.service, out);
        out.extend_from_slice(br#","whole":"#);
        json::boolean(*whole, out);
        write_value(datum, true, out);
        if let Some(removed) = &datum.removed {
            write_removed(removed, out);
        }
        out.push(b'}');
    });
    out.push(b']');
}

/// The key of an ephemeral list as a JSON text.
pub(super) fn write_key(service: &ServiceKey, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(EPHEMERAL.as_bytes());
    json::escaped(&service.namespace, out);
    out.extend_from_slice(SEPARATOR.as_bytes());
    json::escaped(&service.name, out);
    out.push(b'"');
}

fn write_value(datum: &Datum, own: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(br#","value":{"instanceList":["#);
    json::separated(&datum.told, out, |told, out| write_told(told, &datum.service.name, own, out));
    out.extend_from_slice(b"]}");
}

fn write_told(told: &Told, service: &str, own: bool, out: &mut Vec<u8>) {
    let instance = told.instance.as_ref();
    let host = Host::new(&told.key, instance);
    out.extend_from_slice(br#"{"instanceId":"#);
    write_id(&host, service, out);
    out.extend_from_slice(br#","ip":"#);
    json::string(host.ip, out);
    out.extend_from_slice(br#","port":"#);
    json::integer(host.port.into(), out);
    out.extend_from_slice(br#","weight":"#);
    json::double(instance.weight, out);
    out.extend_from_slice(br#","healthy":"#);
    json::boolean(instance.healthy, out);
    out.extend_from_slice(br#","enabled":"#);
    json::boolean(instance.enabled, out);
    out.extend_from_slice(br#","ephemeral":"#);
    json::boolean(told.key.ephemeral, out);
    out.extend_from_slice(br#","clusterName":"#);
    json::string(host.cluster, out);
    out.extend_from_slice(br#","serviceName":"#);
    json::string(service, out);
    out.extend_from_slice(br#","metadata":"#);
    match &instance.metadata {
        // Real nodes have no null here: they leave it out, and take what is left out for an empty map.
        None if !own => out.extend_from_slice(b"{}"),
        pairs => metadata::write_json(pairs, out),
    }
    out.extend_from_slice(br#","lastBeat":"#);
    json::unsigned(told.last_beat_ms, out);
    out.extend_from_slice(br#","marked":"#);
    json::boolean(instance.marked, out);
    out.extend_from_slice(br#","app":"#);
    json::string(instance.app.as_deref().unwrap_or(DEFAULT_APP), out);
    out.extend_from_slice(br#","instanceHeartBeatInterval":"#);
    json::unsigned(instance.beat_interval_ms().unwrap_or(DEFAULT_BEAT_INTERVAL_MS), out);
    if let Some(generator) = id_generator(instance) {
        out.extend_from_slice(br#","instanceIdGenerator":"#);
        json::string(generator, out);
    }
    out.extend_from_slice(br#","instanceHeartBeatTimeOut":"#);
    json::unsigned(instance.beat_timeout_ms(), out);
    out.extend_from_slice(br#","ipDeleteTimeout":"#);
    json::unsigned(instance.delete_timeout_ms(), out);
    if let Some(trace) = told.trace.filter(|_| own) {
        out.extend_from_slice(br#","changedMs":"#);
        json::unsigned(trace.changed_ms, out);
        if let Some(heard_ms) = trace.heard_ms {
            out.extend_from_slice(br#","heardMs":"#);
            json::unsigned(heard_ms, out);
        }
    }
    out.push(b'}');
}

fn write_removed(removed: &Removed, out: &mut Vec<u8>) {
    out.extend_from_slice(br#","removed":{"sinceMs":"#);
    json::unsigned(removed.since_ms, out);
    if removed.service_too {
        out.extend_from_slice(br#","serviceToo":true"#);
    }
    out.extend_from_slice(br#","keys":["#);
    json::separated(&removed.keys, out, |(key, removed_ms), out| {
        out.extend_from_slice(br#"{"ip":"#);
        json::string(&key.ip, out);
        out.extend_from_slice(br#","port":"#);
        json::integer(key.port.into(), out);
        out.extend_from_slice(br#","clusterName":"#);
        json::string(&key.cluster, out);
        out.extend_from_slice(br#","removedMs":"#);
        json::unsigned(*removed_ms, out);
        out.push(b'}');
    });
    out.extend_from_slice(b"]}");
}

#[cfg(test)]
mod tests;
