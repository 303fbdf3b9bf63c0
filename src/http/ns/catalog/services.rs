//! GET `services`: the table of services (`spec/service-api.md` 4.3).

use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;
use crate::http::call::{Call, Step};
use crate::http::ns::{argument, pattern::Pattern};
use crate::push::list::host;
use crate::registry::{Service, Slot};
use crate::wire::catalog::{self as shape, Line};

/// GET `services`: a page of the services of a namespace in numbers, or with all their instances.
///
/// # Errors
/// Missing or faulty parameters in the order of the reference.
pub fn services(call: &Call<'_>) -> Result<Step> {
    let with_instances = sent_boolean(call, "withInstances")?;
    let (page_no, page_size) = (argument::integer(call, "pageNo")?, argument::integer(call, "pageSize")?);
    let instances_only = sent_boolean(call, "hasIpCount")?;
    let filter = |name| call.params.raw(name).unwrap_or_default();
    let pattern = Pattern::of_parts(filter("groupNameParam"), filter("serviceNameParam"))?;
    let namespace = call.app.registry.namespace(call.namespace());
    let mut services = namespace.map(|namespace| namespace.services()).unwrap_or_default();
    services.retain(|service| pattern.matches(&service.key().name));
    if with_instances {
        let page = services.get(cut(page_no.into(), page_size.into(), services.len())).unwrap_or_default();
        return Step::json(in_full(page));
    }
    if instances_only {
        services.retain(|service| !service.is_empty());
    }
    if let Some(address) = call.params.given("instance") {
        services.retain(|service| service.any(|slot| is_at(slot, address)));
    }
    let shown = cut(i64::from(page_no) - 1, page_size.into(), services.len());
    let page = services.get(shown).unwrap_or_default();
    // As in the reference.
    let count = if page.is_empty() { 0 } else { services.len() };
    Step::json(in_numbers(page, count))
}

/// False when it is not sent; an empty one is an error.
fn sent_boolean(call: &Call<'_>, name: &str) -> Result<bool> {
    argument::boolean(call, name).map(Option::unwrap_or_default)
}

/// Whether `address` is the ip of an instance, or its `ip:port`.
fn is_at(slot: &Slot, address: &str) -> bool {
    match address.strip_prefix(slot.ip()) {
        Some("") => true,
        Some(rest) => rest.strip_prefix(':').is_some_and(|port| *port == slot.port().to_string()),
        None => false,
    }
}

/// What a page, counted from 0, shows of `count` things. A page that could hold all does, whatever its number; one
/// without size holds one thing: both as in the reference.
fn cut(page: i64, page_size: i64, count: usize) -> Range<usize> {
    let size = usize::try_from(page_size).unwrap_or_default();
    if page_size >= 0 && size >= count {
        return 0..count;
    }
    let start = usize::try_from(page * page_size).unwrap_or_default().min(count);
    start..start.saturating_add(size.max(1)).min(count)
}

fn in_numbers(page: &[Arc<Service>], count: usize) -> Vec<u8> {
    let lines = page.iter().map(|service| {
        let counts = service.counts();
        Line {
            key: service.key(),
            clusters: counts.clusters,
            instances: counts.instances,
            healthy: counts.healthy,
            protect_threshold: service.settings().protect_threshold,
        }
    });
    shape::services(lines, count)
}

fn in_full(page: &[Arc<Service>]) -> Vec<u8> {
    let mut out = vec![b'['];
    for (at, service) in page.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let view = service.view();
        let held = view.hold();
        // The view is in order of clusters: each has a run of its own.
        let of = |name: &str| {
            let start = held.partition_point(|(slot, _)| **slot.cluster() < *name);
            let end = held.partition_point(|(slot, _)| **slot.cluster() <= *name);
            held.get(start..end).unwrap_or_default().iter().map(host)
        };
        let clusters = view.clusters.iter().map(|(name, _)| (&**name, of(name)));
        shape::write_with_instances(service.key(), &view.settings.metadata, clusters, &mut out);
    }
    out.push(b']');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_services() {
        assert_eq!((cut(0, 2, 5), cut(1, 2, 5), cut(2, 2, 5)), (0..2, 2..4, 4..5));
        assert_eq!((cut(3, 2, 5), cut(-1, 2, 5)), (5..5, 0..2));
        assert_eq!((cut(9, 5, 5), cut(-9, 6, 5)), (0..5, 0..5), "all fit");
        assert_eq!((cut(0, 0, 5), cut(7, 0, 5), cut(0, -3, 5), cut(4, -3, 5)), (0..1, 0..1, 0..1, 0..1));
        assert_eq!((cut(-1, -3, 5), cut(-2, -3, 5)), (3..4, 5..5), "two negative numbers skip");
        assert_eq!((cut(0, 0, 0), cut(0, -1, 0)), (0..0, 0..0));
        let far = i64::from(i32::MAX);
        assert_eq!((cut(far, far - 1, 5), cut(far, 4, 5), cut(-far, -far, 5)), (0..5, 5..5, 5..5));
    }
}
