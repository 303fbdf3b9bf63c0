//! Commands that a group of servers has agreed on. Each server carries them out on its own registry, so what they come to
//! must depend on nothing but what the group has agreed on before: stored settings and persistent instances. It must not
//! depend on ephemeral instances, nor on services and clusters that are there because of them. (How healthy a persistent
//! instance is, the owner of its service finds out and tells.)

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{Resolved, Step};
use crate::error::Result;
use crate::model::clock::Now;
use crate::model::command::{Address, Command, MetadataChange, Patch, Scope};
use crate::model::settings::{Setting, SettingKey};
use crate::model::{ClusterKey, ClusterSettings, Instance, InstanceKey, Row, ServiceKey, ServiceSettings};
use crate::registry::{Registry, Service, check_cluster_name, check_service_name};

/// Turns `command` into steps, the same ones on every server of the group.
pub(in crate::commit) fn resolve(registry: &Registry, command: &Command, now: Now) -> Result<Resolved> {
    match command {
        Command::Register(key, instance) => register(registry, key, instance.clone()),
        Command::Replace(key, instance, described) => {
            super::check_replaceable(registry, key, described)?;
            register(registry, key, instance.clone())
        }
        Command::Patch(address, patch) => self::patch(registry, address, patch),
        Command::ChangeMetadata(service, scope, change) => change_metadata(registry, service, scope, change),
        Command::CreateService(key, settings) => create_service(registry, key, settings),
        Command::UpdateService(key, settings) => put_service(registry, key, settings),
        Command::DeleteService(key) => {
            registry.find_service(key).map_or_else(|| Ok(Resolved::nothing()), |service| super::removal(&service))
        }
        Command::CleanService(key) => clean_service(registry, key),
        Command::UpdateCluster(key, settings) => update_cluster(registry, key, settings),
        Command::Install(rows) => install(registry, rows),
        other => super::resolve(registry, other, now),
    }
}

fn is_stored(service: Option<&Arc<Service>>) -> bool {
    service.is_some_and(|service| service.is_stored())
}

fn register(registry: &Registry, key: &InstanceKey, instance: Instance) -> Result<Resolved> {
    let service = registry.find_service(&key.service);
    let stored = is_stored(service.as_ref());
    if !stored {
        check_service_name(&key.service.name)?;
    }
    let service_row = (!stored).then(|| Row::Service(key.service.clone(), Some(Arc::default())));
    if registry.find(key).is_none()
        && let Err(error) = check_cluster_name(&key.cluster)
    {
        // The service comes into being all the same (spec/instance-api.md 1.3).
        let made = Resolved::rows(service_row.into_iter().collect(), false)?;
        return Ok(Resolved { outcome: Err(error), ..made });
    }
    super::registered(service.as_deref(), key, instance, service_row)
}

fn patch(registry: &Registry, address: &Address, patch: &Patch) -> Result<Resolved> {
    super::patched(registry, Some(address.of_kind(false)), patch)
}

fn change_metadata(
    registry: &Registry,
    service: &ServiceKey,
    scope: &Scope,
    change: &MetadataChange,
) -> Result<Resolved> {
    let scope = match scope {
        Scope::Kind(_) => Scope::Kind(false),
        Scope::These(keys) => Scope::These(keys.iter().filter(|key| !key.ephemeral).cloned().collect()),
    };
    super::change_metadata(registry, service, &scope, change)
}

fn create_service(registry: &Registry, key: &ServiceKey, settings: &ServiceSettings) -> Result<Resolved> {
    if is_stored(registry.find_service(key).as_ref()) {
        return Err(super::already_exists(key));
    }
    put_service(registry, key, settings)
}

/// Whether the service is there because of ephemeral instances was for the server to say that was asked.
fn put_service(registry: &Registry, key: &ServiceKey, settings: &ServiceSettings) -> Result<Resolved> {
    if !is_stored(registry.find_service(key).as_ref()) {
        check_service_name(&key.name)?;
    }
    Resolved::rows(vec![Row::Service(key.clone(), Some(Arc::new(settings.clone())))], false)
}

/// That no ephemeral instance is left was for the server to say that wants it clean.
fn clean_service(registry: &Registry, key: &ServiceKey) -> Result<Resolved> {
    match registry.find_service(key) {
        Some(service) if !service.has_persistent() => Resolved::rows(dissolved(&service), false),
        _ => Ok(Resolved::nothing()),
    }
}

/// Nothing agreed is left of `service`; ephemeral instances that this server has stay, as new ones.
fn dissolved(service: &Service) -> Vec<Row> {
    let mut rows = super::removals(service);
    let kept = service.rows().into_iter().filter(|row| matches!(row, Row::Instance(key, _) if key.ephemeral));
    rows.extend(kept);
    rows
}

fn update_cluster(registry: &Registry, key: &ClusterKey, settings: &ClusterSettings) -> Result<Resolved> {
    let service = registry.find_service(&key.service);
    let stored = is_stored(service.as_ref());
    if !stored {
        check_service_name(&key.service.name)?;
    }
    let before = service.and_then(|service| service.cluster(&key.name)).and_then(|cluster| cluster.settings);
    if before.is_none() {
        check_cluster_name(&key.name)?;
    }
    let mut settings = settings.clone();
    super::unmask(&mut settings.checker, before.as_deref())?;
    let mut rows = Vec::with_capacity(2);
    if !stored {
        rows.push(Row::Service(key.service.clone(), Some(Arc::default())));
    }
    rows.push(Row::Cluster(key.clone(), Some(Arc::new(settings))));
    Resolved::rows(rows, false)
}

/// The rows of a snapshot, by key.
#[derive(Default)]
struct Wanted {
    settings: BTreeMap<SettingKey, Arc<Setting>>,
    services: HashMap<ServiceKey, Arc<ServiceSettings>>,
    clusters: HashMap<ClusterKey, Arc<ClusterSettings>>,
    instances: HashMap<InstanceKey, Arc<Instance>>,
}

impl Wanted {
    fn of(rows: &[Row]) -> Self {
        let mut wanted = Self::default();
        for row in rows.iter().cloned() {
            match row {
                Row::Setting(key, Some(setting)) => drop(wanted.settings.insert(key, setting)),
                Row::Service(key, Some(settings)) => drop(wanted.services.insert(key, settings)),
                Row::Cluster(key, Some(settings)) => drop(wanted.clusters.insert(key, settings)),
                Row::Instance(key, Some(instance)) if !key.ephemeral => drop(wanted.instances.insert(key, instance)),
                // Nothing else is agreed on.
                _ => {}
            }
        }
        wanted
    }

    fn has(&self, row: &Row) -> bool {
        match row {
            Row::Setting(key, _) => self.settings.contains_key(key),
            Row::Service(key, _) => self.services.contains_key(key),
            Row::Cluster(key, _) => self.clusters.contains_key(key),
            Row::Instance(key, _) => self.instances.contains_key(key),
            Row::Subscription(..) => true,
        }
    }
}

/// What it takes to have the agreed rows of `rows`, and no others.
fn install(registry: &Registry, rows: &[Row]) -> Result<Resolved> {
    let wanted = Wanted::of(rows);
    let mut steps = Vec::new();
    let mut step = |row| steps.push(Step::Row { row, renew: false });
    let gone = registry.settings().agreed_rows().into_iter().filter(|row| !wanted.has(row));
    gone.for_each(|row| step(row.removal()));
    for (key, setting) in &wanted.settings {
        if registry.settings().get(key).as_ref() != Some(setting) {
            step(Row::Setting(key.clone(), Some(setting.clone())));
        }
    }
    for service in registry.services() {
        if service.is_stored() && !wanted.services.contains_key(service.key()) {
            dissolved(&service).into_iter().for_each(&mut step);
            continue;
        }
        service.agreed_rows().iter().filter(|row| !wanted.has(row)).for_each(|row| step(row.removal()));
    }
    for (key, settings) in &wanted.services {
        let before = registry.find_service(key).filter(|service| service.is_stored());
        if before.is_none_or(|service| service.settings() != *settings) {
            step(Row::Service(key.clone(), Some(settings.clone())));
        }
    }
    for (key, settings) in &wanted.clusters {
        let before = registry.find_service(&key.service).and_then(|service| service.cluster(&key.name));
        if before.and_then(|cluster| cluster.settings).as_ref() != Some(settings) {
            step(Row::Cluster(key.clone(), Some(settings.clone())));
        }
    }
    for (key, instance) in &wanted.instances {
        let before = registry.find(key).map(|slot| slot.instance());
        let healthy = before.as_ref().map_or(instance.healthy, |before| before.healthy);
        let instance = Instance { healthy, ..(**instance).clone() };
        if before.is_none_or(|before| *before != instance) {
            step(Row::Instance(key.clone(), Some(Arc::new(instance))));
        }
    }
    Ok(Resolved { steps, ..Resolved::nothing() })
}
