//! Heals a failed store: anew, or in place where there is no room for that.
//!
//! A fresh generation takes about four times the size of the live rows. When a full disk has not that much to give, the
//! generation that failed is opened again and put in order instead. That needs next to nothing, and is sound only while
//! no sync has failed: then all that sled wrote is on disk, and it recovers whole batches.

use std::{
    mem,
    ops::{Bound, ControlFlow},
    sync::Arc,
    time::Duration,
};

use super::{Disk, text};
use crate::{
    error::Result,
    model::Row,
    store::{
        codec::{self, Encoded},
        fresh::Fresh,
        index::Index,
        key::{self, Names},
        options::Options,
        scan::{Chunk, Findings, Want, scan},
        table::{OpenFault, Table, Writes, is_no_space},
    },
};

/// Rows changed at a time.
const BATCH_ROWS: usize = 1000;

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
        let sequence = self.sequence.max(self.record.sequence) + 1;
        let index = match fill(&mut fresh, rows, sequence) {
            Ok(index) => index,
            Err(reason) => {
                fresh.abandon();
                return Err(reason);
            }
        };
        let (table, generation) = fresh.finish(index.sums(), sequence)?;
        self.swap(table, generation);
        self.go_on(index, sequence);
        Ok(())
    }

    fn put_in_order(&mut self, rows: &mut dyn Iterator<Item = Row>, options: &Options) -> Result<(), String> {
        let table = self.reopen(options)?;
        let (stored, last) = survey(&table, self.record.sequence, options)?;
        let sequence = last.max(self.sequence).max(self.record.sequence) + 1;
        let live = Index::with_hasher(stored.hasher().clone());
        let mut order = Order { table: &table, stored, live, sequence, writes: Writes::default(), waiting: 0 };
        for row in rows {
            order.keep(&row)?;
        }
        order.remove_others()?;
        // Also when nothing has changed: it shows that writes work again.
        order.write()?;
        let index = order.live;
        table.flush()?;
        self.sync_file(&table)?;
        self.go_on(index, sequence);
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

    fn go_on(&mut self, index: Index, sequence: u64) {
        self.index = index;
        self.sequence = sequence;
        self.waiting = Writes::default();
        self.waiting_rows = 0;
        self.sync_failed = false;
        self.mark_durable();
    }
}

fn fill(fresh: &mut Fresh, rows: &mut dyn Iterator<Item = Row>, sequence: u64) -> Result<Index, String> {
    let mut index = Index::default();
    for row in rows {
        let Encoded { key, value, crc } = codec::encode(&row, sequence).map_err(text)?;
        let Some(value) = value else { continue };
        fresh.put(&key, &value)?;
        let entry = index.hasher().entry(&key, crc, key.len() + value.len());
        index.put(entry);
    }
    Ok(index)
}

/// What is in `table`, which must be sound and hold everything up to batch `durable`; and its last batch.
fn survey(table: &Arc<Table>, durable: u64, options: &Options) -> Result<(Index, u64), String> {
    let batch = table.get(&key::BATCH)?.and_then(|value| codec::decode_batch(&value).ok());
    let (batch, sequence) = batch.ok_or("the batch row is missing or damaged")?;
    let mut index = Index::default();
    let hasher = index.hasher().clone();
    let limit = Duration::from_millis(options.open_timeout_ms);
    let mut take = |chunk: Chunk| {
        chunk.entries.into_iter().for_each(|entry| index.put(entry));
        Ok(())
    };
    let findings = scan(table, &hasher, Want::Rows, batch.rows, limit, &mut take).map_err(text)?;
    if findings != Findings::default() || index.sums().batch_row() != batch || sequence < durable {
        return Err("the generation that failed is not sound".to_owned());
    }
    Ok((index, sequence))
}

/// Makes a table hold just the rows that are kept. What is there stays, so an interruption leaves a sound table.
struct Order<'a> {
    table: &'a Table,
    /// What is in the table, or waits to be.
    stored: Index,
    /// What is kept.
    live: Index,
    sequence: u64,
    writes: Writes,
    waiting: usize,
}

impl Order<'_> {
    fn keep(&mut self, row: &Row) -> Result<(), String> {
        let Encoded { key, value, crc } = codec::encode(row, self.sequence).map_err(text)?;
        let Some(value) = value else { return Ok(()) };
        let found = self.table.get(&key)?;
        let same = found.as_ref().and_then(|found| codec::decode(&key, found, &mut Names::default()).ok());
        let crc = match same.filter(|same| same.row == *row) {
            Some(same) => same.crc,
            None => {
                self.writes.insert(&key, &value);
                self.waiting += 1;
                crc
            }
        };
        // Equal rows are of equal size.
        let entry = self.live.hasher().entry(&key, crc, key.len() + value.len());
        self.live.put(entry);
        self.stored.put(entry);
        if self.waiting >= BATCH_ROWS { self.write() } else { Ok(()) }
    }

    fn remove_others(&mut self) -> Result<(), String> {
        let mut others = Vec::new();
        self.table.visit(Bound::Included(&key::FIRST), Bound::Unbounded, |key, _| {
            if !self.live.contains(key) {
                others.push(key.to_vec());
            }
            ControlFlow::Continue(())
        })?;
        for key in others {
            self.writes.remove(&key);
            self.stored.remove(&key);
            self.waiting += 1;
            if self.waiting >= BATCH_ROWS {
                self.write()?;
            }
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), String> {
        let mut writes = mem::take(&mut self.writes);
        self.waiting = 0;
        let batch = codec::encode_batch(self.stored.sums().batch_row(), self.sequence).map_err(text)?;
        writes.insert(&key::BATCH, &batch);
        self.table.apply(writes)
    }
}
