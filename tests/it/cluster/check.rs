//! The check of a running cluster from the outside, tests/conformance/cluster_check.py, with its deaths and returns. The
//! servers are children of this process: the script asks for a stop or start by a file, and waits until it is gone.
//!
//! `NACRE_SLOW_CHECKS=1`: also what waits for the time-outs of heartbeats, a minute.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::trio::Trio;
use crate::population::{say, setting, skip};

/// Checks that need what is not built yet, with the reason. One that holds all the same is a failure: take it out.
const LATER: &[(&str, &str)] = &[];

/// The script waits for far less.
const LIMIT: Duration = Duration::from_secs(240);

fn run(trio: &mut Trio, arguments: &[&str]) -> String {
    let folder = tempfile::tempdir().expect("a folder for the files that ask");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance/cluster_check.py");
    let ask = |what: &str| {
        format!("touch {0}/{what}-{{n}}; while [ -e {0}/{what}-{{n}} ]; do sleep 0.02; done", folder.path().display())
    };
    let mut command = Command::new("python3");
    command.arg(script).args(arguments);
    for address in trio.addresses() {
        command.args(["--server", &format!("http://{address}/nacos")]);
    }
    command.args(["--stop-cmd", &ask("stop"), "--start-cmd", &ask("start")]);
    let output = fs::File::create(folder.path().join("output")).expect("a file for the output");
    command.stdin(Stdio::null()).stdout(output.try_clone().expect("a handle")).stderr(output);
    let mut child = command.spawn().expect("python3 starts");
    serve(&mut child, folder.path(), trio);
    fs::read_to_string(folder.path().join("output")).expect("the output")
}

fn serve(child: &mut Child, folder: &Path, trio: &mut Trio) {
    let deadline = Instant::now() + LIMIT;
    while child.try_wait().expect("a child to ask").is_none() {
        for number in 0..3 {
            let [stop, start] = ["stop", "start"].map(|what| folder.join(format!("{what}-{}", number + 1)));
            if stop.exists() {
                trio.servers[number].kill9();
                fs::remove_file(stop).expect("a file");
            }
            if start.exists() {
                trio.servers[number].spawn();
                fs::remove_file(start).expect("a file");
            }
        }
        if Instant::now() > deadline {
            child.kill().expect("a child to kill");
            child.wait().expect("it ends");
        }
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn the_recorded_check_of_a_cluster_holds() {
    if !Command::new("python3").arg("--version").output().is_ok_and(|output| output.status.success()) {
        return skip("the check of a cluster", "no python3");
    }
    let mut trio = Trio::start("");
    let mut arguments = vec!["--strict", "--settle", "3"];
    if setting("NACRE_SLOW_CHECKS").is_none() {
        arguments.push("--skip-slow");
    }
    let output = run(&mut trio, &arguments);
    say(&format!("cluster_check.py:\n{output}"));
    let mut faults = Vec::new();
    let mut held = 0;
    for line in output.lines() {
        let later = |name: &str| LATER.iter().find(|(check, _)| *check == name);
        if let Some(rest) = line.strip_prefix("ok    ") {
            let name = rest.split(' ').next().unwrap_or_default();
            held += 1;
            faults.extend(later(name).map(|_| format!("{name} holds now: take it out of LATER")));
        } else if let Some((name, _)) = line.strip_prefix("FAIL  ").and_then(|rest| rest.split_once(':')) {
            match later(name) {
                Some((_, why)) => println!("later  {name}: {why}"),
                None => faults.push(line.to_owned()),
            }
        }
    }
    assert!(faults.is_empty() && held >= 12, "{faults:#?}\n{output}");
    assert!(output.lines().last().is_some_and(|line| line.ends_with("failed")), "it ran to its end:\n{output}");
}
