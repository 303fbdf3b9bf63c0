//! Answers to list queries as bytes that are built once and given out until the service changes.

use std::sync::Arc;

use bytes::Bytes;

use crate::model::{ClusterSettings, Instance, ServiceSettings};
use crate::registry::Slot;

/// Different answers kept for one service; further ones are built each time. Bounds what inventive `clusters`
/// parameters can cost.
const MAX_KEPT: usize = 16;

/// Answers to longer `clusters` parameters than this, in bytes, are built each time.
const MAX_KEPT_CLUSTERS: usize = 1024;

/// What an answer depends on beside the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListKey<'a> {
    /// Service names with their group, as modern Java clients read them.
    pub grouped_names: bool,
    /// Leave unhealthy instances out.
    pub healthy_only: bool,
    /// How long the client may keep the answer.
    pub cache_ms: u64,
    /// The clusters asked for, as given.
    pub clusters: &'a str,
}

struct Kept {
    grouped_names: bool,
    healthy_only: bool,
    cache_ms: u64,
    clusters: Box<str>,
    bytes: Bytes,
}

impl Kept {
    fn is_for(&self, key: &ListKey<'_>) -> bool {
        self.cache_ms == key.cache_ms
            && self.grouped_names == key.grouped_names
            && self.healthy_only == key.healthy_only
            && *self.clusters == *key.clusters
    }
}

/// The answers kept for one state of a service.
#[derive(Default)]
pub(super) struct Lists {
    kept: Vec<Kept>,
    /// When this state was first answered, epoch ms; 0 before that.
    pub(super) ref_ms: u64,
    /// The checksum of this state, once known.
    pub(super) checksum: Option<Arc<str>>,
    /// That of the ephemeral instances alone.
    pub(super) list_checksum: Option<Arc<str>>,
}

impl Lists {
    pub(super) fn get(&self, key: &ListKey<'_>) -> Option<Bytes> {
        self.kept.iter().find(|kept| kept.is_for(key)).map(|kept| kept.bytes.clone())
    }

    pub(super) fn keep(&mut self, key: &ListKey<'_>, bytes: &Bytes) {
        if self.kept.len() < MAX_KEPT && key.clusters.len() <= MAX_KEPT_CLUSTERS && self.get(key).is_none() {
            self.kept.push(Kept {
                grouped_names: key.grouped_names,
                healthy_only: key.healthy_only,
                cache_ms: key.cache_ms,
                clusters: key.clusters.into(),
                bytes: bytes.clone(),
            });
        }
    }

    /// Forgets the answers; `last_ref_ms` of the service lives on elsewhere.
    pub(super) fn clear(&mut self) {
        self.kept = Vec::new();
        self.ref_ms = 0;
        self.checksum = None;
        self.list_checksum = None;
    }
}

/// One consistent state of a service.
pub struct View {
    /// Its settings.
    pub settings: Arc<ServiceSettings>,
    /// Clusters in order of creation.
    pub clusters: Vec<(Arc<str>, Arc<ClusterSettings>)>,
    /// All instances, in order of cluster, ip, port; ephemeral after persistent.
    pub slots: Vec<Arc<Slot>>,
    pub(super) version: u64,
}

impl View {
    /// All instances with what they hold.
    pub fn hold(&self) -> Vec<(Arc<Slot>, Arc<Instance>)> {
        self.slots.iter().map(|slot| (slot.clone(), slot.instance())).collect()
    }
}
