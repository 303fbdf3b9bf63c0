//! Values: `version u8 | sequence u64 BE | payload | crc32 BE of the key and all before`, and the payloads of rows.
//!
//! The payload of a row is bincode, which is not self-describing, so it is that of *stored forms* of this file, which
//! change with a new schema only; the model may change freely. The golden-bytes test pins them. bincode's settings:
//! little-endian, variable-length integers, trailing bytes refused, nothing larger than [`MAX_ROW_BYTES`], decoded from
//! slices only.
//!
//! | schema | row version | difference |
//! |---|---|---|
//! | 1 | 1 | a value for each row; instances have neither `id` nor `app` |
//! | 2 | 2 | a value for each row |
//! | 3 | 2 | rows in packs, see [`super::pack`] |
//! | 4 | 4 | ephemeral instances end with when they were changed |
//!
//! Only the last is written; a store of another is rewritten when it is opened.

use std::net::IpAddr;
use std::sync::Arc;

use bincode::Options as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::key::{self, Key, KeyFault, Names, PackKey};
use super::pack::Frames;
use crate::{
    error::{Error, Result},
    model::settings::{Namespace, Setting, SettingKey, Switches, User},
    model::subscription::Subscription,
    model::{ClusterSettings, HealthChecker, Instance, MAX_ROW_BYTES, Metadata, Row, Selector, ServiceSettings},
};

/// The schema that is written.
pub(super) const SCHEMA: u8 = 4;
/// The oldest schema that is read.
const OLDEST_SCHEMA: u8 = 1;
/// The last schema with a value for each row.
const LAST_SINGLE: u8 = 2;
/// The first schema that says when ephemeral instances were changed.
const FIRST_STAMPED: u8 = 4;

/// What that takes. [`MAX_ROW_BYTES`] is meant without it: what older schemas hold fits, and so does what peers send.
pub(super) const STAMP_BYTES: usize = 8;

/// What a value has beside its payload.
const ENVELOPE_BYTES: usize = 1 + 8 + CRC_BYTES;
const CRC_BYTES: usize = 4;

/// Refuses a row that [`Store::append`](super::Store::append) would refuse: one of more than [`MAX_ROW_BYTES`].
pub fn check_size(row: &Row) -> Result<()> {
    if bound(row).is_some_and(|bytes| bytes <= MAX_ROW_BYTES) {
        return Ok(());
    }
    Frames::default().push(row)
}

/// More bytes than an instance takes in any case, without encoding it; `None` for other rows.
pub(super) fn bound(row: &Row) -> Option<usize> {
    // Length of a text, of a number, and everything of fixed size, all rounded up.
    const TEXT: usize = 10;
    const FIXED: usize = 128;
    let Row::Instance(key, instance) = row else { return None };
    let names = [&key.service.namespace, &key.service.name, &key.cluster, &key.ip];
    // In a key a zero byte takes two.
    let names: usize = names.iter().map(|name| 2 * name.len() + 2).sum();
    let values = instance.as_deref().map_or(0, |instance| {
        let pairs = instance.metadata.iter().flat_map(Metadata::iter);
        let pairs: usize = pairs.map(|(key, value)| key.len() + value.len() + 2 * TEXT).sum();
        let texts = [&instance.id, &instance.app];
        pairs + texts.into_iter().flatten().map(|text| text.len() + TEXT).sum::<usize>()
    });
    Some(names + values + FIXED)
}

/// Why a stored row can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Its bytes are not those that were written.
    Damaged,
    /// It is sound, but from a program that knows more.
    Newer(String),
}

/// A row stored in a value of its own.
#[derive(Debug)]
pub(super) struct Single {
    pub(super) row: Row,
    pub(super) crc: u32,
}

/// The row under `key`, stored alone; `names` is what the rows read before have in common with it.
pub(super) fn decode_single(key: &[u8], value: &[u8], names: &mut Names) -> Result<Single, Fault> {
    let Envelope { version, payload, crc, .. } = unseal(key, value)?;
    if version > LAST_SINGLE {
        return Err(Fault::Newer(format!("a row of version {version}")));
    }
    Ok(Single { row: decode(key, payload, version, names)?, crc })
}

/// The row of `key` and the payload that [`encode`] wrote in schema `version`.
pub(super) fn decode(key: &[u8], payload: &[u8], version: u8, names: &mut Names) -> Result<Row, Fault> {
    let key = names.decode(key).map_err(|fault| match fault {
        KeyFault::UnknownKind(kind) => Fault::Newer(format!("a row of kind {kind:#04x}")),
        KeyFault::Malformed => Fault::Damaged,
    })?;
    Ok(match key {
        Key::Instance(key) if version == 1 => Row::Instance(key, Some(Arc::new(read::<InstanceV1>(payload)?.into()))),
        Key::Instance(key) => {
            let is_stamped = version >= FIRST_STAMPED && key.ephemeral;
            let (payload, stamp) = if is_stamped {
                payload.split_last_chunk::<STAMP_BYTES>().ok_or(Fault::Damaged)?
            } else {
                (payload, &[0; STAMP_BYTES])
            };
            let mut instance = Instance::from(read_borrowed::<StoredInstance<'_>>(payload)?);
            instance.changed_ms = u64::from_be_bytes(*stamp);
            Row::Instance(key, Some(Arc::new(instance)))
        }
        Key::Service(key) => Row::Service(key, Some(Arc::new(read::<StoredService>(payload)?.into()))),
        Key::Cluster(key) => Row::Cluster(key, Some(Arc::new(read::<StoredCluster>(payload)?.into()))),
        Key::Setting(key) => {
            let setting = read_setting(&key, payload)?;
            Row::Setting(key, Some(Arc::new(setting)))
        }
        Key::Subscription(key) => Row::Subscription(key, Some(Arc::new(read_subscription(payload)?))),
    })
}

/// The payload under `key`, from a pack of schema `version`, in the present schema; `None`: as it is.
pub(super) fn upgraded(key: &[u8], payload: &[u8], version: u8) -> Option<Vec<u8>> {
    let is_older = version < FIRST_STAMPED && key::is_ephemeral(key);
    is_older.then(|| [payload, &[0; STAMP_BYTES]].concat())
}

/// What makes a value [`Fault::Damaged`], for people.
pub(super) fn what_is_wrong(key: &[u8], value: &[u8]) -> &'static str {
    let Some((body, crc)) = value.split_last_chunk::<CRC_BYTES>() else { return "its value is too short" };
    match unseal(key, value) {
        Err(_) if checksum(key, body) != u32::from_be_bytes(*crc) => "its checksum does not match",
        Err(_) => "its value has no version that ever was",
        Ok(_) if PackKey::decode(key).is_none() && Names::default().decode(key).is_err() => {
            "its key can't be taken apart"
        }
        Ok(_) => "its payload can't be decoded",
    }
}

/// What the base row says: what a generation held when it was made. Its presence shows that it was made completely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Base {
    /// Number of rows.
    pub(super) rows: u64,
    /// Checksums of the values that hold them, combined, see [`mixed`].
    pub(super) sum: u64,
    /// Position of the last row before the journal.
    pub(super) position: u64,
}

impl Base {
    /// One more value, with `rows` rows.
    pub(super) fn add(&mut self, rows: u64, crc: u32) {
        self.rows += rows;
        self.sum ^= mixed(crc);
    }
}

/// A bijection without structure, so that checksums can be combined by xor in any order. The crc alone would not do: it
/// is linear, so two values that both fall back by the same change of bytes (say, their sequence) would cancel out.
pub(super) fn mixed(crc: u32) -> u64 {
    let mut x = u64::from(crc).wrapping_add(0x9E37_79B9_7F4A_7C15);
    x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// Value of the base row; `sequence` is that of the last batch in the base.
pub(super) fn encode_base(base: Base, sequence: u64) -> Result<Vec<u8>> {
    let mut payload = Vec::new();
    write(&base, &mut payload)?;
    Ok(seal(&key::BASE, SCHEMA, sequence, &[&payload]).0)
}

/// The base row and its sequence. In older schemas it was written with every batch and had no position.
pub(super) fn decode_base(value: &[u8]) -> Result<(Base, u64), Fault> {
    let Envelope { version, sequence, payload, .. } = unseal(&key::BASE, value)?;
    if version <= LAST_SINGLE {
        let (rows, sum) = read(payload)?;
        return Ok((Base { rows, sum, position: 0 }, sequence));
    }
    Ok((read(payload)?, sequence))
}

/// Value of the schema row: an envelope without payload, whose version is the schema. This form is for ever.
pub(super) fn encode_schema(schema: u8) -> Vec<u8> {
    seal(&key::SCHEMA, schema, 0, &[]).0
}

/// The schema that a schema row names.
pub(super) fn decode_schema(value: &[u8]) -> Result<u8, Fault> {
    unseal(&key::SCHEMA, value).map(|envelope| envelope.version)
}

/// A sound value taken apart.
pub(super) struct Envelope<'a> {
    pub(super) version: u8,
    pub(super) sequence: u64,
    pub(super) payload: &'a [u8],
    pub(super) crc: u32,
}

/// A value and its checksum; `parts` one after the other are the payload.
pub(super) fn seal(key: &[u8], version: u8, sequence: u64, parts: &[&[u8]]) -> (Vec<u8>, u32) {
    let payload_bytes: usize = parts.iter().map(|part| part.len()).sum();
    let mut value = Vec::with_capacity(ENVELOPE_BYTES + payload_bytes);
    value.push(version);
    value.extend(sequence.to_be_bytes());
    parts.iter().for_each(|part| value.extend_from_slice(part));
    let crc = checksum(key, &value);
    value.extend(crc.to_be_bytes());
    (value, crc)
}

/// The inverse of [`seal`].
pub(super) fn unseal<'a>(key: &[u8], value: &'a [u8]) -> Result<Envelope<'a>, Fault> {
    let (body, crc) = value.split_last_chunk::<CRC_BYTES>().ok_or(Fault::Damaged)?;
    let crc = u32::from_be_bytes(*crc);
    let (&version, rest) = body.split_first().ok_or(Fault::Damaged)?;
    let (sequence, payload) = rest.split_first_chunk::<8>().ok_or(Fault::Damaged)?;
    if version < OLDEST_SCHEMA || checksum(key, body) != crc {
        return Err(Fault::Damaged);
    }
    Ok(Envelope { version, sequence: u64::from_be_bytes(*sequence), payload, crc })
}

fn checksum(key: &[u8], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(body);
    hasher.finalize()
}

fn format() -> impl bincode::Options {
    bincode::DefaultOptions::new()
        .with_little_endian()
        .with_varint_encoding()
        .with_limit(MAX_ROW_BYTES as u64)
        .reject_trailing_bytes()
}

/// Appends to `out`. Whether it is too large is seen by who knows the whole row.
pub(super) fn write<T: Serialize>(stored: &T, out: &mut Vec<u8>) -> Result<()> {
    let written = format().with_no_limit().serialize_into(out, stored);
    written.map_err(|error| Error::Storage(format!("a row can't be encoded: {error}")))
}

fn read<T: DeserializeOwned>(payload: &[u8]) -> Result<T, Fault> {
    read_borrowed(payload)
}

/// Something else than a row.
pub(super) fn read_within<T: DeserializeOwned>(bytes: &[u8], limit: usize) -> Result<T, Fault> {
    format().with_limit(limit as u64).deserialize(bytes).map_err(|_| Fault::Damaged)
}

fn read_borrowed<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, Fault> {
    format().deserialize(payload).map_err(|_| Fault::Damaged)
}

/// Appends the payload of `row` to `out`; `false` if it is a removal, which has none.
pub(super) fn encode(row: &Row, out: &mut Vec<u8>) -> Result<bool> {
    match row {
        Row::Instance(key, Some(instance)) => {
            write(&StoredInstance::from(instance.as_ref()), out)?;
            if key.ephemeral {
                out.extend(instance.changed_ms.to_be_bytes());
            }
        }
        Row::Service(_, Some(settings)) => write(&StoredService::from(settings.as_ref()), out)?,
        Row::Cluster(_, Some(settings)) => write(&StoredCluster::from(settings.as_ref()), out)?,
        Row::Setting(_, Some(setting)) => write_setting(setting, out)?,
        Row::Subscription(_, Some(one)) => write(&(one.source.to_string(), &*one.app, one.grouped_names), out)?,
        Row::Instance(_, None) | Row::Service(_, None) | Row::Cluster(_, None) => return Ok(false),
        Row::Setting(_, None) | Row::Subscription(_, None) => return Ok(false),
    }
    Ok(true)
}

/// Switches are stored as their JSON: a new switch then needs no new schema.
fn write_setting(setting: &Setting, out: &mut Vec<u8>) -> Result<()> {
    match setting {
        Setting::Switches(switches) => {
            let json = serde_json::to_string(switches);
            write(&json.map_err(|error| Error::Storage(format!("switches can't be encoded: {error}")))?, out)
        }
        Setting::Namespace(Namespace { name, description, created }) => write(&(name, description, created), out),
        Setting::User(User { password_hash, created }) => write(&(password_hash, created), out),
        Setting::Role(at) | Setting::Permission(at) => write(at, out),
        Setting::Agreed(position) => write(position, out),
    }
}

fn read_setting(key: &SettingKey, payload: &[u8]) -> Result<Setting, Fault> {
    Ok(match key {
        SettingKey::Switches => {
            let switches: Switches = serde_json::from_str(read_borrowed(payload)?).map_err(|_| Fault::Damaged)?;
            Setting::Switches(Box::new(switches))
        }
        SettingKey::Namespace(_) => {
            let (name, description, created) = read(payload)?;
            Setting::Namespace(Namespace { name, description, created })
        }
        SettingKey::User(_) => {
            let (password_hash, created) = read(payload)?;
            Setting::User(User { password_hash, created })
        }
        SettingKey::Role { .. } => Setting::Role(read(payload)?),
        SettingKey::Permission { .. } => Setting::Permission(read(payload)?),
        SettingKey::Agreed => Setting::Agreed(read(payload)?),
    })
}

fn read_subscription(payload: &[u8]) -> Result<Subscription, Fault> {
    let (source, app, grouped_names): (&str, &str, bool) = read_borrowed(payload)?;
    let source: IpAddr = source.parse().map_err(|_| Fault::Damaged)?;
    Ok(Subscription { source, app: app.into(), grouped_names })
}

/// Metadata: pairs in order of keys.
type Pairs<'a> = Vec<(&'a str, &'a str)>;
type OwnedPairs = Vec<(String, String)>;

fn owned(metadata: &Metadata) -> OwnedPairs {
    metadata.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

#[derive(Serialize, Deserialize)]
struct StoredInstance<'a> {
    weight: f64,
    healthy: bool,
    enabled: bool,
    marked: bool,
    #[serde(borrow)]
    metadata: Option<Pairs<'a>>,
    #[serde(borrow)]
    id: Option<&'a str>,
    #[serde(borrow)]
    app: Option<&'a str>,
}

impl<'a> From<&'a Instance> for StoredInstance<'a> {
    fn from(instance: &'a Instance) -> Self {
        let Instance { weight, healthy, enabled, marked, metadata, id, app, changed_ms: _ } = instance;
        Self {
            weight: *weight,
            healthy: *healthy,
            enabled: *enabled,
            marked: *marked,
            metadata: metadata.as_ref().map(|m| m.iter().collect()),
            id: id.as_deref(),
            app: app.as_deref(),
        }
    }
}

impl From<StoredInstance<'_>> for Instance {
    fn from(stored: StoredInstance<'_>) -> Self {
        let StoredInstance { weight, healthy, enabled, marked, metadata, id, app } = stored;
        let metadata = metadata.map(|pairs| pairs.into_iter().collect());
        let (id, app) = (id.map(Into::into), app.map(Into::into));
        Self { weight, healthy, enabled, marked, metadata, id, app, changed_ms: 0 }
    }
}

/// An instance of schema 1.
#[derive(Serialize, Deserialize)]
struct InstanceV1 {
    weight: f64,
    healthy: bool,
    enabled: bool,
    marked: bool,
    metadata: Option<OwnedPairs>,
}

impl From<InstanceV1> for Instance {
    fn from(stored: InstanceV1) -> Self {
        let InstanceV1 { weight, healthy, enabled, marked, metadata } = stored;
        let metadata = metadata.map(|pairs| pairs.into_iter().collect());
        Self { weight, healthy, enabled, marked, metadata, id: None, app: None, changed_ms: 0 }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredService {
    protect_threshold: f32,
    metadata: OwnedPairs,
    selector: StoredSelector,
}

#[derive(Serialize, Deserialize)]
enum StoredSelector {
    None,
    Label { expression: String, labels: Vec<String> },
}

impl From<&ServiceSettings> for StoredService {
    fn from(settings: &ServiceSettings) -> Self {
        let selector = match &settings.selector {
            Selector::None => StoredSelector::None,
            Selector::Label { expression, labels } => {
                StoredSelector::Label { expression: expression.clone(), labels: labels.clone() }
            }
        };
        Self { protect_threshold: settings.protect_threshold, metadata: owned(&settings.metadata), selector }
    }
}

impl From<StoredService> for ServiceSettings {
    fn from(stored: StoredService) -> Self {
        let selector = match stored.selector {
            StoredSelector::None => Selector::None,
            StoredSelector::Label { expression, labels } => Selector::Label { expression, labels },
        };
        let metadata = stored.metadata.into_iter().collect();
        Self { protect_threshold: stored.protect_threshold, metadata, selector }
    }
}

#[derive(Serialize, Deserialize)]
struct StoredCluster {
    checker: StoredChecker,
    check_port: i32,
    use_instance_port: bool,
    metadata: OwnedPairs,
}

#[derive(Serialize, Deserialize)]
enum StoredChecker {
    Tcp,
    Http { path: String, headers: String, expected_code: i32 },
    Mysql { user: Option<String>, pwd: Option<String>, cmd: Option<String> },
    None,
}

impl From<&ClusterSettings> for StoredCluster {
    fn from(settings: &ClusterSettings) -> Self {
        let checker = match settings.checker.clone() {
            HealthChecker::Tcp => StoredChecker::Tcp,
            HealthChecker::Http { path, headers, expected_code } => {
                StoredChecker::Http { path, headers, expected_code }
            }
            HealthChecker::Mysql { user, pwd, cmd } => StoredChecker::Mysql { user, pwd, cmd },
            HealthChecker::None => StoredChecker::None,
        };
        Self {
            checker,
            check_port: settings.check_port,
            use_instance_port: settings.use_instance_port,
            metadata: owned(&settings.metadata),
        }
    }
}

impl From<StoredCluster> for ClusterSettings {
    fn from(stored: StoredCluster) -> Self {
        let StoredCluster { checker, check_port, use_instance_port, metadata } = stored;
        let checker = match checker {
            StoredChecker::Tcp => HealthChecker::Tcp,
            StoredChecker::Http { path, headers, expected_code } => {
                HealthChecker::Http { path, headers, expected_code }
            }
            StoredChecker::Mysql { user, pwd, cmd } => HealthChecker::Mysql { user, pwd, cmd },
            StoredChecker::None => HealthChecker::None,
        };
        Self { checker, check_port, use_instance_port, metadata: metadata.into_iter().collect() }
    }
}

/// A row as schema 1 or 2 wrote it.
#[cfg(test)]
pub(super) fn encode_single(row: &Row, version: u8, sequence: u64) -> (Vec<u8>, Vec<u8>, u32) {
    let key = key::encode(row);
    let mut payload = Vec::new();
    match row {
        Row::Instance(_, Some(instance)) if version == 1 => {
            let Instance { weight, healthy, enabled, marked, ref metadata, .. } = **instance;
            let metadata = metadata.as_ref().map(owned);
            write(&InstanceV1 { weight, healthy, enabled, marked, metadata }, &mut payload).unwrap();
        }
        Row::Instance(_, Some(instance)) => write(&StoredInstance::from(instance.as_ref()), &mut payload).unwrap(),
        other => assert!(encode(other, &mut payload).unwrap()),
    }
    let (value, crc) = seal(&key, version, sequence, &[&payload]);
    (key, value, crc)
}

/// The base row as schema 1 or 2 wrote it.
#[cfg(test)]
pub(super) fn encode_old_base(rows: u64, sum: u64, version: u8, sequence: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    write(&(rows, sum), &mut payload).unwrap();
    seal(&key::BASE, version, sequence, &[&payload]).0
}
