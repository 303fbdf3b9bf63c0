//! How often the disk is synced under load, counted by strace: group commit in `synced`, not at all in `written`, and
//! not for subscriptions.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::form;
use crate::population::{register, say, skip};
use crate::server::Server;

const WRITERS: u64 = 64;
const LOAD: Duration = Duration::from_millis(2_500);

/// Counts of system calls.
#[derive(Debug, Default)]
struct Calls {
    fdatasync: u64,
    fsync: u64,
    sync_file_range: u64,
}

/// strace attached to a server.
struct Trace {
    child: Child,
    folder: TempDir,
}

impl Trace {
    /// Attaches, or says why it can't.
    fn of(server: &Server) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let messages = folder.path().join("messages");
        let errors = File::create(&messages).map_err(|error| error.to_string())?;
        let mut command = Command::new("strace");
        command
            .args(["-f", "-c", "-e", "trace=fdatasync,fsync,sync_file_range", "-o"])
            .arg(folder.path().join("counts"));
        command.args(["-p", &server.pid().to_string()]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(errors);
        let child = command.spawn().map_err(|error| format!("strace: {error}"))?;
        let mut trace = Self { child, folder };
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let told = fs::read_to_string(&messages).unwrap_or_default();
            if told.contains(" attached") {
                return Ok(trace);
            }
            let ended = trace.child.try_wait().is_ok_and(|status| status.is_some());
            if ended || Instant::now() > deadline {
                return Err(format!("strace does not attach: {}", told.trim()));
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Detaches and reads the table.
    fn counts(mut self) -> Calls {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-INT", &pid]).status().is_ok_and(|status| status.success()), "kill");
        self.child.wait().expect("strace ends");
        let file = File::open(self.folder.path().join("counts")).expect("the table of strace");
        let mut calls = Calls::default();
        for line in BufReader::new(file).lines() {
            let line = line.expect("a line");
            let words: Vec<&str> = line.split_whitespace().collect();
            let (Some(count), Some(name)) = (words.get(3).and_then(|word| word.parse().ok()), words.last()) else {
                continue;
            };
            match *name {
                "fdatasync" => calls.fdatasync = count,
                "fsync" => calls.fsync = count,
                "sync_file_range" => calls.sync_file_range = count,
                _ => {}
            }
        }
        calls
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // It has ended already unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a load came to: requests acknowledged, batches they were stored in, calls.
struct Load {
    requests: u64,
    batches: u64,
    calls: Calls,
}

fn load(durability: &str) -> Result<Load, String> {
    let mut server = Server::start(&["--durability", durability]);
    let trace = Trace::of(&server)?;
    let (requests, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (server, requests, stop) = (&server, &requests, &stop);
            scope.spawn(move || {
                let mut client = server.client();
                for slot in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let answer = register(&mut client, writer, slot % 1_000, slot).expect("an answer");
                    assert_eq!(answer.text(), "ok");
                    requests.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(LOAD);
        stop.store(true, Ordering::Relaxed);
    });
    let calls = trace.counts();
    server.kill9();
    server.restart();
    let report = server.restore_report();
    assert!(report["damage"].is_null(), "{report}");
    // Every batch has a number, beginning with 1.
    let batches = report["sequence"].as_u64().expect("a number");
    let load = Load { requests: requests.into_inner(), batches, calls };
    say(&format!(
        "sync test: {durability}: {} requests of {WRITERS} writers in {} batches: {:?}",
        load.requests, load.batches, load.calls
    ));
    Ok(load)
}

#[test]
fn a_batch_is_synced_once_and_written_ones_never() {
    let synced = match load("synced") {
        Ok(load) => load,
        Err(why) => return skip("the count of syncs", &why),
    };
    let Load { requests, batches, calls } = synced;
    assert!(calls.fdatasync > 0 && calls.fdatasync < requests / 2, "{} syncs of {requests} requests", calls.fdatasync);
    // The sidecar is synced once a second too.
    let more = LOAD.as_secs() + 5;
    assert!((batches..=batches + more).contains(&calls.fdatasync), "{} syncs of {batches} batches", calls.fdatasync);
    let Load { requests, batches, calls } = load("written").expect("strace attached before");
    assert!(requests > 0 && batches < requests, "{requests} requests in {batches} batches");
    assert_eq!(calls.fdatasync, 0, "written ones are not synced");
}

const SUBSCRIPTIONS: u16 = 1_000;

/// Asks for a list as 1,000 subscribers of 10 services do.
fn subscribe(server: &Server) {
    let mut client = server.client();
    let headers = [("User-Agent".to_owned(), "Nacos-Java-Client:v1.4.2".to_owned())];
    for at in 0..SUBSCRIPTIONS {
        let (service, port) = (format!("s{}", at % 10), (20_000 + at).to_string());
        let query = form(&[("serviceName", &*service), ("udpPort", &port), ("clientIP", "127.0.0.1")]);
        let answer = client.send("GET", &format!("/nacos/v1/ns/instance/list?{query}"), &headers, None);
        assert!(answer.expect("an answer").text().contains("10000"), "subscribed");
    }
    // Until the store has them.
    thread::sleep(Duration::from_secs(2));
}

#[test]
fn subscriptions_cost_no_sync_and_renewals_nothing() {
    let mut server = Server::start(&[]);
    let trace = Trace::of(&server);
    subscribe(&server);
    subscribe(&server);
    match trace.map(Trace::counts) {
        Ok(calls) => {
            say(&format!("sync test: {SUBSCRIPTIONS} subscriptions and as many renewals: {calls:?}"));
            assert_eq!(calls.fdatasync, 0);
            // Those that sled makes on its own, of every file that it fills.
            assert!(calls.fsync < 20, "{calls:?}");
        }
        Err(why) => skip("the count of syncs", &why),
    }
    let restart = |server: &mut Server| {
        server.kill9();
        server.restart();
        let report = server.restore_report();
        assert_eq!(
            (&report["damage"], report["rows"].as_u64()),
            (&serde_json::Value::Null, Some(SUBSCRIPTIONS.into()))
        );
        assert_eq!(report["rows"], report["subscriptions"], "{report}");
        report["sequence"].as_u64().expect("a number")
    };
    let batches = restart(&mut server);
    assert!(batches < u64::from(SUBSCRIPTIONS) / 4, "{batches} batches");
    subscribe(&server);
    assert_eq!(restart(&mut server), batches, "renewals, also of restored ones, store nothing");
}
