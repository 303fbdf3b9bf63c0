//! HTTP answers, as what members say to each other.

use bytes::Bytes;

use super::outgoing::Incoming;
use crate::cluster::message::{Answer, Failure, Request};
use crate::error::{Error, Result};
use crate::wire::{datum, member, statuses};

/// A body above this is read on a thread for slow work: 40 MB take a few tenths of a second.
const SLOW_BYTES: usize = 256 << 10;
/// In the error of a member that does not have the service whose health it is asked for.
const NOT_FOUND: &str = "not found";

/// What kind of answer a body holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Done,
    Known,
    Member,
    Data,
    Health,
}

impl Kind {
    fn of(request: &Request) -> Self {
        match request {
            Request::Report(_) => Kind::Known,
            Request::Own => Kind::Member,
            Request::Push(_)
            | Request::Changes(_)
            | Request::Checksums { .. }
            | Request::Status { .. }
            | Request::Leave(_) => Kind::Done,
            Request::Fetch { .. } | Request::Snapshot { .. } => Kind::Data,
            Request::Statuses(_) => Kind::Health,
        }
    }

    fn read(self, body: &Bytes) -> Result<Answer> {
        Ok(match self {
            Kind::Done => Answer::Done,
            Kind::Known => Answer::Known(member::report_answer(body)?),
            Kind::Member => Answer::Member(Box::new(member::own(body)?)),
            Kind::Data => Answer::Data(datum::parse(body)?),
            Kind::Health => Answer::Health(statuses::parse(body)?),
        })
    }
}

/// What a member says to `request`.
pub(super) async fn read(request: &Request, answer: Incoming) -> Result<Answer, Failure> {
    // The path of another server: those of other kinds, and of other versions, may not know it.
    let is_extra = matches!(request, Request::Changes(_) | Request::Report(_));
    let is_cluster = matches!(request, Request::Report(_) | Request::Own);
    match answer.status {
        200 => read_body(Kind::of(request), answer.body).await,
        304 => Ok(Answer::Done),
        404 | 501 if is_extra => Ok(Answer::Unknown),
        503 if !is_cluster => Ok(Answer::NotReady),
        500 if matches!(request, Request::Statuses(_)) && answer.text().contains(NOT_FOUND) => Ok(Answer::Unknown),
        status => Err(Failure::Said(status, answer.text())),
    }
}

async fn read_body(kind: Kind, body: Bytes) -> Result<Answer, Failure> {
    let read = if body.len() < SLOW_BYTES {
        kind.read(&body)
    } else {
        let reading = tokio::task::spawn_blocking(move || kind.read(&body));
        reading.await.unwrap_or_else(|fault| Err(Error::Unavailable(fault.to_string())))
    };
    read.map_err(|fault| Failure::Broken(format!("the answer is not understood: {fault}")))
}
