//! The page that Prometheus reads, from the real binary: all of it parses, counts follow the traffic, and clients can't
//! make it grow.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use openmetrics_parser::prometheus::parse_prometheus;
use openmetrics_parser::{PrometheusType, PrometheusValue};

use crate::client::{Client, form};
use crate::server::{Server, free_port};

const PAGE: &str = "/nacos/actuator/prometheus";
/// Lines of the configuration that open the page.
pub(crate) const OPENED: &str = "management.endpoints.web.exposure.include=health,prometheus\n";

/// One page: every figure by name and labels, such as `a_count{b="c"}`.
pub(crate) struct Page {
    figures: BTreeMap<String, f64>,
    kinds: BTreeMap<String, PrometheusType>,
}

impl Page {
    /// That of a server with [`OPENED`].
    pub(crate) fn of(server: &Server) -> Self {
        Self::read(&mut server.client(), PAGE)
    }

    fn read(client: &mut Client, path: &str) -> Self {
        let answer = client.get(path).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("Content-Type"), Some("text/plain;version=0.0.4;charset=utf-8"));
        Self::parse(&answer.text())
    }

    fn parse(text: &str) -> Self {
        let exposition = parse_prometheus(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let (mut figures, mut kinds) = (BTreeMap::new(), BTreeMap::new());
        for (name, family) in &exposition.families {
            kinds.insert(name.clone(), family.family_type.clone());
            assert!(!family.help.is_empty(), "{name} is not explained");
            for sample in family.iter_samples() {
                let set = sample.get_labelset().expect("labels");
                let labels = set.iter();
                let labels: Vec<String> = labels.map(|(name, value)| format!("{name}=\"{value}\"")).collect();
                let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
                let mut put = |suffix: &str, value: f64| {
                    let known = figures.insert(format!("{name}{suffix}{labels}"), value);
                    assert_eq!(known, None, "{name}{suffix}{labels} stands twice");
                };
                match &sample.value {
                    PrometheusValue::Counter(counter) => put("", counter.value.as_f64()),
                    PrometheusValue::Gauge(value) => put("", value.as_f64()),
                    PrometheusValue::Summary(summary) => {
                        put("_count", summary.count.expect("a count") as f64);
                        put("_sum", summary.sum.as_ref().expect("a sum").as_f64());
                    }
                    PrometheusValue::Histogram(histogram) => {
                        put("_count", histogram.count.expect("a count") as f64);
                        put("_sum", histogram.sum.as_ref().expect("a sum").as_f64());
                    }
                    PrometheusValue::Unknown(_) => panic!("{name} has no type"),
                }
            }
        }
        Self { figures, kinds }
    }

    pub(crate) fn get(&self, name: &str) -> f64 {
        let found = self.figures.get(name).copied();
        found.unwrap_or_else(|| panic!("no {name} in {:#?}", self.figures.keys().collect::<Vec<_>>()))
    }

    fn monitor(&self, module: &str, name: &str) -> f64 {
        self.get(&format!("nacos_monitor{{module=\"{module}\",name=\"{name}\"}}"))
    }

    /// Requests of that kind.
    fn requests(&self, method: &str, outcome: &str, status: u16, path: &str) -> f64 {
        let labels = format!(
            "{{exception=\"None\",method=\"{method}\",outcome=\"{outcome}\",status=\"{status}\",uri=\"{path}\"}}"
        );
        let name = |part: &str| format!("http_server_requests_seconds{part}{labels}");
        let Some(count) = self.figures.get(&name("_count")).copied() else { return 0.0 };
        let (sum, max) = (self.get(&name("_sum")), self.get(&name("_max")));
        assert!(sum > 0.0 && max <= sum && sum <= max * count * 1.000_001, "{labels}: {count} {sum} {max}");
        count
    }

    fn names(&self) -> BTreeSet<&String> {
        self.figures.keys().collect()
    }
}

fn send(client: &mut Client, method: &str, path: &str, pairs: &[(&str, &str)]) -> u16 {
    let target = format!("/nacos/v1/ns/{path}?{}", form(pairs));
    client.send(method, &target, &[], None).expect("an answer").status
}

fn instance(port: &str) -> [(&str, &str); 3] {
    [("serviceName", "s"), ("ip", "10.0.0.1"), ("port", port)]
}

#[test]
fn every_name_that_dashboards_read_is_there_with_a_sane_value() {
    let server = Server::configured(&[], OPENED);
    let mut client = server.client();
    for port in ["1", "2"] {
        assert_eq!(send(&mut client, "POST", "instance", &instance(port)), 200);
    }
    let page = Page::read(&mut client, PAGE);
    for (name, value) in [
        ("mysqlhealthCheck", 0.0),
        ("httpHealthCheck", 0.0),
        ("tcpHealthCheck", 0.0),
        ("serviceCount", 1.0),
        ("domCount", 1.0),
        ("ipCount", 2.0),
        ("maxPushCost", -1.0),
        ("avgPushCost", -1.0),
        ("totalPush", 0.0),
        ("failedPush", 0.0),
        ("leaderStatus", 0.0),
    ] {
        assert_eq!(page.monitor("naming", name), value, "{name}");
    }
    for name in ["getConfig", "publish", "longPolling", "configCount", "notifyTask", "dumpTask"] {
        assert_eq!(page.monitor("config", name), 0.0, "{name}");
    }
    assert!(!page.kinds.contains_key("nacos_exception_total"), "it appears at the first event");
    let memory = server.memory_kib("VmRSS") as f64 * 1_024.0;
    let heap = |what: &str| page.get(&format!("jvm_memory_{what}_bytes{{area=\"heap\",id=\"process\"}}"));
    assert!((memory * 0.5..memory * 2.0).contains(&heap("used")), "{} of {memory}", heap("used"));
    assert!(heap("used") <= heap("committed") && heap("committed") < heap("max"));
    for (name, least, most) in [
        ("system_cpu_usage", 0.0, 1.0),
        ("process_cpu_usage", 0.0, 1.0),
        ("system_cpu_count", 1.0, 4_096.0),
        ("system_load_average_1m", 0.0, 10_000.0),
        ("process_uptime_seconds", 0.0, 300.0),
        ("process_start_time_seconds", 1.7e9, 1e11),
        ("process_files_open_files", 5.0, 500.0),
        ("jvm_threads_live_threads", 5.0, 100.0),
        ("jvm_threads_daemon_threads", 4.0, 99.0),
        ("jvm_gc_pause_seconds_count{action=\"none\",cause=\"none\"}", 0.0, 0.0),
        ("jvm_gc_pause_seconds_sum{action=\"none\",cause=\"none\"}", 0.0, 0.0),
        ("nacre_store_healthy", 1.0, 1.0),
        ("nacre_store_rows", 2.0, 10.0),
        ("nacre_store_batch_rows_sum", 2.0, 10.0),
        ("nacre_store_sync_seconds_count", 1.0, 100.0),
        ("nacre_store_file_bytes", 1.0, 1e9),
        ("nacre_store_info{durability=\"synced\",on_failure=\"refuse\"}", 1.0, 1.0),
        ("nacre_restore_damaged", 0.0, 0.0),
        ("nacre_cluster_members{state=\"UP\"}", 1.0, 1.0),
        ("nacre_commit_commands_total{kind=\"register\",result=\"changed\"}", 2.0, 2.0),
        ("nacre_commit_wait_seconds_count", 2.0, 2.0),
        ("nacre_commit_wait_seconds_sum", 1e-6, 60.0),
        ("nacre_commit_queue_length", 0.0, 0.0),
        ("nacre_commit_queue_capacity", 16_384.0, 16_384.0),
        ("nacre_http_connections", 1.0, 3.0),
        ("nacre_http_requests_in_flight", 1.0, 1.0),
        ("nacre_push_subscriptions", 0.0, 0.0),
        ("nacre_instances{ephemeral=\"true\",healthy=\"true\"}", 2.0, 2.0),
        ("nacre_instances{ephemeral=\"false\",healthy=\"true\"}", 0.0, 0.0),
    ] {
        let value = page.get(name);
        assert!((least..=most).contains(&value), "{name} is {value}");
    }
}

#[test]
fn counts_follow_the_traffic_and_a_restart() {
    let mut server = Server::configured(&["--durability", "written"], OPENED);
    let mut client = server.client();
    assert_eq!(send(&mut client, "POST", "instance", &instance("1")), 200);
    let before = Page::read(&mut client, PAGE);
    for _ in 0..3 {
        assert_eq!(send(&mut client, "PUT", "instance/beat", &instance("1")), 200);
        assert_eq!(send(&mut client, "GET", "instance/list", &instance("1")), 200);
    }
    assert_eq!(send(&mut client, "PUT", "instance/beat", &instance("2")), 200);
    assert_eq!(send(&mut client, "POST", "instance", &[]), 400);
    assert_eq!(send(&mut client, "DELETE", "instance", &instance("7")), 200);
    let after = Page::read(&mut client, PAGE);
    for (method, outcome, status, path, more) in [
        ("PUT", "SUCCESS", 200, "/v1/ns/instance/beat", 4.0),
        ("GET", "SUCCESS", 200, "/v1/ns/instance/list", 3.0),
        ("POST", "CLIENT_ERROR", 400, "/v1/ns/instance", 1.0),
        ("POST", "SUCCESS", 200, "/v1/ns/instance", 0.0),
        ("GET", "SUCCESS", 200, "/actuator/prometheus", 1.0),
    ] {
        let [before, after] = [&before, &after].map(|page| page.requests(method, outcome, status, path));
        assert_eq!(after - before, more, "{method} {status} {path}");
    }
    assert_eq!(after.get("nacre_beats_total{code=\"10200\"}"), 3.0);
    assert_eq!(after.get("nacre_beats_total{code=\"20404\"}"), 1.0);
    assert_eq!(after.get("nacre_commit_commands_total{kind=\"deregister\",result=\"unchanged\"}"), 1.0);
    // Everything that counts up says so, and nothing of it went back.
    for (name, value) in before.figures.iter().filter(|(name, _)| name.contains("_total") || name.contains("_count")) {
        assert!(after.get(name) >= *value, "{name}");
    }
    server.kill9();
    server.restart();
    let page = Page::read(&mut server.client(), PAGE);
    assert_eq!((page.monitor("naming", "ipCount"), page.get("nacre_restore_skipped_rows")), (1.0, 0.0));
    assert!(page.get("nacre_restore_rows") >= 1.0 && page.get("nacre_restore_downtime_seconds") < 60.0);
    assert_eq!(page.requests("PUT", "SUCCESS", 200, "/v1/ns/instance/beat"), 0.0);
}

#[test]
fn what_clients_ask_for_adds_no_names() {
    let server = Server::configured(&[], OPENED);
    let mut client = server.client();
    let ask =
        |client: &mut Client, method: &str, path: &str| client.send(method, path, &[], None).expect("an answer").status;
    // One request of each kind, so that their labels are there.
    for (method, path) in [("GET", "/nacos/x"), ("GET", "/x"), ("GET", "/nacos/v1/ns/x"), ("BREW", "/nacos/x")] {
        ask(&mut client, method, path);
    }
    for path in ["/nacos//x", PAGE] {
        ask(&mut client, "GET", path);
    }
    let before = Page::read(&mut client, PAGE);
    for number in 0..50 {
        assert_eq!(ask(&mut client, "GET", &format!("/nacos/x{number}")), 404);
        assert_eq!(ask(&mut client, "GET", &format!("/x{number}%22%7D%0A")), 400);
        assert_eq!(ask(&mut client, "GET", &format!("/nacos/v1/ns/{number}\"\\/{number}")), 400);
        assert_eq!(ask(&mut client, "GET", &format!("/nacos/v1/ns/{number}")), 501);
        assert_eq!(ask(&mut client, &format!("BREW{number}"), "/nacos/x"), 404);
    }
    let after = Page::read(&mut client, PAGE);
    assert_eq!(before.names(), after.names());
    let unmatched = |page: &Page| page.requests("GET", "CLIENT_ERROR", 404, "/**");
    assert_eq!(unmatched(&after) - unmatched(&before), 50.0);
    assert_eq!(after.requests("OTHER", "CLIENT_ERROR", 404, "/**"), 51.0);
    // An operator's limit ends requests with any status that he likes; its label is the class.
    for status in [418, 419, 299] {
        let limit = format!("/nacos/v1/ns/service/names:{status}");
        let set = [("entry", "limitedUrlMap"), ("value", limit.as_str()), ("debug", "true")];
        assert_eq!(send(&mut client, "PUT", "operator/switches", &set), 200);
        assert_eq!(send(&mut client, "GET", "service/names", &[]), status);
    }
    let last = Page::read(&mut client, PAGE);
    let count = |outcome, class| {
        let labels = format!("method=\"GET\",outcome=\"{outcome}\",status=\"{class}\",uri=\"/v1/ns/service/names\"");
        last.get(&format!("http_server_requests_seconds_count{{exception=\"None\",{labels}}}"))
    };
    assert_eq!((count("CLIENT_ERROR", "4xx"), count("SUCCESS", "2xx")), (2.0, 1.0));
}

#[test]
fn closed_as_shipped_and_opened_by_name() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for path in [PAGE, "/nacos/actuator/info"] {
        assert_eq!(client.get(path).expect("an answer").status, 404, "{path}");
    }
    let links = |server: &Server| {
        let answer = server.client().get("/nacos/actuator").expect("an answer");
        let json: serde_json::Value = serde_json::from_slice(&answer.body).expect("JSON");
        let links = json["_links"].as_object().expect("an object").clone();
        links.into_iter().map(|(name, _)| name).collect::<BTreeSet<_>>()
    };
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(links(&server), set(&["self", "health"]));
    let server = Server::configured(&[], "management.endpoints.web.exposure.include=*\n");
    assert_eq!(links(&server), set(&["self", "health", "info", "prometheus"]));
    let info = server.client().get("/nacos/actuator/info").expect("an answer").text();
    assert!(info.contains("\"name\":\"nacre\""), "{info}");
    for path in ["env", "heapdump", "threaddump", "loggers", "beans"] {
        assert_eq!(server.client().get(&format!("/nacos/actuator/{path}")).expect("an answer").status, 404, "{path}");
    }
}

#[test]
fn with_authentication_the_page_needs_a_login_but_not_on_its_own_port() {
    let port = free_port();
    let properties = format!("{OPENED}nacre.auth.admin.password=sesame-sesame\nnacre.metrics.bind=127.0.0.1:{port}\n");
    let server = Server::configured(&["--auth"], &properties);
    let mut client = server.client();
    assert_eq!(client.get(PAGE).expect("an answer").status, 403);
    let page = Page::read(&mut client, &format!("{PAGE}?username=nacos&password=sesame-sesame"));
    assert_eq!(page.requests("GET", "CLIENT_ERROR", 403, "/actuator/prometheus"), 1.0);
    let mut alone = Client::new(SocketAddr::from(([127, 0, 0, 1], port)));
    for path in [PAGE, "/actuator/prometheus"] {
        Page::read(&mut alone, path);
    }
    let text = alone.get(PAGE).expect("an answer").text();
    assert!(!text.contains("sesame") && !text.contains("127.0.0.1"), "{text}");
}

#[test]
fn a_listener_of_its_own_serves_figures_and_nothing_else() {
    let port = free_port();
    let bind = format!("127.0.0.1:{port}");
    let server = Server::start(&["--metrics-bind", &bind]);
    let mut alone = Client::new(SocketAddr::from(([127, 0, 0, 1], port)));
    let page = Page::read(&mut alone, "/actuator/prometheus");
    assert_eq!(page.get("nacre_http_requests_in_flight"), 0.0, "those of clients");
    for path in ["/actuator/health", "/nacos/actuator/health"] {
        let answer = alone.get(path).expect("an answer");
        assert_eq!((answer.status, answer.text().as_str()), (200, "{\"status\":\"UP\"}"));
    }
    for path in ["/", "/nacos/", "/nacos/v1/ns/service/list?pageNo=1&pageSize=1", "/nacos/actuator", "/actuator/env"] {
        assert_eq!(alone.get(path).expect("an answer").status, 404, "{path}");
    }
    let posted = alone.send("POST", "/nacos/v1/ns/instance?serviceName=s&ip=1.1.1.1&port=1", &[], None);
    assert_eq!(posted.expect("an answer").status, 404);
    assert_eq!(server.client().get(PAGE).expect("an answer").status, 404, "closed on the port for clients");
    // Whoever comes second is told which port.
    let home = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new("timeout")
        .args(["-s", "KILL", "20", env!("CARGO_BIN_EXE_nacre"), "--bind", "127.0.0.1", "--port", "0"])
        .args(["--metrics-bind", &bind, "--home"])
        .arg(home.path())
        .env_clear()
        .output()
        .expect("the binary runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("nacre: {bind} is in use by another process")), "{text}");
    assert!(!home.path().join("data").exists(), "it has not come as far as the data");
}

#[test]
fn silence_and_checks_are_counted() {
    let server = Server::configured(&[], OPENED);
    let mut client = server.client();
    let metadata = "preserved.heart.beat.timeout=300,preserved.ip.delete.timeout=600";
    let silent = [&instance("1")[..], &[("metadata", metadata)]].concat();
    assert_eq!(send(&mut client, "POST", "instance", &silent), 200);
    let port = server.address().port().to_string();
    let checked = [("serviceName", "p"), ("ip", "127.0.0.1"), ("port", port.as_str()), ("ephemeral", "false")];
    assert_eq!(send(&mut client, "POST", "instance", &checked), 200);
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let page = Page::read(&mut client, PAGE);
        let expired = page.get("nacre_expiry_instances_total{verdict=\"expired\"}");
        if expired == 1.0 && page.get("nacre_checks_total{kind=\"tcp\"}") >= 1.0 {
            assert!(page.get("nacre_expiry_instances_total{verdict=\"faded\"}") <= 1.0);
            assert!(page.monitor("naming", "tcpHealthCheck") >= 1.0);
            assert_eq!(page.get("nacre_instances{ephemeral=\"false\",healthy=\"true\"}"), 1.0);
            return;
        }
        assert!(Instant::now() < deadline, "{:#?}", page.figures);
        thread::sleep(Duration::from_millis(100));
    }
}
