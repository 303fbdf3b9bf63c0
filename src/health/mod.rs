//! Who is alive: beats and their absence.
//!
//! A beat stores one number in the instance's slot. A timing wheel looks at each ephemeral instance when its limit
//! could have passed, asks how long the last beat is ago, and either comes back later or posts a command (unhealthy,
//! removed) to `commit`. Time is the awake time of this process ([`AwakeClock`]), advanced here in short steps.
//! Persistent instances don't beat: [`checks`] asks them.

pub mod checks;
pub mod expiry;
pub mod figures;
pub mod sweep;
pub mod wheel;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::model::clock::AwakeClock;
use crate::model::settings::Switches;
use crate::registry::{Change, Registry, Service, Slot};
use checks::Checks;
use checks::params::{CheckParams, SharedParams};
use expiry::Expiry;
use figures::Figures;
use sweep::Sweep;

/// How often time moves on.
pub const TICK_MS: u64 = 50;
/// The most that awake time moves on in one step: what is longer was not this process' time.
const MAX_STEP_MS: u64 = 500;

/// Rules of removal.
#[derive(Clone)]
pub struct Options {
    /// Remove silent instances (`nacos.naming.expireInstance`).
    pub expire_instance: bool,
    /// Remove services that stay empty: first round and period in ms; `None` leaves them.
    pub clean_empty: Option<(u64, u64)>,
    /// Whether this server is responsible for the service of that grouped name: only then its instances are judged
    /// and checked.
    pub is_owner: IsOwner,
}

/// Whether this server is responsible for the service of a grouped name.
pub type IsOwner = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// Instances on their way: ephemeral ones that came or changed, to the wheel; persistent ones that came, to the checks. At
/// most as many wait as were written within a tick.
#[derive(Clone, Default)]
pub struct Inbox(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    ephemeral: Vec<Placed>,
    persistent: Vec<Placed>,
}

/// An instance and where it is.
type Placed = (Arc<Service>, Arc<Slot>);

impl Inbox {
    /// Takes note of `changes`.
    pub fn note(&self, changes: &[Change]) {
        let mut waiting = self.0.lock();
        for change in changes {
            let Change::Put { service, slot, new, .. } = change else { continue };
            if slot.is_ephemeral() {
                waiting.ephemeral.push((service.clone(), slot.clone()));
            } else if *new {
                waiting.persistent.push((service.clone(), slot.clone()));
            }
        }
    }

    fn take_ephemeral(&self) -> Vec<Placed> {
        std::mem::take(&mut self.0.lock().ephemeral)
    }

    fn take_persistent(&self) -> Vec<Placed> {
        std::mem::take(&mut self.0.lock().persistent)
    }
}

/// The running threads.
pub struct Health {
    stop: Arc<AtomicBool>,
    figures: Arc<Figures>,
    thread: JoinHandle<()>,
    checks: Checks,
}

impl Health {
    /// Starts judging and checking, as the switches say at any time. `inbox` must have been told of every restored
    /// instance.
    ///
    /// # Errors
    /// [`Error::Setup`] when there can be no thread.
    pub fn start(
        registry: Arc<Registry>,
        commit: Commit,
        clock: AwakeClock,
        inbox: Inbox,
        options: Options,
    ) -> Result<Self> {
        let check_params = SharedParams::default();
        let figures = Arc::<Figures>::default();
        let (counted, is_owner) = (figures.clone(), options.is_owner.clone());
        let checks =
            Checks::start(commit.clone(), clock.clone(), inbox.clone(), check_params.clone(), counted, is_owner)?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut judge = Judge {
            expiry: Expiry::new(clock.now_ms(), options.expire_instance),
            sweep: options.clean_empty.map(|(delay, period)| Sweep::new(clock.now_ms(), delay, period)),
            registry,
            commit,
            clock,
            inbox,
            is_owner: options.is_owner,
            switches: Arc::default(),
            check_params,
            figures: figures.clone(),
        };
        let stopping = stop.clone();
        let thread = std::thread::Builder::new().name("health".into()).spawn(move || judge.run(&stopping));
        let thread = thread.map_err(|e| Error::Setup(format!("no thread for health: {e}")))?;
        Ok(Self { stop, figures, thread, checks })
    }

    /// What is counted.
    pub fn figures(&self) -> Arc<Figures> {
        self.figures.clone()
    }

    /// Ends the threads and waits for them.
    pub fn stop(self) {
        self.checks.stop();
        self.stop.store(true, Ordering::Relaxed);
        if self.thread.join().is_err() {
            tracing::error!("the health thread had panicked");
        }
    }
}

struct Judge {
    registry: Arc<Registry>,
    commit: Commit,
    clock: AwakeClock,
    inbox: Inbox,
    expiry: Expiry,
    sweep: Option<Sweep>,
    is_owner: IsOwner,
    /// Those that were in force at the last look.
    switches: Arc<Switches>,
    check_params: SharedParams,
    figures: Arc<Figures>,
}

impl Judge {
    fn run(&mut self, stop: &AtomicBool) {
        let mut last = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(TICK_MS));
            let now = Instant::now();
            self.advance(now.duration_since(last).as_millis() as u64);
            last = now;
            self.tick();
        }
    }

    fn advance(&self, elapsed_ms: u64) {
        let step = elapsed_ms.min(MAX_STEP_MS);
        let lost = elapsed_ms - step;
        if lost > 0 {
            self.figures.add_pause(lost);
            tracing::warn!(lost_ms = lost, "the process was paused; that time counts against no instance");
            self.registry.resume(lost, self.clock.now_ms().saturating_add(step));
        }
        self.clock.advance(step);
    }

    fn look_at_switches(&mut self) {
        let switches = self.registry.settings().switches();
        if !Arc::ptr_eq(&switches, &self.switches) {
            self.check_params.set(CheckParams::from(&*switches));
            self.switches = switches;
        }
    }

    fn tick(&mut self) {
        let now_ms = self.clock.now_ms();
        for (service, slot) in self.inbox.take_ephemeral() {
            self.expiry.watch(service, slot, now_ms);
        }
        self.look_at_switches();
        for command in self.expiry.tick(now_ms, self.switches.health_check_enabled, &*self.is_owner) {
            // A full queue is no loss: the wheel looks at the instance again.
            if self.commit.post(command).is_err() {
                tracing::debug!("the commit queue is full; an expiry has to wait");
            }
        }
        if let Some(sweep) = &mut self.sweep {
            for command in sweep.tick(now_ms, &self.registry, &*self.is_owner) {
                if self.commit.post(command).is_err() {
                    tracing::debug!("the commit queue is full; an empty service has to wait");
                }
            }
        }
    }
}
