//! `/v1/core`: members and operation of the server itself (`spec/operator-api.md` 5).

pub mod cluster;
pub mod ops;
pub mod raft;
