//! What is logged of changes, with the words that people look for in the files of Nacos (`spec/configuration.md` 7). The
//! targets decide the file. How many lines there may be is limited where they are written; what is too much costs no
//! more than being counted.

use crate::model::ServiceKey;
use crate::model::account::AccountChange;
use crate::model::command::Command;
use crate::registry::{Change, Slot};

const EVENT: &str = "nacre::event";
const SERVICE: &str = "nacre::service";
const ACCOUNT: &str = "nacre::account";

/// Why something changes, as far as lines say it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cause {
    /// A beat came.
    Beat,
    /// No beat came.
    Silence,
    /// A check.
    Check,
    /// Somebody said how healthy it is.
    Said,
    /// The service was empty for a while.
    Empty,
    /// Anything else that somebody asked for.
    Asked,
}

impl From<&Command> for Cause {
    fn from(command: &Command) -> Self {
        match command {
            Command::Heal(_) => Cause::Beat,
            Command::Fade { .. } | Command::Expire { .. } => Cause::Silence,
            Command::CheckedHealth { .. } => Cause::Check,
            Command::SetHealth(..) => Cause::Said,
            Command::CleanService(_) => Cause::Empty,
            _ => Cause::Asked,
        }
    }
}

impl Cause {
    /// Why the health of an instance is another now; `None` when it need not be.
    pub(super) fn of_health(self) -> Option<&'static str> {
        match self {
            Cause::Beat => Some("a beat came"),
            Cause::Silence => Some("no beat came"),
            Cause::Check => Some("found by checks"),
            Cause::Said => Some("set from outside"),
            Cause::Empty | Cause::Asked => None,
        }
    }
}

/// Logs a change that took effect.
pub(super) fn tell(change: &Change, cause: Cause) {
    match change {
        Change::Put { service, slot, new, .. } => put(service.key(), slot, *new, cause),
        Change::Removed { service, slot } => {
            let key = service.key();
            if cause == Cause::Silence {
                tracing::info!(
                    target: SERVICE,
                    "[AUTO-DELETE-IP] namespace: {}, service: {}, ip: {}", key.namespace, key.name, Place(slot)
                );
            }
            tracing::info!(
                target: EVENT,
                "[IP-UPDATED] {{IP-DEAD}} namespace: {}, service: {}, ip: {}", key.namespace, key.name, Place(slot)
            );
        }
        Change::Gone { service } => {
            let key = service.key();
            tracing::info!(target: SERVICE, "[DEAD-SERVICE] namespace: {}, service: {}", key.namespace, key.name);
            if cause == Cause::Empty {
                tracing::info!(
                    target: SERVICE,
                    "namespace: {}, [{}] services are automatically cleaned", key.namespace, key.name
                );
            }
        }
        Change::Made { .. } | Change::Told { .. } | Change::Settings { .. } => {}
    }
}

fn put(key: &ServiceKey, slot: &Slot, new: bool, cause: Cause) {
    match cause.of_health() {
        Some(why) if slot.with(|known| known.healthy) => tracing::info!(
            target: EVENT,
            "{{IP-ENABLED}} namespace: {}, service: {}, ip: {}, {why}", key.namespace, key.name, Place(slot)
        ),
        Some(why) => tracing::info!(
            target: EVENT,
            "{{IP-DISABLED}} namespace: {}, service: {}, ip: {}, {why}", key.namespace, key.name, Place(slot)
        ),
        None if new => tracing::info!(
            target: EVENT,
            "[IP-UPDATED] {{IP-NEW}} namespace: {}, service: {}, ip: {}", key.namespace, key.name, Place(slot)
        ),
        None => tracing::info!(
            target: EVENT,
            "[IP-UPDATED] namespace: {}, service: {}, ip: {}", key.namespace, key.name, Place(slot)
        ),
    }
}

/// `ip:port@cluster`, the form of the reference.
struct Place<'s>(&'s Slot);

impl std::fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}@{}", self.0.ip(), self.0.port(), self.0.cluster())
    }
}

/// Logs a service that came into being.
pub(super) fn tell_new(key: &ServiceKey) {
    tracing::info!(target: SERVICE, "[NEW-SERVICE] namespace: {}, service: {}", key.namespace, key.name);
}

/// What a change of users, roles or permissions is called in the log; nothing of passwords.
pub(super) fn account(command: &Command) -> Option<String> {
    let Command::Account(change) = command else { return None };
    Some(match change {
        AccountChange::FirstAdmin { user, .. } => format!("the first admin, {user}, was made"),
        AccountChange::AddUser { user, .. } => format!("user {user} was added"),
        AccountChange::SetPassword { user, .. } => format!("user {user} has another password"),
        AccountChange::DeleteUser { user } => format!("user {user} was deleted"),
        AccountChange::Grant { role, user } => format!("user {user} was given the role {role}"),
        AccountChange::Revoke { role, user: Some(user) } => format!("user {user} lost the role {role}"),
        AccountChange::Revoke { role, user: None } => format!("all users lost the role {role}"),
        AccountChange::Permit { role, resource, action } => format!("role {role} may {action} {resource}"),
        AccountChange::Forbid { role, resource, action } => format!("role {role} may no longer {action} {resource}"),
    })
}

/// Logs what [`account`] said, once it is done.
pub(super) fn tell_account(text: &str) {
    tracing::info!(target: ACCOUNT, "{text}");
}
