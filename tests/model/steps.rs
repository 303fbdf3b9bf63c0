//! Random steps. Names are few, so that commands meet.

use nacre::model::command::{Address, Command, MetadataChange, Patch, Scope};
use nacre::model::{
    ClusterKey, ClusterSettings, HealthChecker, Instance, InstanceKey, Metadata, Row, Selector, ServiceKey,
    ServiceSettings,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::reference::RowKey;

/// A command, or a verdict of health whose time is only known when it is sent.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Plain(Command),
    /// `stale`: the verdict is on a beat this many ms before the last one.
    Fade {
        key: InstanceKey,
        stale: u64,
    },
    Expire {
        key: InstanceKey,
        stale: u64,
    },
}

#[derive(Debug, Clone)]
pub(crate) enum Step {
    One(Op),
    /// Sent at once.
    Together(Vec<Op>),
    Beat(InstanceKey),
    Restart {
        kill: bool,
    },
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => op().prop_map(Step::One),
        6 => vec(op(), 2..24).prop_map(Step::Together),
        2 => ephemeral_key().prop_map(Step::Beat),
        1 => any::<bool>().prop_map(|kill| Step::Restart { kill }),
    ];
    vec(step, 1..16)
}

fn op() -> impl Strategy<Value = Op> {
    let stale = || prop_oneof![2 => Just(0_u64), 1 => 1..30_u64];
    prop_oneof![
        24 => command().prop_map(Op::Plain),
        2 => (ephemeral_key(), stale()).prop_map(|(key, stale)| Op::Fade { key, stale }),
        2 => (ephemeral_key(), stale()).prop_map(|(key, stale)| Op::Expire { key, stale }),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        10 => (key(), instance()).prop_map(|(key, instance)| Command::Register(key, instance)),
        4 => key().prop_map(Command::Deregister),
        2 => (key(), instance()).prop_map(|(key, instance)| Command::Replace(key, instance, "described".into())),
        3 => (address(), patch()).prop_map(|(address, patch)| Command::Patch(address, patch)),
        3 => metadata_change(),
        3 => (address(), any::<bool>()).prop_map(|(address, healthy)| Command::SetHealth(address, healthy)),
        2 => ephemeral_key().prop_map(Command::Heal),
        1 => (service_key(), service_settings()).prop_map(|(key, settings)| Command::CreateService(key, settings)),
        1 => (service_key(), service_settings()).prop_map(|(key, settings)| Command::UpdateService(key, settings)),
        1 => service_key().prop_map(Command::DeleteService),
        1 => service_key().prop_map(Command::CleanService),
        2 => (cluster_key(), cluster_settings()).prop_map(|(key, settings)| Command::UpdateCluster(key, settings)),
    ]
}

fn service_key() -> impl Strategy<Value = ServiceKey> {
    prop_oneof![
        10 => Just(("public", "g@@a")),
        4 => Just(("public", "g@@b@@c")),
        2 => Just(("dev", "g@@a")),
        1 => Just(("dev", "g@@a b")),
    ]
    .prop_map(|(namespace, name)| ServiceKey::new(namespace, name))
}

fn cluster_name() -> impl Strategy<Value = &'static str> {
    prop_oneof![12 => Just("DEFAULT"), 5 => Just("C-1"), 1 => Just("C_1")]
}

fn cluster_key() -> impl Strategy<Value = ClusterKey> {
    (service_key(), cluster_name()).prop_map(|(service, name)| ClusterKey { service, name: name.into() })
}

fn address() -> impl Strategy<Value = Address> {
    let port = prop_oneof![8 => Just(80), 1 => Just(81), 1 => Just(0), 1 => Just(-1)];
    (cluster_key(), select(vec!["1.1.1.1", "::1", "é"]), port).prop_map(|(at, ip, port)| Address {
        service: at.service,
        cluster: at.name,
        ip: ip.into(),
        port,
    })
}

fn key() -> impl Strategy<Value = InstanceKey> {
    (address(), prop::bool::weighted(0.7)).prop_map(|(address, ephemeral)| address.of_kind(ephemeral))
}

fn ephemeral_key() -> impl Strategy<Value = InstanceKey> {
    address().prop_map(|address| address.of_kind(true))
}

/// Small, and now and then so large that one or two such values fit in a row but three don't.
fn metadata() -> impl Strategy<Value = Metadata> {
    let value = prop_oneof![20 => "[a-zé]{0,4}".boxed(), 1 => Just("x".repeat(30_000)).boxed()];
    let pair = (select(vec!["a", "b", "c", ""]), value).prop_map(|(key, value)| (key.to_owned(), value));
    let generator = select(vec!["snowflake", "SnowFlake", "simple"])
        .prop_map(|name| ("preserved.instance.id.generator".to_owned(), name.to_owned()));
    vec(prop_oneof![6 => pair.boxed(), 1 => generator.boxed()], 0..4).prop_map(|pairs| pairs.into_iter().collect())
}

fn weight() -> impl Strategy<Value = f64> {
    select(vec![0.0, 0.01, 0.5, 1.0, 10_000.0])
}

fn instance() -> impl Strategy<Value = Instance> {
    let app = option::of("[a-z]{0,3}".prop_map(String::into_boxed_str));
    let flags = (any::<bool>(), prop::bool::weighted(0.8), prop::bool::weighted(0.1));
    (weight(), flags, option::weighted(0.9, metadata()), app).prop_map(
        |(weight, (healthy, enabled, marked), metadata, app)| {
            // The id is not for the client to say.
            let id = Some("given".into());
            Instance { weight, healthy, enabled, marked, metadata, id, app, changed_ms: 0 }
        },
    )
}

fn patch() -> impl Strategy<Value = Patch> {
    let app = option::of("[a-z]{0,3}".prop_map(String::into_boxed_str));
    let metadata = option::of(option::weighted(0.8, metadata()));
    let flags = (option::of(any::<bool>()), option::of(any::<bool>()));
    (metadata, app, option::of(weight()), flags).prop_map(|(metadata, app, weight, (healthy, enabled))| Patch {
        metadata,
        app,
        weight,
        healthy,
        enabled,
    })
}

fn metadata_change() -> impl Strategy<Value = Command> {
    let these = |service: ServiceKey| {
        vec(key(), 0..5).prop_map(move |keys| {
            let of_service = keys.into_iter().map(|key| InstanceKey { service: service.clone(), ..key });
            Scope::These(of_service.collect())
        })
    };
    let change = (any::<bool>(), metadata()).prop_map(|(merge, metadata)| match merge {
        true => MetadataChange::Merge(metadata),
        false => MetadataChange::Remove(metadata),
    });
    let scoped = service_key().prop_flat_map(move |service| {
        let scope = prop_oneof![any::<bool>().prop_map(Scope::Kind).boxed(), these(service.clone()).boxed()];
        (Just(service), scope)
    });
    (scoped, change).prop_map(|((service, scope), change)| Command::ChangeMetadata(service, scope, change))
}

fn small_metadata() -> impl Strategy<Value = Metadata> {
    vec(("[ab]", "[a-c]{0,2}"), 0..3).prop_map(|pairs| pairs.into_iter().collect())
}

fn service_settings() -> impl Strategy<Value = ServiceSettings> {
    let label = Selector::Label { expression: "CONSUMER.label.A = PROVIDER.label.A".into(), labels: vec!["A".into()] };
    (select(vec![0.0_f32, 0.35, -1.0]), small_metadata(), select(vec![Selector::None, label]))
        .prop_map(|(protect_threshold, metadata, selector)| ServiceSettings { protect_threshold, metadata, selector })
}

fn cluster_settings() -> impl Strategy<Value = ClusterSettings> {
    let checker = prop_oneof![
        1 => Just(HealthChecker::Tcp),
        4 => Just(HealthChecker::None),
        1 => Just(HealthChecker::Http { path: "/x".into(), headers: String::new(), expected_code: 200 }),
        1 => Just(HealthChecker::Mysql { user: Some("u".into()), pwd: None, cmd: Some("select 1".into()) }),
    ];
    (checker, select(vec![80, 8080, -1]), any::<bool>(), small_metadata()).prop_map(
        |(checker, check_port, use_instance_port, metadata)| ClusterSettings {
            checker,
            check_port,
            use_instance_port,
            metadata,
        },
    )
}

fn put() -> impl Strategy<Value = Row> {
    prop_oneof![
        6 => (key(), instance()).prop_map(|(key, instance)| Row::Instance(key, Some(instance.into()))),
        1 => (service_key(), service_settings()).prop_map(|(key, set)| Row::Service(key, Some(set.into()))),
        1 => (cluster_key(), cluster_settings()).prop_map(|(key, set)| Row::Cluster(key, Some(set.into()))),
    ]
}

/// Rows, each with whether it renews the time of the last beat.
type Renewing = Vec<(Row, bool)>;

/// Rows to begin with, then rows of which no two are about the same thing, then the latter in another order. The
/// removal of a whole service is about all that is in it.
pub(crate) fn independent_rows() -> impl Strategy<Value = (Vec<Row>, Renewing, Renewing)> {
    let row = prop_oneof![
        4 => put().boxed(),
        3 => key().prop_map(|key| Row::Instance(key, None)).boxed(),
        1 => service_key().prop_map(|key| Row::Service(key, None)).boxed(),
    ];
    let independent = vec((row, any::<bool>()), 0..32).prop_map(|rows| {
        let mut kept: Renewing = Vec::new();
        for (row, renew) in rows {
            let whole = matches!(row, Row::Service(_, None));
            let clashes = kept.iter().any(|(other, _)| {
                let either_whole = whole || matches!(other, Row::Service(_, None));
                {
                    let (other, row) = (RowKey::of(other), RowKey::of(&row));
                    other == row || (either_whole && other.service() == row.service())
                }
            });
            if !clashes {
                kept.push((row, renew));
            }
        }
        kept
    });
    (vec(put(), 0..24), independent)
        .prop_flat_map(|(before, rows)| (Just(before), Just(rows.clone()), Just(rows).prop_shuffle()))
}
