//! The sidecar: what the store is known to hold durably, kept outside of it. sled can lose rows of a damaged file
//! without a word; an open that finds less than the sidecar says has found damage.
//!
//! A file of two slots of 64 bytes, 512 apart, written in turn, so a torn write costs the newer state at most:
//! `"NACRESC1" | count | generation | sequence | rows | sum | last alive ms | crc32 of all before | 0`, integers
//! big-endian. The slot with the higher count holds.
//!
//! It is written after the batch it tells of is durable and without waiting for the disk: exact after a killed process,
//! never ahead of a synced store, and behind by at most a second (plus what the system delays) after power loss. Batches
//! that are stored without a sync (`append_later`) it tells of only with the next one that is synced: they may be lost.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::Path,
};

use super::folder::sync_dir;

const MAGIC: &[u8; 8] = b"NACRESC1";
const SLOT_BYTES: usize = 64;
const SLOT_DISTANCE: u64 = 512;
const CRC_AT: usize = 56;

/// What the sidecar tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Record {
    /// The generation in use.
    pub(super) generation: u64,
    /// Sequence of the last durable batch.
    pub(super) sequence: u64,
    /// Live rows after it.
    pub(super) rows: u64,
    /// Their combined checksums.
    pub(super) sum: u64,
    /// When the store was last in use, Unix time in milliseconds.
    pub(super) last_alive_ms: u64,
}

/// What reading the sidecar gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Missing,
    Unreadable,
    Record(Record),
}

/// An open sidecar.
#[derive(Debug)]
pub(super) struct Sidecar {
    file: File,
    count: u64,
}

impl Sidecar {
    /// What the sidecar at `path` tells.
    pub(super) fn read(path: &Path) -> Found {
        match File::open(path) {
            Ok(file) => newest(&file).map_or(Found::Unreadable, |(_, record)| Found::Record(record)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Found::Missing,
            Err(_) => Found::Unreadable,
        }
    }

    /// Opens the sidecar at `path` for writing and writes `record` durably, into both slots of a new one.
    pub(super) fn open(path: &Path, record: &Record) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let newest = newest(&file);
        let mut sidecar = Self { file, count: newest.map_or(0, |(count, _)| count) };
        sidecar.write(record)?;
        if newest.is_none() {
            sidecar.write(record)?;
        }
        sidecar.file.sync_all()?;
        if let Some(dir) = path.parent() {
            sync_dir(dir)?;
        }
        Ok(sidecar)
    }

    /// Hands `record` to the operating system.
    pub(super) fn write(&mut self, record: &Record) -> io::Result<()> {
        self.count += 1;
        self.file.write_all_at(&encode(self.count, record), (self.count % 2) * SLOT_DISTANCE)
    }

    /// Waits until all that was written is on disk.
    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn newest(file: &File) -> Option<(u64, Record)> {
    [0, SLOT_DISTANCE]
        .into_iter()
        .filter_map(|at| {
            let mut slot = [0; SLOT_BYTES];
            file.read_exact_at(&mut slot, at).ok()?;
            decode(&slot)
        })
        .max_by_key(|(count, _)| *count)
}

fn encode(count: u64, record: &Record) -> Vec<u8> {
    let mut slot = Vec::with_capacity(SLOT_BYTES);
    slot.extend_from_slice(MAGIC);
    for number in [count, record.generation, record.sequence, record.rows, record.sum, record.last_alive_ms] {
        slot.extend(number.to_be_bytes());
    }
    slot.extend(crc32fast::hash(&slot).to_be_bytes());
    slot.resize(SLOT_BYTES, 0);
    slot
}

fn decode(slot: &[u8; SLOT_BYTES]) -> Option<(u64, Record)> {
    let (body, tail) = slot.split_at_checked(CRC_AT)?;
    let (crc, _) = tail.split_first_chunk::<4>()?;
    if crc32fast::hash(body) != u32::from_be_bytes(*crc) {
        return None;
    }
    let mut numbers = body.strip_prefix(MAGIC)?.as_chunks::<8>().0.iter().map(|chunk| u64::from_be_bytes(*chunk));
    let count = numbers.next()?;
    let record = Record {
        generation: numbers.next()?,
        sequence: numbers.next()?,
        rows: numbers.next()?,
        sum: numbers.next()?,
        last_alive_ms: numbers.next()?,
    };
    Some((count, record))
}
