//! `/v1/ns/instance`: register, change, query and beat instances (`spec/instance-api.md` 5).

mod list;
mod metadata;

pub use list::{list, list_of};
pub use metadata::{merge_metadata, remove_metadata};

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::http::call::{Call, Named, Step, Then, check_format, missing};
use crate::http::reply::Reply;
use crate::model::command::{Address, Command, Patch};
use crate::model::{DEFAULT_CLUSTER, DEFAULT_NAMESPACE, Instance, InstanceKey, MAX_ROW_BYTES, Metadata, ServiceKey};
use crate::push::list::host;
use crate::wire::beat::{self as beats, Beat};
use crate::wire::instance::{self as shape, Host};
use crate::wire::{metadata as texts, number, statuses as status_shape};

/// Least weight above 0 that is kept as it is.
const MIN_WEIGHT: f64 = 0.01;
/// Greatest weight.
const MAX_WEIGHT: f64 = 10_000.0;

/// A weight as lists show it (`spec/instance-api.md` 2).
fn bounded_weight(weight: f64) -> f64 {
    if weight > 0.0 && weight < MIN_WEIGHT { MIN_WEIGHT } else { weight.clamp(0.0, MAX_WEIGHT) }
}

fn check_weight(weight: f64) -> Result<()> {
    if (0.0..=MAX_WEIGHT).contains(&weight) {
        return Ok(());
    }
    Err(Error::Refused("instance format invalid: The weights range from 0.0 to 10000.0".into()))
}

fn key_of(call: &Call<'_>, service: ServiceKey, ip: &str, port: i32) -> InstanceKey {
    let ephemeral = is_ephemeral(call);
    InstanceKey { service, cluster: call.cluster().into(), ip: ip.into(), port, ephemeral }
}

/// The instance that POST and PUT describe, checked in the order of the reference.
fn described(call: &Call<'_>) -> Result<(InstanceKey, Instance)> {
    let named = call.service()?;
    let (ip, port) = (call.ip()?, call.integer("port")?);
    let weight = call.decimal("weight")?.unwrap_or(1.0);
    let metadata = texts::parse(call.params.optional("metadata", ""))?;
    check_weight(weight)?;
    let instance = Instance {
        weight: bounded_weight(weight),
        healthy: call.word("healthy").unwrap_or(true),
        enabled: call.word("enabled").or_else(|| call.word("enable")).unwrap_or(true),
        marked: false,
        metadata,
        id: None,
        app: call.params.given("app").map(Into::into),
        changed_ms: 0,
    };
    let key = key_of(call, named.key(), ip, port);
    check_room(&key, &instance)?;
    Ok((key, instance))
}

/// Whether a request that names an instance means an ephemeral one.
pub(in crate::http) fn is_ephemeral(call: &Call<'_>) -> bool {
    call.word("ephemeral").unwrap_or(call.switches.default_instance_ephemeral)
}

/// Refuses at the door what the store would refuse: a write that waits for the store should not hold megabytes.
fn check_room(key: &InstanceKey, instance: &Instance) -> Result<()> {
    let names = [&key.service.namespace, &key.service.name, &key.cluster, &key.ip].map(|name| name.len());
    let pairs = instance.metadata.iter().flat_map(Metadata::iter).map(|(key, value)| key.len() + value.len());
    let bytes = names.into_iter().chain(pairs).sum::<usize>() + instance.app.as_deref().map_or(0, str::len);
    if bytes > MAX_ROW_BYTES {
        return Err(Error::Input(format!(
            "an instance of {bytes} bytes is more than the {MAX_ROW_BYTES} that can be stored"
        )));
    }
    Ok(())
}

/// POST: register (5.1).
///
/// # Errors
/// Faulty parameters; names that can't be created.
pub fn register(call: &Call<'_>) -> Result<Step> {
    let (key, instance) = described(call)?;
    Step::write(Command::Register(key, instance))
}

/// DELETE: deregister (5.2). What isn't there is no error.
///
/// # Errors
/// Faulty parameters.
pub fn deregister(call: &Call<'_>) -> Result<Step> {
    let (ip, port) = (call.ip()?, call.integer("port")?);
    call.decimal("weight")?;
    let named = call.service()?;
    Step::write(Command::Deregister(key_of(call, named.key(), ip, port)))
}

/// PUT: replace (5.3). Modern Java clients change only what exists.
///
/// # Errors
/// As POST; for modern Java an unknown service or address.
pub fn replace(call: &Call<'_>) -> Result<Step> {
    let (key, instance) = described(call)?;
    if !call.agent().is_modern_java() {
        return Step::write(Command::Register(key, instance));
    }
    let mut weight = Vec::new();
    number::java_double(instance.weight, &mut weight);
    let weight = String::from_utf8_lossy(&weight);
    let text = format!("{}_{weight}_{}_{}_{}", key.printed(), instance.healthy, instance.marked, key.cluster);
    Step::write(Command::Replace(key, instance, text))
}

/// PATCH: change some properties (5.4).
///
/// # Errors
/// Faulty parameters; an unknown instance.
pub fn patch(call: &Call<'_>) -> Result<Step> {
    let named = call.service()?;
    let (ip, port, cluster) = (call.ip()?, call.integer("port")?, call.cluster());
    let service = named.find(&call.app.registry);
    let known = |ephemeral| service.as_ref().is_some_and(|s| s.find(cluster, ip, port, ephemeral).is_some());
    if !known(false) && !known(true) {
        return Err(Error::Input("instance not found".into()));
    }
    let metadata = call.params.given("metadata").map(texts::parse).transpose()?;
    let weight = call.decimal("weight")?;
    weight.map_or(Ok(()), check_weight)?;
    let patch = Patch {
        metadata,
        app: call.params.given("app").map(Into::into),
        weight: weight.map(bounded_weight),
        healthy: call.word("healthy"),
        enabled: call.word("enabled"),
    };
    let address = Address { service: named.key(), cluster: cluster.into(), ip: ip.into(), port };
    Step::write(Command::Patch(address, patch))
}

/// GET: one instance (5.5).
///
/// # Errors
/// Faulty parameters; an unknown service, cluster or instance.
pub fn detail(call: &Call<'_>) -> Result<Step> {
    let named = call.service()?;
    let (ip, port) = (call.ip()?, call.integer("port")?);
    let cluster = call.params.optional("clusterName", DEFAULT_CLUSTER);
    let name = &named.name;
    let no_service = || Error::Refused(format!("no service {name} found!"));
    let service = named.find(&call.app.registry).ok_or_else(no_service)?;
    let Some(slot) = service.find_either(cluster, ip, port) else {
        let populated = service.slots().iter().any(|slot| **slot.cluster() == *cluster);
        return Err(Error::Refused(match populated {
            true => "no matched ip found!".into(),
            false => format!("no ips found for cluster {cluster} in service {name}"),
        }));
    };
    let instance = slot.instance();
    let host = Host { cluster, ip, port, ephemeral: slot.is_ephemeral(), instance: &instance };
    let mut body = Vec::new();
    shape::write_detail(&host, name, &mut body);
    Step::json(body)
}

/// GET `statuses`: health of all instances (5.11). Its `key` is not the service of the other operations.
///
/// # Errors
/// A missing or malformed key; an unknown service.
pub fn statuses(call: &Call<'_>) -> Result<Step> {
    let key = call.params.get("key").ok_or_else(|| missing("key", "String"))?;
    let mut parts = key.split("##");
    let (namespace, name) = match (parts.next(), parts.next()) {
        (Some(namespace), Some(name)) => (namespace, name),
        (Some(name), None) => (DEFAULT_NAMESPACE, name),
        (None, _) => (DEFAULT_NAMESPACE, ""),
    };
    check_format(name)?;
    let service = call.app.registry.service(namespace, name);
    let service = service.ok_or_else(|| Error::Refused(format!("service: {name} not found.")))?;
    Step::json(status_shape::statuses(service.view().hold().iter().map(host)))
}

/// PUT `beat` (5.8).
///
/// # Errors
/// An unreadable beat; faulty parameters.
pub fn beat(call: &Call<'_>) -> Result<Step> {
    beat_of(call, |call| call.service())
}

/// A beat for the service that `service` finds in the call. Nothing is stored, and nothing waits, unless the beat
/// registers or heals.
///
/// # Errors
/// An unreadable beat; faulty parameters.
pub fn beat_of<'c>(call: &'c Call<'_>, service: impl FnOnce(&'c Call<'_>) -> Result<Named<'c>>) -> Result<Step> {
    let full = call.params.given("beat").map(beats::parse).transpose()?.flatten();
    let port = call.integer_or("port", 0)?;
    let named = service(call)?;
    let parameter_cluster = call.params.optional("clusterName", DEFAULT_CLUSTER);
    let (ip, port, cluster) = match &full {
        Some(beat) if beat.cluster.trim().is_empty() => (beat.ip.as_ref(), beat.port, parameter_cluster),
        Some(beat) => (beat.ip.as_ref(), beat.port, beat.cluster.as_ref()),
        None => (call.params.optional("ip", ""), port, parameter_cluster),
    };
    let slot = named.find(&call.app.registry).and_then(|service| service.find_either(cluster, ip, port));
    let Some(slot) = slot else {
        return match &full {
            Some(beat) => register_by_beat(call, &named, cluster, beat),
            None => {
                call.app.traffic.note_unknown_beat();
                Step::json(beats::unknown_answer(usual_interval_ms(call)))
            }
        };
    };
    let (interval_ms, heals) = slot.with(|known| (known.beat_interval_ms(), !known.healthy && !known.marked));
    let answer = answer_beat(call, interval_ms);
    if !slot.is_ephemeral() {
        return Step::json(answer);
    }
    slot.touch(call.app.clock.now_ms());
    if let Some(cluster) = &call.app.cluster {
        cluster.note_beat(&named.name, || slot.key(&named.key()));
    }
    if heals {
        return Ok(Step::Write(Command::Heal(slot.key(&named.key())), Then::Answer(Reply::json(answer))));
    }
    Step::json(answer)
}

/// How often instances beat that don't say it themselves. What is below 0 is told as 0, which clients pass over.
fn usual_interval_ms(call: &Call<'_>) -> u64 {
    u64::try_from(call.switches.client_beat_interval).unwrap_or_default()
}

fn answer_beat(call: &Call<'_>, own_interval_ms: Option<u64>) -> Bytes {
    let interval_ms = own_interval_ms.unwrap_or_else(|| usual_interval_ms(call));
    beats::beat_answer(interval_ms, call.switches.light_beat_enabled)
}

fn register_by_beat(call: &Call<'_>, named: &Named<'_>, cluster: &str, beat: &Beat<'_>) -> Result<Step> {
    if beat.ip.trim().is_empty() {
        return Err(Error::Input("Param 'ip' is required.".into()));
    }
    let instance =
        Instance { weight: bounded_weight(beat.weight), metadata: beat.metadata.clone(), ..Instance::default() };
    let answer = answer_beat(call, instance.beat_interval_ms());
    let key = InstanceKey {
        service: named.key(),
        cluster: cluster.into(),
        ip: beat.ip.as_ref().into(),
        port: beat.port,
        ephemeral: beat.ephemeral,
    };
    check_room(&key, &instance)?;
    Ok(Step::Write(Command::Register(key, instance), Then::Answer(Reply::json(answer))))
}
