//! What goes wrong, when, by seed.

use fastrand::Rng;

/// Faults begin, ms after the start; in some stories when copies have long not been told of.
const BEGIN_MS: u64 = 15_000;
const LATE_MS: u64 = 50_000;

/// What a seed is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    CrashOne,
    CrashTwo,
    CrashAll,
    Rolling,
    StoreLost,
    Partition,
    OneWay,
    Flapping,
    Loss,
    Hung,
    JoinAndLeave,
    Chaos,
}

const KINDS: [Kind; 12] = [
    Kind::CrashOne,
    Kind::CrashTwo,
    Kind::CrashAll,
    Kind::Rolling,
    Kind::StoreLost,
    Kind::Partition,
    Kind::OneWay,
    Kind::Flapping,
    Kind::Loss,
    Kind::Hung,
    Kind::JoinAndLeave,
    Kind::Chaos,
];

impl Kind {
    pub(crate) fn of(seed: u64) -> Self {
        KINDS[seed as usize % KINDS.len()]
    }

    /// Nodes go and come, and that is all: nothing that had settled may ever be missing, nobody has to register again.
    pub(crate) fn is_strict(self) -> bool {
        matches!(self, Kind::CrashOne | Kind::CrashTwo | Kind::CrashAll | Kind::Rolling | Kind::StoreLost)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process is killed.
    Crash(usize),
    /// And what it had stored is gone.
    LoseStore(usize),
    Start(usize),
    Hang(usize),
    Resume(usize),
    /// Nothing gets from the one to the other.
    Block(usize, usize),
    /// So many of 1,000 messages are lost.
    Lossy(u32),
    /// Messages take up to so many ms.
    Slow(u64),
    /// A node that was not in the lists is from now on, and starts.
    Join(usize),
    /// A node takes no more requests of clients.
    Close(usize),
    /// A node goes from the lists, and stops.
    Leave(usize),
    /// All links are as they should be.
    Calm,
    /// A client comes and registers through this node.
    Client(usize),
}

/// All of it.
pub(crate) struct Story {
    pub(crate) kind: Kind,
    /// Those that run from the start; others may join.
    pub(crate) nodes: usize,
    pub(crate) more_nodes: usize,
    pub(crate) services: usize,
    pub(crate) begins_ms: u64,
    pub(crate) faults: Vec<(u64, Fault)>,
    /// Nothing that had settled may ever be missing, and nobody has to register again.
    pub(crate) strict: bool,
    /// Clients come, change and go while there are faults.
    pub(crate) stirs: bool,
    /// All is well again.
    pub(crate) healed_ms: u64,
}

impl Story {
    pub(crate) fn of(seed: u64, kind: Kind) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x5eed_0000_0000);
        let nodes = if rng.u32(0..5) == 0 { 5 } else { 3 };
        let begins_ms = if rng.u32(0..4) == 0 { LATE_MS } else { BEGIN_MS };
        let mut story = Self::calm(kind, nodes, begins_ms);
        story.plan(&mut rng);
        story.end();
        story
    }

    /// Nothing happens.
    fn calm(kind: Kind, nodes: usize, begins_ms: u64) -> Self {
        Self {
            kind,
            nodes,
            more_nodes: 0,
            services: 10,
            begins_ms,
            faults: Vec::new(),
            stirs: true,
            strict: kind.is_strict(),
            healed_ms: 0,
        }
    }

    /// A story that was told by hand; times are from when the faults begin.
    pub(crate) fn told(kind: Kind, nodes: usize, faults: impl IntoIterator<Item = (u64, Fault)>) -> Self {
        let mut story = Self { strict: true, stirs: false, ..Self::calm(kind, nodes, LATE_MS) };
        story.faults = faults.into_iter().map(|(at, fault)| (LATE_MS + at, fault)).collect();
        let joins = |(_, fault): &&(u64, Fault)| matches!(fault, Fault::Join(node) if *node >= nodes);
        story.more_nodes = story.faults.iter().filter(joins).count();
        story.end();
        story
    }

    fn end(&mut self) {
        self.faults.sort_by_key(|(at, _)| *at);
        self.healed_ms = self.faults.last().map_or(self.begins_ms, |(at, _)| *at) + 1;
        self.recover();
    }

    fn add(&mut self, at: u64, fault: Fault) {
        self.faults.push((at, fault));
    }

    /// What was not put right yet is put right at the end.
    fn recover(&mut self) {
        let at = self.healed_ms;
        let all = self.nodes + self.more_nodes;
        let mut down = vec![false; all];
        let mut hung = vec![false; all];
        let mut out: Vec<bool> = (0..all).map(|node| node >= self.nodes).collect();
        for (_, fault) in &self.faults {
            match fault {
                Fault::Crash(node) => (down[*node], hung[*node]) = (true, false),
                Fault::Start(node) => down[*node] = false,
                Fault::Hang(node) => hung[*node] = true,
                Fault::Resume(node) => hung[*node] = false,
                Fault::Join(node) => (out[*node], down[*node]) = (false, false),
                Fault::Leave(node) => (out[*node], hung[*node]) = (true, false),
                _ => {}
            }
        }
        self.add(at, Fault::Calm);
        for node in 0..all {
            if hung[node] {
                self.add(at, Fault::Resume(node));
            }
            if down[node] && !out[node] {
                self.add(at, Fault::Start(node));
            }
        }
    }

    fn some_nodes(&self, count: usize, rng: &mut Rng) -> Vec<usize> {
        let mut nodes: Vec<usize> = (0..self.nodes).collect();
        rng.shuffle(&mut nodes);
        nodes.truncate(count);
        nodes
    }

    fn plan(&mut self, rng: &mut Rng) {
        let begin = self.begins_ms + rng.u64(0..3_000);
        match self.kind {
            Kind::CrashOne => self.crash(1, begin, rng),
            Kind::CrashTwo => self.crash(2, begin, rng),
            Kind::CrashAll => self.crash(self.nodes, begin, rng),
            Kind::Rolling => {
                let mut at = begin;
                for node in self.some_nodes(self.nodes, rng) {
                    self.add(at, Fault::Crash(node));
                    at += rng.u64(300..6_000);
                    self.add(at, Fault::Start(node));
                    at += rng.u64(500..12_000);
                }
            }
            Kind::StoreLost => {
                let node = rng.usize(0..self.nodes);
                self.add(begin, Fault::Crash(node));
                self.add(begin, Fault::LoseStore(node));
                let start = begin + rng.u64(300..20_000);
                self.add(start, Fault::Start(node));
                // Two that have nothing must not take that for something.
                if rng.bool() {
                    let other = (node + 1) % self.nodes;
                    self.add(begin, Fault::Crash(other));
                    self.add(begin, Fault::LoseStore(other));
                    self.add(start, Fault::Start(other));
                }
            }
            Kind::Partition => self.partition(begin, false, rng),
            Kind::OneWay => self.partition(begin, true, rng),
            Kind::Flapping => {
                let mut at = begin;
                for _ in 0..rng.u32(3..9) {
                    let one_way = rng.bool();
                    self.partition(at, one_way, rng);
                    at += rng.u64(500..5_000);
                    self.add(at, Fault::Calm);
                    at += rng.u64(500..5_000);
                }
                self.faults.retain(|(when, _)| *when < at);
            }
            Kind::Loss => {
                self.add(begin, Fault::Lossy(rng.u32(20..250)));
                self.add(begin, Fault::Slow(rng.u64(50..3_000)));
                self.add(begin + rng.u64(10_000..40_000), Fault::Calm);
            }
            Kind::Hung => {
                let node = rng.usize(0..self.nodes);
                self.add(begin, Fault::Hang(node));
                self.add(begin + rng.u64(1_000..40_000), Fault::Resume(node));
            }
            Kind::JoinAndLeave => self.join_and_leave(begin, rng),
            Kind::Chaos => self.chaos(begin, rng),
        }
    }

    fn crash(&mut self, count: usize, begin: u64, rng: &mut Rng) {
        let together = rng.bool();
        let longest = if rng.bool() { 3_000 } else { 25_000 };
        let close = rng.bool().then(|| begin + 4_000 + rng.u64(0..longest));
        let mut last_start = begin;
        for node in self.some_nodes(count, rng) {
            let at = begin + if together { 0 } else { rng.u64(0..4_000) };
            self.add(at, Fault::Crash(node));
            let start = match close {
                Some(close) => close + rng.u64(0..300),
                None => at + rng.u64(200..longest),
            };
            self.add(start, Fault::Start(node));
            last_start = last_start.max(start);
        }
        // Servers that start are slow.
        if rng.bool() {
            self.add(begin, Fault::Slow(rng.u64(10..300)));
            self.add(last_start + 3_000, Fault::Calm);
        }
    }

    fn partition(&mut self, begin: u64, one_way: bool, rng: &mut Rng) {
        let nodes = self.some_nodes(self.nodes, rng);
        let (left, right) = nodes.split_at(rng.usize(1..self.nodes));
        for &a in left {
            for &b in right {
                self.add(begin, Fault::Block(a, b));
                if !one_way {
                    self.add(begin, Fault::Block(b, a));
                }
            }
        }
        self.add(begin + rng.u64(1_000..45_000), Fault::Calm);
    }

    fn join_and_leave(&mut self, begin: u64, rng: &mut Rng) {
        self.more_nodes = rng.usize(1..3);
        let mut at = begin;
        for node in self.nodes..self.nodes + self.more_nodes {
            self.add(at, Fault::Join(node));
            at += rng.u64(500..9_000);
        }
        let leavers = rng.usize(1..self.nodes);
        for node in self.some_nodes(leavers, rng) {
            self.add(at, Fault::Close(node));
            at += 1_000;
            self.add(at, Fault::Leave(node));
            at += rng.u64(500..9_000);
            if rng.bool() {
                self.add(at, Fault::Join(node));
                at += rng.u64(500..9_000);
            }
        }
    }

    fn chaos(&mut self, begin: u64, rng: &mut Rng) {
        let mut at = begin;
        let mut down = vec![false; self.nodes];
        let mut hung = vec![false; self.nodes];
        for _ in 0..rng.u32(5..16) {
            let node = rng.usize(0..self.nodes);
            let other = (node + rng.usize(1..self.nodes)) % self.nodes;
            match rng.u32(0..9) {
                0 | 1 if !down[node] => {
                    (down[node], hung[node]) = (true, false);
                    self.add(at, Fault::Crash(node));
                    // One store at most is lost at a time: else there is nothing to come back from.
                    if rng.u32(0..4) == 0 && down.iter().filter(|down| **down).count() == 1 {
                        self.add(at, Fault::LoseStore(node));
                    }
                }
                0..=3 if down[node] => {
                    down[node] = false;
                    self.add(at, Fault::Start(node));
                }
                2 if !hung[node] => {
                    hung[node] = true;
                    self.add(at, Fault::Hang(node));
                }
                2 | 3 if hung[node] => {
                    hung[node] = false;
                    self.add(at, Fault::Resume(node));
                }
                4 | 5 => self.add(at, Fault::Block(node, other)),
                6 => self.add(at, Fault::Lossy(rng.u32(0..200))),
                7 => self.add(at, Fault::Slow(rng.u64(4..2_500))),
                _ => self.add(at, Fault::Calm),
            }
            at += rng.u64(200..6_000);
        }
    }
}
