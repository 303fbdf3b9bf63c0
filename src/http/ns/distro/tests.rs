use std::net::SocketAddr;

use hyper::Method;
use hyper::header::HeaderMap;

use super::*;
use crate::http::auth::Options;
use crate::http::world::{Heard, World, options, send};
use crate::model::peer::{Removed, Told, Trace};
use crate::model::{Instance, InstanceKey, ServiceKey};

const MEMBER: &str = "127.0.0.2";
const STRANGER: &str = "127.0.0.9";
const KEY: &str = "com.alibaba.nacos.naming.iplist.ephemeral.public##";

/// Of 10.0.0.1 (this server), and 127.0.0.2 and 127.0.0.3.
async fn cluster() -> (World, SocketAddr) {
    let world = World::of(options(false), [MEMBER, "127.0.0.3"]);
    let address = world.serve().await;
    (world, address)
}

/// As real members send it.
fn head(request: &str) -> String {
    let (method, path) = request.split_once(' ').unwrap();
    format!(
        "{method} /nacos/v1/ns/distro/{path}\nContent-Type: application/json;charset=UTF-8\nContent-Encoding: gzip\n\
         User-Agent: Nacos-Server:1.4.8\nClient-Version: 1.4.8"
    )
}

fn list(service: &str, instances: &str) -> String {
    format!(
        "{{\"{KEY}{service}\":{{\"key\":\"{KEY}{service}\",\"value\":{{\"instanceList\":[{instances}]}},\"timestamp\":1}}}}"
    )
}

/// Whether the request went on to the cluster, whatever that said.
fn went_on(heard: &Heard) -> bool {
    !matches!(heard.status, 400..=499 | 501)
}

#[tokio::test]
async fn a_server_that_stands_alone_knows_none_of_it() {
    let world = World::of_one();
    let to = world.serve().await;
    for request in ["PUT datum", "GET datum", "PUT changes", "PUT checksum?source=x", "GET datums", "DELETE datum"] {
        let heard = send("127.0.0.1", to, &head(request), b"{}").await;
        let (method, path) = request.split_once(' ').unwrap();
        let path = path.split('?').next().unwrap();
        assert_eq!(heard.status, 501, "{request}");
        assert!(
            heard.text().contains(&format!("no such api:{method}:/nacos/v1/ns/distro/{path}\"")),
            "{}",
            heard.text()
        );
    }
}

#[tokio::test]
async fn what_members_send_is_read_or_refused() {
    let (_world, to) = cluster().await;
    let good = list("DEFAULT_GROUP@@a", r#"{"ip":"5.5.5.5","port":5}"#);
    let (bad_name, null_value) = (list("DEFAULT_GROUP@@a b", ""), format!("{{\"{KEY}G@@a\":{{\"value\":null}}}}"));
    let null_instance = list("DEFAULT_GROUP@@a", "null");
    let other_key = r#"{"com.alibaba.nacos.naming.domains.meta.public##G@@a":{"value":{}}}"#;
    let names_rule = "caused: dom name can only have these characters: 0-9a-zA-Z-._:, current: DEFAULT_GROUP@@a b;";
    for (request, body, status, text) in [
        ("PUT datum", "{}", 200, "ok"),
        ("PUT datum", other_key, 200, "ok"),
        ("PUT datum", "", 400, "Required request body is missing"),
        ("PUT datum", "{", 400, "caused: "),
        ("PUT datum", "[]", 400, "caused: "),
        ("PUT datum", bad_name.as_str(), 400, names_rule),
        ("PUT datum", null_value.as_str(), 400, "caused: "),
        ("PUT datum", null_instance.as_str(), 400, "caused: "),
        ("PUT changes", "[]", 200, "ok"),
        ("PUT changes", good.as_str(), 400, "caused: "),
        ("GET datum", "", 400, "Required request body is missing"),
        ("GET datum", "{}", 400, "caused: "),
        ("GET datum", "{\"keys\":", 400, "caused: "),
        ("PUT checksum?source=127.0.0.2:8848", "", 400, "Required request body is missing"),
        ("PUT checksum?source=127.0.0.2:8848", "[]", 400, "caused: "),
        (
            "PUT checksum",
            "{}",
            500,
            "caused: Required request parameter 'source' for method parameter type String is not present;",
        ),
        ("DELETE datum", "", 501, "no such api:DELETE:/nacos/v1/ns/distro/datum"),
        ("POST datums", "{}", 501, "no such api:POST:/nacos/v1/ns/distro/datums"),
        ("GET checksum", "", 501, "no such api:GET:/nacos/v1/ns/distro/checksum"),
    ] {
        let heard = send(MEMBER, to, &head(request), body.as_bytes()).await;
        assert_eq!(heard.status, status, "{request} {body}: {}", heard.text());
        assert!(heard.text().contains(text), "{request} {body}: {}", heard.text());
    }
    let keys = format!("{{\"keys\":\"{KEY}DEFAULT_GROUP@@a\"}}");
    for (request, body) in [
        ("PUT datum", good.as_str()),
        ("GET datum", keys.as_str()),
        ("PUT checksum?source=127.0.0.2:8848", "{}"),
        ("GET datums?encoding=UTF-8&nofix=1", ""),
    ] {
        let heard = send(MEMBER, to, &head(request), body.as_bytes()).await;
        assert!(went_on(&heard), "{request}: {} {}", heard.status, heard.text());
    }
}

#[tokio::test]
async fn bodies_are_bounded_packed_or_not() {
    let (_world, to) = cluster().await;
    let spaces = |bytes: usize| [&b"{"[..], &vec![b' '; bytes - 2], b"}"].concat();
    let put = async |body: &[u8]| send(MEMBER, to, &head("PUT datum"), body).await;
    // More than clients may send, and read on another thread.
    let large = spaces(3 << 20);
    assert_eq!(put(&large).await.text(), "ok");
    assert_eq!(put(&gzip::pack(&large)).await.text(), "ok");
    assert_eq!(put(&gzip::pack(b"{}")).await.text(), "ok");
    let too_large = spaces((4 << 20) + 1);
    assert_eq!(put(&too_large).await.status, 413);
    assert_eq!(put(&gzip::pack(&too_large)).await.status, 413);
    let packed = gzip::pack(&large);
    let broken = put(packed.get(..packed.len() / 2).unwrap()).await;
    assert_eq!(broken.status, 400, "{}", broken.text());
    let mut wrong = large;
    wrong.pop();
    assert_eq!(put(&wrong).await.status, 400, "errors of other threads are answered too");
}

#[tokio::test]
async fn strangers_are_refused_before_their_body_is_read() {
    let (_world, to) = cluster().await;
    let large = vec![b' '; (4 << 20) + 1];
    for request in
        ["PUT datum", "GET datum", "PUT changes", "PUT checksum?source=127.0.0.2:8848", "GET datums", "PUT datum/"]
    {
        let heard = send(STRANGER, to, &head(request), &large).await;
        assert_eq!(heard.status, 403, "{request}");
        let message = "only servers of this cluster may do this: no member has the address 127.0.0.9";
        assert!(heard.text().contains(message), "{}", heard.text());
    }
}

#[tokio::test]
async fn a_source_is_another_member() {
    let (_world, to) = cluster().await;
    let (alien, other) = ("127.0.0.9:8848", "127.0.0.3:8848");
    for source in [alien, other, "127.0.0.2", "127.0.0.2:1", "10.0.0.1:8848", "evil.example:80"] {
        let heard = send(MEMBER, to, &head(&format!("PUT checksum?source={source}")), b"{}").await;
        assert_eq!((heard.status, heard.text()), (403, format!("source {source} is no other member of this cluster")));
    }
}

#[test]
fn bodies_become_requests() {
    let registry = Registry::default();
    let service = ServiceKey::new("public", "DEFAULT_GROUP@@a");
    let body = list("DEFAULT_GROUP@@a", r#"{"ip":"5.5.5.5","port":5}"#);
    let Ok(Some(Request::Push(data))) = pushed(&registry, body.as_bytes()) else { panic!("no push") };
    assert_eq!((data.len(), data[0].told.len(), &data[0].service), (1, 1, &service));
    let mut body = Vec::new();
    datum::write_parts(&[(&data[0], false)], &mut body);
    let Ok(Some(Request::Changes(parts))) = changed(&registry, &body) else { panic!("no changes") };
    assert_eq!((parts.len(), parts[0].whole, &parts[0].datum.service), (1, false, &service));
    let keys = format!("{{\"keys\":\"{KEY}DEFAULT_GROUP@@a,{KEY}G@@b,{KEY}DEFAULT_GROUP@@a\"}}");
    let once = vec![service, ServiceKey::new("public", "G@@b")];
    let fetch = Request::Fetch { services: once, full: true };
    assert_eq!(wanted(keys.as_bytes(), true), Ok(Some(fetch)), "each once");
    let bad = list("DEFAULT_GROUP@@a b", "");
    assert!(matches!(pushed(&registry, bad.as_bytes()), Err(Error::Input(_))));
    registry.ensure_service(&ServiceKey::new("public", "DEFAULT_GROUP@@a b"));
    assert!(pushed(&registry, bad.as_bytes()).is_ok(), "what there is may change");
}

fn datum_of(instances: usize) -> Datum {
    let service = ServiceKey::new("public", "G@@s");
    let told = (0..instances).map(|number| {
        let key = InstanceKey {
            service: service.clone(),
            cluster: "DEFAULT".into(),
            ip: "10.0.0.1".into(),
            port: i32::try_from(number).unwrap(),
            ephemeral: true,
        };
        let trace = Some(Trace { changed_ms: 5, heard_ms: None });
        Told { key, instance: Arc::new(Instance::default()), last_beat_ms: 1, trace }
    });
    Datum {
        told: told.collect(),
        service: service.clone(),
        removed: Some(Removed { since_ms: 1, keys: Vec::new(), ..Removed::default() }),
    }
}

fn heard(step: Result<Step>) -> (u16, String) {
    let Ok(Step::Answer(reply)) = step else { panic!("no answer") };
    let response = reply.into_response(&Method::GET, &HeaderMap::new());
    let kind = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
    (response.status().as_u16(), kind.unwrap_or_default())
}

#[tokio::test]
async fn answers_of_the_cluster() {
    let octets = (200, "application/octet-stream".to_owned());
    assert_eq!(heard(answered(Answer::Data(vec![datum_of(200)]), true)), octets);
    let Ok(Step::Bulk(write)) = answered(Answer::Data(vec![datum_of(150), datum_of(51)]), true) else {
        panic!("a long answer is written on the spot")
    };
    assert_eq!(heard(write()), octets);
    assert_eq!(heard(answered(Answer::Done, true)), (200, "text/plain;charset=UTF-8".to_owned()));
    assert_eq!(heard(answered(Answer::NotReady, true)), (503, String::new()));
    assert!(matches!(answered(Answer::Unknown, true), Err(Error::Refused(_))));
}

/// Who that is that calls itself `source` from `ip`, and whether it gets to see everything.
fn question(ip: &str, source: &str, full: bool) -> (Option<String>, bool) {
    let world = World::of(options(false), [MEMBER, "127.0.0.3"]);
    let mut headers = HeaderMap::new();
    headers.insert(SOURCE, source.parse().unwrap());
    if full {
        headers.insert(FULL, "full".parse().unwrap());
    }
    world.with_call("", |call| {
        let call = Call {
            headers: &headers,
            params: crate::http::params::Params::of_query(None),
            caller: call.caller.clone(),
            peer: ip.parse().unwrap(),
            ..*call
        };
        let question = Question::of(&call).unwrap();
        (question.from, question.full)
    })
}

#[test]
fn who_asks_for_everything_is_told_everything_met_or_not() {
    assert_eq!(question("127.0.0.2", "127.0.0.2:8848", true), (Some("127.0.0.2:8848".to_owned()), true));
    assert_eq!(question("127.0.0.3", "127.0.0.3:8848", false), (Some("127.0.0.3:8848".to_owned()), false));
    assert_eq!(question("127.0.0.3", "127.0.0.2:8848", false), (None, false), "who speaks for another");
    assert_eq!(question("127.0.0.9", "127.0.0.9:8848", false), (None, false), "no member");
    let text = |own_kind: bool| {
        let mut out = Vec::new();
        datum::write(&[datum_of(1)], own_kind, &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_ne!(text(true), text(false));
}

#[tokio::test]
async fn the_identity_counts_whether_there_is_authentication_or_not() {
    for enabled in [false, true] {
        let identity = Some(("x-cluster".to_owned(), "sesame".to_owned()));
        let world = World::of(Options { identity, ..options(enabled) }, [MEMBER]);
        let to = world.serve().await;
        let status = async |ip: &str, header: &str| {
            let head = format!("{}\n{header}", head("PUT datum"));
            send(ip, to, &head, b"{}").await.status
        };
        assert_eq!(status(STRANGER, "X-Cluster: sesame").await, 200);
        for header in ["X-Cluster: sesam", "X-Cluster: Sesame", "X-Cluster:", "X-Other: sesame"] {
            assert_eq!(status(STRANGER, header).await, 403, "{header}");
            assert_eq!(status(MEMBER, header).await, 403, "the address is not enough, {header}");
        }
    }
}

#[test]
fn who_goes_away_keeps_the_place_until_what_was_asked_is_done() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(1).build().unwrap();
    let world = World::of_three();
    let cluster = world.app.cluster.clone().unwrap();
    let refused = runtime.block_on(async {
        // Nothing gets on before this ends.
        let (end, busy) = std::sync::mpsc::channel::<()>();
        let occupied = tokio::task::spawn_blocking(move || busy.recv());
        let mut refused = 0;
        for _ in 0..100 {
            let asked = tokio::time::timeout(
                std::time::Duration::from_millis(1),
                cluster.asked(None, Request::Snapshot { full: true }),
            );
            refused += u32::from(matches!(asked.await, Ok(Err(Error::Limit(_)))));
        }
        drop(end);
        assert!(occupied.await.unwrap().is_err());
        while cluster.asked(None, Request::Own).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        refused
    });
    assert_eq!(refused, 100 - 64);
}
