//! Heals a failed store: anew, or in place where there is no room for that.
//!
//! A fresh generation takes about twice the size of the live rows. When a full disk has not that much to give, the
//! generation that failed is opened again and put in order instead. That needs next to nothing, and is sound only while
//! no sync has failed: then all that sled wrote is on disk, and it recovers whole batches.

use std::{mem, sync::Arc, time::Duration};

use hashbrown::HashMap;

use super::Disk;
use crate::{
    error::Error,
    model::Row,
    store::{
        codec::{self, Base},
        folder::Current,
        fresh::Fresh,
        index::{Index, KeyHasher, Latest},
        key,
        options::Options,
        pack::{self, Frame, Frames},
        recover::Head,
        scan::{Chunk, Want, latest, scan},
        table::{OpenFault, Table, Writes, is_no_space},
    },
};

/// Rows changed at a time.
const BATCH_ROWS: u64 = 1000;

impl Disk {
    /// Makes `rows` what is stored. After a try that found no room the next one is made in place, and so on in turn.
    pub(in crate::store) fn rebuild(
        &mut self,
        rows: &mut dyn Iterator<Item = Row>,
        options: &Options,
    ) -> Result<(), String> {
        self.stop_compaction("the store is rebuilt");
        if mem::take(&mut self.is_in_place_next) && !self.sync_failed {
            return self.put_in_order(rows, options);
        }
        let result = self.write_anew(rows, options);
        self.is_in_place_next = result.as_ref().is_err_and(|reason| is_no_space(reason));
        result
    }

    fn write_anew(&mut self, rows: &mut dyn Iterator<Item = Row>, options: &Options) -> Result<(), String> {
        let limit = Duration::from_millis(options.open_timeout_ms);
        let mut fresh = Fresh::begin(&self.folder, options.cache_bytes, limit).map_err(OpenFault::into_text)?;
        let sequence = self.head.sequence.max(self.record.sequence) + 1;
        let index = match fill(&mut fresh, rows) {
            Ok(index) => index,
            Err(reason) => {
                fresh.abandon();
                return Err(reason);
            }
        };
        let made = fresh.finish(sequence, 0)?;
        let sum = made.base.sum;
        self.swap(made);
        self.go_on(index, Head { sequence, position: 0, base_position: 0, sum });
        Ok(())
    }

    fn put_in_order(&mut self, rows: &mut dyn Iterator<Item = Row>, options: &Options) -> Result<(), String> {
        let table = self.reopen(options)?;
        let Survey { stored, contents, latest, mut head } = survey(&table, self.record.sequence, options)?;
        head.sequence = head.sequence.max(self.head.sequence).max(self.record.sequence);
        let live = Index::with_hasher(stored.hasher().clone());
        let waiting = Frames::default();
        let mut order = Order { table: &table, stored, contents, live, head, waiting };
        for row in rows {
            order.keep(&row)?;
        }
        order.remove_others(latest, options)?;
        // Also when nothing has changed: it shows that writes work again.
        order.write()?;
        let (index, head) = (order.live, order.head);
        table.flush()?;
        self.sync_file(&table)?;
        // A copy may have been named just before it failed.
        if self.folder.current() != Current::Names(self.generation) {
            self.folder.set_current(self.generation).map_err(|error| format!("CURRENT can't be written: {error}"))?;
        }
        self.go_on(index, head);
        Ok(())
    }

    fn reopen(&mut self, options: &Options) -> Result<Arc<Table>, String> {
        if let Some(table) = self.table.clone() {
            // On the handle of old: it would tell of any write that was lost since the last sync.
            self.sync_file(&table)?;
        }
        self.table = None;
        let limit = Duration::from_millis(options.open_timeout_ms);
        let table = Table::open(&self.folder.generation(self.generation), options.cache_bytes, limit)
            .map_err(OpenFault::into_text)?;
        let table = Arc::new(table);
        self.table = Some(table.clone());
        Ok(table)
    }

    fn go_on(&mut self, index: Index, head: Head) {
        self.index = index;
        self.head = head;
        self.waiting.clear();
        self.sync_failed = false;
        self.mark_durable();
    }
}

fn fill(fresh: &mut Fresh, rows: &mut dyn Iterator<Item = Row>) -> Result<Index, String> {
    let mut index = Index::default();
    let mut frames = Frames::default();
    for row in rows {
        frames.clear();
        frames.push(&row).map_err(text)?;
        for frame in frames.iter().filter(|frame| frame.payload.is_some()) {
            fresh.put(frame)?;
            let entry = index.hasher().entry(frame.key, 0, Some(frame.size()));
            index.put(entry);
        }
    }
    Ok(index)
}

fn text(error: Error) -> String {
    error.message().to_owned()
}

/// What is in a table.
struct Survey {
    stored: Index,
    /// Of all live rows: hash of the key to hash of the payload.
    contents: HashMap<u64, u64>,
    latest: Arc<Latest>,
    head: Head,
}

/// What is in `table`, which must be sound and hold everything up to batch `durable`.
fn survey(table: &Arc<Table>, durable: u64, options: &Options) -> Result<Survey, String> {
    let base = table.get(&key::BASE)?.and_then(|value| codec::decode_base(&value).ok());
    let (base, sequence) = base.ok_or("the base row is missing or damaged")?;
    let hasher = KeyHasher::default();
    let limit = Duration::from_millis(options.open_timeout_ms);
    let (latest, places) = latest(table, &hasher, limit).map_err(text)?;
    let mut stored = Index::with_hasher(hasher.clone());
    let mut contents = HashMap::new();
    let mut take = |chunk: Chunk| {
        for (entry, frame) in chunk.entries.into_iter().zip(chunk.copies.iter()) {
            contents.insert(entry.hash(), content(&hasher, frame));
            stored.put(entry);
        }
        Ok(())
    };
    let found = scan(table, &hasher, &Want::Copies(latest.clone()), limit, &mut take).map_err(text)?;
    let head = Head::new(base, sequence, found.journal);
    let Base { rows, sum, .. } = base;
    let is_whole = (rows, sum) == (found.base.rows, found.base.sum) && head.missing(found.journal) == 0;
    if !found.is_sound() || !places.is_sound() || !is_whole || head.sequence < durable {
        return Err("the generation that failed is not sound".to_owned());
    }
    Ok(Survey { stored, contents, latest, head })
}

fn content(hasher: &KeyHasher, frame: Frame<'_>) -> u64 {
    hasher.hash(frame.payload.unwrap_or_default())
}

/// Makes a table hold just the rows that are kept. What is there stays, so an interruption leaves a sound table.
struct Order<'a> {
    table: &'a Arc<Table>,
    /// What is in the table, or waits to be.
    stored: Index,
    contents: HashMap<u64, u64>,
    /// What is kept.
    live: Index,
    head: Head,
    waiting: Frames,
}

impl Order<'_> {
    fn keep(&mut self, row: &Row) -> Result<(), String> {
        let mut frames = Frames::default();
        frames.push(row).map_err(text)?;
        for frame in frames.iter().filter(|frame| frame.payload.is_some()) {
            let hasher = self.stored.hasher();
            let hash = hasher.hash(frame.key);
            let same = self.contents.get(&hash) == Some(&content(hasher, frame));
            let position = match self.stored.position(hash).filter(|_| same) {
                Some(position) => position,
                None => {
                    self.waiting.copy(frame);
                    self.head.position += 1;
                    self.head.position
                }
            };
            let entry = hasher.entry(frame.key, position, Some(frame.size()));
            self.live.put(entry);
            self.stored.put(entry);
        }
        self.write_if_many()
    }

    /// `latest` is of the journal as it was before.
    fn remove_others(&mut self, latest: Arc<Latest>, options: &Options) -> Result<(), String> {
        let (table, hasher) = (self.table.clone(), self.stored.hasher().clone());
        let limit = Duration::from_millis(options.open_timeout_ms);
        let found = scan(&table, &hasher, &Want::Copies(latest), limit, &mut |chunk| {
            for (entry, frame) in chunk.entries.into_iter().zip(chunk.copies.iter()) {
                if self.live.position(entry.hash()).is_none() {
                    self.waiting.copy(Frame { payload: None, ..frame });
                    self.head.position += 1;
                    self.stored.remove(entry.hash());
                }
            }
            self.write_if_many().map_err(Error::Storage)
        });
        let found = found.map_err(text)?;
        if !found.is_sound() || self.stored.sums() != self.live.sums() {
            return Err("the generation that failed can't be read to its end".to_owned());
        }
        Ok(())
    }

    fn write_if_many(&mut self) -> Result<(), String> {
        if self.waiting.rows() >= BATCH_ROWS { self.write() } else { Ok(()) }
    }

    fn write(&mut self) -> Result<(), String> {
        self.head.sequence += 1;
        let first = self.head.position + 1 - self.waiting.rows();
        let mut writes = Writes::default();
        for pack in pack::journal(&self.waiting, self.head.sequence, first) {
            writes.insert(&pack.key, &pack.value);
            self.head.sum ^= codec::mixed(pack.crc);
        }
        self.waiting.clear();
        self.table.apply(writes)
    }
}
