//! The store as its caller sees it.

mod compaction;
mod damage;
mod failure;
mod format;
mod journal;
mod kill;
mod later;
mod model;
mod restart;
mod tools;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, sync::atomic::Ordering::Relaxed};

use super::{key, *};
use crate::model::settings::{Namespace, Setting, SettingKey, Switches, User};
use crate::model::subscription::{SubscriberKey, Subscription, SubscriptionKey};
use crate::model::{ClusterKey, ClusterSettings, HealthChecker, Instance, InstanceKey, Selector, ServiceKey};
use crate::model::{MAX_ROW_BYTES, Metadata, ServiceSettings};

const NOW_MS: u64 = 1_790_000_000_000;

/// Rows by key.
type Content = BTreeMap<Vec<u8>, Row>;

#[derive(Debug)]
struct Opened {
    store: Store,
    report: RestoreReport,
    content: Content,
}

fn open_with(options: Options) -> Result<Opened> {
    let mut content = Content::new();
    let mut take = |rows: Vec<Row>| {
        for row in rows {
            assert!(stamp_fits(&row), "{row:?} is not of when it was changed");
            assert!(content.insert(key::encode(&row), row).is_none(), "a row is given out once");
        }
    };
    let (store, report) = Store::open(options, NOW_MS, &mut take, &|_| {})?;
    assert_eq!(report.rows, content.len() as u64);
    Ok(Opened { store, report, content })
}

fn open(dir: &Path) -> Opened {
    open_with(Options { open_timeout_ms: 20_000, ..Options::new(dir) }).unwrap()
}

fn options(dir: &Path, durability: Durability) -> Options {
    Options { durability, ..Options::new(dir) }
}

/// An ephemeral instance whose time of change goes with its weight, see [`stamp_fits`].
fn instance(service: &str, port: i32, weight: f64) -> Row {
    let key = InstanceKey {
        service: ServiceKey::new("public", &format!("DEFAULT_GROUP@@{service}")),
        cluster: "DEFAULT".into(),
        ip: "10.0.0.1".into(),
        port,
        ephemeral: true,
    };
    let metadata = Some([("version", "1"), ("zone", "a")].into_iter().collect());
    let changed_ms = weight.to_bits();
    Row::Instance(key, Some(Arc::new(Instance { weight, metadata, changed_ms, ..Instance::default() })))
}

/// Rows are equal whenever they were changed; that the time is the right one shows by the weight.
fn stamp_fits(row: &Row) -> bool {
    match row {
        Row::Instance(_, Some(instance)) => [0, instance.weight.to_bits()].contains(&instance.changed_ms),
        _ => true,
    }
}

/// When the instances of `content` were changed, in order of keys.
fn stamps(content: &Content) -> Vec<u64> {
    let stamp = |row: &Row| match row {
        Row::Instance(_, Some(instance)) => Some(instance.changed_ms),
        _ => None,
    };
    content.values().filter_map(stamp).collect()
}

/// One row of every form.
fn every_form() -> Vec<Row> {
    let service = ServiceKey::new("nämespace\0", "g@@s\u{1}\u{0}");
    let instance_key = |port, ephemeral| InstanceKey {
        service: service.clone(),
        cluster: "c-1".into(),
        ip: "[::1]".into(),
        port,
        ephemeral,
    };
    let cluster_key = |name: &str| ClusterKey { service: service.clone(), name: name.into() };
    let full = Instance {
        weight: 0.5,
        healthy: false,
        enabled: false,
        marked: true,
        metadata: Some([("b", "2"), ("a", "")].into_iter().collect()),
        id: Some("id".into()),
        app: Some("app".into()),
        changed_ms: 0.5_f64.to_bits(),
    };
    let bare = Instance { metadata: None, ..Instance::default() };
    let settings = ServiceSettings {
        protect_threshold: 0.25,
        metadata: [("k", "v")].into_iter().collect::<Metadata>(),
        selector: Selector::Label { expression: " a = b ".into(), labels: vec!["a".into(), "b".into()] },
    };
    let cluster = |checker| {
        let metadata = [("x", "y")].into_iter().collect();
        Some(Arc::new(ClusterSettings { checker, check_port: -1, use_instance_port: false, metadata }))
    };
    let http = HealthChecker::Http { path: "/p".into(), headers: "a:b|c:d".into(), expected_code: 200 };
    let mysql = HealthChecker::Mysql { user: Some("u".into()), pwd: None, cmd: Some("select 1".into()) };
    vec![
        Row::Instance(instance_key(i32::MIN, true), Some(Arc::new(full))),
        Row::Instance(instance_key(0, false), Some(Arc::new(bare))),
        Row::Instance(instance_key(i32::MAX, true), Some(Arc::new(Instance::default()))),
        Row::Service(service.clone(), Some(Arc::new(settings))),
        Row::Service(ServiceKey::new("", ""), Some(Arc::new(ServiceSettings::default()))),
        Row::Cluster(cluster_key("http"), cluster(http)),
        Row::Cluster(cluster_key("mysql"), cluster(mysql)),
        Row::Cluster(cluster_key("none"), cluster(HealthChecker::None)),
        Row::Cluster(cluster_key("tcp"), Some(Arc::new(ClusterSettings::default()))),
    ]
}

/// The same for what operators set, which schema 1 did not have.
fn every_setting() -> Vec<Row> {
    let text = |name: &str| name.into();
    let user = User { password_hash: "$2a$10$x".into(), created: 3 };
    let switches = Switches { client_beat_interval: 7_000, ..Switches::default() };
    let of = |key, setting| Row::Setting(key, Some(Arc::new(setting)));
    let label = |description| Setting::Namespace(Namespace { name: "n".into(), description, created: 1 });
    vec![
        of(SettingKey::Switches, Setting::Switches(Box::new(switches))),
        of(SettingKey::Namespace(text("dev")), label(Some("d".into()))),
        of(SettingKey::Namespace(text("bare")), label(None)),
        of(SettingKey::User(text("nacos")), Setting::User(user)),
        of(SettingKey::Role { role: text("ROLE_ADMIN"), user: text("nacos") }, Setting::Role(4)),
        of(
            SettingKey::Permission { role: text("r"), resource: text("dev:*:*"), action: text("rw") },
            Setting::Permission(300),
        ),
    ]
}

fn subscription(service: ServiceKey, [listed, to, source]: [&str; 3], [clusters, agent, app]: [&str; 3]) -> Row {
    let [listed, to] = [listed, to].map(|address| address.parse().unwrap());
    let subscriber = SubscriberKey { listed, to, clusters: clusters.into(), agent: agent.into() };
    let key = SubscriptionKey { service, subscriber: subscriber.into() };
    let one = Subscription { source: source.parse().unwrap(), app: app.into(), grouped_names: app.is_empty() };
    Row::Subscription(key, Some(one.into()))
}

fn subscriber(port: u16) -> Row {
    let to = format!("127.0.0.1:{port}");
    subscription(ServiceKey::new("public", "g@@s"), [&to, &to, "127.0.0.1"], ["", "Nacos-Java-Client:v1.4.8", ""])
}

/// The same for subscriptions.
fn every_subscription() -> Vec<Row> {
    let service = ServiceKey::new("n\0s", "g@@s");
    vec![
        subscription(
            service.clone(),
            ["1.2.3.4:5", "6.7.8.9:65535", "6.7.8.9"],
            ["a,b\0", "Nacos-Go-Client:v1", "shop"],
        ),
        subscription(service, ["[fe80::1]:5", "[::1]:5", "::1"], ["", "", ""]),
    ]
}

/// Applies `rows` as the store should.
fn apply(content: &mut Content, rows: &[Row]) {
    for row in rows {
        let key = key::encode(row);
        match row {
            Row::Instance(_, None) | Row::Service(_, None) | Row::Cluster(_, None) => content.remove(&key),
            Row::Setting(_, None) | Row::Subscription(_, None) => content.remove(&key),
            row => content.insert(key, row.clone()),
        };
    }
}

fn content_of(rows: &[Row]) -> Content {
    let mut content = Content::new();
    apply(&mut content, rows);
    content
}

/// The folder as a killed process would leave it.
fn image(from: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    copy_dir(from, to.path());
    to
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).into_iter().flatten() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else if let Err(error) = fs::copy(entry.path(), target) {
            // A generation no longer in use may be going away meanwhile.
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        }
    }
}

fn names_in(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn count(counter: &std::sync::atomic::AtomicU64) -> u64 {
    counter.load(Relaxed)
}
