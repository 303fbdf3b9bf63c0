//! UDP push (`spec/push.md`): who asked for a list with a UDP port is sent the new list when the service changes.
//!
//! Push is a hint: clients go on polling, so a lost datagram only costs time. A query subscribes ([`Push::subscribe`]);
//! `commit` tells of changes ([`Push::note`]), which costs a write no more than a look at a set; a thread of its own
//! ([`Sender`]) builds each datagram once for all who get the same, sends it and takes the acknowledgements. All that is
//! known is in [`state`], without sockets or clocks. Time is the awake time of this process.
//!
//! Subscriptions are stored, so that a change right after a restart is pushed at once: the sender hands new and ended
//! ones to `commit` a few times a second, without waiting. Renewals cost nothing there. A full queue or a store that
//! fails costs no subscription: it works in memory, and the row follows.
//!
//! Faster than the reference: the first change of a service is pushed at once, later ones within the merge delay together.
//! And safer: a datagram goes only to the address that a query came from, unless the configuration allows the address that
//! the query names.

pub mod awaiting;
pub mod costs;
pub mod list;
pub mod merge;
pub mod packet;
pub mod pushable;
pub mod sender;
pub mod socket;
pub mod state;
pub mod subscriptions;
#[cfg(test)]
mod tests;
pub mod unstored;

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ipnet::IpNet;
use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::Notify;

use crate::model::ServiceKey;
use crate::model::clock::AwakeClock;
use crate::model::settings::Switches;
use crate::model::subscription::{Subscription, SubscriptionKey};
use crate::registry::Change;
use crate::wire::push::Subscriber;
pub use costs::Costs;
pub use sender::Sender;
use state::{Counters, State};
use subscriptions::{MAX_OF_SOURCE, MAX_TOTAL, Query, SubscriberKey};

/// A subscription lives at least this long after its last query or acknowledgement, in ms (`spec/push.md`).
const LEAST_LIFE_MS: u64 = 10_000;
/// Datagrams that `push/state` shows, and bytes of each.
const MAX_SHOWN: (usize, usize) = (100, 64 << 10);

/// How long a subscription lives after its last query or acknowledgement, in ms.
pub fn life_ms(switches: &Switches) -> u64 {
    u64::try_from(switches.default_push_cache_millis).unwrap_or_default().max(LEAST_LIFE_MS)
}

/// Subscriptions and what is on its way to them; cheap to clone.
#[derive(Clone)]
pub struct Push(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Services that changed since the sender looked; at most as many as there are.
    changed: Mutex<HashSet<ServiceKey>>,
    wake: Notify,
    /// Subscriptions, so that changes cost nothing when there are none.
    count: AtomicUsize,
    /// It was said that a limit is reached.
    warned: AtomicBool,
    clock: AwakeClock,
    allow_client_ip: RwLock<Vec<IpNet>>,
}

/// A query for a list that asks to be pushed to.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The parameter `clientIP`; may be empty.
    pub client_ip: &'a str,
    /// The parameter `udpPort`.
    pub udp_port: i32,
    /// Address the query came from.
    pub peer: IpAddr,
    /// The parameter `clusters`.
    pub clusters: &'a str,
    /// The header `User-Agent`.
    pub agent: &'a str,
    /// The parameter `app`.
    pub app: &'a str,
    /// The client reads grouped names.
    pub grouped_names: bool,
}

impl Push {
    /// Nobody is subscribed. Addresses within `allow_client_ip` are believed when clients name them.
    pub fn new(clock: AwakeClock, allow_client_ip: Vec<IpNet>) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::default(),
            changed: Mutex::default(),
            wake: Notify::new(),
            count: AtomicUsize::new(0),
            warned: AtomicBool::new(false),
            clock,
            allow_client_ip: RwLock::new(allow_client_ip),
        }))
    }

    /// Addresses within `networks` are believed from now on, no others. Subscriptions stay where they go.
    pub fn set_allow_client_ip(&self, networks: Vec<IpNet>) {
        *self.0.allow_client_ip.write() = networks;
    }

    /// Makes or renews a subscription; to be called before the list is read, so that no change falls between. False:
    /// there is none, because the address can't be used or a limit is reached; the client has to poll.
    pub fn subscribe(&self, service: ServiceKey, ask: &Ask<'_>) -> bool {
        let Some(key) = self.subscriber(ask) else { return false };
        let source = ask.peer.to_canonical();
        let query = Query { service, key, source, app: ask.app.into(), grouped_names: ask.grouped_names };
        let mut state = self.state();
        let subscribed = state.subscribe(query, self.now_ms());
        self.count(&state);
        drop(state);
        if !subscribed && !self.0.warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(%source, MAX_OF_SOURCE, MAX_TOTAL, "too many subscriptions: further clients have to poll");
        }
        subscribed
    }

    /// Goes on with the subscriptions that an earlier process has `stored`, each as if it had asked now; those beyond the
    /// limits, or to an address that is no longer allowed, are to be forgotten. To be called before anybody subscribes.
    /// Answers how many live on.
    pub fn restore(&self, stored: Vec<(SubscriptionKey, Arc<Subscription>)>) -> usize {
        let now_ms = self.now_ms();
        let mut state = self.state();
        for (key, subscription) in stored {
            let to = key.subscriber.to.ip();
            if to == subscription.source || self.is_allowed(&to) {
                state.restore(key, subscription, now_ms);
            } else {
                state.forget(key);
            }
        }
        self.count(&state);
        state.subscriptions().count()
    }

    /// Does not go on with the subscriptions that an earlier process has `stored`: they are too old.
    pub fn forget(&self, stored: Vec<(SubscriptionKey, Arc<Subscription>)>) {
        let mut state = self.state();
        stored.into_iter().for_each(|(key, _)| state.forget(key));
    }

    fn is_allowed(&self, ip: &IpAddr) -> bool {
        self.0.allow_client_ip.read().iter().any(|network| network.contains(ip))
    }

    fn subscriber(&self, ask: &Ask<'_>) -> Option<SubscriberKey> {
        let port = u16::try_from(ask.udp_port).ok().filter(|port| *port > 0)?;
        let peer = ask.peer.to_canonical();
        let named = if ask.client_ip.is_empty() { peer } else { address(ask.client_ip)? };
        let to = if self.is_allowed(&named) { named } else { peer };
        Some(SubscriberKey {
            listed: SocketAddr::new(named, port),
            to: SocketAddr::new(to, port),
            clusters: ask.clusters.into(),
            agent: ask.agent.into(),
        })
    }

    /// Takes note of what `changes` mean for subscribers (`spec/push.md` 2).
    pub fn note(&self, changes: &[Change]) {
        if self.0.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut changed = HashSet::new();
        for change in changes {
            match change {
                Change::Put { service, .. } | Change::Removed { service, .. } | Change::Told { service } => {
                    if !changed.contains(service.key()) {
                        changed.insert(service.key().clone());
                    }
                }
                // Its instances went with it: nothing that is told.
                Change::Gone { service } => {
                    changed.remove(service.key());
                }
                Change::Made { .. } | Change::Settings { .. } => {}
            }
        }
        if !changed.is_empty() {
            self.0.changed.lock().extend(changed);
            self.0.wake.notify_one();
        }
    }

    /// A page of those whose service's plain name and group contain these texts (`spec/service-api.md` 2.7), and how many
    /// there are in all.
    pub fn subscribers(&self, namespace: &str, group: &str, plain_name: &str) -> Vec<Subscriber> {
        let state = self.state();
        let wanted = |service: &ServiceKey| {
            *service.namespace == *namespace
                && service.plain_name().contains(plain_name)
                && service.group().contains(group)
        };
        let found = state.subscriptions().iter().filter(|(service, ..)| wanted(service));
        let mut found: Vec<_> = found
            .map(|(service, key, one)| Subscriber {
                ip: key.listed.ip().to_string(),
                port: key.listed.port(),
                agent: key.agent.to_string(),
                app: one.subscription.app.to_string(),
                service: service.name.to_string(),
            })
            .collect();
        drop(state);
        // Pages need an order that stays.
        found.sort_by(|a, b| (&a.service, &a.ip, a.port, &a.agent).cmp(&(&b.service, &b.ip, b.port, &b.agent)));
        found
    }

    /// The counters now.
    pub fn counters(&self) -> Counters {
        self.state().counters()
    }

    /// How long subscribers took to acknowledge, in the last period of 15 s that is over.
    pub fn costs(&self) -> Costs {
        self.state().costs()
    }

    /// Subscriptions, dead ones that are not yet swept too.
    pub fn subscription_count(&self) -> usize {
        self.0.count.load(Ordering::Relaxed)
    }

    /// Services that anybody is subscribed to.
    pub fn services_subscribed(&self) -> usize {
        self.state().subscriptions().service_count()
    }

    /// The JSON of datagrams that are awaited, not more than a hundred.
    pub fn awaited(&self) -> Vec<String> {
        let awaited = self.state().awaited(MAX_SHOWN.0);
        awaited.iter().map(|bytes| packet::decode(bytes, MAX_SHOWN.1)).collect()
    }

    /// Forgets what is awaited.
    pub fn forget_awaited(&self) {
        self.state().forget_awaited();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock()
    }

    fn now_ms(&self) -> u64 {
        self.0.clock.now_ms()
    }

    fn count(&self, state: &State) {
        self.0.count.store(state.subscriptions().count(), Ordering::SeqCst);
    }

    async fn told(&self) {
        self.0.wake.notified().await;
    }

    /// The services to be pushed now of those that have changed.
    fn take_changed(&self) -> Vec<ServiceKey> {
        let changed = std::mem::take(&mut *self.0.changed.lock());
        if changed.is_empty() {
            return Vec::new();
        }
        let now_ms = self.now_ms();
        self.state().changed(changed, now_ms)
    }
}

/// The address in a text. Names are not looked up: anybody could have this server ask for any name.
fn address(text: &str) -> Option<IpAddr> {
    if text.eq_ignore_ascii_case("localhost") {
        return Some(Ipv4Addr::LOCALHOST.into());
    }
    let bare = text.trim_start_matches('[').trim_end_matches(']');
    let bare = bare.split('%').next().unwrap_or(bare);
    bare.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}
