//! What is asked of the registry. Only `commit` carries these out.

mod label;
mod switch;

pub use label::{LabelChange, LabelText};
pub use switch::{PushLanguage, Switch, SwitchChange};

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::account::AccountChange;
use super::peer::Merge;
use super::subscription::{Subscription, SubscriptionKey};
use super::{ClusterKey, ClusterSettings, Instance, InstanceKey, Metadata, Row, ServiceKey, ServiceSettings};

/// A change that somebody wants. One that reads before it writes is resolved by the committer, never before.
#[derive(Debug, Clone)]
pub enum Command {
    /// Puts an instance in or replaces it. A replaced one keeps its health and id.
    Register(InstanceKey, Instance),
    /// Takes an instance out; an unknown one is no error.
    Deregister(InstanceKey),
    /// As register, but the address must exist in some cluster of the service (PUT by a modern Java client).
    /// The text describes the instance for the error.
    Replace(InstanceKey, Instance, String),
    /// Changes some properties of one instance.
    Patch(Address, Patch),
    /// Changes metadata of many instances. Answers [`Outcome::Updated`].
    ChangeMetadata(ServiceKey, Scope, MetadataChange),
    /// Sets the health of an instance whose cluster has no checker.
    SetHealth(Address, bool),
    /// A beat came for an unhealthy instance.
    Heal(InstanceKey),
    /// No beat came for too long: unhealthy. Void if a beat came after the one at `last_beat_ms`.
    Fade {
        /// The silent instance.
        key: InstanceKey,
        /// Awake time of the last beat that was seen.
        last_beat_ms: u64,
    },
    /// No beat came for far too long: removed. Void if a beat came after the one at `last_beat_ms`.
    Expire {
        /// The silent instance.
        key: InstanceKey,
        /// Awake time of the last beat that was seen.
        last_beat_ms: u64,
    },
    /// Active checks found a persistent instance to be that healthy. Subscribers are told even if it was so already.
    CheckedHealth {
        /// The checked instance.
        key: InstanceKey,
        /// What was found.
        healthy: bool,
    },
    /// Makes a service that must not exist.
    CreateService(ServiceKey, ServiceSettings),
    /// Replaces the settings of a service that must exist.
    UpdateService(ServiceKey, ServiceSettings),
    /// Removes a service with its clusters and instances.
    DeleteService(ServiceKey),
    /// Removes a service if it has no instance.
    CleanService(ServiceKey),
    /// Makes a cluster or replaces its settings; the service must exist.
    UpdateCluster(ClusterKey, ClusterSettings),
    /// Changes the switches.
    Switch(SwitchChange),
    /// Changes a namespace label.
    Label(LabelChange),
    /// Changes users, roles or permissions.
    Account(AccountChange),
    /// Subscriptions that are to be known after a restart, and (`None`) those that are not. Only `push` sends it, and
    /// never the same twice.
    Subscriptions(Vec<(SubscriptionKey, Option<Arc<Subscription>>)>),
    /// Lists of peers: their difference to what is there. Answers [`Outcome::Merged`].
    Merge(Vec<Merge>),
    /// The owner of a service told how healthy its instances are (host, port, health); others are not touched.
    PeerHealth(ServiceKey, Vec<(Box<str>, i32, bool)>),
    /// Nothing.
    Nothing,
    /// These rows are what the servers of a group have agreed on: they come, all others of that kind go. Only `consensus`
    /// sends it.
    Install(Vec<Row>),
}

impl Command {
    /// Whether it tells what is so, by beats, checks, subscriptions or peers, instead of asking for something. Nobody waits for
    /// such a command, and it takes effect in memory even while the store refuses writes: the store is healed from memory.
    pub fn is_observed(&self) -> bool {
        let by_health = matches!(
            self,
            Command::Heal(_) | Command::Fade { .. } | Command::Expire { .. } | Command::CheckedHealth { .. }
        );
        by_health || matches!(self, Command::Subscriptions(_) | Command::Merge(_) | Command::PeerHealth(..))
    }
}

/// An instance as some requests name it: without its kind.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Address {
    /// The service.
    pub service: ServiceKey,
    /// Exact name of the cluster.
    pub cluster: Arc<str>,
    /// Host.
    pub ip: Arc<str>,
    /// Port.
    pub port: i32,
}

impl Address {
    /// The key of the instance of that kind at this address.
    pub fn of_kind(&self, ephemeral: bool) -> InstanceKey {
        InstanceKey {
            service: self.service.clone(),
            cluster: self.cluster.clone(),
            ip: self.ip.clone(),
            port: self.port,
            ephemeral,
        }
    }
}

/// What a PATCH sets; `None` leaves it as it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Patch {
    /// Replaces all metadata; the inner `None` is the JSON null.
    pub metadata: Option<Option<Metadata>>,
    /// Shown by the catalog.
    pub app: Option<Box<str>>,
    /// 0 to 10000.
    pub weight: Option<f64>,
    /// Sets health directly, unlike any other write.
    pub healthy: Option<bool>,
    /// Listed or not.
    pub enabled: Option<bool>,
}

/// Which instances of a service a metadata change is for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Scope {
    /// All of one kind: ephemeral (true) or persistent (false).
    Kind(bool),
    /// These; those that don't exist are skipped.
    These(Vec<InstanceKey>),
}

/// How metadata change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum MetadataChange {
    /// Put these pairs in.
    Merge(Metadata),
    /// Take these keys out; the values don't matter.
    Remove(Metadata),
}

/// What a command that was carried out has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing.
    Done,
    /// What was to be made exists already; nothing changed.
    Exists,
    /// The instances that a metadata change was for.
    Updated(Vec<InstanceKey>),
    /// Lists of peers were taken in. These instances are there although the sender, which told of the whole service,
    /// does not have them, or has an older state of them: it should be told.
    Merged(Vec<InstanceKey>),
}
