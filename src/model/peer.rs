//! What the servers of a cluster tell each other of ephemeral instances (`spec/distro.md` 3), and of the health of persistent
//! ones, and what servers of this
//! kind add to it so that lists can be merged instance by instance instead of overwriting each other.

use std::sync::Arc;

use super::{Instance, InstanceKey, ServiceKey};

/// The ephemeral instances of one service, all or some, as they travel; with some also persistent ones.
#[derive(Debug, Clone, PartialEq)]
pub struct Datum {
    /// Whose.
    pub service: ServiceKey,
    /// What is told of each.
    pub told: Vec<Told>,
    /// What the sender took out of late; only servers of this kind say so.
    pub removed: Option<Removed>,
}

/// What is told of an instance.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// An ephemeral one; among parts of lists also a persistent one, whose health alone is told.
    pub key: InstanceKey,
    /// What it holds.
    pub instance: Arc<Instance>,
    /// Time of the last beat by the clock of the sender, epoch ms.
    pub last_beat_ms: u64,
    /// Only servers of this kind send it.
    pub trace: Option<Trace>,
}

/// By what copies of an instance are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// When it was last changed, epoch ms of the server that changed it; of two copies the later one counts.
    pub changed_ms: u64,
    /// When its client was last heard of, by anybody who told, epoch ms of the sender; `None`: not since its start. Not how
    /// long ago: what is told may be on its way for long, and would make those live that were taken out meanwhile.
    pub heard_ms: Option<u64>,
}

/// Removals that the sender still knows of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Whatever the sender took out since then (epoch ms) is in `keys`.
    pub since_ms: u64,
    /// What was taken out, and when (epoch ms).
    pub keys: Vec<(InstanceKey, u64)>,
    /// The sender has no such service (any more).
    pub service_too: bool,
}

/// A list that came from a peer, and how it is to be taken in.
#[derive(Debug, Clone)]
pub struct Merge {
    /// What came.
    pub datum: Datum,
    /// Whether `datum` holds all instances that the sender has; else nothing follows for those that it doesn't name.
    pub whole: bool,
    /// Whether the sender owns the service: then its word counts on health, and on all that has no [`Trace`].
    pub from_owner: bool,
}

/// How far the data of a server of this kind can be relied on by its peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// How far the start has come.
    pub phase: Phase,
    /// The time about which the server can't know.
    pub gap: Gap,
}

/// How far the start of a server has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It has no data yet and looks for a peer to load from; nobody may load from it.
    Loading,
    /// It has the data of its store and has not compared them with a peer.
    Restored,
    /// Its data are as good as they get.
    Ready,
}

/// A server knows what was so at `from_ms`, and what happened since `to_ms` (epoch ms); nothing of the time between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// When the data of its store were last right; 0: it had none.
    pub from_ms: u64,
    /// When it was back.
    pub to_ms: u64,
}
