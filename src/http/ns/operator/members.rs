//! Members as the naming API shows them (`spec/operator-api.md` 1.2, 1.3, 1.4 and 1.7).

use crate::cluster::ownership::Owner;
use crate::error::{Error, Result};
use crate::http::call::{Call, Step, missing};
use crate::http::core::cluster::write_members;
use crate::http::reply::Reply;
use crate::model::member::{Member, State};
use crate::wire::json;

fn list(call: &Call<'_>, name: &str, keep: impl Fn(&Member) -> bool) -> Vec<u8> {
    let mut out = format!("{{\"{name}\":").into_bytes();
    write_members(call, keep, &mut out);
    out.push(b'}');
    out
}

/// GET `servers`: all, or with `healthy` those that are up.
///
/// # Errors
/// A `healthy` that is no truth value.
pub fn servers(call: &Call<'_>) -> Result<Step> {
    let healthy = call.boolean("healthy", false)?;
    Step::json(list(call, "servers", |one| !healthy || one.state == State::Up))
}

/// GET `distro/status`.
///
/// # Errors
/// None.
pub fn distro_status(call: &Call<'_>) -> Result<Step> {
    match call.params.raw("action") {
        None | Some("" | "view") => Step::json(list(call, "status", |_| true)),
        Some(_) => Step::json("{}"),
    }
}

/// GET `distro/server`: the owner of a service.
///
/// # Errors
/// A missing name; an unknown service.
pub fn distro_server(call: &Call<'_>) -> Result<Step> {
    let named = call.service_unchecked().ok();
    if named.is_none() && call.params.raw("serviceName").is_none() {
        return Err(missing("serviceName", "String"));
    }
    let service = named.and_then(|named| named.find(&call.app.registry));
    let service = service.ok_or_else(|| Error::Input("service not found".into()))?;
    let view = call.app.members.view();
    let owner = match view.owner(&service.key().name) {
        Owner::Peer(address) if call.switches.distro_enabled => address,
        _ => view.own(),
    };
    let mut out = b"{\"responsibleServer\":".to_vec();
    json::string(owner, &mut out);
    out.push(b'}');
    Step::json(out)
}

/// GET `cluster/state`: what servers before 1.4 ask for. The protocol it is about never runs.
///
/// # Errors
/// None.
pub fn cluster_state(call: &Call<'_>) -> Result<Step> {
    let mut out = b"{\"ip\":".to_vec();
    json::string(&call.app.members.own().address(), &mut out);
    out.extend_from_slice(b",\"term\":-1,\"leaderDueMs\":0,\"heartbeatDueMs\":0,\"state\":\"FOLLOWER\"}");
    Step::json(out)
}

/// GET `server/status`: what servers before 1.3 tell of themselves (`spec/members.md` 7). The first line about a stranger
/// ends it.
///
/// # Errors
/// A missing text; an address that is no member's.
pub fn server_status(call: &Call<'_>) -> Result<Step> {
    let members = &call.app.members;
    for line in call.present("serverStatus")?.split("\r\n") {
        let parts: Vec<&str> = line.split('#').collect();
        let [site, address, _, weight, ..] = parts.as_slice() else { continue };
        let unknown = || Error::Input(format!("server: {address} is not in serverlist"));
        let mut extend = members.find(address).ok_or_else(unknown)?.extend;
        extend.others.retain(|(name, _)| name != "site" && name != "weight");
        extend.others.push(("site".to_owned(), quoted(site)));
        extend.others.push(("weight".to_owned(), quoted(weight)));
        members.note_report(address, extend, call.app.wall_now_ms());
    }
    Ok(Step::Answer(Reply::ok()))
}

fn quoted(text: &str) -> String {
    let mut out = Vec::new();
    json::string(text, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}
