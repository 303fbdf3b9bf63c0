//! One large service: what one more instance costs beside a small service, and how fast its list is.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::process::cpu_us;
use super::{Bench, TIMEOUT, session};
use crate::error::{Error, Result};
use crate::tools::client::Connection;
use crate::tools::engine::Engine;
use crate::tools::fleet::{Kind, Requests};
use crate::tools::pace::Until;
use crate::tools::record::{Latencies, LatencySummary};
use crate::tools::scenario::Work;

/// Instances of the small service.
const SMALL: u32 = 10;
/// Connections that read the list.
const READERS: u32 = 4;
const CHUNK_BYTES: usize = 256 << 10;
const MAX_HEAD_BYTES: usize = 16 << 10;

/// What came of this part.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Service {
    /// Instances of the large and the small service.
    pub(super) large: u32,
    pub(super) small: u32,
    pub(super) one_more: Vec<OneMore>,
    pub(super) list: ListRate,
}

/// Register one more, one at a time, in turn with the other service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct OneMore {
    pub(super) mode: &'static str,
    pub(super) large: LatencySummary,
    pub(super) small: LatencySummary,
    pub(super) pairs: u64,
    /// Of the medians.
    pub(super) ratio: f64,
}

/// The list of the large service, read by several connections while nothing changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct ListRate {
    pub(super) body_bytes: u64,
    pub(super) connections: u32,
    pub(super) lists_per_s: f64,
    pub(super) gb_per_s: f64,
    /// Of the server, as a share of one core.
    pub(super) server_cores: Option<f64>,
}

pub(super) fn measure(bench: &Bench) -> Result<Service> {
    let large = bench.settings.large;
    let (mut one_more, mut list) = (Vec::new(), None);
    for mode in &bench.settings.modes {
        let process = bench.serve(&format!("service-{}", mode.name()), *mode)?;
        let fill = |prefix: &str, instances| {
            let mut engine = bench.engine(process.address, prefix, 1, instances)?;
            bench.pass(&mut engine, Work::Prepare, Until::Once, "filling a service").map(|_| engine)
        };
        let (big, little) = (fill("nacre-bench-large", large)?, fill("nacre-bench-small", SMALL)?);
        if list.is_none() {
            list = Some(bench.runtime.block_on(read_lists(bench, &big, process.address, process.id()))?);
        }
        bench.line.say(format!("registering one more ({})", mode.name()));
        let pairs = bench.runtime.block_on(in_turn(bench, [&big, &little], process.address))?;
        let [large, small] = &pairs;
        one_more.push(OneMore {
            mode: mode.name(),
            large: large.summary(),
            small: small.summary(),
            pairs: large.count(),
            ratio: large.at(0.5).as_secs_f64() / small.at(0.5).as_secs_f64().max(1e-9),
        });
    }
    let list = list.ok_or_else(|| Error::Input("no mode to measure".into()))?;
    Ok(Service { large, small: SMALL, one_more, list })
}

/// Registers and deregisters one more instance in each of two services, in turn; times of the registrations.
async fn in_turn(bench: &Bench, engines: [&Engine; 2], address: SocketAddr) -> Result<[Latencies; 2]> {
    let session = session(address)?;
    let mut connection = Connection::new(Arc::clone(&session), TIMEOUT);
    let requests = engines.map(|engine| (Requests::new(engine.fleet(), session.server()), engine.fleet().instances));
    let mut times = [Latencies::new(), Latencies::new()];
    let (mut head, mut body) = (Vec::new(), Vec::new());
    let end = Instant::now() + bench.settings.seconds;
    let mut pairs = 0;
    while Instant::now() < end || pairs < bench.settings.min_pairs {
        bench.interrupted()?;
        for ((requests, next), times) in requests.iter().zip(&mut times) {
            for kind in [Kind::Register, Kind::Deregister] {
                requests.write(kind, *next, &mut head, &mut body);
                let sent = Instant::now();
                let answer = connection.ask(&head, &body).await;
                let took = sent.elapsed();
                let answer = answer.map_err(|fault| Error::Unavailable(format!("one more instance: {fault}")))?;
                if (answer.status, answer.body) != (200, b"ok") {
                    return Err(Error::Unavailable(format!("one more instance: status {}", answer.status)));
                }
                if kind == Kind::Register {
                    times.add(took);
                }
            }
        }
        pairs += 1;
    }
    Ok(times)
}

async fn read_lists(bench: &Bench, engine: &Engine, address: SocketAddr, id: u32) -> Result<ListRate> {
    bench.line.say("reading the list of a large service");
    let session = session(address)?;
    let (mut head, mut body) = (Vec::new(), Vec::new());
    Requests::new(engine.fleet(), session.server()).write(Kind::List, 0, &mut head, &mut body);
    let mut connection = Connection::new(Arc::clone(&session), TIMEOUT);
    let answer = connection.ask(&head, b"").await;
    let answer = answer.map_err(|fault| Error::Unavailable(format!("the list of a large service: {fault}")))?;
    let listed = memchr::memmem::find_iter(answer.body, br#""instanceId""#).count();
    if answer.status != 200 || listed != engine.fleet().instances as usize {
        return Err(Error::Unavailable(format!(
            "the list of a large service: status {}, {listed} instances",
            answer.status
        )));
    }
    let wanted: Arc<[u8]> = answer.body.into();
    head.extend_from_slice(b"\r\n");
    let request: Arc<[u8]> = head.into();
    let (began, cpu_before) = (Instant::now(), cpu_us(Some(id)));
    let end = began + bench.settings.seconds;
    let mut readers = JoinSet::new();
    for _ in 0..READERS {
        let read = read_until(address, Arc::clone(&request), Arc::clone(&wanted), end);
        readers.spawn(async move { tokio::time::timeout_at((end + TIMEOUT).into(), read).await });
    }
    let mut lists = 0;
    while let Some(read) = readers.join_next().await {
        let read = read.map_err(|_| Error::Setup("a reader panicked".into()))?;
        lists += read.map_err(|_| Error::Unavailable("the list of a large service: timeout".into()))??;
    }
    bench.interrupted()?;
    let seconds = began.elapsed().as_secs_f64();
    let used_us = cpu_us(Some(id)).zip(cpu_before).map(|(after, before)| (after - before) as f64);
    Ok(ListRate {
        body_bytes: wanted.len() as u64,
        connections: READERS,
        lists_per_s: lists as f64 / seconds,
        gb_per_s: (lists * wanted.len() as u64) as f64 / seconds / 1e9,
        server_cores: used_us.map(|us| us / 1e6 / seconds),
    })
}

/// How often one connection got `wanted`, byte by byte, until `end`.
async fn read_until(address: SocketAddr, request: Arc<[u8]>, wanted: Arc<[u8]>, end: Instant) -> Result<u64> {
    let fault = |what: &dyn std::fmt::Display| Error::Unavailable(format!("the list of a large service: {what}"));
    let mut stream = TcpStream::connect(address).await.map_err(|error| fault(&error))?;
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut lists = 0;
    while Instant::now() < end {
        stream.write_all(&request).await.map_err(|error| fault(&error))?;
        let (mut filled, mut done, mut in_body) = (0, 0, false);
        while done < wanted.len() {
            let free = chunk.get_mut(filled..).unwrap_or_default();
            let read = stream.read(free).await.map_err(|error| fault(&error))?;
            filled += read;
            let mut bytes = chunk.get(..filled).unwrap_or_default();
            if read == 0 {
                return Err(fault(&"the connection ended"));
            }
            if !in_body {
                let Some(head) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
                    if filled > MAX_HEAD_BYTES {
                        return Err(fault(&"an answer without an end of its head"));
                    }
                    continue;
                };
                in_body = true;
                bytes = bytes.get(head + 4..).unwrap_or_default();
            }
            if wanted.get(done..done + bytes.len()) != Some(bytes) {
                return Err(fault(&"it changed though nothing was changed"));
            }
            done += bytes.len();
            filled = 0;
        }
        lists += 1;
    }
    Ok(lists)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Answers every request with `bodies`, in turn.
    fn serve(bodies: &'static [&'static str]) -> SocketAddr {
        use std::io::{Read as _, Write as _};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            for body in bodies.iter().cycle() {
                if !stream.read(&mut [0; 100]).is_ok_and(|read| read > 0) {
                    return;
                }
                for part in ["HTTP/1.1 200 OK\r\n", "a: b\r\n\r\n", body] {
                    stream.write_all(part.as_bytes()).unwrap();
                }
            }
        });
        address
    }

    fn read(bodies: &'static [&'static str]) -> Result<u64> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let end = Instant::now() + Duration::from_millis(30);
        runtime.block_on(read_until(serve(bodies), Arc::from(&b"x"[..]), Arc::from(&b"hello"[..]), end))
    }

    #[test]
    fn a_list_is_the_same_every_time() {
        assert!(read(&["hello"]).unwrap() > 1);
        assert!(read(&["hello", "hullo"]).unwrap_err().message().contains("changed"));
    }
}
