//! Configuration: flags, then environment, then `HOME/conf/application.properties`, then defaults; first wins.
//!
//! The only reader of conf/ and of the environment. Names are those of Nacos where it has one
//! (`spec/configuration.md`); `conf/application.properties` says what each means. A value that can't be used is an
//! [`Error::Setup`](crate::error::Error::Setup) of one line with key, value, origin and what is allowed.

mod auth;
mod cluster;
mod diff;
pub mod flags;
mod keys;
mod log;
mod members;
mod metrics;
mod properties;
mod sources;
mod value;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

pub use auth::{AuthSettings, Secret};
pub use cluster::{ClusterSettings, NamedBy};
pub use diff::{Diff, diff};
pub use flags::{Flags, Place, StoreCommand, StoreFlags};
use ipnet::IpNet;
pub use keys::{ALL as KEYS, Key};
pub use log::{LogFileSettings, LogSettings};
pub use members::{Member, read_file as read_members};
pub use metrics::MetricsSettings;
pub use sources::{Setting, Source};
use sources::{Sources, bad_value};

use crate::error::Result;

/// Name of the property for which members also count when a file names them.
pub const MEMBERS_KEY: &str = keys::MEMBERS.name;
/// The property that holds the key of tokens.
pub const TOKEN_KEY: &str = keys::TOKEN_KEY.name;

/// Longest time that can be set: 365 days, in ms.
const MAX_MS: u64 = 365 * 24 * 3_600_000;

/// Everything a node is told.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Folder with conf/, data/ and logs/, absolute; need not exist. `--home`, `NACOS_HOME`, else the working directory.
    pub home: PathBuf,
    /// Folder of the store, absolute; need not exist (`nacre.data-dir`; default `HOME/data`). A relative path counts from
    /// the working directory when a flag names it, else from home.
    pub data_dir: PathBuf,
    /// TCP port to listen on; 0 for any free one (`server.port`).
    pub port: u16,
    /// Address to listen on; `None` for all, of IPv4 and IPv6 (`server.address`).
    pub bind: Option<IpAddr>,
    /// Prefix of all paths: blank, or such as `/nacos`, without a slash behind (`server.servlet.contextPath`).
    pub context_path: String,
    /// IP address or name this node is known by, as written (`nacos.server.ip`, then `nacos.inetutils.ip-address`);
    /// `None` for that of `bind`, else to find one.
    pub ip: Option<String>,
    /// What the node is for (`nacos.functionMode`).
    pub function_mode: FunctionMode,
    /// Whether the node has no peers: nobody else is named, or `nacos.standalone` is true.
    pub standalone: bool,
    /// Members of the cluster as named, this node included if it is named: by `--member`, else `conf/cluster.conf`, else
    /// `nacos.member.list`; each once. Empty with `nacos.standalone`.
    pub members: Vec<Member>,
    /// Who names the members.
    pub named_by: NamedBy,
    /// What the members do for each other.
    pub cluster: ClusterSettings,
    /// How the members of a cluster agree on things.
    pub raft: RaftSettings,
    /// Who may do what.
    pub auth: AuthSettings,
    /// The store.
    pub store: StoreSettings,
    /// What happens at a restart.
    pub restore: RestoreSettings,
    /// Limits of the HTTP server.
    pub http: HttpLimits,
    /// Networks whose addresses clients may name as `clientIP` for datagrams to go there, though they ask from elsewhere
    /// (`nacre.push.allow-client-ip`).
    pub push_allow_client_ip: Vec<IpNet>,
    /// Limits of the write path.
    pub commit: CommitLimits,
    /// Expiry and cleaning.
    pub naming: NamingSettings,
    /// Figures.
    pub metrics: MetricsSettings,
    /// Logging.
    pub log: LogSettings,
    /// Every property in effect and where it was found.
    pub settings: Vec<Setting>,
    /// What should be logged about the configuration once logging works.
    pub notes: Vec<Note>,
}

/// See [`Config::raft`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaftSettings {
    /// A leader that the others have not heard of for this long is replaced, ms
    /// (`nacos.core.protocol.raft.data.election_timeout_ms`).
    pub election_timeout_ms: u64,
    /// Time between snapshots, s (`nacos.core.protocol.raft.data.snapshot_interval_secs`).
    pub snapshot_interval_s: u64,
}

/// See [`Config::store`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSettings {
    /// `nacre.store.durability`.
    pub durability: Durability,
    /// Between two syncs with [`Durability::Interval`], ms, 1 to 60000 (`nacre.store.interval-ms`).
    pub interval_ms: u64,
    /// `nacre.store.on-failure`.
    pub on_failure: OnFailure,
    /// Longest time for opening and reading the store, ms (`nacre.store.open-timeout-ms`).
    pub open_timeout_ms: u64,
    /// Smaller files are never compacted, bytes (`nacre.store.compact-min-bytes`).
    pub compact_min_bytes: u64,
    /// Compacted when the file is this many times larger than its live rows, 2 to 1000 (`nacre.store.compact-factor`).
    pub compact_factor: u64,
}

/// See [`Config::restore`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoreSettings {
    /// After a longer downtime instances come back unhealthy until their first beat, ms (`nacre.restore.max-downtime-ms`).
    pub max_downtime_ms: u64,
    /// How long the start waits for a peer, ms (`nacre.restore.peer-wait-ms`).
    pub peer_wait_ms: u64,
}

/// See [`Config::http`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpLimits {
    /// Request line and headers, bytes, at least 32 KiB (`server.max-http-header-size`).
    pub max_header_bytes: usize,
    /// Body of a request, bytes (`nacre.http.max-body-bytes`).
    pub max_body_bytes: usize,
    /// Body of what a member of the cluster sends, bytes (`nacre.cluster.max-body-bytes`).
    pub max_peer_body_bytes: usize,
    /// For request line and headers to arrive, ms (`nacre.http.head-timeout-ms`).
    pub head_timeout_ms: u64,
    /// For a body to arrive, ms (`nacre.http.body-timeout-ms`).
    pub body_timeout_ms: u64,
    /// An idle connection is closed after it, ms (`nacre.http.idle-timeout-ms`).
    pub idle_timeout_ms: u64,
    /// For requests in flight to end when the server stops, ms (`nacre.shutdown.drain-ms`).
    pub drain_ms: u64,
    /// Open connections (`server.tomcat.max-connections`).
    pub max_connections: usize,
    /// Origins of other web pages that may call, `*` for any; empty for none (`nacre.cors.allow-origins`).
    pub cors_allow_origins: Vec<String>,
}

/// See [`Config::commit`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitLimits {
    /// Writes that may wait (`nacre.commit.queue-len`).
    pub queue_len: usize,
    /// Rows written at once (`nacre.commit.batch-rows`).
    pub batch_rows: usize,
}

/// See [`Config::naming`]; `spec/health.md` 1.2 and 4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamingSettings {
    /// Whether silent instances are removed, not only marked unhealthy (`nacos.naming.expireInstance`).
    pub expire_instance: bool,
    /// Whether empty services are removed (`nacos.naming.empty-service.auto-clean`).
    pub empty_service_clean: bool,
    /// First round after the start, ms (`nacos.naming.empty-service.clean.initial-delay-ms`).
    pub clean_initial_delay_ms: u64,
    /// Between rounds, ms (`nacos.naming.empty-service.clean.period-time-ms`).
    pub clean_period_ms: u64,
}

/// When a write is acknowledged. The store has its own type of the same names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// On disk: survives power loss.
    Synced,
    /// Handed to the operating system: survives a killed process.
    Written,
    /// In a buffer that is synced at an interval: survives a clean stop.
    Interval,
    /// Nothing is stored.
    Off,
}

impl Durability {
    const WORDS: &'static [(&'static str, Self)] =
        &[("synced", Self::Synced), ("written", Self::Written), ("interval", Self::Interval), ("off", Self::Off)];

    /// The word in configuration.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, mode)| *mode == self).map_or("", |(word, _)| word)
    }
}

/// What happens to writes while the store can't take them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// They are refused.
    Refuse,
    /// They are taken into memory alone, loudly.
    Memory,
}

/// What the node is for; shown by `/v1/console/server/state`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FunctionMode {
    /// Not restricted (shown as null).
    All,
    /// Shown as `naming`.
    Naming,
}

/// From which level on lines are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the words say it")]
pub enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl LogLevel {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("off", Self::Off),
        ("error", Self::Error),
        ("warn", Self::Warn),
        ("info", Self::Info),
        ("debug", Self::Debug),
        ("trace", Self::Trace),
    ];

    /// The word in configuration.
    pub fn as_str(self) -> &'static str {
        Self::WORDS.iter().find(|(_, level)| *level == self).map_or("", |(word, _)| word)
    }
}

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Something to log about the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// How loudly.
    pub level: NoteLevel,
    /// One line.
    pub text: String,
}

/// See [`Note`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoteLevel {
    /// Someone should look at it.
    Warn,
    /// Of interest when looking for a reason.
    Debug,
}

/// The environment of this process. What isn't UTF-8 is taken with replacement characters.
pub fn environment() -> impl Iterator<Item = (String, String)> {
    let text = |value: std::ffi::OsString| value.to_string_lossy().into_owned();
    std::env::vars_os().map(move |(name, value)| (text(name), text(value)))
}

impl Config {
    /// Reads everything. Reads files below home; writes and creates nothing.
    pub fn load(flags: &Flags, environment: impl IntoIterator<Item = (String, String)>) -> Result<Self> {
        let mut sources = Sources::new(flags, environment);
        let home = home(flags, &sources)?;
        sources.add_file(&home.join("conf").join("application.properties"))?;
        let port = sources.read(&keys::PORT, |text| whole(text, 0, u64::from(u16::MAX)))?;
        let bind = sources.read_optional(&keys::BIND, value::bind)?.flatten();
        let context_path = sources.read(&keys::CONTEXT_PATH, value::context_path)?;
        let server_ip = sources.read_optional(&keys::IP, value::address)?;
        let ip = server_ip.or(sources.read_optional(&keys::INETUTILS_IP, value::address)?);
        let function_mode = sources.read(&keys::FUNCTION_MODE, function_mode)?;
        let (members, named_by) = cluster::named(&mut sources, &home)?;
        let auth = AuthSettings::read(&mut sources)?;
        let log = LogSettings::read(&mut sources, &home)?;
        let mut config = Self {
            data_dir: data_dir(&mut sources, &home)?,
            home,
            port,
            bind,
            context_path,
            function_mode,
            standalone: members.iter().all(|member| member.is_own(ip.as_deref(), bind, port)),
            ip,
            members,
            named_by,
            cluster: ClusterSettings::read(&mut sources)?,
            auth,
            store: StoreSettings::read(&mut sources)?,
            restore: RestoreSettings::read(&mut sources)?,
            naming: NamingSettings::read(&mut sources)?,
            http: HttpLimits::read(&mut sources)?,
            push_allow_client_ip: sources.read(&keys::PUSH_ALLOW, value::networks)?,
            raft: RaftSettings::read(&mut sources)?,
            commit: CommitLimits::read(&mut sources)?,
            metrics: MetricsSettings::read(&mut sources, (bind, port))?,
            log,
            settings: Vec::new(),
            notes: Vec::new(),
        };
        sources.check_names()?;
        (config.settings, config.notes) = (sources.settings, sources.notes);
        Ok(config)
    }

    /// Takes over from `later` what counts without a restart, as [`diff()`] will compare it from now on.
    pub fn take_live(&mut self, later: Config) {
        let live = KEYS.iter().filter(|key| diff::is_live(key, self, &later));
        let live: Vec<&str> = live.map(|key| key.name).collect();
        for setting in &mut self.settings {
            let is_live = live.contains(&setting.key);
            if let Some(new) = later.settings.iter().find(|new| is_live && new.key == setting.key) {
                setting.clone_from(new);
            }
        }
        if live.contains(&keys::MEMBERS.name) {
            self.members = later.members;
            self.named_by = later.named_by;
        }
        let max_connections = self.http.max_connections;
        self.http = HttpLimits { max_connections, ..later.http };
        self.auth = later.auth;
        self.push_allow_client_ip = later.push_allow_client_ip;
        self.log = LogSettings { format: self.log.format, ..later.log };
    }

    /// Whether this is the node itself, as far as that shows without asking the network.
    pub fn is_own(&self, member: &Member) -> bool {
        member.is_own(self.ip.as_deref(), self.bind, self.port)
    }

    /// `HOME/conf`.
    pub fn conf_dir(&self) -> PathBuf {
        self.home.join("conf")
    }
}

impl StoreSettings {
    fn read(sources: &mut Sources) -> Result<Self> {
        let on_failure = &[("refuse", OnFailure::Refuse), ("memory", OnFailure::Memory)];
        Ok(Self {
            durability: sources.read(&keys::DURABILITY, |text| value::one_of(text, Durability::WORDS))?,
            interval_ms: sources.read(&keys::STORE_INTERVAL, |text| whole(text, 1, 60_000))?,
            on_failure: sources.read(&keys::ON_FAILURE, |text| value::one_of(text, on_failure))?,
            open_timeout_ms: sources.read(&keys::OPEN_TIMEOUT, |text| whole(text, 100, MAX_MS))?,
            compact_min_bytes: sources.read(&keys::COMPACT_MIN, |text| bytes(text, 0, 1 << 40))?,
            compact_factor: sources.read(&keys::COMPACT_FACTOR, |text| whole(text, 2, 1000))?,
        })
    }
}

impl RestoreSettings {
    fn read(sources: &mut Sources) -> Result<Self> {
        Ok(Self {
            max_downtime_ms: sources.read(&keys::MAX_DOWNTIME, |text| whole(text, 0, MAX_MS))?,
            peer_wait_ms: sources.read(&keys::PEER_WAIT, |text| whole(text, 0, 600_000))?,
        })
    }
}

impl NamingSettings {
    fn read(sources: &mut Sources) -> Result<Self> {
        Ok(Self {
            expire_instance: sources.read(&keys::EXPIRE, value::boolean)?,
            empty_service_clean: sources.read(&keys::CLEAN, value::boolean)?,
            clean_initial_delay_ms: sources.read(&keys::CLEAN_DELAY, |text| whole(text, 0, MAX_MS))?,
            clean_period_ms: sources.read(&keys::CLEAN_PERIOD, |text| whole(text, 10, MAX_MS))?,
        })
    }
}

impl HttpLimits {
    fn read(sources: &mut Sources) -> Result<Self> {
        // Below 32 KiB clients that send 20 kB of metadata in the query would be cut off.
        Ok(Self {
            max_header_bytes: sources.read(&keys::HEADER_SIZE, |text| bytes(text, 32 << 10, 16 << 20))?,
            max_body_bytes: sources.read(&keys::BODY_SIZE, |text| bytes(text, 64 << 10, 1 << 30))?,
            // More than all bodies together may have while they arrive would never be taken.
            max_peer_body_bytes: sources.read(&keys::PEER_BODY_SIZE, |text| bytes(text, 64 << 10, 128 << 20))?,
            head_timeout_ms: sources.read(&keys::HEAD_TIMEOUT, |text| whole(text, 100, 3_600_000))?,
            body_timeout_ms: sources.read(&keys::BODY_TIMEOUT, |text| whole(text, 100, 3_600_000))?,
            idle_timeout_ms: sources.read(&keys::IDLE_TIMEOUT, |text| whole(text, 100, 3_600_000))?,
            drain_ms: sources.read(&keys::DRAIN, |text| whole(text, 0, 600_000))?,
            max_connections: sources.read(&keys::CONNECTIONS, |text| whole(text, 1, 1_000_000))?,
            cors_allow_origins: sources.read(&keys::CORS, value::origins)?,
        })
    }
}

impl RaftSettings {
    fn read(sources: &mut Sources) -> Result<Self> {
        Ok(Self {
            election_timeout_ms: sources.read(&keys::RAFT_ELECTION, |text| whole(text, 200, 60_000))?,
            snapshot_interval_s: sources.read(&keys::RAFT_SNAPSHOT, |text| whole(text, 1, 604_800))?,
        })
    }
}

impl CommitLimits {
    fn read(sources: &mut Sources) -> Result<Self> {
        Ok(Self {
            queue_len: sources.read(&keys::QUEUE_LEN, |text| whole(text, 1, 1 << 20))?,
            batch_rows: sources.read(&keys::BATCH_ROWS, |text| whole(text, 1, 1 << 16))?,
        })
    }
}

/// [`value::whole`] in the type that is wanted.
fn whole<T: TryFrom<u64>>(text: &str, min: u64, max: u64) -> Result<T, String> {
    let number = value::whole(text, min, max)?;
    T::try_from(number).map_err(|_| "a number that this machine can count to".to_owned())
}

/// [`value::bytes`] in the type that is wanted.
fn bytes<T: TryFrom<u64>>(text: &str, min: u64, max: u64) -> Result<T, String> {
    let number = value::bytes(text, min, max)?;
    T::try_from(number).map_err(|_| "a size that this machine can address".to_owned())
}

/// The home folder, which says where the file is and so can't be set in it.
fn home(flags: &Flags, sources: &Sources) -> Result<PathBuf> {
    let (given, source) = match (&flags.home, sources.variable("NACOS_HOME")) {
        (Some(path), _) => (path.clone(), Source::Flag("--home")),
        (None, Some(path)) => (PathBuf::from(path), Source::Environment("NACOS_HOME".to_owned())),
        (None, None) => (PathBuf::from("."), Source::Default),
    };
    folder("nacos.home", &given, &source)
}

/// An absolute path that is a folder, or nothing yet.
fn folder(key: &str, path: &Path, source: &Source) -> Result<PathBuf> {
    let bad = |allowed: &str| bad_value(key, &path.to_string_lossy(), source, allowed);
    let absolute = std::path::absolute(path).map_err(|error| bad(&format!("the path of a folder: {error}")))?;
    match std::fs::metadata(&absolute) {
        Ok(found) if !found.is_dir() => Err(bad("a folder, but this is a file")),
        Ok(_) => Ok(absolute.components().collect()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(absolute.components().collect()),
        Err(error) => Err(bad(&format!("a folder that can be read: {error}"))),
    }
}

fn data_dir(sources: &mut Sources, home: &Path) -> Result<PathBuf> {
    let given = sources.read_optional(&keys::DATA_DIR, |text| Ok(PathBuf::from(text)))?;
    let source = sources.last_source();
    match given {
        Some(path) if matches!(source, Source::Flag(_)) => folder(keys::DATA_DIR.name, &path, source),
        Some(path) => folder(keys::DATA_DIR.name, &home.join(path), source),
        None => folder(keys::DATA_DIR.name, &home.join("data"), source),
    }
}

fn function_mode(text: &str) -> Result<FunctionMode, String> {
    match text {
        "" | "all" => Ok(FunctionMode::All),
        "naming" => Ok(FunctionMode::Naming),
        _ => Err("blank or naming: this server does naming only".to_owned()),
    }
}
