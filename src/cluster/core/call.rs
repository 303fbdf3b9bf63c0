//! Calls to members that are under way, and what their ends lead to.

use std::sync::Arc;

use super::{Action, Core, outbox};
use crate::cluster::message::{Answer, Failure, Request};
use crate::model::ServiceKey;
use crate::model::clock::Now;

/// Why a call was made.
pub(super) enum Purpose {
    /// To learn who that is; at the start.
    Meet,
    Report,
    Tell(Vec<(ServiceKey, outbox::Pending)>),
    Verify,
    Fetch,
    Load,
    Status,
    Health(ServiceKey),
}

impl Purpose {
    /// Whether something can't go on before the call has ended: while data are loaded nothing at all is told to anybody, so
    /// for that nobody waits who is not well (`up`: but may be again soon).
    fn is_waited_for(&self, up: bool) -> bool {
        matches!(self, Self::Load)
            || (!up && matches!(self, Self::Tell(_) | Self::Verify | Self::Fetch | Self::Health(_)))
    }
}

pub(super) struct Call {
    pub(super) to: Arc<str>,
    /// How often the member had been heard of before.
    pub(super) heard: u64,
    pub(super) purpose: Purpose,
}

/// The calls among `actions`, for tests.
#[cfg(test)]
pub(super) fn calls(actions: Vec<Action>) -> Vec<(u64, Request)> {
    let call = |action| if let Action::Call { id, request, .. } = action { Some((id, request)) } else { None };
    actions.into_iter().filter_map(call).collect()
}

impl Core {
    pub(super) fn call(&mut self, to: &Arc<str>, request: Request, purpose: Purpose) {
        let id = self.next_id();
        self.calls.insert(id, Call { to: to.clone(), heard: self.members.heard(to), purpose });
        self.actions.push(Action::Call { id, to: to.clone(), request });
    }

    pub(super) fn ended(&mut self, to: &Arc<str>, purpose: Purpose, result: Result<Answer, Failure>, now: Now) {
        match purpose {
            Purpose::Report => {}
            Purpose::Meet => self.met(to, result, now),
            Purpose::Tell(told) => self.told(to, told, &result, now),
            Purpose::Verify => {
                if let Some(peer) = self.peers.get_mut(to) {
                    peer.verifying = false;
                }
            }
            Purpose::Fetch => self.fetched(to, result),
            Purpose::Load => self.loaded(to, result, now),
            Purpose::Status => {}
            Purpose::Health(service) => self.health_told(to, service, result),
        }
    }

    /// Counts calls to these members, which are not well any more, or not even up, as failed: they may hang until long after
    /// the members are well again, and much waits for them. Of calls that end later nothing is heard.
    pub(super) fn give_up_calls(&mut self, members: &[(Arc<str>, bool)], now: Now) {
        let is_moot = |call: &Call| members.iter().any(|(to, up)| *to == call.to && call.purpose.is_waited_for(*up));
        let moot: Vec<u64> = self.calls.iter().filter(|(_, call)| is_moot(call)).map(|(id, _)| *id).collect();
        for id in moot {
            if let Some(Call { to, purpose, .. }) = self.calls.remove(&id) {
                self.ended(&to, purpose, Err(Failure::Broken("it can't be reached any more".into())), now);
            }
        }
    }
}
