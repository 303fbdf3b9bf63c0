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

#[cfg(test)]
mod tests {
    use super::super::super::world::{World, options, send};

    #[tokio::test]
    async fn messages_of_the_group_are_not_cut_by_the_limits_of_others() {
        let world = World::of(options(false), ["127.0.0.2"]);
        let to = world.serve().await;
        let body = vec![0; world.app.live.max_peer_body_bytes() + 1];
        for (target, status) in [("POST /nacos/v1/core/raft", 500), ("PUT /nacos/v1/ns/distro/datum", 413)] {
            let heard = send("127.0.0.2", to, target, &body).await;
            assert_eq!(heard.status, status, "{target}: {}", heard.text());
        }
        let large = vec![0; crate::consensus::MAX_MESSAGE_BYTES + 1];
        assert_eq!(send("127.0.0.2", to, "POST /nacos/v1/core/raft", &large).await.status, 413);
    }
}
