//! Every message between members, as HTTP and back.

use std::time::Instant as Moment;

use super::*;
use crate::cluster::message::Part;
use crate::model::member::Member;
use crate::model::peer::{Datum, Told, Trace};
use crate::model::{Instance, InstanceKey, ServiceKey};
use crate::wire::datum;

fn service(name: &str) -> ServiceKey {
    ServiceKey::new("public", name)
}

fn list(name: &str, count: usize) -> Datum {
    let told = (0..count).map(|n| Told {
        key: InstanceKey {
            service: service(name),
            cluster: "DEFAULT".into(),
            ip: format!("10.0.{}.{}", n / 256, n % 256).as_str().into(),
            port: 80,
            ephemeral: true,
        },
        instance: Arc::new(Instance::default()),
        last_beat_ms: 5,
        trace: Some(Trace { changed_ms: 7, heard_ms: None }),
    });
    Datum { service: service(name), told: told.collect(), removed: None }
}

/// What is asked, and what is answered to `answer`.
async fn call(request: &Request, status: u16, body: &str) -> (String, Result<Answer, Failure>) {
    let answer = answer(status, body);
    let fake = Fake::start(move |_, _| Does::Says(answer.clone())).await;
    let answered = peers().call(&fake.address, request).await;
    (fake.asked().remove(0), answered)
}

fn line_and_body(request: &str) -> (&str, &str) {
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().trim_end_matches(" HTTP/1.1"), body)
}

#[tokio::test]
async fn requests_are_those_of_the_reference() {
    let key = "com.alibaba.nacos.naming.iplist.ephemeral.public##G@@s";
    let sums = vec![(service("G@@s"), Some(Arc::from("0f0a"))), (service("G@@t"), None)];
    let cases = [
        (Request::Own, "GET /nacos/v1/core/cluster/self", String::new()),
        (
            Request::Checksums { source: "10.0.0.1:8848".into(), sums },
            "PUT /nacos/v1/ns/distro/checksum?source=10.0.0.1%3A8848",
            format!("{{\"{key}\":\"0f0a\",\"{}t\":null}}", &key[..key.len() - 1]),
        ),
        (
            Request::Fetch { services: vec![service("G@@s")], full: true },
            "GET /nacos/v1/ns/distro/datum",
            format!("{{\"keys\":\"{key}\"}}"),
        ),
        (Request::Snapshot { full: true }, "GET /nacos/v1/ns/distro/datums?encoding=UTF-8&nofix=1", String::new()),
        (
            Request::Status {
                source: "10.0.0.1:8848".into(),
                namespace: "public".into(),
                sums: vec![("G@@s".into(), "3b".into())],
            },
            "POST /nacos/v1/ns/service/status",
            "{\"clientIP\":\"10.0.0.1:8848\",\"statuses\":\"{\\\"namespaceId\\\":\\\"public\\\",\
             \\\"serviceName2Checksum\\\":{\\\"G@@s\\\":\\\"3b\\\"}}\"}"
                .to_owned(),
        ),
        (
            Request::Statuses(service("G@@s")),
            "GET /nacos/v1/ns/instance/statuses?key=public%23%23G%40%40s&encoding=UTF-8&nofix=1",
            String::new(),
        ),
    ];
    for (request, line, body) in cases {
        let (asked, _) = call(&request, 500, "").await;
        assert_eq!(line_and_body(&asked), (line, &*body), "{request:?}");
        for header in ["user-agent: Nacos-Server:1.4.8\r\n", "content-type: application/json;charset=UTF-8\r\n"] {
            assert!(asked.contains(header), "{header} in {asked}");
        }
        assert!(!asked.contains("content-encoding"), "{asked}");
    }
}

#[tokio::test]
async fn lists_and_reports_are_sent() {
    let (asked, answered) = call(&Request::Push(vec![list("G@@s", 2)]), 200, "ok").await;
    let (line, body) = line_and_body(&asked);
    assert_eq!((line, answered), ("PUT /nacos/v1/ns/distro/datum", Ok(Answer::Done)));
    let pushed = datum::parse(body.as_bytes()).unwrap();
    assert_eq!(
        (pushed[0].told.len(), pushed[0].told[0].trace),
        (2, None),
        "nothing that only servers of this kind say"
    );

    let parts = vec![Part { datum: list("G@@s", 1), whole: true }, Part { datum: list("G@@t", 1), whole: false }];
    let sent: Vec<_> = parts.iter().map(|part| (part.datum.clone(), part.whole)).collect();
    let (asked, answered) = call(&Request::Changes(parts), 200, "ok").await;
    let (line, body) = line_and_body(&asked);
    assert_eq!((line, answered), ("PUT /nacos/v1/ns/distro/changes", Ok(Answer::Done)));
    assert_eq!(datum::parse_parts(body.as_bytes()).unwrap(), sent);

    let known = "{\"code\":200,\"message\":null,\"data\":\"true\"}";
    let (asked, answered) = call(&Request::Report(Member::new("10.0.0.1", 8848)), 200, known).await;
    let (line, body) = line_and_body(&asked);
    assert_eq!((line, answered), ("POST /nacos/v1/core/cluster/report", Ok(Answer::Known(true))));
    assert!(body.contains("\"version\":\"1.4.8\"") && body.contains("\"address\":\"10.0.0.1:8848\""), "{body}");
    assert!(
        asked.contains("nacos-server: 1.4.8\r\n") && asked.contains("user-agent: Nacos-Server:1.4.8\r\n"),
        "{asked}"
    );
}

#[tokio::test]
async fn answers_mean_what_they_say() {
    let said = |status, text: &str| Err(Failure::Said(status, text.to_owned()));
    let (report, push) = (Request::Report(Member::new("a", 1)), Request::Push(Vec::new()));
    let (changes, statuses) = (Request::Changes(Vec::new()), Request::Statuses(service("G@@s")));
    let stranger = "{\"code\":200,\"message\":null,\"data\":\"false\"}";
    let health = Answer::Health(vec![("10.1.0.1".into(), 8080, true), ("h_1".into(), 1, false)]);
    let cases = [
        (&report, 200, stranger, Ok(Answer::Known(false))),
        (&report, 404, "no", Ok(Answer::Unknown)),
        (&report, 503, "no", said(503, "no")),
        (&push, 304, "", Ok(Answer::Done)),
        (&push, 404, "no", said(404, "no")),
        (&push, 500, "caused: x;", said(500, "caused: x;")),
        (&push, 503, "server is DOWNnow", Ok(Answer::NotReady)),
        (&changes, 501, "no such api", Ok(Answer::Unknown)),
        (&changes, 403, "no", said(403, "no")),
        (&statuses, 200, "{\"ips\":[\"10.1.0.1:8080_true\",\"h_1:1_false\"]}", Ok(health)),
        (&statuses, 500, "caused: service: G@@s not found.;", Ok(Answer::Unknown)),
        (&statuses, 500, "caused: broken;", said(500, "caused: broken;")),
        (&Request::Snapshot { full: true }, 200, "{}", Ok(Answer::Data(Vec::new()))),
        (&Request::Snapshot { full: true }, 503, "", Ok(Answer::NotReady)),
    ];
    for (request, status, body, expected) in cases {
        let (_, answered) = call(request, status, body).await;
        assert_eq!(answered, expected, "{request:?} {status} {body}");
    }
    let own =
        "{\"code\":200,\"message\":null,\"data\":{\"ip\":\"10.0.0.2\",\"port\":8848,\"address\":\"10.0.0.2:8848\"}}";
    let (_, answered) = call(&Request::Own, 200, own).await;
    let Ok(Answer::Member(member)) = answered else { panic!("{answered:?}") };
    assert_eq!(member.address(), "10.0.0.2:8848");
    for (request, nonsense) in [
        (&Request::Snapshot { full: true }, "<html>"),
        (&Request::Own, "{}"),
        (&report, "[]"),
        (&report, "{\"code\":500,\"message\":\"x\",\"data\":null}"),
        (&statuses, "{\"ips\":[\"x\"]}"),
    ] {
        let (_, answered) = call(request, 200, nonsense).await;
        assert!(matches!(answered, Err(Failure::Broken(_))), "{request:?} {nonsense}: {answered:?}");
    }
    let (_, answered) = call(&push, 500, &"long ".repeat(1_000)).await;
    assert!(matches!(answered, Err(Failure::Said(500, text)) if text.len() == 300));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_lists_travel() {
    let data = vec![list("G@@s", 3_000), list("G@@t", 2)];
    let mut body = Vec::new();
    datum::write(&data, true, &mut body);
    let body = String::from_utf8(body).unwrap();
    assert!(body.len() > 256 << 10);
    let begun = Moment::now();
    let (_, answered) = call(&Request::Snapshot { full: true }, 200, &body).await;
    assert!(answered == Ok(Answer::Data(data.clone())), "after {:?}", begun.elapsed());
    let (asked, answered) = call(&Request::Push(data), 200, "ok").await;
    assert_eq!(answered, Ok(Answer::Done));
    assert_eq!(datum::parse(line_and_body(&asked).1.as_bytes()).unwrap()[0].told.len(), 3_000);
}
