//! Where the engine's file is damaged, by a walk through its log. It only finds places for damage that was found
//! otherwise: what a start can do without (the remains of segments that are free) is looked at as well.
//!
//! The file is made of segments of 512 KiB, in no order. A segment begins with 20 bytes: inverted crc32 of the other 16,
//! its position in the log (`^ i64::MAX`), and one more number. Messages follow: inverted crc32 of the body and the rest of
//! the head, kind, length, number of the segment, page; the last three of variable length. One of kind 2 fills the segment up.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

const SEGMENT_BYTES: usize = 512 << 10;
const HEAD_BYTES: usize = 20;
/// No message begins closer to the end of its segment.
const MAX_MESSAGE_HEAD_BYTES: usize = 32;
const FILLER: u8 = 2;
const LAST_KIND: u8 = 11;
/// More are not told.
const MAX_FOUND: usize = 100;

/// Something that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::store) struct Spot {
    /// Where in the file it begins, in bytes.
    pub(in crate::store) at: u64,
    pub(in crate::store) what: &'static str,
}

/// How a segment looks from its head on.
struct Walked {
    position: u64,
    /// Where in the segment the walk ended, and why unless it got to the end.
    end: usize,
    fault: Option<&'static str>,
    /// Nothing but zeroes follow.
    is_blank_behind: bool,
}

/// Walks through the file at `path`.
///
/// # Errors
/// When it can't be read.
pub(in crate::store) fn spots(path: &Path) -> io::Result<Vec<Spot>> {
    let mut file = BufReader::with_capacity(SEGMENT_BYTES, File::open(path)?);
    let (mut found, mut at, mut segment) = (Vec::new(), 0_u64, Vec::new());
    let mut segments = Vec::new();
    loop {
        segment.clear();
        file.by_ref().take(SEGMENT_BYTES as u64).read_to_end(&mut segment)?;
        if segment.is_empty() {
            break;
        }
        match walk(&segment) {
            Err(what) => found.push(Spot { at, what }),
            Ok(walked) => segments.push((at, walked)),
        }
        at += segment.len() as u64;
        if segment.len() < SEGMENT_BYTES {
            break;
        }
    }
    let newest = segments.iter().map(|(_, walked)| walked.position).max();
    for (start, walked) in segments {
        // The log ends somewhere in its newest segment.
        let ends_here = Some(walked.position) == newest && walked.is_blank_behind;
        if let Some(what) = walked.fault.filter(|_| !ends_here) {
            found.push(Spot { at: start + walked.end as u64, what });
        }
    }
    if at == 0 {
        found.push(Spot { at, what: "the file is empty" });
    }
    found.sort_by_key(|spot| spot.at);
    found.truncate(MAX_FOUND);
    Ok(found)
}

fn walk(segment: &[u8]) -> Result<Walked, &'static str> {
    let Some((head, _)) = segment.split_first_chunk::<HEAD_BYTES>() else {
        return Err("the file ends within the head of a segment");
    };
    let (crc, rest) = head.split_first_chunk::<4>().ok_or("a head that is too short")?;
    let (position, _) = rest.split_first_chunk::<8>().ok_or("a head that is too short")?;
    if crc32fast::hash(rest) ^ u32::MAX != u32::from_le_bytes(*crc) {
        let blank = head.iter().all(|byte| *byte == 0);
        return Err(if blank { "zeroes in place of a segment" } else { "the head of a segment does not verify" });
    }
    let position = u64::from_le_bytes(*position) ^ 0x7FFF_FFFF_FFFF_FFFF;
    let number = position / SEGMENT_BYTES as u64;
    let mut at = HEAD_BYTES;
    let fault = loop {
        if SEGMENT_BYTES - at.min(SEGMENT_BYTES) < MAX_MESSAGE_HEAD_BYTES {
            break None;
        }
        let Some(rest) = segment.get(at..).filter(|rest| !rest.is_empty()) else {
            break Some("the file ends within a segment");
        };
        match message(rest, number) {
            Ok((_, FILLER)) => break None,
            Ok((bytes, _)) => at += bytes,
            Err(what) => break Some(what),
        }
    };
    let is_blank_behind = segment.get(at..).is_none_or(|rest| rest.iter().all(|byte| *byte == 0));
    Ok(Walked { position, end: at, fault, is_blank_behind })
}

/// Size and kind of the message that begins here.
fn message(bytes: &[u8], segment: u64) -> Result<(usize, u8), &'static str> {
    const CUT: &str = "the file ends within a message";
    let (crc, mut rest) = bytes.split_first_chunk::<4>().ok_or(CUT)?;
    let checked = rest;
    let (&kind, behind) = rest.split_first().ok_or(CUT)?;
    rest = behind;
    let [length, number, _page] = [number(&mut rest), number(&mut rest), number(&mut rest)].map(|n| n.ok_or(CUT));
    let (length, number) = (length?, number?);
    let head = checked.get(..checked.len() - rest.len()).ok_or(CUT)?;
    let Some(body) = usize::try_from(length).ok().filter(|bytes| *bytes <= SEGMENT_BYTES) else {
        return Err("the length of a message is impossible");
    };
    let body = rest.get(..body).ok_or("a message is longer than what is there")?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(body);
    hasher.update(head);
    if hasher.finalize() ^ u32::MAX != u32::from_le_bytes(*crc) {
        return Err("the checksum of a message does not match");
    }
    if kind == 0 || kind > LAST_KIND || number != segment {
        return Err("a message that does not belong here");
    }
    Ok((4 + head.len() + body.len(), kind))
}

/// A number of variable length.
fn number(bytes: &mut &[u8]) -> Option<u64> {
    let (&first, rest) = bytes.split_first()?;
    let more = match first {
        0..=240 => 0,
        241..=248 => 1,
        249 => 2,
        _ => usize::from(first) - 247,
    };
    let (digits, rest) = rest.split_at_checked(more)?;
    *bytes = rest;
    let big = digits.iter().fold(0, |n: u64, digit| (n << 8) | u64::from(*digit));
    let little = digits.iter().rev().fold(0, |n: u64, digit| (n << 8) | u64::from(*digit));
    Some(match first {
        0..=240 => u64::from(first),
        241..=248 => 240 + 256 * (u64::from(first) - 241) + big,
        249 => 2288 + big,
        _ => little,
    })
}
