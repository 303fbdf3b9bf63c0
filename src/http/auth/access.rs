//! What each route needs, and whether a caller has it (`spec/auth.md` 4).

use std::borrow::Cow;

use crate::http::call::{Call, Named};
use crate::model::account::ADMIN_ROLE;
use crate::model::{DEFAULT_GROUP, DEFAULT_NAMESPACE, GROUP_SEPARATOR};
use crate::registry::Settings;

/// Longest text that is compared with permissions; no name that is in use comes near it.
const MAX_RESOURCE_BYTES: usize = 8 << 10;

/// What a route needs; the fourth column of [`ROUTES`](crate::http::router::ROUTES).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing: anybody may, without a token.
    Open,
    /// Any user.
    LoggedIn,
    /// Any user; the handler lets only an admin at what is not the user's own.
    Own,
    /// A permission on what the request names.
    Naming(Action, Target),
    /// A permission on something that has a fixed name.
    Fixed(Action, &'static str),
    /// The admin role.
    Admin,
    /// The admin role; with authentication off, reading only.
    Accounts(Action),
    /// To be a server of this cluster, authentication on or off ([`is_peer`](super::Auth::is_peer)). Without a cluster: the
    /// server identity, and nothing with authentication off.
    Peer,
    /// That, or the admin role.
    PeerOrAdmin,
}

/// What is done to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Nothing is changed.
    Read,
    /// Something may be changed.
    Write,
}

/// What a request of the naming API works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The service of [`Call::service_unchecked`].
    Service,
    /// The service of [`Call::dom`].
    Dom,
    /// All services of the group asked for, or of the namespace.
    Group,
    /// All services of the namespace.
    Namespace,
    /// All services of the namespace asked for, or of all.
    Everything,
}

/// Anybody.
pub const OPEN: Access = Access::Open;
/// Any user.
pub const LOGGED_IN: Access = Access::LoggedIn;
/// Users, each for itself.
pub const OWN: Access = Access::Own;
/// Reads a service.
pub const READ: Access = Access::Naming(Action::Read, Target::Service);
/// Changes a service, its clusters or instances.
pub const WRITE: Access = Access::Naming(Action::Write, Target::Service);
/// Reads the service in `dom`.
pub const READ_DOM: Access = Access::Naming(Action::Read, Target::Dom);
/// Changes the service in `dom`.
pub const WRITE_DOM: Access = Access::Naming(Action::Write, Target::Dom);
/// Reads the services of a group, or of all groups.
pub const READ_GROUP: Access = Access::Naming(Action::Read, Target::Group);
/// Reads whatever there is in a namespace.
pub const READ_NAMESPACE: Access = Access::Naming(Action::Read, Target::Namespace);
/// Reads one namespace or all.
pub const READ_ALL: Access = Access::Naming(Action::Read, Target::Everything);
/// Sets switches.
pub const WRITE_SWITCHES: Access = Access::Fixed(Action::Write, "naming/switches");
/// The admin role.
pub const ADMIN: Access = Access::Admin;
/// Lists users, roles, permissions.
pub const READ_ACCOUNTS: Access = Access::Accounts(Action::Read);
/// Changes users, roles, permissions.
pub const WRITE_ACCOUNTS: Access = Access::Accounts(Action::Write);
/// Servers of this cluster.
pub const PEER: Access = Access::Peer;
/// Servers of this cluster and admins.
pub const PEER_OR_ADMIN: Access = Access::PeerOrAdmin;

/// Why an operation is refused to a user who is who he says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Not allowed.
    Forbidden,
    /// The names in the request could be taken for those of another resource.
    Unclear,
}

impl Access {
    /// Whether `user` may do what this asks for to what `call` names. Rules are applied as they are now.
    ///
    /// # Errors
    /// Why not. Nobody may do anything who is not, or no longer, a user.
    pub fn decide(self, settings: &Settings, user: &str, call: &Call<'_>) -> Result<(), Refusal> {
        if settings.user(user).is_none() {
            return Err(Refusal::Forbidden);
        }
        let (action, resource) = match self {
            Access::Open | Access::LoggedIn | Access::Own => return Ok(()),
            Access::Peer => return Err(Refusal::Forbidden),
            _ if is_admin(settings, user) => return Ok(()),
            Access::Admin | Access::Accounts(_) | Access::PeerOrAdmin => return Err(Refusal::Forbidden),
            Access::Fixed(action, resource) => (action, Cow::Borrowed(resource)),
            Access::Naming(action, target) => (action, target.resource(call).ok_or(Refusal::Unclear)?.into()),
        };
        let letter = if action == Action::Read { 'r' } else { 'w' };
        let fits = |pattern: &str, actions: &str| actions.contains(letter) && matches(pattern, &resource);
        let allowed = settings.roles_of(user).iter().any(|role| settings.any_permission(role, fits));
        if allowed { Ok(()) } else { Err(Refusal::Forbidden) }
    }

    /// Whether servers of a cluster may.
    pub fn is_of_peers(self) -> bool {
        matches!(self, Access::Peer | Access::PeerOrAdmin)
    }

    /// Whether this changes users, roles or permissions, which nobody may while authentication is off: whoever could
    /// then would be admin once it is on.
    pub fn changes_accounts(self) -> bool {
        matches!(self, Access::Accounts(Action::Write) | Access::Own)
    }
}

/// Whether `user` has the admin role.
pub fn is_admin(settings: &Settings, user: &str) -> bool {
    settings.roles_of(user).iter().any(|role| **role == *ADMIN_ROLE)
}

impl Target {
    /// `NAMESPACE:GROUP:naming/SERVICE`, of the very names that the operation will use; the namespace `public` is empty.
    /// `None` when they have signs in them that make the text mean something else too.
    fn resource(self, call: &Call<'_>) -> Option<String> {
        let (namespace, grouped) = match self {
            Target::Service => named(call, call.service_unchecked().ok()),
            Target::Dom => named(call, call.dom().ok()),
            Target::Group => (call.namespace(), wildcard_service(call.params.given("groupName").unwrap_or("*"))),
            Target::Namespace => (call.namespace(), wildcard_service("*")),
            Target::Everything => (call.params.given("namespaceId").unwrap_or("*"), wildcard_service("*")),
        };
        let (group, service) = grouped.split_once(GROUP_SEPARATOR).unwrap_or((DEFAULT_GROUP, &grouped));
        let namespace = if namespace == DEFAULT_NAMESPACE { "" } else { namespace };
        let clear = !namespace.contains(':') && !group.contains('/');
        let resource = clear.then(|| format!("{namespace}:{group}:naming/{service}"))?;
        (resource.len() <= MAX_RESOURCE_BYTES).then_some(resource)
    }
}

fn wildcard_service(group: &str) -> Cow<'static, str> {
    [group, GROUP_SEPARATOR, "*"].concat().into()
}

/// A request without a service is for all of them, until its handler finds that it needs one.
fn named<'a>(call: &'a Call<'_>, named: Option<Named<'a>>) -> (&'a str, Cow<'a, str>) {
    match named {
        Some(named) if !named.name.is_empty() => (named.namespace, named.name),
        _ => (call.namespace(), wildcard_service("*")),
    }
}

/// Whether `pattern`, in which `*` stands for any text and everything else for itself, is all of `text`.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where to go on after the last `*`, if it has to swallow one byte more.
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                p += 1;
                retry = Some((p, t));
            }
            Some(byte) if Some(byte) == text.get(t) => (p, t) = (p + 1, t + 1),
            _ => match retry {
                Some((after, swallowed)) => {
                    (p, t) = (after, swallowed + 1);
                    retry = Some((after, t));
                }
                None => return false,
            },
        }
    }
    pattern.get(p..).is_none_or(|rest| rest.iter().all(|byte| *byte == b'*'))
}

#[cfg(test)]
#[path = "access/tests.rs"]
mod tests;
