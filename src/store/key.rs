//! Keys: a kind byte, then the names, each escaped so that byte order is name order and no two keys coincide.
//!
//! | kind | parts |
//! |---|---|
//! | `0x00` the schema row, `0x01` the base row | none |
//! | `0x02` base pack, `0xF0` journal pack | number, part: see [`super::pack`] |
//! | `0x10` ephemeral instance, `0x20` persistent instance | namespace, service, cluster, ip, port |
//! | `0x30` service settings | namespace, service |
//! | `0x40` cluster settings | namespace, service, cluster |
//! | `0x50` switches | none |
//! | `0x58` namespace label | id |
//! | `0x60` user | name |
//! | `0x68` role of a user | role, user |
//! | `0x70` permission of a role | role, resource, action |
//! | `0x78` how far what a cluster agreed on was carried out | none |
//! | `0x80` subscription | namespace, service, listed address, address to send to, clusters, agent |
//!
//! In a name the byte `00` becomes `00 FF`; a name ends with `00 01`. The port is 4 bytes, big-endian, with the sign
//! bit flipped. Addresses are texts (`1.2.3.4:5`, `[::1]:5`). The gaps between kinds are room for related kinds to come.

use std::{borrow::Cow, net::SocketAddr, sync::Arc};

use crate::model::settings::SettingKey;
use crate::model::subscription::{SubscriberKey, SubscriptionKey};
use crate::model::{ClusterKey, InstanceKey, Row, ServiceKey};

/// Key of the schema row.
pub(super) const SCHEMA: [u8; 1] = [0x00];
/// Key of the base row.
pub(super) const BASE: [u8; 1] = [0x01];
/// Keys from here on are those of packs and rows.
pub(super) const FIRST: [u8; 1] = [BASE_PACK];
/// Keys from here on are those of the journal.
pub(super) const JOURNAL: [u8; 1] = [JOURNAL_PACK];

const BASE_PACK: u8 = 0x02;
const JOURNAL_PACK: u8 = 0xF0;
const EPHEMERAL: u8 = 0x10;
const PERSISTENT: u8 = 0x20;
const SERVICE: u8 = 0x30;
const CLUSTER: u8 = 0x40;
const SWITCHES: u8 = 0x50;
const NAMESPACE: u8 = 0x58;
const USER: u8 = 0x60;
const ROLE: u8 = 0x68;
const PERMISSION: u8 = 0x70;
const AGREED: u8 = 0x78;
const SUBSCRIPTION: u8 = 0x80;

const ZERO: u8 = 0x00;
const ESCAPED: u8 = 0xFF;
const END: u8 = 0x01;
const SIGN: u32 = 0x8000_0000;

/// A key taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Key {
    Instance(InstanceKey),
    Service(ServiceKey),
    Cluster(ClusterKey),
    Setting(SettingKey),
    Subscription(SubscriptionKey),
}

/// Why bytes are no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyFault {
    UnknownKind(u8),
    Malformed,
}

/// The key of a pack: kind, number u64 BE, part u32 BE.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PackKey {
    pub(super) is_journal: bool,
    /// In the journal the sequence of the batch, in the base any that is not used twice.
    pub(super) number: u64,
    /// Packs of one number count from 0.
    pub(super) part: u32,
}

impl PackKey {
    pub(super) const BYTES: usize = 13;

    pub(super) fn encode(self) -> [u8; Self::BYTES] {
        let Self { is_journal, number, part } = self;
        let mut key = [0; Self::BYTES];
        let kind = if is_journal { JOURNAL_PACK } else { BASE_PACK };
        let bytes = [kind].into_iter().chain(number.to_be_bytes()).chain(part.to_be_bytes());
        key.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        key
    }

    /// `None` if `key` is not that of a pack.
    pub(super) fn decode(key: &[u8]) -> Option<Self> {
        let (&kind, rest) = key.split_first()?;
        let is_journal = match kind {
            BASE_PACK => false,
            JOURNAL_PACK => true,
            _ => return None,
        };
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let part = u32::from_be_bytes(rest.try_into().ok()?);
        Some(Self { is_journal, number: u64::from_be_bytes(*number), part })
    }

    /// Where a range of keys may be cut at or before `key` so that all parts of one number stay together.
    pub(super) fn cut(key: &[u8]) -> &[u8] {
        Self::decode(key).and_then(|_| key.get(..Self::BYTES - 4)).unwrap_or(key)
    }
}

/// Whether `key` is that of an ephemeral instance.
pub(super) fn is_ephemeral(key: &[u8]) -> bool {
    key.first() == Some(&EPHEMERAL)
}

/// The key of `row`.
pub(super) fn encode(row: &Row) -> Vec<u8> {
    let mut key = Vec::new();
    append(&mut key, row);
    key
}

/// Appends the key of `row` to `key`.
pub(super) fn append(key: &mut Vec<u8>, row: &Row) {
    match row {
        Row::Instance(k, _) => {
            key.push(if k.ephemeral { EPHEMERAL } else { PERSISTENT });
            push_service(key, &k.service);
            push(key, &k.cluster);
            push(key, &k.ip);
            key.extend((k.port.cast_unsigned() ^ SIGN).to_be_bytes());
        }
        Row::Service(k, _) => {
            key.push(SERVICE);
            push_service(key, k);
        }
        Row::Cluster(k, _) => {
            key.push(CLUSTER);
            push_service(key, &k.service);
            push(key, &k.name);
        }
        Row::Setting(k, _) => push_setting(key, k),
        Row::Subscription(k, _) => {
            key.push(SUBSCRIPTION);
            push_service(key, &k.service);
            let SubscriberKey { listed, to, clusters, agent } = &*k.subscriber;
            push(key, &listed.to_string());
            push(key, &to.to_string());
            push(key, clusters);
            push(key, agent);
        }
    }
}

fn push_setting(key: &mut Vec<u8>, setting: &SettingKey) {
    let (kind, names): (u8, &[&Arc<str>]) = match setting {
        SettingKey::Switches => (SWITCHES, &[]),
        SettingKey::Namespace(id) => (NAMESPACE, &[id]),
        SettingKey::User(name) => (USER, &[name]),
        SettingKey::Role { role, user } => (ROLE, &[role, user]),
        SettingKey::Permission { role, resource, action } => (PERMISSION, &[role, resource, action]),
        SettingKey::Agreed => (AGREED, &[]),
    };
    key.push(kind);
    names.iter().for_each(|name| push(key, name));
}

fn push_service(key: &mut Vec<u8>, service: &ServiceKey) {
    push(key, &service.namespace);
    push(key, &service.name);
}

fn push(key: &mut Vec<u8>, name: &str) {
    for (at, run) in name.as_bytes().split(|byte| *byte == ZERO).enumerate() {
        if at > 0 {
            key.extend([ZERO, ESCAPED]);
        }
        key.extend_from_slice(run);
    }
    key.extend([ZERO, END]);
}

/// Takes keys apart. Neighbours in key order share their names, which saves most of the memory that names take.
#[derive(Debug)]
pub(super) struct Names {
    service: ServiceKey,
    cluster: Arc<str>,
    agent: Arc<str>,
}

impl Default for Names {
    fn default() -> Self {
        Self { service: ServiceKey::new("", ""), cluster: "".into(), agent: "".into() }
    }
}

impl Names {
    /// The exact inverse of [`append`].
    pub(super) fn decode(&mut self, key: &[u8]) -> Result<Key, KeyFault> {
        let (&kind, mut rest) = key.split_first().ok_or(KeyFault::Malformed)?;
        let key = match kind {
            EPHEMERAL | PERSISTENT => {
                let service = self.service(&mut rest)?;
                let cluster = shared(&mut self.cluster, &pull(&mut rest)?);
                let ip = pull(&mut rest)?.as_ref().into();
                let (port, end) = rest.split_first_chunk::<4>().ok_or(KeyFault::Malformed)?;
                rest = end;
                let port = (u32::from_be_bytes(*port) ^ SIGN).cast_signed();
                Key::Instance(InstanceKey { service, cluster, ip, port, ephemeral: kind == EPHEMERAL })
            }
            SERVICE => Key::Service(self.service(&mut rest)?),
            CLUSTER => {
                let service = self.service(&mut rest)?;
                Key::Cluster(ClusterKey { service, name: shared(&mut self.cluster, &pull(&mut rest)?) })
            }
            SWITCHES => Key::Setting(SettingKey::Switches),
            NAMESPACE => Key::Setting(SettingKey::Namespace(text(&mut rest)?)),
            USER => Key::Setting(SettingKey::User(text(&mut rest)?)),
            ROLE => Key::Setting(SettingKey::Role { role: text(&mut rest)?, user: text(&mut rest)? }),
            PERMISSION => Key::Setting(SettingKey::Permission {
                role: text(&mut rest)?,
                resource: text(&mut rest)?,
                action: text(&mut rest)?,
            }),
            AGREED => Key::Setting(SettingKey::Agreed),
            SUBSCRIPTION => Key::Subscription(self.subscription(&mut rest)?),
            other => return Err(KeyFault::UnknownKind(other)),
        };
        if rest.is_empty() { Ok(key) } else { Err(KeyFault::Malformed) }
    }

    fn subscription(&mut self, rest: &mut &[u8]) -> Result<SubscriptionKey, KeyFault> {
        let service = self.service(rest)?;
        let (listed, to) = (address(rest)?, address(rest)?);
        let clusters = shared(&mut self.cluster, &pull(rest)?);
        let subscriber = SubscriberKey { listed, to, clusters, agent: shared(&mut self.agent, &pull(rest)?) };
        Ok(SubscriptionKey { service, subscriber: subscriber.into() })
    }

    fn service(&mut self, rest: &mut &[u8]) -> Result<ServiceKey, KeyFault> {
        shared(&mut self.service.namespace, &pull(rest)?);
        shared(&mut self.service.name, &pull(rest)?);
        Ok(self.service.clone())
    }
}

/// `last` if it says the same as `name`, otherwise a new text that becomes `last`.
fn shared(last: &mut Arc<str>, name: &str) -> Arc<str> {
    if last.as_ref() != name {
        *last = name.into();
    }
    last.clone()
}

fn text(rest: &mut &[u8]) -> Result<Arc<str>, KeyFault> {
    pull(rest).map(|name| name.as_ref().into())
}

/// An address in the one form in which it is written.
fn address(rest: &mut &[u8]) -> Result<SocketAddr, KeyFault> {
    let text = pull(rest)?;
    let address: SocketAddr = text.parse().map_err(|_| KeyFault::Malformed)?;
    if address.to_string() == text { Ok(address) } else { Err(KeyFault::Malformed) }
}

/// Takes one name off `rest`.
fn pull<'a>(rest: &mut &'a [u8]) -> Result<Cow<'a, str>, KeyFault> {
    let mut unescaped: Vec<u8> = Vec::new();
    loop {
        let zero = rest.iter().position(|byte| *byte == ZERO).ok_or(KeyFault::Malformed)?;
        let (run, tail) = rest.split_at(zero);
        match tail {
            [_, END, after @ ..] => {
                *rest = after;
                if unescaped.is_empty() {
                    return std::str::from_utf8(run).map(Cow::Borrowed).map_err(|_| KeyFault::Malformed);
                }
                unescaped.extend_from_slice(run);
                return String::from_utf8(unescaped).map(Cow::Owned).map_err(|_| KeyFault::Malformed);
            }
            [_, ESCAPED, after @ ..] => {
                *rest = after;
                unescaped.extend_from_slice(run);
                unescaped.push(ZERO);
            }
            _ => return Err(KeyFault::Malformed),
        }
    }
}
