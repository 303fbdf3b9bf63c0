//! `/v1/core/ops`: operation of the server (`spec/operator-api.md` 5.6).

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::http::call::{Call, Step};
use crate::http::reply::Reply;
use crate::telemetry::levels;
use crate::wire::wrapped;

/// PUT `log`: the level of a logger. The answer is a number in a text.
///
/// # Errors
/// Missing parameters.
pub fn log(call: &Call<'_>) -> Result<Step> {
    levels::set_core(call.present("logName")?, call.present("logLevel")?);
    Ok(Step::Answer(Reply::text("200")))
}

/// GET `idInfo`: id generators, which there are none of.
///
/// # Errors
/// None.
pub fn id_info(_: &Call<'_>) -> Result<Step> {
    Step::json(wrapped::success(b"{}"))
}

/// POST `raft`: commands for the consensus groups of Nacos, which this server doesn't have.
///
/// # Errors
/// A body that is no JSON object.
pub fn raft(call: &Call<'_>) -> Result<Step> {
    let wrong = |fault| Error::Refused(format!("the command is not readable: {fault}"));
    let command: Map<String, Value> = serde_json::from_slice(call.body).map_err(wrong)?;
    Step::json(match command.is_empty() {
        true => wrapped::success(b"null"),
        false => wrapped::failed("this server has no raft group that could be told anything"),
    })
}
