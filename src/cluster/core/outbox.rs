//! What is still to be told to each member. Collapsed by service and bounded by what there is; whoever is down is owed
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Core, Purpose, lists};
use crate::cluster::message::{Part, Request};
use crate::model::clock::Now;
use crate::model::{InstanceKey, ServiceKey};

/// With more changed instances of one service the whole list is told.
const MAX_INSTANCES: usize = 512;
/// Instances in one message, about; a list is never cut.
const MAX_TOLD: usize = 10_000;

/// What is to be told of a service.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pending {
    /// Awake time of the first change.
    since_ms: u64,
    /// `None`: all of them.
    instances: Option<BTreeSet<InstanceKey>>,
}

impl Pending {
    fn add(&mut self, more: Option<&InstanceKey>) {
        match (&mut self.instances, more) {
            (Some(known), Some(key)) => {
                known.insert(key.clone());
                if known.len() > MAX_INSTANCES {
                    self.instances = None;
                }
            }
            (known, None) => *known = None,
            (None, Some(_)) => {}
        }
    }
}

/// What is to be told to one member.
#[derive(Debug, Default)]
pub(super) struct Outbox(BTreeMap<ServiceKey, Pending>);

impl Outbox {
    /// An instance (`None`: all) of `service` is to be told.
    pub(super) fn add(&mut self, service: &ServiceKey, key: Option<&InstanceKey>, now_ms: u64) {
        let fresh = || Pending { since_ms: now_ms, instances: Some(BTreeSet::new()) };
        self.0.entry(service.clone()).or_insert_with(fresh).add(key);
    }

    fn put_back(&mut self, service: ServiceKey, pending: Pending) {
        let Some(newer) = self.0.get_mut(&service) else {
            self.0.insert(service, pending);
            return;
        };
        newer.since_ms = newer.since_ms.min(pending.since_ms);
        match &pending.instances {
            None => newer.add(None),
            Some(keys) => keys.iter().for_each(|key| newer.add(Some(key))),
        }
    }

    fn is_due(&self, dispatch_ms: u64, now_ms: u64) -> bool {
        self.0.values().any(|pending| now_ms >= pending.since_ms + dispatch_ms)
    }

    /// Takes services out, at most `max`, and no more once `is_full` says so after one of them.
    fn take(
        &mut self,
        max: usize,
        mut is_full: impl FnMut(&ServiceKey, &Pending) -> bool,
    ) -> Vec<(ServiceKey, Pending)> {
        let mut taken = Vec::new();
        while taken.len() < max {
            let Some((service, pending)) = self.0.pop_first() else { break };
            let full = is_full(&service, &pending);
            taken.push((service, pending));
            if full {
                break;
            }
        }
        taken
    }

    pub(super) fn holds(&self, service: &ServiceKey) -> bool {
        self.0.contains_key(service)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Core {
    /// Sends what is due; one message to a member at a time, so that none overtakes another.
    pub(super) fn tell(&mut self, now: Now) {
        let dispatch_ms = self.settings.dispatch_ms;
        let due = |peer: &super::Peer| {
            peer.up
                && peer.telling.is_empty()
                && now.awake_ms >= peer.retry_ms
                && peer.outbox.is_due(dispatch_ms, now.awake_ms)
        };
        let due: Vec<Arc<str>> = self.peers.iter().filter(|(_, peer)| due(peer)).map(|(to, _)| to.clone()).collect();
        for to in due {
            self.tell_one(&to, now);
        }
    }

    fn tell_one(&mut self, to: &Arc<str>, now: Now) {
        let Some(member) = self.members.find(to).filter(|member| member.extend.version.is_some()) else {
            // Nothing can be told before it is known what it understands.
            return;
        };
        let Some(peer) = self.peers.get_mut(to) else { return };
        let mut told = 0;
        let taken = peer.outbox.take(self.settings.batch_keys, |service, pending| {
            told += match &pending.instances {
                Some(keys) => keys.len(),
                None => self.registry.find_service(service).map_or(0, |service| service.len()),
            };
            told >= MAX_TOLD
        });
        let (registry, view) = (&self.registry, &self.view);
        let request = if member.is_nacre() {
            let part = |(service, pending): &(ServiceKey, Pending)| match &pending.instances {
                Some(keys) => Part { datum: lists::some(registry, service, keys, view, now), whole: false },
                None => {
                    let found = registry.find_service(service);
                    let whole = |found: &crate::registry::Service| lists::whole(registry, found, view, now);
                    let datum = found.as_deref().map_or_else(|| lists::nothing(registry, service, now), whole);
                    Part { datum, whole: true }
                }
            };
            let parts: Vec<Part> = taken.iter().map(part).collect();
            let says = |part: &Part| part.whole || !part.datum.told.is_empty() || part.datum.removed.is_some();
            let parts: Vec<Part> = parts.into_iter().filter(says).collect();
            (!parts.is_empty()).then_some(Request::Changes(parts))
        } else {
            // What has vanished meanwhile is left out, and an empty map is not sent (`spec/distro.md` 6).
            let whole = |(key, _): &(ServiceKey, Pending)| {
                registry.find_service(key).map(|service| lists::whole(registry, &service, view, now))
            };
            let data: Vec<_> = taken.iter().filter_map(whole).collect();
            (!data.is_empty()).then_some(Request::Push(data))
        };
        if let Some(request) = request {
            peer.telling = taken.iter().map(|(service, _)| service.clone()).collect();
            self.call(to, request, Purpose::Tell(taken));
        }
    }

    /// A message has ended.
    pub(super) fn told(&mut self, to: &Arc<str>, told: Vec<(ServiceKey, Pending)>, well: bool, now: Now) {
        let retry_ms = now.awake_ms + self.settings.retry_ms;
        let Some(peer) = self.peers.get_mut(to) else { return };
        peer.telling.clear();
        if !well && peer.up {
            peer.retry_ms = retry_ms;
            told.into_iter().for_each(|(service, pending)| peer.outbox.put_back(service, pending));
        }
    }

    /// Keeps the copies of other servers young: they judge by the age of what they were told when they take over
    /// (`spec/distro.md` 16.7).
    pub(super) fn refresh(&mut self, now: Now) {
        if now.awake_ms < self.refresh_ms {
            return;
        }
        self.refresh_ms = now.awake_ms + self.settings.refresh_ms;
        let members = self.members.others();
        let plain = members.iter().filter(|member| member.extend.version.is_some() && !member.is_nacre());
        let plain: Vec<String> = plain.map(|member| member.address()).collect();
        if plain.is_empty() {
            return;
        }
        let services = self.registry.services();
        let owned: Vec<_> =
            services.iter().filter(|s| s.has_ephemeral() && self.view.is_owner(&s.key().name)).collect();
        for address in plain {
            let Some(peer) = self.peers.get_mut(&*address).filter(|peer| peer.up) else { continue };
            owned.iter().for_each(|service| peer.outbox.add(service.key(), None, now.awake_ms));
        }
    }
}
