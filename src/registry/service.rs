//! A service: settings, clusters, instances, and the answers built from them.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use hashbrown::HashTable;
use parking_lot::RwLock;

use super::lists::{ListKey, Lists, View};
use super::slot::Slot;
use crate::error::{Error, Result};
use crate::model::{ClusterKey, ClusterSettings, Instance, InstanceKey, Row, ServiceKey, ServiceSettings};

static HASHER: LazyLock<foldhash::fast::RandomState> = LazyLock::new(Default::default);
static DEFAULT_SETTINGS: LazyLock<Arc<ServiceSettings>> = LazyLock::new(Default::default);
static DEFAULT_CLUSTER_SETTINGS: LazyLock<Arc<ClusterSettings>> = LazyLock::new(Default::default);

/// Whether a service of this grouped name may be created: `[0-9a-zA-Z@.:_-]+` (`spec/instance-api.md` 1.3).
pub fn is_service_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"@.:_-".contains(&b))
}

/// Whether a cluster of this name may be created: `[0-9a-zA-Z-]+` (`spec/instance-api.md` 1.3).
pub fn is_cluster_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Refuses a name that no service may have ([`is_service_name`]).
///
/// # Errors
/// [`Error::Input`] with the rule.
pub fn check_service_name(name: &str) -> Result<()> {
    if is_service_name(name) {
        return Ok(());
    }
    let rule = "dom name can only have these characters: 0-9a-zA-Z-._:, current:";
    Err(Error::Input(format!("{rule} {name}")))
}

/// Refuses a name that no cluster may have ([`is_cluster_name`]).
///
/// # Errors
/// [`Error::Input`] with the rule.
pub fn check_cluster_name(name: &str) -> Result<()> {
    if is_cluster_name(name) {
        return Ok(());
    }
    let rule = "cluster name can only have these characters: 0-9a-zA-Z-, current:";
    Err(Error::Input(format!("{rule} {name}")))
}

/// What became different by a row.
#[derive(Clone)]
pub enum Change {
    /// An instance came or was replaced.
    Put {
        /// Where.
        service: Arc<Service>,
        /// The instance.
        slot: Arc<Slot>,
        /// It was not there before.
        new: bool,
        /// By what is known of its health, and nothing else is different.
        by_health: bool,
    },
    /// An instance went.
    Removed {
        /// Where.
        service: Arc<Service>,
        /// The instance that was there.
        slot: Arc<Slot>,
    },
    /// The service came, with nothing in it.
    Made {
        /// Which.
        service: Arc<Service>,
    },
    /// Nothing, but subscribers are to hear of the service all the same.
    Told {
        /// Which.
        service: Arc<Service>,
    },
    /// Settings of the service or of a cluster.
    Settings {
        /// Where.
        service: Arc<Service>,
    },
    /// The service went with all that it had.
    Gone {
        /// The service that was there.
        service: Arc<Service>,
    },
}

/// Nobody is judged sooner after a limit than this: a beat may be on its way, and the clock by which it is noted and
/// judged moves on in ticks. The reference looks every 5 s, so 0 to 5 s after the limit (`spec/health.md` 1.2).
pub const EXPIRY_GRACE_MS: u64 = 1_000;

/// A cluster of a service.
#[derive(Clone)]
pub struct ClusterEntry {
    /// Its name.
    pub name: Arc<str>,
    /// `None`: defaults, nothing stored.
    pub settings: Option<Arc<ClusterSettings>>,
    /// How long its checks take.
    pub times: Arc<CheckTimes>,
}

/// How long the checks of a cluster take (`spec/service-api.md` 4.4). Only `health` writes it, nothing stores it.
#[derive(Debug)]
pub struct CheckTimes {
    best_ms: AtomicI64,
    worst_ms: AtomicI64,
    smoothed_ms: AtomicI64,
}

impl Default for CheckTimes {
    fn default() -> Self {
        Self { best_ms: AtomicI64::new(i64::MAX), worst_ms: AtomicI64::new(0), smoothed_ms: AtomicI64::new(-1) }
    }
}

impl CheckTimes {
    /// Takes note of the pause before the next run, and of a check that took `sample_ms`, if one has ended.
    pub fn note(&self, smoothed_ms: i64, sample_ms: Option<i64>) {
        self.smoothed_ms.store(smoothed_ms, Ordering::Relaxed);
        if let Some(sample_ms) = sample_ms {
            self.best_ms.fetch_min(sample_ms, Ordering::Relaxed);
            self.worst_ms.fetch_max(sample_ms, Ordering::Relaxed);
        }
    }

    /// The shortest and the longest time in ms; before the first check `i64::MAX` and 0, as in the reference.
    pub fn range_ms(&self) -> (i64, i64) {
        (self.best_ms.load(Ordering::Relaxed), self.worst_ms.load(Ordering::Relaxed))
    }

    /// The smoothed time in ms; `None` while nobody checks the cluster.
    pub fn smoothed_ms(&self) -> Option<i64> {
        Some(self.smoothed_ms.load(Ordering::Relaxed)).filter(|ms| *ms >= 0)
    }
}

/// Numbers of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Clusters, with and without instances.
    pub clusters: usize,
    /// Instances of both kinds, disabled ones too.
    pub instances: usize,
    /// Those of them that are healthy.
    pub healthy: usize,
}

struct State {
    /// `None`: defaults, nothing stored.
    settings: Option<Arc<ServiceSettings>>,
    clusters: Vec<ClusterEntry>,
    slots: HashTable<Arc<Slot>>,
    /// How many of them are persistent: mostly none, and then nobody has to look for one.
    persistent: usize,
}

/// A service of the registry.
pub struct Service {
    key: ServiceKey,
    state: RwLock<State>,
    /// Counts states; changes under the write lock of `state`.
    version: AtomicU64,
    /// `lastRefTime` of the newest answer, epoch ms.
    last_ref_ms: AtomicU64,
    /// Silence before this awake time counts against nobody.
    grace_ms: AtomicU64,
    /// When the owner last had the same ephemeral instances as this server, awake ms; 0: never.
    vouched_ms: AtomicU64,
    /// The state that this was said of.
    vouched_version: AtomicU64,
    lists: RwLock<Lists>,
}

fn hash(cluster: &str, ip: &str, port: i32, ephemeral: bool) -> u64 {
    HASHER.hash_one((ip, port, cluster, ephemeral))
}

fn hash_slot(slot: &Arc<Slot>) -> u64 {
    hash(slot.cluster(), slot.ip(), slot.port(), slot.is_ephemeral())
}

impl State {
    fn find(&self, cluster: &str, ip: &str, port: i32, ephemeral: bool) -> Option<&Arc<Slot>> {
        self.slots.find(hash(cluster, ip, port, ephemeral), |slot| {
            slot.port() == port && slot.is_ephemeral() == ephemeral && slot.ip() == ip && **slot.cluster() == *cluster
        })
    }

    fn cluster(&self, name: &str) -> Option<&ClusterEntry> {
        self.clusters.iter().find(|cluster| *cluster.name == *name)
    }

    fn ensure_cluster(&mut self, name: &Arc<str>) -> Arc<str> {
        if let Some(cluster) = self.cluster(name) {
            return cluster.name.clone();
        }
        self.clusters.push(ClusterEntry { name: name.clone(), settings: None, times: Arc::default() });
        name.clone()
    }
}

impl Service {
    pub(super) fn new(key: ServiceKey) -> Self {
        Self {
            key,
            state: RwLock::new(State { settings: None, clusters: Vec::new(), slots: HashTable::new(), persistent: 0 }),
            version: AtomicU64::new(0),
            last_ref_ms: AtomicU64::new(0),
            grace_ms: AtomicU64::new(0),
            vouched_ms: AtomicU64::new(0),
            vouched_version: AtomicU64::new(0),
            lists: RwLock::default(),
        }
    }

    /// Its key.
    pub fn key(&self) -> &ServiceKey {
        &self.key
    }

    /// Its settings.
    pub fn settings(&self) -> Arc<ServiceSettings> {
        self.state.read().settings.clone().unwrap_or_else(|| DEFAULT_SETTINGS.clone())
    }

    /// Whether its settings are stored (created by hand or by a persistent instance).
    pub fn is_stored(&self) -> bool {
        self.state.read().settings.is_some()
    }

    /// A cluster by its exact name.
    pub fn cluster(&self, name: &str) -> Option<ClusterEntry> {
        self.state.read().cluster(name).cloned()
    }

    /// All clusters, in order of creation.
    pub fn clusters(&self) -> Vec<ClusterEntry> {
        self.state.read().clusters.clone()
    }

    /// The instance at that address.
    pub fn find(&self, cluster: &str, ip: &str, port: i32, ephemeral: bool) -> Option<Arc<Slot>> {
        self.state.read().find(cluster, ip, port, ephemeral).cloned()
    }

    /// The instance at that address, a persistent one before an ephemeral one.
    pub fn find_either(&self, cluster: &str, ip: &str, port: i32) -> Option<Arc<Slot>> {
        let state = self.state.read();
        let persistent = if state.persistent == 0 { None } else { state.find(cluster, ip, port, false) };
        persistent.or_else(|| state.find(cluster, ip, port, true)).cloned()
    }

    /// Number of instances of both kinds.
    pub fn len(&self) -> usize {
        self.state.read().slots.len()
    }

    /// Whether it has no instance.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All instances in no particular order.
    pub fn slots(&self) -> Vec<Arc<Slot>> {
        self.state.read().slots.iter().cloned().collect()
    }

    /// Whether `test` holds for an instance. Writers wait meanwhile: it must be quick.
    pub fn any(&self, test: impl FnMut(&Arc<Slot>) -> bool) -> bool {
        self.state.read().slots.iter().any(test)
    }

    /// How much it has, all counted in one state.
    pub fn counts(&self) -> Counts {
        let state = self.state.read();
        let healthy = state.slots.iter().filter(|slot| slot.with(|known| known.healthy)).count();
        Counts { clusters: state.clusters.len(), instances: state.slots.len(), healthy }
    }

    /// Its state now, with the instances in a fixed order.
    pub fn view(&self) -> View {
        let state = self.state.read();
        let clusters = state.clusters.iter();
        let mut view = View {
            settings: state.settings.clone().unwrap_or_else(|| DEFAULT_SETTINGS.clone()),
            clusters: clusters
                .map(|c| (c.name.clone(), c.settings.clone().unwrap_or_else(|| DEFAULT_CLUSTER_SETTINGS.clone())))
                .collect(),
            slots: state.slots.iter().cloned().collect(),
            version: self.version.load(Ordering::Relaxed),
        };
        drop(state);
        view.slots.sort_unstable_by(|a, b| {
            (a.cluster(), a.ip(), a.port(), a.is_ephemeral()).cmp(&(b.cluster(), b.ip(), b.port(), b.is_ephemeral()))
        });
        view
    }

    /// The answer for `key` if the service hasn't changed since it was built.
    pub fn list(&self, key: &ListKey<'_>) -> Option<Bytes> {
        self.lists.read().get(key)
    }

    /// Keeps an answer that was built from `view`, unless the service has changed meanwhile.
    pub fn keep_list(&self, view: &View, key: &ListKey<'_>, bytes: &Bytes) {
        let mut lists = self.lists.write();
        if self.version.load(Ordering::Acquire) == view.version {
            lists.keep(key, bytes);
        }
    }

    /// `lastRefTime` of answers built from `view`, epoch ms: `now_ms` for the first of a state, the same for all of
    /// one state, and always above that of the states before (`spec/clients.md` 1, need 20).
    pub fn ref_ms(&self, view: &View, now_ms: u64) -> u64 {
        let mut lists = self.lists.write();
        let current = self.version.load(Ordering::Acquire) == view.version;
        if lists.ref_ms != 0 {
            // What was built from an older state must not look newer than what is given out already.
            return if current { lists.ref_ms } else { lists.ref_ms - 1 };
        }
        let ref_ms = now_ms.max(self.last_ref_ms.load(Ordering::Relaxed) + 1);
        self.last_ref_ms.store(ref_ms, Ordering::Relaxed);
        if current {
            lists.ref_ms = ref_ms;
        }
        ref_ms
    }

    /// The checksum of `view`, made by `make` once for each state.
    pub fn checksum(&self, view: &View, make: impl FnOnce() -> String) -> Arc<str> {
        let current = || self.version.load(Ordering::Acquire) == view.version;
        if let Some(known) = self.lists.read().checksum.as_ref().filter(|_| current()) {
            return known.clone();
        }
        let made: Arc<str> = make().into();
        let mut lists = self.lists.write();
        if current() {
            lists.checksum = Some(made.clone());
        }
        made
    }

    /// The checksum of the ephemeral instances, made by `make` once for each state.
    pub fn list_checksum(&self, make: impl FnOnce(&View) -> Arc<str>) -> Arc<str> {
        {
            let _unchanged = self.state.read();
            if let Some(known) = &self.lists.read().list_checksum {
                return known.clone();
            }
        }
        let view = self.view();
        let made = make(&view);
        let mut lists = self.lists.write();
        if self.version.load(Ordering::Acquire) == view.version {
            lists.list_checksum = Some(made.clone());
        }
        made
    }

    /// Silence before awake time `now_ms` counts against nobody.
    pub fn grant_grace(&self, now_ms: u64) {
        self.grace_ms.store(now_ms, Ordering::Relaxed);
    }

    /// The awake time from which silence counts: the last beat of `slot`, or that of the grace.
    pub fn silent_from_ms(&self, slot: &Slot) -> u64 {
        slot.last_beat_ms().max(self.grace_ms.load(Ordering::Relaxed))
    }

    /// All that was heard is `lost_ms` longer ago than it seems.
    pub(super) fn set_back(&self, lost_ms: u64) {
        let earlier = |vouched_ms: u64| Some(vouched_ms.saturating_sub(lost_ms));
        let _ = self.vouched_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earlier);
        self.state.read().slots.iter().for_each(|slot| slot.set_back(lost_ms));
    }

    /// At awake time `now_ms` another server, which owns it, has the same ephemeral instances with the same health.
    pub fn vouch(&self, now_ms: u64) {
        let _unchanged = self.state.read();
        self.vouched_version.store(self.version.load(Ordering::Relaxed), Ordering::Relaxed);
        self.vouched_ms.store(now_ms, Ordering::Relaxed);
    }

    /// The latest awake time in ms at which the client of `slot` is known to have lived; 0: none. Beats are heard by
    /// the owner alone. Who it calls healthy has beaten there within its timeout.
    pub fn lived_ms(&self, slot: &Slot) -> u64 {
        // What came later the owner has said nothing of.
        let vouched = slot.born() < self.vouched_version.load(Ordering::Relaxed);
        let vouched_ms = if vouched { self.vouched_ms.load(Ordering::Relaxed) } else { 0 };
        let (healthy, timeout_ms) = slot.with(|known| (known.healthy, known.beat_timeout_ms()));
        let beaten_ms = if healthy { vouched_ms.saturating_sub(timeout_ms.saturating_add(EXPIRY_GRACE_MS)) } else { 0 };
        slot.last_beat_ms().max(beaten_ms)
    }

    /// Whether it has, or seems to have, an ephemeral instance.
    pub fn has_ephemeral(&self) -> bool {
        let state = self.state.read();
        state.slots.len() > state.persistent
    }

    /// Whether it has a persistent instance.
    pub fn has_persistent(&self) -> bool {
        self.state.read().persistent > 0
    }

    /// All that the store has to hold of it.
    pub fn rows(&self) -> Vec<Row> {
        let state = self.state.read();
        let mut rows = self.settings_rows(&state);
        rows.extend(state.slots.iter().map(|slot| Row::Instance(slot.key(&self.key), Some(slot.instance()))));
        rows
    }

    /// Those of its rows that the servers of a cluster agree on: all but ephemeral instances.
    pub fn agreed_rows(&self) -> Vec<Row> {
        let state = self.state.read();
        let mut rows = self.settings_rows(&state);
        if state.persistent > 0 {
            let persistent = state.slots.iter().filter(|slot| !slot.is_ephemeral());
            rows.extend(persistent.map(|slot| Row::Instance(slot.key(&self.key), Some(slot.instance()))));
        }
        rows
    }

    fn settings_rows(&self, state: &State) -> Vec<Row> {
        let mut rows = Vec::new();
        if let Some(settings) = &state.settings {
            rows.push(Row::Service(self.key.clone(), Some(settings.clone())));
        }
        for cluster in &state.clusters {
            if let Some(settings) = &cluster.settings {
                let key = ClusterKey { service: self.key.clone(), name: cluster.name.clone() };
                rows.push(Row::Cluster(key, Some(settings.clone())));
            }
        }
        rows
    }

    /// After every change, before the lock of the state is given back: what was built is out of date.
    fn changed(&self) {
        self.version.fetch_add(1, Ordering::Release);
        self.lists.write().clear();
    }

    pub(super) fn put(
        &self,
        key: &InstanceKey,
        instance: Arc<Instance>,
        now_ms: u64,
        renew: bool,
    ) -> (Arc<Slot>, bool) {
        let mut state = self.state.write();
        if let Some(slot) = state.find(&key.cluster, &key.ip, key.port, key.ephemeral).cloned() {
            slot.set(instance);
            if renew {
                slot.touch(now_ms);
            }
            self.changed();
            return (slot, false);
        }
        let cluster = state.ensure_cluster(&key.cluster);
        let slot = Arc::new(Slot::new(cluster, key, instance, now_ms, self.version.load(Ordering::Relaxed)));
        state.slots.insert_unique(hash_slot(&slot), slot.clone(), hash_slot);
        state.persistent += usize::from(!slot.is_ephemeral());
        self.changed();
        (slot, true)
    }

    pub(super) fn remove(&self, key: &InstanceKey) -> Option<Arc<Slot>> {
        let mut state = self.state.write();
        let wanted = state.find(&key.cluster, &key.ip, key.port, key.ephemeral)?.clone();
        let entry = state.slots.find_entry(hash_slot(&wanted), |slot| Arc::ptr_eq(slot, &wanted)).ok()?;
        entry.remove();
        state.persistent -= usize::from(!wanted.is_ephemeral());
        wanted.retire();
        self.changed();
        Some(wanted)
    }

    pub(super) fn set_settings(&self, settings: Arc<ServiceSettings>) {
        let mut state = self.state.write();
        state.settings = Some(settings);
        self.changed();
    }

    pub(super) fn set_cluster(&self, name: &Arc<str>, settings: Option<Arc<ClusterSettings>>) {
        let mut state = self.state.write();
        state.ensure_cluster(name);
        if let Some(cluster) = state.clusters.iter_mut().find(|cluster| cluster.name == *name) {
            cluster.settings = settings;
        }
        self.changed();
    }

    /// Lets go of all instances; answers how many there were.
    pub(super) fn retire(&self) -> usize {
        let mut state = self.state.write();
        let count = state.slots.len();
        state.slots.drain().for_each(|slot| slot.retire());
        state.persistent = 0;
        self.changed();
        count
    }
}
