//! What lists of peers come to: their difference to what is there, instance by instance.
//!
//! Of two copies of an instance the one that was changed later counts. An instance that only one side has was either
//! taken out by the other or never known to it; removals are remembered for a while, and that decides. So two servers
//! that both think they own a service, and one that comes back with its own store, lose nothing of what is alive
//! (`spec/distro.md` 8 and 12; nacos issues 10323, 7734, 15857). Lists of other servers say less ([`Trace`] is missing): of
//! those the owner's word counts, and others can only add what is not known yet.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Resolved, Step, check_service_name, check_size};
use crate::model::clock::Now;
use crate::model::command::Outcome;
use crate::model::peer::{Merge, Told, Trace};
use crate::model::{Instance, InstanceKey, Row, ServiceKey};
use crate::registry::{Registry, Service, Slot, is_cluster_name};

/// By so much two servers may differ on when a client was heard of: their clocks differ, and messages take time.
const SKEW_MS: u64 = 1_000;

/// Takes in lists. What no server may hold (names, sizes) is left out.
pub(super) fn merge(registry: &Registry, merges: &[Merge], now: Now) -> Resolved {
    let mut taking = Taking { registry, now, steps: Vec::new(), back: Vec::new() };
    for merge in merges {
        taking.list(merge);
    }
    Resolved { steps: taking.steps, outcome: Ok(Outcome::Merged(taking.back)) }
}

struct Taking<'a> {
    registry: &'a Registry,
    now: Now,
    steps: Vec<Step>,
    /// What the sender should hear of.
    back: Vec<InstanceKey>,
}

impl Taking<'_> {
    fn list(&mut self, merge: &Merge) {
        let datum = &merge.datum;
        let service = self.registry.find_service(&datum.service);
        if service.is_none() && check_service_name(&datum.service.name).is_err() {
            tracing::debug!(service = &*datum.service.name, "a peer told of a service that nobody may make");
            return;
        }
        let has_service = datum.removed.as_ref().is_none_or(|removed| !removed.service_too);
        if service.is_none() && datum.told.is_empty() && merge.whole && has_service {
            self.steps.push(Step::Ensure(datum.service.clone()));
        }
        for told in &datum.told {
            self.told(merge, told, service.as_deref());
        }
        for (key, removed_ms) in datum.removed.iter().flat_map(|removed| &removed.keys) {
            self.removed(merge, key, *removed_ms, service.as_deref());
        }
        if let Some(service) = service.filter(|_| merge.whole) {
            self.absent(merge, &service);
        }
    }

    fn told(&mut self, merge: &Merge, told: &Told, service: Option<&Service>) {
        let key = &told.key;
        if !key.ephemeral && key.service == merge.datum.service {
            return self.persistent(merge, told, service);
        }
        let fits = key.ephemeral && key.service == merge.datum.service && is_cluster_name(&key.cluster);
        if !fits || check_size(&Row::Instance(key.clone(), Some(told.instance.clone()))).is_err() {
            tracing::debug!(service = &*key.service.name, ip = &*key.ip, "a peer told of an instance that can't be");
            return;
        }
        match service.and_then(|service| service.find(&key.cluster, &key.ip, key.port, true)) {
            Some(slot) => self.known(merge, told, &slot),
            None => self.unknown(merge, told),
        }
    }

    /// What a persistent instance is, is agreed on; how healthy, its owner finds out.
    fn persistent(&mut self, merge: &Merge, told: &Told, service: Option<&Service>) {
        let key = &told.key;
        let found = service.and_then(|service| service.find(&key.cluster, &key.ip, key.port, false));
        let Some(slot) = found.filter(|_| merge.from_owner && told.trace.is_some()) else { return };
        let (mine, healthy) = (slot.instance(), told.instance.healthy);
        if mine.healthy != healthy {
            let row = Row::Instance(key.clone(), Some(Arc::new(Instance { healthy, ..(*mine).clone() })));
            self.steps.push(Step::Told { row, changed_ms: slot.changed_ms(), heard_ms: 0 });
        }
    }

    /// An instance that is not here.
    fn unknown(&mut self, merge: &Merge, told: &Told) {
        let removed_ms = self.registry.removals().when(&told.key);
        let lived = |alive_ms: u64| removed_ms.is_none_or(|removed_ms| alive_ms > removed_ms);
        let welcome = match told.trace {
            Some(trace) => lived(self.alive_ms(trace)),
            None if merge.from_owner => true,
            // Whoever is silent for longer is not brought back by a copy.
            None => {
                let silent_ms = self.now.wall_ms.saturating_sub(told.last_beat_ms);
                silent_ms <= told.instance.delete_timeout_ms() && lived(told.last_beat_ms)
            }
        };
        if welcome {
            self.put(told, told.instance.clone());
        } else if merge.from_owner {
            self.back.push(told.key.clone());
        }
    }

    /// An instance that is here as well.
    fn known(&mut self, merge: &Merge, told: &Told, slot: &Slot) {
        let mine = slot.instance();
        let changed_ms = told.trace.map(|trace| trace.changed_ms);
        let newer = match changed_ms {
            Some(changed_ms) if changed_ms == slot.changed_ms() => merge.from_owner,
            Some(changed_ms) => changed_ms > slot.changed_ms(),
            None => merge.from_owner,
        };
        let content = if newer { &told.instance } else { &mine };
        let changed_later = changed_ms.filter(|changed_ms| *changed_ms > slot.changed_ms());
        let healthy = self.healthy(merge, told, slot, changed_later);
        let instance = if content.healthy == healthy {
            content.clone()
        } else {
            Arc::new(Instance { healthy, ..(**content).clone() })
        };
        if merge.from_owner && told.trace.is_some() && *instance != *told.instance {
            self.back.push(told.key.clone());
        }
        let changed_ms = changed_ms.filter(|_| newer).unwrap_or(slot.changed_ms());
        if *mine == *instance {
            return self.heard(told, slot, changed_ms);
        }
        let heard_ms = self.heard_ms(told);
        self.steps.push(Step::Told { row: Row::Instance(told.key.clone(), Some(instance)), changed_ms, heard_ms });
    }

    /// The owner of the service says how healthy an instance is, and who changed it last; but who has heard of its client of
    /// late, and after that change, knows that it lives, whoever it is.
    fn healthy(&self, merge: &Merge, told: &Told, slot: &Slot, changed_later: Option<u64>) -> bool {
        let (late_ms, mine) = slot.with(|known| (known.beat_timeout_ms() / 3 * 2, known.healthy));
        let heard_ms = slot.last_beat_ms();
        let heard_here = heard_ms > 0
            && self.now.awake_ms.saturating_sub(heard_ms) <= late_ms
            && changed_later.is_none_or(|changed_ms| self.now.wall_of(heard_ms) > changed_ms.saturating_add(SKEW_MS));
        let heard_ms = told.trace.and_then(|trace| trace.heard_ms);
        let heard_there = heard_ms.is_some_and(|heard_ms| self.now.wall_ms.saturating_sub(heard_ms) <= late_ms);
        if merge.from_owner || changed_later.is_some() {
            told.instance.healthy || (mine && heard_here)
        } else {
            mine || (told.instance.healthy && heard_there)
        }
    }

    fn put(&mut self, told: &Told, instance: Arc<Instance>) {
        let (changed_ms, heard_ms) = (told.trace.map_or(0, |trace| trace.changed_ms), self.heard_ms(told));
        self.steps.push(Step::Told { row: Row::Instance(told.key.clone(), Some(instance)), changed_ms, heard_ms });
    }

    /// Only what is known of it is new.
    fn heard(&mut self, told: &Told, slot: &Slot, changed_ms: u64) {
        let heard_ms = self.heard_ms(told);
        if heard_ms > slot.last_beat_ms() || changed_ms != slot.changed_ms() {
            self.steps.push(Step::Trace { key: told.key.clone(), changed_ms, heard_ms });
        }
    }

    /// Awake time; 0: never.
    fn heard_ms(&self, told: &Told) -> u64 {
        let heard_ms = told.trace.and_then(|trace| trace.heard_ms);
        heard_ms.map_or(0, |heard_ms| self.now.awake_before(self.now.wall_ms.saturating_sub(heard_ms)))
    }

    /// Until when an instance is known to have lived, epoch ms.
    fn alive_ms(&self, trace: Trace) -> u64 {
        trace.changed_ms.max(trace.heard_ms.unwrap_or_default())
    }

    fn alive_here_ms(&self, service: &Service, slot: &Slot) -> u64 {
        let lived_ms = service.lived_ms(slot);
        let lived_ms = if lived_ms == 0 { 0 } else { self.now.wall_of(lived_ms) };
        slot.changed_ms().max(lived_ms)
    }

    /// Whether an instance that is here lived after `removed_ms`. Whoever is told that it did must find so too.
    fn outlived(&self, service: &Service, slot: &Slot, removed_ms: u64) -> bool {
        slot.changed_ms() > removed_ms || self.alive_here_ms(service, slot) > removed_ms.saturating_add(SKEW_MS)
    }

    fn removed(&mut self, merge: &Merge, key: &InstanceKey, removed_ms: u64, service: Option<&Service>) {
        if !key.ephemeral || key.service != merge.datum.service {
            return;
        }
        let found = service.and_then(|service| Some((service, service.find(&key.cluster, &key.ip, key.port, true)?)));
        match found {
            Some((service, slot)) if !self.outlived(service, &slot, removed_ms) => self.remove(key.clone(), removed_ms),
            Some(_) if merge.from_owner => self.back.push(key.clone()),
            Some(_) => {}
            None => self.steps.push(Step::WasRemoved(key.clone(), removed_ms)),
        }
    }

    fn remove(&mut self, key: InstanceKey, removed_ms: u64) {
        self.steps.push(Step::Told { row: Row::Instance(key, None), changed_ms: removed_ms, heard_ms: 0 });
    }

    /// Instances that are here and not in the whole list of the sender: it took them out, or it never knew them.
    fn absent(&mut self, merge: &Merge, service: &Service) {
        if !merge.from_owner {
            return;
        }
        let datum = &merge.datum;
        let named = datum.told.iter().map(|told| &told.key);
        let taken_out = datum.removed.iter().flat_map(|removed| removed.keys.iter().map(|(key, _)| key));
        let named: HashSet<&InstanceKey> = named.chain(taken_out).collect();
        let since_ms = datum.removed.as_ref().map(|removed| removed.since_ms);
        for slot in service.view().slots.iter().filter(|slot| slot.is_ephemeral()) {
            let key = slot.key(service.key());
            if named.contains(&key) {
                continue;
            }
            // It knows of all that it took out since then: what lived after that, it never knew.
            if since_ms.is_some_and(|since_ms| self.alive_here_ms(service, slot) >= since_ms) {
                self.back.push(key);
            } else {
                self.remove(key, self.alive_here_ms(service, slot));
            }
        }
    }
}

/// Takes over how healthy the owner says that instances are.
pub(super) fn health(registry: &Registry, service: &ServiceKey, told: &[(Box<str>, i32, bool)]) -> Resolved {
    let slots = registry.find_service(service).map(|service| service.view().slots).unwrap_or_default();
    let said: std::collections::HashMap<(&str, i32), bool> =
        told.iter().map(|(ip, port, healthy)| ((&**ip, *port), *healthy)).collect();
    let steps = slots.iter().filter_map(|slot| {
        let healthy = *said.get(&(slot.ip(), slot.port()))?;
        let mine = slot.instance();
        (mine.healthy != healthy).then(|| Step::Told {
            row: Row::Instance(slot.key(service), Some(Arc::new(Instance { healthy, ..(*mine).clone() }))),
            changed_ms: slot.changed_ms(),
            heard_ms: 0,
        })
    });
    Resolved { steps: steps.collect(), outcome: Ok(Outcome::Done) }
}
