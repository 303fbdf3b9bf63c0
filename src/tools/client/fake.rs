//! A server for tests that answers what it is told to.

use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Listens on a free port until it is dropped.
pub(crate) struct Fake {
    port: u16,
    task: JoinHandle<()>,
}

impl Fake {
    /// Answers every request (head and body as text) with these bytes; closes the connection after an answer that says
    /// so or has no length.
    pub(crate) async fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                stream.set_nodelay(true).unwrap();
                let answer = Arc::clone(&answer);
                tokio::spawn(async move {
                    let mut bytes = vec![0; 64 << 10];
                    while let Ok(read @ 1..) = stream.read(&mut bytes).await {
                        let answer = answer(&String::from_utf8_lossy(&bytes[..read]));
                        let closes = answer.contains("close\r\n")
                            || !(answer.contains("-Length:") || answer.contains("chunked"));
                        // In two parts, as it may happen.
                        let (one, other) = answer.as_bytes().split_at(answer.len() / 2);
                        if stream.write_all(one).await.is_err() || stream.write_all(other).await.is_err() || closes {
                            return;
                        }
                    }
                });
            }
        });
        Self { port, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/nacos", self.port)
    }

    /// An answer with status 200.
    pub(crate) fn ok(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}
