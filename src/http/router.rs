//! The whole API in one table, and the way from a request through it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::{Method, Request, Response};

use super::body::{self, BodyError};
use super::call::{App, Call, Handler, Step, Then};
use super::conn::Conn;
use super::console;
use super::ns::{catalog, cluster, health, instance, legacy, operator, service};
use super::params::{BodyParams, Params};
use super::path::{self, Path};
use super::reply::Reply;
use crate::error::{Error, Result};
use crate::model::command::Outcome;
use crate::wire::statuses;

/// A method, a path below the context path, and what answers it.
pub struct Route(pub Method, pub &'static str, pub Handler);

const DELETE: Method = Method::DELETE;
const GET: Method = Method::GET;
const PATCH: Method = Method::PATCH;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;

/// Everything that is answered. Paths are compared exactly, after decoding and without one trailing slash.
pub const ROUTES: &[Route] = &[
    Route(POST, "/v1/ns/instance", instance::register),
    Route(DELETE, "/v1/ns/instance", instance::deregister),
    Route(PUT, "/v1/ns/instance", instance::replace),
    Route(PATCH, "/v1/ns/instance", instance::patch),
    Route(GET, "/v1/ns/instance", instance::detail),
    Route(GET, "/v1/ns/instance/list", instance::list),
    Route(PUT, "/v1/ns/instance/beat", instance::beat),
    Route(GET, "/v1/ns/instance/statuses", instance::statuses),
    Route(PUT, "/v1/ns/instance/metadata/batch", instance::merge_metadata),
    Route(DELETE, "/v1/ns/instance/metadata/batch", instance::remove_metadata),
    Route(POST, "/v1/ns/api", instance::register),
    Route(DELETE, "/v1/ns/api", instance::deregister),
    Route(PUT, "/v1/ns/api", instance::replace),
    Route(PATCH, "/v1/ns/api", instance::patch),
    Route(GET, "/v1/ns/api", instance::detail),
    Route(GET, "/v1/ns/api/list", instance::list),
    Route(PUT, "/v1/ns/api/beat", instance::beat),
    Route(GET, "/v1/ns/api/statuses", instance::statuses),
    Route(PUT, "/v1/ns/api/metadata/batch", instance::merge_metadata),
    Route(DELETE, "/v1/ns/api/metadata/batch", instance::remove_metadata),
    Route(GET, "/v1/ns/api/srvIPXT", legacy::list),
    Route(GET, "/v1/ns/api/clientBeat", legacy::beat),
    Route(GET, "/v1/ns/api/allDomNames", legacy::all_names),
    Route(PUT, "/v1/ns/health", health::set),
    Route(PUT, "/v1/ns/health/instance", health::set),
    Route(GET, "/v1/ns/health/server", health::server),
    Route(POST, "/v1/ns/service", service::create),
    Route(DELETE, "/v1/ns/service", service::delete),
    Route(PUT, "/v1/ns/service", service::update),
    Route(GET, "/v1/ns/service", service::detail),
    Route(GET, "/v1/ns/service/list", service::list),
    Route(GET, "/v1/ns/service/names", service::names),
    Route(GET, "/v1/ns/service/subscribers", service::subscribers),
    Route(PUT, "/v1/ns/service/checksum", service::checksum),
    Route(POST, "/v1/ns/service/status", service::status),
    Route(PUT, "/v1/ns/cluster", cluster::update),
    Route(GET, "/v1/ns/catalog/service", catalog::service),
    Route(GET, "/v1/ns/catalog/instances", catalog::instances),
    Route(GET, "/v1/ns/catalog/services", catalog::services),
    Route(GET, "/v1/ns/catalog/rt/service", catalog::response_times),
    Route(GET, "/v1/ns/operator/metrics", operator::metrics),
    Route(GET, "/v1/ns/ops/metrics", operator::metrics),
    Route(GET, "/v1/ns/operator/restore", operator::restore),
    Route(GET, "/v1/console/health/liveness", console::liveness),
    Route(GET, "/v1/console/health/readiness", console::readiness),
    Route(GET, "/v1/console/server/state", console::state),
];

/// Paths whose handlers read the body themselves, whatever its content type.
const WHOLE_BODY: &[&str] = &["/v1/ns/service/status"];

type Methods = Vec<(&'static Method, Handler)>;

/// The table, made quick to look up.
pub struct Router {
    app: Arc<App>,
    paths: HashMap<&'static str, Methods, foldhash::fast::RandomState>,
}

impl Router {
    /// The table in front of `app`.
    pub fn new(app: Arc<App>) -> Self {
        let mut paths: HashMap<&'static str, Methods, _> = HashMap::default();
        for Route(method, path, handler) in ROUTES {
            paths.entry(path).or_default().push((method, *handler));
        }
        Self { app, paths }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>, conn: &Conn) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let sent_path = head.uri.path();
        let reply = match self.find(&head.method, sent_path) {
            Err(reply) => reply,
            Ok((handler, whole_body)) => {
                let content_type = head.headers.get(CONTENT_TYPE);
                let body = match BodyParams::of(&head.method, content_type) {
                    BodyParams::None if !whole_body => Ok(Bytes::new()),
                    _ => body::read(body, self.app.max_body_bytes, conn).await,
                };
                match body {
                    Ok(body) => {
                        let step =
                            Params::read(&head.method, head.uri.query(), content_type, &body).and_then(|params| {
                                let (method, headers) = (&head.method, &head.headers);
                                let app = &self.app;
                                handler(&Call { app, method, path: sent_path, headers, params, body: &body })
                            });
                        self.finish(step).await
                    }
                    Err(BodyError::TooLarge { limit_bytes }) => Reply::too_large(limit_bytes),
                    Err(error @ BodyError::Busy) => Reply::error(&Error::Limit(error.to_string())),
                    Err(error @ BodyError::Broken(_)) => Reply::error(&Error::Input(error.to_string())),
                }
            }
        };
        reply.into_response(&head.method, &head.headers)
    }

    /// The handler, and whether it reads the body itself.
    fn find(&self, method: &Method, sent: &str) -> Result<(Handler, bool), Reply> {
        let path = match path::resolve(sent, &self.app.context) {
            Path::Inside(path) => path,
            Path::Outside => return Err(Reply::not_found(sent)),
            Path::Refused(fault) => return Err(Reply::bad_path(fault)),
        };
        let naming = path == "/v1/ns" || path.starts_with("/v1/ns/");
        let Some(methods) = self.paths.get(path.as_ref()) else {
            return Err(if naming { Reply::no_such_api(method, sent) } else { Reply::not_found(sent) });
        };
        // Elsewhere every GET answers a HEAD too.
        let wanted = if *method == Method::HEAD && !naming { &Method::GET } else { method };
        match methods.iter().find(|(known, _)| *known == wanted) {
            Some((_, handler)) => Ok((*handler, WHOLE_BODY.contains(&path.as_ref()))),
            None if naming => Err(Reply::no_such_api(method, sent)),
            None => Err(Reply::wrong_method(method)),
        }
    }

    async fn finish(&self, step: Result<Step>) -> Reply {
        let (command, then) = match step {
            Ok(Step::Answer(reply)) => return reply,
            Ok(Step::Write(command, then)) => (command, then),
            Err(error) => return Reply::error(&error),
        };
        match (self.app.commit.run(command).await, then) {
            (Err(error), _) => Reply::error(&error),
            (Ok(Outcome::Updated(keys)), Then::Updated) => Reply::json(statuses::updated(&keys)),
            (Ok(_), Then::Updated) => Reply::json(statuses::updated([])),
            (Ok(_), Then::Answer(reply)) => reply,
        }
    }
}
