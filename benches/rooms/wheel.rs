//! Beats of a million instances that beat every 5 s, in simulated time: what noting them and watching for their absence
//! takes. One iteration is 5 s of that time.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};
use nacre::health::TICK_MS;
use nacre::health::expiry::Expiry;
use nacre::model::InstanceKey;
use nacre::registry::{Change, Registry, Slot};
use std::sync::Arc;

use crate::population::rows;
use crate::{measuring, sized};

const BEAT_MS: u64 = 5_000;
/// Prime, so that steps of this size reach every instance: beats come in no order of memory.
const STRIDE: usize = 611_953;
const GOAL_PERCENT: f64 = 5.0;

struct World {
    registry: Registry,
    expiry: Expiry,
    slots: Vec<Arc<Slot>>,
    keys: Vec<InstanceKey>,
    now_ms: u64,
}

impl World {
    fn new(count: usize) -> Self {
        let (registry, mut expiry) = (Registry::new(0), Expiry::new(0, true));
        let (mut slots, mut keys) = (Vec::with_capacity(count), Vec::new());
        for row in rows(count, 0) {
            let nacre::model::Row::Instance(key, _) = &row else { continue };
            // Enough of them to look for; all would take as much memory as the registry.
            if keys.len() < count / 10 {
                keys.push(key.clone());
            }
            let Some(Change::Put { service, slot, .. }) = registry.apply(row, 0, true) else { continue };
            expiry.watch(service, slot.clone(), 0);
            slots.push(slot);
        }
        let mut world = Self { registry, expiry, slots, keys, now_ms: 0 };
        // After the first turn looks are spread as they are later.
        (0..4).for_each(|_| world.beat_all(|slot, now_ms| slot.touch(now_ms)));
        world
    }

    /// 5 s: everybody beats once, spread over all ticks, and nobody is found silent.
    fn beat_all(&mut self, beat: impl Fn(&Slot, u64)) {
        let count = self.slots.len();
        let ticks = (BEAT_MS / TICK_MS) as usize;
        for tick in 0..ticks {
            self.now_ms += TICK_MS;
            for nth in count * tick / ticks..count * (tick + 1) / ticks {
                beat(&self.slots[nth * STRIDE % count], self.now_ms);
            }
            assert!(self.expiry.tick(self.now_ms, true, &|_| true).is_empty(), "somebody was taken for silent");
        }
        assert_eq!(self.expiry.planned(), count);
    }
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let count = sized(1_000_000, 10_000);
    let mut world = World::new(count);
    let mut group = criterion.benchmark_group("wheel");
    group.sample_size(10).measurement_time(Duration::from_secs(6)).throughput(Throughput::Elements(count as u64));
    let (mut all, mut rounds) = (Duration::ZERO, 0);
    group.bench_function("5 s of beats", |bencher| {
        bencher.iter_custom(|times| {
            let began = Instant::now();
            (0..times).for_each(|_| world.beat_all(|slot, now_ms| slot.touch(now_ms)));
            let took = began.elapsed();
            all += took;
            rounds += times;
            took
        });
    });
    if measuring() && rounds > 0 {
        let percent = 100.0 * all.as_secs_f64() / rounds as f64 * 100_000.0 / count as f64;
        let said = if percent < GOAL_PERCENT { "reached" } else { "missed" };
        println!(
            "wheel: {percent:.2} % of one core for 100,000 beats/s of {count} instances ({said}: {GOAL_PERCENT} %)"
        );
    }
    let keys = std::mem::take(&mut world.keys);
    group.throughput(Throughput::Elements(keys.len() as u64));
    group.bench_function("find an instance for a beat", |bencher| {
        bencher.iter(|| {
            for nth in 0..keys.len() {
                world.registry.find(&keys[nth * STRIDE % keys.len()]).expect("it is there").touch(world.now_ms);
            }
        });
    });
    group.finish();
}
