//! The tools for the data of a stopped server.

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use super::damage::{Random, build, harm};
use super::*;
use crate::store::tools::{self, Job};

fn job(dir: &Path) -> Job<'static> {
    Job { dir: dir.to_owned(), scratch: None, progress: &|_, _, _| {} }
}

/// Every file below a folder with its bytes.
fn bytes_in(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for name in names_in(dir) {
        let path = dir.join(name);
        if path.is_dir() {
            found.extend(bytes_in(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

fn filled(dir: &Path, rows: &[Row]) -> Content {
    let mut store = open(dir).store;
    store.append(rows).unwrap();
    store.close().unwrap();
    content_of(rows)
}

fn all_forms() -> Vec<Row> {
    [every_form(), every_setting(), (0..50).map(|port| instance("s", port, 0.1 + f64::from(port))).collect()].concat()
}

fn json(value: &impl serde::Serialize) -> serde_json::Value {
    serde_json::to_value(value).unwrap()
}

/// As many damages as the issue asks for, half of them to a store with a snapshot.
#[test]
fn verify_finds_what_a_start_would_report() {
    damage_and_verify(false, 0x2545_F491_4F6C_DD1D);
}

#[test]
fn verify_finds_what_a_start_would_report_with_a_snapshot() {
    damage_and_verify(true, 0x9E37_79B9_7F4A_7C15);
}

/// What a start would report `verify` reports, with its place, and nothing else, and it changes nothing.
fn damage_and_verify(with_snapshot: bool, seed: u64) {
    let rounds = std::env::var("STORE_VERIFY_ROUNDS").ok().map_or(100, |rounds| rounds.parse().unwrap());
    let sound = tempfile::tempdir().unwrap();
    let content = build(sound.path(), with_snapshot);
    assert_eq!(tools::log::spots(&sound.path().join("store-000001/db")).unwrap(), []);
    let mut random = Random(seed);
    let mut damaged = 0;
    for _ in 0..rounds {
        let dir = image(sound.path());
        let mut what = vec![harm(&dir.path().join("store-000001/db"), &mut random)];
        if random.below(4) == 0 {
            what.push(harm(&dir.path().join("store-000001/db"), &mut random));
        }
        let before = bytes_in(dir.path());
        let verdict = tools::verify(&job(dir.path())).unwrap();
        assert!(bytes_in(dir.path()) == before, "{what:?}: verify must change nothing");
        let shown = json(&verdict);
        let opened = open(dir.path());
        assert_eq!(verdict.is_sound(), opened.report.damage.is_none(), "{what:?}: {shown} {:?}", opened.report);
        let counts = (&opened.report.rows.into(), &opened.report.skipped_rows.into());
        assert_eq!((&shown["rows"], &shown["damagedRows"]), counts, "{what:?}");
        if verdict.is_sound() {
            assert_eq!(opened.content, content, "{what:?}");
            continue;
        }
        damaged += 1;
        assert!(!shown["damage"].as_array().unwrap().is_empty() && verdict.to_string().contains(": damaged, "));
        let places = shown["places"].as_array().unwrap();
        let rows = places.iter().filter(|place| place["kind"] == "row").count() as u64;
        assert_eq!(rows, opened.report.skipped_rows, "{what:?}: {shown}");
        assert!(!places.is_empty(), "{what:?}: {shown}");
        // The message around a flipped bit is named: it begins at most one message, of a few KiB, before.
        if let [what] = &what[..]
            && let Some(flipped) = what.strip_prefix("bit flipped at ").and_then(|at| at.parse::<u64>().ok())
        {
            let at = |place: &serde_json::Value| -> Option<u64> {
                place["place"].as_str()?.strip_prefix("store-000001/db byte ")?.parse().ok()
            };
            let near = places.iter().filter_map(at).any(|at| at <= flipped && flipped - at < 64 << 10);
            assert!(near, "{what}: {shown}");
        }
    }
    println!("{rounds} rounds: {damaged} damaged, all of them with a place");
    assert!(damaged > rounds / 4, "{damaged}");
}

#[test]
fn verify_says_what_is_wrong_with_the_folder_and_with_a_row() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), &all_forms());
    assert!(tools::verify(&job(dir.path())).unwrap().is_sound());
    type Harm = fn(&Path);
    let harms: [(Harm, &str); 5] = [
        (|dir| fs::write(dir.join("CURRENT"), "x").unwrap(), "CURRENT is unreadable"),
        (|dir| fs::remove_file(dir.join("CURRENT")).unwrap(), "CURRENT is missing"),
        (|dir| fs::write(dir.join("sidecar"), "x").unwrap(), "the sidecar is unreadable"),
        (|dir| fs::remove_file(dir.join("store-000001/db")).unwrap(), "no file `db`"),
        (|dir| fs::remove_dir_all(dir.join("store-000001")).unwrap(), "the store is gone"),
    ];
    for (harm, said) in harms {
        let left = image(dir.path());
        harm(left.path());
        let verdict = tools::verify(&job(left.path())).unwrap();
        assert!(!verdict.is_sound() && verdict.to_string().contains(said), "{verdict}");
    }
    // A row whose bytes are not those that were written.
    let opened = open(dir.path());
    let row = instance("s", 7, 1.0);
    let (key, mut value) = {
        let (key, value, _) = super::super::codec::encode_single(&row, 2, 1);
        (key, value)
    };
    value[12] ^= 1;
    let mut writes = super::super::table::Writes::default();
    writes.insert(&key, &value);
    opened.store.disk.as_ref().unwrap().table().apply(writes).unwrap();
    opened.store.close().unwrap();
    let verdict = tools::verify(&job(dir.path())).unwrap();
    let place =
        "row: ephemeral instance 10.0.0.1:7 of public DEFAULT_GROUP@@s cluster DEFAULT: its checksum does not match";
    assert!(verdict.to_string().contains(place), "{verdict}");
    assert!(json(&verdict)["places"][0]["key"].as_str().unwrap().starts_with("10"), "{}", json(&verdict));

    // The same of a pack of rows, which holds all that was stored.
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), &all_forms());
    let opened = open(dir.path());
    let key = key::PackKey { is_journal: true, number: 1, part: 0 }.encode();
    let table = opened.store.disk.as_ref().unwrap().table();
    let mut value = table.get(&key).unwrap().unwrap();
    value[40] ^= 1;
    let mut writes = super::super::table::Writes::default();
    writes.insert(&key, &value);
    table.apply(writes).unwrap();
    opened.store.close().unwrap();
    let verdict = tools::verify(&job(dir.path())).unwrap();
    let place = "row: pack 0 of batch 1 in the journal: its checksum does not match";
    assert!(verdict.to_string().contains(place), "{verdict}");
}

#[test]
fn inspect_counts_what_is_there_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), &all_forms());
    fs::create_dir(dir.path().join("damaged-x-store-000009")).unwrap();
    fs::write(dir.path().join("damaged-x-store-000009/db"), "12345").unwrap();
    let before = bytes_in(dir.path());
    let found = tools::inspect(&job(dir.path())).unwrap();
    assert!(bytes_in(dir.path()) == before);
    let shown = json(&found);
    let kinds = serde_json::json!({
        "ephemeralInstances": 52, "persistentInstances": 1, "services": 2, "clusters": 4, "switches": 1,
        "namespaces": 2, "users": 1, "roles": 1, "permissions": 1,
    });
    assert_eq!(shown["kinds"], kinds);
    assert_eq!((&shown["rows"], &shown["schema"], &shown["sequence"]), (&65.into(), &4.into(), &1.into()));
    assert_eq!((&shown["services"], &shown["namespaces"]), (&3.into(), &3.into()));
    assert_eq!((&shown["sidecar"]["state"], &shown["sidecar"]["rows"]), (&"agrees".into(), &65.into()));
    assert_eq!(shown["aside"], serde_json::json!([{"name": "damaged-x-store-000009", "bytes": 5}]));
    assert_eq!(shown["lastAlive"]["unixMs"], NOW_MS);
    assert_eq!(shown["generations"][0]["inUse"], true);
    for line in ["52 ephemeral instances", "schema       4", "put aside    damaged-x", "last alive   2026-09-21T"] {
        assert!(found.to_string().contains(line), "{line}: {found}");
    }
}

fn exported(dir: &Path, to: &Path) -> String {
    tools::export(&job(dir), Some(to), false).unwrap();
    assert_eq!(fs::metadata(to).unwrap().permissions().mode() & 0o777, 0o600);
    fs::read_to_string(to).unwrap()
}

#[test]
fn what_is_exported_comes_back_the_same() {
    let [from, to] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let content = filled(from.path(), &all_forms());
    let before = bytes_in(from.path());
    let file = to.path().join("all.jsonl");
    let text = exported(from.path(), &file);
    assert!(bytes_in(from.path()) == before);
    assert_eq!(text.lines().count(), content.len() + 2);
    let data = to.path().join("data");
    let imported = tools::import(&job(&data), Some(&file), false).unwrap();
    assert!(imported.to_string().starts_with("imported 65 rows"), "{imported}");
    assert_eq!(names_in(&data), ["CURRENT", "lock", "sidecar", "store-000002"]);
    let opened = open(&data);
    assert_eq!((&opened.content, &opened.report.damage), (&content, &None));
    assert_eq!(stamps(&opened.content), stamps(&content));
    assert_eq!(opened.report.last_alive_ms, Some(NOW_MS), "so that a start knows how old it is");
    opened.store.close().unwrap();
    // The same rows are the same lines, but for the time.
    let again = exported(&data, &file);
    assert_eq!(again.lines().skip(1).take(65).collect::<Vec<_>>(), text.lines().skip(1).take(65).collect::<Vec<_>>());
    assert!(tools::import(&job(&data), Some(&file), false).unwrap_err().message().contains("--merge"));
}

/// Exports of before did not say when instances were changed, and of persistent ones nobody asks.
#[test]
fn an_export_without_times_of_changes_comes_in() {
    let [from, to] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    filled(from.path(), &all_forms());
    let file = to.path().join("all.jsonl");
    let text = exported(from.path(), &file);
    let said = |text: &str| text.lines().filter(|line| line.contains("\"changedMs\":")).count();
    assert_eq!(said(&text), 51, "50 and one of every form, which has one that does not know and a persistent one");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for line in &mut lines {
        if let Some(at) = line.find(",\"changedMs\":") {
            line.replace_range(at..line.len() - 1, "");
        }
    }
    let persistent = lines.iter_mut().find(|line| line.contains("\"ephemeral\":false")).unwrap();
    persistent.replace_range(persistent.len() - 1.., ",\"changedMs\":7}");
    let rows = lines.len() - 2;
    let text: String = lines[..=rows].iter().map(|line| format!("{line}\n")).collect();
    let end = format!("{{\"nacre\":\"end\",\"rows\":{rows},\"crc32\":\"{:08x}\"}}\n", crc32fast::hash(text.as_bytes()));
    fs::write(&file, text + &end).unwrap();
    let data = to.path().join("data");
    tools::import(&job(&data), Some(&file), false).unwrap();
    let opened = open(&data);
    assert_eq!(opened.content, content_of(&all_forms()));
    assert_eq!(stamps(&opened.content), [0; 53]);
}

#[test]
fn merging_replaces_and_keeps() {
    let [a, b] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    filled(a.path(), &[instance("s", 1, 1.0), instance("s", 2, 1.0)]);
    filled(b.path(), &[instance("s", 2, 9.0), instance("s", 3, 9.0)]);
    let file = b.path().join("b.jsonl");
    exported(b.path(), &file);
    let imported = tools::import(&job(a.path()), Some(&file), true).unwrap();
    assert!(imported.to_string().contains("the store has 3 now"), "{imported}");
    let opened = open(a.path());
    let all = [instance("s", 1, 1.0), instance("s", 2, 9.0), instance("s", 3, 9.0)];
    assert_eq!((opened.content, opened.report.damage), (content_of(&all), None));
    assert_eq!(names_in(a.path()), ["CURRENT", "lock", "sidecar", "store-000002"]);
}

#[test]
fn what_is_merged_into_a_member_of_a_cluster_is_nothing_agreed_on() {
    use crate::model::settings::{Setting, SettingKey};
    let at = |text: &str| Row::Setting(SettingKey::Agreed, Some(Arc::new(Setting::Agreed(text.into()))));
    let [a, b] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    filled(a.path(), &[instance("s", 1, 1.0), at("here")]);
    filled(b.path(), &[instance("s", 2, 1.0), at("there")]);
    let file = b.path().join("b.jsonl");
    exported(b.path(), &file);
    tools::import(&job(a.path()), Some(&file), true).unwrap();
    let all = [instance("s", 1, 1.0), instance("s", 2, 1.0), at("merged")];
    let opened = open(a.path());
    assert_eq!((opened.content, opened.report.damage), (content_of(&all), None));
}

/// Each wrong input, what is said, and that nothing came in.
#[test]
fn an_import_is_all_or_nothing() {
    let from = tempfile::tempdir().unwrap();
    filled(from.path(), &[instance("s", 1, 1.0), instance("s", 2, 1.0), instance("s", 3, 1.0)]);
    let file = from.path().join("file");
    let good = exported(from.path(), &file);
    let lines: Vec<&str> = good.lines().collect();
    let with = |at: usize, line: &str| {
        let mut lines = lines.clone();
        lines[at] = line;
        lines.join("\n") + "\n"
    };
    let heavy = lines[2].replace("\"weight\":1.0", "\"weight\":10001.0");
    let unknown = lines[2].replace("\"port\":2", "\"port\":2,\"prot\":2");
    let moved = lines[2].replace("\"port\":2", "\"port\":99");
    let large = lines[2].replace("\"version\":\"1\"", &format!("\"version\":\"{}\"", "x".repeat(MAX_ROW_BYTES)));
    let no_metadata = lines[2].replace(",\"metadata\":{\"version\":\"1\",\"zone\":\"a\"}", "");
    assert!([&heavy, &unknown, &moved, &large, &no_metadata].iter().all(|line| **line != lines[2]));
    let cases = [
        (String::new(), "line 1: the export ends before its last line"),
        ("[]\n".to_owned(), "line 1: not the first line of an export"),
        (lines[1..].join("\n") + "\n", "line 1: not the first line of an export"),
        (with(0, &lines[0].replace("\"format\":1", "\"format\":2")), "line 1: an export of format 2"),
        (with(2, &heavy), "line 3: a weight has to be from 0 to 10000"),
        (with(2, &unknown), "line 3: unknown field `prot`"),
        (with(2, &large), "line 3: a row of "),
        (with(2, &no_metadata), "line 3: missing field `metadata`"),
        (with(2, lines[1]), "line 3: the same row stands here twice"),
        (with(2, "{\"kind\":\"tree\"}"), "line 3: unknown variant `tree`"),
        (with(2, &"x".repeat(2 << 20)), "line 3: longer than any line"),
        (with(2, &moved), "line 5: what was read is not what was written"),
        (lines[..4].join("\n") + "\n", "line 5: the export ends before its last line"),
        ([&lines[..2], &lines[3..]].concat().join("\n") + "\n", "line 4: "),
        (good.trim_end().to_owned(), "line 5: the export ends before its last line"),
        (format!("{good}\n"), "line 6: something follows"),
    ];
    for (text, said) in cases {
        let to = tempfile::tempdir().unwrap();
        fs::write(&file, text).unwrap();
        let error = tools::import(&job(to.path()), Some(&file), false).unwrap_err();
        assert!(matches!(error, Error::Input(_)) && error.message().starts_with(said), "{said}: {error}");
        let kept = filled(&to.path().join("other"), &[instance("t", 1, 1.0)]);
        assert!(tools::import(&job(&to.path().join("other")), Some(&file), true).is_err());
        let opened = open(&to.path().join("other"));
        assert_eq!((opened.content, opened.report.damage), (kept, None), "{said}");
        assert_eq!(names_in(&to.path().join("other")), AS_BEFORE);
        // What is left in the empty folder is no reason not to try again.
        fs::write(&file, &good).unwrap();
        tools::import(&job(to.path()), Some(&file), false).unwrap();
        assert_eq!(open(to.path()).content.len(), 3);
    }
}

const AS_BEFORE: [&str; 4] = ["CURRENT", "lock", "sidecar", "store-000001"];

#[test]
fn compacting_keeps_the_rows_and_frees_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open_with(options(dir.path(), Durability::Written)).unwrap().store;
    for round in 0..300 {
        store.append(&(0..50).map(|port| instance("s", port, f64::from(round))).collect::<Vec<_>>()).unwrap();
    }
    store.close().unwrap();
    let before = json(&tools::inspect(&job(dir.path())).unwrap());
    let content = content_of(&(0..50).map(|port| instance("s", port, 299.0)).collect::<Vec<_>>());
    println!("{}", tools::compact(&job(dir.path())).unwrap());
    let after = json(&tools::inspect(&job(dir.path())).unwrap());
    let size = |found: &serde_json::Value| found["generations"][0]["bytes"].as_u64().unwrap();
    assert!(size(&after) * 2 < size(&before), "{before} {after}");
    assert_eq!((&after["damage"], &after["lastAlive"]), (&serde_json::json!([]), &before["lastAlive"]));
    let opened = open(dir.path());
    assert_eq!((opened.content, opened.report.damage, opened.report.sequence), (content, None, 301));
    opened.store.close().unwrap();
    // A damaged store is left as it is.
    let db = dir.path().join("store-000002/db");
    fs::write(&db, &fs::read(&db).unwrap()[..3000]).unwrap();
    let before = bytes_in(dir.path());
    let error = tools::compact(&job(dir.path())).unwrap_err();
    assert!(error.message().starts_with("the store is damaged: "), "{error}");
    assert!(tools::export(&job(dir.path()), Some(&dir.path().join("x")), false).is_err());
    let after: BTreeMap<_, _> = bytes_in(dir.path()).into_iter().filter(|(path, _)| !path.ends_with("lock")).collect();
    assert_eq!(after.len() + 1, before.len());
    assert!(after.iter().all(|(path, bytes)| before[path] == *bytes));
    tools::export(&job(dir.path()), Some(&dir.path().join("x")), true).unwrap();
}

#[test]
fn nothing_works_on_data_in_use_or_where_there_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let none = dir.path().join("none");
    fs::create_dir(&none).unwrap();
    let all = |dir: &Path| {
        let job = job(dir);
        [
            tools::inspect(&job).map(drop),
            tools::verify(&job).map(drop),
            tools::export(&job, Some(&none.join("x")), true).map(drop),
            tools::compact(&job).map(drop),
            tools::import(&job, Some(Path::new("missing")), true).map(drop),
        ]
    };
    for result in &all(&none)[..4] {
        let error = result.as_ref().unwrap_err();
        assert!(matches!(error, Error::Setup(text) if text.starts_with("there is no store in")), "{error}");
    }
    let store = open(dir.path()).store;
    for result in all(dir.path()) {
        let error = result.unwrap_err();
        assert!(
            matches!(&error, Error::Setup(text) if text.contains("in use by another process (process ")),
            "{error}"
        );
    }
    store.close().unwrap();
    tools::verify(&job(dir.path())).unwrap();
}

const PREFIX: &str = "com.alibaba.nacos.naming.";

/// The records of `spec/service-api.md` 5 as a real server has them.
fn nacos_home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data/naming/data");
    fs::create_dir_all(data.join("public")).unwrap();
    fs::create_dir_all(data.join("dev")).unwrap();
    let put = |below: &str, key: &str, value: &str| {
        let record = format!("{{\"key\":\"{PREFIX}{key}\",\"value\":{value},\"timestamp\":0}}");
        fs::write(data.join(below).join(format!("{PREFIX}{key}")), record).unwrap();
    };
    put(
        "public",
        "domains.meta.public##DEFAULT_GROUP@@s1",
        r#"{"name":"DEFAULT_GROUP@@s1","protectThreshold":0.5,"metadata":{"a":"b"},"finalizeCount":0,"owners":[],
        "resetWeight":false,"enabled":true,"selector":{"type":"none"},"namespaceId":"public","ipDeleteTimeout":30000,
        "lastModifiedMillis":1614850000000,"checksum":"x","clusterMap":{"DEFAULT":{"serviceName":"DEFAULT_GROUP@@s1",
        "name":"DEFAULT","healthChecker":{"type":"HTTP","path":"/p","headers":"","expectedResponseCode":200},
        "defaultPort":80,"defaultCheckPort":81,"useIPPort4Check":false,"metadata":{"x":"y"},"sitegroup":"",
        "defCkport":81,"empty":false,"defIPPort":80}},"empty":true}"#,
    );
    put(
        "public",
        "iplist.public##DEFAULT_GROUP@@s1",
        r#"{"instanceList":[{"instanceId":"10.1.0.1#8080#c2#DEFAULT_GROUP@@s1","ip":"10.1.0.1","port":8080,
        "weight":2.5,"healthy":false,"enabled":true,"ephemeral":false,"clusterName":"c2",
        "serviceName":"DEFAULT_GROUP@@s1","metadata":{"zone":"ä"},"lastBeat":1795302036228,"marked":false,
        "app":"DEFAULT","instanceHeartBeatInterval":5000,"ipDeleteTimeout":30000},{"ip":"5.5.5.5","port":5}]}"#,
    );
    put("dev", "iplist.dev##g@@only-instances", r#"{"instanceList":[{"ip":"1.1.1.1","port":1,"weight":20000}]}"#);
    put(
        "",
        "domains.meta.00-00---000-NACOS_SWITCH_DOMAIN-000---00-00",
        r#"{"clientBeatInterval":7000,"checksum":null}"#,
    );
    fs::write(home.path().join("data/naming/meta.properties"), "term=3\n").unwrap();
    home
}

#[test]
fn persistent_data_of_a_real_server_come_in() {
    let home = nacos_home();
    let service = ServiceKey::new("public", "DEFAULT_GROUP@@s1");
    let of = |service: &ServiceKey, cluster: &str, ip: &str, port: i32, instance: Instance| {
        let (service, cluster, ip) = (service.clone(), cluster.into(), ip.into());
        Row::Instance(InstanceKey { service, cluster, ip, port, ephemeral: false }, Some(Arc::new(instance)))
    };
    let settings = ServiceSettings {
        protect_threshold: 0.5,
        metadata: [("a", "b")].into_iter().collect(),
        selector: Selector::None,
    };
    let checker = HealthChecker::Http { path: "/p".into(), headers: String::new(), expected_code: 200 };
    let cluster = ClusterSettings {
        checker,
        check_port: 81,
        use_instance_port: false,
        metadata: [("x", "y")].into_iter().collect(),
    };
    let first = Instance {
        weight: 2.5,
        healthy: false,
        metadata: Some([("zone", "ä")].into_iter().collect()),
        ..Instance::default()
    };
    let dev = ServiceKey::new("dev", "g@@only-instances");
    let switches = Switches { client_beat_interval: 7_000, ..Switches::default() };
    let expected = content_of(&[
        Row::Service(service.clone(), Some(Arc::new(settings))),
        Row::Cluster(ClusterKey { service: service.clone(), name: "DEFAULT".into() }, Some(Arc::new(cluster))),
        of(&service, "c2", "10.1.0.1", 8080, first),
        of(&service, "DEFAULT", "5.5.5.5", 5, Instance::default()),
        of(&dev, "DEFAULT", "1.1.1.1", 1, Instance { weight: 10_000.0, ..Instance::default() }),
        Row::Service(dev, Some(Arc::default())),
        Row::Setting(SettingKey::Switches, Some(Arc::new(Setting::Switches(Box::new(switches))))),
    ]);
    for below in ["", "data/naming", "data/naming/data"] {
        let dir = tempfile::tempdir().unwrap();
        tools::import(&job(dir.path()), Some(&home.path().join(below)), false).unwrap();
        let opened = open(dir.path());
        assert_eq!((&opened.content, opened.report.damage), (&expected, None), "{below}");
    }
}

#[test]
fn a_wrong_record_of_a_real_server_is_named_and_nothing_comes_in() {
    for (file, text, said) in [
        ("public/com.alibaba.nacos.naming.x", "{\"key\":\"x\",\"value\":{}}", "no key that is known"),
        ("public/com.alibaba.nacos.naming.x", "", "EOF while parsing"),
        (
            "public/com.alibaba.nacos.naming.x",
            "{\"key\":\"com.alibaba.nacos.naming.iplist.x\",\"value\":{}}",
            "a key without",
        ),
        (
            "public/com.alibaba.nacos.naming.x",
            "{\"key\":\"com.alibaba.nacos.naming.iplist.a##b@@c\",\"value\":{\"instanceList\":[{\"ip\":\"1\"}]}}",
            "missing field `port`",
        ),
        (
            "public/com.alibaba.nacos.naming.x",
            "{\"key\":\"com.alibaba.nacos.naming.domains.meta.a##b@@c\",\"value\":{\"selector\":{\"type\":\"odd\"}}}",
            "SelectorType.odd",
        ),
    ] {
        let (home, dir) = (nacos_home(), tempfile::tempdir().unwrap());
        fs::write(home.path().join("data/naming/data").join(file), text).unwrap();
        let error = tools::import(&job(dir.path()), Some(home.path()), false).unwrap_err();
        assert!(error.message().contains(file) && error.message().contains(said), "{error}");
        assert!(open(dir.path()).content.is_empty());
    }
    let dir = tempfile::tempdir().unwrap();
    let error = tools::import(&job(&dir.path().join("data")), Some(dir.path()), false).unwrap_err();
    assert!(error.message().starts_with("there is no record of Nacos below"), "{error}");
}
