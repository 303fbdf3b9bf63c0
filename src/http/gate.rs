//! What happens to a request below the naming API before it is looked at (`spec/instance-api.md` 1, steps 1 and 2).

use hyper::{Method, Uri};

use super::call::server_status;
use super::reply::Reply;
use crate::model::settings::Switches;

/// What changes the switches always passes: it is the way out of every state that they can bring about.
fn is_way_out(method: &Method, path: &str) -> bool {
    *method == Method::PUT && matches!(path, "/v1/ns/operator/switches" | "/v1/ns/ops/switches")
}

/// Ends a request, below the naming API, that the switches don't let through. `path` is below the context path.
///
/// # Errors
/// The answer.
pub(super) fn pass(switches: &Switches, method: &Method, path: &str, sent: &Uri) -> Result<(), Reply> {
    if is_way_out(method, path) {
        return Ok(());
    }
    if !switches.limited_url_map.is_empty() {
        // Without a query the reference compares with a `?null` behind the path.
        let target = format!("{}?{}", sent.path(), sent.query().unwrap_or("null"));
        if let Some((_, status)) = switches.limited_url_map.iter().find(|(prefix, _)| target.starts_with(*prefix)) {
            return Err(Reply::limited(*status));
        }
    }
    let status = server_status(switches);
    if status.allows(*method == Method::GET) { Ok(()) } else { Err(Reply::shut(status.name())) }
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;

    use super::*;

    fn asked(switches: &Switches, method: &Method, target: &str) -> Option<u16> {
        let uri: Uri = format!("/nacos{target}").parse().unwrap();
        let path = target.split('?').next().unwrap();
        let reply = pass(switches, method, path, &uri).err()?;
        Some(reply.into_response(method, &HeaderMap::new()).status().as_u16())
    }

    #[test]
    fn limited_urls_are_prefixes_of_path_and_query() {
        let map = [("/nacos/v1/ns/service/list?pageNo=1", 429), ("/nacos/v1/ns/x?null", 404), ("/nacos/v1/ns/op", 204)];
        let limited_url_map = map.iter().map(|(url, status)| ((*url).to_owned(), *status)).collect();
        let switches = Switches { limited_url_map, ..Switches::default() };
        for (target, answer) in [
            ("/v1/ns/service/list?pageNo=1&x", Some(429)),
            ("/v1/ns/service/list?pageNo=2", None),
            ("/v1/ns/service/list", None),
            ("/v1/ns/x", Some(404)),
            ("/v1/ns/x?a", None),
            ("/v1/ns/operator/switches", Some(204)),
        ] {
            assert_eq!(asked(&switches, &Method::GET, target), answer, "{target}");
        }
        assert_eq!(asked(&switches, &Method::PUT, "/v1/ns/operator/switches?entry=batch"), None);
    }

    #[test]
    fn the_status_lets_through_what_it_says_and_always_the_way_out() {
        for (status, get, put) in [
            (None, None, None),
            (Some(""), None, None),
            (Some("UP"), None, None),
            (Some("READ_ONLY"), None, Some(503)),
            (Some("WRITE_ONLY"), Some(503), None),
            (Some("DOWN"), Some(503), Some(503)),
            (Some("STARTING"), Some(503), Some(503)),
            (Some("PAUSED"), Some(503), Some(503)),
        ] {
            let switches = Switches { overridden_server_status: status.map(str::to_owned), ..Switches::default() };
            let asked = |method, target| asked(&switches, method, target);
            assert_eq!(asked(&Method::GET, "/v1/ns/instance/list"), get, "GET while {status:?}");
            assert_eq!(asked(&Method::PUT, "/v1/ns/instance/beat"), put, "PUT while {status:?}");
            assert_eq!(asked(&Method::PUT, "/v1/ns/ops/switches?entry=x"), None, "{status:?}");
        }
    }
}
