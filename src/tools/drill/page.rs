//! The page of a drill: what was done, the figures, and what happened over time.

use super::round::Round;
use super::summary::Report;
use super::timeline::{BUCKET_MS, Bucket};
use crate::tools::report::chart::{Chart, Mark, Series, Shape};
use crate::tools::report::grouped;
use crate::tools::report::html::Page;

/// Meanings of the figures that don't say it themselves.
const NOTES: &[&str] = &[
    "Missing: instances whose client is alive and beats, and that a served list does not have. Instance-seconds: how \
     many were missing, times for how long, while lists were served.",
    "Gap: from the stop until all lists were served and complete for good, with the time the server was down.",
    "Clients beat like nacos-client 1.4.2: full beat first, then light ones; on code 20404 they register again; every \
     request is tried three times at once.",
    "Pushes: as soon as the server serves a list again, one more instance is registered in each of up to 10 \
     subscribed services. A push is lost when no datagram tells the subscriber before the round ends; a poll may.",
];

/// The whole page.
pub(super) fn page(report: &Report) -> String {
    let lead = format!(
        "{} clients in {} services on {}, {} of {}",
        grouped(f64::from(report.clients)),
        grouped(f64::from(report.services)),
        report.facts.server,
        if report.rounds.len() == 1 {
            "one stop and start".into()
        } else {
            format!("{} stops and starts", report.rounds.len())
        },
        report.facts.began
    );
    let mut page = Page::new(&format!("Restart drill: {}", report.label), &lead);
    let said = if report.good { "Within the limits" } else { "Beyond the limits" };
    page.verdict(report.good, said, &report.reasons);
    page.facts(&facts(report));
    page.heading("Figures");
    page.table(&report.table());
    for (nth, round) in report.rounds.iter().enumerate() {
        page.heading(&format!("Round {}", nth + 1));
        for chart in charts(report, round) {
            page.chart(&chart);
        }
    }
    page.heading("What the figures mean");
    NOTES.iter().for_each(|note| page.paragraph(note));
    page.text()
}

fn facts(report: &Report) -> Vec<(&'static str, String)> {
    let limits = &report.limits;
    let mut judged = format!("at most {} missing, {} registered again", limits.max_missing, limits.max_reregistrations);
    if let Some(ms) = limits.max_gap_ms {
        judged += &format!(", gap {} ms", grouped(ms as f64));
    }
    if let Some(lost) = limits.max_lost_pushes {
        judged += &format!(", {lost} pushes lost");
    }
    let version = report.facts.server_version.as_ref().map_or("not told".into(), Clone::clone);
    vec![
        ("Server", format!("{}, version {version}", report.facts.server)),
        ("Started by", report.start.clone()),
        ("Stopped by", report.stop.clone()),
        ("Down", format!("{} ms after the end of the process", grouped(report.down_ms as f64))),
        ("Clients", format!("a beat every {:.1} s, seed {}", report.beat_interval_ms as f64 / 1e3, report.seed)),
        ("Consumers", format!("all lists every {} ms", report.poll_ms)),
        ("Limits", judged),
        ("Measured with", format!("nacre drill {} on {} cores", report.facts.version, report.facts.cores)),
    ]
}

fn seconds(ms: i64) -> f64 {
    ms as f64 / 1e3
}

fn charts(report: &Report, round: &Round) -> [Chart; 3] {
    let timeline = &round.timeline;
    let first = timeline.points.first().map_or(-1.0, |point| seconds(point.at_ms)).min(0.0);
    let last = timeline.points.last().map_or(1.0, |point| seconds(point.at_ms)).max(1.0);
    let outages = outages(round);
    let chart = |title: String, y_name: &str, y_least: f64, series: Vec<Series>| Chart {
        title,
        x_name: "seconds since the stop".into(),
        y_name: y_name.into(),
        x_range: (first, last),
        y_least,
        series,
        marks: marks(round),
        bands: outages.clone(),
        band_name: "no list is served".into(),
    };
    let looks = |name: &str, color, shape, value: fn(&super::log::Sweep) -> u32| Series {
        name: name.into(),
        color,
        shape,
        points: timeline
            .points
            .iter()
            .map(|point| {
                let value = if point.sweep.served > 0 { f64::from(value(&point.sweep)) } else { f64::NAN };
                (seconds(point.at_ms), value)
            })
            .collect(),
    };
    // Bars at the same place are stacked; those in the halves of a bucket stand side by side.
    let width = BUCKET_MS as f64 / 1e3;
    let bars = |name: &str, color, (from, share): (f64, f64), value: fn(&Bucket) -> u64| Series {
        name: name.into(),
        color,
        shape: Shape::Bars(width * share),
        points: timeline
            .buckets
            .iter()
            .map(|bucket| (seconds(bucket.at_ms) + width * from, value(bucket) as f64))
            .collect(),
    };
    let (whole, left, right) = ((0.0, 1.0), (0.0, 0.5), (0.5, 0.5));
    let clients = grouped(f64::from(report.clients));
    let per = format!("per {BUCKET_MS} ms");
    [
        chart(
            format!("Missing from the lists, of {clients} instances"),
            "instances",
            f64::from(report.clients),
            vec![
                looks("missing", 0, Shape::Area, |sweep| sweep.missing),
                looks("shown as unhealthy", 1, Shape::Step, |sweep| sweep.unhealthy),
            ],
        ),
        chart(
            "Requests without an answer".into(),
            &per,
            5.0,
            vec![
                bars("lists", 2, whole, |bucket| bucket.refused_lists),
                bars("beats (3 tries each)", 3, whole, |bucket| bucket.failed_beats),
            ],
        ),
        chart(
            "Clients that the server has forgotten".into(),
            &per,
            5.0,
            vec![
                bars("beats answered 20404", 5, left, |bucket| bucket.unknown_beats),
                bars("registered again", 4, right, |bucket| bucket.reregistrations),
            ],
        ),
    ]
}

fn marks(round: &Round) -> Vec<Mark> {
    let figures = &round.timeline.figures;
    let after_start = |ms: Option<u64>| Some(figures.start_ms? + ms?);
    let said = |ms: u64| if ms < 1_000 { format!("{ms} ms") } else { format!("{:.2} s", ms as f64 / 1e3) };
    [
        (Some(0), "stop"),
        (figures.start_ms, "start"),
        (after_start(figures.start_to_first_answer_ms), "first answer"),
        (after_start(figures.start_to_ready_ms), "UP"),
        (figures.gap_ms, "complete"),
    ]
    .into_iter()
    .filter_map(|(at, name)| {
        let ms = at?;
        let name = if ms == 0 { name.to_owned() } else { format!("{name} {}", said(ms)) };
        Some(Mark { x: ms as f64 / 1e3, name })
    })
    .collect()
}

/// From the stop to the first list, and from any other look at which nothing was served to the next at which something
/// was.
fn outages(round: &Round) -> Vec<(f64, f64)> {
    let figures = &round.timeline.figures;
    let end = round.timeline.points.last().map_or(0, |point| point.at_ms);
    let served = figures.start_ms.zip(figures.start_to_first_list_ms).map_or(end, |(start, ms)| (start + ms) as i64);
    let mut outages = vec![(0, served)];
    let mut from = None;
    for point in round.timeline.points.iter().filter(|point| point.at_ms > served) {
        match (point.sweep.served, from) {
            (0, None) => from = Some(point.at_ms),
            (1.., Some(since)) => {
                outages.push((since, point.at_ms));
                from = None;
            }
            _ => {}
        }
    }
    outages.extend(from.map(|since| (since, end)));
    outages.into_iter().map(|(from, to)| (seconds(from), seconds(to))).collect()
}
