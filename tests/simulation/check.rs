//! How a story is played, and what must hold.

use nacre::cluster::message::Request;

use crate::client::{Client, Goal, version_of};
use crate::faults::{Kind, Story};
use crate::node::Node;
use crate::world::{Counts, World};

/// Between looks at what is listed.
const LOOK_MS: u64 = 100;
/// Two rounds of checksums, and time for what they lead to.
const SETTLE_MS: u64 = 12_000;
/// A client that is gone is gone everywhere so long after all is well: ownership settles, the time to delete passes anew.
const UNDEAD_MS: u64 = 46_000;
/// During partitions the server that a client talks to lacks its instance for this long at most.
const MISSING_MS: u64 = 6_000;

/// Servers that start together without data serve from then on.
const READY_MS: u64 = 6_500;
/// What is registered is on all servers so soon, when all is well.
const VISIBLE_MS: u64 = 500;

/// A client that beats gets an answer so soon again: the interval, its own patience, that of the server it asks.
const UNHEARD_MS: u64 = 10_500;

/// What happened, for those who want to know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    pub(crate) runs: u64,
    pub(crate) registered_again: u64,
    pub(crate) expired_live: u64,
    pub(crate) longest_missing_ms: u64,
    /// How long a client that beats found no server.
    pub(crate) longest_unheard_ms: u64,
}

impl Figures {
    pub(crate) fn add(&mut self, more: &Figures) {
        self.runs += more.runs;
        self.registered_again += more.registered_again;
        self.expired_live += more.expired_live;
        self.longest_missing_ms = self.longest_missing_ms.max(more.longest_missing_ms);
        self.longest_unheard_ms = self.longest_unheard_ms.max(more.longest_unheard_ms);
    }
}

pub(crate) fn summary(request: &Request) -> String {
    match request {
        Request::Push(data) => format!("push of {}", data.len()),
        Request::Changes(parts) => {
            let part = |part: &nacre::cluster::message::Part| {
                let told: Vec<&str> = part.datum.told.iter().map(|told| &*told.key.ip).collect();
                let gone =
                    part.datum.removed.as_ref().map(|r| r.keys.iter().map(|(k, _)| k.ip.clone()).collect::<Vec<_>>());
                format!("{} whole={} {told:?} gone {gone:?}", part.datum.service.name, part.whole)
            };
            format!("changes {:?}", parts.iter().map(part).collect::<Vec<_>>())
        }
        Request::Checksums { sums, .. } => {
            let changing = sums.iter().filter(|(_, sum)| sum.as_deref() == Some("-")).count();
            format!("checksums of {}, {changing} just changing", sums.len())
        }
        Request::Fetch { services, .. } => format!("fetch {:?}", services.iter().map(|s| &*s.name).collect::<Vec<_>>()),
        other => format!("{other:?}"),
    }
}

/// Plays the story and checks.
pub(crate) fn play(world: &mut World, story: &Story) -> Result<Figures, String> {
    let mut figures = Figures { runs: 1, ..Figures::default() };
    begin(world, story)?;
    for (at, fault) in story.faults.clone() {
        watch(world, story, at, true, &mut figures)?;
        world.suffer(&fault);
    }
    watch(world, story, story.healed_ms + SETTLE_MS + (story.nodes as u64 - 3) * 2_000, true, &mut figures)?;
    soon(world, story, &mut figures, |world| all_equal(world).and_then(|()| live_are_listed(world)))?;
    watch(world, story, story.healed_ms + UNDEAD_MS, false, &mut figures)?;
    dead_are_gone(world)?;
    let before = world.counts.clone();
    watch(world, story, story.healed_ms + UNDEAD_MS + 10_000, false, &mut figures)?;
    dead_are_gone(world)?;
    all_equal(world)?;
    live_are_listed(world)?;
    at_rest(world, &before)?;
    figures.registered_again = world.clients.iter().map(|client| u64::from(client.again)).sum();
    figures.expired_live = world.expired_live.len() as u64;
    Ok(figures)
}

/// Everybody registers, and nothing goes wrong yet.
fn begin(world: &mut World, story: &Story) -> Result<(), String> {
    while world.at < story.begins_ms - 1_000 {
        world.run_until(world.at + LOOK_MS);
        let late = |client: &&Client| client.since_ms > READY_MS && world.at - client.since_ms > VISIBLE_MS;
        for client in world.clients.iter().filter(late) {
            if let Some(node) = world.nodes.iter().find(|node| node.is_running() && node.has(&client.key).is_none()) {
                return Err(format!("{} is not on node {} after {VISIBLE_MS} ms", client.key.ip, node.number));
            }
        }
    }
    for client in &mut world.clients {
        client.settled = client.is_live();
        if !client.settled || client.again > 0 {
            return Err(format!("{} is not registered, once, before the faults begin", client.key.ip));
        }
    }
    let (changes, nodes) = (world.counts.changes, story.nodes as u64);
    if changes > (world.clients.len() as u64 + 3) * (nodes - 1) {
        return Err(format!("{changes} messages to tell {nodes} nodes of {} instances", world.clients.len()));
    }
    Ok(())
}

/// Lets time pass and looks every now and then. While `busy` clients come, change and go.
fn watch(world: &mut World, story: &Story, until: u64, busy: bool, figures: &mut Figures) -> Result<(), String> {
    while world.at < until {
        let to = (world.at + LOOK_MS).min(until);
        world.run_until(to);
        if busy && story.stirs && world.at < story.healed_ms && world.rng.u32(0..20) == 0 {
            stir(world, story);
        }
        look(world, story, figures)?;
    }
    Ok(())
}

/// Something may just be on its way.
fn soon(
    world: &mut World,
    story: &Story,
    figures: &mut Figures,
    holds: impl Fn(&World) -> Result<(), String>,
) -> Result<(), String> {
    let until = world.at + 2_000;
    loop {
        match holds(world) {
            Ok(()) => return Ok(()),
            Err(fault) if world.at >= until => {
                return Err(format!("{} ms after healing: {fault}", world.at - story.healed_ms));
            }
            Err(_) => watch(world, story, world.at + LOOK_MS, false, figures)?,
        }
    }
}

/// Some client wants something else.
fn stir(world: &mut World, story: &Story) {
    let number = world.rng.usize(0..world.clients.len());
    let client = &world.clients[number];
    if client.goal != Goal::Up || client.ask.is_some() {
        return;
    }
    match world.rng.u32(0..8) {
        0 => world.change_client(number, |client| client.goal = Goal::Dead),
        1 => world.change_client(number, |client| client.goal = Goal::Out),
        2 | 3 => {
            let number = world.clients.len();
            let server = world.rng.usize(0..story.nodes);
            world.add_client(number, story.services, server, 100);
        }
        _ => world.change_client(number, |client| client.version += 1),
    }
}

fn look(world: &mut World, story: &Story, figures: &mut Figures) -> Result<(), String> {
    let at = world.at;
    let strict = story.strict;
    for number in 0..world.clients.len() {
        let client = &world.clients[number];
        if !client.is_live() {
            if strict && client.settled && client.goal == Goal::Up {
                return Err(format!("at {at} client {number} has to register again"));
            }
            world.clients[number].missing_ms = None;
            continue;
        }
        let lacks = |node: &&Node| node.serves() && node.has(&client.key).is_none();
        if strict
            && client.settled
            && let Some(node) = world.nodes.iter().find(lacks)
        {
            return Err(format!("at {at} node {} does not list {}, which lives", node.number, client.key.ip));
        }
        let server = &world.nodes[client.server];
        figures.longest_unheard_ms = figures.longest_unheard_ms.max(at - client.heard_ms);
        if at - client.heard_ms > UNHEARD_MS && !matches!(story.kind, Kind::CrashAll | Kind::Chaos) {
            return Err(format!("at {at} {} finds no server any more", client_name(world, number)));
        }
        let has = server.has(&client.key).is_some();
        if has {
            world.clients[number].seen_on = Some(client.server);
        } else if server.serves() && !server.hung && client.seen_on == Some(client.server) {
            let since = *world.clients[number].missing_ms.get_or_insert(at);
            figures.longest_missing_ms = figures.longest_missing_ms.max(at - since);
            // Of a message that was lost it is known after ten seconds.
            let limit_ms = if story.kind == Kind::Chaos { MISSING_MS + 10_000 } else { MISSING_MS };
            if at - since > limit_ms {
                return Err(format!(
                    "at {at} {} is missing on its server {} for too long",
                    client_name(world, number),
                    world.clients[number].server
                ));
            }
        }
        if has {
            world.clients[number].missing_ms = None;
        }
    }
    // Whom a client can't tell that it lives takes it for dead.
    let may_expire = matches!(story.kind, Kind::Partition | Kind::OneWay | Kind::Chaos);
    if !may_expire && let Some(expired) = world.expired_live.first() {
        return Err(format!("expired though it lives: {expired}"));
    }
    Ok(())
}

fn client_name(world: &World, number: usize) -> String {
    format!("client {number} ({})", world.clients[number].key.ip)
}

/// Every node holds the same, and clears what it owes.
fn all_equal(world: &World) -> Result<(), String> {
    let running: Vec<&Node> = world.nodes.iter().filter(|node| node.is_running()).collect();
    let content = |node: &Node| {
        let services = node.process.as_ref().unwrap().registry.services();
        let slots = services.iter().flat_map(|service| {
            service.view().slots.into_iter().map(|slot| (slot.key(service.key()), slot.instance())).collect::<Vec<_>>()
        });
        slots.collect::<Vec<_>>()
    };
    let first = content(running[0]);
    for node in &running[1..] {
        let other = content(node);
        if let Some(different) =
            first.iter().find(|one| !other.contains(one)).or(other.iter().find(|one| !first.contains(one)))
        {
            let (a, b) = (running[0].has(&different.0), node.has(&different.0));
            return Err(format!(
                "nodes {} and {} differ: {} is {a:?} and {b:?}",
                running[0].number, node.number, different.0.ip
            ));
        }
    }
    Ok(())
}

fn live_are_listed(world: &World) -> Result<(), String> {
    for client in world.clients.iter().filter(|client| client.is_live()) {
        for node in world.nodes.iter().filter(|node| node.is_running()) {
            match node.has(&client.key) {
                None => return Err(format!("node {} lacks {}, which lives", node.number, client.key.ip)),
                Some(instance) if !instance.healthy => {
                    return Err(format!("{} is unhealthy on node {}", client.key.ip, node.number));
                }
                Some(instance) if Some(version_of(&instance)) != client.acked && !client.unsure => {
                    return Err(format!(
                        "{} is {instance:?} on node {}, acked {:?}",
                        client.key.ip, node.number, client.acked
                    ));
                }
                Some(_) => {}
            }
        }
    }
    let lost = world.clients.iter().position(|client| client.goal == Goal::Up && client.acked.is_none());
    lost.map_or(Ok(()), |number| Err(format!("{} is not registered", client_name(world, number))))
}

fn dead_are_gone(world: &World) -> Result<(), String> {
    let ended = |client: &&Client| client.goal != Goal::Up;
    for client in world.clients.iter().filter(ended) {
        if let Some(node) = world.nodes.iter().find(|node| node.has(&client.key).is_some()) {
            return Err(format!(
                "{} ({:?} at {}) is still on node {}",
                client.key.ip, client.goal, client.ended_ms, node.number
            ));
        }
    }
    Ok(())
}

/// In the last ten seconds nothing was said but reports and checksums.
fn at_rest(world: &World, before: &Counts) -> Result<(), String> {
    let running: Vec<&Node> = world.nodes.iter().filter(|node| node.is_running()).collect();
    for node in &running {
        for other in &running {
            let waiting = node.process.as_ref().unwrap().core.waiting(&crate::node::address(other.number));
            if waiting > 0 {
                return Err(format!("node {} still owes {waiting} lists to node {}", node.number, other.number));
            }
        }
    }
    let nodes = running.len() as u64;
    let (others, verifies, reports) = (
        world.counts.others + world.counts.changes - before.others - before.changes,
        world.counts.verifies - before.verifies,
        world.counts.reports - before.reports,
    );
    if others > 0 || verifies > nodes * (nodes - 1) * 3 || reports > nodes * 6 {
        return Err(format!("no rest: in 10 s {others} messages, {verifies} checksums, {reports} reports"));
    }
    Ok(())
}
