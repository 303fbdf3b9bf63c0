//! Calls to other members over HTTP/1.1 (`spec/distro.md` 14): one set of connections for all that goes to a member,
//! whoever asks. Every call says who sends it, has time-outs, and takes an answer of bounded size only.

mod answer;
#[cfg(test)]
pub(crate) mod fake;
mod line;
mod outgoing;
mod pool;
pub mod query;
mod request;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::header::{ACCEPT_CHARSET, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use parking_lot::RwLock;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::figures::{FORWARD, Figures, kind};
use super::message::{Answer, Failure, Request};
use crate::error::{Error, Result};
pub use outgoing::{Bounds, Incoming, Outgoing};
use pool::{IDLE, Pool, Repeat};
pub use pool::{MAX_FORWARDS, Place};

/// As what this server presents itself to members; they let it pass where clients have to wait.
const AGENT: HeaderValue = HeaderValue::from_static("Nacos-Server:1.4.8");
const VERSION: HeaderValue = HeaderValue::from_static("1.4.8");
const CHARSET: HeaderValue = HeaderValue::from_static("UTF-8");
const CLIENT_VERSION: HeaderName = HeaderName::from_static("client-version");
/// The header that names the server that sent a request.
pub const REQUEST_SOURCE: HeaderName = HeaderName::from_static("request-source");
/// Forwarded requests in flight, to all members together.
const MAX_ALL_FORWARDS: usize = 1_024;

/// How to talk to members.
pub struct PeerOptions {
    /// Context path of this server, and so of the others.
    pub context: String,
    /// Address of this server, as the others know it.
    pub own: String,
    /// Header and value by which the servers of a cluster know each other.
    pub identity: Option<(String, String)>,
}

/// See the module.
pub struct Peers {
    context: String,
    own: HeaderValue,
    identity: RwLock<Option<(HeaderName, HeaderValue)>>,
    pools: RwLock<HashMap<Box<str>, Arc<Pool>>>,
    forwards: Arc<Semaphore>,
    figures: Figures,
    began: Instant,
    /// When idle connections were last looked through, ms after `began`.
    swept_ms: AtomicU64,
}

impl Peers {
    /// Connects to nobody yet.
    ///
    /// # Errors
    /// [`Error::Setup`] when the own address or the identity can't stand in a header.
    pub fn new(options: PeerOptions) -> Result<Self> {
        let own = HeaderValue::try_from(options.own);
        Ok(Self {
            context: options.context.trim_end_matches('/').to_owned(),
            own: own.map_err(|_| Error::Setup("the address of this server can't stand in a header".into()))?,
            identity: RwLock::new(identity(options.identity)?),
            pools: RwLock::default(),
            forwards: Arc::new(Semaphore::new(MAX_ALL_FORWARDS)),
            figures: Figures::default(),
            began: Instant::now(),
            swept_ms: AtomicU64::new(0),
        })
    }

    /// Replaces the header and value by which the servers of a cluster know each other, for calls from now on.
    ///
    /// # Errors
    /// [`Error::Setup`] when they can't be a header; nothing has changed then.
    pub fn set_identity(&self, replacement: Option<(String, String)>) -> Result<()> {
        *self.identity.write() = identity(replacement)?;
        Ok(())
    }

    /// The context path of all members.
    pub fn context(&self) -> &str {
        &self.context
    }

    /// Asks or tells the member at `to` something. Time-outs: 2 s for a connection; in all 2.5 s for a report and for
    /// [`Request::Own`], 30 s for a snapshot, 10 s for everything else.
    ///
    /// # Errors
    /// [`Failure::Refused`] when nobody listens there; [`Failure::Said`] for a status other than 200 and 304, unless it means
    /// [`Answer::NotReady`] (503 of the naming API) or [`Answer::Unknown`] (404 and 501 to a report and to
    /// [`Request::Changes`]; no such service for [`Request::Statuses`]); else [`Failure::Broken`].
    pub async fn call(&self, to: &str, request: &Request) -> Result<Answer, Failure> {
        let outgoing = request::outgoing(&self.context, request);
        let answer = self.counted(kind(request), &self.pool(to), outgoing).await?;
        answer::read(request, answer).await
    }

    /// Sends `outgoing` to the member at `to`, with the headers that every call between members has in place of its
    /// own. Whatever the answer's status is, it is an answer. A connection that was kept and turns out to be dead is replaced
    /// once by a new one: no request between members does anything twice when it comes twice.
    ///
    /// # Errors
    /// [`Failure::Refused`] and [`Failure::Broken`]; the latter also for an answer that is larger than allowed.
    pub async fn send(&self, to: &str, outgoing: Outgoing) -> Result<Incoming, Failure> {
        self.send_over(&self.pool(to), outgoing, Repeat::Yes).await
    }

    /// The same for what must not come twice: it is sent again only if it surely was not sent.
    ///
    /// # Errors
    /// As there; after [`Failure::Refused`] it surely did not come.
    pub async fn send_once(&self, to: &str, outgoing: Outgoing) -> Result<Incoming, Failure> {
        self.send_over(&self.pool(to), outgoing, Repeat::No).await
    }

    /// A place for a request of a client that is to be passed on to the member at `to`; `None` when as many as may are on
    /// their way to it ([`MAX_FORWARDS`]), or to all: a member that hangs must not make this server hold ever more requests.
    pub fn place(&self, to: &str) -> Option<Place> {
        Place::take(self.pool(to), &self.forwards)
    }

    /// As [`send`](Self::send), over a place.
    ///
    /// # Errors
    /// As there.
    pub async fn send_from(&self, place: Place, outgoing: Outgoing) -> Result<Incoming, Failure> {
        self.counted(FORWARD, place.pool(), outgoing).await
    }

    /// What was said to members so far.
    pub fn figures(&self) -> &Figures {
        &self.figures
    }

    async fn counted(&self, kind: usize, pool: &Pool, outgoing: Outgoing) -> Result<Incoming, Failure> {
        let sent_bytes = outgoing.body.len();
        let result = self.send_over(pool, outgoing, Repeat::Yes).await;
        self.figures.note(kind, sent_bytes, result.as_ref().ok().map(|answer| answer.body.len()));
        result
    }

    async fn send_over(&self, pool: &Pool, mut outgoing: Outgoing, repeat: Repeat) -> Result<Incoming, Failure> {
        self.sign(&mut outgoing.headers);
        let max_bytes = outgoing.bounds.max_answer_bytes;
        outgoing::unpack(pool.send(outgoing, repeat).await?, max_bytes).await
    }

    fn sign(&self, headers: &mut HeaderMap) {
        headers.insert(USER_AGENT, AGENT);
        headers.insert(CLIENT_VERSION, VERSION);
        headers.insert(ACCEPT_CHARSET, CHARSET);
        headers.insert(REQUEST_SOURCE, self.own.clone());
        if let Some((name, value)) = self.identity.read().as_ref() {
            headers.insert(name, value.clone());
        }
    }

    fn pool(&self, to: &str) -> Arc<Pool> {
        self.sweep();
        if let Some(pool) = self.pools.read().get(to) {
            return pool.clone();
        }
        self.pools.write().entry(to.into()).or_insert_with(|| Arc::new(Pool::new(to))).clone()
    }

    /// Now and then closes what nobody used for long, and forgets members that nobody calls any more.
    fn sweep(&self) {
        let now = Instant::now();
        let now_ms = u64::try_from(now.duration_since(self.began).as_millis()).unwrap_or(u64::MAX);
        let swept_ms = self.swept_ms.load(Ordering::Relaxed);
        let due = u128::from(now_ms.saturating_sub(swept_ms)) >= IDLE.as_millis();
        let mine =
            due && self.swept_ms.compare_exchange(swept_ms, now_ms, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if mine {
            self.pools.write().retain(|_, pool| pool.sweep(now) > 0 || Arc::strong_count(pool) > 1);
        }
    }
}

fn identity(pair: Option<(String, String)>) -> Result<Option<(HeaderName, HeaderValue)>> {
    let Some((name, value)) = pair else { return Ok(None) };
    let wrong = |what| Error::Setup(format!("the server identity is no header {what}"));
    let name = HeaderName::try_from(name).map_err(|_| wrong("name"))?;
    let mut value = HeaderValue::try_from(value).map_err(|_| wrong("value"))?;
    value.set_sensitive(true);
    Ok(Some((name, value)))
}
