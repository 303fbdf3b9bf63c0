//! One error type, classed by what the caller can do about it. It knows no status codes: `http::reply` picks those.

use std::fmt;

/// Why an operation did not happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The request is wrong as it stands: the caller has to change it. The text names the fault.
    Input(String),
    /// The request is well-formed but can't be carried out on what is registered (not found, out of range, ...).
    Refused(String),
    /// The caller may not do this.
    Denied(String),
    /// A stated limit was reached (queue, row size, connections): try again later or send less.
    Limit(String),
    /// The store can't take writes now; nothing changed. Reads and beats go on; the store heals itself.
    Storage(String),
    /// The node is starting, stopping or otherwise not ready.
    Unavailable(String),
    /// The servers of a cluster have to agree on this, and at present they can't (or it is not known whether they did): it may
    /// be tried again, here or elsewhere.
    Undecided(String),
    /// The process can't be set up as configured: a person has to change configuration or surroundings.
    Setup(String),
}

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// The text for people, without the class.
    pub fn message(&self) -> &str {
        match self {
            Error::Input(text)
            | Error::Refused(text)
            | Error::Denied(text)
            | Error::Limit(text)
            | Error::Storage(text)
            | Error::Unavailable(text)
            | Error::Undecided(text)
            | Error::Setup(text) => text,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.message())
    }
}

impl std::error::Error for Error {}
