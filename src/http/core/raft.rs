//! `/v1/core/raft`: what servers of this kind say to each other about what they have to agree on. Not in the reference, which
//! has a port of its own for that.

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::http::call::{Call, Step};
use crate::http::reply::Reply;

/// POST: one message, one answer, both as [`crate::consensus`] has them.
///
/// # Errors
/// A body that is no message; a server that stands alone.
pub fn ask(call: &Call<'_>) -> Result<Step> {
    let group = call.app.consensus.clone().ok_or_else(|| Error::Refused("this server stands alone".into()))?;
    let body = Bytes::copy_from_slice(call.body);
    Ok(Step::Wait(Box::pin(async move { Ok(Step::Answer(Reply::json(group.asked(&body).await?))) })))
}
