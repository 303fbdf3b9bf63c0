//! The bytes of a datagram (`spec/push.md` 3).

use std::io::{Read, Write};

use bytes::Bytes;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;

use crate::wire::push::datagram;

/// Datagrams of this many bytes or more are compressed.
pub const GZIP_FROM: usize = 1_024;
/// The most that fits into a datagram over IPv4.
pub const MAX_BYTES: usize = 65_507;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// The datagram for `list`, the JSON of a list answer, in push `number`. `None`: it is too large to be sent.
pub fn encode(list: &[u8], number: i64) -> Option<Bytes> {
    let plain = datagram(std::str::from_utf8(list).ok()?, number);
    let bytes = if plain.len() < GZIP_FROM { plain } else { gzip(&plain)? };
    (bytes.len() <= MAX_BYTES).then(|| bytes.into())
}

fn gzip(plain: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), flate2::Compression::default());
    // Writing to memory does not fail.
    encoder.write_all(plain).and_then(|()| encoder.finish()).ok()
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
        vec![b'x'; bytes - datagram("", 1).len()]
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
