//! The report: what was found, as text for terminals.

use serde::Serialize;

use super::Settings;
use super::machine::Machine;
use super::rates::{Rates, Row, Task};
use super::scale::Size;
use super::service::{OneMore, Service};
use crate::config::flags::Mode;
use crate::tools::record::LatencySummary;
use crate::tools::report::grouped;
use crate::tools::report::table::Table;
use crate::tools::verify::Verification;

/// In tables, where there is no figure.
const NONE: &str = "-";
/// One service: one more instance in the large one may take this much longer than in the small one.
const GOAL_RATIO: f64 = 1.5;
const GOAL_GB_PER_S: f64 = 0.5;
/// By number of instances: ms until ready, MiB of memory at rest.
const GOALS: [(u32, f64, f64); 2] = [(100_000, 300.0, 120.0), (1_000_000, 3_000.0, 1_024.0)];
const MIB: f64 = 1_048_576.0;

/// What a bench found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Report {
    pub(super) tool: &'static str,
    pub(super) version: &'static str,
    /// RFC 3339.
    pub(super) began: String,
    pub(super) machine: Machine,
    pub(super) seconds: f64,
    pub(super) rounds: u32,
    pub(super) connections: u32,
    pub(super) services: u32,
    pub(super) instances_per_service: u32,
    pub(super) modes: Vec<&'static str>,
    pub(super) seed: u64,
    /// A sync after an append of 4 KiB, before and after everything else.
    pub(super) fdatasync: LatencySummary,
    pub(super) fdatasync_after: LatencySummary,
    /// Keys and values of a live row, on average.
    pub(super) row_bytes: Option<f64>,
    pub(super) rates: Option<Rates>,
    pub(super) sizes: Vec<Size>,
    pub(super) service: Option<Service>,
}

impl Report {
    pub(super) fn new(settings: &Settings, machine: Machine, fdatasync: LatencySummary) -> Self {
        Self {
            tool: "nacre bench",
            version: env!("CARGO_PKG_VERSION"),
            began: jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            machine,
            seconds: settings.seconds.as_secs_f64(),
            rounds: settings.rounds,
            connections: settings.connections,
            services: settings.services,
            instances_per_service: settings.instances,
            modes: settings.modes.iter().map(|mode| mode.name()).collect(),
            seed: settings.seed,
            fdatasync,
            fdatasync_after: fdatasync,
            row_bytes: None,
            rates: None,
            sizes: Vec::new(),
            service: None,
        }
    }

    /// Fills in how large a row is, as the servers told, and what depends on it.
    pub(super) fn told_rows(&mut self) {
        let counted = self.rates.iter().flat_map(|rates| &rates.rows).filter_map(|row| row.store.as_ref());
        let counted = counted.filter(|store| store.rows > 0.0).map(|store| store.live_bytes / store.rows).next();
        let restored = self.sizes.iter().filter(|size| size.rows > 0);
        let restored = restored.map(|size| size.live_bytes as f64 / size.rows as f64).next();
        self.row_bytes = counted.or(restored);
        let Some(row_bytes) = self.row_bytes else { return };
        for row in self.rates.iter_mut().flat_map(|rates| &mut rates.rows) {
            let of_register = row.bytes_per_change.filter(|_| row.task == Task::Register);
            row.write_amplification = of_register.map(|bytes| bytes / row_bytes);
        }
    }

    pub(super) fn verifications(&self) -> impl Iterator<Item = &Verification> {
        let rates = self.rates.iter().map(|rates| &rates.verification);
        rates.chain(self.sizes.iter().map(|size| &size.verification))
    }

    /// Whether everything acknowledged was there.
    pub(super) fn is_good(&self) -> bool {
        self.verifications().all(Verification::is_good)
    }

    /// What was found wrong, in words.
    pub(super) fn faults(&self) -> Vec<String> {
        let bad = self.verifications().filter(|found| !found.is_good());
        bad.flat_map(|found| {
            let counts = format!(
                "of {} acknowledged registrations {} are missing, {} deregistered instances are still there, {} lists can't \
                 be read",
                grouped(found.registered as f64),
                grouped(found.missing as f64),
                grouped(found.undead as f64),
                grouped(found.unread as f64)
            );
            std::iter::once(counts).chain(found.examples.iter().cloned())
        })
        .collect()
    }

    /// Names and values of the circumstances.
    pub(super) fn circumstances(&self) -> Vec<(&'static str, String)> {
        let machine = &self.machine;
        let disk = |all: &LatencySummary| format!("p50 {:.2} ms, p99 {:.2} ms", all.p50_ms, all.p99_ms);
        let mut all = vec![
            (
                "machine",
                format!(
                    "{} cores of {}, {:.1} GiB",
                    machine.cores,
                    machine.cpu,
                    machine.memory_bytes as f64 / MIB / 1_024.0
                ),
            ),
            ("system", format!("{}, data on {}", machine.kernel, machine.file_system)),
            ("nacre", format!("{}, begun {}", self.version, self.began)),
            (
                "floor of the disk",
                format!(
                    "fdatasync after an append of 4 KiB: {}; at the end {}",
                    disk(&self.fdatasync),
                    disk(&self.fdatasync_after)
                ),
            ),
        ];
        if let Some(Rates { bare, .. }) = &self.rates {
            all.push((
                "floor of HTTP",
                format!(
                    "bare hyper server that answers `ok`: {}/s, p50 {:.2} ms, p99 {:.2} ms",
                    grouped(bare.rate_per_s),
                    bare.latency.p50_ms,
                    bare.latency.p99_ms
                ),
            ));
            all.push((
                "load",
                format!(
                    "{} keep-alive connections, closed loop, on the same cores; {} services with {} instances each that stay; \
                     {} rounds of {} s for each mode and task, medians",
                    self.connections, grouped(f64::from(self.services)), self.instances_per_service, self.rounds, self.seconds
                ),
            ));
        }
        if let Some(bytes) = self.row_bytes {
            all.push(("a live row", format!("{bytes:.0} bytes (key and value of an instance)")));
        }
        if machine.is_without_disk() {
            all.push((
                "careful",
                "the data are in memory, where a sync costs nothing: --dir names a folder on a disk".into(),
            ));
        }
        all
    }

    /// All tables with their headings.
    pub(super) fn tables(&self) -> Vec<(&'static str, Table)> {
        let mut all = Vec::new();
        if let Some(rates) = &self.rates {
            all.push(("Rates and latencies", rates_table(rates)));
            all.push(("What is written", store_table(rates)));
        }
        if !self.sizes.is_empty() {
            all.push(("Restart after kill -9, memory, disk", sizes_table(&self.sizes)));
        }
        if let Some(service) = &self.service {
            all.push(("One large service", service_table(service)));
        }
        all
    }

    /// A few sentences that say what the tables come to.
    pub(super) fn sentences(&self) -> Vec<String> {
        let mut all = Vec::new();
        let pair = |task| {
            let rates = self.rates.as_ref()?;
            Some((rates.row(Mode::Synced, task)?, rates.row(Mode::Off, task)?))
        };
        for task in Task::ALL {
            let Some((synced, off)) = pair(task) else { continue };
            let shares = synced.rates_per_s.iter().zip(&off.rates_per_s).map(|(synced, off)| synced / off);
            all.push(format!(
                "{}: synced has {:.2} of the rate of off; p99 {:+.2} ms",
                task.name(),
                super::median(shares),
                synced.latency.p99_ms - off.latency.p99_ms
            ));
        }
        all.extend(self.sizes.iter().filter_map(size_sentence));
        if let Some(Service { large, small, one_more, list }) = &self.service {
            for OneMore { mode, ratio, .. } in one_more {
                let within = if *ratio <= GOAL_RATIO { "within" } else { "beyond" };
                all.push(format!(
                    "one more instance, {mode}: with {} there it takes {ratio:.2} times as long as with {small} ({within} {GOAL_RATIO})",
                    grouped(f64::from(*large)),
                ));
            }
            let reached = if list.gb_per_s >= GOAL_GB_PER_S { "reached" } else { "missed" };
            all.push(format!(
                "list of {} instances: {:.2} GB/s of body bytes ({reached}: {GOAL_GB_PER_S}), always the same {} bytes",
                grouped(f64::from(*large)),
                list.gb_per_s,
                grouped(list.body_bytes as f64)
            ));
        }
        all
    }

    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        for (name, value) in self.circumstances() {
            out += &format!("{:<18} {value}\n", format!("{name}:"));
        }
        for (heading, table) in self.tables() {
            out += &format!("\n{heading}\n\n{}", table.text());
        }
        out.push('\n');
        self.sentences().iter().for_each(|sentence| out += &format!("{sentence}\n"));
        self.faults().iter().for_each(|fault| out += &format!("{fault}\n"));
        out + if self.is_good() { "GOOD\n" } else { "BAD\n" }
    }
}

/// What a size comes to, if there is a goal for it.
fn size_sentence(size: &Size) -> Option<String> {
    let (_, ready_ms, rest_mib) = GOALS.iter().find(|(instances, ..)| *instances == size.instances)?;
    let judged = |is: f64, goal: f64| if is <= goal { "reached" } else { "missed" };
    let rest = size.memory_at_rest_bytes.map_or_else(String::new, |bytes| {
        let mib = bytes as f64 / MIB;
        format!("; {mib:.0} MiB at rest ({}: {})", judged(mib, *rest_mib), grouped(*rest_mib))
    });
    Some(format!(
        "{} instances: ready and complete {} ms after the start ({}: {}){rest}",
        grouped(f64::from(size.instances)),
        grouped(size.ready_ms),
        judged(size.ready_ms, *ready_ms),
        grouped(*ready_ms)
    ))
}

fn rates_table(rates: &Rates) -> Table {
    let mut table = Table::new(&[
        "task, mode",
        "per s",
        "lowest",
        "highest",
        "of bare",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "p99.9 ms",
        "server us",
        "load us",
    ]);
    let named = |row: &Row| format!("{}, {}", row.task.name(), row.mode);
    let mut add = |name: String, row: &Row| {
        let LatencySummary { p50_ms, p90_ms, p99_ms, p999_ms, .. } = row.latency;
        let least = row.rates_per_s.iter().copied().fold(f64::INFINITY, f64::min);
        let most = row.rates_per_s.iter().copied().fold(0.0, f64::max);
        let mut cells =
            vec![name, grouped(row.rate_per_s), grouped(least), grouped(most), format!("{:.2}", row.share_of_bare)];
        cells.extend([p50_ms, p90_ms, p99_ms, p999_ms].map(|ms| format!("{ms:.2}")));
        cells.extend([row.server_cpu_us_per_request, row.load_cpu_us_per_request].map(|us| some(us, 1)));
        table.row(cells);
    };
    add("bare server".into(), &rates.bare);
    for task in Task::ALL {
        rates.rows.iter().filter(|row| row.task == task).for_each(|row| add(named(row), row));
    }
    table
}

fn store_table(rates: &Rates) -> Table {
    let mut table = Table::new(&[
        "task, mode",
        "changes",
        "MB written",
        "bytes/change",
        "amplification",
        "batches",
        "rows/batch",
        "fdatasync",
        "per change",
        "mean ms",
    ]);
    for task in Task::ALL {
        for row in rates.rows.iter().filter(|row| row.task == task) {
            let store = row.store.as_ref();
            table.row(vec![
                format!("{}, {}", task.name(), row.mode),
                grouped(row.changes as f64),
                some(row.written_bytes.map(|bytes| bytes as f64 / 1e6), 1),
                some(row.bytes_per_change, 0),
                some(row.write_amplification, 2),
                store.map_or(NONE.into(), |store| grouped(store.batches)),
                some(store.and_then(|store| store.mean_batch()), 1),
                store.map_or(NONE.into(), |store| grouped(store.syncs)),
                some(store.filter(|_| row.changes > 0).map(|store| store.syncs / row.changes as f64), 3),
                some(store.and_then(|store| store.mean_sync_ms()), 2),
            ]);
        }
    }
    table
}

fn sizes_table(sizes: &[Size]) -> Table {
    let mut table = Table::new(&[
        "instances",
        "ready ms",
        "lowest",
        "highest",
        "of it store ms",
        "live MB",
        "on disk MB",
        "MiB at start",
        "MiB at rest",
        "filled at /s",
    ]);
    for size in sizes {
        let least = size.all_ready_ms.iter().copied().fold(f64::INFINITY, f64::min);
        let most = size.all_ready_ms.iter().copied().fold(0.0, f64::max);
        let mut cells = vec![format!("{} ({})", grouped(f64::from(size.instances)), size.mode)];
        cells.extend([size.ready_ms, least, most, size.restore_ms].map(grouped));
        cells.extend([size.live_bytes, size.disk_bytes].map(|bytes| format!("{:.1}", bytes as f64 / 1e6)));
        let memory = [size.memory_after_start_bytes, size.memory_at_rest_bytes];
        cells.extend(memory.map(|bytes| some(bytes.map(|bytes| bytes as f64 / MIB), 0)));
        cells.push(grouped(size.fill_rate_per_s));
        table.row(cells);
    }
    table
}

fn service_table(service: &Service) -> Table {
    let large = format!("with {}: p50 ms", grouped(f64::from(service.large)));
    let small = format!("with {}: p50 ms", service.small);
    let mut table = Table::new(&["register one more", &small, "p99 ms", &large, "p99 ms", "ratio", "pairs"]);
    for one in &service.one_more {
        let mut cells = vec![one.mode.to_owned()];
        cells.extend(
            [one.small.p50_ms, one.small.p99_ms, one.large.p50_ms, one.large.p99_ms].map(|ms| format!("{ms:.3}")),
        );
        cells.extend([format!("{:.2}", one.ratio), grouped(one.pairs as f64)]);
        table.row(cells);
    }
    table
}

fn some(value: Option<f64>, digits: usize) -> String {
    value.map_or(NONE.into(), |value| if digits == 0 { grouped(value) } else { format!("{value:.digits$}") })
}
