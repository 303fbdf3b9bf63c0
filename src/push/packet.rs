//! The bytes of a datagram (`spec/push.md` 3).

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::Crc;
use flate2::read::GzDecoder;
use flate2::write::DeflateEncoder;

use crate::wire::push::{datagram_head, datagram_tail};

/// Datagrams of this many bytes or more are compressed.
pub const GZIP_FROM: usize = 1_024;
/// The most that fits into a datagram over IPv4.
pub const MAX_BYTES: usize = 65_507;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Deflate; no name, no time, no known system.
const GZIP_HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];

/// What a push says in one shape. It is compressed once, however many numbers it is sent with.
pub struct Content {
    head: Vec<u8>,
    /// The head as whole blocks of deflate, and its checksum.
    packed: Option<(Vec<u8>, Crc)>,
}

impl Content {
    /// Says `list`, the JSON of a list answer. `None`: it is no text.
    pub fn new(list: &[u8]) -> Option<Self> {
        Some(Self { head: datagram_head(std::str::from_utf8(list).ok()?), packed: None })
    }

    /// The datagram of push `number`. `None`: it is too large to be sent.
    pub fn datagram(&mut self, number: i64) -> Option<Bytes> {
        let tail = datagram_tail(number);
        let bytes = if self.head.len() + tail.len() < GZIP_FROM {
            [self.head.as_slice(), &tail].concat()
        } else {
            self.gzip(&tail)?
        };
        (bytes.len() <= MAX_BYTES).then(|| bytes.into())
    }

    /// The packed head, the tail as a last block that is stored as it is, and the trailer of RFC 1952.
    fn gzip(&mut self, tail: &[u8]) -> Option<Vec<u8>> {
        if self.packed.is_none() {
            self.packed = Some(pack(&self.head)?);
        }
        let (deflated, head_crc) = self.packed.as_ref()?;
        if deflated.len() > MAX_BYTES {
            return None;
        }
        let tail_len = u16::try_from(tail.len()).ok()?;
        let (mut crc, mut tail_crc) = (Crc::new(), Crc::new());
        tail_crc.update(tail);
        crc.combine(head_crc);
        crc.combine(&tail_crc);
        let mut out = Vec::with_capacity(GZIP_HEADER.len() + deflated.len() + tail.len() + 13);
        out.extend(GZIP_HEADER);
        out.extend(deflated);
        out.push(1);
        out.extend(tail_len.to_le_bytes());
        out.extend((!tail_len).to_le_bytes());
        out.extend(tail);
        out.extend(crc.sum().to_le_bytes());
        out.extend(crc.amount().to_le_bytes());
        Some(out)
    }
}

fn pack(head: &[u8]) -> Option<(Vec<u8>, Crc)> {
    let mut encoder = DeflateEncoder::new(Vec::with_capacity(head.len() / 4), flate2::Compression::default());
    // Writing to memory does not fail. A flush ends the block at a whole byte.
    encoder.write_all(head).and_then(|()| encoder.flush()).ok()?;
    let mut crc = Crc::new();
    crc.update(head);
    Some((std::mem::take(encoder.get_mut()), crc))
}

/// The JSON in a datagram, at most `limit` bytes of it.
pub fn decode(bytes: &[u8], limit: usize) -> String {
    if !bytes.starts_with(&GZIP_MAGIC) {
        return String::from_utf8_lossy(bytes.get(..limit).unwrap_or(bytes)).into_owned();
    }
    let mut plain = Vec::new();
    // What can't be read of our own datagram is left out.
    let _ = GzDecoder::new(bytes).take(limit as u64).read_to_end(&mut plain);
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list whose datagram has that many bytes before compression.
    fn list_for(bytes: usize) -> Vec<u8> {
        vec![b'x'; bytes - datagram_head("").len() - datagram_tail(1).len()]
    }

    fn encode(list: &[u8], number: i64) -> Option<Bytes> {
        Content::new(list).unwrap().datagram(number)
    }

    #[test]
    fn compressed_from_1024_bytes() {
        let plain = encode(&list_for(1023), 1).unwrap();
        assert_eq!((plain.len(), plain[0]), (1023, b'{'));
        let packed = encode(&list_for(1024), 1).unwrap();
        assert_eq!(packed[..2], GZIP_MAGIC);
        // No name, no time.
        assert_eq!(packed[3..8], [0; 5]);
        assert_eq!(decode(&packed, 2000).len(), 1024);
        assert_eq!(decode(&plain, 2000).as_bytes(), plain);
        assert_eq!((decode(&packed, 10).len(), decode(&plain, 10).len()), (10, 10));
    }

    #[test]
    fn one_content_serves_many_numbers() {
        let list: String = (0..2_000).map(|at| format!("10.0.{}.{} ", at % 7, at)).collect();
        let mut content = Content::new(list.as_bytes()).unwrap();
        for number in [1, -1, 1_700_000_000_000_000, i64::MAX] {
            let packed = content.datagram(number).unwrap();
            let mut reader = GzDecoder::new(&packed[..]);
            let mut plain = Vec::new();
            // The checksum and the length are compared at the end.
            assert!(reader.read_to_end(&mut plain).is_ok(), "{number}");
            assert!(reader.into_inner().is_empty(), "nothing follows the stream");
            let expected = format!(r#"{{"type":"dom","data":"{list}","lastRefTime":{number}}}"#);
            assert_eq!(String::from_utf8(plain).unwrap(), expected);
        }
        assert!(Content::new(&[0xff]).is_none());
    }

    #[test]
    fn what_does_not_fit_is_not_made() {
        let mut state = 1u32;
        let mut letter = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            b'a' + ((state >> 24) % 26) as u8
        };
        let mixed: Vec<u8> = (0..200_000).map(|_| letter()).collect();
        assert!(encode(&mixed, 1).is_none());
        assert!(encode(&vec![b'x'; 200_000], 1).is_some());
    }
}
