//! What was measured on, and with what.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::plain;
use crate::tools::client::{Connection, Session};
use crate::tools::fleet;

const TIMEOUT: Duration = Duration::from_secs(2);
/// Characters of a version that are shown.
const VERSION_CHARS: usize = 60;

/// Of every report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Facts {
    /// `nacre load`, ...
    pub tool: &'static str,
    /// Of the tool.
    pub version: &'static str,
    /// Where the server is.
    pub server: String,
    /// What it calls itself, where it tells. Without control characters.
    pub server_version: Option<String>,
    /// When the run began, RFC 3339.
    pub began: String,
    /// Of this machine.
    pub cores: usize,
}

#[derive(Deserialize)]
struct State {
    version: String,
}

impl Facts {
    /// Of a run that begins now.
    pub fn now(tool: &'static str, session: &Session) -> Self {
        Self {
            tool,
            version: env!("CARGO_PKG_VERSION"),
            server: plain(&session.server().shown()),
            server_version: None,
            began: jiff::Zoned::now().strftime("%Y-%m-%dT%H:%M:%S%:z").to_string(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// Asks the server for its version; it need not tell.
    pub async fn ask_version(&mut self, session: &Arc<Session>) {
        let request = fleet::get(session.server(), "/v1/console/server/state");
        let mut connection = Connection::new(Arc::clone(session), TIMEOUT);
        let Ok(answer) = connection.ask(&request, b"").await else { return };
        let state = serde_json::from_slice::<State>(answer.body).ok().filter(|_| answer.status == 200);
        self.server_version = state.map(|state| plain(&state.version).chars().take(VERSION_CHARS).collect());
    }
}
