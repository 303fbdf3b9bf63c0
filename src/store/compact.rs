//! Compaction: copies the live rows to the base of a fresh generation, some at every tick, while what is appended to the
//! journal goes to both. Only the last step, which takes as long as a sync, makes appends wait.
//!
//! What is copied is what was stored up to its begin and is still live when it is reached. What comes later is in the
//! journal of both generations, under the same positions.

use std::{
    ops::{Bound, ControlFlow},
    time::Duration,
};

use super::{
    codec::{Fault, mixed},
    folder::Folder,
    fresh::{Fresh, Made},
    index::Index,
    key::{self, PackKey},
    options::Options,
    pack::{Pack, Unpacker},
    table::{Table, Writes},
};

/// Bytes copied in one step, and bytes looked at for that. So a step takes some 20 ms.
const STEP_BYTES: usize = 1 << 20;
const STEP_LOOK_BYTES: usize = 4 << 20;
/// Time between two looks at the size of the file, in milliseconds.
pub(super) const LOOK_EVERY_MS: u64 = 1000;
/// Time before a compaction that failed, or that did not help, is tried again, in milliseconds.
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
    /// Packs up to this key are copied.
    cursor: Bound<Vec<u8>>,
    unpacker: Unpacker,
    /// The last batch and position that are copied.
    sequence: u64,
    position: u64,
    /// Checksums of the packs written to the journal since, combined.
    sum: u64,
}

impl Compaction {
    /// Starts with an empty copy. Everything up to `sequence` and `position`, which are the last, has to be in the
    /// generation in use.
    pub(super) fn begin(
        folder: &Folder,
        index: &mut Index,
        (sequence, position): (u64, u64),
        options: &Options,
    ) -> Result<Self, String> {
        let limit = Duration::from_millis(options.open_timeout_ms);
        let fresh = Fresh::begin(folder, options.cache_bytes, limit).map_err(|fault| fault.into_text())?;
        index.begin_copy();
        let cursor = Bound::Included(key::FIRST.to_vec());
        Ok(Self { fresh, cursor, unpacker: Unpacker::default(), sequence, position, sum: 0 })
    }

    /// Applies to the copy what is applied to the journal in use: `packs`, which are `writes`.
    pub(super) fn apply(&mut self, packs: &[Pack], writes: Writes) -> Result<(), String> {
        packs.iter().for_each(|pack| self.sum ^= mixed(pack.crc));
        self.fresh.apply(writes)
    }

    /// Copies some rows; `true` when all are copied. `base_position` is that of the generation in use.
    pub(super) fn step(&mut self, source: &Table, index: &mut Index, base_position: u64) -> Result<bool, Stop> {
        let Self { fresh, unpacker, cursor, sequence, position, .. } = self;
        let end = PackKey { is_journal: true, number: sequence.saturating_add(1), part: 0 }.encode();
        let (mut seen, mut copied, mut last, mut stop) = (0, 0, None, None);
        let mut copy = |key: &[u8], value: &[u8]| {
            let pack = PackKey::decode(key).ok_or(Stop::Source("it holds what is no pack".to_owned()))?;
            let mut result = Ok(());
            let opened = unpacker.open(pack, value, |at, frame| {
                let hash = index.hasher().hash(frame.key);
                let is_live = match index.position(hash) {
                    Some(last) if pack.is_journal => last == at,
                    Some(last) => last <= base_position,
                    None => false,
                };
                if is_live && frame.payload.is_some() && result.is_ok() {
                    index.copied(hash);
                    copied += frame.size();
                    result = fresh.put(frame);
                }
            });
            opened.map_err(|fault| match fault {
                Fault::Damaged => Stop::Source("a stored pack no longer verifies".to_owned()),
                Fault::Newer(what) => Stop::Source(format!("it holds {what}")),
            })?;
            result.map(|()| copied).map_err(Stop::Copy)
        };
        let low = cursor.as_ref().map(Vec::as_slice);
        let walk = source.visit(low, Bound::Excluded(&end), |key, value| {
            seen += value.len();
            let is_over = match copy(key, value) {
                Ok(copied) => copied >= STEP_BYTES || seen >= STEP_LOOK_BYTES,
                Err(reason) => {
                    stop = Some(reason);
                    true
                }
            };
            if is_over {
                last = Some(key.to_vec());
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        walk.map_err(Stop::Source)?;
        if let Some(stop) = stop {
            return Err(stop);
        }
        fresh.sync().map_err(Stop::Copy)?;
        if let Some(last) = last {
            *cursor = Bound::Excluded(last);
            return Ok(false);
        }
        match index.not_copied(*position) {
            0 => Ok(true),
            missing => Err(Stop::Source(format!("{missing} rows are gone from it"))),
        }
    }

    /// Puts the copy in the place of the generation in use; also says the combined checksum of what is in it.
    pub(super) fn finish(self) -> Result<(Made, u64), String> {
        let made = self.fresh.finish(self.sequence, self.position)?;
        let sum = made.base.sum ^ self.sum;
        Ok((made, sum))
    }
}
