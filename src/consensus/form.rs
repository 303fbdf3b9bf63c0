//! The first group of a cluster. Its log begins with a snapshot: the rows of one server, which has the most of them (a
//! server that stood alone until now and gets company) or else the first address. All others get it like any snapshot.
//!
//! Only a server that has never heard of a group makes one, and only when a majority of the list has never either and
//! promises to help nobody else for a while. Servers that don't answer are in the group from the start under a number that
//! is nobody's: so whatever group is made, it takes a majority of the list to decide anything. `follow` puts them in
//! their places when they come.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use openraft::{BasicNode, CommittedLeaderId};
use sha2::{Digest, Sha256};

use super::keeper::Keeper;
use super::log::json;
use super::machine::Machine;
use super::message::{Answer, Ask, Standing, node};
use super::types::{Id, Membership, Position};
use super::{ID, Inner};
use crate::error::{Error, Result};
use crate::store::ledger::Writing;

/// How long a promise holds. What it is for takes a fraction of that.
const PROMISE: Duration = Duration::from_secs(15);
/// How long another server may take to say how it stands.
const ASK_LIMIT: Duration = Duration::from_secs(1);
/// Numbers of servers that are not known yet have this bit; those of servers never do.
const UNKNOWN: Id = 1 << 63;

/// Makes an identity, and keeps it.
pub(super) async fn new_id(keeper: &Keeper) -> Result<Id> {
    let id = (random()? & !UNKNOWN).max(1);
    let setup = |fault: super::types::Fault| Error::Setup(format!("the raft log: {fault}"));
    let records = vec![(ID, json(&id).map_err(setup)?)];
    keeper.write(Writing { records, ..Writing::default() }).await.map_err(setup)?;
    Ok(id)
}

fn random() -> Result<u64> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|fault| Error::Setup(format!("no random numbers: {fault}")))?;
    Ok(u64::from_be_bytes(bytes))
}

/// The number of the server at `address` until it says who it is.
fn unknown(address: &str) -> Id {
    let digest = Sha256::digest(address.as_bytes());
    let number = digest.first_chunk::<8>().map_or(0, |bytes| Id::from_be_bytes(*bytes));
    number | UNKNOWN
}

/// The servers that belong to the group. Nacos' own agree among themselves, by other means.
pub(super) fn listed(inner: &Inner) -> Vec<String> {
    let all = inner.members.all();
    all.iter().filter(|member| !member.is_other_kind()).map(|member| member.address()).collect()
}

/// How the others stand, those who answer, by address. Who has not said yet what kind of server it is is not asked.
pub(super) async fn ask_all(inner: &Inner) -> BTreeMap<String, Standing> {
    let mut asking = tokio::task::JoinSet::new();
    let others = inner.members.others();
    for address in others.iter().filter(|member| member.is_nacre()).map(|member| member.address()) {
        let network = inner.network.clone();
        asking.spawn(async move {
            let answer = network.ask(&address, None, Ask::Standing, ASK_LIMIT).await;
            (address, answer)
        });
    }
    let mut standings = BTreeMap::new();
    while let Some(asked) = asking.join_next().await {
        if let Ok((address, Ok(Answer::Standing(standing)))) = asked {
            standings.insert(address, standing);
        }
    }
    standings
}

/// More than half of `count`.
fn majority(count: usize) -> usize {
    count / 2 + 1
}

impl Inner {
    /// Promises to help `candidate` make a group, unless somebody else has that promise or there is a group.
    pub(super) async fn promise(&self, candidate: Id) -> bool {
        let pristine = self.running.read().await.log.is_pristine();
        let mut promised = self.promised.lock();
        let is_free = promised.is_none_or(|(other, at)| other == candidate || at.elapsed() > PROMISE);
        if pristine && is_free {
            *promised = Some((candidate, Instant::now()));
        }
        pristine && is_free
    }

    /// Makes a group if that is for this server to do. `majority_since`: since when a majority has answered.
    pub(super) async fn form(&self, majority_since: &mut Option<Instant>) {
        let addresses = listed(self);
        let mut standings = ask_all(self).await;
        standings.retain(|address, _| addresses.contains(address));
        let own = self.network.own.to_string();
        standings.insert(own.clone(), self.standing(&own).await);
        if standings.values().any(|standing| !standing.pristine) {
            // There is a group, and its leader will let this server in.
            return;
        }
        if standings.len() < majority(addresses.len()) {
            *majority_since = None;
            return;
        }
        let waited = majority_since.get_or_insert_with(Instant::now).elapsed();
        if standings.len() < addresses.len() && waited < Duration::from_millis(self.options.form_grace_ms) {
            return;
        }
        // The first address of those with the most rows.
        let first = standings.iter().max_by(|(a, one), (b, other)| one.rows.cmp(&other.rows).then_with(|| b.cmp(a)));
        if first.is_none_or(|(address, _)| *address != own) {
            return;
        }
        let since = Instant::now();
        if !self.is_promised(&standings, addresses.len()).await {
            return;
        }
        let id_of = |address: &String| standings.get(address).map_or_else(|| unknown(address), |one| one.id);
        let nodes: BTreeMap<Id, BasicNode> = addresses.iter().map(|address| (id_of(address), node(address))).collect();
        if let Err(error) = self.begin(nodes, since).await {
            tracing::error!(%error, "the group {} can't be made", super::GROUP);
        }
    }

    async fn is_promised(&self, standings: &BTreeMap<String, Standing>, members: usize) -> bool {
        let mut promises = usize::from(self.promise(self.id).await);
        for (address, standing) in standings.iter().filter(|(address, _)| ***address != *self.network.own) {
            let asked = self.network.ask(address, Some(standing.id), Ask::Promise(self.id), ASK_LIMIT).await;
            promises += usize::from(matches!(asked, Ok(Answer::Promise(true))));
        }
        promises >= majority(members)
    }

    /// Makes the group of `nodes`, with the rows that this server has, unless promises made `since` then may be over.
    async fn begin(&self, nodes: BTreeMap<Id, BasicNode>, since: Instant) -> Result<()> {
        let mut running = self.running.write().await;
        let fault = |what: String| Error::Setup(format!("the raft log: {what}"));
        running.raft.shutdown().await.map_err(|error| fault(error.to_string()))?;
        // A vote may have been asked for meanwhile; then there is a group.
        if running.log.is_pristine() {
            let founding = random()?;
            let base = Position::new(CommittedLeaderId::new(0, self.id), 0);
            let voters: BTreeSet<Id> = nodes.keys().copied().collect();
            let addresses: Vec<&str> = nodes.values().map(|node| node.addr.as_str()).collect();
            tracing::info!(members = ?addresses, "the group {} is made, with what this server has", super::GROUP);
            let membership = Membership::new(Some(base), openraft::Membership::new(vec![voters], nodes.clone()));
            let (commit, registry) = (self.commit.clone(), self.registry.clone());
            let mut machine = Machine::open(self.id, commit, registry, self.keeper.clone(), false).await?;
            machine.begin_at(base, membership).await.map_err(|error| fault(error.to_string()))?;
            if since.elapsed() > PROMISE / 2 {
                tracing::warn!("making the group {} took too long; it is tried again", super::GROUP);
                return self.run_anew(&mut running).await;
            }
            running.log.begin_at(base, founding).await.map_err(|error| fault(error.to_string()))?;
            self.founding.set(Some(founding));
        }
        self.run_anew(&mut running).await
    }
}
