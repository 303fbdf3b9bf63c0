//! What the whole API needs, written down a second time from `spec/auth.md` 4.3 and 4.4, by path instead of by handler: the
//! table of routes has to agree, and a route that isn't here has no stated need.

use nacre::http::auth::access::{
    ADMIN, Access, LOGGED_IN, OPEN, OWN, PEER, PEER_OR_ADMIN, READ, READ_ACCOUNTS, READ_ALL, READ_DOM, READ_GROUP,
    READ_NAMESPACE, WRITE, WRITE_ACCOUNTS, WRITE_DOM, WRITE_SWITCHES,
};
use nacre::http::router::{ROUTES, Route};

/// Methods, paths (`*` at the end: all below), and what they need. The first that fits counts.
const STATED: &[(&str, &str, Access)] = &[
    // Naming: between servers.
    ("GET", "/v1/ns/instance/statuses", PEER),
    ("GET", "/v1/ns/api/statuses", PEER),
    ("POST", "/v1/ns/service/status", PEER),
    ("GET PUT", "/v1/ns/service/checksum", PEER),
    ("GET PUT POST DELETE", "/v1/ns/distro/*", PEER),
    ("GET PUT POST DELETE", "/v1/ns/raft/*", PEER),
    // Naming: instances, and their old names.
    ("GET", "/v1/ns/instance", READ),
    ("GET", "/v1/ns/instance/list", READ),
    ("POST PUT DELETE PATCH", "/v1/ns/instance", WRITE),
    ("PUT", "/v1/ns/instance/beat", WRITE),
    ("PUT DELETE", "/v1/ns/instance/metadata/batch", WRITE),
    ("GET", "/v1/ns/api", READ),
    ("GET", "/v1/ns/api/list", READ),
    ("POST PUT DELETE PATCH", "/v1/ns/api", WRITE),
    ("PUT", "/v1/ns/api/beat", WRITE),
    ("PUT DELETE", "/v1/ns/api/metadata/batch", WRITE),
    ("GET", "/v1/ns/api/srvIPXT", READ_DOM),
    ("GET", "/v1/ns/api/clientBeat", WRITE_DOM),
    ("GET", "/v1/ns/api/allDomNames", READ_ALL),
    // Naming: services, clusters, catalog, health.
    ("GET", "/v1/ns/service", READ),
    ("POST PUT DELETE", "/v1/ns/service", WRITE),
    ("GET", "/v1/ns/service/list", READ_GROUP),
    ("GET", "/v1/ns/service/names", READ_ALL),
    // Finds every service with a part of the name.
    ("GET", "/v1/ns/service/subscribers", READ_NAMESPACE),
    ("PUT", "/v1/ns/cluster", WRITE),
    ("GET", "/v1/ns/catalog/service", READ),
    ("GET", "/v1/ns/catalog/rt/service", READ),
    ("GET", "/v1/ns/catalog/instances", READ),
    ("GET", "/v1/ns/catalog/services", READ_NAMESPACE),
    ("PUT", "/v1/ns/health", WRITE),
    ("PUT", "/v1/ns/health/instance", WRITE),
    ("GET", "/v1/ns/health/server", OPEN),
    // Operators. `ops` is another name.
    ("PUT", "/v1/ns/operator/switches", WRITE_SWITCHES),
    ("PUT", "/v1/ns/ops/switches", WRITE_SWITCHES),
    ("PUT", "/v1/ns/operator/log", ADMIN),
    ("PUT", "/v1/ns/ops/log", ADMIN),
    ("GET", "/v1/ns/operator/server/status", PEER_OR_ADMIN),
    ("GET", "/v1/ns/ops/server/status", PEER_OR_ADMIN),
    // Not in the reference; names a folder.
    ("GET", "/v1/ns/operator/restore", LOGGED_IN),
    ("GET", "/v1/ns/operator/*", OPEN),
    ("GET", "/v1/ns/ops/*", OPEN),
    // Core.
    ("GET", "/v1/core/cluster/self", OPEN),
    ("GET", "/v1/core/cluster/nodes", OPEN),
    ("GET", "/v1/core/cluster/simple/nodes", OPEN),
    ("GET", "/v1/core/cluster/health", OPEN),
    ("POST", "/v1/core/cluster/report", PEER_OR_ADMIN),
    ("POST", "/v1/core/cluster/server/leave", PEER_OR_ADMIN),
    ("POST PUT", "/v1/core/cluster/switch/lookup", PEER_OR_ADMIN),
    ("PUT", "/v1/core/ops/log", ADMIN),
    ("GET", "/v1/core/ops/idInfo", ADMIN),
    ("POST", "/v1/core/ops/raft", ADMIN),
    // Not in the reference, which has a port of its own for it.
    ("POST", "/v1/core/raft", PEER),
    // Console, probes.
    ("GET", "/v1/console/server/state", OPEN),
    ("GET", "/v1/console/health/*", OPEN),
    ("GET", "/actuator/health", OPEN),
    // Configuration: nothing to read, but answers that wait take room.
    ("GET POST", "/v1/cs/configs", LOGGED_IN),
    ("POST", "/v1/cs/configs/listener", LOGGED_IN),
    // Not in the reference when closed, which is how it is shipped; open to all there when opened.
    ("GET", "/actuator/info", LOGGED_IN),
    ("GET", "/actuator/prometheus", LOGGED_IN),
    // Links alone.
    ("GET", "/", OPEN),
    ("GET", "/actuator", OPEN),
    ("GET", "/v1/console/namespaces", LOGGED_IN),
    ("POST PUT DELETE", "/v1/console/namespaces", ADMIN),
    // Users.
    ("POST", "/v1/auth/login", OPEN),
    ("POST", "/v1/auth/users/login", OPEN),
    ("PUT", "/v1/auth/users", OWN),
    ("PUT", "/v1/auth", OWN),
    ("GET", "/v1/auth", READ_ACCOUNTS),
    ("GET", "/v1/auth/*", READ_ACCOUNTS),
    ("POST DELETE", "/v1/auth", WRITE_ACCOUNTS),
    ("POST DELETE", "/v1/auth/*", WRITE_ACCOUNTS),
];

fn stated(method: &str, path: &str) -> Option<Access> {
    let fits = |pattern: &str| match pattern.strip_suffix('*') {
        Some(start) => path.starts_with(start),
        None => pattern == path,
    };
    let found = STATED.iter().find(|(methods, pattern, _)| methods.split(' ').any(|m| m == method) && fits(pattern));
    found.map(|(.., access)| *access)
}

#[test]
fn every_route_has_a_stated_need() {
    let mut faults = Vec::new();
    for Route(method, path, _, access) in ROUTES {
        match stated(method.as_str(), path) {
            Some(wanted) if wanted == *access => {}
            Some(wanted) => faults.push(format!("{method} {path}: {access:?} in the table of routes, {wanted:?} here")),
            None => faults.push(format!("{method} {path}: no stated need: read spec/auth.md 4 and add it here")),
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}
