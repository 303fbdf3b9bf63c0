//! The cluster: who is named as a member, and the settings of what members do for each other.

use std::path::Path;

use super::keys;
use super::members::{self, Member};
use super::sources::{Source, Sources, bad_value};
use super::{NoteLevel, value, whole};
use crate::error::Result;

/// What the members do for each other; `spec/distro.md` 13 and `spec/members.md` 3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterSettings {
    /// A member is down after more failed calls than this in a row, 0 to 1000 (`nacos.core.member.fail-access-cnt`).
    pub max_failures: u32,
    /// A change is told to the others after it at the latest, ms, 10 to 60000
    /// (`nacos.naming.distro.taskDispatchPeriod`).
    pub dispatch_ms: u64,
    /// Services in one message, 1 to 100000 (`nacos.naming.distro.batchSyncKeyCount`).
    pub batch_keys: usize,
    /// What could not be told is told again after it, ms, 10 to 600000 (`nacos.naming.distro.syncRetryDelay`).
    pub sync_retry_ms: u64,
    /// How long a node without data of its own waits for members that don't answer before it serves without, ms, 0 to
    /// 3600000 (`nacos.naming.distro.loadDataRetryDelayMillis`).
    pub load_wait_ms: u64,
    /// Between two comparisons with a member, ms, 100 to 3600000
    /// (`nacos.core.protocol.distro.data.verify_interval_ms`).
    pub verify_interval_ms: u64,
    /// Whether a node without data of its own refuses clients until it has loaded those of a member, however long that
    /// takes (`nacos.naming.data.warmup`).
    pub warmup: bool,
}

impl ClusterSettings {
    pub(super) fn read(sources: &mut Sources) -> Result<Self> {
        Ok(Self {
            max_failures: sources.read(&keys::MAX_FAILURES, |text| whole(text, 0, 1_000))?,
            dispatch_ms: sources.read(&keys::DISPATCH, |text| whole(text, 10, 60_000))?,
            batch_keys: sources.read(&keys::BATCH_KEYS, |text| whole(text, 1, 100_000))?,
            sync_retry_ms: sources.read(&keys::SYNC_RETRY, |text| whole(text, 10, 600_000))?,
            load_wait_ms: sources.read(&keys::LOAD_WAIT, |text| whole(text, 0, 3_600_000))?,
            verify_interval_ms: sources.read(&keys::VERIFY, |text| whole(text, 100, 3_600_000))?,
            warmup: sources.read(&keys::WARMUP, value::boolean)?,
        })
    }
}

/// Who names the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedBy {
    /// Nobody: `nacos.standalone` is true.
    Nobody,
    /// `--member` or `nacos.member.list`, from there.
    Property(Source),
    /// `conf/cluster.conf`.
    File,
}

impl NamedBy {
    /// Whether `conf/cluster.conf` counts, or would as soon as it names somebody.
    pub fn heeds_file(&self) -> bool {
        !matches!(self, Self::Nobody | Self::Property(Source::Flag(_)))
    }
}

impl std::fmt::Display for NamedBy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nobody => f.write_str("nobody"),
            Self::Property(source) => source.fmt(f),
            Self::File => f.write_str("conf/cluster.conf"),
        }
    }
}

/// The members that are named, each once, and by whom: flag, file, property; the first that names any.
pub(super) fn named(sources: &mut Sources, home: &Path) -> Result<(Vec<Member>, NamedBy)> {
    let alone = sources.read(&keys::STANDALONE, value::boolean)?;
    let listed = sources.read(&keys::MEMBERS, members::list)?;
    let source = sources.last_source().clone();
    let lookup = &[("file", true), ("address-server", false)];
    let is_known = sources.read_optional(&keys::LOOKUP, |text| value::one_of(text, lookup))?.unwrap_or(true);
    if !(is_known || alone) {
        let allowed =
            "file: there is no lookup by an address server; conf/cluster.conf or nacos.member.list names members";
        return Err(bad_value(keys::LOOKUP.name, "address-server", sources.last_source(), allowed));
    }
    let path = home.join("conf").join("cluster.conf");
    if alone {
        if !listed.is_empty() || path.exists() {
            sources.note(NoteLevel::Warn, "nacos.standalone is true: the members that are named are ignored".into());
        }
        return Ok((Vec::new(), NamedBy::Nobody));
    }
    if matches!(source, Source::Flag(_)) {
        return Ok((listed, NamedBy::Property(source)));
    }
    match members::read_file(&path)? {
        Some(in_file) if !in_file.is_empty() => {
            if !listed.is_empty() && listed != in_file {
                let text =
                    format!("nacos.member.list (from {source}) is ignored: {} names the members", path.display());
                sources.note(NoteLevel::Warn, text);
            }
            Ok((in_file, NamedBy::File))
        }
        _ if listed.is_empty() => Ok((listed, NamedBy::File)),
        _ => Ok((listed, NamedBy::Property(source))),
    }
}
