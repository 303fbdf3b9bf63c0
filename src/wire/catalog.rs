//! The tables that consoles read (`spec/service-api.md` 4). Section numbers are those of that page.

use super::instance::{Host, write_id};
use super::{checker, json, metadata, selector};
use crate::model::{
    ClusterSettings, DEFAULT_APP, DEFAULT_BEAT_INTERVAL_MS, ID_GENERATOR_KEY, Instance, Metadata, ServiceKey,
    ServiceSettings,
};

/// How ids of instances are made unless their metadata say otherwise.
const DEFAULT_ID_GENERATOR: &str = "simple";

/// A cluster of a service as 4.1 shows it.
#[derive(Debug, Clone, Copy)]
pub struct ClusterPart<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its settings.
    pub settings: &'a ClusterSettings,
    /// It has no instance.
    pub empty: bool,
}

/// A service with its clusters (4.1).
pub fn service<'a>(
    key: &ServiceKey,
    settings: &ServiceSettings,
    clusters: impl IntoIterator<Item = ClusterPart<'a>>,
) -> Vec<u8> {
    let mut out = br#"{"service":{"name":"#.to_vec();
    json::string(key.plain_name(), &mut out);
    out.extend_from_slice(br#","protectThreshold":"#);
    json::float(settings.protect_threshold, &mut out);
    out.extend_from_slice(br#","groupName":"#);
    json::string(key.group(), &mut out);
    out.extend_from_slice(br#","selector":"#);
    selector::write_json(&settings.selector, &mut out);
    out.extend_from_slice(br#","metadata":"#);
    metadata::write_map(&settings.metadata, &mut out);
    out.extend_from_slice(br#"},"clusters":["#);
    json::separated(clusters, &mut out, |part, out| write_cluster(&key.name, &part, out));
    out.extend_from_slice(b"]}");
    out
}

fn write_cluster(service: &str, part: &ClusterPart<'_>, out: &mut Vec<u8>) {
    let settings = part.settings;
    out.extend_from_slice(br#"{"serviceName":"#);
    json::string(service, out);
    out.extend_from_slice(br#","name":"#);
    json::string(part.name, out);
    out.extend_from_slice(br#","healthChecker":"#);
    checker::write_json(&settings.checker, out);
    out.extend_from_slice(br#","defaultPort":80,"defaultCheckPort":80,"useIPPort4Check":"#);
    json::boolean(settings.use_instance_port, out);
    out.extend_from_slice(br#","metadata":"#);
    metadata::write_map(&settings.metadata, out);
    out.extend_from_slice(br#","sitegroup":"","defCkport":"#);
    json::integer(settings.check_port.into(), out);
    out.extend_from_slice(br#","empty":"#);
    json::boolean(part.empty, out);
    out.extend_from_slice(br#","defIPPort":"#);
    json::integer(settings.check_port.into(), out);
    out.push(b'}');
}

/// An instance as 4.2 shows it.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a> {
    /// The instance.
    pub host: Host<'a>,
    /// When its last beat came, epoch ms.
    pub last_beat_ms: u64,
}

/// A page of the instances of a cluster and how many there are in all (4.2). `service` is the grouped name.
pub fn instances<'a>(service: &str, page: impl IntoIterator<Item = Listed<'a>>, count: usize) -> Vec<u8> {
    let mut out = br#"{"list":["#.to_vec();
    json::separated(page, &mut out, |listed, out| write_listed(service, &listed, out));
    out.extend_from_slice(br#"],"count":"#);
    json::unsigned(count as u64, &mut out);
    out.push(b'}');
    out
}

fn write_listed(service: &str, listed: &Listed<'_>, out: &mut Vec<u8>) {
    let host = &listed.host;
    let instance = host.instance;
    out.extend_from_slice(br#"{"instanceId":"#);
    write_id(host, service, out);
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
    json::boolean(host.ephemeral, out);
    out.extend_from_slice(br#","clusterName":"#);
    json::string(host.cluster, out);
    out.extend_from_slice(br#","serviceName":"#);
    json::string(service, out);
    out.extend_from_slice(br#","metadata":"#);
    metadata::write_json(&instance.metadata, out);
    out.extend_from_slice(br#","lastBeat":"#);
    json::unsigned(listed.last_beat_ms, out);
    out.extend_from_slice(br#","marked":"#);
    json::boolean(instance.marked, out);
    out.extend_from_slice(br#","app":"#);
    json::string(instance.app.as_deref().unwrap_or(DEFAULT_APP), out);
    out.extend_from_slice(br#","instanceHeartBeatInterval":"#);
    json::unsigned(instance.beat_interval_ms().unwrap_or(DEFAULT_BEAT_INTERVAL_MS), out);
    out.extend_from_slice(br#","instanceHeartBeatTimeOut":"#);
    json::unsigned(instance.beat_timeout_ms(), out);
    out.extend_from_slice(br#","ipDeleteTimeout":"#);
    json::unsigned(instance.delete_timeout_ms(), out);
    if let Some(generator) = id_generator(instance) {
        out.extend_from_slice(br#","instanceIdGenerator":"#);
        json::string(generator, out);
    }
    out.push(b'}');
}

/// As the reference shows it: an instance with metadata has a generator only if they name one.
pub(super) fn id_generator(instance: &Instance) -> Option<&str> {
    match &instance.metadata {
        Some(metadata) if !metadata.is_empty() => metadata.get(ID_GENERATOR_KEY),
        _ => Some(DEFAULT_ID_GENERATOR),
    }
}

/// A service in a line of the table of 4.3.
#[derive(Debug, Clone, Copy)]
pub struct Line<'a> {
    /// Which.
    pub key: &'a ServiceKey,
    /// Number of clusters.
    pub clusters: usize,
    /// Number of instances, disabled ones too.
    pub instances: usize,
    /// Those of them that are healthy.
    pub healthy: usize,
    /// Of the service.
    pub protect_threshold: f32,
}

impl Line<'_> {
    /// Whether so few are healthy that all are given out.
    fn triggers(&self) -> bool {
        self.instances > 0 && self.healthy as f32 / self.instances as f32 <= self.protect_threshold
    }
}

/// A page of services and how many there are in all (4.3).
pub fn services<'a>(page: impl IntoIterator<Item = Line<'a>>, count: usize) -> Vec<u8> {
    let mut out = br#"{"serviceList":["#.to_vec();
    json::separated(page, &mut out, |line, out| {
        out.extend_from_slice(br#"{"name":"#);
        json::string(line.key.plain_name(), out);
        out.extend_from_slice(br#","groupName":"#);
        json::string(line.key.group(), out);
        let numbers: [(&[u8], usize); 3] = [
            (br#","clusterCount":"#, line.clusters),
            (br#","ipCount":"#, line.instances),
            (br#","healthyInstanceCount":"#, line.healthy),
        ];
        for (name, number) in numbers {
            out.extend_from_slice(name);
            json::unsigned(number as u64, out);
        }
        out.extend_from_slice(br#","triggerFlag":""#);
        json::boolean(line.triggers(), out);
        out.extend_from_slice(br#""}"#);
    });
    out.extend_from_slice(br#"],"count":"#);
    json::unsigned(count as u64, &mut out);
    out.push(b'}');
    out
}

/// Appends a service with all its instances, an element of the array that 4.3 gives with `withInstances`. Every
/// cluster has its name and instances.
pub fn write_with_instances<'a, H>(
    key: &ServiceKey,
    service: &Metadata,
    clusters: impl IntoIterator<Item = (&'a str, H)>,
    out: &mut Vec<u8>,
) where
    H: IntoIterator<Item = Host<'a>>,
{
    out.extend_from_slice(br#"{"serviceName":"#);
    json::string(key.plain_name(), out);
    out.extend_from_slice(br#","groupName":"#);
    json::string(key.group(), out);
    out.extend_from_slice(br#","clusterMap":{"#);
    json::separated(clusters, out, |(name, hosts), out| {
        json::string(name, out);
        out.extend_from_slice(br#":{"hosts":["#);
        json::separated(hosts, out, |host, out| write_host(&host, out));
        out.extend_from_slice(b"]}");
    });
    out.extend_from_slice(br#"},"metadata":"#);
    metadata::write_map(service, out);
    out.push(b'}');
}

fn write_host(host: &Host<'_>, out: &mut Vec<u8>) {
    let instance = host.instance;
    out.extend_from_slice(br#"{"valid":"#);
    json::boolean(instance.healthy, out);
    out.extend_from_slice(br#","metadata":"#);
    metadata::write_json(&instance.metadata, out);
    out.extend_from_slice(br#","port":"#);
    json::integer(host.port.into(), out);
    out.extend_from_slice(br#","ip":"#);
    json::string(host.ip, out);
    out.extend_from_slice(br#","weight":"#);
    json::double(instance.weight, out);
    out.extend_from_slice(br#","enabled":"#);
    json::boolean(instance.enabled, out);
    out.push(b'}');
}

/// How long the checks of a cluster take, in ms (4.4).
#[derive(Debug, Clone, Copy)]
pub struct CheckTimes<'a> {
    /// The cluster.
    pub cluster: &'a str,
    /// Shortest; 2^63-1 before the first check.
    pub best_ms: i64,
    /// Longest; 0 before the first check.
    pub worst_ms: i64,
    /// The pause between checks that follows from them.
    pub normalized_ms: i64,
}

/// Times of the checks of all clusters (4.4).
pub fn check_times<'a>(clusters: impl IntoIterator<Item = CheckTimes<'a>>) -> Vec<u8> {
    let mut out = br#"{"clusters":["#.to_vec();
    json::separated(clusters, &mut out, |times, out| {
        out.extend_from_slice(br#"{"name":"#);
        json::string(times.cluster, out);
        out.extend_from_slice(br#","checkRTBest":"#);
        json::integer(times.best_ms, out);
        out.extend_from_slice(br#","checkRTWorst":"#);
        json::integer(times.worst_ms, out);
        out.extend_from_slice(br#","checkRTNormalized":"#);
        json::integer(times.normalized_ms, out);
        out.push(b'}');
    });
    out.extend_from_slice(b"]}");
    out
}

#[cfg(test)]
mod tests;
