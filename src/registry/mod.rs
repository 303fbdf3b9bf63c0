//! The state in memory: namespace -> service -> clusters and instances. `apply(row)` changes it, queries read it.
//!
//! One thread writes (the committer), any number read. Nothing here does I/O, asks a clock or awaits; time comes in
//! as a parameter. A write costs the same however large its service is.

mod lists;
mod removals;
mod service;
mod settings;
mod slot;
mod subscriptions;

pub use lists::{ListKey, View};
pub use removals::{KEEP_MS as REMOVALS_KEPT_MS, Removals};
pub use service::{
    Change, CheckTimes, ClusterEntry, Counts, EXPIRY_GRACE_MS, Service, check_cluster_name, check_service_name,
    is_cluster_name, is_service_name,
};
pub use settings::Settings;
pub use slot::Slot;
pub use subscriptions::Subscriptions;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use hashbrown::HashMap;
use parking_lot::RwLock;

use crate::model::{InstanceKey, Row, ServiceKey};

type Map<V> = HashMap<Arc<str>, V, foldhash::fast::RandomState>;

/// Everything registered.
#[derive(Default)]
pub struct Registry {
    namespaces: RwLock<Map<Arc<Namespace>>>,
    settings: Settings,
    subscriptions: Subscriptions,
    removals: Removals,
    services: AtomicUsize,
    instances: AtomicUsize,
    /// No list is ever given out with a `lastRefTime` below this (epoch ms).
    ref_floor_ms: AtomicU64,
}

/// The services of one namespace. Comes with its first service and never goes.
pub struct Namespace {
    name: Arc<str>,
    services: RwLock<Map<Arc<Service>>>,
}

impl Namespace {
    /// Its name.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Its services, in order of grouped names.
    pub fn services(&self) -> Vec<Arc<Service>> {
        let mut all: Vec<_> = self.services.read().values().cloned().collect();
        all.sort_unstable_by(|a, b| a.key().name.cmp(&b.key().name));
        all
    }
}

impl Registry {
    /// An empty registry whose lists are never dated before `ref_floor_ms` (epoch ms): the time at which an earlier
    /// process was last alive, so that `lastRefTime` doesn't go back over a restart (`spec/clients.md` 1, need 20).
    pub fn new(ref_floor_ms: u64) -> Self {
        Self { ref_floor_ms: AtomicU64::new(ref_floor_ms), ..Self::default() }
    }

    /// Moves the floor of `lastRefTime` up to `floor_ms`.
    pub fn raise_ref_floor(&self, floor_ms: u64) {
        self.ref_floor_ms.fetch_max(floor_ms, Ordering::Relaxed);
    }

    /// The floor of `lastRefTime` in epoch ms.
    pub fn ref_floor_ms(&self) -> u64 {
        self.ref_floor_ms.load(Ordering::Relaxed)
    }

    /// What operators set for the whole node.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Who is to be told of changes by UDP, as it is stored.
    pub fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    /// What was taken out of late.
    pub fn removals(&self) -> &Removals {
        &self.removals
    }

    /// The service of that grouped name.
    pub fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        let namespaces = self.namespaces.read();
        let services = namespaces.get(namespace)?.services.read();
        services.get(name).cloned()
    }

    /// The service of that key.
    pub fn find_service(&self, key: &ServiceKey) -> Option<Arc<Service>> {
        self.service(&key.namespace, &key.name)
    }

    /// The instance of that key.
    pub fn find(&self, key: &InstanceKey) -> Option<Arc<Slot>> {
        self.find_service(&key.service)?.find(&key.cluster, &key.ip, key.port, key.ephemeral)
    }

    /// All namespaces that have or had a service, in order of names.
    pub fn namespaces(&self) -> Vec<Arc<Namespace>> {
        let mut all: Vec<_> = self.namespaces.read().values().cloned().collect();
        all.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The namespace of that name, if it has or had a service.
    pub fn namespace(&self, name: &str) -> Option<Arc<Namespace>> {
        self.namespaces.read().get(name).cloned()
    }

    /// All services, in order of namespaces and names.
    pub fn services(&self) -> Vec<Arc<Service>> {
        self.namespaces().iter().flat_map(|namespace| namespace.services()).collect()
    }

    /// Number of services in all namespaces.
    pub fn service_count(&self) -> usize {
        self.services.load(Ordering::Relaxed)
    }

    /// How many services have a grouped name that `keep` accepts, and how many instances of both kinds these have. Looks at
    /// every service.
    pub fn tally(&self, keep: impl Fn(&str) -> bool) -> (usize, usize) {
        let namespaces: Vec<Arc<Namespace>> = self.namespaces.read().values().cloned().collect();
        let services = namespaces.iter().flat_map(|namespace| {
            let services: Vec<Arc<Service>> = namespace.services.read().values().cloned().collect();
            services
        });
        let kept = services.filter(|service| keep(&service.key().name));
        kept.fold((0, 0), |(services, instances), service| (services + 1, instances + service.len()))
    }

    /// Number of instances of both kinds in all namespaces.
    pub fn instance_count(&self) -> usize {
        self.instances.load(Ordering::Relaxed)
    }

    /// All that the store has to hold, one service after the other.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        let of_services = self.services().into_iter().flat_map(|service| service.rows());
        self.settings.rows().into_iter().chain(of_services).chain(self.subscriptions.rows())
    }

    /// Those rows that the servers of a cluster agree on: settings of all kinds, persistent instances.
    pub fn agreed_rows(&self) -> Vec<Row> {
        let mut rows = self.settings.agreed_rows();
        rows.extend(self.services().iter().flat_map(|service| service.agreed_rows()));
        rows
    }

    /// Makes the service if it is missing; it has default settings that are not stored.
    pub fn ensure_service(&self, key: &ServiceKey) -> Arc<Service> {
        if let Some(service) = self.find_service(key) {
            return service;
        }
        let mut namespaces = self.namespaces.write();
        let namespace = namespaces
            .entry(key.namespace.clone())
            .or_insert_with(|| Arc::new(Namespace { name: key.namespace.clone(), services: RwLock::default() }));
        let key = ServiceKey { namespace: namespace.name.clone(), name: key.name.clone() };
        let mut services = namespace.services.write();
        let service = services.entry(key.name.clone()).or_insert_with(|| {
            self.services.fetch_add(1, Ordering::Relaxed);
            Arc::new(Service::new(key))
        });
        service.clone()
    }

    /// From awake time `now_ms` on every instance has its full time to beat.
    pub fn grant_grace(&self, now_ms: u64) {
        self.services().iter().for_each(|service| service.grant_grace(now_ms));
    }

    /// This process was stopped for `lost_ms`, which the clock of `now_ms` (awake) does not count: what was heard before
    /// that is so much longer ago, and every instance has its full time to beat from now on.
    pub fn resume(&self, lost_ms: u64, now_ms: u64) {
        for service in self.services() {
            service.grant_grace(now_ms);
            service.set_back(lost_ms);
        }
    }

    /// Carries a row out at awake time `now_ms`. `renew` sets the time of the last beat to that, as registrations
    /// do; a new instance has it in any case. `None`: there was nothing to change.
    pub fn apply(&self, row: Row, now_ms: u64, renew: bool) -> Option<Change> {
        match row {
            Row::Instance(key, Some(instance)) => {
                let service = self.ensure_service(&key.service);
                let (slot, new) = service.put(&key, instance, now_ms, renew);
                if new {
                    self.instances.fetch_add(1, Ordering::Relaxed);
                }
                Some(Change::Put { service, slot, new, by_health: false })
            }
            Row::Instance(key, None) => {
                let service = self.find_service(&key.service)?;
                let slot = service.remove(&key)?;
                self.instances.fetch_sub(1, Ordering::Relaxed);
                Some(Change::Removed { service, slot })
            }
            Row::Service(key, Some(settings)) => {
                let service = self.ensure_service(&key);
                service.set_settings(settings);
                Some(Change::Settings { service })
            }
            Row::Service(key, None) => self.remove_service(&key).map(|service| Change::Gone { service }),
            Row::Cluster(key, settings) => {
                let service = match &settings {
                    Some(_) => self.ensure_service(&key.service),
                    None => self.find_service(&key.service)?,
                };
                service.set_cluster(&key.name, settings);
                Some(Change::Settings { service })
            }
            Row::Setting(key, setting) => {
                self.settings.apply(key, setting);
                None
            }
            Row::Subscription(key, subscription) => {
                self.subscriptions.apply(key, subscription);
                None
            }
        }
    }

    fn remove_service(&self, key: &ServiceKey) -> Option<Arc<Service>> {
        let namespaces = self.namespaces.read();
        let service = namespaces.get(key.namespace.as_ref())?.services.write().remove(key.name.as_ref())?;
        self.services.fetch_sub(1, Ordering::Relaxed);
        self.instances.fetch_sub(service.retire(), Ordering::Relaxed);
        Some(service)
    }
}

#[cfg(test)]
mod tests;
