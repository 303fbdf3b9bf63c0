//! From an answer to HTTP: the one place that picks a status (`spec/instance-api.md` 3).

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Response, StatusCode};

use crate::error::Error;
use crate::wire::json;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain;charset=UTF-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What the body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Json,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    status: StatusCode,
    kind: Kind,
    body: Bytes,
}

impl Reply {
    /// The two letters that clients compare.
    pub fn ok() -> Self {
        Self::text("ok")
    }

    /// A plain text.
    pub fn text(body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, kind: Kind::Text, body: body.into() }
    }

    /// A JSON text.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, kind: Kind::Json, body: body.into() }
    }

    /// The node can't do its work now; a probe asks.
    pub fn not_ready(reason: &str) -> Self {
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, kind: Kind::Text, body: reason.to_owned().into() }
    }

    /// An operation that failed (`spec/instance-api.md` 3.2).
    pub fn error(error: &Error) -> Self {
        let status = match error {
            Error::Input(_) => StatusCode::BAD_REQUEST,
            Error::Denied(_) => StatusCode::FORBIDDEN,
            Error::Refused(_) | Error::Storage(_) | Error::Setup(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Error::Limit(_) | Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let body = match error {
            Error::Denied(text) => text.clone(),
            other => format!("caused: {};", other.message()),
        };
        Self { status, kind: Kind::Text, body: body.into() }
    }

    /// A path that is not to be served, whatever it means.
    pub fn bad_path(fault: &str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, kind: Kind::Text, body: format!("caused: {fault};").into() }
    }

    /// The body is larger than this server takes.
    pub fn too_large(limit_bytes: usize) -> Self {
        let body = format!("caused: the body is larger than {limit_bytes} bytes;");
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, kind: Kind::Text, body: body.into() }
    }

    /// Below the naming API: an unknown path, or a method that the path doesn't know (3.3). `path` as it was sent.
    pub fn no_such_api(method: &Method, path: &str) -> Self {
        let message = format!("no such api:{method}:{path}");
        Self::object(StatusCode::NOT_IMPLEMENTED, "Not Implemented", &message, path)
    }

    /// Elsewhere: an unknown path (3.3).
    pub fn not_found(path: &str) -> Self {
        Self::object(StatusCode::NOT_FOUND, "Not Found", "No message available", path)
    }

    /// Elsewhere: a known path with a method that it doesn't know.
    pub fn wrong_method(method: &Method) -> Self {
        let body = format!("caused: Request method '{method}' not supported;");
        Self { status: StatusCode::INTERNAL_SERVER_ERROR, kind: Kind::Text, body: body.into() }
    }

    fn object(status: StatusCode, name: &str, message: &str, path: &str) -> Self {
        let now = jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%.3f%:z");
        let mut body =
            format!("{{\"timestamp\":\"{now}\",\"status\":{},\"error\":\"{name}\",", status.as_u16()).into_bytes();
        body.extend_from_slice(b"\"message\":");
        json::string(message, &mut body);
        body.extend_from_slice(b",\"path\":");
        json::string(path, &mut body);
        body.push(b'}');
        Self { status, kind: Kind::Json, body: body.into() }
    }

    /// The HTTP response to a request with these headers. A plain text is labelled JSON where the client asks for
    /// JSON, as the reference does. Other labels that a client may ask for are not given: a browser would read a
    /// text that repeats its input as HTML.
    pub fn into_response(self, method: &Method, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let kind = if self.kind == Kind::Text && wants_json(headers) { Kind::Json } else { self.kind };
        let body = if *method == Method::HEAD { Bytes::new() } else { self.body };
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = self.status;
        let label = if kind == Kind::Json { JSON } else { TEXT };
        response.headers_mut().insert(CONTENT_TYPE, label);
        response
    }
}

fn wants_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(ACCEPT).map(HeaderValue::as_bytes).unwrap_or_default();
    let first = accept.split(|byte| *byte == b',' || *byte == b';').next().unwrap_or_default();
    first.trim_ascii().eq_ignore_ascii_case(b"application/json")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_of_error_has_its_status() {
        let status = |error: Error| Reply::error(&error).status.as_u16();
        assert_eq!(status(Error::Input("x".into())), 400);
        assert_eq!(status(Error::Refused("x".into())), 500);
        assert_eq!(status(Error::Denied("x".into())), 403);
        assert_eq!(status(Error::Limit("x".into())), 503);
        assert_eq!(status(Error::Storage("x".into())), 500);
        assert_eq!(status(Error::Unavailable("x".into())), 503);
        assert_eq!(Reply::error(&Error::Input("x".into())).body, "caused: x;");
    }

    #[test]
    fn texts_are_labelled_json_on_request_but_never_html() {
        let label = |accept: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            accept.map(|text| headers.insert(ACCEPT, HeaderValue::from_static(text)));
            let response = Reply::ok().into_response(&Method::GET, &headers);
            response.headers().get(CONTENT_TYPE).unwrap().to_str().unwrap().to_owned()
        };
        assert_eq!(label(None), "text/plain;charset=UTF-8");
        assert_eq!(label(Some("*/*")), "text/plain;charset=UTF-8");
        assert_eq!(label(Some("application/json")), "application/json");
        assert_eq!(label(Some("application/json;q=0.9, text/plain")), "application/json");
        assert_eq!(label(Some("text/html")), "text/plain;charset=UTF-8");
    }

    #[test]
    fn the_error_object_has_the_members_of_the_reference_and_escapes_the_path() {
        let body = Reply::no_such_api(&Method::GET, "/nacos/v1/ns/\"x").body;
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["status"], 501);
        assert_eq!(value["error"], "Not Implemented");
        assert_eq!(value["message"], "no such api:GET:/nacos/v1/ns/\"x");
        assert_eq!(value["path"], "/nacos/v1/ns/\"x");
        let pattern = regex::Regex::new(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d$").unwrap();
        assert!(pattern.is_match(value["timestamp"].as_str().unwrap()), "{value}");
    }
}
