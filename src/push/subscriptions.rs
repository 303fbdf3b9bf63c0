//! Who is subscribed to what, until when.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, SocketAddr};
use std::ops::SubAssign;
use std::sync::Arc;

use crate::model::ServiceKey;

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

/// What tells one subscription of a service from another. The destination is part of it: nobody can lead the datagrams
/// of somebody else to another place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriberKey {
    /// The address the client names.
    pub listed: SocketAddr,
    /// Where datagrams go.
    pub to: SocketAddr,
    /// The parameter `clusters`.
    pub clusters: Arc<str>,
    /// The header `User-Agent`.
    pub agent: Arc<str>,
}

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
pub struct Subscription {
    /// The `app` of the first query.
    pub app: Arc<str>,
    /// The client reads grouped names.
    pub grouped_names: bool,
    /// Number of the push that the client has not acknowledged yet.
    pub awaited: Option<i64>,
    source: IpAddr,
    asked_ms: u64,
}

/// The subscriptions of one service.
#[derive(Default)]
struct OfService {
    all: HashMap<Arc<SubscriberKey>, Subscription>,
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

    fn add(&mut self, key: SubscriberKey, made: Subscription) {
        *self.clusters.entry(key.clusters.clone()).or_default() += 1;
        *self.at_address.entry(key.to).or_default() += 1;
        self.all.insert(Arc::new(key), made);
    }

    /// Drops those that have asked before `since_ms`; answers how many.
    fn drop_dead(
        &mut self,
        of_source: &mut HashMap<IpAddr, usize>,
        since_ms: u64,
        mut gone: impl FnMut(SocketAddr, Option<i64>),
    ) -> usize {
        let before = self.all.len();
        self.all.retain(|key, one| {
            if one.asked_ms >= since_ms {
                return true;
            }
            gone(key.to, one.awaited);
            take_one(of_source, &one.source, 1);
            take_one(&mut self.clusters, &key.clusters, 1);
            take_one(&mut self.at_address, &key.to, 1);
            false
        });
        before - self.all.len()
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

/// All subscriptions.
#[derive(Default)]
pub struct Subscriptions {
    services: HashMap<ServiceKey, OfService>,
    of_source: HashMap<IpAddr, usize>,
    total: usize,
}

impl Subscriptions {
    /// Makes or renews a subscription. False: a limit is reached and there is none.
    pub fn subscribe(&mut self, query: Query, now_ms: u64) -> bool {
        let Query { service, key, source, app, grouped_names } = query;
        let known = self.services.get_mut(&service).and_then(|of| of.all.get_mut(&key));
        if let Some(known) = known {
            known.asked_ms = now_ms;
            return true;
        }
        let text = service.namespace.len() + service.name.len() + key.clusters.len() + key.agent.len() + app.len();
        let of_source = self.of_source.get(&source).copied().unwrap_or_default();
        if self.total >= MAX_TOTAL || of_source >= MAX_OF_SOURCE || text > MAX_TEXT_BYTES {
            return false;
        }
        if !self.services.get(&service).is_none_or(|of| of.has_room(&key)) {
            return false;
        }
        let made = Subscription { app, grouped_names, awaited: None, source, asked_ms: now_ms };
        self.services.entry(service).or_default().add(key, made);
        self.of_source.insert(source, of_source + 1);
        self.total += 1;
        true
    }

    /// How many there are, dead ones too.
    pub fn count(&self) -> usize {
        self.total
    }

    /// Whether anybody is subscribed to the service.
    pub fn has(&self, service: &ServiceKey) -> bool {
        self.services.contains_key(service)
    }

    /// The subscriptions of all services.
    pub fn iter(&self) -> impl Iterator<Item = (&ServiceKey, &SubscriberKey, &Subscription)> {
        self.services.iter().flat_map(|(service, of)| of.all.iter().map(move |(key, one)| (service, &**key, one)))
    }

    /// One subscription.
    pub fn get_mut(&mut self, service: &ServiceKey, key: &SubscriberKey) -> Option<&mut Subscription> {
        self.services.get_mut(service)?.all.get_mut(key)
    }

    /// Those of a service that have asked within `life_ms`. The others are dropped; `gone` is told the destination and
    /// the awaited push of each.
    pub fn living(
        &mut self,
        service: &ServiceKey,
        now_ms: u64,
        life_ms: u64,
        gone: impl FnMut(SocketAddr, Option<i64>),
    ) -> Vec<(Arc<SubscriberKey>, bool)> {
        let Some(of) = self.services.get_mut(service) else { return Vec::new() };
        self.total -= of.drop_dead(&mut self.of_source, now_ms.saturating_sub(life_ms), gone);
        let living = of.all.iter().map(|(key, one)| (key.clone(), one.grouped_names)).collect();
        if of.all.is_empty() {
            self.services.remove(service);
        }
        living
    }

    /// Drops all that have not asked within `life_ms`; `gone` as for [`living`](Self::living).
    pub fn sweep(&mut self, now_ms: u64, life_ms: u64, mut gone: impl FnMut(SocketAddr, Option<i64>)) {
        let (of_source, total) = (&mut self.of_source, &mut self.total);
        self.services.retain(|_, of| {
            *total -= of.drop_dead(of_source, now_ms.saturating_sub(life_ms), &mut gone);
            !of.all.is_empty()
        });
    }
}
