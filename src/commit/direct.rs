//! The write path without threads and without a store: a command is carried out where it is asked for. For simulations,
//! which play the part of the store with the rows they get back.

use super::batch::Batch;
use super::status::Status;
use super::{Origin, Request, resolve};
use crate::error::{Error, Result};
use crate::model::Row;
use crate::model::clock::Now;
use crate::model::command::{Command, Outcome};
use crate::registry::{Change, Registry};

/// What came of a command.
pub struct Done {
    /// What a store would have to hold.
    pub rows: Vec<Row>,
    /// What listeners would be told.
    pub changes: Vec<Change>,
    /// Whose changes those are.
    pub origin: Origin,
    /// What the one who asked would be told.
    pub outcome: Result<Outcome>,
}

/// Carries `command` out.
pub fn carry_out(registry: &Registry, command: Command, now: Now) -> Done {
    let resolved = resolve::resolve(registry, &command, now);
    let outcome = match &resolved {
        Ok(resolved) => resolved.outcome.clone(),
        Err(error) => Err::<Outcome, Error>(error.clone()),
    };
    let mut batch = Batch::default();
    batch.push(Request { command, waiter: None, agreed: None }, resolved, registry, now);
    let (rows, origin) = (batch.rows().to_vec(), batch.origin());
    let (changes, _) = batch.apply(registry, now, None, &Status::default());
    Done { rows, changes, origin, outcome }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::model::peer::{Datum, Merge, Removed, Told, Trace};
    use crate::model::{Instance, InstanceKey, ServiceKey};

    const START: Now = Now { awake_ms: 1_000_000, wall_ms: 5_000_000 };

    fn later(ms: u64) -> Now {
        Now { awake_ms: START.awake_ms + ms, wall_ms: START.wall_ms + ms }
    }

    fn key() -> InstanceKey {
        let service = ServiceKey::new("public", "g@@s");
        InstanceKey { service, cluster: "DEFAULT".into(), ip: "10.0.0.1".into(), port: 80, ephemeral: true }
    }

    /// With one instance, registered at the start.
    fn registry() -> Registry {
        let registry = Registry::default();
        registry.removals().start(START.wall_ms);
        carry_out(&registry, Command::Register(key(), Instance::default()), START).outcome.unwrap();
        registry
    }

    fn told(healthy: bool, changed_ms: u64, heard_after_ms: u64, from_owner: bool) -> Command {
        let trace = Some(Trace { changed_ms, heard_ms: Some(START.wall_ms + heard_after_ms) });
        let instance = Arc::new(Instance { healthy, ..Instance::default() });
        let told = Told { key: key(), instance, last_beat_ms: 0, trace };
        let datum = Datum { service: key().service, told: vec![told], removed: None };
        Command::Merge(vec![Merge { datum, whole: false, from_owner }])
    }

    fn removal(removed_ms: u64, from_owner: bool) -> Command {
        let removed = Some(Removed { since_ms: 0, keys: vec![(key(), removed_ms)], ..Removed::default() });
        let datum = Datum { service: key().service, told: Vec::new(), removed };
        Command::Merge(vec![Merge { datum, whole: false, from_owner }])
    }

    #[test]
    fn silence_does_not_count_as_a_change_and_a_removal_by_it_is_dated_back() {
        let registry = registry();
        let slot = registry.find(&key()).unwrap();
        let last_beat_ms = slot.last_beat_ms();
        carry_out(&registry, Command::Fade { key: key(), last_beat_ms }, later(16_000));
        assert!(!slot.instance().healthy && slot.changed_ms() == START.wall_ms);
        carry_out(&registry, Command::Expire { key: key(), last_beat_ms }, later(32_000));
        assert!(slot.is_gone());
        assert_eq!(registry.removals().when(&key()), Some(START.wall_ms + 8_000));
    }

    /// What is stored says the same as what is in memory.
    #[test]
    fn rows_say_when_instances_were_changed() {
        let registry = Registry::default();
        let run = |command: Command, at: Now| {
            let rows = carry_out(&registry, command, at).rows;
            let stamps: Vec<u64> = rows
                .iter()
                .map(|row| match row {
                    Row::Instance(_, Some(instance)) => instance.changed_ms,
                    other => panic!("{other:?}"),
                })
                .collect();
            assert_eq!(stamps, [registry.find(&key()).unwrap().changed_ms()]);
            stamps[0]
        };
        let with = |app: &str| Instance { app: Some(app.into()), changed_ms: 9, ..Instance::default() };
        let wall_ms = START.wall_ms;
        assert_eq!(run(Command::Register(key(), with("a")), START), wall_ms);
        assert_eq!(run(Command::Register(key(), with("b")), START), wall_ms + 1);
        let last_beat_ms = registry.find(&key()).unwrap().last_beat_ms();
        assert_eq!(run(Command::Fade { key: key(), last_beat_ms }, later(16_000)), wall_ms + 1);
        assert_eq!(run(Command::Heal(key()), later(17_000)), wall_ms + 1);
        assert_eq!(run(told(true, wall_ms + 18_000, 0, false), later(18_500)), wall_ms + 18_000);
        assert_eq!(run(Command::Register(key(), with("a")), later(17_000)), wall_ms + 18_001);
        let done = carry_out(&registry, Command::Register(key(), with("a")), later(20_000));
        assert!(done.rows.is_empty(), "the same again");
        let persistent = InstanceKey { ephemeral: false, ..key() };
        let rows = carry_out(&registry, Command::Register(persistent, Instance::default()), START).rows;
        assert!(matches!(&rows[..], [_, Row::Instance(_, Some(one))] if one.changed_ms == 0), "{rows:?}");
    }

    #[test]
    fn who_hears_a_client_knows_better_than_the_owner_that_it_lives() {
        let registry = registry();
        let slot = registry.find(&key()).unwrap();
        slot.touch(START.awake_ms + 20_000);
        let done = carry_out(&registry, told(false, START.wall_ms, 0, true), later(25_000));
        assert_eq!(done.outcome.unwrap(), Outcome::Merged(vec![key()]), "the owner should hear of it");
        assert!(slot.instance().healthy);
        carry_out(&registry, told(false, START.wall_ms, 0, true), later(40_000));
        assert!(!slot.instance().healthy, "nothing was heard for 20 s");
        carry_out(&registry, told(true, START.wall_ms, 11_000, false), later(41_000));
        assert!(!slot.instance().healthy, "nobody has heard anything newer");
        carry_out(&registry, told(true, START.wall_ms, 40_000, false), later(42_000));
        assert!(slot.instance().healthy && slot.last_beat_ms() == START.awake_ms + 40_000);
    }

    #[test]
    fn who_was_set_unhealthy_is_so_everywhere_until_a_later_beat() {
        for from_owner in [true, false] {
            let registry = registry();
            let slot = registry.find(&key()).unwrap();
            slot.touch(START.awake_ms + 20_000);
            carry_out(&registry, told(false, START.wall_ms + 21_000, 20_000, from_owner), later(21_100));
            assert!(!slot.instance().healthy, "the beat was before");
            let registry = self::registry();
            let slot = registry.find(&key()).unwrap();
            slot.touch(START.awake_ms + 24_000);
            carry_out(&registry, told(false, START.wall_ms + 21_000, 20_000, from_owner), later(25_000));
            assert!(slot.instance().healthy, "it has beaten since");
        }
    }

    #[test]
    fn a_copy_that_its_owner_vouched_for_outlives_the_verdict_of_others() {
        let registry = registry();
        carry_out(&registry, removal(START.wall_ms + 8_000, false), later(32_000));
        assert!(registry.find(&key()).is_none(), "nothing was heard since");
        let registry = self::registry();
        registry.find_service(&key().service).unwrap().vouch(START.awake_ms + 30_000);
        carry_out(&registry, removal(START.wall_ms + 8_000, false), later(32_000));
        assert!(registry.find(&key()).is_some(), "it was healthy 2 s ago: it beat within the 16 s before");
        carry_out(&registry, removal(START.wall_ms + 31_000, false), later(32_000));
        assert!(registry.find(&key()).is_none(), "that was later");
    }
}
