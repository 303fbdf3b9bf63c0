//! The servers that belong together: who they are, who owns what, what they tell each other.

pub mod core;
pub mod members;
pub mod message;
pub mod ownership;
pub mod peer;

use std::sync::Arc;

use members::Members;
use message::{Answer, Request};

use crate::error::{Error, Result};
use crate::registry::Registry;

/// This server's part in a cluster of several.
pub struct Cluster {
    members: Arc<Members>,
    registry: Arc<Registry>,
}

impl Cluster {
    /// With nothing known of the others yet.
    pub fn new(members: Arc<Members>, registry: Arc<Registry>) -> Self {
        Self { members, registry }
    }

    /// Who the others are.
    pub fn members(&self) -> &Arc<Members> {
        &self.members
    }

    /// Whether this server is responsible for the service with this grouped name, as of now. With the switch
    /// `distroEnabled` off every server is, for all.
    pub fn is_owner(&self, name: &str) -> bool {
        !self.registry.settings().switches().distro_enabled || self.members.view().is_owner(name)
    }

    /// Why clients are not served yet, in the words of the reference; `None` when they are.
    pub fn obstacle(&self) -> Option<&'static str> {
        None
    }

    /// Answers what a member asks; `from` is its address if it said so. What follows for the registry has taken effect
    /// when this returns.
    ///
    /// # Errors
    /// [`Error::Limit`] and [`Error::Storage`] of the write path.
    pub async fn asked(self: &Arc<Self>, from: Option<&str>, request: Request) -> Result<Answer> {
        let _ = (from, request);
        Err(Error::Unavailable("not built yet".into()))
    }
}
