//! One connection: what it is doing since when, and the orders it may get.
//!
//! Setting a timer anew for every request costs more than a beat does. So a connection only notes, in one relaxed
//! store, which phase it is in since when by a coarse clock; a reaper looks at all connections now and then and cuts
//! off those that have been in a phase for too long (`http::server`).

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::{fmt, io};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::server::Limits;

/// What a connection is waiting for. Every phase but [`Phase::Serving`] has a time limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The rest of a request head; a new connection begins here.
    Head,
    /// The rest of a request body.
    Body,
    /// The service's answer. The service sees to its own time limits.
    Serving,
    /// The client, to take the answer.
    Writing,
    /// The next request.
    Idle,
    /// The client, to close after it was told that nothing more is read.
    Closing,
}

const PHASES: [Phase; 6] = [Phase::Head, Phase::Body, Phase::Serving, Phase::Writing, Phase::Idle, Phase::Closing];
const PHASE_BITS: u32 = 3;

/// What a connection has been told from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum Order {
    /// Go on.
    Serve,
    /// Finish the request in flight, take no more.
    Drain,
    /// Close at once.
    Cut,
}

/// What all connections of a server share: a clock and the memory for bodies that are still arriving.
#[derive(Debug, Default)]
pub(super) struct Common {
    /// Milliseconds since the server began; advanced by the reaper.
    clock_ms: AtomicU64,
    body_bytes: AtomicUsize,
    max_arriving_bytes: usize,
}

impl Common {
    pub(super) fn new(max_arriving_bytes: usize) -> Self {
        Self { max_arriving_bytes, ..Self::default() }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.clock_ms.load(Ordering::Relaxed)
    }

    pub(super) fn advance(&self, now_ms: u64) {
        self.clock_ms.store(now_ms, Ordering::Relaxed);
    }
}

/// A client's connection, as services see it.
pub struct Conn {
    peer: SocketAddr,
    common: Arc<Common>,
    /// Phase in the lowest bits, above them the time it began. Only the connection's own task changes it.
    state: AtomicU64,
    order: AtomicU8,
    unread: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl fmt::Debug for Conn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn").field("peer", &self.peer).field("phase", &self.phase()).finish_non_exhaustive()
    }
}

impl Conn {
    pub(super) fn new(peer: SocketAddr, common: Arc<Common>) -> Self {
        let conn = Self {
            peer,
            common,
            state: AtomicU64::new(0),
            order: AtomicU8::new(Order::Serve as u8),
            unread: AtomicBool::new(false),
            waker: Mutex::new(None),
        };
        conn.enter(Phase::Head);
        conn
    }

    /// The address of the client.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.state.store(self.common.now_ms() << PHASE_BITS | phase as u64, Ordering::Relaxed);
    }

    pub(super) fn phase(&self) -> Phase {
        phase_of(self.state.load(Ordering::Relaxed))
    }

    /// A request head has come; `has_body` when a body follows it.
    pub(super) fn begin_request(&self, has_body: bool) {
        self.unread.store(has_body, Ordering::Relaxed);
        self.enter(if has_body { Phase::Body } else { Phase::Serving });
    }

    /// The body of the request has been read to its end.
    pub(super) fn body_read(&self) {
        self.unread.store(false, Ordering::Relaxed);
        self.enter(Phase::Serving);
    }

    /// Whether the last request had a body that nobody read to its end.
    pub(super) fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Relaxed)
    }

    /// Whether the connection has been in its phase for longer than `limits` allow. The coarse clock may be one
    /// `reap_every_ms` behind when a phase begins: that is given on top.
    pub(super) fn is_overdue(&self, now_ms: u64, limits: &Limits) -> bool {
        let state = self.state.load(Ordering::Relaxed);
        let limit_ms = match phase_of(state) {
            Phase::Head => limits.head_timeout_ms,
            Phase::Body => limits.body_timeout_ms,
            Phase::Serving => return false,
            Phase::Writing => limits.write_timeout_ms,
            Phase::Idle => limits.idle_timeout_ms,
            Phase::Closing => limits.linger_ms,
        };
        now_ms.saturating_sub(state >> PHASE_BITS) > limit_ms.saturating_add(limits.reap_every_ms)
    }

    /// Gives an order; a weaker one than before has no effect.
    pub(super) fn give(&self, order: Order) {
        self.order.fetch_max(order as u8, Ordering::Relaxed);
        // Taking the lock makes the order visible to a task that is just leaving its waker.
        if let Some(waker) = self.waker.lock().as_ref() {
            waker.wake_by_ref();
        }
    }

    pub(super) fn order(&self) -> Order {
        match self.order.load(Ordering::Relaxed) {
            0 => Order::Serve,
            1 => Order::Drain,
            _ => Order::Cut,
        }
    }

    /// Whether the request in flight is the last: the server stops.
    pub(super) fn is_ending(&self) -> bool {
        self.order() != Order::Serve
    }

    /// Leaves the waker of the task that serves this connection, for [`Conn::give`].
    pub(super) fn listen(&self, waker: &Waker) {
        *self.waker.lock() = Some(waker.clone());
    }

    /// Memory for a body of this connection that is still arriving.
    pub(super) fn lease(&self) -> Lease<'_> {
        Lease { common: &self.common, bytes: 0 }
    }
}

fn phase_of(state: u64) -> Phase {
    let bits = state & ((1 << PHASE_BITS) - 1);
    PHASES.get(bits as usize).copied().unwrap_or(Phase::Idle)
}

/// A share of the memory for arriving bodies; given back when dropped.
#[derive(Debug)]
pub(super) struct Lease<'a> {
    common: &'a Common,
    bytes: usize,
}

impl Lease<'_> {
    /// Takes `bytes` more; false, and nothing taken, when there is not that much left.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let before = self.common.body_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > self.common.max_arriving_bytes {
            self.common.body_bytes.fetch_sub(bytes, Ordering::Relaxed);
            return false;
        }
        self.bytes += bytes;
        true
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        self.common.body_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A stream that tells its connection what goes through it.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    conn: Arc<Conn>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, conn: Arc<Conn>) -> Self {
        Self { stream, conn }
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    fn written(&self, result: &Poll<io::Result<usize>>) {
        // Idle: a second part of an answer whose first part was flushed. In other phases it is a `100 Continue` or
        // an error of the parser, which must not buy more time.
        if matches!(result, Poll::Ready(Ok(1..))) && matches!(self.conn.phase(), Phase::Writing | Phase::Idle) {
            self.conn.enter(Phase::Writing);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before && self.conn.phase() == Phase::Idle {
            self.conn.enter(Phase::Head);
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.written(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.written(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when all that it had to write is written.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        if result.is_ready() && self.conn.phase() == Phase::Writing {
            self.conn.enter(Phase::Idle);
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn() -> Conn {
        Conn::new(([127, 0, 0, 1], 1).into(), Arc::new(Common::new(100)))
    }

    #[test]
    fn overdue_by_phase() {
        let limits = Limits {
            head_timeout_ms: 10,
            body_timeout_ms: 20,
            write_timeout_ms: 30,
            idle_timeout_ms: 40,
            linger_ms: 5,
            reap_every_ms: 1,
            ..Limits::default()
        };
        let conn = conn();
        conn.common.advance(1000);
        let cases =
            [(Phase::Head, 10), (Phase::Body, 20), (Phase::Writing, 30), (Phase::Idle, 40), (Phase::Closing, 5)];
        for (phase, limit_ms) in cases {
            conn.enter(phase);
            assert_eq!(conn.phase(), phase);
            assert!(!conn.is_overdue(1001 + limit_ms, &limits), "{phase:?}");
            assert!(conn.is_overdue(1002 + limit_ms, &limits), "{phase:?}");
            assert!(!conn.is_overdue(0, &limits), "{phase:?}");
        }
        conn.enter(Phase::Serving);
        assert!(!conn.is_overdue(u64::MAX, &limits));
    }

    #[test]
    fn orders_only_grow() {
        let conn = conn();
        assert_eq!(conn.order(), Order::Serve);
        conn.give(Order::Cut);
        conn.give(Order::Drain);
        assert_eq!(conn.order(), Order::Cut);
    }

    #[test]
    fn leases_are_bounded_and_given_back() {
        let conn = conn();
        let mut first = conn.lease();
        assert!(first.grow(60) && first.grow(30));
        let mut second = conn.lease();
        assert!(!second.grow(11));
        assert!(second.grow(10));
        drop(first);
        assert!(second.grow(90));
        assert!(!second.grow(usize::MAX));
        drop(second);
        assert_eq!(conn.common.body_bytes.load(Ordering::Relaxed), 0);
    }
}
