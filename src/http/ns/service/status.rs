//! What servers tell each other about services (`spec/service-api.md` 2.8, 2.9).

use crate::error::{Error, Result};
use crate::http::call::{Call, Step};
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

/// POST `status`: a member reports on its services. The only member of a standalone node is the node itself, whose
/// report tells it nothing new.
///
/// # Errors
/// An unreadable report; a sender that is no member.
pub fn status(call: &Call<'_>) -> Result<Step> {
    let body = unescape(call.body, true).ok_or_else(|| Error::Input("the body is not URL-encoded".into()))?;
    let report = StatusReport::parse(&String::from_utf8_lossy(&body))?;
    // Part of a member's address is enough, as in the reference.
    if !call.app.members.all().iter().any(|member| member.address().contains(&report.sender)) {
        return Err(Error::Refused(format!("ip: {} is not in serverlist", report.sender)));
    }
    Ok(Step::Answer(if report.is_null() { Reply::text("fail") } else { Reply::ok() }))
}
