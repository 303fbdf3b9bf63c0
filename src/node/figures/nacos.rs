//! The names that dashboards made for Nacos read. What its framework and its machine show has a stand-in.

use super::Figures;
use crate::health::checks::params::Kind;
use crate::telemetry::host;
use crate::telemetry::page::Page;
use crate::telemetry::process;

/// Figures of the configuration module, which is not here. A panel of dashboards counts servers by them.
const CONFIG: [&str; 6] = ["getConfig", "publish", "longPolling", "configCount", "notifyTask", "dumpTask"];

pub(super) fn show(figures: &Figures, page: &mut Page) {
    monitor(figures, page);
    let failures = figures.commit.status().failures();
    if failures > 0 {
        let mut faults = page.counter("nacos_exception_total", "Faults: disk counts writes that the store failed.");
        faults.count(&[("module", "naming"), ("name", "disk")], failures);
    }
    let seen = figures.process.look();
    machine(&seen, page);
    jvm(&seen, page);
}

fn monitor(figures: &Figures, page: &mut Page) {
    let registry = &figures.registry;
    let (services, instances) = (registry.service_count() as f64, registry.instance_count() as f64);
    let checks = |kind| figures.health.checks_today(kind) as f64;
    let (max_cost_ms, avg_cost_ms) = figures.push_costs_ms();
    let pushes = figures.push.counters();
    let naming = [
        ("mysqlhealthCheck", checks(Kind::Mysql)),
        ("httpHealthCheck", checks(Kind::Http)),
        ("tcpHealthCheck", checks(Kind::Tcp)),
        ("serviceCount", services),
        // Read by old dashboards, though Nacos stopped to write it.
        ("domCount", services),
        ("ipCount", instances),
        ("maxPushCost", max_cost_ms),
        ("avgPushCost", avg_cost_ms),
        ("totalPush", pushes.total as f64),
        // As the reference counts: what is not acknowledged yet has failed so far (spec/push.md 5).
        ("failedPush", (pushes.given_up + pushes.awaited) as f64),
        ("leaderStatus", 0.0),
    ];
    let mut monitor = page.gauge("nacos_monitor", "What Nacos counts; checks and pushes since midnight, costs in ms.");
    for (name, value) in naming {
        monitor.put(&[("module", "naming"), ("name", name)], value);
    }
    for name in CONFIG {
        monitor.put(&[("module", "config"), ("name", name)], 0.0);
    }
}

fn machine(seen: &process::Figures, page: &mut Page) {
    let mut gauge = |name: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            page.gauge(name, help).put(&[], value);
        }
    };
    let number = |value: Option<u64>| value.map(|value| value as f64);
    gauge("system_cpu_usage", "Share of all processors in use, 0 to 1.", seen.system_cpu);
    gauge("process_cpu_usage", "Share of all processors used by this process, 0 to 1.", seen.process_cpu);
    let processors = std::thread::available_parallelism().ok().map(|count| count.get() as f64);
    gauge("system_cpu_count", "Processors that this process may use.", processors);
    gauge("system_load_average_1m", "Load average over a minute.", Some(host::load_average()));
    gauge("process_uptime_seconds", "Seconds since the start.", Some(seen.uptime_s));
    gauge("process_start_time_seconds", "Unix time of the start.", Some(seen.started_s));
    gauge("process_files_open_files", "File descriptors in use.", number(seen.open_files));
    gauge("process_files_max_files", "Most file descriptors.", number(seen.max_files));
}

/// There is no JVM: memory of the process stands for its heap, nothing is collected, and all threads but the first are
/// daemons.
fn jvm(seen: &process::Figures, page: &mut Page) {
    let heap: &[(&str, &str)] = &[("area", "heap"), ("id", "process")];
    let memory = [
        ("jvm_memory_used_bytes", "Memory of the process.", seen.memory_bytes),
        ("jvm_memory_committed_bytes", "Memory of the process with what is swapped out.", seen.committed_bytes),
        ("jvm_memory_max_bytes", "Memory that the process may have.", seen.max_memory_bytes),
    ];
    for (name, help, bytes) in memory {
        if let Some(bytes) = bytes {
            page.gauge(name, help).count(heap, bytes);
        }
    }
    let threads = seen.threads.unwrap_or(1);
    page.gauge("jvm_threads_live_threads", "Threads.").count(&[], threads);
    page.gauge("jvm_threads_daemon_threads", "Threads without the first.").count(&[], threads.saturating_sub(1));
    let pauses: &[(&str, &str)] = &[("action", "none"), ("cause", "none")];
    page.summary("jvm_gc_pause_seconds", "Nothing is collected, so nothing pauses.").sum(pauses, 0, 0.0);
    page.gauge("jvm_gc_pause_seconds_max", "As above.").put(pauses, 0.0);
}
