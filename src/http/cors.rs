//! Calls from web pages of other origins (`spec/operator-api.md` 6): off unless `nacre.cors.allow-origins` names some.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
    HeaderMap, HeaderValue, ORIGIN, VARY,
};
use hyper::{Method, Response};

use super::reply::Reply;

const ANY: &str = "*";
const METHODS: HeaderValue = HeaderValue::from_static("GET,HEAD,POST,PUT,PATCH,DELETE");
/// How long a browser may remember a preflight, in s.
const MAX_AGE: HeaderValue = HeaderValue::from_static("18000");

/// The allowed origin that a request comes from.
fn allowed<'h>(origins: &[String], headers: &'h HeaderMap) -> Option<&'h HeaderValue> {
    let origin = headers.get(ORIGIN)?;
    origins.iter().any(|known| known == ANY || known.as_bytes() == origin.as_bytes()).then_some(origin)
}

/// The answer to a browser that asks before it calls; `None` when this is no such request, or nobody is allowed.
pub(super) fn preflight(origins: &[String], method: &Method, headers: &HeaderMap) -> Option<Reply> {
    let asks = *method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
    if origins.is_empty() || !asks || !headers.contains_key(ORIGIN) {
        return None;
    }
    Some(if allowed(origins, headers).is_some() { Reply::text("") } else { Reply::foreign_origin() })
}

/// Tells the browser that the page may read the answer. Pages may send credentials only where their origin is named.
pub(super) fn permit<B>(origins: &[String], method: &Method, headers: &HeaderMap, response: &mut Response<B>) {
    if origins.is_empty() {
        return;
    }
    let to = response.headers_mut();
    to.append(VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = allowed(origins, headers) else { return };
    if origins.iter().any(|known| known.as_bytes() == origin.as_bytes()) {
        to.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        to.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
    } else {
        to.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static(ANY));
    }
    if *method == Method::OPTIONS {
        to.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        to.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        if let Some(wanted) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            to.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(origins: &[&str], origin: &'static str) -> Option<(u16, HeaderMap)> {
        let origins: Vec<String> = origins.iter().map(|origin| (*origin).to_owned()).collect();
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, HeaderValue::from_static(origin));
        headers.insert(ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("PUT"));
        headers.insert(ACCESS_CONTROL_REQUEST_HEADERS, HeaderValue::from_static("accessToken"));
        assert!(preflight(&origins, &Method::GET, &headers).is_none());
        let reply = preflight(&origins, &Method::OPTIONS, &headers)?;
        let mut response = reply.into_response(&Method::OPTIONS, &headers);
        permit(&origins, &Method::OPTIONS, &headers, &mut response);
        Some((response.status().as_u16(), response.headers().clone()))
    }

    #[test]
    fn only_named_origins_are_let_in() {
        assert!(asked(&[], "https://a.example").is_none(), "off unless configured");
        let (status, headers) = asked(&["https://a.example"], "https://a.example").unwrap();
        assert_eq!((status, &headers[ACCESS_CONTROL_ALLOW_ORIGIN]), (200, &"https://a.example".parse().unwrap()));
        assert_eq!(headers[ACCESS_CONTROL_ALLOW_CREDENTIALS], "true");
        assert_eq!(
            (&headers[ACCESS_CONTROL_ALLOW_HEADERS], &headers[VARY]),
            (&"accessToken".parse().unwrap(), &"Origin".parse().unwrap())
        );
        assert_eq!((&headers[ACCESS_CONTROL_ALLOW_METHODS], &headers[ACCESS_CONTROL_MAX_AGE]), (&METHODS, &MAX_AGE));
        let (status, headers) = asked(&["https://a.example"], "https://b.example").unwrap();
        assert_eq!((status, headers.get(ACCESS_CONTROL_ALLOW_ORIGIN)), (403, None));
    }

    #[test]
    fn any_origin_gets_no_credentials() {
        let (status, headers) = asked(&["*"], "https://b.example").unwrap();
        assert_eq!((status, &headers[ACCESS_CONTROL_ALLOW_ORIGIN]), (200, &"*".parse().unwrap()));
        assert_eq!(headers.get(ACCESS_CONTROL_ALLOW_CREDENTIALS), None);
    }
}
