//! `/v1/auth/roles`: who holds which role (`spec/auth.md` 6.2). A role is there as long as somebody holds it.

use std::sync::Arc;

use serde::Serialize;

use super::page::{json, page};
use super::users::{MAX_NAME_CHARS, change};
use super::{check_name, required};
use crate::error::Result;
use crate::http::call::{Call, Step};
use crate::model::account::AccountChange;

#[derive(Serialize)]
struct Held {
    role: Arc<str>,
    username: Arc<str>,
}

/// GET: a page of roles with their holders, of one user if one is named.
///
/// # Errors
/// Faulty page numbers.
pub fn list(call: &Call<'_>) -> Result<Step> {
    let user = call.params.raw("username").filter(|name| !name.is_empty());
    let wanted = |(_, holder): &(Arc<str>, Arc<str>)| user.is_none_or(|user| **holder == *user);
    let held = |(role, username)| Held { role, username };
    page(call, || call.app.registry.settings().roles().into_iter().filter(wanted).map(held).collect())
}

/// GET `search`: the roles whose name contains a text, each once for every holder.
///
/// # Errors
/// A missing parameter.
pub fn search(call: &Call<'_>) -> Result<Step> {
    let part = required(call, "role")?;
    let names = call.app.registry.settings().roles().into_iter().map(|(role, _)| role);
    json(&names.filter(|name| name.contains(part)).collect::<Vec<_>>())
}

/// POST: gives a role to a user.
///
/// # Errors
/// Missing or faulty parameters; an unknown user; the admin role.
pub fn grant(call: &Call<'_>) -> Result<Step> {
    let (role, user) = (required(call, "role")?, required(call, "username")?);
    check_name("role", role, MAX_NAME_CHARS)?;
    change("add role ok!", AccountChange::Grant { role: role.into(), user: user.into() })
}

/// DELETE: takes a role from a user, or from everybody.
///
/// # Errors
/// A missing parameter; the admin role.
pub fn revoke(call: &Call<'_>) -> Result<Step> {
    let role = required(call, "role")?;
    let user = call.params.raw("username").filter(|name| !name.is_empty());
    let message = format!("delete role of user {} ok!", user.unwrap_or_default());
    change(&message, AccountChange::Revoke { role: role.into(), user: user.map(Into::into) })
}
