//! What a connection sends next. Pure: a [`Script`] knows only its instances, a seed and the answers it is told of.
//!
//! Every instance belongs to one connection, so no two requests about it are ever under way at once and what the
//! server must have is known exactly.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use fastrand::Rng;

use super::fleet::{Fleet, Kind};
use crate::config::flags::Scenario;

/// Of the clients in [`Scenario::Mixed`], in ms of their own time.
const BEAT_MS: u64 = 5_000;
/// A client that is pushed to polls each of its services this often.
const POLL_MS: u64 = 10_000;
/// Services that a client looks at.
const POLLED: u64 = 3;
/// From one start of a client to the next.
const LIFE_MS: u64 = 600_000;
/// From its deregistration to the next registration.
const AWAY_MS: u64 = 1_000;

/// What to do with a fleet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Register every instance once.
    Prepare,
    /// Deregister every instance once that may be there.
    Clean,
    /// Until told to end.
    Scenario(Scenario),
}

/// What the server should have of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Expect {
    /// Nobody asked for anything yet.
    #[default]
    Untouched,
    /// A registration was acknowledged last.
    Present,
    /// A deregistration was acknowledged last.
    Absent,
    /// The last request was answered with an error.
    Unknown,
    /// A request went unanswered and may still be carried out: nothing can be said any more.
    InDoubt,
}

impl Expect {
    /// After an answer to a registration, deregistration or full beat; `present` is what it asked for.
    #[must_use]
    pub fn acknowledged(self, present: bool) -> Self {
        match self {
            Self::InDoubt => Self::InDoubt,
            _ if present => Self::Present,
            _ => Self::Absent,
        }
    }

    /// After an error, of which the server said so itself or (`arrived`) not.
    #[must_use]
    pub fn failed(self, arrived: bool) -> Self {
        match self {
            Self::InDoubt => Self::InDoubt,
            _ if arrived => Self::InDoubt,
            _ => Self::Unknown,
        }
    }
}

/// The next request of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// What to ask for.
    pub kind: Kind,
    /// The instance, or the service of a list.
    pub number: u32,
    /// Its place among those of this connection; not for a list.
    pub slot: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Beat(u32),
    Poll(u32, u64),
    Leave(u32),
    Return(u32),
}

/// What one connection does.
#[derive(Debug)]
pub struct Script {
    work: Work,
    fleet: Fleet,
    first: u32,
    every: u32,
    own: u32,
    next: u32,
    rng: Rng,
    /// Of churn: what is registered, oldest first.
    held: VecDeque<u32>,
    /// Of mixed: what happens when, in ms of the clients' time.
    agenda: BinaryHeap<Reverse<(u64, Event)>>,
    lives: Vec<Life>,
    /// What clients do at once, before anything else.
    urgent: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Life {
    away: bool,
    light: bool,
}

impl Script {
    /// For connection `nth` of `connections`.
    pub fn new(work: Work, fleet: &Fleet, nth: u32, connections: u32, seed: u64) -> Self {
        let connections = connections.max(1);
        let own = fleet.instances.saturating_sub(nth).div_ceil(connections);
        let rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(nth));
        let mut script = Self {
            work,
            fleet: fleet.clone(),
            first: nth,
            every: connections,
            own,
            next: 0,
            rng,
            held: VecDeque::new(),
            agenda: BinaryHeap::new(),
            lives: Vec::new(),
            urgent: None,
        };
        if work == Work::Scenario(Scenario::Mixed) {
            script.plan_lives();
        }
        script
    }

    /// How many instances belong to the connection.
    pub fn own(&self) -> u32 {
        self.own
    }

    /// The instance at a place.
    pub fn instance(&self, slot: u32) -> u32 {
        self.first + slot * self.every
    }

    /// What comes next; `expect` is by place. `None` at the end of what is done once, or without any instance.
    pub fn next(&mut self, expect: &[Expect]) -> Option<Step> {
        if let Some(slot) = self.urgent.take() {
            return Some(self.step(Kind::Register, slot));
        }
        let Work::Scenario(scenario) = self.work else { return self.once(expect) };
        match scenario {
            Scenario::List => {
                let number = self.rng.u32(..self.fleet.services.max(1));
                Some(Step { kind: Kind::List, number, slot: 0 })
            }
            _ if self.own == 0 => None,
            Scenario::Register => Some(self.in_turn(Kind::Register)),
            Scenario::BeatFull => Some(self.in_turn(Kind::BeatFull)),
            Scenario::BeatLight => Some(self.in_turn(Kind::BeatLight)),
            Scenario::Churn => Some(self.churn()),
            Scenario::Mixed => self.mixed(),
        }
    }

    /// The server does not know an instance that beats: register it at once, as the Java client does; the next beat is
    /// a full one.
    pub fn forgotten(&mut self, slot: u32) {
        self.urgent = Some(slot);
        if let Some(life) = self.lives.get_mut(slot as usize) {
            life.light = false;
        }
    }

    fn step(&self, kind: Kind, slot: u32) -> Step {
        Step { kind, number: self.instance(slot), slot }
    }

    fn once(&mut self, expect: &[Expect]) -> Option<Step> {
        while self.next < self.own {
            let slot = self.next;
            self.next += 1;
            match (self.work, expect.get(slot as usize).copied().unwrap_or_default()) {
                (Work::Clean, Expect::Untouched | Expect::Absent) => {}
                (Work::Clean, _) => return Some(self.step(Kind::Deregister, slot)),
                _ => return Some(self.step(Kind::Register, slot)),
            }
        }
        None
    }

    fn in_turn(&mut self, kind: Kind) -> Step {
        let slot = self.next;
        self.next = (self.next + 1) % self.own.max(1);
        self.step(kind, slot)
    }

    /// Half of the instances are registered; then one comes and the oldest goes, in turn.
    fn churn(&mut self) -> Step {
        if self.held.len() as u32 > self.own / 2
            && let Some(slot) = self.held.pop_front()
        {
            return self.step(Kind::Deregister, slot);
        }
        let step = self.in_turn(Kind::Register);
        self.held.push_back(step.slot);
        step
    }

    /// All clients run already and are somewhere in their lives.
    fn plan_lives(&mut self) {
        self.lives = vec![Life::default(); self.own as usize];
        let mut agenda = Vec::with_capacity(self.own as usize * (2 + POLLED as usize));
        for slot in 0..self.own {
            agenda.push(Reverse((self.rng.u64(..BEAT_MS), Event::Beat(slot))));
            agenda.push(Reverse((self.rng.u64(..LIFE_MS), Event::Leave(slot))));
            agenda.extend((0..POLLED).map(|nth| Reverse((self.rng.u64(..POLL_MS), Event::Poll(slot, nth)))));
        }
        self.agenda = agenda.into();
    }

    fn mixed(&mut self) -> Option<Step> {
        loop {
            let Reverse((now, event)) = self.agenda.pop()?;
            let (slot, pause) = match event {
                Event::Beat(slot) => (slot, BEAT_MS),
                Event::Poll(slot, _) => (slot, POLL_MS),
                Event::Leave(slot) => (slot, AWAY_MS),
                Event::Return(slot) => (slot, LIFE_MS),
            };
            let then = match event {
                Event::Leave(slot) => Event::Return(slot),
                Event::Return(slot) => Event::Leave(slot),
                same => same,
            };
            self.agenda.push(Reverse((now + pause, then)));
            let Some(life) = self.lives.get_mut(slot as usize) else { continue };
            let kind = match event {
                Event::Beat(_) | Event::Poll(..) if life.away => continue,
                Event::Beat(_) if std::mem::replace(&mut life.light, true) => Kind::BeatLight,
                Event::Beat(_) => Kind::BeatFull,
                Event::Leave(_) => {
                    life.away = true;
                    Kind::Deregister
                }
                Event::Return(_) => {
                    *life = Life::default();
                    Kind::Register
                }
                Event::Poll(_, nth) => {
                    let instance = u64::from(self.instance(slot));
                    let mixed = (instance * POLLED + nth).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                    let number = (mixed % u64::from(self.fleet.services.max(1))) as u32;
                    return Some(Step { kind: Kind::List, number, slot });
                }
            };
            return Some(self.step(kind, slot));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn steps(scenario: Scenario, seed: u64, count: usize) -> Vec<Step> {
        let mut script = Script::new(Work::Scenario(scenario), &Fleet::nameless(10, 200), 1, 2, seed);
        (0..count).map(|_| script.next(&[]).expect("no end")).collect()
    }

    #[test]
    fn connections_share_the_instances() {
        let fleet = Fleet::nameless(3, 10);
        let mut seen = BTreeSet::new();
        for nth in 0..4 {
            let mut script = Script::new(Work::Prepare, &fleet, nth, 4, 1);
            let own = script.own();
            let steps: Vec<_> = std::iter::from_fn(|| script.next(&[])).collect();
            assert_eq!(steps.len(), own as usize);
            assert!(steps.iter().all(|step| step.kind == Kind::Register && seen.insert(step.number)), "{steps:?}");
        }
        assert_eq!(seen, (0..10).collect());
        assert!(Script::new(Work::Scenario(Scenario::Register), &fleet, 11, 12, 1).next(&[]).is_none());
    }

    #[test]
    fn cleaning_leaves_nothing_that_may_be_there() {
        let expect = [Expect::Present, Expect::Absent, Expect::Untouched, Expect::Unknown, Expect::InDoubt];
        let mut script = Script::new(Work::Clean, &Fleet::nameless(1, 5), 0, 1, 1);
        let slots: Vec<_> = std::iter::from_fn(|| script.next(&expect)).map(|step| step.slot).collect();
        assert_eq!(slots, [0, 3, 4]);
    }

    #[test]
    fn mixed_has_the_proportions_of_real_clients() {
        // 100 clients: 20 beats, 30 lists a second, and 100 / 601 restarts.
        let steps = steps(Scenario::Mixed, 7, 300_000);
        let mut counts = BTreeMap::new();
        for step in &steps {
            *counts.entry(step.kind).or_insert(0_u32) += 1;
        }
        let share = |kind| f64::from(counts[&kind]) / steps.len() as f64;
        let near = |is: f64, wanted: f64| (is - wanted).abs() < 0.05 * wanted;
        assert!(near(share(Kind::List), 0.596) && near(share(Kind::BeatLight), 0.394), "{counts:?}");
        let restarts = 300_000.0 / 50.33 * 100.0 / 601.0 / 300_000.0;
        assert!(near(share(Kind::Register), restarts) && near(share(Kind::Deregister), restarts), "{counts:?}");
        // The first beat of each life is full.
        assert!(near(share(Kind::BeatFull) - 100.0 / 300_000.0, restarts), "{counts:?}");
    }

    #[test]
    fn a_client_of_mixed_beats_only_while_it_is_registered() {
        let mut there: BTreeMap<u32, (bool, bool)> = BTreeMap::new();
        for step in steps(Scenario::Mixed, 3, 200_000) {
            let (away, beaten) = there.entry(step.number).or_default();
            match step.kind {
                Kind::Register => assert!(std::mem::take(away)),
                Kind::Deregister => assert!(!std::mem::replace(away, true)),
                Kind::BeatFull => assert!(!*away && !*beaten),
                Kind::BeatLight => assert!(!*away && *beaten),
                Kind::List => continue,
            }
            *beaten = matches!(step.kind, Kind::BeatFull | Kind::BeatLight);
        }
    }

    #[test]
    fn churn_keeps_half_of_the_instances() {
        let mut held = BTreeSet::new();
        for (nth, step) in steps(Scenario::Churn, 1, 2_000).into_iter().enumerate() {
            match step.kind {
                Kind::Register => assert!(held.insert(step.slot)),
                _ => assert!(held.remove(&step.slot)),
            }
            assert!(nth < 50 || (50..=51).contains(&held.len()), "{}", held.len());
        }
    }

    #[test]
    fn the_same_seed_sends_the_same_and_another_another() {
        for scenario in [Scenario::Mixed, Scenario::List] {
            assert_eq!(steps(scenario, 5, 1_000), steps(scenario, 5, 1_000));
            assert_ne!(steps(scenario, 5, 1_000), steps(scenario, 6, 1_000));
        }
    }

    #[test]
    fn who_is_forgotten_registers_first() {
        let mut script = Script::new(Work::Scenario(Scenario::BeatLight), &Fleet::nameless(1, 5), 0, 1, 1);
        assert_eq!(script.next(&[]).map(|step| (step.kind, step.slot)), Some((Kind::BeatLight, 0)));
        script.forgotten(0);
        assert_eq!(script.next(&[]).map(|step| (step.kind, step.slot)), Some((Kind::Register, 0)));
        assert_eq!(script.next(&[]).map(|step| (step.kind, step.slot)), Some((Kind::BeatLight, 1)));
    }

    #[test]
    fn an_unanswered_request_leaves_doubt_for_good() {
        let expect = Expect::default().acknowledged(true);
        assert_eq!(expect, Expect::Present);
        assert_eq!(expect.acknowledged(false), Expect::Absent);
        assert_eq!(expect.failed(false).acknowledged(true), Expect::Present);
        assert_eq!(expect.failed(true).acknowledged(true), Expect::InDoubt);
    }
}
