//! `/v1/ns/distro`: what the servers of a cluster tell each other of ephemeral instances (`spec/distro.md` 8). A server that
//! stands alone has none of it. What `wire` reads and writes goes on to [`Cluster::asked`]; nothing is decided here.
//!
//! Large bodies and answers are read and written on threads for such work, not on those that answer clients.

use std::collections::HashSet;
use std::sync::Arc;

use crate::cluster::Cluster;
use crate::cluster::message::{Answer, FULL, Part, Request};
use crate::error::{Error, Result};
use crate::http::call::{Call, Step};
use crate::http::gzip;
use crate::http::reply::Reply;
use crate::model::peer::Datum;
use crate::registry::{Registry, check_service_name};
use crate::wire::{datum, distro};

/// The header by which a member says who it is.
const SOURCE: &str = "request-source";
/// A longer body is not read on the threads that answer clients; this is the list of some 150 instances.
const SHORT_BODY_BYTES: usize = 64 << 10;
/// The same for answers.
const SHORT_ANSWER_INSTANCES: usize = 200;
/// Why a member gets no data, in the words of the reference.
const NOT_INITIALIZED: &str = "Distro protocol is not initialized";

/// Who asks, and who is to answer.
pub(in crate::http) struct Question {
    cluster: Arc<Cluster>,
    /// Address of the member, as far as it said so and there is one.
    from: Option<String>,
    /// With what only servers of this kind understand.
    full: bool,
}

impl Question {
    /// `None` for a server that stands alone.
    pub(in crate::http) fn of(call: &Call<'_>) -> Option<Self> {
        let cluster = call.app.cluster.clone()?;
        let said = call.headers.get(SOURCE).and_then(|value| value.to_str().ok());
        let may_say = |address: &&str| call.app.auth.speaks_for(call.app, address, call.peer);
        let member = said.filter(may_say).and_then(|address| call.app.members.find(address));
        let full = call.headers.contains_key(FULL);
        Some(Self { cluster, from: member.map(|member| member.address()), full })
    }

    /// Asks, and answers what comes.
    pub(in crate::http) fn ask(self, request: Request) -> Step {
        Step::Wait(Box::pin(async move {
            let answer = self.cluster.asked(self.from.as_deref(), request).await?;
            answered(answer, self.full)
        }))
    }
}

fn answered(answer: Answer, full: bool) -> Result<Step> {
    match answer {
        Answer::Done => Ok(Step::Answer(Reply::ok())),
        Answer::Data(data) => {
            let instances: usize = data.iter().map(|datum| datum.told.len()).sum();
            let write = move || {
                let mut out = Vec::new();
                datum::write(&data, full, &mut out);
                Ok(Step::Answer(Reply::octets(out)))
            };
            if instances <= SHORT_ANSWER_INSTANCES { write() } else { Ok(Step::Bulk(Box::new(write))) }
        }
        Answer::NotReady => Ok(Step::Answer(Reply::shut("DOWN", Some(NOT_INITIALIZED)))),
        Answer::Unknown | Answer::Known(_) | Answer::Member(_) | Answer::Health(_) => {
            Err(Error::Refused("this server does not know what that is".into()))
        }
    }
}

/// Reads the body, packed or not, and asks what it asks; `None` where there is nothing to ask.
fn with_body<R>(call: &Call<'_>, read: R) -> Result<Step>
where
    R: FnOnce(&[u8]) -> Result<Option<Request>> + Send + 'static,
{
    let Some(question) = Question::of(call) else { return no_such_api(call) };
    if call.body.is_empty() {
        return Err(Error::Input("Required request body is missing".into()));
    }
    let asked = move |body: &[u8]| {
        let request = read(body)?;
        Ok(request.map_or_else(|| Step::Answer(Reply::ok()), |request| question.ask(request)))
    };
    let packed = gzip::is_packed(call.body);
    if !packed && call.body.len() <= SHORT_BODY_BYTES {
        return asked(call.body);
    }
    let (body, limit_bytes) = (call.body.clone(), call.app.live.max_peer_body_bytes());
    Ok(Step::Bulk(Box::new(move || {
        if !packed {
            return asked(&body);
        }
        match gzip::unpack(&body, limit_bytes) {
            Ok(plain) => asked(&plain),
            Err(error) => Ok(Step::Answer(Reply::unread(&error))),
        }
    })))
}

fn no_such_api(call: &Call<'_>) -> Result<Step> {
    Ok(Step::Answer(Reply::no_such_api(call.method, call.path)))
}

/// A service that there is has a good name; one that is to be made needs one.
fn check_names<'d>(registry: &Registry, data: impl IntoIterator<Item = &'d Datum>) -> Result<()> {
    let mut new = data.into_iter().filter(|datum| registry.find_service(&datum.service).is_none());
    new.try_for_each(|datum| check_service_name(&datum.service.name))
}

/// PUT `datum`: lists that have changed. None at all are no fault: the reference sends them without end when they are
/// refused.
///
/// # Errors
/// A body that is no such lists; names that services can't have; what the write path says.
pub fn push(call: &Call<'_>) -> Result<Step> {
    let registry = call.app.registry.clone();
    with_body(call, move |body| pushed(&registry, body))
}

fn pushed(registry: &Registry, body: &[u8]) -> Result<Option<Request>> {
    let data = datum::parse(body)?;
    check_names(registry, &data)?;
    Ok((!data.is_empty()).then_some(Request::Push(data)))
}

/// PUT `changes`: lists and parts of lists, as only servers of this kind send them.
///
/// # Errors
/// As for [`push`].
pub fn changes(call: &Call<'_>) -> Result<Step> {
    let registry = call.app.registry.clone();
    with_body(call, move |body| changed(&registry, body))
}

fn changed(registry: &Registry, body: &[u8]) -> Result<Option<Request>> {
    let parts = datum::parse_parts(body)?;
    check_names(registry, parts.iter().map(|(datum, _)| datum))?;
    let parts: Vec<Part> = parts.into_iter().map(|(datum, whole)| Part { datum, whole }).collect();
    Ok((!parts.is_empty()).then_some(Request::Changes(parts)))
}

/// PUT `checksum`: the checksums of all lists that the member `source` owns. This server calls back there, so `source`
/// must be another member.
///
/// # Errors
/// A missing or foreign source; a body that is no checksums; what the write path says.
pub fn checksum(call: &Call<'_>) -> Result<Step> {
    if call.app.cluster.is_none() {
        return no_such_api(call);
    }
    let source = call.present("source")?;
    let members = &call.app.members;
    let may_say = call.app.auth.speaks_for(call.app, source, call.peer);
    if !may_say || !members.knows(source) || members.own().address() == source {
        return Err(Error::Denied(format!("source {source} is no other member of this cluster")));
    }
    let source: Arc<str> = source.into();
    with_body(call, move |body| Ok(Some(Request::Checksums { source, sums: distro::parse_checksums(body)? })))
}

/// GET `datum`: the lists of the services that the body names, as far as they are here.
///
/// # Errors
/// A body that names no services.
pub fn fetch(call: &Call<'_>) -> Result<Step> {
    let full = call.headers.contains_key(FULL);
    with_body(call, move |body| wanted(body, full))
}

fn wanted(body: &[u8], full: bool) -> Result<Option<Request>> {
    let mut services = distro::parse_keys(body).map_err(|error| Error::Input(error.message().to_owned()))?;
    // However often a list is asked for, it is answered once.
    let mut seen = HashSet::with_capacity(services.len());
    services.retain(|service| seen.insert(service.clone()));
    Ok(Some(Request::Fetch { services, full }))
}

/// GET `datums`: all lists.
///
/// # Errors
/// None.
pub fn snapshot(call: &Call<'_>) -> Result<Step> {
    match Question::of(call) {
        Some(question) => {
            let full = question.full;
            Ok(question.ask(Request::Snapshot { full }))
        }
        None => no_such_api(call),
    }
}

#[cfg(test)]
mod tests;
