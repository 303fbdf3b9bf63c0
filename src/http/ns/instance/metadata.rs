//! PUT and DELETE `metadata/batch` (`spec/instance-api.md` 5.12).

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::http::call::{Call, Step, Then};
use crate::model::command::{Command, MetadataChange, Scope};
use crate::model::{DEFAULT_CLUSTER, InstanceKey, Metadata, ServiceKey};
use crate::wire::metadata as texts;

/// PUT: the given pairs go into the metadata of many.
///
/// # Errors
/// Missing service name or metadata; unreadable metadata.
pub fn merge_metadata(call: &Call<'_>) -> Result<Step> {
    change(call, MetadataChange::Merge)
}

/// DELETE: the given keys go out of the metadata of many.
///
/// # Errors
/// As PUT.
pub fn remove_metadata(call: &Call<'_>) -> Result<Step> {
    change(call, MetadataChange::Remove)
}

fn change(call: &Call<'_>, make: fn(Metadata) -> MetadataChange) -> Result<Step> {
    let named = call.service_unchecked()?;
    let text = call.params.required("metadata")?;
    let metadata = texts::parse(text)?.unwrap_or_default();
    let service = named.key();
    let scope = match call.params.given("consistencyType") {
        Some("ephemeral") => Scope::Kind(true),
        Some("persist") => Scope::Kind(false),
        Some(_) => Scope::These(Vec::new()),
        None => Scope::These(located(call, &service)),
    };
    Ok(Step::Write(Command::ChangeMetadata(service, scope, make(metadata)), Then::Updated))
}

/// An element of the parameter `instances`; other members are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Located {
    ip: Option<String>,
    #[serde(default)]
    port: i32,
    cluster_name: Option<String>,
    ephemeral: Option<bool>,
}

/// What isn't a JSON list of instances locates nothing.
fn located(call: &Call<'_>, service: &ServiceKey) -> Vec<InstanceKey> {
    let text = call.params.optional("instances", "[]");
    let parsed: Result<Vec<Located>, Error> =
        serde_json::from_str(text).map_err(|_| Error::Input("instances is not a list".into()));
    let keys = parsed.unwrap_or_default().into_iter().filter_map(|located| {
        Some(InstanceKey {
            service: service.clone(),
            cluster: located.cluster_name.as_deref().unwrap_or(DEFAULT_CLUSTER).into(),
            ip: located.ip?.into(),
            port: located.port,
            ephemeral: located.ephemeral.unwrap_or(true),
        })
    });
    keys.collect()
}
