//! Changes of the state in memory, and the bytes of lists.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput};
use nacre::model::Row;
use nacre::push::list::list as list_bytes;
use nacre::registry::{ListKey, Registry};

use crate::population::{instance, key, service};
use crate::sized;

const NOW_MS: u64 = 1_700_000_000_000;

/// A registry with one service of `size` among 1,000 small ones.
fn registry(size: usize) -> Registry {
    let registry = Registry::new(0);
    let (put, large) = (instance(0), service(0));
    for number in 0..size {
        registry.apply(Row::Instance(key(&large, number), Some(put.clone())), 0, true);
    }
    for other in 1..=sized(1_000, 10) {
        registry.apply(Row::Instance(key(&service(other), other), Some(put.clone())), 0, true);
    }
    registry
}

fn sizes() -> [usize; 2] {
    [10, sized(10_000, 100)]
}

pub(crate) fn apply(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("apply");
    for size in sizes() {
        let registry = registry(size);
        let one_more = Row::Instance(key(&service(0), size), Some(instance(0)));
        group.throughput(Throughput::Elements(2));
        group.bench_function(BenchmarkId::new("one comes and goes, of", size), |bencher| {
            bencher.iter(|| {
                registry.apply(one_more.clone(), 1, true).unwrap();
                registry.apply(one_more.removal(), 1, true).unwrap();
            });
        });
        assert_eq!(registry.find_service(&service(0)).unwrap().len(), size);
        let changes = [0, 1].map(|version| Row::Instance(key(&service(0), size / 2), Some(instance(version))));
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("one changes, of", size), |bencher| {
            let mut turn = changes.iter().cycle();
            bencher.iter(|| registry.apply(turn.next().unwrap().clone(), 1, true).unwrap());
        });
    }
    group.finish();
}

pub(crate) fn list(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("list");
    let how = ListKey { grouped_names: true, healthy_only: false, cache_ms: 10_000, clusters: "" };
    for size in sizes() {
        let registry = registry(size);
        let service = registry.find_service(&service(0)).unwrap();
        let bytes = list_bytes(&service, &how, || NOW_MS);
        assert_eq!(memchr::memmem::find_iter(&bytes, b"\"instanceId\"").count(), size);
        group.throughput(Throughput::ElementsAndBytes { elements: size as u64, bytes: bytes.len() as u64 });
        group.bench_function(BenchmarkId::new("kept", size), |bencher| {
            bencher.iter(|| black_box(list_bytes(&service, &how, || NOW_MS)));
        });
        assert_eq!(list_bytes(&service, &how, || NOW_MS), bytes, "nothing has changed");
        let changes = [1, 0].map(|version| Row::Instance(key(service.key(), size / 2), Some(instance(version))));
        group.bench_function(BenchmarkId::new("built anew", size), |bencher| {
            let mut turn = changes.iter().cycle();
            bencher.iter(|| {
                registry.apply(turn.next().unwrap().clone(), 1, true).unwrap();
                black_box(list_bytes(&service, &how, || NOW_MS))
            });
        });
        registry.apply(changes[0].clone(), 1, true).unwrap();
        assert_ne!(list_bytes(&service, &how, || NOW_MS), bytes, "it is built anew");
    }
    group.finish();
}
