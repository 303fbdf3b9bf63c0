//! `nacre load` and `nacre drill` as processes, against the real server.

use std::path::Path;
use std::process::{Command, Output};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::server::{Server, free_port};

fn tool(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nacre"));
    // What a drill keeps for its user goes with the test.
    let folder = tempfile::tempdir().expect("a temporary folder");
    command.env_remove("NACRE_PASSWORD").env("TMPDIR", folder.path()).args(arguments);
    command.output().expect("the binary runs")
}

fn shown(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The report of `load`, and its exit code.
fn load(server: &Server, arguments: &[&str]) -> (Option<i32>, Value) {
    let url = format!("http://{}", server.address());
    let output = tool(
        &[&["load", "--server", &url, "--json", "-", "--connections", "8", "--warm-up", "0s"], arguments].concat(),
    );
    let report = serde_json::from_slice(&output.stdout);
    (output.status.code(), report.unwrap_or_else(|error| panic!("{error}: {}", shown(&output))))
}

#[test]
fn every_scenario_is_counted_and_verified() {
    let server = Server::start(&["--durability", "written"]);
    for scenario in ["register", "beat-full", "beat-light", "list", "mixed", "churn"] {
        let size = ["--scenario", scenario, "--services", "20", "--instances", "5", "--count", "1000"];
        let (code, report) = load(&server, &size);
        assert_eq!(code, Some(0), "{report:#}");
        assert_eq!((&report["total"]["good"], &report["fault_count"]), (&1_000.into(), &0.into()), "{report:#}");
        let found = &report["verification"];
        assert_eq!((&found["missing"], &found["undead"]), (&0.into(), &0.into()), "{report:#}");
        let there = found["registered"].as_u64().unwrap() + found["deregistered"].as_u64().unwrap();
        assert_eq!(there, 100, "{report:#}");
        let latency = &report["total"]["latency"];
        let ms = |name: &str| latency[name].as_f64().unwrap();
        assert!(ms("p50_ms") > 0.0 && ms("p50_ms") <= ms("p99_ms") && ms("p99_ms") <= ms("max_ms"), "{latency}");
    }
    let left = server.client().get("/nacos/v1/ns/instance/list?serviceName=nacre-load-1-00000").unwrap();
    assert!(left.text().contains(r#""hosts":[]"#), "instances are left: {}", left.text());
}

#[test]
fn an_open_loop_sends_at_its_rate() {
    let server = Server::start(&["--durability", "off"]);
    let rate = ["--scenario", "beat-light", "--services", "5", "--instances", "4", "--rate", "500", "--duration", "2s"];
    let (code, report) = load(&server, &rate);
    assert_eq!((code, &report["total"]["good"]), (Some(0), &1_000.into()), "{report:#}");
    let took = report["measured_s"].as_f64().unwrap();
    assert!((1.99..6.0).contains(&took), "{report:#}");
}

/// Waits until that many instances are there.
fn wait_for_instances(server: &Server, wanted: u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let answer = server.client().get("/nacos/v1/ns/operator/metrics").expect("an answer");
        let metrics: Value = serde_json::from_slice(&answer.body).expect("JSON");
        if metrics["instanceCount"].as_u64() >= Some(wanted) {
            return;
        }
        assert!(Instant::now() < deadline, "fewer than {wanted} instances: {metrics}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Registers for 6 s, with a kill after the first and a restart in between; exit code and report.
fn load_over_a_kill(durability: &str) -> (Option<i32>, Value) {
    let mut server = Server::start(&["--durability", durability]);
    let size =
        ["--scenario", "register", "--services", "100", "--instances", "40", "--rate", "600", "--duration", "6s"];
    let url = server.address().to_string();
    let command =
        [&["load", "--server", &url, "--json", "-", "--connections", "8", "--warm-up", "0s"], &size[..]].concat();
    let command: Vec<String> = command.into_iter().map(str::to_owned).collect();
    let load = thread::spawn(move || tool(&command.iter().map(String::as_str).collect::<Vec<_>>()));
    wait_for_instances(&server, 600);
    server.kill9();
    server.restart();
    let output = load.join().expect("the load ends");
    let report = serde_json::from_slice(&output.stdout);
    (output.status.code(), report.unwrap_or_else(|error| panic!("{error}: {}", shown(&output))))
}

#[test]
fn a_load_finds_what_a_killed_server_has_forgotten() {
    let (code, report) = load_over_a_kill("off");
    let found = &report["verification"];
    assert_eq!(code, Some(1), "{report:#}");
    assert!(found["missing"].as_u64() > Some(200) && !found["examples"].as_array().unwrap().is_empty(), "{report:#}");

    let (code, report) = load_over_a_kill("synced");
    let found = &report["verification"];
    assert_eq!((code, &found["missing"]), (Some(0), &0.into()), "{report:#}");
    assert!(found["registered"].as_u64() > Some(500) && report["fault_count"].as_u64() > Some(0), "{report:#}");
}

#[test]
fn tools_refuse_what_they_should_not_do() {
    let nobody = format!("http://127.0.0.1:{}", free_port());
    for (arguments, code, said) in [
        (&["load", "--server", "http://192.0.2.1:8848"][..], 2, "--allow-remote"),
        (&["drill", "--start", "true", "--server", "http://192.0.2.1:8848"], 2, "--allow-remote"),
        (&["load", "--server", &nobody], 3, "connection refused"),
        (&["load", "--server", &nobody, "--rate", "0"], 2, "--rate"),
        (&["load", "--server", &nobody, "--duration", "1d"], 2, "span of time"),
        (&["drill", "--server", &nobody, "--start", "echo hello; exit 3"], 3, "exit status: 3"),
        (&["drill", "--server", &nobody, "--start", "true", "--kill", "STOP"], 2, "--kill"),
        (&["drill", "--server", &nobody, "--start", "true", "--clients", "2"], 2, "--services"),
    ] {
        let output = tool(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", shown(&output));
        let line = String::from_utf8_lossy(&output.stderr);
        assert!(line.contains(said) && line.lines().count() == 1, "{arguments:?}: {line}");
    }
    let server = Server::start(&["--durability", "off"]);
    let taken = tool(&["drill", "--server", &server.address().to_string(), "--start", "true"]);
    assert!(taken.status.code() == Some(2) && shown(&taken).contains("listens"), "{}", shown(&taken));
    assert!(server.client().get("/nacos/v1/console/health/readiness").is_ok(), "a stranger's server was stopped");
}

#[test]
fn tools_log_in() {
    let password = "a-Long-1-Password";
    let server = Server::configured(&["--auth"], &format!("nacre.auth.admin.password={password}\n"));
    let url = server.address().to_string();
    let size =
        ["load", "--server", &url, "--services", "4", "--instances", "2", "--connections", "4", "--count", "200"];
    let login = |password| tool(&[&size[..], &["--username", "nacos", "--password", password]].concat());
    let good = login(password);
    assert_eq!(good.status.code(), Some(0), "{}", shown(&good));
    assert_eq!(login("wrong").status.code(), Some(3));
    let nobody = tool(&size);
    assert!(nobody.status.code() == Some(3) && shown(&nobody).contains("403"), "{}", shown(&nobody));
}

#[test]
fn a_drill_keeps_its_password_and_its_log_to_itself() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let mut drill = Command::new(env!("CARGO_BIN_EXE_nacre"));
    drill.env("NACRE_PASSWORD", "geheim").env("TMPDIR", folder.path());
    let nobody = format!("http://127.0.0.1:{}", free_port());
    drill.args(["drill", "--server", &nobody, "--start", "env; exit 3"]);
    let output = drill.output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(3), "{}", shown(&output));
    let logs: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(logs.len(), 1, "{logs:?}");
    let log = std::fs::read_to_string(&logs[0]).unwrap();
    assert!(log.contains("TMPDIR=") && !log.contains("geheim"), "{log}");
    assert_eq!(logs[0].metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(shown(&output).contains(logs[0].to_str().unwrap()), "{}", shown(&output));
}

/// A small drill of a server with this durability: exit code, report, page.
fn drill(folder: &TempDir, durability: &str) -> (Option<i32>, Value, String) {
    let path = |name: &str| folder.path().join(name).display().to_string();
    let url = format!("http://127.0.0.1:{}", free_port());
    let (_, port) = url.rsplit_once(':').unwrap();
    let (binary, home) = (env!("CARGO_BIN_EXE_nacre"), path(durability));
    std::fs::create_dir(&home).unwrap();
    let start =
        format!("exec '{binary}' serve --home '{home}' --bind 127.0.0.1 --port {port} --durability {durability}");
    let (json, html) = (path("report.json"), path("report.html"));
    let size = "--clients 20 --services 4 --beat-interval 500ms --settle 1500ms --down 600ms --patience 30s";
    let size: Vec<&str> = size.split(' ').collect();
    let to = ["--json", &json, "--html", &html, "--server-log", &path("server.log"), "--label", "<b>ours</b>"];
    let output = tool(&[&["drill", "--server", &url, "--start", &start], &size[..], &to].concat());
    let read = |file: &str| {
        std::fs::read_to_string(Path::new(file)).unwrap_or_else(|error| panic!("{error}: {}", shown(&output)))
    };
    let report = serde_json::from_str(&read(&json)).expect("the report is JSON");
    let gone = std::net::TcpStream::connect(("127.0.0.1", port.parse().unwrap()));
    assert!(gone.is_err(), "the server of the drill still runs");
    (output.status.code(), report, read(&html))
}

#[test]
fn a_drill_shows_the_losses_of_a_server_that_stores_nothing() {
    let (code, report, page) = drill(&tempfile::tempdir().unwrap(), "off");
    let figures = &report["rounds"][0]["figures"];
    assert_eq!((code, &report["good"]), (Some(1), &false.into()), "{figures:#}");
    assert_eq!(figures["max_missing"], 20, "{figures:#}");
    assert_eq!(figures["first_missing"], 20, "{figures:#}");
    assert_eq!((&figures["reregistrations"], &figures["unknown_beats"]), (&20.into(), &20.into()), "{figures:#}");
    assert!(figures["empty_lists"].as_u64() >= Some(4), "{figures:#}");
    // On average half an interval each.
    let missing = figures["missing_instance_s"].as_f64().unwrap();
    assert!((1.0..20.0).contains(&missing), "{figures:#}");
    assert_eq!(report["reasons"].as_array().map(Vec::len), Some(2), "{report:#}");
    assert!(report["rounds"][0]["settled"] == true && figures["gap_ms"].is_u64(), "{figures:#}");
    assert!(page.contains("<svg") && page.contains("Beyond the limits") && page.contains("&lt;b&gt;ours&lt;/b&gt;"));
    assert!(!page.contains("<b>ours</b>") && !page.contains("<script") && !page.contains("NaN"));
}

#[test]
fn a_drill_shows_no_loss_of_a_server_that_stores_everything() {
    let (code, report, page) = drill(&tempfile::tempdir().unwrap(), "synced");
    let figures = &report["rounds"][0]["figures"];
    assert_eq!((code, &report["good"]), (Some(0), &true.into()), "{report:#}");
    for name in ["max_missing", "first_missing", "reregistrations", "unknown_beats", "empty_lists"] {
        assert_eq!(figures[name], 0, "{name}: {figures:#}");
    }
    assert_eq!(figures["missing_instance_s"], 0.0, "{figures:#}");
    assert!(figures["refused_lists"].as_u64() > Some(0), "the server was not stopped: {figures:#}");
    for name in ["gone_ms", "start_to_first_answer_ms", "start_to_first_list_ms", "start_to_ready_ms", "gap_ms"] {
        assert!(figures[name].is_u64(), "{name}: {figures:#}");
    }
    let changes = report["rounds"][0]["changes"].as_array().unwrap();
    assert!(changes.len() == 4 && report["rounds"][0]["push_before_ms"].is_u64(), "{report:#}");
    assert!(page.contains("Within the limits") && page.matches("<svg").count() == 3);
}
