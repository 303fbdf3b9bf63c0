//! Who is subscribed to what, until when.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::model::ServiceKey;

/// Subscriptions that queries from one address may hold. A gateway holds one for each service that it routes to.
pub const MAX_OF_SOURCE: usize = 10_000;
/// Subscriptions in all.
pub const MAX_TOTAL: usize = 100_000;
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
type OfService = HashMap<Arc<SubscriberKey>, Subscription>;

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
        let known = self.services.get_mut(&service).and_then(|all| all.get_mut(&key));
        if let Some(known) = known {
            known.asked_ms = now_ms;
            return true;
        }
        let text = service.namespace.len() + service.name.len() + key.clusters.len() + key.agent.len() + app.len();
        let of_source = self.of_source.get(&source).copied().unwrap_or_default();
        if self.total >= MAX_TOTAL || of_source >= MAX_OF_SOURCE || text > MAX_TEXT_BYTES {
            return false;
        }
        let made = Subscription { app, grouped_names, awaited: None, source, asked_ms: now_ms };
        self.services.entry(service).or_default().insert(Arc::new(key), made);
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
        self.services.iter().flat_map(|(service, all)| all.iter().map(move |(key, one)| (service, &**key, one)))
    }

    /// One subscription.
    pub fn get_mut(&mut self, service: &ServiceKey, key: &SubscriberKey) -> Option<&mut Subscription> {
        self.services.get_mut(service)?.get_mut(key)
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
        let Some(all) = self.services.get_mut(service) else { return Vec::new() };
        self.total -= drop_dead(all, &mut self.of_source, now_ms.saturating_sub(life_ms), gone);
        let living = all.iter().map(|(key, one)| (key.clone(), one.grouped_names)).collect();
        if all.is_empty() {
            self.services.remove(service);
        }
        living
    }

    /// Drops all that have not asked within `life_ms`; `gone` as for [`living`](Self::living).
    pub fn sweep(&mut self, now_ms: u64, life_ms: u64, mut gone: impl FnMut(SocketAddr, Option<i64>)) {
        let (of_source, total) = (&mut self.of_source, &mut self.total);
        self.services.retain(|_, all| {
            *total -= drop_dead(all, of_source, now_ms.saturating_sub(life_ms), &mut gone);
            !all.is_empty()
        });
    }
}

/// Drops those that have asked before `since_ms`; answers how many.
fn drop_dead(
    all: &mut OfService,
    of_source: &mut HashMap<IpAddr, usize>,
    since_ms: u64,
    mut gone: impl FnMut(SocketAddr, Option<i64>),
) -> usize {
    let before = all.len();
    all.retain(|key, one| {
        if one.asked_ms >= since_ms {
            return true;
        }
        gone(key.to, one.awaited);
        if let Some(count) = of_source.get_mut(&one.source) {
            *count -= 1;
            if *count == 0 {
                of_source.remove(&one.source);
            }
        }
        false
    });
    before - all.len()
}
