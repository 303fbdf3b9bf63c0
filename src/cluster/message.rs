//! What members say to each other. [`peer`](super::peer) turns it into HTTP and back; nobody else knows how.

use std::sync::Arc;

use crate::model::ServiceKey;
use crate::model::member::Member;
use crate::model::peer::Datum;

/// The header by which a server of this kind asks for lists with everything. Who is asked may not have met it yet, and a
/// list that does not say what was taken out reads as if all had been that it does not have.
pub const FULL: &str = "nacre-lists";

/// A question or message to a member.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// This is how the sender does (`spec/members.md` 4). Answer: [`Answer::Known`].
    Report(Member),
    /// How the receiver does (`core/cluster/self`). Answer: [`Answer::Member`].
    Own,
    /// Whole lists, without anything that only servers of this kind say (`spec/distro.md` 6). Answer: [`Answer::Done`].
    Push(Vec<Datum>),
    /// Lists or parts of lists, with everything; only to servers of this kind. Answer: [`Answer::Done`].
    Changes(Vec<Part>),
    /// Checksums of all lists that `source` owns (`spec/distro.md` 7). Answer: [`Answer::Done`].
    Checksums {
        /// The sender's own address.
        source: Arc<str>,
        /// `None` where the checksum is a JSON null.
        sums: Vec<(ServiceKey, Option<Arc<str>>)>,
    },
    /// Lists by name. Answer: [`Answer::Data`] with those that the receiver has.
    Fetch {
        /// Whose.
        services: Vec<ServiceKey>,
        /// With everything that servers of this kind say, see [`FULL`].
        full: bool,
    },
    /// All lists that the receiver has. Answer: [`Answer::Data`].
    Snapshot {
        /// As above.
        full: bool,
    },
    /// Checksums of services that `source` owns, of one namespace (`spec/members.md` 6). Answer: [`Answer::Done`].
    Status {
        /// The sender's own address.
        source: Arc<str>,
        /// Whose services.
        namespace: Arc<str>,
        /// Grouped name, checksum of the service.
        sums: Vec<(Arc<str>, Arc<str>)>,
    },
    /// How healthy the instances of a service are. Answer: [`Answer::Health`].
    Statuses(ServiceKey),
    /// The members at these addresses are none any more (`spec/members.md` 5). Answer: [`Answer::Done`].
    Leave(Vec<String>),
}

/// A list, or some of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    /// What is told.
    pub datum: Datum,
    /// Whether that is all there is.
    pub whole: bool,
}

/// What a member says to a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Understood, and done.
    Done,
    /// Whether the receiver has the sender in its list.
    Known(bool),
    /// The receiver.
    Member(Box<Member>),
    /// Lists.
    Data(Vec<Datum>),
    /// Host, port and health of instances.
    Health(Vec<(Box<str>, i32, bool)>),
    /// The receiver has no data yet.
    NotReady,
    /// The receiver does not have such a thing, or knows nothing of this.
    Unknown,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Nobody listens at the address: the request was never sent.
    Refused,
    /// Time-out, broken connection: the request may have been carried out.
    Broken(String),
    /// The member answered with an error: status and text.
    Said(u16, String),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Refused => f.write_str("connection refused"),
            Failure::Broken(text) => f.write_str(text),
            Failure::Said(status, text) => write!(f, "answered {status}: {text}"),
        }
    }
}
