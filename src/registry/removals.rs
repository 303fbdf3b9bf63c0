//! Ephemeral instances that were taken out of late: so that a peer that has not heard of it can be told, and does not
//! bring them back. Kept in memory only, and only where there are peers.

use std::collections::{HashMap, HashSet, VecDeque};

use parking_lot::Mutex;

use crate::model::{InstanceKey, ServiceKey};

/// How long a removal is remembered. Who has been cut off for longer learns by the whole list.
pub const KEEP_MS: u64 = 120_000;
/// The most that are remembered; one more, and the oldest is forgotten early.
const MAX_KEPT: usize = 200_000;

/// See the module.
#[derive(Default)]
pub struct Removals(Mutex<Option<Kept>>);

struct Kept {
    /// Every removal since then is known (epoch ms).
    since_ms: u64,
    /// When each was noted, by the clock of this server, and when it is said to have been; what was noted again or forgotten
    /// is passed over later.
    order: VecDeque<(u64, u64, InstanceKey)>,
    services: HashMap<ServiceKey, HashMap<InstanceKey, u64>>,
    /// Those because of silence.
    silent: HashSet<InstanceKey>,
}

impl Removals {
    /// Remembers from now on (epoch ms).
    pub fn start(&self, wall_ms: u64) {
        let mut kept = self.0.lock();
        kept.get_or_insert_with(|| Kept {
            since_ms: wall_ms,
            order: VecDeque::new(),
            services: HashMap::new(),
            silent: HashSet::new(),
        });
    }

    /// Removals from before the start are known too, since `wall_ms`: a peer told all that it knows.
    pub fn know_since(&self, wall_ms: u64) {
        if let Some(kept) = self.0.lock().as_mut() {
            kept.since_ms = kept.since_ms.min(wall_ms);
        }
    }

    /// `key` was taken out at `removed_ms`; it is `wall_ms` now.
    pub fn note(&self, key: &InstanceKey, removed_ms: u64, wall_ms: u64) {
        let mut kept = self.0.lock();
        let Some(kept) = kept.as_mut() else { return };
        kept.expire(wall_ms);
        let of_service = kept.services.entry(key.service.clone()).or_default();
        if of_service.get(key).is_none_or(|known_ms| *known_ms < removed_ms) {
            of_service.insert(key.clone(), removed_ms);
            kept.silent.remove(key);
            kept.order.push_back((wall_ms, removed_ms, key.clone()));
        }
        while kept.order.len() > MAX_KEPT {
            kept.forget_oldest();
        }
    }

    /// As [`note`](Self::note); this server took `key` out because it heard nothing of its client.
    pub fn note_silent(&self, key: &InstanceKey, removed_ms: u64, wall_ms: u64) {
        self.note(key, removed_ms, wall_ms);
        if let Some(kept) = self.0.lock().as_mut().filter(|kept| kept.knows(key)) {
            kept.silent.insert(key.clone());
        }
    }

    /// What was taken out because of silence may have been heard all the time, by a server that could not say so.
    pub fn forget_silent(&self) {
        if let Some(kept) = self.0.lock().as_mut() {
            std::mem::take(&mut kept.silent).iter().for_each(|key| kept.forget(key));
        }
    }

    /// `key` is there again.
    pub fn forget(&self, key: &InstanceKey) {
        if let Some(kept) = self.0.lock().as_mut() {
            kept.forget(key);
        }
    }

    /// When `key` was taken out (epoch ms), if that is remembered.
    pub fn when(&self, key: &InstanceKey) -> Option<u64> {
        self.0.lock().as_ref()?.services.get(&key.service)?.get(key).copied()
    }

    /// Services of which something was taken out, in order of keys.
    pub fn services(&self) -> Vec<ServiceKey> {
        let kept = self.0.lock();
        let mut all: Vec<_> = kept.iter().flat_map(|kept| kept.services.keys().cloned()).collect();
        all.sort_unstable();
        all
    }

    /// What was taken out of `service`, in order of keys, and since when (epoch ms) that is complete. `None`: nothing is
    /// remembered here.
    pub fn of(&self, service: &ServiceKey, wall_ms: u64) -> Option<(u64, Vec<(InstanceKey, u64)>)> {
        let mut kept = self.0.lock();
        let kept = kept.as_mut()?;
        kept.expire(wall_ms);
        let of_service = kept.services.get(service).into_iter().flatten();
        let mut keys: Vec<_> = of_service.map(|(key, removed_ms)| (key.clone(), *removed_ms)).collect();
        keys.sort_unstable();
        Some((kept.since_ms, keys))
    }
}

impl Kept {
    fn expire(&mut self, wall_ms: u64) {
        let oldest_ms = wall_ms.saturating_sub(KEEP_MS);
        while self.order.front().is_some_and(|(noted_ms, ..)| *noted_ms < oldest_ms) {
            self.forget_oldest();
        }
        self.since_ms = self.since_ms.max(oldest_ms);
    }

    fn forget_oldest(&mut self) {
        let Some((noted_ms, removed_ms, key)) = self.order.pop_front() else { return };
        if self.services.get(&key.service).and_then(|of_service| of_service.get(&key)) == Some(&removed_ms) {
            self.forget(&key);
        }
        self.since_ms = self.since_ms.max(noted_ms + 1);
    }

    fn knows(&self, key: &InstanceKey) -> bool {
        self.services.get(&key.service).is_some_and(|of_service| of_service.contains_key(key))
    }

    fn forget(&mut self, key: &InstanceKey) {
        self.silent.remove(key);
        let Some(of_service) = self.services.get_mut(&key.service) else { return };
        of_service.remove(key);
        if of_service.is_empty() {
            self.services.remove(&key.service);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(ip: &str) -> InstanceKey {
        let service = ServiceKey::new("public", "g@@s");
        InstanceKey { service, cluster: "DEFAULT".into(), ip: ip.into(), port: 80, ephemeral: true }
    }

    #[test]
    fn they_are_known_for_a_while_and_it_is_known_since_when() {
        let removals = Removals::default();
        removals.note(&key("a"), 5, 5);
        assert_eq!(removals.of(&key("a").service, 5), None, "not where there are no peers");
        removals.start(1_000);
        removals.note(&key("b"), 2_000, 2_000);
        removals.note(&key("a"), 3_000, 3_000);
        removals.note(&key("c"), 4_000, 4_000);
        removals.forget(&key("c"));
        let known = removals.of(&key("a").service, 4_000);
        assert_eq!(known, Some((1_000, vec![(key("a"), 3_000), (key("b"), 2_000)])));
        assert_eq!((removals.when(&key("b")), removals.when(&key("c"))), (Some(2_000), None));
        let known = removals.of(&key("a").service, 2_500 + KEEP_MS);
        assert_eq!(known, Some((2_500, vec![(key("a"), 3_000)])));
    }

    #[test]
    fn what_was_silent_may_have_been_heard_elsewhere() {
        let removals = Removals::default();
        removals.start(1_000);
        removals.note(&key("a"), 2_000, 2_000);
        removals.note_silent(&key("b"), 2_000, 2_000);
        removals.note_silent(&key("c"), 2_000, 2_000);
        removals.note(&key("c"), 3_000, 3_000);
        removals.forget_silent();
        let known = removals.of(&key("a").service, 4_000);
        assert_eq!(known, Some((1_000, vec![(key("a"), 2_000), (key("c"), 3_000)])));
    }

    #[test]
    fn a_later_removal_of_the_same_counts_alone() {
        let removals = Removals::default();
        removals.start(0);
        removals.note(&key("a"), 1_000, 1_000);
        removals.note(&key("a"), 9_000, 9_000);
        removals.note(&key("a"), 4_000, 9_000);
        assert_eq!(removals.of(&key("a").service, 5_000 + KEEP_MS), Some((5_000, vec![(key("a"), 9_000)])));
    }

    #[test]
    fn what_nobody_knows_the_time_of_is_forgotten_too() {
        let removals = Removals::default();
        removals.start(0);
        removals.note(&key("a"), 0, 1_000);
        assert_eq!(removals.when(&key("a")), Some(0));
        assert_eq!(removals.of(&key("a").service, 2_000 + KEEP_MS), Some((2_000, Vec::new())));
    }

    #[test]
    fn what_a_peer_knew_before_is_known_from_then_on() {
        let removals = Removals::default();
        removals.start(50_000);
        removals.know_since(10_000);
        removals.know_since(20_000);
        assert_eq!(removals.of(&key("a").service, 60_000), Some((10_000, Vec::new())));
        assert_eq!(removals.of(&key("a").service, 20_000 + KEEP_MS), Some((20_000, Vec::new())));
    }

    #[test]
    fn a_removal_that_is_dated_ahead_keeps_none_behind_it() {
        let removals = Removals::default();
        removals.start(0);
        removals.note(&key("a"), 3_600_000, 1_000);
        removals.note(&key("b"), 2_000, 2_000);
        assert_eq!(removals.of(&key("a").service, 1_500 + KEEP_MS), Some((1_500, vec![(key("b"), 2_000)])));
    }
}
