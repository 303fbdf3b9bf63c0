//! The state on disk: every row of the registry, written before it takes effect and read back at the next start.
//!
//! [`Store`] belongs to one thread, the committer's. It knows nothing of the registry: rows go in by
//! [`append`](Store::append), and come out at [`open`](Store::open). `table` is the only file that names sled,
//! `codec` the only one that names bincode.
//!
//! What the folder holds is in `folder`, keys in `key`, values in `codec` and `pack`, what can be found at an open and
//! what is done about it in `recover`. A generation of the store is a *base*, written when it was made, and a *journal*,
//! to which every batch is appended under its sequence (which only grows). What the base has to hold is said in it, in
//! the journal rows are numbered, and the `sidecar` says how far it went: so every loss shows at the next open.
//!
//! After a failed write or sync nobody knows what is on disk, so the store refuses ([`Store::failure`]) until it is
//! [rebuilt](Store::rebuild) from the registry, which is the truth while the process lives.

pub mod bundle;
mod codec;
#[doc(hidden)]
pub mod coded;
mod compact;
mod disk;
mod folder;
mod fresh;
mod guard;
mod index;
mod key;
pub mod ledger;
mod lock;
mod options;
mod pack;
mod recover;
mod report;
mod scan;
mod sidecar;
mod table;
#[cfg(test)]
mod tests;
pub mod tools;

use std::sync::{Arc, atomic::Ordering::Relaxed};

use disk::Disk;
use pack::Frames;

use crate::{
    error::{Error, Result},
    model::Row,
};

pub use codec::check_size;
pub use options::{
    CACHE_BYTES, COMPACT_FACTOR, COMPACT_MIN_BYTES, Durability, INTERVAL_MS, OPEN_TIMEOUT_MS, OnFailure, Options,
};
pub use report::{Phase, Progress, RestoreReport, StoreStats};

/// How a batch gets to the disk.
type Append = fn(&mut Disk, &Frames, &Options, &StoreStats) -> std::result::Result<(), String>;

/// The store. Calls block on the disk.
#[derive(Debug)]
pub struct Store {
    options: Options,
    stats: Arc<StoreStats>,
    /// Why nothing can be stored at present.
    failure: Option<String>,
    /// The batch at hand, for its room.
    frames: Frames,
    /// `None` with [`Durability::Off`].
    disk: Option<Disk>,
}

impl Store {
    /// Takes the lock of the data folder, opens the store in it or makes one, and hands all its rows to `rows`, some at
    /// a time, in no particular order. `wall_now_ms` is the Unix time; `progress` is called now and then meanwhile.
    ///
    /// Damage never ends in an error but in the report, with all rows that are sound; what was damaged is kept under a
    /// dated name. If [`Store::failure`] says so afterwards, the store has to be rebuilt from the rows given out.
    ///
    /// # Errors
    /// [`Error::Setup`]: the folder can't be used or is in use, or the store is from a later version. Nothing is
    /// changed.
    pub fn open(
        options: Options,
        wall_now_ms: u64,
        rows: &mut dyn FnMut(Vec<Row>),
        progress: &(dyn Fn(Progress) + Sync),
    ) -> Result<(Self, RestoreReport)> {
        let stats = Arc::new(StoreStats::default());
        if options.durability == Durability::Off {
            let report = RestoreReport { created: true, ..RestoreReport::default() };
            return Ok((Self { options, stats, failure: None, frames: Frames::default(), disk: None }, report));
        }
        let (recovered, report) = recover::recover(&options, wall_now_ms, recover::Receiver { rows, progress })?;
        let failure = recovered.failure.clone();
        let disk = Disk::start(recovered, &options, wall_now_ms)?;
        let store = Self { options, stats, failure, frames: Frames::default(), disk: Some(disk) };
        store.publish();
        if let Some(damage) = &report.damage {
            tracing::error!(moved_aside = ?report.moved_aside, "the store was damaged: {damage}");
        }
        if let Some(reason) = &store.failure {
            tracing::error!("the store takes no writes: {reason}");
        }
        Ok((store, report))
    }

    /// Stores `rows` in order, all or none, as durably as [`Durability`] says.
    ///
    /// # Errors
    /// [`Error::Limit`]: a row is larger than [`MAX_ROW_BYTES`](crate::model::MAX_ROW_BYTES); nothing is stored, the
    /// store goes on.
    /// [`Error::Storage`]: the write or sync failed, now or before. The rows count as not stored. With
    /// [`OnFailure::Memory`] such a failure is `Ok`, counted in [`StoreStats::unstored_rows`].
    pub fn append(&mut self, rows: &[Row]) -> Result<()> {
        self.store(rows, Disk::append)
    }

    /// Stores `rows` like [`append`](Self::append), but for what is not worth a wait for the disk: the system has them
    /// at the latest after the next [`tick`](Self::tick) or `append` (with [`Durability::Interval`] when the interval
    /// ends), and they are durable with what is synced next (or when the system writes them). Until then a power cut may
    /// take them, which is no damage and not reported as such.
    ///
    /// # Errors
    /// As for `append`. A write that fails later shows at the `tick` or `append` that tries it.
    pub fn append_later(&mut self, rows: &[Row]) -> Result<()> {
        self.store(rows, Disk::append_later)
    }

    fn store(&mut self, rows: &[Row], how: Append) -> Result<()> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        if rows.is_empty() {
            return Ok(());
        }
        self.frames.clear();
        rows.iter().try_for_each(|row| self.frames.push(row))?;
        if self.failure.is_none() {
            match how(disk, &self.frames, &self.options, &self.stats) {
                Ok(()) => {
                    self.stats.batches.note(rows.len() as u64);
                    self.publish();
                    return Ok(());
                }
                Err(reason) => self.fail(reason),
            }
        }
        match self.options.on_failure {
            OnFailure::Refuse => Err(self.refusal()),
            OnFailure::Memory => {
                StoreStats::add(&self.stats.unstored_rows, rows.len() as u64);
                Ok(())
            }
        }
    }

    /// Does what is due by the clock: the sync of [`Durability::Interval`], the time last alive, a step of a
    /// compaction. To be called at least every 100 ms with the Unix time.
    ///
    /// # Errors
    /// [`Error::Storage`] when the store fails in this call; while it has failed already, `Ok`.
    pub fn tick(&mut self, wall_now_ms: u64) -> Result<()> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        let result = if self.failure.is_some() {
            disk.refresh_sidecar(wall_now_ms, &self.options);
            Ok(())
        } else {
            disk.tick(wall_now_ms, &self.options, &self.stats)
        };
        self.publish();
        result.map_err(|reason| {
            self.fail(reason);
            self.refusal()
        })
    }

    /// Why nothing can be stored at present; `None` when all is well.
    pub fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    /// Makes `rows`, which are the whole registry, what is stored: writes them to a fresh generation and goes on with
    /// it. Only then is the failed one removed (or, if it was found damaged at the open, kept under a dated name). If
    /// the disk has no room for that, the next call puts the failed one in order in place instead, the call after that
    /// writes afresh, and so on. How often to try is the caller's.
    ///
    /// # Errors
    /// [`Error::Storage`]: it can't be written now either; nothing that was stored is lost, and the store has failed.
    pub fn rebuild(&mut self, rows: &mut dyn Iterator<Item = Row>) -> Result<()> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        match disk.rebuild(rows, &self.options) {
            Ok(()) => {
                tracing::info!("the store is rebuilt and takes writes again");
                self.failure = None;
                StoreStats::add(&self.stats.rebuilds, 1);
                self.publish();
                Ok(())
            }
            Err(reason) => {
                StoreStats::add(&self.stats.failures, 1);
                // Even of a store that had not failed: what it holds now may not be what its index says.
                self.failure.get_or_insert_with(|| reason.clone());
                Err(Error::Storage(format!("the store can't be rebuilt: {reason}")))
            }
        }
    }

    /// Makes everything durable and lets go of the folder.
    ///
    /// # Errors
    /// [`Error::Storage`]: the store has failed, or its last sync does.
    pub fn close(mut self) -> Result<()> {
        let Some(disk) = self.disk.take() else { return Ok(()) };
        let failed = self.failure.is_some();
        let closed = disk.close(failed, &self.options, &self.stats);
        if failed { Err(self.refusal()) } else { closed.map_err(Error::Storage) }
    }

    /// The counters, for any thread.
    pub fn stats(&self) -> Arc<StoreStats> {
        self.stats.clone()
    }

    fn fail(&mut self, reason: String) {
        tracing::error!("the store has failed and takes no writes until it is rebuilt: {reason}");
        StoreStats::add(&self.stats.failures, 1);
        self.failure = Some(reason);
    }

    fn refusal(&self) -> Error {
        let reason = self.failure.as_deref().unwrap_or("unknown");
        Error::Storage(format!("the store has failed and takes no writes until it is rebuilt: {reason}"))
    }

    fn publish(&self) {
        if let Some(disk) = &self.disk {
            let sums = disk.sums();
            self.stats.rows.store(sums.rows, Relaxed);
            self.stats.live_bytes.store(sums.bytes, Relaxed);
            self.stats.file_bytes.store(disk.file_bytes(), Relaxed);
        }
    }
}
