//! Requests that the owner of a service has to answer: passed on to it, and its answer back to the client
//! (`spec/distro.md` 5). The client never learns of a failure in between: what can't be passed on is handled here, where
//! there is a full copy of the data, and the others are told of the change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use hyper::header::{
    CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderMap, HeaderName, HeaderValue,
    PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use super::call::{App, CLIENT_AGENT, Call, Named};
use super::params::BodyParams;
use super::reply::Reply;
use super::traffic::BEATS;
use crate::cluster::message::Failure;
use crate::cluster::ownership::Owner;
use crate::cluster::peer::query::Query;
use crate::cluster::peer::{Bounds, Incoming, Outgoing, REQUEST_SOURCE};
use crate::cluster::{Cluster, SETTLE};
use crate::consensus::Consensus;
use crate::error::Result;
use crate::model::ServiceKey;
use crate::model::member::State;

/// Which service a request is about, as its handler sees it.
pub(super) type Naming = for<'c, 'a> fn(&'c Call<'a>) -> Result<Named<'c>>;

/// What a forwarded request may cost: the time-outs of the reference. Answers to writes are short, and those to batches
/// name instances.
const BOUNDS: Bounds =
    Bounds { connect: Duration::from_secs(2), total: Duration::from_secs(2), max_answer_bytes: 16 << 20 };
/// A longer query is sent as a form: heads of requests may have 64 KiB on servers of this kind, all headers included.
const MAX_QUERY_BYTES: usize = 32 << 10;
const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded;charset=UTF-8");
/// In the agent of members.
const SERVER: &str = "Nacos-Server";
const NO_AGENT: HeaderValue = HeaderValue::from_static("");
/// The number of the last entry of the group's log that the sender has carried out, between servers of this kind.
const CARRIED_OUT: HeaderName = HeaderName::from_static("nacre-carried-out");
/// Parameters that say how the others are to be read: set anew, because the others are written anew.
const READING: [&str; 2] = ["encoding", "nofix"];
/// In the refusal of a server that does not own the service either.
const MISDIRECTED: &[u8] = b"receive invalid redirect request";
/// In the answer to a beat of an instance that is not there.
const UNKNOWN: &[u8] = b"\"code\":20404";
/// Up to this many parameters, looking through all for the same name is quickest.
const FEW_PARAMS: usize = 32;
/// Headers that are about the connection, the body as it was sent or the server that sent it, not about the request.
const NOT_OF_REQUEST: [HeaderName; 13] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
    EXPECT,
    CONTENT_LENGTH,
    CLIENT_AGENT,
    CARRIED_OUT,
];

/// Who is to answer a request.
pub(super) enum Way {
    /// This server.
    Here,
    /// The owner, which is another.
    Owner,
    /// Nobody: this is the answer.
    Nowhere(Reply),
}

/// Who is to answer `call`. A request is passed on once at most: one that a known member passed on is answered here even if
/// this server thinks that it is not the owner, because for a moment views may differ.
pub(super) fn way(call: &Call<'_>, cluster: &Cluster, naming: Naming) -> Way {
    if !call.switches.distro_enabled {
        return Way::Here;
    }
    // The handler says what is wrong with the name.
    let Ok(named) = naming(call) else { return Way::Here };
    if cluster.obstacle().is_some() && is_by_own_kind(call) {
        // It has the data, and knows from this answer that the request is left to it. Here a beat would make the instance
        // anew, without what an operator has said of it.
        return Way::Nowhere(Reply::misdirected(call.peer, call.path));
    }
    if cluster.members().view().is_owner(&named.name) || is_agreed(call) {
        return Way::Here;
    }
    if !call.agent_text().contains(SERVER) {
        return Way::Owner;
    }
    let source = call.headers.get(REQUEST_SOURCE).and_then(|source| source.to_str().ok());
    if source.is_some_and(|source| cluster.members().state(source).is_some()) {
        Way::Here
    } else {
        Way::Nowhere(Reply::misdirected(call.peer, call.path))
    }
}

/// Whether a server of this kind, or who says so, passed `call` on.
fn is_by_own_kind(call: &Call<'_>) -> bool {
    call.headers.contains_key(CLIENT_AGENT) && call.agent_text().contains(SERVER)
}

/// Whether this is a change of a persistent instance. All servers agree on those, whoever is asked; asking the owner would only
/// be a detour, after which this server might not have seen yet what it has acknowledged.
fn is_agreed(call: &Call<'_>) -> bool {
    let names_kind = call.path.ends_with("/v1/ns/instance") || call.path.ends_with("/v1/ns/api");
    call.app.consensus.is_some()
        && names_kind
        && *call.method != Method::PATCH
        && !super::ns::instance::is_ephemeral(call)
}

/// Passes `call` on to the owner; `None` when the request is to be handled here after all.
pub(super) async fn pass_on(call: &Call<'_>, cluster: &Cluster, naming: Naming) -> Option<Reply> {
    let name = naming(call).ok()?.name;
    let (members, peers) = (cluster.members(), cluster.peers());
    // Each that refuses is no member of the next view.
    for _ in 0..members.view().healthy().len() {
        let view = members.view();
        let Owner::Peer(owner) = view.owner(&name) else { return None };
        if members.state(owner) == Some(State::Suspicious) {
            return None;
        }
        let place = peers.place(owner)?;
        let heard = members.heard(owner);
        let own_kind = members.is_nacre(owner);
        let outgoing = outgoing(call, own_kind)?;
        let group = call.app.consensus.as_ref();
        match peers.send_from(place, outgoing).await {
            Ok(answer) if is_void(&answer) => return None,
            Ok(answer) if own_kind && is_unknown(call, &answer) => return None,
            Ok(answer) if own_kind => {
                if let (Some(group), Some(index)) = (group, carried_out(&answer.headers)) {
                    group.wait_for(index, SETTLE).await;
                }
                let label = answer.headers.get(CONTENT_TYPE);
                return Some(Reply::of_owner(answer.status, label, answer.body));
            }
            Ok(answer) => return Some(Reply::passed_on(answer.status, answer.body)),
            Err(failure) => {
                let refused = failure == Failure::Refused;
                let now_ms = call.app.clock.now_ms();
                if refused {
                    members.note_refusal(owner, heard, now_ms);
                } else {
                    members.note_failure(owner, now_ms);
                }
                tracing::debug!(to = &**owner, path = call.path, %failure, "a request could not be passed on");
                if !refused {
                    return None;
                }
            }
        }
    }
    None
}

/// Whether the owner does not have the instance that beats. It may have come to own the service just now, and not have been
/// told of the instance yet: if it is here, its beat is taken here, and told to the owner.
fn is_unknown(call: &Call<'_>, answer: &Incoming) -> bool {
    is_beat(call) && says(answer, UNKNOWN)
}

fn is_beat(call: &Call<'_>) -> bool {
    BEATS.iter().any(|path| call.path.ends_with(path))
}

fn says(answer: &Incoming, words: &[u8]) -> bool {
    answer.body.windows(words.len()).any(|part| part == words)
}

/// Whether the answer says nothing of the request itself: the other server doesn't think that it is the owner, can't
/// read a request of this size, or has no such path at all (another context path, another kind of server).
fn is_void(answer: &Incoming) -> bool {
    answer.is_too_large() || answer.is_not_there() || (answer.is_bad_request() && says(answer, MISDIRECTED))
}

/// How far the sender of these headers has carried out what servers agree on.
fn carried_out(headers: &HeaderMap) -> Option<u64> {
    headers.get(CARRIED_OUT)?.to_str().ok()?.parse().ok()
}

/// The same of this server, for whoever passes requests on to it or answers them: who writes here and reads there finds
/// what was written.
pub(super) fn note_carried_out(app: &App, headers: &mut HeaderMap) {
    if let Some(index) = app.consensus.as_ref().and_then(|group| group.carried_out()) {
        headers.insert(CARRIED_OUT, index.into());
    }
}

/// A request that a server of this kind has passed on. Its client is to find there what it changed, once it is answered.
pub(super) struct PassedOn {
    /// Address of the server.
    from: Arc<str>,
    service: ServiceKey,
    /// How far that server has carried out what servers agree on, which may be why the client asks.
    carried_out: Option<u64>,
}

impl PassedOn {
    /// `None` for everything else; `naming`: of a route that the owner of the service answers.
    pub(super) fn of(call: &Call<'_>, cluster: &Cluster, naming: Naming) -> Option<Self> {
        if !is_by_own_kind(call) {
            return None;
        }
        let from = call.headers.get(REQUEST_SOURCE)?.to_str().ok()?;
        let is_member = cluster.members().is_nacre(from) && call.app.auth.is_peer(call.app, call.headers, call.peer);
        let service = naming(call).ok().filter(|_| is_member)?.key();
        // What is agreed on says nothing of a beat, which can't wait.
        let counts = !is_beat(call);
        Some(Self { from: from.into(), service, carried_out: carried_out(call.headers).filter(|_| counts) })
    }

    /// The number of the entry that this server has to carry out before it answers.
    fn lacks<'a>(&self, app: &'a App) -> Option<(&'a Consensus, u64)> {
        let (Some(group), Some(index)) = (&app.consensus, self.carried_out) else { return None };
        group.carried_out().is_none_or(|at| at < index).then_some((group, index))
    }

    /// Whether it can be answered without waiting.
    pub(super) fn has_all(&self, app: &App) -> bool {
        self.lacks(app).is_none()
    }

    /// Waits for what it lacks.
    pub(super) async fn catch_up(&self, app: &App) {
        if let Some((group, index)) = self.lacks(app) {
            group.wait_for(index, SETTLE).await;
        }
    }

    /// Waits until the server that passed it on has heard what came of it; a request of which `began` was long ago waits no
    /// more.
    pub(super) async fn settle(self, cluster: &Arc<Cluster>, began: Instant) {
        cluster.settle(self.from, self.service, began + SETTLE * 2).await;
    }
}

/// The request as it is passed on; `own_kind`: to a server of this kind. `None` when it is too large for that.
fn outgoing(call: &Call<'_>, own_kind: bool) -> Option<Outgoing> {
    let in_body = BodyParams::of(call.method, call.headers.get(CONTENT_TYPE)) != BodyParams::None;
    let bytes = call.params.iter().map(|(name, value)| name.len() + 2 * value.len() + 2).sum::<usize>();
    let query = with_params(call, Query::of(&[call.path], bytes + 32));
    let mut headers = headers_of(call);
    if own_kind {
        // The place for it is taken by that of this server.
        note_carried_out(call.app, &mut headers);
        headers.insert(CLIENT_AGENT, HeaderValue::from_str(call.agent_text()).unwrap_or(NO_AGENT));
    }
    let body = if in_body || call.body.is_empty() {
        headers.insert(CONTENT_TYPE, FORM);
        headers.remove(CONTENT_ENCODING);
        Bytes::new()
    } else {
        Bytes::copy_from_slice(call.body)
    };
    let method = call.method.clone();
    if query.len() <= MAX_QUERY_BYTES {
        return Some(Outgoing { method, target: query.into_text(), headers, body, bounds: BOUNDS });
    }
    // The reference reads no form of a POST.
    let forms = *call.method != Method::GET && (*call.method != Method::POST || own_kind);
    let body = (forms && body.is_empty()).then(|| with_params(call, Query::form()).into_text())?;
    Some(Outgoing { method, target: call.path.to_owned(), headers, body: body.into(), bounds: BOUNDS })
}

/// With the first value of each parameter.
fn with_params(call: &Call<'_>, mut query: Query) -> Query {
    let params = &call.params;
    let mut seen = std::collections::HashSet::new();
    for (number, (name, value)) in params.iter().enumerate() {
        let again = if params.iter().len() <= FEW_PARAMS {
            params.iter().take(number).any(|(before, _)| before == name)
        } else {
            !seen.insert(name)
        };
        if !again && !READING.contains(&name) {
            query.push(name, value);
        }
    }
    query.with("encoding", "UTF-8").with("nofix", "1")
}

fn headers_of(call: &Call<'_>) -> HeaderMap {
    let named_by_client = |name: &HeaderName| {
        let tokens = call.headers.get_all(CONNECTION).iter().flat_map(|value| value.as_bytes().split(|b| *b == b','));
        tokens.into_iter().any(|token| token.trim_ascii().eq_ignore_ascii_case(name.as_str().as_bytes()))
    };
    let mut headers = HeaderMap::with_capacity(call.headers.len() + 8);
    for (name, value) in call.headers {
        if !NOT_OF_REQUEST.contains(name) && !named_by_client(name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers
}

#[cfg(test)]
mod tests;
