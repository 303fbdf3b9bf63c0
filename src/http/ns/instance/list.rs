//! GET `list`: the instances of a service (`spec/instance-api.md` 5.6).

use std::sync::Arc;

use bytes::Bytes;

use super::host;
use crate::error::Result;
use crate::http::call::{App, Call, Named, Step};
use crate::model::Instance;
use crate::registry::{ListKey, Service, Slot, View};
use crate::wire::checksum::checksum;
use crate::wire::list::{ListShape, unknown_service};
use crate::wire::number;

/// GET `list`.
///
/// # Errors
/// Faulty parameters.
pub fn list(call: &Call<'_>) -> Result<Step> {
    list_of(call, call.service()?)
}

/// The list of that service.
///
/// # Errors
/// Faulty parameters.
pub fn list_of(call: &Call<'_>, named: Named<'_>) -> Result<Step> {
    call.integer_or("udpPort", 0)?;
    let flag = |name| call.params.given(name).is_some_and(number::strict_bool);
    let key = ListKey {
        grouped_names: call.agent().is_modern_java(),
        healthy_only: flag("healthyOnly"),
        // They may keep it longer when they are pushed to; so far nobody is.
        cache_ms: u64::try_from(call.switches.default_cache_millis).unwrap_or_default(),
        clusters: call.params.optional("clusters", ""),
    };
    let Some(service) = named.find(&call.app.registry) else {
        return Step::json(unknown_service(&named.name, key.clusters, key.cache_ms));
    };
    let env = call.params.optional("env", "");
    if flag("isCheck") && !chosen(&service.view().hold(), key.clusters).is_empty() {
        return Step::json("{}");
    }
    if !env.is_empty() {
        return Step::json(build(call.app, &service, &service.view(), &key, env));
    }
    if let Some(known) = service.list(&key) {
        return Step::json(known);
    }
    let view = service.view();
    let bytes = build(call.app, &service, &view, &key, env);
    service.keep_list(&view, &key, &bytes);
    Step::json(bytes)
}

type Held = (Arc<Slot>, Arc<Instance>);

/// The instances of the clusters asked for (names with commas; none: all), in their order.
fn chosen<'h>(all: &'h [Held], clusters: &str) -> Vec<&'h Held> {
    if clusters.is_empty() {
        return all.iter().collect();
    }
    let names = clusters.split(',').filter(|name| !name.is_empty());
    names.flat_map(|name| all.iter().filter(move |(slot, _)| **slot.cluster() == *name)).collect()
}

fn build(app: &App, service: &Service, view: &View, key: &ListKey<'_>, env: &str) -> Bytes {
    let all = view.hold();
    let held = chosen(&all, key.clusters);
    let name = &service.key().name;
    let list = ListShape {
        service: name,
        grouped_names: key.grouped_names,
        cache_millis: key.cache_ms,
        last_ref_time_ms: service.ref_ms(view, app.wall_now_ms()) as i64,
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

/// The checksum of the service as it is now.
pub(in crate::http::ns) fn checksum_of(service: &Service) -> Arc<str> {
    let view = service.view();
    service.checksum(&view, || made_checksum(&service.key().name, &view, &view.hold()))
}

/// The checksum of the whole service, whatever clusters are asked for.
fn made_checksum(name: &str, view: &View, all: &[Held]) -> String {
    let clusters: Vec<_> = view.clusters.iter().map(|(name, settings)| (&**name, &**settings)).collect();
    let hosts: Vec<_> = all.iter().map(host).collect();
    checksum(name, view.settings.protect_threshold, &clusters, &hosts)
}
