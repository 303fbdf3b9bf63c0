//! Looks after the group: makes it, keeps its voters the members of the cluster, has snapshots made, runs it anew after a
//! fault. One task; what it does is one change at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use openraft::{BasicNode, ChangeMembers, ServerState};

use super::form::{ask_all, listed};
use super::message::{Standing, node};
use super::types::{Id, Metrics};
use super::{Consensus, Inner};

/// How long one change of the group may take.
const CHANGE_LIMIT: Duration = Duration::from_secs(5);
/// How often catching up is tried: clients may be waiting for it.
const CATCH_UP_PAUSE: Duration = Duration::from_millis(25);
/// How long catching up with the leader may take before it is tried again.
const CATCH_UP: Duration = Duration::from_secs(2);
/// A learner that lags by at most this many entries becomes a voter.
const LAG: u64 = 64;

/// What is to be changed next.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    AddLearner(Id, BasicNode),
    /// This one in, and that one (who was at the same address) out.
    Promote(Id, Option<Id>),
    RemoveVoter(Id),
    RemoveLearner(Id),
    /// What was begun comes to its end.
    Settle(BTreeSet<Id>),
}

/// Until the group is stopped.
pub(super) async fn run(consensus: Consensus) {
    let inner = consensus.inner.clone();
    let mut majority_since = None;
    let mut led_by = None;
    let mut snapshot_at = Instant::now();
    loop {
        let mut pause = Duration::from_millis(inner.options.follow_ms);
        if !consensus.has_caught_up() && !inner.running.read().await.log.is_pristine() {
            pause = pause.min(CATCH_UP_PAUSE);
        }
        // Whichever comes first.
        let _ = tokio::time::timeout(pause, inner.look.notified()).await;
        if inner.stopped.load(Ordering::Acquire) {
            return;
        }
        let metrics = inner.metrics().await;
        if let Err(fault) = &metrics.running_state {
            inner.mend(&fault.to_string()).await;
            continue;
        }
        if inner.running.read().await.log.is_pristine() {
            inner.form(&mut majority_since).await;
            continue;
        }
        inner.look_for_leader().await;
        if led_by != Some(metrics.current_leader) {
            led_by = Some(metrics.current_leader);
            tell_leader(&metrics);
        }
        if metrics.current_leader.is_none() {
            inner.give_up().await;
        }
        if !consensus.has_caught_up() && consensus.catch_up(CATCH_UP).await {
            inner.caught_up.store(true, Ordering::Release);
            tracing::info!(term = metrics.current_term, "this server has all that the group has agreed on");
        }
        inner.limit_log(&metrics, &mut snapshot_at).await;
        if metrics.state == ServerState::Leader {
            inner.follow(&metrics).await;
        }
    }
}

/// Once for every leader, and when there is none.
fn tell_leader(metrics: &Metrics) {
    let term = metrics.current_term;
    match metrics.current_leader {
        Some(id) => {
            let node = metrics.membership_config.membership().get_node(&id);
            let leader = node.map_or("a server not known yet", |node| &node.addr);
            tracing::info!(leader, term, "the group {} has a leader", super::GROUP);
        }
        None => tracing::warn!(term, "the group {} has no leader: what it agrees on can't be changed", super::GROUP),
    }
}

impl Inner {
    /// Runs raft anew after a fault: of a disk that is full, say.
    async fn mend(&self, fault: &str) {
        tracing::error!(fault, "this server's part in the group has ended by a fault; it is taken up again");
        let mut running = self.running.write().await;
        if self.stopped.load(Ordering::Acquire) {
            return;
        }
        // It has ended by itself; this only waits for what is left of it.
        let _ = running.raft.shutdown().await;
        if let Err(error) = self.run_anew(&mut running).await {
            tracing::error!(%error, "the group can't be taken up again yet");
        }
    }

    /// Has a snapshot made when it is time, or the log is large in bytes; openraft does when it has many entries.
    async fn limit_log(&self, metrics: &Metrics, snapshot_at: &mut Instant) {
        let (_, bytes) = self.running.read().await.log.size();
        let newer = metrics.last_applied.map(|at| at.index) > metrics.snapshot.map(|at| at.index);
        let is_due = snapshot_at.elapsed() >= Duration::from_millis(self.options.snapshot_interval_ms);
        if !newer || (!is_due && bytes < self.options.snapshot_bytes) {
            return;
        }
        *snapshot_at = Instant::now();
        let raft = self.raft().await;
        if let Err(fault) = raft.trigger().snapshot().await {
            tracing::warn!(%fault, "no snapshot could be made");
        }
        if bytes >= self.options.snapshot_bytes
            && let Some(kept) = metrics.snapshot
            && let Err(fault) = raft.trigger().purge_log(kept.index).await
        {
            tracing::warn!(%fault, "the log could not be made shorter");
        }
    }

    /// As the leader: takes the next step, if there is one, from the group as it is to the list of members.
    async fn follow(&self, metrics: &Metrics) {
        let wanted: BTreeSet<String> = listed(self).into_iter().collect();
        let mut standings = ask_all(self).await;
        self.leave_out(metrics, &mut standings);
        let Some(step) = next(self.id, metrics, &wanted, &standings) else { return };
        tracing::info!(?step, "the group changes");
        let raft = self.raft().await;
        let change = async {
            match step {
                Step::AddLearner(id, node) => raft.add_learner(id, node, false).await.map(drop),
                Step::Promote(id, None) => {
                    raft.change_membership(ChangeMembers::AddVoterIds([id].into()), false).await.map(drop)
                }
                Step::Promote(id, Some(old)) => {
                    let voters = metrics.membership_config.voter_ids().filter(|voter| *voter != old).chain([id]);
                    raft.change_membership(voters.collect::<BTreeSet<Id>>(), false).await.map(drop)
                }
                Step::RemoveVoter(id) => {
                    raft.change_membership(ChangeMembers::RemoveVoters([id].into()), false).await.map(drop)
                }
                Step::Settle(voters) => raft.change_membership(voters, false).await.map(drop),
                Step::RemoveLearner(id) => {
                    raft.change_membership(ChangeMembers::RemoveNodes([id].into()), false).await.map(drop)
                }
            }
        };
        match tokio::time::timeout(CHANGE_LIMIT, change).await {
            // There may be more to do.
            Ok(Ok(())) => self.look.notify_one(),
            Ok(Err(fault)) => tracing::warn!(%fault, "the group could not be changed; it is tried again"),
            Err(_) => tracing::warn!("a change of the group takes long; it is looked at again"),
        }
    }
}

/// The next step. Nobody comes in who does not answer, and a server that has become another (it lost its disk) keeps its
/// place until that one can take it.
fn next(own: Id, metrics: &Metrics, wanted: &BTreeSet<String>, standings: &BTreeMap<String, Standing>) -> Option<Step> {
    let membership = metrics.membership_config.membership();
    // An earlier change is still under way, perhaps one of a leader before.
    if let [_, .., last] = membership.get_joint_config().as_slice() {
        return Some(Step::Settle(last.clone()));
    }
    if !membership.voter_ids().any(|id| id == own) {
        // It has put itself out, and leads no longer than that takes.
        return None;
    }
    let voters: BTreeMap<&str, Id> =
        membership.voter_ids().filter_map(|id| membership.get_node(&id).map(|node| (node.addr.as_str(), id))).collect();
    let others: Vec<&str> = voters.iter().filter(|(_, id)| **id != own).map(|(address, _)| *address).collect();
    let unlisting = others.iter().filter(|address| standings.get(**address).is_some_and(|one| !one.lists_you)).count();
    // Its own list always has a server in it; what the others say counts.
    if !others.is_empty() && unlisting * 2 > others.len() {
        return Some(Step::RemoveVoter(own));
    }
    let gone = voters.iter().find(|(address, id)| **id != own && !wanted.contains(**address));
    if let Some((_, id)) = gone {
        return Some(Step::RemoveVoter(*id));
    }
    for address in wanted {
        let Some(standing) = standings.get(address) else { continue };
        let place = voters.get(address.as_str()).copied();
        if place == Some(standing.id) || standing.id == own {
            continue;
        }
        if membership.get_node(&standing.id).is_none() {
            return Some(Step::AddLearner(standing.id, node(address)));
        }
        let reached = metrics.replication.as_ref().and_then(|all| all.get(&standing.id).copied().flatten());
        let reached = reached.map(|position| position.index);
        if reached.is_some_and(|index| index + LAG >= metrics.last_log_index.unwrap_or(0)) {
            return Some(Step::Promote(standing.id, place));
        }
    }
    let is_current = |id: Id, address: &str| standings.get(address).is_none_or(|one| one.id == id);
    let stale = membership.learner_ids().find(|id| {
        membership.get_node(id).is_none_or(|node| !wanted.contains(&node.addr) || !is_current(*id, &node.addr))
    });
    stale.map(Step::RemoveLearner)
}
