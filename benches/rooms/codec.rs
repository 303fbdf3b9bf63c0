//! A row to bytes and back.

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use nacre::store::coded;

use crate::population::rows;
use crate::sized;

pub(crate) fn bench(criterion: &mut Criterion) {
    let rows = rows(sized(1_000, 20), 1);
    let encoded: Vec<_> = rows.iter().map(|row| coded::encode(row).unwrap()).collect();
    let mut pairs: Vec<(&[u8], &[u8])> =
        encoded.iter().map(|(key, value)| (&key[..], value.as_deref().unwrap())).collect();
    pairs.sort_unstable();
    let mut back = coded::decode(pairs.iter().copied()).unwrap();
    back.sort_by_key(|row| coded::encode(row).unwrap());
    assert_eq!(back.len(), rows.len());
    assert!(back.iter().zip(&pairs).all(|(row, (key, _))| coded::encode(row).unwrap().0 == *key));
    let bytes: usize = pairs.iter().map(|(key, value)| key.len() + value.len()).sum();
    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::ElementsAndBytes { elements: rows.len() as u64, bytes: bytes as u64 });
    group.bench_function("encode", |bencher| {
        bencher.iter(|| rows.iter().for_each(|row| drop(black_box(coded::encode(row).unwrap()))));
    });
    group.bench_function("decode", |bencher| {
        bencher.iter(|| black_box(coded::decode(pairs.iter().copied()).unwrap()));
    });
    group.finish();
}
