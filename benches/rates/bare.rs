//! The server to compare with: hyper and tokio with nothing on top.

use std::convert::Infallible;
use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// The first argument of a process that is to be the bare server.
pub(crate) const ROLE: &str = "--be-the-bare-server";
/// What it answers.
pub(crate) const ANSWER: &str = "ok";

/// Serves on a free port, which it prints, until its standard input is closed: it can't outlive its parent.
pub(crate) fn run() -> ExitCode {
    std::thread::spawn(|| {
        let _ = io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(serve())) {
        Ok(never) => match never {},
        Err(error) => {
            eprintln!("the bare server: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> io::Result<Infallible> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    println!("{}", listener.local_addr()?);
    io::stdout().flush()?;
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
