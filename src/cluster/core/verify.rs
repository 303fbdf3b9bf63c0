//! Checksums: sent for what this server owns, compared for what others own (`spec/distro.md` 7); and the health of
//! instances whose services other kinds of servers own (`spec/members.md` 6).

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use super::{Core, Purpose, is_at, lists};
use crate::cluster::message::{Answer, Failure, Request};
use crate::model::ServiceKey;
use crate::model::clock::Now;
use crate::model::peer::{Datum, Merge};
use crate::push::list::checksum_of;

/// The checksum of a list without instances.
const EMPTY: &str = "d41d8cd98f00b204e9800998ecf8427e";
/// Stands for the checksum of a list that is just changing: it is there, and there is nothing to compare.
const CHANGING: &str = "-";
/// In one round of so many, lists are compared that are just changing: some change all the time.
const THOROUGH: u64 = 4;
/// What was changed longer ago and is still to be told is not just changing: a message may be lost.
const STUCK_MS: u64 = 1_000;
/// Lists that wait to be fetched from one member; what is too much is found by the next round.
const MAX_WANTED: usize = 100_000;
/// Services whose health is to be asked of one member; the same.
const MAX_UNSURE: usize = 10_000;

/// What is to be fetched from a member.
#[derive(Default)]
pub(super) struct Fetching {
    wanted: BTreeSet<ServiceKey>,
    under_way: bool,
    unsure: BTreeSet<ServiceKey>,
    asking: bool,
}

impl Fetching {
    pub(super) fn add(&mut self, services: impl IntoIterator<Item = ServiceKey>) {
        let room = MAX_WANTED.saturating_sub(self.wanted.len());
        self.wanted.extend(services.into_iter().take(room));
    }

    pub(super) fn clear(&mut self) {
        self.wanted.clear();
        self.unsure.clear();
    }
}

impl Core {
    pub(super) fn verify(&mut self, now: Now) {
        let round = now.awake_ms >= self.verify_ms;
        if round {
            self.verify_ms = now.awake_ms + self.settings.verify_ms;
            self.verified += 1;
        }
        let due = |peer: &super::Peer| peer.up && !peer.verifying && (round || peer.verify_now);
        let due: Vec<Arc<str>> = self.peers.iter().filter(|(_, peer)| due(peer)).map(|(to, _)| to.clone()).collect();
        // Before it is known what a member understands there is nothing to send.
        let met = |to: Arc<str>| Some((self.members.find(&to).filter(|member| member.extend.version.is_some())?, to));
        let due: Vec<_> = due.into_iter().filter_map(met).collect();
        if due.is_empty() {
            return;
        }
        let sums = self.own_checksums();
        for (member, to) in due {
            let Some(peer) = self.peers.get_mut(&to) else { continue };
            let thorough = std::mem::take(&mut peer.verify_now) || self.verified.is_multiple_of(THOROUGH);
            // That there is nothing is news to a server of this kind only.
            if sums.is_empty() && !member.is_nacre() {
                continue;
            }
            peer.verifying = true;
            let mut sums = sums.clone();
            if member.is_nacre() && !thorough {
                let changing =
                    |key: &ServiceKey| peer.first(key).is_some_and(|first| now.awake_ms < first.ms + STUCK_MS);
                sums.iter_mut().filter(|(key, _)| changing(key)).for_each(|(_, sum)| *sum = Some(CHANGING.into()));
            }
            let request = Request::Checksums { source: self.view.own().clone(), sums };
            self.call(&to, request, Purpose::Verify);
        }
    }

    fn own_checksums(&self) -> Vec<(ServiceKey, Option<Arc<str>>)> {
        let services = self.registry.services();
        let owned = services.iter().filter(|s| s.has_ephemeral() && self.view.is_owner(&s.key().name));
        owned.map(|service| (service.key().clone(), Some(lists::checksum(service)))).collect()
    }

    /// Compares what the owner says with the copies here. Keys that it does not own, as this server sees it, say nothing:
    /// both may think that they own it for a moment (nacos issue 10323).
    pub(super) fn compare(&mut self, source: &str, sums: Vec<(ServiceKey, Option<Arc<str>>)>, now: Now) {
        if !self.start.may_tell() {
            return;
        }
        let Some((source, _)) = self.peers.get_key_value(source) else { return };
        let source = source.clone();
        let other_kind = self.members.is_other_kind(&source);
        let view = self.view.clone();
        let is_its = |key: &ServiceKey| is_at(view.owner(&key.name), &source);
        let mut wanted: Vec<ServiceKey> = Vec::new();
        let mut named = HashSet::new();
        for (key, sum) in sums.into_iter().filter(|(key, _)| is_its(key)) {
            if sum.as_deref() != Some(CHANGING) {
                let service = self.registry.find_service(&key);
                let mine = service.as_deref().map(lists::checksum);
                if sum.as_deref() != Some(mine.as_deref().unwrap_or(EMPTY)) {
                    wanted.push(key.clone());
                } else if let Some(service) = service {
                    service.vouch(now.awake_ms);
                }
            }
            named.insert(key);
        }
        let mut gone = Vec::new();
        for service in self.registry.services() {
            let key = service.key();
            if service.has_ephemeral() && is_its(key) && !named.contains(key) {
                gone.push(key.clone());
            }
        }
        // Whoever may be of this kind is asked whether it took them out.
        if !other_kind {
            wanted.append(&mut gone);
        }
        if let Some(peer) = self.peers.get_mut(&source) {
            peer.fetch.add(wanted);
        }
        if !gone.is_empty() {
            let empty = |service| Datum { service, told: Vec::new(), removed: None };
            let merge = |service| Merge { datum: empty(service), whole: true, from_owner: true };
            self.merge(source.clone(), gone.into_iter().map(merge).collect(), None, Vec::new());
        }
        self.fetch_more(&source);
    }

    pub(super) fn fetch_more(&mut self, from: &Arc<str>) {
        let max = self.settings.batch_keys;
        let Some(peer) = self.peers.get_mut(from).filter(|peer| !peer.fetch.under_way) else { return };
        let mut services = Vec::new();
        while services.len() < max {
            let Some(service) = peer.fetch.wanted.pop_first() else { break };
            services.push(service);
        }
        if !services.is_empty() {
            peer.fetch.under_way = true;
            let full = !self.members.is_other_kind(from);
            self.call(from, Request::Fetch { services, full }, Purpose::Fetch);
        }
    }

    pub(super) fn fetched(&mut self, from: &Arc<str>, result: Result<Answer, Failure>) {
        let Some(peer) = self.peers.get_mut(from) else { return };
        peer.fetch.under_way = false;
        match result {
            Ok(Answer::Data(data)) => {
                let (view, other_kind) = (self.view.clone(), self.members.is_other_kind(from));
                // Of what has come to this server meanwhile nobody else has the last word.
                let merge = |datum: Datum| {
                    let from_owner =
                        is_at(view.owner(&datum.service.name), from) || !view.is_owner(&datum.service.name);
                    Merge { whole: other_kind || datum.removed.is_some(), datum, from_owner }
                };
                let merges: Vec<Merge> = data.into_iter().map(merge).collect();
                if !merges.is_empty() {
                    self.merge(from.clone(), merges, None, Vec::new());
                }
                self.fetch_more(from);
            }
            // The next round is the retry.
            Ok(_) | Err(_) => peer.fetch.wanted.clear(),
        }
    }

    /// Tells the others how healthy the services are that this server owns: other kinds of all, which learn it in no other way,
    /// servers of this kind of persistent instances, whose owner checks them, should a change not have come through.
    pub(super) fn exchange_status(&mut self, now: Now) {
        if now.awake_ms < self.status_ms {
            return;
        }
        self.status_ms = now.awake_ms + self.settings.status_ms.1;
        let members = self.members.others();
        let known = members.iter().filter(|member| member.extend.version.is_some());
        let known = known.filter(|member| member.is_nacre() || now.awake_ms >= self.plain_status_ms);
        let known = known.map(|member| (Arc::<str>::from(member.address()), member.is_nacre()));
        let known: Vec<_> = known.filter(|(to, _)| self.peers.get(to).is_some_and(|peer| peer.up)).collect();
        if known.is_empty() {
            return;
        }
        for namespace in self.registry.namespaces() {
            let services = namespace.services();
            let owned = services.iter().filter(|s| !s.is_empty() && self.view.is_owner(&s.key().name));
            let owned: Vec<_> = owned.collect();
            for (to, nacre) in &known {
                let told = owned.iter().filter(|service| !nacre || service.has_persistent());
                let sums: Vec<_> = told.map(|s| (s.key().name.clone(), checksum_of(s))).collect();
                if *nacre && sums.is_empty() {
                    continue;
                }
                let (source, namespace) = (self.view.own().clone(), namespace.name().clone());
                self.call(to, Request::Status { source, namespace, sums }, Purpose::Status);
            }
        }
    }

    /// Asks how healthy the instances are of services whose checksum differs here.
    pub(super) fn compare_status(&mut self, source: &str, namespace: &Arc<str>, sums: &[(Arc<str>, Arc<str>)]) {
        let Some((source, _)) = self.peers.get_key_value(source) else { return };
        let source = source.clone();
        let mut unsure = Vec::new();
        for (name, sum) in sums {
            let Some(service) = self.registry.service(namespace, name) else { continue };
            if is_at(self.view.owner(name), &source) && checksum_of(&service) != *sum {
                unsure.push(service.key().clone());
            }
        }
        if let Some(peer) = self.peers.get_mut(&source) {
            let room = MAX_UNSURE.saturating_sub(peer.fetch.unsure.len());
            peer.fetch.unsure.extend(unsure.into_iter().take(room));
        }
        self.ask_health(&source);
    }

    fn ask_health(&mut self, source: &Arc<str>) {
        let Some(peer) = self.peers.get_mut(source).filter(|peer| !peer.fetch.asking) else { return };
        if let Some(service) = peer.fetch.unsure.pop_first() {
            peer.fetch.asking = true;
            self.call(source, Request::Statuses(service.clone()), Purpose::Health(service));
        }
    }

    pub(super) fn health_told(&mut self, from: &Arc<str>, service: ServiceKey, result: Result<Answer, Failure>) {
        if let Some(peer) = self.peers.get_mut(from) {
            peer.fetch.asking = false;
        }
        if let Ok(Answer::Health(mut told)) = result
            && !self.view.is_owner(&service.name)
        {
            if self.members.is_nacre(from) {
                self.drop_ephemeral(&service, &mut told);
            }
            self.actions.push(super::Action::Health(service, told));
        }
        self.ask_health(from);
    }

    /// How healthy ephemeral instances are, servers of this kind tell each other with the lists, and with when it was so.
    fn drop_ephemeral(&self, service: &ServiceKey, told: &mut Vec<(Box<str>, i32, bool)>) {
        let Some(service) = self.registry.find_service(service) else { return };
        let slots = service.slots();
        let ephemeral = slots.iter().filter(|slot| slot.is_ephemeral()).map(|slot| (slot.ip(), slot.port()));
        let ephemeral: HashSet<_> = ephemeral.collect();
        told.retain(|(ip, port, _)| !ephemeral.contains(&(&**ip, *port)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::core::call::calls;
    use crate::cluster::core::{Action, Settings};
    use crate::cluster::members::Members;
    use crate::commit::direct::carry_out;
    use crate::model::command::Command;
    use crate::model::member::{Extend, Member};
    use crate::model::peer::{Gap, Phase, Removed, Standing, Told, Trace};
    use crate::model::{Instance, InstanceKey};
    use crate::registry::Registry;

    const OTHER: &str = "10.0.0.2:8848";
    const NOW: Now = Now { awake_ms: 1_000_000, wall_ms: 5_000_000 };

    fn later(ms: u64) -> Now {
        Now { awake_ms: NOW.awake_ms + ms, wall_ms: NOW.wall_ms + ms }
    }

    /// What the other says of itself, which is of this kind or of another.
    fn extend(own_kind: bool) -> Extend {
        let standing = Standing { phase: Phase::Ready, gap: Gap { from_ms: 0, to_ms: 0 } };
        Extend { version: Some("1.4.8".into()), standing: own_kind.then_some(standing), ..Extend::default() }
    }

    struct World {
        core: Core,
        registry: Arc<Registry>,
        members: Arc<Members>,
        key: InstanceKey,
    }

    /// A server with one instance of a service that belongs to the other, which is up; `extend`: what it has said of itself.
    fn world(extend: Option<Extend>) -> World {
        let members = Arc::new(Members::new(Member::new("10.0.0.1", 8848), [Member::new("10.0.0.2", 8848)], 3));
        let view = members.view();
        let names = (0..).map(|number| format!("g@@s{number}"));
        let name = names.into_iter().find(|name| !view.is_owner(name)).unwrap();
        let service = ServiceKey::new("public", &name);
        let key = InstanceKey { service, cluster: "DEFAULT".into(), ip: "10.1.0.1".into(), port: 80, ephemeral: true };
        let registry = Arc::new(Registry::default());
        let mut core = Core::new(Settings::default(), members.clone(), registry.clone(), Some(4_000_000), NOW);
        // The other is not there when this one starts.
        for action in core.tick(NOW) {
            let Action::Call { id, request: Request::Own, .. } = action else { panic!("{action:?}") };
            core.answered(id, Err(Failure::Refused), NOW);
        }
        core.tick(NOW);
        assert!(core.start.may_tell());
        members.note_success(OTHER);
        extend.map(|extend| members.note_report(OTHER, extend, 1));
        carry_out(&registry, Command::Register(key.clone(), Instance::default()), NOW).outcome.unwrap();
        World { core, registry, members, key }
    }

    impl World {
        /// The other sends its checksums: `sums`.
        fn hear(&mut self, sums: Vec<(ServiceKey, Option<Arc<str>>)>) -> Vec<Action> {
            self.core.tick(NOW);
            let request = Request::Checksums { source: OTHER.into(), sums };
            self.core.asked(Some(OTHER), request, NOW).1
        }

        fn carry_out(&mut self, actions: Vec<Action>) {
            for action in actions {
                let Action::Merge { id, merges } = action else { continue };
                let done = carry_out(&self.registry, Command::Merge(merges), NOW);
                self.core.merged(id, done.outcome, NOW);
            }
        }

        fn is_there(&self) -> bool {
            self.registry.find(&self.key).is_some()
        }
    }

    fn fetches(actions: &[Action]) -> Vec<(u64, &[ServiceKey])> {
        let fetch = |action| match action {
            &Action::Call { id, request: Request::Fetch { ref services, full: true }, .. } => Some((id, &services[..])),
            _ => None,
        };
        actions.iter().filter_map(fetch).collect()
    }

    #[test]
    fn a_member_that_has_not_said_what_it_is_takes_nothing_out_by_not_naming_it() {
        // Its view may differ for a moment: it does not name what it takes for someone else's.
        for extend in [None, Some(extend(true))] {
            let mut world = world(extend);
            let actions = world.hear(Vec::new());
            let [(id, [service])] = fetches(&actions)[..] else { panic!("{actions:?}") };
            assert_eq!(*service, world.key.service);
            world.carry_out(actions);
            assert!(world.is_there());
            // The list itself says what was taken out. Without that it says nothing about what it does not have.
            let service = world.key.service.clone();
            let answer = vec![Datum { service, told: Vec::new(), removed: None }];
            let actions = world.core.answered(id, Ok(Answer::Data(answer)), NOW);
            world.carry_out(actions);
            assert!(world.is_there());
        }
        let mut world = world(Some(extend(false)));
        let actions = world.hear(Vec::new());
        world.carry_out(actions);
        assert!(!world.is_there(), "of the reference this is how it is heard");
    }

    #[test]
    fn what_the_owner_took_out_goes_whether_it_has_said_what_it_is_or_not() {
        for extend in [None, Some(extend(true))] {
            let mut world = world(extend);
            let actions = world.hear(Vec::new());
            let [(id, _)] = fetches(&actions)[..] else { panic!("{actions:?}") };
            let removed = Some(Removed {
                since_ms: 0,
                keys: vec![(world.key.clone(), NOW.wall_ms + 2_000)],
                ..Removed::default()
            });
            let answer = vec![Datum { service: world.key.service.clone(), told: Vec::new(), removed }];
            let actions = world.core.answered(id, Ok(Answer::Data(answer)), NOW);
            world.carry_out(actions);
            assert!(!world.is_there());
        }
    }

    #[test]
    fn an_unmet_member_hears_what_it_lacks_once_it_has_said_what_it_is() {
        let mut world = world(None);
        let actions = world.hear(Vec::new());
        let [(id, _)] = fetches(&actions)[..] else { panic!("{actions:?}") };
        let removed = Some(Removed { since_ms: 1, keys: Vec::new(), ..Removed::default() });
        let answer = vec![Datum { service: world.key.service.clone(), told: Vec::new(), removed }];
        let actions = world.core.answered(id, Ok(Answer::Data(answer)), NOW);
        world.carry_out(actions);
        assert_eq!(world.core.waiting(OTHER), 1);
        world.members.note_report(OTHER, extend(true), 2);
        let actions = world.core.tick(later(200));
        let told = actions.iter().find_map(|action| match action {
            Action::Call { request: Request::Changes(parts), .. } => Some(parts),
            _ => None,
        });
        let trace = Some(Trace { changed_ms: NOW.wall_ms, heard_ms: Some(NOW.wall_ms) });
        let told: Vec<&Told> = told.unwrap().iter().flat_map(|part| &part.datum.told).collect();
        assert!(matches!(told[..], [told] if told.key == world.key && told.trace == trace), "{told:?}");
    }

    #[test]
    fn it_is_said_whether_an_emptied_service_is_still_there() {
        let mut world = world(Some(extend(true)));
        world.core.tick(NOW);
        let run = |command| carry_out(&world.registry, command, later(10)).outcome.unwrap();
        run(Command::Deregister(world.key.clone()));
        let mut gone = |ms| {
            let (answer, _) = world.core.asked(Some(OTHER), Request::Snapshot { full: true }, later(ms));
            let Answer::Data(data) = answer else { panic!("{answer:?}") };
            let removed =
                data.iter().find(|datum| datum.service == world.key.service).unwrap().removed.clone().unwrap();
            (removed.keys.len(), removed.service_too)
        };
        assert_eq!(gone(20), (1, false));
        run(Command::DeleteService(world.key.service.clone()));
        assert_eq!(gone(40), (1, true));
        let made = ServiceKey::new("public", "g@@empty");
        run(Command::CreateService(made.clone(), Default::default()));
        let (Answer::Data(data), _) = world.core.asked(Some(OTHER), Request::Snapshot { full: true }, later(60)) else {
            panic!("no data")
        };
        assert!(data.iter().all(|datum| datum.service != made), "it may be deleted just now, by agreement");
    }

    #[test]
    fn who_comes_up_unmet_is_asked_at_once_what_it_is() {
        let mut world = world(None);
        let asks = |actions: Vec<Action>| {
            actions.iter().any(|action| matches!(action, Action::Call { request: Request::Own, .. }))
        };
        assert!(asks(world.core.tick(NOW)));
        assert!(!asks(world.core.tick(later(20))));
        world.members.note_refusal(OTHER, world.members.heard(OTHER), 1);
        assert!(!asks(world.core.tick(later(40))));
        world.members.note_success(OTHER);
        assert!(asks(world.core.tick(later(60))));
    }

    #[test]
    fn what_was_said_to_who_went_is_not_waited_for_when_it_is_back() {
        let mut world = world(Some(extend(true)));
        let talks = |calls: &[(u64, Request)]| {
            let sums = calls.iter().any(|(_, request)| matches!(request, Request::Checksums { .. }));
            (sums, calls.iter().any(|(_, request)| matches!(request, Request::Changes(_))))
        };
        world.core.tick(NOW);
        world.core.note(&world.key.service, &world.key, later(10));
        let unanswered = calls(world.core.tick(later(200)));
        assert!(talks(&unanswered).1, "{unanswered:?}");
        world.members.note_refusal(OTHER, world.members.heard(OTHER), 1);
        world.core.tick(later(220));
        world.members.note_success(OTHER);
        assert!(talks(&calls(world.core.tick(later(240)))).0, "it is compared at once");
        world.core.note(&world.key.service, &world.key, later(250));
        for (id, _) in unanswered {
            world.core.answered(id, Err(Failure::Broken("late".into())), later(300));
        }
        assert!(talks(&calls(world.core.tick(later(360)))).1, "and what ends late disturbs nothing");
    }

    #[test]
    fn nobody_waits_for_the_data_of_who_falters() {
        let gap = |from_ms, to_ms| Gap { from_ms, to_ms };
        let better = Standing { phase: Phase::Ready, gap: gap(0, 1) };
        let mut world = world(Some(Extend { standing: Some(better), ..extend(true) }));
        let loads = |actions: Vec<Action>| {
            actions.iter().any(|action| matches!(action, Action::Call { request: Request::Snapshot { .. }, .. }))
        };
        assert!(loads(world.core.tick(NOW)), "it knows better");
        assert!(!world.core.start.may_tell(), "its data are on their way");
        world.members.note_failure(OTHER, 1);
        world.core.tick(later(20));
        assert!(world.core.start.may_tell(), "they may be for long");
        assert!(!loads(world.core.tick(later(5_000))));
        world.members.note_success(OTHER);
        assert!(loads(world.core.tick(later(5_020))));
    }

    #[test]
    fn who_was_away_may_have_heard_whom_this_server_did_not() {
        let mut world = world(Some(extend(true)));
        world.core.tick(NOW);
        let gone = InstanceKey { ip: "10.1.0.2".into(), ..world.key.clone() };
        let removals = world.registry.removals();
        removals.note_silent(&gone, NOW.wall_ms + 10, NOW.wall_ms + 10);
        world.members.note_refusal(OTHER, world.members.heard(OTHER), 1);
        world.core.tick(later(20));
        assert!(removals.when(&gone).is_some());
        world.members.note_success(OTHER);
        world.core.tick(later(40));
        assert_eq!(removals.when(&gone), None, "nobody is told of it");
        let service = world.registry.find_service(&world.key.service).unwrap();
        let slot = world.registry.find(&world.key).unwrap();
        assert_eq!(service.silent_from_ms(&slot), later(40).awake_ms, "and the others have their full time");
    }

    #[test]
    fn who_asks_without_being_reached_is_doubted_once() {
        let mut world = world(Some(extend(true)));
        world.core.tick(NOW);
        world.members.note_refusal(OTHER, world.members.heard(OTHER), 1);
        world.core.tick(later(20));
        let service = world.registry.find_service(&world.key.service).unwrap();
        let slot = world.registry.find(&world.key).unwrap();
        for ms in [1_000, 6_000, 11_000] {
            world.core.asked(Some(OTHER), Request::Checksums { source: OTHER.into(), sums: Vec::new() }, later(ms));
            assert_eq!(service.silent_from_ms(&slot), later(1_000).awake_ms, "else nobody would ever be silent");
        }
    }

    #[test]
    fn who_comes_and_goes_all_the_time_is_doubted_once_in_a_while() {
        let mut world = world(Some(extend(true)));
        world.core.tick(NOW);
        let service = world.registry.find_service(&world.key.service).unwrap();
        let slot = world.registry.find(&world.key).unwrap();
        let mut doubted = Vec::new();
        // It reports itself, and can't be reached.
        for ms in (4_000..250_000).step_by(4_000) {
            world.members.note_refusal(OTHER, world.members.heard(OTHER), 1);
            world.core.tick(later(ms));
            world.members.note_report(OTHER, extend(true), 1);
            world.core.tick(later(ms + 2_000));
            doubted.push(service.silent_from_ms(&slot));
        }
        doubted.dedup();
        let times = [6_000, 126_000, 246_000];
        assert_eq!(doubted, times.map(|ms| later(ms).awake_ms), "else nobody would ever be silent for long enough");
    }

    /// Which lists a round of checksums leaves out.
    fn changing(actions: &[Action]) -> Option<usize> {
        actions.iter().find_map(|action| match action {
            Action::Call { request: Request::Checksums { sums, .. }, .. } => {
                Some(sums.iter().filter(|(_, sum)| sum.as_deref() == Some(CHANGING)).count())
            }
            _ => None,
        })
    }

    #[test]
    fn what_a_lost_message_tells_is_compared_all_the_same() {
        for (pause_ms, left_out) in [(100, 1), (STUCK_MS, 0)] {
            let mut world = world(Some(extend(true)));
            let mine = (0..).map(|number| ServiceKey::new("public", &format!("g@@m{number}")));
            let service = mine.into_iter().find(|service| world.members.view().is_owner(&service.name)).unwrap();
            let key = InstanceKey { service, ..world.key.clone() };
            let first = world.core.tick(NOW);
            assert_eq!(changing(&first), Some(0), "the first round compares everything");
            let first = first.iter().filter_map(|action| match action {
                Action::Call { id, request: Request::Checksums { .. }, .. } => Some(*id),
                _ => None,
            });
            first.for_each(|id| drop(world.core.answered(id, Ok(Answer::Done), NOW)));
            carry_out(&world.registry, Command::Register(key.clone(), Instance::default()), NOW).outcome.unwrap();
            // It is told so long before the round that it is still under way.
            let round_ms = Settings::default().verify_ms;
            world.core.note(&key.service, &key, later(round_ms - pause_ms - 100));
            world.core.tick(later(round_ms - pause_ms));
            assert_eq!(changing(&world.core.tick(later(round_ms))), Some(left_out), "{pause_ms}");
        }
    }
}
