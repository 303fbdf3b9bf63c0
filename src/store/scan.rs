//! Reads, checks and decodes all rows of a generation on all cores.
//!
//! The key space is cut into ranges that threads take from a queue. Where sled fails to read, the rest of the range is
//! halved and tried again, so that one bad page costs the rows of that page only. The threads are not scoped: one that
//! hangs in sled is left behind when the time limit is reached.

use std::{
    mem,
    ops::{Bound, ControlFlow},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
        mpsc::{self, RecvTimeoutError, SyncSender},
    },
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    codec::{self, Fault},
    guard::limited,
    index::{Entry, KeyHasher},
    key::{self, Names},
    table::Table,
};
use crate::{error::Result, model::Row};

/// Rows handed over at a time.
const CHUNK_ROWS: usize = 1024;
/// Chunks that may wait to be taken, for each thread.
const CHUNKS_AHEAD: usize = 4;
/// More threads than this gain nothing.
const MAX_THREADS: usize = 8;
/// Stores with fewer rows are read as one range.
const SPLIT_ROWS: u64 = 4096;
/// Ranges are halved this often: 128 at most.
const SPLIT_DEPTH: u32 = 7;
/// Places of damage that are told.
pub(super) const MAX_PLACES: usize = 1000;
/// How often the remains of an unreadable range are halved, and how many halves are tried in all.
const RETRY_DEPTH: u32 = 24;
const RETRIES: usize = 1000;

/// What is wanted of each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    /// The row.
    Rows,
    /// Its bytes, in the present version.
    Copies,
}

/// Some sound rows.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// One for each row.
    pub(super) entries: Vec<Entry>,
    /// With [`Want::Rows`].
    pub(super) rows: Vec<Row>,
    /// With [`Want::Copies`]: keys and values.
    pub(super) copies: Vec<(Vec<u8>, Vec<u8>)>,
    /// Size of the rows.
    pub(super) bytes: u64,
}

/// What a scan found beside sound rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Rows that did not verify.
    pub(super) damaged_rows: u64,
    /// Reads that failed.
    pub(super) failed_reads: u64,
    /// What one of them said.
    pub(super) failure: Option<String>,
    /// Something that only a later version knows.
    pub(super) newer: Option<String>,
    /// The time limit was reached; rows are missing.
    pub(super) timed_out: bool,
    /// Where what did not verify and what could not be read is; not more than [`MAX_PLACES`].
    pub(super) places: Vec<Place>,
}

/// Where damage is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In the row under this key, which says what is wrong with it.
    Row(Vec<u8>, &'static str),
    /// Behind this key, or at the first key, reading fails for this reason.
    Behind(Option<Vec<u8>>, String),
}

impl Findings {
    fn merge(&mut self, other: Findings) {
        self.damaged_rows += other.damaged_rows;
        self.failed_reads += other.failed_reads;
        self.failure = self.failure.take().or(other.failure);
        self.newer = self.newer.take().or(other.newer);
        let room = MAX_PLACES.saturating_sub(self.places.len());
        self.places.extend(other.places.into_iter().take(room));
    }
}

enum Message {
    Chunk(Chunk),
    Done(Findings),
}

/// Part of the key space.
#[derive(Debug, Clone)]
struct Range {
    low: Bound<Vec<u8>>,
    high: Bound<Vec<u8>>,
}

/// Gives all sound rows of `table` to `take`, in no particular order, within `limit`. `expected_rows` is a hint. An
/// error of `take` ends the scan and is passed on.
pub(super) fn scan(
    table: &Arc<Table>,
    hasher: &KeyHasher,
    want: Want,
    expected_rows: u64,
    limit: Duration,
    take: &mut dyn FnMut(Chunk) -> Result<()>,
) -> Result<Findings> {
    let started = Instant::now();
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let (send, receive) = mpsc::sync_channel(threads * CHUNKS_AHEAD);
    let work = Arc::new(Work {
        ranges: Mutex::new(ranges(table, expected_rows, limit)),
        retries: AtomicUsize::new(RETRIES),
        stop: AtomicBool::new(false),
    });
    let mut findings = Findings::default();
    for at in 0..threads {
        let reader = Reader {
            table: table.clone(),
            hasher: hasher.clone(),
            want,
            work: work.clone(),
            send: send.clone(),
            names: Names::default(),
            findings: Findings::default(),
        };
        let spawned = thread::Builder::new().name(format!("nacre-store-scan-{at}")).spawn(move || reader.run());
        if let Err(error) = spawned {
            // One thread is enough, so this matters only if all of them fail: then nothing is read, and that shows.
            findings.failure = Some(format!("no thread to read in: {error}"));
        }
    }
    drop(send);
    let result = loop {
        match receive.recv_timeout(limit.saturating_sub(started.elapsed())) {
            Ok(Message::Chunk(chunk)) => {
                if let Err(error) = take(chunk) {
                    break Err(error);
                }
            }
            Ok(Message::Done(found)) => findings.merge(found),
            Err(RecvTimeoutError::Disconnected) => break Ok(()),
            Err(RecvTimeoutError::Timeout) => {
                findings.timed_out = true;
                break Ok(());
            }
        }
    };
    work.stop.store(true, Relaxed);
    result.map(|()| findings)
}

struct Work {
    ranges: Mutex<Vec<Range>>,
    retries: AtomicUsize,
    stop: AtomicBool,
}

struct Reader {
    table: Arc<Table>,
    hasher: KeyHasher,
    want: Want,
    work: Arc<Work>,
    send: SyncSender<Message>,
    names: Names,
    findings: Findings,
}

impl Reader {
    fn run(mut self) {
        loop {
            // Not in the loop's condition: the lock would be held while reading.
            let next = self.work.ranges.lock().pop();
            let Some(range) = next else { break };
            if self.read(range).is_break() {
                break;
            }
        }
        let findings = mem::take(&mut self.findings);
        // The table goes first: who hears the end may want to be its only holder.
        drop(self.table);
        let _ = self.send.send(Message::Done(findings));
    }

    fn read(&mut self, range: Range) -> ControlFlow<()> {
        let mut todo = vec![(range, 0)];
        while let Some((mut range, depth)) = todo.pop() {
            loop {
                let mut chunk = Chunk::default();
                let (result, last) = self.fill(&range, &mut chunk);
                let full = chunk.entries.len() >= CHUNK_ROWS;
                if !chunk.entries.is_empty() && self.send.send(Message::Chunk(chunk)).is_err() {
                    return ControlFlow::Break(());
                }
                if self.work.stop.load(Relaxed) || self.findings.newer.is_some() {
                    return ControlFlow::Break(());
                }
                if let Some(last) = last {
                    range.low = Bound::Excluded(last);
                }
                match result {
                    Ok(()) if full => {}
                    Ok(()) => break,
                    Err(text) => {
                        self.findings.failed_reads += 1;
                        if self.findings.places.len() < MAX_PLACES {
                            let low = match &range.low {
                                Bound::Included(key) | Bound::Excluded(key) => Some(key.clone()),
                                Bound::Unbounded => None,
                            };
                            self.findings.places.push(Place::Behind(low, text.clone()));
                        }
                        self.findings.failure.get_or_insert(text);
                        if depth < RETRY_DEPTH && self.may_retry() {
                            todo.extend(halves(range).into_iter().flatten().map(|half| (half, depth + 1)));
                        }
                        break;
                    }
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn may_retry(&self) -> bool {
        self.work.retries.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
    }

    /// Reads into `chunk` until it is full or the range ends; also says which key it saw last.
    fn fill(&mut self, range: &Range, chunk: &mut Chunk) -> (Result<(), String>, Option<Vec<u8>>) {
        let mut last = None;
        let table = self.table.clone();
        let result = table.visit(borrowed(&range.low), borrowed(&range.high), |key, value| {
            self.see(key, value, chunk);
            // Of every key: a failed read can end the walk after any of them.
            remember(&mut last, key);
            if chunk.entries.len() >= CHUNK_ROWS || self.findings.newer.is_some() || self.work.stop.load(Relaxed) {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        (result, last)
    }

    fn see(&mut self, key: &[u8], value: &[u8], chunk: &mut Chunk) {
        let decoded = match codec::decode(key, value, &mut self.names) {
            Ok(decoded) => decoded,
            Err(Fault::Damaged) => {
                self.findings.damaged_rows += 1;
                if self.findings.places.len() < MAX_PLACES {
                    self.findings.places.push(Place::Row(key.to_vec(), codec::what_is_wrong(key, value)));
                }
                return;
            }
            Err(Fault::Newer(what)) => {
                self.findings.newer = Some(what);
                return;
            }
        };
        if self.want == Want::Rows {
            chunk.bytes += (key.len() + value.len()) as u64;
            chunk.entries.push(self.hasher.entry(key, decoded.crc, key.len() + value.len()));
            chunk.rows.push(decoded.row);
            return;
        }
        let (copy, crc) = if decoded.version == codec::SCHEMA {
            (value.to_vec(), decoded.crc)
        } else {
            match codec::encode(&decoded.row, decoded.sequence) {
                Ok(codec::Encoded { value: Some(value), crc, .. }) => (value, crc),
                Ok(_) | Err(_) => {
                    self.findings.damaged_rows += 1;
                    return;
                }
            }
        };
        chunk.bytes += (key.len() + copy.len()) as u64;
        chunk.entries.push(self.hasher.entry(key, crc, key.len() + copy.len()));
        chunk.copies.push((key.to_vec(), copy));
    }
}

/// Keeps a copy of `key` in the room of the last one.
fn remember(last: &mut Option<Vec<u8>>, key: &[u8]) {
    let room = last.get_or_insert_default();
    room.clear();
    room.extend_from_slice(key);
}

fn borrowed(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    bound.as_ref().map(Vec::as_slice)
}

/// The key space in ranges of roughly equal size if keys are spread evenly.
fn ranges(table: &Arc<Table>, expected_rows: u64, limit: Duration) -> Vec<Range> {
    let mut cuts = vec![key::FIRST.to_vec()];
    if expected_rows >= SPLIT_ROWS {
        let table = table.clone();
        if let Ok(Ok(found)) = limited(limit, move || cuts_of(&table)) {
            cuts.extend(found);
        }
    }
    let highs: Vec<_> = cuts.iter().skip(1).cloned().map(Bound::Excluded).chain([Bound::Unbounded]).collect();
    cuts.into_iter().map(Bound::Included).zip(highs).map(|(low, high)| Range { low, high }).collect()
}

fn cuts_of(table: &Table) -> Result<Vec<Vec<u8>>, String> {
    let mut cuts = Vec::new();
    let first = first_from(table, &key::FIRST)?;
    let last = table.last_below(Bound::Unbounded)?;
    if let (Some(first), Some(last)) = (first, last) {
        cut(table, &first, &last, SPLIT_DEPTH, &mut cuts)?;
    }
    Ok(cuts)
}

/// Cuts between the keys `low` and `high` in ascending order. Halves are measured from key to key, so what many keys
/// have in common doesn't matter.
fn cut(table: &Table, low: &[u8], high: &[u8], depth: u32, cuts: &mut Vec<Vec<u8>>) -> Result<(), String> {
    let Some(middle) = middle(low, high).filter(|_| depth > 0) else { return Ok(()) };
    let (Some(left), Some(right)) = (table.last_below(Bound::Excluded(&middle))?, first_from(table, &middle)?) else {
        return Ok(());
    };
    cut(table, low, &left, depth - 1, cuts)?;
    cuts.push(right.clone());
    cut(table, &right, high, depth - 1, cuts)
}

fn first_from(table: &Table, low: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let mut first = None;
    table.visit(Bound::Included(low), Bound::Unbounded, |key, _| {
        first = Some(key.to_vec());
        ControlFlow::Break(())
    })?;
    Ok(first)
}

/// A key above `low` and not above `high`, about half-way.
fn middle(low: &[u8], high: &[u8]) -> Option<Vec<u8>> {
    const DIGITS: usize = 8;
    let common = low.iter().zip(high).take_while(|(a, b)| a == b).count();
    let number = |key: &[u8]| {
        key.iter()
            .skip(common)
            .copied()
            .chain(std::iter::repeat(0))
            .take(DIGITS)
            .fold(0, |n, b| (n << 8) | u64::from(b))
    };
    let (a, b) = (number(low), number(high));
    let distance = b.checked_sub(a).filter(|distance| *distance > 0)?;
    let mut middle: Vec<u8> = low.iter().take(common).copied().collect();
    middle.extend((a + (distance / 2).max(1)).to_be_bytes());
    while middle.last() == Some(&0) && middle.len() > common {
        middle.pop();
    }
    Some(middle)
}

/// Both halves of `range`, `None` when it can't be halved.
fn halves(range: Range) -> Option<[Range; 2]> {
    let key = |bound: &Bound<Vec<u8>>, open: &[u8]| match bound {
        Bound::Included(key) | Bound::Excluded(key) => key.clone(),
        Bound::Unbounded => open.to_vec(),
    };
    let middle = middle(&key(&range.low, &[]), &key(&range.high, &[0xFF]))?;
    Some([
        Range { low: range.low, high: Bound::Excluded(middle.clone()) },
        Range { low: Bound::Included(middle), high: range.high },
    ])
}

#[cfg(test)]
mod tests {
    use super::middle;

    #[test]
    fn the_middle_lies_above_the_low_and_not_above_the_high_end() {
        let keys: [&[u8]; 9] =
            [b"", b"\0", b"a", b"aa", b"aaaaaaaaaaaaaaaaaaaa", b"aaaaaaaaaaaaaaaaaaab", b"ab", b"b\0", b"\xFF\xFF"];
        for (at, low) in keys.iter().enumerate() {
            for high in keys.iter().skip(at + 1) {
                if let Some(middle) = middle(low, high) {
                    assert!(middle.as_slice() > *low && middle.as_slice() <= *high, "{low:?} {middle:?} {high:?}");
                }
            }
        }
        assert_eq!(middle(b"x", b"x"), None);
        assert_eq!(middle(b"svc-1", b"svc-9"), Some(b"svc-5".to_vec()));
    }
}
