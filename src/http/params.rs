//! The parameters of a request: query and form merged, read as `spec/instance-api.md` 1.1 and 1.2 say.
//! Everything that is not encoded is borrowed from the request.

mod charset;
mod form;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use hyper::Method;
use hyper::header::HeaderValue;

use crate::error::{Error, Result};
use charset::Charset;

/// More parameters than this, query and form together, are dropped without a word, as the reference does.
pub const MAX_PARAMS: usize = 10_000;

/// Most requests have fewer parameters than this (a registration of the Java client has 10).
const USUAL_PARAMS: usize = 10;

type Pairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// The parameters of one request. Of a parameter given more than once the first counts, and the query comes before
/// the form. Names are case-sensitive.
#[derive(Debug, Default)]
pub struct Params<'a> {
    pairs: Pairs<'a>,
}

/// Whether a body holds parameters, and in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyParams {
    /// None: GET, HEAD and so on, JSON, or no content type.
    None,
    /// `application/x-www-form-urlencoded`, on PUT, PATCH, DELETE and POST.
    Form,
    /// `multipart/form-data`, on POST.
    Multipart,
}

impl BodyParams {
    /// By the rule of `spec/instance-api.md` 1.1. POST forms are read, though the reference of 1.4.4 and later doesn't.
    pub fn of(method: &Method, content_type: Option<&HeaderValue>) -> Self {
        if !matches!(*method, Method::POST | Method::PUT | Method::PATCH | Method::DELETE) {
            return BodyParams::None;
        }
        match content_type.map(media_type) {
            Some(media) if media.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") => BodyParams::Form,
            Some(media) if media.eq_ignore_ascii_case(b"multipart/form-data") && *method == Method::POST => {
                BodyParams::Multipart
            }
            _ => BodyParams::None,
        }
    }
}

fn media_type(content_type: &HeaderValue) -> &[u8] {
    content_type.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii()
}

impl<'a> Params<'a> {
    /// The parameters of a query alone.
    pub fn of_query(query: Option<&'a str>) -> Self {
        Self::read(&Method::GET, query, None, &[]).unwrap_or_default()
    }

    /// The parameters of a whole request. `body` is looked at only where [`BodyParams::of`] finds parameters in it.
    ///
    /// A parameter with a broken percent escape in its name or value is dropped, in forms too: the Go client sends
    /// `%` (and `&`, `+`) in PUT forms unencoded, and what it sends then can't be told from a proper form; the
    /// reference drops it as well. Bytes that the charset does not have become U+FFFD.
    ///
    /// # Errors
    /// [`Error::Input`] when a multipart body is malformed.
    pub fn read(
        method: &Method,
        query: Option<&'a str>,
        content_type: Option<&HeaderValue>,
        body: &'a [u8],
    ) -> Result<Self> {
        let mut pairs = Vec::with_capacity(USUAL_PARAMS);
        form::urlencoded(query.unwrap_or_default().as_bytes(), Charset::Utf8, &mut pairs);
        if !body.is_empty() {
            match BodyParams::of(method, content_type) {
                BodyParams::None => {}
                BodyParams::Form => form::urlencoded(body, Charset::of_content_type(content_type), &mut pairs),
                BodyParams::Multipart => form::multipart(body, content_type, &mut pairs)?,
            }
        }
        let mut params = Self { pairs };
        params.reread();
        Ok(params)
    }

    /// Does what the parameter `encoding` asks for: the UTF-8 bytes of each value are read again in that charset.
    fn reread(&mut self) {
        let charset = match self.get("encoding").and_then(Charset::by_label) {
            None | Some(Charset::Utf8) => return,
            Some(charset) => charset,
        };
        for (_, value) in &mut self.pairs {
            if !value.is_ascii() {
                *value = Cow::Owned(charset.text(value.as_bytes()).into_owned());
            }
        }
    }

    /// The value as it was given, not trimmed.
    pub fn raw(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_ref())
    }

    /// The value, trimmed; maybe empty. `None` when the parameter is missing.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.raw(name).map(trim)
    }

    /// The value, trimmed; `None` when it is missing, empty or blank.
    pub fn given(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// The value, trimmed. A value of blanks only passes and is then empty, as in the reference: where that must not
    /// be (`ip`), the caller has to look.
    ///
    /// # Errors
    /// [`Error::Input`] `Param 'NAME' is required.` when the parameter is missing or its value has no characters.
    pub fn required(&self, name: &str) -> Result<&str> {
        match self.raw(name) {
            None | Some("") => Err(Error::Input(format!("Param '{name}' is required."))),
            Some(value) => Ok(trim(value)),
        }
    }

    /// The value, trimmed; `default` when it is missing, empty or blank.
    pub fn optional<'s>(&'s self, name: &str, default: &'s str) -> &'s str {
        self.given(name).unwrap_or(default)
    }

    /// All pairs in the order in which they were given, repeated ones too; values not trimmed.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
}

/// Without the characters up to and including U+0020 on both ends.
fn trim(value: &str) -> &str {
    value.trim_matches(|c| c <= ' ')
}
