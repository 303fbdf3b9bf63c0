//! Connections and threads that put a scenario through: the load generator of `load` and of whatever else needs one.
//!
//! Every thread has a runtime of its own for its share of the connections, so that a request never changes threads. One
//! more thread keeps the clock of an open loop.

mod lane;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::JoinSet;

use self::lane::{Done, Lane};
use super::client::{Connection, Session};
use super::fleet::{Fleet, Requests};
use super::pace::{Pace, Schedule, Until};
use super::record::Record;
use super::scenario::{Expect, Script, Work};
use crate::error::{Error, Result};

/// How often the progress is told.
const TOLD_EVERY: Duration = Duration::from_millis(200);
/// The clock of an open loop doesn't tick faster: requests are late by up to this much, and their latency says so.
const TICK: Duration = Duration::from_micros(50);
/// A stop is noticed at least this often by the clock.
const MAX_SLEEP: Duration = Duration::from_millis(50);

/// How the load is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Connections in all, at least 1.
    pub connections: u32,
    /// Threads, at least 1.
    pub threads: u32,
    /// For one request.
    pub timeout: Duration,
    /// The same seed sends the same requests.
    pub seed: u64,
}

/// One run of some work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pass {
    /// What to send.
    pub work: Work,
    /// When it ends.
    pub until: Until,
    /// Time before anything counts.
    pub warm_up: Duration,
    /// Requests a second; without it every connection sends when it has its answer.
    pub rate: Option<f64>,
}

impl Pass {
    /// Goes through all instances once, as fast as possible.
    pub fn once(work: Work) -> Self {
        Self { work, until: Until::Once, warm_up: Duration::ZERO, rate: None }
    }
}

/// How a run goes.
#[derive(Debug, Clone)]
pub struct Live {
    /// Since its start, with the warm-up.
    pub elapsed: Duration,
    /// What counts so far.
    pub record: Record,
}

/// A fleet on a server, and what the server has acknowledged of it.
#[derive(Debug)]
pub struct Engine {
    session: Arc<Session>,
    fleet: Fleet,
    plan: Plan,
    requests: Arc<Requests>,
    expect: Vec<Expect>,
    stop: Arc<AtomicBool>,
}

/// What a thread tells when its connections are open, and then what it gets to begin.
type Ready = Result<()>;
type Start = Arc<Pace>;

struct Crew {
    handle: thread::JoinHandle<Vec<Done>>,
    start: mpsc::Sender<Start>,
    record: Arc<Mutex<Record>>,
}

impl Engine {
    /// Nothing is sent yet. When `stop` becomes true a run ends early.
    pub fn new(session: Arc<Session>, fleet: Fleet, plan: Plan, stop: Arc<AtomicBool>) -> Self {
        let requests = Arc::new(Requests::new(&fleet, session.server()));
        let expect = vec![Expect::Untouched; fleet.instances as usize];
        Self { session, fleet, plan, requests, expect, stop }
    }

    /// What the server should have, by instance.
    pub fn expected(&self) -> &[Expect] {
        &self.expect
    }

    /// Who is registered.
    pub fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Does the work and waits for its end. `watch` is told how it goes.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the connections can't be opened; [`Error::Setup`] without threads. What goes wrong
    /// later is in the record.
    pub fn pass(&mut self, pass: Pass, watch: &mut dyn FnMut(&Live)) -> Result<Record> {
        let threads = self.plan.threads.clamp(1, self.plan.connections.max(1));
        let (ready, opened) = mpsc::channel::<Ready>();
        let mut crews = Vec::new();
        for nth in 0..threads {
            crews.push(self.crew(&pass, nth, threads, ready.clone())?);
        }
        drop(ready);
        for _ in &crews {
            opened.recv().map_err(|_| Error::Setup("a thread of the load ended".into()))??;
        }
        let start = Instant::now();
        let paces = self.paces(&pass, start, threads);
        for (crew, pace) in crews.iter().zip(&paces) {
            // A thread that has ended is noticed below.
            let _ = crew.start.send(Arc::clone(pace));
        }
        let clock = pass.rate.map(|_| {
            let paces = paces.clone();
            thread::spawn(move || keep_time(paces))
        });
        let mut told = Instant::now();
        while !crews.iter().all(|crew| crew.handle.is_finished()) {
            thread::sleep(Duration::from_millis(5));
            if told.elapsed() >= TOLD_EVERY {
                told = Instant::now();
                watch(&Live { elapsed: start.elapsed(), record: sum(&crews) });
            }
        }
        let mut record = sum(&crews);
        for crew in crews {
            let lanes = crew.handle.join().map_err(|_| Error::Setup("a thread of the load panicked".into()))?;
            for done in lanes {
                self.take_back(&done);
            }
        }
        if let Some(clock) = clock {
            clock.join().map_err(|_| Error::Setup("the clock of the load panicked".into()))?;
        }
        let now = Instant::now();
        for turn in paces.iter().flat_map(|pace| pace.left()).filter(|turn| turn.counts) {
            let late = now.saturating_duration_since(turn.due);
            record.fault(lane::usual_kind(pass.work), "not sent in time".into(), Some(late), b"");
        }
        Ok(record)
    }

    fn crew(&self, pass: &Pass, nth: u32, threads: u32, ready: mpsc::Sender<Ready>) -> Result<Crew> {
        let record = Arc::new(Mutex::new(Record::default()));
        let lanes: Vec<Lane> = (nth..self.plan.connections)
            .step_by(threads as usize)
            .map(|lane| {
                let script = Script::new(pass.work, &self.fleet, lane, self.plan.connections, self.plan.seed);
                let own = (0..script.own()).map(|slot| self.expect.get(script.instance(slot) as usize).copied());
                let expect = own.map(Option::unwrap_or_default).collect();
                let connection = Connection::new(Arc::clone(&self.session), self.plan.timeout);
                let (requests, record) = (Arc::clone(&self.requests), Arc::clone(&record));
                Lane::new(pass.work, &self.fleet, script, expect, connection, requests, record)
            })
            .collect();
        let (start, started) = mpsc::channel();
        let handle =
            thread::Builder::new().name(format!("load-{nth}")).spawn(move || run_lanes(lanes, &ready, &started));
        let handle = handle.map_err(|error| Error::Setup(format!("no thread for the load: {error}")))?;
        Ok(Crew { handle, start, record })
    }

    fn paces(&self, pass: &Pass, start: Instant, threads: u32) -> Vec<Arc<Pace>> {
        let handed_out = Arc::default();
        let pace = |thread: u32| match pass.rate {
            None => Pace::closed(start, pass.warm_up, pass.until, Arc::clone(&handed_out), Arc::clone(&self.stop)),
            Some(rate) => {
                let warm_up = rate * pass.warm_up.as_secs_f64();
                let counted = match pass.until {
                    Until::Once => f64::from(self.fleet.instances),
                    Until::Count(count) => count as f64,
                    Until::After(time) => rate * time.as_secs_f64(),
                };
                let total = (warm_up + counted).ceil() as u64;
                let schedule = Schedule { rate, threads: u64::from(threads), thread: u64::from(thread), total };
                Pace::open(start, pass.warm_up, schedule, self.plan.timeout, Arc::clone(&self.stop))
            }
        };
        (0..threads).map(|thread| Arc::new(pace(thread))).collect()
    }

    fn take_back(&mut self, done: &Done) {
        for (slot, expect) in done.expect.iter().enumerate() {
            let instance = done.script.instance(slot as u32);
            if let Some(place) = self.expect.get_mut(instance as usize) {
                *place = *expect;
            }
        }
    }
}

fn sum(crews: &[Crew]) -> Record {
    let mut all = Record::default();
    for crew in crews {
        all.merge(&crew.record.lock());
    }
    all
}

/// One thread: opens its connections, says so, and does its work when told the pace.
fn run_lanes(lanes: Vec<Lane>, ready: &mpsc::Sender<Ready>, start: &mpsc::Receiver<Start>) -> Vec<Done> {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _ = ready.send(Err(Error::Setup(format!("no runtime for the load: {error}"))));
            return Vec::new();
        }
    };
    let lanes = match runtime.block_on(open(lanes)) {
        Ok(lanes) => lanes,
        Err(error) => {
            let _ = ready.send(Err(error));
            return Vec::new();
        }
    };
    let told = ready.send(Ok(()));
    // The others could not begin: there is nothing to do.
    let (Ok(()), Ok(pace)) = (told, start.recv()) else { return Vec::new() };
    runtime.block_on(async {
        let mut running: JoinSet<Done> = lanes.into_iter().map(|lane| lane.run(Arc::clone(&pace))).collect();
        let mut done = Vec::new();
        while let Some(ended) = running.join_next().await {
            done.extend(ended);
        }
        done
    })
}

async fn open(mut lanes: Vec<Lane>) -> Result<Vec<Lane>> {
    for lane in &mut lanes {
        let opened = lane.open().await;
        opened.map_err(|fault| Error::Unavailable(format!("can't reach the server: {fault}")))?;
    }
    Ok(lanes)
}

/// Releases what is due until everything is.
fn keep_time(mut paces: Vec<Arc<Pace>>) {
    while !paces.is_empty() {
        let now = Instant::now();
        let mut next = now + MAX_SLEEP;
        paces.retain(|pace| match pace.release(now) {
            Some(at) => {
                next = next.min(at);
                true
            }
            None => false,
        });
        thread::sleep(next.saturating_duration_since(Instant::now()).max(TICK));
    }
}

#[cfg(test)]
mod tests;
