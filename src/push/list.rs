//! The instances of a service as clients are told: in answers to their queries (`spec/instance-api.md` 5.6) and in
//! datagrams, so that both always say the same.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::model::Instance;
use crate::registry::{ListKey, Service, Slot, View};
use crate::wire::checksum::checksum;
use crate::wire::instance::Host;
use crate::wire::list::ListShape;

/// An instance of a consistent state.
type Held = (Arc<Slot>, Arc<Instance>);

/// The instance as answers show it.
pub fn host((slot, instance): &Held) -> Host<'_> {
    Host { cluster: slot.cluster(), ip: slot.ip(), port: slot.port(), ephemeral: slot.is_ephemeral(), instance }
}

/// The list for `key`, built once for each state of the service. `now_ms` is the time since 1970.
pub fn list(service: &Service, key: &ListKey<'_>, now_ms: impl FnOnce() -> u64) -> Bytes {
    if let Some(known) = service.list(key) {
        return known;
    }
    let view = service.view();
    let bytes = build(service, &view, key, "", now_ms());
    service.keep_list(&view, key, &bytes);
    bytes
}

/// The list of one state with the parameter `env` echoed.
pub fn build(service: &Service, view: &View, key: &ListKey<'_>, env: &str, now_ms: u64) -> Bytes {
    let all = view.hold();
    let held = chosen(&all, key.clusters);
    let name = &service.key().name;
    let list = ListShape {
        service: name,
        grouped_names: key.grouped_names,
        cache_millis: key.cache_ms,
        last_ref_time_ms: service.ref_ms(view, now_ms) as i64,
        checksum: &service.checksum(view, || made_checksum(name, view, &all)),
        clusters: key.clusters,
        env,
        metadata: &view.settings.metadata,
    };
    if held.is_empty() {
        return list.empty().into();
    }
    let healthy = held.iter().filter(|(_, instance)| instance.healthy).count();
    // Both as 32-bit floats: 3 of 5 reach 0.6.
    let protected = healthy as f32 / held.len() as f32 <= view.settings.protect_threshold;
    let shown = |wanted: bool| {
        let fits = move |one: &&&Held| one.1.enabled && (protected || one.1.healthy) == wanted;
        held.iter().filter(fits).map(move |one| (host(one), wanted))
    };
    let unhealthy = shown(false).filter(|_| !key.healthy_only);
    list.full(unhealthy.chain(shown(true))).into()
}

/// How often a cluster may be asked for in one list.
const MAX_REPEATS: u8 = 2;

/// The instances of the clusters asked for (names with commas; none: all), in their order. A name given twice gives its
/// instances twice, as in the reference; more often it counts no more: one request must not multiply a list at will.
pub fn chosen<'h>(all: &'h [Held], clusters: &str) -> Vec<&'h Held> {
    if clusters.is_empty() {
        return all.iter().collect();
    }
    let mut by_name: HashMap<&str, (u8, Vec<&Held>)> = HashMap::new();
    for held in all {
        by_name.entry(held.0.cluster()).or_default().1.push(held);
    }
    let mut chosen = Vec::new();
    for name in clusters.split(',') {
        if let Some((times, members)) = by_name.get_mut(name)
            && *times < MAX_REPEATS
        {
            *times += 1;
            chosen.extend_from_slice(members);
        }
    }
    chosen
}

/// The checksum of the service as it is now.
pub fn checksum_of(service: &Service) -> Arc<str> {
    let view = service.view();
    service.checksum(&view, || made_checksum(&service.key().name, &view, &view.hold()))
}

/// The checksum of the whole service, whatever clusters are asked for.
fn made_checksum(name: &str, view: &View, all: &[Held]) -> String {
    let clusters: Vec<_> = view.clusters.iter().map(|(name, settings)| (&**name, &**settings)).collect();
    let hosts: Vec<_> = all.iter().map(host).collect();
    checksum(name, view.settings.protect_threshold, &clusters, &hosts)
}
