//! The system under test: registry, store and committer, with what a restart needs.

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::thread::JoinHandle;
use std::{fs, io};

use nacre::commit::{self, Commit, Listener};
use nacre::error::Result;
use nacre::model::Row;
use nacre::model::clock::AwakeClock;
use nacre::model::command::{Command, Outcome};
use nacre::registry::Registry;
use nacre::store::{Durability, OnFailure, Options, RestoreReport, Store};
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub(crate) struct World {
    dir: TempDir,
    durability: Durability,
    batch_rows: usize,
    clock: AwakeClock,
    runtime: Runtime,
    gate: Arc<Gate>,
    node: Option<Node>,
}

/// Where the committer waits after a batch while it is closed, so that what is sent meanwhile meets in the next one.
#[derive(Default)]
struct Gate {
    state: Mutex<GateState>,
    changed: Condvar,
}

#[derive(Default)]
struct GateState {
    closed: bool,
    waiting: bool,
}

impl Gate {
    fn set(&self, change: impl FnOnce(&mut GateState)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    fn wait_while(&self, condition: impl Fn(&mut GateState) -> bool) {
        drop(self.changed.wait_while(self.state.lock().unwrap(), condition).unwrap());
    }

    fn close(&self) {
        self.set(|state| state.closed = true);
    }

    fn open(&self) {
        self.set(|state| state.closed = false);
    }

    fn await_committer(&self) {
        self.wait_while(|state| !state.waiting);
    }

    /// The committer's side.
    fn pass(&self) {
        self.set(|state| state.waiting = true);
        self.wait_while(|state| state.closed);
        self.set(|state| state.waiting = false);
    }
}

/// What ends with a stop.
struct Node {
    registry: Arc<Registry>,
    commit: Commit,
    committer: JoinHandle<nacre::error::Result<()>>,
}

impl Node {
    /// As a start does it: store, then registry, then committer.
    fn start(dir: &Path, world: (Durability, usize, &AwakeClock, &Arc<Gate>)) -> (Self, RestoreReport) {
        let (durability, batch_rows, clock, gate) = world;
        let registry = Arc::new(Registry::default());
        let now_ms = clock.now_ms();
        let mut fill = |rows: Vec<Row>| rows.into_iter().for_each(|row| drop(registry.apply(row, now_ms, true)));
        let options = Options { durability, ..Options::new(dir) };
        let (store, report) = Store::open(options, now_ms, &mut fill, &|_| {}).unwrap();
        let gate = gate.clone();
        let wait: Listener = Box::new(move |_, _| gate.pass());
        let options = commit::Options { queue_len: 1_000, batch_rows, on_failure: OnFailure::Refuse };
        let (commit, committer) = commit::start(registry.clone(), store, clock.clone(), options, vec![wait]).unwrap();
        (Self { registry, commit, committer }, report)
    }

    fn stop(self) {
        self.commit.stop();
        self.committer.join().unwrap().unwrap();
    }
}

impl World {
    /// With an empty data folder of its own.
    pub(crate) fn start(durability: Durability, batch_rows: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = AwakeClock::starting_at(1_000);
        let gate = Arc::default();
        let (node, report) = Node::start(dir.path(), (durability, batch_rows, &clock, &gate));
        assert_eq!((report.created, report.rows), (true, 0));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Self { dir, durability, batch_rows, clock, runtime, gate, node: Some(node) }
    }

    fn node(&self) -> &Node {
        self.node.as_ref().expect("only a restart takes it")
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.node().registry
    }

    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    pub(crate) fn failure(&self) -> Option<Arc<str>> {
        self.node().commit.status().failure()
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Time passes between steps, not within one.
    pub(crate) fn advance(&self) {
        self.clock.advance(10);
    }

    pub(crate) fn run(&self, command: Command) -> Result<Outcome> {
        self.runtime.block_on(self.node().commit.run(command))
    }

    /// Sends all of `commands` before any of them is looked at; `first` must be one that changes something.
    pub(crate) fn together(&self, first: Command, commands: Vec<Command>) -> Vec<Result<Outcome>> {
        self.gate.close();
        self.node().commit.post(first).unwrap();
        self.gate.await_committer();
        let mut context = Context::from_waker(Waker::noop());
        let sent: Vec<_> = commands
            .into_iter()
            .map(|command| {
                let mut run = Box::pin(self.node().commit.run(command));
                // The first poll sends; an answer at this point is a refusal.
                match run.as_mut().poll(&mut context) {
                    Poll::Ready(answer) => Err(answer),
                    Poll::Pending => Ok(run),
                }
            })
            .collect();
        self.gate.open();
        sent.into_iter().map(|sent| sent.map_or_else(|answer| answer, |run| self.runtime.block_on(run))).collect()
    }

    /// Stops and starts again. With `kill` the start finds the files as they were before the stop, which is what a
    /// killed process leaves; where the durability doesn't promise to survive that, the stop is a clean one.
    pub(crate) fn restart(&mut self, kill: bool) -> RestoreReport {
        let node = self.node.take().expect("only a restart takes it");
        if kill && matches!(self.durability, Durability::Synced | Durability::Written) {
            let left = tempfile::tempdir().unwrap();
            copy(self.dir.path(), left.path()).unwrap();
            node.stop();
            self.dir = left;
        } else {
            node.stop();
        }
        let (node, report) = Node::start(self.dir.path(), (self.durability, self.batch_rows, &self.clock, &self.gate));
        self.node = Some(node);
        report
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            node.stop();
        }
    }
}

/// Copies what is in a folder. Nothing is being written but what the store renames into place in the background, so
/// a file that goes meanwhile is no loss.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            match fs::copy(entry.path(), target) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}
