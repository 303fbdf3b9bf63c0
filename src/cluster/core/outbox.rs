//! What is still to be told to each member. Collapsed by service and bounded by what there is; whoever is down is owed
//! nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{Action, Core, Purpose, lists};
use crate::cluster::message::{Answer, Failure, Part, Request};
use crate::model::clock::Now;
use crate::model::{InstanceKey, ServiceKey};

/// With more changed instances of one service the whole list is told.
const MAX_INSTANCES: usize = 512;
/// Instances in one message, about; a list is never cut.
const MAX_TOLD: usize = 10_000;

/// The status by which a member refuses a body for its size.
const TOO_LARGE: u16 = 413;
/// A member that takes longer for a message is waited for by nobody meanwhile.
const SLOW_MS: u64 = 500;

/// The first change of what is to be told of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct First {
    /// Among all changes that were to be told to the member.
    number: u64,
    /// Awake time.
    pub(super) ms: u64,
}

/// What is to be told of a service.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pending {
    first: First,
    /// `None`: all of them.
    instances: Option<BTreeSet<InstanceKey>>,
}

impl Pending {
    fn add(&mut self, more: Option<&InstanceKey>) {
        match (&mut self.instances, more) {
            (Some(known), Some(key)) => {
                known.insert(key.clone());
                if known.len() > MAX_INSTANCES {
                    self.instances = None;
                }
            }
            (known, None) => *known = None,
            (None, Some(_)) => {}
        }
    }
}

/// What is to be told to one member.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pending: BTreeMap<ServiceKey, Pending>,
    /// The number of the last change.
    last: u64,
}

impl Outbox {
    /// An instance (`None`: all) of `service` is to be told.
    pub(super) fn add(&mut self, service: &ServiceKey, key: Option<&InstanceKey>, now_ms: u64) {
        self.last += 1;
        let first = First { number: self.last, ms: now_ms };
        let fresh = || Pending { first, instances: Some(BTreeSet::new()) };
        self.pending.entry(service.clone()).or_insert_with(fresh).add(key);
    }

    fn put_back(&mut self, service: ServiceKey, pending: Pending) {
        let Some(newer) = self.pending.get_mut(&service) else {
            self.pending.insert(service, pending);
            return;
        };
        newer.first = newer.first.min(pending.first);
        match &pending.instances {
            None => newer.add(None),
            Some(keys) => keys.iter().for_each(|key| newer.add(Some(key))),
        }
    }

    fn is_due(&self, dispatch_ms: u64, now_ms: u64) -> bool {
        self.pending.values().any(|pending| now_ms >= pending.first.ms + dispatch_ms)
    }

    /// Takes services out, at most `max`, and no more once `is_full` says so after one of them.
    fn take(
        &mut self,
        max: usize,
        mut is_full: impl FnMut(&ServiceKey, &Pending) -> bool,
    ) -> Vec<(ServiceKey, Pending)> {
        let mut taken = Vec::new();
        while taken.len() < max {
            let Some((service, pending)) = self.pending.pop_first() else { break };
            let full = is_full(&service, &pending);
            taken.push((service, pending));
            if full {
                break;
            }
        }
        taken
    }

    pub(super) fn holds(&self, service: &ServiceKey) -> bool {
        self.pending.contains_key(service)
    }

    pub(super) fn len(&self) -> usize {
        self.pending.len()
    }
}

impl super::Peer {
    /// The first change of `service` that it has not heard of.
    pub(super) fn first(&self, service: &ServiceKey) -> Option<First> {
        let waits = self.outbox.pending.get(service).map(|pending| pending.first);
        [waits, self.telling.get(service).copied()].into_iter().flatten().min()
    }
}

impl Core {
    /// Does not let the member at `to` wait for what it is owed of `service`; the number of the last change so far if it is
    /// owed any of that.
    pub fn hurry(&mut self, to: &str, service: &ServiceKey, now: Now) -> (Option<u64>, Vec<Action>) {
        let upto = self.peers.get(to).map_or(0, |peer| peer.outbox.last);
        if !self.owes(to, service, upto, now) {
            return (None, Vec::new());
        }
        if let Some(peer) = self.peers.get_mut(to).filter(|peer| peer.outbox.holds(service)) {
            peer.urgent = true;
            if self.start.may_tell() {
                self.tell(now);
            }
        }
        (Some(upto), std::mem::take(&mut self.actions))
    }

    /// Whether the member at `to` has not heard of all changes of `service` up to that number, and can be hoped to soon.
    pub fn owes(&self, to: &str, service: &ServiceKey, upto: u64, now: Now) -> bool {
        let is_slow = |peer: &super::Peer| {
            !peer.telling.is_empty() && now.awake_ms.saturating_sub(peer.telling_since_ms) > SLOW_MS
        };
        let hears = |peer: &&super::Peer| peer.up && now.awake_ms >= peer.retry_ms && !is_slow(peer);
        let Some(peer) = self.peers.get(to).filter(hears) else { return false };
        self.start.is_ready() && peer.first(service).is_some_and(|first| first.number <= upto)
    }

    /// Sends what is due; one message to a member at a time, so that none overtakes another.
    pub(super) fn tell(&mut self, now: Now) {
        let dispatch_ms = self.settings.dispatch_ms;
        let due = |peer: &super::Peer| {
            peer.up
                && peer.telling.is_empty()
                && now.awake_ms >= peer.retry_ms
                && (peer.urgent || peer.outbox.is_due(dispatch_ms, now.awake_ms))
        };
        let due: Vec<Arc<str>> = self.peers.iter().filter(|(_, peer)| due(peer)).map(|(to, _)| to.clone()).collect();
        for to in due {
            self.tell_one(&to, now);
        }
    }

    fn tell_one(&mut self, to: &Arc<str>, now: Now) {
        let Some(member) = self.members.find(to).filter(|member| member.extend.version.is_some()) else {
            // Nothing can be told before it is known what it understands.
            return;
        };
        let Some(peer) = self.peers.get_mut(to) else { return };
        peer.urgent = false;
        let mut told = 0;
        let taken = peer.outbox.take(self.settings.batch_keys, |service, pending| {
            told += match &pending.instances {
                Some(keys) => keys.len(),
                None => self.registry.find_service(service).map_or(0, |service| service.len()),
            };
            told >= MAX_TOLD
        });
        let (registry, view) = (&self.registry, &self.view);
        let request = if member.is_nacre() {
            let part = |(service, pending): &(ServiceKey, Pending)| match &pending.instances {
                Some(keys) => Part { datum: lists::some(registry, service, keys, view, now), whole: false },
                None => {
                    let found = registry.find_service(service);
                    let whole = |found: &crate::registry::Service| lists::whole(registry, found, view, now);
                    let datum = found.as_deref().map_or_else(|| lists::nothing(registry, service, now), whole);
                    // It has vanished meanwhile, and nothing was in it.
                    let vanished = found.is_none() && datum.removed.as_ref().is_none_or(|gone| gone.keys.is_empty());
                    Part { datum, whole: !vanished }
                }
            };
            let parts: Vec<Part> = taken.iter().map(part).collect();
            let says = |part: &Part| {
                let gone = part.datum.removed.as_ref().is_some_and(|removed| !removed.keys.is_empty());
                part.whole || gone || !part.datum.told.is_empty()
            };
            let parts: Vec<Part> = parts.into_iter().filter(says).collect();
            (!parts.is_empty()).then_some(Request::Changes(parts))
        } else {
            // What has vanished meanwhile is left out, and an empty map is not sent (`spec/distro.md` 6).
            let whole = |(key, _): &(ServiceKey, Pending)| {
                registry.find_service(key).map(|service| lists::whole(registry, &service, view, now))
            };
            let data: Vec<_> = taken.iter().filter_map(whole).collect();
            (!data.is_empty()).then_some(Request::Push(data))
        };
        if let Some(request) = request {
            peer.telling = taken.iter().map(|(service, pending)| (service.clone(), pending.first)).collect();
            peer.telling_since_ms = now.awake_ms;
            self.call(to, request, Purpose::Tell(taken));
        }
    }

    /// A message has ended.
    pub(super) fn told(
        &mut self,
        to: &Arc<str>,
        told: Vec<(ServiceKey, Pending)>,
        result: &Result<Answer, Failure>,
        now: Now,
    ) {
        let retry_ms = now.awake_ms + self.settings.retry_ms;
        let Some(peer) = self.peers.get_mut(to) else { return };
        peer.telling.clear();
        if let Err(Failure::Said(TOO_LARGE, _)) = result {
            // It would be no smaller the next time, and all else would wait behind it. What differs the member fetches: an
            // answer may be larger.
            tracing::warn!(to = &**to, lists = told.len(), "a member takes no lists of this size, it is to fetch them");
            peer.verify_now = true;
        } else if *result != Ok(Answer::Done) && peer.up {
            peer.retry_ms = retry_ms;
            told.into_iter().for_each(|(service, pending)| peer.outbox.put_back(service, pending));
        }
        if peer.urgent && self.start.may_tell() {
            self.tell(now);
        }
    }

    /// Keeps the copies of other servers young: they judge by the age of what they were told when they take over
    /// (`spec/distro.md` 16.7).
    pub(super) fn refresh(&mut self, now: Now) {
        if now.awake_ms < self.refresh_ms {
            return;
        }
        self.refresh_ms = now.awake_ms + self.settings.refresh_ms;
        let members = self.members.others();
        let plain = members.iter().filter(|member| member.extend.version.is_some() && !member.is_nacre());
        let plain: Vec<String> = plain.map(|member| member.address()).collect();
        if plain.is_empty() {
            return;
        }
        let services = self.registry.services();
        let owned: Vec<_> =
            services.iter().filter(|s| s.has_ephemeral() && self.view.is_owner(&s.key().name)).collect();
        for address in plain {
            let Some(peer) = self.peers.get_mut(&*address).filter(|peer| peer.up) else { continue };
            owned.iter().for_each(|service| peer.outbox.add(service.key(), None, now.awake_ms));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::core::Settings;
    use crate::cluster::core::call::calls;
    use crate::cluster::members::Members;
    use crate::model::member::{Extend, Member, State};
    use crate::model::peer::{Gap, Phase, Standing};
    use crate::model::{Instance, Row};
    use crate::registry::Registry;

    const OTHER: &str = "10.0.0.2:8848";

    fn at(ms: u64) -> Now {
        Now { awake_ms: 1_000_000 + ms, wall_ms: 5_000_000 + ms }
    }

    fn key(service: &str) -> InstanceKey {
        let service = ServiceKey::new("public", &format!("g@@{service}"));
        InstanceKey { service, cluster: "DEFAULT".into(), ip: "10.1.0.1".into(), port: 80, ephemeral: true }
    }

    fn own_kind() -> Extend {
        let standing = Standing { phase: Phase::Ready, gap: Gap { from_ms: 0, to_ms: 4_999_999 } };
        Extend { version: Some("1.4.8".into()), standing: Some(standing), ..Extend::default() }
    }

    /// One that compared its data and knows of another of its kind, and what is asked of that then.
    fn core() -> (Core, Arc<Members>) {
        let other = Member::new("10.0.0.2", 8848);
        let members = Arc::new(Members::new(Member::new("10.0.0.1", 8848), [other], 3));
        let registry = Arc::new(Registry::default());
        for service in ["a", "b", "c", "d"] {
            registry.apply(Row::Instance(key(service), Some(Arc::new(Instance::default()))), 1, false);
        }
        let settings = Settings { verify_ms: 3_600_000, ..Settings::default() };
        let mut core = Core::new(settings, members.clone(), registry, Some(4_000_000), at(0));
        let extend = own_kind();
        for (id, request) in calls(core.tick(at(1))) {
            assert_eq!(request, Request::Own);
            let own = Member { extend: extend.clone(), ..Member::new("10.0.0.2", 8848) };
            core.answered(id, Ok(Answer::Member(Box::new(own))), at(1));
        }
        // The first round of checksums, as the other is up.
        for round in 2..5 {
            for (id, _) in calls(core.tick(at(round))) {
                core.answered(id, Ok(Answer::Done), at(round));
            }
        }
        assert!(core.has_data() && members.state(OTHER) == Some(State::Up));
        (core, members)
    }

    #[test]
    fn what_is_too_large_for_a_member_does_not_block_the_way() {
        let (mut core, _) = core();
        core.note(&key("a").service, &key("a"), at(10));
        let told = calls(core.tick(at(200)));
        let [(id, Request::Changes(_))] = &told[..] else { panic!("{told:?}") };
        core.answered(*id, Err(Failure::Said(413, "too large".into())), at(201));
        assert_eq!(core.waiting(OTHER), 0, "it would be as large again");
        core.note(&key("b").service, &key("b"), at(202));
        let then = calls(core.tick(at(400)));
        let is_of = |service: &str, part: &Part| part.datum.service == key(service).service;
        let is_told = |(_, request): &(u64, Request)| matches!(request, Request::Changes(parts) if parts.len() == 1 && is_of("b", &parts[0]));
        assert!(then.iter().any(is_told), "{then:?}");
        let compares = |(_, request): &(u64, Request)| matches!(request, Request::Checksums { .. });
        assert!(then.iter().any(compares), "what was too large is to be fetched: {then:?}");
    }

    #[test]
    fn what_a_member_could_not_be_told_is_told_again() {
        let (mut core, _) = core();
        core.note(&key("a").service, &key("a"), at(10));
        let told = calls(core.tick(at(200)));
        core.answered(told[0].0, Err(Failure::Said(500, String::new())), at(201));
        assert_eq!(core.waiting(OTHER), 1);
        assert!(calls(core.tick(at(1_200))).is_empty(), "not at once");
        assert_eq!(calls(core.tick(at(1_202)))[0].1, told[0].1);
    }

    #[test]
    fn who_is_waited_for_does_not_wait() {
        let (mut core, _) = core();
        let service = key("a").service;
        let hurry = |core: &mut Core, ms: u64| {
            let (upto, actions) = core.hurry(OTHER, &service, at(ms));
            (upto, calls(actions))
        };
        assert_eq!(hurry(&mut core, 9), (None, vec![]));
        core.note(&service, &key("a"), at(10));
        assert!(calls(core.tick(at(11))).is_empty(), "others may join it");
        let (first, told) = hurry(&mut core, 12);
        let [(id, Request::Changes(_))] = &told[..] else { panic!("{told:?}") };
        let owes = |core: &Core, upto: Option<u64>, ms: u64| core.owes(OTHER, &service, upto.unwrap(), at(ms));
        assert!(owes(&core, first, 12), "it is on its way");
        // What comes meanwhile goes with the next message, which does not wait either; but nobody waits for more than there was.
        core.note(&service, &key("a"), at(13));
        let (later, told) = hurry(&mut core, 14);
        assert!(told.is_empty() && owes(&core, later, 14));
        let told = calls(core.answered(*id, Ok(Answer::Done), at(15)));
        assert!(!owes(&core, first, 16) && owes(&core, later, 16));
        assert!(owes(&core, later, 15 + SLOW_MS) && !owes(&core, later, 16 + SLOW_MS), "it may take far longer");
        core.answered(told[0].0, Err(Failure::Said(500, String::new())), at(18));
        assert!(!owes(&core, later, 19), "it takes nothing now");
        assert_eq!(hurry(&mut core, 1_019).1.len(), 1);
    }

    #[test]
    fn nobody_is_told_anything_before_the_data_were_compared() {
        let others = [Member::new("10.0.0.2", 8848)];
        let members = Arc::new(Members::new(Member::new("10.0.0.1", 8848), others, 3));
        members.note_report(OTHER, Extend { version: Some("1.4.8".into()), ..Extend::default() }, 1);
        let registry = Arc::new(Registry::default());
        registry.apply(Row::Instance(key("a"), Some(Arc::new(Instance::default()))), 1, false);
        let mut core = Core::new(Settings::default(), members, registry, Some(4_000_000), at(0));
        core.tick(at(1));
        core.note(&key("a").service, &key("a"), at(2));
        let (owed, actions) = core.hurry(OTHER, &key("a").service, at(3));
        assert!(owed.is_none() && actions.is_empty(), "{actions:?}");
    }

    #[test]
    fn a_service_made_empty_is_told_to_servers_of_this_kind() {
        let (mut core, members) = core();
        let made = ServiceKey::new("public", "g@@made");
        core.registry.ensure_service(&made);
        core.note_made(&made, at(10));
        let told = calls(core.tick(at(200)));
        let [(id, Request::Changes(parts))] = &told[..] else { panic!("{told:?}") };
        assert!(parts.len() == 1 && parts[0].whole && parts[0].datum.told.is_empty(), "{parts:?}");
        core.answered(*id, Ok(Answer::Done), at(201));
        members.note_report(OTHER, Extend { version: Some("1.4.8".into()), ..Extend::default() }, 1);
        core.note_made(&made, at(300));
        assert!(calls(core.tick(at(500))).is_empty());
        members.note_report(OTHER, own_kind(), 2);
        core.note_made(&ServiceKey::new("public", "g@@gone"), at(600));
        assert!(calls(core.tick(at(800))).is_empty(), "it would be made there");
    }

    #[test]
    fn the_owner_tells_of_the_health_of_persistent_instances() {
        let (mut core, members) = core();
        let names = || (0..).map(|number| format!("p{number}"));
        for is_owner in [true, false] {
            let owned = |name: &String| members.view().is_owner(&key(name).service.name) == is_owner;
            let key = InstanceKey { ephemeral: false, ..key(&names().find(owned).unwrap()) };
            let sick = Instance { healthy: false, ..Instance::default() };
            core.registry.apply(Row::Instance(key.clone(), Some(Arc::new(sick))), 1, false);
            core.note(&key.service, &key, at(10));
            let told = calls(core.tick(at(200)));
            let mut health = Vec::new();
            for (_, request) in told {
                let Request::Changes(parts) = request else { panic!("{request:?}") };
                let told = parts.into_iter().flat_map(|part| part.datum.told);
                health.extend(told.map(|told| (told.key, told.instance.healthy)));
            }
            assert_eq!(health, if is_owner { vec![(key, false)] } else { vec![] });
        }
    }

    #[test]
    fn whoever_does_not_know_what_a_report_is_owns_nothing() {
        let (mut core, members) = core();
        for second in 1..=4 {
            for (id, request) in calls(core.serve(at(second * 1_000))) {
                assert!(matches!(request, Request::Report(_)));
                core.answered(id, Ok(Answer::Unknown), at(second * 1_000));
            }
        }
        assert_eq!(members.state(OTHER), Some(State::Down));
    }

    #[test]
    fn all_lists_that_are_asked_for_are_told() {
        let (mut core, _) = core();
        core.settings.batch_keys = 1;
        let names: Vec<ServiceKey> =
            (0..3_000).map(|n| key(&format!("none-{n}")).service).chain([key("d").service]).collect();
        let (answer, _) = core.asked(None, Request::Fetch { services: names, full: false }, at(500));
        let Answer::Data(data) = answer else { panic!("{answer:?}") };
        assert_eq!(data.into_iter().map(|datum| datum.service).collect::<Vec<_>>(), [key("d").service]);
    }
}
