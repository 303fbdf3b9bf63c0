//! Who asked to be told of changes of a service by UDP, as it is stored (`spec/push.md` 1). Not until when: that is
//! counted anew after a restart.

// Addresses as plain values: `core` has no sockets.
use core::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::ServiceKey;

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

/// What tells one subscription from another within the whole node.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubscriptionKey {
    /// The service; need not exist.
    pub service: ServiceKey,
    /// Who.
    pub subscriber: Arc<SubscriberKey>,
}

/// What is known of a subscription beside its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// Address the first query came from: its limit counts.
    pub source: IpAddr,
    /// The `app` of the first query.
    pub app: Arc<str>,
    /// The client reads grouped names.
    pub grouped_names: bool,
}
