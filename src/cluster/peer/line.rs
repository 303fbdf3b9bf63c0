//! One connection to a member. It has no task of its own: whoever asks something drives it, so that an answer wakes
//! nobody but the one who waits for it. While nobody asks, nothing happens on it.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bytes::{Bytes, BytesMut};
use http_body_util::Full;
use hyper::Request;
use hyper::body::Body as _;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::outgoing::{Incoming, too_large};
use crate::cluster::message::Failure;

/// See the module.
pub(super) struct Line {
    sender: SendRequest<Full<Bytes>>,
    wire: Wire,
    /// When it was last used.
    pub(super) since: Instant,
}

/// The connection, and whether it is over: it must not be asked again then.
struct Wire {
    connection: Connection<TokioIo<TcpStream>, Full<Bytes>>,
    over: bool,
}

impl Wire {
    fn drive(&mut self, cx: &mut Context<'_>) {
        self.over = self.over || Pin::new(&mut self.connection).poll(cx).is_ready();
    }
}

/// Why there is no answer.
pub(super) enum Fault {
    /// It was never sent.
    Unsent(String),
    /// Not the beginning of one came.
    Unanswered(String),
    /// Something came.
    Answered(Failure),
}

impl Line {
    pub(super) async fn over(stream: TcpStream) -> Result<Self, Failure> {
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|fault| Failure::Broken(fault.to_string()))?;
        Ok(Self { sender, wire: Wire { connection, over: false }, since: Instant::now() })
    }

    /// Whether the other side has not closed it.
    pub(super) fn is_open(&self) -> bool {
        !self.wire.over
    }

    /// Looks whether the other side has closed it meanwhile, and whether it is done with what was asked before.
    pub(super) fn is_usable(&mut self) -> bool {
        self.wire.drive(&mut Context::from_waker(Waker::noop()));
        !self.wire.over && self.sender.is_ready()
    }

    /// Asks and reads the whole answer. After an error the connection is good for nothing.
    pub(super) async fn ask(&mut self, request: Request<Full<Bytes>>, max_bytes: usize) -> Result<Incoming, Fault> {
        let Self { sender, wire, .. } = self;
        let mut asking = pin!(sender.send_request(request));
        let answer = poll_fn(|cx| {
            wire.drive(cx);
            asking.as_mut().poll(cx)
        });
        let (head, body) = answer.await.map_err(unanswered)?.into_parts();
        let body = read(wire, body, max_bytes).await.map_err(Fault::Answered)?;
        Ok(Incoming { status: head.status.as_u16(), headers: head.headers, body })
    }
}

fn unanswered(fault: hyper::Error) -> Fault {
    let text = said(&fault);
    if fault.is_canceled() {
        return Fault::Unsent(text);
    }
    if fault.is_parse() { Fault::Answered(Failure::Broken(text)) } else { Fault::Unanswered(text) }
}

/// With the cause, where there is one.
fn said(fault: &hyper::Error) -> String {
    match std::error::Error::source(fault) {
        Some(cause) => format!("{fault}: {cause}"),
        None => fault.to_string(),
    }
}

/// All of `body`; without a copy when it comes in one piece. Memory grows with what comes, not with what was announced.
async fn read(wire: &mut Wire, mut body: hyper::body::Incoming, max_bytes: usize) -> Result<Bytes, Failure> {
    if body.size_hint().lower() > max_bytes as u64 {
        return Err(too_large(max_bytes));
    }
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    while !body.is_end_stream() {
        let frame = poll_fn(|cx| match Pin::new(&mut body).poll_frame(cx) {
            Poll::Pending => {
                wire.drive(cx);
                Pin::new(&mut body).poll_frame(cx)
            }
            ready => ready,
        });
        let Some(frame) = frame.await else { break };
        let frame = frame.map_err(|fault| Failure::Broken(said(&fault)))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > max_bytes - first.len().max(joined.len()) {
            return Err(too_large(max_bytes));
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
