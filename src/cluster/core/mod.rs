//! What a member does, and when: all decisions, and nothing else. No I/O, no clock, no task: time comes in with every
//! call, calls to members go out as [`Action`]s and come back as answers. So the same code runs in the server and in
//! a simulated network with simulated time.
//!
//! - `start`: whose data to rely on after a start, and when to tell others of one's own.
//! - `call`: calls that are under way, and how they end.
//! - `outbox`: what is still to be told to each member, collapsed by service.
//! - `lists`: lists and their checksums, from the registry.
//! - `verify`: checksums sent and compared, health of services that others own.

mod call;
mod lists;
mod outbox;
mod start;
mod verify;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::members::Members;
use super::message::{Answer, Failure, Part, Request};
use super::ownership::{Owner, View};
use crate::error::Result;
use crate::model::clock::Now;
use crate::model::command::Outcome;
use crate::model::member::{Member, State};
use crate::model::peer::{Gap, Merge, Phase, Standing, Told};
use crate::model::{InstanceKey, ServiceKey};
use crate::registry::Registry;
use call::{Call, Purpose};
use outbox::Outbox;
use start::Start;

/// A member whose kind is not known yet is asked this often.
const ASK_MS: u64 = 1_000;
/// That a client was heard of again is news if it was so much later than was known: how long messages take makes it look
/// a little later wherever it is told.
const NEWS_MS: u64 = 1_000;
/// Restored instances that nobody knows the age of count as changed so long before the store was last right: a change that
/// a peer made just before that may not have arrived any more.
const DOUBT_MS: u64 = 1_000;
/// Silence is doubted once in this time because the same member is back: longer than clients may be silent by default.
const BACK_AGAIN_MS: u64 = 120_000;

/// How often what is done; all times in ms.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A change waits this long for others to the same member.
    pub dispatch_ms: u64,
    /// Lists in one message.
    pub batch_keys: usize,
    /// Pause before a failed message is repeated.
    pub retry_ms: u64,
    /// Between rounds of checksums.
    pub verify_ms: u64,
    /// Between reports; each goes to one member.
    pub report_ms: u64,
    /// Before the first of them (all members are told once at the start).
    pub first_report_ms: u64,
    /// Between repetitions of own lists to members that would otherwise take instances for silent (`spec/distro.md` 16).
    pub refresh_ms: u64,
    /// Before the first exchange of service checksums with other kinds of servers, and between exchanges (`spec/members.md`
    /// 6).
    pub status_ms: (u64, u64),
    /// A server without data serves without them when no member has answered for so long; `None`: it waits for ever.
    pub load_patience_ms: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            dispatch_ms: 100,
            batch_keys: 1_000,
            retry_ms: 1_000,
            verify_ms: 5_000,
            report_ms: 2_000,
            first_report_ms: 5_000,
            refresh_ms: 10_000,
            status_ms: (60_000, 5_000),
            load_patience_ms: Some(30_000),
        }
    }
}

/// Something to be done for the core.
#[derive(Debug)]
pub enum Action {
    /// Say this to the member at `to`; tell the outcome to [`Core::answered`].
    Call {
        /// To tell answers apart.
        id: u64,
        /// Address.
        to: Arc<str>,
        /// What.
        request: Request,
    },
    /// Let the registry take this in; tell the outcome to [`Core::merged`]. What has the same `from` in order.
    Merge {
        /// To tell outcomes apart.
        id: u64,
        /// What.
        merges: Vec<Merge>,
    },
    /// Let the registry take over how healthy the instances of a service are.
    Health(ServiceKey, Vec<(Box<str>, i32, bool)>),
}

/// Why lists are taken in.
struct Taking {
    from: Arc<str>,
    /// The last piece of what the start waits for: since when the sender knows what was taken out (epoch ms).
    completes_start: Option<u64>,
    /// What the owner of a service, or as such this server alone, has heard of, and who is to hear it too.
    news: Vec<(Arc<str>, InstanceKey)>,
}

/// What is known of another member and under way with it.
#[derive(Default)]
struct Peer {
    outbox: Outbox,
    /// What is just being told, with its first change.
    telling: HashMap<ServiceKey, outbox::First>,
    telling_since_ms: u64,
    retry_ms: u64,
    /// What waits does not wait for more.
    urgent: bool,
    verifying: bool,
    verify_now: bool,
    fetch: verify::Fetching,
    asked_ms: Option<u64>,
    up: bool,
    /// It is up, and not suspicious.
    well: bool,
    /// It was up before, and then it was not.
    was_away: bool,
    /// When silence was last doubted because it came back.
    doubted_ms: Option<u64>,
}

impl Peer {
    /// Once after each time that it was away: whether everybody is to have their full time to beat because it is back. Not
    /// again and again for one that comes and goes all the time, else nobody would ever be silent for long enough.
    fn back(&mut self, now: Now) -> Option<bool> {
        if !std::mem::take(&mut self.was_away) {
            return None;
        }
        let grace = self.doubted_ms.is_none_or(|before_ms| now.awake_ms >= before_ms + BACK_AGAIN_MS);
        if grace {
            self.doubted_ms = Some(now.awake_ms);
        }
        Some(grace)
    }
}

/// See the module.
pub struct Core {
    settings: Settings,
    members: Arc<Members>,
    registry: Arc<Registry>,
    peers: BTreeMap<Arc<str>, Peer>,
    start: Start,
    /// As of the last tick.
    view: Arc<View>,
    calls: BTreeMap<u64, Call>,
    takings: BTreeMap<u64, Taking>,
    next_id: u64,
    serving: bool,
    report_ms: u64,
    reported: usize,
    verify_ms: u64,
    /// Rounds of checksums so far.
    verified: u64,
    refresh_ms: u64,
    status_ms: u64,
    plain_status_ms: u64,
    actions: Vec<Action>,
}

impl Core {
    /// A member that begins at `now` with what is in `registry`. `as_of_ms`: when that was last right (epoch); `None`: its
    /// store had nothing usable.
    pub fn new(
        settings: Settings,
        members: Arc<Members>,
        registry: Arc<Registry>,
        as_of_ms: Option<u64>,
        now: Now,
    ) -> Self {
        // What was stored when this server went it did not take out while it was away. What it does not have and lived
        // later than that, it never knew.
        registry.removals().start(as_of_ms.map_or(now.wall_ms, |as_of_ms| as_of_ms.saturating_sub(start::SKEW_MS)));
        let mut core = Self {
            view: members.view(),
            start: Start::new(as_of_ms, now),
            report_ms: u64::MAX,
            verify_ms: now.awake_ms + settings.verify_ms,
            refresh_ms: now.awake_ms + settings.refresh_ms,
            status_ms: now.awake_ms + settings.status_ms.1,
            plain_status_ms: now.awake_ms + settings.status_ms.0,
            settings,
            members,
            registry,
            peers: BTreeMap::new(),
            calls: BTreeMap::new(),
            takings: BTreeMap::new(),
            next_id: 0,
            serving: false,
            verified: 0,
            reported: 0,
            actions: Vec::new(),
        };
        core.look_at_members(&core.members.others(), now);
        core.members.set_standing(core.standing());
        core
    }

    /// How far others can rely on this server.
    pub fn standing(&self) -> Standing {
        self.start.standing()
    }

    /// Clients can be served: there are data, or nobody has any.
    pub fn has_data(&self) -> bool {
        self.standing().phase != Phase::Loading
    }

    /// Others can reach this server from now on: they are told.
    pub fn serve(&mut self, now: Now) -> Vec<Action> {
        self.serving = true;
        self.report_ms = now.awake_ms + self.settings.first_report_ms;
        let all: Vec<_> = self.peers.keys().cloned().collect();
        all.into_iter().for_each(|to| self.report(to));
        std::mem::take(&mut self.actions)
    }

    /// An instance was changed or taken out here; everybody is to be told. The health of a persistent one is what its owner
    /// finds, and other kinds of servers ask for it themselves.
    pub fn note(&mut self, service: &ServiceKey, key: &InstanceKey, now: Now) {
        if !key.ephemeral && !self.view.is_owner(&service.name) {
            return;
        }
        self.owe(service, Some(key), !key.ephemeral, now);
    }

    /// An empty service was made here: those hear of it that can be reached now. That is nothing to other kinds of servers.
    pub fn note_made(&mut self, service: &ServiceKey, now: Now) {
        self.owe(service, None, true, now);
    }

    fn owe(&mut self, service: &ServiceKey, key: Option<&InstanceKey>, own_kind_alone: bool, now: Now) {
        let members = &self.members;
        let hears = |address: &str, peer: &Peer| peer.up && (!own_kind_alone || members.is_nacre(address));
        for (_, peer) in self.peers.iter_mut().filter(|(address, peer)| hears(address, peer)) {
            peer.outbox.add(service, key, now.awake_ms);
        }
    }

    /// What is due.
    pub fn tick(&mut self, now: Now) -> Vec<Action> {
        let others = self.members.others();
        self.look_at_members(&others, now);
        self.look_at_view(now);
        self.meet(&others, now);
        self.go_on_starting(&others, now);
        if self.serving && now.awake_ms >= self.report_ms {
            self.report_ms = now.awake_ms + self.settings.report_ms;
            self.report_to_next();
        }
        if self.start.may_tell() {
            self.refresh(now);
            self.verify(now);
            self.exchange_status(now);
            self.tell(now);
        }
        std::mem::take(&mut self.actions)
    }

    /// A call has ended.
    pub fn answered(&mut self, id: u64, result: Result<Answer, Failure>, now: Now) -> Vec<Action> {
        let Some(Call { to, heard, purpose }) = self.calls.remove(&id) else { return Vec::new() };
        match &result {
            Ok(_) | Err(Failure::Said(..)) if !matches!(purpose, Purpose::Report) => {}
            // Somebody listens there, but under this context path it is no member that could own anything.
            Ok(Answer::Unknown) => self.members.note_failure(&to, now.awake_ms),
            Ok(_) => self.members.note_success(&to),
            Err(Failure::Refused) => self.members.note_refusal(&to, heard, now.awake_ms),
            Err(_) => self.members.note_failure(&to, now.awake_ms),
        }
        self.ended(&to, purpose, result, now);
        std::mem::take(&mut self.actions)
    }

    /// The registry has taken something in.
    pub fn merged(&mut self, id: u64, result: Result<Outcome>, now: Now) -> Vec<Action> {
        let Some(Taking { from, completes_start, news }) = self.takings.remove(&id) else { return Vec::new() };
        self.start.note_taken(&from, result.is_ok());
        if let (Ok(Outcome::Merged(back)), false) = (result, self.members.is_other_kind(&from))
            && let Some(peer) = self.peers.get_mut(&from).filter(|peer| peer.up)
        {
            back.iter().for_each(|key| peer.outbox.add(&key.service, Some(key), now.awake_ms));
        }
        for (to, key) in news {
            if let Some(peer) = self.peers.get_mut(&to).filter(|peer| peer.up) {
                peer.outbox.add(&key.service, Some(&key), now.awake_ms);
            }
        }
        if let Some(since_ms) = completes_start
            && self.start.complete(self.registry.instance_count() > 0, now)
        {
            self.registry.removals().know_since(since_ms);
            self.members.set_standing(self.standing());
        }
        std::mem::take(&mut self.actions)
    }

    /// The answer to a member's request, and what it leads to. `from` is its address, if it said.
    pub fn asked(&mut self, from: Option<&str>, request: Request, now: Now) -> (Answer, Vec<Action>) {
        // It knows sooner that it is back. Once: who can ask can also tell what it hears, even if it can't be reached.
        if let Some(grace) = from.and_then(|from| self.peers.get_mut(from)?.back(now)) {
            self.doubt_silence(grace, now);
        }
        let answer = match request {
            Request::Snapshot { .. } | Request::Push(_) | Request::Changes(_) if !self.has_data() => Answer::NotReady,
            Request::Snapshot { full } => Answer::Data(self.snapshot(full, now)),
            Request::Fetch { services, full } => Answer::Data(self.lists_of(&services, full, now)),
            Request::Push(data) => {
                let parts = data.into_iter().map(|datum| Part { datum, whole: true });
                self.take_in(from, parts.collect(), true, now);
                Answer::Done
            }
            Request::Changes(parts) => {
                self.take_in(from, parts, false, now);
                Answer::Done
            }
            Request::Checksums { source, sums } => {
                self.compare(&source, sums, now);
                Answer::Done
            }
            Request::Status { source, namespace, sums } => {
                self.compare_status(&source, &namespace, &sums);
                Answer::Done
            }
            Request::Report(_) | Request::Own | Request::Statuses(_) | Request::Leave(_) => Answer::Unknown,
        };
        (answer, std::mem::take(&mut self.actions))
    }

    /// Lists that a member sent. Of a service that this server owns, nobody else can say that it is all there is.
    fn take_in(&mut self, from: Option<&str>, parts: Vec<Part>, plain: bool, now: Now) {
        let view = self.view.clone();
        let news = if plain { Vec::new() } else { self.news(from.unwrap_or_default(), &parts, now) };
        let merges = parts.into_iter().map(|Part { datum, whole }| {
            let owner = view.owner(&datum.service.name);
            // Plain lists don't say who sends them.
            let from_owner = if plain { owner != Owner::Here } else { from.is_some_and(|from| is_at(owner, from)) };
            Merge { datum, whole, from_owner }
        });
        let merges = merges.collect();
        self.merge(from.unwrap_or_default().into(), merges, None, news);
    }

    /// A member that can't reach the owner of a service handles requests for it itself, and tells everybody it can reach.
    /// Whoever hears of something new passes it on to the owner, which else takes clients for silent that beat elsewhere,
    /// and the owner to all. What is not new here goes no further, so nothing goes round for ever.
    fn news(&self, from: &str, parts: &[Part], now: Now) -> Vec<(Arc<str>, InstanceKey)> {
        let mut news = Vec::new();
        for Part { datum, .. } in parts {
            let to: Vec<&Arc<str>> = match self.view.owner(&datum.service.name) {
                Owner::Peer(owner) if **owner == *from => continue,
                Owner::Peer(owner) => vec![owner],
                Owner::Here => self.peers.keys().filter(|address| ***address != *from).collect(),
            };
            let is_new = |told: &Told| {
                let (Some(trace), Some(slot)) = (told.trace, self.registry.find(&told.key)) else { return true };
                let heard_ms =
                    trace.heard_ms.map_or(0, |heard_ms| now.awake_before(now.wall_ms.saturating_sub(heard_ms)));
                trace.changed_ms > slot.changed_ms() || heard_ms > slot.last_beat_ms().saturating_add(NEWS_MS)
            };
            let told = datum.told.iter().filter(|told| told.key.ephemeral && is_new(told)).map(|told| &told.key);
            let removed = datum.removed.iter().flat_map(|removed| removed.keys.iter().map(|(key, _)| key));
            let removed = removed.filter(|key| self.registry.find(key).is_some());
            let keys = told.chain(removed);
            news.extend(keys.flat_map(|key| to.iter().map(move |to| (Arc::clone(to), key.clone()))));
        }
        news
    }

    fn merge(
        &mut self,
        from: Arc<str>,
        merges: Vec<Merge>,
        completes_start: Option<u64>,
        news: Vec<(Arc<str>, InstanceKey)>,
    ) {
        let id = self.next_id();
        self.takings.insert(id, Taking { from, completes_start, news });
        self.actions.push(Action::Merge { id, merges });
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Keeps a record of each member; whoever is down is owed nothing: it compares checksums when it is back.
    fn look_at_members(&mut self, others: &[Member], now: Now) {
        // One that is back with grace counts for all.
        let mut back = None;
        let mut faltering = Vec::new();
        let mut before = std::mem::take(&mut self.peers);
        for member in others {
            let address: Arc<str> = member.address().into();
            let mut peer = before.remove(&address).unwrap_or_default();
            let up = matches!(member.state, State::Up | State::Suspicious);
            if up && !peer.up {
                peer.verify_now = true;
                peer.asked_ms = peer.asked_ms.filter(|_| member.extend.version.is_some());
            }
            let well = member.state == State::Up;
            if (peer.well && !well) || (peer.up && !up) {
                faltering.push((address.clone(), up));
            }
            peer.well = well;
            if !up {
                peer.was_away |= peer.up;
                peer.outbox = Outbox::default();
                peer.fetch.clear();
            } else {
                back = back.max(peer.back(now));
            }
            peer.up = up;
            self.peers.insert(address, peer);
        }
        if let Some(grace) = back {
            self.doubt_silence(grace, now);
        }
        self.give_up_calls(&faltering, now);
    }

    /// A member that could not be reached may have heard clients that this server took for silent: it can't be told that they
    /// are gone, and with `grace` those that are there have their full time again, in which it tells of them.
    fn doubt_silence(&self, grace: bool, now: Now) {
        self.registry.removals().forget_silent();
        if grace {
            self.registry.grant_grace(now.awake_ms);
        }
    }

    /// Hands services over that have got another owner.
    fn look_at_view(&mut self, now: Now) {
        let view = self.members.view();
        if Arc::ptr_eq(&view, &self.view) {
            return;
        }
        let before = std::mem::replace(&mut self.view, view.clone());
        if !self.start.may_tell() {
            return;
        }
        for service in self.registry.services() {
            let key = service.key();
            if !before.is_owner(&key.name) || !service.has_ephemeral() {
                continue;
            }
            if let Owner::Peer(owner) = view.owner(&key.name)
                && let Some(peer) = self.peers.get_mut(owner)
            {
                peer.outbox.add(key, None, now.awake_ms);
            }
        }
    }

    fn report(&mut self, to: Arc<str>) {
        let own = self.members.own();
        self.call(&to, Request::Report(own), Purpose::Report);
    }

    fn report_to_next(&mut self) {
        let others: Vec<_> = self.peers.keys().cloned().collect();
        self.reported = if self.reported + 1 < others.len() { self.reported + 1 } else { 0 };
        if let Some(to) = others.get(self.reported) {
            self.report(to.clone());
        }
    }

    /// Asks members who they are that are up and never said so.
    fn meet(&mut self, others: &[Member], now: Now) {
        for member in others {
            let address: Arc<str> = member.address().into();
            let Some(peer) = self.peers.get_mut(&address) else { continue };
            let due = peer.asked_ms.is_none_or(|asked_ms| now.awake_ms >= asked_ms + ASK_MS);
            let wanted = self.start.wants_to_meet(&address) || (peer.up && member.extend.version.is_none());
            if due && wanted {
                peer.asked_ms = Some(now.awake_ms);
                self.call(&address, Request::Own, Purpose::Meet);
            }
        }
    }

    fn met(&mut self, address: &Arc<str>, result: Result<Answer, Failure>, now: Now) {
        match result {
            Ok(Answer::Member(member)) => {
                self.start.met(address, Some(member.extend.standing));
                self.members.note_report(address, member.extend, now.wall_ms);
            }
            Ok(_) | Err(Failure::Said(..) | Failure::Refused) => self.start.met(address, None),
            Err(Failure::Broken(_)) => self.start.missed(address),
        }
    }

    /// How many lists are waiting to be told to the member at `address`; for figures and tests.
    pub fn waiting(&self, address: &str) -> usize {
        self.peers.get(address).map_or(0, |peer| peer.outbox.len())
    }

    /// The time about which this server can't know.
    pub fn gap(&self) -> Gap {
        self.standing().gap
    }
}

/// Gives the instances of services that this server owns from now on, and did not before, their full time to beat. To be
/// called before anybody can see `new`.
pub fn welcome_services(registry: &Registry, old: &View, new: &View, awake_ms: u64) {
    for service in registry.services() {
        let name = &service.key().name;
        if new.is_owner(name) && !old.is_owner(name) {
            service.grant_grace(awake_ms);
        }
    }
}

/// Dates the changes of restored instances that nobody knows the time of: stores of older versions did not keep it.
/// `as_of_ms` is when the store was last right, epoch ms.
pub fn date_restored(registry: &Registry, as_of_ms: u64) {
    let about_ms = as_of_ms.saturating_sub(DOUBT_MS);
    let slots = registry.services().into_iter().flat_map(|service| service.slots());
    let unknown = slots.filter(|slot| slot.is_ephemeral() && slot.changed_ms() == 0);
    unknown.for_each(|slot| slot.stamp(about_ms));
}

fn is_at(owner: Owner<'_>, address: &str) -> bool {
    matches!(owner, Owner::Peer(owner) if **owner == *address)
}
