//! Packs: values that hold many rows each, since the engine's cost is one of keys, not of bytes.
//!
//! A generation is its *base*, the rows that were live when it was made, and its *journal*, one pack (or a few) for each
//! batch stored since, in which a row overrides what was before it. Payload of a pack, numbers big-endian:
//! `position u64 | owed u32 | frames`, of a frame: `key length u16 | payload length u16 | key | payload`, with the
//! payload length `FFFF` in a removal.
//!
//! - Rows of the journal count on from the position in the base row: a pack says the position of the first row that
//!   begins in it. So a row knows whether it is the last of its key, in whatever order packs are read, and what is
//!   missing in between shows by its number. In the base all positions are 0.
//! - The packs of a batch are applied together. They are cut between rows, unless a row is larger than a pack: then it
//!   goes on in the next ones, which say how many bytes of their frames (and of those after) it is still owed.
//! - The limits are the engine's: it keeps up to 18 values on a page, and a page of more than 128 KiB in a file of its
//!   own, which nobody syncs.

use super::{
    codec::{self, Envelope, Fault, SCHEMA},
    key::{self, PackKey},
};
use crate::{
    error::{Error, Result},
    model::{MAX_ROW_BYTES, Row},
};

/// Bytes of frames in a pack of the journal.
pub(super) const JOURNAL_PACK_BYTES: usize = 7000;
/// Bytes of frames in a pack of the base. They cost next to nothing for the size of the batches in which they are
/// written, so they are smaller: less is lost with one that is damaged.
pub(super) const BASE_PACK_BYTES: usize = 2000;

/// Room that is kept for the next batch.
const ROOM_BYTES: usize = 256 * 1024;
const FRAME_HEAD_BYTES: usize = 4;
const REMOVAL: u16 = u16::MAX;

/// Rows as packs hold them, one after the other.
#[derive(Debug, Clone, Default)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    rows: u64,
}

/// A row as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    pub(super) key: &'a [u8],
    /// `None` in a removal.
    pub(super) payload: Option<&'a [u8]>,
}

impl Frame<'_> {
    /// What it takes in a pack.
    pub(super) fn size(&self) -> usize {
        FRAME_HEAD_BYTES + self.key.len() + self.payload.map_or(0, <[u8]>::len)
    }
}

impl Frames {
    /// Adds `row`, unless it is of more than [`MAX_ROW_BYTES`].
    pub(super) fn push(&mut self, row: &Row) -> Result<()> {
        let start = self.bytes.len();
        let result = self.encode(row, start);
        match result {
            Ok(()) => self.rows += 1,
            Err(_) => self.bytes.truncate(start),
        }
        result
    }

    fn encode(&mut self, row: &Row, start: usize) -> Result<()> {
        self.bytes.extend([0; FRAME_HEAD_BYTES]);
        key::append(&mut self.bytes, row);
        let key_end = self.bytes.len();
        let has_payload = codec::encode(row, &mut self.bytes)?;
        let stamp = matches!(row, Row::Instance(key, Some(_)) if key.ephemeral);
        let size = self.bytes.len() - start - if stamp { codec::STAMP_BYTES } else { 0 };
        let lengths = (key_end - start - FRAME_HEAD_BYTES, self.bytes.len() - key_end);
        match (u16::try_from(lengths.0), u16::try_from(lengths.1)) {
            (Ok(key), Ok(payload)) if size <= MAX_ROW_BYTES => {
                let head = head(key, has_payload.then_some(payload));
                self.bytes.iter_mut().skip(start).zip(head).for_each(|(to, from)| *to = from);
                Ok(())
            }
            _ => {
                let text = format!("a row of {size} bytes is more than the {MAX_ROW_BYTES} that can be stored");
                Err(Error::Limit(text))
            }
        }
    }

    /// Adds a row that was stored before.
    pub(super) fn copy(&mut self, frame: Frame<'_>) {
        let Frame { key, payload } = frame;
        // Rows are limited to less when they are first stored.
        let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap_or(u16::MAX - 1);
        self.bytes.extend(head(length(key), payload.map(length)));
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(payload.unwrap_or_default());
        self.rows += 1;
    }

    /// Adds all of `other`.
    pub(super) fn append(&mut self, other: &Frames) {
        self.bytes.extend_from_slice(&other.bytes);
        self.rows += other.rows;
    }

    /// Empties it, but keeps some room.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(ROOM_BYTES);
        self.rows = 0;
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Size of all rows.
    pub(super) fn size(&self) -> usize {
        self.bytes.len()
    }

    /// The rows in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = Frame<'_>> {
        let mut rest = self.bytes.as_slice();
        std::iter::from_fn(move || {
            let (frame, after) = split(rest)?;
            rest = after;
            Some(frame)
        })
    }
}

fn head(key: u16, payload: Option<u16>) -> [u8; FRAME_HEAD_BYTES] {
    let ([a, b], [c, d]) = (key.to_be_bytes(), payload.unwrap_or(REMOVAL).to_be_bytes());
    [a, b, c, d]
}

/// The first frame of `bytes` and what is after it; `None` if it is not all there.
fn split(bytes: &[u8]) -> Option<(Frame<'_>, &[u8])> {
    let (&[a, b, c, d], rest) = bytes.split_first_chunk::<FRAME_HEAD_BYTES>()?;
    let (key, rest) = rest.split_at_checked(u16::from_be_bytes([a, b]).into())?;
    let length = u16::from_be_bytes([c, d]);
    if length == REMOVAL {
        return Some((Frame { key, payload: None }, rest));
    }
    let (payload, rest) = rest.split_at_checked(length.into())?;
    Some((Frame { key, payload: Some(payload) }, rest))
}

/// How long the first frame of `bytes` is, of which not all need be there.
fn length(bytes: &[u8]) -> Option<usize> {
    let (&[a, b, c, d], _) = bytes.split_first_chunk::<FRAME_HEAD_BYTES>()?;
    let payload = Some(u16::from_be_bytes([c, d])).filter(|length| *length != REMOVAL).unwrap_or(0);
    Some(FRAME_HEAD_BYTES + usize::from(u16::from_be_bytes([a, b])) + usize::from(payload))
}

/// A pack as it is written.
#[derive(Debug)]
pub(super) struct Pack {
    pub(super) key: [u8; PackKey::BYTES],
    pub(super) value: Vec<u8>,
    pub(super) crc: u32,
}

/// The rows of batch `sequence` in packs of the journal, the first of them at `position`. Without rows one empty pack.
pub(super) fn journal(frames: &Frames, sequence: u64, position: u64) -> Vec<Pack> {
    cut(frames, true, sequence, position, JOURNAL_PACK_BYTES)
}

/// Rows in packs of the base.
pub(super) fn base(frames: &Frames, number: u64) -> Vec<Pack> {
    cut(frames, false, number, 0, BASE_PACK_BYTES)
}

fn cut(frames: &Frames, is_journal: bool, number: u64, mut position: u64, limit: usize) -> Vec<Pack> {
    let mut packs = Vec::with_capacity(frames.bytes.len() / limit + 1);
    let mut rest = frames.bytes.as_slice();
    let mut owed = 0;
    for part in 0.. {
        let mut end = limit.min(owed);
        let mut owed_after = owed - end;
        let mut rows = 0;
        while end < limit
            && let Some(length) = rest.get(end..).and_then(length)
        {
            if end + length > limit && end > 0 {
                break;
            }
            rows += 1;
            owed_after = length.saturating_sub(limit - end);
            end = limit.min(end + length);
        }
        let (now, later) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        let key = PackKey { is_journal, number, part }.encode();
        let head = (position.to_be_bytes(), u32::try_from(owed).unwrap_or(u32::MAX).to_be_bytes());
        let (value, crc) = codec::seal(&key, SCHEMA, number, &[&head.0, &head.1, now]);
        packs.push(Pack { key, value, crc });
        if later.is_empty() {
            break;
        }
        (rest, owed) = (later, owed_after);
        position += if is_journal { rows } else { 0 };
    }
    packs
}

/// What a pack holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opened {
    /// Rows that are complete with it.
    pub(super) rows: u64,
    /// Position after the last row that begins in it.
    pub(super) end: u64,
    pub(super) crc: u32,
}

/// Takes packs apart that come in the order of their keys.
#[derive(Debug, Default)]
pub(super) struct Unpacker {
    /// A row that goes on in the next pack.
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    position: u64,
    bytes: Vec<u8>,
    owed: usize,
    next: PackKey,
}

impl Unpacker {
    /// Shows all rows that are complete with this pack, in the form of the present schema, with their positions.
    pub(super) fn open(
        &mut self,
        key: PackKey,
        value: &[u8],
        mut see: impl FnMut(u64, Frame<'_>),
    ) -> Result<Opened, Fault> {
        let Envelope { version, payload, crc, .. } = codec::unseal(&key.encode(), value)?;
        if version > SCHEMA {
            return Err(Fault::Newer(format!("a pack of version {version}")));
        }
        let mut see = |position, Frame { key, payload }: Frame<'_>| {
            let upgraded = payload.and_then(|payload| codec::upgraded(key, payload, version));
            see(position, Frame { key, payload: upgraded.as_deref().or(payload) });
        };
        let (position, rest) = payload.split_first_chunk::<8>().ok_or(Fault::Damaged)?;
        let (owed, rest) = rest.split_first_chunk::<4>().ok_or(Fault::Damaged)?;
        let (mut position, owed) = (u64::from_be_bytes(*position), u32::from_be_bytes(*owed) as usize);
        let (continued, mut rest) = rest.split_at_checked(owed).unwrap_or((rest, &[]));
        let mut rows = 0;
        if let Some(mut begun) = self.begun.take().filter(|begun| begun.next == key && begun.owed == owed) {
            begun.bytes.extend_from_slice(continued);
            begun.owed -= continued.len();
            if let Some((frame, _)) = split(&begun.bytes) {
                see(begun.position, frame);
                rows += 1;
            } else {
                self.begun = Some(Begun { next: after(key), ..begun });
            }
        }
        let step = u64::from(key.is_journal);
        while let Some((frame, after)) = split(rest) {
            see(position, frame);
            rows += 1;
            position += step;
            rest = after;
        }
        if let Some(length) = length(rest) {
            let begun = Begun { position, bytes: rest.to_vec(), owed: length - rest.len(), next: after(key) };
            self.begun = Some(begun);
            position += step;
        }
        Ok(Opened { rows, end: position, crc })
    }
}

fn after(key: PackKey) -> PackKey {
    PackKey { part: key.part.wrapping_add(1), ..key }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(sizes: &[usize]) -> Frames {
        let mut frames = Frames::default();
        for (at, size) in sizes.iter().enumerate() {
            let payload = vec![at as u8; *size];
            frames.copy(Frame { key: &[at as u8], payload: (*size > 0).then_some(&payload) });
        }
        frames
    }

    fn read(packs: &[Pack]) -> (Vec<(u64, u8, usize)>, u64) {
        let (mut unpacker, mut seen, mut end) = (Unpacker::default(), Vec::new(), 0);
        for pack in packs {
            let key = PackKey::decode(&pack.key).unwrap();
            let see = |at: u64, frame: Frame<'_>| seen.push((at, frame.key[0], frame.payload.map_or(0, <[u8]>::len)));
            let opened = unpacker.open(key, &pack.value, see).unwrap();
            end = opened.end;
        }
        (seen, end)
    }

    #[test]
    fn rows_of_any_size_come_out_of_their_packs() {
        let large = MAX_ROW_BYTES - 10;
        for sizes in [
            &[][..],
            &[0],
            &[10, 0, 20],
            &[6990, 1, 1],
            &[6995, 6996, 6994, 0],
            &[large],
            &[large, large, 3],
            &[5, large, 5, large],
            &[7000; 40],
            &[100; 255],
        ] {
            let packs = journal(&frames(sizes), 9, 100);
            let (seen, end) = read(&packs);
            let expected: Vec<_> =
                sizes.iter().enumerate().map(|(at, size)| (100 + at as u64, at as u8, *size)).collect();
            assert_eq!((seen, end), (expected, 100 + sizes.len() as u64), "{sizes:?}");
            assert!(packs.iter().all(|pack| pack.value.len() <= JOURNAL_PACK_BYTES + 25));
            let bytes: usize = frames(sizes).size();
            assert!(packs.len() <= 1 + bytes / JOURNAL_PACK_BYTES * 2, "{} packs of {bytes} bytes", packs.len());
            let (seen, end) = read(&base(&frames(sizes), 9));
            assert_eq!((seen.len(), end), (sizes.len(), 0));
        }
    }

    /// A missing pack costs the rows that were in it, and shows by their positions.
    #[test]
    fn a_missing_pack_costs_its_rows_alone() {
        let sizes = [100, 20_000, 100, 6_900, 6_900, 100];
        let packs = journal(&frames(&sizes), 1, 1);
        assert!(packs.len() >= 5);
        for missing in 0..packs.len() {
            let mut left: Vec<_> = packs.iter().collect();
            left.remove(missing);
            let (mut unpacker, mut seen, mut rows, mut end) = (Unpacker::default(), Vec::new(), 0, 0);
            for pack in left {
                let key = PackKey::decode(&pack.key).unwrap();
                let opened = unpacker
                    .open(key, &pack.value, |at, frame| {
                        assert_eq!(sizes[frame.key[0] as usize], frame.payload.unwrap().len());
                        assert_eq!(at, u64::from(frame.key[0]) + 1);
                        seen.push(at);
                    })
                    .unwrap();
                rows += opened.rows;
                end = end.max(opened.end);
            }
            assert_eq!(rows, seen.len() as u64);
            assert!((1..6).contains(&rows), "without {missing}: {seen:?}");
            assert!(end < 7 || rows < end - 1, "without {missing}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let mut frames = Frames::default();
        frames.copy(Frame { key: b"k", payload: Some(b"p") });
        let key = PackKey { is_journal: true, number: 1, part: 0 };
        for body in [&[][..], &[0; 7], &[0; 12], &[0xFF; 12], &[0xFF; 40], &[0; 13], &[0; 100]] {
            let (value, _) = codec::seal(&key.encode(), SCHEMA, 1, &[body]);
            let _ = Unpacker::default().open(key, &value, |_, _| {});
        }
    }
}
