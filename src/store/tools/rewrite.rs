//! Writes rows to a fresh generation that takes the place of what is there: all of them or none.

use std::path::Path;
use std::time::Duration;

use super::reading::{Reading, bytes_of, wall_now_ms};
use crate::error::{Error, Result};
use crate::model::Row;
use crate::store::codec;
use crate::store::folder::Folder;
use crate::store::fresh::{Fresh, Made};
use crate::store::index::{Index, Sums};
use crate::store::options::{CACHE_BYTES, OPEN_TIMEOUT_MS};
use crate::store::pack::{self, Frame, Frames};
use crate::store::sidecar::{Record, Sidecar};
use crate::store::table::{OpenFault, Writes};

/// Between two signs of progress.
const TELL_EVERY: u64 = 1000;
/// Rows that replace others in one batch.
const BATCH_ROWS: u64 = 1000;

fn failed(text: impl std::fmt::Display) -> Error {
    Error::Storage(format!("a fresh generation can't be written, nothing has changed: {text}"))
}

/// Makes a store without rows where there is none, so that a rewrite that is cut short leaves something sound.
pub(super) fn make_empty(dir: &Path) -> Result<()> {
    Rewrite::begin(dir, 0)?.finish(wall_now_ms()).map(drop)
}

/// A generation in the making. The lock of the folder is the caller's. Dropped unfinished, it is removed.
pub(super) struct Rewrite {
    folder: Folder,
    fresh: Option<Fresh>,
    index: Index,
    /// Of the last batch, and the last row in the journal.
    sequence: u64,
    position: u64,
    base_sequence: u64,
    /// Of the packs of the journal.
    sum: u64,
    /// Rows that replace others, for the journal.
    waiting: Frames,
    row: Frames,
}

/// What was written.
pub(super) struct Written {
    pub(super) rows: u64,
    /// Of the generation's files.
    pub(super) bytes: u64,
}

impl Rewrite {
    /// Begins. `sequence` is that of the first batch, above all before.
    pub(super) fn begin(dir: &Path, sequence: u64) -> Result<Self> {
        let folder = Folder::at(dir);
        let fresh = Fresh::begin(&folder, CACHE_BYTES, Duration::from_millis(OPEN_TIMEOUT_MS));
        let fresh = fresh.map_err(|fault| failed(OpenFault::into_text(fault)))?;
        Ok(Self {
            folder,
            fresh: Some(fresh),
            index: Index::default(),
            sequence,
            position: 0,
            base_sequence: sequence,
            sum: 0,
            waiting: Frames::default(),
            row: Frames::default(),
        })
    }

    /// Copies all rows of a store; `told` hears now and then how many.
    pub(super) fn copy(&mut self, reading: &Reading, mut told: impl FnMut(u64)) -> Result<()> {
        reading.each(|frame, _| {
            self.write(frame)?;
            let rows = self.index.sums().rows;
            if rows.is_multiple_of(TELL_EVERY) {
                told(rows);
            }
            Ok(())
        })
    }

    /// Writes a row; one that is there already is replaced.
    ///
    /// # Errors
    /// [`Error::Limit`] when it is too large.
    pub(super) fn put(&mut self, row: &Row) -> Result<()> {
        let mut frames = std::mem::take(&mut self.row);
        frames.clear();
        frames.push(row)?;
        frames.iter().filter(|frame| frame.payload.is_some()).try_for_each(|frame| self.write(frame))?;
        self.row = frames;
        Ok(())
    }

    /// Whether there is a row with the key of `row`.
    pub(super) fn has(&self, row: &Row) -> bool {
        self.index.position(self.index.hasher().hash(&crate::store::key::encode(row))).is_some()
    }

    fn write(&mut self, frame: Frame<'_>) -> Result<()> {
        let Some(fresh) = &mut self.fresh else { return Err(failed("it is complete")) };
        let hash = self.index.hasher().hash(frame.key);
        let mut position = 0;
        if self.index.position(hash).is_some() {
            self.position += 1;
            position = self.position;
            self.waiting.copy(frame);
        } else {
            fresh.put(frame).map_err(failed)?;
        }
        self.index.put(self.index.hasher().entry(frame.key, position, Some(frame.size())));
        if self.waiting.rows() >= BATCH_ROWS { self.write_journal() } else { Ok(()) }
    }

    fn write_journal(&mut self) -> Result<()> {
        let Some(fresh) = &self.fresh else { return Err(failed("it is complete")) };
        if self.waiting.rows() == 0 {
            return Ok(());
        }
        self.sequence += 1;
        let mut writes = Writes::default();
        for pack in pack::journal(&self.waiting, self.sequence, self.position + 1 - self.waiting.rows()) {
            writes.insert(&pack.key, &pack.value);
            self.sum ^= codec::mixed(pack.crc);
        }
        self.waiting.clear();
        fresh.apply(writes).map_err(failed)
    }

    /// Syncs it, makes it the one in use and clears the others away.
    pub(super) fn finish(mut self, last_alive_ms: u64) -> Result<Written> {
        self.write_journal()?;
        let Some(fresh) = self.fresh.take() else { return Err(failed("it is complete")) };
        let Sums { rows, .. } = self.index.sums();
        let Made { table, generation, base } = fresh.finish(self.base_sequence, 0).map_err(failed)?;
        let sum = base.sum ^ self.sum;
        drop(table);
        let record = Record { generation, sequence: self.sequence, rows, sum, last_alive_ms };
        Sidecar::open(&self.folder.sidecar(), &record).map_err(|error| {
            Error::Storage(format!("all rows are written, but {} is not: {error}", self.folder.sidecar().display()))
        })?;
        // What was found damaged is kept, and was told of.
        let _ = self.folder.clear_leftovers(generation, wall_now_ms());
        Ok(Written { rows, bytes: bytes_of(&self.folder.generation(generation)) })
    }
}

impl Drop for Rewrite {
    fn drop(&mut self) {
        if let Some(fresh) = self.fresh.take() {
            fresh.abandon();
        }
    }
}
