//! POST `login` (`spec/auth.md` 2).

use std::sync::Arc;

use serde::Serialize;

use super::access::is_admin;
use super::password::Verdict;
use super::{UNKNOWN_USER, attempt, now_s, required};
use crate::error::{Error, Result};
use crate::http::call::{App, Call, Step};
use crate::http::reply::Reply;
use crate::model::account::ADMIN_USER;

/// bcrypt of `nacos`, see [`stored_hash`].
const OFF_HASH: &str = "$2a$10$HUiYEolj8ZytcTeEm5wuKOlZQ9TLdaUpjXyUTH3ZkqaWUbDIBBhc.";

/// The answer of a login, members in this order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LoggedIn<'a> {
    access_token: &'a str,
    token_ttl: u64,
    global_admin: bool,
    username: &'a str,
}

/// POST `login`. A token in the request is not looked at.
///
/// # Errors
/// Missing parameters; one answer for an unknown user and a wrong password.
pub fn login(call: &Call<'_>) -> Result<Step> {
    let attempt = attempt(call, required(call, "username")?, required(call, "password")?);
    let (app, now_ms) = (Arc::clone(call.app), call.app.clock.now_ms());
    // What needs no work does not wait behind what does.
    if let Some(verdict) = app.auth.passwords.recall(&attempt, now_ms) {
        return answer(&app, &attempt.user, verdict);
    }
    Ok(Step::Blocking(Box::new(move || {
        let verdict = app.auth.passwords.check(&attempt, app.clock.now_ms());
        answer(&app, &attempt.user, verdict)
    })))
}

fn answer(app: &App, user: &str, verdict: Verdict) -> Result<Step> {
    match verdict {
        Verdict::Right => Ok(Step::Answer(logged_in(app, user)?)),
        Verdict::Wrong => {
            tracing::info!(user, "a login with a wrong password, or of nobody");
            Err(Error::Denied(UNKNOWN_USER.into()))
        }
        Verdict::Wait(wait_s) => {
            tracing::info!(user, wait_s, "a login is locked out");
            Ok(Step::Answer(Reply::locked_out(wait_s)))
        }
    }
}

fn logged_in(app: &App, user: &str) -> Result<Reply> {
    let rules = app.auth.rules();
    let tokens = &rules.tokens;
    let token = tokens.issue(user, now_s())?;
    let global_admin = is_admin(app.registry.settings(), user) || (is_open(app) && user == ADMIN_USER);
    let answer = LoggedIn { access_token: &token, token_ttl: tokens.ttl_s(), global_admin, username: user };
    let body = serde_json::to_vec(&answer).map_err(|e| Error::Refused(e.to_string()))?;
    Ok(Reply::json(body).with_bearer(&token))
}

/// Nobody is asked, and nobody was ever made a user.
fn is_open(app: &App) -> bool {
    !app.auth.is_enabled() && app.registry.settings().users().is_empty()
}

/// What is stored for `user`. A server that never had authentication on knows the user that the reference has from its
/// first start, with the password that everybody knows: clients are set up with it, and no token opens anything then.
pub(super) fn stored_hash(app: &App, user: &str) -> Option<String> {
    match app.registry.settings().user(user) {
        Some(user) => Some(user.password_hash),
        None if user == ADMIN_USER && is_open(app) => Some(OFF_HASH.to_owned()),
        None => None,
    }
}
