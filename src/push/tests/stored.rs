//! What the store is told of subscriptions, and what a restart makes of them; what the wall clock changes.

use super::*;

fn stored(name: &str, port: u16, clusters: &str) -> (SubscriptionKey, Arc<Subscription>) {
    let Query { service, key, source, app, grouped_names } = query(name, port, clusters);
    let subscription = Subscription { source, app, grouped_names };
    (SubscriptionKey { service, subscriber: key.into() }, subscription.into())
}

#[test]
fn the_store_is_told_once_of_each_beginning_and_end() {
    let mut world = world(&[(1, ""), (2, ""), (3, "")]);
    assert_eq!(world.hand_over(2).0.len(), 2);
    assert_eq!(world.hand_over(2).0.len(), 1);
    for now_ms in 1..100 {
        assert!(world.0.subscribe(query("g@@a", 1, ""), now_ms));
    }
    assert_eq!(world.hand_over(9), (vec![], vec![]), "renewals");
    world.0.begin(&service("g@@a"), LIFE_MS + 1, LIFE_MS, 0);
    assert_eq!(world.hand_over(9), (vec![], vec![2, 3]), "found dead by a push");
    world.0.sweep(2 * LIFE_MS, LIFE_MS);
    assert_eq!(world.hand_over(9), (vec![], vec![1]), "found dead by a sweep");
    assert_eq!(world.hand_over(9), (vec![], vec![]));
}

#[test]
fn what_ends_before_the_store_is_told_never_gets_there() {
    let mut world = world(&[(1, "")]);
    world.0.sweep(20_000, LIFE_MS);
    assert_eq!(world.hand_over(9), (vec![], vec![]));
    // One that ends and begins again is replaced; when it ends at once after that, its row goes all the same.
    assert!(world.0.subscribe(query("g@@a", 1, ""), 20_000));
    assert_eq!(world.hand_over(9), (vec![1], vec![]));
    world.0.sweep(40_000, LIFE_MS);
    assert!(world.0.subscribe(query("g@@a", 1, ""), 40_000));
    assert_eq!(world.0.subscriptions().unstored(9).len(), 1);
    world.0.sweep(60_000, LIFE_MS);
    assert_eq!(world.hand_over(9), (vec![], vec![1]));
}

#[test]
fn what_a_full_queue_refuses_is_told_later() {
    let mut world = world(&[(1, ""), (2, "")]);
    assert!(!world.0.hand_over(9, |_| false));
    assert_eq!(world.push("g@@a", 0).len(), 2, "they work in memory");
    assert_eq!(world.hand_over(9), (vec![1, 2], vec![]));
    world.0.sweep(20_000, LIFE_MS);
    assert!(world.0.subscribe(query("g@@a", 3, ""), 20_000));
    assert!(!world.0.hand_over(9, |_| false));
    assert_eq!(world.hand_over(2), (vec![], vec![1, 2]), "room is made first");
    assert_eq!(world.hand_over(2), (vec![3], vec![]));
}

#[test]
fn restored_ones_get_a_full_life_and_are_not_stored_again() {
    let mut world = World(State::default());
    for port in 1..=3 {
        let (key, subscription) = stored("g@@a", port, "");
        assert!(world.0.restore(key, subscription, 5_000));
    }
    world.0.subscribe(query("g@@a", 3, ""), 6_000);
    assert_eq!(world.hand_over(9), (vec![], vec![]));
    assert_eq!(world.push("g@@a", 5_000 + LIFE_MS).len(), 3);
    assert_eq!(world.push("g@@a", 5_001 + LIFE_MS).len(), 1);
    assert_eq!(world.hand_over(9), (vec![], vec![1, 2]));
}

#[test]
fn limits_hold_for_restored_ones() {
    let mut world = World(State::default());
    for at in 0..=MAX_OF_SOURCE {
        let (key, subscription) = stored(&format!("g@@{at}"), 7, "");
        assert_eq!(world.0.restore(key, subscription, 0), at < MAX_OF_SOURCE);
    }
    assert_eq!(world.hand_over(9), (vec![], vec![7]), "the store is to forget it");
    assert_eq!((world.0.counters().subscriptions, world.0.counters().refused), (MAX_OF_SOURCE as u64, 0));
}

#[test]
fn restored_ones_that_nobody_asks_for_make_room() {
    let mut world = World(State::default());
    for at in 0..MAX_OF_SOURCE {
        let (key, subscription) = stored(&format!("g@@{at}"), 7, "");
        assert!(world.0.restore(key, subscription, 0));
    }
    let (key, subscription) = stored("g@@other", 8, "");
    let elsewhere = Subscription { source: [10, 0, 0, 1].into(), ..(*subscription).clone() };
    assert!(world.0.restore(key, elsewhere.into(), 0));
    let heard = ["g@@1", "g@@2"];
    heard.iter().for_each(|name| assert!(world.0.subscribe(query(name, 7, ""), 100)));
    let number = world.push("g@@3", 200)[0].1;
    world.0.renew(SocketAddr::from(([127, 0, 0, 1], 7)), number, 300);
    assert!(world.0.subscribe(query("g@@new", 9, ""), 400), "a living one goes before them");
    assert_eq!(world.0.counters().subscriptions, 3 + 1 + 1, "asked for, acknowledged, of another address, new");
    let (made, gone) = world.hand_over(MAX_OF_SOURCE * 2);
    assert_eq!((made, gone.len()), (vec![9], MAX_OF_SOURCE - 3));
    // When all have asked, only the dead go, and it is not looked for them all the time.
    for at in 0..MAX_OF_SOURCE - 4 {
        assert!(world.0.subscribe(query(&format!("g@@more-{at}"), 9, ""), 500));
    }
    let mut late = |name, now_ms| world.0.subscribe(query(name, 9, ""), now_ms);
    assert!(!late("g@@late-1", 600) && !late("g@@late-1", 1_399));
    assert!(late("g@@late-1", 101 + LIFE_MS) && late("g@@late-2", 101 + LIFE_MS));
    assert!(!late("g@@late-3", 1_100 + LIFE_MS) && late("g@@late-3", 1_101 + LIFE_MS));
}

#[test]
fn restored_ones_go_only_where_they_may() {
    let (allowed, other) = (stored("g@@a", 1, ""), stored("g@@a", 2, ""));
    let named = |(key, subscription): &(SubscriptionKey, Arc<Subscription>), source: [u8; 4]| {
        (key.clone(), Arc::new(Subscription { source: source.into(), ..(**subscription).clone() }))
    };
    for (network, kept) in [("10.0.0.0/8", 1), ("127.0.0.1/32", 2)] {
        let push = Push::new(AwakeClock::starting_at(1), vec![network.parse().unwrap()]);
        assert_eq!(push.restore(vec![allowed.clone(), named(&other, [10, 0, 0, 1])]), kept, "{network}");
        assert_eq!((push.subscription_count(), push.services_subscribed()), (kept, 1));
        assert_eq!(push.state().subscriptions().unstored(9).len(), 2 - kept);
    }
    let push = Push::new(AwakeClock::starting_at(1), Vec::new());
    push.forget(vec![allowed, other]);
    assert_eq!((push.subscription_count(), push.state().subscriptions().unstored(9).len()), (0, 2));
}

#[test]
fn numbers_grow_over_a_restart_even_if_the_clock_goes_back() {
    let number = |wall_ms, floor_ms| {
        let mut state = State::default();
        assert!(state.subscribe(query("g@@a", 1, ""), 0));
        state.begin(&service("g@@a"), 0, LIFE_MS, state::numbering_ms(wall_ms, floor_ms))[0].number
    };
    let killed_ms = 1_700_000_000_900;
    let (before, last_alive_ms) = (number(killed_ms, 0), killed_ms - 900);
    assert!(number(killed_ms + 1, last_alive_ms) > before);
    assert!(number(killed_ms - 3_600_000, last_alive_ms) > before);
}

#[test]
fn costs_are_those_of_the_last_period_and_counters_those_of_today() {
    let mut world = world(&[(1, ""), (2, ""), (3, "")]);
    let [today, tomorrow] = [1, 2].map(|day| jiff::civil::date(2026, 3, day));
    world.0.tick(15_000, today);
    let number = world.push("g@@a", 0)[0].1;
    for (port, at_ms) in [(1, 10), (2, 20)] {
        assert!(world.0.acknowledged(SocketAddr::from(([127, 0, 0, 1], port)), number, at_ms));
    }
    assert_eq!(world.0.costs(), Costs::default(), "the period is not over");
    world.0.tick(29_999, today);
    world.0.tick(30_000, today);
    assert_eq!(world.0.costs(), Costs { max_ms: Some(20), avg_ms: Some(15.0) });
    world.0.tick(45_000, today);
    assert_eq!((world.0.costs(), world.counts()), (Costs::default(), (3, 0, 1)));
    world.0.tick(60_000, tomorrow);
    assert_eq!(world.counts(), (0, 0, 0));
    assert_eq!(world.late(ACK_MS), [(3, number)], "it is retried as ever");
    assert!(world.late(2 * ACK_MS).is_empty());
    assert_eq!(world.counts(), (0, 0, 0), "given up, but not of today");
    world.0.subscribe(query("g@@a", 1, ""), 2 * ACK_MS);
    assert_eq!(world.push("g@@a", 2 * ACK_MS).len(), 1);
    assert_eq!((world.counts(), world.0.counters().succeeded()), ((1, 0, 1), 0));
}
