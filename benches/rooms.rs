//! What the rooms cost by themselves, by criterion: `cargo bench --bench rooms -- [FILTER]`.
//!
//! | group | what |
//! |---|---|
//! | `codec` | a row to bytes and back |
//! | `append` | [`nacre::store::Store::append`] of batches, by durability |
//! | `recover` | [`nacre::store::Store::open`] of a store with 10,000 and 100,000 rows |
//! | `apply` | [`nacre::registry::Registry::apply`] in services of different sizes |
//! | `list` | the bytes of a list, kept and built anew, of 10 and of 10,000 instances |
//! | `wheel` | beats of a million instances, in simulated time |
//!
//! Without `--bench` (that is, from `cargo test`) everything is done once, with few rows.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a program that measures; what goes wrong ends it"
)]

#[path = "rooms/append.rs"]
mod append;
#[path = "rooms/codec.rs"]
mod codec;
#[path = "rooms/population.rs"]
mod population;
#[path = "rooms/recover.rs"]
mod recover;
#[path = "rooms/registry.rs"]
mod registry;
#[path = "rooms/wheel.rs"]
mod wheel;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

/// The server has it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Whether to measure; else a quick look that all works is wanted.
fn measuring() -> bool {
    std::env::args().any(|arg| arg == "--bench")
}

/// `full` when measuring, else `few`.
fn sized(full: usize, few: usize) -> usize {
    if measuring() { full } else { few }
}

fn settings() -> Criterion {
    let times = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    times.sample_size(20).without_plots()
}

criterion_group! {
    name = rooms;
    config = settings();
    targets = codec::bench, append::bench, recover::bench, registry::apply, registry::list, wheel::bench
}
criterion_main!(rooms);
