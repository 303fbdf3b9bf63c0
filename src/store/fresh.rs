//! A generation in the making: written beside the one in use, and named by `CURRENT` only when it is complete and on
//! disk.

use std::{fs, sync::Arc, time::Duration};

use super::{
    codec::{self, Base},
    folder::{Current, Folder},
    key,
    pack::{self, Frame, Frames},
    table::{OpenFault, Table, Writes},
};

/// Bytes of rows written at a time.
const BATCH_BYTES: usize = 64 * 1024;

/// A generation without a base row, which marks it as incomplete.
#[derive(Debug)]
pub(super) struct Fresh {
    table: Arc<Table>,
    generation: u64,
    folder: Folder,
    waiting: Frames,
    base: Base,
    /// Of base packs.
    number: u64,
}

/// A generation that was completed and is in use.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) table: Arc<Table>,
    pub(super) generation: u64,
    pub(super) base: Base,
}

impl Fresh {
    /// A new generation with nothing but the schema row.
    pub(super) fn begin(folder: &Folder, cache_bytes: u64, limit: Duration) -> Result<Self, OpenFault> {
        let generation =
            folder.next_generation().map_err(|error| OpenFault::Surroundings(error.message().to_owned()))?;
        let created = Table::create(&folder.generation(generation), cache_bytes, limit).inspect_err(|_| {
            // Whatever is there is ours and empty.
            let _ = fs::remove_dir_all(folder.generation(generation));
        })?;
        let mut writes = Writes::default();
        writes.insert(&key::SCHEMA, &codec::encode_schema(codec::SCHEMA));
        created.apply(writes).map_err(OpenFault::Surroundings)?;
        Ok(Self {
            table: Arc::new(created),
            generation,
            folder: folder.clone(),
            waiting: Frames::default(),
            base: Base::default(),
            number: 0,
        })
    }

    /// Writes a row of the base; no key may come twice.
    pub(super) fn put(&mut self, frame: Frame<'_>) -> Result<(), String> {
        self.waiting.copy(frame);
        if self.waiting.size() >= BATCH_BYTES { self.write() } else { Ok(()) }
    }

    /// Writes to its journal.
    pub(super) fn apply(&self, writes: Writes) -> Result<(), String> {
        self.table.apply(writes)
    }

    fn write(&mut self) -> Result<(), String> {
        if self.waiting.rows() == 0 {
            return Ok(());
        }
        let mut writes = Writes::default();
        for pack in pack::base(&self.waiting, self.number) {
            writes.insert(&pack.key, &pack.value);
            self.base.add(0, pack.crc);
        }
        self.base.rows += self.waiting.rows();
        self.number += 1;
        self.waiting.clear();
        self.table.apply(writes)
    }

    /// Puts what was written so far on disk, so that less is left for the end.
    pub(super) fn sync(&mut self) -> Result<(), String> {
        self.write()?;
        self.table.sync()
    }

    /// Completes the generation and makes it the one in use, durably. Its base is what is stored up to this batch and
    /// this position.
    pub(super) fn finish(mut self, sequence: u64, position: u64) -> Result<Made, String> {
        match self.complete(sequence, position) {
            Ok(()) => Ok(Made { table: self.table, generation: self.generation, base: self.base }),
            Err(text) => {
                self.abandon();
                Err(text)
            }
        }
    }

    fn complete(&mut self, sequence: u64, position: u64) -> Result<(), String> {
        self.write()?;
        self.base.position = position;
        let base = codec::encode_base(self.base, sequence).map_err(|error| error.message().to_owned())?;
        let mut writes = Writes::default();
        writes.insert(&key::BASE, &base);
        self.table.apply(writes)?;
        self.sync()?;
        self.folder.set_current(self.generation).map_err(|error| format!("CURRENT can't be written: {error}"))
    }

    /// Gives it up and removes it, unless `CURRENT` names it all the same (its last sync may have failed).
    pub(super) fn abandon(self) {
        let Self { table, generation, folder, .. } = self;
        drop(table);
        if folder.current() == Current::Names(generation) {
            return;
        }
        if let Err(error) = fs::remove_dir_all(folder.generation(generation)) {
            tracing::warn!("{} was given up and can't be removed: {error}", Folder::name(generation));
        }
    }

    #[cfg(test)]
    pub(super) fn table(&self) -> &Table {
        &self.table
    }
}
