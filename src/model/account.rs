//! Users, what they are allowed, and changes of that (`spec/auth.md` 4 and 6).

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The role that may do everything.
pub const ADMIN_ROLE: &str = "ROLE_ADMIN";
/// The user that the first start makes.
pub const ADMIN_USER: &str = "nacos";

/// A bcrypt hash on its way to the store. Its `Debug` shows nothing: it must not come into a log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PasswordHash(pub String);

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// A change of users, roles or permissions. Rules that need the state (who exists, who is admin) are checked by `commit`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum AccountChange {
    /// Makes a user with the admin role, unless somebody holds it already.
    FirstAdmin {
        /// Its name.
        user: Arc<str>,
        /// Its password.
        hash: PasswordHash,
    },
    /// Makes a user that must not exist.
    AddUser {
        /// Its name.
        user: Arc<str>,
        /// Its password.
        hash: PasswordHash,
    },
    /// Replaces the password of a user that must exist.
    SetPassword {
        /// Whose.
        user: Arc<str>,
        /// The new one.
        hash: PasswordHash,
    },
    /// Removes a user with the roles it holds; an admin can't be removed, an unknown user is fine.
    DeleteUser {
        /// Its name.
        user: Arc<str>,
    },
    /// Gives a role to a user that must exist; holding it already is fine. The admin role can't be given.
    Grant {
        /// The role.
        role: Arc<str>,
        /// Who gets it.
        user: Arc<str>,
    },
    /// Takes a role from one user or from everybody; one that isn't held is fine. The admin role can't be taken. The
    /// permissions of a role that nobody holds any more go with it.
    Revoke {
        /// The role.
        role: Arc<str>,
        /// Who loses it; `None` for everybody.
        user: Option<Arc<str>>,
    },
    /// Adds a permission to a role that somebody must hold; one that is there already is fine.
    Permit {
        /// The role.
        role: Arc<str>,
        /// Resource pattern.
        resource: Arc<str>,
        /// `r`, `w` or `rw`.
        action: Arc<str>,
    },
    /// Takes a permission away; one that isn't there is fine.
    Forbid {
        /// The role.
        role: Arc<str>,
        /// Resource pattern.
        resource: Arc<str>,
        /// `r`, `w` or `rw`.
        action: Arc<str>,
    },
}
