//! The start: store -> registry -> health wheel and subscribers, before anything is answered.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::systemd::Restoring;
use crate::config::{self, Config};
use crate::error::{Error, Result};
use crate::health::Inbox;
use crate::model::clock::AwakeClock;
use crate::model::{Instance, Row};
use crate::push::Push;
use crate::registry::Registry;
use crate::store::{Durability, Options, Phase, RestoreReport, Store};
use crate::telemetry::progress::Bar;

/// Rows that are stored together when restored instances turn unhealthy.
const FADE_ROWS: usize = 4_096;

/// Opens the store and fills `registry` from it. Every restored ephemeral instance gets a full beat timeout from now;
/// after a downtime above `nacre.restore.max-downtime-ms` it is unhealthy until its first beat. Subscriptions live on for
/// a full life, or not at all after such a downtime.
///
/// # Errors
/// [`Error::Setup`] when the data folder can't be used.
pub(super) fn restore(
    config: &Config,
    registry: &Registry,
    clock: &AwakeClock,
    inbox: &Inbox,
    push: &Push,
) -> Result<(Store, RestoreReport)> {
    let (bar, service_manager) = (Bar::on_terminal(), Restoring::start());
    let now_ms = clock.now_ms();
    // Nobody has been heard of yet: what counts is the grace, granted below and before anybody judges.
    let mut fill = |rows: Vec<Row>| {
        let changes: Vec<_> = rows.into_iter().filter_map(|row| registry.apply(row, 0, false)).collect();
        inbox.note(&changes);
    };
    let opened = Store::open(options(config), wall_now_ms(), &mut fill, &|progress| {
        bar.show(phase(progress.phase), progress.rows, progress.expected_rows);
        service_manager.show(progress);
    });
    bar.clear();
    let (mut store, report) = opened?;
    registry.raise_ref_floor(report.last_alive_ms.unwrap_or_default());
    registry.grant_grace(now_ms);
    let subscriptions = registry.subscriptions().all();
    let (mut faded, mut subscribed) = (0, 0);
    if report.downtime_ms.is_some_and(|downtime_ms| downtime_ms > config.restore.max_downtime_ms) {
        faded = fade(registry, &mut store, now_ms);
        push.forget(subscriptions);
    } else {
        subscribed = push.restore(subscriptions);
    }
    tell(&report, registry, config.store.durability, faded, subscribed);
    Ok((store, report))
}

/// The report for those who ask.
///
/// # Errors
/// [`Error::Setup`] when it can't be written as JSON.
pub(super) fn as_json(report: &RestoreReport) -> Result<Bytes> {
    let text = serde_json::to_vec(report).map_err(|e| Error::Setup(format!("the restore report: {e}")))?;
    Ok(text.into())
}

/// Nobody can say how the instances did during a long downtime: unhealthy until they beat, also if the process is killed
/// before that. Nobody else writes yet.
fn fade(registry: &Registry, store: &mut Store, now_ms: u64) -> usize {
    let mut faded = 0;
    let mut rows = Vec::new();
    for service in registry.services() {
        for slot in service.slots() {
            let before = slot.instance();
            if slot.is_ephemeral() && before.healthy && !before.marked {
                let instance = Instance { healthy: false, ..(*before).clone() };
                rows.push(Row::Instance(slot.key(service.key()), Some(Arc::new(instance))));
            }
        }
        if rows.len() >= FADE_ROWS {
            faded += carry_out(registry, store, std::mem::take(&mut rows), now_ms);
        }
    }
    faded + carry_out(registry, store, rows, now_ms)
}

fn carry_out(registry: &Registry, store: &mut Store, rows: Vec<Row>, now_ms: u64) -> usize {
    if !rows.is_empty()
        && let Err(error) = store.append(&rows)
    {
        // The committer finds the store failed and heals it from memory.
        tracing::warn!(%error, "the health of restored instances could not be stored yet");
    }
    let count = rows.len();
    rows.into_iter().for_each(|row| drop(registry.apply(row, now_ms, false)));
    count
}

fn tell(report: &RestoreReport, registry: &Registry, durability: config::Durability, faded: usize, subscribed: usize) {
    tracing::info!(
        durability = durability.as_str(),
        rows = report.rows,
        bytes = report.bytes,
        time_ms = report.time_ms,
        skipped_rows = report.skipped_rows,
        downtime_ms = report.downtime_ms,
        created = report.created,
        damage = report.damage,
        services = registry.service_count(),
        instances = registry.instance_count(),
        unhealthy_until_beat = faded,
        stored_subscriptions = report.subscriptions,
        subscriptions = subscribed,
        "restored"
    );
}

fn options(config: &Config) -> Options {
    Options {
        durability: match config.store.durability {
            config::Durability::Synced => Durability::Synced,
            config::Durability::Written => Durability::Written,
            config::Durability::Interval => Durability::Interval,
            config::Durability::Off => Durability::Off,
        },
        interval_ms: config.store.interval_ms,
        open_timeout_ms: config.store.open_timeout_ms,
        compact_min_bytes: config.store.compact_min_bytes,
        compact_factor: config.store.compact_factor,
        ..Options::new(&config.data_dir)
    }
}

/// The time that people know, epoch ms.
pub(super) fn wall_now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_millis() as u64).unwrap_or_default()
}

/// What is done in a step of the restore.
pub(super) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Opening => "opening the store",
        Phase::Verifying => "restoring rows",
        Phase::Rewriting => "rewriting rows",
    }
}
