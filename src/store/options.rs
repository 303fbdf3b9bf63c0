//! How the store is to behave: [`Durability`], [`OnFailure`] and [`Options`] with their defaults.

use std::{fmt, path::PathBuf, str::FromStr};

use crate::error::Error;

/// Default of [`Options::interval_ms`].
pub const INTERVAL_MS: u64 = 200;
/// Default of [`Options::open_timeout_ms`]: 1,000,000 rows take about 3 s, so this only ends what hangs.
pub const OPEN_TIMEOUT_MS: u64 = 120_000;
/// Default of [`Options::compact_min_bytes`].
pub const COMPACT_MIN_BYTES: u64 = 32 * 1024 * 1024;
/// Default of [`Options::compact_factor`]. A fresh file is of 1.7 times its live rows; with this, and what comes until
/// the compaction is done, the file stays below 8 times.
pub const COMPACT_FACTOR: u64 = 4;
/// Default of [`Options::cache_bytes`].
pub const CACHE_BYTES: u64 = 64 * 1024 * 1024;

/// What "stored" means when [`Store::append`](super::Store::append) returns.
///
/// | mode | `append` returns when | survives |
/// |---|---|---|
/// | [`Synced`](Durability::Synced) | the batch is on disk (fdatasync) | power loss |
/// | [`Written`](Durability::Written) | the system has the batch | a killed process; power loss costs seconds |
/// | [`Interval`](Durability::Interval) | the batch is in memory | a clean stop; a crash costs at most `interval_ms` |
/// | [`Off`](Durability::Off) | at once: nothing is stored | nothing |
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// One fdatasync a batch.
    #[default]
    Synced,
    /// One write a batch, no sync of our own.
    Written,
    /// One write and one fdatasync an interval in which anything changed, and a write whenever 1,000 rows have come.
    Interval,
    /// No disk at all, not even the lock.
    Off,
}

impl Durability {
    /// The name used in configuration: `synced`, `written`, `interval` or `off`.
    pub fn name(self) -> &'static str {
        match self {
            Durability::Synced => "synced",
            Durability::Written => "written",
            Durability::Interval => "interval",
            Durability::Off => "off",
        }
    }
}

impl fmt::Display for Durability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Durability {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        [Durability::Synced, Durability::Written, Durability::Interval, Durability::Off]
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| Error::Setup(format!("durability is synced, written, interval or off, not `{text}`")))
    }
}

/// What [`Store::append`](super::Store::append) does while the store has failed and is not yet rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnFailure {
    /// It returns the reason: nothing is acknowledged that isn't stored.
    #[default]
    Refuse,
    /// It returns `Ok` without storing (counted in [`StoreStats`](super::StoreStats)); the failure stays visible.
    Memory,
}

impl fmt::Display for OnFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            OnFailure::Refuse => "refuse",
            OnFailure::Memory => "memory",
        })
    }
}

impl FromStr for OnFailure {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "refuse" => Ok(OnFailure::Refuse),
            "memory" => Ok(OnFailure::Memory),
            _ => Err(Error::Setup(format!("what a failed store does is refuse or memory, not `{text}`"))),
        }
    }
}

/// Settings of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The data folder; created if missing. One process at a time.
    pub dir: PathBuf,
    /// When a batch counts as stored.
    pub durability: Durability,
    /// Time between syncs in [`Durability::Interval`], in milliseconds.
    pub interval_ms: u64,
    /// Limit of opening and of verifying, each, in milliseconds. A store that takes longer is moved aside.
    pub open_timeout_ms: u64,
    /// Files smaller than this, in bytes, are not compacted.
    pub compact_min_bytes: u64,
    /// The file is compacted when larger than this many times its live rows.
    pub compact_factor: u64,
    /// Size of sled's page cache in bytes.
    pub cache_bytes: u64,
    /// What writes get while the store has failed.
    pub on_failure: OnFailure,
}

impl Options {
    /// The defaults, for the data folder `dir`.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), ..Self::default() }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("data"),
            durability: Durability::default(),
            interval_ms: INTERVAL_MS,
            open_timeout_ms: OPEN_TIMEOUT_MS,
            compact_min_bytes: COMPACT_MIN_BYTES,
            compact_factor: COMPACT_FACTOR,
            cache_bytes: CACHE_BYTES,
            on_failure: OnFailure::default(),
        }
    }
}
