//! What operators set, in memory: switches, namespace labels, users, roles, permissions.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::model::Row;
use crate::model::settings::{Namespace, Setting, SettingKey, Switches, User};

/// The settings of this node. Few, and changed by hand, so one ordered map holds them all.
#[derive(Default)]
pub struct Settings {
    /// The switches in force, apart because every request reads them.
    switches: RwLock<Arc<Switches>>,
    stored: RwLock<BTreeMap<SettingKey, Arc<Setting>>>,
}

impl Settings {
    /// The switches in force.
    pub fn switches(&self) -> Arc<Switches> {
        self.switches.read().clone()
    }

    /// The switches as they are stored: those in force but for changes that are for debugging only.
    pub fn stored_switches(&self) -> Arc<Switches> {
        match self.get(&SettingKey::Switches).as_deref() {
            Some(Setting::Switches(switches)) => Arc::new((**switches).clone()),
            _ => Arc::default(),
        }
    }

    /// Puts switches in force that are not stored: until the next stored change or restart.
    pub fn override_switches(&self, switches: Switches) {
        *self.switches.write() = Arc::new(switches);
    }

    /// One setting.
    pub fn get(&self, key: &SettingKey) -> Option<Arc<Setting>> {
        self.stored.read().get(key).cloned()
    }

    /// A namespace label.
    pub fn namespace(&self, id: &str) -> Option<Namespace> {
        match self.get(&SettingKey::Namespace(id.into())).as_deref() {
            Some(Setting::Namespace(namespace)) => Some(namespace.clone()),
            _ => None,
        }
    }

    /// All namespace labels with their ids, in order of creation.
    pub fn namespaces(&self) -> Vec<(Arc<str>, Namespace)> {
        let mut all = self.collect(|key, setting| match (key, setting) {
            (SettingKey::Namespace(id), Setting::Namespace(namespace)) => Some((id.clone(), namespace.clone())),
            _ => None,
        });
        all.sort_by_key(|(_, namespace)| namespace.created);
        all
    }

    /// A user.
    pub fn user(&self, name: &str) -> Option<User> {
        match self.get(&SettingKey::User(name.into())).as_deref() {
            Some(Setting::User(user)) => Some(user.clone()),
            _ => None,
        }
    }

    /// All users with their names, in order of creation.
    pub fn users(&self) -> Vec<(Arc<str>, User)> {
        let mut all = self.collect(|key, setting| match (key, setting) {
            (SettingKey::User(name), Setting::User(user)) => Some((name.clone(), user.clone())),
            _ => None,
        });
        all.sort_by_key(|(_, user)| user.created);
        all
    }

    /// All `(role, user)` pairs, in order of granting.
    pub fn roles(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let mut all = self.collect(|key, setting| match (key, setting) {
            (SettingKey::Role { role, user }, Setting::Role(at)) => Some((*at, (role.clone(), user.clone()))),
            _ => None,
        });
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, pair)| pair).collect()
    }

    /// All `(role, resource, action)` triples, in order of granting.
    pub fn permissions(&self) -> Vec<(Arc<str>, Arc<str>, Arc<str>)> {
        let mut all = self.collect(|key, setting| match (key, setting) {
            (SettingKey::Permission { role, resource, action }, Setting::Permission(at)) => {
                Some((*at, (role.clone(), resource.clone(), action.clone())))
            }
            _ => None,
        });
        all.sort_by_key(|(at, _)| *at);
        all.into_iter().map(|(_, triple)| triple).collect()
    }

    /// The roles that a user holds, in order of names.
    pub fn roles_of(&self, user: &str) -> Vec<Arc<str>> {
        let first = SettingKey::Role { role: "".into(), user: "".into() };
        let stored = self.stored.read();
        let roles = stored.range(first..).map_while(|(key, _)| match key {
            SettingKey::Role { role, user } => Some((role, user)),
            _ => None,
        });
        roles.filter(|(_, holder)| ***holder == *user).map(|(role, _)| role.clone()).collect()
    }

    /// Whether `fits` holds for one of the `(resource, action)` pairs of a role.
    pub fn any_permission(&self, role: &str, fits: impl Fn(&str, &str) -> bool) -> bool {
        let first = SettingKey::Permission { role: role.into(), resource: "".into(), action: "".into() };
        let stored = self.stored.read();
        let mut permissions = stored.range(first..).map_while(|(key, _)| match key {
            SettingKey::Permission { role: of, resource, action } if **of == *role => Some((resource, action)),
            _ => None,
        });
        permissions.any(|(resource, action)| fits(resource, action))
    }

    /// A number above that of every namespace, user, role and permission there is: what comes next gets it.
    pub fn next_number(&self) -> u64 {
        let number = |setting: &Setting| match setting {
            Setting::Switches(_) | Setting::Agreed(_) => 0,
            Setting::Namespace(namespace) => namespace.created,
            Setting::User(user) => user.created,
            Setting::Role(at) | Setting::Permission(at) => *at,
        };
        self.stored.read().values().map(|setting| number(setting)).max().unwrap_or(0) + 1
    }

    fn collect<T>(&self, pick: impl Fn(&SettingKey, &Setting) -> Option<T>) -> Vec<T> {
        self.stored.read().iter().filter_map(|(key, setting)| pick(key, setting)).collect()
    }

    pub(super) fn apply(&self, key: SettingKey, setting: Option<Arc<Setting>>) {
        if key == SettingKey::Switches {
            *self.switches.write() = match setting.as_deref() {
                Some(Setting::Switches(switches)) => Arc::new((**switches).clone()),
                _ => Arc::default(),
            };
        }
        let mut stored = self.stored.write();
        match setting {
            Some(setting) => stored.insert(key, setting),
            None => stored.remove(&key),
        };
    }

    /// All that the servers of a cluster agree on.
    pub fn agreed_rows(&self) -> Vec<Row> {
        self.rows().into_iter().filter(|row| !matches!(row, Row::Setting(SettingKey::Agreed, _))).collect()
    }

    /// How far this server has carried out what its cluster agreed on, as `consensus` says it.
    pub fn agreed(&self) -> Option<Arc<str>> {
        match self.get(&SettingKey::Agreed).as_deref() {
            Some(Setting::Agreed(position)) => Some(position.clone()),
            _ => None,
        }
    }

    pub(super) fn rows(&self) -> Vec<Row> {
        self.stored.read().iter().map(|(key, setting)| Row::Setting(key.clone(), Some(setting.clone()))).collect()
    }
}
