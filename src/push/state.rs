//! The whole state of pushing, without sockets, threads or clocks: times go in, what to send comes out.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use jiff::civil::Date;

use super::LEAST_LIFE_MS;
use super::awaiting::{Awaiting, Late, Sent};
use super::costs::{Costs, Periods};
use super::merge::Merge;
use super::subscriptions::{Query, SubscriberKey, Subscriptions};
use super::unstored::Change;
use crate::model::ServiceKey;
use crate::model::subscription::{Subscription, SubscriptionKey};

/// Between two sweeps of dead subscriptions, in ms (`spec/push.md`).
const SWEEP_MS: u64 = 20_000;

/// Between two tries to make room for newcomers where a limit is reached, in ms: each looks at all subscriptions.
const ROOM_MS: u64 = 1_000;

/// By how much `last alive` may be behind the end of an earlier process, in ms.
const STALE_MS: u64 = 2_000;

/// The time since 1970 that pushes are numbered by, in ms: `wall_ms`, but after those of an earlier process, which was
/// last known to be alive at `floor_ms`, also if the clock was set back meanwhile.
pub fn numbering_ms(wall_ms: u64, floor_ms: u64) -> u64 {
    if wall_ms < floor_ms { floor_ms + STALE_MS } else { wall_ms }
}

/// One subscription to be pushed to.
#[derive(Debug, Clone)]
pub struct Target {
    /// Who.
    pub key: Arc<SubscriberKey>,
    /// Reads grouped names.
    pub grouped_names: bool,
    /// The push's own number, or one of the following for further subscriptions of one address: an acknowledgement names
    /// nothing but address and number.
    pub number: i64,
}

/// Counters of `push/state` (`spec/push.md` 5). The first three are those of today.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Pushes to single subscribers, retries not counted.
    pub total: u64,
    /// Those of them that were given up: never acknowledged, replaced before that, or too large.
    pub given_up: u64,
    /// Those of them that may still be acknowledged.
    pub awaited: u64,
    /// Subscriptions, dead ones that are not yet swept too.
    pub subscriptions: u64,
    /// Queries that were refused a subscription because of a limit.
    pub refused: u64,
}

impl Counters {
    /// Acknowledged ones.
    pub fn succeeded(&self) -> u64 {
        self.total.saturating_sub(self.given_up + self.awaited)
    }
}

/// See the module.
#[derive(Default)]
pub struct State {
    subscriptions: Subscriptions,
    awaiting: Awaiting,
    merge: Merge,
    total: u64,
    given_up: u64,
    refused: u64,
    last_number: i64,
    swept_ms: u64,
    /// As the switches had it lately.
    life_ms: u64,
    room_made_ms: Option<u64>,
    periods: Periods,
    today: Option<Date>,
}

impl State {
    /// Makes or renews a subscription. False: a limit is reached.
    pub fn subscribe(&mut self, query: Query, now_ms: u64) -> bool {
        let mut subscribed = self.subscriptions.subscribe(&query, now_ms);
        if !subscribed && self.room_made_ms.is_none_or(|made_ms| now_ms >= made_ms + ROOM_MS) {
            self.room_made_ms = Some(now_ms);
            let (awaiting, given_up) = (&mut self.awaiting, &mut self.given_up);
            let gone = |to, awaited| *given_up += drop_awaited(awaiting, to, awaited);
            self.subscriptions.make_room(now_ms, self.life_ms.max(LEAST_LIFE_MS), gone);
            subscribed = self.subscriptions.subscribe(&query, now_ms);
        }
        self.refused += u64::from(!subscribed);
        subscribed
    }

    /// Goes on with a subscription of an earlier process; it gets a full life. False: a limit is reached, and the store is
    /// to forget it.
    pub fn restore(&mut self, key: SubscriptionKey, subscription: Arc<Subscription>, now_ms: u64) -> bool {
        self.subscriptions.restore(key, subscription, now_ms)
    }

    /// Does not go on with a subscription of an earlier process.
    pub fn forget(&mut self, key: SubscriptionKey) {
        self.subscriptions.forget(key);
    }

    /// Gives what the store does not know yet, at most `limit` changes, to `post`, which says whether it took them: if
    /// not, they are given again. Answers whether there may be more to give.
    pub fn hand_over(&mut self, limit: usize, post: impl FnOnce(Vec<Change>) -> bool) -> bool {
        let changes = self.subscriptions.unstored(limit);
        if changes.is_empty() || !post(changes.clone()) {
            return false;
        }
        self.subscriptions.stored(&changes);
        changes.len() == limit
    }

    /// Follows the wall clock, which shows `wall_ms` since 1970: costs are told by its quarters of a minute, and counters
    /// restart with a new day (`spec/operator-api.md` 8).
    pub fn tick(&mut self, wall_ms: u64, today: Date) {
        self.periods.tick(wall_ms);
        if self.today.replace(today).is_some_and(|before| before != today) {
            self.total = 0;
            self.given_up = 0;
            self.awaiting.begin_day();
        }
    }

    /// How long subscribers took to acknowledge in the last period.
    pub fn costs(&self) -> Costs {
        self.periods.closed()
    }

    /// All subscriptions.
    pub fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    /// Whoever acknowledges an awaited push lives. The Go client takes a push for the answer of a query and asks again
    /// only 10 to 11 s later: a subscription that lived by queries alone would end first.
    pub fn renew(&mut self, from: SocketAddr, number: i64, now_ms: u64) {
        if let Some(sent) = self.awaiting.get(from, number) {
            self.subscriptions.renew(&sent.service, &sent.key, now_ms);
        }
    }

    /// These services have changed; answers those that are to be pushed now.
    pub fn changed(&mut self, services: impl IntoIterator<Item = ServiceKey>, now_ms: u64) -> Vec<ServiceKey> {
        let (subscriptions, merge) = (&self.subscriptions, &mut self.merge);
        let wanted = services.into_iter().filter(|service| subscriptions.has(service));
        wanted.filter(|service| merge.changed(service.clone(), now_ms)).collect()
    }

    /// Services that are to be pushed again, now that their pause is over.
    pub fn due(&mut self, now_ms: u64) -> Vec<ServiceKey> {
        self.merge.due(now_ms)
    }

    /// Begins a push of `service` at `wall_ms` (see [`numbering_ms`]): all living subscriptions. Their numbers are above those of
    /// every earlier push, and small enough for JavaScript (Node acknowledges with a number).
    pub fn begin(&mut self, service: &ServiceKey, now_ms: u64, life_ms: u64, wall_ms: u64) -> Vec<Target> {
        let (awaiting, given_up) = (&mut self.awaiting, &mut self.given_up);
        let gone = |to, awaited| *given_up += drop_awaited(awaiting, to, awaited);
        let living = self.subscriptions.living(service, now_ms, life_ms, gone);
        let first = (self.last_number + 1).max(wall_ms.saturating_mul(1_000) as i64);
        self.last_number = first;
        let mut of_address: HashMap<SocketAddr, i64> = HashMap::with_capacity(living.len());
        let mut targets = Vec::with_capacity(living.len());
        for (key, grouped_names) in living {
            let next = of_address.entry(key.to).or_insert(first);
            self.last_number = self.last_number.max(*next);
            targets.push(Target { number: *next, key, grouped_names });
            *next += 1;
        }
        targets
    }

    /// A push to `target` is about to be sent; `None`: it is too large for that. An earlier one to the same subscription
    /// is no longer retried, so that old data never come after new. `ready_ms`: now, by a clock that runs evenly.
    pub fn sent(&mut self, service: &ServiceKey, target: &Target, bytes: Option<Bytes>, now_ms: u64, ready_ms: u64) {
        self.total += 1;
        let awaited = bytes.as_ref().map(|_| target.number);
        let before = match self.subscriptions.get_mut(service, &target.key) {
            Some(one) => std::mem::replace(&mut one.awaited, awaited),
            None => None,
        };
        self.given_up += drop_awaited(&mut self.awaiting, target.key.to, before);
        match bytes {
            Some(bytes) => {
                let sent = Sent::new(service.clone(), target.key.clone(), bytes, ready_ms);
                self.awaiting.add(target.number, sent, now_ms);
            }
            None => self.given_up += 1,
        }
    }

    /// Whether that push is still to be sent and acknowledged.
    pub fn is_awaited(&self, to: SocketAddr, number: i64) -> bool {
        self.awaiting.has(to, number)
    }

    /// `from` acknowledges push `number` at `at_ms` of the clock that runs evenly. False: no such push is awaited.
    pub fn acknowledged(&mut self, from: SocketAddr, number: i64, at_ms: u64) -> bool {
        let Some(sent) = self.awaiting.remove(from, number) else { return false };
        self.periods.add(at_ms.saturating_sub(sent.ready_ms));
        self.settle(&sent, number);
        true
    }

    /// What is to be sent again; what is given up is counted.
    pub fn late(&mut self, now_ms: u64) -> Vec<(SocketAddr, i64, Bytes)> {
        let Late { again, given_up } = self.awaiting.late(now_ms);
        self.given_up += given_up.iter().filter(|(_, sent)| sent.is_counted).count() as u64;
        for (number, sent) in &given_up {
            self.settle(sent, *number);
        }
        again
    }

    /// Drops subscriptions that are dead, if it is time for that.
    pub fn sweep(&mut self, now_ms: u64, life_ms: u64) {
        self.life_ms = life_ms;
        if now_ms < self.swept_ms + SWEEP_MS {
            return;
        }
        self.swept_ms = now_ms;
        let (awaiting, given_up) = (&mut self.awaiting, &mut self.given_up);
        self.subscriptions.sweep(now_ms, life_ms, |to, awaited| *given_up += drop_awaited(awaiting, to, awaited));
    }

    /// The counters now.
    pub fn counters(&self) -> Counters {
        Counters {
            total: self.total,
            given_up: self.given_up,
            awaited: self.awaiting.count() as u64,
            subscriptions: self.subscriptions.count() as u64,
            refused: self.refused,
        }
    }

    /// Different datagrams that are awaited, at most `limit`.
    pub fn awaited(&self, limit: usize) -> Vec<Bytes> {
        let mut seen = std::collections::HashSet::new();
        let different = self.awaiting.datagrams().filter(|bytes| seen.insert(bytes.as_ptr()));
        different.take(limit).cloned().collect()
    }

    /// Forgets what is awaited: it is neither retried nor counted as failed.
    pub fn forget_awaited(&mut self) {
        self.awaiting.forget();
    }

    fn settle(&mut self, sent: &Sent, number: i64) {
        if let Some(one) = self.subscriptions.get_mut(&sent.service, &sent.key)
            && one.awaited == Some(number)
        {
            one.awaited = None;
        }
    }
}

/// Answers how many of today are given up by that: one or none.
fn drop_awaited(awaiting: &mut Awaiting, to: SocketAddr, awaited: Option<i64>) -> u64 {
    awaited.and_then(|number| awaiting.remove(to, number)).map_or(0, |sent| u64::from(sent.is_counted))
}
