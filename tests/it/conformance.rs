//! The recorded conversations of tests/conformance/, replayed against the real binary: one test a folder. Those of
//! tests/conformance-auth/ need a server with authentication on.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::auth::PROPERTIES;
use crate::replay::{Case, replay};
use crate::server::Server;

/// Cases run side by side; most of their time is waiting.
const THREADS: usize = 8;

/// Cases that need what is not built yet, with the reason. One that holds all the same is a failure: take it out.
const LATER: &[(&str, &str)] = &[];

/// The same for tests/conformance-auth/.
const LATER_WITH_AUTH: &[(&str, &str)] = &[];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance")
}

fn root_with_auth() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance-auth")
}

/// The cases of a folder by name (`folder/case`).
fn cases(root: &Path, folder: &str) -> Vec<(String, Case)> {
    let mut cases: Vec<(String, Case)> = fs::read_dir(root.join(folder))
        .expect("a folder of cases")
        .map(|entry| {
            let file = entry.expect("a readable folder").path();
            let name = format!("{folder}/{}", file.file_stem().expect("a file name").to_string_lossy());
            let text = fs::read_to_string(&file).expect("UTF-8 text");
            let case = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"));
            (name, case)
        })
        .collect();
    cases.sort_by(|a, b| a.0.cmp(&b.0));
    cases
}

/// What is wrong with a case's outcome, if anything.
fn verdict(later: &[(&str, &str)], name: &str, outcome: Result<(), String>) -> Option<String> {
    let later = later.iter().find(|(case, _)| *case == name);
    match (later, outcome) {
        (None, Ok(())) => None,
        (None, Err(reason)) => Some(format!("{name}: {reason}")),
        (Some((_, why)), Err(reason)) => {
            println!("later  {name}: {why} ({reason})");
            None
        }
        (Some(_), Ok(())) => Some(format!("{name}: holds now: take it out of LATER")),
    }
}

fn folder(name: &str) {
    replay_all(&root(), name, &Server::start(&[]), LATER);
}

fn replay_all(root: &Path, name: &str, server: &Server, later: &[(&str, &str)]) {
    let cases = cases(root, name);
    assert!(!cases.is_empty(), "no case in {name}");
    let faults = faults(&cases, server.address(), later, THREADS);
    assert!(
        faults.is_empty(),
        "{} of {} recorded cases of {name} do not hold:\n{}",
        faults.len(),
        cases.len(),
        faults.join("\n")
    );
}

/// All that were recorded without authentication.
pub(crate) fn all_cases() -> Vec<(String, Case)> {
    let folders =
        fs::read_dir(root()).expect("the recorded cases").map(|entry| entry.expect("a readable folder").path());
    let folders = folders.filter(|folder| folder.is_dir());
    folders.flat_map(|folder| cases(&root(), &folder.file_name().expect("a name").to_string_lossy())).collect()
}

/// What does not hold of `cases` on the server at `address`.
pub(crate) fn faults(
    cases: &[(String, Case)],
    address: SocketAddr,
    later: &[(&str, &str)],
    threads: usize,
) -> Vec<String> {
    let (alone, together): (Vec<_>, Vec<_>) = cases.iter().partition(|(_, case)| case.alone);
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut faults = Vec::new();
        while let Some((name, case)) = together.get(next.fetch_add(1, Ordering::Relaxed)) {
            faults.extend(verdict(later, name, replay(address, case)));
        }
        faults
    };
    let mut faults: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker does not panic")).collect()
    });
    for (name, case) in alone {
        faults.extend(verdict(later, name, replay(address, case)));
    }
    faults.sort();
    for fault in &faults {
        println!("FAIL  {fault}");
    }
    faults
}

#[test]
fn with_authentication() {
    replay_all(&root_with_auth(), "auth", &Server::configured(&[], PROPERTIES), LATER_WITH_AUTH);
    let names: Vec<String> = cases(&root_with_auth(), "auth").into_iter().map(|(name, _)| name).collect();
    assert!(LATER_WITH_AUTH.iter().all(|(case, _)| names.iter().any(|name| name == case)), "LATER names no case");
}

macro_rules! folders {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            folder(stringify!($name));
        })*

        #[test]
        fn every_recorded_case_is_replayed() {
            let mut folders: Vec<String> = fs::read_dir(root())
                .expect("the recorded cases")
                .map(|entry| entry.expect("a readable folder"))
                .filter(|entry| entry.path().is_dir())
                .map(|entry| entry.file_name().to_string_lossy().into_owned())
                .collect();
            folders.sort();
            let mut tests = vec![$(stringify!($name)),*];
            tests.sort_unstable();
            assert_eq!(folders, tests, "a folder needs a test of its name");
            let names: Vec<String> = folders.iter().flat_map(|folder| cases(&root(), folder)).map(|(name, _)| name).collect();
            for (name, why) in LATER {
                assert!(names.iter().any(|case| case == name), "LATER names {name}, which does not exist");
                assert!(!why.is_empty(), "LATER gives no reason for {name}");
            }
        }
    };
}

folders!(
    auth, beat, catalog, console, core, errors, health, instance, legacy, list, metadata, namespace, operator, service
);
