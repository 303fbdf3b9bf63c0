//! All figures of the node on one page: Nacos' own names with their odd spellings, so that dashboards made for it work
//! (`spec/operator-api.md` 8, `spec/ecosystem.md` 5), and under `nacre_` what Nacos has no name for.

mod nacos;
mod own;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use parking_lot::Mutex;

use crate::cluster::Cluster;
use crate::cluster::members::Members;
use crate::commit::Commit;
use crate::config::Config;
use crate::consensus::Consensus;
use crate::error::Result;
use crate::health::figures::Figures as HealthFigures;
use crate::http::server::Server;
use crate::http::traffic::Traffic;
use crate::model::clock::AwakeClock;
use crate::push::Push;
use crate::registry::Registry;
use crate::store::{RestoreReport, StoreStats};
use crate::telemetry::page::Page;
use crate::telemetry::process::Watch;

/// Everything that has figures.
pub(super) struct Figures {
    pub(super) registry: Arc<Registry>,
    pub(super) commit: Commit,
    pub(super) store: Arc<StoreStats>,
    pub(super) restore: RestoreReport,
    pub(super) health: Arc<HealthFigures>,
    pub(super) push: Push,
    pub(super) traffic: Arc<Traffic>,
    pub(super) server: Server,
    pub(super) clock: AwakeClock,
    pub(super) process: Watch,
    pub(super) settings: Settings,
    pub(super) members: Arc<Members>,
    /// `None` for a server that stands alone.
    pub(super) cluster: Option<Arc<Cluster>>,
    /// The same.
    pub(super) group: Option<Consensus>,
    /// Held while a page is made: whoever asks often gets no more than one processor to himself.
    pub(super) making: Mutex<()>,
}

/// What was configured, as far as it is shown.
pub(super) struct Settings {
    durability: &'static str,
    on_failure: &'static str,
    queue_len: usize,
    max_connections: usize,
}

impl Settings {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            durability: config.store.durability.as_str(),
            on_failure: match config.store.on_failure {
                crate::config::OnFailure::Refuse => "refuse",
                crate::config::OnFailure::Memory => "memory",
            },
            queue_len: config.commit.queue_len,
            max_connections: config.http.max_connections,
        }
    }
}

/// Instances by kind and health.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Census {
    /// Ephemeral: healthy, not healthy.
    ephemeral: [u64; 2],
    /// Persistent: healthy, not healthy.
    persistent: [u64; 2],
}

fn census(registry: &Registry) -> Census {
    let mut census = Census::default();
    for service in registry.services() {
        service.any(|slot| {
            let kind = if slot.is_ephemeral() { &mut census.ephemeral } else { &mut census.persistent };
            let [healthy, unhealthy] = kind;
            *(if slot.with(|known| known.healthy) { healthy } else { unhealthy }) += 1;
            false
        });
    }
    census
}

impl Figures {
    /// The page as text.
    pub(super) fn page(&self) -> Result<String> {
        let _one_at_a_time = self.making.lock();
        let mut page = Page::default();
        nacos::show(self, &mut page);
        self.traffic.show(&mut page, self.clock.now_ms());
        own::show(self, &mut page);
        page.text()
    }

    /// Longest and average time in ms from a push to its acknowledgement in the last period of 15 s; -1 when there was
    /// none.
    fn push_costs_ms(&self) -> (f64, f64) {
        let costs = self.push.costs();
        (costs.max_ms.map_or(-1.0, |ms| ms as f64), costs.avg_ms.unwrap_or(-1.0))
    }
}

fn flag(is_so: bool) -> f64 {
    f64::from(u8::from(is_so))
}

fn load(counter: &std::sync::atomic::AtomicU64) -> u64 {
    counter.load(Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Instance, InstanceKey, Row, ServiceKey};

    #[test]
    fn instances_are_counted_by_kind_and_health() {
        let registry = Registry::default();
        for (port, ephemeral, healthy) in [(1, true, true), (2, true, true), (3, true, false), (4, false, false)] {
            let service = ServiceKey::new("public", "g@@s");
            let key = InstanceKey { service, cluster: "c".into(), ip: "10.0.0.1".into(), port, ephemeral };
            let instance = Instance { healthy, ..Instance::default() };
            registry.apply(Row::Instance(key, Some(Arc::new(instance))), 0, true);
        }
        assert_eq!(census(&registry), Census { ephemeral: [2, 1], persistent: [0, 1] });
    }
}
