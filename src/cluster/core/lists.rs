//! Lists as members are told them, and their checksums.

use std::sync::Arc;

use super::Core;
use crate::cluster::ownership::View;
use crate::model::clock::Now;
use crate::model::peer::{Datum, Removed, Told, Trace};
use crate::model::{InstanceKey, ServiceKey};
use crate::push::list::host;
use crate::registry::{Registry, Service, Slot};
use crate::wire::distro::list_checksum;

/// Instances in one answer to who asks for lists by name, about; a list is never cut.
const MAX_FETCHED: usize = 200_000;

impl Core {
    /// `full`: with services that were emptied of late. Not with all that are empty: that one is deleted is agreed on
    /// elsewhere, perhaps just now, and who takes the list in would make it again.
    pub(super) fn snapshot(&self, full: bool, now: Now) -> Vec<Datum> {
        let services = self.registry.services();
        let filled = services.iter().filter(|service| service.has_ephemeral());
        let mut data: Vec<_> = filled.map(|s| whole(&self.registry, s, &self.view, now)).collect();
        if full {
            let emptied = self.registry.removals().services().into_iter();
            data.extend(emptied.filter_map(|key| match self.registry.find_service(&key) {
                Some(service) if service.has_ephemeral() => None,
                Some(service) => Some(whole(&self.registry, &service, &self.view, now)),
                None => Some(nothing(&self.registry, &key, now)),
            }));
        }
        data
    }

    /// Other servers get what is there; those of this kind are also told what is not, and why.
    pub(super) fn lists_of(&self, services: &[ServiceKey], full: bool, now: Now) -> Vec<Datum> {
        let of = |key: &ServiceKey| match self.registry.find_service(key) {
            Some(service) => Some(whole(&self.registry, &service, &self.view, now)),
            None => full.then(|| nothing(&self.registry, key, now)),
        };
        // Other servers ask for everything that differs at once, however much that is.
        let mut told = 0;
        let is_room = |datum: &Datum| {
            let before = told;
            told += datum.told.len();
            before < MAX_FETCHED
        };
        services.iter().filter_map(of).take_while(is_room).collect()
    }
}

/// All that is known of the ephemeral instances of a service.
pub(super) fn whole(registry: &Registry, service: &Service, view: &View, now: Now) -> Datum {
    let slots = service.view().slots;
    let ephemeral = slots.iter().filter(|slot| slot.is_ephemeral());
    let told = ephemeral.map(|slot| told(service, slot, view, now)).collect();
    Datum { service: service.key().clone(), told, removed: removed(registry, service.key(), now) }
}

/// A service that is not there.
pub(super) fn nothing(registry: &Registry, key: &ServiceKey, now: Now) -> Datum {
    let removed = removed(registry, key, now).map(|removed| Removed { service_too: true, ..removed });
    Datum { service: key.clone(), told: Vec::new(), removed }
}

/// What is known of some instances of a service, persistent ones too.
pub(super) fn some<'a>(
    registry: &Registry,
    key: &ServiceKey,
    instances: impl IntoIterator<Item = &'a InstanceKey>,
    view: &View,
    now: Now,
) -> Datum {
    let service = registry.find_service(key);
    let mut datum = Datum { service: key.clone(), told: Vec::new(), removed: None };
    let mut gone = Vec::new();
    for key in instances {
        let found = service.as_ref().and_then(|s| Some((s, s.find(&key.cluster, &key.ip, key.port, key.ephemeral)?)));
        match found {
            Some((service, slot)) => datum.told.push(told(service, &slot, view, now)),
            None => gone.extend(registry.removals().when(key).map(|removed_ms| (key.clone(), removed_ms))),
        }
    }
    if !gone.is_empty() {
        // Nothing follows for others: since when what is told is complete does not matter here.
        datum.removed = Some(Removed { since_ms: now.wall_ms, keys: gone, service_too: false });
    }
    datum
}

fn removed(registry: &Registry, key: &ServiceKey, now: Now) -> Option<Removed> {
    let known = registry.removals().of(key, now.wall_ms);
    known.map(|(since_ms, keys)| Removed { since_ms, keys, service_too: false })
}

fn told(service: &Service, slot: &Slot, view: &View, now: Now) -> Told {
    let key = slot.key(service.key());
    // A server that judges by it when it takes over must not find copies old (`spec/distro.md` 12).
    let is_owner = view.is_owner(&key.service.name);
    let last_beat_ms = if is_owner { now.wall_of(service.silent_from_ms(slot)) } else { now.wall_ms };
    let heard_ms = service.lived_ms(slot);
    let heard_ms = (heard_ms > 0).then(|| now.wall_of(heard_ms));
    let trace = Some(Trace { changed_ms: slot.changed_ms(), heard_ms });
    Told { key, instance: slot.instance(), last_beat_ms, trace }
}

/// The checksum of the ephemeral instances (`spec/distro.md` 7), computed once for each state.
pub(super) fn checksum(service: &Service) -> Arc<str> {
    service.list_checksum(|view| {
        let held = view.hold();
        let hosts: Vec<_> = held.iter().filter(|(slot, _)| slot.is_ephemeral()).map(host).collect();
        list_checksum(&hosts).into()
    })
}
