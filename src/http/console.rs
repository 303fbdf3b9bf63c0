//! `/v1/console`: namespaces, probes and the state of the server (`spec/operator-api.md` 6).

pub mod namespaces;

use super::call::{Call, Step};
use super::reply::Reply;
use crate::error::Result;
use crate::wire::json;

/// The version that clients and the console are told: the Nacos release whose API this is.
pub const NACOS_VERSION: &str = "1.4.8";

/// GET `health/liveness`: the process answers.
///
/// # Errors
/// None.
pub fn liveness(_: &Call<'_>) -> Result<Step> {
    Ok(Step::Answer(Reply::text("OK")))
}

/// GET `health/readiness`: data are back (else this is not even bound) and writes are taken. A member of a cluster that
/// still waits for the data of others answers 200 too, as the reference does, and clients 503: what it says of itself is in
/// `operator/metrics`.
///
/// # Errors
/// None.
pub fn readiness(call: &Call<'_>) -> Result<Step> {
    Ok(Step::Answer(match call.app.commit.status().failure() {
        None => Reply::text("OK"),
        Some(reason) => Reply::not_ready(&format!("Naming is not in readiness: the store takes no writes: {reason}")),
    }))
}

/// GET `server/state`.
///
/// # Errors
/// None.
pub fn state(call: &Call<'_>) -> Result<Step> {
    let alone = if call.app.cluster.is_none() { "standalone" } else { "cluster" };
    let mut body = format!("{{\"version\":\"{NACOS_VERSION}\",\"standalone_mode\":\"{alone}\",\"function_mode\":");
    let mut mode = Vec::new();
    match &call.app.function_mode {
        Some(name) => json::string(name, &mut mode),
        None => mode.extend_from_slice(b"null"),
    }
    body.push_str(&String::from_utf8_lossy(&mode));
    body.push('}');
    Step::json(body)
}
