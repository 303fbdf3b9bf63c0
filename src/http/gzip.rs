//! Bodies packed with gzip. Members of a cluster say that of bodies which aren't (`spec/distro.md` 6), so the bytes
//! themselves are looked at.

use std::io::Read;

use flate2::read::MultiGzDecoder;

use super::body::BodyError;

/// What every packed body begins with.
const MAGIC: &[u8] = &[0x1f, 0x8b];

/// Whether `body` is packed.
pub(super) fn is_packed(body: &[u8]) -> bool {
    body.starts_with(MAGIC)
}

/// What is in a packed body. Takes long for a large one; never holds more than `limit_bytes`.
///
/// # Errors
/// More than `limit_bytes` come out; the body is damaged.
pub(super) fn unpack(body: &[u8], limit_bytes: usize) -> Result<Vec<u8>, BodyError> {
    let mut plain = Vec::new();
    let more = (limit_bytes as u64).saturating_add(1);
    let read = MultiGzDecoder::new(body).take(more).read_to_end(&mut plain);
    read.map_err(|fault| BodyError::Broken(format!("not gzip all through: {fault}")))?;
    if plain.len() > limit_bytes { Err(BodyError::TooLarge { limit_bytes }) } else { Ok(plain) }
}

#[cfg(test)]
pub(super) fn pack(plain: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut packing = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packing.write_all(plain).unwrap();
    packing.finish().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_out_is_bounded() {
        let packed = pack(&vec![b' '; 1_000_000]);
        assert!(is_packed(&packed) && packed.len() < 10_000 && !is_packed(b"{}") && !is_packed(b"\x1f"));
        assert_eq!(unpack(&packed, 1_000_000).map(|plain| plain.len()), Ok(1_000_000));
        assert_eq!(unpack(&packed, 999_999), Err(BodyError::TooLarge { limit_bytes: 999_999 }));
        let half = packed.get(..packed.len() / 2).unwrap();
        assert!(matches!(unpack(half, 1_000_000), Err(BodyError::Broken(_))));
        assert!(matches!(unpack(MAGIC, 10), Err(BodyError::Broken(_))));
        let twice = [pack(b"{"), pack(b"}")].concat();
        assert_eq!(unpack(&twice, 2), Ok(b"{}".to_vec()));
    }
}
