//! What Nacos has no name for, under `nacre_`.

use super::{Figures, census, flag, load};
use crate::cluster::Cluster;
use crate::cluster::figures::Calls;
use crate::health::checks::params::Kind;
use crate::http::console::NACOS_VERSION;
use crate::model::member::State;
use crate::telemetry::page::Page;
use crate::wire::member::state_word;

/// Microseconds in a second.
const MICROS: f64 = 1e6;

pub(super) fn show(figures: &Figures, page: &mut Page) {
    let version = env!("CARGO_PKG_VERSION");
    let build: &[(&str, &str)] = &[("version", version), ("nacos", NACOS_VERSION)];
    page.gauge("nacre_build_info", "This version, and the release of Nacos whose API it has.").put(build, 1.0);
    store(figures, page);
    restore(figures, page);
    commit(figures, page);
    http(figures, page);
    push(figures, page);
    health(figures, page);
    registry(figures, page);
    cluster(figures, page);
    raft(figures, page);
}

fn store(figures: &Figures, page: &mut Page) {
    let (stats, settings) = (&figures.store, &figures.settings);
    let info: &[(&str, &str)] = &[("durability", settings.durability), ("on_failure", settings.on_failure)];
    page.gauge("nacre_store_info", "How the store is set up.").put(info, 1.0);
    let healthy = figures.commit.status().failure().is_none();
    page.gauge("nacre_store_healthy", "1 while the store takes writes, else 0.").put(&[], flag(healthy));
    page.gauge("nacre_store_rows", "Live rows.").count(&[], load(&stats.rows));
    page.gauge("nacre_store_live_bytes", "Size of live rows.").count(&[], load(&stats.live_bytes));
    page.gauge("nacre_store_file_bytes", "Size of the file.").count(&[], load(&stats.file_bytes));
    page.histogram("nacre_store_batch_rows", "Rows written at once.").spread(&[], &stats.batches.spread(), 1.0);
    page.histogram("nacre_store_sync_seconds", "Time until the disk has a batch (fdatasync).").spread(
        &[],
        &stats.syncs.spread(),
        MICROS,
    );
    page.counter("nacre_store_failures_total", "Failed writes and syncs.").count(&[], load(&stats.failures));
    page.counter("nacre_store_unstored_rows_total", "Rows acknowledged without being stored (on_failure=memory).")
        .count(&[], load(&stats.unstored_rows));
    page.counter("nacre_store_compactions_total", "Compactions completed.").count(&[], load(&stats.compactions));
    page.counter("nacre_store_rebuilds_total", "Rebuilds after a failure.").count(&[], load(&stats.rebuilds));
}

fn restore(figures: &Figures, page: &mut Page) {
    let report = &figures.restore;
    page.gauge("nacre_restore_rows", "Rows that the start brought back.").count(&[], report.rows);
    page.gauge("nacre_restore_bytes", "Their size.").count(&[], report.bytes);
    page.gauge("nacre_restore_seconds", "How long that took.").put(&[], report.time_ms as f64 / 1e3);
    page.gauge("nacre_restore_skipped_rows", "Rows that did not verify.").count(&[], report.skipped_rows);
    page.gauge("nacre_restore_damaged", "1 when anything was found damaged or lost.")
        .put(&[], flag(report.damage.is_some()));
    if let Some(downtime_ms) = report.downtime_ms {
        page.gauge("nacre_restore_downtime_seconds", "For how long the store was not in use before the start.")
            .put(&[], downtime_ms as f64 / 1e3);
    }
}

fn commit(figures: &Figures, page: &mut Page) {
    let status = figures.commit.status();
    page.gauge("nacre_commit_queue_length", "Writes that wait to be taken up.").count(&[], status.queue_len());
    page.gauge("nacre_commit_queue_capacity", "Writes that may wait.").count(&[], figures.settings.queue_len as u64);
    page.counter("nacre_commit_refused_total", "Writes that found the queue full.").count(&[], status.refused());
    let mut commands = page.counter("nacre_commit_commands_total", "Writes by kind and by what became of them.");
    for (kind, result, count) in status.commands() {
        commands.count(&[("kind", kind), ("result", result)], count);
    }
    drop(commands);
    page.histogram("nacre_commit_batch_commands", "Writes carried out together.").spread(&[], &status.batches(), 1.0);
    page.histogram("nacre_commit_wait_seconds", "From queueing a write to its answer.").spread(
        &[],
        &status.waits(),
        MICROS,
    );
}

fn http(figures: &Figures, page: &mut Page) {
    let stats = figures.server.stats();
    page.gauge("nacre_http_connections", "Open connections.").count(&[], stats.open as u64);
    page.gauge("nacre_http_connections_max", "Most open connections; more wait to be accepted.")
        .count(&[], figures.settings.max_connections as u64);
    page.gauge("nacre_http_requests_in_flight", "Requests without an answer yet.").count(&[], stats.in_flight as u64);
    page.counter("nacre_http_connections_accepted_total", "Connections accepted.").count(&[], stats.accepted);
    page.counter("nacre_http_connections_cut_total", "Connections cut because they were over a time limit.")
        .count(&[], stats.reaped);
    page.counter("nacre_http_accept_failures_total", "Connections that could not be accepted.")
        .count(&[], stats.refused);
}

fn push(figures: &Figures, page: &mut Page) {
    let counters = figures.push.counters();
    page.gauge("nacre_push_subscriptions", "Subscriptions.").count(&[], counters.subscriptions);
    page.counter("nacre_push_subscriptions_refused_total", "Queries that were refused one because of a limit.")
        .count(&[], counters.refused);
    page.gauge("nacre_push_services", "Services with subscriptions.")
        .count(&[], figures.push.services_subscribed() as u64);
    page.counter("nacre_push_total", "Pushes to single subscribers since midnight, retries not counted.")
        .count(&[], counters.total);
    page.counter("nacre_push_failed_total", "Those of them that were given up.").count(&[], counters.given_up);
    page.gauge("nacre_push_awaited", "Those of them that may still be acknowledged.").count(&[], counters.awaited);
}

fn health(figures: &Figures, page: &mut Page) {
    let commands = figures.commit.status().commands();
    let mut verdicts = page.counter("nacre_expiry_instances_total", "Instances that beats, or their absence, changed.");
    for (kind, verdict) in [("fade", "faded"), ("expire", "expired"), ("heal", "healed")] {
        let changed = commands.iter().find(|(known, result, _)| *known == kind && *result == "changed");
        verdicts.count(&[("verdict", verdict)], changed.map_or(0, |(.., count)| *count));
    }
    drop(verdicts);
    page.counter("nacre_paused_seconds_total", "Time during which the process was stopped or starved.")
        .put(&[], figures.health.paused_ms() as f64 / 1e3);
    let (known, unknown) = figures.traffic.beats();
    page.counter("nacre_beats_total", "Beats by the code of their answer; 20404: no such instance.")
        .count(&[("code", "10200")], known)
        .count(&[("code", "20404")], unknown);
    let mut checks = page.counter("nacre_checks_total", "Checks of persistent instances.");
    for (kind, name) in [(Kind::Tcp, "tcp"), (Kind::Http, "http"), (Kind::Mysql, "mysql")] {
        checks.count(&[("kind", name)], figures.health.checks(kind));
    }
}

fn registry(figures: &Figures, page: &mut Page) {
    let census = census(&figures.registry);
    page.gauge("nacre_services", "Services.").count(&[], figures.registry.service_count() as u64);
    let mut instances = page.gauge("nacre_instances", "Instances by kind and health.");
    for (ephemeral, [healthy, unhealthy]) in [("true", census.ephemeral), ("false", census.persistent)] {
        instances.count(&[("ephemeral", ephemeral), ("healthy", "true")], healthy);
        instances.count(&[("ephemeral", ephemeral), ("healthy", "false")], unhealthy);
    }
}

fn cluster(figures: &Figures, page: &mut Page) {
    members(figures, page);
    let Some(cluster) = &figures.cluster else { return };
    page.gauge("nacre_cluster_ready", "1 when the data have been compared with those of the members, else 0.")
        .put(&[], flag(cluster.is_ready()));
    waiting(cluster, page);
    let all = cluster.peers().figures().all();
    let mut count = |name: &str, help: &str, read: fn(&Calls) -> u64| {
        let mut family = page.counter(name, help);
        for calls in &all {
            family.count(&[("kind", calls.kind)], read(calls));
        }
    };
    count("nacre_cluster_calls_total", "Calls to members.", |calls| calls.calls);
    count("nacre_cluster_call_failures_total", "Calls to members without an answer.", |calls| calls.failures);
    count("nacre_cluster_sent_bytes_total", "Bodies of calls to members.", |calls| calls.sent_bytes);
    count("nacre_cluster_received_bytes_total", "Bodies of their answers.", |calls| calls.received_bytes);
}

fn raft(figures: &Figures, page: &mut Page) {
    let Some(group) = &figures.group else { return };
    let proposals = group.proposals();
    let mut family = page.counter("nacre_raft_proposals_total", "Writes of this server that all have to agree on.");
    family.count(&[("result", "agreed")], load(&proposals.agreed));
    family.count(&[("result", "busy")], load(&proposals.busy));
    family.count(&[("result", "leaderless")], load(&proposals.leaderless));
    family.count(&[("result", "undecided")], load(&proposals.undecided));
    drop(family);
    page.gauge("nacre_raft_caught_up", "1 once this server has all that was agreed on before its start, else 0.")
        .put(&[], flag(group.has_caught_up()));
    // None while it is taken up again after a fault.
    let Some(state) = group.state() else { return };
    page.gauge("nacre_raft_is_leader", "1 on the leader, else 0.").put(&[], flag(state.is_leader));
    page.gauge("nacre_raft_has_leader", "1 while this server knows a leader, else 0.")
        .put(&[], flag(state.leader.is_some()));
    page.gauge("nacre_raft_term", "The term.").count(&[], state.term);
    page.gauge("nacre_raft_voters", "Servers that vote.").count(&[], state.voters.len() as u64);
    page.gauge("nacre_raft_last_entry", "Number of the last entry in the log.")
        .count(&[], state.last_entry.unwrap_or_default());
    page.gauge("nacre_raft_applied_entry", "Number of the last entry that was carried out.")
        .count(&[], state.applied.unwrap_or_default());
    page.gauge("nacre_raft_snapshot_entry", "Number of the last entry in the snapshot.")
        .count(&[], state.snapshot.unwrap_or_default());
}

fn members(figures: &Figures, page: &mut Page) {
    let members = figures.members.all();
    let mut family = page.gauge("nacre_cluster_members", "Members as this server sees them, itself included.");
    for state in [State::Up, State::Suspicious, State::Down] {
        let of_state = members.iter().filter(|member| member.state == state).count();
        family.count(&[("state", state_word(state))], of_state as u64);
    }
}

fn waiting(cluster: &Cluster, page: &mut Page) {
    let mut family = page.gauge("nacre_cluster_waiting_lists", "Services that a member is still to be told of.");
    for (address, lists) in cluster.waiting() {
        family.count(&[("member", &address)], lists as u64);
    }
}
