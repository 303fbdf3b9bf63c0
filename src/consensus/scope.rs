//! What the servers of a cluster have to agree on, and what each does by itself (`spec/persistent.md` 1, `spec/members.md` 8).

use crate::model::command::{Address, Command, Scope, SwitchChange};
use crate::registry::Registry;

/// A command taken apart.
#[derive(Debug)]
pub(super) struct Parts {
    /// To be agreed on.
    pub(super) agreed: Option<Command>,
    /// For this server's own registry.
    pub(super) own: Option<Command>,
}

/// Whether all servers have to agree on at least a part of `command`, as far as this server knows.
pub(super) fn is_agreed(registry: &Registry, command: &Command) -> bool {
    let has_persistent = |address: &Address| registry.find(&address.of_kind(false)).is_some();
    match command {
        Command::Register(key, _) | Command::Deregister(key) | Command::Replace(key, ..) => !key.ephemeral,
        Command::Patch(address, _) => has_persistent(address),
        Command::ChangeMetadata(_, Scope::Kind(ephemeral), _) => !ephemeral,
        Command::ChangeMetadata(_, Scope::These(keys), _) => keys.iter().any(|key| !key.ephemeral),
        Command::CreateService(..) | Command::UpdateService(..) | Command::DeleteService(_) => true,
        // A service that is not stored is there because of ephemeral instances, and each server forgets it by itself.
        Command::CleanService(key) => registry.find_service(key).is_some_and(|service| service.is_stored()),
        Command::UpdateCluster(..) | Command::Label(_) | Command::Account(_) => true,
        Command::Switch(SwitchChange { debug, .. }) => !debug,
        // Health is found out, or set, on each server for itself.
        Command::SetHealth(..) | Command::CheckedHealth { .. } | Command::PeerHealth(..) => false,
        Command::Heal(_) | Command::Fade { .. } | Command::Expire { .. } => false,
        Command::Subscriptions(_) | Command::Merge(_) | Command::Install(_) | Command::Nothing => false,
    }
}

/// Takes `command` apart. Only a change of metadata can be for instances of both kinds.
pub(super) fn split(registry: &Registry, command: Command) -> Parts {
    if !is_agreed(registry, &command) {
        return Parts { agreed: None, own: Some(command) };
    }
    match command {
        Command::ChangeMetadata(service, Scope::These(keys), change) => {
            let (ephemeral, persistent): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| key.ephemeral);
            let own = (!ephemeral.is_empty())
                .then(|| Command::ChangeMetadata(service.clone(), Scope::These(ephemeral), change.clone()));
            Parts { agreed: Some(Command::ChangeMetadata(service, Scope::These(persistent), change)), own }
        }
        command => Parts { agreed: Some(command), own: None },
    }
}
