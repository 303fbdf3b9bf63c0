//! One connection: a request, its answer, the next request.

use std::fmt;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::Session;
use super::answer::{Complete, Incoming};

/// What one read takes at least, in bytes.
const READ_BYTES: usize = 8 << 10;
/// A buffer that has grown beyond this is given back after the answer.
const KEPT_BYTES: usize = 1 << 20;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    /// Nobody listens there.
    Refused,
    /// The connection could not be made for another reason.
    Unreachable(ErrorKind),
    /// The connection ended before the answer did.
    Closed,
    /// No complete answer in time; the server may still do what it was asked.
    Timeout,
    /// This is not HTTP.
    Malformed(&'static str),
    /// More than anybody needs.
    TooLarge,
}

impl Fault {
    /// Whether the server may have got the request.
    pub fn may_have_arrived(self) -> bool {
        !matches!(self, Self::Refused | Self::Unreachable(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused => f.write_str("connection refused"),
            Self::Unreachable(kind) => write!(f, "can't connect: {kind}"),
            Self::Closed => f.write_str("connection closed"),
            Self::Timeout => f.write_str("timeout"),
            Self::Malformed(what) => write!(f, "malformed answer: {what}"),
            Self::TooLarge => f.write_str("answer too large"),
        }
    }
}

/// An answer, whatever its status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer<'a> {
    /// 200, ...
    pub status: u16,
    /// Without head and chunk lines.
    pub body: &'a [u8],
}

/// A connection that opens with its first request, and again after the server or a fault has closed it.
#[derive(Debug)]
pub struct Connection {
    session: Arc<Session>,
    timeout: Duration,
    stream: Option<TcpStream>,
    /// Whether this stream has carried an answer.
    used: bool,
    out: Vec<u8>,
    bytes: Vec<u8>,
    tail: Arc<[u8]>,
    version: u64,
}

impl Connection {
    /// Nothing is opened yet. `timeout` is for one request, with connecting.
    pub fn new(session: Arc<Session>, timeout: Duration) -> Self {
        let tail = Arc::from(&b"\r\n"[..]);
        let (out, bytes) = (Vec::with_capacity(1 << 10), Vec::with_capacity(READ_BYTES));
        Self { session, timeout, stream: None, used: false, out, bytes, tail, version: 0 }
    }

    /// Opens the connection if it is not.
    ///
    /// # Errors
    /// When that is not possible in time.
    pub async fn open(&mut self) -> Result<(), Fault> {
        let opened = tokio::time::timeout(self.timeout, self.connect()).await;
        opened.unwrap_or(Err(Fault::Timeout))
    }

    /// Sends `head` (request line and headers, each line ended, without the blank one) with `body` and reads the answer.
    /// A kept connection that turns out to be closed before anything came back is opened anew and the request sent once
    /// more, as clients do.
    ///
    /// # Errors
    /// When there is no answer. The connection is closed then.
    pub async fn ask(&mut self, head: &[u8], body: &[u8]) -> Result<Answer<'_>, Fault> {
        self.session.refresh(&mut self.version, &mut self.tail);
        self.out.clear();
        self.out.extend_from_slice(head);
        self.out.extend_from_slice(&self.tail);
        self.out.extend_from_slice(body);
        let asked = tokio::time::timeout(self.timeout, self.exchange()).await;
        match asked.unwrap_or(Err(Fault::Timeout)) {
            Ok(complete) => {
                self.used = true;
                if !complete.keep {
                    self.stream = None;
                }
                Ok(Answer { status: complete.status, body: self.bytes.get(complete.body).unwrap_or_default() })
            }
            Err(fault) => {
                self.stream = None;
                Err(fault)
            }
        }
    }

    /// Closes the connection.
    pub fn close(&mut self) {
        self.stream = None;
    }

    async fn connect(&mut self) -> Result<(), Fault> {
        if self.stream.is_some() {
            return Ok(());
        }
        let stream = TcpStream::connect(self.session.server().address).await.map_err(|error| match error.kind() {
            ErrorKind::ConnectionRefused => Fault::Refused,
            kind => Fault::Unreachable(kind),
        })?;
        // Without it small requests wait; a stream that can't do it works all the same.
        let _ = stream.set_nodelay(true);
        self.stream = Some(stream);
        self.used = false;
        Ok(())
    }

    async fn exchange(&mut self) -> Result<Complete, Fault> {
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = Vec::with_capacity(READ_BYTES);
        }
        self.connect().await?;
        let kept = self.used;
        match self.once().await {
            Err(Fault::Closed) if kept && self.bytes.is_empty() => {}
            outcome => return outcome,
        }
        self.stream = None;
        // The first try may have done its work, so whatever comes now is not a request that never arrived.
        self.connect().await.map_err(|_| Fault::Closed)?;
        self.once().await
    }

    async fn once(&mut self) -> Result<Complete, Fault> {
        let Some(stream) = &mut self.stream else { return Err(Fault::Closed) };
        self.bytes.clear();
        stream.write_all(&self.out).await.map_err(|_| Fault::Closed)?;
        let mut incoming = Incoming::default();
        loop {
            self.bytes.reserve(READ_BYTES);
            let read = stream.read_buf(&mut self.bytes).await.map_err(|_| Fault::Closed)?;
            if let Some(complete) = incoming.read(&mut self.bytes, read == 0)? {
                return Ok(complete);
            }
        }
    }
}
