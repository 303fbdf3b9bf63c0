//! A row as one line of JSON: the form of exports. It is for ever: a change of the model is translated here, and a new
//! kind of row does not build until it has its line.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize};

use crate::model::settings::{Namespace, Setting, SettingKey, Switches, User};
use crate::model::subscription::{SubscriberKey, Subscription, SubscriptionKey};
use crate::model::{
    ClusterKey, ClusterSettings, HealthChecker, Instance, InstanceKey, Metadata, Row, Selector, ServiceKey,
    ServiceSettings,
};

/// Names and values in order of names.
type Pairs<'a> = BTreeMap<Cow<'a, str>, Cow<'a, str>>;

/// One row.
#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub(super) enum Line<'a> {
    Instance {
        namespace: Cow<'a, str>,
        service: Cow<'a, str>,
        cluster: Cow<'a, str>,
        ip: Cow<'a, str>,
        port: i32,
        ephemeral: bool,
        weight: f64,
        healthy: bool,
        enabled: bool,
        marked: bool,
        /// The null of the model, which must be said.
        #[serde(deserialize_with = "said")]
        metadata: Option<Pairs<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        id: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        app: Option<Cow<'a, str>>,
        /// Missing: nobody knows.
        #[serde(default, skip_serializing_if = "is_unknown")]
        changed_ms: u64,
    },
    Service {
        namespace: Cow<'a, str>,
        service: Cow<'a, str>,
        protect_threshold: f32,
        metadata: Pairs<'a>,
        selector: Choice<'a>,
    },
    Cluster {
        namespace: Cow<'a, str>,
        service: Cow<'a, str>,
        cluster: Cow<'a, str>,
        checker: Checker<'a>,
        check_port: i32,
        use_instance_port: bool,
        metadata: Pairs<'a>,
    },
    Switches {
        switches: Box<Switches>,
    },
    Namespace {
        id: Cow<'a, str>,
        name: Cow<'a, str>,
        description: Option<Cow<'a, str>>,
        created: u64,
    },
    User {
        name: Cow<'a, str>,
        password_hash: Cow<'a, str>,
        created: u64,
    },
    Role {
        role: Cow<'a, str>,
        user: Cow<'a, str>,
        created: u64,
    },
    Permission {
        role: Cow<'a, str>,
        resource: Cow<'a, str>,
        action: Cow<'a, str>,
        created: u64,
    },
    Agreed {
        position: Cow<'a, str>,
    },
    Subscription {
        namespace: Cow<'a, str>,
        service: Cow<'a, str>,
        listed: SocketAddr,
        to: SocketAddr,
        clusters: Cow<'a, str>,
        agent: Cow<'a, str>,
        source: IpAddr,
        app: Cow<'a, str>,
        grouped_names: bool,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Choice<'a> {
    None,
    Label { expression: Cow<'a, str>, labels: Cow<'a, [String]> },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
pub(super) enum Checker<'a> {
    Tcp,
    Http { path: Cow<'a, str>, headers: Cow<'a, str>, expected_code: i32 },
    Mysql { user: Option<Cow<'a, str>>, pwd: Option<Cow<'a, str>>, cmd: Option<Cow<'a, str>> },
    None,
}

/// As an `Option`, but the member has to be there.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::deserialize(deserializer)
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes fields so")]
fn is_unknown(changed_ms: &u64) -> bool {
    *changed_ms == 0
}

fn pairs(metadata: &Metadata) -> Pairs<'_> {
    metadata.iter().map(|(key, value)| (key.into(), value.into())).collect()
}

fn metadata(pairs: Pairs<'_>) -> Metadata {
    pairs.into_iter().map(|(key, value)| (key.into_owned(), value.into_owned())).collect()
}

fn text(text: &Option<String>) -> Option<Cow<'_, str>> {
    text.as_deref().map(Cow::Borrowed)
}

fn owned(text: Option<Cow<'_, str>>) -> Option<String> {
    text.map(Cow::into_owned)
}

impl<'a> Line<'a> {
    /// `None` of a removal, which is never stored, and of a setting that does not belong under its key.
    pub(super) fn of(row: &'a Row) -> Option<Self> {
        Some(match row {
            Row::Instance(key, Some(value)) => instance_line(key, value),
            Row::Service(key, Some(value)) => {
                let ServiceSettings { protect_threshold, metadata, selector } = &**value;
                Line::Service {
                    namespace: (&*key.namespace).into(),
                    service: (&*key.name).into(),
                    protect_threshold: *protect_threshold,
                    metadata: pairs(metadata),
                    selector: match selector {
                        Selector::None => Choice::None,
                        Selector::Label { expression, labels } => {
                            Choice::Label { expression: expression.into(), labels: labels.into() }
                        }
                    },
                }
            }
            Row::Cluster(key, Some(value)) => {
                let ClusterSettings { checker, check_port, use_instance_port, metadata } = &**value;
                Line::Cluster {
                    namespace: (&*key.service.namespace).into(),
                    service: (&*key.service.name).into(),
                    cluster: (&*key.name).into(),
                    checker: Checker::of(checker),
                    check_port: *check_port,
                    use_instance_port: *use_instance_port,
                    metadata: pairs(metadata),
                }
            }
            Row::Setting(key, Some(setting)) => return setting_line(key, setting),
            Row::Subscription(key, Some(value)) => subscription_line(key, value),
            Row::Instance(_, None)
            | Row::Service(_, None)
            | Row::Cluster(_, None)
            | Row::Setting(_, None)
            | Row::Subscription(_, None) => return None,
        })
    }

    /// The row that the line says.
    pub(super) fn into_row(self) -> Row {
        match self {
            Line::Instance {
                namespace,
                service,
                cluster,
                ip,
                port,
                ephemeral,
                weight,
                healthy,
                enabled,
                marked,
                metadata: pairs,
                id,
                app,
                changed_ms,
            } => {
                let service = ServiceKey::new(&namespace, &service);
                let key = InstanceKey { service, cluster: shared(cluster), ip: shared(ip), port, ephemeral };
                let (id, app) = (id.map(|id| (*id).into()), app.map(|app| (*app).into()));
                let metadata = pairs.map(metadata);
                // Nobody compares persistent ones by it.
                let changed_ms = if ephemeral { changed_ms } else { 0 };
                let value = Instance { weight, healthy, enabled, marked, metadata, id, app, changed_ms };
                Row::Instance(key, Some(Arc::new(value)))
            }
            Line::Service { namespace, service, protect_threshold, metadata: pairs, selector } => {
                let selector = match selector {
                    Choice::None => Selector::None,
                    Choice::Label { expression, labels } => {
                        Selector::Label { expression: expression.into_owned(), labels: labels.into_owned() }
                    }
                };
                let settings = ServiceSettings { protect_threshold, metadata: metadata(pairs), selector };
                Row::Service(ServiceKey::new(&namespace, &service), Some(Arc::new(settings)))
            }
            Line::Cluster { namespace, service, cluster, checker, check_port, use_instance_port, metadata: pairs } => {
                let key = ClusterKey { service: ServiceKey::new(&namespace, &service), name: shared(cluster) };
                let (checker, metadata) = (checker.into_model(), metadata(pairs));
                let settings = ClusterSettings { checker, check_port, use_instance_port, metadata };
                Row::Cluster(key, Some(Arc::new(settings)))
            }
            Line::Switches { switches } => setting(SettingKey::Switches, Setting::Switches(switches)),
            Line::Namespace { id, name, description, created } => {
                let label = Namespace { name: name.into_owned(), description: owned(description), created };
                setting(SettingKey::Namespace(shared(id)), Setting::Namespace(label))
            }
            Line::User { name, password_hash, created } => {
                let user = User { password_hash: password_hash.into_owned(), created };
                setting(SettingKey::User(shared(name)), Setting::User(user))
            }
            Line::Role { role, user, created } => {
                setting(SettingKey::Role { role: shared(role), user: shared(user) }, Setting::Role(created))
            }
            Line::Permission { role, resource, action, created } => {
                let (role, resource, action) = (shared(role), shared(resource), shared(action));
                setting(SettingKey::Permission { role, resource, action }, Setting::Permission(created))
            }
            Line::Agreed { position } => setting(SettingKey::Agreed, Setting::Agreed(shared(position))),
            Line::Subscription { namespace, service, listed, to, clusters, agent, source, app, grouped_names } => {
                let (service, clusters, agent) =
                    (ServiceKey::new(&namespace, &service), shared(clusters), shared(agent));
                let subscriber = Arc::new(SubscriberKey { listed, to, clusters, agent });
                let value = Subscription { source, app: shared(app), grouped_names };
                Row::Subscription(SubscriptionKey { service, subscriber }, Some(Arc::new(value)))
            }
        }
    }
}

fn shared(text: Cow<'_, str>) -> Arc<str> {
    (*text).into()
}

fn setting(key: SettingKey, setting: Setting) -> Row {
    Row::Setting(key, Some(Arc::new(setting)))
}

fn instance_line<'a>(key: &'a InstanceKey, value: &'a Instance) -> Line<'a> {
    let InstanceKey { service, cluster, ip, port, ephemeral } = key;
    let Instance { weight, healthy, enabled, marked, metadata, id, app, changed_ms } = value;
    Line::Instance {
        namespace: (&*service.namespace).into(),
        service: (&*service.name).into(),
        cluster: (&**cluster).into(),
        ip: (&**ip).into(),
        port: *port,
        ephemeral: *ephemeral,
        weight: *weight,
        healthy: *healthy,
        enabled: *enabled,
        marked: *marked,
        metadata: metadata.as_ref().map(pairs),
        id: id.as_deref().map(Cow::Borrowed),
        app: app.as_deref().map(Cow::Borrowed),
        changed_ms: *changed_ms,
    }
}

fn subscription_line<'a>(key: &'a SubscriptionKey, value: &'a Subscription) -> Line<'a> {
    let SubscriberKey { listed, to, clusters, agent } = &*key.subscriber;
    let Subscription { source, app, grouped_names } = value;
    Line::Subscription {
        namespace: (&*key.service.namespace).into(),
        service: (&*key.service.name).into(),
        listed: *listed,
        to: *to,
        clusters: (&**clusters).into(),
        agent: (&**agent).into(),
        source: *source,
        app: (&**app).into(),
        grouped_names: *grouped_names,
    }
}

fn setting_line<'a>(key: &'a SettingKey, setting: &'a Setting) -> Option<Line<'a>> {
    Some(match (key, setting) {
        (SettingKey::Switches, Setting::Switches(switches)) => Line::Switches { switches: switches.clone() },
        (SettingKey::Namespace(id), Setting::Namespace(Namespace { name, description, created })) => {
            Line::Namespace { id: (&**id).into(), name: name.into(), description: text(description), created: *created }
        }
        (SettingKey::User(name), Setting::User(User { password_hash, created })) => {
            Line::User { name: (&**name).into(), password_hash: password_hash.into(), created: *created }
        }
        (SettingKey::Role { role, user }, Setting::Role(created)) => {
            Line::Role { role: (&**role).into(), user: (&**user).into(), created: *created }
        }
        (SettingKey::Permission { role, resource, action }, Setting::Permission(created)) => Line::Permission {
            role: (&**role).into(),
            resource: (&**resource).into(),
            action: (&**action).into(),
            created: *created,
        },
        (SettingKey::Agreed, Setting::Agreed(position)) => Line::Agreed { position: (&**position).into() },
        (
            SettingKey::Switches
            | SettingKey::Namespace(_)
            | SettingKey::User(_)
            | SettingKey::Role { .. }
            | SettingKey::Permission { .. }
            | SettingKey::Agreed,
            _,
        ) => return None,
    })
}

impl<'a> Checker<'a> {
    fn of(checker: &'a HealthChecker) -> Self {
        match checker {
            HealthChecker::Tcp => Checker::Tcp,
            HealthChecker::Http { path, headers, expected_code } => {
                Checker::Http { path: path.into(), headers: headers.into(), expected_code: *expected_code }
            }
            HealthChecker::Mysql { user, pwd, cmd } => {
                Checker::Mysql { user: text(user), pwd: text(pwd), cmd: text(cmd) }
            }
            HealthChecker::None => Checker::None,
        }
    }

    fn into_model(self) -> HealthChecker {
        match self {
            Checker::Tcp => HealthChecker::Tcp,
            Checker::Http { path, headers, expected_code } => {
                HealthChecker::Http { path: path.into_owned(), headers: headers.into_owned(), expected_code }
            }
            Checker::Mysql { user, pwd, cmd } => {
                HealthChecker::Mysql { user: owned(user), pwd: owned(pwd), cmd: owned(cmd) }
            }
            Checker::None => HealthChecker::None,
        }
    }
}
