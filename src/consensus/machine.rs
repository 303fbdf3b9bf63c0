//! The state that entries are applied to: the registry, by way of `commit`. How far the log has been applied is stored
//! with the rows that are different by it, in one batch. So no entry is applied twice, which would not do: a change that
//! was refused when its turn came could find later that it can be made.
//!
//! A snapshot is all rows that are agreed on. It is kept on disk beside the log: what the store loses by damage comes
//! back from the snapshot and the entries after it.

use std::io::Cursor;
use std::sync::Arc;

use openraft::storage::{RaftStateMachine, Snapshot};
use openraft::{EntryPayload, OptionalSend, RaftSnapshotBuilder, SnapshotMeta};
use serde::{Deserialize, Serialize};

use super::entry::{Verdict, Wish};
use super::keeper::Keeper;
use super::log::json;
use super::types::{Config, Entry, Fault, Id, Membership, Position, read_fault, write_fault};
use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::model::Row;
use crate::model::command::{Command, Outcome};
use crate::registry::Registry;
use crate::store::bundle;
use crate::store::ledger;

type Meta = SnapshotMeta<Id, openraft::BasicNode>;

/// How far the log has been applied to the rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Applied {
    /// Whose log: another one says nothing about these rows.
    id: Id,
    last: Option<Position>,
    membership: Membership,
    /// So many commands of the entry after that have been carried out as well.
    ahead: usize,
}

/// See the module.
pub(super) struct Machine {
    commit: Commit,
    registry: Arc<Registry>,
    keeper: Keeper,
    applied: Applied,
}

fn stored(registry: &Registry, id: Id) -> Option<Applied> {
    let text = registry.settings().agreed()?;
    serde_json::from_str::<Applied>(&text).ok().filter(|found| found.id == id)
}

/// Whether the rows of the registry are what the log of the server `id` has made of them.
pub(super) fn is_known(registry: &Registry, id: Id) -> bool {
    stored(registry, id).is_some()
}

impl Machine {
    /// The machine of the server `id`, as it was left. With `afresh` the registry may lack rows that it had then: they are
    /// made those of the snapshot, and the log is applied from there.
    ///
    /// # Errors
    /// [`Error::Setup`]: the snapshot is from another version, or can't be read.
    pub(super) async fn open(
        id: Id,
        commit: Commit,
        registry: Arc<Registry>,
        keeper: Keeper,
        afresh: bool,
    ) -> Result<Self> {
        let applied = stored(&registry, id).unwrap_or_else(|| Applied { id, ..Applied::default() });
        let mut machine = Self { commit, registry, keeper, applied };
        let setup = |fault: Fault| Error::Setup(format!("the raft snapshot: {fault}"));
        let Some((meta, body)) = machine.kept().await.map_err(setup)? else { return Ok(machine) };
        if afresh || machine.applied.last < meta.last_log_id {
            tracing::warn!(upto = ?meta.last_log_id, "what the cluster has agreed on is restored from the snapshot");
            machine.install(&meta, &body).await.map_err(setup)?;
        }
        Ok(machine)
    }

    /// Makes the rows of the registry, at `base`, the state that the log of a new group begins with.
    pub(super) async fn begin_at(&mut self, base: Position, membership: Membership) -> Result<(), Fault> {
        self.applied = Applied { id: self.applied.id, last: Some(base), membership, ahead: 0 };
        self.builder().build().await?;
        self.carry_out(Command::Nothing).await?.await.map(drop).map_err(write_fault)
    }

    /// What was stored is of a group that never came to be: this log is not its log. The rows stay.
    pub(super) async fn forget(&mut self) -> Result<(), Fault> {
        self.keeper.forget().await?;
        if self.applied.last.is_none() {
            return Ok(());
        }
        self.applied = Applied { id: self.applied.id, ..Applied::default() };
        self.carry_out(Command::Nothing).await?.await.map(drop).map_err(write_fault)
    }

    async fn kept(&self) -> Result<Option<(Meta, Vec<u8>)>, Fault> {
        let Some(ledger::Snapshot { head, body }) = self.keeper.snapshot().await? else { return Ok(None) };
        Ok(Some((serde_json::from_slice(&head).map_err(read_fault)?, body)))
    }

    /// Hands over what brings the registry to where `self.applied` says it is.
    async fn carry_out(&self, command: Command) -> Result<impl Future<Output = Result<Outcome>> + Send + use<>, Fault> {
        let position = serde_json::to_string(&self.applied).map_err(write_fault)?;
        self.commit.run_agreed(command, position.into()).await.map_err(write_fault)
    }

    async fn install(&mut self, meta: &Meta, body: &[u8]) -> Result<(), Fault> {
        let rows = bundle::unpack(body).map_err(read_fault)?;
        let before = self.registry.agreed_rows().len();
        tracing::info!(before, rows = rows.len(), upto = ?meta.last_log_id, "a snapshot is installed");
        let (id, membership) = (self.applied.id, meta.last_membership.clone());
        self.applied = Applied { id, last: meta.last_log_id, membership, ahead: 0 };
        self.carry_out(Command::Install(rows)).await?.await.map(drop).map_err(write_fault)
    }

    fn builder(&self) -> Builder {
        Builder { rows: self.registry.agreed_rows(), applied: self.applied.clone(), keeper: self.keeper.clone() }
    }
}

impl Machine {
    /// Hands over all commands of an entry that have not been carried out yet.
    async fn begin(
        &mut self,
        entry: Entry,
    ) -> Result<Vec<impl Future<Output = Result<Outcome>> + Send + use<>>, Fault> {
        let mut commands = match entry.payload {
            EntryPayload::Blank => Vec::new(),
            EntryPayload::Membership(membership) => {
                self.applied.membership = Membership::new(Some(entry.log_id), membership);
                Vec::new()
            }
            EntryPayload::Normal(wishes) => {
                let commands = wishes.0.iter().map(Wish::command).collect::<Result<Vec<_>>>();
                commands.map_err(|error| {
                    tracing::error!(%error, at = %entry.log_id, "this server can't read what was agreed on");
                    read_fault(error)
                })?
            }
        };
        commands.drain(..self.applied.ahead.min(commands.len()));
        if commands.is_empty() {
            commands.push(Command::Nothing);
        }
        let count = commands.len();
        let mut outcomes = Vec::with_capacity(count);
        for (number, command) in commands.into_iter().enumerate() {
            self.applied.ahead += 1;
            if number + 1 == count {
                (self.applied.last, self.applied.ahead) = (Some(entry.log_id), 0);
            }
            outcomes.push(self.carry_out(command).await?);
        }
        Ok(outcomes)
    }
}

impl RaftStateMachine<Config> for Machine {
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<Position>, Membership), Fault> {
        Ok((self.applied.last, self.applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Vec<Verdict>>, Fault>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let mut waiting = Vec::with_capacity(entries.len());
        for entry in entries {
            waiting.push(self.begin(entry).await?);
        }
        let mut verdicts = Vec::with_capacity(waiting.len());
        for outcomes in waiting {
            let mut of_entry = Vec::with_capacity(outcomes.len());
            for outcome in outcomes {
                of_entry.push(match outcome.await {
                    // The committer has ended: it was not carried out.
                    Err(Error::Unavailable(text)) => return Err(write_fault(text)),
                    outcome => outcome.into(),
                });
            }
            verdicts.push(of_entry);
        }
        Ok(verdicts)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        self.builder()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, Fault> {
        Ok(Box::default())
    }

    async fn install_snapshot(&mut self, meta: &Meta, snapshot: Box<Cursor<Vec<u8>>>) -> Result<(), Fault> {
        // Kept first: it must never be older than the rows, for the entries in between are not in this log.
        let body = snapshot.into_inner();
        let head = json(meta)?.to_vec();
        self.keeper.keep(ledger::Snapshot { head, body: body.clone() }).await?;
        self.install(meta, &body).await
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Config>>, Fault> {
        let kept = self.kept().await?;
        Ok(kept.map(|(meta, body)| Snapshot { meta, snapshot: Box::new(Cursor::new(body)) }))
    }
}

/// A snapshot in the making: the rows as they were when it was asked for.
pub(super) struct Builder {
    rows: Vec<Row>,
    applied: Applied,
    keeper: Keeper,
}

impl Builder {
    async fn build(self) -> Result<Snapshot<Config>, Fault> {
        let Self { rows, applied, keeper } = self;
        let Applied { last, membership, .. } = applied;
        let count = rows.len();
        // Long work for a thread that has elections to keep.
        let packed = tokio::task::spawn_blocking(move || bundle::pack(&rows)).await.map_err(write_fault)?;
        let body = packed.map_err(write_fault)?;
        // Two snapshots of one position differ in what servers find out for themselves: health.
        let snapshot_id = format!("{}-{:016x}", last.map_or(0, |last| last.index), fastrand::u64(..));
        let meta = Meta { last_log_id: last, last_membership: membership, snapshot_id };
        let head = json(&meta)?.to_vec();
        keeper.keep(ledger::Snapshot { head, body: body.clone() }).await?;
        tracing::info!(rows = count, bytes = body.len(), upto = ?meta.last_log_id, "a snapshot was made");
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(body)) })
    }
}

impl RaftSnapshotBuilder<Config> for Builder {
    async fn build_snapshot(&mut self) -> Result<Snapshot<Config>, Fault> {
        let rows = std::mem::take(&mut self.rows);
        Self { rows, applied: self.applied.clone(), keeper: self.keeper.clone() }.build().await
    }
}
