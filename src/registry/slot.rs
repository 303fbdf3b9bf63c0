//! An instance in its place.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::model::{Instance, InstanceKey, ServiceKey};

/// The place of one instance in its service. The place stays while the instance is replaced, so that a beat has one
/// number to store and the wheel one thing to watch.
pub struct Slot {
    cluster: Arc<str>,
    ip: Box<str>,
    port: i32,
    ephemeral: bool,
    gone: AtomicBool,
    last_beat_ms: AtomicU64,
    /// The state of the service that it was put into.
    born: u64,
    armed_ms: AtomicU64,
    instance: RwLock<Arc<Instance>>,
}

impl Slot {
    pub(super) fn new(cluster: Arc<str>, key: &InstanceKey, instance: Arc<Instance>, now_ms: u64, born: u64) -> Self {
        Self {
            cluster,
            ip: key.ip.as_ref().into(),
            port: key.port,
            ephemeral: key.ephemeral,
            gone: AtomicBool::new(false),
            last_beat_ms: AtomicU64::new(now_ms),
            born,
            armed_ms: AtomicU64::new(u64::MAX),
            instance: RwLock::new(instance),
        }
    }

    pub(super) fn born(&self) -> u64 {
        self.born
    }

    /// Name of its cluster.
    pub fn cluster(&self) -> &Arc<str> {
        &self.cluster
    }

    /// Host.
    pub fn ip(&self) -> &str {
        &self.ip
    }

    /// Port.
    pub fn port(&self) -> i32 {
        self.port
    }

    /// Lives by beats.
    pub fn is_ephemeral(&self) -> bool {
        self.ephemeral
    }

    /// The whole key, given the service it is in.
    pub fn key(&self, service: &ServiceKey) -> InstanceKey {
        InstanceKey {
            service: service.clone(),
            cluster: self.cluster.clone(),
            ip: self.ip.as_ref().into(),
            port: self.port,
            ephemeral: self.ephemeral,
        }
    }

    /// What it holds now.
    pub fn instance(&self) -> Arc<Instance> {
        self.instance.read().clone()
    }

    /// Reads what it holds without taking a share of it.
    pub fn with<R>(&self, read: impl FnOnce(&Instance) -> R) -> R {
        read(&self.instance.read())
    }

    pub(super) fn set(&self, instance: Arc<Instance>) {
        *self.instance.write() = instance;
    }

    /// Notes a beat at awake time `now_ms`: one store.
    pub fn touch(&self, now_ms: u64) {
        self.last_beat_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Notes that the client was heard of at awake time `heard_ms`, by somebody else.
    pub fn hear(&self, heard_ms: u64) {
        self.last_beat_ms.fetch_max(heard_ms, Ordering::Relaxed);
    }

    pub(super) fn set_back(&self, lost_ms: u64) {
        let earlier = |heard_ms: u64| (heard_ms > 0).then(|| heard_ms.saturating_sub(lost_ms).max(1));
        let _ = self.last_beat_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earlier);
    }

    /// When what it holds was last changed, see [`Instance::changed_ms`].
    pub fn changed_ms(&self) -> u64 {
        self.instance.read().changed_ms
    }

    /// Notes when it was changed, where nothing else of it changes (only `commit` and the start of a cluster do).
    pub fn stamp(&self, changed_ms: u64) {
        let mut instance = self.instance.write();
        if instance.changed_ms != changed_ms {
            Arc::make_mut(&mut *instance).changed_ms = changed_ms;
        }
    }

    /// Awake time of the last beat, in ms; 0: none since this process began.
    pub fn last_beat_ms(&self) -> u64 {
        self.last_beat_ms.load(Ordering::Relaxed)
    }

    /// Whether the instance has been removed.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Relaxed)
    }

    pub(super) fn retire(&self) {
        self.gone.store(true, Ordering::Relaxed);
    }

    /// Awake time at which the wheel looks at it next; `u64::MAX` when it doesn't.
    pub fn armed_ms(&self) -> u64 {
        self.armed_ms.load(Ordering::Relaxed)
    }

    /// Notes when the wheel looks at it next (only `health` does).
    pub fn arm(&self, deadline_ms: u64) {
        self.armed_ms.store(deadline_ms, Ordering::Relaxed);
    }
}
