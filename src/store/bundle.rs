//! Rows and commands as bytes for other servers: the stored forms without a store around them.
//!
//! Rows: `version u8 | schema u8 | count u64 BE | for each row: length of key and of payload u32 BE, key, payload | crc32 BE`.

use serde::{Serialize, de::DeserializeOwned};

use super::codec::{self, Fault};
use super::key::Names;
use super::pack::Frames;
use crate::error::{Error, Result};
use crate::model::Row;

const VERSION: u8 = 1;
const CRC_BYTES: usize = 4;

/// All `rows` in one piece.
///
/// # Errors
/// [`Error::Limit`] for a row that is too large.
pub fn pack(rows: &[Row]) -> Result<Vec<u8>> {
    let mut out = vec![VERSION, codec::SCHEMA];
    out.extend((rows.len() as u64).to_be_bytes());
    let mut frames = Frames::default();
    for row in rows {
        frames.clear();
        frames.push(row)?;
        for frame in frames.iter() {
            let payload = frame.payload.unwrap_or_default();
            out.extend((frame.key.len() as u32).to_be_bytes());
            out.extend((payload.len() as u32).to_be_bytes());
            out.extend_from_slice(frame.key);
            out.extend_from_slice(payload);
        }
    }
    let crc = crc32fast::hash(&out);
    out.extend(crc.to_be_bytes());
    Ok(out)
}

/// The inverse of [`pack`].
///
/// # Errors
/// [`Error::Storage`] for bytes that are no rows, or are from a later version.
pub fn unpack(bytes: &[u8]) -> Result<Vec<Row>> {
    read(bytes).map_err(|fault| match fault {
        Fault::Damaged => Error::Storage("these are not the rows that were sent".to_owned()),
        Fault::Newer(what) => Error::Storage(format!("there is {what} of a later version")),
    })
}

fn read(bytes: &[u8]) -> std::result::Result<Vec<Row>, Fault> {
    let (body, crc) = bytes.split_last_chunk::<CRC_BYTES>().ok_or(Fault::Damaged)?;
    if crc32fast::hash(body) != u32::from_be_bytes(*crc) {
        return Err(Fault::Damaged);
    }
    let ([version, schema], rest) = body.split_first_chunk::<2>().ok_or(Fault::Damaged)?;
    if *version > VERSION || *schema > codec::SCHEMA {
        return Err(Fault::Newer(format!("a bundle of version {version}, schema {schema}")));
    }
    let (count, mut rest) = rest.split_first_chunk::<8>().ok_or(Fault::Damaged)?;
    let mut names = Names::default();
    let mut rows = Vec::new();
    while !rest.is_empty() {
        let (key_bytes, after) = rest.split_first_chunk::<4>().ok_or(Fault::Damaged)?;
        let (payload_bytes, after) = after.split_first_chunk::<4>().ok_or(Fault::Damaged)?;
        let (key, after) = after.split_at_checked(u32::from_be_bytes(*key_bytes) as usize).ok_or(Fault::Damaged)?;
        let payload_bytes = u32::from_be_bytes(*payload_bytes) as usize;
        let (payload, after) = after.split_at_checked(payload_bytes).ok_or(Fault::Damaged)?;
        rows.push(codec::decode(key, payload, *schema, &mut names)?);
        rest = after;
    }
    if rows.len() as u64 != u64::from_be_bytes(*count) {
        return Err(Fault::Damaged);
    }
    Ok(rows)
}

/// Any value, in the form that the payloads of rows have. It is not self-describing: who stores or sends it puts a
/// version in front.
///
/// # Errors
/// [`Error::Storage`] for a value that has no such form.
pub fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    codec::write(value, &mut out)?;
    Ok(out)
}

/// The inverse of [`encode`], for at most `limit` bytes.
///
/// # Errors
/// [`Error::Storage`] for bytes that are no such value.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T> {
    codec::read_within(bytes, limit).map_err(|_| Error::Storage("these bytes are not what they should be".to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::settings::{Setting, SettingKey};
    use crate::model::{Instance, InstanceKey, ServiceKey};

    #[test]
    fn rows_come_back_and_damage_shows() {
        let key = |port| InstanceKey {
            service: ServiceKey::new("public", "DEFAULT_GROUP@@a"),
            cluster: "DEFAULT".into(),
            ip: "10.0.0.1".into(),
            port,
            ephemeral: false,
        };
        let mut rows: Vec<Row> =
            (0..50).map(|port| Row::Instance(key(port), Some(Arc::new(Instance::default())))).collect();
        let role = SettingKey::Role { role: "r".into(), user: "u".into() };
        rows.push(Row::Setting(role, Some(Arc::new(Setting::Role(3)))));
        let bytes = pack(&rows).unwrap();
        assert_eq!(unpack(&bytes).unwrap(), rows);
        assert_eq!(unpack(&pack(&[]).unwrap()).unwrap(), []);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 4;
            assert!(unpack(&damaged).is_err(), "byte {at}");
            assert!(unpack(&bytes[..at]).is_err(), "the first {at} bytes");
        }
        let mut newer = bytes[..bytes.len() - 4].to_vec();
        newer[1] += 1;
        let crc = crc32fast::hash(&newer);
        newer.extend(crc.to_be_bytes());
        assert!(unpack(&newer).unwrap_err().message().contains("later version"));
    }
}
