//! The nouns: what a registry holds ([`ServiceKey`], [`Instance`], ...), what is asked of it ([`command`]) and what is
//! stored of it ([`Row`]). Plain data without behaviour of its own; names and defaults are those of Nacos 1.4
//! (`spec/instance-api.md` 2, `spec/service-api.md` 1).

pub mod account;
pub mod clock;
pub mod command;
pub mod member;
pub mod peer;
pub mod settings;
pub mod status;
pub mod subscription;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use subscription::{Subscription, SubscriptionKey};

/// Namespace of requests that name none.
pub const DEFAULT_NAMESPACE: &str = "public";
/// Group of services that name none.
pub const DEFAULT_GROUP: &str = "DEFAULT_GROUP";
/// Cluster of instances that name none.
pub const DEFAULT_CLUSTER: &str = "DEFAULT";
/// Between group and plain name in a grouped service name.
pub const GROUP_SEPARATOR: &str = "@@";
/// App of instances that name none.
pub const DEFAULT_APP: &str = "DEFAULT";
/// The most that one instance, with its names and metadata, or one other row takes in the store, in bytes.
pub const MAX_ROW_BYTES: usize = 64 * 1024;
/// Metadata key: how often the client beats, in ms.
pub const BEAT_INTERVAL_KEY: &str = "preserved.heart.beat.interval";
/// Metadata key: without a beat for longer than this many ms an ephemeral instance is unhealthy.
pub const BEAT_TIMEOUT_KEY: &str = "preserved.heart.beat.timeout";
/// Metadata key: without a beat for longer than this many ms an ephemeral instance is removed.
pub const DELETE_TIMEOUT_KEY: &str = "preserved.ip.delete.timeout";
/// Metadata key: how the id of an instance is made.
pub const ID_GENERATOR_KEY: &str = "preserved.instance.id.generator";
/// Without a beat for longer than this an ephemeral instance is unhealthy (`preserved.heart.beat.timeout`).
pub const DEFAULT_BEAT_TIMEOUT_MS: u64 = 15_000;
/// Without a beat for longer than this an ephemeral instance is removed (`preserved.ip.delete.timeout`).
pub const DEFAULT_DELETE_TIMEOUT_MS: u64 = 30_000;
/// How often a client should beat (`preserved.heart.beat.interval`).
pub const DEFAULT_BEAT_INTERVAL_MS: u64 = 5_000;

/// A service: a namespace and a grouped name (`group@@name`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServiceKey {
    /// Any text; needs no declaration.
    pub namespace: Arc<str>,
    /// The grouped name.
    pub name: Arc<str>,
}

impl ServiceKey {
    /// Key of `name` (grouped) in `namespace`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }

    /// The part before the first `@@`.
    pub fn group(&self) -> &str {
        self.name.split(GROUP_SEPARATOR).next().unwrap_or_default()
    }

    /// The part between the first and the second `@@` (`b` of `a@@b@@c`).
    pub fn plain_name(&self) -> &str {
        plain_name(&self.name)
    }
}

/// The plain name in a grouped name; the whole text when it has no group.
pub fn plain_name(grouped: &str) -> &str {
    grouped.split(GROUP_SEPARATOR).nth(1).unwrap_or(grouped)
}

/// A cluster of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ClusterKey {
    /// The service it belongs to.
    pub service: ServiceKey,
    /// `[0-9a-zA-Z-]+`.
    pub name: Arc<str>,
}

/// What tells one instance from another within the whole registry.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct InstanceKey {
    /// The service it belongs to.
    pub service: ServiceKey,
    /// Name of its cluster.
    pub cluster: Arc<str>,
    /// Not checked: host names, IPv6 with or without brackets, anything.
    pub ip: Arc<str>,
    /// Not checked: 0 and negative numbers are legal.
    pub port: i32,
    /// Lives by beats (true) or by checks (false).
    pub ephemeral: bool,
}

impl InstanceKey {
    /// The printed key, `ip:port:unknown:cluster`, without the port when that is 0 or less (`unknown` is a fixed word).
    pub fn printed(&self) -> String {
        if self.port > 0 {
            format!("{}:{}:unknown:{}", self.ip, self.port, self.cluster)
        } else {
            format!("{}:unknown:{}", self.ip, self.cluster)
        }
    }
}

/// Text to text, sorted by key, each key once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata(Box<[(Box<str>, Box<str>)]>);

impl Metadata {
    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(k, _)| k.as_ref().cmp(key)).ok()?;
        self.0.get(at).map(|(_, v)| v.as_ref())
    }

    /// All pairs in order of keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_ref(), v.as_ref()))
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl<K: Into<Box<str>>, V: Into<Box<str>>> FromIterator<(K, V)> for Metadata {
    /// Of a key given twice the last counts.
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        let sorted: std::collections::BTreeMap<Box<str>, Box<str>> =
            pairs.into_iter().map(|(k, v)| (k.into(), v.into())).collect();
        Self(sorted.into_iter().collect())
    }
}

/// What is known of an instance beside its key. The time of its last beat is not here: it is never stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Instance {
    /// 0 to 10000.
    pub weight: f64,
    /// By beats, by checks or as set.
    pub healthy: bool,
    /// Disabled instances are not listed.
    pub enabled: bool,
    /// Skipped by expiry; only peers set it.
    pub marked: bool,
    /// `None` is the JSON null that some requests set; it prints as `null`.
    pub metadata: Option<Metadata>,
    /// `None` stands for the ordinary id, `ip#port#cluster#service`.
    pub id: Option<Box<str>>,
    /// `None` stands for [`DEFAULT_APP`].
    pub app: Option<Box<str>>,
    /// When it was last changed, epoch ms of the server that changed it; 0: nobody knows, as of all persistent instances. By
    /// it copies of an ephemeral instance are compared. `commit` sets it; what is the same but for it is equal, and it is
    /// in no command.
    #[serde(skip)]
    pub changed_ms: u64,
}

impl PartialEq for Instance {
    fn eq(&self, other: &Self) -> bool {
        let Instance { weight, healthy, enabled, marked, metadata, id, app, changed_ms: _ } = self;
        let flags = [*healthy, *enabled, *marked] == [other.healthy, other.enabled, other.marked];
        flags && *weight == other.weight && *metadata == other.metadata && *id == other.id && *app == other.app
    }
}

impl Default for Instance {
    fn default() -> Self {
        Self {
            weight: 1.0,
            healthy: true,
            enabled: true,
            marked: false,
            metadata: Some(Metadata::default()),
            id: None,
            app: None,
            changed_ms: 0,
        }
    }
}

impl Instance {
    /// A reserved metadata number in ms: digits only; anything else, also more than 64 bits, counts as absent
    /// (`spec/instance-api.md` 5.7).
    fn reserved_ms(&self, key: &str) -> Option<u64> {
        let text = self.metadata.as_ref()?.get(key)?;
        if text.bytes().all(|b| b.is_ascii_digit()) { text.parse().ok() } else { None }
    }

    /// Without a beat for longer than this it is unhealthy, in ms.
    pub fn beat_timeout_ms(&self) -> u64 {
        self.reserved_ms(BEAT_TIMEOUT_KEY).unwrap_or(DEFAULT_BEAT_TIMEOUT_MS)
    }

    /// Without a beat for longer than this it is removed, in ms.
    pub fn delete_timeout_ms(&self) -> u64 {
        self.reserved_ms(DELETE_TIMEOUT_KEY).unwrap_or(DEFAULT_DELETE_TIMEOUT_MS)
    }

    /// The interval it asks its client for, in ms: `None` without the key, the default when it is no number.
    pub fn beat_interval_ms(&self) -> Option<u64> {
        self.metadata.as_ref()?.get(BEAT_INTERVAL_KEY)?;
        Some(self.reserved_ms(BEAT_INTERVAL_KEY).unwrap_or(DEFAULT_BEAT_INTERVAL_MS))
    }

    /// Whether its id is to be a small number instead of the ordinary text.
    pub fn wants_number_id(&self) -> bool {
        let generator = self.metadata.as_ref().and_then(|m| m.get(ID_GENERATOR_KEY));
        generator.is_some_and(|text| text.eq_ignore_ascii_case("snowflake"))
    }
}

/// The rule by which a service chooses instances for a client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selector {
    /// Every instance.
    #[default]
    None,
    /// Instances whose labels equal the client's (needs a CMDB, so in practice every instance).
    Label {
        /// As it was given, white space included.
        expression: String,
        /// The names of the labels compared.
        labels: Vec<String>,
    },
}

/// Settings of a service.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ServiceSettings {
    /// When healthy / all is at most this, all instances are given out as healthy.
    pub protect_threshold: f32,
    /// Of the service itself.
    pub metadata: Metadata,
    /// Which instances a client sees.
    pub selector: Selector,
}

/// Stands for the password of a checker in answers. A cluster that is changed with it as the password keeps the one it
/// has (a fix of the reference, which shows passwords to everybody).
pub const MASKED_PASSWORD: &str = "******";

/// How persistent instances of a cluster are checked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HealthChecker {
    /// Connect to the port.
    #[default]
    Tcp,
    /// GET a path and expect 200.
    Http {
        /// Resolved like a relative link.
        path: String,
        /// `name:value` pairs joined by a vertical bar.
        headers: String,
        /// Stored and shown, never used.
        expected_code: i32,
    },
    /// Log in and run a command.
    Mysql {
        /// Absent members stay absent in answers.
        user: Option<String>,
        /// Password.
        pwd: Option<String>,
        /// SQL.
        cmd: Option<String>,
    },
    /// No checks: health is set from outside.
    None,
}

/// Settings of a cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClusterSettings {
    /// How its persistent instances are checked.
    pub checker: HealthChecker,
    /// Port to check when `use_instance_port` is false.
    pub check_port: i32,
    /// Check each instance on its own port.
    pub use_instance_port: bool,
    /// Of the cluster itself.
    pub metadata: Metadata,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self { checker: HealthChecker::Tcp, check_port: 80, use_instance_port: true, metadata: Metadata::default() }
    }
}

/// The unit of the store and of the registry: one thing put (`Some`) or removed (`None`).
/// Every row stands alone; a service or cluster that a row names comes into being with it.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    /// An instance of either kind.
    Instance(InstanceKey, Option<Arc<Instance>>),
    /// Settings of a service; only services with stored settings have such a row.
    Service(ServiceKey, Option<Arc<ServiceSettings>>),
    /// Settings of a cluster.
    Cluster(ClusterKey, Option<Arc<ClusterSettings>>),
    /// What operators set for the whole node.
    Setting(settings::SettingKey, Option<Arc<settings::Setting>>),
    /// Somebody to be told by UDP; outlives the service.
    Subscription(SubscriptionKey, Option<Arc<Subscription>>),
}

impl Row {
    /// The same row, as a removal.
    pub fn removal(&self) -> Row {
        match self {
            Row::Instance(key, _) => Row::Instance(key.clone(), None),
            Row::Service(key, _) => Row::Service(key.clone(), None),
            Row::Cluster(key, _) => Row::Cluster(key.clone(), None),
            Row::Setting(key, _) => Row::Setting(key.clone(), None),
            Row::Subscription(key, _) => Row::Subscription(key.clone(), None),
        }
    }
}
