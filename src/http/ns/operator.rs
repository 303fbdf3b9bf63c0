//! `/v1/ns/operator`: what operators ask (`spec/operator-api.md` 1).

pub mod members;
pub mod switches;

use crate::error::Result;
use crate::http::call::{Call, Step};
use crate::http::reply::Reply;
use crate::model::status::ServerStatus;
use crate::registry::Registry;
use crate::telemetry::{host, levels};
use crate::wire::push as shape;

/// The owners of more services than this are not looked up on the threads that answer clients.
const MANY_SERVICES: usize = 4_096;

/// GET `operator/metrics`: status, counts, load.
///
/// # Errors
/// None, but for too many at once where there are many services.
pub fn metrics(call: &Call<'_>) -> Result<Step> {
    let (app, status, distro) = (call.app.clone(), call.app.status(call.switches), call.switches.distro_enabled);
    let registry = &call.app.registry;
    if call.app.cluster.is_none() || !distro {
        return metrics_of(registry, status, (registry.service_count(), registry.instance_count()));
    }
    let count = move || {
        let view = app.members.view();
        metrics_of(&app.registry, status, app.registry.tally(|name| view.is_owner(name)))
    };
    if registry.service_count() <= MANY_SERVICES { count() } else { Ok(Step::Blocking(Box::new(count))) }
}

fn metrics_of(registry: &Registry, status: ServerStatus, owned: (usize, usize)) -> Result<Step> {
    let (services, instances) = (registry.service_count(), registry.instance_count());
    let host = host::read();
    let cpu = host.cpu.map_or_else(|| "\"NaN\"".to_owned(), |share| share.to_string());
    Step::json(format!(
        "{{\"status\":\"{}\",\"serviceCount\":{services},\"instanceCount\":{instances},\"raftNotifyTaskCount\":0,\
         \"responsibleServiceCount\":{},\"responsibleInstanceCount\":{},\
         \"cpu\":{cpu},\"load\":{},\"mem\":{}}}",
        status.name(),
        owned.0,
        owned.1,
        host.load,
        host.memory
    ))
}

/// GET `operator/restore`: what the last start brought back (this server's own; Nacos has no such thing).
///
/// # Errors
/// None.
pub fn restore(call: &Call<'_>) -> Result<Step> {
    Step::json(call.app.restore_report.clone())
}

/// GET `push/state`: how pushes fare (`spec/push.md` 5).
///
/// # Errors
/// Parameters that are no truth values.
pub fn push_state(call: &Call<'_>) -> Result<Step> {
    let (detail, reset) = (call.boolean("detail", false)?, call.boolean("reset", false)?);
    let push = &call.app.push;
    let awaited = detail.then(|| push.awaited());
    let counters = push.counters();
    if reset {
        push.forget_awaited();
    }
    Step::json(shape::state(counters.succeeded(), counters.total, awaited.as_deref(), reset))
}

/// PUT `log`: the level of a logger.
///
/// # Errors
/// Missing parameters.
pub fn log(call: &Call<'_>) -> Result<Step> {
    levels::set_naming(call.present("logName")?, call.present("logLevel")?);
    Ok(Step::Answer(Reply::ok()))
}
