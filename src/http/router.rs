//! The whole API in one table, and the way from a request through it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body as _, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};

use super::auth::access::{
    ADMIN, Access, LOGGED_IN, OPEN, OWN, PEER, PEER_OR_ADMIN, READ, READ_ACCOUNTS, READ_ALL, READ_DOM, READ_GROUP,
    READ_NAMESPACE, WRITE, WRITE_ACCOUNTS, WRITE_DOM, WRITE_SWITCHES,
};
use super::auth::gate::Gate;
use super::auth::{login::login, permissions, roles, users};
use super::body::{self, BodyError};
use super::call::{App, Call, Caller, Handler, Step, Then};
use super::conn::Conn;
use super::console::{self, namespaces};
use super::forward::{self, Naming, PassedOn, Way};
use super::hold::Holds;
use super::ns::{catalog, cluster, distro, health, instance, legacy, operator, raft, service};
use super::params::{BodyParams, Params};
use super::path::{self, Path};
use super::reply::Reply;
use super::traffic::Traffic;
use super::{actuator, answered, core, cors, cs, gate, ui};
use crate::consensus::MAX_MESSAGE_BYTES;
use crate::error::Result;
use crate::model::command::Outcome;
use crate::model::settings::Switches;
use crate::wire::statuses;

/// A method, a path below the context path, what answers it, and what a caller needs.
pub struct Route(pub Method, pub &'static str, pub Handler, pub Access);

const DELETE: Method = Method::DELETE;
const GET: Method = Method::GET;
const PATCH: Method = Method::PATCH;
const POST: Method = Method::POST;
const PUT: Method = Method::PUT;

/// Everything that is answered. Paths are compared exactly, after decoding and without one trailing slash. What the last
/// column means: [`Access`].
pub const ROUTES: &[Route] = &[
    Route(POST, "/v1/ns/instance", instance::register, WRITE),
    Route(DELETE, "/v1/ns/instance", instance::deregister, WRITE),
    Route(PUT, "/v1/ns/instance", instance::replace, WRITE),
    Route(PATCH, "/v1/ns/instance", instance::patch, WRITE),
    Route(GET, "/v1/ns/instance", instance::detail, READ),
    Route(GET, "/v1/ns/instance/list", instance::list, READ),
    Route(PUT, "/v1/ns/instance/beat", instance::beat, WRITE),
    Route(GET, "/v1/ns/instance/statuses", instance::statuses, PEER),
    Route(PUT, "/v1/ns/instance/metadata/batch", instance::merge_metadata, WRITE),
    Route(DELETE, "/v1/ns/instance/metadata/batch", instance::remove_metadata, WRITE),
    Route(POST, "/v1/ns/api", instance::register, WRITE),
    Route(DELETE, "/v1/ns/api", instance::deregister, WRITE),
    Route(PUT, "/v1/ns/api", instance::replace, WRITE),
    Route(PATCH, "/v1/ns/api", instance::patch, WRITE),
    Route(GET, "/v1/ns/api", instance::detail, READ),
    Route(GET, "/v1/ns/api/list", instance::list, READ),
    Route(PUT, "/v1/ns/api/beat", instance::beat, WRITE),
    Route(GET, "/v1/ns/api/statuses", instance::statuses, PEER),
    Route(PUT, "/v1/ns/api/metadata/batch", instance::merge_metadata, WRITE),
    Route(DELETE, "/v1/ns/api/metadata/batch", instance::remove_metadata, WRITE),
    Route(GET, "/v1/ns/api/srvIPXT", legacy::list, READ_DOM),
    Route(GET, "/v1/ns/api/clientBeat", legacy::beat, WRITE_DOM),
    Route(GET, "/v1/ns/api/allDomNames", legacy::all_names, READ_ALL),
    Route(PUT, "/v1/ns/health", health::set, WRITE),
    Route(PUT, "/v1/ns/health/instance", health::set, WRITE),
    Route(GET, "/v1/ns/health/server", health::server, OPEN),
    Route(POST, "/v1/ns/service", service::create, WRITE),
    Route(DELETE, "/v1/ns/service", service::delete, WRITE),
    Route(PUT, "/v1/ns/service", service::update, WRITE),
    Route(GET, "/v1/ns/service", service::detail, READ),
    Route(GET, "/v1/ns/service/list", service::list, READ_GROUP),
    Route(GET, "/v1/ns/service/names", service::names, READ_ALL),
    Route(GET, "/v1/ns/service/subscribers", service::subscribers, READ_NAMESPACE),
    Route(PUT, "/v1/ns/service/checksum", service::checksum, PEER),
    Route(POST, "/v1/ns/service/status", service::status, PEER),
    Route(PUT, "/v1/ns/cluster", cluster::update, WRITE),
    Route(GET, "/v1/ns/catalog/service", catalog::service, READ),
    Route(GET, "/v1/ns/catalog/instances", catalog::instances, READ),
    Route(GET, "/v1/ns/catalog/services", catalog::services, READ_NAMESPACE),
    Route(GET, "/v1/ns/catalog/rt/service", catalog::response_times, READ),
    Route(GET, "/v1/ns/operator/metrics", operator::metrics, OPEN),
    Route(GET, "/v1/ns/ops/metrics", operator::metrics, OPEN),
    Route(GET, "/v1/ns/operator/restore", operator::restore, LOGGED_IN),
    Route(GET, "/v1/console/health/liveness", console::liveness, OPEN),
    Route(GET, "/v1/console/health/readiness", console::readiness, OPEN),
    Route(GET, "/v1/console/server/state", console::state, OPEN),
    Route(GET, "/v1/ns/operator/switches", operator::switches::show, OPEN),
    Route(PUT, "/v1/ns/operator/switches", operator::switches::change, WRITE_SWITCHES),
    Route(GET, "/v1/ns/operator/servers", operator::members::servers, OPEN),
    Route(GET, "/v1/ns/operator/push/state", operator::push_state, OPEN),
    Route(GET, "/v1/ns/operator/distro/server", operator::members::distro_server, OPEN),
    Route(GET, "/v1/ns/operator/distro/status", operator::members::distro_status, OPEN),
    Route(GET, "/v1/ns/operator/cluster/state", operator::members::cluster_state, OPEN),
    Route(PUT, "/v1/ns/operator/log", operator::log, ADMIN),
    Route(GET, "/v1/ns/operator/server/status", operator::members::server_status, PEER_OR_ADMIN),
    Route(GET, "/v1/ns/ops/switches", operator::switches::show, OPEN),
    Route(PUT, "/v1/ns/ops/switches", operator::switches::change, WRITE_SWITCHES),
    Route(GET, "/v1/ns/ops/servers", operator::members::servers, OPEN),
    Route(GET, "/v1/ns/ops/push/state", operator::push_state, OPEN),
    Route(GET, "/v1/ns/ops/distro/server", operator::members::distro_server, OPEN),
    Route(GET, "/v1/ns/ops/distro/status", operator::members::distro_status, OPEN),
    Route(GET, "/v1/ns/ops/cluster/state", operator::members::cluster_state, OPEN),
    Route(PUT, "/v1/ns/ops/log", operator::log, ADMIN),
    Route(GET, "/v1/ns/ops/server/status", operator::members::server_status, PEER_OR_ADMIN),
    Route(PUT, "/v1/ns/distro/datum", distro::push, PEER),
    Route(GET, "/v1/ns/distro/datum", distro::fetch, PEER),
    Route(PUT, "/v1/ns/distro/changes", distro::changes, PEER),
    Route(PUT, "/v1/ns/distro/checksum", distro::checksum, PEER),
    Route(GET, "/v1/ns/distro/datums", distro::snapshot, PEER),
    Route(POST, "/v1/ns/raft/vote", raft::stopped, PEER),
    Route(POST, "/v1/ns/raft/beat", raft::stopped, PEER),
    Route(GET, "/v1/ns/raft/peer", raft::stopped, PEER),
    Route(PUT, "/v1/ns/raft/datum/reload", raft::stopped, PEER),
    Route(POST, "/v1/ns/raft/datum", raft::stopped, PEER),
    Route(DELETE, "/v1/ns/raft/datum", raft::stopped, PEER),
    Route(GET, "/v1/ns/raft/datum", raft::stopped, PEER),
    Route(GET, "/v1/ns/raft/state", raft::stopped, PEER),
    Route(POST, "/v1/ns/raft/datum/commit", raft::stopped, PEER),
    Route(DELETE, "/v1/ns/raft/datum/commit", raft::stopped, PEER),
    Route(GET, "/v1/ns/raft/leader", raft::stopped, PEER),
    Route(GET, "/v1/ns/raft/listeners", raft::stopped, PEER),
    Route(GET, "/v1/core/cluster/self", core::cluster::own, OPEN),
    Route(GET, "/v1/core/cluster/nodes", core::cluster::nodes, OPEN),
    Route(GET, "/v1/core/cluster/simple/nodes", core::cluster::simple_nodes, OPEN),
    Route(GET, "/v1/core/cluster/health", core::cluster::health, OPEN),
    Route(POST, "/v1/core/cluster/report", core::cluster::report, PEER_OR_ADMIN),
    Route(POST, "/v1/core/cluster/server/leave", core::cluster::leave, PEER_OR_ADMIN),
    Route(POST, "/v1/core/cluster/switch/lookup", core::cluster::switch_lookup, PEER_OR_ADMIN),
    Route(PUT, "/v1/core/ops/log", core::ops::log, ADMIN),
    Route(GET, "/v1/core/ops/idInfo", core::ops::id_info, ADMIN),
    Route(POST, "/v1/core/ops/raft", core::ops::raft, ADMIN),
    Route(POST, RAFT, core::raft::ask, PEER),
    Route(GET, "/v1/console/namespaces", namespaces::show, LOGGED_IN),
    Route(POST, "/v1/console/namespaces", namespaces::create, ADMIN),
    Route(PUT, "/v1/console/namespaces", namespaces::rename, ADMIN),
    Route(DELETE, "/v1/console/namespaces", namespaces::remove, ADMIN),
    Route(GET, "/v1/cs/configs", cs::show, LOGGED_IN),
    Route(POST, "/v1/cs/configs", cs::publish, LOGGED_IN),
    Route(POST, "/v1/cs/configs/listener", cs::listen, LOGGED_IN),
    Route(GET, "/", ui::root, OPEN),
    Route(GET, "/actuator", actuator::links, OPEN),
    Route(GET, "/actuator/health", actuator::health, OPEN),
    Route(GET, "/actuator/info", actuator::info, LOGGED_IN),
    Route(GET, "/actuator/prometheus", actuator::prometheus, LOGGED_IN),
    Route(POST, "/v1/auth/login", login, OPEN),
    Route(POST, "/v1/auth/users/login", login, OPEN),
    Route(GET, "/v1/auth/users", users::list, READ_ACCOUNTS),
    Route(GET, "/v1/auth/users/search", users::search, READ_ACCOUNTS),
    Route(POST, "/v1/auth/users", users::create, WRITE_ACCOUNTS),
    Route(PUT, "/v1/auth/users", users::change_password, OWN),
    Route(DELETE, "/v1/auth/users", users::delete, WRITE_ACCOUNTS),
    Route(GET, "/v1/auth", users::list, READ_ACCOUNTS),
    Route(GET, "/v1/auth/search", users::search, READ_ACCOUNTS),
    Route(POST, "/v1/auth", users::create, WRITE_ACCOUNTS),
    Route(PUT, "/v1/auth", users::change_password, OWN),
    Route(DELETE, "/v1/auth", users::delete, WRITE_ACCOUNTS),
    Route(GET, "/v1/auth/roles", roles::list, READ_ACCOUNTS),
    Route(GET, "/v1/auth/roles/search", roles::search, READ_ACCOUNTS),
    Route(POST, "/v1/auth/roles", roles::grant, WRITE_ACCOUNTS),
    Route(DELETE, "/v1/auth/roles", roles::revoke, WRITE_ACCOUNTS),
    Route(GET, "/v1/auth/permissions", permissions::list, READ_ACCOUNTS),
    Route(POST, "/v1/auth/permissions", permissions::permit, WRITE_ACCOUNTS),
    Route(DELETE, "/v1/auth/permissions", permissions::forbid, WRITE_ACCOUNTS),
];

/// Counts of requests by the number of their route.
pub fn traffic() -> Traffic {
    Traffic::new(ROUTES.iter().map(|Route(method, path, ..)| (method.as_str(), *path)))
}

/// Messages of the group.
const RAFT: &str = "/v1/core/raft";

/// Paths whose handlers read the body themselves, whatever it holds. The limits for bodies are the same, but for what only
/// members of a cluster send to each other.
const RAW_BODIES: &[&str] = &[
    "/v1/ns/service/status",
    "/v1/ns/distro/datum",
    "/v1/ns/distro/changes",
    "/v1/ns/distro/checksum",
    "/v1/core/cluster/report",
    "/v1/core/cluster/server/leave",
    "/v1/core/ops/raft",
    RAFT,
];

/// Large bodies and answers of members that may wait until it is their turn to be read or written.
const BULK_WAITING: usize = 16;

/// The service in `serviceName` and `groupName`, or in `dom`.
const SERVICE: Naming = |call| call.service();
/// The service that is in `dom` alone.
const DOM: Naming = |call| call.dom();

/// Routes that the owner of the service answers (`spec/distro.md` 5), and how they name it.
const OWNED: &[(Method, &str, Naming)] = &[
    (POST, "/v1/ns/instance", SERVICE),
    (DELETE, "/v1/ns/instance", SERVICE),
    (PUT, "/v1/ns/instance", SERVICE),
    (PATCH, "/v1/ns/instance", SERVICE),
    (PUT, "/v1/ns/instance/beat", SERVICE),
    (PUT, "/v1/ns/instance/metadata/batch", SERVICE),
    (DELETE, "/v1/ns/instance/metadata/batch", SERVICE),
    (POST, "/v1/ns/api", SERVICE),
    (DELETE, "/v1/ns/api", SERVICE),
    (PUT, "/v1/ns/api", SERVICE),
    (PATCH, "/v1/ns/api", SERVICE),
    (PUT, "/v1/ns/api/beat", SERVICE),
    (PUT, "/v1/ns/api/metadata/batch", SERVICE),
    (DELETE, "/v1/ns/api/metadata/batch", SERVICE),
    (GET, "/v1/ns/api/clientBeat", DOM),
    (PUT, "/v1/ns/health", SERVICE),
    (PUT, "/v1/ns/health/instance", SERVICE),
];

/// What answers the methods of a path, and the number of each in [`ROUTES`].
#[derive(Default)]
struct Methods {
    handlers: Vec<(&'static Method, Handler, Access, usize, Option<Naming>)>,
    raw_body: bool,
}

/// A handler, what its callers need, whether it wants the body, and how to name the service if only its owner answers.
#[derive(Clone, Copy)]
struct Found {
    handler: Handler,
    access: Access,
    raw_body: bool,
    /// `None` also where this server stands alone.
    owned: Option<Naming>,
}

/// A request that is being answered.
struct Asked {
    head: Parts,
    began: Instant,
    /// That it counts for.
    number: usize,
    conn: Arc<Conn>,
}

/// Whether somebody will look at the body.
fn is_read(head: &Parts, found: Found) -> bool {
    found.raw_body
        || found.owned.is_some()
        || BodyParams::of(&head.method, head.headers.get(CONTENT_TYPE)) != BodyParams::None
}

/// An answer that is there or will be. One that is there costs no allocation and no state machine.
pub enum Answering {
    /// Taken once.
    Now(Option<Response<Full<Bytes>>>),
    /// Something has to be waited for.
    Later(Pin<Box<dyn Future<Output = Response<Full<Bytes>>> + Send>>),
}

impl Answering {
    fn now(response: Response<Full<Bytes>>) -> Self {
        Answering::Now(Some(response))
    }

    fn later(answering: impl Future<Output = Response<Full<Bytes>>> + Send + 'static) -> Self {
        Answering::Later(Box::pin(answering))
    }
}

impl Future for Answering {
    type Output = Response<Full<Bytes>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Answering::Now(response) => response.take().map_or(Poll::Pending, Poll::Ready),
            Answering::Later(answering) => answering.as_mut().poll(cx),
        }
    }
}

/// The table, made quick to look up.
pub struct Router {
    app: Arc<App>,
    paths: HashMap<&'static str, Methods, foldhash::fast::RandomState>,
    holds: Holds,
    bulk: Gate,
}

impl Router {
    /// The table in front of `app`, which is served over at most `max_connections` connections.
    pub fn new(app: Arc<App>, max_connections: usize) -> Self {
        let mut paths: HashMap<&'static str, Methods, _> = HashMap::default();
        for (number, Route(method, path, handler, access)) in ROUTES.iter().enumerate() {
            let is_here = |(known, at, _): &&(Method, &str, Naming)| known == method && at == path;
            let owned = OWNED.iter().find(is_here).filter(|_| app.cluster.is_some()).map(|(.., naming)| *naming);
            paths.entry(path).or_default().handlers.push((method, *handler, *access, number, owned));
        }
        for path in RAW_BODIES {
            paths.entry(path).or_default().raw_body = true;
        }
        let bulk = Gate::with_places(BULK_WAITING, "too many members at once, try again later");
        Self { app, paths, holds: Holds::of(max_connections), bulk }
    }

    /// Answers one request: at once where nothing has to be waited for, which is so for beats and lists.
    pub fn answer(self: &Arc<Self>, request: Request<Incoming>, conn: Arc<Conn>) -> Answering {
        let began = Instant::now();
        let (head, body) = request.into_parts();
        let switches = self.app.registry.settings().switches();
        let (number, found) = self.find(&head, conn.peer().ip(), &switches);
        let asked = Asked { head, began, number, conn };
        let found = match found {
            Err(reply) => return Answering::now(self.respond(&asked, reply)),
            Ok(found) => found,
        };
        if body.is_end_stream() || !is_read(&asked.head, found) {
            match self.handle_at_once(&asked, found, &switches) {
                Some((Ok(Step::Answer(reply)), _)) => return Answering::now(self.respond(&asked, reply)),
                Some((step, passed_on)) => {
                    let router = self.clone();
                    return Answering::later(async move { router.answer_to(&asked, step, passed_on).await });
                }
                None => {}
            }
        }
        let router = self.clone();
        Answering::later(async move {
            let body = match router.body(&asked, body, found).await {
                Ok(body) => body,
                Err(error) => return router.respond(&asked, Reply::unread(&error)),
            };
            let mut passed_on = None;
            let step = router.handle(&asked, &body, found, &switches, &mut passed_on).await;
            // While a write waits for the store, only what it needs is kept.
            drop(body);
            router.answer_to(&asked, step, passed_on).await
        })
    }

    fn respond(&self, asked: &Asked, reply: Reply) -> Response<Full<Bytes>> {
        let Asked { head, began, number, conn } = asked;
        let mut response = reply.into_response(&head.method, &head.headers);
        cors::permit(&self.app.live.origins(), &head.method, &head.headers, &mut response);
        self.app.traffic.note(*number, response.status().as_u16(), began.elapsed());
        answered::note(head, conn, *began, &response);
        response
    }

    /// Reads the body if somebody will look at it.
    async fn body(&self, asked: &Asked, body: Incoming, found: Found) -> Result<Bytes, BodyError> {
        if !is_read(&asked.head, found) {
            return Ok(Bytes::new());
        }
        let live = &self.app.live;
        let of_members = found.raw_body && found.access == PEER && self.app.cluster.is_some();
        let limit_bytes = match of_members {
            // Who takes no messages of the group has no part in it.
            true if asked.head.uri.path().ends_with(RAFT) => live.max_peer_body_bytes().max(MAX_MESSAGE_BYTES),
            true => live.max_peer_body_bytes(),
            false => live.max_body_bytes(),
        };
        body::read(body, limit_bytes, &asked.conn).await
    }

    /// One of the two ways to a handler: nobody gets there without what the route needs.
    /// `passed_on` is what it is if a server did so.
    async fn handle(
        &self,
        asked: &Asked,
        body: &Bytes,
        found: Found,
        switches: &Switches,
        passed_on: &mut Option<PassedOn>,
    ) -> Result<Step> {
        let mut call = self.call(asked, body, switches)?;
        match self.app.auth.admit(&call, found.access).await {
            Ok(caller) => call.caller = caller,
            Err(refusal) => return Ok(Step::Answer(refusal)),
        }
        if let (Some(naming), Some(cluster)) = (found.owned, &self.app.cluster) {
            *passed_on = PassedOn::of(&call, cluster, naming);
            if let Some(passed_on) = passed_on {
                passed_on.catch_up(&self.app).await;
            }
            match forward::way(&call, cluster, naming) {
                Way::Here => {}
                Way::Nowhere(reply) => return Ok(Step::Answer(reply)),
                Way::Owner => {
                    if let Some(reply) = forward::pass_on(&call, cluster, naming).await {
                        return Ok(Step::Answer(reply));
                    }
                }
            }
        }
        (found.handler)(&call)
    }

    /// Finishes `step`; whoever passed the request on hears first what came of it.
    async fn answer_to(&self, asked: &Asked, step: Result<Step>, passed_on: Option<PassedOn>) -> Response<Full<Bytes>> {
        let reply = self.finish(step, &asked.conn).await;
        let (Some(passed_on), Some(cluster)) = (passed_on, &self.app.cluster) else {
            return self.respond(asked, reply);
        };
        passed_on.settle(cluster, asked.began).await;
        let mut response = self.respond(asked, reply);
        forward::note_carried_out(&self.app, response.headers_mut());
        response
    }

    /// The other way, for a request without a body; `None` when finding out who asks takes time, or another server has to
    /// answer.
    fn handle_at_once(
        &self,
        asked: &Asked,
        found: Found,
        switches: &Switches,
    ) -> Option<(Result<Step>, Option<PassedOn>)> {
        let no_body = Bytes::new();
        let mut call = match self.call(asked, &no_body, switches) {
            Ok(call) => call,
            Err(error) => return Some((Err(error), None)),
        };
        match self.app.auth.admit_at_once(&call, found.access)? {
            Ok(caller) => call.caller = caller,
            Err(refusal) => return Some((Ok(Step::Answer(refusal)), None)),
        }
        let mut passed_on = None;
        if let (Some(naming), Some(cluster)) = (found.owned, &self.app.cluster) {
            passed_on = PassedOn::of(&call, cluster, naming);
            if passed_on.as_ref().is_some_and(|passed_on| !passed_on.has_all(&self.app)) {
                return None;
            }
            match forward::way(&call, cluster, naming) {
                Way::Here => {}
                Way::Nowhere(reply) => return Some((Ok(Step::Answer(reply)), None)),
                Way::Owner => return None,
            }
        }
        Some(((found.handler)(&call), passed_on))
    }

    fn call<'a>(&'a self, asked: &'a Asked, body: &'a Bytes, switches: &'a Switches) -> Result<Call<'a>> {
        let head = &asked.head;
        let (app, method, headers, path) = (&self.app, &head.method, &head.headers, head.uri.path());
        let params = Params::read(method, head.uri.query(), headers.get(CONTENT_TYPE), body)?;
        let (peer, caller) = (asked.conn.peer().ip(), Caller::Anybody);
        Ok(Call { app, method, path, headers, params, body, switches, peer, caller })
    }

    /// What answers, and the number that the request counts for.
    fn find(&self, head: &Parts, ip: IpAddr, switches: &Switches) -> (usize, Result<Found, Reply>) {
        let (method, sent) = (&head.method, head.uri.path());
        let unmatched = || self.app.traffic.unmatched(method);
        if let Some(reply) = cors::preflight(&self.app.live.origins(), method, &head.headers) {
            return (unmatched(), Err(reply));
        }
        let path = match path::resolve(sent, &self.app.context) {
            Path::Inside(path) => path,
            Path::Outside => return (unmatched(), Err(Reply::not_found(sent))),
            Path::Refused(fault) => return (unmatched(), Err(Reply::bad_path(fault))),
        };
        let naming = path == "/v1/ns" || path.starts_with("/v1/ns/");
        let methods = self.paths.get(path.as_ref());
        // Elsewhere every GET answers a HEAD too.
        let wanted = if *method == Method::HEAD && !naming { &Method::GET } else { method };
        let handler = methods.and_then(|methods| methods.handlers.iter().find(|(known, ..)| *known == wanted));
        let number = handler.map_or_else(unmatched, |(.., number, _)| *number);
        if naming && let Err(reply) = gate::pass(&self.app, switches, head, &path, ip) {
            return (number, Err(reply));
        }
        let found = match (methods, handler) {
            (Some(methods), Some((_, handler, access, _, owned))) => {
                match self.app.auth.refuse_stranger(&self.app, *access, sent, &head.headers, ip) {
                    None => Ok(Found { handler: *handler, access: *access, raw_body: methods.raw_body, owned: *owned }),
                    Some(refusal) => Err(refusal),
                }
            }
            _ if naming => Err(Reply::no_such_api(method, sent)),
            (None, _) => Err(Reply::not_found(sent)),
            (Some(_), None) => Err(Reply::wrong_method(method)),
        };
        (number, found)
    }

    async fn finish(&self, mut step: Result<Step>, conn: &Conn) -> Reply {
        let (command, then) = loop {
            match step {
                Ok(Step::Answer(reply)) => return reply,
                Ok(Step::Write(command, then)) => break (command, then),
                Ok(Step::Later(wait, reply)) => return self.holds.hold(wait, conn, reply).await,
                Ok(Step::Wait(wait)) => step = wait.await,
                Ok(Step::Bulk(work)) => step = self.bulk.run(work).await.flatten(),
                Ok(Step::Blocking(work)) => step = self.app.auth.gate().run(work).await.flatten(),
                Err(error) => return Reply::error(&error),
            }
        };
        match (self.app.run(command).await, then) {
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
        for Route(method, path, ..) in ROUTES {
            assert!(seen.insert((method, path)), "{method} {path} stands twice");
            assert!(path.starts_with('/') && (!path.ends_with('/') || *path == "/"), "{path}");
        }
        for (method, path, _) in OWNED {
            assert!(seen.contains(&(method, path)), "{method} {path} is no route");
        }
        for path in RAW_BODIES.iter().chain(&crate::http::traffic::BEATS) {
            assert!(ROUTES.iter().any(|Route(_, known, ..)| known == path), "{path} is no route");
        }
    }
}
