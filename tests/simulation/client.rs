//! Clients: each registers one instance and beats for it, through one server until that fails.

use nacre::model::{Instance, InstanceKey, Metadata, ServiceKey};

/// Between beats, and before a client that found no server tries again, in ms.
pub(crate) const BEAT_MS: u64 = 5_000;
pub(crate) const PAUSE_MS: u64 = 1_000;
/// So long it waits for an answer.
pub(crate) const PATIENCE_MS: u64 = 3_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    Up,
    /// It takes its instance out.
    Out,
    /// The process was killed.
    Dead,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Register(u32),
    Beat,
    Deregister,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reply {
    Done,
    /// 20404: the client registers again.
    NotFound,
    /// Of a server without data.
    Unavailable,
}

pub(crate) struct Client {
    pub(crate) key: InstanceKey,
    pub(crate) server: usize,
    pub(crate) goal: Goal,
    /// What its metadata say.
    pub(crate) version: u32,
    /// Version that was acknowledged; `None`: it is not registered as far as it knows.
    pub(crate) acked: Option<u32>,
    /// When that was.
    pub(crate) acked_ms: u64,
    /// A server that acknowledged it lost it before it could tell everybody.
    pub(crate) unsure: bool,
    /// When it was registered first.
    pub(crate) since_ms: u64,
    /// When a server last took a beat or a registration.
    pub(crate) heard_ms: u64,
    pub(crate) ask: Option<u64>,
    pub(crate) attempts: usize,
    pub(crate) again: u32,
    /// When what it wanted last was acknowledged, or it died.
    pub(crate) ended_ms: u64,
    /// Whether its instance was on all nodes before the faults.
    pub(crate) settled: bool,
    /// The server it talks to that has it, or had it.
    pub(crate) seen_on: Option<usize>,
    /// Since when the server it talks to does not have it.
    pub(crate) missing_ms: Option<u64>,
}

impl Client {
    pub(crate) fn new(number: usize, services: usize, server: usize) -> Self {
        let service = ServiceKey::new("public", &format!("DEFAULT_GROUP@@orders-{}", number % services));
        let ip = format!("10.1.0.{number}");
        let key =
            InstanceKey { service, cluster: "DEFAULT".into(), ip: ip.as_str().into(), port: 8080, ephemeral: true };
        Self {
            key,
            server,
            goal: Goal::Up,
            version: 0,
            acked: None,
            acked_ms: 0,
            unsure: false,
            since_ms: 0,
            heard_ms: 0,
            ask: None,
            attempts: 0,
            again: 0,
            ended_ms: 0,
            settled: false,
            seen_on: None,
            missing_ms: None,
        }
    }

    pub(crate) fn is_live(&self) -> bool {
        self.goal == Goal::Up && self.acked.is_some()
    }

    /// What it asks for next; `None`: nothing any more.
    pub(crate) fn next(&self) -> Option<Op> {
        match self.goal {
            Goal::Dead => None,
            Goal::Out => (self.ended_ms == 0).then_some(Op::Deregister),
            Goal::Up if self.acked == Some(self.version) => Some(Op::Beat),
            Goal::Up => Some(Op::Register(self.version)),
        }
    }
}

pub(crate) fn instance(version: u32) -> Instance {
    let metadata = Metadata::from_iter([("v", version.to_string().as_str())]);
    Instance { metadata: Some(metadata), ..Instance::default() }
}

pub(crate) fn version_of(instance: &Instance) -> u32 {
    instance.metadata.as_ref().and_then(|metadata| metadata.get("v")).unwrap().parse().unwrap()
}
