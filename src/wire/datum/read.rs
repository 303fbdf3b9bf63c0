//! Reading what [`super::write`], [`super::write_parts`] and real nodes write. Instances are made while the text is
//! read, so what a body takes in memory is bounded by a multiple of its size.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::super::instance::{Host, write_id};
use super::loose::{Loose, Pairs};
use super::service_of;
use crate::error::{Error, Result};
use crate::model::peer::{Datum, Removed, Told, Trace};
use crate::model::{DEFAULT_APP, DEFAULT_CLUSTER, Instance, InstanceKey, MAX_ROW_BYTES, Metadata, ServiceKey};

/// Least weight above 0 that is kept as it is.
const MIN_WEIGHT: f64 = 0.01;
/// Greatest weight.
const MAX_WEIGHT: f64 = 10_000.0;

/// Reads the JSON object key -> datum, of a real node or of one of this kind. Keys that are not of ephemeral lists are
/// skipped, and so are persistent instances. Names of services and clusters are not judged.
///
/// # Errors
/// [`Error::Input`] with what is wrong: no such JSON; a datum, list or instance that is null or missing; a datum of
/// another service than its key says; an instance without address or larger than [`MAX_ROW_BYTES`].
pub fn parse(body: &[u8]) -> Result<Vec<Datum>> {
    read(body, Data)
}

/// Reads what [`super::write_parts`] wrote: lists and parts of lists, and whether each is a whole one.
///
/// # Errors
/// As [`parse`]; and a part that does not begin with the key of an ephemeral list.
pub fn parse_parts(body: &[u8]) -> Result<Vec<(Datum, bool)>> {
    read(body, Parts)
}

fn read<'de, S: DeserializeSeed<'de>>(body: &'de [u8], shape: S) -> Result<S::Value> {
    let wrong = |fault: serde_json::Error| Error::Input(format!("the lists of instances are not readable: {fault}"));
    let mut source = serde_json::Deserializer::from_slice(body);
    let value = shape.deserialize(&mut source).map_err(wrong)?;
    source.end().map_err(wrong)?;
    Ok(value)
}

/// The object of all.
struct Data;

impl<'de> DeserializeSeed<'de> for Data {
    type Value = Vec<Datum>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Vec<Datum>, D::Error> {
        source.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Data {
    type Value = Vec<Datum>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with keys of lists")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vec<Datum>, A::Error> {
        let mut data = Vec::new();
        while let Some(key) = map.next_key::<Loose<'de>>()? {
            match service_of(&key.text().unwrap_or_default()) {
                Some(service) => data.push(map.next_value_seed(One { service: Some(service), part: false })?.0),
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(data)
    }
}

/// The array of parts.
struct Parts;

impl<'de> DeserializeSeed<'de> for Parts {
    type Value = Vec<(Datum, bool)>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Parts {
    type Value = Vec<(Datum, bool)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of parts of lists")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = seq.next_element_seed(One { service: None, part: true })? {
            parts.push(part);
        }
        Ok(parts)
    }
}

/// One datum or part; of a datum the service is known from its key outside.
struct One {
    service: Option<ServiceKey>,
    part: bool,
}

impl<'de> DeserializeSeed<'de> for One {
    type Value = (Datum, bool);

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Self::Value, D::Error> {
        source.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for One {
    type Value = (Datum, bool);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list with its key")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut told, mut whole, mut removed) = (None, None, None);
        while let Some(name) = map.next_key::<Loose<'de>>()? {
            match name.text().as_deref() {
                Some("key") => self.settle(map.next_value::<Loose<'de>>()?).map_err(A::Error::custom)?,
                Some("value") => told = Some(map.next_value_seed(Value(Rows::of(&self.service, self.part)?))?),
                Some("whole") if self.part => whole = Some(map.next_value::<bool>()?),
                Some("removed") => removed = map.next_value::<Option<RemovedRow<'de>>>()?,
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        let service = self.service.ok_or_else(|| A::Error::custom("a part has no key"))?;
        let removed = removed.map(|row| row.removed(&service)).transpose().map_err(A::Error::custom)?;
        let told = told.ok_or_else(|| A::Error::custom("a list has no value"))?;
        if self.part && whole.is_none() {
            return Err(A::Error::custom("a part does not say whether it is whole"));
        }
        Ok((Datum { service, told, removed }, whole.unwrap_or(true)))
    }
}

impl One {
    /// The key inside was read.
    fn settle(&mut self, key: Loose<'_>) -> Result<(), &'static str> {
        let Some(key) = key.text() else { return Ok(()) };
        let named = service_of(&key).ok_or("a key inside is not that of an ephemeral list")?;
        match &self.service {
            Some(service) if *service != named => Err("a key inside names another service"),
            _ => {
                self.service = Some(named);
                Ok(())
            }
        }
    }
}

/// The object around the array of instances.
struct Value(Rows);

impl<'de> DeserializeSeed<'de> for Value {
    type Value = Vec<Told>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Vec<Told>, D::Error> {
        source.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Value {
    type Value = Vec<Told>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with an instanceList")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Vec<Told>, A::Error> {
        let mut told = None;
        while let Some(name) = map.next_key::<Loose<'de>>()? {
            if name == Loose::Text("instanceList".into()) {
                told = Some(map.next_value_seed(&mut self.0)?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        // To take it for an empty list would remove all instances; no node leaves it out.
        told.ok_or_else(|| A::Error::custom("a value has no instanceList"))
    }
}

/// The array of instances. Names that all share are kept once.
struct Rows {
    service: ServiceKey,
    /// The cluster of the last instance.
    cluster: Arc<str>,
    clusters: HashSet<Arc<str>>,
    /// Persistent ones are read as well.
    persistent_too: bool,
    /// For the ordinary id.
    id: Vec<u8>,
}

impl Rows {
    fn of<E: serde::de::Error>(service: &Option<ServiceKey>, persistent_too: bool) -> Result<Self, E> {
        let service = service.clone().ok_or_else(|| E::custom("a part has its key behind its value, or none"))?;
        Ok(Self { service, cluster: DEFAULT_CLUSTER.into(), clusters: HashSet::new(), persistent_too, id: Vec::new() })
    }

    fn cluster(&mut self, name: &str) -> Arc<str> {
        if *self.cluster != *name {
            self.clusters.insert(self.cluster.clone());
            self.cluster = self.clusters.get(name).cloned().unwrap_or_else(|| name.into());
        }
        self.cluster.clone()
    }

    /// `Ok(None)` for a persistent one that is not wanted.
    fn told(&mut self, row: Row<'_>) -> Result<Option<Told>, String> {
        let Row { instance_id, ip, port, weight, healthy, enabled, ephemeral, marked, .. } = row;
        let ephemeral = ephemeral.truth(true).ok_or("ephemeral is no truth value")?;
        if !ephemeral && !self.persistent_too {
            return Ok(None);
        }
        let cluster = row.cluster_name.text().filter(|name| !name.is_empty());
        let key = InstanceKey {
            service: self.service.clone(),
            cluster: self.cluster(cluster.as_deref().unwrap_or(DEFAULT_CLUSTER)),
            ip: address(ip)?.as_ref().into(),
            port: port_of(&port)?,
            ephemeral,
        };
        let weight = weight.real(1.0).ok_or("weight is no number")?;
        let instance = Instance {
            weight: if weight > 0.0 && weight < MIN_WEIGHT { MIN_WEIGHT } else { weight.clamp(0.0, MAX_WEIGHT) },
            healthy: healthy.truth(true).ok_or("healthy is no truth value")?,
            enabled: enabled.truth(true).ok_or("enabled is no truth value")?,
            marked: marked.truth(false).ok_or("marked is no truth value")?,
            metadata: row.metadata.0,
            id: None,
            app: row.app.text().filter(|app| app != DEFAULT_APP).map(Into::into),
            changed_ms: row.changed_ms.unwrap_or(0),
        };
        let id = instance_id.text().filter(|id| !self.is_ordinary(id, &key, &instance));
        let instance = Instance { id: id.map(Into::into), ..instance };
        check_size(&key, &instance)?;
        let last_beat_ms = row.last_beat.whole().ok_or("lastBeat is no whole number")?;
        let trace = row.changed_ms.map(|changed_ms| Trace { changed_ms, heard_ms: row.heard_ms });
        let last_beat_ms = u64::try_from(last_beat_ms).unwrap_or(0);
        Ok(Some(Told { key, instance: Arc::new(instance), last_beat_ms, trace }))
    }

    fn is_ordinary(&mut self, id: &str, key: &InstanceKey, instance: &Instance) -> bool {
        self.id.clear();
        write_id(&Host::new(key, instance), &key.service.name, &mut self.id);
        let ordinary = self.id.get(1..self.id.len().saturating_sub(1)).unwrap_or_default();
        // With characters that JSON escapes the texts differ although the ids may not.
        ordinary == id.as_bytes()
            || (ordinary.contains(&b'\\')
                && id == format!("{}#{}#{}#{}", key.ip, key.port, key.cluster, key.service.name))
    }
}

fn address(ip: Loose<'_>) -> Result<Cow<'_, str>, &'static str> {
    ip.text().filter(|ip| !ip.trim().is_empty()).ok_or("an instance has no ip")
}

fn port_of(port: &Loose<'_>) -> Result<i32, &'static str> {
    port.whole().and_then(|port| port.try_into().ok()).ok_or("port is no number of 32 bits")
}

/// Refuses what the store would refuse.
fn check_size(key: &InstanceKey, instance: &Instance) -> Result<(), String> {
    let names = [&key.service.namespace, &key.service.name, &key.cluster, &key.ip].map(|name| name.len());
    let pairs = instance.metadata.iter().flat_map(Metadata::iter).map(|(key, value)| key.len() + value.len());
    let texts = [&instance.id, &instance.app].map(|text| text.as_deref().map_or(0, str::len));
    let bytes: usize = names.into_iter().chain(texts).chain(pairs).sum();
    if bytes > MAX_ROW_BYTES {
        return Err(format!("an instance of {bytes} bytes is more than the {MAX_ROW_BYTES} that can be stored"));
    }
    Ok(())
}

impl<'de> DeserializeSeed<'de> for &mut Rows {
    type Value = Vec<Told>;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<Vec<Told>, D::Error> {
        source.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for &mut Rows {
    type Value = Vec<Told>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of instances")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Told>, A::Error> {
        let mut told = Vec::new();
        while let Some(row) = seq.next_element::<Row<'de>>()? {
            told.extend(self.told(row).map_err(A::Error::custom)?);
        }
        Ok(told)
    }
}

/// An instance; members that are not here (`serviceName`, the intervals) don't count.
#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[derive(Default)]
struct Row<'a> {
    #[serde(borrow)]
    instance_id: Loose<'a>,
    #[serde(borrow)]
    ip: Loose<'a>,
    #[serde(borrow)]
    port: Loose<'a>,
    #[serde(borrow)]
    weight: Loose<'a>,
    #[serde(borrow)]
    healthy: Loose<'a>,
    #[serde(borrow)]
    enabled: Loose<'a>,
    #[serde(borrow)]
    ephemeral: Loose<'a>,
    #[serde(borrow)]
    marked: Loose<'a>,
    #[serde(borrow)]
    cluster_name: Loose<'a>,
    metadata: Pairs,
    #[serde(borrow)]
    last_beat: Loose<'a>,
    #[serde(borrow)]
    app: Loose<'a>,
    changed_ms: Option<u64>,
    heard_ms: Option<u64>,
}

/// What was taken out of late.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RemovedRow<'a> {
    since_ms: u64,
    #[serde(default)]
    service_too: bool,
    #[serde(borrow)]
    keys: Vec<RemovedKey<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RemovedKey<'a> {
    #[serde(borrow)]
    ip: Loose<'a>,
    #[serde(borrow)]
    port: Loose<'a>,
    #[serde(borrow)]
    cluster_name: Loose<'a>,
    removed_ms: u64,
}

impl RemovedRow<'_> {
    fn removed(self, service: &ServiceKey) -> Result<Removed, String> {
        let mut rows =
            Rows::of::<serde::de::value::Error>(&Some(service.clone()), false).map_err(|fault| fault.to_string())?;
        let key = |row: RemovedKey<'_>| {
            let cluster = row.cluster_name.text().filter(|name| !name.is_empty());
            let key = InstanceKey {
                service: service.clone(),
                cluster: rows.cluster(cluster.as_deref().unwrap_or(DEFAULT_CLUSTER)),
                ip: address(row.ip)?.as_ref().into(),
                port: port_of(&row.port)?,
                ephemeral: true,
            };
            check_size(&key, &Instance::default())?;
            Ok((key, row.removed_ms))
        };
        let keys = self.keys.into_iter().map(key).collect::<Result<_, String>>()?;
        Ok(Removed { since_ms: self.since_ms, keys, service_too: self.service_too })
    }
}
