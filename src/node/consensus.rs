//! This server's part in the group that agrees on what Nacos keeps by Raft.

use std::path::PathBuf;
use std::pin::Pin;
use std::result::Result;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::cluster::Base;
use super::restore::wall_now_ms;
use crate::cluster::Cluster;
use crate::cluster::members::Members;
use crate::cluster::message::Failure;
use crate::cluster::peer::{Bounds, Outgoing, Peers};
use crate::commit::Commit;
use crate::config::{self, Config, RaftSettings};
use crate::consensus::{Consensus, FOLDER, GroupState, Options, Transport, leave_behind};
use crate::error::Error;
use crate::model::command::Command;
use crate::model::member::Member;
use crate::store::{Durability, RestoreReport};

/// Of one message: the caller has limits of its own for how long it waits.
const BOUNDS: Bounds =
    Bounds { connect: Duration::from_millis(500), total: Duration::from_secs(30), max_answer_bytes: 16 << 20 };
/// Status of an answer that is one.
const OK: u16 = 200;
/// How often what this server reports of the group is brought up to date.
const SHOW_EVERY: Duration = Duration::from_millis(500);
/// How long a write waits for the others.
const WRITE_TIMEOUT_MS: u64 = 5_000;

/// Takes up that part, if there are other members; then commands that come from inside (empty services that go) take the way
/// through the group too. In a runtime, before the server listens.
///
/// # Errors
/// [`Error::Setup`](crate::error::Error::Setup): the folder of the log can't be used.
pub(super) async fn start(
    config: &Config,
    base: &Base,
    restored: &RestoreReport,
    cluster: Option<&Arc<Cluster>>,
) -> Result<Option<Consensus>, Error> {
    let mut options = options(config.raft, config.data_dir.join(FOLDER));
    options.durability = durability(config.store.durability);
    // The registry may lack rows that the group knows this server had.
    options.afresh = restored.damage.is_some();
    let Some(cluster) = cluster else {
        leave_behind(&options.dir)?;
        return Ok(None);
    };
    let target = [&config.context_path, "/v1/core/raft"].concat();
    let transport = Arc::new(OverPeers { peers: cluster.peers().clone(), target });
    let Base { registry, members, commit, .. } = base.clone();
    let group = Consensus::start(options, commit.clone(), registry, members, transport).await?;
    divert(&commit, &group, Handle::current());
    Ok(Some(group))
}

/// Lets clients in once they have waited long enough for what the group agreed on: without a majority there is still all that
/// is not for the group.
pub(super) async fn end_waiting(group: Consensus, wait_ms: u64) {
    tokio::time::sleep(Duration::from_millis(wait_ms)).await;
    group.serve_anyway();
}

/// Messages of the group go the way of all calls between members.
struct OverPeers {
    peers: Arc<Peers>,
    target: String,
}

impl Transport for OverPeers {
    fn send(&self, to: &str, body: Bytes) -> Pin<Box<dyn Future<Output = Result<Bytes, Failure>> + Send>> {
        let (peers, to, target) = (self.peers.clone(), to.to_owned(), self.target.clone());
        Box::pin(async move {
            // A command that comes twice may find its own work and call it a fault.
            let answer = peers.send_once(&to, Outgoing::post(target, "application/json", body, BOUNDS)).await?;
            if answer.status == OK { Ok(answer.body) } else { Err(Failure::Said(answer.status, answer.text())) }
        })
    }
}

/// Shows how the group stands in what this server reports of itself.
pub(super) async fn show(group: Consensus, members: Arc<Members>) {
    let mut shown = None;
    loop {
        if let Some(state) = group.state() {
            let text = meta_data(&state);
            if shown.as_ref() != Some(&text) {
                members.set_raft_meta(text.clone(), wall_now_ms());
                shown = Some(text);
            }
        }
        tokio::time::sleep(SHOW_EVERY).await;
    }
}

/// A leader is heard of often enough that a lost message or two don't matter.
fn options(settings: RaftSettings, dir: PathBuf) -> Options {
    let longest = settings.election_timeout_ms;
    Options {
        heartbeat_ms: longest / 5,
        election_ms: (longest / 2, longest),
        // A write waits for the election of another leader.
        write_timeout_ms: WRITE_TIMEOUT_MS.max(longest * 3),
        snapshot_interval_ms: settings.snapshot_interval_s * 1_000,
        ..Options::new(dir)
    }
}

fn durability(durability: config::Durability) -> Durability {
    match durability {
        config::Durability::Synced => Durability::Synced,
        config::Durability::Written => Durability::Written,
        config::Durability::Interval => Durability::Interval,
        config::Durability::Off => Durability::Off,
    }
}

/// Sends what nobody waits for, and all have to agree on, to the group.
fn divert(commit: &Commit, group: &Consensus, runtime: Handle) {
    let group = group.clone();
    commit.divert(Box::new(move |command: &Command| {
        if !group.is_agreed(command) {
            return false;
        }
        let (group, command) = (group.clone(), command.clone());
        runtime.spawn(async move {
            if let Err(error) = group.run(command).await {
                tracing::debug!(%error, "the group did not do what this server wanted; it will want it again");
            }
        });
        true
    }));
}

/// The JSON of `raftMetaData` (`spec/members.md` 2): servers by the addresses that the reference's protocol has.
pub(super) fn meta_data(state: &GroupState) -> String {
    let leader = state.leader.as_deref().map(raft_address);
    let group = serde_json::json!({
        "leader": leader.unwrap_or_default(),
        "raftGroupMember": state.voters.iter().map(|address| raft_address(address)).collect::<Vec<_>>(),
        "term": state.term,
    });
    serde_json::json!({ "metaDataMap": { crate::consensus::GROUP: group } }).to_string()
}

fn raft_address(address: &str) -> String {
    let Some((host, port)) = address.rsplit_once(':') else { return address.to_owned() };
    let member = Member::new(host, port.parse().unwrap_or_default());
    format!("{}:{}", member.ip, member.raft_port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_follow_the_properties() {
        let settings = RaftSettings { election_timeout_ms: 5_000, snapshot_interval_s: 60 };
        let options = options(settings, PathBuf::new());
        assert_eq!((options.heartbeat_ms, options.election_ms), (1_000, (2_500, 5_000)));
        assert_eq!((options.write_timeout_ms, options.snapshot_interval_ms), (15_000, 60_000));
    }

    #[test]
    fn meta_data_have_the_addresses_of_the_reference() {
        let state = GroupState {
            leader: Some("127.0.0.1:18311".into()),
            term: 1,
            voters: vec!["127.0.0.1:18301".into(), "127.0.0.1:18311".into(), "[::1]:18321".into()],
            is_leader: false,
            last_entry: None,
            applied: None,
            snapshot: None,
        };
        assert_eq!(
            meta_data(&state),
            "{\"metaDataMap\":{\"naming_persistent_service\":{\"leader\":\"127.0.0.1:17311\",\
             \"raftGroupMember\":[\"127.0.0.1:17301\",\"127.0.0.1:17311\",\"[::1]:17321\"],\"term\":1}}}"
        );
    }
}
