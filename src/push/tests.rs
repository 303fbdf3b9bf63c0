mod stored;

use super::*;
use crate::push::awaiting::ACK_MS;

use bytes::Bytes;

const LIFE_MS: u64 = 10_000;

fn service(name: &str) -> ServiceKey {
    ServiceKey::new("public", name)
}

fn query(name: &str, port: u16, clusters: &str) -> Query {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let key = SubscriberKey { listed: address, to: address, clusters: clusters.into(), agent: "Nacos-Go".into() };
    Query { service: service(name), key, source: address.ip(), app: "".into(), grouped_names: false }
}

struct World(State);

impl World {
    /// Pushes `name`; answers the ports with the numbers they get.
    fn push(&mut self, name: &str, now_ms: u64) -> Vec<(u16, i64)> {
        let targets = self.0.begin(&service(name), now_ms, LIFE_MS, 1_700_000_000_000);
        for target in &targets {
            self.0.sent(&service(name), target, Some(Bytes::from_static(b"x")), now_ms, now_ms);
        }
        let mut pushed: Vec<_> = targets.iter().map(|target| (target.key.to.port(), target.number)).collect();
        pushed.sort_unstable();
        pushed
    }

    fn ack(&mut self, port: u16, number: i64) -> bool {
        self.0.acknowledged(SocketAddr::from(([127, 0, 0, 1], port)), number, 0)
    }

    fn late(&mut self, now_ms: u64) -> Vec<(u16, i64)> {
        self.0.late(now_ms).into_iter().map(|(to, number, _)| (to.port(), number)).collect()
    }

    /// Hands over what the store does not know, and sorts it: ports that are stored, ports that are removed.
    fn hand_over(&mut self, limit: usize) -> (Vec<u16>, Vec<u16>) {
        let (mut stored, mut removed) = (Vec::new(), Vec::new());
        self.0.hand_over(limit, |changes| {
            for (key, one) in changes {
                let ports = if one.is_some() { &mut stored } else { &mut removed };
                ports.push(key.subscriber.to.port());
            }
            true
        });
        stored.sort_unstable();
        removed.sort_unstable();
        (stored, removed)
    }

    /// Total, given up, awaited.
    fn counts(&self) -> (u64, u64, u64) {
        let counters = self.0.counters();
        (counters.total, counters.given_up, counters.awaited)
    }
}

fn world(queries: &[(u16, &str)]) -> World {
    let mut state = State::default();
    for (port, clusters) in queries {
        assert!(state.subscribe(query("g@@a", *port, clusters), 0));
    }
    World(state)
}

#[test]
fn only_subscribed_services_are_pushed_and_a_burst_twice() {
    let mut world = world(&[(1, "")]);
    let changed = |world: &mut World, now_ms| world.0.changed([service("g@@a"), service("g@@b")], now_ms);
    assert_eq!(changed(&mut world, 0), [service("g@@a")]);
    for now_ms in 1..1000 {
        assert!(changed(&mut world, now_ms).is_empty() && world.0.due(now_ms).is_empty());
    }
    assert_eq!(world.0.due(1000), [service("g@@a")]);
    assert!(world.0.due(2000).is_empty());
}

#[test]
fn one_retry_then_given_up() {
    let mut world = world(&[(1, ""), (2, "")]);
    let pushed = world.push("g@@a", 0);
    let number = pushed[0].1;
    assert_eq!(pushed, [(1, number), (2, number)]);
    assert!(number < 1 << 53, "JavaScript can't count so far: {number}");
    assert!(!world.ack(3, number) && !world.ack(1, number + 1));
    assert!(world.ack(1, number) && !world.ack(1, number));
    assert_eq!((world.counts(), world.0.counters().succeeded()), ((2, 0, 1), 1));
    assert!(world.late(ACK_MS - 1).is_empty());
    assert_eq!(world.late(ACK_MS), [(2, number)]);
    assert_eq!(world.counts(), (2, 0, 1));
    assert!(world.late(2 * ACK_MS - 1).is_empty() && world.late(2 * ACK_MS).is_empty());
    assert_eq!(world.counts(), (2, 1, 0));
    assert!(!world.ack(2, number) && world.late(u64::MAX / 2).is_empty());
}

#[test]
fn the_retry_may_be_acknowledged() {
    let mut world = world(&[(1, "")]);
    let number = world.push("g@@a", 0)[0].1;
    world.late(ACK_MS);
    assert!(world.ack(1, number));
    assert!(world.late(3 * ACK_MS).is_empty());
    assert_eq!(world.counts(), (1, 0, 0));
}

#[test]
fn old_data_never_come_after_new() {
    let mut world = world(&[(1, "")]);
    let old = world.push("g@@a", 0)[0].1;
    let new = world.push("g@@a", 1000)[0].1;
    assert!(new > old);
    assert_eq!(world.counts(), (2, 1, 1));
    assert!(world.late(ACK_MS).is_empty());
    assert_eq!(world.late(ACK_MS + 1000), [(1, new)]);
    // One too large to be sent takes the place of an older one too.
    let target = &world.0.begin(&service("g@@a"), 5000, LIFE_MS, 0)[0];
    world.0.sent(&service("g@@a"), target, None, 5000, 5000);
    assert_eq!(world.counts(), (3, 3, 0));
}

#[test]
fn subscriptions_of_one_address_have_numbers_of_their_own() {
    let mut world = world(&[(1, "A"), (1, "B"), (2, "A")]);
    let pushed = world.push("g@@a", 0);
    let first = pushed[0].1;
    assert_eq!(pushed, [(1, first), (1, first + 1), (2, first)]);
    assert!(world.ack(1, first + 1) && world.ack(1, first));
    assert_eq!(world.counts(), (3, 0, 1));
    assert!(world.push("g@@a", 1000)[0].1 > first + 1);
}

#[test]
fn the_silent_are_neither_pushed_to_nor_kept() {
    let mut world = world(&[(1, ""), (2, "")]);
    world.push("g@@a", 1);
    assert!(world.0.subscribe(query("g@@a", 2, ""), 5_000));
    assert_eq!(world.0.counters().subscriptions, 2);
    assert_eq!(world.push("g@@a", LIFE_MS).len(), 2);
    assert_eq!(world.push("g@@a", LIFE_MS + 1).len(), 1);
    // What was on its way to the dropped one is given up.
    assert_eq!(world.counts(), (5, 4, 1));
    assert_eq!(world.0.counters().subscriptions, 1);
    world.0.sweep(19_999, LIFE_MS);
    assert_eq!(world.0.counters().subscriptions, 1);
    world.0.sweep(20_000, LIFE_MS);
    assert_eq!((world.0.counters().subscriptions, world.counts()), (0, (5, 5, 0)));
    assert!(!world.0.subscriptions().has(&service("g@@a")));
    assert!(world.late(u64::MAX / 2).is_empty());
}

#[test]
fn an_acknowledgement_is_a_sign_of_life() {
    let mut world = world(&[(1, ""), (2, ""), (3, "")]);
    let number = world.push("g@@a", 6_000)[0].1;
    for (port, number) in [(1, number), (3, number + 1)] {
        world.0.renew(SocketAddr::from(([127, 0, 0, 1], port)), number, 6_001);
        world.ack(port, number);
    }
    let living = |pushed: Vec<(u16, i64)>| pushed.into_iter().map(|(port, _)| port).collect::<Vec<_>>();
    assert_eq!(living(world.push("g@@a", LIFE_MS)), [1, 2, 3]);
    assert_eq!(living(world.push("g@@a", 6_001 + LIFE_MS)), [1]);
    assert!(living(world.push("g@@a", 6_002 + LIFE_MS)).is_empty());
}

#[test]
fn forgetting_counts_as_success_and_retries_nothing() {
    let mut world = world(&[(1, "")]);
    let number = world.push("g@@a", 0)[0].1;
    assert_eq!(world.0.awaited(10).len(), 1);
    world.0.forget_awaited();
    assert!(world.0.is_awaited(SocketAddr::from(([127, 0, 0, 1], 1)), number), "it may not have been sent yet");
    assert_eq!((world.counts(), world.0.awaited(10).len()), ((1, 0, 0), 0));
    assert!(!world.ack(1, number) && world.late(ACK_MS).is_empty());
}

#[test]
fn subscriptions_are_bounded() {
    let mut state = State::default();
    for at in 0..MAX_OF_SOURCE {
        assert!(state.subscribe(query(&format!("g@@{at}"), 1, ""), 0));
    }
    assert!(!state.subscribe(query("g@@more", 1, ""), 1));
    assert!(state.subscribe(query("g@@0", 1, ""), 1), "a renewal is no new one");
    let long = "c".repeat(subscriptions::MAX_TEXT_BYTES);
    let other = Query { source: [10, 0, 0, 1].into(), ..query("g@@0", 2, &long) };
    assert!(!state.subscribe(other, 0));
    assert_eq!(state.counters().refused, 2);
    state.sweep(20_000, LIFE_MS);
    assert_eq!(state.counters().subscriptions, 0);
    assert!(state.subscribe(query("g@@more", 1, ""), 20_000));
}

#[test]
fn what_has_to_be_built_for_a_push_is_bounded() {
    let mut state = State::default();
    for at in 0..subscriptions::MAX_AT_ADDRESS {
        assert!(state.subscribe(query("g@@a", 1, &at.to_string()), 0));
    }
    assert!(!state.subscribe(query("g@@a", 1, "more"), 0) && state.subscribe(query("g@@b", 1, "more"), 0));
    for at in 0..subscriptions::MAX_CLUSTERS {
        assert!(state.subscribe(query("g@@a", 100 + at as u16, &at.to_string()), 0));
    }
    assert!(!state.subscribe(query("g@@a", 2, "more"), 0) && state.subscribe(query("g@@a", 2, "5"), 0));
    state.begin(&service("g@@a"), 20_000, LIFE_MS, 0);
    assert!(state.subscribe(query("g@@a", 1, "more"), 20_000), "the dead leave room");
}

#[test]
fn nobody_leads_the_datagrams_of_others_astray() {
    let push = Push::new(AwakeClock::starting_at(1), vec!["10.0.0.0/8".parse().unwrap()]);
    let to = |client_ip: &str, peer: [u8; 4]| {
        let peer = IpAddr::from(peer);
        let (clusters, agent, app) = ("", "", "");
        let ask = Ask { client_ip, udp_port: 5, peer, clusters, agent, app, grouped_names: true };
        push.subscriber(&ask).map(|key| (key.listed.to_string(), key.to.to_string()))
    };
    let pair = |listed: &str, to: &str| Some((listed.to_owned(), to.to_owned()));
    assert_eq!(to("", [1, 2, 3, 4]), pair("1.2.3.4:5", "1.2.3.4:5"));
    assert_eq!(to("9.9.9.9", [1, 2, 3, 4]), pair("9.9.9.9:5", "1.2.3.4:5"));
    assert_eq!(to("10.1.1.1", [1, 2, 3, 4]), pair("10.1.1.1:5", "10.1.1.1:5"));
    assert_eq!(to("::ffff:10.1.1.1", [1, 2, 3, 4]), pair("10.1.1.1:5", "10.1.1.1:5"));
    assert_eq!(to("[fe80::1%eth0]", [1, 2, 3, 4]), pair("[fe80::1]:5", "1.2.3.4:5"));
    assert_eq!(to("host.example", [1, 2, 3, 4]), None);
    push.set_allow_client_ip(vec!["9.0.0.0/8".parse().unwrap()]);
    assert_eq!(to("9.9.9.9", [1, 2, 3, 4]), pair("9.9.9.9:5", "9.9.9.9:5"));
    assert_eq!(to("10.1.1.1", [1, 2, 3, 4]), pair("10.1.1.1:5", "1.2.3.4:5"));
}
