//! `/v1/ns/api`: what old clients and the CoreDNS plug-in ask for (`spec/instance-api.md` 6).

use std::collections::BTreeSet;

use super::instance;
use crate::error::Result;
use crate::http::call::{Call, Step};
use crate::model::DEFAULT_NAMESPACE;
use crate::wire::agent::{Kind, Version};
use crate::wire::json;

/// GET `srvIPXT`: a list.
///
/// # Errors
/// As the list of instances.
pub fn list(call: &Call<'_>) -> Result<Step> {
    instance::list_of(call, call.dom()?)
}

/// GET `clientBeat`: a beat.
///
/// # Errors
/// As the beat.
pub fn beat(call: &Call<'_>) -> Result<Step> {
    instance::beat_of(call, |call| call.dom())
}

/// GET `allDomNames`: plain names by namespace; of `public` alone for DNS agents up to 1.0.1. With `namespaceId`, which
/// the reference doesn't know here, of that one alone: the right that is asked for is the right on what is shown.
///
/// # Errors
/// None.
pub fn all_names(call: &Call<'_>) -> Result<Step> {
    let agent = call.agent();
    let old_dns = agent.kind == Kind::Dns && agent.version <= Version(1, 0, 1);
    let only = if old_dns { Some(DEFAULT_NAMESPACE) } else { call.params.given("namespaceId") };
    let mut count = 0;
    let mut doms = Vec::new();
    for namespace in call.app.registry.namespaces() {
        if only.is_some_and(|wanted| **namespace.name() != *wanted) {
            continue;
        }
        let services = namespace.services();
        let names: BTreeSet<&str> = services.iter().map(|service| service.key().plain_name()).collect();
        count += names.len();
        if !old_dns {
            doms.push(if doms.is_empty() { b'{' } else { b',' });
            json::string(namespace.name(), &mut doms);
            doms.push(b':');
        }
        doms.push(b'[');
        json::separated(names, &mut doms, json::string);
        doms.push(b']');
    }
    match (old_dns, doms.is_empty()) {
        (true, true) => doms.extend_from_slice(b"[]"),
        (true, false) => {}
        (false, true) => doms.extend_from_slice(b"{}"),
        (false, false) => doms.push(b'}'),
    }
    let mut body = format!("{{\"count\":{count},\"doms\":").into_bytes();
    body.append(&mut doms);
    body.push(b'}');
    Step::json(body)
}
