//! `/v1/ns/health`: health set from outside, and a greeting (`spec/health.md` 3).

use crate::error::{Error, Result};
use crate::http::call::{Call, Step};
use crate::model::DEFAULT_CLUSTER;
use crate::model::command::{Address, Command};

/// PUT `health/instance` and `health`.
///
/// # Errors
/// Missing parameters, in the order of the reference; what `commit` says.
pub fn set(call: &Call<'_>) -> Result<Step> {
    let missing = || Error::Input("Param 'healthy' is required.".into());
    let healthy = call.word("healthy").or_else(|| call.word("valid")).ok_or_else(missing)?;
    let service = call.service_unchecked()?;
    let ip = call.ip()?;
    let port = call.integer("port")?;
    let cluster = call.params.optional("clusterName", DEFAULT_CLUSTER);
    let address = Address { service: service.key(), cluster: cluster.into(), ip: ip.into(), port };
    Step::write(Command::SetHealth(address, healthy))
}

/// GET `health/server`.
///
/// # Errors
/// None.
pub fn server(call: &Call<'_>) -> Result<Step> {
    let (count, port) = (call.app.registry.service_count(), call.app.port);
    let text = "Hello! I am Nacos-Naming and healthy! total services: raft";
    Step::json(format!("{{\"msg\":\"{text} {count}, local port:{port}\"}}"))
}
