//! A member for tests: remembers what it is asked, answers what it is told to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const PAUSE: Duration = Duration::from_millis(10);

/// What a fake does about a request.
pub(crate) enum Does {
    /// Sends this and waits for the next request.
    Says(Vec<u8>),
    /// Sends this and closes a little later.
    Ends(Vec<u8>),
    /// Nothing, with the connection open.
    Hangs,
}

/// Listens on a free port until it is dropped.
pub(crate) struct Fake {
    pub(crate) address: String,
    connections: Arc<AtomicUsize>,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Fake {
    /// Answers each request (which is counted, from 0; head and body as text).
    pub(crate) async fn start(does: impl Fn(usize, &str) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (connections, asked) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let (does, counted, list) = (Arc::new(does), connections.clone(), asked.clone());
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                let (does, list) = (does.clone(), list.clone());
                tokio::spawn(async move {
                    while let Some(request) = request(&mut stream).await {
                        let number = {
                            let mut list = list.lock();
                            list.push(request.clone());
                            list.len() - 1
                        };
                        match does(number, &request) {
                            Does::Says(bytes) => stream.write_all(&bytes).await.unwrap(),
                            Does::Ends(bytes) => {
                                stream.write_all(&bytes).await.unwrap();
                                // Not with the answer, but when nobody waits for anything.
                                return tokio::time::sleep(PAUSE).await;
                            }
                            Does::Hangs => return std::future::pending().await,
                        }
                    }
                });
            }
        });
        Self { address, connections, asked, task }
    }

    /// Answers everything with this body.
    pub(crate) async fn saying(status: u16, body: &'static str) -> Self {
        Self::start(move |_, _| Does::Says(answer(status, body))).await
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(crate) fn answer(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// An address where nobody listens.
pub(crate) async fn nobody() -> String {
    TcpListener::bind(("127.0.0.1", 0)).await.unwrap().local_addr().unwrap().to_string()
}

async fn request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let head = loop {
        bytes.push(stream.read_u8().await.ok()?);
        if bytes.ends_with(b"\r\n\r\n") {
            break String::from_utf8(bytes.clone()).unwrap().to_ascii_lowercase();
        }
    };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |n| n.parse().unwrap());
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    bytes.extend(body);
    Some(String::from_utf8(bytes).unwrap())
}
