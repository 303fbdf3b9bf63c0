//! What is in the way of a start gets one clear line and an exit code, and the data stay as they are. And the end: a
//! stop is quick, clean and loses nothing.

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::population::{Population, list_target, listed, place, register, shape};
use crate::server::{Server, free_port};

const PEOPLE: Population = Population { services: 5, size: 10 };
const IDLE_CONNECTIONS: usize = 50;
/// Waiting for the connections would cost the 5 s that requests in flight have.
const STOPPED_WITHIN: Duration = Duration::from_secs(4);
const WRITERS: u64 = 8;
/// Until every writer has had an answer.
const FIRST_ANSWERS: Duration = Duration::from_secs(20);
/// To give up on a start that should have failed.
const TIME_TO_FAIL_S: &str = "20";

/// Runs the binary until it ends.
fn run(arguments: &[&str], home: &Path) -> Output {
    let mut command = Command::new("timeout");
    command
        .args(["-s", "KILL", TIME_TO_FAIL_S, env!("CARGO_BIN_EXE_nacre"), "--bind", "127.0.0.1", "--home"])
        .arg(home);
    command.args(arguments).env_clear().output().expect("the binary runs")
}

/// Starts where it must not, and returns the one line that says why.
fn refused(code: i32, arguments: &[&str], home: &Path) -> String {
    let port = free_port().to_string();
    let port: &[&str] = if arguments.contains(&"--port") { &[] } else { &["--port", &port] };
    let output = run(&[port, arguments].concat(), home);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert!(output.stdout.is_empty());
    let (plain, logged): (Vec<&str>, Vec<&str>) = text.lines().partition(|line| line.starts_with("nacre: "));
    assert_eq!(plain.len(), 1, "{text}");
    // Before it fails it may log what it does, but no more faults.
    assert!(!logged.iter().any(|line| line.contains("ERROR") || line.contains("panicked")), "{text}");
    plain[0].to_owned()
}

/// Every file below a folder, with what is in it.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.clone(), fs::read(&path).expect("a file"));
            }
        }
    }
    found
}

fn is_complete(server: &Server) {
    let mut client = server.client();
    for number in 0..PEOPLE.services {
        assert_eq!(listed(&client.get(&list_target(number)).expect("an answer")), PEOPLE.wanted(number));
    }
}

#[test]
fn a_second_process_is_refused_and_the_first_goes_on() {
    let mut server = Server::start(&[]);
    PEOPLE.register(&server);
    let line = refused(1, &[], &server.home());
    assert!(line.contains("is in use by another process") && line.contains(&server.pid().to_string()), "{line}");
    let other = tempfile::tempdir().expect("a temporary folder");
    let line = refused(1, &["--port", &server.address().port().to_string()], other.path());
    assert_eq!(line, format!("nacre: {} is in use by another process", server.address()));
    assert!(!other.path().join("data").exists(), "it has not come as far as the data");
    is_complete(&server);
    server.kill9();
    server.restart();
    assert!(server.restore_report()["damage"].is_null(), "{}", server.restore_report());
    is_complete(&server);
}

#[test]
fn a_data_folder_that_cannot_be_used_is_one_line() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let file = home.path().join("file");
    fs::write(&file, "not a folder").expect("a file");
    let link = home.path().join("loop");
    std::os::unix::fs::symlink(&link, &link).expect("a link to itself");
    for (folder, said) in [
        (file.clone(), "must be a folder, but this is a file"),
        (file.join("below"), "must be a folder that can be read"),
        (link, "must be a folder that can be read"),
    ] {
        let name = folder.to_str().expect("a plain path");
        let line = refused(2, &["--data-dir", name], home.path());
        assert!(line.contains(name) && line.contains(said), "{line}");
    }
    assert_eq!(fs::read(&file).expect("still a file"), b"not a folder");
    // What the configuration can't see shows when the folder is taken. Permissions don't bind root: a folder in place of a file that has to be written.
    let data = home.path().join("data");
    fs::create_dir_all(data.join("lock")).expect("a folder");
    let line = refused(1, &[], home.path());
    assert!(line.contains("can't be used"), "{line}");
    assert_eq!(fs::read_dir(&data).expect("a folder").count(), 1, "nothing was added");
}

/// A file system that is not writable is one more way; only root can make one.
#[test]
fn a_data_folder_that_cannot_be_written_is_one_line() {
    let mut server = Server::start(&[]);
    PEOPLE.register(&server);
    assert!(server.term().success());
    let data = server.home().join("data");
    let name = data.to_str().expect("a plain path");
    let mount = |arguments: &[&str]| Command::new("mount").args(arguments).output().is_ok_and(|o| o.status.success());
    if !mount(&["--bind", name, name]) {
        return crate::population::skip("the test of the read-only folder", "no bind mounts");
    }
    let read_only = mount(&["-o", "remount,ro,bind", name]);
    let before = contents(&data);
    let output = read_only.then(|| std::panic::catch_unwind(|| refused(1, &[], &server.home())));
    let after = contents(&data);
    let unmounted = Command::new("umount").arg(name).status().expect("umount").success();
    assert!(unmounted && read_only, "unmounted: {unmounted}, read-only: {read_only}");
    let line = output.expect("it was read-only").expect("one line");
    assert!(line.contains("Read-only file system") && line.contains(name), "{line}");
    assert!(before == after, "the data changed");
    server.restart();
    is_complete(&server);
}

#[test]
fn a_bad_property_is_one_line_and_the_data_stay() {
    let mut server = Server::start(&[]);
    PEOPLE.register(&server);
    assert!(server.term().success());
    let (home, data) = (server.home(), server.home().join("data"));
    let before = contents(&data);
    fs::create_dir(home.join("conf")).expect("a folder");
    let file = home.join("conf/application.properties");
    for (properties, said) in [
        ("nacre.store.durability=sometimes\n", "nacre.store.durability=sometimes"),
        ("nacre.http.head-timeout-ms=soon\n", "nacre.http.head-timeout-ms=soon"),
        ("nacre.no-such-thing=1\n", "nacre.no-such-thing"),
        ("nacre.commit.batch-rows=0\n", "nacre.commit.batch-rows=0"),
    ] {
        fs::write(&file, properties).expect("a file");
        let line = refused(2, &[], &home);
        assert!(line.contains(said) && line.contains("line 1"), "{line}");
    }
    assert!(before == contents(&data), "the data changed");
    fs::remove_file(&file).expect("the file is removed");
    server.restart();
    is_complete(&server);
}

/// Rewrites the schema row of a store; the row's form is for ever.
fn set_schema(data: &Path, schema: u8) {
    let current = fs::read_to_string(data.join("CURRENT")).expect("the name of the generation in use");
    let database = sled::open(data.join(current.trim())).expect("the store opens");
    let key = [0x00];
    let mut value = vec![schema];
    value.extend([0; 8]);
    let mut summed = crc32fast::Hasher::new();
    summed.update(&key);
    summed.update(&value);
    value.extend(summed.finalize().to_be_bytes());
    assert_eq!(database.get(key).expect("a read").expect("a schema row").len(), value.len());
    database.insert(key, value).expect("a write");
    database.flush().expect("a flush");
}

#[test]
fn a_store_of_a_later_version_is_refused_by_name_and_stays() {
    let mut server = Server::start(&[]);
    PEOPLE.register(&server);
    assert!(server.term().success());
    let (home, data) = (server.home(), server.home().join("data"));
    let current = fs::read_to_string(data.join("CURRENT")).expect("the name of the generation in use");
    let database = sled::open(data.join(current.trim())).expect("the store opens");
    let schema = database.get([0x00]).expect("a read").expect("a schema row")[0];
    drop(database);
    set_schema(&data, schema + 1);
    for _ in 0..2 {
        let line = refused(1, &[], &home);
        assert!(line.contains(&format!("schema {}", schema + 1)) && line.contains("later version of nacre"), "{line}");
    }
    let aside = fs::read_dir(&data).expect("a folder").filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    assert!(!aside.into_iter().any(|name| name.starts_with("damaged")), "a later version is no damage");
    set_schema(&data, schema);
    server.restart();
    assert!(server.restore_report()["damage"].is_null(), "{}", server.restore_report());
    is_complete(&server);
}

#[test]
fn a_stop_is_quick_and_clean_with_idle_connections_open() {
    let mut server = Server::start(&[]);
    PEOPLE.register(&server);
    let mut idle: Vec<_> = (0..IDLE_CONNECTIONS).map(|_| server.client()).collect();
    for client in &mut idle {
        assert_eq!(client.get(&list_target(0)).expect("an answer").status, 200);
    }
    let _unused = TcpStream::connect(server.address()).expect("a connection");
    let started = Instant::now();
    let status = server.term();
    let took = started.elapsed();
    assert_eq!(status.code(), Some(0), "{}", server.log());
    assert!(took < STOPPED_WITHIN, "stopped only after {took:?}");
    server.restart();
    let report = server.restore_report();
    assert!(report["damage"].is_null() && report["skipped_rows"] == 0, "{report}");
    is_complete(&server);
}

#[test]
fn a_stop_under_load_loses_nothing_acknowledged() {
    let mut server = Server::start(&[]);
    let acknowledged: Vec<AtomicU64> = (0..WRITERS).map(|_| AtomicU64::new(0)).collect();
    thread::scope(|scope| {
        for (writer, acknowledged) in (0..).zip(&acknowledged) {
            let mut client = server.client();
            scope.spawn(move || {
                let mut slot = 0;
                // Until the server is gone; it may say so first.
                while let Ok(answer) = register(&mut client, writer, slot, 0) {
                    if answer.status != 200 {
                        assert_eq!(answer.status, 503, "{}", answer.text());
                        break;
                    }
                    slot += 1;
                    acknowledged.store(slot, Ordering::Relaxed);
                }
            });
        }
        thread::sleep(Duration::from_millis(700));
        let deadline = Instant::now() + FIRST_ANSWERS;
        while acknowledged.iter().any(|count| count.load(Ordering::Relaxed) == 0) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(10));
        }
        let status = server.term();
        assert_eq!(status.code(), Some(0), "{}", server.log());
    });
    assert!(TcpListener::bind(server.address()).is_ok() || TcpStream::connect(server.address()).is_err());
    server.restart();
    let report = server.restore_report();
    assert!(report["damage"].is_null(), "{report}");
    let mut client = server.client();
    for (writer, count) in (0..).zip(acknowledged.into_iter().map(AtomicU64::into_inner)) {
        assert!(count > 0, "writer {writer} wrote nothing");
        let listed = listed(&client.get(&list_target(writer)).expect("an answer"));
        for slot in 0..count {
            let found = listed.get(&place(writer, slot));
            assert_eq!(found, Some(&shape(writer, slot, 0)), "instance {slot} of {count} of writer {writer}");
        }
        // The write that was on its way may have happened.
        assert!((count..=count + 1).contains(&(listed.len() as u64)), "{} of {count}", listed.len());
    }
}
