//! Log files of the real binary: which lines go where and how they look, what is kept, and what can't be forged.

use std::collections::BTreeMap;
use std::fs;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use regex::Regex;

use crate::client::{Answer, Client, encode, form};
use crate::server::Server;

/// Off by default.
pub(crate) const ACCESS: &str = "server.tomcat.accesslog.enabled=true\n";
const WAIT: Duration = Duration::from_secs(20);

/// The files below `logs/` by name.
pub(crate) fn log_files(server: &Server) -> BTreeMap<String, String> {
    let Ok(folder) = fs::read_dir(server.home().join("logs")) else { return BTreeMap::new() };
    let read = |entry: fs::DirEntry| {
        let text = String::from_utf8_lossy(&fs::read(entry.path()).expect("a log file")).into_owned();
        (entry.file_name().into_string().expect("a plain name"), text)
    };
    folder.map(|entry| read(entry.expect("an entry"))).collect()
}

/// The log of that name; empty while there is none.
fn log(server: &Server, name: &str) -> String {
    log_files(server).remove(&format!("{name}.log")).unwrap_or_default()
}

/// All of the access log.
fn access_log(server: &Server) -> String {
    log_files(server).into_iter().filter(|(name, _)| name.starts_with("access_log.")).map(|(_, text)| text).collect()
}

fn wait_for(what: &str, test: impl Fn() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !test() {
        assert!(Instant::now() < deadline, "{what} not within {WAIT:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn send(client: &mut Client, method: &str, path: &str, pairs: &[(&str, &str)]) -> Answer {
    client.send(method, &format!("/nacos/v1/ns/{path}?{}", form(pairs)), &[], None).expect("an answer")
}

fn register(client: &mut Client, name: &str, metadata: &str) {
    let pairs = [("serviceName", name), ("ip", "10.0.0.1"), ("port", "80"), ("metadata", metadata)];
    assert_eq!(send(client, "POST", "instance", &pairs).text(), "ok");
}

#[test]
fn changes_are_in_the_files_of_nacos_with_the_words_that_people_look_for() {
    let mut server = Server::configured(
        &[],
        "nacos.naming.empty-service.clean.initial-delay-ms=10\nnacos.naming.empty-service.clean.period-time-ms=200\n",
    );
    let mut client = server.client();
    let silent = "preserved.heart.beat.timeout=600,preserved.ip.delete.timeout=8000";
    register(&mut client, "orders", silent);
    let has = |name: &str, words: &str| log(&server, name).contains(words);
    wait_for("an unhealthy instance", || has("naming-event", "{IP-DISABLED}"));
    let beat = [("serviceName", "orders"), ("ip", "10.0.0.1"), ("port", "80")];
    assert_eq!(send(&mut client, "PUT", "instance/beat", &beat).status, 200);
    wait_for("a healthy instance", || has("naming-event", "{IP-ENABLED}"));
    wait_for("the end of the service", || has("naming-server", "services are automatically cleaned"));
    assert_eq!(send(&mut client, "POST", "instance", &[("serviceName", "orders")]).status, 400);
    assert!(server.term().success(), "{}", server.log());

    let place = "namespace: public, service: DEFAULT_GROUP@@orders";
    for (name, words) in [
        ("nacos", "Nacos started successfully in stand alone mode. use embedded storage"),
        ("nacos", "INFO stopped"),
        ("nacos-cluster", "[serverlist] updated to : ["),
        ("naming-event", &format!("[IP-UPDATED] {{IP-NEW}} {place}, ip: 10.0.0.1:80@DEFAULT")),
        ("naming-event", &format!("{{IP-DISABLED}} {place}, ip: 10.0.0.1:80@DEFAULT, no beat came")),
        ("naming-event", &format!("{{IP-ENABLED}} {place}, ip: 10.0.0.1:80@DEFAULT, a beat came")),
        ("naming-event", &format!("[IP-UPDATED] {{IP-DEAD}} {place}, ip: 10.0.0.1:80@DEFAULT")),
        ("naming-server", &format!("[NEW-SERVICE] {place}")),
        ("naming-server", &format!("[AUTO-DELETE-IP] {place}, ip: 10.0.0.1:80@DEFAULT")),
        ("naming-server", &format!("[DEAD-SERVICE] {place}")),
        ("naming-server", "POST /nacos/v1/ns/instance?serviceName=orders from 127.0.0.1 answered 400: caused: "),
    ] {
        assert!(log(&server, name).contains(words), "{words} is not in {name}.log:\n{}", log(&server, name));
    }
    let line = Regex::new(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (ERROR|WARN|INFO) \S").expect("an expression");
    for (name, text) in log_files(&server).iter().filter(|(name, _)| !name.starts_with("access_log.")) {
        assert!(
            text.ends_with("\n\n") && text.trim_end().split("\n\n").all(|one| line.is_match(one)),
            "{name}:\n{text}"
        );
    }
    assert!(!server.log().contains("IP-DISABLED"), "changes are not for the console:\n{}", server.log());
}

#[test]
fn each_request_is_a_line_in_the_form_of_the_reference() {
    let mut server = Server::configured(&[], ACCESS);
    let mut client = server.client();
    let headers = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let agent = headers(&[("User-Agent", "curl/7.88.1")]);
    let nodes = client.send("GET", "/nacos/v1/core/cluster/simple/nodes", &agent, None).expect("an answer");
    let source = headers(&[("User-Agent", "Nacos-Java-Client:v1.4.2"), ("Request-Source", "Naming é\t\"x")]);
    let list = "/nacos/v1/ns/instance/list?serviceName=a&accessToken=geheim&password=geheim";
    client.send("GET", list, &source, None).expect("an answer");
    let forged = format!("/nacos/v1/ns/instance?serviceName={}&ip=1.1.1.1&port=1", encode("a\n1.1.1.1 - - \u{1b}[31m"));
    assert_eq!(client.send("POST", &forged, &[], None).expect("an answer").status, 400);
    assert!(server.term().success(), "{}", server.log());
    let log = access_log(&server);
    let start = r"(?m)^127\.0\.0\.1 - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}\] ";
    let bytes = nodes.body.len();
    for line in [
        format!(r#""GET /nacos/v1/core/cluster/simple/nodes HTTP/1\.1" 200 {bytes} \d+ curl/7\.88\.1 -$"#),
        r#""GET \S+\?serviceName=a&accessToken=\*\*\*&password=\*\*\* HTTP/1\.1" 200 \d+ \d+ Nacos-Java-Client:v1\.4\.2 Naming \\xc3\\xa9\\x09\\"x$"#.to_owned(),
        r#""POST /nacos/v1/ns/instance\?serviceName=a%0A\S+ HTTP/1\.1" 400 \d+ \d+ - -$"#.to_owned(),
    ] {
        assert!(Regex::new(&format!("{start}{line}")).expect("an expression").is_match(&log), "{line}\n{log}");
    }
    for (name, text) in log_files(&server) {
        assert!(!text.contains('\u{1b}') && !text.contains("geheim"), "{name}: {text}");
        let forged = text.lines().filter(|line| line.starts_with("1.1.1.1")).count();
        assert_eq!(forged, 0, "{name}: {text}");
    }
}

#[test]
fn files_are_rolled_and_only_so_much_is_kept() {
    let properties = format!("{ACCESS}nacre.log.max-file-bytes=4KB\nnacre.log.access-max-total-bytes=32KB\n");
    let mut server = Server::start_with(&[], |home| {
        fs::create_dir(home.join("conf")).expect("a folder for the configuration");
        fs::write(home.join("conf/application.properties"), properties).expect("a configuration file");
        fs::create_dir(home.join("logs")).expect("a folder for logs");
        for name in ["nacos.log.2020-01-01.0", "access_log.2020-01-01.log", "notes.log.2020-01-01.0"] {
            fs::write(home.join("logs").join(name), "old\n").expect("an old file");
        }
    });
    let mut client = server.client();
    for number in 0..600 {
        client.get(&format!("/nacos/v1/ns/instance/list?serviceName=service-{number}")).expect("an answer");
        if number % 100 == 99 {
            // Longer than lines wait, so that they are written in several turns.
            std::thread::sleep(Duration::from_millis(120));
        }
    }
    assert!(server.term().success(), "{}", server.log());
    let files = log_files(&server);
    assert!(files.contains_key("notes.log.2020-01-01.0") && !files.contains_key("nacos.log.2020-01-01.0"));
    let access: Vec<(&String, usize)> = files
        .iter()
        .filter(|(name, _)| name.starts_with("access_log."))
        .map(|(name, text)| (name, text.len()))
        .collect();
    let name = Regex::new(r"^access_log\.\d{4}-\d\d-\d\d\.log(\.\d+)?$").expect("an expression");
    assert!(access.iter().all(|(file, bytes)| name.is_match(file) && *bytes <= 4096), "{access:?}");
    let total: usize = access.iter().map(|(_, bytes)| bytes).sum();
    assert!((16 << 10..=32 << 10).contains(&total), "{access:?}");
    let log = access_log(&server);
    assert!(log.contains("serviceName=service-599 ") && !log.contains("serviceName=service-1 "), "the oldest go first");
    assert!(log.lines().all(|line| line.starts_with("127.0.0.1 - - [") && line.ends_with(" - -")), "{log}");
}

#[test]
fn levels_of_files_change_while_the_server_runs() {
    let mut server = Server::start(&[]);
    let mut client = server.client();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(WAIT)).expect("a time limit");
    let port = socket.local_addr().expect("an address").port().to_string();
    let agent = [("User-Agent".to_owned(), "Nacos-Java-Client:v1.4.2".to_owned())];
    let query = form(&[("serviceName", "orders"), ("udpPort", &port), ("clientIP", "127.0.0.1")]);
    let list = format!("/nacos/v1/ns/instance/list?{query}");
    let change = |client: &mut Client, name: &str| {
        client.send("GET", &list, &agent, None).expect("an answer");
        register(client, "orders", name);
        socket.recv(&mut [0; 65_536]).expect("a datagram");
    };
    change(&mut client, "number=1");
    assert_eq!(
        send(&mut client, "PUT", "operator/log", &[("logName", "naming-push"), ("logLevel", "DEBUG")]).text(),
        "ok"
    );
    assert_eq!(log(&server, "naming-push"), "");
    change(&mut client, "number=2");
    wait_for("the push in its log", || log(&server, "naming-push").contains("DEBUG pushed to=127.0.0.1:"));
    assert_eq!(
        send(&mut client, "PUT", "operator/log", &[("logName", "naming-event"), ("logLevel", "OFF")]).text(),
        "ok"
    );
    let before = log(&server, "naming-event");
    change(&mut client, "number=3");
    assert!(server.term().success(), "{}", server.log());
    assert_eq!(log(&server, "naming-event").matches("[IP-UPDATED]").count(), 2, "{before}");
}

#[test]
fn a_folder_that_cannot_be_written_stops_nobody() {
    let mut server = Server::start_with(&[], |home| fs::write(home.join("logs"), "").expect("a file in the way"));
    let mut client = server.client();
    for _ in 0..100 {
        register(&mut client, "orders", "");
    }
    assert!(server.term().success(), "{}", server.log());
    assert_eq!(server.whole_log().matches("log files can't be written").count(), 1, "{}", server.log());
}

#[test]
fn without_files_there_are_none() {
    let mut server = Server::configured(&[], "nacre.log.files=false\n");
    register(&mut server.client(), "orders", "");
    assert!(server.term().success(), "{}", server.log());
    assert!(!server.home().join("logs").exists());
    assert!(server.log().contains("[IP-UPDATED] {IP-NEW}"), "the console has it all:\n{}", server.log());
    let mut server = Server::configured(&["--log-format", "json"], "");
    register(&mut server.client(), "orders", "");
    assert!(server.term().success(), "{}", server.log());
    assert_eq!(access_log(&server), "");
    let line: serde_json::Value = serde_json::from_str(&log(&server, "naming-event")).expect("JSON");
    assert!(line["message"].as_str().is_some_and(|text| text.starts_with("[IP-UPDATED]")), "{line}");
}
