//! Every route with every method, by everybody; and paths that are nearly routes.

use std::collections::BTreeSet;

use nacre::http::auth::access::{Access, Action};
use nacre::http::router::{ROUTES, Route};

use super::{EXPIRED, FORGED, PROPERTIES, Site, UNSIGNED, refusal};
use crate::dice::Dice;

const METHODS: &[&str] = &["GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "get"];
/// Enough for every operation to find a resource; no user is named.
const QUERY: &str =
    "namespaceId=dev&serviceName=svc&dom=svc&ip=10.0.0.1&port=80&clusterName=DEFAULT&groupName=DEFAULT_GROUP";

/// What a kind of caller may do.
struct Caller {
    name: &'static str,
    headers: Vec<(&'static str, String)>,
    extra: &'static str,
    /// The message of a refusal when the route needs this; `None`: it comes through.
    judge: fn(Access) -> Option<&'static str>,
}

/// Only what is open, and this message for the rest.
macro_rules! outsider {
    ($message:literal) => {
        |access| if access == Access::Open { None } else { Some($message) }
    };
}

fn unless(allowed: bool) -> Option<&'static str> {
    if allowed { None } else { Some("authorization failed!") }
}

fn is_for_all_users(access: Access) -> bool {
    matches!(access, Access::Open | Access::LoggedIn | Access::Own)
}

fn callers(site: &Site) -> Vec<Caller> {
    let bearer = |token: &str| vec![("Authorization", format!("Bearer {token}"))];
    let caller = |name, headers, judge| Caller { name, headers, extra: "", judge };
    let gone = site.user("gone", "pw", &[("*", "rw")]);
    site.admin("DELETE", "/v1/auth/users?username=gone");
    let unknown: fn(Access) -> _ = outsider!("unknown user!");
    let invalid: fn(Access) -> _ = outsider!("token invalid!");
    vec![
        caller("nobody", vec![], unknown),
        caller("an agent", vec![("User-Agent", "Nacos-Server:v1.4.8".to_owned())], unknown),
        caller("a wrong identity", vec![("conformance-identity", "conformance-valuf".to_owned())], unknown),
        caller("the default identity", vec![("serverIdentity", "security".to_owned())], unknown),
        caller("a token in the wrong header", vec![("accessToken", site.admin.clone())], unknown),
        caller("garbage", bearer("bad"), invalid),
        caller("another key", bearer(FORGED), invalid),
        caller("alg none", bearer(UNSIGNED), invalid),
        Caller { name: "garbage in the query", headers: vec![], extra: "&accessToken=a.b.c", judge: invalid },
        caller("an old token", bearer(EXPIRED), outsider!("token expired!")),
        caller("a deleted user", bearer(&gone), outsider!("authorization failed!")),
        caller("a user without role", bearer(&site.user("plain", "pw", &[])), |access| {
            unless(is_for_all_users(access))
        }),
        caller("a reader", bearer(&site.user("reader", "pw", &[("dev:*:*", "r")])), |access| {
            unless(is_for_all_users(access) || matches!(access, Access::Naming(Action::Read, _)))
        }),
        caller("a reader of elsewhere", bearer(&site.user("other", "pw", &[("dev-2:*:*", "rw")])), |access| {
            unless(is_for_all_users(access))
        }),
        caller("a writer", bearer(&site.user("writer", "pw", &[("dev:*:*", "rw")])), |access| {
            unless(is_for_all_users(access) || matches!(access, Access::Naming(..)))
        }),
        caller("one with all permissions", bearer(&site.user("all", "pw", &[("*", "rw")])), |access| {
            unless(is_for_all_users(access) || matches!(access, Access::Naming(..) | Access::Fixed(..)))
        }),
        caller("the admin", bearer(&site.admin), |access| unless(access != Access::Peer)),
        caller("a server", vec![("conformance-identity", "conformance-value".to_owned())], |_| None),
    ]
}

/// What the table of routes needs for a request; `None` when it is no route.
fn need(method: &str, path: &str) -> Option<Access> {
    let method = if method == "HEAD" && !path.starts_with("/v1/ns") { "GET" } else { method };
    let route = ROUTES.iter().find(|Route(known, of, ..)| known.as_str() == method && *of == path);
    route.map(|Route(.., access)| *access)
}

#[test]
fn every_route_with_every_method_lets_in_whom_the_table_says() {
    let site = Site::start_with(PROPERTIES, &["--durability", "off"]);
    let paths: BTreeSet<&str> = ROUTES.iter().map(|Route(_, path, ..)| *path).collect();
    let mut client = site.server.client();
    let mut faults = Vec::new();
    let mut asked = 0;
    for caller in callers(&site) {
        let headers: Vec<(String, String)> =
            caller.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        for path in &paths {
            for method in METHODS {
                let target = format!("/nacos{path}?{QUERY}{}", caller.extra);
                let answer = client.send(method, &target, &headers, None).expect("an answer");
                asked += 1;
                let came = refusal(&answer);
                let fault = match need(method, path) {
                    // A HEAD has no body to read the message from.
                    Some(access) if *method == "HEAD" => (answer.status == 403) != (caller.judge)(access).is_some(),
                    Some(access) => came.as_deref() != (caller.judge)(access),
                    None => ![500, 501].contains(&answer.status),
                };
                if fault {
                    let text = answer.text();
                    faults.push(format!("{} {method} {path}: {} {text}", caller.name, answer.status));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{} of {asked}:\n{}", faults.len(), faults.join("\n"));
    assert!(asked > 3_000, "{asked}");
}

/// Another spelling of `path`, maybe the same.
fn respelled(path: &str, dice: &mut Dice) -> String {
    let mut bytes: Vec<u8> = path.bytes().collect();
    for _ in 0..=dice.within(0, 2) {
        let at = usize::try_from(dice.within(0, bytes.len() as u64 - 1)).expect("an index");
        match dice.within(0, 9) {
            0 => bytes.splice(at..at, *b"/").for_each(drop),
            1 => bytes.push(b'/'),
            2 => bytes.splice(at..=at, format!("%{:02x}", bytes[at]).into_bytes()).for_each(drop),
            3 => bytes.splice(at..at, *b";a=b").for_each(drop),
            4 => bytes.splice(at..at, *b"/./").for_each(drop),
            5 => bytes.splice(at..at, *b"/x/..").for_each(drop),
            6 => bytes[at] = bytes[at].to_ascii_uppercase(),
            7 => bytes.splice(at..at, *b"%2f").for_each(drop),
            8 => bytes.splice(at..at, *b"%00").for_each(drop),
            _ => bytes.splice(at..at, *b"\\").for_each(drop),
        }
    }
    String::from_utf8(bytes).expect("ASCII")
}

#[test]
fn no_spelling_of_a_path_gets_past_the_check() {
    let site = Site::start_with(PROPERTIES, &["--durability", "off"]);
    let mut client = site.server.client();
    let mut dice = Dice::fresh();
    let closed: Vec<&Route> = ROUTES.iter().filter(|Route(.., access)| *access != Access::Open).collect();
    for _ in 0..4_000 {
        let pick = usize::try_from(dice.within(0, closed.len() as u64 - 1)).expect("an index");
        let Route(method, path, ..) = closed[pick];
        let target = format!("{}?{QUERY}", respelled(&format!("/nacos{path}"), &mut dice));
        let answer = client.send(method.as_str(), &target, &[], None).expect("an answer");
        assert!(answer.status >= 400, "{method} {target}: {} {}", answer.status, answer.text());
    }
}
