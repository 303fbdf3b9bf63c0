//! Checksums: sent for what this server owns, compared for what others own (`spec/distro.md` 7); and the health of
//! instances whose services other kinds of servers own (`spec/members.md` 6).

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::{Core, Purpose, is_at, lists};
use crate::cluster::message::{Answer, Failure, Request};
use crate::model::ServiceKey;
use crate::model::clock::Now;
use crate::model::peer::{Datum, Merge};
use crate::push::list::checksum_of;

/// The checksum of a list without instances.
const EMPTY: &str = "d41d8cd98f00b204e9800998ecf8427e";
/// Stands for the checksum of a list that is just changing: it is there, and there is nothing to compare.
const CHANGING: &str = "-";
/// In one round of so many, lists are compared that are just changing: some change all the time.
const THOROUGH: u64 = 4;
/// Lists that wait to be fetched from one member; what is too much is found by the next round.
const MAX_WANTED: usize = 100_000;
/// Services whose health is to be asked of one member; the same.
const MAX_UNSURE: usize = 10_000;

/// What is to be fetched from a member.
#[derive(Default)]
pub(super) struct Fetching {
    wanted: BTreeSet<ServiceKey>,
    under_way: bool,
    unsure: BTreeSet<ServiceKey>,
    asking: bool,
}

impl Fetching {
    pub(super) fn add(&mut self, services: impl IntoIterator<Item = ServiceKey>) {
        let room = MAX_WANTED.saturating_sub(self.wanted.len());
        self.wanted.extend(services.into_iter().take(room));
    }

    pub(super) fn clear(&mut self) {
        self.wanted.clear();
        self.unsure.clear();
    }
}

impl Core {
    pub(super) fn verify(&mut self, now: Now) {
        let round = now.awake_ms >= self.verify_ms;
        if round {
            self.verify_ms = now.awake_ms + self.settings.verify_ms;
            self.verified += 1;
        }
        let due = |peer: &super::Peer| peer.up && !peer.verifying && (round || peer.verify_now);
        let due: Vec<Arc<str>> = self.peers.iter().filter(|(_, peer)| due(peer)).map(|(to, _)| to.clone()).collect();
        if due.is_empty() {
            return;
        }
        let sums = self.own_checksums();
        for to in due {
            let Some(member) = self.members.find(&to).filter(|member| member.extend.version.is_some()) else {
                continue;
            };
            let Some(peer) = self.peers.get_mut(&to) else { continue };
            let thorough = std::mem::take(&mut peer.verify_now) || self.verified.is_multiple_of(THOROUGH);
            // That there is nothing is news to a server of this kind only.
            if sums.is_empty() && !member.is_nacre() {
                continue;
            }
            peer.verifying = true;
            let mut sums = sums.clone();
            if member.is_nacre() && !thorough {
                let changing = |key: &ServiceKey| peer.outbox.holds(key) || peer.telling.contains(key);
                sums.iter_mut().filter(|(key, _)| changing(key)).for_each(|(_, sum)| *sum = Some(CHANGING.into()));
            }
            let request = Request::Checksums { source: self.view.own().clone(), sums };
            self.call(&to, request, Purpose::Verify);
        }
    }

    fn own_checksums(&self) -> Vec<(ServiceKey, Option<Arc<str>>)> {
        let services = self.registry.services();
        let owned = services.iter().filter(|s| s.has_ephemeral() && self.view.is_owner(&s.key().name));
        owned.map(|service| (service.key().clone(), Some(lists::checksum(service)))).collect()
    }

    /// Compares what the owner says with the copies here. Keys that it does not own, as this server sees it, say nothing:
    /// both may think that they own it for a moment (nacos issue 10323).
    pub(super) fn compare(&mut self, source: &str, sums: Vec<(ServiceKey, Option<Arc<str>>)>, now: Now) {
        if !self.start.may_tell() {
            return;
        }
        let Some((source, _)) = self.peers.get_key_value(source) else { return };
        let source = source.clone();
        let nacre = self.is_nacre(&source);
        let view = self.view.clone();
        let is_its = |key: &ServiceKey| is_at(view.owner(&key.name), &source);
        let mut wanted: Vec<ServiceKey> = Vec::new();
        let mut named = HashSet::new();
        for (key, sum) in sums.into_iter().filter(|(key, _)| is_its(key)) {
            if sum.as_deref() != Some(CHANGING) {
                let service = self.registry.find_service(&key);
                let mine = service.as_deref().map(lists::checksum);
                if sum.as_deref() != Some(mine.as_deref().unwrap_or(EMPTY)) {
                    wanted.push(key.clone());
                } else if let Some(service) = service {
                    service.vouch(now.awake_ms);
                }
            }
            named.insert(key);
        }
        let mut gone = Vec::new();
        for service in self.registry.services() {
            let key = service.key();
            if service.has_ephemeral() && is_its(key) && !named.contains(key) {
                gone.push(key.clone());
            }
        }
        if nacre {
            wanted.append(&mut gone);
        }
        if let Some(peer) = self.peers.get_mut(&source) {
            peer.fetch.add(wanted);
        }
        if !gone.is_empty() {
            let empty = |service| Datum { service, told: Vec::new(), removed: None };
            let merge = |service| Merge { datum: empty(service), whole: true, from_owner: true };
            self.merge(source.clone(), gone.into_iter().map(merge).collect(), None, Vec::new());
        }
        self.fetch_more(&source);
    }

    pub(super) fn fetch_more(&mut self, from: &Arc<str>) {
        let max = self.settings.batch_keys;
        let Some(peer) = self.peers.get_mut(from).filter(|peer| !peer.fetch.under_way) else { return };
        let mut services = Vec::new();
        while services.len() < max {
            let Some(service) = peer.fetch.wanted.pop_first() else { break };
            services.push(service);
        }
        if !services.is_empty() {
            peer.fetch.under_way = true;
            self.call(from, Request::Fetch(services), Purpose::Fetch);
        }
    }

    pub(super) fn fetched(&mut self, from: &Arc<str>, result: Result<Answer, Failure>) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        peer.fetch.under_way = false;
        match result {
            Ok(Answer::Data(data)) => {
                let view = self.view.clone();
                // Of what has come to this server meanwhile nobody else has the last word.
                let merge = |datum: Datum| {
                    let from_owner =
                        is_at(view.owner(&datum.service.name), from) || !view.is_owner(&datum.service.name);
                    Merge { datum, whole: true, from_owner }
                };
                let merges: Vec<Merge> = data.into_iter().map(merge).collect();
                if !merges.is_empty() {
                    self.merge(from.clone(), merges, None, Vec::new());
                }
                self.fetch_more(from);
            }
            // The next round is the retry.
            Ok(_) | Err(_) => peer.fetch.wanted.clear(),
        }
    }

    /// Tells the others how healthy the services are that this server owns, for they learn it in no other way: servers of this
    /// kind of persistent instances, which their owner checks, other kinds of all.
    pub(super) fn exchange_status(&mut self, now: Now) {
        if now.awake_ms < self.status_ms {
            return;
        }
        self.status_ms = now.awake_ms + self.settings.status_ms.1;
        let members = self.members.others();
        let known = members.iter().filter(|member| member.extend.version.is_some());
        let known = known.filter(|member| member.is_nacre() || now.awake_ms >= self.plain_status_ms);
        let known = known.map(|member| (Arc::<str>::from(member.address()), member.is_nacre()));
        let known: Vec<_> = known.filter(|(to, _)| self.peers.get(to).is_some_and(|peer| peer.up)).collect();
        if known.is_empty() {
            return;
        }
        for namespace in self.registry.namespaces() {
            let services = namespace.services();
            let owned = services.iter().filter(|s| !s.is_empty() && self.view.is_owner(&s.key().name));
            let owned: Vec<_> = owned.collect();
            for (to, nacre) in &known {
                let told = owned.iter().filter(|service| !nacre || service.has_persistent());
                let sums: Vec<_> = told.map(|s| (s.key().name.clone(), checksum_of(s))).collect();
                if *nacre && sums.is_empty() {
                    continue;
                }
                let (source, namespace) = (self.view.own().clone(), namespace.name().clone());
                self.call(to, Request::Status { source, namespace, sums }, Purpose::Status);
            }
        }
    }

    /// Asks how healthy the instances are of services whose checksum differs here.
    pub(super) fn compare_status(&mut self, source: &str, namespace: &Arc<str>, sums: &[(Arc<str>, Arc<str>)]) {
        let Some((source, _)) = self.peers.get_key_value(source) else { return };
        let source = source.clone();
        let mut unsure = Vec::new();
        for (name, sum) in sums {
            let Some(service) = self.registry.service(namespace, name) else { continue };
            if is_at(self.view.owner(name), &source) && checksum_of(&service) != *sum {
                unsure.push(service.key().clone());
            }
        }
        if let Some(peer) = self.peers.get_mut(&source) {
            let room = MAX_UNSURE.saturating_sub(peer.fetch.unsure.len());
            peer.fetch.unsure.extend(unsure.into_iter().take(room));
        }
        self.ask_health(&source);
    }

    fn ask_health(&mut self, source: &Arc<str>) {
        let Some(peer) = self.peers.get_mut(source).filter(|peer| !peer.fetch.asking) else { return };
        if let Some(service) = peer.fetch.unsure.pop_first() {
            peer.fetch.asking = true;
            self.call(source, Request::Statuses(service.clone()), Purpose::Health(service));
        }
    }

    pub(super) fn health_told(&mut self, from: &Arc<str>, service: ServiceKey, result: Result<Answer, Failure>) {
        if let Some(peer) = self.peers.get_mut(from) {
            peer.fetch.asking = false;
        }
        if let Ok(Answer::Health(mut told)) = result
            && !self.view.is_owner(&service.name)
        {
            if self.is_nacre(from) {
                self.drop_ephemeral(&service, &mut told);
            }
            self.actions.push(super::Action::Health(service, told));
        }
        self.ask_health(from);
    }

    /// How healthy ephemeral instances are, servers of this kind tell each other with the lists, and with when it was so.
    fn drop_ephemeral(&self, service: &ServiceKey, told: &mut Vec<(Box<str>, i32, bool)>) {
        let Some(service) = self.registry.find_service(service) else { return };
        let slots = service.slots();
        let ephemeral = slots.iter().filter(|slot| slot.is_ephemeral()).map(|slot| (slot.ip(), slot.port()));
        let ephemeral: HashSet<_> = ephemeral.collect();
        told.retain(|(ip, port, _)| !ephemeral.contains(&(&**ip, *port)));
    }
}
