use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use super::*;

/// A server that gives `answer` to everybody and then closes; answers its port and what it hears.
async fn scripted(answer: &'static str) -> (i32, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (heard, requests) = mpsc::channel(16);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let _ = heard.try_send(String::from_utf8(head).unwrap());
            match answer {
                "hang" => tokio::time::sleep(Duration::from_secs(10)).await,
                answer => stream.write_all(answer.as_bytes()).await.unwrap(),
            }
        }
    });
    (port.into(), requests)
}

async fn finding(answer: &'static str) -> Finding {
    let (port, _requests) = scripted(answer).await;
    check("127.0.0.1", port, "/", "").await
}

#[tokio::test]
async fn every_row_of_the_table() {
    for (answer, expected) in [
        ("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", Finding::Busy),
        ("HTTP/1.1 301 Moved\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", Finding::Fail),
        ("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\ncontent-length: 0\r\n\r\n", Finding::Fail),
        ("HTTP/1.1 303 Other\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", Finding::Fail),
        ("HTTP/1.1 307 Moved\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", Finding::Fail),
        ("HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n", Finding::FailNow),
        ("HTTP/1.1 308 Moved\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n", Finding::FailNow),
        ("HTTP/1.1 204 Nothing\r\n\r\n", Finding::Fail),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno", Finding::FailNow),
        ("HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n", Finding::FailNow),
        ("HTTP/1.1 201 Made\r\ncontent-length: 0\r\n\r\n", Finding::FailNow),
        ("", Finding::Fail),
        ("rubbish\r\n\r\n", Finding::Fail),
        ("hang", Finding::Busy),
    ] {
        assert_eq!(finding(answer).await, expected, "{answer}");
    }
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.0 200 OK\r\n\r\nuntil the end",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    ] {
        assert!(matches!(finding(answer).await, Finding::Ok(ms) if ms < 1_000.0), "{answer}");
    }
}

#[tokio::test]
async fn a_refused_connection_and_paths_that_lead_nowhere() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    assert_eq!(check("127.0.0.1", port.into(), "/", "").await, Finding::FailNow);
    let (port, mut requests) = scripted("HTTP/1.1 200 OK\r\n\r\n").await;
    for path in ["http://127.0.0.1:1/", "//127.0.0.2/x", "https:/x", "file:///etc/passwd", "http://["] {
        assert_eq!(check("127.0.0.1", port, path, "").await, Finding::Fail, "{path}");
    }
    for port in [-1, 65_536] {
        assert_eq!(check("127.0.0.1", port, "/", "").await, Finding::Fail);
    }
    assert!(requests.try_recv().is_err(), "nobody was asked");
}

#[tokio::test]
async fn what_the_target_hears() {
    let (port, mut requests) = scripted("HTTP/1.1 200 OK\r\n\r\n").await;
    let headers =
        "x-a: b |x-b:1|broken|x-c:1:2|:v|x-d:|x-b : 2|x e:1|content-length:7|connection:upgrade|user-agent:me";
    for (path, target) in [
        ("", "/"),
        ("/", "/"),
        ("a/b", "/a/b"),
        ("/x?y=z", "/x?y=z"),
        ("?y", "/?y"),
        ("../../x", "/x"),
        ("/a b", "/a%20b"),
        ("/x#part", "/x"),
    ] {
        assert!(matches!(check("127.0.0.1", port, path, headers).await, Finding::Ok(_)), "{path}");
        let request = requests.recv().await.unwrap().to_lowercase();
        let mut lines: Vec<&str> = request.trim_end().lines().collect();
        assert_eq!(lines.remove(0), format!("get {target} http/1.1"));
        lines.sort_unstable();
        let host = format!("host: 127.0.0.1:{port}");
        assert_eq!(lines, ["connection: close", &host, "user-agent: vipserver", "x-a: b", "x-b: 2"], "{path}");
    }
    let _ = check("127.0.0.1", port, "/", "Host: other").await;
    assert!(requests.recv().await.unwrap().to_lowercase().contains("host: other\r\n"));
}

#[test]
fn names_and_ports_in_the_request() {
    let host = |host, port| request(host, port, "/", "").map(|r| r.headers()[HOST].to_str().unwrap().to_owned());
    assert_eq!(host("example.org", 80).as_deref(), Some("example.org"));
    assert_eq!(host("example.org", 8080).as_deref(), Some("example.org:8080"));
    assert_eq!(host("::1", 81).as_deref(), Some("[::1]:81"));
    assert_eq!(host("[::1]", 81).as_deref(), Some("[::1]:81"));
    assert_eq!(host("a b", 80), None);
    assert_eq!(host("", 80), None);
}
