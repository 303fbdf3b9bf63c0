//! Accepts connections, runs HTTP/1 on them, and sees to it that none holds a place for longer than it may.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use parking_lot::{Mutex, RwLock};
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::conn::{Common, Conn, Order, Phase, Watched};

#[cfg(test)]
mod tests;

/// The smallest head limit that hyper can keep.
const MIN_HEAD_BYTES: usize = 8192;
/// Pause after a failed accept: descriptors and memory don't come back at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Time for a request head that is half there when the server stops.
const HEAD_GRACE: Duration = Duration::from_millis(300);
/// Time for tasks to end after their connections were cut; they only have to be scheduled once.
const CUT_WAIT: Duration = Duration::from_secs(1);
/// How much of an unread body is thrown away before a connection is closed regardless.
const MAX_LINGER_BYTES: usize = 16 << 20;

/// What connections may use. Times are kept to within `reap_every_ms` twice over: a connection is never cut early,
/// and time during which the whole process stood still does not count.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections open at once; more wait in the listener's backlog.
    pub max_connections: usize,
    /// Request line and headers together; longer ones are answered with 431 (a target above 65,534 bytes with 414).
    /// At least 8192. A head with more than 100 headers is answered with 431 too.
    pub max_head_bytes: usize,
    /// Memory for all bodies that are still arriving; beyond it they are refused ([`super::body::BodyError::Busy`]).
    pub max_arriving_bytes: usize,
    /// From the first byte of a head (of a new connection: from the start) to its end.
    pub head_timeout_ms: u64,
    /// From the end of a head to the end of its body.
    pub body_timeout_ms: u64,
    /// Between an answer and the first byte of the next request.
    pub idle_timeout_ms: u64,
    /// While answering: since the client last took a byte.
    pub write_timeout_ms: u64,
    /// For a client to close after an answer before which its request was not read to the end. (To close at once would
    /// make the system throw the answer away.)
    pub linger_ms: u64,
    /// For requests in flight when the server stops.
    pub drain_ms: u64,
    /// How often all connections are looked at; also the grain of the clock.
    pub reap_every_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 8192,
            max_head_bytes: 64 << 10,
            max_arriving_bytes: 128 << 20,
            head_timeout_ms: 10_000,
            body_timeout_ms: 30_000,
            idle_timeout_ms: 75_000,
            write_timeout_ms: 30_000,
            linger_ms: 2_000,
            drain_ms: 10_000,
            reap_every_ms: 500,
        }
    }
}

/// Counts since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Connections open now.
    pub open: usize,
    /// Those of them whose request has come and has no answer yet.
    pub in_flight: usize,
    /// Connections ever accepted.
    pub accepted: u64,
    /// Connections cut because they were over a time limit.
    pub reaped: u64,
    /// Failed accepts: mostly no descriptors or no memory.
    pub refused: u64,
}

/// An HTTP/1 server. Clones are the same server.
#[derive(Debug, Clone)]
pub struct Server {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: RwLock<Limits>,
    common: Arc<Common>,
    places: Arc<Semaphore>,
    all_places: u32,
    connections: Mutex<HashMap<u64, Arc<Conn>>>,
    accepted: AtomicU64,
    reaped: AtomicU64,
    refused: AtomicU64,
}

/// A connection's entry in the list and its place; both are given back when dropped.
struct Entry {
    shared: Arc<Shared>,
    id: u64,
    _place: OwnedSemaphorePermit,
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.connections.lock().remove(&self.id);
    }
}

/// Cuts what is open when a running server is dropped midway.
struct CutOnDrop<'a>(&'a Shared);

impl Drop for CutOnDrop<'_> {
    fn drop(&mut self) {
        self.0.order_all(Order::Cut);
    }
}

impl Server {
    /// A server that does nothing yet.
    pub fn new(limits: Limits) -> Self {
        let all_places = u32::try_from(limits.max_connections).unwrap_or(u32::MAX).max(1);
        let shared = Shared {
            common: Arc::new(Common::new(limits.max_arriving_bytes)),
            places: Arc::new(Semaphore::new(all_places as usize)),
            all_places,
            connections: Mutex::default(),
            accepted: AtomicU64::new(0),
            reaped: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            limits: RwLock::new(limits),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Replaces the limits, also for connections that are open; those for heads count for new connections. The number of
    /// connections, the memory for bodies and the grain of the clock stay as they were.
    pub fn set_limits(&self, limits: Limits) {
        let mut now = self.shared.limits.write();
        let Limits { max_connections, max_arriving_bytes, reap_every_ms, .. } = *now;
        *now = Limits { max_connections, max_arriving_bytes, reap_every_ms, ..limits };
    }

    /// The counts now.
    pub fn stats(&self) -> Stats {
        let connections = self.shared.connections.lock();
        let in_flight =
            connections.values().filter(|conn| matches!(conn.phase(), Phase::Body | Phase::Serving)).count();
        let open = connections.len();
        drop(connections);
        Stats {
            open,
            in_flight,
            accepted: self.shared.accepted.load(Ordering::Relaxed),
            reaped: self.shared.reaped.load(Ordering::Relaxed),
            refused: self.shared.refused.load(Ordering::Relaxed),
        }
    }

    /// How long requests in flight would have if it stopped now.
    pub fn drain(&self) -> Duration {
        Duration::from_millis(self.shared.limits.read().drain_ms)
    }

    /// Serves connections of `listener` until `stop` is ready, then stops accepting, lets requests in flight finish for
    /// at most `drain_ms`, and closes the rest. Returns how many connections had to be closed that way.
    ///
    /// `service` answers one request; the body is still unread ([`super::body::read`]). Nothing makes this end but
    /// `stop`: when accepting fails it pauses and goes on. Run it once for a server.
    pub async fn run<S, F>(&self, listener: TcpListener, service: S, stop: impl Future<Output = ()>) -> usize
    where
        S: Fn(Request<Incoming>, Arc<Conn>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        let shared = &self.shared;
        let _cut = CutOnDrop(shared);
        let mut reaping = pin!(shared.reap());
        tokio::select! {
            never = shared.accept(&listener, &service) => match never {},
            never = &mut reaping => match never {},
            () = stop => {}
        }
        drop(listener);
        shared.order_all(Order::Drain);
        let drain_ms = shared.limits.read().drain_ms;
        let all_closed = shared.places.acquire_many(shared.all_places);
        tokio::select! {
            _ = all_closed => return 0,
            never = &mut reaping => match never {},
            () = sleep(HEAD_GRACE) => shared.cut_heads(),
        }
        let all_closed = shared.places.acquire_many(shared.all_places);
        tokio::select! {
            _ = all_closed => return 0,
            never = &mut reaping => match never {},
            () = sleep(Duration::from_millis(drain_ms)) => {}
        }
        let cut = shared.order_all(Order::Cut);
        // Cut connections end as soon as their tasks are scheduled; a service that blocks its thread may not.
        let _ = timeout(CUT_WAIT, shared.places.acquire_many(shared.all_places)).await;
        cut
    }
}

impl Shared {
    /// A place is taken first: without one, connections wait in the backlog, where they cost the process nothing.
    async fn accept<S, F>(self: &Arc<Self>, listener: &TcpListener, service: &S) -> Infallible
    where
        S: Fn(Request<Incoming>, Arc<Conn>) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
    {
        let mut failing = false;
        loop {
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
                // The semaphore is never closed.
                return std::future::pending().await;
            };
            match listener.accept().await {
                Ok((stream, peer)) => {
                    if std::mem::take(&mut failing) {
                        tracing::info!("accepting connections again");
                    }
                    // Failing here only costs latency.
                    let _ = stream.set_nodelay(true);
                    let conn = Arc::new(Conn::new(peer, Arc::clone(&self.common)));
                    let entry = self.enter(place, &conn);
                    tokio::spawn(serve(entry, stream, conn, protocol(&self.limits.read()), service.clone()));
                }
                Err(fault) => {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    if of_one_connection(&fault) {
                        continue;
                    }
                    if !std::mem::replace(&mut failing, true) {
                        tracing::warn!(%fault, "can't accept connections, will keep trying");
                    }
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn enter(self: &Arc<Self>, place: OwnedSemaphorePermit, conn: &Arc<Conn>) -> Entry {
        let id = self.accepted.fetch_add(1, Ordering::Relaxed);
        self.connections.lock().insert(id, Arc::clone(conn));
        Entry { shared: Arc::clone(self), id, _place: place }
    }

    /// Advances the clock and cuts connections that are over a limit.
    async fn reap(&self) -> Infallible {
        let every = Duration::from_millis(self.limits.read().reap_every_ms.max(1));
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut before = Instant::now();
        loop {
            ticks.tick().await;
            let now = Instant::now();
            // While the process stood still (SIGSTOP, a stalled machine) clients couldn't be heard.
            let passed = now.duration_since(before).min(every * 2);
            before = now;
            let now_ms = self.common.now_ms() + u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
            self.common.advance(now_ms);
            self.cut_overdue(now_ms);
        }
    }

    fn cut_overdue(&self, now_ms: u64) {
        let limits = self.limits.read().clone();
        for conn in self.connections.lock().values() {
            if conn.is_overdue(now_ms, &limits) && conn.order() != Order::Cut {
                conn.give(Order::Cut);
                self.reaped.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(peer = %conn.peer(), phase = ?conn.phase(), "connection is over its time limit");
            }
        }
    }

    /// Who has sent half a request was promised nothing.
    fn cut_heads(&self) {
        let connections = self.connections.lock();
        connections.values().filter(|conn| conn.phase() == Phase::Head).for_each(|conn| conn.give(Order::Cut));
    }

    fn order_all(&self, order: Order) -> usize {
        let connections = self.connections.lock();
        connections.values().for_each(|conn| conn.give(order));
        connections.len()
    }
}

fn protocol(limits: &Limits) -> http1::Builder {
    let head_bytes = limits.max_head_bytes.max(MIN_HEAD_BYTES);
    let mut protocol = http1::Builder::new();
    // A client that has closed its sending half still gets its answer.
    protocol.half_close(true).max_buf_size(head_bytes).max_header_size(head_bytes);
    protocol
}

/// Whether a failed accept says something about that connection only, so that the next may be tried at once.
fn of_one_connection(fault: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(fault.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

async fn serve<S, F>(_entry: Entry, stream: TcpStream, conn: Arc<Conn>, protocol: http1::Builder, service: S)
where
    S: Fn(Request<Incoming>, Arc<Conn>) -> F + Send + 'static,
    F: Future<Output = Response<Full<Bytes>>> + Send + 'static,
{
    let own = Arc::clone(&conn);
    let handler = service_fn(move |request: Request<Incoming>| {
        own.begin_request(!request.body().is_end_stream());
        let answering = service(request, Arc::clone(&own));
        let conn = Arc::clone(&own);
        async move {
            let mut response = answering.await;
            if conn.is_unread() && response.status() == StatusCode::PAYLOAD_TOO_LARGE {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            conn.enter(Phase::Writing);
            Ok::<_, Infallible>(response)
        }
    });
    let mut http = protocol.serve_connection(TokioIo::new(Watched::new(stream, Arc::clone(&conn))), handler);
    let mut begun = false;
    let mut draining = false;
    let ended = poll_fn(|cx| {
        if !std::mem::replace(&mut begun, true) {
            // Once is enough: the waker of a task stays the same.
            conn.listen(cx.waker());
        }
        match conn.order() {
            Order::Serve => {}
            Order::Drain if draining => {}
            Order::Drain => {
                draining = true;
                Pin::new(&mut http).graceful_shutdown();
            }
            Order::Cut => return Poll::Ready(None),
        }
        Pin::new(&mut http).poll(cx).map(Some)
    })
    .await;
    let unread = match ended {
        None => return,
        Some(Ok(())) => conn.is_unread(),
        Some(Err(fault)) => fault.is_parse(),
    };
    if unread {
        linger(http.into_parts().io.into_inner().into_inner(), &conn).await;
    }
}

/// Closes in a way that lets the client read the answer: says that nothing more comes, then throws away what the client
/// still sends until it closes as well, within `linger_ms`.
async fn linger(mut stream: TcpStream, conn: &Conn) {
    conn.enter(Phase::Closing);
    if stream.shutdown().await.is_err() {
        return;
    }
    let mut sink = vec![0; 16 << 10];
    let mut left = MAX_LINGER_BYTES;
    while left > 0 {
        let read = poll_fn(|cx| {
            if conn.order() == Order::Cut {
                return Poll::Ready(0);
            }
            let mut buf = ReadBuf::new(&mut sink);
            Pin::new(&mut stream).poll_read(cx, &mut buf).map(|_| buf.filled().len())
        });
        match read.await {
            0 => return,
            bytes => left = left.saturating_sub(bytes),
        }
    }
}
