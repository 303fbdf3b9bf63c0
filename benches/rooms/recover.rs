//! Opening a store: every row is read, checked, decoded and handed over.

use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput};
use nacre::store::Durability;

use crate::population::{folder, open, rows};
use crate::{measuring, sized};

pub(crate) fn bench(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("recover");
    group.sample_size(10);
    for count in [sized(10_000, 100), sized(100_000, 1_000)] {
        let folder = folder();
        let (mut store, _) = open(folder.path(), Durability::Written);
        rows(count, 0).chunks(1_000).for_each(|rows| store.append(rows).unwrap());
        store.close().unwrap();
        group.throughput(Throughput::Elements(count as u64));
        group.measurement_time(Duration::from_secs(if measuring() { 8 } else { 1 }));
        group.bench_with_input(BenchmarkId::from_parameter(count), &count, |bencher, count| {
            bencher.iter_custom(|times| {
                let mut all = Duration::ZERO;
                for _ in 0..times {
                    let began = Instant::now();
                    let (store, found) = open(folder.path(), Durability::Written);
                    all += began.elapsed();
                    assert_eq!(found, *count);
                    store.close().unwrap();
                }
                all
            });
        });
    }
    group.finish();
}
