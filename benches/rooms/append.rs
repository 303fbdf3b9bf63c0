//! Batches into a store that has rows already: changes of 100,000 instances, in an order without neighbours.

use criterion::{BenchmarkId, Criterion, Throughput};
use nacre::model::Row;
use nacre::store::Durability;

use crate::population::{folder, now_ms, open, rows};
use crate::sized;

const MODES: [Durability; 4] = [Durability::Synced, Durability::Written, Durability::Interval, Durability::Off];
const BATCHES: [usize; 4] = [1, 16, 64, 512];
/// Prime, so that steps of this size reach every row.
const STRIDE: usize = 7_919;

/// Rows for one batch after the other; from one time round to the next the values change.
struct Changes {
    versions: [Vec<Row>; 2],
    next: usize,
}

impl Changes {
    fn batch(&mut self, size: usize) -> Vec<Row> {
        let count = self.versions[0].len();
        let row = |nth: usize| self.versions[nth / count % 2][nth * STRIDE % count].clone();
        let batch = (self.next..self.next + size).map(row).collect();
        self.next += size;
        batch
    }
}

pub(crate) fn bench(criterion: &mut Criterion) {
    let count = sized(100_000, 1_000);
    let first = rows(count, 0);
    let mut group = criterion.benchmark_group("append");
    for mode in MODES {
        let folder = folder();
        let (mut store, _) = open(folder.path(), mode);
        first.chunks(1_000).for_each(|rows| store.append(rows).unwrap());
        let mut changes = Changes { versions: [rows(count, 1), first.clone()], next: 0 };
        for size in BATCHES {
            group.throughput(Throughput::Elements(size as u64));
            group.bench_with_input(BenchmarkId::new(mode.to_string(), size), &size, |bencher, size| {
                bencher.iter_batched(
                    || changes.batch(*size),
                    |batch| {
                        store.append(&batch).unwrap();
                        // As the committer does between batches.
                        store.tick(now_ms()).unwrap();
                    },
                    criterion::BatchSize::PerIteration,
                );
            });
        }
        store.close().unwrap();
        let wanted = if mode == Durability::Off { 0 } else { count };
        assert_eq!(open(folder.path(), mode).1, wanted, "{mode}");
    }
    group.finish();
}
