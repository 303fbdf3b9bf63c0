//! Requests of clients, as the HTTP layer of a server handles them: here, or by forwarding them to who owns the service.

use nacre::cluster::message::Failure;
use nacre::cluster::ownership::Owner;
use nacre::model::command::Command;

use crate::client::{self, BEAT_MS, Client, Goal, Op, PATIENCE_MS, PAUSE_MS, Reply};
use crate::node::{Job, Then, address};
use crate::sabotage::Sabotage;
use crate::world::{Ask, Body, Event, Heard, World};

const FORWARD_MS: u64 = 2_000;

impl World {
    pub(crate) fn act(&mut self, number: usize) {
        let client = &self.clients[number];
        let (Some(op), None) = (client.next(), client.ask) else { return };
        self.next += 1;
        let ask = self.next;
        let node = client.server;
        self.clients[number].ask = Some(ask);
        self.asks.insert(ask, Ask { client: number, node, op, tries: 0 });
        let delay_ms = self.rng.u64(1..4);
        self.push(self.at + delay_ms, Event::Ask(ask));
        self.push(self.at + PATIENCE_MS, Event::Replied(ask, None));
    }

    pub(crate) fn serve(&mut self, ask: u64) {
        let Some(asked) = self.asks.get_mut(&ask) else { return };
        let (node, client) = (asked.node, asked.client);
        if !self.nodes[node].listens() {
            return self.push(self.at + 1, Event::Replied(ask, None));
        }
        if !self.nodes[node].serves() || self.nodes[node].closed {
            return self.push(self.at + 1, Event::Replied(ask, Some(Reply::Unavailable)));
        }
        asked.tries += 1;
        let may_go_on = asked.tries <= 3;
        match self.nodes[node].owner(&self.clients[client].key.service) {
            Some(owner) if may_go_on => {
                let process = self.nodes[node].process.as_ref();
                let heard = process.map_or(0, |process| process.members.heard(&address(owner)));
                self.fly(node, owner, FORWARD_MS, Body::Forward { ask, heard });
            }
            _ => self.handle(node, ask, None),
        }
    }

    pub(crate) fn forwarded(
        &mut self,
        node: usize,
        (ask, heard): (u64, u64),
        to: usize,
        result: Result<Heard, Failure>,
    ) {
        let now_ms = self.nodes[node].now(self.at).awake_ms;
        let members = self.nodes[node].process.as_ref().unwrap().members.clone();
        match result {
            Ok(Heard::Reply(Reply::Unavailable)) => self.handle(node, ask, None),
            Ok(Heard::Reply(reply)) => self.send_reply(ask, None, reply),
            Ok(Heard::Answer(_)) => unreachable!(),
            Err(Failure::Refused) => {
                members.note_refusal(&address(to), heard, now_ms);
                self.serve(ask);
            }
            Err(_) => {
                members.note_failure(&address(to), now_ms);
                if self.sabotage == Sabotage::NeverHandlesForOthers {
                    return self.send_reply(ask, None, Reply::Unavailable);
                }
                self.handle(node, ask, None);
            }
        }
    }

    /// The node does it itself.
    pub(crate) fn handle(&mut self, node: usize, ask: u64, via: Option<u64>) {
        // Whoever asked has gone.
        let Some(Ask { client, op, .. }) = self.asks.get(&ask) else { return };
        let key = self.clients[*client].key.clone();
        let now = self.nodes[node].now(self.at);
        let command = match *op {
            Op::Register(version) => Command::Register(key, client::instance(version)),
            Op::Deregister => Command::Deregister(key),
            Op::Beat => {
                let process = self.nodes[node].process.as_mut().unwrap();
                let Some(slot) = process.registry.find(&key) else {
                    self.tell(|| format!("node {node}: no {} of {}", key.ip, key.service.name));
                    return self.send_reply(ask, via, Reply::NotFound);
                };
                slot.touch(now.awake_ms);
                // The owner could not be asked: what happens here is told, so that it hears of it all the same.
                if process.members.view().owner(&key.service.name) != Owner::Here {
                    process.core.note(&key.service, &key, now);
                }
                if slot.with(|instance| instance.healthy) {
                    return self.send_reply(ask, via, Reply::Done);
                }
                Command::Heal(key)
            }
        };
        if *op != Op::Beat {
            let op = *op;
            let ip = self.clients[*client].key.ip.clone();
            self.tell(|| format!("node {node}: {op:?} of {ip}"));
        }
        self.enqueue(node, Job { command: Some(command), then: Then::Reply { ask, via } });
    }

    pub(crate) fn send_reply(&mut self, ask: u64, via: Option<u64>, reply: Reply) {
        match via {
            Some(call) => self.send_back(call, Heard::Reply(reply)),
            None => self.push(self.at + 1, Event::Replied(ask, Some(reply))),
        }
    }

    pub(crate) fn replied(&mut self, ask: u64, reply: Option<Reply>) {
        let Some(Ask { client: number, op, .. }) = self.asks.remove(&ask) else { return };
        let (at, nodes, unsure_until) = (self.at, self.nodes.len(), self.lost_ms + PATIENCE_MS);
        let client = &mut self.clients[number];
        client.ask = None;
        if client.goal == Goal::Dead {
            return;
        }
        let mut again_ms = 1;
        match (reply, op) {
            (Some(Reply::Done), op) => {
                client.attempts = 0;
                match op {
                    Op::Register(version) => {
                        if client.since_ms == 0 {
                            client.since_ms = at;
                        }
                        client.acked = Some(version);
                        (client.acked_ms, client.unsure) = (at, at < unsure_until);
                        client.heard_ms = at;
                    }
                    Op::Beat => client.heard_ms = at,
                    Op::Deregister => (client.ended_ms, client.acked) = (at, None),
                }
                if client.acked == Some(client.version) {
                    again_ms = BEAT_MS;
                }
            }
            (Some(Reply::NotFound), _) => {
                client.attempts = 0;
                client.acked = None;
                client.again += 1;
                self.tell(|| format!("client {number} has to register again"));
            }
            (Some(Reply::Unavailable) | None, _) => {
                client.server = (client.server + 1) % nodes;
                client.attempts += 1;
                if client.attempts.is_multiple_of(nodes) {
                    again_ms = PAUSE_MS;
                }
            }
        }
        self.push(at + again_ms, Event::Client(number));
    }

    /// A client wants something else.
    pub(crate) fn change_client(&mut self, number: usize, change: impl FnOnce(&mut Client)) {
        let client = &mut self.clients[number];
        change(client);
        if client.goal == Goal::Dead {
            client.ended_ms = self.at;
        }
        let goal = client.goal;
        self.tell(|| format!("client {number}: {goal:?}"));
        self.push(self.at, Event::Client(number));
    }
}
