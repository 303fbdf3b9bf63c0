//! What operators set: switches, namespace labels, users and what they may do. Kept for the whole node, not for a
//! service. Meanings and defaults: `spec/operator-api.md` 1.6, 2 and 7, `spec/auth.md` 4 and 6.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Names one setting.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SettingKey {
    /// All switches together.
    Switches,
    /// A namespace label by its id.
    Namespace(Arc<str>),
    /// A user by name.
    User(Arc<str>),
    /// That a user holds a role.
    Role {
        /// The role.
        role: Arc<str>,
        /// Who holds it.
        user: Arc<str>,
    },
    /// What a role may do.
    Permission {
        /// The role.
        role: Arc<str>,
        /// Resource pattern, such as `dev:*:*`.
        resource: Arc<str>,
        /// `r`, `w` or `rw`.
        action: Arc<str>,
    },
    /// How far this server has carried out what its cluster agreed on. Not an operator's, and no other server's.
    Agreed,
}

/// The value of one setting; its variant is that of the key.
#[derive(Debug, Clone, PartialEq)]
pub enum Setting {
    /// See [`SettingKey::Switches`].
    Switches(Box<Switches>),
    /// See [`SettingKey::Namespace`].
    Namespace(Namespace),
    /// See [`SettingKey::User`].
    User(User),
    /// See [`SettingKey::Role`]: when it was granted, in order of numbers.
    Role(u64),
    /// See [`SettingKey::Permission`]: when it was granted, in order of numbers.
    Permission(u64),
    /// See [`SettingKey::Agreed`]; only `consensus` knows what it says.
    Agreed(Arc<str>),
}

impl Setting {
    /// Whether this value belongs under `key`.
    pub fn fits(&self, key: &SettingKey) -> bool {
        matches!(
            (key, self),
            (SettingKey::Switches, Setting::Switches(_))
                | (SettingKey::Namespace(_), Setting::Namespace(_))
                | (SettingKey::User(_), Setting::User(_))
                | (SettingKey::Role { .. }, Setting::Role(_))
                | (SettingKey::Permission { .. }, Setting::Permission(_))
                | (SettingKey::Agreed, Setting::Agreed(_))
        )
    }
}

/// A label for the console; nothing in the registry depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Shown name; need not be unique.
    pub name: String,
    /// `None` when it was not sent.
    pub description: Option<String>,
    /// Labels are listed in order of these numbers.
    pub created: u64,
}

/// Somebody who can log in.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// bcrypt (`$2a$10$...`).
    pub password_hash: String,
    /// Users are listed in order of these numbers.
    pub created: u64,
}

impl std::fmt::Debug for User {
    /// Without the hash: it must not come into a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User").field("created", &self.created).finish_non_exhaustive()
    }
}

/// Bounds and smoothing of the interval between active checks.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CheckParams {
    /// Longest interval in ms.
    pub max: i32,
    /// Shortest interval in ms.
    pub min: i32,
    /// Share of the old interval in the new one.
    pub factor: f32,
}

/// Everything that can be switched while the server runs, with the names, the order and the defaults of the JSON that
/// shows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs, reason = "spec/operator-api.md 1.6 and 2 say what each is for")]
pub struct Switches {
    pub masters: Option<Vec<String>>,
    pub ad_weight_map: BTreeMap<String, i32>,
    pub default_push_cache_millis: i64,
    pub client_beat_interval: i64,
    pub default_cache_millis: i64,
    pub distro_threshold: f32,
    pub health_check_enabled: bool,
    pub auto_change_health_check_enabled: bool,
    pub distro_enabled: bool,
    pub enable_standalone: bool,
    pub push_enabled: bool,
    pub check_times: i32,
    pub http_health_params: CheckParams,
    pub tcp_health_params: CheckParams,
    pub mysql_health_params: CheckParams,
    pub incremental_list: Vec<String>,
    pub server_status_synchronization_period_millis: i64,
    pub service_status_synchronization_period_millis: i64,
    #[serde(rename = "disableAddIP")]
    pub disable_add_ip: bool,
    pub send_beat_only: bool,
    pub light_beat_enabled: bool,
    pub limited_url_map: BTreeMap<String, i32>,
    pub distro_server_expired_millis: i64,
    pub push_go_version: String,
    pub push_java_version: String,
    pub push_python_version: String,
    #[serde(rename = "pushCVersion")]
    pub push_c_version: String,
    #[serde(rename = "pushCSharpVersion")]
    pub push_csharp_version: String,
    pub enable_authentication: bool,
    pub overridden_server_status: Option<String>,
    pub default_instance_ephemeral: bool,
    pub health_check_white_list: Vec<String>,
    pub name: String,
    pub checksum: Option<String>,
}

impl Default for Switches {
    fn default() -> Self {
        Self {
            masters: None,
            ad_weight_map: BTreeMap::new(),
            default_push_cache_millis: 10_000,
            client_beat_interval: 5_000,
            default_cache_millis: 3_000,
            distro_threshold: 0.7,
            health_check_enabled: true,
            auto_change_health_check_enabled: true,
            distro_enabled: true,
            enable_standalone: true,
            push_enabled: true,
            check_times: 3,
            http_health_params: CheckParams { max: 5_000, min: 500, factor: 0.85 },
            tcp_health_params: CheckParams { max: 5_000, min: 1_000, factor: 0.75 },
            mysql_health_params: CheckParams { max: 3_000, min: 2_000, factor: 0.65 },
            incremental_list: Vec::new(),
            server_status_synchronization_period_millis: 2_000,
            service_status_synchronization_period_millis: 5_000,
            disable_add_ip: false,
            send_beat_only: false,
            light_beat_enabled: true,
            limited_url_map: BTreeMap::new(),
            distro_server_expired_millis: 10_000,
            push_go_version: "0.1.0".into(),
            push_java_version: "0.1.0".into(),
            push_python_version: "0.4.3".into(),
            push_c_version: "1.0.12".into(),
            push_csharp_version: "0.9.0".into(),
            enable_authentication: false,
            overridden_server_status: None,
            default_instance_ephemeral: true,
            health_check_white_list: Vec::new(),
            name: "00-00---000-NACOS_SWITCH_DOMAIN-000---00-00".into(),
            checksum: None,
        }
    }
}
