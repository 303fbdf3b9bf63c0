//! What a group of servers has to remember beside the rows: numbered entries, a few named records, one snapshot. It knows
//! nothing of what they mean. On disk it has a folder and generations of its own, made of the same guarded `table` as the
//! store, so that nothing that happens to the store's generations touches it, and the other way round.
//!
//! The whole ledger is also in memory (entries go when a snapshot holds what they did), so after a failed write it is
//! written anew from there: like the store, a handle that has failed once is never trusted again.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::ops::Bound;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::codec::{self, Fault};
use super::folder::{Current, Folder, sync_dir, utc};
use super::options::Durability;
use super::table::{OpenFault, Table, Writes};
use crate::error::{Error, Result};

/// Version of values and of the snapshot file.
const VERSION: u8 = 1;
const ENTRY: u8 = b'e';
const RECORD: u8 = b'r';
/// The log is small: a snapshot ends it every few thousand entries.
const CACHE_BYTES: u64 = 8 * 1024 * 1024;
/// A file larger than this, and than this many times what it holds, is written anew.
const COMPACT_MIN_BYTES: u64 = 64 * 1024 * 1024;
const COMPACT_FACTOR: u64 = 8;
const SNAPSHOT: &str = "snapshot";
const SNAPSHOT_NEW: &str = "snapshot.new";

/// Bytes that several hold.
pub type Shared = Arc<[u8]>;

/// What a ledger holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// By number, without gaps.
    pub entries: BTreeMap<u64, Shared>,
    /// By name.
    pub records: BTreeMap<String, Shared>,
}

/// What is to be different, all at once.
#[derive(Debug, Clone, Default)]
pub struct Writing {
    /// Entries that go: those from the first number on and before the second.
    pub remove: Option<(u64, u64)>,
    /// Entries that come, or replace others.
    pub put: Vec<(u64, Shared)>,
    /// Records that come, or replace others.
    pub records: Vec<(&'static str, Shared)>,
    /// Not worth a wait for the disk: it is durable with the next writing that is.
    pub lazy: bool,
}

/// A snapshot and what is said about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// About it.
    pub head: Vec<u8>,
    /// Itself.
    pub body: Vec<u8>,
}

/// The ledger. Calls block on the disk.
#[derive(Debug)]
pub struct Ledger {
    content: Content,
    /// Only where there is no disk.
    snapshot: Option<Snapshot>,
    disk: Option<Disk>,
}

#[derive(Debug)]
struct Disk {
    folder: Folder,
    generation: u64,
    /// `None` after a failure.
    table: Option<Table>,
    synced: bool,
    limit: Duration,
}

impl Ledger {
    /// Opens the ledger in the folder `dir`, or makes one. A damaged one is moved aside under a dated name (`wall_now_ms` is
    /// the Unix time), and said so; then this one is empty. With [`Durability::Off`] there is no disk. `limit`: of opening.
    ///
    /// # Errors
    /// [`Error::Setup`]: the folder can't be used, or the ledger is from a later version. Nothing is changed.
    pub fn open(dir: &Path, durability: Durability, wall_now_ms: u64, limit: Duration) -> Result<Self> {
        if durability == Durability::Off {
            return Ok(Self { content: Content::default(), snapshot: None, disk: None });
        }
        let synced = durability == Durability::Synced;
        match open(dir, synced, limit) {
            Ok((disk, content)) => return Ok(Self { content, snapshot: None, disk: Some(disk) }),
            Err(Unopened::Setup(error)) => return Err(error),
            Err(Unopened::Damaged(why)) => {
                let aside = move_aside(dir, "damaged", wall_now_ms)?;
                tracing::error!(moved_aside = ?aside, "{} was damaged: {why}", dir.display());
            }
        }
        match open(dir, synced, limit) {
            Ok((disk, content)) => Ok(Self { content, snapshot: None, disk: Some(disk) }),
            Err(Unopened::Setup(error)) => Err(error),
            Err(Unopened::Damaged(why)) => Err(Error::Setup(format!("{} can't be made: {why}", dir.display()))),
        }
    }

    /// What it holds.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// Carries `writing` out. It is in the [content](Self::content) in any case.
    ///
    /// # Errors
    /// Why it can't be on disk; then [`heal`](Self::heal) has to succeed before anything counts as written.
    pub fn write(&mut self, writing: Writing) -> Result<(), String> {
        let lazy = writing.lazy;
        let writes = self.content.take(writing);
        let Some(disk) = &mut self.disk else { return Ok(()) };
        let written = disk.write(writes, lazy);
        if written.is_err() {
            disk.table = None;
        }
        written?;
        if !lazy && disk.is_wasteful(&self.content) {
            self.heal()?;
        }
        Ok(())
    }

    /// Writes the whole content to a fresh generation and goes on with it.
    ///
    /// # Errors
    /// Why that can't be done now either.
    pub fn heal(&mut self) -> Result<(), String> {
        let Some(disk) = &mut self.disk else { return Ok(()) };
        disk.rewrite(&self.content)
    }

    /// Whether a write has failed and nothing has healed it yet.
    pub fn has_failed(&self) -> bool {
        self.disk.as_ref().is_some_and(|disk| disk.table.is_none())
    }

    /// Makes syncs fail until it is healed.
    #[cfg(test)]
    pub(crate) fn break_disk(&self) {
        let table = self.disk.as_ref().and_then(|disk| disk.table.as_ref());
        table.unwrap().faults.sync.store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Keeps `snapshot`, durably, in place of the one before.
    ///
    /// # Errors
    /// Why not; the one before stays.
    pub fn keep(&mut self, snapshot: Snapshot) -> Result<(), String> {
        let Some(disk) = &self.disk else {
            self.snapshot = Some(snapshot);
            return Ok(());
        };
        let dir = disk.folder.path();
        write_snapshot(dir, &snapshot).map_err(|error| format!("{SNAPSHOT} can't be written: {error}"))
    }

    /// Takes the snapshot away, durably.
    ///
    /// # Errors
    /// Why not; it may be there or not.
    pub fn forget_snapshot(&mut self) -> Result<(), String> {
        self.snapshot = None;
        let Some(disk) = &self.disk else { return Ok(()) };
        let dir = disk.folder.path();
        let gone = match fs::remove_file(dir.join(SNAPSHOT)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            removed => removed.and_then(|()| sync_dir(dir)),
        };
        gone.map_err(|error| format!("{SNAPSHOT} can't be removed: {error}"))
    }

    /// The snapshot that was kept last. A damaged one is none, and said so.
    ///
    /// # Errors
    /// Why it can't be read.
    pub fn snapshot(&self) -> Result<Option<Snapshot>, String> {
        let Some(disk) = &self.disk else { return Ok(self.snapshot.clone()) };
        read_snapshot(disk.folder.path()).map_err(|error| format!("{SNAPSHOT} can't be read: {error}"))
    }
}

/// Moves the ledger in `dir` aside under a dated name with `why` in it, so that the next open makes an empty one; `None`
/// when there is none.
///
/// # Errors
/// [`Error::Setup`] when it can't be moved.
pub fn move_aside(dir: &Path, why: &str, wall_now_ms: u64) -> Result<Option<PathBuf>> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let base = format!("{name}.{why}-{}", utc(wall_now_ms));
    let mut aside = dir.with_file_name(&base);
    let mut more = 1;
    while aside.exists() {
        more += 1;
        aside = dir.with_file_name(format!("{base}-{more}"));
    }
    match fs::rename(dir, &aside) {
        Ok(()) => Ok(Some(aside)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::Setup(format!("{} can't be moved aside: {error}", dir.display()))),
    }
}

impl Content {
    fn take(&mut self, writing: Writing) -> Writes {
        let mut writes = Writes::default();
        if let Some((from, to)) = writing.remove {
            let numbers: Vec<u64> = self.entries.range(from..to.max(from)).map(|(number, _)| *number).collect();
            for number in numbers {
                self.entries.remove(&number);
                writes.remove(&entry_key(number));
            }
        }
        for (number, entry) in writing.put {
            insert(&mut writes, &entry_key(number), &entry);
            self.entries.insert(number, entry);
        }
        for (name, record) in writing.records {
            insert(&mut writes, &record_key(name), &record);
            self.records.insert(name.to_owned(), record);
        }
        writes
    }

    fn bytes(&self) -> u64 {
        self.entries.values().chain(self.records.values()).map(|value| value.len() as u64 + 32).sum()
    }
}

impl Disk {
    fn write(&self, writes: Writes, lazy: bool) -> Result<(), String> {
        let table = self.table.as_ref().ok_or("an earlier write has failed")?;
        table.apply(writes)?;
        match (lazy, self.synced) {
            (true, _) => Ok(()),
            (false, true) => table.sync(),
            (false, false) => table.flush(),
        }
    }

    fn is_wasteful(&self, content: &Content) -> bool {
        let file = self.table.as_ref().map_or(0, Table::file_bytes);
        file > COMPACT_MIN_BYTES && file > COMPACT_FACTOR * content.bytes()
    }

    fn rewrite(&mut self, content: &Content) -> Result<(), String> {
        self.table = None;
        let generation = self.folder.next_generation().map_err(|error| error.message().to_owned())?;
        let made = make(&self.folder, generation, content, self.limit);
        let made = made.inspect_err(|_| drop(fs::remove_dir_all(self.folder.generation(generation))));
        self.table = Some(made.map_err(OpenFault::into_text)?);
        self.generation = generation;
        // Nothing in here was found damaged: what is left over is removed.
        self.folder.clear_leftovers(generation, 0);
        Ok(())
    }
}

/// A generation with this content, in use and on disk.
fn make(folder: &Folder, generation: u64, content: &Content, limit: Duration) -> Result<Table, OpenFault> {
    let table = Table::create(&folder.generation(generation), CACHE_BYTES, limit)?;
    for (number, entry) in &content.entries {
        let mut writes = Writes::default();
        insert(&mut writes, &entry_key(*number), entry);
        table.apply(writes).map_err(OpenFault::Surroundings)?;
    }
    let mut writes = Writes::default();
    content.records.iter().for_each(|(name, record)| insert(&mut writes, &record_key(name), record));
    table.apply(writes).and_then(|()| table.sync()).map_err(OpenFault::Surroundings)?;
    let unable = |error| OpenFault::Surroundings(format!("CURRENT can't be written: {error}"));
    folder.set_current(generation).map_err(unable)?;
    Ok(table)
}

/// Why there is no open ledger.
enum Unopened {
    Setup(Error),
    Damaged(String),
}

fn open(dir: &Path, synced: bool, limit: Duration) -> Result<(Disk, Content), Unopened> {
    let is_new = !dir.exists();
    let folder = Folder::create(dir).map_err(Unopened::Setup)?;
    if is_new {
        sync_ancestors(dir).map_err(|error| setup(dir, &error.to_string()))?;
    }
    let (generation, table, content) = match folder.current() {
        Current::Missing => {
            let generation = folder.next_generation().map_err(Unopened::Setup)?;
            let made = make(&folder, generation, &Content::default(), limit);
            (generation, made.map_err(|fault| unopened(dir, fault))?, Content::default())
        }
        Current::Unreadable => return Err(Unopened::Damaged("CURRENT names no generation".to_owned())),
        Current::Names(generation) => {
            let table = Table::open(&folder.generation(generation), CACHE_BYTES, limit);
            let table = table.map_err(|fault| unopened(dir, fault))?;
            let content = read(&table, dir)?;
            (generation, table, content)
        }
    };
    folder.clear_leftovers(generation, 0);
    Ok((Disk { folder, generation, table: Some(table), synced, limit }, content))
}

fn setup(dir: &Path, why: &str) -> Unopened {
    Unopened::Setup(Error::Setup(format!("{} can't be used: {why}", dir.display())))
}

fn unopened(dir: &Path, fault: OpenFault) -> Unopened {
    match fault {
        OpenFault::Surroundings(text) => setup(dir, &text),
        OpenFault::Damaged(text) => Unopened::Damaged(text),
    }
}

fn sync_ancestors(dir: &Path) -> std::io::Result<()> {
    dir.ancestors().skip(1).take(4).filter(|path| path.is_dir()).try_for_each(sync_dir)
}

fn read(table: &Table, dir: &Path) -> Result<Content, Unopened> {
    let mut content = Content::default();
    let mut fault = None;
    let visited = table.visit(Bound::Unbounded, Bound::Unbounded, |key, value| match take(&mut content, key, value) {
        Ok(()) => ControlFlow::Continue(()),
        Err(why) => {
            fault = Some(why);
            ControlFlow::Break(())
        }
    });
    visited.map_err(Unopened::Damaged)?;
    match fault {
        Some(Fault::Damaged) => return Err(Unopened::Damaged("an entry is not what was written".to_owned())),
        Some(Fault::Newer(what)) => return Err(setup(dir, &format!("it holds {what}"))),
        None => {}
    }
    let gap = content.entries.keys().zip(content.entries.keys().skip(1)).find(|(one, next)| **one + 1 != **next);
    match gap {
        Some((one, next)) => Err(Unopened::Damaged(format!("nothing is between entry {one} and entry {next}"))),
        None => Ok(content),
    }
}

fn take(content: &mut Content, key: &[u8], value: &[u8]) -> Result<(), Fault> {
    let envelope = codec::unseal(key, value)?;
    if envelope.version > VERSION {
        return Err(Fault::Newer(format!("a value of version {}", envelope.version)));
    }
    match key.split_first() {
        Some((&ENTRY, number)) => {
            let number = number.try_into().map_err(|_| Fault::Damaged)?;
            content.entries.insert(u64::from_be_bytes(number), envelope.payload.into());
        }
        Some((&RECORD, name)) => {
            let name = String::from_utf8(name.to_vec()).map_err(|_| Fault::Damaged)?;
            content.records.insert(name, envelope.payload.into());
        }
        _ => return Err(Fault::Newer("a key of an unknown kind".to_owned())),
    }
    Ok(())
}

fn entry_key(number: u64) -> Vec<u8> {
    [&[ENTRY][..], &number.to_be_bytes()].concat()
}

fn record_key(name: &str) -> Vec<u8> {
    [&[RECORD], name.as_bytes()].concat()
}

fn insert(writes: &mut Writes, key: &[u8], payload: &[u8]) {
    writes.insert(key, &codec::seal(key, VERSION, 0, &[payload]).0);
}

fn write_snapshot(dir: &Path, snapshot: &Snapshot) -> std::io::Result<()> {
    let head_bytes = (snapshot.head.len() as u64).to_be_bytes();
    let (value, _) = codec::seal(SNAPSHOT.as_bytes(), VERSION, 0, &[&head_bytes, &snapshot.head, &snapshot.body]);
    let new = dir.join(SNAPSHOT_NEW);
    let mut file = File::create(&new)?;
    file.write_all(&value)?;
    file.sync_all()?;
    fs::rename(&new, dir.join(SNAPSHOT))?;
    sync_dir(dir)
}

fn read_snapshot(dir: &Path) -> std::io::Result<Option<Snapshot>> {
    let path = dir.join(SNAPSHOT);
    let value = match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read?,
    };
    let snapshot = parse_snapshot(&value);
    if snapshot.is_none() {
        tracing::error!("{} is damaged, or from a later version; it is not used", path.display());
    }
    Ok(snapshot)
}

fn parse_snapshot(value: &[u8]) -> Option<Snapshot> {
    let envelope = codec::unseal(SNAPSHOT.as_bytes(), value).ok().filter(|envelope| envelope.version == VERSION)?;
    let (head_bytes, rest) = envelope.payload.split_first_chunk::<8>()?;
    let (head, body) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*head_bytes)).ok()?)?;
    Some(Snapshot { head: head.to_vec(), body: body.to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(20);

    fn ledger(dir: &Path) -> Ledger {
        Ledger::open(dir, Durability::Synced, 1_790_000_000_000, LIMIT).unwrap()
    }

    fn put(numbers: std::ops::Range<u64>) -> Writing {
        let entry = |number: u64| (number, format!("entry {number}").into_bytes().into());
        Writing { put: numbers.map(entry).collect(), ..Writing::default() }
    }

    fn numbers(ledger: &Ledger) -> Vec<u64> {
        ledger.content().entries.keys().copied().collect()
    }

    #[test]
    fn what_is_written_is_there_after_an_open() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("a/b");
        let mut first = ledger(&at);
        first.write(put(1..6)).unwrap();
        first.write(Writing { remove: Some((4, 9)), records: vec![("vote", [7].into())], ..put(4..5) }).unwrap();
        first.write(Writing { remove: Some((0, 2)), ..Writing::default() }).unwrap();
        let snapshot = Snapshot { head: b"head".to_vec(), body: vec![1; 300_000] };
        first.keep(snapshot.clone()).unwrap();
        let content = first.content().clone();
        drop(first);
        let again = ledger(&at);
        assert_eq!((again.content(), numbers(&again)), (&content, vec![2, 3, 4]));
        assert_eq!(again.content().records.get("vote").map(|value| value.to_vec()), Some(vec![7]));
        assert_eq!(again.snapshot(), Ok(Some(snapshot)));
    }

    #[test]
    fn a_failed_write_is_healed_from_memory() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = ledger(dir.path());
        first.write(put(1..3)).unwrap();
        first.break_disk();
        assert!(first.write(put(3..4)).unwrap_err().contains("as asked"));
        assert!(first.has_failed() && first.write(put(4..5)).is_err());
        first.heal().unwrap();
        first.write(put(5..6)).unwrap();
        drop(first);
        assert_eq!(numbers(&ledger(dir.path())), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_damaged_ledger_is_moved_aside_and_a_later_one_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = dir.path().join("group");
        let mut first = ledger(&at);
        first.write(put(1..3)).unwrap();
        first.write(put(4..5)).unwrap();
        drop(first);
        assert!(numbers(&ledger(&at)).is_empty());
        let names: Vec<String> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(names.iter().any(|name| name.starts_with("group.damaged-2026")), "{names:?}");

        let newer = ledger(&at);
        let key = record_key("x");
        let mut writes = Writes::default();
        writes.insert(&key, &codec::seal(&key, VERSION + 1, 0, &[b"?"]).0);
        newer.disk.as_ref().unwrap().write(writes, false).unwrap();
        drop(newer);
        let refused = Ledger::open(&at, Durability::Synced, 0, LIMIT).unwrap_err();
        assert!(matches!(&refused, Error::Setup(text) if text.contains("version 2")), "{refused}");
    }

    #[test]
    fn a_damaged_snapshot_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = ledger(dir.path());
        first.keep(Snapshot { head: vec![1], body: vec![2; 100] }).unwrap();
        let path = dir.path().join(SNAPSHOT);
        let mut bytes = fs::read(&path).unwrap();
        bytes[50] ^= 1;
        fs::write(&path, bytes).unwrap();
        assert_eq!(first.snapshot(), Ok(None));
    }
}
