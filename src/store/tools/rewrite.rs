//! Writes rows to a fresh generation that takes the place of what is there: all of them or none.

use std::path::Path;
use std::time::Duration;

use super::reading::{Reading, bytes_of, wall_now_ms};
use crate::error::{Error, Result};
use crate::model::Row;
use crate::store::codec::{self, Encoded};
use crate::store::folder::Folder;
use crate::store::fresh::Fresh;
use crate::store::index::{Index, Sums};
use crate::store::options::{CACHE_BYTES, OPEN_TIMEOUT_MS};
use crate::store::sidecar::{Record, Sidecar};
use crate::store::table::OpenFault;

/// Between two signs of progress.
const TELL_EVERY: u64 = 1000;

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
    sequence: u64,
}

/// What was written.
pub(super) struct Written {
    pub(super) rows: u64,
    /// Of the generation's files.
    pub(super) bytes: u64,
}

impl Rewrite {
    /// Begins. `sequence` is that of the only batch, above all before.
    pub(super) fn begin(dir: &Path, sequence: u64) -> Result<Self> {
        let folder = Folder::at(dir);
        let fresh = Fresh::begin(&folder, CACHE_BYTES, Duration::from_millis(OPEN_TIMEOUT_MS));
        let fresh = fresh.map_err(|fault| failed(OpenFault::into_text(fault)))?;
        Ok(Self { folder, fresh: Some(fresh), index: Index::default(), sequence })
    }

    /// Copies all rows of a store; `told` hears now and then how many.
    pub(super) fn copy(&mut self, reading: &Reading, mut told: impl FnMut(u64)) -> Result<()> {
        reading.each(|key, value, decoded| {
            self.write(key, value, decoded.crc)?;
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
        let Encoded { key, value, crc } = codec::encode(row, self.sequence)?;
        value.map_or(Ok(()), |value| self.write(&key, &value, crc))
    }

    fn write(&mut self, key: &[u8], value: &[u8], crc: u32) -> Result<()> {
        let Some(fresh) = &mut self.fresh else { return Err(failed("it is complete")) };
        fresh.put(key, value).map_err(failed)?;
        let entry = self.index.hasher().entry(key, crc, key.len() + value.len());
        self.index.put(entry);
        Ok(())
    }

    /// Syncs it, makes it the one in use and clears the others away.
    pub(super) fn finish(mut self, last_alive_ms: u64) -> Result<Written> {
        let Some(fresh) = self.fresh.take() else { return Err(failed("it is complete")) };
        let Sums { rows, sum, .. } = self.index.sums();
        let (table, generation) = fresh.finish(self.index.sums(), self.sequence).map_err(failed)?;
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
