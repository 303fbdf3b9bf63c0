//! Charsets of forms and of the parameter `encoding`.

use std::borrow::Cow;

use encoding_rs::Encoding;
use hyper::header::HeaderValue;

/// How bytes are read as text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Charset {
    Utf8,
    /// Not what the web calls ISO-8859-1 (that is windows-1252): bytes 80 to 9F are the control characters.
    Latin1,
    Other(&'static Encoding),
}

impl Charset {
    /// The charset with this name, if there is one; case does not count.
    pub(super) fn by_label(label: &str) -> Option<Self> {
        if label.eq_ignore_ascii_case("utf-8") {
            return Some(Charset::Utf8);
        }
        if ["iso-8859-1", "iso8859-1", "iso8859_1", "latin1"].iter().any(|known| label.eq_ignore_ascii_case(known)) {
            return Some(Charset::Latin1);
        }
        Encoding::for_label_no_replacement(label.as_bytes()).map(|encoding| match encoding == encoding_rs::UTF_8 {
            true => Charset::Utf8,
            false => Charset::Other(encoding),
        })
    }

    /// What `;charset=` says; UTF-8 when it is missing or unknown.
    pub(super) fn of_content_type(content_type: Option<&HeaderValue>) -> Self {
        let Some(text) = content_type.and_then(|value| value.to_str().ok()) else {
            return Charset::Utf8;
        };
        text.split(';')
            .skip(1)
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"))
            .and_then(|(_, label)| Self::by_label(label.trim().trim_matches('"')))
            .unwrap_or(Charset::Utf8)
    }

    /// `bytes` as text; what the charset doesn't have becomes U+FFFD.
    pub(super) fn text(self, bytes: &[u8]) -> Cow<'_, str> {
        match self {
            Charset::Utf8 => String::from_utf8_lossy(bytes),
            Charset::Latin1 => encoding_rs::mem::decode_latin1(bytes),
            Charset::Other(encoding) => encoding.decode_without_bom_handling(bytes).0,
        }
    }

    /// As [`Charset::text`], without a copy where the bytes are UTF-8 already.
    pub(super) fn owned_text(self, bytes: Vec<u8>) -> String {
        match self {
            Charset::Utf8 => {
                String::from_utf8(bytes).unwrap_or_else(|fault| String::from_utf8_lossy(fault.as_bytes()).into_owned())
            }
            _ => self.text(&bytes).into_owned(),
        }
    }
}
