//! One generation: a sled database with its sharp edges taken off. The only file that names sled.
//!
//! - `flush()` is no fsync: [`Table::sync`] adds an `fdatasync` on a handle of our own.
//! - Nor does `open()` wait for the disk: what a killed process wrote may be in the system's memory alone. It is made
//!   durable before, or the sidecar (and sled's snapshot, which is synced) would tell of what a power cut can still take.
//! - `open()` may panic or hang on a damaged file: it runs in a thread of its own under a time limit.
//! - A half-written or damaged snapshot makes every open fail: half-written ones are removed before, others put out of
//!   the way after a failed open, which is then tried once more. (Snapshots only save time; the log holds the rows.)
//! - Any call may panic on damage, and so may the drop: all are caught, the drop also timed.
//! - A damaged `conf` makes every open fail too, though it holds nothing but sled's own settings, which are always the
//!   same here: it is put out of the way before, and sled writes another.
//! - sled repairs what it opens (it zeroes the torn end of its log), so a damaged file is kept as sled left it.

use std::{
    fs::{self, File},
    io::ErrorKind,
    ops::{Bound, ControlFlow},
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
    time::Duration,
};

use super::{
    folder::sync_dir,
    guard::{Stopped, caught, limited},
};

/// Names of sled's own threads.
pub(super) const BACKGROUND_THREADS: [&str; 2] = ["log flusher", "sled-io-"];

/// How long dropping a database may take; a broken one can wait for ever for its own threads.
const DROP_LIMIT: Duration = Duration::from_secs(10);
/// How often and at which distance a lock that an earlier failed open still holds is waited for.
const LOCK_TRIES: u32 = 20;
const LOCK_PAUSE: Duration = Duration::from_millis(100);

const FILE: &str = "db";
const CONFIG: &str = "conf";
const SNAPSHOT: &str = "snap.";
const HALF_WRITTEN: &str = ".generating";

/// Why a generation can't be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum OpenFault {
    /// Disk, rights or limits are in the way; the data may be sound.
    Surroundings(String),
    /// The data is.
    Damaged(String),
}

impl OpenFault {
    /// The text, whichever it is.
    pub(super) fn into_text(self) -> String {
        match self {
            OpenFault::Surroundings(text) | OpenFault::Damaged(text) => text,
        }
    }
}

/// Changes that take effect together.
#[derive(Debug, Clone, Default)]
pub(super) struct Writes(sled::Batch);

impl Writes {
    pub(super) fn insert(&mut self, key: &[u8], value: &[u8]) {
        self.0.insert(key, value);
    }

    pub(super) fn remove(&mut self, key: &[u8]) {
        self.0.remove(key);
    }
}

/// An open generation. Errors are texts: what to do about one does not depend on its kind.
#[derive(Debug)]
pub(super) struct Table {
    /// `None` only while dropping.
    db: Option<sled::Db>,
    file: File,
    dir: PathBuf,
    #[cfg(test)]
    pub(super) faults: Faults,
}

/// Failures that tests ask for.
#[cfg(test)]
#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) write: std::sync::atomic::AtomicBool,
    pub(super) sync: std::sync::atomic::AtomicBool,
}

impl Table {
    /// Makes an empty generation in the new folder `dir` and makes its files durable.
    pub(super) fn create(dir: &Path, cache_bytes: u64, limit: Duration) -> Result<Self, OpenFault> {
        let surroundings = |error: std::io::Error| OpenFault::Surroundings(format!("{}: {error}", dir.display()));
        #[cfg(test)]
        if let Ok(why) = fs::read_to_string(dir.with_file_name("refuse-new")) {
            return Err(OpenFault::Surroundings(why));
        }
        fs::create_dir(dir).map_err(surroundings)?;
        let table = attempt(dir, cache_bytes, limit)?;
        table.file.sync_all().map_err(surroundings)?;
        File::open(dir.join(CONFIG)).and_then(|file| file.sync_all()).map_err(surroundings)?;
        sync_dir(dir).map_err(surroundings)?;
        if let Some(parent) = dir.parent() {
            sync_dir(parent).map_err(surroundings)?;
        }
        Ok(table)
    }

    /// Opens the generation in `dir`. It may still turn out damaged when read.
    pub(super) fn open(dir: &Path, cache_bytes: u64, limit: Duration) -> Result<Self, OpenFault> {
        if !dir.join(FILE).exists() {
            return Err(OpenFault::Damaged(format!("there is no file `{FILE}` in it")));
        }
        for path in snapshots(dir).filter(|path| path.to_string_lossy().ends_with(HALF_WRITTEN)) {
            match fs::remove_file(&path) {
                Ok(()) => tracing::info!("removed the half-written snapshot {}", path.display()),
                Err(error) => tracing::warn!("can't remove the half-written snapshot {}: {error}", path.display()),
            }
        }
        if has_damaged_config(dir) {
            tracing::warn!("the file `{CONFIG}` in {} is damaged; a fresh one is written", dir.display());
            set_aside(&dir.join(CONFIG))?;
        }
        settle(dir, limit)?;
        match attempt(dir, cache_bytes, limit) {
            Err(OpenFault::Damaged(reason)) if snapshots(dir).next().is_some() => {
                tracing::warn!("{} does not open ({reason}); trying without its snapshot", dir.display());
                snapshots(dir).try_for_each(|path| set_aside(&path))?;
                attempt(dir, cache_bytes, limit)
            }
            other => other,
        }
    }

    fn db(&self) -> Result<&sled::Db, String> {
        self.db.as_ref().ok_or_else(|| "the database is closed".to_owned())
    }

    /// Applies `writes` to sled's buffer, all or nothing.
    pub(super) fn apply(&self, writes: Writes) -> Result<(), String> {
        #[cfg(test)]
        if self.faults.write.load(std::sync::atomic::Ordering::Relaxed) {
            return Err("write failed as asked".to_owned());
        }
        let db = self.db()?;
        flat(caught(|| db.apply_batch(writes.0)))
    }

    /// Hands everything applied to the operating system.
    pub(super) fn flush(&self) -> Result<(), String> {
        let db = self.db()?;
        flat(caught(|| db.flush().map(drop)))
    }

    /// Waits until everything applied is on disk.
    pub(super) fn sync(&self) -> Result<(), String> {
        self.flush()?;
        self.sync_file()
    }

    /// Waits until everything written is on disk. After a failure it must not be tried again: the system reports a lost
    /// write once and then forgets it.
    pub(super) fn sync_file(&self) -> Result<(), String> {
        #[cfg(test)]
        if self.faults.sync.load(std::sync::atomic::Ordering::Relaxed) {
            return Err("sync failed as asked".to_owned());
        }
        self.file.sync_data().map_err(|error| format!("sync failed: {error}"))
    }

    /// The value under `key`.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let db = self.db()?;
        flat(caught(|| db.get(key))).map(|value| value.map(|bytes| bytes.to_vec()))
    }

    /// Shows the rows from `low` to `high` in order until `see` breaks off.
    pub(super) fn visit(
        &self,
        low: Bound<&[u8]>,
        high: Bound<&[u8]>,
        mut see: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    ) -> Result<(), String> {
        #[cfg(test)]
        hang_if_asked(&self.dir, "hang-read");
        let db = self.db()?;
        let walk = || {
            // After an error the iterator would give the same error for ever.
            for row in db.range::<&[u8], _>((low, high)) {
                let (key, value) = row?;
                if see(&key, &value).is_break() {
                    break;
                }
            }
            Ok::<_, sled::Error>(())
        };
        flat(caught(walk))
    }

    /// The last key below `high`.
    pub(super) fn last_below(&self, high: Bound<&[u8]>) -> Result<Option<Vec<u8>>, String> {
        let db = self.db()?;
        let last = flat(caught(|| db.range::<&[u8], _>((Bound::Unbounded, high)).next_back().transpose()))?;
        Ok(last.map(|(key, _)| key.to_vec()))
    }

    /// Size of the file in bytes.
    pub(super) fn file_bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |metadata| metadata.len())
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        let Some(db) = self.db.take() else { return };
        let (done, dropped) = mpsc::sync_channel(1);
        let spawned = thread::Builder::new().name("nacre-store-drop".to_owned()).spawn(move || {
            let result = caught(|| drop(db));
            let _ = done.send(result);
        });
        let name = self.dir.display();
        match spawned.map(|_| dropped.recv_timeout(DROP_LIMIT)) {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(panic))) => tracing::warn!("closing {name}: {panic}"),
            Ok(Err(_)) => tracing::warn!("closing {name} takes more than {DROP_LIMIT:?}; it is left to itself"),
            Err(error) => tracing::warn!("closing {name}: no thread for it: {error}"),
        }
    }
}

/// Waits until what is in the file of `dir` is on disk.
fn settle(dir: &Path, limit: Duration) -> Result<(), OpenFault> {
    let path = dir.join(FILE);
    let unable = |why: String| OpenFault::Surroundings(format!("{}: it can't be synced: {why}", path.display()));
    #[cfg(test)]
    if let Ok(why) = fs::read_to_string(dir.with_file_name("refuse-sync")) {
        return Err(unable(why));
    }
    let file = path.clone();
    match limited(limit, move || File::open(file).and_then(|file| file.sync_data())) {
        Ok(result) => result.map_err(|error| unable(error.to_string())),
        Err(Stopped::Panicked(text)) => Err(unable(text)),
        Err(Stopped::TimedOut) => Err(unable(format!("it takes more than {limit:?}"))),
    }
}

fn attempt(dir: &Path, cache_bytes: u64, limit: Duration) -> Result<Table, OpenFault> {
    for _ in 0..LOCK_TRIES {
        match attempt_once(dir, cache_bytes, limit) {
            Err(OpenFault::Damaged(text)) if text.contains("could not acquire lock") => thread::sleep(LOCK_PAUSE),
            other => return other,
        }
    }
    Err(OpenFault::Damaged("an earlier attempt to open it still holds its lock".to_owned()))
}

fn attempt_once(dir: &Path, cache_bytes: u64, limit: Duration) -> Result<Table, OpenFault> {
    // Everything else stays at sled's defaults: `flush_every_ms` also drives its garbage collection.
    let config = sled::Config::new().path(dir).cache_capacity(cache_bytes);
    #[cfg(test)]
    let asked = dir.to_owned();
    let open = move || {
        #[cfg(test)]
        hang_if_asked(&asked, "hang-open");
        config.open()
    };
    let db = match limited(limit, open) {
        Ok(Ok(db)) => db,
        Ok(Err(error)) => return Err(class(&error)),
        Err(Stopped::Panicked(text)) if is_surroundings(&text) => return Err(OpenFault::Surroundings(text)),
        Err(Stopped::Panicked(text)) => return Err(OpenFault::Damaged(format!("the engine panicked: {text}"))),
        Err(Stopped::TimedOut) => return Err(OpenFault::Damaged(format!("it does not open within {limit:?}"))),
    };
    let file = File::open(dir.join(FILE))
        .map_err(|error| OpenFault::Surroundings(format!("{}: {error}", dir.join(FILE).display())))?;
    #[rustfmt::skip]
    let table = Table { db: Some(db), file, dir: dir.to_owned(), #[cfg(test)] faults: Faults::default() };
    Ok(table)
}

/// Hangs for ever if there is a file `name` in `dir`.
#[cfg(test)]
fn hang_if_asked(dir: &Path, name: &str) {
    while dir.join(name).exists() {
        thread::sleep(Duration::from_secs(3600));
    }
}

fn class(error: &sled::Error) -> OpenFault {
    let text = error.to_string();
    match error {
        sled::Error::Io(io) => match io.kind() {
            ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::OutOfMemory => OpenFault::Surroundings(text),
            _ if is_surroundings(&text) => OpenFault::Surroundings(text),
            _ => OpenFault::Damaged(text),
        },
        _ => OpenFault::Damaged(text),
    }
}

/// Whether a text of sled tells of no space, rights (1, 13), a read-only disk (30) or too many open files (23, 24).
fn is_surroundings(text: &str) -> bool {
    is_no_space(text) || names_any(text, &[1, 13, 30, 23, 24])
}

/// Whether a text of sled tells of no space (28) or quota (122).
pub(super) fn is_no_space(text: &str) -> bool {
    names_any(text, &[28, 122])
}

/// Whether `text` has one of these error numbers, in either of the forms in which `io::Error` prints.
fn names_any(text: &str, codes: &[u32]) -> bool {
    codes.iter().any(|code| text.contains(&format!("(os error {code})")) || text.contains(&format!("code: {code},")))
}

fn snapshots(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(SNAPSHOT))
        .map(|entry| entry.path())
}

/// Whether sled's settings don't match the checksum in their last four bytes. (What is too short for one sled itself
/// writes anew.)
fn has_damaged_config(dir: &Path) -> bool {
    let bytes = fs::read(dir.join(CONFIG)).unwrap_or_default();
    let parts = bytes.split_last_chunk::<4>();
    parts.is_some_and(|(body, checksum)| crc32fast::hash(body) != u32::from_le_bytes(*checksum))
}

/// Keeps a file of a generation under a name that sled doesn't look at.
fn set_aside(path: &Path) -> Result<(), OpenFault> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    fs::rename(path, path.with_file_name(format!("bad-{name}")))
        .map_err(|error| OpenFault::Surroundings(format!("{}: {error}", path.display())))
}

fn flat<T>(result: Result<sled::Result<T>, String>) -> Result<T, String> {
    match result {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(panic) => Err(format!("the engine panicked: {panic}")),
    }
}
