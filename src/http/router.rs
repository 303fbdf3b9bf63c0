//! The whole API in one table, and the way from a request through it.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};

use super::body::{self, BodyError};
use super::call::{App, Call, Handler, Step, Then};
use super::conn::Conn;
use super::console::{self, namespaces};
use super::ns::{catalog, cluster, health, instance, legacy, operator, raft, service};
use super::params::{BodyParams, Params};
use super::path::{self, Path};
use super::reply::Reply;
use super::{core, cors, gate, ui};
use crate::error::{Error, Result};
use crate::model::command::Outcome;
use crate::model::settings::Switches;
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
    Route(GET, "/v1/ns/operator/switches", operator::switches::show),
    Route(PUT, "/v1/ns/operator/switches", operator::switches::change),
    Route(GET, "/v1/ns/operator/servers", operator::members::servers),
    Route(GET, "/v1/ns/operator/push/state", operator::push_state),
    Route(GET, "/v1/ns/operator/distro/server", operator::members::distro_server),
    Route(GET, "/v1/ns/operator/distro/status", operator::members::distro_status),
    Route(GET, "/v1/ns/operator/cluster/state", operator::members::cluster_state),
    Route(PUT, "/v1/ns/operator/log", operator::log),
    Route(GET, "/v1/ns/operator/server/status", operator::members::server_status),
    Route(GET, "/v1/ns/ops/switches", operator::switches::show),
    Route(PUT, "/v1/ns/ops/switches", operator::switches::change),
    Route(GET, "/v1/ns/ops/servers", operator::members::servers),
    Route(GET, "/v1/ns/ops/push/state", operator::push_state),
    Route(GET, "/v1/ns/ops/distro/server", operator::members::distro_server),
    Route(GET, "/v1/ns/ops/distro/status", operator::members::distro_status),
    Route(GET, "/v1/ns/ops/cluster/state", operator::members::cluster_state),
    Route(PUT, "/v1/ns/ops/log", operator::log),
    Route(GET, "/v1/ns/ops/server/status", operator::members::server_status),
    Route(POST, "/v1/ns/raft/vote", raft::stopped),
    Route(POST, "/v1/ns/raft/beat", raft::stopped),
    Route(GET, "/v1/ns/raft/peer", raft::stopped),
    Route(PUT, "/v1/ns/raft/datum/reload", raft::stopped),
    Route(POST, "/v1/ns/raft/datum", raft::stopped),
    Route(DELETE, "/v1/ns/raft/datum", raft::stopped),
    Route(GET, "/v1/ns/raft/datum", raft::stopped),
    Route(GET, "/v1/ns/raft/state", raft::stopped),
    Route(POST, "/v1/ns/raft/datum/commit", raft::stopped),
    Route(DELETE, "/v1/ns/raft/datum/commit", raft::stopped),
    Route(GET, "/v1/ns/raft/leader", raft::stopped),
    Route(GET, "/v1/ns/raft/listeners", raft::stopped),
    Route(GET, "/v1/core/cluster/self", core::cluster::own),
    Route(GET, "/v1/core/cluster/nodes", core::cluster::nodes),
    Route(GET, "/v1/core/cluster/simple/nodes", core::cluster::simple_nodes),
    Route(GET, "/v1/core/cluster/health", core::cluster::health),
    Route(POST, "/v1/core/cluster/report", core::cluster::report),
    Route(POST, "/v1/core/cluster/server/leave", core::cluster::leave),
    Route(POST, "/v1/core/cluster/switch/lookup", core::cluster::switch_lookup),
    Route(PUT, "/v1/core/ops/log", core::ops::log),
    Route(GET, "/v1/core/ops/idInfo", core::ops::id_info),
    Route(POST, "/v1/core/ops/raft", core::ops::raft),
    Route(GET, "/v1/console/namespaces", namespaces::show),
    Route(POST, "/v1/console/namespaces", namespaces::create),
    Route(PUT, "/v1/console/namespaces", namespaces::rename),
    Route(DELETE, "/v1/console/namespaces", namespaces::remove),
    Route(GET, "/", ui::root),
    Route(GET, "/actuator", ui::actuator),
    Route(GET, "/actuator/health", ui::actuator_health),
];

/// Paths whose handlers read the body themselves, whatever it holds. The limits for bodies are the same.
const RAW_BODIES: &[&str] =
    &["/v1/ns/service/status", "/v1/core/cluster/report", "/v1/core/cluster/server/leave", "/v1/core/ops/raft"];

/// What answers the methods of a path.
#[derive(Default)]
struct Methods {
    handlers: Vec<(&'static Method, Handler)>,
    raw_body: bool,
}

/// A handler, and whether it wants the body.
#[derive(Clone, Copy)]
struct Found {
    handler: Handler,
    raw_body: bool,
}

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
            paths.entry(path).or_default().handlers.push((method, *handler));
        }
        for path in RAW_BODIES {
            paths.entry(path).or_default().raw_body = true;
        }
        Self { app, paths }
    }

    /// Answers one request.
    pub async fn answer(&self, request: Request<Incoming>, conn: &Conn) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let switches = self.app.registry.settings().switches();
        let reply = match self.find(&head, &switches) {
            Err(reply) => reply,
            Ok(found) => match self.body(&head, body, found, conn).await {
                Ok(body) => self.finish(self.step(&head, &body, found, &switches)).await,
                Err(BodyError::TooLarge { limit_bytes }) => Reply::too_large(limit_bytes),
                Err(error @ BodyError::Busy) => Reply::error(&Error::Limit(error.to_string())),
                Err(error @ BodyError::Broken(_)) => Reply::error(&Error::Input(error.to_string())),
            },
        };
        let mut response = reply.into_response(&head.method, &head.headers);
        cors::permit(&self.app.allow_origins, &head.method, &head.headers, &mut response);
        response
    }

    /// Reads the body if somebody will look at it.
    async fn body(&self, head: &Parts, body: Incoming, found: Found, conn: &Conn) -> Result<Bytes, BodyError> {
        match BodyParams::of(&head.method, head.headers.get(CONTENT_TYPE)) {
            BodyParams::None if !found.raw_body => Ok(Bytes::new()),
            _ => body::read(body, self.app.max_body_bytes, conn).await,
        }
    }

    fn step(&self, head: &Parts, body: &[u8], found: Found, switches: &Switches) -> Result<Step> {
        let (app, method, headers) = (&*self.app, &head.method, &head.headers);
        let params = Params::read(method, head.uri.query(), headers.get(CONTENT_TYPE), body)?;
        (found.handler)(&Call { app, method, path: head.uri.path(), headers, params, body, switches })
    }

    fn find(&self, head: &Parts, switches: &Switches) -> Result<Found, Reply> {
        let (method, sent) = (&head.method, head.uri.path());
        if let Some(reply) = cors::preflight(&self.app.allow_origins, method, &head.headers) {
            return Err(reply);
        }
        let path = match path::resolve(sent, &self.app.context) {
            Path::Inside(path) => path,
            Path::Outside => return Err(Reply::not_found(sent)),
            Path::Refused(fault) => return Err(Reply::bad_path(fault)),
        };
        let naming = path == "/v1/ns" || path.starts_with("/v1/ns/");
        if naming {
            gate::pass(switches, method, &path, &head.uri)?;
        }
        let Some(methods) = self.paths.get(path.as_ref()) else {
            return Err(if naming { Reply::no_such_api(method, sent) } else { Reply::not_found(sent) });
        };
        // Elsewhere every GET answers a HEAD too.
        let wanted = if *method == Method::HEAD && !naming { &Method::GET } else { method };
        match methods.handlers.iter().find(|(known, _)| *known == wanted) {
            Some((_, handler)) => Ok(Found { handler: *handler, raw_body: methods.raw_body }),
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
            (Ok(outcome), Then::Made) => Reply::json(if outcome == Outcome::Exists { "false" } else { "true" }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_route_stands_twice_and_raw_bodies_are_of_routes() {
        let mut seen = HashSet::new();
        for Route(method, path, _) in ROUTES {
            assert!(seen.insert((method, path)), "{method} {path} stands twice");
            assert!(path.starts_with('/') && (!path.ends_with('/') || *path == "/"), "{path}");
        }
        for path in RAW_BODIES {
            assert!(ROUTES.iter().any(|Route(_, known, _)| known == path), "{path} is no route");
        }
    }
}
