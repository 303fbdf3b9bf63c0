//! `/v1/auth/permissions`: what roles may do (`spec/auth.md` 6.3).

use std::sync::Arc;

use serde::Serialize;

use super::page::page;
use super::users::change;
use super::{check_name, required};
use crate::error::{Error, Result};
use crate::http::call::{Call, Step};
use crate::model::account::AccountChange;

/// Longest resource pattern, in characters.
const MAX_RESOURCE_CHARS: usize = 512;
const ACTIONS: [&str; 3] = ["r", "w", "rw"];

#[derive(Serialize)]
struct Permitted {
    role: Arc<str>,
    resource: Arc<str>,
    action: Arc<str>,
}

/// GET: a page of permissions, of one role if one is named.
///
/// # Errors
/// Faulty page numbers.
pub fn list(call: &Call<'_>) -> Result<Step> {
    let role = call.params.raw("role").filter(|name| !name.is_empty());
    let all = call.app.registry.settings().permissions().into_iter();
    let wanted = all.filter(|(of, ..)| role.is_none_or(|role| **of == *role));
    page(call, || wanted.map(|(role, resource, action)| Permitted { role, resource, action }).collect())
}

/// POST: permits something to a role.
///
/// # Errors
/// Missing or faulty parameters; a role that nobody holds.
pub fn permit(call: &Call<'_>) -> Result<Step> {
    let (role, resource, action) = triple(call)?;
    check_name("resource", &resource, MAX_RESOURCE_CHARS)?;
    if !ACTIONS.contains(&&*action) {
        return Err(Error::Input("action must be r, w or rw".into()));
    }
    change("add permission ok!", AccountChange::Permit { role, resource, action })
}

/// DELETE: takes a permission away.
///
/// # Errors
/// Missing parameters.
pub fn forbid(call: &Call<'_>) -> Result<Step> {
    let (role, resource, action) = triple(call)?;
    change("delete permission ok!", AccountChange::Forbid { role, resource, action })
}

fn triple(call: &Call<'_>) -> Result<(Arc<str>, Arc<str>, Arc<str>)> {
    Ok((required(call, "role")?.into(), required(call, "resource")?.into(), required(call, "action")?.into()))
}
