//! GET `list`: the instances of a service (`spec/instance-api.md` 5.6).

use crate::error::Result;
use crate::http::call::{Call, Named, Step};
use crate::push::list::{build, chosen};
use crate::push::pushable::is_pushable;
use crate::push::{self, Ask};
use crate::registry::ListKey;
use crate::wire::agent::Agent;
use crate::wire::list::unknown_service;
use crate::wire::number;

/// GET `list`.
///
/// # Errors
/// Faulty parameters.
pub fn list(call: &Call<'_>) -> Result<Step> {
    list_of(call, call.service()?)
}

/// The list of that service.
///
/// # Errors
/// Faulty parameters.
pub fn list_of(call: &Call<'_>, named: Named<'_>) -> Result<Step> {
    let udp_port = call.integer_or("udpPort", 0)?;
    let flag = |name| call.params.given(name).is_some_and(number::strict_bool);
    let agent = call.agent();
    let clusters = call.params.optional("clusters", "");
    // They may keep it longer when they are pushed to.
    let cache_ms = match udp_port > 0 && subscribe(call, &named, &agent, udp_port, clusters) {
        true => call.switches.default_push_cache_millis,
        false => call.switches.default_cache_millis,
    };
    let key = ListKey {
        grouped_names: agent.is_modern_java(),
        healthy_only: flag("healthyOnly"),
        cache_ms: u64::try_from(cache_ms).unwrap_or_default(),
        clusters,
    };
    let Some(service) = named.find(&call.app.registry) else {
        return Step::json(unknown_service(&named.name, key.clusters, key.cache_ms));
    };
    let env = call.params.optional("env", "");
    if flag("isCheck") && !chosen(&service.view().hold(), key.clusters).is_empty() {
        return Step::json("{}");
    }
    if !env.is_empty() {
        return Step::json(build(&service, &service.view(), &key, env, call.app.wall_now_ms()));
    }
    Step::json(push::list::list(&service, &key, || call.app.wall_now_ms()))
}

/// A longer `clusters` parameter than this, in bytes, makes no subscription: its list is built anew for every change.
const MAX_SUBSCRIBED_CLUSTERS: usize = 1024;

/// Makes or renews a subscription; false when the client has to poll.
fn subscribe(call: &Call<'_>, named: &Named<'_>, agent: &Agent, udp_port: i32, clusters: &str) -> bool {
    if !call.switches.push_enabled || !is_pushable(agent, call.switches) || clusters.len() > MAX_SUBSCRIBED_CLUSTERS {
        return false;
    }
    let ask = Ask {
        client_ip: call.params.optional("clientIP", ""),
        udp_port,
        peer: call.peer,
        clusters,
        agent: call.agent_text(),
        app: call.params.optional("app", ""),
        grouped_names: agent.is_modern_java(),
    };
    call.app.push.subscribe(named.key(), &ask)
}
