//! The command line of the real binary: what it prints where, and its exit codes.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

#[path = "cli/bench.rs"]
mod bench;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Runs nacre with no environment of ours and, so that it always ends, only with arguments that don't serve.
fn nacre(directory: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nacre"));
    command.env_clear().envs(environment.iter().copied()).current_dir(directory).args(arguments);
    command.output().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

/// The one line on standard error of a run that ended with this code and printed nothing else.
fn refusal(output: &Output, code: i32) -> &str {
    let text = std::str::from_utf8(&output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert_eq!(stdout(output), "");
    assert!(text.starts_with("nacre: ") && text.ends_with('\n') && text.lines().count() == 1, "{text:?}");
    text.trim_end()
}

fn home_with(properties: &str) -> TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("conf")).unwrap();
    fs::write(home.path().join("conf/application.properties"), properties).unwrap();
    home
}

#[test]
fn help_teaches() {
    let home = home_with("");
    for arguments in [&["--help"][..], &["serve", "--help"], &["help", "serve"]] {
        let output = nacre(home.path(), arguments, &[]);
        assert_eq!(output.status.code(), Some(0));
        assert!(output.stderr.is_empty());
        for word in ["--home", "--durability", "--member", "--check-config", "Examples:", "Exit codes:", "NACOS_HOME"] {
            assert!(stdout(&output).contains(word), "{arguments:?}: {word}");
        }
    }
}

#[test]
fn completions_and_the_manual_page_know_the_flags() {
    let home = home_with("");
    for (arguments, word) in [
        (&["completions", "bash"][..], "--durability"),
        (&["completions", "zsh"], "--durability"),
        (&["completions", "fish"], "durability"),
        (&["man"], "\\-\\-durability"),
    ] {
        let output = nacre(home.path(), arguments, &[]);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(output.stderr.is_empty());
        assert!(stdout(&output).contains(word) && stdout(&output).contains("nacre"), "{arguments:?}");
    }
    assert!(refusal(&nacre(home.path(), &["completions", "cmd"], &[]), 2).contains("'cmd'"));
}

#[test]
fn version_is_that_of_the_package() {
    let home = home_with("");
    let output = nacre(home.path(), &["--version"], &[]);
    assert_eq!((output.status.code(), stdout(&output)), (Some(0), concat!("nacre ", env!("CARGO_PKG_VERSION"), "\n")));
}

#[test]
fn check_config_shows_what_is_in_effect() {
    let home = home_with("server.tomcat.max-connections=7\nserver.ssl.enabled=true\n");
    let environment = [("SERVER_SERVLET_CONTEXT_PATH", "/x")];
    for arguments in [&["--check-config", "--port", "9"][..], &["serve", "--port=9", "--check-config"]] {
        let output = nacre(home.path(), arguments, &environment);
        assert_eq!(output.status.code(), Some(0));
        assert!(output.stderr.is_empty());
        let text = stdout(&output);
        assert!(text.contains("server.port=9    (from flag --port)\n"), "{text}");
        assert!(text.contains("=/x    (from environment variable SERVER_SERVLET_CONTEXT_PATH)\n"), "{text}");
        assert!(text.contains("max-connections=7    (from ") && text.contains("application.properties line 1)\n"));
        assert!(text.contains("\nnacre.store.durability=synced\n"), "{text}");
        assert!(text.contains("# warning: server.ssl.enabled"), "{text}");
    }
    assert!(!home.path().join("data").exists(), "looking must not create anything");
}

#[test]
fn bad_configuration_is_one_line_and_2() {
    let home = home_with("nacre.store.durabilty=off\n");
    let path = home.path();
    for check in [&["--check-config"][..], &[]] {
        let run = |arguments: &[&str]| nacre(path, &[arguments, check].concat(), &[]);
        let port = "nacre: server.port=99999 (from flag --port): must be a whole number from 0 to 65535";
        assert_eq!(refusal(&run(&["--home", "conf", "--port", "99999"]), 2), port);
        let unknown = run(&[]);
        assert!(refusal(&unknown, 2).ends_with("did you mean nacre.store.durability?"));
        let file = run(&["--home", "conf/application.properties"]);
        assert!(refusal(&file, 2).ends_with("(from flag --home): must be a folder, but this is a file"));
        let below = run(&["--home", "conf/application.properties/x"]);
        assert!(refusal(&below, 2).contains("(from flag --home): must be a folder that can be read"));
    }
    let log = nacre(path, &["--home", "conf"], &[("RUST_LOG", "nacre=loud")]);
    assert!(refusal(&log, 2).starts_with("nacre: RUST_LOG=nacre=loud: must be"));
}

#[cfg(unix)]
#[test]
fn an_unreadable_file_is_not_taken_for_a_missing_one() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = home_with("");
    let path = home.path().join("conf/application.properties");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::read(&path).is_ok() {
        // Permissions don't bind the superuser: take a file that nobody can read.
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
    }
    let output = nacre(home.path(), &["--check-config"], &[]);
    assert!(refusal(&output, 2).contains("application.properties can't be read: "));
}

#[test]
fn wrong_usage_is_one_line_and_2() {
    let home = home_with("");
    let run = |arguments: &[&str]| nacre(home.path(), arguments, &[]);
    let typed = run(&["--prot", "1"]);
    let line = refusal(&typed, 2);
    assert!(line.contains("'--prot'") && line.contains("'--port'") && line.ends_with("(see nacre --help)"), "{line}");
    assert!(refusal(&run(&["sreve"]), 2).contains("'sreve'"));
    assert!(refusal(&run(&["--port"]), 2).contains("--port <N>"));
    assert!(refusal(&run(&["--port", "1", "--port", "2"]), 2).contains("--port <N>"));
    assert!(refusal(&run(&["--bad\nflag"]), 2).contains("see nacre --help"));
}

#[test]
fn what_is_not_built_is_refused() {
    let home = home_with("nacos.core.member.lookup.type=address-server\n");
    let lookup = nacre(home.path(), &[], &[]);
    let text = refusal(&lookup, 2);
    assert!(text.starts_with("nacre: nacos.core.member.lookup.type=address-server (from "), "{text}");
}

/// One persistent instance as a real Nacos keeps it.
fn nacos_data(home: &Path) -> std::path::PathBuf {
    let folder = home.join("nacos/data/naming");
    fs::create_dir_all(folder.join("data/public")).unwrap();
    let key = "com.alibaba.nacos.naming.iplist.public##DEFAULT_GROUP@@orders";
    let record =
        format!(r#"{{"key":"{key}","value":{{"instanceList":[{{"ip":"10.0.0.1","port":80}}]}},"timestamp":0}}"#);
    fs::write(folder.join("data/public").join(key), record).unwrap();
    folder
}

#[test]
fn store_tools_from_one_end_to_the_other() {
    let home = home_with("");
    let run = |arguments: &[&str]| nacre(home.path(), &[&["store"], arguments].concat(), &[]);
    let done = |arguments: &[&str]| {
        let output = run(arguments);
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        stdout(&output).to_owned()
    };
    let nacos = nacos_data(home.path());
    assert!(done(&["import", "data", nacos.to_str().unwrap()]).contains("1 persistent instances"));
    assert!(refusal(&run(&["import", "data", nacos.to_str().unwrap()]), 1).contains("--merge"));
    assert!(done(&["inspect", "--home", "."]).contains("1 services in 1 namespaces"));
    let shown: serde_json::Value = serde_json::from_str(&done(&["inspect", "data", "--json"])).unwrap();
    assert_eq!((&shown["rows"], &shown["kinds"]["persistentInstances"]), (&2.into(), &1.into()));
    assert!(done(&["verify", "data"]).contains("sound, 2 rows"));
    assert!(done(&["compact", "data"]).starts_with("2 rows: "));
    let lines = done(&["export", "data"]);
    assert_eq!((lines.lines().count(), done(&["export", "--home", ".", "-"]).lines().count()), (4, 4));
    assert_eq!(done(&["export", "--home", ".", "all.jsonl"]), "");
    assert!(done(&["import", "new", "all.jsonl"]).starts_with("imported 2 rows from all.jsonl"));
    assert_eq!(done(&["export", "new"]).lines().nth(2), lines.lines().nth(2));
    // Damage: one bit in the middle of the file.
    let current = fs::read_to_string(home.path().join("new/CURRENT")).unwrap();
    let db = home.path().join("new").join(current.trim()).join("db");
    let mut bytes = fs::read(&db).unwrap();
    let middle = bytes.iter().rposition(|byte| *byte != 0).unwrap() / 2;
    bytes[middle] ^= 1;
    fs::write(&db, bytes).unwrap();
    let verdict = run(&["verify", "new"]);
    assert_eq!(verdict.status.code(), Some(1), "{verdict:?}");
    assert!(stdout(&verdict).contains("damaged") && stdout(&verdict).contains("/db byte "), "{verdict:?}");
    let shown = run(&["verify", "new", "--json"]);
    assert_eq!(shown.status.code(), Some(1));
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&shown.stdout).unwrap()["sound"], false);
    assert!(refusal(&run(&["compact", "new"]), 1).contains("the store is damaged"));
    assert!(refusal(&run(&["export", "new"]), 1).contains("the store is damaged"));
}

#[test]
fn store_tools_refuse_in_one_line() {
    let home = home_with("");
    let run = |arguments: &[&str]| nacre(home.path(), &[&["store"], arguments].concat(), &[]);
    fs::create_dir(home.path().join("data")).unwrap();
    for (arguments, code, said) in [
        (&["verify"][..], 2, "name the data folder, or --home"),
        (&["verify", "--home", ".", "data"], 2, "name no data folder"),
        (&["import", "--home", ".", "data", "x"], 2, "name no data folder"),
        (&["import", "data"], 2, "name what to import"),
        (&["import"], 2, "required"),
        (&["vrify", "data"], 2, "'verify'"),
        (&["verify", "data"], 1, "there is no store in data"),
        (&["verify", "nowhere"], 1, "nowhere is no folder"),
        (&["import", "data", "nowhere"], 1, "nowhere can't be read"),
    ] {
        let output = run(arguments);
        assert!(refusal(&output, code).contains(said), "{arguments:?}: {output:?}");
    }
    let lock = fs::File::create(home.path().join("data/lock")).unwrap();
    fs::write(home.path().join("data/lock"), "4711\n").unwrap();
    lock.lock().unwrap();
    for command in ["inspect", "verify", "export", "compact"] {
        let line = "nacre: the data folder data is in use by another process (process 4711)";
        assert_eq!(refusal(&run(&[command, "data"]), 1), line, "{command}");
    }
    assert!(refusal(&run(&["import", "data", "nowhere"]), 1).contains("in use by another process"));
}

#[test]
fn an_import_that_is_killed_leaves_nothing() {
    let home = home_with("");
    let mut command = Command::new(env!("CARGO_BIN_EXE_nacre"));
    command.env_clear().current_dir(home.path()).args(["store", "import", "data", "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, "{{\"nacre\":\"export\",\"format\":1,\"lastAliveMs\":1,\"rows\":1000000}}").unwrap();
    for n in 0..20_000 {
        writeln!(input, "{{\"kind\":\"role\",\"role\":\"r\",\"user\":\"u{n}\",\"created\":1}}").unwrap();
    }
    let half_written = home.path().join("data/store-000002/db");
    let deadline = Instant::now() + Duration::from_secs(20);
    while fs::metadata(&half_written).map_or(0, |found| found.len()) < 100_000 {
        assert!(Instant::now() < deadline, "rows are written while more come in");
        std::thread::sleep(Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let verdict = nacre(home.path(), &["store", "verify", "data"], &[]);
    assert!(stdout(&verdict).contains("sound, 0 rows"), "{verdict:?}");
    let again = nacre(home.path(), &["store", "import", "data", nacos_data(home.path()).to_str().unwrap()], &[]);
    assert!(stdout(&again).starts_with("imported 2 rows"), "{again:?}");
}
