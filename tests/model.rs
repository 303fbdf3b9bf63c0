//! Registry, store and commit together against a plain map, over restarts.
//!
//! Random commands, one at a time or many that meet in one batch, beats, clean stops and kills. After every step each
//! command must have the answer that the map has, and the registry must hold what the map holds: every instance with
//! all its properties and the time of its last beat, settings, clusters, counts, and the rows that have to be stored.
//!
//! `PROPTEST_CASES=2000 cargo test --release --test model` runs more cases than the default.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "all of it is test code; clippy.toml only knows functions marked as tests"
)]

#[path = "model/reference.rs"]
mod reference;
#[path = "model/steps.rs"]
mod steps;
#[path = "model/world.rs"]
mod world;

use std::collections::BTreeSet;

use nacre::error::Error;
use nacre::model::command::{Command, Outcome};
use nacre::model::{Row, ServiceKey, ServiceSettings};
use nacre::registry::Registry;
use nacre::store::Durability;
use proptest::prelude::*;
use proptest::test_runner::TestCaseResult;
use reference::{Answer, Reference};
use steps::{Op, Step};
use world::World;

/// Cases of a property unless `PROPTEST_CASES` says otherwise.
const CASES: u32 = 64;

fn cases() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(CASES);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// The service whose change keeps the committer busy while a group gathers; no random command names it.
fn gate() -> ServiceKey {
    ServiceKey::new("gate", "g@@gate")
}

/// Whether the two answers are the same to a client. Where no rule gives the text, only the class counts.
fn same(expected: &Answer, actual: &Result<Outcome, Error>) -> bool {
    match (expected, actual) {
        (Answer::Done, Ok(Outcome::Done)) => true,
        (Answer::Updated(expected), Ok(Outcome::Updated(actual))) => {
            // Persistent ones come first; the order within a kind is free, but nothing is named twice.
            let named: BTreeSet<_> = actual.iter().cloned().collect();
            actual.is_sorted_by_key(|key| key.ephemeral) && named.len() == actual.len() && named == *expected
        }
        (Answer::Input(expected), Err(Error::Input(actual))) => expected == actual,
        (Answer::Refused(expected), Err(Error::Refused(actual))) => expected.as_ref().is_none_or(|text| text == actual),
        (Answer::TooLarge, Err(Error::Input(_) | Error::Limit(_))) => true,
        _ => false,
    }
}

/// A running system and the map it is compared with.
struct Pair {
    world: World,
    reference: Reference,
}

impl Pair {
    fn new(durability: Durability, batch_rows: usize) -> Self {
        let world = World::start(durability, batch_rows);
        let mut pair = Self { world, reference: Reference::default() };
        let command = Command::CreateService(gate(), ServiceSettings::default());
        pair.compare(vec![command.clone()], vec![pair.world.run(command)]).unwrap();
        pair
    }

    /// The command of an operation, given when the last beat was *before* the step.
    fn command(&self, op: Op) -> Command {
        match op {
            Op::Plain(command) => command,
            Op::Fade { key, stale } => Command::Fade { last_beat_ms: self.reference.last_beat_ms(&key) - stale, key },
            Op::Expire { key, stale } => {
                Command::Expire { last_beat_ms: self.reference.last_beat_ms(&key) - stale, key }
            }
        }
    }

    fn compare(&mut self, commands: Vec<Command>, answers: Vec<Result<Outcome, Error>>) -> TestCaseResult {
        prop_assert_eq!(commands.len(), answers.len());
        for (command, answer) in commands.iter().zip(answers) {
            let expected = self.reference.apply(command, self.world.now_ms());
            prop_assert!(same(&expected, &answer), "{command:?}\n  expected {expected:?}\n  answered {answer:?}");
        }
        Ok(())
    }

    fn step(&mut self, step: Step) -> TestCaseResult {
        self.world.advance();
        match step {
            Step::One(op) => {
                let command = self.command(op);
                let answer = self.world.run(command.clone());
                self.compare(vec![command], vec![answer])?;
            }
            Step::Together(ops) => {
                let first = Command::UpdateService(gate(), ServiceSettings::default());
                let commands: Vec<_> = ops.into_iter().map(|op| self.command(op)).collect();
                let answers = self.world.together(first, commands.clone());
                self.compare(commands, answers)?;
            }
            Step::Beat(key) => {
                let found = self.world.registry().find(&key).inspect(|slot| slot.touch(self.world.now_ms()));
                prop_assert_eq!(found.is_some(), self.reference.beat(&key, self.world.now_ms()));
            }
            Step::Restart { kill } => {
                let report = self.world.restart(kill);
                match self.world.durability() {
                    Durability::Off => self.reference = Reference::default(),
                    _ => self.reference.restart(self.world.now_ms()),
                }
                prop_assert_eq!((report.damage, report.skipped_rows), (None, 0));
                prop_assert_eq!(report.rows as usize, self.reference.rows().len());
                if self.world.durability() == Durability::Off {
                    let command = Command::CreateService(gate(), ServiceSettings::default());
                    let answer = self.world.run(command.clone());
                    self.compare(vec![command], vec![answer])?;
                }
            }
        }
        self.check()
    }

    fn check(&self) -> TestCaseResult {
        let registry = self.world.registry();
        prop_assert_eq!(&Reference::of(registry), &self.reference);
        prop_assert_eq!(Reference::rows_of(registry), self.reference.rows());
        prop_assert_eq!(registry.service_count(), self.reference.service_count());
        prop_assert_eq!(registry.instance_count(), self.reference.instance_count());
        prop_assert_eq!(self.world.failure(), None);
        Ok(())
    }
}

fn durabilities() -> impl Strategy<Value = Durability> {
    prop_oneof![
        4 => Just(Durability::Written),
        4 => Just(Durability::Synced),
        2 => Just(Durability::Interval),
        1 => Just(Durability::Off),
    ]
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn registry_store_and_commit_are_a_map_that_survives_restarts(
        durability in durabilities(),
        batch_rows in prop_oneof![1 => 1..4_usize, 3 => Just(1_000)],
        steps in steps::steps(),
    ) {
        let mut pair = Pair::new(durability, batch_rows);
        for step in steps {
            pair.step(step)?;
        }
        pair.step(Step::Restart { kill: true })?;
        pair.step(Step::Restart { kill: false })?;
    }

    #[test]
    fn rows_of_different_keys_commute((before, rows, shuffled) in steps::independent_rows()) {
        let applied = |rows: &[(Row, bool)]| {
            let registry = Registry::default();
            for row in &before {
                registry.apply(row.clone(), 1, true);
            }
            let changed = rows.iter().filter(|(row, renew)| registry.apply(row.clone(), 2, *renew).is_some()).count();
            let counts = (registry.service_count(), registry.instance_count());
            (Reference::of(&registry), Reference::rows_of(&registry), counts, changed)
        };
        prop_assert_eq!(applied(&rows), applied(&shuffled));
    }
}
