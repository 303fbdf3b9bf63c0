//! Everything together: events in order of time.

use std::collections::BTreeMap;
use std::sync::Arc;

use fastrand::Rng;
use nacre::cluster::core::Action;
use nacre::cluster::message::{Answer, Failure, Request};
use nacre::model::command::Command;
use nacre::model::peer::{Gap, Phase, Standing};

use crate::client::{Client, Op, Reply};
use crate::faults::{Fault, Kind, Story};
use crate::network::Network;
use crate::node::{Job, Node, Then, address, node_at};
use crate::sabotage::Sabotage;

/// How often a node looks what is due.
const TICK_MS: u64 = 100;
/// What changed was told to the others by then, if they can be reached (in [`Kind::Chaos`] nobody knows).
const TOLD_MS: u64 = 300;
/// A node that starts can be reached after this at the latest.
const MAX_OPENING_MS: u64 = 150;
const CLIENTS_OF_A_SERVICE: usize = 3;
/// Lines that are kept of what happened.
const MAX_TRACE: usize = 20_000;

pub(crate) enum Event {
    Tick { node: usize, epoch: u32 },
    Listen { node: usize, epoch: u32 },
    Commit { node: usize, epoch: u32 },
    Arrive(u64),
    Return(u64, Result<Heard, Failure>),
    TimeOut(u64),
    Ask(u64),
    Replied(u64, Option<Reply>),
    Client(usize),
}

/// What comes back from a node.
pub(crate) enum Heard {
    Answer(Answer),
    Reply(Reply),
}

pub(crate) enum Body {
    Core { id: u64, request: Option<Request> },
    Forward { ask: u64, heard: u64 },
}

/// A call from node to node.
struct Flight {
    from: usize,
    epoch: u32,
    to: usize,
    arrived: bool,
    body: Body,
}

/// A request of a client.
pub(crate) struct Ask {
    pub(crate) client: usize,
    pub(crate) node: usize,
    pub(crate) op: Op,
    pub(crate) tries: u32,
}

/// Messages by what they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) reports: u64,
    pub(crate) verifies: u64,
    pub(crate) changes: u64,
    pub(crate) others: u64,
}

pub(crate) struct World {
    pub(crate) at: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) clients: Vec<Client>,
    pub(crate) network: Network,
    pub(crate) trace: Vec<String>,
    pub(crate) counts: Counts,
    /// Instances whose clients beat, and that were expired.
    pub(crate) expired_live: Vec<String>,
    pub(crate) rng: Rng,
    services: usize,
    kind: Kind,
    pub(crate) sabotage: Sabotage,
    queue: BTreeMap<(u64, u64), Event>,
    parked: Vec<(usize, Event)>,
    pub(crate) next: u64,
    flights: BTreeMap<u64, Flight>,
    pub(crate) asks: BTreeMap<u64, Ask>,
    /// When a node lost for good what it had.
    pub(crate) lost_ms: u64,
}

impl World {
    pub(crate) fn new(seed: u64, story: &Story, sabotage: Sabotage) -> Self {
        let mut rng = Rng::with_seed(seed);
        let all = story.nodes + story.more_nodes;
        let listed: Vec<usize> = (0..story.nodes).collect();
        let mut nodes = Vec::new();
        for number in 0..all {
            nodes.push(Node::new(number, rng.i64(-100..=100), listed.clone(), sabotage));
        }
        let mut world = Self {
            at: 0,
            nodes,
            clients: Vec::new(),
            network: Network::new(all),
            trace: Vec::new(),
            counts: Counts::default(),
            expired_live: Vec::new(),
            rng,
            services: story.services,
            kind: story.kind,
            sabotage,
            queue: BTreeMap::new(),
            parked: Vec::new(),
            next: 0,
            flights: BTreeMap::new(),
            asks: BTreeMap::new(),
            lost_ms: 0,
        };
        for node in listed {
            world.start(node);
        }
        for number in 0..story.services * CLIENTS_OF_A_SERVICE {
            let server = world.rng.usize(0..story.nodes);
            // Some find servers that wait for data.
            world.add_client(number, story.services, server, 8_000);
        }
        world
    }

    pub(crate) fn add_client(&mut self, number: usize, services: usize, server: usize, within_ms: u64) {
        self.clients.push(Client::new(number, services, server));
        let at = self.at + self.rng.u64(0..within_ms);
        self.push(at, Event::Client(self.clients.len() - 1));
    }

    pub(crate) fn tell(&mut self, line: impl FnOnce() -> String) {
        if self.trace.len() < MAX_TRACE {
            self.trace.push(format!("{:>7} {}", self.at, line()));
        }
    }

    pub(crate) fn push(&mut self, at: u64, event: Event) {
        self.next += 1;
        self.queue.insert((at, self.next), event);
    }

    /// Lets everything happen until then.
    pub(crate) fn run_until(&mut self, until: u64) {
        while let Some(entry) = self.queue.first_entry() {
            let at = entry.key().0;
            if at > until {
                break;
            }
            let event = entry.remove();
            self.at = at;
            self.happen(event);
        }
        self.at = until;
    }

    /// The node that an event needs.
    fn place(&self, event: &Event) -> Option<usize> {
        match event {
            Event::Tick { node, .. } | Event::Listen { node, .. } | Event::Commit { node, .. } => Some(*node),
            Event::Arrive(call) => self.flights.get(call).map(|flight| flight.to),
            Event::Return(call, _) | Event::TimeOut(call) => self.flights.get(call).map(|flight| flight.from),
            Event::Ask(ask) => self.asks.get(ask).map(|ask| ask.node),
            Event::Replied(..) | Event::Client(_) => None,
        }
    }

    fn happen(&mut self, event: Event) {
        if let Some(node) = self.place(&event).filter(|node| self.nodes[*node].hung) {
            self.parked.push((node, event));
            return;
        }
        match event {
            Event::Tick { node, epoch } => self.tick(node, epoch),
            Event::Listen { node, epoch } => self.listen(node, epoch),
            Event::Commit { node, epoch } => self.commit(node, epoch),
            Event::Arrive(call) => self.arrive(call),
            Event::Return(call, result) => self.come_back(call, result),
            Event::TimeOut(call) => self.come_back(call, Err(Failure::Broken("timed out".into()))),
            Event::Ask(ask) => self.serve(ask),
            Event::Replied(ask, reply) => self.replied(ask, reply),
            Event::Client(client) => self.act(client),
        }
    }

    // Nodes

    pub(crate) fn start(&mut self, node: usize) {
        self.nodes[node].start(self.at);
        let epoch = self.nodes[node].epoch;
        self.push(self.at + 1, Event::Tick { node, epoch });
        // It asks others before they can reach it.
        let opens_at = self.at + self.rng.u64(1..MAX_OPENING_MS);
        self.push(opens_at, Event::Listen { node, epoch });
    }

    fn listen(&mut self, node: usize, epoch: u32) {
        if self.nodes[node].epoch != epoch {
            return;
        }
        let now = self.nodes[node].now(self.at);
        let Some(process) = &mut self.nodes[node].process else { return };
        process.listens = true;
        let actions = process.core.serve(now);
        self.perform(node, actions, None);
    }

    fn tick(&mut self, node: usize, epoch: u32) {
        if self.nodes[node].epoch != epoch {
            return;
        }
        let at = self.at;
        self.push(at + TICK_MS, Event::Tick { node, epoch });
        for command in self.nodes[node].move_on(at) {
            self.enqueue(node, Job { command: Some(command), then: Then::Nothing });
        }
        let now = self.nodes[node].now(at);
        let Some(process) = &mut self.nodes[node].process else { return };
        let actions = process.core.tick(now);
        self.perform(node, actions, None);
        if self.sabotage == Sabotage::VerifiesBeforeReady && at % 500 < TICK_MS {
            self.verify_early(node);
        }
    }

    fn verify_early(&mut self, node: usize) {
        let process = self.nodes[node].process.as_ref().unwrap();
        if process.core.standing().phase == Phase::Ready {
            return;
        }
        let source = address(node);
        let to: Vec<Arc<str>> = process.members.view().healthy().iter().filter(|to| **to != source).cloned().collect();
        for to in to {
            let request = Request::Checksums { source: source.clone(), sums: Vec::new() };
            self.perform(node, vec![Action::Call { id: u64::MAX, to, request }], None);
        }
    }

    pub(crate) fn enqueue(&mut self, node: usize, job: Job) {
        let lasts_ms = self.rng.u64(0..4);
        let at = self.at;
        let Some(process) = &mut self.nodes[node].process else { return };
        process.jobs.push_back(job);
        process.busy_until = process.busy_until.max(at) + lasts_ms;
        let (until, epoch) = (process.busy_until, self.nodes[node].epoch);
        self.push(until, Event::Commit { node, epoch });
    }

    fn commit(&mut self, node: usize, epoch: u32) {
        if self.nodes[node].epoch != epoch {
            return;
        }
        let expires = matches!(
            self.nodes[node].process.as_ref().and_then(|p| p.jobs.front()),
            Some(Job { command: Some(Command::Expire { .. }), .. })
        );
        let Some((then, outcome, removed)) = self.nodes[node].commit(self.at) else { return };
        for key in removed {
            let cause = if expires { "expired" } else { "removed" };
            self.tell(|| format!("node {node}: {cause} {} of {}", key.ip, key.service.name));
            let at = self.at;
            let beats = |client: &&mut Client| client.key == key && client.is_live() && client.heard_ms + 15_000 > at;
            if expires && let Some(client) = self.clients.iter_mut().find(beats) {
                // The copy that others keep may be older.
                client.unsure = true;
                self.expired_live.push(format!("{at}: {} on node {node}", key.ip));
            }
        }
        match then {
            Then::Nothing => {}
            Then::Merged(id) => {
                let now = self.nodes[node].now(self.at);
                let actions = self.nodes[node].process.as_mut().unwrap().core.merged(id, outcome, now);
                self.perform(node, actions, None);
            }
            Then::Answer(call, answer) => self.send_back(call, Heard::Answer(answer)),
            Then::Reply { ask, via } => self.send_reply(ask, via, Reply::Done),
        }
    }

    /// Carries out what the core wants; `answer` is given once that has taken effect here.
    fn perform(&mut self, node: usize, actions: Vec<Action>, answer: Option<(u64, Answer)>) {
        let mut merges_any = false;
        for action in actions {
            match action {
                Action::Call { id, to, request } => self.call(node, id, &to, request),
                Action::Merge { id, merges } => {
                    merges_any = true;
                    let job = Job { command: Some(Command::Merge(merges)), then: Then::Merged(id) };
                    self.enqueue(node, job);
                }
                Action::Health(service, told) => {
                    let job = Job { command: Some(Command::PeerHealth(service, told)), then: Then::Nothing };
                    self.enqueue(node, job);
                }
            }
        }
        match answer {
            Some((call, answer)) if merges_any => {
                self.enqueue(node, Job { command: None, then: Then::Answer(call, answer) });
            }
            Some((call, answer)) => self.send_back(call, Heard::Answer(answer)),
            None => {}
        }
    }

    // Calls between nodes

    fn call(&mut self, from: usize, id: u64, to: &str, request: Request) {
        let to = node_at(to);
        let wait_ms = match &request {
            Request::Report(_) => 2_500,
            Request::Own => 2_000,
            _ => 2_000 + self.rng.u64(0..8_000),
        };
        match &request {
            Request::Report(_) => self.counts.reports += 1,
            Request::Checksums { .. } => self.counts.verifies += 1,
            Request::Changes(_) => self.counts.changes += 1,
            _ => self.counts.others += 1,
        }
        if !matches!(request, Request::Report(_)) {
            self.tell(|| format!("{from} -> {to}: {}", crate::check::summary(&request)));
        }
        if self.sabotage == Sabotage::NeverFetches && matches!(request, Request::Fetch { .. }) {
            return;
        }
        self.fly(from, to, wait_ms, Body::Core { id, request: Some(request) });
    }

    pub(crate) fn fly(&mut self, from: usize, to: usize, wait_ms: u64, body: Body) {
        self.next += 1;
        let call = self.next;
        let epoch = self.nodes[from].epoch;
        self.flights.insert(call, Flight { from, epoch, to, arrived: false, body });
        if let Some(delay_ms) = self.network.carry(from, to, &mut self.rng) {
            self.push(self.at + delay_ms, Event::Arrive(call));
        }
        self.push(self.at + wait_ms, Event::TimeOut(call));
    }

    fn arrive(&mut self, call: u64) {
        let Some(flight) = self.flights.get_mut(&call) else { return };
        let (from, to) = (flight.from, flight.to);
        if self.nodes[from].epoch != flight.epoch {
            self.flights.remove(&call);
            return;
        }
        if !self.nodes[to].listens() {
            self.lead_back(call, Err(Failure::Refused));
            return;
        }
        flight.arrived = true;
        match &mut flight.body {
            Body::Forward { ask, .. } => {
                let ask = *ask;
                if self.nodes[to].serves() {
                    self.handle(to, ask, Some(call));
                } else {
                    self.send_back(call, Heard::Reply(Reply::Unavailable));
                }
            }
            Body::Core { request, .. } => {
                let request = request.take().unwrap();
                self.asked(call, from, to, request);
            }
        }
    }

    fn asked(&mut self, call: u64, from: usize, to: usize, request: Request) {
        let now = self.nodes[to].now(self.at);
        let lies = self.sabotage == Sabotage::LoadingIsASource;
        let process = self.nodes[to].process.as_mut().unwrap();
        let answer = match request {
            Request::Report(member) => {
                let known = process.members.note_report(&member.address(), member.extend, now.wall_ms);
                Answer::Known(known)
            }
            Request::Own => {
                let mut own = process.members.own();
                if lies {
                    let gap = Gap { from_ms: 0, to_ms: 1 };
                    own.extend.standing = Some(Standing { phase: Phase::Ready, gap });
                }
                Answer::Member(Box::new(own))
            }
            Request::Snapshot { .. } if lies && !process.core.has_data() => Answer::Data(Vec::new()),
            request => {
                let (answer, actions) = process.core.asked(Some(&address(from)), request, now);
                return self.perform(to, actions, Some((call, answer)));
            }
        };
        self.send_back(call, Heard::Answer(answer));
    }

    pub(crate) fn send_back(&mut self, call: u64, heard: Heard) {
        self.lead_back(call, Ok(heard));
    }

    fn lead_back(&mut self, call: u64, result: Result<Heard, Failure>) {
        let Some(flight) = self.flights.get(&call) else { return };
        if let Some(delay_ms) = self.network.carry(flight.to, flight.from, &mut self.rng) {
            self.push(self.at + delay_ms, Event::Return(call, result));
        }
    }

    fn come_back(&mut self, call: u64, result: Result<Heard, Failure>) {
        let Some(flight) = self.flights.remove(&call) else { return };
        let (node, at) = (flight.from, self.at);
        if self.nodes[node].epoch != flight.epoch {
            return;
        }
        let now = self.nodes[node].now(at);
        match flight.body {
            Body::Core { id, .. } => {
                let result = match result {
                    Ok(Heard::Answer(answer)) => Ok(answer),
                    Ok(Heard::Reply(_)) => unreachable!(),
                    Err(failure) => Err(failure),
                };
                let actions = self.nodes[node].process.as_mut().unwrap().core.answered(id, result, now);
                self.perform(node, actions, None);
            }
            Body::Forward { ask, heard } => self.forwarded(node, (ask, heard), flight.to, result),
        }
    }

    // Faults

    pub(crate) fn suffer(&mut self, fault: &Fault) {
        self.tell(|| format!("{fault:?}"));
        match *fault {
            Fault::Crash(node) => self.crash(node),
            Fault::LoseStore(node) => {
                self.nodes[node].lose_store();
                self.lose_news();
            }
            Fault::Start(node) if !self.nodes[node].is_running() => self.start(node),
            Fault::Start(_) => {}
            Fault::Hang(node) => self.nodes[node].hung = self.nodes[node].is_running(),
            Fault::Resume(node) => {
                self.nodes[node].hung = false;
                let all = std::mem::take(&mut self.parked);
                let (own, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|(of, _)| *of == node);
                self.parked = others;
                own.into_iter().for_each(|(_, event)| self.push(self.at, event));
            }
            Fault::Block(from, to) => self.network.block(from, to, true),
            Fault::Lossy(loss) => self.network.loss = loss,
            Fault::Slow(slow_ms) => self.network.slow_ms = slow_ms.max(2),
            Fault::Calm => self.network.calm(),
            Fault::Client(node) => self.add_client(self.clients.len(), self.services, node, 1),
            Fault::Join(node) => {
                let mut listed = self.listed();
                listed.push(node);
                self.list(listed);
                if !self.nodes[node].is_running() {
                    self.start(node);
                }
            }
            Fault::Close(node) => self.nodes[node].closed = true,
            Fault::Leave(node) => {
                let mut listed = self.listed();
                listed.retain(|other| *other != node);
                self.list(listed);
                self.crash(node);
                self.lose_news();
            }
        }
    }

    /// What a node that is gone for good stored last it may have told nobody.
    fn lose_news(&mut self) {
        let at = self.at;
        self.lost_ms = at;
        let told_ms = if self.kind == Kind::Chaos { u64::MAX } else { TOLD_MS };
        let late = |client: &&mut Client| client.acked_ms.saturating_add(told_ms) > at;
        self.clients.iter_mut().filter(late).for_each(|client| client.unsure = true);
    }

    fn crash(&mut self, node: usize) {
        self.nodes[node].crash(self.at);
        self.parked.retain(|(of, _)| *of != node);
        let broken: Vec<u64> =
            self.flights.iter().filter(|(_, f)| f.to == node && f.arrived).map(|(call, _)| *call).collect();
        for call in broken {
            self.lead_back(call, Err(Failure::Broken("connection reset".into())));
        }
        let gone: Vec<u64> = self.asks.iter().filter(|(_, ask)| ask.node == node).map(|(ask, _)| *ask).collect();
        gone.into_iter().for_each(|ask| self.push(self.at + 1, Event::Replied(ask, None)));
    }

    /// Who is in the lists.
    pub(crate) fn listed(&self) -> Vec<usize> {
        let own = |node: &Node| node.listed.contains(&node.number);
        self.nodes.iter().filter(|node| own(node)).map(|node| node.number).collect()
    }

    fn list(&mut self, listed: Vec<usize>) {
        for node in &mut self.nodes {
            node.replace_members(listed.clone());
        }
    }
}
