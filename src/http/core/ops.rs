//! `/v1/core/ops`: operation of the server (`spec/operator-api.md` 5.6).

use serde_json::{Map, Value};

use crate::consensus::GROUP;
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

/// POST `raft`: a command for the group, as `{"command": "doSnapshot"}`; `groupId` may name it. The only one there is: who
/// belongs to the group follows from the list of members, and who leads it, it finds out itself.
///
/// # Errors
/// A body that is no JSON object.
pub fn raft(call: &Call<'_>) -> Result<Step> {
    let wrong = |fault| Error::Refused(format!("the command is not readable: {fault}"));
    let order: Map<String, Value> = serde_json::from_slice(call.body).map_err(wrong)?;
    if order.is_empty() {
        return Step::json(wrapped::success(b"null"));
    }
    let text = |name: &str| order.get(name).and_then(Value::as_str);
    if let Some(other) = text("groupId").filter(|name| *name != GROUP) {
        return Step::json(wrapped::failed(&format!("not this raft group : {other}")));
    }
    let Some(group) = call.app.consensus.clone() else {
        return Step::json(wrapped::failed("this server stands alone and has no raft group"));
    };
    match text("command").unwrap_or_default() {
        "doSnapshot" => Ok(Step::Wait(Box::pin(async move {
            Step::json(match group.make_snapshot().await {
                Ok(()) => wrapped::success(b"null"),
                Err(error) => wrapped::failed(&error.to_string()),
            })
        }))),
        command => Step::json(wrapped::failed(&format!(
            "Not support command : {command} (there is doSnapshot; the group follows the list of members)"
        ))),
    }
}
