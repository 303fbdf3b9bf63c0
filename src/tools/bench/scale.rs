//! A restart after a kill, memory at rest and size on disk, by number of instances.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::process::{Process, memory_bytes};
use super::{Bench, figures, machine, median, rates, session};
use crate::config::flags::Mode;
use crate::error::{Error, Result};
use crate::tools::pace::Until;
use crate::tools::report::grouped;
use crate::tools::scenario::Work;
use crate::tools::verify::Verification;

const PER_SERVICE: u32 = 10;

/// One number of instances.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Size {
    pub(super) instances: u32,
    pub(super) services: u32,
    pub(super) mode: &'static str,
    /// Registrations a second while it was filled.
    pub(super) fill_rate_per_s: f64,
    /// From the start of the process to the first yes of readiness, median and all.
    pub(super) ready_ms: f64,
    pub(super) all_ready_ms: Vec<f64>,
    /// Of it, reading the store, as the server says; median.
    pub(super) restore_ms: f64,
    pub(super) rows: u64,
    /// Keys and values of all rows.
    pub(super) live_bytes: u64,
    /// Length of all files of the store, and what they take.
    pub(super) file_bytes: u64,
    pub(super) disk_bytes: u64,
    /// Resident memory right after the last start, and a while later.
    pub(super) memory_after_start_bytes: Option<u64>,
    pub(super) memory_at_rest_bytes: Option<u64>,
    pub(super) rest_s: f64,
    /// All lists after the last restart.
    pub(super) verification: Verification,
}

pub(super) fn measure(bench: &Bench) -> Result<Vec<Size>> {
    bench.settings.scale.iter().map(|instances| size(bench, *instances)).collect()
}

fn size(bench: &Bench, instances: u32) -> Result<Size> {
    let (mode, settings) = (bench.settings.storing(), &bench.settings);
    let services = instances.div_ceil(PER_SERVICE);
    let name = format!("scale-{instances}");
    let mut process = bench.serve(&name, mode)?;
    let mut engine = bench.engine(process.address, "nacre-bench-scale", services, instances)?;
    let what = format!("registering {}", grouped(f64::from(instances)));
    let record = bench.pass(&mut engine, Work::Prepare, Until::Once, &what)?;
    let span = record.span.map_or(0.0, |(first, last)| (last - first).as_secs_f64()).max(1e-6);
    if mode == Mode::Interval {
        // The rest of an interval may be lost, and would be missing below.
        std::thread::sleep(Duration::from_millis(500));
    }
    let (mut ready_ms, mut restore_ms, mut last) = (Vec::new(), Vec::new(), None);
    for nth in 1..=settings.restarts {
        process.kill();
        bench.line.say(format!("restart {nth} of {} with {}", settings.restarts, grouped(f64::from(instances))));
        let (started, took) = start(bench, &name)?;
        process = started;
        ready_ms.push(took.as_secs_f64() * 1e3);
        let restored = bench.runtime.block_on(figures::restored(&session_of(&process)?))?;
        restore_ms.push(restored.time_ms as f64);
        if let Some(damage) = &restored.damage {
            return Err(Error::Unavailable(format!("the server says that its store was damaged: {damage}")));
        }
        last = Some(restored);
    }
    let memory_after_start_bytes = memory_bytes(process.id());
    pause(bench, settings.rest)?;
    let memory_at_rest_bytes = memory_bytes(process.id());
    let verification = rates::sum(Verification::default(), bench.verify(&engine, process.address)?);
    process.still_alive()?;
    let folder = bench.folder.path().join(&name);
    let (file_bytes, disk_bytes) = machine::disk_bytes(&folder.join("home/data"));
    process.kill();
    // A million instances take as much of the disk as all others together.
    let _ = std::fs::remove_dir_all(&folder);
    let (rows, live_bytes) = last.map_or((0, 0), |restored| (restored.rows, restored.bytes));
    Ok(Size {
        instances,
        services,
        mode: mode.name(),
        fill_rate_per_s: record.good_count() as f64 / span,
        ready_ms: median(ready_ms.iter().copied()),
        all_ready_ms: ready_ms,
        restore_ms: median(restore_ms),
        rows,
        live_bytes,
        file_bytes,
        disk_bytes,
        memory_after_start_bytes,
        memory_at_rest_bytes,
        rest_s: settings.rest.as_secs_f64(),
        verification,
    })
}

fn session_of(process: &Process) -> Result<std::sync::Arc<crate::tools::client::Session>> {
    session(process.address)
}

/// A start on data that are there, until readiness says yes.
fn start(bench: &Bench, name: &str) -> Result<(Process, Duration)> {
    let began = Instant::now();
    let process = bench.serve(name, bench.settings.storing())?;
    bench.runtime.block_on(figures::ready(&session_of(&process)?))?;
    Ok((process, began.elapsed()))
}

fn pause(bench: &Bench, time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        bench.line.say("waiting before memory is read");
        std::thread::sleep(Duration::from_millis(50).min(time));
        bench.interrupted()?;
    }
    Ok(())
}
