//! What is live in the store: hash of the key to position and size, 16 bytes a row. So the count and the size of all
//! live rows are known at every moment without reading, and of every stored row whether it is the last of its key.
//!
//! Two keys that hash alike are taken for one. Of 1,000,000 keys two do in 1 of 3 * 10^7 starts (each has another seed).
//! At an open that costs a row of the journal, and shows by the count in the sidecar; while running it costs the one
//! stored first at the next compaction, unseen.

use std::hash::BuildHasher;

use foldhash::quality::RandomState;
use hashbrown::hash_table::{Entry as Slot, HashTable};

/// Count and size of a set of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sums {
    pub(super) rows: u64,
    /// As they are in packs.
    pub(super) bytes: u64,
}

impl Sums {
    fn add(&mut self, entry: Entry) {
        self.rows += 1;
        self.bytes += entry.size();
    }

    fn take(&mut self, entry: Entry) {
        self.rows = self.rows.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(entry.size());
    }
}

/// Positions above this can't be told: enough for 100,000 rows a second for 20 years in one generation.
pub(super) const MAX_POSITION: u64 = (1 << (64 - POSITION_SHIFT)) - 1;

/// A place is `position << 18 | is_copied << 17 | size`.
const POSITION_SHIFT: u32 = 18;
const COPIED: u64 = 1 << 17;
const SIZE: u64 = COPIED - 1;
/// Size of a removal; rows are smaller.
const REMOVED: u64 = SIZE;

/// Where a row is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    hash: u64,
    place: u64,
}

impl Entry {
    fn position(self) -> u64 {
        self.place >> POSITION_SHIFT
    }

    fn size(self) -> u64 {
        self.place & SIZE
    }

    /// Hash of its key.
    pub(super) fn hash(self) -> u64 {
        self.hash
    }
}

/// Makes entries; the hash is seeded at random, so no client can make two keys collide.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyHasher(RandomState);

impl KeyHasher {
    /// The entry of a row of `size` bytes in all; `None` of a removal.
    pub(super) fn entry(&self, key: &[u8], position: u64, size: Option<usize>) -> Entry {
        let size = size.map_or(REMOVED, |size| (size as u64).min(REMOVED - 1));
        Entry { hash: self.hash(key), place: position.min(MAX_POSITION) << POSITION_SHIFT | size }
    }

    /// Of a key or anything else.
    pub(super) fn hash(&self, bytes: &[u8]) -> u64 {
        self.0.hash_one(bytes)
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

    /// Makes entries that fit this index.
    pub(super) fn hasher(&self) -> &KeyHasher {
        &self.hasher
    }

    /// Of all rows.
    pub(super) fn sums(&self) -> Sums {
        self.sums
    }

    /// The position of the row whose key has this hash.
    pub(super) fn position(&self, hash: u64) -> Option<u64> {
        self.table.find(hash, |e| e.hash == hash).map(|entry| entry.position())
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

    /// The row whose key has this hash is gone.
    pub(super) fn remove(&mut self, hash: u64) {
        if let Ok(old) = self.table.find_entry(hash, |e| e.hash == hash) {
            let (entry, _) = old.remove();
            self.sums.take(entry);
        }
    }

    /// Notes that no row is copied.
    pub(super) fn begin_copy(&mut self) {
        self.table.iter_mut().for_each(|entry| entry.place &= !COPIED);
    }

    /// Notes that the row whose key has this hash is copied. Another one under its key is not.
    pub(super) fn copied(&mut self, hash: u64) {
        if let Some(entry) = self.table.find_mut(hash, |e| e.hash == hash) {
            entry.place |= COPIED;
        }
    }

    /// Number of rows up to `position` that are not copied.
    pub(super) fn not_copied(&self, position: u64) -> u64 {
        self.table.iter().filter(|entry| entry.position() <= position && entry.place & COPIED == 0).count() as u64
    }
}

/// The last row of every key in a journal, removals too, whatever the order in which they come.
#[derive(Debug, Default)]
pub(super) struct Latest(Index);

impl Latest {
    /// One that takes entries of this hasher.
    pub(super) fn with_hasher(hasher: KeyHasher) -> Self {
        Self(Index::with_hasher(hasher))
    }

    /// There is a row or removal in the journal.
    pub(super) fn add(&mut self, entry: Entry) {
        if self.0.position(entry.hash).is_none_or(|position| position < entry.position()) {
            self.0.put(entry);
        }
    }

    /// Whether this row of the base is live.
    pub(super) fn is_live_in_base(&self, entry: Entry) -> bool {
        self.0.position(entry.hash).is_none()
    }

    /// Whether this row of the journal, which is no removal, is live.
    pub(super) fn is_live(&self, entry: Entry) -> bool {
        self.0.position(entry.hash) == Some(entry.position())
    }
}
