//! Who is subscribed to what, until when.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::ops::SubAssign;
use std::sync::Arc;

use super::unstored::{Change, Unstored};
use crate::model::ServiceKey;
use crate::model::subscription::{Subscription, SubscriptionKey};

pub use crate::model::subscription::SubscriberKey;

/// Subscriptions that queries from one address may hold. A gateway holds one for each service that it routes to.
pub const MAX_OF_SOURCE: usize = 10_000;
/// Subscriptions in all.
pub const MAX_TOTAL: usize = 100_000;
/// Subscriptions of one service that go to one address. Each has datagrams of its own.
pub const MAX_AT_ADDRESS: u8 = 16;
/// Different `clusters` in the subscriptions of one service. Each has a list of its own, built anew for every push.
pub const MAX_CLUSTERS: usize = 64;
/// Bytes of all the texts of a subscription.
pub const MAX_TEXT_BYTES: usize = 4_096;

/// A request to be subscribed.
#[derive(Debug, Clone)]
pub struct Query {
    /// The service; need not exist.
    pub service: ServiceKey,
    /// Who.
    pub key: SubscriberKey,
    /// Address the query came from.
    pub source: IpAddr,
    /// The parameter `app`.
    pub app: Arc<str>,
    /// The client reads grouped names.
    pub grouped_names: bool,
}

/// One that is subscribed.
#[derive(Debug)]
pub struct Living {
    /// What is stored of it.
    pub subscription: Arc<Subscription>,
    /// Number of the push that the client has not acknowledged yet.
    pub awaited: Option<i64>,
    asked_ms: u64,
    /// It is of an earlier process and has not asked since: perhaps nobody is there any more.
    is_unheard: bool,
    /// The store was told of it, or still has an earlier one of this key.
    is_stored: bool,
}

/// The subscriptions of one service.
#[derive(Default)]
struct OfService {
    all: HashMap<Arc<SubscriberKey>, Living>,
    /// How many have these `clusters`.
    clusters: HashMap<Arc<str>, usize>,
    /// How many go to an address.
    at_address: HashMap<SocketAddr, u8>,
}

impl OfService {
    fn has_room(&self, key: &SubscriberKey) -> bool {
        let at_address = self.at_address.get(&key.to).copied().unwrap_or_default();
        let is_known = self.clusters.len() < MAX_CLUSTERS || self.clusters.contains_key(&key.clusters);
        is_known && at_address < MAX_AT_ADDRESS
    }

    fn add(&mut self, key: Arc<SubscriberKey>, made: Living) {
        *self.clusters.entry(key.clusters.clone()).or_default() += 1;
        *self.at_address.entry(key.to).or_default() += 1;
        self.all.insert(key, made);
    }

    /// Drops those that `is_dead` says, and tells `gone` of each.
    fn drop_dead(&mut self, is_dead: impl Fn(&Living) -> bool, mut gone: impl FnMut(&Arc<SubscriberKey>, &Living)) {
        self.all.retain(|key, one| {
            if !is_dead(one) {
                return true;
            }
            gone(key, one);
            take_one(&mut self.clusters, &key.clusters, 1);
            take_one(&mut self.at_address, &key.to, 1);
            false
        });
    }
}

/// Counts one less; nothing is left of a count of none.
fn take_one<K: Eq + Hash, N: Copy + PartialOrd + SubAssign>(counts: &mut HashMap<K, N>, key: &K, one: N) {
    match counts.get_mut(key) {
        Some(count) if *count > one => *count -= one,
        _ => {
            counts.remove(key);
        }
    }
}

/// Counts that limits are compared with, and what the store is to be told.
#[derive(Default)]
struct Ledger {
    of_source: HashMap<IpAddr, usize>,
    total: usize,
    unstored: Unstored,
}

impl Ledger {
    fn has_room(&self, source: &IpAddr) -> bool {
        self.total < MAX_TOTAL && self.of_source.get(source).is_none_or(|of_source| *of_source < MAX_OF_SOURCE)
    }

    fn count(&mut self, source: IpAddr) {
        *self.of_source.entry(source).or_default() += 1;
        self.total += 1;
    }

    fn gone(&mut self, service: &ServiceKey, subscriber: &Arc<SubscriberKey>, one: &Living) {
        take_one(&mut self.of_source, &one.subscription.source, 1);
        self.total -= 1;
        let key = SubscriptionKey { service: service.clone(), subscriber: subscriber.clone() };
        self.unstored.gone(key, one.is_stored);
    }
}

/// All subscriptions.
#[derive(Default)]
pub struct Subscriptions {
    services: HashMap<ServiceKey, OfService>,
    ledger: Ledger,
}

impl Subscriptions {
    /// Makes or renews a subscription. False: a limit is reached and there is none.
    pub fn subscribe(&mut self, query: &Query, now_ms: u64) -> bool {
        let Query { service, key, source, app, grouped_names } = query;
        if self.renew(service, key, now_ms) {
            return true;
        }
        let subscription = Subscription { source: *source, app: app.clone(), grouped_names: *grouped_names };
        if !self.has_room(service, key, &subscription) {
            return false;
        }
        let key = SubscriptionKey { service: service.clone(), subscriber: Arc::new(key.clone()) };
        let is_stored = self.ledger.unstored.made(key.clone());
        let made =
            Living { subscription: subscription.into(), awaited: None, asked_ms: now_ms, is_unheard: false, is_stored };
        self.add(key, made);
        true
    }

    /// Goes on with a stored subscription as if it had asked now. False: a limit is reached, and the store is to forget
    /// it.
    pub fn restore(&mut self, key: SubscriptionKey, subscription: Arc<Subscription>, now_ms: u64) -> bool {
        let has_room = self.has_room(&key.service, &key.subscriber, &subscription);
        if has_room {
            let (is_unheard, is_stored) = (true, true);
            self.add(key, Living { subscription, awaited: None, asked_ms: now_ms, is_unheard, is_stored });
        } else {
            self.forget(key);
        }
        has_room
    }

    /// The store has this one, and is to forget it.
    pub fn forget(&mut self, key: SubscriptionKey) {
        self.ledger.unstored.gone(key, true);
    }

    fn has_room(&self, service: &ServiceKey, key: &SubscriberKey, subscription: &Subscription) -> bool {
        let texts = [&service.namespace, &service.name, &key.clusters, &key.agent, &subscription.app];
        texts.into_iter().map(|text| text.len()).sum::<usize>() <= MAX_TEXT_BYTES
            && self.ledger.has_room(&subscription.source)
            && self.services.get(service).is_none_or(|of| of.has_room(key))
    }

    fn add(&mut self, key: SubscriptionKey, made: Living) {
        self.ledger.count(made.subscription.source);
        self.services.entry(key.service).or_default().add(key.subscriber, made);
    }

    /// How many there are, dead ones too.
    pub fn count(&self) -> usize {
        self.ledger.total
    }

    /// How many services have any.
    pub fn service_count(&self) -> usize {
        self.services.len()
    }

    /// Whether anybody is subscribed to the service.
    pub fn has(&self, service: &ServiceKey) -> bool {
        self.services.contains_key(service)
    }

    /// The subscriptions of all services.
    pub fn iter(&self) -> impl Iterator<Item = (&ServiceKey, &SubscriberKey, &Living)> {
        self.services.iter().flat_map(|(service, of)| of.all.iter().map(move |(key, one)| (service, &**key, one)))
    }

    /// One subscription.
    pub fn get_mut(&mut self, service: &ServiceKey, key: &SubscriberKey) -> Option<&mut Living> {
        self.services.get_mut(service)?.all.get_mut(key)
    }

    /// A sign of life counts as a query. False: there is no such subscription.
    pub fn renew(&mut self, service: &ServiceKey, key: &SubscriberKey, now_ms: u64) -> bool {
        let Some(one) = self.get_mut(service, key) else { return false };
        one.asked_ms = now_ms;
        one.is_unheard = false;
        true
    }

    /// Those of a service that have asked within `life_ms`. The others are dropped; `gone` is told the destination and
    /// the awaited push of each.
    pub fn living(
        &mut self,
        service: &ServiceKey,
        now_ms: u64,
        life_ms: u64,
        mut gone: impl FnMut(SocketAddr, Option<i64>),
    ) -> Vec<(Arc<SubscriberKey>, bool)> {
        let Some(of) = self.services.get_mut(service) else { return Vec::new() };
        let since_ms = now_ms.saturating_sub(life_ms);
        of.drop_dead(
            |one| one.asked_ms < since_ms,
            |key, one| {
                gone(key.to, one.awaited);
                self.ledger.gone(service, key, one);
            },
        );
        let living = of.all.iter().map(|(key, one)| (key.clone(), one.subscription.grouped_names)).collect();
        if of.all.is_empty() {
            self.services.remove(service);
        }
        living
    }

    /// Drops all that have not asked within `life_ms`; `gone` as for [`living`](Self::living).
    pub fn sweep(&mut self, now_ms: u64, life_ms: u64, gone: impl FnMut(SocketAddr, Option<i64>)) {
        let since_ms = now_ms.saturating_sub(life_ms);
        self.drop_dead(|one| one.asked_ms < since_ms, gone);
    }

    /// Makes room where a limit is reached: drops the dead and, of those whose address (or all together) can have no
    /// more, what an earlier process left and nobody has asked for since. So restarts in a row can't fill up the limits.
    pub fn make_room(&mut self, now_ms: u64, life_ms: u64, gone: impl FnMut(SocketAddr, Option<i64>)) {
        let (since_ms, is_full) = (now_ms.saturating_sub(life_ms), self.ledger.total >= MAX_TOTAL);
        let of_source = self.ledger.of_source.iter().filter(|(_, count)| **count >= MAX_OF_SOURCE);
        let full: HashSet<IpAddr> = of_source.map(|(source, _)| *source).collect();
        let in_the_way = |one: &Living| one.is_unheard && (is_full || full.contains(&one.subscription.source));
        self.drop_dead(|one| one.asked_ms < since_ms || in_the_way(one), gone);
    }

    fn drop_dead(&mut self, is_dead: impl Fn(&Living) -> bool, mut gone: impl FnMut(SocketAddr, Option<i64>)) {
        self.services.retain(|service, of| {
            of.drop_dead(&is_dead, |key, one| {
                gone(key.to, one.awaited);
                self.ledger.gone(service, key, one);
            });
            !of.all.is_empty()
        });
    }

    /// At most `limit` changes that the store is still to be told.
    pub fn unstored(&self, limit: usize) -> Vec<Change> {
        let look_up = |key: &SubscriptionKey| {
            let one = self.services.get(&key.service)?.all.get(&key.subscriber)?;
            Some(one.subscription.clone())
        };
        self.ledger.unstored.next(limit, look_up)
    }

    /// The store was told of `changes`, which [`unstored`](Self::unstored) has just named.
    pub fn stored(&mut self, changes: &[Change]) {
        self.ledger.unstored.told(changes);
        for (key, _) in changes.iter().filter(|(_, one)| one.is_some()) {
            if let Some(one) = self.get_mut(&key.service, &key.subscriber) {
                one.is_stored = true;
            }
        }
    }
}
