//! Metadata as text (5.7).

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::json;
use super::object::{self, Scalar};
use crate::error::{Error, Result};
use crate::model::Metadata;

/// Reads metadata in either form of 5.7: a JSON object of scalars, or `key=value,key=value`. Blank text is no metadata;
/// `Ok(None)` is the JSON `null`. What is neither is refused with the text as given.
pub fn parse(text: &str) -> Result<Option<Metadata>> {
    if text.chars().all(|c| c <= ' ' || c.is_whitespace()) {
        return Ok(Some(Metadata::default()));
    }
    if object::is_null(text) {
        return Ok(None);
    }
    object(text)
        .or_else(|| pairs(text))
        .map(Some)
        .ok_or_else(|| Error::Refused(format!("metadata format incorrect:{text}")))
}

/// The JSON form: values are scalars, numbers and truth values keep their source text, null ones are dropped.
pub(super) fn object(text: &str) -> Option<Metadata> {
    let mut all: Vec<(Cow<'_, str>, Option<Cow<'_, str>>)> = Vec::new();
    object::members(text, |key, value| {
        all.push((key, Scalar::of(value)?.into_text()));
        Some(())
    })?;
    if all.iter().all(|(_, value)| value.is_some()) {
        return Some(all.into_iter().filter_map(|(key, value)| Some((key, value?))).collect());
    }
    // A null takes back an earlier value of its key.
    let last: BTreeMap<_, _> = all.into_iter().collect();
    Some(last.into_iter().filter_map(|(key, value)| Some((key, value?))).collect())
}

/// The pair form. Java's `split` drops empty parts at the end, hence the trimming.
fn pairs(text: &str) -> Option<Metadata> {
    match text.trim_end_matches(',') {
        "" => Some(Metadata::default()),
        text => text.split(',').map(pair).collect(),
    }
}

fn pair(text: &str) -> Option<(&str, &str)> {
    text.trim_end_matches('=').split_once('=').filter(|(_, value)| !value.contains('='))
}

/// Prints as JSON; `None` is `null` (5.6, 5.7).
pub fn write_json(metadata: &Option<Metadata>, out: &mut Vec<u8>) {
    match metadata {
        Some(metadata) => write_map(metadata, out),
        None => out.extend_from_slice(b"null"),
    }
}

/// Prints as a JSON object, in order of keys.
pub fn write_map(metadata: &Metadata, out: &mut Vec<u8>) {
    out.push(b'{');
    json::separated(metadata.iter(), out, |(key, value), out| {
        json::string(key, out);
        out.push(b':');
        json::string(value, out);
    });
    out.push(b'}');
}

#[cfg(test)]
mod tests;
