//! Reads, checks and decodes all rows of a generation on all cores.
//!
//! The key space is cut into ranges that threads take from a queue. Where sled fails to read, the rest of the range is
//! halved and tried again, so that one bad page costs the rows of that page only. The threads are not scoped: one that
//! hangs in sled is left behind when the time limit is reached.
//!
//! Which rows are live shows only when the whole journal is known, so it is read twice: first for the places of its rows.

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
    index::{Entry, KeyHasher, Latest},
    key::{self, Names, PackKey},
    pack::{Frames, Opened, Unpacker},
    table::Table,
};
use crate::{error::Result, model::Row};

/// Rows handed over at a time.
const CHUNK_ROWS: usize = 1024;
/// Chunks that may wait to be taken, for each thread.
const CHUNKS_AHEAD: usize = 4;
/// More threads than this gain nothing.
const MAX_THREADS: usize = 8;
/// Ranges are halved this often: 128 at most.
const SPLIT_DEPTH: u32 = 7;
/// Places of damage that are told.
pub(super) const MAX_PLACES: usize = 1000;
/// How often the remains of an unreadable range are halved, and how many halves are tried in all.
const RETRY_DEPTH: u32 = 24;
const RETRIES: usize = 1000;

/// What is wanted.
#[derive(Debug, Clone)]
pub(super) enum Want {
    /// The place of every row of the journal, removals too.
    Places,
    /// The live rows.
    Rows(Arc<Latest>),
    /// What is stored of the live rows, in the present form.
    Copies(Arc<Latest>),
}

/// Some sound rows.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    /// One for each row.
    pub(super) entries: Vec<Entry>,
    /// With [`Want::Rows`].
    pub(super) rows: Vec<Row>,
    /// With [`Want::Copies`].
    pub(super) copies: Frames,
}

/// What a scan found beside rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Findings {
    /// Rows, and packs of rows, that did not verify.
    pub(super) damaged_rows: u64,
    pub(super) damaged_packs: u64,
    /// Reads that failed.
    pub(super) failed_reads: u64,
    /// What one of them said.
    pub(super) failure: Option<String>,
    /// Something that only a later version knows.
    pub(super) newer: Option<String>,
    /// The time limit was reached; rows are missing.
    pub(super) timed_out: bool,
    /// The base that was read.
    pub(super) base: Tally,
    /// The journal that was read.
    pub(super) journal: Tally,
    /// Where what did not verify and what could not be read is; not more than [`MAX_PLACES`].
    pub(super) places: Vec<Place>,
}

/// Where damage is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// In the row, or the pack of rows, under this key; it says what is wrong with it.
    Row(Vec<u8>, &'static str),
    /// Behind this key, or at the first key, reading fails for this reason.
    Behind(Option<Vec<u8>>, String),
}

/// What sound values come to, live or not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) rows: u64,
    /// Their checksums combined, see [`codec::mixed`].
    pub(super) sum: u64,
    /// The highest number of a pack.
    pub(super) number: u64,
    /// Position after the last row.
    pub(super) end: u64,
}

impl Tally {
    fn merge(&mut self, other: Tally) {
        self.rows += other.rows;
        self.sum ^= other.sum;
        self.number = self.number.max(other.number);
        self.end = self.end.max(other.end);
    }
}

impl Findings {
    fn merge(&mut self, mut other: Findings) {
        let room = MAX_PLACES.saturating_sub(self.places.len());
        self.places.extend(other.places.drain(..).take(room));
        self.damaged_rows += other.damaged_rows;
        self.damaged_packs += other.damaged_packs;
        self.base.merge(other.base);
        self.journal.merge(other.journal);
        self.merge_failures(other);
    }

    /// Takes over what kept another scan of the same from reading.
    pub(super) fn merge_failures(&mut self, other: Findings) {
        self.failed_reads += other.failed_reads;
        self.failure = self.failure.take().or(other.failure);
        self.newer = self.newer.take().or(other.newer);
        self.timed_out |= other.timed_out;
    }

    /// Notes that this row can't be used, in which `what` is wrong if it is damaged.
    fn note_row(&mut self, fault: Fault, key: &[u8], what: &'static str) {
        match fault {
            Fault::Damaged => {
                self.damaged_rows += 1;
                self.note_place(key, what);
            }
            Fault::Newer(what) => self.newer = Some(what),
        }
    }

    fn note_place(&mut self, key: &[u8], what: &'static str) {
        if self.places.len() < MAX_PLACES {
            self.places.push(Place::Row(key.to_vec(), what));
        }
    }

    /// Whether everything that is there was read and is sound.
    pub(super) fn is_sound(&self) -> bool {
        let Self { damaged_rows, damaged_packs, failed_reads, failure, newer, timed_out, .. } = self;
        *damaged_rows + *damaged_packs + *failed_reads == 0 && failure.is_none() && newer.is_none() && !timed_out
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

/// Finds out which rows of the journal of `table` are the last of their keys, within `limit`.
pub(super) fn latest(table: &Arc<Table>, hasher: &KeyHasher, limit: Duration) -> Result<(Arc<Latest>, Findings)> {
    let mut latest = Latest::with_hasher(hasher.clone());
    let mut take = |chunk: Chunk| {
        chunk.entries.into_iter().for_each(|entry| latest.add(entry));
        Ok(())
    };
    let findings = scan(table, hasher, &Want::Places, limit, &mut take)?;
    Ok((Arc::new(latest), findings))
}

/// Gives all sound rows of `table` that are wanted to `take`, in no particular order, within `limit`. An error of `take`
/// ends the scan and is passed on.
pub(super) fn scan(
    table: &Arc<Table>,
    hasher: &KeyHasher,
    want: &Want,
    limit: Duration,
    take: &mut dyn FnMut(Chunk) -> Result<()>,
) -> Result<Findings> {
    let started = Instant::now();
    let threads = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
    let (send, receive) = mpsc::sync_channel(threads * CHUNKS_AHEAD);
    let from: &'static [u8] = if matches!(want, Want::Places) { &key::JOURNAL } else { &key::FIRST };
    let work = Arc::new(Work {
        ranges: Mutex::new(ranges(table, from, limit)),
        retries: AtomicUsize::new(RETRIES),
        stop: AtomicBool::new(false),
    });
    let mut findings = Findings::default();
    for at in 0..threads {
        let reader = Reader {
            table: table.clone(),
            hasher: hasher.clone(),
            want: want.clone(),
            work: work.clone(),
            send: send.clone(),
            names: Names::default(),
            unpacker: Unpacker::default(),
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
    unpacker: Unpacker,
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
        self.unpacker = Unpacker::default();
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
        match PackKey::decode(key) {
            Some(pack) => self.see_pack(pack, value, chunk),
            None => self.see_single(key, value, chunk),
        }
    }

    fn see_pack(&mut self, key: PackKey, value: &[u8], chunk: &mut Chunk) {
        let Self { unpacker, names, findings, hasher, want, .. } = self;
        let opened = unpacker.open(key, value, |position, frame| {
            let entry = hasher.entry(frame.key, position, frame.payload.map(|_| frame.size()));
            let is_live = |latest: &Latest| match frame.payload {
                Some(payload) if key.is_journal => latest.is_live(entry).then_some(payload),
                Some(payload) => latest.is_live_in_base(entry).then_some(payload),
                None => None,
            };
            match want {
                Want::Places => chunk.entries.push(entry),
                Want::Copies(latest) if is_live(latest).is_some() => {
                    chunk.entries.push(entry);
                    chunk.copies.copy(frame);
                }
                Want::Rows(latest) => {
                    let Some(payload) = is_live(latest) else { return };
                    match codec::decode(frame.key, payload, codec::SCHEMA, names) {
                        Ok(row) => {
                            chunk.entries.push(entry);
                            chunk.rows.push(row);
                        }
                        Err(fault) => findings.note_row(fault, frame.key, "it can't be decoded"),
                    }
                }
                Want::Copies(_) => {}
            }
        });
        let tally = if key.is_journal { &mut findings.journal } else { &mut findings.base };
        match opened {
            Ok(Opened { rows, end, crc }) => {
                tally.merge(Tally { rows, sum: codec::mixed(crc), number: key.number, end });
            }
            Err(Fault::Damaged) => {
                findings.damaged_packs += 1;
                let key = key.encode();
                findings.note_place(&key, codec::what_is_wrong(&key, value));
            }
            Err(Fault::Newer(what)) => findings.newer = Some(what),
        }
    }

    /// A row as older schemas stored it.
    fn see_single(&mut self, key: &[u8], value: &[u8], chunk: &mut Chunk) {
        let single = match codec::decode_single(key, value, &mut self.names) {
            Ok(single) => single,
            Err(fault) => return self.findings.note_row(fault, key, codec::what_is_wrong(key, value)),
        };
        self.findings.base.merge(Tally { rows: 1, sum: codec::mixed(single.crc), ..Tally::default() });
        let mut frames = Frames::default();
        if frames.push(&single.row).is_err() {
            return self.findings.note_row(Fault::Damaged, key, "it is too large");
        }
        let entry = self.hasher.entry(key, 0, Some(frames.size()));
        match &self.want {
            Want::Rows(latest) if latest.is_live_in_base(entry) => chunk.rows.push(single.row),
            Want::Copies(latest) if latest.is_live_in_base(entry) => chunk.copies.append(&frames),
            Want::Places | Want::Rows(_) | Want::Copies(_) => return,
        }
        chunk.entries.push(entry);
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
fn ranges(table: &Arc<Table>, from: &'static [u8], limit: Duration) -> Vec<Range> {
    let mut cuts = vec![from.to_vec()];
    let table = table.clone();
    if let Ok(Ok(found)) = limited(limit, move || cuts_of(&table, from)) {
        cuts.extend(found);
        // Two in one batch are one.
        cuts.dedup();
    }
    let highs: Vec<_> = cuts.iter().skip(1).cloned().map(Bound::Excluded).chain([Bound::Unbounded]).collect();
    cuts.into_iter().map(Bound::Included).zip(highs).map(|(low, high)| Range { low, high }).collect()
}

fn cuts_of(table: &Table, from: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let mut cuts = Vec::new();
    let first = first_from(table, from)?;
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
    cuts.push(PackKey::cut(&right).to_vec());
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
