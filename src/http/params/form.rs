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
struct Raw<'a> {
    bytes: &'a [u8],
    /// Whether it holds `%` or `+`.
    coded: bool,
}

impl<'a> Raw<'a> {
    fn decode(self, charset: Charset) -> Option<Cow<'a, str>> {
        if !self.coded {
            return Some(charset.text(self.bytes));
        }
        Some(Cow::Owned(charset.owned_text(unescape(self.bytes, true)?)))
    }
}

/// Adds the pairs of `text` to `pairs`, up to [`MAX_PARAMS`] in all. Pairs without a name and pairs with a broken
/// escape are left out.
pub(super) fn urlencoded<'a>(text: &'a [u8], charset: Charset, pairs: &mut Pairs<'a>) {
    let mut rest = text;
    while !rest.is_empty() && pairs.len() < MAX_PARAMS {
        let (name, value, after) = next_pair(rest);
        rest = after;
        if name.bytes.is_empty() {
            continue;
        }
        if let (Some(name), Some(value)) = (name.decode(charset), value.decode(charset)) {
            pairs.push((name, value));
        }
    }
}

/// The first pair of `text`, and what follows its `&`. One pass: this runs for every request.
fn next_pair(text: &[u8]) -> (Raw<'_>, Raw<'_>, &[u8]) {
    let mut equals = None;
    let mut coded = false;
    let mut name_coded = false;
    let mut end = text.len();
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'&' => {
                end = at;
                break;
            }
            b'=' if equals.is_none() => {
                equals = Some(at);
                name_coded = std::mem::take(&mut coded);
            }
            b'%' | b'+' => coded = true,
            _ => {}
        }
    }
    let after = text.get(end + 1..).unwrap_or_default();
    let Some(equals) = equals else {
        return (Raw { bytes: text.get(..end).unwrap_or_default(), coded }, Raw::default(), after);
    };
    let name = Raw { bytes: text.get(..equals).unwrap_or_default(), coded: name_coded };
    let value = Raw { bytes: text.get(equals + 1..end).unwrap_or_default(), coded };
    (name, value, after)
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
