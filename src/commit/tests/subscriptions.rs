//! Subscriptions on the write path: stored without a sync, and never lost by a store that fails.

use super::*;
use crate::model::Row;
use crate::model::subscription::{SubscriberKey, Subscription, SubscriptionKey};

type Change = (SubscriptionKey, Option<Arc<Subscription>>);

fn made(port: u16) -> Change {
    let to = ([127, 0, 0, 1], port).into();
    let subscriber = SubscriberKey { listed: to, to, clusters: "".into(), agent: "Nacos-Go".into() };
    let key = SubscriptionKey { service: ServiceKey::new("public", "g@@s"), subscriber: subscriber.into() };
    (key, Some(Arc::new(Subscription { source: to.ip(), app: "shop".into(), grouped_names: false })))
}

fn gone(port: u16) -> Change {
    (made(port).0, None)
}

#[test]
fn they_cost_no_sync_of_their_own_and_are_there_after_a_restart() {
    let world = World::new(Durability::Synced);
    world.run(Command::Subscriptions((1..=1_000).map(made).collect())).unwrap();
    for port in 1..=100 {
        world.run(Command::Subscriptions(vec![gone(port)])).unwrap();
    }
    assert_eq!((world.stats.syncs.spread().count(), world.stats.batches.spread().sum), (0, 1_100));
    assert_eq!(world.registry.subscriptions().count(), 900);
    assert_eq!(world.changes.load(Ordering::Relaxed), 0, "nothing that is told");
    // A write in the same batch is worth a sync.
    let commands = vec![Command::Subscriptions(vec![gone(101)]), Command::Register(key("g@@s", "1.1.1.1"), with(&[]))];
    assert!(world.together(commands).iter().all(Result::is_ok));
    assert_eq!(world.stats.syncs.spread().count(), 1);
    assert_eq!(world.registry.rows().count(), 900);
    let data = world.dir.path().join("data");
    world.commit.stop();
    world.thread.join().unwrap().unwrap();
    let mut rows = Vec::new();
    let (_, report) = Store::open(StoreOptions::new(data), 0, &mut |some| rows.extend(some), &|_| {}).unwrap();
    assert_eq!((report.rows, report.subscriptions, report.damage), (900, 899, None));
    let (key, one) = made(1_000);
    assert!(rows.contains(&Row::Subscription(key, one)));
}

#[test]
fn a_store_that_refuses_is_healed_with_them() {
    let registry = Registry::default();
    let mut batch = Batch::default();
    let commands = [
        Command::Register(key("g@@s", "1.1.1.1"), with(&[])),
        Command::Subscriptions(vec![made(1), made(2)]),
        Command::Subscriptions(vec![gone(1)]),
    ];
    for command in commands {
        assert!(!batch.conflicts_with(&command));
        let now = Now { awake_ms: 1, wall_ms: 1 };
        let resolved = resolve::resolve(&registry, &command, now);
        batch.push(Request { command, waiter: None, agreed: None }, resolved, &registry, now);
    }
    batch.apply(&registry, Now { awake_ms: 1, wall_ms: 1 }, Some(Error::Storage("broken".into())), &Status::default());
    let (key, one) = made(2);
    assert_eq!(registry.rows().collect::<Vec<_>>(), [Row::Subscription(key, one)]);
}
