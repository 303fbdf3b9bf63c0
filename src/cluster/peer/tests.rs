mod calls;

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::fake::{Does, Fake, answer, nobody};
use super::*;

const BOUNDS: Bounds =
    Bounds { connect: Duration::from_secs(2), total: Duration::from_secs(20), max_answer_bytes: 1_000 };

fn peers() -> Peers {
    let identity = Some(("X-Identity".to_owned(), "secret".to_owned()));
    Peers::new(PeerOptions { context: "/nacos".into(), own: "10.0.0.1:8848".into(), identity }).unwrap()
}

fn ask() -> Outgoing {
    Outgoing::get("/nacos/x?a=b".into(), BOUNDS)
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn labelled(body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn every_call_says_who_sends_it_and_connections_are_kept() {
    let fake = Fake::saying(418, "tea").await;
    let peers = peers();
    for body in ["", "{}"] {
        let answer =
            peers.send(&fake.address, Outgoing::post("/nacos/x?a=b".into(), "application/json", body, BOUNDS)).await;
        let answer = answer.unwrap();
        assert_eq!((answer.status, &*answer.body), (418, &b"tea"[..]));
    }
    assert_eq!(fake.connections(), 1);
    let asked = fake.asked();
    for line in [
        "POST /nacos/x?a=b HTTP/1.1\r\n",
        "user-agent: Nacos-Server:1.4.8\r\n",
        "client-version: 1.4.8\r\n",
        "accept-charset: UTF-8\r\n",
        "request-source: 10.0.0.1:8848\r\n",
        "x-identity: secret\r\n",
        "content-type: application/json\r\n",
        &format!("host: {}\r\n", fake.address),
    ] {
        assert!(asked.iter().all(|request| request.contains(line)), "{line} in {asked:?}");
    }
    assert!(
        asked[0].contains("content-length: 0\r\n") && asked[1].ends_with("content-length: 2\r\n\r\n{}"),
        "{asked:?}"
    );
    peers.set_identity(None).unwrap();
    peers.send(&fake.address, ask()).await.unwrap();
    assert!(!fake.asked()[2].contains("x-identity"));
    assert!(peers.set_identity(Some(("a b".into(), "x".into()))).is_err());
}

#[tokio::test]
async fn a_connection_that_died_while_it_was_kept_is_replaced() {
    let fake = Fake::start(|_, _| Does::Ends(answer(200, "x"))).await;
    let peers = peers();
    for _ in 0..3 {
        peers.send(&fake.address, ask()).await.unwrap();
        // Until the end of the connection has come.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((fake.connections(), fake.asked().len()), (3, 3), "nothing was sent into a closed connection");
}

#[tokio::test]
async fn what_gets_no_answer_on_a_kept_connection_is_sent_once_more() {
    let fake = Fake::start(|number, _| match number {
        0 | 2 => Does::Says(answer(200, "x")),
        _ => Does::Ends(Vec::new()),
    })
    .await;
    let peers = peers();
    peers.send(&fake.address, ask()).await.unwrap();
    peers.send(&fake.address, ask()).await.unwrap();
    assert_eq!((fake.connections(), fake.asked().len()), (2, 3));
    let failure = peers.send(&fake.address, ask()).await.unwrap_err();
    assert!(matches!(failure, Failure::Broken(_)), "{failure}");
    assert_eq!((fake.connections(), fake.asked().len()), (3, 5), "once, not more");
}

#[tokio::test]
async fn what_must_not_come_twice_is_sent_once() {
    let fake = Fake::start(|number, _| match number {
        0 | 2 => Does::Says(answer(200, "x")),
        _ => Does::Ends(Vec::new()),
    })
    .await;
    let peers = peers();
    peers.send_once(&fake.address, ask()).await.unwrap();
    let failure = peers.send_once(&fake.address, ask()).await.unwrap_err();
    assert!(matches!(failure, Failure::Broken(_)), "{failure}");
    assert_eq!((fake.connections(), fake.asked().len()), (1, 2), "it came, and was not answered");
    // A connection that is seen to be closed is no reason to give up: nothing was sent.
    peers.send_once(&fake.address, ask()).await.unwrap();
    assert_eq!((fake.connections(), fake.asked().len()), (2, 3));
}

#[tokio::test]
async fn half_an_answer_is_none_and_the_request_not_repeated() {
    let fake = Fake::start(|number, _| match number {
        0 => Does::Says(answer(200, "x")),
        _ => Does::Ends(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf".to_vec()),
    })
    .await;
    let peers = peers();
    peers.send(&fake.address, ask()).await.unwrap();
    let failure = peers.send(&fake.address, ask()).await.unwrap_err();
    assert!(matches!(failure, Failure::Broken(_)), "{failure}");
    assert_eq!(fake.asked().len(), 2);
}

#[tokio::test]
async fn nobody_there_is_told_from_other_failures() {
    let peers = peers();
    assert_eq!(peers.send(&nobody().await, ask()).await.unwrap_err(), Failure::Refused);
    for nonsense in ["", "no port", "nowhere.invalid:1", "127.0.0.1:99999"] {
        let failure = peers.send(nonsense, ask()).await.unwrap_err();
        assert!(matches!(failure, Failure::Broken(_)), "{nonsense}: {failure}");
    }
    let failure = peers.send(&nobody().await, Outgoing::get("no target\r\n".into(), BOUNDS)).await.unwrap_err();
    assert!(matches!(failure, Failure::Broken(_)), "{failure}");
    let fake = Fake::start(|_, _| Does::Ends(b"220 mail.example ESMTP\r\n\r\n".to_vec())).await;
    let failure = peers.send(&fake.address, ask()).await.unwrap_err();
    assert!(matches!(failure, Failure::Broken(_)), "{failure}");
}

#[tokio::test]
async fn who_hangs_is_given_up_and_his_connection_too() {
    let fake = Fake::start(|number, _| match number {
        1 => Does::Hangs,
        _ => Does::Says(answer(200, "x")),
    })
    .await;
    let peers = peers();
    peers.send(&fake.address, ask()).await.unwrap();
    let bounds = Bounds { total: Duration::from_millis(50), ..BOUNDS };
    let failure = peers.send(&fake.address, Outgoing { bounds, ..ask() }).await.unwrap_err();
    assert_eq!(failure, Failure::Broken("no answer within 50 ms".into()));
    peers.send(&fake.address, ask()).await.unwrap();
    assert_eq!((fake.connections(), fake.asked().len()), (2, 3));
}

#[tokio::test]
async fn answers_come_in_all_forms() {
    let fake = Fake::start(|number, _| {
        Does::Says(match number {
            0 => b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n".to_vec(),
            1 => labelled(&gzip(b"abcdefg")),
            2 => labelled(b"abcdefg"),
            // Not said to be packed: what a program of another kind sends is left alone.
            3 => [b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n".as_slice(), &[0x1f, 0x8b, 7]].concat(),
            _ => b"HTTP/1.1 304 Not Modified\r\n\r\n".to_vec(),
        })
    })
    .await;
    let peers = peers();
    for _ in 0..3 {
        assert_eq!(peers.send(&fake.address, ask()).await.unwrap().body, "abcdefg");
    }
    assert_eq!(*peers.send(&fake.address, ask()).await.unwrap().body, [0x1f, 0x8b, 7]);
    let empty = peers.send(&fake.address, ask()).await.unwrap();
    assert_eq!((empty.status, empty.body.len()), (304, 0));
    assert_eq!(fake.connections(), 1);
}

#[tokio::test]
async fn answers_are_bounded() {
    let zeros = vec![b'0'; 1_001];
    let fake = Fake::start(move |number, _| {
        Does::Says(match number {
            0 => b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n".to_vec(),
            1 => [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n".as_slice(), &zeros, b"\r\n"].concat(),
            2 => labelled(&gzip(&zeros)),
            _ => labelled(&gzip(&zeros[1..])),
        })
    })
    .await;
    let peers = peers();
    for _ in 0..3 {
        let failure = peers.send(&fake.address, ask()).await.unwrap_err();
        assert_eq!(failure, Failure::Broken("answer of more than 1000 bytes".into()));
    }
    assert_eq!(peers.send(&fake.address, ask()).await.unwrap().body.len(), 1_000);
}

#[tokio::test]
async fn large_answers_are_read_and_unpacked() {
    let text: Vec<u8> = (0..3_000_000).map(|_| fastrand::alphanumeric() as u8).collect();
    let (plain, packed) = (text.clone(), gzip(&text));
    let fake = Fake::start(move |number, _| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", plain.len());
        Does::Says(if number == 0 { [head.as_bytes(), &plain].concat() } else { labelled(&packed) })
    })
    .await;
    let peers = peers();
    for _ in 0..2 {
        let bounds = Bounds { max_answer_bytes: 3_000_000, ..BOUNDS };
        let answer = peers.send(&fake.address, Outgoing { bounds, ..ask() }).await.unwrap();
        assert!(answer.body == text);
    }
    assert_eq!(fake.connections(), 1);
}

#[tokio::test]
async fn places_are_bounded_for_each_member_and_in_all() {
    let peers = peers();
    let mut held: Vec<Place> = (0..MAX_FORWARDS).map(|_| peers.place("10.0.0.2:1").unwrap()).collect();
    assert!(peers.place("10.0.0.2:1").is_none());
    assert!(peers.place("10.0.0.3:1").is_some());
    held.pop();
    assert!(peers.place("10.0.0.2:1").is_some());
    for n in 0..MAX_ALL_FORWARDS / MAX_FORWARDS {
        held.extend((0..MAX_FORWARDS).map_while(|_| peers.place(&format!("10.0.1.{n}:1"))));
    }
    assert_eq!(held.len(), MAX_ALL_FORWARDS);
    assert!(peers.place("10.0.0.9:1").is_none());
    drop(held);
    assert!(peers.place("10.0.0.9:1").is_some());
}

#[tokio::test]
async fn connections_that_nobody_uses_are_closed() {
    let fake = Fake::saying(200, "x").await;
    let peers = peers();
    peers.send(&fake.address, ask()).await.unwrap();
    let pool = peers.pool(&fake.address);
    let now = Instant::now();
    assert_eq!(pool.sweep(now), 1);
    assert_eq!(pool.sweep(now + IDLE), 0);
    peers.send(&fake.address, ask()).await.unwrap();
    assert_eq!(fake.connections(), 2);
}

#[tokio::test]
async fn many_at_once_need_no_more_connections_than_there_are_of_them() {
    let fake = Fake::saying(200, "x").await;
    let peers = Arc::new(peers());
    for _ in 0..20 {
        let asking: Vec<_> = (0..10)
            .map(|_| {
                let (peers, to) = (peers.clone(), fake.address.clone());
                tokio::spawn(async move { peers.send(&to, ask()).await.unwrap().body })
            })
            .collect();
        for asked in asking {
            assert_eq!(asked.await.unwrap(), "x");
        }
    }
    assert!(fake.connections() <= 10, "{}", fake.connections());
    assert_eq!(fake.asked().len(), 200);
}
