//! The page of a bench: circumstances, tables, and charts that compare the modes.

use super::rates::{Rates, Row, Task};
use super::scale::Size;
use super::summary::Report;
use crate::config::flags::Mode;
use crate::tools::report::bars::{Bar, BarSeries, Bars, Level};
use crate::tools::report::grouped;
use crate::tools::report::html::Page;
use crate::tools::report::table::Table;

/// Meanings of the figures that don't say it themselves.
const NOTES: &[&str] = &[
    "Modes: synced acknowledges when the batch is on disk (fdatasync), written when the operating system has it, interval \
     when it is in a buffer that is synced every 100 ms, off at once: nothing is stored, as in Nacos.",
    "Register: new instances, one after the other on every connection. Deregister: the same ones. Mixed: what real \
     clients send, most of it lists and beats, which never touch the disk.",
    "Of bare: rate as a share of that of a bare hyper server that answers a constant, sent registrations, in the same \
     round. Server us, load us: processor time for one request; both share the cores.",
    "MB written: what the kernel counts for the process as written to the disk (write_bytes: whole pages when they are \
     first changed), compaction included. Amplification: that per change, over the bytes of a live row.",
    "Batches, rows per batch and fdatasync are the server's own figures; - where it does not show them.",
    "Restart: from the start of the process after kill -9 until readiness says yes, with all instances there.",
];

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let lead =
        format!("Modes {}, measured in turn in one run on this machine, {}", report.modes.join(", "), report.began);
    let mut page = Page::new("What persistence costs", &lead);
    let said = if report.is_good() {
        "Measured; everything acknowledged is there"
    } else {
        "Something acknowledged is missing"
    };
    page.verdict(report.is_good(), said, &report.faults());
    page.facts(&report.circumstances());
    let sentences = report.sentences();
    if !sentences.is_empty() {
        page.heading("In short");
        sentences.iter().for_each(|sentence| page.paragraph(sentence));
    }
    let mut tables = report.tables().into_iter();
    if let Some(rates) = &report.rates {
        for charts in [rate_charts(report, rates), store_charts(report, rates)] {
            if let Some((heading, table)) = tables.next() {
                page.heading(heading);
                charts.iter().for_each(|chart| page.bars(chart));
                page.table(&unbroken(&table));
            }
        }
    }
    if !report.sizes.is_empty()
        && let Some((heading, table)) = tables.next()
    {
        page.heading(heading);
        size_charts(&report.sizes).iter().for_each(|chart| page.bars(chart));
        page.table(&unbroken(&table));
    }
    for (heading, table) in tables {
        page.heading(heading);
        page.table(&unbroken(&table));
    }
    page.heading("What the figures mean");
    NOTES.iter().for_each(|note| page.paragraph(note));
    page.text()
}

/// The table with first cells that stay on one line.
fn unbroken(table: &Table) -> Table {
    let head: Vec<&str> = table.head().iter().map(String::as_str).collect();
    let mut out = Table::new(&head);
    for row in table.rows() {
        let first = row.first().map(|cell| cell.replace(' ', "\u{a0}"));
        out.row(first.into_iter().chain(row.iter().skip(1).cloned()).collect());
    }
    out
}

/// A series for each mode, with a bar for each of `groups`.
fn by_mode<G>(report: &Report, groups: &[G], bar: impl Fn(&'static str, &G) -> Option<Bar>) -> Vec<BarSeries> {
    let color = |name: &str| Mode::ALL.iter().position(|mode| mode.name() == name).unwrap_or_default();
    let series = |name: &&'static str| BarSeries {
        name: (*name).to_owned(),
        // Beginning with the blue one: the others are further apart from each other then.
        color: [2, 4, 1, 5].get(color(name)).copied().unwrap_or_default(),
        bars: groups.iter().map(|group| bar(name, group)).collect(),
    };
    report.modes.iter().map(series).collect()
}

fn find<'a>(rates: &'a Rates, mode: &str, task: Task) -> Option<&'a Row> {
    rates.rows.iter().find(|row| row.mode == mode && row.task == task)
}

fn plain_bar(value: f64) -> Option<Bar> {
    Some(Bar { value, whisker: None })
}

fn rate_charts(report: &Report, rates: &Rates) -> Vec<Bars> {
    let names: Vec<String> = Task::ALL.iter().map(|task| task.name().to_owned()).collect();
    let rate = |mode: &'static str, task: &Task| plain_bar(find(rates, mode, *task)?.rate_per_s);
    let latency = |mode: &'static str, task: &Task| {
        let latency = find(rates, mode, *task)?.latency;
        Some(Bar { value: latency.p50_ms, whisker: Some(latency.p99_ms) })
    };
    vec![
        Bars {
            title: "Rate by task and mode".into(),
            y_name: "requests/s".into(),
            groups: names.clone(),
            series: by_mode(report, &Task::ALL, rate),
            levels: vec![Level {
                value: rates.bare.rate_per_s,
                name: format!("bare hyper server: {}/s", grouped(rates.bare.rate_per_s)),
            }],
        },
        Bars {
            title: "Latency by task and mode: bars p50, whiskers and numbers p99".into(),
            y_name: "ms".into(),
            groups: names,
            series: by_mode(report, &Task::ALL, latency),
            levels: vec![Level {
                value: report.fdatasync.p50_ms,
                name: format!("a bare fdatasync: {:.2} ms", report.fdatasync.p50_ms),
            }],
        },
    ]
}

fn store_charts(report: &Report, rates: &Rates) -> Vec<Bars> {
    let tasks = [Task::Register, Task::Deregister];
    let names = |tasks: &[Task]| tasks.iter().map(|task| task.name().to_owned()).collect();
    let bytes = |mode: &'static str, task: &Task| plain_bar(find(rates, mode, *task)?.bytes_per_change?);
    let row = report.row_bytes.map(|bytes| Level { value: bytes, name: format!("a live row: {bytes:.0} bytes") });
    let mut charts = vec![Bars {
        title: "Written to the disk per change".into(),
        y_name: "bytes".into(),
        groups: names(&tasks),
        series: by_mode(report, &tasks, bytes),
        levels: row.into_iter().collect(),
    }];
    charts.extend(batch_chart(report, rates));
    charts
}

/// How many rows went in batches of which size, while instances registered.
fn batch_chart(report: &Report, rates: &Rates) -> Option<Bars> {
    let sizes = |mode: &str| Some(&find(rates, mode, Task::Register)?.store.as_ref()?.sizes);
    let some = report.modes.iter().filter_map(|mode| sizes(mode)).find(|sizes| !sizes.is_empty())?;
    let counts = |mode: &str| {
        let counts = sizes(mode).map(|sizes| sizes.iter().map(|(_, count)| *count).collect::<Vec<_>>());
        counts.unwrap_or_default()
    };
    let used =
        |place: &usize| report.modes.iter().any(|mode| counts(mode).get(*place).is_some_and(|count| *count > 0.0));
    let places: Vec<usize> = (0..some.len()).collect();
    let (first, last) = (places.iter().copied().find(used)?, places.iter().copied().rev().find(used)?);
    let places: Vec<usize> = places.into_iter().filter(|place| (first..=last).contains(place)).collect();
    let bound = |place: usize| some.get(place).and_then(|(bound, _)| *bound);
    let groups = places.iter().map(|place| {
        let below = place.checked_sub(1).and_then(bound).unwrap_or_default();
        match bound(*place) {
            Some(bound) if bound - below <= 1.0 => grouped(bound),
            Some(bound) => format!("{} - {}", grouped(below + 1.0), grouped(bound)),
            None => format!("> {}", grouped(below)),
        }
    });
    let share = |mode: &'static str, place: &usize| {
        let counts = counts(mode);
        let all: f64 = counts.iter().sum();
        counts.get(*place).filter(|_| all > 0.0).and_then(|count| plain_bar(100.0 * count / all))
    };
    Some(Bars {
        title: "Batch sizes while instances register: rows written at once".into(),
        y_name: "% of the batches".into(),
        groups: groups.collect(),
        series: by_mode(report, &places, share),
        levels: Vec::new(),
    })
}

fn size_charts(sizes: &[Size]) -> Vec<Bars> {
    let groups: Vec<String> =
        sizes.iter().map(|size| format!("{} instances", grouped(f64::from(size.instances)))).collect();
    let series = |name: &str, color, value: fn(&Size) -> Option<f64>| BarSeries {
        name: name.into(),
        color,
        bars: sizes.iter().map(|size| value(size).and_then(plain_bar)).collect(),
    };
    let chart = |title: &str, y_name: &str, series| Bars {
        title: title.into(),
        y_name: y_name.into(),
        groups: groups.clone(),
        series,
        levels: Vec::new(),
    };
    let mib = |bytes: Option<u64>| Some(bytes? as f64 / 1_048_576.0);
    vec![
        chart(
            "Restart after kill -9, by number of instances",
            "ms",
            vec![
                series("until ready", 2, |size| Some(size.ready_ms)),
                series("of it reading the store", 5, |size| Some(size.restore_ms)),
            ],
        ),
        chart(
            "Size, by number of instances",
            "MiB",
            vec![
                series("live rows", 4, |size| Some(size.live_bytes as f64 / 1_048_576.0)),
                series("store on disk", 1, |size| Some(size.disk_bytes as f64 / 1_048_576.0)),
                BarSeries {
                    name: "memory at rest".into(),
                    color: 3,
                    bars: sizes.iter().map(|size| mib(size.memory_at_rest_bytes).and_then(plain_bar)).collect(),
                },
            ],
        ),
    ]
}
