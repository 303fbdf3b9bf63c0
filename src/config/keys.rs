//! Every property that is read, with its default. `conf/application.properties` lists the same ones; a test compares.

/// A property: its name as people write it and what counts when nobody sets it.
#[derive(Debug, PartialEq, Eq)]
pub struct Key {
    /// In the spelling of the shipped file; other spellings of it are understood too.
    pub name: &'static str,
    /// As it would be written in the file; blank when there is none.
    pub default: &'static str,
}

impl Key {
    /// Whether its value is for nobody to see: not in messages, not in the configuration that is shown.
    pub fn is_secret(&self) -> bool {
        [TOKEN_KEY, IDENTITY_VALUE, ADMIN_PASSWORD].contains(self)
    }

    /// Whether a changed value takes effect while the server runs (SIGHUP); `conf/application.properties` says so of
    /// each, and a test compares. `node::reload` is where they are put into effect. Of members see [`super::diff()`].
    pub fn is_live(&self) -> bool {
        let of_auth = [AUTH, TOKEN_KEY, TOKEN_TTL, IDENTITY_KEY, IDENTITY_VALUE, ADMIN_PASSWORD, CHECK_PEERS];
        let of_http = [DRAIN, HEADER_SIZE, BODY_SIZE, PEER_BODY_SIZE, HEAD_TIMEOUT, BODY_TIMEOUT, IDLE_TIMEOUT, CORS];
        [MEMBERS, PUSH_ALLOW, LOG_LEVEL].contains(self) || of_auth.contains(self) || of_http.contains(self)
    }
}

macro_rules! keys {
    ($($constant:ident = $name:literal, $default:literal;)*) => {
        $(pub(super) const $constant: Key = Key { name: $name, default: $default };)*
        /// All properties that are read, in the order of the shipped file.
        pub const ALL: &[Key] = &[$($constant),*];
    };
}

/// Properties of Nacos that have no effect there either, and those that have it.
pub(super) const OVERRULED: &[(&str, Key)] = &[
    ("nacos.core.protocol.distro.data.sync_delay_ms", DISPATCH),
    ("nacos.core.protocol.distro.data.sync_retry_delay_ms", SYNC_RETRY),
    ("nacos.core.protocol.distro.data.load_retry_delay_ms", LOAD_WAIT),
];

keys! {
    PORT = "server.port", "8848";
    BIND = "server.address", "";
    CONTEXT_PATH = "server.servlet.contextPath", "/nacos";
    IP = "nacos.server.ip", "";
    INETUTILS_IP = "nacos.inetutils.ip-address", "";
    FUNCTION_MODE = "nacos.functionMode", "";
    STANDALONE = "nacos.standalone", "false";
    MEMBERS = "nacos.member.list", "";
    LOOKUP = "nacos.core.member.lookup.type", "";
    MAX_FAILURES = "nacos.core.member.fail-access-cnt", "3";
    DISPATCH = "nacos.naming.distro.taskDispatchPeriod", "100";
    BATCH_KEYS = "nacos.naming.distro.batchSyncKeyCount", "1000";
    SYNC_RETRY = "nacos.naming.distro.syncRetryDelay", "1000";
    LOAD_WAIT = "nacos.naming.distro.loadDataRetryDelayMillis", "30000";
    VERIFY = "nacos.core.protocol.distro.data.verify_interval_ms", "5000";
    WARMUP = "nacos.naming.data.warmup", "false";
    RAFT_ELECTION = "nacos.core.protocol.raft.data.election_timeout_ms", "1000";
    RAFT_SNAPSHOT = "nacos.core.protocol.raft.data.snapshot_interval_secs", "1800";
    AUTH = "nacos.core.auth.enabled", "false";
    AUTH_TYPE = "nacos.core.auth.system.type", "nacos";
    TOKEN_KEY = "nacos.core.auth.default.token.secret.key", "";
    TOKEN_TTL = "nacos.core.auth.default.token.expire.seconds", "18000";
    AUTH_CACHING = "nacos.core.auth.caching.enabled", "true";
    IDENTITY_KEY = "nacos.core.auth.server.identity.key", "";
    IDENTITY_VALUE = "nacos.core.auth.server.identity.value", "";
    AGENT_WHITE = "nacos.core.auth.enable.userAgentAuthWhite", "false";
    ADMIN_PASSWORD = "nacre.auth.admin.password", "";
    CHECK_PEERS = "nacre.cluster.check-peers", "true";
    DATA_DIR = "nacre.data-dir", "";
    DURABILITY = "nacre.store.durability", "synced";
    STORE_INTERVAL = "nacre.store.interval-ms", "100";
    ON_FAILURE = "nacre.store.on-failure", "refuse";
    OPEN_TIMEOUT = "nacre.store.open-timeout-ms", "120000";
    COMPACT_MIN = "nacre.store.compact-min-bytes", "32MB";
    COMPACT_FACTOR = "nacre.store.compact-factor", "4";
    MAX_DOWNTIME = "nacre.restore.max-downtime-ms", "300000";
    PEER_WAIT = "nacre.restore.peer-wait-ms", "1000";
    DRAIN = "nacre.shutdown.drain-ms", "5000";
    EXPIRE = "nacos.naming.expireInstance", "true";
    CLEAN = "nacos.naming.empty-service.auto-clean", "true";
    CLEAN_DELAY = "nacos.naming.empty-service.clean.initial-delay-ms", "50000";
    CLEAN_PERIOD = "nacos.naming.empty-service.clean.period-time-ms", "30000";
    HEADER_SIZE = "server.max-http-header-size", "128KB";
    BODY_SIZE = "nacre.http.max-body-bytes", "8MB";
    PEER_BODY_SIZE = "nacre.cluster.max-body-bytes", "64MB";
    HEAD_TIMEOUT = "nacre.http.head-timeout-ms", "10000";
    BODY_TIMEOUT = "nacre.http.body-timeout-ms", "30000";
    IDLE_TIMEOUT = "nacre.http.idle-timeout-ms", "75000";
    CONNECTIONS = "server.tomcat.max-connections", "8192";
    QUEUE_LEN = "nacre.commit.queue-len", "16384";
    BATCH_ROWS = "nacre.commit.batch-rows", "4096";
    CORS = "nacre.cors.allow-origins", "";
    PUSH_ALLOW = "nacre.push.allow-client-ip", "";
    EXPOSE = "management.endpoints.web.exposure.include", "health";
    HIDE = "management.endpoints.web.exposure.exclude", "";
    METRICS_BIND = "nacre.metrics.bind", "";
    LOG_LEVEL = "nacre.log.level", "info";
    LOG_FORMAT = "nacre.log.format", "text";
    LOG_FILES = "nacre.log.files", "true";
    LOG_DIR = "nacre.log.dir", "";
    LOG_FILE_BYTES = "nacre.log.max-file-bytes", "16MB";
    LOG_DAYS = "nacre.log.max-days", "7";
    LOG_TOTAL_BYTES = "nacre.log.max-total-bytes", "64MB";
    ACCESS_LOG = "server.tomcat.accesslog.enabled", "false";
    ACCESS_DAYS = "server.tomcat.accesslog.max-days", "7";
    ACCESS_TOTAL_BYTES = "nacre.log.access-max-total-bytes", "256MB";
}
