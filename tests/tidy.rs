//! House rules that a compiler does not check. Each rule is one test; its message says what to do.
//!
//! The tables at the top are the reference for who may use what.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "all of it is test code; clippy.toml only knows functions marked as tests"
)]

#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;

use regex::Regex;
use source::{Source, files, sources, starts_with, text};

/// Which rooms of this crate a room may name: itself, `model` and `error` always; otherwise what stands here. `a::b` allows that
/// part of a room only. Test code may also use whatever these rooms may use in turn.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("model", &[]),
    ("error", &[]),
    ("wire", &[]),
    ("config", &[]),
    ("telemetry", &[]),
    ("registry", &[]),
    ("store", &["telemetry", "wire::checker", "wire::metadata", "wire::selector"]),
    ("commit", &["store", "registry", "telemetry"]),
    ("health", &["registry", "commit", "wire", "telemetry"]),
    ("push", &["registry", "commit", "wire"]),
    ("cluster", &["registry", "commit", "wire", "push::list"]),
    ("consensus", &["commit", "registry", "store", "cluster::members", "cluster::message"]),
    ("http", &["wire", "config", "telemetry", "registry", "commit", "health", "push", "cluster", "consensus"]),
    ("tools", &["config::flags"]),
    (
        "node",
        &[
            "wire",
            "config",
            "telemetry",
            "registry",
            "store",
            "commit",
            "health",
            "push",
            "cluster",
            "consensus",
            "http",
            "tools",
        ],
    ),
    ("main", &["config", "node", "telemetry", "tools", "store::tools"]),
    ("lib", &[]),
];

/// The only modules that may name a crate.
const CRATE_ROOMS: &[(&str, &[&str])] = &[
    ("sled", &["store::table"]),
    ("bincode", &["store::codec"]),
    ("hyper", &["http", "cluster::peer", "health::checks::http", "tools"]),
    ("hyper_util", &["http", "cluster::peer", "health::checks::http", "tools"]),
    ("http_body_util", &["http", "cluster::peer", "health::checks::http", "tools"]),
    ("axum", &["http"]),
    ("mysql_async", &["health::checks::mysql"]),
    ("url", &["health::checks::http", "tools::client"]),
    ("hdrhistogram", &["tools"]),
    ("httparse", &["tools::client"]),
    ("rustix", &["tools::drill::process"]),
    ("clap", &["main", "config::flags"]),
    ("clap_complete", &["main"]),
    ("clap_mangen", &["main"]),
    ("sd_notify", &["node::systemd"]),
    ("java_properties", &["config"]),
    ("notify", &["node::watch"]),
    ("indicatif", &["telemetry::progress", "tools"]),
    ("openraft", &["consensus"]),
    ("prometheus", &["telemetry::page"]),
];

/// The only modules that pick a status; `tools`, `cluster::peer` and `health` read those of other servers.
const STATUS_ROOMS: &[&str] = &["http::reply", "http::server", "http::conn", "http::body"];
const STATUS_READERS: &[&str] = &["tools", "cluster::peer", "health"];

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 80;
const VAGUE_NAMES: &[&str] = &["util", "utils", "common", "misc", "helper", "helpers", "manager"];

/// Fails with all `faults` under `rule`, which says what to do about them.
fn judge(rule: &str, faults: &[String]) {
    assert!(faults.is_empty(), "\n{rule}\n  {}\n", faults.join("\n  "));
}

/// What `room` may import, and whether the table knows it.
fn row(room: &str) -> Option<&'static [&'static str]> {
    MAY_IMPORT.iter().find(|(name, _)| *name == room).map(|(_, rooms)| *rooms)
}

fn may_import(room: &str, path: &[String], test: bool) -> bool {
    let mut allowed: BTreeSet<&str> = ["model", "error", room].into();
    let mut queue: Vec<&str> = row(room).unwrap_or_default().to_vec();
    while let Some(next) = queue.pop() {
        if allowed.insert(next) && test {
            let room = next.split("::").next().unwrap_or(next);
            allowed.insert(room);
            queue.extend(row(room).unwrap_or_default());
        }
    }
    // The nouns know nothing else of ours, not even each other.
    if matches!(room, "model" | "error" | "lib") {
        allowed = [room].into();
    }
    allowed.iter().any(|prefix| starts_with(path, prefix))
}

#[test]
fn rooms_import_only_what_the_table_allows() {
    let mut faults = Vec::new();
    for source in sources("src") {
        let room = source.room();
        if row(room).is_none() {
            faults.push(format!("{}: the room `{room}` has no row in the table", source.file));
            continue;
        }
        for at in source.inner.iter().filter(|at| !at.what.is_empty()) {
            if !may_import(room, &at.what, at.test) {
                faults.push(format!("{}:{}: {room} may not use crate::{}", source.file, at.line, at.what.join("::")));
            }
        }
    }
    judge(
        "A room reaches for one it must not know. Move the code to the room it belongs to, or pass the value in from node.rs. \
         A new room needs a row in MAY_IMPORT (tests/tidy.rs).",
        &faults,
    );
}

#[test]
fn crates_stay_in_their_rooms() {
    let mut faults = Vec::new();
    for source in sources("src") {
        for at in &source.outer {
            let Some((name, rooms)) = CRATE_ROOMS.iter().find(|(name, _)| *name == at.what[0]) else { continue };
            if !rooms.iter().any(|room| source.is_in(room)) {
                faults.push(format!("{}:{}: {name} may only be named in {}", source.file, at.line, rooms.join(", ")));
            }
        }
    }
    judge("A crate is named outside its room: use what that room offers, or add it there.", &faults);
}

#[test]
fn the_registry_and_the_nouns_do_no_io_and_read_no_clock() {
    let mut faults = Vec::new();
    for source in sources("src") {
        let pure = ["registry", "model", "wire"].iter().any(|room| source.is_in(room));
        let wheel = ["health::wheel", "health::checks::schedule", "health::checks::verdict"]
            .iter()
            .any(|module| source.is_in(module));
        if !pure && !wheel {
            continue;
        }
        let mut fault = |line: usize, what: &str| faults.push(format!("{}:{line}: {what}", source.file));
        for at in &source.idents {
            let clock = matches!(at.what.as_str(), "Instant" | "SystemTime" | "jiff");
            let waits = matches!(at.what.as_str(), "async" | "await" | "tokio");
            if clock || (pure && waits) {
                fault(at.line, &at.what);
            }
        }
        for at in &source.outer {
            let io = ["std::fs", "std::net", "std::io", "std::thread"].iter().any(|path| starts_with(&at.what, path));
            if (pure && io) || starts_with(&at.what, "tokio::time") || at.what.last().is_some_and(|last| last == "now")
            {
                fault(at.line, &at.what.join("::"));
            }
        }
    }
    judge(
        "The registry, model, wire, the health wheel and the schedule of checks are pure: pass the time in as a parameter; leave files, sockets and waiting to \
         their callers.",
        &faults,
    );
}

#[test]
fn files_and_functions_stay_small() {
    let mut faults = Vec::new();
    for source in sources("src") {
        let lines = source.text.lines().count();
        if lines > FILE_LINES {
            faults.push(format!("{}: {lines} lines, at most {FILE_LINES}: split it by noun", source.file));
        }
        for function in source.functions.iter().filter(|function| function.lines > FUNCTION_LINES) {
            let (file, line, name) = (&source.file, function.line, &function.name);
            faults.push(format!("{file}:{line}: fn {name} has {} lines, at most {FUNCTION_LINES}", function.lines));
        }
    }
    judge(
        "Too long to read at once: split a file by noun, a function by step (tests go to a `tests` submodule).",
        &faults,
    );
}

#[test]
fn nothing_has_a_vague_name() {
    let vague = |name: &str| name.to_lowercase().split(['_', '-', '.']).any(|word| VAGUE_NAMES.contains(&word));
    let mut faults: Vec<String> = ["src", "tests", "benches"]
        .iter()
        .flat_map(|folder| files(folder))
        .filter(|file| file.split('/').any(vague))
        .collect();
    for source in sources("src") {
        for module in
            source.modules.iter().filter(|module| module.inline && module.path.last().is_some_and(|name| vague(name)))
        {
            faults.push(format!("{}:{}: mod {}", source.file, module.line, module.path.join("::")));
        }
    }
    judge(&format!("Name it after the noun it is about, not one of {VAGUE_NAMES:?}."), &faults);
}

#[test]
fn nothing_is_left_unfinished() {
    let mut faults = Vec::new();
    for source in ["src", "tests", "benches"].iter().flat_map(|folder| sources(folder)) {
        for at in source.macros.iter().filter(|at| matches!(at.what.as_str(), "todo" | "unimplemented" | "dbg")) {
            faults.push(format!("{}:{}: {}!", source.file, at.line, at.what));
        }
        for at in &source.attributes {
            let mut words = at.what.split(' ');
            let ignored = match words.next() {
                Some("ignore") => true,
                Some("cfg_attr") => words.any(|word| word == "ignore"),
                _ => false,
            };
            if ignored {
                faults.push(format!("{}:{}: #[{}]", source.file, at.line, at.what));
            }
        }
    }
    judge("Finish it, delete it, or make the test run: no stubs, no ignored tests, no debug output.", &faults);
}

#[test]
fn no_file_names_a_folder_of_someones_machine() {
    let path = Regex::new(r"(?:^|[^\w.}/-])/(?:root|work|home|Users)/[\w.]").expect("a valid expression");
    let mut faults = Vec::new();
    let loose = ["README.md", "Cargo.toml", "clippy.toml", "rustfmt.toml", ".gitignore"].map(str::to_owned);
    for file in ["src", "tests", "benches", "conf", ".ci"].iter().flat_map(|folder| files(folder)).chain(loose) {
        let Some(text) = text(&file) else { continue };
        for (number, line) in text.lines().enumerate().filter(|(_, line)| path.is_match(line)) {
            faults.push(format!("{file}:{}: {}", number + 1, line.trim().chars().take(120).collect::<String>()));
        }
    }
    judge("An absolute path of a home or work folder: make it relative, or take it from the surroundings.", &faults);
}

#[test]
fn every_public_module_says_what_it_is() {
    let all = sources("src");
    let mut faults = Vec::new();
    for source in &all {
        for module in source.modules.iter().filter(|module| module.public && !module.test) {
            let file = |source: &&Source| source.module == module.path && source.file != "src/main.rs";
            let documented =
                if module.inline { module.documented } else { all.iter().find(file).is_none_or(|s| s.documented) };
            if !documented {
                faults.push(format!("{}:{}: pub mod {}", source.file, module.line, module.path.join("::")));
            }
        }
    }
    judge("Begin the module's file with `//!`: what it is, what it promises, what it leaves to others.", &faults);
}

#[test]
fn only_replies_pick_a_status() {
    let line = Regex::new(r"HTTP/1\.\d [1-5]\d\d|^.?[45]\d\d [A-Z]").expect("a valid expression");
    let number = Regex::new(r"^(?:4[0-3]\d|50\d)(?:u16)?$").expect("a valid expression");
    let mut faults = Vec::new();
    for source in sources("src") {
        let is_in = |rooms: &[&str]| rooms.iter().any(|room| source.is_in(room));
        if is_in(STATUS_ROOMS) || is_in(STATUS_READERS) {
            continue;
        }
        for at in source.idents.iter().filter(|at| at.what == "StatusCode" && !at.test) {
            faults.push(format!("{}:{}: StatusCode", source.file, at.line));
        }
        for at in source.literals.iter().filter(|at| !at.test) {
            let picked = line.is_match(&at.what) || (source.is_in("http") && number.is_match(&at.what));
            if picked {
                faults.push(format!("{}:{}: {}", source.file, at.line, at.what));
            }
        }
    }
    judge(
        &format!("Return an Error of the right class; the status is picked in one place: {}.", STATUS_ROOMS.join(", ")),
        &faults,
    );
}

/// The first command of the first fenced block after a heading with the word "test".
fn test_command(readme: &str) -> Option<String> {
    let mut lines = readme.lines();
    lines.find(|line| line.starts_with('#') && line.to_lowercase().contains("test"))?;
    lines.find(|line| line.trim_start().starts_with("```"))?;
    let command = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let line = lines.take_while(|line| !line.trim_start().starts_with("```")).find(command)?;
    Some(line.trim().trim_start_matches("$ ").to_owned())
}

/// What a script does apart from setting itself up and saying so.
fn commands(script: &str) -> Vec<&str> {
    let set_up = ["#", "set ", "cd ", "echo ", "printf "];
    script
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !set_up.iter().any(|s| line.starts_with(s)))
        .collect()
}

#[test]
fn ci_runs_the_test_command_of_the_readme() {
    let Some(readme) = text("README.md") else {
        println!("no README.md yet: nothing to compare");
        return;
    };
    let command =
        test_command(&readme).expect("README.md needs a heading with `Test` and a fenced block with the command");
    let script = text(".ci/run").expect(".ci/run is missing: it calls the README's test command");
    assert_eq!(
        commands(&script),
        [command.as_str()],
        "\n.ci/run must call the README's test command and nothing else\n"
    );
}

#[test]
fn the_reader_of_the_tree_sees_what_the_rules_ask_for() {
    let source = source::parse(
        "src/a/b.rs",
        "//! Docs with crate::doc::x.\n\
         use crate::{c, d::{self, e as f}};\nuse super::g;\n// crate::comment::x\n\
         fn one() { let _ = \"crate::text::x\"; ::sled::open(crate::h::i()); x.await; a != b; log::warn!(\"\") }\n\
         #[cfg(test)]\nmod tests { use super::super::j; #[tokio::test]\nasync fn t() {\n} }\nuse sled as s;\n",
    );
    let inner: Vec<(String, bool)> = source.inner.iter().map(|at| (at.what.join("::"), at.test)).collect();
    let want = [("c", false), ("d", false), ("d::e", false), ("a::g", false), ("h::i", false), ("a::j", true)];
    assert_eq!(inner, want.map(|(path, test)| (path.to_owned(), test)));
    let outer: Vec<String> = source.outer.iter().map(|at| at.what.join("::")).collect();
    assert_eq!(outer, ["sled::open", "log::warn", "tokio::test", "sled"]);
    assert_eq!(source.macros.iter().map(|at| at.what.as_str()).collect::<Vec<_>>(), ["warn"]);
    assert_eq!(
        source.functions.iter().map(|f| (f.name.as_str(), f.line, f.lines)).collect::<Vec<_>>(),
        [("one", 5, 1), ("t", 8, 2)]
    );
    assert!(source.documented && source.idents.iter().any(|at| at.what == "await" && at.line == 5));
    assert_eq!(commands("#!/bin/x\nset -eu\n\necho hi\nbash tests/run\n"), ["bash tests/run"]);
    assert_eq!(
        test_command("# a\n## Test it\n```sh\n# all\n$ bash tests/run\n```\n").as_deref(),
        Some("bash tests/run")
    );
}
