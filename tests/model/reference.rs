//! The map: what the registry has to hold and to answer after a sequence of commands, written from the rules of the API
//! (2.1 to 2.3 and 5 of the instance API, 1.4 of the service API, 1 and 3 of health), not from the code under test.

use std::collections::{BTreeMap, BTreeSet};

use nacre::model::command::{Address, Command, MetadataChange, Patch, Scope};
use nacre::model::settings::SettingKey;
use nacre::model::subscription::SubscriptionKey;
use nacre::model::{
    ClusterKey, ClusterSettings, HealthChecker, Instance, InstanceKey, Metadata, Row, ServiceKey, ServiceSettings,
};
use nacre::registry::Registry;

/// Metadata of more than this many bytes can't be stored. Random metadata stay well away from the exact limit.
const MAX_METADATA_BYTES: usize = 64 * 1024;

/// What a command answers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Answer {
    Done,
    Updated(BTreeSet<InstanceKey>),
    /// The request is at fault; the text is part of the protocol.
    Input(String),
    /// It can't be carried out; the text is part of the protocol where there is one.
    Refused(Option<String>),
    TooLarge,
}

/// Everything registered.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Reference {
    services: BTreeMap<ServiceKey, Service>,
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Service {
    /// `None`: in memory only.
    settings: Option<ServiceSettings>,
    /// Settings once somebody gave some.
    clusters: BTreeMap<String, Option<ClusterSettings>>,
    instances: BTreeMap<InstanceKey, Entry>,
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    instance: Instance,
    last_beat_ms: u64,
}

impl Entry {
    /// Whether beats may be judged by that last one: none came after it, and nothing says to leave it alone.
    fn is_silent_since(&self, last_beat_ms: u64) -> bool {
        self.last_beat_ms <= last_beat_ms && !self.instance.marked
    }
}

/// What names a row.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RowKey {
    Service(ServiceKey),
    Cluster(ClusterKey),
    Instance(InstanceKey),
    Setting(SettingKey),
    Subscription(SubscriptionKey),
}

impl RowKey {
    /// The service that the row is in.
    pub(crate) fn service(&self) -> Option<&ServiceKey> {
        match self {
            Self::Service(key) => Some(key),
            Self::Cluster(key) => Some(&key.service),
            Self::Instance(key) => Some(&key.service),
            Self::Setting(_) | Self::Subscription(_) => None,
        }
    }

    pub(crate) fn of(row: &Row) -> Self {
        match row {
            Row::Service(key, _) => Self::Service(key.clone()),
            Row::Cluster(key, _) => Self::Cluster(key.clone()),
            Row::Instance(key, _) => Self::Instance(key.clone()),
            Row::Setting(key, _) => Self::Setting(key.clone()),
            Row::Subscription(key, _) => Self::Subscription(key.clone()),
        }
    }
}

fn name_is_of(name: &str, signs: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || signs.contains(c))
}

fn service_name_fault(name: &str) -> Option<Answer> {
    let text = format!("dom name can only have these characters: 0-9a-zA-Z-._:, current: {name}");
    (!name_is_of(name, "@.:_-")).then_some(Answer::Input(text))
}

fn cluster_name_fault(name: &str) -> Option<Answer> {
    let text = format!("cluster name can only have these characters: 0-9a-zA-Z-, current: {name}");
    (!name_is_of(name, "-")).then_some(Answer::Input(text))
}

fn fits(metadata: Option<&Metadata>) -> bool {
    metadata.is_none_or(|m| m.iter().map(|(k, v)| k.len() + v.len()).sum::<usize>() < MAX_METADATA_BYTES)
}

fn wants_number(metadata: Option<&Metadata>) -> bool {
    let generator = metadata.and_then(|m| m.get("preserved.instance.id.generator"));
    generator.is_some_and(|text| text.to_lowercase() == "snowflake")
}

impl Service {
    /// Instance API 2.3: the smallest number that no instance of that kind has for its id.
    fn free_number(&self, ephemeral: bool) -> String {
        let of_kind = self.instances.iter().filter(|(key, _)| key.ephemeral == ephemeral);
        let taken: BTreeSet<_> = of_kind.filter_map(|(_, entry)| entry.instance.id.clone()).collect();
        let mut numbers = (0..).map(|number: u32| number.to_string());
        numbers.find(|number| !taken.contains(number.as_str())).unwrap()
    }

    /// The persistent instance at an address, else the ephemeral one.
    fn at(&mut self, address: &Address) -> Option<&mut Entry> {
        let kind = [false, true].into_iter().find(|kind| self.instances.contains_key(&address.of_kind(*kind)))?;
        self.instances.get_mut(&address.of_kind(kind))
    }
}

impl Reference {
    /// What a registry holds, by its queries.
    pub(crate) fn of(registry: &Registry) -> Self {
        let services = registry.services().into_iter().map(|service| {
            let view = service.view();
            let names = view.clusters.iter().map(|(name, _)| name.to_string());
            let instances = view.slots.iter().map(|slot| {
                let key = slot.key(service.key());
                assert!(registry.find(&key).is_some() && !slot.is_gone(), "{key:?} is listed");
                (key, Entry { instance: (*slot.instance()).clone(), last_beat_ms: slot.last_beat_ms() })
            });
            let held = Service {
                settings: service.is_stored().then(|| (*service.settings()).clone()),
                clusters: names.map(|name| (name.clone(), settings_of(&service, &name))).collect(),
                instances: instances.collect(),
            };
            assert_eq!((view.slots.len(), view.clusters.len()), (held.instances.len(), held.clusters.len()), "twice");
            (service.key().clone(), held)
        });
        Self { services: services.collect() }
    }

    /// The rows that a registry wants stored.
    pub(crate) fn rows_of(registry: &Registry) -> BTreeMap<RowKey, Row> {
        let rows: Vec<_> = registry.rows().collect();
        let keyed: BTreeMap<_, _> = rows.iter().map(|row| (RowKey::of(row), row.clone())).collect();
        assert_eq!(keyed.len(), rows.len(), "a row twice");
        keyed
    }

    /// The rows that have to be stored.
    pub(crate) fn rows(&self) -> BTreeMap<RowKey, Row> {
        let mut rows = Vec::new();
        for (key, service) in &self.services {
            rows.extend(service.settings.iter().map(|s| Row::Service(key.clone(), Some(s.clone().into()))));
            for (name, settings) in &service.clusters {
                let key = ClusterKey { service: key.clone(), name: name.as_str().into() };
                rows.extend(settings.iter().map(|s| Row::Cluster(key.clone(), Some(s.clone().into()))));
            }
            let instances = service.instances.iter();
            rows.extend(instances.map(|(key, entry)| Row::Instance(key.clone(), Some(entry.instance.clone().into()))));
        }
        rows.into_iter().map(|row| (RowKey::of(&row), row)).collect()
    }

    pub(crate) fn service_count(&self) -> usize {
        self.services.len()
    }

    pub(crate) fn instance_count(&self) -> usize {
        self.services.values().map(|service| service.instances.len()).sum()
    }

    /// When an instance last beat; some time in the past for one that isn't there.
    pub(crate) fn last_beat_ms(&self, key: &InstanceKey) -> u64 {
        self.services.get(&key.service).and_then(|s| s.instances.get(key)).map_or(500, |entry| entry.last_beat_ms)
    }

    /// A beat; whether there is such an instance.
    pub(crate) fn beat(&mut self, key: &InstanceKey, now_ms: u64) -> bool {
        self.entry(key).map(|entry| entry.last_beat_ms = now_ms).is_some()
    }

    /// A restart at `now_ms`: what nobody stored is gone, every instance gets a full timeout.
    pub(crate) fn restart(&mut self, now_ms: u64) {
        for service in self.services.values_mut() {
            let used: BTreeSet<_> = service.instances.keys().map(|key| key.cluster.to_string()).collect();
            service.clusters.retain(|name, settings| settings.is_some() || used.contains(name));
            service.instances.values_mut().for_each(|entry| entry.last_beat_ms = now_ms);
        }
        self.services.retain(|_, service| service.settings.is_some() || !service.clusters.is_empty());
    }

    fn entry(&mut self, key: &InstanceKey) -> Option<&mut Entry> {
        self.services.get_mut(&key.service)?.instances.get_mut(key)
    }

    /// Carries a command out at `now_ms`.
    pub(crate) fn apply(&mut self, command: &Command, now_ms: u64) -> Answer {
        let before = self.clone();
        let answer = self.carry_out(command, now_ms);
        let mut entries = self.services.values().flat_map(|service| service.instances.values());
        if entries.all(|entry| fits(entry.instance.metadata.as_ref())) {
            return answer;
        }
        // All or nothing.
        *self = before;
        Answer::TooLarge
    }

    fn carry_out(&mut self, command: &Command, now_ms: u64) -> Answer {
        match command {
            Command::Register(key, instance) => self.register(key, instance, now_ms),
            Command::Deregister(key) => self.deregister(key),
            Command::Replace(key, instance, text) => self.replace(key, instance, text, now_ms),
            Command::Patch(address, patch) => self.patch(address, patch, now_ms),
            Command::ChangeMetadata(service, scope, change) => self.change_metadata(service, scope, change),
            Command::SetHealth(address, healthy) => self.set_health(address, *healthy),
            Command::Heal(key) => {
                if let Some(entry) = self.entry(key).filter(|entry| !entry.instance.marked) {
                    entry.instance.healthy = true;
                }
                Answer::Done
            }
            Command::Fade { key, last_beat_ms } => {
                if let Some(entry) = self.entry(key).filter(|entry| entry.is_silent_since(*last_beat_ms)) {
                    entry.instance.healthy = false;
                }
                Answer::Done
            }
            Command::Expire { key, last_beat_ms } => {
                if self.entry(key).is_some_and(|entry| entry.is_silent_since(*last_beat_ms)) {
                    self.deregister(key);
                }
                Answer::Done
            }
            Command::CreateService(key, settings) => self.create_service(key, settings),
            Command::UpdateService(key, settings) => match self.services.get_mut(key) {
                Some(service) => {
                    service.settings = Some(settings.clone());
                    service.store_clusters();
                    Answer::Done
                }
                None => Answer::Refused(Some(format!("service {} not found!", key.name))),
            },
            Command::DeleteService(key) => match self.services.remove(key) {
                Some(_) => Answer::Done,
                None => Answer::Input(format!("specified service not exist, serviceName : {}", key.name)),
            },
            Command::CleanService(key) => {
                self.services.retain(|known, service| known != key || !service.instances.is_empty());
                Answer::Done
            }
            Command::UpdateCluster(key, settings) => self.update_cluster(key, settings),
            Command::CheckedHealth { key, healthy } => {
                if let Some(entry) = self.entry(key) {
                    entry.instance.healthy = *healthy;
                }
                Answer::Done
            }
            other => panic!("this map is of services only: {other:?}"),
        }
    }

    fn register(&mut self, key: &InstanceKey, instance: &Instance, now_ms: u64) -> Answer {
        if !self.services.contains_key(&key.service)
            && let Some(fault) = service_name_fault(&key.service.name)
        {
            return fault;
        }
        let service = self.services.entry(key.service.clone()).or_default();
        if !key.ephemeral {
            service.settings.get_or_insert_default();
        }
        // An illegal name is no cluster's yet. The service stays.
        if let Some(fault) = cluster_name_fault(&key.cluster) {
            return fault;
        }
        service.clusters.entry(key.cluster.to_string()).or_default();
        let mut instance = instance.clone();
        match service.instances.get(key).map(|entry| &entry.instance) {
            Some(known) => (instance.healthy, instance.id) = (known.healthy, known.id.clone()),
            None if wants_number(instance.metadata.as_ref()) => {
                instance.id = Some(service.free_number(key.ephemeral).into());
            }
            None => instance.id = None,
        }
        service.instances.insert(key.clone(), Entry { instance, last_beat_ms: now_ms });
        Answer::Done
    }

    fn deregister(&mut self, key: &InstanceKey) -> Answer {
        let Some(service) = self.services.get_mut(&key.service) else { return Answer::Done };
        service.instances.remove(key);
        cluster_name_fault(&key.cluster).unwrap_or(Answer::Done)
    }

    fn replace(&mut self, key: &InstanceKey, instance: &Instance, text: &str, now_ms: u64) -> Answer {
        let Some(service) = self.services.get(&key.service) else {
            let (namespace, name) = (&key.service.namespace, &key.service.name);
            let text = format!("service not found, namespace: {namespace}, service: {name}");
            return Answer::Refused(Some(text));
        };
        let mut known = service.instances.keys().filter(|known| known.ephemeral == key.ephemeral);
        if known.any(|known| known.ip == key.ip && (known.port == key.port || key.port == 0)) {
            self.register(key, instance, now_ms)
        } else {
            Answer::Refused(Some(format!("instance not exist: {text}")))
        }
    }

    fn patch(&mut self, address: &Address, patch: &Patch, now_ms: u64) -> Answer {
        let Some(entry) = self.services.get_mut(&address.service).and_then(|service| service.at(address)) else {
            return Answer::Input("instance not found".into());
        };
        entry.last_beat_ms = now_ms;
        let instance = &mut entry.instance;
        patch.metadata.iter().for_each(|metadata| instance.metadata = metadata.clone());
        patch.app.iter().for_each(|app| instance.app = Some(app.clone()));
        patch.weight.iter().for_each(|weight| instance.weight = *weight);
        patch.healthy.iter().for_each(|healthy| instance.healthy = *healthy);
        patch.enabled.iter().for_each(|enabled| instance.enabled = *enabled);
        Answer::Done
    }

    fn change_metadata(&mut self, service: &ServiceKey, scope: &Scope, change: &MetadataChange) -> Answer {
        let mut updated = BTreeSet::new();
        for (key, entry) in self.services.get_mut(service).into_iter().flat_map(|service| &mut service.instances) {
            let meant = match scope {
                Scope::Kind(ephemeral) => key.ephemeral == *ephemeral,
                Scope::These(keys) => keys.contains(key),
            };
            if !meant {
                continue;
            }
            let known = entry.instance.metadata.iter().flat_map(Metadata::iter);
            let mut pairs: BTreeMap<String, String> = known.map(|(k, v)| (k.into(), v.into())).collect();
            match change {
                MetadataChange::Merge(added) => pairs.extend(added.iter().map(|(k, v)| (k.into(), v.into()))),
                MetadataChange::Remove(gone) => pairs.retain(|k, _| gone.iter().all(|(gone, _)| gone != k)),
            }
            entry.instance.metadata = Some(pairs.into_iter().collect());
            updated.insert(key.clone());
        }
        Answer::Updated(updated)
    }

    fn set_health(&mut self, address: &Address, healthy: bool) -> Answer {
        let service = self.services.get_mut(&address.service);
        let Some(service) = service.filter(|s| s.clusters.contains_key(&*address.cluster)) else {
            return Answer::Refused(None);
        };
        let checker = service.clusters[&*address.cluster].clone().unwrap_or_default().checker;
        if checker != HealthChecker::None {
            let text = format!("health check is still working, service: {}", address.service.name);
            return Answer::Input(text);
        }
        if let Some(entry) = service.at(address) {
            entry.instance.healthy = healthy;
        }
        Answer::Done
    }

    fn create_service(&mut self, key: &ServiceKey, settings: &ServiceSettings) -> Answer {
        if self.services.contains_key(key) {
            return Answer::Input(format!("specified service already exists, serviceName : {}", key.name));
        }
        if let Some(fault) = service_name_fault(&key.name) {
            return fault;
        }
        let service = Service { settings: Some(settings.clone()), ..Service::default() };
        self.services.insert(key.clone(), service);
        Answer::Done
    }

    fn update_cluster(&mut self, key: &ClusterKey, settings: &ClusterSettings) -> Answer {
        let Some(service) = self.services.get_mut(&key.service) else {
            return Answer::Refused(Some(format!("service not found:{}", key.service.name)));
        };
        if let Some(fault) = cluster_name_fault(&key.name) {
            return fault;
        }
        service.settings.get_or_insert_default();
        service.store_clusters();
        service.clusters.insert(key.name.to_string(), Some(settings.clone()));
        Answer::Done
    }
}

impl Service {
    /// Settings of a service are stored with all its clusters (`spec/service-api.md` 1.4).
    fn store_clusters(&mut self) {
        self.clusters.values_mut().for_each(|settings| {
            settings.get_or_insert_default();
        });
    }
}

fn settings_of(service: &nacre::registry::Service, cluster: &str) -> Option<ClusterSettings> {
    service.cluster(cluster).expect("a listed cluster is found").settings.map(|settings| (*settings).clone())
}
