//! What is logged, and how much of it is kept (`spec/configuration.md` 7).

use std::path::{Path, PathBuf};

use super::sources::{Source, Sources};
use super::{LogFormat, LogLevel, bytes, folder, keys, value, whole};
use crate::error::Result;

/// Longest time that can be set, in days.
const MAX_DAYS: u32 = 3650;
const MIN_BYTES: u64 = 4 << 10;
const MAX_BYTES: u64 = 1 << 40;

/// See [`Config::log`](super::Config::log).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// `nacre.log.level`.
    pub level: LogLevel,
    /// `RUST_LOG`: directives that replace the level; `None` when it isn't set or when a flag gives the level.
    pub filter: Option<String>,
    /// `nacre.log.format`.
    pub format: LogFormat,
    /// Log files; `None`: everything goes to standard error alone (`nacre.log.files`).
    pub files: Option<LogFileSettings>,
}

/// See [`LogSettings::files`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFileSettings {
    /// Folder of the files, absolute; need not exist (`nacre.log.dir`, relative to home; default `HOME/logs`).
    pub dir: PathBuf,
    /// A file is rolled before it is larger, bytes (`nacre.log.max-file-bytes`).
    pub file_bytes: u64,
    /// Files of a log older than this many days go; `None`: they stay (`nacre.log.max-days`).
    pub days: Option<u32>,
    /// All files of one log together, bytes (`nacre.log.max-total-bytes`).
    pub total_bytes: u64,
    /// Whether there is an access log (`server.tomcat.accesslog.enabled`).
    pub access: bool,
    /// As `days`, of the access log (`server.tomcat.accesslog.max-days`).
    pub access_days: Option<u32>,
    /// As `total_bytes`, of the access log (`nacre.log.access-max-total-bytes`).
    pub access_total_bytes: u64,
}

impl LogSettings {
    pub(super) fn read(sources: &mut Sources, home: &Path) -> Result<Self> {
        let formats = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
        let level = sources.read(&keys::LOG_LEVEL, |text| value::one_of(text, LogLevel::WORDS))?;
        let by_flag = matches!(sources.last_source(), Source::Flag(_));
        let format = sources.read(&keys::LOG_FORMAT, |text| value::one_of(text, formats))?;
        let wanted = sources.read(&keys::LOG_FILES, value::boolean)?;
        let files = LogFileSettings::read(sources, home, wanted)?;
        let filter = sources.variable("RUST_LOG").filter(|_| !by_flag).map(str::to_owned);
        Ok(Self { level, filter, format, files: wanted.then_some(files) })
    }
}

impl LogFileSettings {
    fn read(sources: &mut Sources, home: &Path, wanted: bool) -> Result<Self> {
        let dir = sources.read_optional(&keys::LOG_DIR, |text| Ok(PathBuf::from(text)))?;
        let dir = match dir.map(|named| home.join(named)) {
            Some(path) if wanted => folder(keys::LOG_DIR.name, &path, &sources.last_source().clone())?,
            named => named.unwrap_or_else(|| home.join("logs")),
        };
        Ok(Self {
            dir,
            file_bytes: sources.read(&keys::LOG_FILE_BYTES, |text| bytes(text, MIN_BYTES, MAX_BYTES))?,
            days: sources.read(&keys::LOG_DAYS, days)?,
            total_bytes: sources.read(&keys::LOG_TOTAL_BYTES, |text| bytes(text, MIN_BYTES, MAX_BYTES))?,
            access: sources.read(&keys::ACCESS_LOG, value::boolean)?,
            access_days: sources.read(&keys::ACCESS_DAYS, days)?,
            access_total_bytes: sources.read(&keys::ACCESS_TOTAL_BYTES, |text| bytes(text, MIN_BYTES, MAX_BYTES))?,
        })
    }
}

fn days(text: &str) -> Result<Option<u32>, String> {
    if text == "-1" {
        return Ok(None);
    }
    let number = whole(text, 1, u64::from(MAX_DAYS)).map(Some);
    number.map_err(|_| format!("a number of days from 1 to {MAX_DAYS}, or -1 for ever"))
}
