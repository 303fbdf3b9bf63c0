//! What happens to a request below the naming API before it is looked at (`spec/instance-api.md` 1, steps 1 and 2).

use std::net::IpAddr;

use hyper::http::request::Parts;
use hyper::{Method, Uri};

use super::call::{App, agent_text};
use super::reply::Reply;
use crate::model::settings::Switches;

/// What changes the switches always passes: it is the way out of every state that they can bring about.
fn is_way_out(method: &Method, path: &str) -> bool {
    *method == Method::PUT && matches!(path, "/v1/ns/operator/switches" | "/v1/ns/ops/switches")
}

/// What members call each other. It opens nothing without the proof that it is one.
const MEMBER_AGENT: &str = "Nacos-Server";
/// Only members call these, some of them without saying that they are one.
const MEMBER_PATHS: &str = "/v1/ns/distro/";

/// Ends a request, below the naming API, that the switches or the status don't let through. `path` is below the context
/// path; `ip` is the address that the connection comes from.
///
/// # Errors
/// The answer.
pub(super) fn pass(app: &App, switches: &Switches, head: &Parts, path: &str, ip: IpAddr) -> Result<(), Reply> {
    if is_way_out(&head.method, path) {
        return Ok(());
    }
    limit(switches, &head.uri)?;
    let (status, obstacle) = app.status_and_obstacle(switches);
    if status.allows(head.method == Method::GET) || is_of_member(app, head, path, ip) {
        return Ok(());
    }
    Err(Reply::shut(status.name(), obstacle))
}

fn limit(switches: &Switches, sent: &Uri) -> Result<(), Reply> {
    if switches.limited_url_map.is_empty() {
        return Ok(());
    }
    // Without a query the reference compares with a `?null` behind the path.
    let target = format!("{}?{}", sent.path(), sent.query().unwrap_or("null"));
    match switches.limited_url_map.iter().find(|(prefix, _)| target.starts_with(*prefix)) {
        Some((_, status)) => Err(Reply::limited(*status)),
        None => Ok(()),
    }
}

/// Whether a member asks, as a member: it is answered whatever the status (`spec/distro.md` 11). A server that stands alone
/// has none.
fn is_of_member(app: &App, head: &Parts, path: &str, ip: IpAddr) -> bool {
    let says_so = || agent_text(&head.headers).starts_with(MEMBER_AGENT) || path.starts_with(MEMBER_PATHS);
    app.cluster.is_some() && says_so() && app.auth.is_peer(app, &head.headers, ip)
}

#[cfg(test)]
mod tests {
    use hyper::HeaderMap;

    use super::*;
    use crate::http::world::World;

    const STRANGER: &str = "10.0.0.9";

    fn status_of(
        app: &App,
        switches: &Switches,
        (method, target, agent): (&Method, &str, &str),
        ip: &str,
    ) -> Option<u16> {
        let request =
            hyper::Request::builder().method(method).uri(format!("/nacos{target}")).header("User-Agent", agent);
        let (head, ()) = request.body(()).unwrap().into_parts();
        let path = target.split('?').next().unwrap();
        let reply = pass(app, switches, &head, path, ip.parse().unwrap()).err()?;
        Some(reply.into_response(method, &HeaderMap::new()).status().as_u16())
    }

    fn asked(app: &App, switches: &Switches, method: &Method, target: &str) -> Option<u16> {
        status_of(app, switches, (method, target, "Nacos-Server:1.4.8"), STRANGER)
    }

    fn overridden(status: Option<&str>) -> Switches {
        Switches { overridden_server_status: status.map(str::to_owned), ..Switches::default() }
    }

    #[test]
    fn limited_urls_are_prefixes_of_path_and_query() {
        let app = World::alone().app;
        let map = [("/nacos/v1/ns/service/list?pageNo=1", 429), ("/nacos/v1/ns/x?null", 404), ("/nacos/v1/ns/op", 204)];
        let limited_url_map = map.iter().map(|(url, status)| ((*url).to_owned(), *status)).collect();
        let switches = Switches { limited_url_map, ..Switches::default() };
        for (target, answer) in [
            ("/v1/ns/service/list?pageNo=1&x", Some(429)),
            ("/v1/ns/service/list?pageNo=2", None),
            ("/v1/ns/service/list", None),
            ("/v1/ns/x", Some(404)),
            ("/v1/ns/x?a", None),
            ("/v1/ns/operator/switches", Some(204)),
        ] {
            assert_eq!(asked(&app, &switches, &Method::GET, target), answer, "{target}");
        }
        assert_eq!(asked(&app, &switches, &Method::PUT, "/v1/ns/operator/switches?entry=batch"), None);
    }

    #[test]
    fn the_status_lets_through_what_it_says_and_always_the_way_out() {
        let worlds = [World::alone(), World::of_three()];
        for (status, get, put) in [
            (None, None, None),
            (Some(""), None, None),
            (Some("UP"), None, None),
            (Some("READ_ONLY"), None, Some(503)),
            (Some("WRITE_ONLY"), Some(503), None),
            (Some("DOWN"), Some(503), Some(503)),
            (Some("STARTING"), Some(503), Some(503)),
            (Some("PAUSED"), Some(503), Some(503)),
        ] {
            let switches = overridden(status);
            for world in &worlds {
                let asked = |method, target| asked(&world.app, &switches, method, target);
                assert_eq!(asked(&Method::GET, "/v1/ns/instance/list"), get, "GET while {status:?}");
                assert_eq!(asked(&Method::PUT, "/v1/ns/instance/beat"), put, "PUT while {status:?}");
                assert_eq!(asked(&Method::PUT, "/v1/ns/ops/switches?entry=x"), None, "{status:?}");
            }
        }
    }

    #[test]
    fn members_pass_as_members_alone() {
        let world = World::of_three();
        let switches = overridden(Some("DOWN"));
        let (member, own, get) = ("10.0.0.2", "10.0.0.1", Method::GET);
        for (target, agent, ip, answer) in [
            ("/v1/ns/instance/list", "Nacos-Server:1.4.8", member, None),
            ("/v1/ns/instance/list", "Nacos-Server", own, None),
            ("/v1/ns/instance/list", "Nacos-Server:1.4.8", STRANGER, Some(503)),
            ("/v1/ns/instance/list", "Nacos-Java-Client:v1.4.8", member, Some(503)),
            ("/v1/ns/distro/datum", "Apache-HttpClient/4.5.14 (Java/17.0.15)", member, None),
            ("/v1/ns/distro/datums", "Nacos-Server:1.4.8", STRANGER, Some(503)),
        ] {
            assert_eq!(status_of(&world.app, &switches, (&get, target, agent), ip), answer, "{target} {agent} {ip}");
        }
        let alone = World::alone();
        let from_itself = (&get, "/v1/ns/instance/list", "Nacos-Server");
        assert_eq!(status_of(&alone.app, &switches, from_itself, own), Some(503), "there are no members");
    }
}
