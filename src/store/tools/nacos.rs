//! The persistent data of a real Nacos server: the folder `data/naming` of its home (`spec/service-api.md` 5,
//! `spec/persistent.md` 1). One file a key, each a record `{"key":..., "value":..., "timestamp":0}`.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::model::settings::{Setting, SettingKey, Switches};
use crate::model::{
    ClusterKey, ClusterSettings, DEFAULT_APP, DEFAULT_CLUSTER, Instance, InstanceKey, Metadata, Row, ServiceKey,
    ServiceSettings,
};
use crate::wire::{checker, metadata, selector};

const SERVICE: &str = "com.alibaba.nacos.naming.domains.meta.";
const INSTANCES: &str = "com.alibaba.nacos.naming.iplist.";
const EPHEMERAL: &str = "com.alibaba.nacos.naming.iplist.ephemeral.";
const SWITCHES: &str = "00-00---000-NACOS_SWITCH_DOMAIN-000---00-00";
/// A file larger than this is none of these.
const MAX_FILE_BYTES: u64 = 256 << 20;
/// Folders within each other.
const MAX_DEPTH: usize = 3;

/// Is given each row and where it stands.
pub(super) type Take<'a> = dyn FnMut(Row, &dyn fmt::Display) -> Result<()> + 'a;

#[derive(Deserialize)]
struct Record<'a> {
    key: String,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceRecord<'a> {
    #[serde(default)]
    protect_threshold: f32,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
    #[serde(borrow)]
    selector: Option<&'a RawValue>,
    #[serde(borrow, default)]
    cluster_map: BTreeMap<String, ClusterRecord<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClusterRecord<'a> {
    #[serde(borrow)]
    health_checker: Option<&'a RawValue>,
    default_check_port: Option<i32>,
    /// The same under the name that requests use; which of both is there has changed over the versions.
    #[serde(rename = "defCkport")]
    def_check_port: Option<i32>,
    #[serde(rename = "useIPPort4Check")]
    use_instance_port: Option<bool>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InstancesRecord<'a> {
    #[serde(borrow)]
    instance_list: Vec<InstanceRecord<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct InstanceRecord<'a> {
    instance_id: Option<String>,
    ip: String,
    port: i32,
    weight: Option<f64>,
    healthy: Option<bool>,
    enabled: Option<bool>,
    marked: Option<bool>,
    cluster_name: Option<String>,
    app: Option<String>,
    /// Missing is none, null is null.
    #[serde(borrow, default)]
    metadata: Said<'a>,
}

/// A member that may be missing, or null, or something.
#[derive(Default)]
struct Said<'a>(Option<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Said<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&'a RawValue>::deserialize(deserializer).map(|text| Said(Some(text)))
    }
}

/// Reads all records at or below `path`: a Nacos home, its `data/naming`, or that folder's `data`.
///
/// # Errors
/// [`Error::Input`] with the file that is wrong; there has to be one at least.
pub(super) fn read(path: &Path, take: &mut Take<'_>) -> Result<()> {
    let data = ["data/naming/data", "data", ""].into_iter().map(|below| path.join(below)).find(|path| path.is_dir());
    let data = data.unwrap_or_else(|| path.to_owned());
    let (mut files, mut services, mut named) = (Vec::new(), HashSet::new(), BTreeMap::new());
    collect(&data, MAX_DEPTH, &mut files)?;
    if files.is_empty() {
        return Err(Error::Input(format!("there is no record of Nacos below {}", path.display())));
    }
    files.sort();
    for file in files {
        let text = text_of(&file)?;
        let wrong = |what: &dyn fmt::Display| Error::Input(format!("{}: {what}", file.display()));
        let record: Record<'_> = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
        let value = record.value.map(RawValue::get).ok_or_else(|| wrong(&"a record without a value"))?;
        let place = file.display();
        if record.key.strip_prefix(SERVICE) == Some(SWITCHES) {
            let switches: Switches = serde_json::from_str(value).map_err(|error| wrong(&error))?;
            let setting = Setting::Switches(Box::new(switches));
            take(Row::Setting(SettingKey::Switches, Some(Arc::new(setting))), &place)?;
        } else if let Some(name) = record.key.strip_prefix(SERVICE) {
            let key = service_key(name).ok_or_else(|| wrong(&"a key without ## and @@"))?;
            service(&key, value, &mut |row| take(row, &place))?.map_err(|what| wrong(&what))?;
            services.insert(key);
        } else if let Some(name) = record.key.strip_prefix(INSTANCES).filter(|_| !record.key.starts_with(EPHEMERAL)) {
            let key = service_key(name).ok_or_else(|| wrong(&"a key without ## and @@"))?;
            let list: InstancesRecord<'_> = serde_json::from_str(value).map_err(|error| wrong(&error))?;
            for one in list.instance_list {
                let row = instance(&key, one).map_err(|error| wrong(&error))?;
                take(row, &place)?;
            }
            named.insert(key, file.clone());
        } else {
            return Err(wrong(&format_args!("no key that is known: {}", record.key.escape_debug())));
        }
    }
    // A service that was only made by its instances is as lasting as they are.
    for (key, file) in named.into_iter().filter(|(key, _)| !services.contains(key)) {
        take(Row::Service(key, Some(Arc::default())), &file.display())?;
    }
    Ok(())
}

fn collect(folder: &Path, depth: usize, files: &mut Vec<PathBuf>) -> Result<()> {
    let unreadable = |error| Error::Input(format!("{} can't be read: {error}", folder.display()));
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let is_record = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("com.alibaba.nacos."));
        if path.is_dir() && depth > 0 {
            collect(&path, depth - 1, files)?;
        } else if is_record {
            files.push(path);
        }
    }
    Ok(())
}

fn text_of(path: &Path) -> Result<String> {
    let unreadable = |error: &dyn fmt::Display| Error::Input(format!("{} can't be read: {error}", path.display()));
    let mut text = String::new();
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text).map_err(|error| unreadable(&error))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(unreadable(&"it is too large for a record"));
    }
    Ok(text)
}

/// Of `NAMESPACE##GROUPED`.
fn service_key(text: &str) -> Option<ServiceKey> {
    let (namespace, name) = text.split_once("##")?;
    name.contains(crate::model::GROUP_SEPARATOR).then(|| ServiceKey::new(namespace, name))
}

/// The rows of a service and its clusters. The outer error is that of `take`.
fn service(key: &ServiceKey, text: &str, take: &mut dyn FnMut(Row) -> Result<()>) -> Result<Result<(), String>> {
    let rows = match service_rows(key, text) {
        Ok(rows) => rows,
        Err(what) => return Ok(Err(what)),
    };
    rows.into_iter().try_for_each(take).map(Ok)
}

fn service_rows(key: &ServiceKey, text: &str) -> Result<Vec<Row>, String> {
    let record: ServiceRecord<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let selector = record.selector.map_or("", RawValue::get);
    let settings = ServiceSettings {
        protect_threshold: record.protect_threshold,
        metadata: metadata_of(record.metadata)?.unwrap_or_default(),
        selector: if selector == "null" { Default::default() } else { selector::parse(selector).map_err(told)? },
    };
    let mut rows = vec![Row::Service(key.clone(), Some(Arc::new(settings)))];
    for (name, cluster) in record.cluster_map {
        let default = ClusterSettings::default();
        let checker = cluster.health_checker.map(RawValue::get).filter(|text| *text != "null");
        let settings = ClusterSettings {
            checker: checker.map_or(Ok(default.checker), checker::parse).map_err(told)?,
            check_port: cluster.default_check_port.or(cluster.def_check_port).unwrap_or(default.check_port),
            use_instance_port: cluster.use_instance_port.unwrap_or(default.use_instance_port),
            metadata: metadata_of(cluster.metadata)?.unwrap_or_default(),
        };
        let key = ClusterKey { service: key.clone(), name: name.into() };
        rows.push(Row::Cluster(key, Some(Arc::new(settings))));
    }
    Ok(rows)
}

fn instance(service: &ServiceKey, record: InstanceRecord<'_>) -> Result<Row, String> {
    let InstanceRecord { instance_id, ip, port, weight, healthy, enabled, marked, cluster_name, app, metadata } =
        record;
    let cluster = cluster_name.filter(|name| !name.is_empty()).unwrap_or_else(|| DEFAULT_CLUSTER.to_owned());
    let ordinary = format!("{ip}#{port}#{cluster}#{}", service.name);
    let default = Instance::default();
    let weight = match weight.unwrap_or(default.weight) {
        // As the reference takes them (`spec/distro.md` 3).
        weight if weight > 10_000.0 => 10_000.0,
        weight if weight > 0.0 && weight < 0.01 => 0.01,
        weight => weight,
    };
    let value = Instance {
        weight,
        healthy: healthy.unwrap_or(default.healthy),
        enabled: enabled.unwrap_or(default.enabled),
        marked: marked.unwrap_or(default.marked),
        metadata: match metadata.0 {
            None => default.metadata,
            said => metadata_of(said)?,
        },
        id: instance_id.filter(|id| *id != ordinary).map(Into::into),
        app: app.filter(|app| app != DEFAULT_APP).map(Into::into),
        changed_ms: 0,
    };
    let (cluster, ip) = (cluster.into(), ip.into());
    let key = InstanceKey { service: service.clone(), cluster, ip, port, ephemeral: false };
    Ok(Row::Instance(key, Some(Arc::new(value))))
}

fn metadata_of(text: Option<&RawValue>) -> Result<Option<Metadata>, String> {
    text.map_or(Ok(None), |text| metadata::parse(text.get()).map_err(told))
}

fn told(error: Error) -> String {
    error.message().to_owned()
}
