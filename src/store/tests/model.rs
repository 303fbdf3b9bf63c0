//! Random runs against a model: whatever happens, what is found is what was stored at some moment not before the last
//! one that was acknowledged as durable, and it is found sound.

use fastrand::Rng;

use super::*;

/// How many runs, and the first seed of them: for long runs.
const RUNS: &str = "STORE_MODEL_RUNS";
const SEED: &str = "STORE_MODEL_SEED";

/// What a disk loses or keeps as a whole.
const BLOCK_BYTES: usize = 4096;

struct Run {
    random: Rng,
    seed: u64,
    dir: tempfile::TempDir,
    options: Options,
    store: Option<Store>,
    now_ms: u64,
    large: bool,
    /// What was stored, at every moment since the last that is durable.
    states: Vec<Content>,
    /// The first of them that a killed process may leave.
    killed: usize,
    marks: [u64; 3],
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let modes = [Durability::Synced, Durability::Synced, Durability::Interval, Durability::Written];
        let durability = random.choice(modes).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let min = random.choice([0, 1 << 20]).unwrap();
        let options = Options { compact_min_bytes: min, compact_factor: 1, ..options(dir.path(), durability) };
        let large = random.u8(..4) == 0;
        let store = open_with(options.clone()).unwrap().store;
        let states = vec![Content::new()];
        Self { random, seed, dir, options, store: Some(store), now_ms: NOW_MS, large, states, killed: 0, marks: [0; 3] }
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().unwrap()
    }

    fn content(&self) -> &Content {
        self.states.last().unwrap()
    }

    fn row(&mut self) -> Row {
        let service = format!("s{}", self.random.u8(..6));
        let port = self.random.i32(0..60);
        let Row::Instance(key, one) = instance(&service, port, self.random.f64()) else { unreachable!() };
        if self.random.u8(..10) < 3 {
            return Row::Instance(key, None);
        }
        let size = match self.random.u8(..20) {
            0 => self.random.usize(..64_000),
            1..10 if self.large => self.random.usize(..40_000),
            _ => self.random.usize(..200),
        };
        let mut one = (*one.unwrap()).clone();
        one.metadata = Some([("x", "y".repeat(size).as_str())].into_iter().collect());
        Row::Instance(key, Some(Arc::new(one)))
    }

    fn rows(&mut self) -> Vec<Row> {
        let many = if self.random.u8(..25) == 0 { self.random.usize(50..1600) } else { self.random.usize(1..6) };
        if many < 6 {
            return (0..many).map(|_| self.row()).collect();
        }
        let weight = self.random.f64();
        (0..many).map(|at| instance("many", i32::try_from(at % 700).unwrap(), weight)).collect()
    }

    /// Takes `rows` as stored last.
    fn stored(&mut self, rows: &[Row]) {
        let mut content = self.content().clone();
        apply(&mut content, rows);
        self.states.push(content);
    }

    /// Forgets what can no longer be found, after something that may have made all durable.
    fn settle(&mut self, is_handed_over: bool) {
        let stats = self.store().stats();
        let marks = [stats.syncs.spread().count(), count(&stats.compactions), count(&stats.rebuilds)];
        if marks != self.marks {
            self.durable();
            self.marks = marks;
        } else if is_handed_over {
            self.killed = self.states.len() - 1;
        }
    }

    fn durable(&mut self) {
        self.states.drain(..self.states.len() - 1);
        self.killed = 0;
    }

    fn append(&mut self, later: bool) {
        let rows = self.rows();
        if later {
            self.store().append_later(&rows).unwrap()
        } else {
            self.store().append(&rows).unwrap()
        }
        self.stored(&rows);
        let is_handed_over = !later && self.options.durability != Durability::Interval;
        self.settle(is_handed_over);
    }

    fn tick(&mut self) {
        self.now_ms += self.random.choice([10, 100, 300, 1_100, 61_000]).unwrap();
        let now_ms = self.now_ms;
        self.store().tick(now_ms).unwrap();
        self.settle(self.options.durability != Durability::Interval);
    }

    /// Opens `dir`, which may hold any state since `first`; says what it holds.
    fn check(&self, dir: &Path, first: usize, what: &str) -> (Store, Content) {
        let seed = self.seed;
        let Opened { store, report, content } = open_with(Options { dir: dir.into(), ..self.options.clone() }).unwrap();
        assert_eq!(report.damage, None, "seed {seed}: {what}");
        let found = self.states[first..].contains(&content);
        let (rows, last) = (content.len(), self.content().len());
        assert!(!stamps(&content).contains(&0), "seed {seed}: {what}");
        assert!(found, "seed {seed}: {what}: {rows} rows are no state of {} up to {last} rows", self.states.len());
        (store, content)
    }

    fn reopen(&mut self) {
        self.store.take().unwrap().close().unwrap();
        self.durable();
        let (store, _) = self.check(self.dir.path(), 0, "closed");
        self.goes_on(store);
    }

    fn goes_on(&mut self, store: Store) {
        self.store = Some(store);
        self.marks = [0; 3];
    }

    fn kill(&mut self) {
        let left = image(self.dir.path());
        let (store, content) = self.check(left.path(), self.killed, "killed");
        if self.random.bool() {
            drop(self.store.take());
            self.options.dir = left.path().into();
            self.dir = left;
            self.states = vec![content];
            self.killed = 0;
            self.goes_on(store);
        }
    }

    /// What is written after a sync gets to the disk in part, in any order.
    fn cut_power(&mut self) {
        if self.options.durability == Durability::Written {
            return;
        }
        let before = image(self.dir.path());
        let first_states = self.states.clone();
        let (generation, syncs) = (fs::read(before.path().join("CURRENT")).unwrap(), self.marks);
        let mut since = Vec::new();
        for _ in 0..self.random.usize(1..4) {
            match self.random.u8(..4) {
                0 => self.tick(),
                1 => self.append(false),
                _ => self.append(true),
            }
            since.push(self.content().clone());
            if self.marks != syncs {
                break;
            }
        }
        if fs::read(self.dir.path().join("CURRENT")).unwrap() != generation {
            return;
        }
        let states = std::mem::replace(&mut self.states, [first_states, since].concat());
        let name = String::from_utf8(generation).unwrap();
        for _ in 0..3 {
            let left = image(self.dir.path());
            let db = left.path().join(name.trim()).join("db");
            let old = fs::read(before.path().join(name.trim()).join("db")).unwrap();
            let new = fs::read(&db).unwrap();
            fs::write(&db, self.mixed(&old, &new)).unwrap();
            if self.marks != syncs || self.random.bool() {
                fs::copy(before.path().join("sidecar"), left.path().join("sidecar")).unwrap();
            }
            self.check(left.path(), 0, "power cut");
        }
        self.states = states;
    }

    fn mixed(&mut self, old: &[u8], new: &[u8]) -> Vec<u8> {
        let odds = self.random.f64();
        let mut mixed = new.to_vec();
        if self.random.bool() {
            mixed.truncate(self.random.usize(old.len()..=new.len().max(old.len())));
        }
        for (at, block) in mixed.chunks_mut(BLOCK_BYTES).enumerate() {
            if self.random.f64() < odds {
                let there = old.get(at * BLOCK_BYTES..).unwrap_or_default();
                let there = there.iter().copied().chain(std::iter::repeat(0));
                block.iter_mut().zip(there).for_each(|(to, from)| *to = from);
            }
        }
        mixed
    }

    /// A write or a sync fails, and the store is made anew or put in order in place.
    fn fail(&mut self) {
        let (is_sync, full) = (self.random.bool(), self.random.bool());
        let faults = &self.store().disk.as_ref().unwrap().table().faults;
        let fault = if is_sync { &faults.sync } else { &faults.write };
        fault.store(true, Relaxed);
        let rows = self.rows();
        let refused = self.store().append(&rows).is_err();
        let before = self.content().clone();
        self.stored(&rows);
        if !refused {
            // It waits, or needed no sync: the store fails when it is told to look again.
            let now_ms = self.now_ms + 1000;
            let _ = self.store().tick(now_ms);
        }
        let registry = if refused { before } else { self.content().clone() };
        let left = image(self.dir.path());
        self.check(left.path(), self.killed, "killed while failed");
        if full {
            let refusal = self.dir.path().join("refuse-new");
            fs::write(&refusal, "no space left (os error 28)").unwrap();
            self.store().rebuild(&mut registry.values().cloned()).unwrap_err();
            let left = image(self.dir.path());
            fs::remove_file(left.path().join("refuse-new")).unwrap();
            self.check(left.path(), self.killed, "killed before it is healed");
            let healed = self.store().rebuild(&mut registry.values().cloned());
            fs::remove_file(&refusal).unwrap();
            assert!(healed.is_ok() || is_sync, "seed {}: {healed:?}", self.seed);
            if healed.is_err() {
                self.store().rebuild(&mut registry.values().cloned()).unwrap();
            }
        } else {
            self.store().rebuild(&mut registry.values().cloned()).unwrap();
        }
        self.states.push(registry);
        self.settle(true);
        assert_eq!(self.states.len(), 1);
    }

    fn step(&mut self) {
        match self.random.u8(..100) {
            0..50 => self.append(false),
            50..70 => self.append(true),
            70..90 => self.tick(),
            90..93 => self.reopen(),
            93..96 => self.kill(),
            96..98 => self.cut_power(),
            _ => self.fail(),
        }
        let rows = self.content().len() as u64;
        assert_eq!(count(&self.store().stats().rows), rows, "seed {}", self.seed);
    }
}

#[test]
fn whatever_happens_what_is_found_was_stored() {
    let of = |name: &str, default| std::env::var(name).ok().map_or(default, |text| text.parse().unwrap());
    let first: u64 = of(SEED, 1);
    for seed in first..first + of(RUNS, 4) {
        let mut run = Run::new(seed);
        (0..150).for_each(|_| run.step());
        run.reopen();
    }
}
