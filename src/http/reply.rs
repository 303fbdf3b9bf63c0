//! From an answer to HTTP: the one place that picks a status (`spec/instance-api.md` 3).

use std::net::IpAddr;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION,
    RETRY_AFTER,
};
use hyper::{Method, Response, StatusCode};

use super::body::BodyError;
use crate::error::Error;
use crate::wire::json;

const TEXT: HeaderValue = HeaderValue::from_static("text/plain;charset=UTF-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PASSED_ON: HeaderValue = HeaderValue::from_static("application/json;charset=UTF-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html;charset=UTF-8");
const ACTUATOR: HeaderValue = HeaderValue::from_static("application/vnd.spring-boot.actuator.v3+json");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");
const FIGURES: HeaderValue = HeaderValue::from_static("text/plain;version=0.0.4;charset=utf-8");

/// The statuses that are picked here; others come only where an operator has chosen one ([`Reply::limited`]).
pub(super) const STATUSES: [u16; 10] = [200, 302, 400, 403, 404, 413, 429, 500, 501, 503];
/// Every answer carries it, as in the reference.
const SCRIPTS: HeaderValue = HeaderValue::from_static("script-src 'self'");

/// What the body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Json,
    Html,
    Actuator,
    Figures,
    /// Of another server, whatever it is.
    PassedOn,
    Octets,
    /// Without a label.
    Bare,
    /// The body is the place to go to.
    Redirect,
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    status: StatusCode,
    kind: Kind,
    body: Bytes,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Reply {
    fn new(status: StatusCode, kind: Kind, body: impl Into<Bytes>) -> Self {
        Self { status, kind, body: body.into(), header: None }
    }

    /// The two letters that clients compare.
    pub fn ok() -> Self {
        Self::text("ok")
    }

    /// A plain text.
    pub fn text(body: impl Into<Bytes>) -> Self {
        Self::new(StatusCode::OK, Kind::Text, body)
    }

    /// A JSON text.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self::new(StatusCode::OK, Kind::Json, body)
    }

    /// A page.
    pub fn html(body: impl Into<Bytes>) -> Self {
        Self::new(StatusCode::OK, Kind::Html, body)
    }

    /// JSON with the label that the actuator gives it.
    pub fn actuator(body: impl Into<Bytes>) -> Self {
        Self::new(StatusCode::OK, Kind::Actuator, body)
    }

    /// The page that Prometheus reads.
    pub fn figures(page: impl Into<Bytes>) -> Self {
        Self::new(StatusCode::OK, Kind::Figures, page)
    }

    /// What members of a cluster tell each other (`spec/distro.md` 8).
    pub fn octets(body: impl Into<Bytes>) -> Self {
        Self::new(StatusCode::OK, Kind::Octets, body)
    }

    /// What is asked for is at `place`.
    pub fn redirect(place: impl Into<Bytes>) -> Self {
        Self::new(StatusCode::FOUND, Kind::Redirect, place)
    }

    /// A request that an operator wants ended with this status (`spec/instance-api.md` 1, step 1).
    pub fn limited(status: i32) -> Self {
        let status = u16::try_from(status).ok().and_then(|code| StatusCode::from_u16(code).ok());
        Self::new(status.unwrap_or(StatusCode::SERVICE_UNAVAILABLE), Kind::Bare, Bytes::new())
    }

    /// The server's status doesn't allow the request (`spec/instance-api.md` 1, step 2); `obstacle` says why not, if
    /// there is a reason beside the switches (`spec/distro.md` 11).
    pub fn shut(status: &str, obstacle: Option<&str>) -> Self {
        let body = match obstacle {
            None => format!("server is {status}now, please try again later!"),
            Some(why) => format!("server is {status}now, detailed error message: Optional[{why}]"),
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, Kind::Bare, body)
    }

    /// What another server answered, with the label that the reference puts on it (`spec/distro.md` 5).
    pub fn passed_on(status: u16, body: Bytes) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, Kind::PassedOn, body)
    }

    /// What a server of this kind answered that owns the service: as if the client had asked it.
    pub fn of_owner(status: u16, label: Option<&HeaderValue>, body: Bytes) -> Self {
        let is = |start: &str| label.is_some_and(|label| label.as_bytes().starts_with(start.as_bytes()));
        let reply = Self::passed_on(status, body);
        let kind = match label {
            _ if is("text/plain") => Kind::Text,
            Some(label) if *label == JSON => Kind::Json,
            None => Kind::Bare,
            Some(_) => reply.kind,
        };
        Self { kind, ..reply }
    }

    /// A server passes on a request of a client, and this one is not the owner either (`spec/distro.md` 5).
    pub fn misdirected(peer: IpAddr, path: &str) -> Self {
        let message = format!("receive invalid redirect request from peer {}", peer.to_canonical());
        Self::object(StatusCode::BAD_REQUEST, "Bad Request", &message, path)
    }

    /// The node can't do its work now; a probe asks.
    pub fn not_ready(reason: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Kind::Text, reason.to_owned())
    }

    /// An operation that failed (`spec/instance-api.md` 3.2).
    pub fn error(error: &Error) -> Self {
        let status = match error {
            Error::Input(_) => StatusCode::BAD_REQUEST,
            Error::Denied(_) => StatusCode::FORBIDDEN,
            Error::Refused(_) | Error::Storage(_) | Error::Undecided(_) | Error::Setup(_) => {
                StatusCode::INTERNAL_SERVER_ERROR
            }
            Error::Limit(_) | Error::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        let body = match error {
            Error::Denied(text) => text.clone(),
            other => format!("caused: {};", other.message()),
        };
        Self::new(status, Kind::Text, body)
    }

    /// A path that is not to be served, whatever it means.
    pub fn bad_path(fault: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Kind::Text, format!("caused: {fault};"))
    }

    /// The body is larger than this server takes.
    pub fn too_large(limit_bytes: usize) -> Self {
        let body = format!("caused: the body is larger than {limit_bytes} bytes;");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, Kind::Text, body)
    }

    /// A body that was not read, or could not be.
    pub(super) fn unread(error: &BodyError) -> Self {
        match error {
            BodyError::TooLarge { limit_bytes } => Self::too_large(*limit_bytes),
            BodyError::Busy => Self::error(&Error::Limit(error.to_string())),
            BodyError::Broken(_) => Self::error(&Error::Input(error.to_string())),
        }
    }

    /// A page of an origin that may not call.
    pub fn foreign_origin() -> Self {
        Self::new(StatusCode::FORBIDDEN, Kind::Text, "Invalid CORS request")
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

    /// No configuration of that name (`spec/clients.md` 5); clients go by the status.
    pub fn no_config() -> Self {
        Self::new(StatusCode::NOT_FOUND, Kind::Text, "config data not exist")
    }

    /// A configuration is to be stored. Not one of the statuses that make clients repeat the request.
    pub fn no_config_service() -> Self {
        let body = "caused: this server is a service registry, it stores no configuration;";
        Self::new(StatusCode::NOT_IMPLEMENTED, Kind::Text, body)
    }

    /// Elsewhere: a known path with a method that it doesn't know.
    pub fn wrong_method(method: &Method) -> Self {
        let body = format!("caused: Request method '{method}' not supported;");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, Kind::Text, body)
    }

    /// The caller may not do this (`spec/auth.md` 3.2). Clients look for words of `message` to log in again.
    pub fn forbidden(message: &str, path: &str) -> Self {
        Self::object(StatusCode::FORBIDDEN, "Forbidden", message, path)
    }

    /// Too many failed logins of this user or from this address.
    pub fn locked_out(wait_s: u64) -> Self {
        let body = format!("too many failed logins, try again in {wait_s} s");
        let reply = Self::new(StatusCode::TOO_MANY_REQUESTS, Kind::Text, body);
        Self { header: Some((RETRY_AFTER, wait_s.into())), ..reply }
    }

    /// The answer of the administration of users (`spec/auth.md` 6).
    pub fn done(message: &str) -> Self {
        Self::result(StatusCode::OK, message)
    }

    /// The refusal that the administration of users dresses up as success (`spec/auth.md` 6.1).
    pub fn not_yours() -> Self {
        Self { status: StatusCode::OK, ..Self::result(StatusCode::FORBIDDEN, "authorization failed!") }
    }

    fn result(code: StatusCode, message: &str) -> Self {
        let mut body = format!("{{\"code\":{},\"message\":", code.as_u16()).into_bytes();
        json::string(message, &mut body);
        body.extend_from_slice(b",\"data\":null}");
        Self::new(code, Kind::Json, body)
    }

    /// With the token in a header too, as a login answers it.
    pub fn with_bearer(mut self, token: &str) -> Self {
        if let Ok(mut value) = HeaderValue::try_from(format!("Bearer {token}")) {
            value.set_sensitive(true);
            self.header = Some((AUTHORIZATION, value));
        }
        self
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
        Self::new(status, Kind::Json, body)
    }

    /// The HTTP response to a request with these headers. A plain text is labelled JSON where the client asks for
    /// JSON, as the reference does. Other labels that a client may ask for are not given: a browser would read a
    /// text that repeats its input as HTML.
    pub fn into_response(self, method: &Method, headers: &HeaderMap) -> Response<Full<Bytes>> {
        let kind = if self.kind == Kind::Text && wants_json(headers) { Kind::Json } else { self.kind };
        let mut response = Response::new(Full::default());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, SCRIPTS);
        if let Some((name, value)) = self.header {
            headers.insert(name, value);
        }
        let label = match kind {
            Kind::Text => TEXT,
            Kind::Json => JSON,
            Kind::PassedOn => PASSED_ON,
            Kind::Html => HTML,
            Kind::Actuator => ACTUATOR,
            Kind::Figures => FIGURES,
            Kind::Octets => OCTETS,
            Kind::Bare => return with_body(response, method, self.body),
            Kind::Redirect => {
                // A place that is no header value was not asked for by a browser.
                HeaderValue::from_maybe_shared(self.body).map(|place| headers.insert(LOCATION, place)).ok();
                return response;
            }
        };
        headers.insert(CONTENT_TYPE, label);
        with_body(response, method, self.body)
    }
}

fn with_body(mut response: Response<Full<Bytes>>, method: &Method, body: Bytes) -> Response<Full<Bytes>> {
    if *method != Method::HEAD {
        *response.body_mut() = Full::new(body);
    }
    response
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
        assert_eq!(status(Error::Undecided("x".into())), 500);
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
    fn what_an_operator_ends_has_no_label() {
        let response = Reply::limited(429).into_response(&Method::GET, &HeaderMap::new());
        assert_eq!((response.status().as_u16(), response.headers().get(CONTENT_TYPE)), (429, None));
        let response = Reply::shut("DOWN", None).into_response(&Method::GET, &HeaderMap::new());
        assert_eq!((response.status().as_u16(), response.headers().get(CONTENT_TYPE)), (503, None));
        assert_eq!(Reply::shut("DOWN", None).body, "server is DOWNnow, please try again later!");
        let why = "server is DOWNnow, detailed error message: Optional[Distro protocol is not initialized]";
        assert_eq!(Reply::shut("DOWN", Some("Distro protocol is not initialized")).body, why);
    }

    #[test]
    fn a_redirect_has_a_place_and_nothing_else() {
        let response = Reply::redirect("http://h/nacos/").into_response(&Method::GET, &HeaderMap::new());
        assert_eq!(response.status().as_u16(), 302);
        assert_eq!(response.headers().get(LOCATION).unwrap(), "http://h/nacos/");
        assert_eq!(response.headers().get(CONTENT_TYPE), None);
        let forged = Reply::redirect("http://h\r\nX: y/").into_response(&Method::GET, &HeaderMap::new());
        assert!(forged.headers().get(LOCATION).is_none());
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
