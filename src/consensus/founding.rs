//! Which group of that name it is. Two may have been made: by servers that did not list each other, or because the one that
//! made the first was gone before anybody heard of it. The logs of two groups have nothing in common though they have the
//! same numbers (openraft compares entries that count as agreed on by number alone), so each group has a number of its own,
//! which is in every message, and who holds anything of one group takes nothing from another.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;

use super::Inner;
use super::keeper::Keeper;
use super::log::{Log, json};
use super::message::{Answer, Ask, Letter, Standing};
use super::types::{Fault, Id, Metrics};
use crate::store::ledger::Writing;

/// Name of the record.
pub(super) const FOUNDING: &str = "founding";

/// The number of the group that this server holds something of, or was last spoken to by. Clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Founding(Arc<Mutex<Option<u64>>>);

impl Founding {
    pub(super) fn new(known: Option<u64>) -> Self {
        Self(Arc::new(Mutex::new(known)))
    }

    pub(super) fn get(&self) -> Option<u64> {
        *self.0.lock()
    }

    /// What is on disk already.
    pub(super) fn set(&self, number: Option<u64>) {
        *self.0.lock() = number;
    }

    async fn take(&self, keeper: &Keeper, number: u64) -> Result<(), Fault> {
        keeper.write(Writing { records: vec![(FOUNDING, json(&number)?)], ..Writing::default() }).await?;
        self.set(Some(number));
        Ok(())
    }
}

impl Inner {
    /// Answers what is not for this server: it holds things of another group, or the sender is not who it says. Who holds
    /// nothing follows whoever speaks to it.
    pub(super) async fn rebuff(&self, letter: &Letter, log: &Log) -> Option<Answer> {
        if let Ask::Vote(request) = &letter.ask
            && let Some(candidate) = request.vote.leader_id.voted_for()
            && self.is_copy(candidate, &letter.from).await
        {
            let from = &letter.from;
            tracing::error!(
                from,
                "that server has the identity of another: its data folder is a copy, it must not vote"
            );
            return Some(Answer::AnotherGroup);
        }
        let (told, known) = (letter.founding?, self.founding.get());
        if known == Some(told) || matches!(letter.ask, Ask::Standing | Ask::Promise(_)) {
            return None;
        }
        if known.is_some() && !log.is_empty() {
            return Some(Answer::AnotherGroup);
        }
        if !letter.ask.brings() {
            return None;
        }
        match self.founding.take(&self.keeper, told).await {
            Ok(()) => None,
            Err(_) => Some(Answer::Closed),
        }
    }

    /// Whether somebody else, who is in the list, is known by that identity.
    async fn is_copy(&self, id: Id, from: &str) -> bool {
        let metrics = self.metrics().await;
        let node = metrics.membership_config.membership().get_node(&id).map(|node| node.addr.clone());
        node.is_some_and(|known| known != from && self.members.knows(&known))
    }

    /// Leaves out of `standings` those who can't be let in, and says who they are when that changes.
    pub(super) fn leave_out(&self, metrics: &Metrics, standings: &mut BTreeMap<String, Standing>) {
        let membership = metrics.membership_config.membership();
        let mut strangers = BTreeSet::new();
        for (address, standing) in standings.iter() {
            let home = membership.get_node(&standing.id).map(|node| node.addr.as_str());
            let is_copy = standing.id == self.id
                || home.is_some_and(|home| {
                    home != address && standings.get(home).is_some_and(|one| one.id == standing.id)
                });
            if is_copy || (standing.entries && self.is_other(standing)) {
                strangers.insert(address.clone());
            }
        }
        standings.retain(|address, _| !strangers.contains(address));
        let mut known = self.strangers.lock();
        if !strangers.is_empty() && *known != strangers {
            tracing::error!(
                servers = ?strangers,
                "these can't be let into the group {}: they are of another group of that name, or their data folders are \
                 copies; without {} in it a server is let in, and gets what this group has agreed on",
                super::GROUP,
                super::FOLDER
            );
        }
        *known = strangers;
    }

    fn is_other(&self, standing: &Standing) -> bool {
        standing.founding.is_some() && standing.founding != self.founding.get()
    }

    /// Gives up a group that this server made and nobody has followed, if there is another by now. Its rows stay, until those
    /// of that group come.
    pub(super) async fn give_up(&self) {
        let is_own = self.running.read().await.log.is_only_begun(self.id);
        if !is_own {
            return;
        }
        let standings = super::form::ask_all(self).await;
        if !standings.values().any(|standing| standing.entries && self.is_other(standing)) {
            return;
        }
        let mut running = self.running.write().await;
        // It ends before its log is changed; one that was elected meanwhile has an entry.
        let ended = running.raft.shutdown().await.is_ok();
        if ended && running.log.is_only_begun(self.id) {
            tracing::warn!(
                "the group that this server made has no other server, and there is another: it joins that one"
            );
            match running.log.reset().await {
                Ok(()) => self.founding.set(None),
                Err(fault) => tracing::error!(%fault, "the raft log can't be reset"),
            }
        }
        if let Err(error) = self.run_anew(&mut running).await {
            tracing::error!(%error, "the group can't be taken up again yet");
        }
    }
}
