use std::sync::atomic::AtomicBool;

use tokio::io::AsyncReadExt;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use super::*;
use crate::http::body::{self, BodyError};

/// Short enough for tests, long enough that a busy machine doesn't cut the innocent.
fn limits() -> Limits {
    Limits {
        max_head_bytes: MIN_HEAD_BYTES,
        head_timeout_ms: 250,
        body_timeout_ms: 250,
        idle_timeout_ms: 250,
        write_timeout_ms: 250,
        linger_ms: 250,
        drain_ms: 250,
        reap_every_ms: 20,
        ..Limits::default()
    }
}

struct Running {
    address: std::net::SocketAddr,
    server: Server,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<usize>,
    /// Lets `/wait` answer.
    go: Arc<Notify>,
    /// Set when a `/wait` has begun.
    waiting: Arc<AtomicBool>,
}

impl Running {
    async fn stop(mut self) -> usize {
        self.stop.take().unwrap().send(()).unwrap();
        self.task.await.unwrap()
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends `request` and reads until the server closes.
    async fn exchange(&self, request: &[u8]) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request).await.unwrap();
        to_end(&mut stream).await
    }
}

async fn to_end(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    // A reset after the answer counts as its end.
    let _ = timeout(Duration::from_secs(4), stream.read_to_end(&mut answer)).await.expect("connection stays open");
    String::from_utf8(answer).unwrap()
}

/// Reads until `end` has come.
async fn until(stream: &mut TcpStream, end: &str) -> String {
    let mut answer = String::new();
    while !answer.ends_with(end) {
        let byte = timeout(Duration::from_secs(4), stream.read_u8()).await.expect("no answer");
        answer.push(byte.unwrap_or_else(|fault| panic!("{fault} after {answer:?}")) as char);
    }
    answer
}

/// Answers `METHOD PATH BODY`, or what is wrong with the body; `/wait` waits, `/big` is long.
async fn start(limits: Limits) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(limits);
    let (stop, stopped) = oneshot::channel();
    let (go, waiting) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
    let service = {
        let (go, waiting) = (Arc::clone(&go), Arc::clone(&waiting));
        move |request: Request<Incoming>, conn: Arc<Conn>| {
            let (go, waiting) = (Arc::clone(&go), Arc::clone(&waiting));
            async move {
                assert!(conn.peer().ip().is_loopback());
                let (head, incoming) = request.into_parts();
                if head.uri.path() == "/big" {
                    return Response::new(Full::from(vec![b'x'; 64 << 20]));
                }
                let mut response = Response::new(Full::default());
                let body = body::read(incoming, 100_000, &conn).await;
                if head.uri.path() == "/wait" {
                    waiting.store(true, Ordering::SeqCst);
                    go.notified().await;
                }
                *response.body_mut() = match body {
                    Ok(body) if body.len() > 100 => Full::from(format!("{} bytes", body.len())),
                    Ok(body) => Full::from(format!("{} {} {}", head.method, head.uri, String::from_utf8_lossy(&body))),
                    Err(fault) => {
                        *response.status_mut() = match fault {
                            BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
                            BodyError::Busy => StatusCode::SERVICE_UNAVAILABLE,
                            BodyError::Broken(_) => StatusCode::BAD_REQUEST,
                        };
                        Full::from(fault.to_string())
                    }
                };
                response
            }
        }
    };
    let task = tokio::spawn({
        let server = server.clone();
        async move {
            let stop = async {
                let _ = stopped.await;
            };
            server.run(listener, service, stop).await
        }
    });
    Running { address, server, stop: Some(stop), task, go, waiting }
}

fn status(answer: &str) -> &str {
    answer.get(..12).unwrap_or(answer)
}

fn body_of(answer: &str) -> &str {
    answer.split_once("\r\n\r\n").map_or("no body", |(_, body)| body)
}

const CLOSE: &str = "Host: x\r\nConnection: close\r\n";

#[tokio::test]
async fn plain_requests() {
    let running = start(limits()).await;
    let cases = [
        (format!("GET /a?b=%20 HTTP/1.1\r\n{CLOSE}\r\n"), "HTTP/1.1 200", "GET /a?b=%20 "),
        ("GET /a HTTP/1.0\r\n\r\n".to_owned(), "HTTP/1.0 200", "GET /a "),
        (format!("POST /a HTTP/1.1\r\n{CLOSE}Content-Length: 0\r\n\r\n"), "HTTP/1.1 200", "POST /a "),
        (format!("POST /a HTTP/1.1\r\n{CLOSE}\r\n"), "HTTP/1.1 200", "POST /a "),
        (format!("PUT /a HTTP/1.1\r\n{CLOSE}content-length: 3\r\n\r\na=b"), "HTTP/1.1 200", "PUT /a a=b"),
        (
            format!("PUT /a HTTP/1.1\r\n{CLOSE}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\n=b\r\n0\r\n\r\n"),
            "HTTP/1.1 200",
            "PUT /a a=b",
        ),
        (format!("GET /a?b=\u{e9}{{}}[]|\\^` HTTP/1.1\r\n{CLOSE}\r\n"), "HTTP/1.1 200", "GET /a?b=\u{e9}{}[]|\\^` "),
        (format!("\r\nGET /??x&&y HTTP/1.1\r\n{CLOSE}\r\n"), "HTTP/1.1 200", "GET /??x&&y "),
    ];
    for (request, code, body) in cases {
        let answer = running.exchange(request.as_bytes()).await;
        assert_eq!((status(&answer), body_of(&answer)), (code, body), "{request}\n{answer}");
    }
    assert_eq!(running.server.stats().accepted, 8);
    assert_eq!(running.stop().await, 0);
}

#[tokio::test]
async fn malformed_heads() {
    let running = start(limits()).await;
    let long = "x".repeat(MIN_HEAD_BYTES);
    let many = "a: b\r\n".repeat(101);
    let cases = [
        (format!("GET /{long} HTTP/1.1\r\n\r\n"), "HTTP/1.1 431"),
        (format!("GET / HTTP/1.1\r\na: {long}{long}{long}\r\n\r\n"), "HTTP/1.1 431"),
        (format!("GET / HTTP/1.1\r\n{many}\r\n"), "HTTP/1.1 431"),
        ("nonsense\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("GET / HTTP/1.1\r\nno colon\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("GET / HTTP/9.1\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("GET /a?b=\"<> HTTP/1.1\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("GET /a b HTTP/1.1\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab".to_owned(), "HTTP/1.1 400"),
        ("POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(), "HTTP/1.1 400"),
    ];
    for (request, code) in cases {
        let answer = running.exchange(request.as_bytes()).await;
        assert_eq!(status(&answer), code, "{}", request.get(..40).unwrap_or(&request));
    }
    assert_eq!(running.stop().await, 0);
}

#[tokio::test]
async fn keep_alive_and_pipelining() {
    let running = start(limits()).await;
    let mut stream = running.connect().await;
    for _ in 0..3 {
        stream.write_all(b"GET /a HTTP/1.1\r\n\r\n").await.unwrap();
        assert_eq!(status(&until(&mut stream, "GET /a ").await), "HTTP/1.1 200");
    }
    stream
        .write_all(b"PUT /1 HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let answers = until(&mut stream, "GET /3 ").await;
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 3);
    let at = |text: &str| answers.find(text).unwrap();
    assert!(at("PUT /1 ab") < at("GET /2 ") && at("GET /2 ") < at("GET /3 "));
    // A client that closes its sending half still gets its answer.
    stream.write_all(b"GET /4 HTTP/1.1\r\n\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    assert!(to_end(&mut stream).await.ends_with("GET /4 "));
    assert_eq!(running.server.stats(), Stats { open: 0, in_flight: 0, accepted: 1, reaped: 0, refused: 0 });
}

/// Sends `parts` with 60 ms between them, then waits for the server to close; returns how long it stayed open.
async fn trickle(running: &Running, begin: &str, byte: &str) -> (String, u128) {
    let stream = running.connect().await;
    let begun = Instant::now();
    let (mut read, mut write) = stream.into_split();
    write.write_all(begin.as_bytes()).await.unwrap();
    let byte = byte.to_owned();
    let sending = tokio::spawn(async move {
        for _ in 0..60 {
            sleep(Duration::from_millis(60)).await;
            if byte.is_empty() || write.write_all(byte.as_bytes()).await.is_err() {
                break;
            }
        }
        // Without this the sending half would be closed.
        if byte.is_empty() {
            sleep(Duration::from_secs(5)).await;
        }
    });
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(4), read.read_to_end(&mut answer)).await.expect("connection stays open");
    let open_ms = begun.elapsed().as_millis();
    sending.abort();
    (String::from_utf8(answer).unwrap(), open_ms)
}

#[tokio::test]
async fn slow_clients_are_cut_off() {
    let running = start(limits()).await;
    let put = "PUT /a HTTP/1.1\r\nContent-Length: 1000\r\n\r\n";
    let idle = "GET /a HTTP/1.1\r\n\r\n";
    let (nothing, head, trickled, body, slow_body, kept) = tokio::join!(
        trickle(&running, "", ""),
        trickle(&running, "GET /a HTT", ""),
        trickle(&running, "GET /a", "a"),
        trickle(&running, put, ""),
        trickle(&running, put, "x"),
        trickle(&running, idle, ""),
    );
    for (name, (answer, open_ms)) in
        [("nothing", nothing), ("head", head), ("trickled head", trickled), ("body", body), ("slow body", slow_body)]
    {
        assert_eq!(answer, "", "{name}");
        assert!((250..1500).contains(&open_ms), "{name}: {open_ms} ms");
    }
    assert_eq!((status(&kept.0), body_of(&kept.0)), ("HTTP/1.1 200", "GET /a "));
    assert!((250..1500).contains(&kept.1), "idle: {} ms", kept.1);
    let stats = running.server.stats();
    assert_eq!((stats.reaped, stats.open), (6, 0));
}

#[tokio::test]
async fn a_trickled_head_after_an_idle_time_has_its_own_limit() {
    let running = start(Limits { idle_timeout_ms: 60_000, ..limits() }).await;
    let (answer, open_ms) = trickle(&running, "GET /a HTTP/1.1\r\n\r\n", "G").await;
    assert_eq!(status(&answer), "HTTP/1.1 200");
    assert!((250..1500).contains(&open_ms), "{open_ms} ms");
    assert_eq!(running.server.stats().reaped, 1);
}

#[tokio::test]
async fn an_answered_client_has_the_idle_time() {
    let running = start(Limits { idle_timeout_ms: 60_000, ..limits() }).await;
    let mut stream = running.connect().await;
    for request in ["GET /a HTTP/1.1\r\n\r\n", "PUT /a HTTP/1.1\r\nContent-Length: 0\r\n\r\n"] {
        stream.write_all(request.as_bytes()).await.unwrap();
        until(&mut stream, " /a ").await;
        sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(running.server.stats(), Stats { open: 1, in_flight: 0, accepted: 1, reaped: 0, refused: 0 });
}

#[tokio::test]
async fn time_in_which_the_process_stood_still_does_not_count() {
    let running = start(limits()).await;
    let mut stream = running.connect().await;
    stream.write_all(b"GET /a HTTP/1.1\r\n\r\n").await.unwrap();
    until(&mut stream, "GET /a ").await;
    // Blocks the one thread of this test, so the server's too.
    std::thread::sleep(Duration::from_millis(600));
    sleep(Duration::from_millis(60)).await;
    stream.write_all(b"GET /b HTTP/1.1\r\n\r\n").await.unwrap();
    until(&mut stream, "GET /b ").await;
    assert_eq!(running.server.stats().reaped, 0);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_cut_off_and_a_slow_service_is_not() {
    let running = start(limits()).await;
    let mut deaf = running.connect().await;
    deaf.write_all(b"GET /big HTTP/1.1\r\n\r\n").await.unwrap();
    let mut patient = running.connect().await;
    patient.write_all(b"PUT /wait HTTP/1.1\r\nContent-Length: 1\r\n\r\nx").await.unwrap();
    sleep(Duration::from_millis(700)).await;
    // Time in which the machine stood still does not count.
    let given_up = std::time::Instant::now() + Duration::from_secs(4);
    while running.server.stats().reaped == 0 && std::time::Instant::now() < given_up {
        sleep(Duration::from_millis(20)).await;
    }
    let stats = running.server.stats();
    assert_eq!((stats.open, stats.reaped), (1, 1));
    running.go.notify_one();
    until(&mut patient, "PUT /wait x").await;
}

#[tokio::test]
async fn bodies_over_the_limit() {
    let running = start(limits()).await;
    let answer = running.exchange(b"PUT /a HTTP/1.1\r\nContent-Length: 100001\r\n\r\n").await;
    assert_eq!((status(&answer), body_of(&answer)), ("HTTP/1.1 413", "request body is larger than 100000 bytes"));
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    // The answer reaches a client that sends it all before it reads.
    let mut announced = b"PUT /a HTTP/1.1\r\nContent-Length: 4000000\r\n\r\n".to_vec();
    announced.resize(4_000_000, b'x');
    assert_eq!(status(&running.exchange(&announced).await), "HTTP/1.1 413");
    let mut chunked = b"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n186a1\r\n".to_vec();
    chunked.resize(chunked.len() + 0x186a1, b'x');
    chunked.extend_from_slice(b"\r\n0\r\n\r\n");
    assert_eq!(status(&running.exchange(&chunked).await), "HTTP/1.1 413");
    let mut whole = format!("PUT /a HTTP/1.1\r\n{CLOSE}Content-Length: 100000\r\n\r\n").into_bytes();
    whole.resize(whole.len() + 100_000, b'x');
    assert_eq!(body_of(&running.exchange(&whole).await), "100000 bytes");
    let answer = running.exchange(b"PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n").await;
    assert_eq!(status(&answer), "HTTP/1.1 400");
}

#[tokio::test]
async fn arriving_bodies_share_a_bounded_memory() {
    let running = start(Limits { max_arriving_bytes: 1000, body_timeout_ms: 60_000, ..limits() }).await;
    let put = |length: usize| format!("PUT /a HTTP/1.1\r\n{CLOSE}Content-Length: {length}\r\n\r\n").into_bytes();
    let mut slow = running.connect().await;
    slow.write_all(&[put(901), vec![b'x'; 900]].concat()).await.unwrap();
    sleep(Duration::from_millis(50)).await;
    // Not all of it is here at once, so it needs memory that isn't there.
    let answer = running.exchange(&[put(201), vec![b'x'; 200]].concat()).await;
    assert_eq!(status(&answer), "HTTP/1.1 503");
    // A body that comes in one piece needs none.
    let answer = running.exchange(&[put(200), vec![b'x'; 200]].concat()).await;
    assert_eq!(body_of(&answer), "200 bytes");
    slow.write_all(b"x").await.unwrap();
    assert_eq!(body_of(&to_end(&mut slow).await), "901 bytes");
}

#[tokio::test]
async fn more_connections_than_places_wait() {
    let running = start(Limits { max_connections: 2, idle_timeout_ms: 60_000, ..limits() }).await;
    let mut first = running.connect().await;
    let mut second = running.connect().await;
    for stream in [&mut first, &mut second] {
        stream.write_all(b"GET /a HTTP/1.1\r\n\r\n").await.unwrap();
        until(stream, "GET /a ").await;
    }
    let mut third = running.connect().await;
    third.write_all(b"GET /b HTTP/1.1\r\n\r\n").await.unwrap();
    let early = timeout(Duration::from_millis(100), third.read_u8()).await;
    assert!(early.is_err(), "{early:?}");
    assert_eq!(running.server.stats().open, 2);
    drop(first);
    until(&mut third, "GET /b ").await;
}

#[tokio::test]
async fn stopping_finishes_requests_in_flight() {
    let running = start(Limits { drain_ms: 3000, idle_timeout_ms: 60_000, ..limits() }).await;
    let address = running.address;
    let mut idle = running.connect().await;
    idle.write_all(b"GET /a HTTP/1.1\r\n\r\n").await.unwrap();
    until(&mut idle, "GET /a ").await;
    let mut busy = running.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\n\r\n").await.unwrap();
    while !running.waiting.load(Ordering::SeqCst) {
        sleep(Duration::from_millis(5)).await;
    }
    let (go, server) = (Arc::clone(&running.go), running.server.clone());
    let stopping = tokio::spawn(running.stop());
    assert_eq!(to_end(&mut idle).await, "");
    assert!(TcpStream::connect(address).await.is_err());
    assert_eq!(server.stats().open, 1);
    go.notify_one();
    let answer = to_end(&mut busy).await;
    assert_eq!((status(&answer), body_of(&answer)), ("HTTP/1.1 200", "GET /wait "));
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    assert_eq!(stopping.await.unwrap(), 0);
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let running = start(limits()).await;
    let mut busy = running.connect().await;
    busy.write_all(b"GET /wait HTTP/1.1\r\n\r\n").await.unwrap();
    while !running.waiting.load(Ordering::SeqCst) {
        sleep(Duration::from_millis(5)).await;
    }
    let server = running.server.clone();
    let begun = Instant::now();
    assert_eq!(running.stop().await, 1);
    let took_ms = begun.elapsed().as_millis();
    assert!((250..1000).contains(&took_ms), "{took_ms} ms");
    assert_eq!(to_end(&mut busy).await, "");
    assert_eq!(server.stats().open, 0);
}

#[tokio::test]
async fn a_server_dropped_midway_closes_its_connections() {
    let running = start(limits()).await;
    let mut stream = running.connect().await;
    stream.write_all(b"GET /wait HTTP/1.1\r\n\r\n").await.unwrap();
    while !running.waiting.load(Ordering::SeqCst) {
        sleep(Duration::from_millis(5)).await;
    }
    running.task.abort();
    assert_eq!(to_end(&mut stream).await, "");
}

#[test]
fn which_accept_failures_pause() {
    for (code, passing) in [(libc_code::ECONNABORTED, true), (libc_code::EMFILE, false), (libc_code::ENFILE, false)] {
        assert_eq!(of_one_connection(&io::Error::from_raw_os_error(code)), passing, "{code}");
    }
}

/// Linux' numbers.
mod libc_code {
    pub(super) const ENFILE: i32 = 23;
    pub(super) const EMFILE: i32 = 24;
    pub(super) const ECONNABORTED: i32 = 103;
}

#[tokio::test]
async fn stopping_does_not_wait_for_the_rest_of_a_head() {
    let running = start(Limits { drain_ms: 5000, head_timeout_ms: 60_000, ..limits() }).await;
    let mut half = running.connect().await;
    half.write_all(b"GET /a HTTP/1.1\r\nHost:").await.unwrap();
    sleep(Duration::from_millis(100)).await;
    let begun = Instant::now();
    assert_eq!(running.stop().await, 0);
    assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(to_end(&mut half).await, "");
}
