//! `/actuator`: health and figures (`spec/operator-api.md` 6 and 8). Of all that the reference can show here, nothing
//! else is ever shown.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::HOST;
use hyper::{Method, Request, Response};

use super::call::{Call, Step};
use super::path::{self, Path};
use super::reply::Reply;
use crate::error::{Error, Result};
use crate::wire::json;

/// Writes the page of all figures. Reads files and looks at every instance: not for threads that answer requests.
pub type Collect = Arc<dyn Fn() -> Result<String> + Send + Sync>;

/// What is exposed on the port that clients use.
pub struct Actuator {
    /// `actuator/info`.
    pub info: bool,
    /// `actuator/prometheus`.
    pub prometheus: bool,
    /// The page.
    pub collect: Collect,
}

const HEALTH: &str = "/actuator/health";
const PROMETHEUS: &str = "/actuator/prometheus";

/// Scheme and host as the client named them; blank when it named no host.
pub(super) fn origin(call: &Call<'_>) -> String {
    let host = call.headers.get(HOST).and_then(|host| host.to_str().ok());
    host.map(|host| format!("http://{host}")).unwrap_or_default()
}

/// GET `actuator`: links to what is exposed.
///
/// # Errors
/// None.
pub fn links(call: &Call<'_>) -> Result<Step> {
    let base = format!("{}{}/actuator", origin(call), call.app.context.trim_end_matches('/'));
    let actuator = &call.app.actuator;
    let all = [
        ("self", "", true),
        ("health", "/health", true),
        ("info", "/info", actuator.info),
        ("prometheus", "/prometheus", actuator.prometheus),
    ];
    let mut out = b"{\"_links\":{".to_vec();
    json::separated(all.into_iter().filter(|(.., exposed)| *exposed), &mut out, |(name, place, _), out| {
        json::string(name, out);
        out.extend_from_slice(b":{\"href\":");
        json::string(&format!("{base}{place}"), out);
        out.extend_from_slice(b",\"templated\":false}");
    });
    out.extend_from_slice(b"}}");
    Ok(Step::Answer(Reply::actuator(out)))
}

/// GET `actuator/health`: the process answers. Whether writes are taken is what readiness tells.
///
/// # Errors
/// None.
pub fn health(_: &Call<'_>) -> Result<Step> {
    Ok(Step::Answer(up()))
}

fn up() -> Reply {
    Reply::actuator("{\"status\":\"UP\"}")
}

/// GET `actuator/info`, if exposed.
///
/// # Errors
/// None.
pub fn info(call: &Call<'_>) -> Result<Step> {
    if !call.app.actuator.info {
        return Ok(Step::Answer(Reply::not_found(call.path)));
    }
    let version = env!("CARGO_PKG_VERSION");
    let body = format!("{{\"build\":{{\"artifact\":\"nacre\",\"name\":\"nacre\",\"version\":\"{version}\"}}}}");
    Ok(Step::Answer(Reply::actuator(body)))
}

/// GET `actuator/prometheus`, if exposed.
///
/// # Errors
/// None at once; the page may fail.
pub fn prometheus(call: &Call<'_>) -> Result<Step> {
    if !call.app.actuator.prometheus {
        return Ok(Step::Answer(Reply::not_found(call.path)));
    }
    let collect = call.app.actuator.collect.clone();
    Ok(Step::Blocking(Box::new(move || collect().map(|page| Step::Answer(Reply::figures(page))))))
}

/// Answers on a port that is for figures alone, to anybody, with and without the context path.
pub struct Alone {
    /// Prefix of the paths, such as `/nacos`; may be empty.
    pub context: String,
    /// The page.
    pub collect: Collect,
}

impl Alone {
    /// Answers one request; its body is not looked at.
    pub async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let reply = self.reply(request.method(), request.uri().path()).await;
        reply.into_response(request.method(), request.headers())
    }

    async fn reply(&self, method: &Method, sent: &str) -> Reply {
        if !matches!(*method, Method::GET | Method::HEAD) {
            return Reply::not_found(sent);
        }
        let inside = match path::resolve(sent, &self.context) {
            Path::Outside => path::resolve(sent, ""),
            found => found,
        };
        match inside {
            Path::Inside(path) if path == HEALTH => up(),
            Path::Inside(path) if path == PROMETHEUS => self.page().await,
            Path::Inside(_) | Path::Outside => Reply::not_found(sent),
            Path::Refused(fault) => Reply::bad_path(fault),
        }
    }

    async fn page(&self) -> Reply {
        let collect = self.collect.clone();
        let page = tokio::task::spawn_blocking(move || collect()).await;
        let page = page.unwrap_or_else(|_| Err(Error::Unavailable("the page of figures came to no end".into())));
        page.map_or_else(|error| Reply::error(&error), Reply::figures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_port_for_figures_serves_nothing_else() {
        let alone = Alone { context: "/nacos".into(), collect: Arc::new(|| Ok("up 1\n".into())) };
        let headers = hyper::HeaderMap::new();
        for (method, path, status) in [
            (Method::GET, "/actuator/prometheus", 200),
            (Method::GET, "/nacos/actuator/prometheus/", 200),
            (Method::HEAD, "/nacos/actuator/health", 200),
            (Method::GET, "/actuator/health", 200),
            (Method::POST, "/actuator/prometheus", 404),
            (Method::GET, "/actuator", 404),
            (Method::GET, "/", 404),
            (Method::GET, "/nacos/v1/ns/instance/list", 404),
            (Method::GET, "/nacos//actuator/health", 400),
        ] {
            let response = alone.reply(&method, path).await.into_response(&method, &headers);
            assert_eq!(response.status().as_u16(), status, "{method} {path}");
        }
    }

    #[tokio::test]
    async fn a_page_that_fails_is_an_error() {
        let alone = Alone { context: String::new(), collect: Arc::new(|| Err(Error::Refused("no".into()))) };
        let reply = alone.reply(&Method::GET, PROMETHEUS).await;
        assert_eq!(reply.into_response(&Method::GET, &hyper::HeaderMap::new()).status().as_u16(), 500);
    }
}
