//! The HTTP check (`spec/health.md` 2.5): GET a path on the instance and look at the status.

use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper::header::{
    CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue, LOCATION, TRANSFER_ENCODING, USER_AGENT,
};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use url::Url;

use super::target;
use super::verdict::Finding;

/// From the request to the head of the answer. The reference has 500 ms but looks only once a second: answers after
/// 1.0 s were seen to count.
const ANSWER_LIMIT: Duration = Duration::from_millis(1_000);
/// What targets know these checks by.
const AGENT: HeaderValue = HeaderValue::from_static("VIPServer");
/// Headers that would break the request instead of describing it.
const RESERVED: [HeaderName; 4] = [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, USER_AGENT];

/// Checks `host` (address or name) at `port`. Only the head of the answer is waited for.
pub(super) async fn check(host: &str, port: i32, path: &str, headers: &str) -> Finding {
    let checked = async {
        let request = request(host, port, path, headers).ok_or(Finding::Fail)?;
        let address: SocketAddr = target::address(host, port).await?;
        let start = Instant::now();
        let stream = target::connect(address).await?;
        let answer = timeout(ANSWER_LIMIT, ask(stream, request)).await.map_err(|_| Finding::Busy)?;
        let answer = answer.map_err(|_| Finding::Fail)?;
        let has_location = answer.headers().contains_key(LOCATION);
        Ok(judge(answer.status(), has_location, start.elapsed().as_secs_f64() * 1_000.0))
    };
    checked.await.unwrap_or_else(|finding| finding)
}

/// The request, or `None` when the path is none on this host and port. A link may lead nowhere else: what is checked
/// is the instance.
fn request(host: &str, port: i32, path: &str, headers: &str) -> Option<Request<Empty<Bytes>>> {
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host.to_owned() };
    let base = Url::parse(&format!("http://{host}:{port}/")).ok()?;
    let target = base.join(path).ok()?;
    if target.scheme() != base.scheme() || target.host() != base.host() || target.port() != base.port() {
        return None;
    }
    let query = target.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut request = Request::get(format!("{}{query}", target.path())).body(Empty::new()).ok()?;
    let shown = match base.port() {
        Some(port) => format!("{}:{port}", base.host_str()?),
        None => base.host_str()?.to_owned(),
    };
    let map = request.headers_mut();
    map.insert(HOST, HeaderValue::from_str(&shown).ok()?);
    add_headers(map, headers);
    map.insert(USER_AGENT, AGENT);
    map.insert(CONNECTION, HeaderValue::from_static("close"));
    Some(request)
}

/// Adds pairs `name:value` that are separated by vertical bars. Other things are skipped; of a name given twice the last
/// counts.
fn add_headers(map: &mut HeaderMap, pairs: &str) {
    for pair in pairs.split('|') {
        let Some((name, value)) = pair.split_once(':') else { continue };
        if value.is_empty() || value.contains(':') {
            continue;
        }
        let name = HeaderName::from_bytes(name.trim().as_bytes());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value.trim())) else { continue };
        if !RESERVED.contains(&name) {
            map.insert(name, value);
        }
    }
}

/// Sends the request and waits for the head of the answer; the connection ends with this.
async fn ask(stream: TcpStream, request: Request<Empty<Bytes>>) -> hyper::Result<Response<hyper::body::Incoming>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let mut answer = pin!(sender.send_request(request));
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // It may end in the moment in which it hands the answer over.
        _ = connection => answer.await,
    }
}

fn judge(status: StatusCode, has_location: bool, elapsed_ms: f64) -> Finding {
    match status {
        StatusCode::OK => Finding::Ok(elapsed_ms),
        StatusCode::SERVICE_UNAVAILABLE => Finding::Busy,
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND | StatusCode::SEE_OTHER | StatusCode::TEMPORARY_REDIRECT
            if has_location =>
        {
            Finding::Fail
        }
        // These never have a body.
        StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED => Finding::Fail,
        _ => Finding::FailNow,
    }
}

#[cfg(test)]
mod tests;
