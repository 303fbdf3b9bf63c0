//! Compaction: copies the live rows to a fresh generation, some at every tick, while every append goes to both. Only
//! the last step, which takes as long as a sync, makes appends wait.

use std::{
    ops::{Bound, ControlFlow},
    time::Duration,
};

use super::{
    codec,
    folder::Folder,
    fresh::Fresh,
    key::{self, Names},
    options::Options,
    table::{Table, Writes},
};

/// Rows copied in one step.
const STEP_ROWS: usize = 2000;
/// Time between two looks at the size of the file, in milliseconds.
pub(super) const LOOK_EVERY_MS: u64 = 1000;
/// Time before a compaction that failed, or did not help, is tried again, in milliseconds.
pub(super) const RETRY_AFTER_MS: u64 = 60_000;

/// Whether a file of `file_bytes` with `live_bytes` of rows is to be compacted.
pub(super) fn is_due(options: &Options, file_bytes: u64, live_bytes: u64) -> bool {
    file_bytes > options.compact_min_bytes && file_bytes > live_bytes.saturating_mul(options.compact_factor)
}

/// Why a compaction ended early.
#[derive(Debug)]
pub(super) enum Stop {
    /// The copy can't be written: the generation in use goes on.
    Copy(String),
    /// The generation in use can't be read: it has failed.
    Source(String),
}

/// A compaction under way.
#[derive(Debug)]
pub(super) struct Compaction {
    pub(super) fresh: Fresh,
    /// Rows up to this key are copied.
    cursor: Bound<Vec<u8>>,
    names: Names,
}

impl Compaction {
    /// Starts with an empty copy.
    pub(super) fn begin(folder: &Folder, options: &Options) -> Result<Self, String> {
        let limit = Duration::from_millis(options.open_timeout_ms);
        let fresh = Fresh::begin(folder, options.cache_bytes, limit).map_err(|fault| fault.into_text())?;
        Ok(Self { fresh, cursor: Bound::Included(key::FIRST.to_vec()), names: Names::default() })
    }

    /// Applies to the copy what was applied to the generation in use. Rows that the cursor has not reached yet are
    /// written twice, which does no harm.
    pub(super) fn apply(&mut self, writes: Writes) -> Result<(), String> {
        self.fresh.apply(writes)
    }

    /// Copies some rows; `true` when all are copied.
    pub(super) fn step(&mut self, source: &Table) -> Result<bool, Stop> {
        let mut copied: usize = 0;
        let mut last = None;
        let mut stop = None;
        let (fresh, names) = (&mut self.fresh, &mut self.names);
        let low = self.cursor.as_ref().map(Vec::as_slice);
        source
            .visit(low, Bound::Unbounded, |key, value| {
                if codec::decode(key, value, names).is_err() {
                    stop = Some(Stop::Source("a stored row no longer verifies".to_owned()));
                } else if let Err(text) = fresh.put(key, value) {
                    stop = Some(Stop::Copy(text));
                }
                copied += 1;
                if stop.is_some() || copied >= STEP_ROWS {
                    last = Some(key.to_vec());
                    return ControlFlow::Break(());
                }
                ControlFlow::Continue(())
            })
            .map_err(Stop::Source)?;
        if let Some(stop) = stop {
            return Err(stop);
        }
        self.fresh.sync().map_err(Stop::Copy)?;
        match last {
            Some(last) => self.cursor = Bound::Excluded(last),
            None => return Ok(true),
        }
        Ok(false)
    }
}
