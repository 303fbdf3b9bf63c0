//! The table.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::load::{Pass, percentile};
use crate::options::Options;
use crate::work::SIZE;

/// The name of what the others are compared with.
pub(crate) const BARE: &str = "bare hyper server";

/// Medians of the rounds.
pub(crate) struct Line {
    name: String,
    rates: Vec<f64>,
    rate: f64,
    /// Of the bare server's rate in the same round.
    share: f64,
    p50_us: f64,
    p99_us: f64,
    server_cpu_us: Option<f64>,
    load_cpu_us: Option<f64>,
}

impl Line {
    pub(crate) fn new(name: &str, passes: &[Pass]) -> Self {
        let of = |value: &dyn Fn(&Pass) -> f64| median(passes.iter().map(value).collect());
        let of_some =
            |value: &dyn Fn(&Pass) -> Option<f64>| Some(median(passes.iter().map(value).collect::<Option<_>>()?));
        let rates: Vec<f64> = passes.iter().map(Pass::rate).collect();
        Self {
            name: name.into(),
            rate: median(rates.clone()),
            rates,
            share: 1.0,
            p50_us: of(&|pass| pass.latency_us(0.5)),
            p99_us: of(&|pass| pass.latency_us(0.99)),
            server_cpu_us: of_some(&|pass| pass.server_cpu_us),
            load_cpu_us: of_some(&|pass| pass.load_cpu_us),
        }
    }
}

/// Fills in the shares: round by round, so that a slow round counts little.
pub(crate) fn shares(mut lines: Vec<Line>) -> Vec<Line> {
    let Some(bare) = lines.iter().find(|line| line.name == BARE).map(|line| line.rates.clone()) else { return lines };
    for line in &mut lines {
        line.share = median(line.rates.iter().zip(&bare).map(|(rate, bare)| rate / bare).collect());
    }
    lines
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied().unwrap_or_default();
    let lower = values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or_default();
    (upper + lower) / 2.0
}

/// Under which circumstances the table came to be.
pub(crate) struct Facts {
    cores: usize,
    fdatasync_p50_us: u32,
    fdatasync_p99_us: u32,
    options: Options,
}

impl Facts {
    pub(crate) fn of(options: &Options, fdatasync_us: Vec<u32>) -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            fdatasync_p50_us: percentile(&fdatasync_us, 0.5),
            fdatasync_p99_us: percentile(&fdatasync_us, 0.99),
            options: options.clone(),
        }
    }
}

pub(crate) fn markdown(lines: &[Line], facts: &Facts) -> String {
    let cpu = |us: Option<f64>| us.map_or_else(|| "-".into(), |us| format!("{us:.1}"));
    let mut out = String::from(
        "| work | requests/s | lowest to highest round | share of bare | p50 ms | p99 ms | server CPU us/request | load CPU us/request |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|\n",
    );
    for line in lines {
        let lowest = line.rates.iter().copied().fold(f64::INFINITY, f64::min);
        let highest = line.rates.iter().copied().fold(0.0, f64::max);
        // Writing to a string does not fail.
        let _ = writeln!(
            out,
            "| {} | {:.0} | {lowest:.0} to {highest:.0} | {:.2} | {:.2} | {:.2} | {} | {} |",
            line.name,
            line.rate,
            line.share,
            line.p50_us / 1_000.0,
            line.p99_us / 1_000.0,
            cpu(line.server_cpu_us),
            cpu(line.load_cpu_us),
        );
    }
    let o = &facts.options;
    let _ = writeln!(
        out,
        "\n{} cores for servers and load together; {} keep-alive connections from {} threads; {} services of {SIZE} \
         instances; {} rounds of {} s for each work, medians. fdatasync after an append of 4 KiB to the same disk: \
         p50 {:.2} ms, p99 {:.2} ms.",
        facts.cores,
        o.connections,
        o.threads,
        o.services,
        o.rounds,
        o.seconds.as_secs_f64(),
        f64::from(facts.fdatasync_p50_us) / 1_000.0,
        f64::from(facts.fdatasync_p99_us) / 1_000.0,
    );
    out.push_str(&price_of_sync(lines));
    out
}

/// What being on disk costs beside keeping nothing.
fn price_of_sync(lines: &[Line]) -> String {
    let line = |name: &str| lines.iter().find(|line| line.name == name);
    let mut out = String::new();
    for kind in ["new", "existing"] {
        let pair = (line(&format!("register synced, {kind}")), line(&format!("register off, {kind}")));
        if let (Some(synced), Some(off)) = pair {
            let rates = synced.rates.iter().zip(&off.rates).map(|(synced, off)| synced / off).collect();
            let more_ms = (synced.p99_us - off.p99_us) / 1_000.0;
            let _ = writeln!(
                out,
                "Register synced as a share of off, {kind}: {:.2}; p99 {more_ms:.2} ms above that of off.",
                median(rates)
            );
        }
    }
    out
}

pub(crate) fn json(lines: &[Line], facts: &Facts) -> String {
    let works: Vec<Value> = lines
        .iter()
        .map(|line| {
            json!({
                "work": line.name, "requests_per_s": line.rate, "rounds_requests_per_s": line.rates,
                "share_of_bare": line.share, "p50_us": line.p50_us, "p99_us": line.p99_us,
                "server_cpu_us": line.server_cpu_us, "load_cpu_us": line.load_cpu_us,
            })
        })
        .collect();
    let o = &facts.options;
    let all = json!({
        "works": works, "cores": facts.cores, "connections": o.connections, "threads": o.threads,
        "services": o.services, "instances_per_service": SIZE, "rounds": o.rounds, "seconds": o.seconds.as_secs_f64(),
        "fdatasync_p50_us": facts.fdatasync_p50_us, "fdatasync_p99_us": facts.fdatasync_p99_us,
    });
    format!("{all:#}\n")
}
