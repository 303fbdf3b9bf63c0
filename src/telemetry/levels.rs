//! Log levels that are changed while the server runs (`spec/operator-api.md` 1.5 and 5.6), and what the logger names of
//! Nacos mean here.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use parking_lot::Mutex;
use tracing_subscriber::filter::{Directive, LevelFilter};
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::error::{Error, Result};

/// Logger names below `ns/operator/log` and the modules that log what those do.
const NAMING: &[(&str, &[&str])] = &[
    ("naming-push", &["nacre::push"]),
    ("naming-rt", &["nacre::rt"]),
    ("naming-server", &["nacre::http", "nacre::node", "nacre::service", "nacre::refused"]),
    ("naming-event", &["nacre::health", "nacre::event"]),
    ("naming-raft", &["nacre::consensus", "nacre::store", "nacre::commit"]),
    ("naming-distro", &["nacre::cluster"]),
    ("naming-performance", &["nacre::performance"]),
];

/// Logger names below `core/ops/log`.
const CORE: &[(&str, &[&str])] = &[
    ("core-auth", &["nacre::http::auth", "nacre::account"]),
    ("core", &["nacre"]),
    ("core-raft", &["nacre::consensus", "openraft"]),
    ("core-distro", &["nacre::cluster::core", "nacre::cluster::driver"]),
    ("core-cluster", &["nacre::cluster"]),
];

/// The levels of this process, once logging has started.
static LEVELS: OnceLock<Levels> = OnceLock::new();

/// Sets the level of a logger below `ns/operator/log`; see [`set_core`].
pub fn set_naming(logger: &str, level: &str) {
    set(NAMING, logger, level);
}

/// Sets the level of a logger below `core/ops/log` until the process ends. Unknown names, and everything while logging
/// has not started, are ignored; an unknown level means `DEBUG`.
pub fn set_core(logger: &str, level: &str) {
    set(CORE, logger, level);
}

/// Replaces the directives that logging started with, as `RUST_LOG` has them. Nothing happens while logging has not
/// started.
///
/// # Errors
/// [`Error::Setup`] when they can't be understood: nothing changes.
pub fn set_directives(directives: &str) -> Result<()> {
    LEVELS.get().map_or(Ok(()), |levels| levels.set_directives(directives))
}

fn set(table: &[(&str, &[&'static str])], logger: &str, level: &str) {
    let (Some((_, targets)), Some(levels)) = (table.iter().find(|(name, _)| *name == logger), LEVELS.get()) else {
        return;
    };
    match levels.set(targets, level_of(level)) {
        Ok(()) => tracing::info!(logger, level, "the log level was changed"),
        Err(error) => tracing::error!(logger, level, %error, "the log level could not be changed"),
    }
}

fn level_of(name: &str) -> LevelFilter {
    let known = [
        ("OFF", LevelFilter::OFF),
        ("ERROR", LevelFilter::ERROR),
        ("WARN", LevelFilter::WARN),
        ("INFO", LevelFilter::INFO),
        ("TRACE", LevelFilter::TRACE),
        ("ALL", LevelFilter::TRACE),
    ];
    known.iter().find(|(word, _)| word.eq_ignore_ascii_case(name)).map_or(LevelFilter::DEBUG, |(_, level)| *level)
}

/// What is logged: the directives of the start, and levels set since.
pub struct Levels {
    directives: Mutex<String>,
    set: Mutex<BTreeMap<&'static str, LevelFilter>>,
    filter: reload::Handle<EnvFilter, Registry>,
}

impl Levels {
    pub(super) fn new(directives: &str, filter: reload::Handle<EnvFilter, Registry>) -> Self {
        Self { directives: Mutex::new(directives.to_owned()), set: Mutex::default(), filter }
    }

    /// Makes these the levels of the process.
    pub(super) fn install(self) {
        // Only the first start of logging succeeds, and this comes after it.
        let _ = LEVELS.set(self);
    }

    /// Logs `targets` and what is below them from `level` on. The last level set for a target counts, and the level of
    /// the longest target that a line fits.
    ///
    /// # Errors
    /// [`Error::Setup`] when there is no logging any more.
    pub(super) fn set(&self, targets: &[&'static str], level: LevelFilter) -> Result<()> {
        let directives = self.directives.lock();
        let mut set = self.set.lock();
        for target in targets {
            set.insert(target, level);
        }
        self.apply(&directives, &set)
    }

    /// Replaces the directives of the start; levels set since for a target stay.
    ///
    /// # Errors
    /// [`Error::Setup`] when they can't be understood: nothing changes.
    pub(super) fn set_directives(&self, text: &str) -> Result<()> {
        let mut directives = self.directives.lock();
        self.apply(text, &self.set.lock())?;
        text.clone_into(&mut directives);
        Ok(())
    }

    fn apply(&self, directives: &str, set: &BTreeMap<&'static str, LevelFilter>) -> Result<()> {
        let wrong = |fault: &dyn std::fmt::Display| Error::Setup(format!("no filter for log lines: {fault}"));
        let mut filter = EnvFilter::builder().parse(directives).map_err(|fault| wrong(&fault))?;
        for (target, level) in set.iter() {
            let directive: Directive = format!("{target}={level}").parse().map_err(|fault| wrong(&fault))?;
            filter = filter.add_directive(directive);
        }
        self.filter.reload(filter).map_err(|fault| wrong(&fault))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_by_name() {
        for (name, level) in [
            ("OFF", LevelFilter::OFF),
            ("error", LevelFilter::ERROR),
            ("Warn", LevelFilter::WARN),
            ("info", LevelFilter::INFO),
            ("DEBUG", LevelFilter::DEBUG),
            ("trace", LevelFilter::TRACE),
            ("ALL", LevelFilter::TRACE),
            ("loud", LevelFilter::DEBUG),
            ("", LevelFilter::DEBUG),
        ] {
            assert_eq!(level_of(name), level, "{name}");
        }
    }
}
