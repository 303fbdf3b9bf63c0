//! Instances to measure with, as real clients register them.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use nacre::model::{Instance, InstanceKey, Metadata, Row, ServiceKey};
use nacre::store::{Durability, Options, Store};
use tempfile::TempDir;

/// Instances of a service.
pub(crate) const SIZE: usize = 10;

pub(crate) fn key(service: &ServiceKey, number: usize) -> InstanceKey {
    let [_, a, b, c] = (number as u32).to_be_bytes();
    InstanceKey {
        service: service.clone(),
        cluster: "DEFAULT".into(),
        ip: format!("10.{a}.{b}.{c}").into(),
        port: 8080,
        ephemeral: true,
    }
}

pub(crate) fn service(number: usize) -> ServiceKey {
    ServiceKey::new("public", &format!("DEFAULT_GROUP@@orders-{number:06}"))
}

/// The instance of that number, as a client sets it for the `version`th time.
pub(crate) fn instance(version: usize) -> Arc<Instance> {
    let pairs =
        [("preserved.register.source".to_owned(), "SPRING_CLOUD".to_owned()), ("version".into(), version.to_string())];
    Arc::new(Instance { metadata: Some(pairs.into_iter().collect::<Metadata>()), ..Instance::default() })
}

/// `count` rows in services of [`SIZE`].
pub(crate) fn rows(count: usize, version: usize) -> Vec<Row> {
    let instance = instance(version);
    (0..count)
        .collect::<Vec<_>>()
        .chunks(SIZE)
        .flat_map(|numbers| {
            let service = service(numbers[0] / SIZE);
            numbers
                .iter()
                .map(|number| Row::Instance(key(&service, *number), Some(instance.clone())))
                .collect::<Vec<_>>()
        })
        .collect()
}

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis() as u64
}

/// A folder on the disk of the build, which is not in memory as the temporary one may be.
pub(crate) fn folder() -> TempDir {
    let place = env!("CARGO_TARGET_TMPDIR");
    std::fs::create_dir_all(place).unwrap();
    tempfile::Builder::new().prefix("rooms-").tempdir_in(place).unwrap()
}

/// The store in `folder`, and how many rows it gave out.
pub(crate) fn open(folder: &Path, durability: Durability) -> (Store, usize) {
    let mut count = 0;
    let options = Options { durability, ..Options::new(folder) };
    let (store, report) = Store::open(options, now_ms(), &mut |rows| count += rows.len(), &|_| ()).unwrap();
    assert_eq!(report.damage, None);
    (store, count)
}
