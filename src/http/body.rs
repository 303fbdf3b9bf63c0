//! Request bodies, whole and within a limit.

use std::fmt;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};

use super::conn::Conn;

/// Largest form body that clients may send, in bytes (`spec/instance-api.md` 1.1: not below 8 MiB).
pub const MAX_FORM_BYTES: usize = 8 << 20;

/// Why a body was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyError {
    /// It is, or says that it is, longer than the limit (status 413).
    TooLarge {
        /// The limit.
        limit_bytes: usize,
    },
    /// Bodies that are still arriving hold all the memory set aside for them (status 503).
    Busy,
    /// It ended too early or is malformed (status 400); the text is for people.
    Broken(String),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::TooLarge { limit_bytes } => write!(f, "request body is larger than {limit_bytes} bytes"),
            BodyError::Busy => f.write_str("too many large request bodies at once, try again later"),
            BodyError::Broken(fault) => write!(f, "request body could not be read: {fault}"),
        }
    }
}

impl std::error::Error for BodyError {}

/// Reads the whole of `body`; without a copy when it came in one piece, as short ones do. `conn` is told, so that the
/// time limit for bodies ends. Memory grows with what has arrived, never with what was announced, and what is held by
/// all bodies still arriving is bounded ([`Limits::max_arriving_bytes`](super::server::Limits)).
///
/// # Errors
/// A `Content-Length` above `limit_bytes` is refused before anything is read. After an error the rest of the body is
/// still unread: the server answers and then closes the connection.
pub async fn read(body: Incoming, limit_bytes: usize, conn: &Conn) -> Result<Bytes, BodyError> {
    let whole = collect(body, limit_bytes, conn).await?;
    conn.body_read();
    Ok(whole)
}

async fn collect<B>(mut body: B, limit_bytes: usize, conn: &Conn) -> Result<Bytes, BodyError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: fmt::Display,
{
    let too_large = BodyError::TooLarge { limit_bytes };
    if body.size_hint().lower() > limit_bytes as u64 {
        return Err(too_large);
    }
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    let mut lease = conn.lease();
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else { break };
        let frame = frame.map_err(|fault| BodyError::Broken(fault.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > limit_bytes - first.len().max(joined.len()) {
            return Err(too_large);
        }
        if first.is_empty() && joined.is_empty() && body.is_end_stream() {
            return Ok(data);
        }
        if !lease.grow(data.len()) {
            return Err(BodyError::Busy);
        }
        if first.is_empty() && joined.is_empty() {
            first = data;
            continue;
        }
        if joined.is_empty() {
            joined.extend_from_slice(&std::mem::take(&mut first));
        }
        joined.extend_from_slice(&data);
    }
    Ok(if joined.is_empty() { first } else { joined.freeze() })
}
