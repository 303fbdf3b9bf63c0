//! Who the members are and whether they live (`spec/members.md` 3). Every verdict is a method; time comes in.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::RwLock;

use super::ownership::View;
use crate::model::member::{Extend, Member, State};
use crate::model::peer::Standing;
use crate::wire::member::state_word;

/// Failures of one member within this time count as one: many calls may fail at the same moment.
const FAILURE_MS: u64 = 500;

/// Is told of a new view before anybody can see it: the old one, the new one.
pub type Hook = Box<dyn Fn(&View, &View) + Send + Sync>;

/// The members, this server among them.
pub struct Members {
    list: RwLock<List>,
    view: RwLock<Arc<View>>,
    hook: RwLock<Option<Hook>>,
    max_failures: u32,
}

struct List {
    own: Member,
    /// By address.
    others: BTreeMap<String, Entry>,
}

struct Entry {
    member: Member,
    /// Nothing is known of those that were listed at the start: they count as healthy until something is.
    judged: bool,
    failed_ms: u64,
    /// How often it was heard of.
    heard: u64,
    ips: Vec<IpAddr>,
}

impl Entry {
    /// `ip` is canonical.
    fn is_at(&self, ip: IpAddr) -> bool {
        self.ips.iter().any(|known| known.to_canonical() == ip)
    }
}

impl Entry {
    fn new(mut member: Member, judged: bool) -> Self {
        member.state = State::Down;
        let ips = member.ip.trim_matches(['[', ']']).parse().into_iter().collect();
        Self { member, judged, failed_ms: 0, heard: 0, ips }
    }

    fn is_healthy(&self) -> bool {
        !self.judged || matches!(self.member.state, State::Up | State::Suspicious)
    }
}

impl Members {
    /// This server alone.
    pub fn alone(own: Member) -> Self {
        Self::new(own, [], 0)
    }

    /// This server and `others`, of which nothing is known yet. A member is down after more than `max_failures` failed
    /// calls in a row.
    pub fn new(own: Member, others: impl IntoIterator<Item = Member>, max_failures: u32) -> Self {
        let address = own.address();
        let others = others.into_iter().map(|other| (other.address(), Entry::new(other, false)));
        let list = List { own, others: others.filter(|(other, _)| *other != address).collect() };
        let view = RwLock::new(Arc::new(list.view()));
        Self { list: RwLock::new(list), view, hook: RwLock::new(None), max_failures }
    }

    /// Tells `hook` of every new view from now on.
    pub fn on_change(&self, hook: Hook) {
        *self.hook.write() = Some(hook);
    }

    /// This server.
    pub fn own(&self) -> Member {
        self.list.read().own.clone()
    }

    /// Everyone, in order of addresses.
    pub fn all(&self) -> Vec<Member> {
        let list = self.list.read();
        let mut all: Vec<Member> = list.others.values().map(|entry| entry.member.clone()).collect();
        all.push(list.own.clone());
        all.sort_by_cached_key(Member::address);
        all
    }

    /// Everyone but this server, in order of addresses.
    pub fn others(&self) -> Vec<Member> {
        self.list.read().others.values().map(|entry| entry.member.clone()).collect()
    }

    /// The member at this address.
    pub fn find(&self, address: &str) -> Option<Member> {
        let list = self.list.read();
        if list.own.address() == address {
            return Some(list.own.clone());
        }
        list.others.get(address).map(|entry| entry.member.clone())
    }

    /// Whether a member has this address.
    pub fn knows(&self, address: &str) -> bool {
        self.find(address).is_some()
    }

    /// Whether the member at `address` is a server of this kind, as far as is known.
    pub fn is_nacre(&self, address: &str) -> bool {
        self.list.read().others.get(address).is_some_and(|entry| entry.member.is_nacre())
    }

    /// Whether the member at `address` is known to be a server of another kind, whose lists are all that it has to say: those
    /// of this kind also say what they took out.
    pub fn is_other_kind(&self, address: &str) -> bool {
        self.list.read().others.get(address).is_some_and(|entry| entry.member.is_other_kind())
    }

    /// How the member at `address` is; `None` when it is none.
    pub fn state(&self, address: &str) -> Option<State> {
        let list = self.list.read();
        match list.others.get(address) {
            Some(entry) => Some(entry.member.state),
            None => (list.own.address() == address).then_some(list.own.state),
        }
    }

    /// Whether there is nobody else.
    pub fn is_alone(&self) -> bool {
        self.view.read().is_alone()
    }

    /// Who owns what, as of now.
    pub fn view(&self) -> Arc<View> {
        self.view.read().clone()
    }

    /// Whether a connection from `ip` may come from a member.
    pub fn is_from_member(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let list = self.list.read();
        let own = list.own.ip.trim_matches(['[', ']']).parse::<IpAddr>();
        own.is_ok_and(|own| own.to_canonical() == ip) || list.others.values().any(|entry| entry.is_at(ip))
    }

    /// Whether a connection from `ip` may come from the member at `address`.
    pub fn is_from(&self, address: &str, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let list = self.list.read();
        list.others.get(address).is_some_and(|entry| entry.is_at(ip))
    }

    /// The host of the member at `address`, which is a name, has these addresses now.
    pub fn set_ips(&self, address: &str, ips: Vec<IpAddr>) {
        if let Some(entry) = self.list.write().others.get_mut(address) {
            entry.ips = ips;
        }
    }

    /// What this server says of itself.
    pub fn set_standing(&self, standing: Standing) {
        self.list.write().own.extend.standing = Some(standing);
    }

    /// What this server says of its consensus groups (compact JSON), and when that changed (epoch ms).
    pub fn set_raft_meta(&self, meta: String, now_ms: u64) {
        let mut list = self.list.write();
        list.own.extend.raft_meta = Some(meta);
        list.own.extend.refreshed_ms = Some(now_ms);
    }

    /// The member at `address` reported itself at `now_ms` (epoch): it is up. Answers whether there is such a member. What
    /// is said about this server itself changes nothing but the time: it knows itself best.
    pub fn note_report(&self, address: &str, extend: Extend, now_ms: u64) -> bool {
        self.change(|list| {
            if list.own.address() == address {
                list.own.extend.refreshed_ms = Some(now_ms);
                return true;
            }
            let Some(entry) = list.others.get_mut(address) else { return false };
            entry.member.extend = Extend { refreshed_ms: Some(now_ms), ..extend };
            entry.rise();
            true
        })
    }

    /// A report to the member at `address` succeeded.
    pub fn note_success(&self, address: &str) {
        self.change(|list| list.others.get_mut(address).map(Entry::rise));
    }

    /// How often the member at `address` was heard of; to be asked before a call, see
    /// [`note_refusal`](Self::note_refusal).
    pub fn heard(&self, address: &str) -> u64 {
        self.list.read().others.get(address).map_or(0, |entry| entry.heard)
    }

    /// Nobody listened at `address` at `now_ms` (awake): that member is down, unless it has been heard of since the call
    /// began, when it had been `heard` so many times.
    pub fn note_refusal(&self, address: &str, heard: u64, now_ms: u64) {
        self.fail(address, Some(heard), now_ms);
    }

    /// A call to the member at `address` failed at `now_ms` (awake). Failures that come together count as one.
    pub fn note_failure(&self, address: &str, now_ms: u64) {
        self.fail(address, None, now_ms);
    }

    fn fail(&self, address: &str, refused: Option<u64>, now_ms: u64) {
        let max_failures = self.max_failures;
        self.change(|list| {
            let Some(entry) = list.others.get_mut(address) else { return };
            if refused.is_some_and(|heard| heard != entry.heard) {
                return;
            }
            let again = entry.member.failures > 0 && now_ms < entry.failed_ms.saturating_add(FAILURE_MS);
            if !again {
                entry.failed_ms = now_ms;
                entry.member.failures = entry.member.failures.saturating_add(1);
            }
            let down = refused.is_some() || entry.member.failures > max_failures || entry.member.state == State::Down;
            entry.judge(if down { State::Down } else { State::Suspicious });
        });
    }

    /// These are the members from now on (this server too, listed or not). Known ones stay as they are, new ones are
    /// down until they are heard of.
    pub fn replace(&self, members: impl IntoIterator<Item = Member>) {
        self.change(|list| {
            let own = list.own.address();
            let mut before = std::mem::take(&mut list.others);
            for member in members {
                let address = member.address();
                if address != own {
                    let entry = before.remove(&address).unwrap_or_else(|| Entry::new(member, true));
                    list.others.insert(address, entry);
                }
            }
        });
    }

    /// The members at `addresses` are none any more. This server never leaves its own list.
    pub fn remove(&self, addresses: &[String]) {
        self.change(|list| addresses.iter().for_each(|address| drop(list.others.remove(address))));
    }

    fn change<R>(&self, change: impl FnOnce(&mut List) -> R) -> R {
        let mut list = self.list.write();
        let result = change(&mut list);
        let new = list.view();
        let old = self.view();
        if *old != new {
            if let Some(hook) = self.hook.read().as_ref() {
                hook(&old, &new);
            }
            *self.view.write() = Arc::new(new);
        }
        result
    }
}

impl Entry {
    fn rise(&mut self) {
        self.member.failures = 0;
        self.heard += 1;
        self.judge(State::Up);
    }

    /// Says so where it is news: who owns what follows from it.
    fn judge(&mut self, state: State) {
        if let Some(news) = self.news(state) {
            if state == State::Up {
                tracing::info!("{news}");
            } else {
                tracing::warn!("{news}");
            }
        }
        self.judged = true;
        self.member.state = state;
    }

    fn news(&self, state: State) -> Option<String> {
        if self.judged && state == self.member.state {
            return None;
        }
        let (address, failures) = (self.member.address(), self.member.failures);
        let was = if self.judged { state_word(self.member.state) } else { "not known" };
        let why = if failures == 0 { String::new() } else { format!(", calls that failed in a row: {failures}") };
        Some(format!("member {address} is {}, was {was}{why}", state_word(state)))
    }
}

impl List {
    fn view(&self) -> View {
        let healthy =
            self.others.iter().filter(|(_, entry)| entry.is_healthy()).map(|(address, _)| Arc::from(&**address));
        View::new(self.own.address().into(), healthy, self.others.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn three(max_failures: u32) -> Members {
        let others = [2, 3].map(|n| Member::new(&format!("10.0.0.{n}"), 8848));
        Members::new(Member::new("10.0.0.1", 8848), others, max_failures)
    }

    fn healthy(members: &Members) -> Vec<String> {
        members.view().healthy().iter().map(|address| address.trim_end_matches(":8848").to_owned()).collect()
    }

    #[test]
    fn only_reports_about_members_count() {
        let members = Members::alone(Member::new("10.0.0.1", 8848));
        assert!(!members.note_report("10.0.0.2:8848", Extend::default(), 5));
        assert_eq!(members.own().extend.refreshed_ms, None);
        assert!(members.note_report("10.0.0.1:8848", Extend::default(), 5));
        assert_eq!((members.own().extend.refreshed_ms, members.all().len()), (Some(5), 1));
        assert!(members.is_alone());
    }

    #[test]
    fn who_is_not_judged_yet_counts_as_healthy() {
        let members = three(3);
        assert_eq!(members.others().iter().map(|m| m.state).collect::<Vec<_>>(), [State::Down; 2]);
        assert_eq!(healthy(&members), ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        members.note_refusal("10.0.0.2:8848", 0, 1);
        assert_eq!(healthy(&members), ["10.0.0.1", "10.0.0.3"]);
    }

    #[test]
    fn four_failures_in_a_row_are_one_too_many() {
        let members = three(3);
        for (failures, now_ms) in [(1, 1_000), (1, 1_400), (2, 2_000), (3, 3_000)] {
            members.note_failure("10.0.0.2:8848", now_ms);
            let member = members.find("10.0.0.2:8848").unwrap();
            // It is shown as down from the start and was never up.
            assert_eq!((member.failures, member.state), (failures, State::Down));
        }
        members.note_success("10.0.0.2:8848");
        for now_ms in [10_000, 11_000, 12_000] {
            members.note_failure("10.0.0.2:8848", now_ms);
            assert_eq!(members.find("10.0.0.2:8848").unwrap().state, State::Suspicious);
            assert_eq!(healthy(&members).len(), 3);
        }
        members.note_failure("10.0.0.2:8848", 13_000);
        assert_eq!(members.find("10.0.0.2:8848").unwrap().state, State::Down);
        assert_eq!(healthy(&members), ["10.0.0.1", "10.0.0.3"]);
        members.note_report("10.0.0.2:8848", Extend::default(), 7);
        assert_eq!((members.find("10.0.0.2:8848").unwrap().failures, healthy(&members).len()), (0, 3));
    }

    #[test]
    fn a_refusal_from_before_a_member_came_says_nothing_of_it() {
        let members = three(3);
        let heard = members.heard("10.0.0.2:8848");
        members.note_report("10.0.0.2:8848", Extend::default(), 5);
        members.note_refusal("10.0.0.2:8848", heard, 1_000);
        assert_eq!(members.find("10.0.0.2:8848").map(|member| (member.failures, member.state)), Some((0, State::Up)));
        members.note_refusal("10.0.0.2:8848", members.heard("10.0.0.2:8848"), 1_001);
        assert_eq!(members.state("10.0.0.2:8848"), Some(State::Down));
    }

    #[test]
    fn what_becomes_of_a_member_is_told_once() {
        let mut entry = Entry::new(Member::new("10.0.0.2", 8848), false);
        assert_eq!(entry.news(State::Up).as_deref(), Some("member 10.0.0.2:8848 is UP, was not known"));
        entry.rise();
        assert_eq!(entry.news(State::Up), None);
        entry.member.failures = 1;
        let news = entry.news(State::Suspicious);
        assert_eq!(news.as_deref(), Some("member 10.0.0.2:8848 is SUSPICIOUS, was UP, calls that failed in a row: 1"));
        entry.judge(State::Suspicious);
        entry.member.failures = 2;
        assert_eq!(entry.news(State::Suspicious), None);
        assert!(entry.news(State::Down).is_some_and(|news| news.contains("is DOWN, was SUSPICIOUS")));
    }

    #[test]
    fn a_new_list_keeps_who_is_known() {
        let members = three(3);
        members.note_success("10.0.0.2:8848");
        members.replace(["10.0.0.2", "10.0.0.4"].map(|ip| Member::new(ip, 8848)));
        assert_eq!(healthy(&members), ["10.0.0.1", "10.0.0.2"]);
        assert_eq!(members.find("10.0.0.4:8848").unwrap().state, State::Down);
        members.remove(&["10.0.0.2:8848".into(), "10.0.0.1:8848".into()]);
        assert_eq!(members.all().len(), 2);
        assert!(!members.is_alone());
    }

    #[test]
    fn the_hook_sees_the_view_before_anybody_else() {
        let members = Arc::new(three(0));
        let (seen, inner) = (Arc::new(parking_lot::Mutex::new(Vec::new())), Arc::downgrade(&members));
        let notes = seen.clone();
        members.on_change(Box::new(move |old, new| {
            let visible = inner.upgrade().unwrap().view().healthy().len();
            notes.lock().push((old.healthy().len(), new.healthy().len(), visible));
        }));
        members.note_failure("10.0.0.3:8848", 1);
        members.note_failure("10.0.0.3:8848", 2);
        assert_eq!(*seen.lock(), [(3, 2, 3)]);
    }

    #[test]
    fn connections_from_members() {
        let members = three(0);
        let from = |ip: &str| members.is_from_member(ip.parse().unwrap());
        assert!(from("10.0.0.1") && from("10.0.0.3") && from("::ffff:10.0.0.3"));
        assert!(!from("10.0.0.4") && !from("127.0.0.1"));
        let speaks = |address: &str| members.is_from(address, "10.0.0.3".parse().unwrap());
        assert!(speaks("10.0.0.3:8848") && !speaks("10.0.0.2:8848") && !speaks("10.0.0.4:8848"));
        members.replace([Member::new("node.example", 1)]);
        assert!(!from("10.0.0.3"));
        members.set_ips("node.example:1", vec!["10.0.0.3".parse().unwrap()]);
        assert!(from("10.0.0.3"));
    }
}
