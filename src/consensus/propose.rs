//! From a command to its outcome: to the leader, wherever it is, and back when this server has carried it out too.
//!
//! What surely did not come into the log is tried again until the time is up; what may have is not, for then some commands
//! would find their own work and call it a fault. Nobody waits where there has been no leader for long.

use std::sync::Weak;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use openraft::error::{ClientWriteError, RaftError};
use tokio::sync::{mpsc, oneshot};

use super::entry::{MAX_BYTES, Verdict, Wish, Wishes};
use super::message::{Answer, Ask};
use super::{Consensus, GROUP, scope};
use crate::cluster::message::Failure;
use crate::commit;
use crate::error::{Error, Result};
use crate::model::command::{Command, Outcome};

/// How long one looks for a leader before one looks again.
const LOOK: Duration = Duration::from_millis(50);
/// How long a command that makes no sense here waits for what this server may have missed.
const CATCH_UP: Duration = Duration::from_secs(1);
/// So long nobody waits for this server to carry out what another has, once it could not in time.
const LAG_PAUSE: Duration = Duration::from_secs(5);

/// Commands of one entry.
const TOGETHER: usize = 256;

/// Commands of this server, by what became of them.
#[derive(Debug, Default)]
pub struct Proposals {
    /// They are in the log, whatever came of carrying them out.
    pub agreed: AtomicU64,
    /// Too many were waiting.
    pub busy: AtomicU64,
    /// There was no leader; they are in no log.
    pub leaderless: AtomicU64,
    /// Nobody knows.
    pub undecided: AtomicU64,
}

/// How an attempt ended.
pub(super) enum Attempt {
    /// It is agreed on, in the entry of this number.
    Agreed(Verdict, u64),
    /// Nobody has it in a log.
    NoLeader,
    /// The leader has too much to do.
    Busy,
    /// Somebody may have it in a log.
    Unknown(String),
}

fn no_leader() -> Error {
    Error::Undecided(format!(
        "com.alibaba.nacos.consistency.exception.ConsistencyException: Could not find leader : {GROUP}"
    ))
}

fn unknown(why: &str) -> Error {
    tracing::warn!(why, "a command was proposed, and nobody knows what becomes of it");
    Error::Undecided("com.alibaba.nacos.consistency.exception.ConsistencyException: operation failure".to_owned())
}

impl Consensus {
    /// Has `command` agreed on, and carried out on this server; a part that is for this server alone goes to `commit`.
    ///
    /// # Errors
    /// What carrying it out says, on all servers alike. [`Error::Undecided`]: there is no leader (nothing changed), or it
    /// was lost meanwhile (nobody knows); after [`write_timeout_ms`](super::Options::write_timeout_ms) at the latest.
    /// [`Error::Limit`]: too many commands are waiting.
    pub async fn run(&self, command: Command) -> Result<Outcome> {
        let parts = scope::split(&self.inner.registry, command);
        let agreed = match parts.agreed {
            Some(command) => Some(self.propose(command).await?),
            None => None,
        };
        let own = match parts.own {
            Some(command) => Some(self.inner.commit.run(command).await?),
            None => None,
        };
        Ok(match (agreed, own) {
            (Some(Outcome::Updated(mut keys)), Some(Outcome::Updated(more))) => {
                keys.extend(more);
                Outcome::Updated(keys)
            }
            (Some(outcome), _) | (None, Some(outcome)) => outcome,
            (None, None) => Outcome::Done,
        })
    }

    async fn propose(&self, command: Command) -> Result<Outcome> {
        let inner = &self.inner;
        let one_more = |counter: &AtomicU64| counter.fetch_add(1, Ordering::Relaxed);
        let Ok(_waiting) = inner.waiting.try_acquire() else {
            one_more(&inner.proposals.busy);
            return Err(busy());
        };
        let deadline = Instant::now() + Duration::from_millis(inner.options.write_timeout_ms);
        if commit::check(&inner.registry, &command).is_err() {
            // What it lacks may be on its way here.
            self.catch_up(CATCH_UP).await;
            commit::check(&inner.registry, &command)?;
        }
        let wish = Wish::of(&command)?;
        loop {
            match self.attempt(&wish, deadline).await {
                Attempt::Agreed(verdict, index) => {
                    one_more(&inner.proposals.agreed);
                    self.applied(index, deadline).await.map_err(|why| unknown(&why))?;
                    return verdict.into();
                }
                Attempt::Busy => {
                    one_more(&inner.proposals.busy);
                    return Err(busy());
                }
                Attempt::Unknown(why) => {
                    one_more(&inner.proposals.undecided);
                    return Err(unknown(&why));
                }
                Attempt::NoLeader if Instant::now() >= deadline || self.has_no_leader_for_long() => {
                    one_more(&inner.proposals.leaderless);
                    return Err(no_leader());
                }
                Attempt::NoLeader => tokio::time::sleep(LOOK).await,
            }
        }
    }

    /// Waits until this server has carried out the entry of that number.
    async fn applied(&self, index: u64, deadline: Instant) -> Result<(), String> {
        let raft = self.inner.raft().await;
        let left = deadline.saturating_duration_since(Instant::now()).max(LOOK);
        let waited = raft.wait(Some(left)).applied_index_at_least(Some(index), "an answer").await;
        waited.map(drop).map_err(|fault| format!("this server lags behind: {fault}"))
    }

    fn has_no_leader_for_long(&self) -> bool {
        let limit = Duration::from_millis(self.inner.options.write_timeout_ms);
        self.inner.leaderless_since.lock().is_some_and(|since| since.elapsed() > limit)
    }

    async fn attempt(&self, wish: &Wish, deadline: Instant) -> Attempt {
        let inner = &self.inner;
        let metrics = inner.metrics().await;
        let left = deadline.saturating_duration_since(Instant::now());
        let leader = metrics.current_leader;
        if leader == Some(inner.id) {
            return if inner.leads(metrics.millis_since_quorum_ack) {
                inner.found_leader();
                self.write_here(wish.clone(), left).await
            } else {
                inner.lost_leader();
                Attempt::NoLeader
            };
        }
        let membership = metrics.membership_config.membership();
        let Some((leader, node)) = leader.and_then(|id| membership.get_node(&id).map(|node| (id, node))) else {
            inner.lost_leader();
            return Attempt::NoLeader;
        };
        match inner.network.ask(&node.addr, Some(leader), Ask::Propose(wish.clone()), left.max(LOOK)).await {
            Ok(Answer::Agreed(verdict, index)) => {
                inner.found_leader();
                Attempt::Agreed(verdict, index)
            }
            Ok(Answer::Busy) => Attempt::Busy,
            Ok(Answer::Undecided(why)) => Attempt::Unknown(why),
            Ok(Answer::NotLeader | Answer::AnotherId(_) | Answer::AnotherGroup | Answer::Closed)
            | Err(Failure::Refused) => {
                inner.lost_leader();
                Attempt::NoLeader
            }
            Ok(other) => Attempt::Unknown(format!("a strange answer: {other:?}")),
            Err(failure) => {
                inner.lost_leader();
                Attempt::Unknown(failure.to_string())
            }
        }
    }

    /// As the leader: has it agreed on within `left`.
    async fn write_here(&self, wish: Wish, left: Duration) -> Attempt {
        let (done, outcome) = oneshot::channel();
        if self.inner.writer.try_send(Writing { wish, done }).is_err() {
            return Attempt::Busy;
        }
        match tokio::time::timeout(left, outcome).await {
            Ok(Ok(attempt)) => attempt,
            Ok(Err(_)) => Attempt::Unknown("the server is stopping".to_owned()),
            Err(_) => Attempt::Unknown(format!("no majority within {left:?}")),
        }
    }

    pub(super) async fn proposed_by_other(&self, wish: Wish) -> Answer {
        let inner = &self.inner;
        let Ok(_waiting) = inner.waiting.try_acquire() else { return Answer::Busy };
        let metrics = inner.metrics().await;
        if metrics.current_leader != Some(inner.id) || !inner.leads(metrics.millis_since_quorum_ack) {
            return Answer::NotLeader;
        }
        let left = Duration::from_millis(inner.options.write_timeout_ms);
        match self.write_here(wish, left).await {
            Attempt::Agreed(verdict, index) => Answer::Agreed(verdict, index),
            Attempt::NoLeader => Answer::NotLeader,
            Attempt::Busy => Answer::Busy,
            Attempt::Unknown(why) => Answer::Undecided(why),
        }
    }

    pub(super) async fn read_index_here(&self) -> Answer {
        let raft = self.inner.raft().await;
        match raft.get_read_log_id().await {
            Ok((read, _)) => Answer::ReadIndex(read.map(|position| position.index)),
            Err(_) => Answer::NotLeader,
        }
    }

    /// Waits until this server has carried out the entry of that number, `limit` at most: another server has shown what came
    /// of it.
    pub async fn wait_for(&self, index: u64, limit: Duration) {
        let lags = |now: Instant| self.inner.lagged.lock().is_some_and(|since| now < since + LAG_PAUSE);
        if self.carried_out().is_some_and(|at| at >= index) || lags(Instant::now()) {
            return;
        }
        let waited = tokio::time::timeout(limit, self.applied(index, Instant::now() + limit)).await;
        if !matches!(waited, Ok(Ok(()))) {
            // Who asks may see older data then, and others don't wait for the same.
            *self.inner.lagged.lock() = Some(Instant::now());
        }
    }

    /// Waits until this server has carried out all that was agreed on before the call; `false` if it can't within `limit`.
    pub async fn catch_up(&self, limit: Duration) -> bool {
        let catching_up = async {
            let metrics = self.inner.metrics().await;
            let membership = metrics.membership_config.membership();
            let leader = metrics.current_leader?;
            let answer = if leader == self.inner.id {
                self.read_index_here().await
            } else {
                let node = membership.get_node(&leader)?;
                self.inner.network.ask(&node.addr, Some(leader), Ask::ReadIndex, limit).await.ok()?
            };
            let Answer::ReadIndex(index) = answer else { return None };
            self.applied(index?, Instant::now() + limit).await.ok()
        };
        matches!(tokio::time::timeout(limit, catching_up).await, Ok(Some(())))
    }
}

/// A command on its way into the log of this leader.
pub(super) struct Writing {
    wish: Wish,
    done: oneshot::Sender<Attempt>,
}

/// Puts commands into the log, as many in one entry as came while the entry before was agreed on: an entry costs a sync on
/// every server, however many commands it holds. Ends with the group.
pub(super) async fn write(inner: Weak<super::Inner>, mut writings: mpsc::Receiver<Writing>) {
    let mut held = None;
    loop {
        let first = match held.take() {
            Some(writing) => Some(writing),
            None => writings.recv().await,
        };
        let Some(first) = first else { return };
        let Some(inner) = inner.upgrade() else { return };
        let (mut bytes, mut together) = (first.wish.0.len(), vec![first]);
        while together.len() < TOGETHER
            && let Ok(next) = writings.try_recv()
        {
            bytes += next.wish.0.len();
            if bytes > MAX_BYTES {
                held = Some(next);
                break;
            }
            together.push(next);
        }
        write_together(&inner, together).await;
    }
}

async fn write_together(inner: &super::Inner, together: Vec<Writing>) {
    let (wishes, waiting): (Vec<Wish>, Vec<_>) = together.into_iter().map(|one| (one.wish, one.done)).unzip();
    let raft = inner.raft().await;
    let limit = Duration::from_millis(inner.options.write_timeout_ms);
    let written = tokio::time::timeout(limit, raft.client_write(Wishes(wishes))).await;
    let index = written.as_ref().ok().and_then(|written| written.as_ref().ok()).map(|written| written.log_id.index);
    let mut verdicts = Vec::new().into_iter();
    let failed: fn(String) -> Attempt;
    let mut why = String::new();
    match written {
        Ok(Ok(written)) => {
            verdicts = written.data.into_iter();
            failed = Attempt::Unknown;
        }
        // They are in no log, or were cut off it: the leader is another one.
        Ok(Err(RaftError::APIError(ClientWriteError::ForwardToLeader(_)))) => failed = |_| Attempt::NoLeader,
        Ok(Err(fault)) => {
            why = fault.to_string();
            failed = Attempt::Unknown;
        }
        Err(_) => {
            why = format!("no majority within {limit:?}");
            failed = Attempt::Unknown;
        }
    }
    for done in waiting {
        let agreed = index.zip(verdicts.next()).map(|(index, verdict)| Attempt::Agreed(verdict, index));
        // Who asked may have gone; it is in the log all the same.
        let _ = done.send(agreed.unwrap_or_else(|| failed(why.clone())));
    }
}

fn busy() -> Error {
    Error::Limit("too many writes wait for the cluster, try again later".into())
}

impl super::Inner {
    /// Whether a majority still answers this leader.
    fn leads(&self, since_ms: Option<u64>) -> bool {
        // Just elected: nobody has answered yet.
        since_ms.is_none_or(|ms| ms <= self.options.election_ms.1 * 2)
    }

    fn found_leader(&self) {
        *self.leaderless_since.lock() = None;
    }

    pub(super) fn lost_leader(&self) {
        self.leaderless_since.lock().get_or_insert_with(Instant::now);
    }

    /// Takes note of whether there is a leader, though nobody writes.
    pub(super) async fn look_for_leader(&self) {
        let metrics = self.metrics().await;
        let leads = metrics.current_leader == Some(self.id) && !self.leads(metrics.millis_since_quorum_ack);
        if metrics.current_leader.is_none() || leads {
            self.lost_leader();
        } else {
            self.found_leader();
        }
    }
}
