//! `/v1/ns/raft`: the protocol of servers before 1.4 (`spec/operator-api.md` 4). It never runs.

use crate::error::{Error, Result};
use crate::http::call::{Call, Step};

/// Every operation.
///
/// # Errors
/// Always: the protocol has stopped.
pub fn stopped(_: &Call<'_>) -> Result<Step> {
    Err(Error::Refused("old raft protocol already stop".into()))
}
