//! `/v1/ns/cluster`: clusters of a service (`spec/service-api.md` 3).

use crate::error::{Error, Result};
use crate::http::call::{Call, Step, not_a_number};
use crate::model::command::Command;
use crate::model::{ClusterKey, ClusterSettings};
use crate::registry::check_cluster_name;
use crate::wire::{checker, metadata, number};

/// PUT: makes a cluster or replaces its settings.
///
/// # Errors
/// Missing or faulty parameters in the order of the reference; an unknown service.
pub fn update(call: &Call<'_>) -> Result<Step> {
    let cluster = call.params.required("clusterName")?;
    let named = call.service_unchecked()?;
    let port_text = call.params.required("checkPort")?;
    let service = named.find(&call.app.registry);
    let service = service.ok_or_else(|| Error::Refused(format!("service not found:{}", named.name)))?;
    if service.cluster(cluster).is_none() {
        check_cluster_name(cluster)?;
    }
    let use_instance_port = number::word(call.params.required("useInstancePort4Check")?);
    let checker = checker::parse(call.params.required("healthChecker")?)?;
    let metadata = metadata::parse(call.params.optional("metadata", ""))?.unwrap_or_default();
    let check_port = number::integer(port_text).filter(|port| *port != 0).ok_or_else(|| not_a_number(port_text))?;
    let key = ClusterKey { service: named.key(), name: cluster.into() };
    Step::write(Command::UpdateCluster(key, ClusterSettings { checker, check_port, use_instance_port, metadata }))
}
