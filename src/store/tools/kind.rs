//! The kinds of rows, as people count them. A new kind of row does not build until it has its place here.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::model::Row;
use crate::model::settings::SettingKey;

/// A kind of row, in the order in which they are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) enum Kind {
    EphemeralInstances,
    PersistentInstances,
    Services,
    Clusters,
    Switches,
    Namespaces,
    Users,
    Roles,
    Permissions,
    Agreed,
    Subscriptions,
}

impl Kind {
    pub(super) fn of(row: &Row) -> Self {
        match row {
            Row::Instance(key, _) if key.ephemeral => Kind::EphemeralInstances,
            Row::Instance(..) => Kind::PersistentInstances,
            Row::Service(..) => Kind::Services,
            Row::Cluster(..) => Kind::Clusters,
            Row::Setting(SettingKey::Switches, _) => Kind::Switches,
            Row::Setting(SettingKey::Namespace(_), _) => Kind::Namespaces,
            Row::Setting(SettingKey::User(_), _) => Kind::Users,
            Row::Setting(SettingKey::Role { .. }, _) => Kind::Roles,
            Row::Setting(SettingKey::Permission { .. }, _) => Kind::Permissions,
            Row::Setting(SettingKey::Agreed, _) => Kind::Agreed,
            Row::Subscription(..) => Kind::Subscriptions,
        }
    }

    /// For people.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::EphemeralInstances => "ephemeral instances",
            Kind::PersistentInstances => "persistent instances",
            Kind::Services => "settings of services",
            Kind::Clusters => "settings of clusters",
            Kind::Switches => "switches",
            Kind::Namespaces => "namespace labels",
            Kind::Users => "users",
            Kind::Roles => "roles of users",
            Kind::Permissions => "permissions",
            Kind::Agreed => "places in the log of the cluster",
            Kind::Subscriptions => "subscriptions",
        }
    }
}

/// How many rows there are of each kind; kinds without rows are not there.
pub(super) type Counts = BTreeMap<Kind, u64>;

pub(super) fn count(counts: &mut Counts, row: &Row) {
    *counts.entry(Kind::of(row)).or_default() += 1;
}
