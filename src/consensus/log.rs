//! The log, the vote and what goes with them, as openraft wants to have them: in memory to read, on disk through the
//! keeper before anything is acknowledged.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::RangeBounds;
use std::sync::Arc;

use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend, RaftLogReader, Vote};
use parking_lot::RwLock;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::founding::FOUNDING;
use super::keeper::Keeper;
use super::types::{Config, Entry, Fault, Id, Position, write_fault};
use crate::error::{Error, Result};
use crate::store::ledger::{Content, Shared, Writing};

const VOTE: &str = "vote";
/// Name of the record of the last entry that is in the snapshot alone.
pub(super) const PURGED: &str = "purged";
const COMMITTED: &str = "committed";
/// Entries read for one message to another server: at least one, and about this many bytes at most.
const READ_BYTES: usize = 1024 * 1024;

/// The log. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(super) struct Log {
    keeper: Keeper,
    state: Arc<RwLock<State>>,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<u64, Entry>,
    vote: Option<Vote<Id>>,
    purged: Option<Position>,
    committed: Option<Position>,
}

/// Bytes of a record or an entry: JSON, which a later version of openraft can still read.
pub(super) fn json<T: Serialize>(value: &T) -> Result<Shared, Fault> {
    serde_json::to_vec(value).map(Into::into).map_err(write_fault)
}

/// The record of that name.
///
/// # Errors
/// [`Error::Setup`]: it is not what an earlier process, or an earlier version, wrote.
pub(super) fn record<T: DeserializeOwned>(content: &Content, name: &str) -> Result<Option<T>> {
    let parse = |bytes: &Shared| serde_json::from_slice(bytes).map_err(|fault| unreadable(name, &fault));
    content.records.get(name).map(parse).transpose()
}

fn unreadable(what: &str, fault: &serde_json::Error) -> Error {
    Error::Setup(format!("the raft log can't be read: {what}: {fault}"))
}

impl Log {
    /// The log with what the ledger holds.
    ///
    /// # Errors
    /// [`Error::Setup`]: it is from another version.
    pub(super) fn open(keeper: Keeper, content: &Content) -> Result<Self> {
        let parse = |(number, bytes): (&u64, &Shared)| {
            serde_json::from_slice(bytes).map(|entry| (*number, entry)).map_err(|fault| unreadable("an entry", &fault))
        };
        let state = State {
            entries: content.entries.iter().map(parse).collect::<Result<_>>()?,
            vote: record(content, VOTE)?,
            // These may be null.
            purged: record::<Option<Position>>(content, PURGED)?.flatten(),
            committed: record::<Option<Position>>(content, COMMITTED)?.flatten(),
        };
        Ok(Self { keeper, state: Arc::new(RwLock::new(state)) })
    }

    /// Whether this server has never heard of a group.
    pub(super) fn is_pristine(&self) -> bool {
        let state = self.state.read();
        state.entries.is_empty() && state.vote.is_none() && state.purged.is_none()
    }

    /// Whether it holds nothing of any group, but perhaps a vote.
    pub(super) fn is_empty(&self) -> bool {
        let state = self.state.read();
        state.entries.is_empty() && state.purged.is_none()
    }

    /// Whether `own` has made a group, and nothing has come of it so far.
    pub(super) fn is_only_begun(&self, own: Id) -> bool {
        let state = self.state.read();
        state.entries.is_empty() && state.purged.is_some_and(|base| is_base(&base) && base.leader_id.node_id == own)
    }

    /// Whether its group has, or had, a leader.
    pub(super) fn has_entries(&self) -> bool {
        let state = self.state.read();
        !state.entries.is_empty() || state.purged.is_some_and(|purged| !is_base(&purged))
    }

    /// Makes a log that begins after `base`, on a server that is pristine: that of the group with this number.
    pub(super) async fn begin_at(&self, base: Position, founding: u64) -> Result<(), Fault> {
        let records = vec![(PURGED, json(&base)?), (FOUNDING, json(&founding)?)];
        self.keeper.write(Writing { records, ..Writing::default() }).await?;
        self.state.write().purged = Some(base);
        Ok(())
    }

    /// Forgets all but the vote.
    pub(super) async fn reset(&self) -> Result<(), Fault> {
        let nothing = || json(&None::<Position>);
        let records = vec![(PURGED, nothing()?), (COMMITTED, nothing()?), (FOUNDING, nothing()?)];
        self.keeper.write(Writing { remove: Some((0, u64::MAX)), records, ..Writing::default() }).await?;
        let mut state = self.state.write();
        *state = State { vote: state.vote, ..State::default() };
        Ok(())
    }

    /// Entries since the snapshot, and how many bytes of commands they hold.
    pub(super) fn size(&self) -> (usize, usize) {
        let state = self.state.read();
        (state.entries.len(), state.entries.values().map(bytes).sum())
    }

    async fn remove(&self, from: u64, to: u64, purged: Option<Position>) -> Result<(), Fault> {
        let mut records = Vec::new();
        if let Some(position) = &purged {
            records.push((PURGED, json(position)?));
        }
        let writing = Writing { remove: Some((from, to)), records, ..Writing::default() };
        self.keeper.write(writing).await?;
        let mut state = self.state.write();
        state.entries.retain(|number, _| *number < from || *number >= to);
        if purged.is_some() {
            state.purged = purged;
        }
        Ok(())
    }
}

/// Whether a group begins there, before any leader.
fn is_base(position: &Position) -> bool {
    position.leader_id.term == 0
}

fn bytes(entry: &Entry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(wishes) => wishes.bytes(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

impl RaftLogReader<Config> for Log {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, Fault> {
        Ok(self.state.read().entries.range(range).map(|(_, entry)| entry.clone()).collect())
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, Fault> {
        let state = self.state.read();
        let mut left = READ_BYTES;
        let fits = |(_, entry): &(&u64, &Entry)| {
            let is_first = left == READ_BYTES;
            left = left.saturating_sub(bytes(entry) + 1);
            is_first || left > 0
        };
        Ok(state.entries.range(start..end.max(start)).take_while(fits).map(|(_, entry)| entry.clone()).collect())
    }
}

impl RaftLogStorage<Config> for Log {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<Config>, Fault> {
        let state = self.state.read();
        let last = state.entries.last_key_value().map(|(_, entry)| entry.log_id);
        Ok(LogState { last_purged_log_id: state.purged, last_log_id: last.or(state.purged) })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<Id>) -> Result<(), Fault> {
        self.keeper.write(Writing { records: vec![(VOTE, json(vote)?)], ..Writing::default() }).await?;
        self.state.write().vote = Some(*vote);
        Ok(())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote<Id>>, Fault> {
        Ok(self.state.read().vote)
    }

    /// Not worth a wait: it saves some work after a restart.
    async fn save_committed(&mut self, committed: Option<Position>) -> Result<(), Fault> {
        self.keeper.note(Writing { records: vec![(COMMITTED, json(&committed)?)], ..Writing::default() });
        self.state.write().committed = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<Position>, Fault> {
        let state = self.state.read();
        // It may have been written without the entries that it tells of.
        let last = state.entries.last_key_value().map(|(_, entry)| entry.log_id).or(state.purged);
        Ok(state.committed.filter(|committed| Some(*committed) <= last))
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Config>) -> Result<(), Fault>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let put = entries.iter().map(|entry| Ok((entry.log_id.index, json(entry)?))).collect::<Result<_, Fault>>()?;
        self.keeper.write(Writing { put, ..Writing::default() }).await?;
        self.state.write().entries.extend(entries.into_iter().map(|entry| (entry.log_id.index, entry)));
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, from: Position) -> Result<(), Fault> {
        self.remove(from.index, u64::MAX, None).await
    }

    async fn purge(&mut self, upto: Position) -> Result<(), Fault> {
        let upto = self.state.read().purged.map_or(upto, |purged| purged.max(upto));
        self.remove(0, upto.index.saturating_add(1), Some(upto)).await
    }
}
