//! The two encodings of parameters: urlencoded (queries, forms) and multipart.

use std::borrow::Cow;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body_util::{BodyDataStream, Full};
use hyper::header::HeaderValue;
use multer::{Constraints, Multipart, SizeLimit};

use super::charset::Charset;
use super::{MAX_PARAMS, Pairs};
use crate::error::{Error, Result};
use crate::http::percent::unescape;

/// A name or value as it was sent.
#[derive(Default, Clone, Copy)]
struct Raw {
    from: usize,
    to: usize,
    /// Whether it holds `%` or `+`.
    coded: bool,
}

impl Raw {
    fn is_empty(self) -> bool {
        self.from == self.to
    }
}

/// Encoded text, all of it.
struct Source<'a> {
    bytes: &'a [u8],
    charset: Charset,
    /// The same, where it is proper UTF-8 and meant so: looked at once, not for every name and value.
    text: Option<&'a str>,
}

impl<'a> Source<'a> {
    fn new(bytes: &'a [u8], charset: Charset) -> Self {
        let text = if charset == Charset::Utf8 { std::str::from_utf8(bytes).ok() } else { None };
        Self { bytes, charset, text }
    }

    fn decode(&self, raw: Raw) -> Option<Cow<'a, str>> {
        let plain = self.text.filter(|_| !raw.coded).and_then(|text| text.get(raw.from..raw.to));
        if let Some(plain) = plain {
            return Some(Cow::Borrowed(plain));
        }
        let bytes = self.bytes.get(raw.from..raw.to)?;
        if !raw.coded {
            return Some(self.charset.text(bytes));
        }
        Some(Cow::Owned(self.charset.owned_text(unescape(bytes, true)?)))
    }
}

/// Adds the pairs of `text` to `pairs`, up to [`MAX_PARAMS`] in all. Pairs without a name and pairs with a broken
/// escape are left out.
pub(super) fn urlencoded<'a>(text: &'a [u8], charset: Charset, pairs: &mut Pairs<'a>) {
    let source = Source::new(text, charset);
    let mut at = 0;
    while at < text.len() && pairs.len() < MAX_PARAMS {
        let (name, value, after) = next_pair(text, at);
        at = after;
        if name.is_empty() {
            continue;
        }
        if let (Some(name), Some(value)) = (source.decode(name), source.decode(value)) {
            pairs.push((name, value));
        }
    }
}

/// The pair of `text` that begins at `from`, and where the next one begins. One pass: this runs for every request.
fn next_pair(text: &[u8], from: usize) -> (Raw, Raw, usize) {
    let mut name = None;
    let mut coded = false;
    let mut start = from;
    let mut to = text.len();
    for (at, byte) in text.iter().enumerate().skip(from) {
        match byte {
            b'&' => {
                to = at;
                break;
            }
            b'=' if name.is_none() => {
                name = Some(Raw { from, to: at, coded: std::mem::take(&mut coded) });
                start = at + 1;
            }
            b'%' | b'+' => coded = true,
            _ => {}
        }
    }
    let last = Raw { from: start, to, coded };
    match name {
        Some(name) => (name, last, to + 1),
        None => (last, Raw::default(), to + 1),
    }
}

/// Adds the text fields of a multipart body to `pairs`, up to [`MAX_PARAMS`] in all; files are left out.
pub(super) fn multipart(body: &[u8], content_type: Option<&HeaderValue>, pairs: &mut Pairs<'_>) -> Result<()> {
    let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let boundary = multer::parse_boundary(content_type).map_err(malformed)?;
    let limit_bytes = body.len() as u64;
    let constraints = Constraints::new().size_limit(SizeLimit::new().whole_stream(limit_bytes).per_field(limit_bytes));
    let stream = BodyDataStream::new(Full::new(Bytes::copy_from_slice(body)));
    let mut parts = Multipart::with_constraints(stream, boundary, constraints);
    let reading = pin!(async {
        while let Some(field) = parts.next_field().await? {
            if pairs.len() >= MAX_PARAMS {
                break;
            }
            let name = field.name().filter(|name| !name.is_empty()).map(str::to_owned);
            if let (Some(name), None) = (name, field.file_name()) {
                pairs.push((Cow::Owned(name), Cow::Owned(field.text().await?)));
            }
        }
        Ok(())
    });
    // The whole body is there, so the reader never has to wait.
    match reading.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(read) => read.map_err(malformed),
        Poll::Pending => Err(Error::Input("multipart body ends too early".to_owned())),
    }
}

fn malformed(fault: multer::Error) -> Error {
    Error::Input(format!("malformed multipart body: {fault}"))
}
