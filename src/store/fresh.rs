//! A generation in the making: written beside the one in use, and named by `CURRENT` only when it is complete and on
//! disk.

use std::{fs, sync::Arc, time::Duration};

use super::{
    codec,
    folder::{Current, Folder},
    index::Sums,
    key,
    table::{OpenFault, Table, Writes},
};

/// Rows written at a time.
const BATCH_ROWS: usize = 1000;

/// A generation without a batch row, which marks it as incomplete.
#[derive(Debug)]
pub(super) struct Fresh {
    table: Arc<Table>,
    generation: u64,
    folder: Folder,
    waiting: Writes,
    waiting_rows: usize,
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
        let mut waiting = Writes::default();
        waiting.insert(&key::SCHEMA, &codec::encode_schema(codec::SCHEMA));
        Ok(Self { table: Arc::new(created), generation, folder: folder.clone(), waiting, waiting_rows: 1 })
    }

    /// Writes a row.
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), String> {
        self.waiting.insert(key, value);
        self.waiting_rows += 1;
        if self.waiting_rows >= BATCH_ROWS { self.write() } else { Ok(()) }
    }

    /// Applies changes after everything written so far.
    pub(super) fn apply(&mut self, writes: Writes) -> Result<(), String> {
        self.write()?;
        self.table.apply(writes)
    }

    fn write(&mut self) -> Result<(), String> {
        self.waiting_rows = 0;
        self.table.apply(std::mem::take(&mut self.waiting))
    }

    /// Puts what was written so far on disk, so that less is left for the end.
    pub(super) fn sync(&mut self) -> Result<(), String> {
        self.write()?;
        self.table.sync()
    }

    /// Completes the generation and makes it the one in use, durably. `sums` are those of the rows in it.
    pub(super) fn finish(mut self, sums: Sums, sequence: u64) -> Result<(Arc<Table>, u64), String> {
        match self.complete(sums, sequence) {
            Ok(()) => Ok((self.table, self.generation)),
            Err(text) => {
                self.abandon();
                Err(text)
            }
        }
    }

    fn complete(&mut self, sums: Sums, sequence: u64) -> Result<(), String> {
        let batch = codec::encode_batch(sums.batch_row(), sequence).map_err(|error| error.message().to_owned())?;
        self.waiting.insert(&key::BATCH, &batch);
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
