//! The types that openraft is told to work with.

use std::io::Cursor;

use openraft::{BasicNode, LogId, StorageError, StorageIOError, StoredMembership};

use super::entry::{Verdict, Wishes};

openraft::declare_raft_types!(
    /// Commands in, a verdict on each out; servers have numbers, and addresses to reach them at.
    pub(super) Config:
        D = Wishes,
        R = Vec<Verdict>,
);

/// Identity of a server: made with its ledger, and gone with it. A server that has lost what it promised must not vote as
/// if it had not; so it comes back as another, and the leader lets it in again like any new server.
pub(super) type Id = u64;
pub(super) type Entry = openraft::Entry<Config>;
pub(super) type Position = LogId<Id>;
pub(super) type Membership = StoredMembership<Id, BasicNode>;
pub(super) type Metrics = openraft::RaftMetrics<Id, BasicNode>;
pub(super) type Fault = StorageError<Id>;
pub(super) type Raft = openraft::Raft<Config>;

/// What openraft is told when the ledger or the store is no more.
pub(super) fn write_fault(text: impl ToString) -> Fault {
    StorageIOError::write(openraft::AnyError::error(text.to_string())).into()
}

/// The same when something is not what was written.
pub(super) fn read_fault(text: impl ToString) -> Fault {
    StorageIOError::read(openraft::AnyError::error(text.to_string())).into()
}
