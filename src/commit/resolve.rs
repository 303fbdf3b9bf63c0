//! From a command to rows, against the registry as it is.

mod account;
pub(super) mod agreed;
mod label;
mod merge;
mod switch;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::model::clock::Now;
use crate::model::command::{Address, Command, MetadataChange, Outcome, Patch, Scope};
use crate::model::settings::Switches;
use crate::model::{ClusterKey, ClusterSettings, Instance, InstanceKey, Metadata, Row, ServiceKey, ServiceSettings};
use crate::model::{HealthChecker, MASKED_PASSWORD};
use crate::registry::{Registry, Service, Slot, check_cluster_name, check_service_name, is_cluster_name};
use crate::store::check_size;

/// One thing to do.
pub(super) enum Step {
    /// Store it and apply it. `renew`: the last beat is now.
    Row { row: Row, renew: bool },
    /// Only in memory: the service exists.
    Ensure(ServiceKey),
    /// Nothing changes, but listeners are told of the instance. `renew`: the last beat is now.
    Tell { key: InstanceKey, renew: bool },
    /// Nothing changes, but listeners are told of the service.
    TellOf(ServiceKey),
    /// Only in memory: these switches are in force.
    Override(Box<Switches>),
    /// Store it and apply it: a peer told. `heard_ms`: awake time at which its client was last heard of, 0: never.
    Told { row: Row, changed_ms: u64, heard_ms: u64 },
    /// Only in memory: the same, of an instance that stays as it is.
    Trace { key: InstanceKey, changed_ms: u64, heard_ms: u64 },
    /// Only in memory: it is known that this was taken out then (epoch ms).
    WasRemoved(InstanceKey, u64),
}

/// What a command comes to.
pub(super) struct Resolved {
    pub(super) steps: Vec<Step>,
    pub(super) outcome: Result<Outcome>,
}

impl Resolved {
    fn nothing() -> Self {
        Self { steps: Vec::new(), outcome: Ok(Outcome::Done) }
    }

    fn told(key: InstanceKey, renew: bool) -> Self {
        Self { steps: vec![Step::Tell { key, renew }], outcome: Ok(Outcome::Done) }
    }

    fn rows(rows: Vec<Row>, renew: bool) -> Result<Self> {
        check_sizes(&rows)?;
        let steps = rows.into_iter().map(|row| Step::Row { row, renew }).collect();
        Ok(Self { steps, outcome: Ok(Outcome::Done) })
    }

    fn put(key: InstanceKey, instance: Instance, renew: bool) -> Result<Self> {
        Self::rows(vec![Row::Instance(key, Some(Arc::new(instance)))], renew)
    }
}

/// Refuses rows that the store would refuse. To send them again would not help.
fn check_sizes(rows: &[Row]) -> Result<()> {
    rows.iter().try_for_each(check_size).map_err(|error| match error {
        Error::Limit(text) => Error::Input(text),
        other => other,
    })
}

/// Turns `command` into steps. An error means that nothing is to be done.
pub(super) fn resolve(registry: &Registry, command: &Command, now: Now) -> Result<Resolved> {
    match command {
        Command::Register(key, instance) => register(registry, key, instance.clone()),
        Command::Deregister(key) => deregister(registry, key, now),
        Command::Replace(key, instance, described) => replace(registry, key, instance.clone(), described),
        Command::Patch(address, patch) => self::patch(registry, address, patch),
        Command::ChangeMetadata(service, scope, change) => change_metadata(registry, service, scope, change),
        Command::SetHealth(address, healthy) => set_health(registry, address, *healthy),
        Command::Heal(key) => judge(registry, key, true, |_| true),
        Command::Fade { key, last_beat_ms } => judge(registry, key, false, |slot| slot.last_beat_ms() == *last_beat_ms),
        Command::Expire { key, last_beat_ms } => expire(registry, key, *last_beat_ms),
        Command::CheckedHealth { key, healthy } => checked(registry, key, *healthy),
        Command::CreateService(key, settings) => create_service(registry, key, settings),
        Command::UpdateService(key, settings) => update_service(registry, key, settings),
        Command::DeleteService(key) => delete_service(registry, key),
        Command::CleanService(key) => clean_service(registry, key),
        Command::UpdateCluster(key, settings) => update_cluster(registry, key, settings),
        Command::Switch(change) => switch::change(registry, change),
        Command::Label(change) => label::change(registry, change),
        Command::Account(change) => account::resolve(registry.settings(), change),
        Command::Subscriptions(changes) => {
            let row = |(key, one): &(_, Option<_>)| Row::Subscription(Clone::clone(key), one.clone());
            Resolved::rows(changes.iter().map(row).collect(), false)
        }
        Command::Merge(merges) => Ok(merge::merge(registry, merges, now)),
        Command::PeerHealth(service, told) => Ok(merge::health(registry, service, told)),
        Command::Nothing => Ok(Resolved::nothing()),
        Command::Install(_) => agreed::resolve(registry, command, now),
    }
}

fn register(registry: &Registry, key: &InstanceKey, instance: Instance) -> Result<Resolved> {
    let service = registry.find_service(&key.service);
    if service.is_none() {
        check_service_name(&key.service.name)?;
    }
    let stored = service.as_ref().is_some_and(|s| s.is_stored());
    let service_row = (!key.ephemeral && !stored).then(|| Row::Service(key.service.clone(), Some(Arc::default())));
    let cluster_known = service.as_ref().is_some_and(|s| s.cluster(&key.cluster).is_some());
    if !cluster_known && let Err(error) = check_cluster_name(&key.cluster) {
        // The service comes into being all the same (spec/instance-api.md 1.3), as durably as the kind asks for (2.1).
        let made = match service_row {
            Some(row) => Step::Row { row, renew: false },
            None => Step::Ensure(key.service.clone()),
        };
        check_sizes(&[Row::Service(key.service.clone(), Some(Arc::default()))])?;
        return Ok(Resolved { steps: vec![made], outcome: Err(error) });
    }
    registered(service.as_deref(), key, instance, service_row)
}

/// Puts the instance into the service, if there is one, after `service_row`.
fn registered(
    service: Option<&Service>,
    key: &InstanceKey,
    mut instance: Instance,
    service_row: Option<Row>,
) -> Result<Resolved> {
    let before = service.and_then(|s| s.find(&key.cluster, &key.ip, key.port, key.ephemeral));
    let is_known = |instance: &Instance| before.as_ref().is_some_and(|slot| slot.with(|known| known == instance));
    match &before {
        Some(slot) => slot.with(|known| {
            instance.healthy = known.healthy;
            instance.id = known.id.clone();
        }),
        None if instance.wants_number_id() => instance.id = Some(free_number(service, key.ephemeral)),
        None => instance.id = None,
    }
    // What is visible is stored: clients that register again and again cost no disk.
    if service_row.is_none() && is_known(&instance) {
        return Ok(Resolved::told(key.clone(), true));
    }
    let mut rows = Vec::with_capacity(2);
    rows.extend(service_row);
    rows.push(Row::Instance(key.clone(), Some(Arc::new(instance))));
    Resolved::rows(rows, true)
}

/// The smallest number that no instance of the service and kind has as its id (`spec/instance-api.md` 2.3).
fn free_number(service: Option<&Service>, ephemeral: bool) -> Box<str> {
    let slots = service.map(Service::slots).unwrap_or_default();
    let of_kind = slots.iter().filter(|slot| slot.is_ephemeral() == ephemeral);
    let taken: std::collections::HashSet<u64> =
        of_kind.filter_map(|slot| slot.with(|known| known.id.as_ref()?.parse().ok())).collect();
    let free = (0..).find(|number| !taken.contains(number)).unwrap_or_default();
    free.to_string().into()
}

fn deregister(registry: &Registry, key: &InstanceKey, now: Now) -> Result<Resolved> {
    let service = registry.find_service(&key.service);
    let known = |service: &Service| service.find(&key.cluster, &key.ip, key.port, key.ephemeral).is_some();
    if service.as_deref().is_some_and(known) {
        return Resolved::rows(vec![Row::Instance(key.clone(), None)], false);
    }
    let mut steps = Vec::new();
    if let Some(service) = service {
        if service.cluster(&key.cluster).is_none() {
            check_cluster_name(&key.cluster)?;
        }
        steps.push(Step::TellOf(key.service.clone()));
    }
    // A peer may know it: what it tells of it later was so before.
    if key.ephemeral && is_cluster_name(&key.cluster) {
        steps.push(Step::WasRemoved(key.clone(), now.wall_ms));
    }
    Ok(Resolved { steps, outcome: Ok(Outcome::Done) })
}

fn replace(registry: &Registry, key: &InstanceKey, instance: Instance, described: &str) -> Result<Resolved> {
    check_replaceable(registry, key, described)?;
    register(registry, key, instance)
}

fn check_replaceable(registry: &Registry, key: &InstanceKey, described: &str) -> Result<()> {
    let (namespace, name) = (&key.service.namespace, &key.service.name);
    let Some(service) = registry.find_service(&key.service) else {
        return Err(Error::Refused(format!("service not found, namespace: {namespace}, service: {name}")));
    };
    let known = service.slots().iter().any(|slot| {
        let port_fits = key.port == 0 || slot.port() == key.port;
        port_fits && slot.ip() == &*key.ip && slot.is_ephemeral() == key.ephemeral
    });
    if !known {
        return Err(Error::Refused(format!("instance not exist: {described}")));
    }
    Ok(())
}

/// The instance at an address; a persistent one before an ephemeral one.
fn at_address(service: &Service, address: &Address) -> Option<InstanceKey> {
    let exists = |ephemeral: &bool| service.find(&address.cluster, &address.ip, address.port, *ephemeral).is_some();
    [false, true].into_iter().find(exists).map(|ephemeral| address.of_kind(ephemeral))
}

fn patch(registry: &Registry, address: &Address, patch: &Patch) -> Result<Resolved> {
    let service = registry.find_service(&address.service);
    patched(registry, service.as_ref().and_then(|service| at_address(service, address)), patch)
}

fn patched(registry: &Registry, found: Option<InstanceKey>, patch: &Patch) -> Result<Resolved> {
    let Some((key, slot)) = found.and_then(|key| registry.find(&key).map(|slot| (key, slot))) else {
        return Err(Error::Input("instance not found".into()));
    };
    let mut instance = (*slot.instance()).clone();
    if let Some(metadata) = &patch.metadata {
        instance.metadata = metadata.clone();
    }
    if let Some(app) = &patch.app {
        instance.app = Some(app.clone());
    }
    instance.weight = patch.weight.unwrap_or(instance.weight);
    instance.healthy = patch.healthy.unwrap_or(instance.healthy);
    instance.enabled = patch.enabled.unwrap_or(instance.enabled);
    Resolved::put(key, instance, true)
}

fn changed_metadata(before: Option<&Metadata>, change: &MetadataChange) -> Metadata {
    let before = before.into_iter().flat_map(Metadata::iter);
    match change {
        MetadataChange::Merge(added) => before.chain(added.iter()).collect(),
        MetadataChange::Remove(gone) => before.filter(|(key, _)| gone.get(key).is_none()).collect(),
    }
}

fn change_metadata(
    registry: &Registry,
    service: &ServiceKey,
    scope: &Scope,
    change: &MetadataChange,
) -> Result<Resolved> {
    let Some(service) = registry.find_service(service) else {
        return Ok(Resolved { steps: Vec::new(), outcome: Ok(Outcome::Updated(Vec::new())) });
    };
    let mut keys: Vec<InstanceKey> = match scope {
        Scope::Kind(ephemeral) => {
            let slots = service.view().slots;
            slots.iter().filter(|s| s.is_ephemeral() == *ephemeral).map(|s| s.key(service.key())).collect()
        }
        Scope::These(keys) => {
            let mut seen = std::collections::HashSet::new();
            keys.iter().filter(|key| seen.insert(*key)).cloned().collect()
        }
    };
    keys.retain(|key| registry.find(key).is_some());
    keys.sort_by_key(|key| key.ephemeral);
    let mut rows = Vec::with_capacity(keys.len());
    for key in &keys {
        let Some(slot) = registry.find(key) else { continue };
        let mut instance = (*slot.instance()).clone();
        instance.metadata = Some(changed_metadata(instance.metadata.as_ref(), change));
        rows.push(Row::Instance(key.clone(), Some(Arc::new(instance))));
    }
    let resolved = Resolved::rows(rows, false)?;
    Ok(Resolved { outcome: Ok(Outcome::Updated(keys)), ..resolved })
}

fn set_health(registry: &Registry, address: &Address, healthy: bool) -> Result<Resolved> {
    let (name, cluster) = (&address.service.name, &address.cluster);
    let service = registry.find_service(&address.service);
    let service = service.ok_or_else(|| Error::Refused(format!("service not found: {name}")))?;
    let known = service.cluster(cluster).ok_or_else(|| Error::Refused(format!("cluster not found: {cluster}")))?;
    let checker = known.settings.map_or(HealthChecker::Tcp, |settings| settings.checker.clone());
    if checker != HealthChecker::None {
        return Err(Error::Input(format!("health check is still working, service: {name}")));
    }
    match at_address(&service, address) {
        Some(key) => checked(registry, &key, healthy),
        None => Ok(Resolved::nothing()),
    }
}

/// Sets the health by beats if that still `holds`. Marked instances are left alone (`spec/health.md` 1.2).
fn judge(registry: &Registry, key: &InstanceKey, healthy: bool, holds: impl Fn(&Slot) -> bool) -> Result<Resolved> {
    match registry.find(key) {
        Some(slot) if holds(&slot) && !slot.with(|known| known.marked) => flip(registry, key, healthy),
        _ => Ok(Resolved::nothing()),
    }
}

/// Sets the health.
fn flip(registry: &Registry, key: &InstanceKey, healthy: bool) -> Result<Resolved> {
    let before = registry.find(key).map(|slot| slot.instance());
    let Some(before) = before.filter(|before| before.healthy != healthy) else {
        return Ok(Resolved::nothing());
    };
    Resolved::put(key.clone(), Instance { healthy, ..(*before).clone() }, false)
}

/// Health from outside or by active checks: told in any case, stored when it is new (`spec/health.md` 2.3).
fn checked(registry: &Registry, key: &InstanceKey, healthy: bool) -> Result<Resolved> {
    match registry.find(key) {
        Some(slot) if slot.with(|known| known.healthy == healthy) => Ok(Resolved::told(key.clone(), false)),
        _ => flip(registry, key, healthy),
    }
}

fn expire(registry: &Registry, key: &InstanceKey, seen_ms: u64) -> Result<Resolved> {
    match registry.find(key) {
        Some(slot) if slot.last_beat_ms() == seen_ms && !slot.with(|known| known.marked) => {
            Resolved::rows(vec![Row::Instance(key.clone(), None)], false)
        }
        _ => Ok(Resolved::nothing()),
    }
}

fn create_service(registry: &Registry, key: &ServiceKey, settings: &ServiceSettings) -> Result<Resolved> {
    if registry.find_service(key).is_some() {
        return Err(already_exists(key));
    }
    check_service_name(&key.name)?;
    Resolved::rows(vec![Row::Service(key.clone(), Some(Arc::new(settings.clone())))], false)
}

fn already_exists(key: &ServiceKey) -> Error {
    Error::Input(format!("specified service already exists, serviceName : {}", key.name))
}

fn update_service(registry: &Registry, key: &ServiceKey, settings: &ServiceSettings) -> Result<Resolved> {
    let Some(service) = registry.find_service(key) else {
        return Err(Error::Refused(format!("service {} not found!", key.name)));
    };
    let mut rows = vec![Row::Service(key.clone(), Some(Arc::new(settings.clone())))];
    rows.extend(unstored_clusters(&service));
    Resolved::rows(rows, false)
}

/// Rows of the clusters that are in memory only: the reference stores a service with all its clusters.
fn unstored_clusters(service: &Service) -> impl Iterator<Item = Row> {
    let missing = service.clusters().into_iter().filter(|cluster| cluster.settings.is_none());
    missing.map(|cluster| {
        let key = ClusterKey { service: service.key().clone(), name: cluster.name };
        Row::Cluster(key, Some(Arc::default()))
    })
}

fn removal(service: &Service) -> Result<Resolved> {
    Resolved::rows(removals(service), false)
}

fn removals(service: &Service) -> Vec<Row> {
    let mut rows: Vec<Row> = service.rows().iter().map(Row::removal).collect();
    rows.retain(|row| !matches!(row, Row::Service(..)));
    // Last, and also for a service without stored settings: this is what takes it out of the registry.
    rows.push(Row::Service(service.key().clone(), None));
    rows
}

fn delete_service(registry: &Registry, key: &ServiceKey) -> Result<Resolved> {
    match registry.find_service(key) {
        Some(service) => removal(&service),
        None => Err(Error::Input(format!("specified service not exist, serviceName : {}", key.name))),
    }
}

fn clean_service(registry: &Registry, key: &ServiceKey) -> Result<Resolved> {
    match registry.find_service(key) {
        Some(service) if service.is_empty() => removal(&service),
        _ => Ok(Resolved::nothing()),
    }
}

fn update_cluster(registry: &Registry, key: &ClusterKey, settings: &ClusterSettings) -> Result<Resolved> {
    let Some(service) = registry.find_service(&key.service) else {
        return Err(Error::Refused(format!("service not found:{}", key.service.name)));
    };
    let before = service.cluster(&key.name);
    if before.is_none() {
        check_cluster_name(&key.name)?;
    }
    let mut settings = settings.clone();
    unmask(&mut settings.checker, before.and_then(|cluster| cluster.settings).as_deref())?;
    let mut rows = Vec::with_capacity(2);
    if !service.is_stored() {
        rows.push(Row::Service(key.service.clone(), Some(service.settings())));
    }
    rows.extend(unstored_clusters(&service).filter(|row| !matches!(row, Row::Cluster(other, _) if other == key)));
    rows.push(Row::Cluster(key.clone(), Some(Arc::new(settings))));
    Resolved::rows(rows, false)
}

/// Puts the password that is set in place of its mask.
fn unmask(checker: &mut HealthChecker, before: Option<&ClusterSettings>) -> Result<()> {
    let HealthChecker::Mysql { pwd, .. } = checker else { return Ok(()) };
    if pwd.as_deref() != Some(MASKED_PASSWORD) {
        return Ok(());
    }
    match before.map(|settings| &settings.checker) {
        Some(HealthChecker::Mysql { pwd: Some(known), .. }) => *pwd = Some(known.clone()),
        _ => {
            let text = format!("{MASKED_PASSWORD} stands for the password that is set, and none is");
            return Err(Error::Input(text));
        }
    }
    Ok(())
}
