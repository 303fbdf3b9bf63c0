//! The running store: a generation, the index of what is in it, and the sidecar.

mod heal;

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::Instant,
};

use super::{
    codec,
    compact::{self, Compaction, Stop},
    folder::{Current, Folder},
    fresh::Made,
    index::{Index, MAX_POSITION, Sums},
    lock::Lock,
    options::{Durability, Options},
    pack::{self, Frames},
    recover::{Head, Recovered},
    report::StoreStats,
    sidecar::{Record, Sidecar},
    table::{Table, Writes},
};
use crate::error::{Error, Result};

/// Time between two refreshes of the sidecar while nothing is stored, and between two syncs of it, in milliseconds.
const SIDECAR_EVERY_MS: u64 = 1000;

/// Rows that wait at most with [`Durability::Interval`].
const MAX_WAITING_ROWS: u64 = 1000;

/// Fields in the order in which they are to be dropped: the lock last.
#[derive(Debug)]
pub(super) struct Disk {
    compaction: Option<Compaction>,
    /// `None` until the first rebuild of a store that opened as failed.
    table: Option<Arc<Table>>,
    generation: u64,
    /// Of all rows, waiting or written.
    index: Index,
    /// The last batch and row, waiting or written; the sum is of what is written.
    head: Head,
    /// Rows not yet handed to sled. It writes every batch at once, however small, so that with
    /// [`Durability::Interval`] it would lag behind.
    waiting: Frames,
    /// The system does not have all of what came by [`append_later`](Self::append_later).
    is_late: bool,
    /// What is durable, and whether anything isn't.
    record: Record,
    dirty: bool,
    /// What is on disk can't be trusted, even if it reads well: it may come from the system's memory.
    sync_failed: bool,
    /// How the next rebuild is tried.
    is_in_place_next: bool,
    sidecar: Sidecar,
    sidecar_synced_sequence: u64,
    sidecar_failed: bool,
    file_bytes: u64,
    last_sync_ms: u64,
    last_refresh_ms: u64,
    last_look_ms: u64,
    compact_not_before_ms: u64,
    wall_now_ms: u64,
    retiring: Vec<JoinHandle<()>>,
    folder: Folder,
    _lock: Lock,
}

impl Disk {
    /// Goes on where a recovery ended.
    pub(super) fn start(recovered: Recovered, options: &Options, wall_now_ms: u64) -> Result<Self> {
        let Recovered { folder, lock, table, generation, index, head, failure: _, details: _ } = recovered;
        let Sums { rows, .. } = index.sums();
        let record = Record { generation, sequence: head.sequence, rows, sum: head.sum, last_alive_ms: wall_now_ms };
        // A store that has to be rebuilt keeps its old sidecar, which is what its damage shows by.
        let kept = match Sidecar::read(&folder.sidecar()) {
            super::sidecar::Found::Record(old) if table.is_none() => Record { last_alive_ms: wall_now_ms, ..old },
            _ => record,
        };
        let sidecar = Sidecar::open(&folder.sidecar(), &kept)
            .map_err(|error| Error::Setup(format!("{} can't be written: {error}", folder.sidecar().display())))?;
        let file_bytes = table.as_ref().map_or(0, |table| table.file_bytes());
        tracing::debug!(generation, sequence = head.sequence, rows, mode = %options.durability, "the store is open");
        Ok(Self {
            compaction: None,
            table,
            generation,
            index,
            head,
            waiting: Frames::default(),
            is_late: false,
            record: kept,
            dirty: false,
            sync_failed: false,
            is_in_place_next: false,
            sidecar,
            sidecar_synced_sequence: kept.sequence,
            sidecar_failed: false,
            file_bytes,
            last_sync_ms: wall_now_ms,
            last_refresh_ms: wall_now_ms,
            last_look_ms: wall_now_ms,
            compact_not_before_ms: 0,
            wall_now_ms,
            retiring: Vec::new(),
            folder,
            _lock: lock,
        })
    }

    pub(super) fn sums(&self) -> Sums {
        self.index.sums()
    }

    pub(super) fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    #[cfg(test)]
    pub(super) fn table(&self) -> &Table {
        self.table.as_ref().unwrap()
    }

    #[cfg(test)]
    pub(super) fn compaction(&self) -> Option<&Compaction> {
        self.compaction.as_ref()
    }

    fn in_use(&self) -> Result<Arc<Table>, String> {
        self.table.clone().ok_or_else(|| "there is no generation to write to".to_owned())
    }

    /// Stores a batch. After an error the index is of no use: the store has failed.
    pub(super) fn append(&mut self, rows: &Frames, options: &Options, stats: &StoreStats) -> Result<(), String> {
        self.take_in(rows)?;
        match options.durability {
            Durability::Synced => self.sync(stats),
            Durability::Written => self.hand_over(options),
            Durability::Interval if self.waiting.rows() >= MAX_WAITING_ROWS => self.apply_waiting(),
            Durability::Interval | Durability::Off => Ok(()),
        }
    }

    /// Stores a batch with the next one or at the next tick, whichever comes first. The sidecar does not tell of it
    /// before it is durable: then it can be lost without a trace, but hides no loss of what came before.
    pub(super) fn append_later(&mut self, rows: &Frames, _: &Options, _: &StoreStats) -> Result<(), String> {
        self.take_in(rows)?;
        self.is_late = true;
        if self.waiting.rows() >= MAX_WAITING_ROWS { self.apply_waiting() } else { Ok(()) }
    }

    fn take_in(&mut self, rows: &Frames) -> Result<(), String> {
        if MAX_POSITION - self.head.position.min(MAX_POSITION) < rows.rows() {
            return Err("the journal is full".to_owned());
        }
        for frame in rows.iter() {
            self.head.position += 1;
            let entry = self.index.hasher().entry(frame.key, self.head.position, Some(frame.size()));
            match frame.payload {
                Some(_) => self.index.put(entry),
                None => self.index.remove(entry.hash()),
            }
        }
        self.waiting.append(rows);
        self.head.sequence += 1;
        self.dirty = true;
        Ok(())
    }

    /// Hands all rows to the system.
    fn hand_over(&mut self, options: &Options) -> Result<(), String> {
        self.apply_waiting()?;
        self.in_use()?.flush()?;
        self.is_late = false;
        if options.durability == Durability::Written {
            self.mark_durable();
        }
        Ok(())
    }

    /// Hands waiting rows to sled, as one batch, and to the copy that a compaction makes.
    fn apply_waiting(&mut self) -> Result<(), String> {
        if self.waiting.rows() == 0 {
            return Ok(());
        }
        let Head { sequence, position, .. } = self.head;
        let packs = pack::journal(&self.waiting, sequence, position + 1 - self.waiting.rows());
        self.waiting.clear();
        let mut writes = Writes::default();
        for pack in &packs {
            writes.insert(&pack.key, &pack.value);
            self.head.sum ^= codec::mixed(pack.crc);
        }
        if let Some(compaction) = &mut self.compaction
            && let Err(reason) = compaction.apply(&packs, writes.clone())
        {
            self.stop_compaction(&reason);
        }
        self.in_use()?.apply(writes)
    }

    fn sync(&mut self, stats: &StoreStats) -> Result<(), String> {
        let started = Instant::now();
        self.apply_waiting()?;
        let table = self.in_use()?;
        table.flush()?;
        self.sync_file(&table)?;
        stats.count_sync(started.elapsed());
        self.last_sync_ms = self.wall_now_ms;
        self.mark_durable();
        Ok(())
    }

    fn sync_file(&mut self, table: &Table) -> Result<(), String> {
        table.sync_file().inspect_err(|_| self.sync_failed = true)
    }

    /// Everything applied is as durable as it gets: the sidecar may say so.
    fn mark_durable(&mut self) {
        let (generation, rows) = (self.generation, self.index.sums().rows);
        let Head { sequence, sum, .. } = self.head;
        self.dirty = false;
        self.is_late = false;
        self.record = Record { generation, sequence, rows, sum, ..self.record };
        self.write_sidecar();
    }

    /// A sidecar that can't be written falls behind, and then only sees less: no reason to refuse writes.
    fn write_sidecar(&mut self) {
        let failed = self.sidecar.write(&self.record).inspect_err(|error| {
            if !self.sidecar_failed {
                tracing::warn!("the sidecar can't be written: {error}");
            }
        });
        self.sidecar_failed = failed.is_err();
    }

    /// What is due at `wall_now_ms`. The clock may jump: a time in the future counts as long ago.
    pub(super) fn tick(&mut self, wall_now_ms: u64, options: &Options, stats: &StoreStats) -> Result<(), String> {
        self.wall_now_ms = wall_now_ms;
        if options.durability == Durability::Interval
            && self.dirty
            && is_over(self.last_sync_ms, options.interval_ms, wall_now_ms)
        {
            self.sync(stats)?;
        }
        // With an interval they wait like any others.
        if self.is_late && options.durability != Durability::Interval {
            self.hand_over(options)?;
        }
        self.refresh_sidecar(wall_now_ms, options);
        if is_over(self.last_look_ms, compact::LOOK_EVERY_MS, wall_now_ms) {
            self.look(options)?;
        }
        self.step_compaction(options, stats)
    }

    /// Once a second: the time last alive, and a sync of the sidecar if it has new rows to tell of. Modes that do
    /// without syncs do without this one, too.
    pub(super) fn refresh_sidecar(&mut self, wall_now_ms: u64, options: &Options) {
        if !is_over(self.last_refresh_ms, SIDECAR_EVERY_MS, wall_now_ms) {
            return;
        }
        self.wall_now_ms = wall_now_ms;
        self.last_refresh_ms = wall_now_ms;
        self.record.last_alive_ms = wall_now_ms;
        self.write_sidecar();
        let is_synced = matches!(options.durability, Durability::Synced | Durability::Interval);
        if is_synced && self.sidecar_synced_sequence != self.record.sequence {
            self.sync_sidecar();
        }
    }

    fn sync_sidecar(&mut self) {
        match self.sidecar.sync() {
            Ok(()) => self.sidecar_synced_sequence = self.record.sequence,
            Err(error) => tracing::warn!("the sidecar can't be synced: {error}"),
        }
    }

    /// Looks at the size of the file and starts a compaction if it is due.
    fn look(&mut self, options: &Options) -> Result<(), String> {
        self.last_look_ms = self.wall_now_ms;
        self.retiring.retain(|thread| !thread.is_finished());
        let Some(table) = &self.table else { return Ok(()) };
        self.file_bytes = table.file_bytes();
        let live_bytes = self.index.sums().bytes;
        if self.compaction.is_some()
            || self.wall_now_ms < self.compact_not_before_ms
            || !compact::is_due(options, self.file_bytes, live_bytes)
        {
            return Ok(());
        }
        self.compact_not_before_ms = self.wall_now_ms.saturating_add(compact::RETRY_AFTER_MS);
        tracing::info!(file_bytes = self.file_bytes, live_bytes, "compaction starts");
        self.apply_waiting()?;
        let last = (self.head.sequence, self.head.position);
        match Compaction::begin(&self.folder, &mut self.index, last, options) {
            Ok(compaction) => self.compaction = Some(compaction),
            Err(reason) => tracing::warn!("compaction can't start: {reason}"),
        }
        Ok(())
    }

    fn stop_compaction(&mut self, reason: &str) {
        if let Some(compaction) = self.compaction.take() {
            tracing::warn!("compaction stops: {reason}");
            compaction.fresh.abandon();
        }
    }

    fn step_compaction(&mut self, options: &Options, stats: &StoreStats) -> Result<(), String> {
        // Before the copy is completed it must have what the sidecar will tell of.
        if self.compaction.is_some() {
            self.apply_waiting()?;
        }
        let Some(mut compaction) = self.compaction.take() else { return Ok(()) };
        match compaction.step(self.in_use()?.as_ref(), &mut self.index, self.head.base_position) {
            Ok(false) => self.compaction = Some(compaction),
            Ok(true) => match compaction.finish() {
                Ok((made, sum)) => {
                    self.head = Head { base_position: made.base.position, sum, ..self.head };
                    self.swap(made);
                    self.mark_durable();
                    if !compact::is_due(options, self.file_bytes, self.index.sums().bytes) {
                        self.compact_not_before_ms = 0;
                    }
                    StoreStats::add(&stats.compactions, 1);
                    tracing::info!(file_bytes = self.file_bytes, "compaction is done");
                }
                // Then it is not sure which generation the next open takes: this one must get no more rows.
                Err(reason) if self.folder.current() != Current::Names(self.generation) => return Err(reason),
                Err(reason) => tracing::warn!("compaction stops: {reason}"),
            },
            Err(Stop::Copy(reason)) => {
                tracing::warn!("compaction stops: {reason}");
                compaction.fresh.abandon();
            }
            Err(Stop::Source(reason)) => {
                compaction.fresh.abandon();
                return Err(reason);
            }
        }
        Ok(())
    }

    /// Goes on with another generation, which is durable and named by `CURRENT`; the old one goes in the background.
    fn swap(&mut self, Made { table, generation, .. }: Made) {
        let (folder, wall_now_ms, old) = (self.folder.clone(), self.wall_now_ms, self.generation);
        self.file_bytes = table.file_bytes();
        self.generation = generation;
        let old_table = self.table.replace(table);
        let retire = move || {
            drop(old_table);
            // What was found damaged was reported at the open.
            let _ = folder.retire(old, wall_now_ms);
        };
        match thread::Builder::new().name("nacre-store-retire".to_owned()).spawn(retire) {
            Ok(thread) => self.retiring.push(thread),
            Err(error) => tracing::warn!("{} stays until the next start: {error}", Folder::name(old)),
        }
    }

    /// Ends in order; what a failed store holds is left as it is.
    pub(super) fn close(mut self, failed: bool, options: &Options, stats: &StoreStats) -> Result<(), String> {
        self.stop_compaction("the store is closed");
        let synced = if failed { Ok(()) } else { self.sync(stats) };
        self.record.last_alive_ms = self.wall_now_ms;
        self.write_sidecar();
        self.sync_sidecar();
        drop(self.table.take());
        for thread in self.retiring.drain(..) {
            if thread.join().is_err() {
                tracing::warn!("a generation no longer in use was not cleared away");
            }
        }
        tracing::debug!(mode = %options.durability, "the store is closed");
        synced
    }
}

fn is_over(since_ms: u64, time_ms: u64, now_ms: u64) -> bool {
    now_ms.checked_sub(since_ms).is_none_or(|passed| passed >= time_ms)
}
