//! Changes of users, roles and permissions, with the rules that need the state (`spec/auth.md` 6).

use std::sync::Arc;

use super::Resolved;
use crate::error::{Error, Result};
use crate::model::Row;
use crate::model::account::{ADMIN_ROLE, AccountChange, PasswordHash};
use crate::model::settings::{Setting, SettingKey, User};
use crate::registry::Settings;

pub(super) fn resolve(settings: &Settings, change: &AccountChange) -> Result<Resolved> {
    match change {
        AccountChange::FirstAdmin { user, hash } => first_admin(settings, user, hash),
        AccountChange::AddUser { user, hash } => add_user(settings, user, hash),
        AccountChange::SetPassword { user, hash } => set_password(settings, user, hash),
        AccountChange::DeleteUser { user } => delete_user(settings, user),
        AccountChange::Grant { role, user } => grant(settings, role, user),
        AccountChange::Revoke { role, user } => revoke(settings, role, user.as_deref()),
        AccountChange::Permit { role, resource, action } => permit(settings, role, resource, action),
        AccountChange::Forbid { role, resource, action } => forbid(settings, permission(role, resource, action)),
    }
}

fn rows(rows: Vec<Row>) -> Result<Resolved> {
    Resolved::rows(rows, false)
}

fn put(key: SettingKey, setting: Setting) -> Row {
    Row::Setting(key, Some(Arc::new(setting)))
}

fn removal(key: SettingKey) -> Row {
    Row::Setting(key, None)
}

fn holding(role: &str, user: &str) -> SettingKey {
    SettingKey::Role { role: role.into(), user: user.into() }
}

fn permission(role: &str, resource: &str, action: &str) -> SettingKey {
    SettingKey::Permission { role: role.into(), resource: resource.into(), action: action.into() }
}

fn is_held(settings: &Settings, role: &str) -> bool {
    settings.roles().iter().any(|(known, _)| **known == *role)
}

fn user_row(user: &str, hash: &PasswordHash, created: u64) -> Row {
    put(SettingKey::User(user.into()), Setting::User(User { password_hash: hash.0.clone(), created }))
}

fn first_admin(settings: &Settings, user: &str, hash: &PasswordHash) -> Result<Resolved> {
    if is_held(settings, ADMIN_ROLE) {
        return Ok(Resolved::nothing());
    }
    let number = settings.next_number();
    rows(vec![user_row(user, hash, number), put(holding(ADMIN_ROLE, user), Setting::Role(number + 1))])
}

fn add_user(settings: &Settings, user: &str, hash: &PasswordHash) -> Result<Resolved> {
    if settings.user(user).is_some() {
        return Err(Error::Input(format!("user '{user}' already exist!")));
    }
    rows(vec![user_row(user, hash, settings.next_number())])
}

fn set_password(settings: &Settings, user: &str, hash: &PasswordHash) -> Result<Resolved> {
    let known = settings.user(user).ok_or_else(|| Error::Input(format!("user {user} not exist!")))?;
    rows(vec![user_row(user, hash, known.created)])
}

fn delete_user(settings: &Settings, user: &str) -> Result<Resolved> {
    let held: Vec<Arc<str>> =
        settings.roles().into_iter().filter(|(_, holder)| **holder == *user).map(|(role, _)| role).collect();
    if held.iter().any(|role| **role == *ADMIN_ROLE) {
        return Err(Error::Input(format!("cannot delete admin: {user}")));
    }
    let mut changed = vec![removal(SettingKey::User(user.into()))];
    for role in held {
        changed.extend(takings(settings, &role, Some(user)));
    }
    if settings.user(user).is_none() && changed.len() == 1 {
        return Ok(Resolved::nothing());
    }
    rows(changed)
}

fn grant(settings: &Settings, role: &str, user: &str) -> Result<Resolved> {
    if settings.user(user).is_none() {
        return Err(Error::Input(format!("user '{user}' not found!")));
    }
    if role == ADMIN_ROLE {
        return Err(Error::Input(format!("role '{role}' is not permitted to create!")));
    }
    let key = holding(role, user);
    if settings.get(&key).is_some() {
        return Ok(Resolved::nothing());
    }
    rows(vec![put(key, Setting::Role(settings.next_number()))])
}

fn revoke(settings: &Settings, role: &str, user: Option<&str>) -> Result<Resolved> {
    if role == ADMIN_ROLE {
        return Err(Error::Input(format!("role '{role}' is not permitted to delete!")));
    }
    rows(takings(settings, role, user))
}

/// The rows that take `role` from `user` (from everybody), and its permissions when nobody is left with it.
fn takings(settings: &Settings, role: &str, user: Option<&str>) -> Vec<Row> {
    let holders: Vec<Arc<str>> =
        settings.roles().into_iter().filter(|(known, _)| **known == *role).map(|(_, holder)| holder).collect();
    let (losing, keeping): (Vec<_>, Vec<_>) =
        holders.into_iter().partition(|holder| user.is_none_or(|user| **holder == *user));
    let mut changed: Vec<Row> = losing.iter().map(|holder| removal(holding(role, holder))).collect();
    if keeping.is_empty() {
        let all = settings.permissions().into_iter().filter(|(of, ..)| **of == *role);
        changed.extend(all.map(|(role, resource, action)| removal(permission(&role, &resource, &action))));
    }
    changed
}

fn permit(settings: &Settings, role: &str, resource: &str, action: &str) -> Result<Resolved> {
    if !is_held(settings, role) {
        return Err(Error::Input(format!("role {role} not found!")));
    }
    let key = permission(role, resource, action);
    if settings.get(&key).is_some() {
        return Ok(Resolved::nothing());
    }
    rows(vec![put(key, Setting::Permission(settings.next_number()))])
}

fn forbid(settings: &Settings, key: SettingKey) -> Result<Resolved> {
    if settings.get(&key).is_none() {
        return Ok(Resolved::nothing());
    }
    rows(vec![removal(key)])
}
