//! `/v1/auth/users`: who can log in (`spec/auth.md` 6.1).

use serde::Serialize;

use super::access::is_admin;
use super::page::{json, page};
use super::{check_name, password, required};
use crate::error::{Error, Result};
use crate::http::call::{Call, Caller, Step, Then};
use crate::http::reply::Reply;
use crate::model::account::{AccountChange, PasswordHash};
use crate::model::command::Command;

/// Longest name of a user or role, in characters.
pub(super) const MAX_NAME_CHARS: usize = 50;
/// Longest password, in characters, far above the 72 bytes that count.
const MAX_PASSWORD_CHARS: usize = 512;

#[derive(Serialize)]
struct Shown {
    username: std::sync::Arc<str>,
    /// Always empty: hashes are for nobody. The console wants the member.
    password: &'static str,
}

/// GET: a page of users in order of creation.
///
/// # Errors
/// Faulty page numbers.
pub fn list(call: &Call<'_>) -> Result<Step> {
    let shown = |(username, _)| Shown { username, password: "" };
    page(call, || call.app.registry.settings().users().into_iter().map(shown).collect())
}

/// GET `search`: the names that contain a text.
///
/// # Errors
/// A missing parameter.
pub fn search(call: &Call<'_>) -> Result<Step> {
    let part = required(call, "username")?;
    let names = call.app.registry.settings().users().into_iter().map(|(name, _)| name);
    json(&names.filter(|name| name.contains(part)).collect::<Vec<_>>())
}

/// POST: makes a user.
///
/// # Errors
/// Missing or faulty parameters; a name that is taken.
pub fn create(call: &Call<'_>) -> Result<Step> {
    let (user, password) = (required(call, "username")?, required(call, "password")?);
    check_name("username", user, MAX_NAME_CHARS)?;
    check_name("password", password, MAX_PASSWORD_CHARS)?;
    if call.app.registry.settings().user(user).is_some() {
        return Err(Error::Input(format!("user '{user}' already exist!")));
    }
    let user = user.into();
    hashed(password, "create user ok!", move |hash| AccountChange::AddUser { user, hash })
}

/// PUT: a new password, by the user or by an admin.
///
/// # Errors
/// Missing or faulty parameters; an unknown user.
pub fn change_password(call: &Call<'_>) -> Result<Step> {
    let (user, password) = (required(call, "username")?, required(call, "newPassword")?);
    let settings = call.app.registry.settings();
    let allowed = match &call.caller {
        Caller::Anybody => false,
        Caller::Peer => true,
        Caller::User(caller) => **caller == *user || is_admin(settings, caller),
    };
    if !allowed {
        return Ok(Step::Answer(Reply::not_yours()));
    }
    check_name("newPassword", password, MAX_PASSWORD_CHARS)?;
    if settings.user(user).is_none() {
        return Err(Error::Input(format!("user {user} not exist!")));
    }
    let user = user.into();
    hashed(password, "update user ok!", move |hash| AccountChange::SetPassword { user, hash })
}

/// DELETE: a user and the roles it holds.
///
/// # Errors
/// A missing parameter; an admin.
pub fn delete(call: &Call<'_>) -> Result<Step> {
    change("delete user ok!", AccountChange::DeleteUser { user: required(call, "username")?.into() })
}

/// Carries `change` out and answers `message`.
pub(super) fn change(message: &str, change: AccountChange) -> Result<Step> {
    Ok(Step::Write(Command::Account(change), Then::Answer(Reply::done(message))))
}

fn hashed(
    password: &str,
    message: &'static str,
    make: impl FnOnce(PasswordHash) -> AccountChange + Send + 'static,
) -> Result<Step> {
    let password = password.to_owned();
    Ok(Step::Blocking(Box::new(move || change(message, make(password::hash(&password)?)))))
}
