use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::answer::{Incoming, MAX_BODY_BYTES};
use super::fake::Fake;
use super::*;

#[test]
fn servers_are_read_as_people_write_them() {
    for (text, shown) in [
        ("127.0.0.1:8848", "http://127.0.0.1:8848/nacos"),
        ("http://127.0.0.1", "http://127.0.0.1:8848/nacos"),
        ("http://127.0.0.1:80/", "http://127.0.0.1:80/nacos"),
        ("http://[::1]:9/a/b/", "http://[::1]:9/a/b"),
    ] {
        assert_eq!(Server::parse(text, false).map(|server| server.shown()).as_deref(), Ok(shown), "{text}");
    }
    for text in ["", "https://127.0.0.1", "http://10.1.2.3:8848", "http://u:p@127.0.0.1", "http://127.0.0.1/?a=b", "::"]
    {
        assert!(Server::parse(text, false).is_err(), "{text}");
    }
    assert!(Server::parse("http://10.1.2.3:8848", true).is_ok());
}

#[test]
fn texts_are_encoded_for_queries() {
    assert_eq!(encoded("a-b_c.d~e@@{\"é \"}&="), "a-b_c.d~e%40%40%7B%22%C3%A9%20%22%7D%26%3D");
}

/// The body, status and fate of the connection when the bytes come one by one.
fn read(text: &str, closed: bool) -> Result<Option<(u16, String, bool)>, Fault> {
    let mut incoming = Incoming::default();
    let mut bytes = Vec::new();
    for byte in text.bytes() {
        bytes.push(byte);
        if let Some(complete) = incoming.read(&mut bytes, false)? {
            assert_eq!(bytes.len(), text.len(), "complete too early");
            let body = String::from_utf8(bytes[complete.body].to_vec()).unwrap();
            return Ok(Some((complete.status, body, complete.keep)));
        }
    }
    if !closed {
        return Ok(None);
    }
    let complete = incoming.read(&mut bytes, true)?.expect("complete or a fault");
    Ok(Some((complete.status, String::from_utf8(bytes[complete.body].to_vec()).unwrap(), complete.keep)))
}

#[test]
fn answers_of_every_length_are_read() {
    let good = |status, body: &str, keep| Ok(Some((status, body.to_owned(), keep)));
    assert_eq!(read("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", false), good(200, "ok", true));
    assert_eq!(
        read("HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nok\r\n3\r\n, a\r\n0\r\nT: 1\r\n\r\n", false),
        good(200, "ok, a", true)
    );
    assert_eq!(
        read("HTTP/1.1 500 No\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", false),
        good(500, "x", false)
    );
    assert_eq!(read("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", false), good(200, "x", false));
    assert_eq!(
        read("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\nx", false),
        good(200, "x", true)
    );
    assert_eq!(read("HTTP/1.1 200 OK\r\n\r\nuntil the end", true), good(200, "until the end", false));
    assert_eq!(read("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", false), good(304, "", true));
}

#[test]
fn broken_answers_are_faults() {
    for (text, fault) in [
        ("", Fault::Closed),
        ("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", Fault::Closed),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n", Fault::Closed),
        ("SSH-2.0-x\r\n\r\n", Fault::Malformed("no HTTP head")),
        ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", Fault::Malformed("a length that is no number")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n", Fault::Malformed("an unknown transfer coding")),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n+2\r\n", Fault::Malformed("a chunk without a size")),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nokk",
            Fault::Malformed("a chunk that is longer than its size"),
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", Fault::TooLarge),
    ] {
        assert_eq!(read(text, true), Err(fault), "{text:?}");
    }
    let huge = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", MAX_BODY_BYTES + 1);
    assert_eq!(read(&huge, true), Err(Fault::TooLarge));
    let mut endless = format!("HTTP/1.1 200 OK\r\nX: {}", "x".repeat(70_000)).into_bytes();
    assert_eq!(Incoming::default().read(&mut endless, false), Err(Fault::TooLarge));
}

fn session(fake: &Fake) -> Arc<Session> {
    Arc::new(Session::anonymous(Server::parse(&fake.url(), false).unwrap()))
}

#[tokio::test]
async fn a_connection_that_the_server_closes_is_opened_again() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let fake = Fake::start(move |_| {
        // As Tomcat does after 100 requests; then as a server that closes without a word.
        match counted.fetch_add(1, Ordering::Relaxed) {
            1 => "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nb".into(),
            3 => String::new(),
            _ => Fake::ok("a"),
        }
    })
    .await;
    let mut connection = Connection::new(session(&fake), Duration::from_secs(20));
    for wanted in ["a", "b", "a", "a", "a"] {
        let answer = connection.ask(b"GET / HTTP/1.1\r\n", b"").await.expect("an answer");
        assert_eq!((answer.status, answer.body), (200, wanted.as_bytes()));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 6, "one was sent twice");
}

#[tokio::test]
async fn without_an_answer_there_is_a_fault() {
    let fake = Fake::start(|_| "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok".into()).await;
    let mut connection = Connection::new(session(&fake), Duration::from_millis(50));
    assert_eq!(connection.ask(b"GET / HTTP/1.1\r\n", b"").await, Err(Fault::Timeout));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let server = Server::parse(&listener.local_addr().unwrap().to_string(), false).unwrap();
    drop(listener);
    let mut connection = Connection::new(Arc::new(Session::anonymous(server)), Duration::from_secs(20));
    assert_eq!(connection.ask(b"GET / HTTP/1.1\r\n", b"").await, Err(Fault::Refused));
}

#[tokio::test]
async fn a_login_is_sent_with_every_request() {
    let fake = Fake::start(|request| {
        if request.starts_with("POST /nacos/v1/auth/users/login HTTP/1.1\r\n")
            && request.ends_with("username=a%26b&password=p")
        {
            Fake::ok(r#"{"accessToken":"t.o.k","tokenTtl":18000,"globalAdmin":true}"#)
        } else if request.contains("\r\nAuthorization: Bearer t.o.k\r\n\r\n") {
            Fake::ok("in")
        } else {
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 13\r\n\r\nunknown user!".into()
        }
    })
    .await;
    let server = Server::parse(&fake.url(), false).unwrap();
    let session = Arc::new(Session::of_user(server.clone(), "a&b", "p"));
    session.login().await.expect("a login");
    let mut connection = Connection::new(session, Duration::from_secs(20));
    assert_eq!(connection.ask(b"GET / HTTP/1.1\r\n", b"").await.map(|answer| answer.body), Ok(&b"in"[..]));
    let wrong = Arc::new(Session::of_user(server, "a", "wrong"));
    assert!(matches!(wrong.login().await, Err(crate::error::Error::Denied(_))));
}
