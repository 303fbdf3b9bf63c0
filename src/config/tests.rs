mod auth;
mod cluster;

use std::collections::BTreeSet;
use std::fs;

use tempfile::TempDir;

use super::*;
use crate::error::Error;

/// A home folder with this application.properties.
fn home_with(properties: &str) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("conf")).unwrap();
    fs::write(home.path().join("conf/application.properties"), properties).unwrap();
    home
}

fn flags(home: &TempDir) -> Flags {
    Flags { home: Some(home.path().to_owned()), ..Flags::default() }
}

fn env(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn load(properties: &str) -> Result<Config> {
    let home = home_with(properties);
    Config::load(&flags(&home), [])
}

/// The message of a refusal, with the path of the file replaced by FILE.
fn refused(properties: &str) -> String {
    let home = home_with(properties);
    let error = Config::load(&flags(&home), []).unwrap_err();
    assert!(matches!(error, Error::Setup(_)), "{error:?}");
    one_line(&error, &home)
}

fn one_line(error: &Error, home: &TempDir) -> String {
    assert!(!error.message().contains(char::is_control), "{error:?}");
    let conf = home.path().join("conf");
    let text = error.message().replace(conf.join("application.properties").to_str().unwrap(), "FILE");
    text.replace(conf.to_str().unwrap(), "CONF").replace(home.path().to_str().unwrap(), "HOME")
}

#[test]
fn first_of_flag_environment_file_default_wins() {
    let home = home_with("server.port=3\nnacre.log.format=json\n");
    let environment = env(&[("SERVER_PORT", "2")]);
    let with_flag = Flags { port: Some("1".to_owned()), ..flags(&home) };
    let ports = [
        Config::load(&with_flag, environment.clone()).unwrap().port,
        Config::load(&flags(&home), environment.clone()).unwrap().port,
        Config::load(&flags(&home), []).unwrap().port,
        load("").unwrap().port,
    ];
    assert_eq!(ports, [1, 2, 3, 8848]);
    let config = Config::load(&with_flag, environment).unwrap();
    let source = |key| config.settings.iter().find(|s| s.key == key).map(|s| s.source.to_string()).unwrap();
    assert_eq!(source("server.port"), "flag --port");
    assert!(source("nacre.log.format").ends_with("application.properties line 2"));
    assert_eq!(source("nacre.log.level"), "default");
}

#[test]
fn every_flag_sets_its_property() {
    let home = home_with("");
    let text = |value: &str| Some(value.to_owned());
    let given = Flags {
        bind: text("127.0.0.1"),
        ip: text("node-1.example"),
        data_dir: text("/nowhere/at/all"),
        durability: text("written"),
        members: vec!["node-1.example".to_owned(), "127.0.0.1:8848".to_owned()],
        metrics_bind: text("[::1]:9100"),
        log_level: text("debug"),
        log_format: text("json"),
        ..flags(&home)
    };
    let config = Config::load(&given, []).unwrap();
    assert_eq!(config.bind, Some("127.0.0.1".parse().unwrap()));
    assert_eq!(config.ip.as_deref(), Some("node-1.example"));
    assert_eq!(config.data_dir, Path::new("/nowhere/at/all"));
    assert_eq!(config.store.durability, Durability::Written);
    assert_eq!(config.members.iter().map(Member::to_string).collect::<Vec<_>>(), given_members());
    assert_eq!(config.metrics.bind, Some((Some("::1".parse().unwrap()), 9100)));
    assert_eq!((config.log.level, config.log.format), (LogLevel::Debug, LogFormat::Json));
    assert_eq!(config.home, home.path());
}

fn given_members() -> Vec<String> {
    vec!["node-1.example:8848".to_owned(), "127.0.0.1:8848".to_owned()]
}

#[test]
fn names_are_taken_loosely() {
    for name in ["server.servlet.contextPath", "server.servlet.context-path", "SERVER.servlet.context_path"] {
        assert_eq!(load(&format!("{name}=/x")).unwrap().context_path, "/x", "{name}");
    }
    let home = home_with("");
    for name in ["SERVER_SERVLET_CONTEXTPATH", "SERVER_SERVLET_CONTEXT_PATH", "server.servlet.contextPath"] {
        let config = Config::load(&flags(&home), env(&[(name, "/x")])).unwrap();
        assert_eq!(config.context_path, "/x", "{name}");
    }
    let config = Config::load(&flags(&home), env(&[("NACRE_STORE_DURABILITY", "Off")])).unwrap();
    assert_eq!(config.store.durability, Durability::Off);
}

#[test]
fn values_are_normalised() {
    for (text, path) in [("/", ""), ("", ""), ("/nacos/", "/nacos"), ("a/b", "/a/b")] {
        assert_eq!(load(&format!("server.servlet.contextPath={text}")).unwrap().context_path, path, "{text}");
    }
    for (text, bytes) in [("32768", 32_768), ("64KB", 65_536), ("1 mb", 1 << 20), ("1MiB", 1 << 20)] {
        let config = load(&format!("server.max-http-header-size={text}")).unwrap();
        assert_eq!(config.http.max_header_bytes, bytes, "{text}");
    }
    assert_eq!(load("server.address=[::1]").unwrap().bind, Some("::1".parse().unwrap()));
    assert_eq!(load("server.address=*").unwrap().bind, None);
    assert_eq!(load("nacos.inetutils.ip-address=10.0.0.1").unwrap().ip.as_deref(), Some("10.0.0.1"));
    assert_eq!(load("nacos.functionMode=naming").unwrap().function_mode, FunctionMode::Naming);
    let config = load("nacre.cors.allow-origins=https://A.example, http://b:1").unwrap();
    assert_eq!(config.http.cors_allow_origins, ["https://a.example", "http://b:1"]);
    let config = load("nacre.push.allow-client-ip=10.0.0.0/8, fd00::/8,192.168.1.7").unwrap();
    let networks: Vec<String> = config.push_allow_client_ip.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "fd00::/8", "192.168.1.7/32"]);
    assert!(!load("nacos.naming.expireInstance=No").unwrap().naming.expire_instance);
}

#[test]
fn blank_is_not_set() {
    assert_eq!(load("server.port=\nnacos.server.ip= \n").unwrap().port, 8848);
    let home = home_with("server.port=5");
    assert_eq!(Config::load(&flags(&home), env(&[("SERVER_PORT", " ")])).unwrap().port, 5);
}

#[test]
fn defaults_are_those_of_the_design() {
    let config = load("").unwrap();
    assert_eq!((config.port, config.bind, config.context_path.as_str()), (8848, None, "/nacos"));
    assert!(config.standalone && config.members.is_empty());
    assert_eq!(config.named_by, NamedBy::File);
    assert_eq!(config.data_dir, config.home.join("data"));
    let store = StoreSettings {
        durability: Durability::Synced,
        interval_ms: 100,
        on_failure: OnFailure::Refuse,
        open_timeout_ms: 120_000,
        compact_min_bytes: 32 << 20,
        compact_factor: 4,
    };
    assert_eq!(config.store, store);
    assert_eq!(config.restore, RestoreSettings { max_downtime_ms: 300_000, peer_wait_ms: 1000 });
    let cluster = ClusterSettings {
        max_failures: 3,
        dispatch_ms: 100,
        batch_keys: 1_000,
        sync_retry_ms: 1_000,
        load_wait_ms: 30_000,
        verify_interval_ms: 5_000,
        warmup: false,
    };
    assert_eq!(config.cluster, cluster);
    let http = HttpLimits {
        drain_ms: 5_000,
        max_header_bytes: 128 << 10,
        max_body_bytes: 8 << 20,
        max_peer_body_bytes: 64 << 20,
        head_timeout_ms: 10_000,
        body_timeout_ms: 30_000,
        idle_timeout_ms: 75_000,
        max_connections: 8192,
        cors_allow_origins: Vec::new(),
    };
    assert_eq!(config.http, http);
    assert_eq!(config.push_allow_client_ip, []);
    assert_eq!(config.raft, RaftSettings { election_timeout_ms: 1_000, snapshot_interval_s: 1_800 });
    assert_eq!(config.commit, CommitLimits { queue_len: 16_384, batch_rows: 4096 });
    let naming = NamingSettings {
        expire_instance: true,
        empty_service_clean: true,
        clean_initial_delay_ms: 50_000,
        clean_period_ms: 30_000,
    };
    assert_eq!(config.naming, naming);
    assert_eq!(config.metrics, MetricsSettings { info: false, prometheus: false, bind: None });
    let files = LogFileSettings {
        dir: config.home.join("logs"),
        file_bytes: 16 << 20,
        days: Some(7),
        total_bytes: 64 << 20,
        access: false,
        access_days: Some(7),
        access_total_bytes: 256 << 20,
    };
    let log = LogSettings { level: LogLevel::Info, filter: None, format: LogFormat::Text, files: Some(files) };
    assert_eq!(config.log, log);
}

#[test]
fn every_bad_value_says_key_value_source_and_what_is_allowed() {
    let cases = [
        ("server.port=65536", "a whole number from 0 to 65535"),
        ("server.port=+80", "a whole number from 0 to 65535"),
        ("server.address=example.org", "an IP address of this machine, localhost, or * for all addresses"),
        ("nacos.server.ip=1.2.3", "an IP address or a host name, without a port"),
        ("nacos.server.ip=a:8848", "an IP address or a host name, without a port"),
        ("nacos.functionMode=config", "blank or naming: this server does naming only"),
        ("nacos.standalone=maybe", "true or false"),
        ("nacos.member.list=a:b", "host:port, such as 192.168.16.101:8848 or [2001:db8::1]:8848"),
        ("nacos.core.member.fail-access-cnt=-1", "a whole number from 0 to 1000"),
        ("nacos.naming.distro.taskDispatchPeriod=9", "a whole number from 10 to 60000"),
        ("nacos.naming.distro.batchSyncKeyCount=0", "a whole number from 1 to 100000"),
        ("nacos.naming.distro.syncRetryDelay=600001", "a whole number from 10 to 600000"),
        ("nacos.naming.distro.loadDataRetryDelayMillis=x", "a whole number from 0 to 3600000"),
        ("nacos.core.protocol.distro.data.verify_interval_ms=99", "a whole number from 100 to 3600000"),
        ("nacos.naming.data.warmup=maybe", "true or false"),
        ("nacos.core.member.lookup.type=dns", "one of file, address-server"),
        ("nacos.core.protocol.raft.data.election_timeout_ms=100", "a whole number from 200 to 60000"),
        ("nacos.core.protocol.raft.data.snapshot_interval_secs=0", "a whole number from 1 to 604800"),
        ("nacos.core.auth.enabled=2", "true or false"),
        ("nacre.store.durability=fast", "one of synced, written, interval, off"),
        ("nacre.store.interval-ms=0", "a whole number from 1 to 60000"),
        ("nacre.store.on-failure=panic", "one of refuse, memory"),
        ("nacre.store.compact-factor=1", "a whole number from 2 to 1000"),
        ("nacre.restore.peer-wait-ms=-1", "a whole number from 0 to 600000"),
        ("server.max-http-header-size=31KB", "a number of bytes from 32KB to 16MB, such as 65536, 64KB or 1MB"),
        ("nacre.http.max-body-bytes=8TB", "a number of bytes from 64KB to 1GB, such as 65536, 64KB or 1MB"),
        ("nacre.http.max-body-bytes=MB", "a number of bytes from 64KB to 1GB, such as 65536, 64KB or 1MB"),
        ("server.tomcat.max-connections=-1", "a whole number from 1 to 1000000"),
        ("nacre.commit.queue-len=99999999999999999999", "a whole number from 1 to 1048576"),
        ("nacre.cors.allow-origins=x", "* or origins such as https://console.example:8443 with commas between"),
        (
            "nacre.push.allow-client-ip=10.0.0.0/33",
            "networks such as 10.0.0.0/8 or fd00::/8, or addresses, with commas between",
        ),
        ("nacre.metrics.bind=9100", "an IP address, localhost or *, a colon and a port, such as 127.0.0.1:9100"),
        ("nacre.metrics.bind=::1:9100", "an IP address, localhost or *, a colon and a port, such as 127.0.0.1:9100"),
        ("nacre.metrics.bind=a.b:9100", "an IP address, localhost or *, a colon and a port, such as 127.0.0.1:9100"),
        ("nacre.metrics.bind=*:65536", "an IP address, localhost or *, a colon and a port, such as 127.0.0.1:9100"),
        ("nacre.metrics.bind=*:8848", "another port than that of clients (server.port)"),
        ("nacre.log.level=loud", "one of off, error, warn, info, debug, trace"),
        ("nacre.log.format=xml", "one of text, json"),
        ("nacre.log.max-days=0", "a number of days from 1 to 3650, or -1 for ever"),
        ("server.tomcat.accesslog.max-days=x", "a number of days from 1 to 3650, or -1 for ever"),
        ("nacre.log.max-file-bytes=1", "a number of bytes from 4KB to 1024GB, such as 65536, 64KB or 1MB"),
    ];
    for (line, allowed) in cases {
        assert_eq!(refused(&format!("# first\n{line}")), format!("{line} (from FILE line 2): must be {allowed}"));
    }
    assert!(
        refused("server.servlet.contextPath=/a/../b").contains("(from FILE line 1): must be a path such as /nacos")
    );
    assert!(refused("nacre.log.level=a\\nb\\u001b").starts_with(r"nacre.log.level=a\nb\u{1b} (from FILE line 1)"));
    let long = refused(&format!("nacre.log.level={}", "x".repeat(5000)));
    assert!(long.len() < 300, "{long}");
}

#[test]
fn what_is_exposed_is_named_and_not_excluded() {
    for (include, exclude, info, prometheus) in [
        ("*", "", true, true),
        ("health, Prometheus", "", false, true),
        ("health,info,env,heapdump", "", true, false),
        ("*", "prometheus", true, false),
        ("info,prometheus", "*", false, false),
        ("prometheuses", "", false, false),
    ] {
        let base = "management.endpoints.web.exposure";
        let metrics = load(&format!("{base}.include={include}\n{base}.exclude={exclude}\n")).unwrap().metrics;
        assert_eq!((metrics.info, metrics.prometheus), (info, prometheus), "{include} without {exclude}");
    }
    let bind =
        |text: &str| load(&format!("server.address=127.0.0.1\nnacre.metrics.bind={text}\n")).unwrap().metrics.bind;
    assert_eq!(bind("*:9100"), Some((None, 9100)));
    assert_eq!(bind("localhost:0"), Some((Some("127.0.0.1".parse().unwrap()), 0)));
    assert_eq!(bind("127.0.0.2:8848"), Some((Some("127.0.0.2".parse().unwrap()), 8848)));
}

#[test]
fn logs_go_where_they_are_told_or_nowhere() {
    let home = home_with("nacre.log.dir=there\nserver.tomcat.accesslog.max-days=-1\n");
    let files = Config::load(&flags(&home), []).unwrap().log.files.unwrap();
    assert_eq!((files.dir, files.access_days), (home.path().join("there"), None));
    assert_eq!(load("nacre.log.files=false\nnacre.log.dir=conf/application.properties").unwrap().log.files, None);
    assert!(refused("nacre.log.dir=conf/application.properties").ends_with("must be a folder, but this is a file"));
}

#[test]
fn bad_flags_and_variables_are_named() {
    let home = home_with("");
    let flag = Flags { port: Some("x".to_owned()), ..flags(&home) };
    let error = Config::load(&flag, []).unwrap_err();
    assert_eq!(error.message(), "server.port=x (from flag --port): must be a whole number from 0 to 65535");
    let error = Config::load(&flags(&home), env(&[("SERVER_PORT", "tcp://10.0.0.1:80")])).unwrap_err();
    assert!(error.message().starts_with("server.port=tcp://10.0.0.1:80 (from environment variable SERVER_PORT)"));
}

#[test]
fn unknown_names_of_ours_are_refused_with_the_nearest() {
    assert_eq!(
        refused("\n\nnacre.store.durabilty=off"),
        "nacre.store.durabilty (FILE line 3): no such property, did you mean nacre.store.durability?"
    );
    let home = home_with("");
    let error = Config::load(&flags(&home), env(&[("NACRE_STORE_DURABILTY", "off")])).unwrap_err();
    assert_eq!(
        error.message(),
        "environment variable NACRE_STORE_DURABILTY: no such property, did you mean nacre.store.durability?"
    );
    // Set by Kubernetes for a service called nacre.
    let config = Config::load(&flags(&home), env(&[("NACRE_SERVICE_HOST", "10.0.0.1")])).unwrap();
    assert_eq!(config.notes.len(), 1);
}

#[test]
fn unknown_names_of_nacos_and_spring_are_accepted() {
    let config = load("db.num=1\nnacos.istio.mcp.server.enabled=false\nserver.ssl.enabled=true\n").unwrap();
    let levels: Vec<NoteLevel> = config.notes.iter().map(|note| note.level).collect();
    assert_eq!(levels, [NoteLevel::Debug, NoteLevel::Debug, NoteLevel::Warn], "{:?}", config.notes);
    assert!(refused("nacos.home=/x").ends_with("is set by --home or NACOS_HOME only"));
}

#[test]
fn references_are_replaced() {
    let config = load("base=88\nserver.port=${base}${tail}\ntail=${none:49}\n").unwrap();
    assert_eq!(config.port, 8849);
    let home = home_with("server.port=${MY_PORT:${fallback}}\nfallback=7\n");
    assert_eq!(Config::load(&flags(&home), env(&[("MY_PORT", "9")])).unwrap().port, 9);
    let home = home_with("nacre.commit.queue-len=${server.port}\nserver.port=5\n");
    assert_eq!(Config::load(&flags(&home), env(&[("SERVER_PORT", "6")])).unwrap().commit.queue_len, 6);
    assert_eq!(load("nacre.commit.queue-len=${server.port}").unwrap().commit.queue_len, 8848);
}

#[test]
fn references_that_lead_nowhere_are_refused() {
    assert_eq!(
        refused("a=${b}\nb=${a}\nserver.port=${a}"),
        "server.port=${a} (from FILE line 3): ${a} refers back to itself: server.port -> a -> b -> a"
    );
    assert_eq!(refused("server.port=${x}"), "server.port=${x} (from FILE line 1): ${x} is not set anywhere");
    assert_eq!(refused("server.port=${x"), "server.port=${x (from FILE line 1): a ${ without its }");
    let chain: String = (0..20).map(|n| format!("k{n}=${{k{}}}\n", n + 1)).collect();
    assert!(refused(&format!("{chain}server.port=${{k0}}")).contains("more than 16 ${...} within each other"));
    let wide: String = (0..10).map(|n| format!("k{n}={}\n", format!("${{k{}}}", n + 1).repeat(100))).collect();
    assert!(refused(&format!("{wide}k10=\nserver.port=${{k0}}")).contains("1000 in all"));
    let long = format!("k={}\nserver.port={}\n", "x".repeat(1000), "${k}".repeat(100));
    assert!(refused(&long).contains("grows beyond 65536 bytes"));
}

#[test]
fn the_file_is_in_the_properties_format() {
    let config = load("! note\n # C:\\users\\\nserver.port : 88\\\n  49\nnacre.data-dir=\\u00e9 ü\r\n").unwrap();
    assert_eq!(config.port, 8849);
    assert_eq!(config.data_dir, config.home.join("é ü"));
    assert_eq!(load("server.port=9\\").unwrap().port, 9);
    assert_eq!(load("server.port=\\\r\n#\r\n").unwrap_err().message().lines().count(), 1);
    assert_eq!(refused("a=1\nserver.port=\\u12"), "FILE line 2: malformed \\uXXXX, four hex digits are wanted");
    let twice = load("server.port=1\nserver.PORT=2").unwrap();
    assert_eq!((twice.port, twice.notes.len()), (2, 1));
}

#[test]
fn bytes_that_are_not_utf_8_matter_only_in_properties() {
    let home = home_with("");
    let path = home.path().join("conf/application.properties");
    fs::write(&path, b"# \xb6\xcb\xbf\xda\nserver.port=7\n").unwrap();
    assert_eq!(Config::load(&flags(&home), []).unwrap().port, 7);
    fs::write(&path, b"# \xb6\xcb\nnacre.data-dir=\xb6\n").unwrap();
    let error = Config::load(&flags(&home), []).unwrap_err();
    assert_eq!(one_line(&error, &home), "FILE line 2: not UTF-8; use \\uXXXX or save it as UTF-8");
    fs::write(&path, vec![b'#'; (1 << 20) + 1]).unwrap();
    let error = Config::load(&flags(&home), []).unwrap_err();
    assert_eq!(one_line(&error, &home), "FILE can't be read: it is larger than 1048576 bytes");
}

#[test]
fn folders_that_are_none_are_refused() {
    let home = home_with("nacre.data-dir=conf/application.properties");
    let error = Config::load(&flags(&home), []).unwrap_err();
    assert!(error.message().ends_with("must be a folder, but this is a file"), "{error}");
    let file = Flags { home: Some(home.path().join("conf/application.properties")), ..Flags::default() };
    let error = Config::load(&file, []).unwrap_err();
    assert_eq!(one_line(&error, &home), "nacos.home=FILE (from flag --home): must be a folder, but this is a file");
    let home = tempfile::tempdir().unwrap();
    fs::create_dir_all(home.path().join("conf/application.properties")).unwrap();
    let error = Config::load(&flags(&home), []).unwrap_err();
    assert!(one_line(&error, &home).starts_with("FILE can't be read: "), "{error}");
}

#[test]
fn home_is_found_and_need_not_exist() {
    let home = home_with("server.port=4");
    let path = home.path().to_str().unwrap();
    let config = Config::load(&Flags::default(), env(&[("NACOS_HOME", path)])).unwrap();
    assert_eq!((config.home.as_path(), config.port), (home.path(), 4));
    assert_eq!(config.conf_dir(), home.path().join("conf"));
    let missing = Flags { home: Some(home.path().join("later")), ..Flags::default() };
    assert_eq!(Config::load(&missing, []).unwrap().port, 8848);
    assert!(!home.path().join("later").exists());
}

#[test]
fn rust_log_counts_unless_a_flag_gives_the_level() {
    let home = home_with("nacre.log.level=warn");
    let environment = env(&[("RUST_LOG", "debug")]);
    let config = Config::load(&flags(&home), environment.clone()).unwrap();
    assert_eq!(config.log.filter.as_deref(), Some("debug"));
    let flag = Flags { log_level: Some("error".to_owned()), ..flags(&home) };
    let config = Config::load(&flag, environment).unwrap();
    assert_eq!((config.log.level, config.log.filter), (LogLevel::Error, None));
}

#[test]
fn the_shipped_file_lists_every_property_with_its_default() {
    let shipped = include_str!("../../conf/application.properties");
    let lines: Vec<&str> = shipped.lines().collect();
    let mut listed = BTreeSet::new();
    for (number, line) in lines.iter().enumerate() {
        let Some((key, default)) = line.strip_prefix('#').and_then(|line| line.split_once('=')) else { continue };
        if key.starts_with([' ', '-']) {
            continue;
        }
        let meaning = lines[number - 1].strip_prefix("# ").unwrap_or_default();
        assert!(meaning.len() > 10, "{key} has no meaning");
        assert!(listed.insert((key, default)), "{key} is there twice");
    }
    let known: BTreeSet<(&str, &str)> = KEYS.iter().map(|key| (key.name, key.default)).collect();
    assert_eq!(listed, known);
    let read: BTreeSet<(&str, &str)> = KEYS.iter().map(|key| (key.name, key.default)).collect();
    let config = load(shipped).unwrap();
    assert!(config.settings.iter().all(|setting| setting.source == Source::Default));
    assert_eq!(
        config.settings.iter().map(|setting| (setting.key, setting.value.as_str())).collect::<BTreeSet<_>>(),
        read
    );
    assert_eq!(config.settings.len(), KEYS.len());
}

#[test]
fn the_shipped_file_without_its_comment_marks_changes_nothing() {
    let bare: String = include_str!("../../conf/application.properties")
        .lines()
        .filter_map(|line| line.strip_prefix('#').filter(|line| !line.starts_with([' ', '-'])))
        .map(|line| format!("{line}\n"))
        .collect();
    let (home, empty) = (home_with(&bare), load("").unwrap());
    let config = Config::load(&flags(&home), []).unwrap();
    assert_eq!(config.notes, []);
    let (home, data_dir, log) = (empty.home.clone(), empty.data_dir.clone(), empty.log.clone());
    let same = Config { home, data_dir, log, settings: vec![], ..config };
    assert_eq!(same, Config { settings: vec![], ..empty });
}
