//! What a browser finds at the root of the context path (`spec/operator-api.md` 6).

use super::actuator::origin;
use super::call::{Call, Step};
use super::console::NACOS_VERSION;
use super::reply::Reply;
use crate::error::Result;

/// The page at the root. Its links are relative.
fn page(services: usize, instances: usize) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let link = |(place, text): (&str, &str)| format!("<li><a href=\"{place}\">{text}</a></li>\n");
    let links: String = [
        ("v1/ns/service/list?pageNo=1&amp;pageSize=100", "services of the public namespace"),
        ("v1/console/namespaces", "namespaces"),
        ("v1/core/cluster/nodes", "members of the cluster"),
        ("v1/ns/operator/metrics", "counts and load"),
        ("v1/ns/operator/switches", "switches"),
        ("v1/ns/operator/restore", "what the last start brought back"),
        ("v1/console/health/readiness", "readiness"),
        ("v1/console/server/state", "version and mode"),
    ]
    .map(link)
    .concat();
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><title>nacre</title></head>\n<body>\n\
         <h1>nacre {version}</h1>\n\
         <p>A service registry with the naming API of Nacos {NACOS_VERSION}. {services} services, {instances} instances. \
         This server has no web console yet.</p>\n<ul>\n{links}</ul>\n</body>\n</html>\n"
    )
}

/// GET of the context path: the page; without a slash behind it the way there.
///
/// # Errors
/// None.
pub fn root(call: &Call<'_>) -> Result<Step> {
    if !call.path.ends_with('/') {
        return Ok(Step::Answer(Reply::redirect(format!("{}{}/", origin(call), call.path))));
    }
    let registry = &call.app.registry;
    Ok(Step::Answer(Reply::html(page(registry.service_count(), registry.instance_count()))))
}
