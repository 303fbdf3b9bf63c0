//! `nacre bench`: its figures are those of the servers it starts, and nothing is left behind.

use std::fs;

use serde_json::Value;
use tempfile::tempdir;

use super::{nacre, refusal, stdout};

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}

/// Text between two tags of the page.
fn has(page: &str, what: &str) {
    assert!(page.contains(what), "the page lacks {what}");
}

#[test]
fn a_quick_bench_measures_every_mode_and_cleans_up() {
    let home = tempdir().unwrap();
    let arguments =
        ["bench", "--quick", "--scale", "300", "--json", "b.json", "--html", "b.html", "--connections", "4"];
    // A setting of whoever runs it is not the server's.
    let output = nacre(home.path(), &arguments, &[("NACRE_STORE_DURABILITY", "nonsense")]);
    let (text, errors) = (stdout(&output), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{text}{errors}");
    assert!(text.ends_with("GOOD\n") && text.contains("fdatasync") && text.contains("deregister, interval"), "{text}");
    let left: Vec<_> = fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(left.iter().all(|name| ["b.json", "b.html", "conf"].map(Into::into).contains(name)), "{left:?}");

    let json: Value = serde_json::from_slice(&fs::read(home.path().join("b.json")).unwrap()).unwrap();
    assert!(number(&json["machine"]["cores"]) >= 1.0 && number(&json["fdatasync"]["p50_ms"]) > 0.0);
    let rates = &json["rates"];
    let rows = rates["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 4 * 3);
    for row in rows.iter().chain([&rates["bare"]]) {
        let latency = &row["latency"];
        assert!(number(&row["rate_per_s"]) > 10.0, "{row}");
        assert!(number(&latency["p50_ms"]) > 0.0 && number(&latency["p50_ms"]) <= number(&latency["p99_ms"]), "{row}");
    }
    let row = |mode: &str, task: &str| rows.iter().find(|row| row["mode"] == mode && row["task"] == task).unwrap();
    for task in ["register", "deregister"] {
        assert_eq!(row("synced", task)["requests"], row("synced", task)["changes"]);
        assert_eq!(row("synced", task)["requests"], row("synced", "register")["requests"]);
        if row("synced", task)["written_bytes"].is_u64() {
            // Data in memory are never written: then all are 0.
            let written = |mode| number(&row(mode, task)["bytes_per_change"]);
            assert!(written("off") < 100.0 && (written("synced") > 100.0 || written("synced") == 0.0), "{rows:#?}");
        }
    }
    assert_eq!(rates["verification"]["missing"], 0);
    assert!(number(&rates["verification"]["registered"]) >= 4.0 * 20.0 * 10.0 * 0.8, "{}", rates["verification"]);

    let size = &json["sizes"][0];
    assert_eq!((size["rows"].as_u64(), size["verification"]["registered"].as_u64()), (Some(300), Some(300)));
    assert!(number(&size["ready_ms"]) >= number(&size["restore_ms"]) && number(&size["live_bytes"]) > 300.0 * 30.0);
    assert!(number(&json["row_bytes"]) > 30.0);
    let service = &json["service"];
    assert_eq!(service["one_more"].as_array().unwrap().len(), 4);
    assert!(number(&service["list"]["gb_per_s"]) > 0.0 && number(&service["list"]["body_bytes"]) > 100.0 * 1_000.0);

    let page = fs::read_to_string(home.path().join("b.html")).unwrap();
    ["<svg", "register", "synced", "Restart after kill -9", "fdatasync", "</html>"]
        .iter()
        .for_each(|what| has(&page, what));
    assert!(!page.contains("<script") && !page.contains("http://") && !page.contains("NaN"), "{page}");
}

#[test]
fn wrong_flags_of_a_bench_are_one_line_and_2() {
    let home = tempdir().unwrap();
    let run = |arguments: &[&str]| nacre(home.path(), &[&["bench"], arguments].concat(), &[]);
    assert!(refusal(&run(&["--modes", "fast"]), 2).contains("fast"));
    assert!(refusal(&run(&["--scale", "10x"]), 2).contains("write 10000, 10k or 1m"));
    assert!(refusal(&run(&["--seconds", "0"]), 2).contains("--seconds must be"));
    let nowhere = run(&["--quick", "--dir", "nowhere"]);
    assert!(refusal(&nowhere, 3).contains("no folder for the data"));
    let other = run(&["--quick", "--program", "nacre-that-is-not-there"]);
    assert!(refusal(&other, 3).contains("does not start"));
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 0, "something is left behind");
}
