//! A copy of a store, opened as a start would open it.

use std::collections::HashSet;
use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::Job;
use super::kind::{Counts, count};
use crate::error::{Error, Result};
use crate::model::{Row, ServiceKey};
use crate::store::codec;
use crate::store::folder::{Current, Folder};
use crate::store::key::Names;
use crate::store::lock::Lock;
use crate::store::options::{OPEN_TIMEOUT_MS, Options};
use crate::store::pack::{Frame, Frames};
use crate::store::recover::{self, Receiver, Recovered};
use crate::store::report::{Phase, Progress, RestoreReport};
use crate::store::scan::{Want, latest, scan};
use crate::store::sidecar::{Found, Sidecar};

/// Unix time in ms.
pub(super) fn wall_now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_millis() as u64).unwrap_or_default()
}

/// What reading found. Fields in the order in which they are to be dropped.
pub(super) struct Reading {
    /// Of the copy. Its table holds all sound rows.
    pub(super) recovered: Recovered,
    pub(super) report: RestoreReport,
    pub(super) counts: Counts,
    /// Services that have a row of any kind.
    pub(super) services: u64,
    pub(super) namespaces: u64,
    /// What the folder itself says, before anything was opened.
    pub(super) current: Current,
    pub(super) sidecar: Found,
    _scratch: TempDir,
    _lock: Option<Lock>,
}

/// Whether there is anything of a store in `dir`.
pub(super) fn is_empty(dir: &Path) -> Result<bool> {
    let folder = Folder::at(dir);
    let nothing = folder.generations()?.is_empty() && folder.current() == Current::Missing;
    Ok(nothing && Sidecar::read(&folder.sidecar()) == Found::Missing)
}

/// Takes the lock of a store that is only read.
pub(super) fn lock_as_it_is(dir: &Path) -> Result<Option<Lock>> {
    if !dir.is_dir() {
        return Err(Error::Setup(format!("{} is no folder", dir.display())));
    }
    let lock = Lock::take_as_it_is(dir)?;
    if is_empty(dir)? {
        return Err(Error::Setup(format!("there is no store in {}", dir.display())));
    }
    Ok(lock)
}

impl Reading {
    /// Copies the store of the job's folder and opens the copy. Nothing in the folder changes. `lock` is that of the
    /// folder, if it is not held elsewhere.
    pub(super) fn open(job: &Job<'_>, lock: Option<Lock>) -> Result<Self> {
        let scratch = scratch(job)?;
        let no_copy =
            |error| Error::Storage(format!("the store can't be copied to {}: {error}", scratch.path().display()));
        copy_store(&job.dir, scratch.path(), job).map_err(no_copy)?;
        let folder = Folder::at(scratch.path());
        let (current, sidecar) = (folder.current(), Sidecar::read(&folder.sidecar()));
        let mut counts = Counts::new();
        let mut services: HashSet<ServiceKey> = HashSet::new();
        let mut rows = |rows: Vec<Row>| {
            for row in rows {
                count(&mut counts, &row);
                if let Some(service) = service_of(&row).filter(|service| !services.contains(*service)) {
                    services.insert(service.clone());
                }
            }
        };
        let progress = |progress: Progress| {
            let what = match progress.phase {
                Phase::Opening => "opening",
                Phase::Verifying => "checking rows",
                Phase::Rewriting => "sorting out sound rows",
            };
            (job.progress)(what, progress.rows, progress.expected_rows);
        };
        let receiver = Receiver { rows: &mut rows, progress: &progress };
        let (recovered, report) = recover::recover(&Options::new(scratch.path()), wall_now_ms(), receiver)?;
        let namespaces: HashSet<_> = services.iter().map(|service| service.namespace.clone()).collect();
        let (services, namespaces) = (services.len() as u64, namespaces.len() as u64);
        Ok(Self { recovered, report, counts, services, namespaces, current, sidecar, _scratch: scratch, _lock: lock })
    }

    /// Shows all sound rows in order of keys: what is stored, and what it says. All that is stored is in memory for that.
    pub(super) fn each(&self, mut see: impl FnMut(Frame<'_>, Row) -> Result<()>) -> Result<()> {
        let failed = |text: &str| Error::Storage(format!("the copy of the store can't be read: {text}"));
        if let Some(reason) = &self.recovered.failure {
            return Err(failed(reason));
        }
        let table = self.recovered.table.as_ref().ok_or_else(|| failed("there is none"))?;
        let (hasher, limit) = (self.recovered.index.hasher(), Duration::from_millis(OPEN_TIMEOUT_MS));
        let (latest, places) = latest(table, hasher, limit)?;
        let mut copies: Vec<Frames> = Vec::new();
        let found = scan(table, hasher, &Want::Copies(latest), limit, &mut |chunk| {
            copies.push(chunk.copies);
            Ok(())
        })?;
        if !places.is_sound() || !found.is_sound() {
            return Err(failed(found.failure.as_deref().unwrap_or("rows no longer verify")));
        }
        let mut frames: Vec<Frame<'_>> = copies.iter().flat_map(Frames::iter).collect();
        if frames.len() as u64 != self.report.rows {
            return Err(failed("rows are missing"));
        }
        frames.sort_unstable_by_key(|frame| frame.key);
        let mut names = Names::default();
        for frame in frames {
            let payload = frame.payload.unwrap_or_default();
            let row = codec::decode(frame.key, payload, codec::SCHEMA, &mut names);
            see(frame, row.map_err(|_| failed("a row can't be decoded"))?)?;
        }
        Ok(())
    }

    /// Refuses to go on with a damaged store.
    pub(super) fn must_be_sound(&self) -> Result<()> {
        self.report.damage.as_ref().map_or(Ok(()), |damage| {
            let what_to_do = "nacre store verify tells more; starting the server restores what is sound";
            Err(Error::Storage(format!("the store is damaged: {damage} ({what_to_do})")))
        })
    }
}

/// The service that a row belongs to.
fn service_of(row: &Row) -> Option<&ServiceKey> {
    match row {
        Row::Instance(key, _) => Some(&key.service),
        Row::Service(key, _) => Some(key),
        Row::Cluster(key, _) => Some(&key.service),
        Row::Subscription(key, _) => Some(&key.service),
        Row::Setting(..) => None,
    }
}

/// A folder that only this user can look into.
fn scratch(job: &Job<'_>) -> Result<TempDir> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("nacre-store-");
    let made = match &job.scratch {
        Some(dir) => builder.tempdir_in(dir),
        None => builder.tempdir(),
    };
    made.map_err(|error| Error::Storage(format!("no scratch folder: {error}")))
}

/// Copies what an open looks at: not what was put aside.
fn copy_store(from: &Path, to: &Path, job: &Job<'_>) -> std::io::Result<()> {
    let folder = Folder::at(from);
    let generations = folder.generations().map_err(|error| std::io::Error::other(error.message().to_owned()))?;
    let mut names = vec!["CURRENT".to_owned(), "sidecar".to_owned()];
    names.extend(generations.into_iter().map(Folder::name));
    let all_bytes: u64 = names.iter().map(|name| bytes_of(&from.join(name))).sum();
    let mut copied = 0;
    let mut todo: Vec<_> = names.into_iter().map(|name| (from.join(&name), to.join(&name))).collect();
    while let Some((from, to)) = todo.pop() {
        let kind = match fs::metadata(&from) {
            Ok(found) => found.file_type(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        if kind.is_dir() {
            fs::create_dir(&to)?;
            for entry in fs::read_dir(&from)? {
                let name = entry?.file_name();
                todo.push((from.join(&name), to.join(name)));
            }
        } else if kind.is_file() {
            copied += fs::copy(&from, &to)?;
            (job.progress)("copying", copied, Some(all_bytes));
        }
    }
    Ok(())
}

/// Size of a file, or of all files in a folder; 0 when there is none.
pub(super) fn bytes_of(path: &Path) -> u64 {
    let Ok(found) = fs::symlink_metadata(path) else { return 0 };
    if !found.is_dir() {
        return found.len();
    }
    fs::read_dir(path).into_iter().flatten().filter_map(Result::ok).map(|entry| bytes_of(&entry.path())).sum()
}
