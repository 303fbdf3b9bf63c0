//! `/v1/core/cluster`: members (`spec/operator-api.md` 5.2 to 5.5).

use crate::error::{Error, Result};
use crate::http::call::{Call, Step};
use crate::http::console::NACOS_VERSION;
use crate::model::member::{Member, State};
use crate::wire::{json, member, wrapped};

/// Appends the members that `keep` wants, as JSON array in order of addresses. What this server doesn't know of others, such
/// as their version before they have reported, is not shown.
pub(in crate::http) fn write_members(call: &Call<'_>, keep: impl Fn(&Member) -> bool, out: &mut Vec<u8>) {
    let (own, all) = (call.app.members.own().address(), call.app.members.all());
    out.push(b'[');
    json::separated(all.iter().filter(|one| keep(one)), out, |one, out| {
        member::write(one, (one.address() == own).then_some(NACOS_VERSION), out);
    });
    out.push(b']');
}

/// GET `self`.
///
/// # Errors
/// None.
pub fn own(call: &Call<'_>) -> Result<Step> {
    let mut out = Vec::new();
    member::write(&call.app.members.own(), Some(NACOS_VERSION), &mut out);
    Step::json(wrapped::success(&out))
}

/// GET `nodes`: all members, or those whose address begins with `keyword`.
///
/// # Errors
/// None.
pub fn nodes(call: &Call<'_>) -> Result<Step> {
    let keyword = call.params.optional("keyword", "");
    let mut out = Vec::new();
    write_members(call, |one| one.address().starts_with(keyword), &mut out);
    Step::json(wrapped::success(&out))
}

/// GET `simple/nodes`: addresses of the members that are up.
///
/// # Errors
/// None.
pub fn simple_nodes(call: &Call<'_>) -> Result<Step> {
    let all = call.app.members.all();
    let up = all.iter().filter(|one| one.state == State::Up);
    let mut out = b"[".to_vec();
    json::separated(up, &mut out, |one, out| json::string(&one.address(), out));
    out.push(b']');
    Step::json(wrapped::success(&out))
}

/// GET `health`: the state of this member. Whether it serves clients is another matter.
///
/// # Errors
/// None.
pub fn health(call: &Call<'_>) -> Result<Step> {
    Step::json(wrapped::success_text(member::state_word(call.app.members.own().state)))
}

/// A body with the content type of JSON.
fn json_body<'a>(call: &Call<'a>) -> Result<&'a [u8]> {
    let media = call.headers.get("content-type").map(|value| value.as_bytes()).unwrap_or_default();
    let media = media.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !media.eq_ignore_ascii_case(b"application/json") {
        return Err(Error::Refused("the body must be application/json".into()));
    }
    if call.body.is_empty() {
        return Err(Error::Refused("Required request body is missing".into()));
    }
    Ok(call.body)
}

/// POST `report`: a member says that it lives, itself: what is said of others is `false`, as of strangers.
///
/// # Errors
/// A body that is no member.
pub fn report(call: &Call<'_>) -> Result<Step> {
    let Some(member) = member::report(json_body(call)?)? else {
        return Step::json(wrapped::illegal("Node information is illegal"));
    };
    let (app, address) = (call.app, member.address());
    // Of this server nothing is believed but that it was spoken of.
    let may_say = app.members.own().address() == address || app.auth.speaks_for(app, &address, call.peer);
    let known = may_say && app.members.note_report(&address, member.extend, app.wall_now_ms());
    Step::json(wrapped::success_text(if known { "true" } else { "false" }))
}

/// POST `server/leave`: members go. This server never leaves its own list.
///
/// # Errors
/// A body that is no list of addresses; a `notifyOtherMembers` that is no truth value.
pub fn leave(call: &Call<'_>) -> Result<Step> {
    let notify = call.boolean("notifyOtherMembers", true)?;
    let addresses = member::addresses(json_body(call)?)?;
    let done = || Step::json(wrapped::success_text("ok"));
    let Some(cluster) = call.app.cluster.clone() else { return done() };
    let group = call.app.consensus.clone();
    Ok(Step::Wait(Box::pin(async move {
        cluster.leave(addresses, notify).await;
        if let Some(group) = group {
            group.members_changed();
        }
        done()
    })))
}

/// POST `switch/lookup`: how members are found. Only `file` there is.
///
/// # Errors
/// A missing type.
pub fn switch_lookup(call: &Call<'_>) -> Result<Step> {
    Step::json(match call.present("type")? {
        "file" => wrapped::success(b"null"),
        "address-server" => wrapped::failed("this server can't ask an address server for its members"),
        other => {
            wrapped::failed(&format!("The addressing mode exists : {other}, just support : [[file, address-server]]"))
        }
    })
}

#[cfg(test)]
mod tests;
