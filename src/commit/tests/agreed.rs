//! What a group has agreed on comes to the same on every server, whatever else each of them has.

use std::collections::BTreeMap;

use super::*;
use crate::model::account::{AccountChange, PasswordHash};
use crate::model::{Row, ServiceSettings};

impl World {
    fn agree(&self, command: Command, position: &str) -> Result<Outcome> {
        let position = position.into();
        self.runtime.block_on(async { self.commit.run_agreed(command, position).await?.await })
    }

    /// What it has of what is agreed on, but for health, in order.
    fn agreed(&self) -> Vec<String> {
        let print = |row| match row {
            Row::Instance(key, Some(instance)) => {
                format!("{key:?} {:?}", Instance { healthy: true, ..(*instance).clone() })
            }
            row => format!("{row:?}"),
        };
        let mut rows: Vec<String> = self.registry.agreed_rows().into_iter().map(print).collect();
        rows.sort();
        rows
    }

    fn ephemeral(&self) -> BTreeMap<InstanceKey, Arc<Instance>> {
        let rows = self.registry.rows();
        let ephemeral = rows.filter_map(|row| match row {
            Row::Instance(key, Some(instance)) if key.ephemeral => Some((key, instance)),
            _ => None,
        });
        ephemeral.collect()
    }
}

fn at(random: &mut fastrand::Rng, ephemeral: bool) -> InstanceKey {
    let cluster = *random.choice(&["DEFAULT", "c2", "bad name"]).unwrap();
    let service = ServiceKey::new("public", random.choice(&["g@@a", "g@@b"]).unwrap());
    InstanceKey { service, cluster: cluster.into(), ip: "10.0.0.1".into(), port: random.i32(1..4), ephemeral }
}

fn some_instance(random: &mut fastrand::Rng) -> Instance {
    let ids: &[_] = if random.bool() { &[("preserved.instance.id.generator", "snowflake")] } else { &[("a", "b")] };
    Instance { weight: random.i32(0..3).into(), ..with(ids) }
}

fn some_command(random: &mut fastrand::Rng) -> Command {
    let key = at(random, false);
    let service = key.service.clone();
    let cluster = ClusterKey { service: service.clone(), name: key.cluster.clone() };
    let settings = ServiceSettings { protect_threshold: random.f32(), ..ServiceSettings::default() };
    let address =
        Address { service: service.clone(), cluster: key.cluster.clone(), ip: key.ip.clone(), port: key.port };
    let user: Arc<str> = random.choice(&["u", "v"]).copied().unwrap().into();
    match random.u32(0..13) {
        0 | 1 => Command::Register(key, some_instance(random)),
        2 => Command::Deregister(key),
        3 => Command::Replace(key, some_instance(random), String::new()),
        4 => Command::Patch(address, Patch { weight: Some(random.f64()), ..Patch::default() }),
        5 => {
            let scope = if random.bool() { Scope::Kind(false) } else { Scope::These(vec![key, at(random, true)]) };
            Command::ChangeMetadata(service, scope, MetadataChange::Merge([("x", "y")].into_iter().collect()))
        }
        6 => Command::CreateService(service, settings),
        7 => Command::UpdateService(service, settings),
        8 => Command::DeleteService(service),
        9 => Command::CleanService(service),
        10 => Command::UpdateCluster(cluster, ClusterSettings { check_port: random.i32(1..9), ..Default::default() }),
        11 => Command::Account(AccountChange::AddUser { user, hash: PasswordHash("h".into()) }),
        _ => Command::Account(AccountChange::Grant { role: "r".into(), user }),
    }
}

/// What goes on on one server alone.
fn own_command(random: &mut fastrand::Rng) -> Command {
    let key = at(random, true);
    match random.u32(0..4) {
        0 => Command::Deregister(key),
        1 => Command::CheckedHealth { key: at(random, false), healthy: random.bool() },
        _ => Command::Register(key, some_instance(random)),
    }
}

#[test]
fn agreed_commands_come_to_the_same_whatever_else_there_is() {
    for seed in 0..40 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (one, other) = (World::new(Durability::Off), World::new(Durability::Off));
        for number in 0..60 {
            for world in [&one, &other] {
                for _ in 0..random.u32(0..3) {
                    let _ = world.run(own_command(&mut random));
                }
            }
            let command = some_command(&mut random);
            let kept = other.ephemeral();
            let outcomes = [&one, &other].map(|world| world.agree(command.clone(), &number.to_string()).is_ok());
            assert_eq!(one.agreed(), other.agreed(), "seed {seed}, number {number}: {command:?}");
            let words = matches!(command, Command::Deregister(_));
            assert!(outcomes[0] == outcomes[1] || words, "seed {seed}: {command:?}: {outcomes:?}");
            // Only who deletes a service means what is ephemeral.
            if !matches!(command, Command::DeleteService(_)) {
                assert_eq!(other.ephemeral(), kept, "seed {seed}: {command:?}");
            }
            assert_eq!(other.registry.settings().agreed().as_deref(), Some(number.to_string().as_str()));
        }
        // A third, which has had other things before, gets the rows.
        let third = World::new(Durability::Off);
        for _ in 0..30 {
            let _ = third.run(own_command(&mut random));
            let _ = third.agree(some_command(&mut random), "before");
        }
        let kept = third.ephemeral();
        assert_eq!(third.agree(Command::Install(one.registry.agreed_rows()), "60"), Ok(Outcome::Done));
        assert_eq!(third.agreed(), one.agreed(), "seed {seed}");
        assert_eq!(third.ephemeral(), kept, "seed {seed}");
        [one, other, third].into_iter().for_each(World::stop);
    }
}

#[test]
fn how_far_it_is_is_stored_with_what_it_did() {
    let world = World::new(Durability::Synced);
    let key = InstanceKey { ephemeral: false, ..key("g@@s", "1.1.1.1") };
    world.agree(Command::Register(key.clone(), Instance::default()), "one").unwrap();
    world.agree(Command::CreateService(key.service.clone(), ServiceSettings::default()), "two").unwrap_err();
    world.commit.stop();
    world.thread.join().unwrap().unwrap();
    let registry = Registry::default();
    let mut take = |rows: Vec<Row>| rows.into_iter().for_each(|row| drop(registry.apply(row, 0, false)));
    Store::open(StoreOptions::new(world.dir.path().join("data")), 0, &mut take, &|_| {}).unwrap();
    assert_eq!(registry.settings().agreed().as_deref(), Some("two"), "what was refused counts too");
    assert!(registry.find(&key).is_some());
}

#[test]
fn what_is_posted_may_be_taken_by_others() {
    let world = World::new(Durability::Off);
    let taken = Arc::new(AtomicUsize::new(0));
    let count = taken.clone();
    world.commit.divert(Box::new(move |command| {
        let takes = matches!(command, Command::CleanService(_));
        count.fetch_add(usize::from(takes), Ordering::Relaxed);
        takes
    }));
    let service = ServiceKey::new("public", "g@@s");
    world.run(Command::CreateService(service.clone(), ServiceSettings::default())).unwrap();
    world.commit.post(Command::CleanService(service.clone())).unwrap();
    world.commit.post(Command::Register(key("g@@t", "1.1.1.1"), Instance::default())).unwrap();
    world.run(Command::Nothing).unwrap();
    assert_eq!((taken.load(Ordering::Relaxed), world.registry.service_count()), (1, 2));
    world.stop();
}
