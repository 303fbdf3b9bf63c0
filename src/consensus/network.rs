//! How openraft reaches the other servers: one message, one answer, over whatever [`Transport`] there is.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::error::{InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable};
use openraft::network::{Backoff, RPCOption, RaftNetwork, RaftNetworkFactory};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse, VoteRequest,
    VoteResponse,
};
use openraft::{AnyError, BasicNode};

use super::founding::Founding;
use super::message::{Answer, Ask, Letter};
use super::types::{Config, Id};
use crate::cluster::message::Failure;

/// Sends `body` to the server at `to` (`ip:port`), where [`Consensus::asked`](super::Consensus::asked) answers it.
/// [`Failure::Refused`] means that it was never sent. Both are bounded in size by what one entry and one piece of a
/// snapshot may have, a few MiB.
pub trait Transport: Send + Sync + 'static {
    /// See the trait. The future may be dropped at any time.
    fn send(&self, to: &str, body: Bytes) -> Pin<Box<dyn Future<Output = Result<Bytes, Failure>> + Send>>;
}

/// The others, as this server reaches them.
#[derive(Clone)]
pub(super) struct Network {
    pub(super) transport: Arc<dyn Transport>,
    /// Address of this server.
    pub(super) own: Arc<str>,
    /// The group that it speaks for.
    pub(super) founding: Founding,
    /// Pause before a server that can't be reached is tried again.
    pub(super) backoff: Duration,
}

impl Network {
    /// Asks the server at `to`; `id`: who it has to be.
    ///
    /// # Errors
    /// As of the transport; [`Failure::Said`] for an answer that can't be read.
    pub(super) async fn ask(&self, to: &str, id: Option<Id>, ask: Ask, limit: Duration) -> Result<Answer, Failure> {
        let body = Letter::new(&self.own, id, self.founding.get(), ask).encode();
        let body = body.map_err(|error| Failure::Broken(error.message().to_owned()))?;
        let answer = tokio::time::timeout(limit, self.transport.send(to, body)).await;
        let bytes = answer.map_err(|_| Failure::Broken(format!("no answer from {to} within {limit:?}")))??;
        serde_json::from_slice(&bytes).map_err(|fault| Failure::Broken(format!("an unreadable answer: {fault}")))
    }
}

impl RaftNetworkFactory<Config> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: Id, node: &BasicNode) -> Peer {
        Peer { network: self.clone(), target, address: node.addr.clone() }
    }
}

/// One of the others.
pub(super) struct Peer {
    network: Network,
    target: Id,
    address: String,
}

type Asked<T, E = RaftError<Id>> = Result<T, RPCError<Id, BasicNode, E>>;

impl Peer {
    async fn ask<E: std::error::Error>(
        &self,
        ask: Ask,
        option: RPCOption,
    ) -> Result<Answer, RPCError<Id, BasicNode, E>> {
        let answer = self.network.ask(&self.address, Some(self.target), ask, option.hard_ttl()).await;
        match answer {
            Ok(Answer::AnotherId(_) | Answer::AnotherGroup | Answer::Closed) => {
                let gone = format!("{} is not {:016x} of this group, or not there", self.address, self.target);
                Err(Unreachable::from(AnyError::error(gone)).into())
            }
            Ok(answer) => Ok(answer),
            // What can't be reached is not asked again at once.
            Err(failure) => Err(Unreachable::from(AnyError::error(failure.to_string())).into()),
        }
    }

    fn result<T, E: std::error::Error>(&self, result: Result<T, E>) -> Asked<T, E> {
        result.map_err(|error| RPCError::RemoteError(RemoteError::new(self.target, error)))
    }

    fn strange<E: std::error::Error>(&self, answer: &Answer) -> RPCError<Id, BasicNode, E> {
        let text = format!("{} answered something else: {answer:?}", self.address);
        NetworkError::from(AnyError::error(text)).into()
    }
}

impl RaftNetwork<Config> for Peer {
    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<Config>,
        option: RPCOption,
    ) -> Asked<AppendEntriesResponse<Id>> {
        match self.ask(Ask::Append(request), option).await? {
            Answer::Append(result) => self.result(result),
            other => Err(self.strange(&other)),
        }
    }

    async fn vote(&mut self, request: VoteRequest<Id>, option: RPCOption) -> Asked<VoteResponse<Id>> {
        match self.ask(Ask::Vote(request), option).await? {
            Answer::Vote(result) => self.result(result),
            other => Err(self.strange(&other)),
        }
    }

    async fn install_snapshot(
        &mut self,
        request: InstallSnapshotRequest<Config>,
        option: RPCOption,
    ) -> Asked<InstallSnapshotResponse<Id>, RaftError<Id, InstallSnapshotError>> {
        match self.ask(Ask::Snapshot(request), option).await? {
            Answer::Snapshot(result) => self.result(result),
            other => Err(self.strange(&other)),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(self.network.backoff))
    }
}
