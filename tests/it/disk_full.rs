//! A full disk: writes are refused with the reason, the rest goes on, and writes work again when there is space.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::client::{Answer, Client};
use crate::metrics::{OPENED, Page};
use crate::population::{Place, Shape, beat, is_beat_ok, list_target, listed, place, register, shape, skip};
use crate::server::Server;

const SIZE: &str = "size=16m";
const SERVICES: u64 = 4;
/// Writes before the disk is full.
const BEFORE: u64 = 400;
/// Far more than fit into what sled keeps of its file for later.
const MOST_WRITES: u64 = 50_000;
const BACK_WITHIN: Duration = Duration::from_secs(5);

/// A small file system in memory, unmounted at the end.
struct Small(TempDir);

impl Small {
    fn mount() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", SIZE, "nacre-test"]).arg(folder.path());
        let output = command.output().map_err(|error| format!("mount: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        Ok(Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn ballast(&self) -> PathBuf {
        self.path().join("ballast")
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let mut file = File::options().create(true).append(true).open(self.ballast()).expect("a ballast file");
        for size in [1 << 16, 1 << 12, 1] {
            let block = vec![0; size];
            while file.write_all(&block).is_ok() {}
        }
    }

    fn empty(&self) {
        fs::remove_file(self.ballast()).expect("the ballast is removed");
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily, if something still looks at it.
        let path = self.path().to_owned();
        let unmount =
            |flags: &[&str]| Command::new("umount").args(flags).arg(&path).status().is_ok_and(|s| s.success());
        if !unmount(&[]) && !unmount(&["-l"]) {
            eprintln!("{} is still mounted", path.display());
        }
    }
}

/// Registers instances one after the other, and knows which were acknowledged.
#[derive(Default)]
struct Writer {
    written: u64,
    wanted: Vec<BTreeMap<Place, Shape>>,
}

impl Writer {
    /// The next instance; it is in `wanted` if that was acknowledged.
    fn write(&mut self, client: &mut Client) -> Answer {
        let (number, slot) = (self.written % SERVICES, self.written / SERVICES);
        self.written += 1;
        let answer = register(client, number, slot, 0).expect("an answer");
        if answer.status == 200 {
            let index = usize::try_from(number).expect("a small number");
            self.wanted.resize(self.wanted.len().max(index + 1), BTreeMap::new());
            self.wanted[index].insert(place(number, slot), shape(number, slot, 0));
        }
        answer
    }

    /// Everything acknowledged is listed and nothing else.
    fn check(&self, server: &Server, when: &str) {
        let mut client = server.client();
        for (number, wanted) in (0..).zip(&self.wanted) {
            let listed = listed(&client.get(&list_target(number)).expect("an answer"));
            let lost = wanted.keys().filter(|place| !listed.contains_key(*place)).count();
            let more = listed.keys().filter(|place| !wanted.contains_key(*place)).count();
            assert_eq!((lost, more), (0, 0), "{when}: lost and unacknowledged instances of service {number}");
            assert!(listed == *wanted, "{when}: instances of service {number} differ");
        }
    }
}

fn readiness(client: &mut Client) -> Answer {
    client.get("/nacos/v1/console/health/readiness").expect("an answer")
}

/// Writes until one is refused, and returns that answer.
fn write_until_refused(writer: &mut Writer, client: &mut Client) -> Answer {
    for _ in 0..MOST_WRITES {
        let answer = writer.write(client);
        if answer.status != 200 {
            return answer;
        }
    }
    panic!("{MOST_WRITES} writes went onto a full disk");
}

fn write_until_accepted(writer: &mut Writer, client: &mut Client) {
    let since = Instant::now();
    while writer.write(client).status != 200 {
        assert!(since.elapsed() < BACK_WITHIN, "no writes {BACK_WITHIN:?} after there was space again");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_full_disk_refuses_writes_until_there_is_space() {
    let small = match Small::mount() {
        Ok(small) => small,
        Err(why) => return skip("the test of the full disk", &why),
    };
    let data = small.path().join("data");
    let mut server = Server::configured(&["--data-dir", data.to_str().expect("a plain path")], OPENED);
    let mut client = server.client();
    let mut writer = Writer::default();
    for _ in 0..BEFORE {
        assert_eq!(writer.write(&mut client).text(), "ok");
    }
    for turn in 1..=2 {
        small.fill();
        let refused = write_until_refused(&mut writer, &mut client);
        assert_eq!(refused.status, 500, "{}", refused.text());
        let text = refused.text().to_lowercase();
        assert!(text.contains("store") && text.contains("space"), "the reason is missing: {text}");
        let probe = readiness(&mut client);
        assert_eq!(probe.status, 500, "{}", probe.text());
        assert!(probe.text().contains("the store takes no writes"), "{}", probe.text());
        // The rest goes on, for longer than some attempts to heal take.
        let until = Instant::now() + Duration::from_millis(1_500);
        while Instant::now() < until {
            writer.check(&server, "on a full disk");
            let answer = beat(&mut client, 0, 0).expect("an answer");
            assert!(is_beat_ok(&answer), "{}", answer.text());
            assert_eq!(writer.write(&mut client).status, 500, "turn {turn}: a write while the disk is full");
            thread::sleep(Duration::from_millis(50));
        }
        let page = Page::of(&server);
        assert_eq!(page.get("nacre_store_healthy"), 0.0);
        assert!(page.get("nacos_exception_total{module=\"naming\",name=\"disk\"}") >= f64::from(turn));
        assert!(page.get("nacre_commit_commands_total{kind=\"register\",result=\"unstored\"}") > 0.0);
        small.empty();
        write_until_accepted(&mut writer, &mut client);
        assert_eq!(Page::of(&server).get("nacre_store_healthy"), 1.0);
        assert_eq!(readiness(&mut client).status, 200);
        writer.check(&server, "with space again");
    }
    for _ in 0..BEFORE {
        assert_eq!(writer.write(&mut client).text(), "ok");
    }
    server.kill9();
    server.restart();
    assert!(server.restore_report()["damage"].is_null(), "{}", server.restore_report());
    writer.check(&server, "after a kill");
    killed_while_full(&small, &mut server, &mut writer);
}

/// The process dies while the disk is full, and is started again before and after there is space.
fn killed_while_full(small: &Small, server: &mut Server, writer: &mut Writer) {
    let mut client = server.client();
    small.fill();
    write_until_refused(writer, &mut client);
    server.kill9();
    server.spawn();
    let deadline = Instant::now() + Duration::from_secs(20);
    // On a full disk it may refuse to start, with a reason, or serve what it has.
    loop {
        assert!(Instant::now() < deadline, "neither served nor ended: {}", server.log());
        if let Some(status) = server.ended() {
            let log = server.log();
            let last = log.lines().last().unwrap_or_default();
            assert!(
                status.code() == Some(1) && last.starts_with("nacre: ") && last.contains("space"),
                "{status}: {log}"
            );
            break;
        }
        if server.client().get(&list_target(0)).is_ok() {
            writer.check(server, "restarted on a full disk");
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    server.kill9();
    small.empty();
    server.restart();
    assert!(server.restore_report()["damage"].is_null(), "{}", server.restore_report());
    writer.check(server, "restarted with space again");
    write_until_accepted(writer, &mut server.client());
}
