use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::*;
use crate::cluster::members::Members;
use crate::cluster::peer::fake::{Does, Fake, answer, nobody};
use crate::http::auth::Options;
use crate::http::call::App;
use crate::http::world;
use crate::model::member::Member;
use crate::model::peer::{Gap, Phase, Standing};
use crate::model::settings::{Setting, SettingKey, Switches};
use crate::model::{InstanceKey, Row};

const OWN: &str = "127.0.0.1:1";

/// A server that is one of several.
struct World {
    app: Arc<App>,
    address: SocketAddr,
    _served: world::World,
}

fn member(address: &str) -> Member {
    let (host, port) = address.rsplit_once(':').unwrap();
    Member::new(host, port.parse().unwrap())
}

impl World {
    async fn start(others: &[&str]) -> Self {
        Self::asking(others, false).await
    }

    async fn asking(others: &[&str], login: bool) -> Self {
        let identity = login.then(|| ("X-Identity".to_owned(), "secret".to_owned()));
        let members = Members::new(member(OWN), others.iter().map(|other| member(other)), 3);
        let served = world::World::new(Options { identity, ..world::options(login) }, members, true);
        let address = served.serve().await;
        Self { app: served.app.clone(), address, _served: served }
    }

    fn members(&self) -> &Members {
        &self.app.members
    }

    /// The name of a service that `owner` owns now.
    fn service(&self, owner: &str) -> String {
        let names = (0..1_000).map(|n| format!("s{n}"));
        let view = self.members().view();
        let owns = |name: &String| match view.owner(&format!("DEFAULT_GROUP@@{name}")) {
            Owner::Here => owner == OWN,
            Owner::Peer(peer) => **peer == *owner,
        };
        names.into_iter().find(owns).unwrap()
    }

    async fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    /// Without a body.
    async fn send(&self, method: &str, target: &str, headers: &str) -> String {
        self.ask(&format!("{method} /nacos{target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}\r\n")).await
    }

    async fn send_body(&self, method: &str, target: &str, content_type: &str, body: &str) -> String {
        let length = body.len();
        let headers = format!("Content-Type: {content_type}\r\nContent-Length: {length}\r\n\r\n{body}");
        self.ask(&format!("{method} /nacos{target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{headers}")).await
    }

    async fn register(&self, service: &str) -> String {
        self.send("POST", &format!("/v1/ns/instance?serviceName={service}&ip=10.1.0.1&port=80"), "").await
    }

    fn has(&self, service: &str) -> bool {
        let found = self.app.registry.service("public", &format!("DEFAULT_GROUP@@{service}"));
        found.is_some_and(|service| service.find("DEFAULT", "10.1.0.1", 80, true).is_some())
    }
}

fn status(answer: &str) -> &str {
    answer.get(9..12).unwrap_or(answer)
}

fn body_of(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("no body", |(_, body)| body)
}

/// The request line, the headers sorted, the body.
fn parts(request: &str) -> (String, Vec<String>, String) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines = head.lines().map(str::to_owned);
    let first = lines.next().unwrap();
    let mut headers: Vec<String> = lines.collect();
    headers.sort();
    (first, headers, body.to_owned())
}

#[tokio::test]
async fn a_beat_is_passed_on_as_the_reference_does() {
    let fake = Fake::saying(200, "{\"clientBeatInterval\":5000,\"code\":10200,\"lightBeatEnabled\":true}").await;
    let world = World::start(&[&fake.address]).await;
    let service = world.service(&fake.address);
    let form = format!("port=8080&ip=10.1.0.1&beat=%7B%22ip%22%3A%22\u{e4}+%26%22%7D&serviceName={service}");
    let head = "PUT /nacos/v1/ns/instance/beat HTTP/1.1\r\nHost: 127.0.0.1:18301\r\nUser-Agent: Nacos-Java-Client:v1.4.8\r\n\
                Client-Version: Nacos-Java-Client:v1.4.8\r\nAccept-Encoding: identity\r\nRequestId: 7\r\n\
                Connection: close, x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nTE: trailers\r\n\
                Content-Type: application/x-www-form-urlencoded;charset=GBK\r\n";
    let form = form.replace('\u{e4}', "%C4%E3");
    let answer = world.ask(&format!("{head}Content-Length: {}\r\n\r\n{form}", form.len())).await;
    let (first, headers, body) = parts(&fake.asked()[0]);
    assert_eq!(
        first,
        format!(
            "PUT /nacos/v1/ns/instance/beat?port=8080&ip=10.1.0.1&beat=%7B%22ip%22%3A%22%E4%BD%A0%20%26%22%7D\
             &serviceName={service}&encoding=UTF-8&nofix=1 HTTP/1.1"
        )
    );
    assert_eq!(
        headers,
        [
            "accept-charset: UTF-8",
            "accept-encoding: identity",
            "client-version: 1.4.8",
            "content-length: 0",
            "content-type: application/x-www-form-urlencoded;charset=UTF-8",
            "host: 127.0.0.1:18301",
            "request-source: 127.0.0.1:1",
            "requestid: 7",
            "user-agent: Nacos-Server:1.4.8",
        ]
    );
    assert_eq!(body, "");
    assert_eq!(status(&answer), "200");
    assert_eq!(body_of(&answer), "{\"clientBeatInterval\":5000,\"code\":10200,\"lightBeatEnabled\":true}");
    assert!(answer.contains("content-type: application/json;charset=UTF-8\r\n"), "{answer}");
}

#[tokio::test]
async fn errors_of_the_owner_come_back_as_they_are() {
    let fake = Fake::start(|number, _| {
        Does::Says(match number {
            0 => answer(400, "caused: Param 'ip' is required.;"),
            1 => answer(503, "server is DOWNnow, please try again later!"),
            _ => b"HTTP/1.1 403 \r\nTransfer-Encoding: chunked\r\nContent-Type: text/x\r\n\r\n2\r\nno\r\n0\r\n\r\n"
                .to_vec(),
        })
    })
    .await;
    let world = World::start(&[&fake.address]).await;
    let target = format!("/v1/ns/instance?serviceName={}", world.service(&fake.address));
    for (code, body) in [
        ("400", "caused: Param 'ip' is required.;"),
        ("503", "server is DOWNnow, please try again later!"),
        ("403", "no"),
    ] {
        let answer = world.send("POST", &target, "").await;
        assert_eq!((status(&answer), body_of(&answer)), (code, body));
        assert!(answer.contains("content-type: application/json;charset=UTF-8\r\n"), "{answer}");
    }
    assert_eq!(world.members().state(&fake.address), Some(State::Down), "that is how members begin; nothing was noted");
}

#[tokio::test]
async fn what_is_its_own_or_not_for_owners_is_answered_here() {
    let fake = Fake::saying(200, "ok").await;
    let world = World::start(&[&fake.address]).await;
    let (own, foreign) = (world.service(OWN), world.service(&fake.address));
    let answer = world.register(&own).await;
    assert_eq!((status(&answer), body_of(&answer), world.has(&own)), ("200", "ok", true));
    assert!(answer.contains("content-type: text/plain;charset=UTF-8\r\n"), "{answer}");
    let target = format!("/v1/ns/instance/list?serviceName={foreign}");
    assert_eq!(status(&world.send("GET", &target, "").await), "200");
    let target = format!("/v1/ns/service?serviceName={foreign}");
    assert_eq!(status(&world.send("POST", &target, "").await), "200");
    for (method, target) in
        [("POST", "/v1/ns/instance"), ("PUT", "/v1/ns/instance/beat"), ("DELETE", "/v1/ns/instance?ip=1.1.1.1&port=1")]
    {
        let answer = world.send(method, target, "").await;
        assert_eq!((status(&answer), body_of(&answer)), ("400", "caused: Param 'serviceName' is required.;"));
    }
    let answer = world.send("GET", "/v1/ns/api/clientBeat", "").await;
    assert_eq!((status(&answer), body_of(&answer)), ("400", "caused: Param 'dom' is required.;"));
    let off = Box::new(Switches { distro_enabled: false, ..Switches::default() });
    world.app.registry.apply(Row::Setting(SettingKey::Switches, Some(Arc::new(Setting::Switches(off)))), 0, false);
    world.register(&foreign).await;
    assert!(world.has(&foreign), "with the switch off every server owns everything");
    assert_eq!(fake.asked(), [""; 0]);
}

#[tokio::test]
async fn every_listed_route_is_passed_on() {
    let fake = Fake::saying(200, "ok").await;
    let world = World::start(&[&fake.address]).await;
    let service = world.service(&fake.address);
    let routes = [
        ("POST", "/v1/ns/instance"),
        ("DELETE", "/v1/ns/instance"),
        ("PUT", "/v1/ns/instance"),
        ("PATCH", "/v1/ns/instance/"),
        ("PUT", "/v1/ns/instance/beat"),
        ("PUT", "/v1/ns/instance/metadata/batch"),
        ("DELETE", "/v1/ns/instance/metadata/batch"),
        ("GET", "/v1/ns/api/clientBeat"),
        ("PUT", "/v1/ns/health"),
        ("PUT", "/v1/ns/health/instance"),
        ("PUT", "/v1/ns/api/beat"),
    ];
    for (method, path) in routes {
        let answer = world.send(method, &format!("{path}?dom={service}&x=1&x=2&encoding=GBK"), "").await;
        assert_eq!(status(&answer), "200", "{method} {path}: {answer}");
    }
    for ((method, path), asked) in routes.iter().zip(fake.asked()) {
        let expected = format!("{method} /nacos{path}?dom={service}&x=1&encoding=UTF-8&nofix=1 HTTP/1.1");
        assert_eq!(parts(&asked).0, expected);
    }
    assert_eq!((fake.asked().len(), fake.connections()), (routes.len(), 1));
}

#[tokio::test]
async fn what_a_member_passed_on_is_never_passed_on_again() {
    let fake = Fake::saying(200, "ok").await;
    let world = World::start(&[&fake.address]).await;
    let service = world.service(&fake.address);
    let target = format!("/v1/ns/instance?serviceName={service}&ip=10.1.0.1&port=80");
    for source in ["", "Request-Source: 10.9.9.9:8848\r\n"] {
        let answer = world.send("POST", &target, &format!("User-Agent: Nacos-Server:1.4.8\r\n{source}")).await;
        assert_eq!(status(&answer), "400", "{answer}");
        assert!(answer.contains("\"message\":\"receive invalid redirect request from peer 127.0.0.1\""), "{answer}");
    }
    assert!(!world.has(&service));
    let source = format!("User-Agent: Nacos-Server:1.4.8\r\nRequest-Source: {}\r\n", fake.address);
    let answer = world.send("POST", &target, &source).await;
    assert_eq!((status(&answer), world.has(&service)), ("200", true));
    assert_eq!(fake.asked(), [""; 0]);
}

#[tokio::test]
async fn who_has_no_data_yet_leaves_what_a_server_of_its_kind_passes_on_to_that() {
    const SENDER: &str = "127.0.0.1:8849";
    let members = Members::new(member(OWN), [member(SENDER)], 3);
    let served = world::World::as_of(None, world::options(false), members, true);
    let address = served.serve().await;
    let world = World { app: served.app.clone(), address, _served: served };
    let service = world.service(OWN);
    let target = format!("/v1/ns/instance?serviceName={service}&ip=10.1.0.1&port=80");
    let sender = format!("User-Agent: Nacos-Server:1.4.8\r\nRequest-Source: {SENDER}\r\n");
    let answer = world.send("POST", &target, &format!("{sender}Nacre-Client-Agent: x\r\n")).await;
    assert_eq!(status(&answer), "400", "{answer}");
    assert!(answer.contains("receive invalid redirect request from peer") && !world.has(&service), "{answer}");
    // Others would show their client the fault.
    let answer = world.send("POST", &target, &sender).await;
    assert_eq!((status(&answer), world.has(&service)), ("200", true), "{answer}");
}

#[tokio::test]
async fn when_the_owner_is_gone_the_next_one_is_asked() {
    let (gone, fake) = (nobody().await, Fake::saying(200, "ok").await);
    let world = World::start(&[&gone, &fake.address]).await;
    let mut names = (0..1_000).map(|n| format!("s{n}"));
    let view = world.members().view();
    // Owned by the one that is gone, and after it by the other, or by this server.
    let mut owned = |next: &str| {
        let is = |view: &crate::cluster::ownership::View, name: &str, owner: &str| {
            let name = format!("DEFAULT_GROUP@@{name}");
            matches!(view.owner(&name), Owner::Peer(peer) if **peer == *owner) || (owner == OWN && view.is_owner(&name))
        };
        let then = crate::cluster::ownership::View::new(OWN.into(), [fake.address.as_str().into()], false);
        names.find(|name| is(&view, name, &gone) && is(&then, name, next)).unwrap()
    };
    let (other, own) = (owned(&fake.address), owned(OWN));
    let answer = world.register(&other).await;
    assert_eq!((status(&answer), world.has(&other), fake.asked().len()), ("200", false, 1));
    assert_eq!(world.members().state(&gone), Some(State::Down));
    assert!(!world.members().view().healthy().iter().any(|one| **one == *gone));
    let answer = world.register(&own).await;
    assert_eq!((status(&answer), world.has(&own), fake.asked().len()), ("200", true, 1));
}

#[tokio::test]
async fn when_the_owner_fails_the_request_is_handled_here() {
    let fake = Fake::start(|_, _| Does::Ends(b"HTTP/1.1 200".to_vec())).await;
    let world = World::start(&[&fake.address]).await;
    world.members().note_success(&fake.address);
    let service = world.service(&fake.address);
    let answer = world.register(&service).await;
    assert_eq!((status(&answer), body_of(&answer), world.has(&service)), ("200", "ok", true));
    assert_eq!(world.members().state(&fake.address), Some(State::Suspicious));
    assert!(!world.members().view().is_owner(&format!("DEFAULT_GROUP@@{service}")));
    let target = format!("/v1/ns/instance?serviceName={service}&ip=10.1.0.1&port=80");
    let answer = world.send("DELETE", &target, "").await;
    assert_eq!((status(&answer), world.has(&service)), ("200", false));
    assert_eq!(fake.asked().len(), 1, "who failed just now is not asked again");
    world.members().note_success(&fake.address);
    world.register(&service).await;
    assert_eq!(fake.asked().len(), 2);
}

#[tokio::test]
async fn an_owner_that_hangs_costs_two_seconds_once() {
    let fake = Fake::start(|_, _| Does::Hangs).await;
    let world = World::start(&[&fake.address]).await;
    world.members().note_success(&fake.address);
    let service = world.service(&fake.address);
    let begun = std::time::Instant::now();
    assert_eq!(status(&world.register(&service).await), "200");
    assert!(world.has(&service) && begun.elapsed() >= BOUNDS.total);
    let begun = std::time::Instant::now();
    assert_eq!(status(&world.register(&service).await), "200");
    assert!(begun.elapsed() < BOUNDS.total);
}

#[tokio::test]
async fn an_owner_that_thinks_otherwise_leaves_the_request_here() {
    let body = "{\"message\":\"receive invalid redirect request from peer 10.0.0.1\"}";
    let fake = Fake::saying(400, body).await;
    let world = World::start(&[&fake.address]).await;
    let service = world.service(&fake.address);
    let answer = world.register(&service).await;
    assert_eq!((status(&answer), world.has(&service), fake.asked().len()), ("200", true, 1));
}

#[tokio::test]
async fn an_owner_that_has_no_such_path_leaves_the_request_here() {
    for status_code in [404, 501] {
        let fake = Fake::saying(status_code, "no such thing here").await;
        let world = World::start(&[&fake.address]).await;
        let service = world.service(&fake.address);
        let answer = world.register(&service).await;
        assert_eq!((status(&answer), world.has(&service), fake.asked().len()), ("200", true, 1));
    }
}

#[tokio::test]
async fn no_place_no_passing_on() {
    let fake = Fake::saying(200, "ok").await;
    let world = World::start(&[&fake.address]).await;
    let service = world.service(&fake.address);
    let peers = world.app.cluster.as_ref().unwrap().peers().clone();
    let places: Vec<_> = std::iter::from_fn(|| peers.place(&fake.address)).collect();
    world.register(&service).await;
    assert_eq!((world.has(&service), fake.asked().len()), (true, 0));
    drop(places);
    world.register(&service).await;
    assert_eq!(fake.asked().len(), 1);
}

#[tokio::test]
async fn bodies_other_than_forms_are_kept_and_large_forms_stay_forms() {
    let fake = Fake::saying(200, "ok").await;
    let world = World::start(&[&fake.address]).await;
    let service = world.service(&fake.address);
    let target = format!("/v1/ns/instance?serviceName={service}&ip=10.1.0.1&port=80");
    world.send_body("PUT", &target, "application/json", "{\"a\":1}").await;
    let (first, headers, body) = parts(&fake.asked()[0]);
    assert!(first.ends_with("&port=80&encoding=UTF-8&nofix=1 HTTP/1.1"), "{first}");
    assert!(headers.contains(&"content-type: application/json".to_owned()), "{headers:?}");
    assert_eq!(body, "{\"a\":1}");
    let form = format!("metadata=k%3D{}", "v".repeat(MAX_QUERY_BYTES));
    world.send_body("PUT", &target, "application/x-www-form-urlencoded", &form).await;
    let (first, headers, body) = parts(&fake.asked()[1]);
    assert_eq!(first, "PUT /nacos/v1/ns/instance HTTP/1.1");
    assert!(
        headers.contains(&"content-type: application/x-www-form-urlencoded;charset=UTF-8".to_owned()),
        "{headers:?}"
    );
    assert_eq!(body, format!("serviceName={service}&ip=10.1.0.1&port=80&{form}&encoding=UTF-8&nofix=1"));
    // The reference would not see the form of a POST; a server of this kind does.
    world.send_body("POST", &target, "application/x-www-form-urlencoded", &form).await;
    assert_eq!((fake.asked().len(), world.has(&service)), (2, true));
    let standing = Standing { phase: Phase::Ready, gap: Gap { from_ms: 0, to_ms: 0 } };
    let extend = crate::model::member::Extend { standing: Some(standing), ..Default::default() };
    world.members().note_report(&fake.address, extend, 1);
    world.send_body("POST", &target, "application/x-www-form-urlencoded", &form).await;
    assert_eq!(fake.asked().len(), 3);
    assert!(fake.asked()[2].ends_with("&encoding=UTF-8&nofix=1"));
}

#[tokio::test]
async fn an_owner_of_this_kind_hears_who_asks_and_its_words_are_kept() {
    for (label, kept) in [
        ("text/plain;charset=UTF-8", "text/plain;charset=UTF-8"),
        ("application/json", "application/json"),
        ("image/png", "application/json;charset=UTF-8"),
    ] {
        let answer = format!("HTTP/1.1 200 OK\r\nContent-Type: {label}\r\nContent-Length: 2\r\n\r\nok");
        let fake = Fake::start(move |_, _| Does::Says(answer.clone().into_bytes())).await;
        let world = World::start(&[&fake.address]).await;
        let service = world.service(&fake.address);
        let ask =
            format!("POST /nacos/v1/ns/instance?serviceName={service}&ip=10.1.0.1&port=80 HTTP/1.1\r\nHost: a\r\n");
        let ask =
            format!("{ask}User-Agent: Nacos-Java-Client:v1.4.8\r\nNacre-Client-Agent: x\r\nConnection: close\r\n\r\n");
        let answer = world.ask(&ask).await;
        assert!(answer.to_lowercase().contains("content-type: application/json;charset=utf-8\r\n"), "{answer}");
        let standing = Standing { phase: Phase::Ready, gap: Gap { from_ms: 0, to_ms: 0 } };
        let extend = crate::model::member::Extend { standing: Some(standing), ..Default::default() };
        world.members().note_report(&fake.address, extend, 1);
        let answer = world.ask(&ask).await;
        assert!(answer.contains(&format!("content-type: {kept}\r\n")), "{answer}");
        let (_, headers, _) = parts(&fake.asked()[1]);
        let agents: Vec<_> = headers.iter().filter(|header| header.starts_with("nacre-client-agent")).collect();
        assert_eq!(agents, ["nacre-client-agent: Nacos-Java-Client:v1.4.8"]);
    }
}

#[tokio::test]
async fn a_beat_of_an_instance_that_its_new_owner_lacks_is_taken_here() {
    let fake = Fake::saying(200, "{\"clientBeatInterval\":5000,\"code\":20404,\"lightBeatEnabled\":true}").await;
    let world = World::start(&[&fake.address]).await;
    let service = world.service(&fake.address);
    let beat =
        format!("PUT /nacos/v1/ns/instance/beat?serviceName={service}&ip=10.1.0.1&port=80 HTTP/1.1\r\nHost: a\r\n");
    let beat = format!("{beat}Connection: close\r\n\r\n");
    let standing = Standing { phase: Phase::Ready, gap: Gap { from_ms: 0, to_ms: 0 } };
    let extend = crate::model::member::Extend { standing: Some(standing), ..Default::default() };
    world.members().note_report(&fake.address, extend, 1);
    assert!(world.ask(&beat).await.contains("\"code\":20404"), "nobody has it");
    let key = InstanceKey {
        service: ServiceKey::new("public", &format!("DEFAULT_GROUP@@{service}")),
        cluster: "DEFAULT".into(),
        ip: "10.1.0.1".into(),
        port: 80,
        ephemeral: true,
    };
    world.app.registry.apply(Row::Instance(key, Some(Default::default())), 1, false);
    assert!(world.ask(&beat).await.contains("\"code\":10200"));
    assert_eq!(fake.asked().len(), 2);
}

#[tokio::test]
async fn many_parameters_are_sent_once_each() {
    let fake = Fake::saying(200, "ok").await;
    let world = World::start(&[&fake.address]).await;
    let service = world.service(&fake.address);
    let pairs: Vec<String> = (0..100).map(|n| format!("p{}={n}", n % 50)).collect();
    world.send("PUT", &format!("/v1/ns/instance?serviceName={service}&{}", pairs.join("&")), "").await;
    let (first, ..) = parts(&fake.asked()[0]);
    assert!(
        first.contains(&pairs[..50].join("&")) && first.ends_with("&p49=49&encoding=UTF-8&nofix=1 HTTP/1.1"),
        "{first}"
    );
}

#[tokio::test]
async fn only_callers_that_may_are_passed_on_and_then_in_the_name_of_this_server() {
    let fake = Fake::saying(200, "ok").await;
    let world = World::asking(&[&fake.address], true).await;
    let service = world.service(&fake.address);
    let answer = world.register(&service).await;
    assert_eq!((status(&answer), fake.asked().len()), ("403", 0));
    let target = format!("/v1/ns/instance?serviceName={service}&ip=10.1.0.1&port=80");
    let answer = world.send("POST", &target, "X-Identity: secret\r\n").await;
    assert_eq!((status(&answer), fake.asked().len()), ("200", 1));
    assert_eq!(fake.asked()[0].matches("x-identity: secret\r\n").count(), 1);
}
