//! What a cluster of three costs and how fast it is, with 100,000 instances in services of 10 and in services of 10,000; and
//! how many registrations it takes a second.
//!
//! `cargo bench --bench cluster -- [--instances N] [--changes N] [--seconds N]`
//!
//! Three servers on default settings, each in a process of its own, on the loopback interface; everything shares the
//! cores with this program. Bytes are those of the bodies that members exchange, as the servers count them; processor time
//! is that of the three processes together. Without `--bench` (that is, from `cargo test`) it only takes a quick look
//! that all works.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program whose output is its purpose")]

#[path = "../tests/it/client.rs"]
#[allow(dead_code, reason = "tests use more of it")]
mod client;
#[path = "cluster/figures.rs"]
mod figures;
#[path = "cluster/run.rs"]
mod run;
#[path = "cluster/servers.rs"]
mod servers;
#[path = "cluster/writes.rs"]
mod writes;

use std::process::ExitCode;
use std::time::Duration;

use run::{Shape, measure};

/// The server has it too.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Result<T> = std::result::Result<T, String>;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    instances: u64,
    changes: u64,
    /// Of an idle cluster, and so of rounds of checksums.
    idle: Duration,
    /// Of each kind of write.
    writes: Duration,
    smoke: bool,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // Test runners ask for the tests of a binary; this one has none that could be chosen.
    if args.iter().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    match options(&args).and_then(|options| all(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cluster: {error}");
            ExitCode::FAILURE
        }
    }
}

fn options(args: &[String]) -> Result<Options> {
    if !args.iter().any(|arg| arg == "--bench") {
        return Ok(Options {
            instances: 400,
            changes: 6,
            idle: Duration::from_millis(5_500),
            writes: Duration::from_millis(200),
            smoke: true,
        });
    }
    let mut options = Options {
        instances: 100_000,
        changes: 200,
        idle: Duration::from_secs(30),
        writes: Duration::from_secs(4),
        smoke: false,
    };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut number = || {
            let value = args.next().and_then(|value| value.parse::<u64>().ok());
            value.filter(|value| *value > 0).ok_or_else(|| format!("{arg} needs a number"))
        };
        match arg.as_str() {
            "--bench" => {}
            "--instances" => options.instances = number()?,
            "--changes" => options.changes = number()?,
            "--seconds" => options.idle = Duration::from_secs(number()?),
            _ => return Err(format!("unknown argument {arg}")),
        }
    }
    Ok(options)
}

fn all(options: &Options) -> Result<()> {
    let sizes: &[u64] = if options.smoke { &[10, 200] } else { &[10, 10_000] };
    for size in sizes {
        let services = (options.instances / size).max(1);
        measure(Shape { services, size: *size }, options)?;
    }
    writes::measure(options)
}
