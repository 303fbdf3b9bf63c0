//! SIGHUP: reads the configuration again and puts into effect what can change while the server runs
//! ([`Key::is_live`](config::Key::is_live)); all of it or, if something is wrong, nothing. Members also change without,
//! when their file does.

use std::sync::Arc;

use tokio::signal::unix::Signal;

use super::cluster::Following;
use super::{accounts, limits, systemd};
use crate::config::{self, Config, Diff, Flags, NoteLevel};
use crate::error::{Error, Result};
use crate::http::call::App;
use crate::http::server::Server;
use crate::telemetry;

/// The directives of what is to be logged.
pub fn log_directives(config: &Config) -> String {
    config.log.filter.clone().unwrap_or_else(|| telemetry::directives(config.log.level.as_str()))
}

/// Everything whose settings may change.
pub(super) struct Reload {
    pub(super) flags: Flags,
    /// In force: as at the start, but for what took effect since.
    pub(super) config: Config,
    pub(super) app: Arc<App>,
    pub(super) server: Server,
    pub(super) following: Following,
}

impl Reload {
    /// Reads again whenever `hang_ups` says so, and follows the members.
    pub(super) async fn run(mut self, mut hang_ups: Signal) {
        loop {
            tokio::select! {
                Some(()) = hang_ups.recv() => self.hang_up().await,
                Some(list) = self.following.lists.recv() => self.following.take_list(&mut self.config, list),
                else => return,
            }
        }
    }

    async fn hang_up(&mut self) {
        systemd::reloading();
        match self.again().await {
            Ok(found) => tell(&found),
            Err(error) => tracing::error!("SIGHUP: everything stays as it was: {error}"),
        }
        systemd::ready(&systemd::status(&self.app.registry, &self.app.commit));
    }

    async fn again(&mut self) -> Result<Diff> {
        let flags = self.flags.clone();
        let read = move || {
            let config = Config::load(&flags, config::environment())?;
            let auth = accounts::options(&config)?;
            Ok((config, auth))
        };
        let read = tokio::task::spawn_blocking(read).await;
        let (new, auth) = read.unwrap_or_else(|_| Err(Error::Setup("reading has panicked".into())))?;
        for note in new.notes.iter().filter(|note| note.level == NoteLevel::Warn) {
            tracing::warn!("{}", note.text);
        }
        let found = config::diff(&self.config, &new);
        if found.live.is_empty() {
            return Ok(found);
        }
        // What can fail comes first.
        accounts::ensure_admin(&new, &self.app).await?;
        telemetry::levels::set_directives(&log_directives(&new))?;
        self.app.auth.replace(auth)?;
        if let Some(cluster) = &self.app.cluster {
            cluster.peers().set_identity(accounts::identity(&new))?;
        }
        let http = &new.http;
        self.app.live.set(http.cors_allow_origins.clone(), http.max_body_bytes, http.max_peer_body_bytes);
        self.app.push.set_allow_client_ip(new.push_allow_client_ip.clone());
        self.server.set_limits(limits(&new));
        self.config.take_live(new);
        if found.live.contains(&config::MEMBERS_KEY) {
            self.following.put_into_effect(&self.config);
        }
        Ok(found)
    }
}

fn tell(found: &Diff) {
    if found.is_empty() {
        tracing::info!("SIGHUP: the configuration was read again, nothing has changed");
    }
    if !found.live.is_empty() {
        tracing::info!(changed = found.live.join(","), "SIGHUP: the configuration was read again and is in effect");
    }
    if !found.at_start.is_empty() {
        tracing::warn!(changed = found.at_start.join(","), "SIGHUP: these take effect at the next start only");
    }
}
