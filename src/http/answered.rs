//! What is logged of a request that was answered: its line in the access log, and why it was refused.

use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Body as _;
use hyper::header::{HeaderName, HeaderValue, USER_AGENT};
use hyper::http::request::Parts;
use hyper::{Response, Version};

use super::conn::Conn;
use crate::telemetry::access::{self, Request};

const REQUEST_SOURCE: HeaderName = HeaderName::from_static("request-source");
/// How many characters of a refusal are logged.
const REASON_CHARS: usize = 300;

/// Logs the request of `head`, which was begun at `begun` and is answered with `response`.
pub(super) fn note(head: &Parts, conn: &Conn, begun: Instant, response: &Response<Full<Bytes>>) {
    let (status, target) = (response.status(), head.uri.path_and_query().map_or("*", |both| both.as_str()));
    if access::is_on() {
        let header = |name| head.headers.get(name).map(HeaderValue::as_bytes);
        let request = Request {
            peer: conn.peer().ip(),
            method: head.method.as_str(),
            target,
            version: if head.version == Version::HTTP_10 { "HTTP/1.0" } else { "HTTP/1.1" },
            agent: header(USER_AGENT),
            source: header(REQUEST_SOURCE),
            status: status.as_u16(),
            bytes: response.body().size_hint().exact().unwrap_or(0),
        };
        access::log(&request, begun);
    }
    if status.is_client_error() || status.is_server_error() {
        refused(head, conn, target, response);
    }
}

#[cold]
fn refused(head: &Parts, conn: &Conn, target: &str, response: &Response<Full<Bytes>>) {
    let (peer, method, status) = (conn.peer().ip().to_canonical(), &head.method, response.status().as_u16());
    // Made only for lines that are written.
    let target = Shown(|| access::shown(target));
    let reason = Shown(|| {
        let body = response.body().clone().into_inner().unwrap_or_default();
        String::from_utf8_lossy(&body).chars().take(REASON_CHARS).collect()
    });
    if response.status().is_server_error() {
        tracing::warn!(target: "nacre::refused", "{method} {target} from {peer} answered {status}: {reason}");
    } else {
        tracing::info!(target: "nacre::refused", "{method} {target} from {peer} answered {status}: {reason}");
    }
}

/// A text that is made when it is shown.
struct Shown<F>(F);

impl<F: Fn() -> String> std::fmt::Display for Shown<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0())
    }
}
