//! What servers tell each other about services (`spec/service-api.md` 2.8, 2.9).

use crate::cluster::message::Request;
use crate::error::{Error, Result};
use crate::http::call::{Call, Step};
use crate::http::ns::distro::Question;
use crate::http::percent::unescape;
use crate::http::reply::Reply;
use crate::push::list::checksum_of;
use crate::wire::service::StatusReport;

/// PUT `checksum`: the checksum of a service.
///
/// # Errors
/// A missing name; an unknown service.
pub fn checksum(call: &Call<'_>) -> Result<Step> {
    let named = call.service_unchecked()?;
    let unknown = || Error::Refused(format!("serviceName not found: {}", named.name));
    let service = named.find(&call.app.registry).ok_or_else(unknown)?;
    Step::json(format!("{{\"checksum\":\"{}\"}}", checksum_of(&service)))
}

/// POST `status`: a member reports on the services that it owns. To a server that stands alone the only member is itself,
/// whose report tells it nothing new. Statuses that can't be read change nothing, as in the reference.
///
/// # Errors
/// An unreadable report; a sender that is no member.
pub fn status(call: &Call<'_>) -> Result<Step> {
    let body = unescape(call.body, true).ok_or_else(|| Error::Input("the body is not URL-encoded".into()))?;
    let report = StatusReport::parse(&String::from_utf8_lossy(&body))?;
    let members = &call.app.members;
    // Part of a member's address is enough, as in the reference, for a report that nothing follows from.
    if !members.all().iter().any(|member| member.address().contains(&report.sender)) {
        return Err(Error::Refused(format!("ip: {} is not in serverlist", report.sender)));
    }
    if report.is_null() {
        return Ok(Step::Answer(Reply::text("fail")));
    }
    let is_peer = members.knows(&report.sender) && members.own().address() != report.sender;
    match (Question::of(call), report.sums()) {
        (Some(question), Some((namespace, sums))) if is_peer => {
            Ok(question.ask(Request::Status { source: report.sender.into(), namespace, sums }))
        }
        _ => Ok(Step::Answer(Reply::ok())),
    }
}
