//! A request to a member and the answer, whatever they mean.

use std::io::Read as _;
use std::time::Duration;

use bytes::Bytes;
use flate2::read::MultiGzDecoder;
use http_body_util::Full;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Uri};

use crate::cluster::message::Failure;

/// A compressed answer above this is unpacked on a thread for slow work.
const SLOW_BYTES: usize = 256 << 10;
/// What the bytes of a gzip stream begin with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What a call may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// For a new connection.
    pub connect: Duration,
    /// For all of the call: a place, the connection, the request, the answer.
    pub total: Duration,
    /// Of the body of the answer, unpacked.
    pub max_answer_bytes: usize,
}

/// A request to a member.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// Its method.
    pub method: Method,
    /// Path, context included, and query; proper, see [`query`](super::query).
    pub target: String,
    /// Without those that every call has, and without length and encoding.
    pub headers: HeaderMap,
    /// All of it.
    pub body: Bytes,
    /// What it may cost.
    pub bounds: Bounds,
}

impl Outgoing {
    /// Without a body.
    pub fn get(target: String, bounds: Bounds) -> Self {
        Self { method: Method::GET, target, headers: HeaderMap::new(), body: Bytes::new(), bounds }
    }

    /// With a body of this type.
    pub fn post(target: String, content_type: &'static str, body: impl Into<Bytes>, bounds: Bounds) -> Self {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(content_type))]);
        Self { method: Method::POST, target, headers, body: body.into(), bounds }
    }

    pub(super) fn into_request(self) -> Result<Request<Full<Bytes>>, Failure> {
        let target = Uri::from_maybe_shared(Bytes::from(self.target));
        let target = target.map_err(|fault| Failure::Broken(format!("no target of a request: {fault}")))?;
        let mut headers = self.headers;
        // Said of other bodies by hyper.
        if self.body.is_empty() && self.method != Method::GET {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let mut request = Request::new(Full::new(self.body));
        *request.method_mut() = self.method;
        *request.uri_mut() = target;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

/// An answer of a member.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// Its status.
    pub status: u16,
    /// All of them.
    pub headers: HeaderMap,
    /// All of it, unpacked.
    pub body: Bytes,
}

impl Incoming {
    /// Whether the member finds the request wrong as it stands.
    pub fn is_bad_request(&self) -> bool {
        self.status == 400
    }

    /// Whether there is nothing under the path that was asked for.
    pub fn is_not_there(&self) -> bool {
        matches!(self.status, 404 | 405 | 501)
    }

    /// Whether the member takes no request of this size: body, target or headers.
    pub fn is_too_large(&self) -> bool {
        matches!(self.status, 413 | 414 | 431)
    }

    /// The body as people may read it, not all of a long one.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().take(300).collect()
    }
}

/// The answer with a body that is not compressed. Servers have been seen to say that a body is when it is not: what counts
/// is how it begins.
pub(super) async fn unpack(answer: Incoming, max_bytes: usize) -> Result<Incoming, Failure> {
    let says = answer.headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes).unwrap_or_default();
    if !says.eq_ignore_ascii_case(b"gzip") || !answer.body.starts_with(&GZIP) {
        return Ok(answer);
    }
    let packed = answer.body;
    let body = if packed.len() < SLOW_BYTES {
        inflate(&packed, max_bytes)
    } else {
        let inflating = tokio::task::spawn_blocking(move || inflate(&packed, max_bytes));
        inflating.await.unwrap_or_else(|fault| Err(Failure::Broken(format!("answer not unpacked: {fault}"))))
    };
    Ok(Incoming { body: body?, ..answer })
}

fn inflate(packed: &[u8], max_bytes: usize) -> Result<Bytes, Failure> {
    let mut body = Vec::new();
    let limit = u64::try_from(max_bytes).unwrap_or(u64::MAX).saturating_add(1);
    let read = MultiGzDecoder::new(packed).take(limit).read_to_end(&mut body);
    read.map_err(|fault| Failure::Broken(format!("answer can't be unpacked: {fault}")))?;
    if body.len() > max_bytes { Err(too_large(max_bytes)) } else { Ok(body.into()) }
}

pub(super) fn too_large(max_bytes: usize) -> Failure {
    Failure::Broken(format!("answer of more than {max_bytes} bytes"))
}
