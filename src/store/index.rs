//! What is live in the store: hash of the key to checksum and size, 16 bytes a row, so that the count, the combined
//! checksum and the size of all live rows are known at every moment without reading.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::hash_table::{Entry as Slot, HashTable};

use super::codec::BatchRow;

/// Count, combined checksum and size of a set of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sums {
    pub(super) rows: u64,
    /// Xor of [`mixed`] checksums.
    pub(super) sum: u64,
    /// Of keys and values.
    pub(super) bytes: u64,
}

impl Sums {
    /// The part that is stored.
    pub(super) fn batch_row(self) -> BatchRow {
        BatchRow { rows: self.rows, sum: self.sum }
    }

    fn add(&mut self, entry: Entry) {
        self.rows += 1;
        self.sum ^= mixed(entry.crc);
        self.bytes += u64::from(entry.size);
    }

    fn take(&mut self, entry: Entry) {
        self.rows = self.rows.saturating_sub(1);
        self.sum ^= mixed(entry.crc);
        self.bytes = self.bytes.saturating_sub(u64::from(entry.size));
    }
}

/// A bijection without structure. The crc alone would not do: it is linear, so two rows that both fall back by the same
/// change of bytes (say, their sequence) would cancel out in an xor.
fn mixed(crc: u32) -> u64 {
    let mut x = u64::from(crc).wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// One live row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    hash: u64,
    crc: u32,
    size: u32,
}

/// Makes entries; the hash is seeded at random, so no client can make two keys collide.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyHasher(RandomState);

impl KeyHasher {
    /// The entry of a row of `size` bytes in all.
    pub(super) fn entry(&self, key: &[u8], crc: u32, size: usize) -> Entry {
        Entry { hash: self.0.hash_one(key), crc, size: u32::try_from(size).unwrap_or(u32::MAX) }
    }
}

/// All live rows.
#[derive(Debug, Default)]
pub(super) struct Index {
    hasher: KeyHasher,
    table: HashTable<Entry>,
    sums: Sums,
}

impl Index {
    /// An empty index that can take entries of another.
    pub(super) fn with_hasher(hasher: KeyHasher) -> Self {
        Self { hasher, ..Self::default() }
    }

    /// Whether the row under `key` is live.
    pub(super) fn contains(&self, key: &[u8]) -> bool {
        let hash = self.hasher.0.hash_one(key);
        self.table.find(hash, |e| e.hash == hash).is_some()
    }

    /// Makes entries that fit this index.
    pub(super) fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }

    /// Of all rows.
    pub(super) fn sums(&self) -> Sums {
        self.sums
    }

    /// The row is live, as `entry` says.
    pub(super) fn put(&mut self, entry: Entry) {
        match self.table.entry(entry.hash, |e| e.hash == entry.hash, |e| e.hash) {
            Slot::Occupied(mut old) => {
                self.sums.take(*old.get());
                *old.get_mut() = entry;
            }
            Slot::Vacant(free) => {
                free.insert(entry);
            }
        }
        self.sums.add(entry);
    }

    /// The row under `key` is gone.
    pub(super) fn remove(&mut self, key: &[u8]) {
        let hash = self.hasher.0.hash_one(key);
        if let Ok(old) = self.table.find_entry(hash, |e| e.hash == hash) {
            let (entry, _) = old.remove();
            self.sums.take(entry);
        }
    }
}
