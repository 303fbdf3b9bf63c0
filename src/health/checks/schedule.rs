//! Which instance is checked when, and what follows from the findings (`spec/health.md` 2.1 to 2.3). Pure: `watch`,
//! `tick` and `finish`.
//!
//! A cluster costs something only while it has persistent instances: it comes in with the first, and goes at the run
//! that finds none. An instance is known by its slot, so equal names in two namespaces share nothing.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashMap;

use super::params::{CheckParams, Kind};
use super::verdict::{Finding, Verdict};
use crate::health::wheel::Wheel;
use crate::model::command::Command;
use crate::model::{ClusterSettings, HealthChecker};
use crate::registry::{CheckTimes, Service, Slot};

/// The first run of a cluster comes at least this long after its first instance.
const FIRST_RUN_MS: u64 = 2_000;

/// One check that is due.
pub struct Job {
    /// For [`Schedule::finish`].
    pub number: u64,
    /// The instance.
    pub slot: Arc<Slot>,
    /// How to check.
    pub kind: Kind,
    /// The settings of its cluster; `None`: defaults.
    pub settings: Option<Arc<ClusterSettings>>,
}

/// The identity of a service's state in memory and the name of a cluster of it. A service that was removed and made
/// again is another one; the address isn't used again as long as a cluster holds the service.
type ClusterId = (usize, Arc<str>);
type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

struct Cluster {
    service: Arc<Service>,
    rt_ms: f64,
    /// Where the times are shown.
    times: Arc<CheckTimes>,
    /// Numbers of instances; those that are gone leave at the next run.
    members: Vec<u64>,
}

struct Member {
    slot: Arc<Slot>,
    cluster: ClusterId,
    verdict: Verdict,
    /// The check that has been given out and has not ended.
    running: Option<Kind>,
}

/// All clusters with persistent instances.
pub struct Schedule {
    wheel: Wheel<ClusterId>,
    clusters: Map<ClusterId, Cluster>,
    members: Map<u64, Member>,
    last_number: u64,
    dice: std::hash::RandomState,
}

fn kind_of(settings: Option<&ClusterSettings>) -> Option<Kind> {
    match settings.map(|settings| &settings.checker) {
        None | Some(HealthChecker::Tcp) => Some(Kind::Tcp),
        Some(HealthChecker::Http { .. }) => Some(Kind::Http),
        Some(HealthChecker::Mysql { .. }) => Some(Kind::Mysql),
        Some(HealthChecker::None) => None,
    }
}

impl Schedule {
    /// Nothing watched yet, at `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        Self {
            wheel: Wheel::new(now_ms),
            clusters: Map::default(),
            members: Map::default(),
            last_number: 0,
            dice: std::hash::RandomState::new(),
        }
    }

    /// Number of clusters that cost something.
    pub fn cluster_count(&self) -> usize {
        self.clusters.len()
    }

    /// Number of instances watched.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether nothing is watched.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Below `limit`; 0 when that is 0.
    fn random(&self, salt: u64, limit: u64) -> u64 {
        self.dice.hash_one((self.last_number, salt)).checked_rem(limit).unwrap_or(0)
    }

    /// Watches a persistent instance that has just come into being.
    pub fn watch(&mut self, service: Arc<Service>, slot: Arc<Slot>, now_ms: u64, params: &CheckParams) {
        self.last_number += 1;
        let id: ClusterId = (Arc::as_ptr(&service) as usize, slot.cluster().clone());
        if !self.clusters.contains_key(&id) {
            let rt_ms = FIRST_RUN_MS + self.random(1, self.random(2, params.tcp.max_ms.into()));
            self.wheel.insert(now_ms + rt_ms, id.clone());
            let times = service.cluster(slot.cluster()).map(|cluster| cluster.times).unwrap_or_default();
            times.note(rt_ms as i64, None);
            let cluster = Cluster { service, rt_ms: rt_ms as f64, times, members: Vec::new() };
            self.clusters.insert(id.clone(), cluster);
        }
        if let Some(cluster) = self.clusters.get_mut(&id) {
            cluster.members.push(self.last_number);
        }
        let member = Member { slot, cluster: id, verdict: Verdict::default(), running: None };
        self.members.insert(self.last_number, member);
    }

    /// The checks that are due at `now_ms`, of services that are this server's to check by their grouped name.
    pub fn tick(&mut self, now_ms: u64, params: &CheckParams, is_owner: &dyn Fn(&str) -> bool) -> Vec<Job> {
        let mut jobs = Vec::new();
        for (_, id) in self.wheel.tick(now_ms) {
            let Some(cluster) = self.clusters.get_mut(&id) else { continue };
            let members = &mut self.members;
            cluster.members.retain(|number| {
                let stays = members.get(number).is_some_and(|member| !member.slot.is_gone());
                if !stays {
                    members.remove(number);
                }
                stays
            });
            if cluster.members.is_empty() {
                self.clusters.remove(&id);
                continue;
            }
            let settings = cluster.service.cluster(&id.1).and_then(|entry| entry.settings);
            if let Some(kind) = kind_of(settings.as_deref())
                && params.allows(kind, &cluster.service.key().name)
                && is_owner(&cluster.service.key().name)
            {
                give_out(cluster, members, kind, settings.as_ref(), params, &mut jobs);
            }
            self.wheel.insert(now_ms + cluster.rt_ms as u64, id);
        }
        jobs
    }

    /// Takes what the check of that number found. A command says what health the instance is found to have.
    pub fn finish(&mut self, number: u64, finding: Finding, params: &CheckParams) -> Option<Command> {
        let member = self.members.get_mut(&number)?;
        let kind = member.running.take()?;
        let cluster = self.clusters.get_mut(&member.cluster)?;
        let smoothing = params.smoothing(kind);
        let sample_ms = finding.sample_ms(cluster.rt_ms, smoothing.max_ms);
        cluster.rt_ms = smoothing.next(cluster.rt_ms, sample_ms);
        cluster.times.note(cluster.rt_ms as i64, Some(sample_ms as i64));
        if member.slot.is_gone() {
            return None;
        }
        let healthy = member.verdict.note(finding, member.slot.with(|known| known.healthy), params.check_times)?;
        Some(Command::CheckedHealth { key: member.slot.key(cluster.service.key()), healthy })
    }
}

/// One run of a cluster.
fn give_out(
    cluster: &mut Cluster,
    members: &mut Map<u64, Member>,
    kind: Kind,
    settings: Option<&Arc<ClusterSettings>>,
    params: &CheckParams,
    jobs: &mut Vec<Job>,
) {
    for number in &cluster.members {
        let Some(member) = members.get_mut(number) else { continue };
        if member.slot.with(|known| known.marked) {
            continue;
        }
        if member.running.is_some() {
            cluster.rt_ms = params.smoothing(kind).next(cluster.rt_ms, 2.0 * cluster.rt_ms);
            continue;
        }
        member.running = Some(kind);
        jobs.push(Job { number: *number, slot: member.slot.clone(), kind, settings: settings.cloned() });
    }
}

#[cfg(test)]
mod tests;
