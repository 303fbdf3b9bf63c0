//! The report of a load.

use serde::Serialize;

use crate::config::flags::LoadFlags;
use crate::tools::engine::Plan;
use crate::tools::record::{FaultCount, LatencySummary, Record, Tally};
use crate::tools::report::facts::Facts;
use crate::tools::report::table::Table;
use crate::tools::report::{grouped, plain};
use crate::tools::verify::Verification;

/// Requests of one kind, or of all.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    request: &'static str,
    good: u64,
    /// Good answers a second.
    rate_per_s: f64,
    /// Bytes of their bodies a second.
    body_bytes_per_s: f64,
    /// Of all answers.
    latency: LatencySummary,
}

/// What a load found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    facts: Facts,
    scenario: &'static str,
    services: u32,
    instances_per_service: u32,
    connections: u32,
    threads: u32,
    /// Requests a second that were to be sent; without it a closed loop.
    target_rate_per_s: Option<f64>,
    seed: u64,
    /// From when the first request was due to the last answer.
    measured_s: f64,
    interrupted: bool,
    total: Row,
    requests: Vec<Row>,
    /// From when requests were due until they were sent; all but the clock's ticks is waiting for a free connection.
    send_delay: LatencySummary,
    fault_count: u64,
    faults: Vec<FaultCount>,
    /// Beats of acknowledged instances that the server did not know.
    forgotten: u64,
    verification: Verification,
}

impl Report {
    pub(super) fn new(
        facts: Facts,
        flags: &LoadFlags,
        plan: &Plan,
        record: Record,
        verification: Verification,
        interrupted: bool,
    ) -> Self {
        let span = record.span.map_or(0.0, |(first, last)| (last - first).as_secs_f64());
        let row = |request: &'static str, tally: &Tally| Row {
            request,
            good: tally.good,
            rate_per_s: if span > 0.0 { tally.good as f64 / span } else { 0.0 },
            body_bytes_per_s: if span > 0.0 { tally.body_bytes as f64 / span } else { 0.0 },
            latency: tally.latencies.summary(),
        };
        Self {
            facts,
            scenario: flags.scenario.name(),
            services: flags.services,
            instances_per_service: flags.instances,
            connections: plan.connections,
            threads: plan.threads,
            target_rate_per_s: flags.rate,
            seed: plan.seed,
            measured_s: span,
            interrupted,
            total: row("all", &record.all()),
            requests: record.tallies().map(|(kind, tally)| row(kind.name(), tally)).collect(),
            send_delay: record.waited.summary(),
            fault_count: record.fault_count(),
            faults: record.faults(),
            forgotten: record.forgotten,
            verification,
        }
    }

    /// Whether everything acknowledged is there, and anything was acknowledged at all.
    pub(super) fn is_good(&self) -> bool {
        self.verification.is_good() && self.forgotten == 0 && self.total.good > 0
    }

    pub(super) fn text(&self) -> String {
        let version = self.facts.server_version.as_ref().map(|version| format!(" ({version})")).unwrap_or_default();
        let pace = match self.target_rate_per_s {
            Some(rate) => format!("open loop at {}/s, latency from when a request was due", grouped(rate)),
            None => "closed loop".into(),
        };
        let mut out = format!(
            "{}{version}: {}, {} services x {} instances, {} connections, {} threads, {pace}; {:.1} s{}\n\n",
            self.facts.server,
            self.scenario,
            grouped(f64::from(self.services)),
            grouped(f64::from(self.instances_per_service)),
            self.connections,
            self.threads,
            self.measured_s,
            if self.interrupted { ", interrupted" } else { "" },
        );
        let columns =
            ["request", "good", "per s", "MB/s", "mean ms", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"];
        let mut table = Table::new(&columns);
        let rows = if self.requests.len() == 1 { &[][..] } else { &self.requests };
        for row in rows.iter().chain([&self.total]) {
            let name = match self.requests.as_slice() {
                [only] => only.request,
                _ => row.request,
            };
            let LatencySummary { mean_ms, p50_ms, p90_ms, p99_ms, p999_ms, max_ms } = row.latency;
            let mut cells = vec![name.to_owned(), grouped(row.good as f64), grouped(row.rate_per_s)];
            cells.push(format!("{:.1}", row.body_bytes_per_s / 1e6));
            cells.extend([mean_ms, p50_ms, p90_ms, p99_ms, p999_ms, max_ms].map(|ms| format!("{ms:.2}")));
            table.row(cells);
        }
        out += &table.text();
        if self.target_rate_per_s.is_some() {
            let LatencySummary { p50_ms, p99_ms, max_ms, .. } = self.send_delay;
            out += &format!("sent after they were due: p50 {p50_ms:.2} ms, p99 {p99_ms:.2} ms, max {max_ms:.2} ms\n");
        }
        out += &self.faults_text();
        out + &self.verified_text()
    }

    fn faults_text(&self) -> String {
        if self.fault_count == 0 {
            return "no faults\n".into();
        }
        let mut out = format!("{} faults:\n", grouped(self.fault_count as f64));
        for FaultCount { request, fault, count, example } in &self.faults {
            let said = if example.is_empty() { String::new() } else { format!(", such as: {example}") };
            out += &format!("  {} x {request}: {}{said}\n", grouped(*count as f64), plain(fault));
        }
        out
    }

    fn verified_text(&self) -> String {
        let found = &self.verification;
        let number = |count: u64| grouped(count as f64);
        let mut out = format!(
            "acknowledged registrations: {}, of them missing: {}; deregistrations: {}, of them still listed: {}",
            number(found.registered),
            number(found.missing),
            number(found.deregistered),
            number(found.undead)
        );
        for (count, what) in [
            (found.in_doubt, "in doubt after faults"),
            (found.unhealthy, "listed as unhealthy"),
            (found.unread, "lists that can't be read"),
            (self.forgotten, "beats of acknowledged instances answered with 20404"),
        ] {
            if count > 0 {
                out += &format!("; {what}: {}", number(count));
            }
        }
        out.push('\n');
        found.examples.iter().for_each(|example| out += &format!("  {example}\n"));
        out + if self.is_good() { "GOOD\n" } else { "BAD\n" }
    }
}
