//! Services that have become empty go after a while (`spec/health.md` 4). Pure: `tick`.

use std::collections::HashMap;

use crate::model::ServiceKey;
use crate::model::command::Command;
use crate::registry::{Registry, Service};

/// A service goes at the round that finds it empty after this many found it empty before.
const ROUNDS: u32 = 4;

/// Counts rounds in which services were empty.
pub struct Sweep {
    next_ms: u64,
    period_ms: u64,
    empty_rounds: HashMap<ServiceKey, u32>,
}

impl Sweep {
    /// The first round comes `delay_ms` after `now_ms`, the others every `period_ms`.
    pub fn new(now_ms: u64, delay_ms: u64, period_ms: u64) -> Self {
        Self { next_ms: now_ms + delay_ms, period_ms: period_ms.max(1), empty_rounds: HashMap::new() }
    }

    /// The removals that are due at `now_ms`. The committer looks once more whether a service is still empty. A service that
    /// is stored goes everywhere at once, and only its owner wants it to; of others each server keeps its own books.
    pub fn tick(&mut self, now_ms: u64, registry: &Registry, is_owner: &dyn Fn(&str) -> bool) -> Vec<Command> {
        if now_ms < self.next_ms {
            return Vec::new();
        }
        self.next_ms = now_ms + self.period_ms;
        let before = std::mem::take(&mut self.empty_rounds);
        let mut due = Vec::new();
        let is_ours = |service: &Service| !service.is_stored() || is_owner(&service.key().name);
        for service in registry.services().into_iter().filter(|service| service.is_empty() && is_ours(service)) {
            let rounds = before.get(service.key()).copied().unwrap_or(0);
            if rounds >= ROUNDS {
                due.push(Command::CleanService(service.key().clone()));
            }
            self.empty_rounds.insert(service.key().clone(), rounds + 1);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::{Instance, InstanceKey, Row};

    fn key(name: &str) -> ServiceKey {
        ServiceKey::new("public", name)
    }

    fn instance(name: &str) -> InstanceKey {
        let service = key(name);
        InstanceKey { service, cluster: "DEFAULT".into(), ip: "1.1.1.1".into(), port: 80, ephemeral: true }
    }

    fn all(_: &str) -> bool {
        true
    }

    fn names(commands: Vec<Command>) -> Vec<String> {
        let name = |command| match command {
            Command::CleanService(key) => key.name.to_string(),
            other => panic!("{other:?}"),
        };
        commands.into_iter().map(name).collect()
    }

    #[test]
    fn the_fifth_empty_round_in_a_row_removes() {
        let registry = Registry::default();
        registry.ensure_service(&key("g@@empty"));
        let used = Row::Instance(instance("g@@used"), Some(Arc::new(Instance::default())));
        registry.apply(used, 0, true);
        let mut sweep = Sweep::new(0, 50_000, 30_000);
        assert_eq!(names(sweep.tick(49_999, &registry, &all)), [] as [&str; 0]);
        for round in 0..4 {
            assert_eq!(names(sweep.tick(50_000 + round * 30_000, &registry, &all)), [] as [&str; 0], "round {round}");
        }
        assert_eq!(names(sweep.tick(169_999, &registry, &all)), [] as [&str; 0]);
        assert_eq!(names(sweep.tick(170_000, &registry, &all)), ["g@@empty"]);
    }

    #[test]
    fn an_instance_in_between_starts_the_count_again() {
        let registry = Registry::default();
        registry.ensure_service(&key("g@@s"));
        let mut sweep = Sweep::new(0, 0, 1);
        for now in 0..4 {
            assert!(sweep.tick(now, &registry, &all).is_empty());
        }
        registry.apply(Row::Instance(instance("g@@s"), Some(Arc::new(Instance::default()))), 0, true);
        assert!(sweep.tick(4, &registry, &all).is_empty());
        registry.apply(Row::Instance(instance("g@@s"), None), 0, true);
        for now in 5..9 {
            assert!(sweep.tick(now, &registry, &all).is_empty());
        }
        assert_eq!(names(sweep.tick(9, &registry, &all)), ["g@@s"]);
    }

    #[test]
    fn what_is_stored_is_removed_by_its_owner_alone() {
        let registry = Registry::default();
        registry.ensure_service(&key("g@@passing"));
        registry.apply(Row::Service(key("g@@stored"), Some(Arc::default())), 0, true);
        let mut sweep = Sweep::new(0, 0, 1);
        for now in 0..10 {
            let due = names(sweep.tick(now, &registry, &|_| false));
            assert!(due.iter().all(|name| name == "g@@passing"), "{due:?}");
        }
        for now in 10..14 {
            sweep.tick(now, &registry, &|name| name == "g@@stored");
        }
        let mut due = names(sweep.tick(14, &registry, &|name| name == "g@@stored"));
        due.sort();
        assert_eq!(due, ["g@@passing", "g@@stored"]);
    }
}
