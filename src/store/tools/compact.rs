//! Rewrites a store, so that its file holds nothing but what lives.

use std::fmt;

use super::reading::{Reading, bytes_of, lock_as_it_is};
use super::rewrite::Rewrite;
use super::{Bytes, Job};
use crate::error::Result;
use crate::store::folder::Folder;
use crate::store::lock::Lock;

/// What [`compact`] did.
#[derive(Debug, Clone)]
pub struct Compacted {
    rows: u64,
    before_bytes: u64,
    after_bytes: u64,
}

/// Writes all rows to a fresh generation, and removes the old one when that is on disk.
///
/// # Errors
/// As for [`verify()`](super::verify()); [`Error::Storage`](crate::error::Error::Storage) when the store is damaged or there
/// is no room: nothing has changed then.
pub fn compact(job: &Job<'_>) -> Result<Compacted> {
    drop(lock_as_it_is(&job.dir)?);
    let lock = Lock::take(&job.dir)?;
    let reading = Reading::open(job, Some(lock))?;
    reading.must_be_sound()?;
    let folder = Folder::at(&job.dir);
    let before_bytes = folder.generations()?.into_iter().map(|at| bytes_of(&folder.generation(at))).sum();
    let mut rewrite = Rewrite::begin(&job.dir, reading.report.sequence + 1)?;
    let all = reading.report.rows;
    rewrite.copy(&reading, |rows| (job.progress)("rewriting", rows, Some(all)))?;
    let last_alive_ms = reading.report.last_alive_ms.unwrap_or_default();
    let written = rewrite.finish(last_alive_ms)?;
    Ok(Compacted { rows: written.rows, before_bytes, after_bytes: written.bytes })
}

impl fmt::Display for Compacted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} rows: {} before, {} after", self.rows, Bytes(self.before_bytes), Bytes(self.after_bytes))
    }
}
