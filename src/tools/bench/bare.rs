//! The server to compare with: hyper and tokio with nothing on top.

use std::convert::Infallible;
use std::io::{self, Read as _};

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::error::{Error, Result};
use crate::tools::report::out;

/// What it answers.
pub const ANSWER: &str = "ok";

/// Serves on a free port, which it prints, until its standard input is closed: it can't outlive its parent.
///
/// # Errors
/// [`Error::Setup`] when it can't listen; otherwise it doesn't return.
pub fn run() -> Result<Infallible> {
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let fault = |error: io::Error| Error::Setup(format!("the bare server: {error}"));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(fault)?;
    runtime.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.map_err(fault)?;
        out::text(&format!("{}\n", listener.local_addr().map_err(fault)?), false)?;
        serve(&listener).await.map_err(fault)
    })
}

async fn serve(listener: &TcpListener) -> io::Result<Infallible> {
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let answer = |_: Request<_>| async {
                Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(ANSWER.as_bytes()))))
            };
            // A connection that breaks is the client's to report.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}
