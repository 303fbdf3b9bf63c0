//! How much of the disk a store takes after many changes of the same instances.
//!
//! `cargo bench --bench disk -- [--updates N] [--instances N]` (10 million of 100,000): instances change in an order
//! without neighbours, in batches of 512, as `written` stores them. Without `--bench` (that is, from `cargo test`) it
//! takes a quick look that a compaction keeps the store small.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program whose output is its purpose; what goes wrong ends it"
)]

#[allow(dead_code, reason = "shared with rooms.rs")]
#[path = "rooms/population.rs"]
mod population;

use std::process::ExitCode;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use nacre::model::Row;
use nacre::store::{COMPACT_MIN_BYTES, Durability, Options, Store};
use nacre::tools::bench::machine::disk_bytes;
use population::{folder, instance, now_ms, open, rows};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCH: usize = 512;
/// Prime, so that steps of this size reach every row.
const STRIDE: usize = 7_919;
/// Size on disk over size of live rows.
const GOAL: f64 = 8.0;
/// The store looks at its size this often.
const LOOK: Duration = Duration::from_millis(1_200);
/// A compaction that is due has ended after this time.
const PATIENCE: Duration = Duration::from_secs(60);

struct Size {
    updates: usize,
    instances: usize,
    compact_min_bytes: u64,
    /// At least as many are needed.
    compactions: u64,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // Test runners ask for the tests of a binary; this one has none that could be chosen.
    if args.iter().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    let number = |name: &str, default| {
        let at = args.iter().position(|arg| arg == name);
        at.map_or(Some(default), |at| args.get(at + 1)?.parse().ok().filter(|number| *number > 0))
    };
    let size = if args.iter().any(|arg| arg == "--bench") {
        let sizes = number("--updates", 10_000_000).zip(number("--instances", 100_000));
        let Some((updates, instances)) = sizes else {
            eprintln!("disk: --updates and --instances need a number above 0");
            return ExitCode::FAILURE;
        };
        Size { updates, instances, compact_min_bytes: COMPACT_MIN_BYTES, compactions: 0 }
    } else {
        Size { updates: 60_000, instances: 500, compact_min_bytes: 1 << 20, compactions: 1 }
    };
    if measure(&size) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints the figures; whether they are good.
fn measure(size: &Size) -> bool {
    let folder = folder();
    let options = Options {
        durability: Durability::Written,
        compact_min_bytes: size.compact_min_bytes,
        ..Options::new(folder.path())
    };
    let (mut store, _) = Store::open(options, now_ms(), &mut |_| (), &|_| ()).unwrap();
    let known = rows(size.instances, 0);
    known.chunks(BATCH).for_each(|rows| store.append(rows).unwrap());
    let (began, mut largest, mut told) = (Instant::now(), 0, Instant::now());
    let mut done = 0;
    while done < size.updates {
        let count = BATCH.min(size.updates - done);
        let batch: Vec<Row> = (done..done + count)
            .map(|nth| match &known[nth * STRIDE % known.len()] {
                Row::Instance(key, _) => Row::Instance(key.clone(), Some(instance(1 + nth / known.len()))),
                other => other.clone(),
            })
            .collect();
        store.append(&batch).unwrap();
        store.tick(now_ms()).unwrap();
        done += count;
        if told.elapsed() > Duration::from_secs(1) {
            told = Instant::now();
            largest = largest.max(disk_bytes(folder.path()).1);
            eprint!("\rdisk: {done} of {} updates, {} MB  ", size.updates, largest / 1_000_000);
        }
    }
    let took = began.elapsed();
    let stats = store.stats();
    let live = stats.live_bytes.load(Ordering::Relaxed);
    // A compaction that is due begins within a second, and then takes its time.
    let (looked, end) = (Instant::now() + LOOK, Instant::now() + PATIENCE);
    let is_large = || {
        let file_bytes = stats.file_bytes.load(Ordering::Relaxed);
        file_bytes > size.compact_min_bytes && file_bytes as f64 > GOAL * live as f64
    };
    while Instant::now() < looked || (is_large() && Instant::now() < end) {
        store.tick(now_ms()).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    let compactions = stats.compactions.load(Ordering::Relaxed);
    store.close().unwrap();
    let on_disk = disk_bytes(folder.path()).1;
    let ratio = on_disk as f64 / live as f64;
    let kept = open(folder.path(), Durability::Written).1 == size.instances;
    // Without a compaction the few rows of a quick look would take more.
    let good = kept && (ratio <= GOAL || on_disk <= 2 * size.compact_min_bytes) && compactions >= size.compactions;
    println!(
        "\ndisk: {} updates of {} instances in {:.1} s: {:.1} MB on disk (most seen: {:.1}), {:.1} MB of live rows: {ratio:.2} \
         times ({}: {GOAL}), {compactions} compactions{}",
        size.updates,
        size.instances,
        took.as_secs_f64(),
        on_disk as f64 / 1e6,
        largest as f64 / 1e6,
        live as f64 / 1e6,
        if good { "reached" } else { "missed" },
        if kept { "" } else { "; ROWS ARE MISSING" }
    );
    good
}
