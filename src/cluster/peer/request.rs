//! What members say to each other, as HTTP requests.

use std::time::Duration;

use bytes::Bytes;
use hyper::Method;
use hyper::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use tokio::runtime::{Handle, RuntimeFlavor};

use super::outgoing::{Bounds, Outgoing};
use super::query::Query;
use crate::cluster::message::{FULL, Request};
use crate::model::peer::Datum;
use crate::wire::{datum, distro, member, service};

const JSON: HeaderValue = HeaderValue::from_static("application/json;charset=UTF-8");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");
/// Of the API, as this server reports it of itself.
const VERSION: &str = "1.4.8";
/// By this the reference knows a report.
const SERVER: HeaderName = HeaderName::from_static("nacos-server");
/// Writing more instances than this would keep a thread of the runtime from other work for more than a millisecond.
const SLOW_INSTANCES: usize = 2_000;

/// A member that lives connects in a network's round trip; a SYN that is lost is repeated after one second.
const CONNECT: Duration = Duration::from_secs(2);
/// Of a report, which is how long a member that hangs goes unnoticed.
const REPORT: Duration = Duration::from_millis(2_500);
/// Of most. Receivers of checksums answer when they have fetched what differs.
const USUAL: Duration = Duration::from_secs(10);
/// Of a snapshot: 100,000 instances are 40 MB.
const SNAPSHOT: Duration = Duration::from_secs(30);

/// Of an answer that says `ok`, or why not: pages of errors included.
const SMALL_BYTES: usize = 1 << 20;
/// Of the health of one service: 300,000 instances.
const HEALTH_BYTES: usize = 16 << 20;
/// Of lists that were asked for by name: 300,000 instances at 400 bytes.
const FETCH_BYTES: usize = 128 << 20;
/// Of all lists: 1.3 million instances, more than a server of the reference is run with. It is read into memory as a
/// whole, so without a bound a faulty member could take all of it.
const SNAPSHOT_BYTES: usize = 512 << 20;

/// `request` to a server with this context path.
pub(super) fn outgoing(context: &str, request: &Request) -> Outgoing {
    let path = |path| Query::of(&[context, path], 200);
    let read_as = |query: Query| query.with("encoding", "UTF-8").with("nofix", "1");
    let (method, target, total, max_answer_bytes) = match request {
        Request::Report(_) => (Method::POST, path("/v1/core/cluster/report"), REPORT, SMALL_BYTES),
        Request::Own => (Method::GET, path("/v1/core/cluster/self"), REPORT, SMALL_BYTES),
        Request::Push(_) => (Method::PUT, path("/v1/ns/distro/datum"), USUAL, SMALL_BYTES),
        Request::Changes(_) => (Method::PUT, path("/v1/ns/distro/changes"), USUAL, SMALL_BYTES),
        Request::Checksums { source, .. } => {
            (Method::PUT, path("/v1/ns/distro/checksum").with("source", source), USUAL, SMALL_BYTES)
        }
        Request::Fetch { .. } => (Method::GET, path("/v1/ns/distro/datum"), USUAL, FETCH_BYTES),
        Request::Snapshot { .. } => (Method::GET, read_as(path("/v1/ns/distro/datums")), SNAPSHOT, SNAPSHOT_BYTES),
        Request::Status { .. } => (Method::POST, path("/v1/ns/service/status"), USUAL, SMALL_BYTES),
        Request::Statuses(service) => {
            let key = [&*service.namespace, "##", &*service.name].concat();
            (Method::GET, read_as(path("/v1/ns/instance/statuses").with("key", &key)), USUAL, HEALTH_BYTES)
        }
        Request::Leave(_) => {
            let told = path("/v1/core/cluster/server/leave").with("notifyOtherMembers", "false");
            (Method::POST, told, USUAL, SMALL_BYTES)
        }
    };
    let mut headers = HeaderMap::from_iter([(CONTENT_TYPE, JSON), (ACCEPT_ENCODING, GZIP)]);
    if let Request::Report(_) = request {
        headers.insert(SERVER, HeaderValue::from_static(VERSION));
    }
    if let Request::Fetch { full: true, .. } | Request::Snapshot { full: true } = request {
        headers.insert(FULL, HeaderValue::from_static("full"));
    }
    let bounds = Bounds { connect: CONNECT, total, max_answer_bytes };
    Outgoing { method, target: target.into_text(), headers, body: body(request), bounds }
}

fn body(request: &Request) -> Bytes {
    let mut out = Vec::new();
    match request {
        Request::Report(own) => member::write(own, Some(VERSION), &mut out),
        Request::Push(data) => unhurried(data.iter(), || datum::write(data, false, &mut out)),
        Request::Changes(parts) => unhurried(parts.iter().map(|part| &part.datum), || {
            let parts: Vec<(&Datum, bool)> = parts.iter().map(|part| (&part.datum, part.whole)).collect();
            datum::write_parts(&parts, &mut out);
        }),
        Request::Checksums { sums, .. } => distro::write_checksums(sums, &mut out),
        Request::Fetch { services, .. } => distro::write_keys(services, &mut out),
        Request::Status { source, namespace, sums } => service::write_report(source, namespace, sums, &mut out),
        Request::Leave(addresses) => member::write_addresses(addresses, &mut out),
        Request::Own | Request::Snapshot { .. } | Request::Statuses(_) => {}
    }
    out.into()
}

/// Writes `data`; where that takes long, other tasks leave this thread first.
fn unhurried<'d>(data: impl Iterator<Item = &'d Datum>, write: impl FnOnce()) {
    let many = data.map(|datum| datum.told.len()).sum::<usize>() > SLOW_INSTANCES;
    if many && Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread) {
        tokio::task::block_in_place(write);
    } else {
        write();
    }
}
