//! The recorded conversations of tests/conformance/, replayed against each of three servers: a client can't tell which of
//! them it asks, nor whether that one stands alone.

use super::own_writes::ready;
use crate::conformance::{all_cases, faults};

/// Cases run side by side on one server; most of their time is waiting.
const THREADS: usize = 16;

/// What is recorded of a server that stands alone, and different in a cluster by its nature.
const ALONE: &[(&str, &str)] = &[
    ("console/server-state", "it says that it stands alone"),
    ("core/nodes", "it has one member"),
    ("core/simple-nodes", "it has one member"),
    ("core/leave-unknown-member", "it has one member before and after"),
    ("operator/servers", "it has one member"),
];

#[test]
fn every_server_of_three_answers_as_one_that_stands_alone() {
    let trio = ready();
    let (together, alone): (Vec<_>, Vec<_>) = all_cases().into_iter().partition(|(_, case)| !case.alone);
    let mut wrong: Vec<String> = std::thread::scope(|scope| {
        let run = |server| faults(&together, server, ALONE, THREADS);
        let runs = trio.addresses().map(|server| scope.spawn(move || run(server)));
        let runs = runs.into_iter().zip(trio.addresses());
        runs.flat_map(|(run, server)| {
            let wrong = run.join().expect("it does not panic");
            wrong.into_iter().map(move |fault| format!("{server}: {fault}"))
        })
        .collect()
    });
    // These change what all servers share.
    for server in trio.addresses() {
        wrong.extend(faults(&alone, server, ALONE, 1).into_iter().map(|fault| format!("{server}: {fault}")));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
