//! Answers as bytes: what is complete, where the body is.

use std::ops::Range;

use super::Fault;

/// A head with more than this is refused.
const MAX_HEAD_BYTES: usize = 64 << 10;
const MAX_HEADERS: usize = 64;
/// A body with more than this is refused: a list of 100,000 instances has about 35 MB.
pub(super) const MAX_BODY_BYTES: usize = 64 << 20;
/// All bytes of an answer, with the lines between chunks.
const MAX_BYTES: usize = 2 * MAX_BODY_BYTES;
/// The line before a chunk; extensions of chunks are ignored.
const MAX_CHUNK_LINE_BYTES: usize = 256;

/// How long a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    status: u16,
    framing: Framing,
    keep: bool,
    body_at: usize,
}

/// An answer that grows as bytes come in. `bytes` holds all that was read, with the body of a chunked answer put
/// together in place.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    head: Option<Head>,
    /// Of a chunked body: the end of what is put together, and where the next chunk's line begins.
    end: usize,
    next: usize,
}

/// An answer that is complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Complete {
    pub(super) status: u16,
    /// Where the body is in the bytes.
    pub(super) body: Range<usize>,
    /// Whether the connection can carry another request.
    pub(super) keep: bool,
}

impl Incoming {
    /// Looks at all that was read; `closed` when nothing more will come.
    pub(super) fn read(&mut self, bytes: &mut [u8], closed: bool) -> Result<Option<Complete>, Fault> {
        if bytes.len() > MAX_BYTES {
            return Err(Fault::TooLarge);
        }
        let head = match self.head {
            Some(head) => head,
            None => {
                let Some(head) = head(bytes)? else {
                    return if closed { Err(Fault::Closed) } else { Ok(None) };
                };
                (self.end, self.next) = (head.body_at, head.body_at);
                self.head = Some(head);
                head
            }
        };
        let (end, used) = match head.framing {
            Framing::Length(length) => {
                let end = head.body_at + length;
                if bytes.len() < end {
                    return if closed { Err(Fault::Closed) } else { Ok(None) };
                }
                (end, end)
            }
            Framing::UntilClose if !closed => {
                return if bytes.len() - head.body_at > MAX_BODY_BYTES { Err(Fault::TooLarge) } else { Ok(None) };
            }
            Framing::UntilClose => (bytes.len(), bytes.len()),
            Framing::Chunked => match self.chunks(bytes)? {
                Some(used) => (self.end, used),
                None if closed => return Err(Fault::Closed),
                None => return Ok(None),
            },
        };
        // Bytes that nobody asked for would be taken for the next answer.
        let keep = head.keep && !closed && bytes.len() == used;
        Ok(Some(Complete { status: head.status, body: head.body_at..end, keep }))
    }

    /// Moves complete chunks together; the end of the answer when the last one is there.
    fn chunks(&mut self, bytes: &mut [u8]) -> Result<Option<usize>, Fault> {
        let malformed = || Fault::Malformed("a chunk without a size");
        loop {
            let rest = bytes.get(self.next..).unwrap_or_default();
            let Some(length) = memchr::memchr(b'\n', rest.get(..MAX_CHUNK_LINE_BYTES).unwrap_or(rest)) else {
                return if rest.len() > MAX_CHUNK_LINE_BYTES { Err(malformed()) } else { Ok(None) };
            };
            let line = rest.get(..length).unwrap_or_default();
            let size = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
            let digits = std::str::from_utf8(size).ok().filter(|size| size.bytes().all(|b| b.is_ascii_hexdigit()));
            let size = digits.and_then(|size| usize::from_str_radix(size, 16).ok()).ok_or_else(malformed)?;
            if size > MAX_BODY_BYTES || self.end + size > MAX_BODY_BYTES + MAX_HEAD_BYTES {
                return Err(Fault::TooLarge);
            }
            let from = self.next + length + 1;
            if size == 0 {
                return trailer_end(bytes, from);
            }
            if bytes.len() < from + size + 2 {
                return Ok(None);
            }
            if bytes.get(from + size..from + size + 2) != Some(b"\r\n") {
                return Err(Fault::Malformed("a chunk that is longer than its size"));
            }
            bytes.copy_within(from..from + size, self.end);
            self.end += size;
            self.next = from + size + 2;
        }
    }
}

/// The end of the lines after the last chunk, which end in a blank one.
fn trailer_end(bytes: &[u8], mut from: usize) -> Result<Option<usize>, Fault> {
    loop {
        let rest = bytes.get(from..).unwrap_or_default();
        if rest.len() > MAX_HEAD_BYTES {
            return Err(Fault::TooLarge);
        }
        let Some(length) = memchr::memchr(b'\n', rest) else { return Ok(None) };
        from += length + 1;
        if rest.get(..length).unwrap_or_default().trim_ascii().is_empty() {
            return Ok(Some(from));
        }
    }
}

fn head(bytes: &[u8]) -> Result<Option<Head>, Fault> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut answer = httparse::Response::new(&mut headers);
    let body_at = match answer.parse(bytes) {
        Ok(httparse::Status::Complete(body_at)) => body_at,
        Ok(httparse::Status::Partial) if bytes.len() > MAX_HEAD_BYTES => return Err(Fault::TooLarge),
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Fault::Malformed("no HTTP head")),
    };
    let status = answer.code.unwrap_or_default();
    let mut keep = answer.version == Some(1);
    let bodiless = matches!(status, 204 | 304) || status < 200;
    let mut framing = if bodiless { Framing::Length(0) } else { Framing::UntilClose };
    for header in answer.headers.iter() {
        let value = header.value.trim_ascii();
        if header.name.eq_ignore_ascii_case("connection") {
            let has =
                |word: &str| value.split(|b| *b == b',').any(|v| v.trim_ascii().eq_ignore_ascii_case(word.as_bytes()));
            keep = (keep || has("keep-alive")) && !has("close");
        } else if bodiless {
            continue;
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case(b"chunked") {
                return Err(Fault::Malformed("an unknown transfer coding"));
            }
            framing = Framing::Chunked;
        } else if header.name.eq_ignore_ascii_case("content-length") && framing != Framing::Chunked {
            let digits = std::str::from_utf8(value).ok().filter(|v| v.bytes().all(|b| b.is_ascii_digit()));
            let length: usize =
                digits.and_then(|v| v.parse().ok()).ok_or(Fault::Malformed("a length that is no number"))?;
            if length > MAX_BODY_BYTES {
                return Err(Fault::TooLarge);
            }
            framing = Framing::Length(length);
        }
    }
    Ok(Some(Head { status, framing, keep: keep && framing != Framing::UntilClose, body_at }))
}
