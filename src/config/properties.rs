//! The properties format: `key=value`, `#` and `!` comments, `\uXXXX`, `\` at the end of a line.

use std::io::{ErrorKind, Read};
use std::path::Path;

use java_properties::{LineContent, PropertiesIter};

use crate::error::{Error, Result};

/// A configuration file larger than this is refused: it is not one.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// One `key=value` of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Property {
    pub(super) name: String,
    pub(super) value: String,
    /// Number of the line it starts on, from 1.
    pub(super) line: usize,
}

/// The bytes of a file of conf/; `None` when there is no such file. Anything else that keeps it from being read is an
/// error: starting on defaults instead would be a surprise.
pub(super) fn read_file(path: &Path) -> Result<Option<Vec<u8>>> {
    let unreadable = |cause: &dyn std::fmt::Display| Error::Setup(format!("{} can't be read: {cause}", path.display()));
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unreadable(&error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(&error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable(&format_args!("it is larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(Some(bytes))
}

/// All properties in order. The text is UTF-8; comments may be anything (they are often in another encoding).
pub(super) fn parse(bytes: &[u8], path: &Path) -> Result<Vec<Property>> {
    let bytes = without_comments(bytes);
    if let Err(error) = std::str::from_utf8(&bytes) {
        let line = bytes.iter().take(error.valid_up_to()).filter(|b| **b == b'\n').count() + 1;
        return Err(Error::Setup(format!(
            "{} line {line}: not UTF-8; use \\uXXXX or save it as UTF-8",
            path.display()
        )));
    }
    let mut properties = Vec::new();
    for line in PropertiesIter::new_with_encoding(bytes.as_slice(), encoding_rs::UTF_8) {
        let line = line.map_err(|error| {
            let number = error.line_number().unwrap_or_default();
            Error::Setup(format!("{} line {number}: malformed \\uXXXX, four hex digits are wanted", path.display()))
        })?;
        let number = line.line_number();
        if let LineContent::KVPair(name, value) = line.consume_content() {
            properties.push(Property { name, value: value.trim().to_owned(), line: number });
        }
    }
    Ok(properties)
}

/// Blanks comment lines and ends the last line. The reading crate unescapes comments, so that `# C:\users` would be an
/// error, and drops a last line that ends in a backslash.
fn without_comments(bytes: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(bytes.len() + 1);
    let mut continued = false;
    for line in bytes.split_inclusive(|b| matches!(b, b'\n' | b'\r')) {
        let text = line.trim_ascii();
        if !continued && matches!(text.first(), Some(b'#' | b'!')) {
            kept.extend(line.iter().filter(|b| matches!(b, b'\n' | b'\r')));
            continue;
        }
        // The \n of \r\n comes as a line of its own and must not end a continuation.
        if line != b"\n" || kept.last() != Some(&b'\r') {
            let end = line.strip_suffix(b"\n").or_else(|| line.strip_suffix(b"\r")).unwrap_or(line);
            continued = end.iter().rev().take_while(|b| **b == b'\\').count() % 2 == 1;
        }
        kept.extend_from_slice(line);
    }
    kept.push(b'\n');
    kept
}
