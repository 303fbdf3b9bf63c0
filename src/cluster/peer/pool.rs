//! The connections to one member.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::Request;
use hyper::header::{HOST, HeaderValue};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::line::{Fault, Line};
use super::outgoing::{Bounds, Incoming, Outgoing};
use crate::cluster::message::Failure;

/// Forwarded requests in flight to one member. At 1 ms each that is 128,000 a second.
pub const MAX_FORWARDS: usize = 128;
/// Connections to one member: what servers say to each other has places left when all forwarding hangs.
const MAX_OPEN: usize = MAX_FORWARDS + 64;
/// Unused connections are closed after this; servers do so after 20 s (the reference) or 75 s (this one).
pub(super) const IDLE: Duration = Duration::from_secs(10);

/// See the module.
pub(super) struct Pool {
    address: Box<str>,
    host: Option<HeaderValue>,
    /// Those used last at the end, so that no more are kept than are needed at a time.
    idle: Mutex<Vec<Line>>,
    open: Semaphore,
    forwards: Arc<Semaphore>,
}

/// What to do when a connection that was kept is found dead only when no answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// Send again: nothing is done twice when it comes twice.
    Yes,
    /// It may have come, and must not come twice.
    No,
}

/// The right to forward one request to a member.
pub struct Place {
    pool: Arc<Pool>,
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Place {
    pub(super) fn take(pool: Arc<Pool>, all: &Arc<Semaphore>) -> Option<Self> {
        let own = pool.forwards.clone().try_acquire_owned().ok()?;
        let all = all.clone().try_acquire_owned().ok()?;
        Some(Self { pool, _own: own, _all: all })
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.pool
    }
}

impl Pool {
    pub(super) fn new(address: &str) -> Self {
        Self {
            address: address.into(),
            host: HeaderValue::from_str(address).ok(),
            idle: Mutex::default(),
            open: Semaphore::new(MAX_OPEN),
            forwards: Arc::new(Semaphore::new(MAX_FORWARDS)),
        }
    }

    /// Closes what has not been used for long; how many unused connections remain.
    pub(super) fn sweep(&self, now: Instant) -> usize {
        let mut idle = self.idle.lock();
        let old = idle.iter().take_while(|line| now.duration_since(line.since) >= IDLE).count();
        idle.drain(..old);
        idle.len()
    }

    pub(super) async fn send(&self, outgoing: Outgoing, repeat: Repeat) -> Result<Incoming, Failure> {
        let bounds = outgoing.bounds;
        let mut request = outgoing.into_request()?;
        if let Some(host) = &self.host {
            request.headers_mut().entry(HOST).or_insert_with(|| host.clone());
        }
        let asked = timeout(bounds.total, self.ask(request, bounds, repeat)).await;
        asked.unwrap_or_else(|_| Err(Failure::Broken(format!("no answer within {} ms", bounds.total.as_millis()))))
    }

    async fn ask(&self, request: Request<Full<Bytes>>, bounds: Bounds, repeat: Repeat) -> Result<Incoming, Failure> {
        let _place = self.open.acquire().await.map_err(|_| Failure::Broken("no connections any more".into()))?;
        if let Some(mut line) = self.take() {
            match line.ask(request.clone(), bounds.max_answer_bytes).await {
                Err(Fault::Unsent(_)) => self.idle.lock().clear(),
                Err(Fault::Unanswered(_)) if repeat == Repeat::Yes => self.idle.lock().clear(),
                answered => return self.keep(line, answered),
            }
        }
        let mut line = self.connect(bounds.connect).await?;
        let answered = line.ask(request, bounds.max_answer_bytes).await;
        self.keep(line, answered)
    }

    /// A connection that is there and works, as far as can be seen.
    fn take(&self) -> Option<Line> {
        let now = Instant::now();
        loop {
            let mut line = self.idle.lock().pop()?;
            if now.duration_since(line.since) < IDLE && line.is_usable() {
                return Some(line);
            }
        }
    }

    fn keep(&self, mut line: Line, answered: Result<Incoming, Fault>) -> Result<Incoming, Failure> {
        let answer = answered.map_err(|fault| match fault {
            Fault::Unsent(text) | Fault::Unanswered(text) => Failure::Broken(text),
            Fault::Answered(failure) => failure,
        })?;
        if line.is_open() {
            line.since = Instant::now();
            self.idle.lock().push(line);
        }
        Ok(answer)
    }

    async fn connect(&self, limit: Duration) -> Result<Line, Failure> {
        let failed = |fault: io::Error| match fault.kind() {
            io::ErrorKind::ConnectionRefused => Failure::Refused,
            _ => Failure::Broken(format!("can't connect: {fault}")),
        };
        let stream = timeout(limit, TcpStream::connect(&*self.address)).await;
        let late = |_| Failure::Broken(format!("no connection within {} ms", limit.as_millis()));
        let stream = stream.map_err(late)?.map_err(failed)?;
        // Where nobody listens, the system may connect a socket to itself.
        if matches!((stream.local_addr(), stream.peer_addr()), (Ok(own), Ok(peer)) if own == peer) {
            return Err(Failure::Refused);
        }
        // Failing here only costs latency.
        let _ = stream.set_nodelay(true);
        // A request that was given up must not arrive any more: the system would go on sending it, and the member would carry
        // it out after others that were made later, as soon as it is reached again.
        let _ = stream.set_zero_linger();
        Line::over(stream).await
    }
}
