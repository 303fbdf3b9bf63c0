//! A simulated server: a process that can be killed, and what survives it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use nacre::cluster::core::{Core, Settings, date_restored, welcome_services};
use nacre::cluster::members::Members;
use nacre::cluster::message::Answer;
use nacre::cluster::ownership::Owner;
use nacre::commit::Origin;
use nacre::commit::direct::carry_out;
use nacre::health::expiry::Expiry;
use nacre::model::clock::{AT_START_MS, AwakeClock, Now};
use nacre::model::command::{Command, Outcome};
use nacre::model::member::{Extend, Member};
use nacre::model::{Instance, InstanceKey, Row, ServiceKey};
use nacre::registry::{Change, Registry};

use crate::sabotage::Sabotage;

/// The first moment of the simulation, epoch ms.
pub(crate) const EPOCH_MS: u64 = 1_700_000_000_000;
/// The most that awake time moves on in one step.
const MAX_STEP_MS: u64 = 500;
const MAX_FAILURES: u32 = 3;

pub(crate) fn address(node: usize) -> Arc<str> {
    format!("10.0.0.{}:8848", node + 1).into()
}

pub(crate) fn node_at(address: &str) -> usize {
    let host = address.trim_end_matches(":8848");
    host.rsplit('.').next().unwrap().parse::<usize>().unwrap() - 1
}

fn member(node: usize) -> Member {
    Member::new(&format!("10.0.0.{}", node + 1), 8848)
}

/// What is waiting for the one who writes, and what follows.
pub(crate) struct Job {
    pub(crate) command: Option<Command>,
    pub(crate) then: Then,
}

pub(crate) enum Then {
    Nothing,
    /// Tell the core.
    Merged(u64),
    /// Answer a member's call.
    Answer(u64, Answer),
    /// Answer a client's request; `via`: the call by which it was forwarded.
    Reply {
        ask: u64,
        via: Option<u64>,
    },
}

pub(crate) struct Process {
    pub(crate) registry: Arc<Registry>,
    pub(crate) members: Arc<Members>,
    pub(crate) core: Core,
    pub(crate) expiry: Expiry,
    pub(crate) jobs: VecDeque<Job>,
    /// The last job is done then.
    pub(crate) busy_until: u64,
    /// Its port is open.
    pub(crate) listens: bool,
    clock: AwakeClock,
    moved_ms: u64,
}

pub(crate) struct Node {
    pub(crate) number: usize,
    pub(crate) process: Option<Process>,
    /// Counts processes.
    pub(crate) epoch: u32,
    pub(crate) hung: bool,
    pub(crate) closed: bool,
    pub(crate) listed: Vec<usize>,
    store: Option<BTreeMap<InstanceKey, Arc<Instance>>>,
    alive_wall_ms: u64,
    skew_ms: i64,
    sabotage: Sabotage,
}

impl Node {
    pub(crate) fn new(number: usize, skew_ms: i64, listed: Vec<usize>, sabotage: Sabotage) -> Self {
        Self {
            number,
            process: None,
            epoch: 0,
            hung: false,
            closed: false,
            listed,
            store: None,
            alive_wall_ms: 0,
            skew_ms,
            sabotage,
        }
    }

    pub(crate) fn wall_ms(&self, at: u64) -> u64 {
        (EPOCH_MS + at).saturating_add_signed(self.skew_ms)
    }

    pub(crate) fn now(&self, at: u64) -> Now {
        let awake_ms = self.process.as_ref().map_or(1, |process| process.clock.now_ms());
        Now { awake_ms, wall_ms: self.wall_ms(at) }
    }

    pub(crate) fn start(&mut self, at: u64) {
        assert!(self.process.is_none());
        self.epoch += 1;
        self.hung = false;
        self.closed = false;
        let clock = AwakeClock::starting_at(AT_START_MS);
        let now = Now { awake_ms: clock.now_ms(), wall_ms: self.wall_ms(at) };
        let registry = Arc::new(Registry::default());
        let mut expiry = Expiry::new(now.awake_ms, true);
        let as_of_ms = self.store.as_ref().map(|_| self.alive_wall_ms);
        for (key, instance) in self.store.get_or_insert_default() {
            registry.apply(Row::Instance(key.clone(), Some(instance.clone())), 0, false);
        }
        if self.sabotage == Sabotage::StoresForgetWhen {
            registry.services().iter().flat_map(|service| service.slots()).for_each(|slot| slot.stamp(0));
        }
        if let Some(as_of_ms) = as_of_ms {
            date_restored(&registry, as_of_ms);
        }
        if self.sabotage != Sabotage::NoGraceAtRestart {
            registry.grant_grace(now.awake_ms);
        }
        for service in registry.services() {
            service.slots().into_iter().for_each(|slot| expiry.watch(service.clone(), slot, now.awake_ms));
        }
        let mut own = member(self.number);
        own.extend = Extend { version: Some("1.4.8".into()), ..Extend::default() };
        let others: Vec<Member> = self.listed.iter().map(|node| member(*node)).collect();
        let members = Arc::new(Members::new(own, others, MAX_FAILURES));
        if self.sabotage != Sabotage::NoGraceAtTakeover {
            let (registry, clock) = (registry.clone(), clock.clone());
            members.on_change(Box::new(move |old, new| welcome_services(&registry, old, new, clock.now_ms())));
        }
        let core = Core::new(Settings::default(), members.clone(), registry.clone(), as_of_ms, now);
        let (jobs, busy_until) = (VecDeque::new(), at);
        self.process =
            Some(Process { registry, members, core, expiry, jobs, busy_until, listens: false, clock, moved_ms: at });
    }

    pub(crate) fn crash(&mut self, at: u64) {
        if self.process.take().is_some() {
            // Noted every second.
            self.alive_wall_ms = self.wall_ms(at) / 1_000 * 1_000;
        }
        self.hung = false;
        self.epoch += 1;
    }

    pub(crate) fn lose_store(&mut self) {
        self.store = None;
    }

    pub(crate) fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Whether anybody can reach it.
    pub(crate) fn listens(&self) -> bool {
        self.process.as_ref().is_some_and(|process| process.listens)
    }

    /// Whether clients get lists from it.
    pub(crate) fn serves(&self) -> bool {
        let lies = self.sabotage == Sabotage::LoadingServes;
        self.process.as_ref().is_some_and(|process| lies || process.core.has_data())
    }

    pub(crate) fn replace_members(&mut self, listed: Vec<usize>) {
        if let Some(process) = &self.process {
            process.members.replace(listed.iter().map(|node| member(*node)));
        }
        self.listed = listed;
    }

    /// Who should handle a request for the service, in the eyes of this node; `None`: itself.
    pub(crate) fn owner(&self, service: &ServiceKey) -> Option<usize> {
        let process = self.process.as_ref()?;
        match process.members.view().owner(&service.name) {
            Owner::Here => None,
            Owner::Peer(address) => Some(node_at(address)),
        }
    }

    pub(crate) fn has(&self, key: &InstanceKey) -> Option<Arc<Instance>> {
        Some(self.process.as_ref()?.registry.find(key)?.instance())
    }

    /// Time moves on; what expiry asks for.
    pub(crate) fn move_on(&mut self, at: u64) -> Vec<Command> {
        let sabotage = self.sabotage;
        let Some(process) = &mut self.process else { return Vec::new() };
        let passed_ms = at - process.moved_ms;
        process.moved_ms = at;
        let absence = if sabotage == Sabotage::CountsOwnAbsence { u64::MAX } else { MAX_STEP_MS };
        let step_ms = passed_ms.min(absence);
        if passed_ms > step_ms {
            process.registry.resume(passed_ms - step_ms, process.clock.now_ms() + step_ms);
        }
        process.clock.advance(step_ms);
        let members = process.members.clone();
        let all = sabotage == Sabotage::EverybodyExpires;
        process.expiry.tick(process.clock.now_ms(), true, &|name| all || members.view().is_owner(name))
    }

    /// Does what is next in line: what came of it, and what followed.
    pub(crate) fn commit(&mut self, at: u64) -> Option<(Then, nacre::error::Result<Outcome>, Vec<InstanceKey>)> {
        let now = self.now(at);
        let process = self.process.as_mut()?;
        let Job { command, then } = process.jobs.pop_front()?;
        let Some(mut command) = command else { return Some((then, Ok(Outcome::Done), Vec::new())) };
        if let (Sabotage::FreshOnesGo, Command::Merge(merges)) = (self.sabotage, &mut command) {
            merges.iter_mut().for_each(|merge| merge.datum.removed = None);
        }
        let done = carry_out(&process.registry, command, now);
        let store = self.store.get_or_insert_default();
        for row in done.rows {
            match row {
                Row::Instance(key, Some(instance)) => {
                    store.insert(key, instance);
                }
                Row::Instance(key, None) => drop(store.remove(&key)),
                _ => {}
            }
        }
        let tells = (done.origin == Origin::Here || self.sabotage == Sabotage::Echoes)
            && self.sabotage != Sabotage::TellsNothing;
        let mut removed = Vec::new();
        for change in done.changes {
            let (service, slot) = match change {
                Change::Put { service, slot, .. } => {
                    process.expiry.watch(service.clone(), slot.clone(), now.awake_ms);
                    (service, slot)
                }
                Change::Removed { service, slot } => {
                    removed.push(slot.key(service.key()));
                    (service, slot)
                }
                _ => continue,
            };
            if tells {
                process.core.note(service.key(), &slot.key(service.key()), now);
            }
        }
        if self.sabotage == Sabotage::RemovalsAreForgotten {
            removed.iter().for_each(|key| process.registry.removals().forget(key));
        }
        Some((then, done.outcome, removed))
    }
}
