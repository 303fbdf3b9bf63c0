//! Members as the naming API shows them (`spec/operator-api.md` 1.2, 1.3, 1.4 and 1.7).

use crate::error::{Error, Result};
use crate::http::call::{Call, Step, missing};
use crate::http::console::NACOS_VERSION;
use crate::http::reply::Reply;
use crate::wire::{json, member};

/// Parts of a line of `server/status`.
const STATUS_PARTS: usize = 4;

fn list(call: &Call<'_>, name: &str) -> Vec<u8> {
    let mut out = format!("{{\"{name}\":[").into_bytes();
    json::separated(call.app.members.all(), &mut out, |one, out| member::write(&one, Some(NACOS_VERSION), out));
    out.extend_from_slice(b"]}");
    out
}

/// GET `servers`. All members there are so far are healthy, so `healthy` makes no difference.
///
/// # Errors
/// A `healthy` that is no truth value.
pub fn servers(call: &Call<'_>) -> Result<Step> {
    call.boolean("healthy", false)?;
    Step::json(list(call, "servers"))
}

/// GET `distro/status`.
///
/// # Errors
/// None.
pub fn distro_status(call: &Call<'_>) -> Result<Step> {
    match call.params.raw("action") {
        None | Some("" | "view") => Step::json(list(call, "status")),
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
    if named.and_then(|named| named.find(&call.app.registry)).is_none() {
        return Err(Error::Input("service not found".into()));
    }
    let mut out = b"{\"responsibleServer\":".to_vec();
    json::string(&call.app.members.own().address(), &mut out);
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

/// GET `server/status`: what servers before 1.4 tell of themselves. Nothing follows from it.
///
/// # Errors
/// A missing text; an address that is no member's.
pub fn server_status(call: &Call<'_>) -> Result<Step> {
    for line in call.present("serverStatus")?.split("\r\n") {
        let parts: Vec<&str> = line.split('#').collect();
        let Some(address) = parts.get(1).filter(|_| parts.len() >= STATUS_PARTS) else { continue };
        if !call.app.members.knows(address) {
            return Err(Error::Input(format!("server: {address} is not in serverlist")));
        }
    }
    Ok(Step::Answer(Reply::ok()))
}
