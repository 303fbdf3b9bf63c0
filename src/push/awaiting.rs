//! Pushes that are not acknowledged yet: retried once, then given up.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use super::subscriptions::SubscriberKey;
use crate::model::ServiceKey;

/// How long an acknowledgement is awaited, in ms (`spec/push.md`).
pub const ACK_MS: u64 = 10_000;

/// A push on its way.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The service it is about.
    pub service: ServiceKey,
    /// Who is to acknowledge it.
    pub key: Arc<SubscriberKey>,
    /// The datagram, shared by all subscribers with the same.
    pub bytes: Bytes,
    /// When it was ready to be sent, in ms of a clock that runs evenly.
    pub ready_ms: u64,
    /// It is one of the pushes of today.
    pub is_counted: bool,
    retried: bool,
    /// An operator wants to see it no more: it may be on its way still, but is neither retried nor counted.
    forgotten: bool,
}

impl Sent {
    /// One that has not been sent yet.
    pub fn new(service: ServiceKey, key: Arc<SubscriberKey>, bytes: Bytes, ready_ms: u64) -> Self {
        Self { service, key, bytes, ready_ms, is_counted: true, retried: false, forgotten: false }
    }
}

/// Destination and number: what an acknowledgement names.
type Name = (SocketAddr, i64);

/// What becomes of those whose time has come.
#[derive(Debug, Default)]
pub struct Late {
    /// Send these once more.
    pub again: Vec<(SocketAddr, i64, Bytes)>,
    /// These are given up.
    pub given_up: Vec<(i64, Sent)>,
}

/// All that are awaited; at most one for each subscription.
#[derive(Default)]
pub struct Awaiting {
    sent: HashMap<Name, Sent>,
    /// In order of time: each waits equally long.
    due: VecDeque<(u64, Name)>,
}

impl Awaiting {
    /// From now on the acknowledgement is awaited.
    pub fn add(&mut self, number: i64, sent: Sent, now_ms: u64) {
        let name = (sent.key.to, number);
        self.sent.insert(name, sent);
        self.due.push_back((now_ms + ACK_MS, name));
    }

    /// No longer awaited: acknowledged, replaced or nobody is left to wait for. `None`: it was not, or is forgotten.
    pub fn remove(&mut self, to: SocketAddr, number: i64) -> Option<Sent> {
        let removed = self.sent.remove(&(to, number));
        if self.sent.is_empty() {
            self.due.clear();
        }
        removed.filter(|sent| !sent.forgotten)
    }

    /// The push, if it is still awaited.
    pub fn get(&self, to: SocketAddr, number: i64) -> Option<&Sent> {
        self.sent.get(&(to, number))
    }

    /// Whether it is neither acknowledged nor replaced nor given up.
    pub fn has(&self, to: SocketAddr, number: i64) -> bool {
        self.sent.contains_key(&(to, number))
    }

    /// How many of today are awaited.
    pub fn count(&self) -> usize {
        self.sent.values().filter(|sent| !sent.forgotten && sent.is_counted).count()
    }

    /// A new day begins: those of before are awaited, but count no more.
    pub fn begin_day(&mut self) {
        self.sent.values_mut().for_each(|sent| sent.is_counted = false);
    }

    /// All datagrams that are awaited.
    pub fn datagrams(&self) -> impl Iterator<Item = &Bytes> {
        self.sent.values().filter(|sent| !sent.forgotten).map(|sent| &sent.bytes)
    }

    /// Forgets all.
    pub fn forget(&mut self) {
        self.sent.values_mut().for_each(|sent| sent.forgotten = true);
    }

    /// Those that have waited for [`ACK_MS`].
    pub fn late(&mut self, now_ms: u64) -> Late {
        let mut late = Late::default();
        while let Some((_, name)) = self.due.pop_front_if(|(due_ms, _)| *due_ms <= now_ms) {
            let Some(sent) = self.sent.get_mut(&name) else { continue };
            if sent.forgotten {
                self.sent.remove(&name);
            } else if sent.retried {
                late.given_up.extend(self.sent.remove(&name).map(|sent| (name.1, sent)));
            } else {
                sent.retried = true;
                late.again.push((name.0, name.1, sent.bytes.clone()));
                self.due.push_back((now_ms + ACK_MS, name));
            }
        }
        late
    }
}
