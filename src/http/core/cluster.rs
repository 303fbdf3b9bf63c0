//! `/v1/core/cluster`: members (`spec/operator-api.md` 5.2 to 5.5).

use crate::error::{Error, Result};
use crate::http::call::{Call, Step};
use crate::http::console::NACOS_VERSION;
use crate::model::member::Member;
use crate::wire::{json, member, wrapped};

fn write(one: &Member, out: &mut Vec<u8>) {
    member::write(one, Some(NACOS_VERSION), out);
}

/// GET `self`.
///
/// # Errors
/// None.
pub fn own(call: &Call<'_>) -> Result<Step> {
    let mut out = Vec::new();
    write(&call.app.members.own(), &mut out);
    Step::json(wrapped::success(&out))
}

/// GET `nodes`: all members, or those whose address begins with `keyword`.
///
/// # Errors
/// None.
pub fn nodes(call: &Call<'_>) -> Result<Step> {
    let keyword = call.params.optional("keyword", "");
    let all = call.app.members.all();
    let mut out = b"[".to_vec();
    json::separated(all.iter().filter(|one| one.address().starts_with(keyword)), &mut out, write);
    out.push(b']');
    Step::json(wrapped::success(&out))
}

/// GET `simple/nodes`: addresses of the healthy members.
///
/// # Errors
/// None.
pub fn simple_nodes(call: &Call<'_>) -> Result<Step> {
    let mut out = b"[".to_vec();
    json::separated(call.app.members.all(), &mut out, |one, out| json::string(&one.address(), out));
    out.push(b']');
    Step::json(wrapped::success(&out))
}

/// GET `health`: the state of this member.
///
/// # Errors
/// None.
pub fn health(_: &Call<'_>) -> Result<Step> {
    Step::json(wrapped::success_text("UP"))
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

/// POST `report`: a member says that it lives.
///
/// # Errors
/// A body that is no member.
pub fn report(call: &Call<'_>) -> Result<Step> {
    let Some(member) = member::report(json_body(call)?)? else {
        return Step::json(wrapped::illegal("Node information is illegal"));
    };
    let known = call.app.members.note_report(&member.address(), member.extend, call.app.wall_now_ms());
    Step::json(wrapped::success_text(if known { "true" } else { "false" }))
}

/// POST `server/leave`: members go. There is none that could: this server never leaves its own list.
///
/// # Errors
/// A body that is no list of addresses; a `notifyOtherMembers` that is no truth value.
pub fn leave(call: &Call<'_>) -> Result<Step> {
    call.boolean("notifyOtherMembers", true)?;
    member::addresses(json_body(call)?)?;
    Step::json(wrapped::success_text("ok"))
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
