//! `/v1/ns/catalog`: the tables that consoles read (`spec/service-api.md` 4).

mod services;

pub use services::services;

use std::collections::HashSet;
use std::ops::Range;

use super::argument;
use super::service::not_found;
use crate::error::{Error, Result};
use crate::http::call::{App, Call, Step};
use crate::push::list::host;
use crate::registry::{Service, Slot};
use crate::wire::catalog::{self as shape, CheckTimes, ClusterPart, Listed};

/// GET `service`: settings of a service and its clusters.
///
/// # Errors
/// A missing name; an unknown service.
pub fn service(call: &Call<'_>) -> Result<Step> {
    let named = argument::service(call)?;
    let service = named.find(&call.app.registry).ok_or_else(|| not_found(&named))?;
    let view = service.view();
    let populated: HashSet<&str> = view.slots.iter().map(|slot| &**slot.cluster()).collect();
    let clusters = view.clusters.iter().map(|(name, settings)| ClusterPart {
        name,
        settings,
        empty: !populated.contains(&**name),
    });
    Step::json(shape::service(service.key(), &view.settings, clusters))
}

/// GET `instances`: a page of the instances of one cluster, persistent ones first, in order of ip and port.
///
/// # Errors
/// Missing or faulty parameters in the order of the reference; an unknown service or cluster; a negative size.
pub fn instances(call: &Call<'_>) -> Result<Step> {
    let named = argument::service(call)?;
    let cluster = argument::text(call, "clusterName")?;
    let (page_no, page_size) = (argument::integer(call, "pageNo")?, argument::integer(call, "pageSize")?);
    let service = named.find(&call.app.registry).ok_or_else(|| not_found(&named))?;
    if service.cluster(cluster).is_none() {
        return Err(Error::Refused(format!("cluster {cluster} is not found!")));
    }
    let mut slots = service.slots();
    slots.retain(|slot| **slot.cluster() == *cluster);
    slots.sort_unstable_by(|a, b| (a.is_ephemeral(), a.ip(), a.port()).cmp(&(b.is_ephemeral(), b.ip(), b.port())));
    let shown = slots.get(cut(page_no.into(), page_size.into(), slots.len())?).unwrap_or_default();
    let held: Vec<_> = shown.iter().map(|slot| (slot.clone(), slot.instance())).collect();
    let listed =
        held.iter().map(|one| Listed { host: host(one), last_beat_ms: last_beat_ms(call.app, &service, &one.0) });
    Step::json(shape::instances(&named.name, listed, slots.len()))
}

/// Epoch ms of the last beat. Slots know it in awake time, so time that this process or machine slept since then is
/// missing. An instance restored from the store has beaten, as far as anybody knows, at the restart.
fn last_beat_ms(app: &App, service: &Service, slot: &Slot) -> u64 {
    app.wall_now_ms().saturating_sub(app.clock.now_ms().saturating_sub(service.silent_from_ms(slot)))
}

/// What a page shows of `count` things; the page before the first is empty.
fn cut(page_no: i64, page_size: i64, count: usize) -> Result<Range<usize>> {
    if page_size < 0 {
        return Err(Error::Input(format!("pageSize must not be negative: {page_size}")));
    }
    let within = |at: i64| usize::try_from(at).unwrap_or_default().min(count);
    Ok(within((page_no - 1) * page_size)..within(page_no * page_size))
}

/// What a cluster shows that nobody checks: a pause that the reference could have chosen.
const UNCHECKED_MS: i64 = 2_000;

/// GET `rt/service`: how long the checks of the clusters take.
///
/// # Errors
/// A missing name; an unknown service.
pub fn response_times(call: &Call<'_>) -> Result<Step> {
    let named = call.service_unchecked()?;
    let unknown = || Error::Input("request service doesn't exist".into());
    let service = named.find(&call.app.registry).ok_or_else(unknown)?;
    let clusters = service.clusters();
    let times = clusters.iter().map(|cluster| {
        let (best_ms, worst_ms) = cluster.times.range_ms();
        let normalized_ms = cluster.times.smoothed_ms().unwrap_or(UNCHECKED_MS);
        CheckTimes { cluster: &cluster.name, best_ms, worst_ms, normalized_ms }
    });
    Step::json(shape::check_times(times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_of_instances() {
        assert_eq!((cut(1, 2, 3), cut(2, 2, 3)), (Ok(0..2), Ok(2..3)));
        assert_eq!((cut(3, 2, 3), cut(9, 2, 3)), (Ok(3..3), Ok(3..3)));
        assert_eq!((cut(0, 2, 3), cut(-5, 2, 3)), (Ok(0..0), Ok(0..0)));
        assert_eq!(cut(1, 0, 3), Ok(0..0));
        assert!(cut(1, -1, 3).is_err() && cut(1, -1, 0).is_err());
        let far = i64::from(i32::MAX);
        assert_eq!((cut(far, far, 3), cut(-far, far, 3)), (Ok(3..3), Ok(0..0)));
    }
}
