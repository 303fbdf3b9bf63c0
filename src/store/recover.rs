//! Opens the store as the last process left it, whatever that was.
//!
//! | found | outcome |
//! |---|---|
//! | nothing | a new store |
//! | everything adds up | it is used |
//! | an older schema | its rows are rewritten to a fresh generation, the old one is removed |
//! | a newer schema, kind or row version | refused by name, nothing is touched |
//! | it opens, but rows are damaged or missing | sound rows go to a fresh generation, the damaged one is kept aside |
//! | it does not open, or not in time | a fresh generation without rows, the damaged one is kept aside |
//! | `CURRENT` is missing or wrong | the generation the sidecar names, or the newest complete one; others are kept |
//! | the sidecar is missing or torn | used if sound in itself; reported, as loss of the end can't be told |
//! | no space, no rights, a read-only disk | refused with the reason, nothing is touched |
//!
//! Everything but the first three is reported as damage. When a fresh generation can't be written, the store opens as
//! failed: its rows are handed out, and the caller rebuilds it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    codec::{self, BatchRow},
    folder::{Current, Folder},
    fresh::Fresh,
    guard::limited,
    index::{Index, Sums},
    key,
    lock::Lock,
    options::Options,
    report::{Phase, Progress, RestoreReport},
    scan::{Findings, Place, Want, scan},
    sidecar::{Found, Record, Sidecar},
    table::{OpenFault, Table},
};
use crate::{
    error::{Error, Result},
    model::Row,
};

/// What an open ends with.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) folder: Folder,
    pub(super) lock: Lock,
    /// `None` when the store has to be rebuilt.
    pub(super) table: Option<Arc<Table>>,
    pub(super) generation: u64,
    pub(super) index: Index,
    pub(super) sequence: u64,
    pub(super) failure: Option<String>,
    pub(super) details: Details,
}

/// What an open found beyond its report.
#[derive(Debug, Default)]
pub(super) struct Details {
    /// The schema that the generation in use had.
    pub(super) schema: Option<u8>,
    /// The last batch of that generation.
    pub(super) sequence: Option<u64>,
    /// One after the other what the report says in one text.
    pub(super) damage: Vec<String>,
    pub(super) places: Vec<Place>,
}

/// Who gets rows and progress.
pub(super) struct Receiver<'a> {
    pub(super) rows: &'a mut dyn FnMut(Vec<Row>),
    pub(super) progress: &'a (dyn Fn(Progress) + Sync),
}

/// A generation that opened.
struct Loaded {
    generation: u64,
    table: Arc<Table>,
    schema: Option<u8>,
    batch: Option<(BatchRow, u64)>,
}

/// What is in use at the end.
struct Outcome {
    table: Option<Arc<Table>>,
    generation: u64,
    index: Index,
    sequence: u64,
    failure: Option<String>,
}

/// Opens what is in the data folder.
pub(super) fn recover(
    options: &Options,
    wall_now_ms: u64,
    mut receiver: Receiver<'_>,
) -> Result<(Recovered, RestoreReport)> {
    let started = Instant::now();
    let folder = Folder::create(&options.dir)?;
    let lock = Lock::take(folder.path())?;
    let sidecar = Sidecar::read(&folder.sidecar());
    (receiver.progress)(Progress { phase: Phase::Opening, rows: 0, bytes: 0, expected_rows: None });
    let mut recovery = Recovery {
        limit: Duration::from_millis(options.open_timeout_ms),
        options,
        wall_now_ms,
        sidecar,
        folder: folder.clone(),
        damage: Vec::new(),
        aside: Vec::new(),
        report: RestoreReport::default(),
        details: Details::default(),
    };
    let outcome = match recovery.find()? {
        Some(loaded) => recovery.restore(loaded, &mut receiver)?,
        None => recovery.start_empty()?,
    };
    let (report, details) = recovery.conclude(&outcome, started);
    let Outcome { table, generation, index, sequence, failure } = outcome;
    Ok((Recovered { folder, lock, table, generation, index, sequence, failure, details }, report))
}

struct Recovery<'a> {
    options: &'a Options,
    limit: Duration,
    wall_now_ms: u64,
    sidecar: Found,
    folder: Folder,
    damage: Vec<String>,
    /// Generations to be moved aside once a good one is in use.
    aside: Vec<u64>,
    report: RestoreReport,
    details: Details,
}

impl Recovery<'_> {
    /// Chooses and opens a generation; `None` when there is none.
    fn find(&mut self) -> Result<Option<Loaded>> {
        let generations = self.folder.generations()?;
        let current = self.folder.current();
        if let Current::Names(generation) = current
            && generations.contains(&generation)
        {
            return self.load(generation);
        }
        if generations.is_empty() && current == Current::Missing && self.sidecar == Found::Missing {
            self.report.created = true;
            return Ok(None);
        }
        self.damage.push(match current {
            _ if generations.is_empty() => "the store is gone, only traces of it are left".to_owned(),
            Current::Missing => "CURRENT is missing".to_owned(),
            Current::Unreadable => "CURRENT is unreadable".to_owned(),
            Current::Names(generation) => format!("{} is missing", Folder::name(generation)),
        });
        let named = match self.sidecar {
            Found::Record(record) => generations.contains(&record.generation).then_some(record.generation),
            Found::Missing | Found::Unreadable => None,
        };
        let mut chosen: Option<Loaded> = None;
        for generation in named.into_iter().chain(generations.iter().rev().copied().filter(|g| Some(*g) != named)) {
            if chosen.as_ref().is_some_and(|loaded| loaded.batch.is_some()) {
                self.aside.push(generation);
                continue;
            }
            let Some(loaded) = self.load(generation)? else { continue };
            match &chosen {
                Some(_) if loaded.batch.is_none() => self.aside.push(generation),
                _ => self.aside.extend(chosen.replace(loaded).map(|before| before.generation)),
            }
        }
        Ok(chosen)
    }

    /// Opens a generation; `None` when it is damaged, which is noted.
    fn load(&mut self, generation: u64) -> Result<Option<Loaded>> {
        let name = Folder::name(generation);
        let opened = Table::open(&self.folder.generation(generation), self.options.cache_bytes, self.limit);
        let table = match opened {
            Ok(table) => Arc::new(table),
            Err(OpenFault::Surroundings(text)) => {
                return Err(Error::Setup(format!("{name} can't be opened now (its data is untouched): {text}")));
            }
            Err(OpenFault::Damaged(text)) => {
                self.damage.push(format!("{name} can't be opened: {text}"));
                self.aside.push(generation);
                return Ok(None);
            }
        };
        let reader = table.clone();
        let heads = limited(self.limit, move || (reader.get(&key::SCHEMA), reader.get(&key::BATCH)));
        let (schema, batch) = match heads {
            Ok((schema, batch)) => (schema.ok().flatten(), batch.ok().flatten()),
            Err(_) => (None, None),
        };
        let schema = schema.and_then(|value| codec::decode_schema(&value).ok());
        if let Some(newer) = schema.filter(|schema| *schema > codec::SCHEMA) {
            return Err(Error::Setup(format!(
                "{name} has schema {newer}, and this version reads up to {}: it needs a later version of nacre",
                codec::SCHEMA
            )));
        }
        let batch = batch.and_then(|value| codec::decode_batch(&value).ok());
        Ok(Some(Loaded { generation, table, schema, batch }))
    }

    fn restore(&mut self, loaded: Loaded, receiver: &mut Receiver<'_>) -> Result<Outcome> {
        let mut index = Index::default();
        let hasher = index.hasher().clone();
        let expected_rows = loaded.batch.map(|(batch, _)| batch.rows);
        (receiver.progress)(Progress { phase: Phase::Verifying, rows: 0, bytes: 0, expected_rows });
        let mut subscriptions = 0;
        let findings =
            scan(&loaded.table, &hasher, Want::Rows, expected_rows.unwrap_or(u64::MAX), self.limit, &mut |chunk| {
                chunk.entries.into_iter().for_each(|entry| index.put(entry));
                let Sums { rows, bytes, .. } = index.sums();
                subscriptions += chunk.rows.iter().filter(|row| matches!(row, Row::Subscription(..))).count() as u64;
                (receiver.rows)(chunk.rows);
                (receiver.progress)(Progress { phase: Phase::Verifying, rows, bytes, expected_rows });
                Ok(())
            })?;
        if let Some(newer) = findings.newer {
            return Err(Error::Setup(format!(
                "{} holds {newer}, which this version does not know: it needs a later version of nacre",
                Folder::name(loaded.generation)
            )));
        }
        self.report.subscriptions = subscriptions;
        self.report.skipped_rows = findings.damaged_rows;
        let faults = self.judge(&loaded, index.sums(), &findings);
        let sequence = loaded.batch.map(|(_, sequence)| sequence);
        self.details = Details { schema: loaded.schema, sequence, damage: Vec::new(), places: findings.places };
        if !faults.is_empty() || loaded.schema != Some(codec::SCHEMA) {
            if !faults.is_empty() {
                self.aside.push(loaded.generation);
                self.damage.extend(faults);
            }
            return Ok(self.rewrite(loaded, index, findings.timed_out, receiver));
        }
        let sequence = loaded.batch.map_or(0, |(_, sequence)| sequence);
        self.settle_current(loaded.generation, index.sums().rows, sequence)?;
        let generation = loaded.generation;
        Ok(Outcome { table: Some(loaded.table), generation, index, sequence, failure: None })
    }

    /// A sound generation was chosen: `CURRENT` has to name it.
    fn settle_current(&mut self, generation: u64, rows: u64, sequence: u64) -> Result<()> {
        if self.folder.current() == Current::Names(generation) {
            return Ok(());
        }
        self.mark();
        if self.sidecar == Found::Missing && rows == 0 && sequence == 0 && self.aside.is_empty() {
            // The first start was cut short before anything could be stored: nothing is lost.
            self.damage.clear();
            self.report.created = true;
        }
        self.folder
            .set_current(generation)
            .map_err(|error| Error::Setup(format!("the data folder can't be written: {error}")))
    }

    /// What is wrong with a generation that opened and was read.
    fn judge(&mut self, loaded: &Loaded, found: Sums, findings: &Findings) -> Vec<String> {
        let mut faults = Vec::new();
        if loaded.schema.is_none() {
            faults.push("the schema row is missing or damaged".to_owned());
        }
        if findings.damaged_rows > 0 {
            faults.push(format!("{} rows do not verify", findings.damaged_rows));
        }
        if let Some(text) = &findings.failure {
            faults.push(format!("{} reads failed, one of them because {text}", findings.failed_reads));
        }
        if findings.timed_out {
            faults.push(format!("it could not be read within {:?}", self.limit));
        }
        let Some((batch, sequence)) = loaded.batch else {
            faults.push(format!("the batch row is missing or damaged; {} rows were found", found.rows));
            return faults;
        };
        if batch != found.batch_row() {
            faults.push(format!("it should hold {} rows, {} were found, or not the same", batch.rows, found.rows));
        }
        match self.sidecar {
            Found::Record(side) if sequence < side.sequence => faults.push(format!(
                "it ends at batch {sequence} with {} rows, but batch {} with {} rows was stored",
                batch.rows, side.sequence, side.rows
            )),
            Found::Record(side) if sequence == side.sequence && (side.rows, side.sum) != (batch.rows, batch.sum) => {
                faults.push(format!("batch {sequence} holds {} rows, but {} were stored", batch.rows, side.rows));
            }
            Found::Record(_) => {}
            // Not a fault of the generation: it need not be replaced.
            Found::Missing if sequence == 0 => {}
            Found::Missing => self.damage.push("the sidecar is missing: loss of the last batches can't be told".into()),
            Found::Unreadable => {
                self.damage.push("the sidecar is unreadable: loss of the last batches can't be told".into());
            }
        }
        faults
    }

    /// A sequence above all that were ever used.
    fn next_sequence(&self, loaded: Option<u64>) -> u64 {
        let side = match self.sidecar {
            Found::Record(side) => side.sequence,
            Found::Missing | Found::Unreadable => 0,
        };
        loaded.unwrap_or(0).max(side) + 1
    }

    /// Puts the sound rows of `loaded` into a fresh generation. Never fails: at worst the store has to be rebuilt.
    fn rewrite(&mut self, loaded: Loaded, index: Index, hangs: bool, receiver: &mut Receiver<'_>) -> Outcome {
        let sequence = self.next_sequence(loaded.batch.map(|(_, sequence)| sequence));
        let rows = index.sums().rows;
        match self.copy(&loaded, rows, sequence, hangs, receiver) {
            Ok((table, generation, copied)) => {
                if !self.aside.contains(&loaded.generation) {
                    tracing::info!("{rows} rows of schema {:?} are rewritten", loaded.schema);
                }
                let found = copied.sums().rows;
                let failure = (found != rows).then(|| format!("{found} of {rows} rows read could be written again"));
                Outcome { table: Some(table), generation, index: copied, sequence, failure }
            }
            Err(text) => {
                let failure = Some(format!("the rows read can't be written to a fresh generation: {text}"));
                self.aside.clear();
                Outcome { table: None, generation: loaded.generation, index, sequence, failure }
            }
        }
    }

    fn copy(
        &mut self,
        loaded: &Loaded,
        expected_rows: u64,
        sequence: u64,
        hangs: bool,
        receiver: &Receiver<'_>,
    ) -> Result<(Arc<Table>, u64, Index), String> {
        self.mark();
        let mut fresh =
            Fresh::begin(&self.folder, self.options.cache_bytes, self.limit).map_err(OpenFault::into_text)?;
        let mut index = Index::default();
        let hasher = index.hasher().clone();
        let mut take = |chunk: super::scan::Chunk| {
            chunk.entries.into_iter().for_each(|entry| index.put(entry));
            chunk.copies.iter().try_for_each(|(key, value)| fresh.put(key, value)).map_err(Error::Storage)?;
            let Sums { rows, bytes, .. } = index.sums();
            let expected_rows = Some(expected_rows);
            (receiver.progress)(Progress { phase: Phase::Rewriting, rows, bytes, expected_rows });
            Ok(())
        };
        if !hangs && let Err(error) = scan(&loaded.table, &hasher, Want::Copies, expected_rows, self.limit, &mut take) {
            fresh.abandon();
            return Err(error.message().to_owned());
        }
        let (table, generation) = fresh.finish(index.sums(), sequence)?;
        Ok((table, generation, index))
    }

    /// Marks what is to be kept, lest an interrupted open take it for a leftover.
    fn mark(&self) {
        for generation in &self.aside {
            if let Err(error) = self.folder.mark_damaged(*generation, &self.damage.join("; ")) {
                tracing::warn!("{} can't be marked as damaged: {error}", Folder::name(*generation));
            }
        }
    }

    /// A store without rows.
    fn start_empty(&mut self) -> Result<Outcome> {
        self.mark();
        let sequence = if self.report.created { 0 } else { self.next_sequence(None) };
        let setup = |text| Error::Setup(format!("a store can't be made in {}: {text}", self.folder.path().display()));
        let fresh = Fresh::begin(&self.folder, self.options.cache_bytes, self.limit)
            .map_err(|fault| setup(fault.into_text()))?;
        let index = Index::default();
        let (table, generation) = fresh.finish(index.sums(), sequence).map_err(setup)?;
        Ok(Outcome { table: Some(table), generation, index, sequence, failure: None })
    }

    /// Moves damaged generations aside, clears leftovers and completes the report.
    fn conclude(mut self, outcome: &Outcome, started: Instant) -> (RestoreReport, Details) {
        self.aside.dedup();
        for generation in self.aside.clone() {
            match self.folder.move_aside(generation, self.wall_now_ms) {
                Ok(path) => {
                    self.report.moved_aside.get_or_insert(path);
                }
                Err(error) => tracing::error!("{} can't be moved aside: {error}", Folder::name(generation)),
            }
        }
        if outcome.table.is_some() && self.folder.current() == Current::Names(outcome.generation) {
            for earlier in self.folder.clear_leftovers(outcome.generation, self.wall_now_ms) {
                // That start ended before it could report.
                self.damage.push(format!("an earlier start found damage in {}", earlier.why));
                self.report.moved_aside = self.report.moved_aside.or(earlier.aside);
            }
        }
        let Sums { rows, bytes, .. } = outcome.index.sums();
        self.report.rows = rows;
        self.report.bytes = bytes;
        self.report.sequence = outcome.sequence;
        self.report.damage = (!self.damage.is_empty()).then(|| self.damage.join("; "));
        if let Found::Record(Record { last_alive_ms, .. }) = self.sidecar {
            self.report.last_alive_ms = Some(last_alive_ms);
            self.report.downtime_ms = Some(self.wall_now_ms.saturating_sub(last_alive_ms));
        }
        self.report.time_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        (self.report, Details { damage: self.damage, ..self.details })
    }
}
