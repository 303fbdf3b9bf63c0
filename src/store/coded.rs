//! Rows as bytes without a store around them: what `benches/` measure of the codec. Not for anything else.

use super::codec;
use super::key::Names;
use crate::error::{Error, Result};
use crate::model::Row;

/// Key and value of `row`; a removal has no value.
///
/// # Errors
/// [`Error::Limit`] for a row that is too large.
pub fn encode(row: &Row, sequence: u64) -> Result<(Vec<u8>, Option<Vec<u8>>)> {
    codec::encode(row, sequence).map(|encoded| (encoded.key, encoded.value))
}

/// The rows of keys and values, in order of keys as a scan reads them.
///
/// # Errors
/// [`Error::Storage`] for bytes that are not those of a row.
pub fn decode<'a>(pairs: impl IntoIterator<Item = (&'a [u8], &'a [u8])>) -> Result<Vec<Row>> {
    let mut names = Names::default();
    let decoded =
        pairs.into_iter().map(|(key, value)| codec::decode(key, value, &mut names).map(|decoded| decoded.row));
    decoded.collect::<std::result::Result<_, _>>().map_err(|fault| Error::Storage(format!("{fault:?}")))
}
