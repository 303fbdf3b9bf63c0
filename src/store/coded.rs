//! Rows as bytes without a store around them: what `benches/` measure of the codec. Not for anything else.

use super::codec;
use super::key::Names;
use super::pack::Frames;
use crate::error::{Error, Result};
use crate::model::Row;

/// Key and payload of `row`; a removal has no payload.
///
/// # Errors
/// [`Error::Limit`] for a row that is too large.
pub fn encode(row: &Row) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
    let mut frames = Frames::default();
    frames.push(row)?;
    let only = frames.iter().next().map(|frame| (frame.key.to_vec(), frame.payload.map(<[u8]>::to_vec)));
    only.ok_or_else(|| Error::Storage("nothing was encoded".to_owned()))
}

/// The rows of keys and payloads, in the order in which a scan reads them.
///
/// # Errors
/// [`Error::Storage`] for bytes that are not those of a row.
pub fn decode<'a>(pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<Vec<Row>> {
    let mut names = Names::default();
    let decoded = pairs.into_iter().map(|(key, payload)| codec::decode(key, payload, codec::SCHEMA, &mut names));
    decoded.collect::<std::result::Result<_, _>>().map_err(|fault| Error::Storage(format!("{fault:?}")))
}
