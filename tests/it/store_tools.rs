//! `nacre store` on the data of a server that ran.

use std::fs;
use std::process::{Command, Output};

use serde_json::Value;

use crate::server::Server;

fn store(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nacre")).arg("store").args(arguments).output().expect("the binary starts")
}

fn hosts(server: &Server, service: &str) -> Vec<Value> {
    let target = format!("/nacos/v1/ns/instance/list?serviceName={service}");
    let answer = server.client().get(&target).expect("a list");
    let list: Value = serde_json::from_slice(&answer.body).expect("JSON");
    let mut hosts = list["hosts"].as_array().expect("hosts").clone();
    hosts.sort_by_key(|host| host["port"].as_i64());
    hosts
}

#[test]
fn export_wipe_import_start_gives_the_same_instances() {
    let mut server = Server::start(&[]);
    let mut client = server.client();
    for (service, count) in [("orders", 30), ("stock", 5)] {
        for port in 1..=count {
            let more = if port % 3 == 0 { "&ephemeral=false" } else { "&metadata=zone=a,x=%C3%A4" };
            let target = format!("serviceName={service}&ip=10.0.0.1&port={port}&weight=0.{port}{more}");
            let sent = client.send("POST", &format!("/nacos/v1/ns/instance?{target}"), &[], None).expect("an answer");
            assert_eq!(sent.status, 200, "{}", sent.text());
        }
    }
    let before = [hosts(&server, "orders"), hosts(&server, "stock")];
    assert_eq!((before[0].len(), before[1].len()), (30, 5));
    let data = server.home().join("data");
    let (data_text, file) = (data.to_str().expect("a plain path").to_owned(), server.home().join("all.jsonl"));
    let file_text = file.to_str().expect("a plain path");
    let refused = store(&["verify", &data_text]);
    let line = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!((refused.status.code(), line.lines().count()), (Some(1), 1), "{line}");
    assert!(line.contains(&format!("in use by another process (process {})", server.pid())), "{line}");
    assert!(server.term().success());
    for arguments in [&["verify", &data_text][..], &["inspect", &data_text], &["export", &data_text, file_text]] {
        let output = store(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
    fs::remove_dir_all(&data).expect("the data folder goes");
    let imported = store(&["import", &data_text, file_text]);
    assert!(imported.status.success(), "{imported:?}");
    server.restart();
    assert_eq!([hosts(&server, "orders"), hosts(&server, "stock")], before);
    let report = server.restore_report();
    assert!(report["damage"].is_null() && report["created"] == false, "{report}");
    assert!(server.term().success());
    let compacted = store(&["compact", &data_text]);
    assert!(compacted.status.success(), "{compacted:?}");
    server.restart();
    assert_eq!([hosts(&server, "orders"), hosts(&server, "stock")], before);
}
