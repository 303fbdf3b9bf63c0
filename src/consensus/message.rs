//! What the servers of a group say to each other: `length of the head u32 BE | head, JSON | tail`. The tail is the piece of
//! a snapshot, if one is sent; everything else is in the head. Answers are JSON.

use bytes::Bytes;
use openraft::BasicNode;
use openraft::error::{InstallSnapshotError, RaftError};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use serde::{Deserialize, Serialize};

use super::entry::{Verdict, Wish};
use super::types::{Config, Id};
use crate::error::{Error, Result};

/// The name of the group.
pub const GROUP: &str = "naming_persistent_service";

/// A message, and who says it to whom.
#[derive(Serialize, Deserialize)]
pub(super) struct Letter {
    /// The group that it is about.
    pub(super) group: String,
    /// Address of the sender.
    pub(super) from: String,
    /// Identity of the receiver, where it matters: another one at the same address must not answer in its name.
    pub(super) to: Option<Id>,
    /// Which group of that name, if the sender knows one.
    pub(super) founding: Option<u64>,
    /// What is said.
    pub(super) ask: Ask,
}

#[derive(Serialize, Deserialize)]
pub(super) enum Ask {
    Append(AppendEntriesRequest<Config>),
    Vote(VoteRequest<Id>),
    Snapshot(InstallSnapshotRequest<Config>),
    /// To the leader: have this agreed on.
    Propose(Wish),
    /// To the leader: up to where must be applied what is to show all that was agreed on before this?
    ReadIndex,
    /// Who are you, and how do you stand?
    Standing,
    /// Promise to help this server make a group, and nobody else for a while.
    Promise(Id),
}

impl Ask {
    /// Whether it makes the receiver hold something of the group.
    pub(super) fn brings(&self) -> bool {
        matches!(self, Ask::Append(_) | Ask::Vote(_) | Ask::Snapshot(_))
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Append(Result<AppendEntriesResponse<Id>, RaftError<Id>>),
    Vote(Result<VoteResponse<Id>, RaftError<Id>>),
    Snapshot(Result<InstallSnapshotResponse<Id>, RaftError<Id, InstallSnapshotError>>),
    /// What came of it, and the number of its entry.
    Agreed(Verdict, u64),
    /// The leader is another one, or nobody.
    NotLeader,
    /// Nobody knows what becomes of it.
    Undecided(String),
    /// No more now.
    Busy,
    /// Everything up to this entry.
    ReadIndex(Option<u64>),
    Standing(Standing),
    Promise(bool),
    /// The receiver is not who it was taken for.
    AnotherId(Id),
    /// The receiver is in another group of that name, or the sender is not who it says.
    AnotherGroup,
    /// The receiver takes no part at present.
    Closed,
}

/// How a server stands.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Standing {
    pub(super) id: Id,
    /// It has never heard of a group.
    pub(super) pristine: bool,
    /// Which group it knows.
    pub(super) founding: Option<u64>,
    /// It has entries of that group's log, or had: the group has, or had, a leader.
    pub(super) entries: bool,
    /// How many rows it has that a group would agree on.
    pub(super) rows: u64,
    /// Whether the asker is in its list of members.
    pub(super) lists_you: bool,
}

impl Letter {
    pub(super) fn new(from: &str, to: Option<Id>, founding: Option<u64>, ask: Ask) -> Self {
        Self { group: GROUP.to_owned(), from: from.to_owned(), to, founding, ask }
    }

    /// As bytes.
    ///
    /// # Errors
    /// [`Error::Refused`] for what has no JSON.
    pub(super) fn encode(mut self) -> Result<Bytes> {
        let tail = match &mut self.ask {
            Ask::Snapshot(piece) => std::mem::take(&mut piece.data),
            _ => Vec::new(),
        };
        let head = serde_json::to_vec(&self).map_err(|fault| Error::Refused(format!("a raft message: {fault}")))?;
        let mut bytes = Vec::with_capacity(4 + head.len() + tail.len());
        bytes.extend((head.len() as u32).to_be_bytes());
        bytes.extend(head);
        bytes.extend(tail);
        Ok(bytes.into())
    }

    /// The inverse.
    ///
    /// # Errors
    /// [`Error::Input`] for bytes that are no message of this group.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self> {
        let wrong = || Error::Input("this is no raft message".into());
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(wrong)?;
        let (head, tail) = rest.split_at_checked(u32::from_be_bytes(*length) as usize).ok_or_else(wrong)?;
        let mut letter: Self = serde_json::from_slice(head).map_err(|_| wrong())?;
        if letter.group != GROUP {
            return Err(Error::Input(format!("there is no raft group {}", letter.group)));
        }
        match &mut letter.ask {
            Ask::Snapshot(piece) => piece.data = tail.to_vec(),
            _ if !tail.is_empty() => return Err(wrong()),
            _ => {}
        }
        Ok(letter)
    }
}

/// A server of the group at this address.
pub(super) fn node(address: &str) -> BasicNode {
    BasicNode { addr: address.to_owned() }
}
