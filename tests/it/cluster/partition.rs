//! Servers that are cut off from each other and from no client.

use std::thread;
use std::time::Duration;

use super::churn;
use super::clients::{self, Clients, Instance, population};
use super::lan::{self, Lan, tell};
use super::trio::owned_by;
use super::watch::{self, Wanted};

/// After the last cut is healed.
const HEALED: Duration = Duration::from_secs(10);

struct Scene {
    lan: Lan,
    clients: Clients,
    wanted: Wanted,
}

/// Instances whose clients know only the servers `knows`, for services of every owner.
fn settled(hint: &str, beat_ms: Option<u64>, knows: &[usize]) -> Vec<Instance> {
    let one = |place: usize, slot: u64| {
        let service = owned_by(place, 3, &format!("{hint}-{place}"));
        Instance { service, ip: format!("10.5{place}.0.{slot}"), port: 80, beat_ms, knows: knows.to_vec() }
    };
    (0..3).flat_map(|place| (1..4).map(move |slot| one(place, slot))).collect()
}

impl Scene {
    fn set(instances: &[Instance]) -> Self {
        let lan = Lan::start("");
        let wanted = watch::wanted(instances);
        let clients = clients::start(lan.trio.addresses(), instances);
        watch::wait_complete(&lan.trio.addresses(), &wanted, HEALED);
        Self { lan, clients, wanted }
    }

    fn cut(&self, ways: &[(usize, usize)]) {
        ways.iter().for_each(|(from, to)| self.lan.cut(*from, *to));
    }

    fn heal(&self, ways: &[(usize, usize)]) {
        ways.iter().for_each(|(from, to)| self.lan.heal(*from, *to));
    }

    /// After healing everybody is listed everywhere as healthy, and all see each other.
    fn converges(&self, what: &str) {
        let took = watch::wait_complete(&self.lan.trio.addresses(), &self.wanted, HEALED);
        let up = self.lan.trio.wait_up();
        tell(&format!("{what}: all lists complete {took:?} after healing, all up after {:?}", took + up));
    }

    /// Nobody who lives was missing from any answer of these servers.
    fn conclude(mut self, what: &str, ledgers: &[watch::Ledger], of: &[usize]) {
        self.clients.stop();
        tell(&format!("{what}: {}", self.clients.counts.text()));
        for number in of {
            let ledger = &ledgers[*number];
            tell(&format!("  server {number}: {} lists, {} unhealthy", ledger.answers, ledger.unhealthy));
            let lost = (ledger.missing, ledger.empty, ledger.unknown, ledger.refused);
            assert_eq!(lost, (0, 0, 0, 0), "{what}: server {number}: {ledger:#?}");
        }
        let notes = self.clients.counts.notes.lock().expect("nobody panicked");
        assert_eq!(self.clients.counts.again(), 0, "{what}: clients had to register again: {notes:#?}");
    }
}

const FULL: [(usize, usize); 4] = [(0, 1), (0, 2), (1, 0), (2, 0)];

#[test]
fn servers_that_are_cut_off_lose_nobody() {
    match lan::scene().as_deref() {
        None => lan::run("cluster::partition::servers_that_are_cut_off_lose_nobody", &["full", "one way", "flapping"]),
        Some("full") => full(),
        Some("one way") => one_way(),
        Some("flapping") => flapping(),
        Some(other) => panic!("no scene {other}"),
    }
}

/// One server is cut off from the others until it has removed all that it does not hear of.
fn full() {
    // Those of the second kind are silent for the server that is cut off until it has removed them: it can't know better.
    let mut instances = population(1, 4);
    instances.iter_mut().for_each(|instance| instance.beat_ms = None);
    let far = settled("far", Some(1_000), &[1, 2]);
    let near = watch::wanted(&instances);
    instances.extend(far.iter().cloned());
    let scene = Scene::set(&instances);
    let addresses = scene.lan.trio.addresses();
    let mut watching = vec![watch::start(&addresses[..1], &near), watch::start(&addresses[1..], &scene.wanted)];
    let churn = churn::start(&addresses[1..], 2, Duration::from_millis(100), 7);
    scene.cut(&FULL);
    thread::sleep(Duration::from_secs(14));
    let cut_off = watch::list(&mut crate::client::Client::new(addresses[0]), &far[0].service);
    tell(&format!("the server that is cut off lists {:?} of {:?}", cut_off, scene.wanted[&far[0].service]));
    scene.heal(&FULL);
    scene.converges("full partition");
    let (writes, acknowledged, took) = churn::compare(&churn.stop(), &addresses, HEALED);
    tell(&format!("{writes} other writes, {acknowledged} acknowledged, equal everywhere after {took:?}"));
    let rest = watching.pop().expect("two").stop();
    let mut ledgers = watching.pop().expect("one").stop();
    ledgers.extend(rest);
    scene.conclude("full partition", &ledgers, &[0, 1, 2]);
}

/// What one server sends does not arrive, while it hears the others.
fn one_way() {
    let mut instances = population(1, 4);
    instances.iter_mut().for_each(|instance| instance.beat_ms = None);
    let scene = Scene::set(&instances);
    let addresses = scene.lan.trio.addresses();
    let watching = watch::start(&addresses, &scene.wanted);
    for ways in [&[(1, 2)][..], &[(2, 0), (2, 1)]] {
        scene.cut(ways);
        thread::sleep(Duration::from_secs(8));
        scene.heal(ways);
        scene.converges(&format!("one way, {ways:?}"));
    }
    scene.conclude("one way", &watching.stop(), &[0, 1, 2]);
}

/// Links come and go, of another server each time.
fn flapping() {
    let mut instances = population(1, 4);
    instances.iter_mut().for_each(|instance| instance.beat_ms = None);
    let scene = Scene::set(&instances);
    let addresses = scene.lan.trio.addresses();
    let watching = watch::start(&addresses, &scene.wanted);
    let churn = churn::start(&addresses, 2, Duration::from_millis(100), 9);
    for (number, (off_ms, on_ms)) in
        [(300, 200), (1_500, 500), (700, 1_500), (2_500, 300), (4_000, 0)].into_iter().enumerate()
    {
        let one = number % 3;
        let ways: Vec<(usize, usize)> = FULL.iter().map(|(from, to)| ((from + one) % 3, (to + one) % 3)).collect();
        scene.cut(&ways);
        thread::sleep(Duration::from_millis(off_ms));
        scene.heal(&ways);
        thread::sleep(Duration::from_millis(on_ms));
    }
    scene.converges("flapping");
    let (writes, acknowledged, took) = churn::compare(&churn.stop(), &addresses, HEALED);
    tell(&format!("{writes} other writes, {acknowledged} acknowledged, equal everywhere after {took:?}"));
    scene.conclude("flapping", &watching.stop(), &[0, 1, 2]);
}
