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
    codec::{self, Base},
    folder::{Current, Folder},
    fresh::{Fresh, Made},
    guard::limited,
    index::{Index, Latest, Sums},
    key,
    lock::Lock,
    options::Options,
    report::{Phase, Progress, RestoreReport},
    scan::{Chunk, Findings, Place, Tally, Want, latest, scan},
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
    pub(super) head: Head,
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

/// Where a generation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Head {
    /// The last batch.
    pub(super) sequence: u64,
    /// The last row.
    pub(super) position: u64,
    /// The last row in the base.
    pub(super) base_position: u64,
    /// Checksums of all packs combined.
    pub(super) sum: u64,
}

impl Head {
    /// Of a generation with this base row, its sequence and this journal.
    pub(super) fn new(base: Base, sequence: u64, journal: Tally) -> Self {
        Self {
            sequence: sequence.max(journal.number),
            position: base.position.max(journal.end.saturating_sub(1)),
            base_position: base.position,
            sum: base.sum ^ journal.sum,
        }
    }

    /// Rows that are not in the journal, but before the end of it.
    pub(super) fn missing(&self, journal: Tally) -> u64 {
        (self.position - self.base_position).saturating_sub(journal.rows)
    }
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
    base: Option<(Base, u64)>,
}

/// What is in use at the end.
struct Outcome {
    table: Option<Arc<Table>>,
    generation: u64,
    index: Index,
    head: Head,
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
    let Outcome { table, generation, index, head, failure } = outcome;
    Ok((Recovered { folder, lock, table, generation, index, head, failure, details }, report))
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
            if chosen.as_ref().is_some_and(|loaded| loaded.base.is_some()) {
                self.aside.push(generation);
                continue;
            }
            let Some(loaded) = self.load(generation)? else { continue };
            match &chosen {
                Some(_) if loaded.base.is_none() => self.aside.push(generation),
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
        let heads = limited(self.limit, move || (reader.get(&key::SCHEMA), reader.get(&key::BASE)));
        let (schema, base) = match heads {
            Ok((schema, base)) => (schema.ok().flatten(), base.ok().flatten()),
            Err(_) => (None, None),
        };
        let schema = schema.and_then(|value| codec::decode_schema(&value).ok());
        if let Some(newer) = schema.filter(|schema| *schema > codec::SCHEMA) {
            return Err(Error::Setup(format!(
                "{name} has schema {newer}, and this version reads up to {}: it needs a later version of nacre",
                codec::SCHEMA
            )));
        }
        let base = base.and_then(|value| codec::decode_base(&value).ok());
        Ok(Some(Loaded { generation, table, schema, base }))
    }

    fn restore(&mut self, loaded: Loaded, receiver: &mut Receiver<'_>) -> Result<Outcome> {
        let mut index = Index::default();
        let hasher = index.hasher().clone();
        let (base, base_sequence) = loaded.base.unwrap_or_default();
        let expected_rows = match self.sidecar {
            Found::Record(side) if side.generation == loaded.generation => Some(side.rows),
            _ => loaded.base.map(|(base, _)| base.rows),
        };
        (receiver.progress)(Progress { phase: Phase::Verifying, rows: 0, bytes: 0, expected_rows });
        let started = Instant::now();
        let (latest, places) = latest(&loaded.table, &hasher, self.limit)?;
        let left = self.limit.saturating_sub(started.elapsed());
        let mut subscriptions = 0;
        let mut take = |chunk: Chunk| {
            chunk.entries.into_iter().for_each(|entry| index.put(entry));
            let Sums { rows, bytes, .. } = index.sums();
            subscriptions += chunk.rows.iter().filter(|row| matches!(row, Row::Subscription(..))).count() as u64;
            (receiver.rows)(chunk.rows);
            (receiver.progress)(Progress { phase: Phase::Verifying, rows, bytes, expected_rows });
            Ok(())
        };
        let mut findings = Findings::default();
        if !places.timed_out {
            findings = scan(&loaded.table, &hasher, &Want::Rows(latest.clone()), left, &mut take)?;
        }
        findings.merge_failures(places);
        if let Some(newer) = &findings.newer {
            return Err(Error::Setup(format!(
                "{} holds {newer}, which this version does not know: it needs a later version of nacre",
                Folder::name(loaded.generation)
            )));
        }
        let head = Head::new(base, base_sequence, findings.journal);
        self.report.subscriptions = subscriptions;
        let faults = self.judge(&loaded, head, index.sums(), &findings);
        let sequence = loaded.base.map(|_| head.sequence);
        self.details = Details { schema: loaded.schema, sequence, damage: Vec::new(), places: findings.places };
        if !faults.is_empty() || loaded.schema != Some(codec::SCHEMA) {
            if !faults.is_empty() {
                self.aside.push(loaded.generation);
                self.damage.extend(faults);
            }
            let latest = (!findings.timed_out).then_some(latest);
            return Ok(self.rewrite(&loaded, head.sequence, index, latest, receiver));
        }
        self.settle_current(loaded.generation, index.sums().rows, head.sequence)?;
        let generation = loaded.generation;
        Ok(Outcome { table: Some(loaded.table), generation, index, head, failure: None })
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

    /// What is wrong with a generation that opened and was read; `live` are the rows found.
    fn judge(&mut self, loaded: &Loaded, head: Head, live: Sums, found: &Findings) -> Vec<String> {
        let mut faults = Vec::new();
        if loaded.schema.is_none() {
            faults.push("the schema row is missing or damaged".to_owned());
        }
        if found.damaged_rows > 0 {
            faults.push(format!("{} rows do not verify", found.damaged_rows));
        }
        if found.damaged_packs > 0 {
            faults.push(format!("{} packs of rows do not verify", found.damaged_packs));
        }
        if let Some(text) = &found.failure {
            faults.push(format!("{} reads failed, one of them because {text}", found.failed_reads));
        }
        if found.timed_out {
            faults.push(format!("it could not be read within {:?}", self.limit));
        }
        self.report.skipped_rows = found.damaged_rows;
        let Some((base, _)) = loaded.base else {
            faults.push(format!("the base row is missing or damaged; {} rows were found", live.rows));
            return faults;
        };
        if (base.rows, base.sum) != (found.base.rows, found.base.sum) {
            let (rows, there) = (base.rows, found.base.rows);
            faults.push(format!("it was made with {rows} rows, of these {there} were found, or not the same"));
            self.report.skipped_rows = found.damaged_rows.max(rows.saturating_sub(there));
        }
        let missing = head.missing(found.journal);
        if missing > 0 {
            faults.push(format!("{missing} rows are missing in its journal"));
            self.report.skipped_rows += missing;
        }
        self.compare(loaded.generation, head, live, &mut faults);
        faults
    }

    /// Compares with the sidecar.
    fn compare(&mut self, generation: u64, Head { sequence, sum, .. }: Head, live: Sums, faults: &mut Vec<String>) {
        let rows = live.rows;
        match self.sidecar {
            Found::Record(side) if sequence < side.sequence => faults.push(format!(
                "it ends at batch {sequence} with {rows} rows, but batch {} with {} rows was stored",
                side.sequence, side.rows
            )),
            // A sidecar that still tells of the generation before tells of the same rows in other packs.
            Found::Record(side)
                if sequence == side.sequence
                    && (side.rows != rows || side.generation == generation && side.sum != sum) =>
            {
                faults.push(format!(
                    "batch {sequence} holds {rows} rows, but {} were stored, or not the same",
                    side.rows
                ));
            }
            Found::Record(_) => {}
            // Not a fault of the generation: it need not be replaced.
            Found::Missing if sequence == 0 => {}
            Found::Missing => self.damage.push("the sidecar is missing: loss of the last batches can't be told".into()),
            Found::Unreadable => {
                self.damage.push("the sidecar is unreadable: loss of the last batches can't be told".into());
            }
        }
    }

    /// A sequence above all that were ever used.
    fn next_sequence(&self, found: u64) -> u64 {
        let side = match self.sidecar {
            Found::Record(side) => side.sequence,
            Found::Missing | Found::Unreadable => 0,
        };
        found.max(side) + 1
    }

    /// Puts the sound rows of `loaded` into a fresh generation; without `latest` they can't be read. Never fails: at
    /// worst the store has to be rebuilt.
    fn rewrite(
        &mut self,
        loaded: &Loaded,
        sequence: u64,
        index: Index,
        latest: Option<Arc<Latest>>,
        receiver: &mut Receiver<'_>,
    ) -> Outcome {
        let sequence = self.next_sequence(sequence);
        let rows = index.sums().rows;
        match self.copy(loaded, &index, sequence, latest, receiver) {
            Ok((Made { table, generation, base }, copied)) => {
                if !self.aside.contains(&loaded.generation) {
                    tracing::info!("{rows} rows of schema {:?} are rewritten", loaded.schema);
                }
                let found = copied.sums().rows;
                let failure = (found != rows).then(|| format!("{found} of {rows} rows read could be written again"));
                let head = Head::new(base, sequence, Tally::default());
                Outcome { table: Some(table), generation, index: copied, head, failure }
            }
            Err(text) => {
                let failure = Some(format!("the rows read can't be written to a fresh generation: {text}"));
                self.aside.clear();
                let head = Head { sequence, ..Head::default() };
                Outcome { table: None, generation: loaded.generation, index, head, failure }
            }
        }
    }

    fn copy(
        &mut self,
        loaded: &Loaded,
        read: &Index,
        sequence: u64,
        latest: Option<Arc<Latest>>,
        receiver: &Receiver<'_>,
    ) -> Result<(Made, Index), String> {
        self.mark();
        let mut fresh =
            Fresh::begin(&self.folder, self.options.cache_bytes, self.limit).map_err(OpenFault::into_text)?;
        let hasher = read.hasher();
        let mut index = Index::with_hasher(hasher.clone());
        let mut take = |chunk: Chunk| {
            for frame in chunk.copies.iter() {
                fresh.put(frame).map_err(Error::Storage)?;
                index.put(hasher.entry(frame.key, 0, Some(frame.size())));
            }
            let Sums { rows, bytes, .. } = index.sums();
            let expected_rows = Some(read.sums().rows);
            (receiver.progress)(Progress { phase: Phase::Rewriting, rows, bytes, expected_rows });
            Ok(())
        };
        if let Some(latest) = latest
            && let Err(error) = scan(&loaded.table, hasher, &Want::Copies(latest), self.limit, &mut take)
        {
            fresh.abandon();
            return Err(error.message().to_owned());
        }
        Ok((fresh.finish(sequence, 0)?, index))
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
        let sequence = if self.report.created { 0 } else { self.next_sequence(0) };
        let setup = |text| Error::Setup(format!("a store can't be made in {}: {text}", self.folder.path().display()));
        let fresh = Fresh::begin(&self.folder, self.options.cache_bytes, self.limit)
            .map_err(|fault| setup(fault.into_text()))?;
        let Made { table, generation, base } = fresh.finish(sequence, 0).map_err(setup)?;
        let head = Head::new(base, sequence, Tally::default());
        Ok(Outcome { table: Some(table), generation, index: Index::default(), head, failure: None })
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
        self.report.sequence = outcome.head.sequence;
        self.report.damage = (!self.damage.is_empty()).then(|| self.damage.join("; "));
        if let Found::Record(Record { last_alive_ms, .. }) = self.sidecar {
            self.report.last_alive_ms = Some(last_alive_ms);
            self.report.downtime_ms = Some(self.wall_now_ms.saturating_sub(last_alive_ms));
        }
        self.report.time_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
        (self.report, Details { damage: self.damage, ..self.details })
    }
}
