//! What is committed together.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash};
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::lines::{self, Cause};
use super::resolve::{Resolved, Step};
use super::status::{self, Fate, Status};
use super::{Origin, Request, Waiter};
use crate::error::{Error, Result};
use crate::model::clock::Now;
use crate::model::command::{Command, Outcome};
use crate::model::settings::{Setting, SettingKey, Switches};
use crate::model::{InstanceKey, Row, ServiceKey};
use crate::registry::{Change, Registry, Service, Slot, is_cluster_name};
use crate::store::Store;

struct Entry {
    steps: std::ops::Range<usize>,
    kind: usize,
    /// It takes effect even while the store refuses writes.
    observed: bool,
    cause: Cause,
    /// What to log when it is done, of changes that the registry tells nothing of.
    account: Option<String>,
    outcome: Result<Outcome>,
    waiter: Option<Waiter>,
}

impl Entry {
    fn fate(&self, void: bool) -> Fate {
        match &self.outcome {
            _ if void => Fate::Unstored,
            Err(_) => Fate::Rejected,
            Ok(_) if self.steps.is_empty() => Fate::Unchanged,
            Ok(_) => Fate::Changed,
        }
    }
}

/// Commands that were resolved and wait for the store.
#[derive(Default)]
pub(super) struct Batch {
    rows: Vec<Row>,
    /// Of every row.
    how: Vec<How>,
    traces: Vec<(InstanceKey, u64, u64)>,
    removals: Vec<(InstanceKey, u64)>,
    ensured: Vec<ServiceKey>,
    /// Instances that stay as they are, and whether the time of their last beat is renewed.
    told: Vec<(InstanceKey, bool)>,
    told_of: Vec<ServiceKey>,
    entries: Vec<Entry>,
    /// Hashes of what commands touch: two that are equal by chance only end the batch early.
    touched: Hashes,
    touched_services: Hashes,
    /// Services that a command of this batch looked at as a whole.
    whole: Hashes,
    /// Kinds of commands for the whole node: each reads all that its kind writes.
    node_wide: HashSet<Discriminant<Command>>,
    overridden: Option<Box<Switches>>,
    /// How far what was agreed on is carried out with this batch.
    position: Option<Row>,
    /// Nothing else may be in this batch.
    alone: bool,
}

/// What a row means for the times that are kept in memory.
#[derive(Debug, Clone, Copy)]
enum How {
    /// It was changed here, now. `renew`: and the last beat is now.
    Here { renew: bool },
    /// A peer told: changed at `changed_ms` (epoch; 0: unknown), its client last heard of at `heard_ms` (awake; 0: never).
    Told { changed_ms: u64, heard_ms: u64 },
}

type Hashes = HashSet<u64, FixedState>;

fn hash<T: Hash>(key: &T) -> u64 {
    FixedState::default().hash_one(key)
}

/// What a command reads and may write.
enum Reach<'a> {
    /// One instance of a service, or the service as a whole.
    Service(&'a ServiceKey, Option<&'a InstanceKey>),
    /// All that commands of its kind write.
    Node(Discriminant<Command>),
    /// It reads nothing, and nobody reads what it writes.
    Nothing,
    /// It may read and write anything that is registered: it is a batch of its own.
    Everything,
}

fn reach(command: &Command) -> Reach<'_> {
    let (service, key) = match command {
        Command::Register(key, instance) if !instance.wants_number_id() && key.ephemeral => (&key.service, Some(key)),
        // Whether that is a fault depends on there being the service.
        Command::Deregister(key) if !is_cluster_name(&key.cluster) => (&key.service, None),
        Command::Deregister(key) | Command::Heal(key) => (&key.service, Some(key)),
        Command::Fade { key, .. } | Command::Expire { key, .. } | Command::CheckedHealth { key, .. } => {
            (&key.service, Some(key))
        }
        Command::Register(key, _) | Command::Replace(key, ..) => (&key.service, None),
        Command::Patch(address, _) | Command::SetHealth(address, _) => (&address.service, None),
        Command::ChangeMetadata(key, ..)
        | Command::CreateService(key, _)
        | Command::UpdateService(key, _)
        | Command::DeleteService(key)
        | Command::CleanService(key) => (key, None),
        Command::UpdateCluster(key, _) => (&key.service, None),
        Command::Switch(_) | Command::Label(_) | Command::Account(_) => return Reach::Node(discriminant(command)),
        Command::Subscriptions(_) | Command::Nothing => return Reach::Nothing,
        Command::Merge(_) | Command::PeerHealth(..) | Command::Install(_) => return Reach::Everything,
    };
    Reach::Service(service, key)
}

impl Batch {
    /// Whether `command` reads what a command of this batch writes (or the other way round).
    pub(super) fn conflicts_with(&self, command: &Command) -> bool {
        if self.entries.is_empty() {
            return false;
        }
        if self.alone {
            return true;
        }
        match reach(command) {
            Reach::Everything => true,
            Reach::Service(service, Some(key)) => {
                self.whole.contains(&hash(service)) || self.touched.contains(&hash(key))
            }
            Reach::Service(service, None) => self.touched_services.contains(&hash(service)),
            Reach::Node(kind) => self.node_wide.contains(&kind),
            Reach::Nothing => false,
        }
    }

    /// Takes in what `request` came to, against `registry` as it is.
    pub(super) fn push(&mut self, request: Request, resolved: Result<Resolved>, registry: &Registry, now: Now) {
        let Request { command, waiter, agreed } = request;
        let cause = Cause::from(&command);
        match reach(&command) {
            Reach::Service(service, key) => {
                self.touched_services.insert(hash(service));
                match key {
                    Some(key) => self.touched.insert(hash(key)),
                    None => self.whole.insert(hash(service)),
                };
            }
            Reach::Node(kind) => {
                self.node_wide.insert(kind);
            }
            Reach::Nothing => {}
            Reach::Everything => self.alone = true,
        }
        let start = self.rows.len();
        let outcome = match resolved {
            Ok(resolved) => {
                for step in resolved.steps {
                    match step {
                        Step::Row { row, renew } => self.put(row, How::Here { renew }, cause, registry, now),
                        Step::Told { row, changed_ms, heard_ms } => {
                            self.put(row, How::Told { changed_ms, heard_ms }, cause, registry, now);
                        }
                        Step::Trace { key, changed_ms, heard_ms } => self.traces.push((key, changed_ms, heard_ms)),
                        Step::WasRemoved(key, removed_ms) => self.removals.push((key, removed_ms)),
                        Step::Ensure(service) => self.ensured.push(service),
                        Step::Tell { key, renew } => self.told.push((key, renew)),
                        Step::TellOf(service) => self.told_of.push(service),
                        Step::Override(switches) => self.overridden = Some(switches),
                    }
                }
                resolved.outcome
            }
            Err(error) => Err(error),
        };
        let steps = start..self.rows.len();
        let (kind, observed) = (status::kind(&command), agreed.is_some() || command.is_observed());
        if let Some(position) = agreed {
            // What else the batch holds is stored with it or not at all.
            self.position = Some(Row::Setting(SettingKey::Agreed, Some(Arc::new(Setting::Agreed(position)))));
        }
        let account = outcome.as_ref().ok().and_then(|_| lines::account(&command));
        self.entries.push(Entry { steps, kind, observed, cause, account, outcome, waiter });
    }

    fn put(&mut self, mut row: Row, how: How, cause: Cause, registry: &Registry, now: Now) {
        stamp(&mut row, how, cause, registry, now);
        self.rows.push(row);
        self.how.push(how);
    }

    /// Whose changes these are: what peers told is a batch of its own.
    pub(super) fn origin(&self) -> Origin {
        if self.alone { Origin::Peer } else { Origin::Here }
    }

    /// Number of commands.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn rows(&self) -> &[Row] {
        &self.rows
    }

    pub(super) fn row_count(&self) -> usize {
        self.rows.len()
    }

    /// Nothing more comes.
    pub(super) fn close(&mut self) {
        if let Some(position) = self.position.take() {
            self.rows.push(position);
            self.how.push(How::Here { renew: false });
        }
    }

    /// Subscriptions alone are worth no sync: nobody waits for them, and a client whose subscription is lost with the
    /// power asks again within seconds.
    pub(super) fn append_to(&self, store: &mut Store) -> Result<()> {
        let can_wait = self.rows.iter().all(|row| matches!(row, Row::Subscription(..)));
        if can_wait { store.append_later(&self.rows) } else { store.append(&self.rows) }
    }

    /// Carries the batch out in memory. When the store refused, only what was observed takes effect, and
    /// whoever wanted to write gets the refusal. What becomes of each command is counted in `status`.
    pub(super) fn apply(
        self,
        registry: &Registry,
        now: Now,
        refused: Option<Error>,
        status: &Status,
    ) -> (Vec<Change>, Vec<(Waiter, Result<Outcome>)>) {
        let mut changes = Vec::with_capacity(self.rows.len());
        let mut answers = Vec::with_capacity(self.entries.len());
        let mut rows = self.rows.into_iter().zip(self.how);
        for service in &self.ensured {
            let known = registry.service_count();
            registry.ensure_service(service);
            if registry.service_count() > known {
                lines::tell_new(service);
                changes.extend(registry.find_service(service).map(|service| Change::Made { service }));
            }
        }
        if let Some(switches) = self.overridden {
            registry.settings().override_switches(*switches);
        }
        for entry in self.entries {
            let count = entry.steps.len();
            let void = refused.as_ref().filter(|_| count > 0 && !entry.observed);
            for (row, how) in rows.by_ref().take(count) {
                if void.is_none() {
                    changes.extend(apply(registry, row, now, how, entry.cause));
                }
            }
            if let Some(text) = entry.account.as_deref().filter(|_| void.is_none()) {
                lines::tell_account(text);
            }
            status.count_fate(entry.kind, entry.fate(void.is_some()));
            if let Some(waiter) = entry.waiter {
                let outcome = void.map_or(entry.outcome, |error| Err(error.clone()));
                answers.push((waiter, outcome));
            }
        }
        // How far it is takes effect with what it is about.
        rows.for_each(|(row, _)| drop(registry.apply(row, now.awake_ms, false)));
        for (key, changed_ms, heard_ms) in self.traces {
            let Some(slot) = registry.find(&key) else { continue };
            slot.stamp(changed_ms);
            slot.hear(heard_ms);
        }
        for (key, removed_ms) in self.removals {
            registry.removals().note(&key, removed_ms, now.wall_ms);
        }
        for (key, renew) in self.told {
            let Some(service) = registry.find_service(&key.service) else { continue };
            let Some(slot) = service.find(&key.cluster, &key.ip, key.port, key.ephemeral) else { continue };
            if renew {
                slot.touch(now.awake_ms);
            }
            changes.push(Change::Put { service, slot, new: false, by_health: false });
        }
        let services = self.told_of.iter().filter_map(|key| registry.find_service(key));
        changes.extend(services.map(|service| Change::Told { service }));
        (changes, answers)
    }
}

/// Carries a row out and logs what came of it.
fn apply(registry: &Registry, row: Row, now: Now, how: How, cause: Cause) -> Option<Change> {
    let known = registry.service_count();
    let (beat_ms, renew) = match how {
        How::Here { renew } => (now.awake_ms, renew),
        How::Told { heard_ms, .. } => (heard_ms, false),
    };
    let mut change = registry.apply(row, beat_ms, renew)?;
    if let Change::Put { by_health, .. } = &mut change {
        *by_health = cause.of_health().is_some();
    }
    trace(registry, &change, now, how, cause);
    if let Change::Put { service, .. } | Change::Settings { service } = &change
        && registry.service_count() > known
    {
        lines::tell_new(service.key());
    }
    lines::tell(&change, cause);
    Some(change)
}

/// Notes in an ephemeral instance by what its copies are compared, before it is stored: nobody else changes it until it is
/// applied. What beats and their absence say changes nothing that a client asked for: a server that a client can't reach
/// must not overwrite with it what was written elsewhere.
fn stamp(row: &mut Row, how: How, cause: Cause, registry: &Registry, now: Now) {
    let Row::Instance(key, Some(instance)) = row else { return };
    if !key.ephemeral {
        return;
    }
    // Later than what it replaces, and than its removal, whatever the clock of the server says that dated those.
    let known_ms = || match registry.find(key) {
        Some(slot) => slot.changed_ms(),
        None => registry.removals().when(key).unwrap_or_default(),
    };
    let changed_ms = match how {
        How::Here { .. } if matches!(cause, Cause::Beat | Cause::Silence) => known_ms(),
        How::Here { .. } => now.wall_ms.max(known_ms().saturating_add(1)),
        How::Told { changed_ms, .. } => changed_ms,
    };
    if instance.changed_ms != changed_ms {
        Arc::make_mut(instance).changed_ms = changed_ms;
    }
}

/// Notes when clients were heard of, and what was taken out when.
fn trace(registry: &Registry, change: &Change, now: Now, how: How, cause: Cause) {
    match change {
        Change::Put { service, slot, new, .. } if slot.is_ephemeral() => {
            if let How::Told { heard_ms, .. } = how {
                slot.hear(heard_ms);
                if *new && heard_ms == 0 {
                    // Nobody says when its client beat last: it has its full time to do so from now on.
                    service.grant_grace(now.awake_ms);
                }
            }
            if *new {
                registry.removals().forget(&slot.key(service.key()));
            }
        }
        Change::Removed { service, slot } if slot.is_ephemeral() => {
            if let (How::Here { .. }, Cause::Silence) = (how, cause) {
                let removed_ms = silence_ms(service, slot, now);
                return registry.removals().note_silent(&slot.key(service.key()), removed_ms, now.wall_ms);
            }
            let removed_ms = match how {
                How::Here { .. } => now.wall_ms.max(slot.changed_ms().saturating_add(1)),
                How::Told { changed_ms, .. } => changed_ms,
            };
            registry.removals().note(&slot.key(service.key()), removed_ms, now.wall_ms);
        }
        _ => {}
    }
}

/// Who is taken out because of silence may have lived for a part of it and beaten elsewhere, where this server can't be
/// reached. Whoever heard of it later than this keeps it. That it is some time after the last beat makes up for clocks
/// that differ and messages that take long.
fn silence_ms(service: &Service, slot: &Slot, now: Now) -> u64 {
    let silent_ms = now.awake_ms.saturating_sub(service.silent_from_ms(slot));
    now.wall_ms.saturating_sub(silent_ms / 4 * 3).max(slot.changed_ms())
}
