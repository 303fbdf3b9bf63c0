//! `/v1/ns/operator`: what operators ask (`spec/operator-api.md` 1). So far the metrics and the report of the restore.

use crate::error::Result;
use crate::http::call::{Call, Step};
use crate::telemetry::host;

/// GET `operator/metrics`: status, counts, load.
///
/// # Errors
/// None.
pub fn metrics(call: &Call<'_>) -> Result<Step> {
    let registry = &call.app.registry;
    let (services, instances) = (registry.service_count(), registry.instance_count());
    let host = host::read();
    let cpu = host.cpu.map_or_else(|| "\"NaN\"".to_owned(), |share| share.to_string());
    Step::json(format!(
        "{{\"status\":\"UP\",\"serviceCount\":{services},\"instanceCount\":{instances},\"raftNotifyTaskCount\":0,\
         \"responsibleServiceCount\":{services},\"responsibleInstanceCount\":{instances},\
         \"cpu\":{cpu},\"load\":{},\"mem\":{}}}",
        host.load, host.memory
    ))
}

/// GET `operator/restore`: what the last start brought back (this server's own; Nacos has no such thing).
///
/// # Errors
/// None.
pub fn restore(call: &Call<'_>) -> Result<Step> {
    Step::json(call.app.restore_report.clone())
}
