//! The load: connections that send one request after the other and read every answer.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier, LazyLock, OnceLock};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::Result;
use crate::work::{Fleet, Work};

/// A load that takes this much longer than it should has failed.
const PATIENCE: Duration = Duration::from_secs(60);
const BUFFER_BYTES: usize = 16 << 10;
/// No answer is larger.
const MAX_ANSWER_BYTES: usize = 1 << 20;

static STOPPING: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// Whether somebody wants this process to end.
pub(crate) fn stopping() -> bool {
    STOPPING.load(Ordering::Relaxed)
}

/// Becomes true then.
pub(crate) fn stop_flag() -> Arc<AtomicBool> {
    STOPPING.clone()
}

/// Lets SIGINT and SIGTERM end the run in good order: with no server and no folder left behind.
pub(crate) fn stop_on_signals() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("no runtime: {error}"))?;
    let listen = |kind| signal(kind).map_err(|error| format!("no signal handler: {error}"));
    let guard = runtime.enter();
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    drop(guard);
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        });
        STOPPING.store(true, Ordering::Relaxed);
    });
    Ok(())
}

/// When a load ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    /// When all requests below this number are answered.
    Number(u64),
    /// After a time to warm up and a time that counts.
    After(Duration, Duration),
}

/// How the load is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    pub(crate) connections: usize,
    pub(crate) threads: usize,
}

/// What came of a load.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pass {
    /// Of the answers that count, in ns, sorted.
    latencies_ns: Vec<u32>,
    /// The time that counts.
    time: Duration,
    /// All of them.
    pub(crate) answers: u64,
    /// Above all numbers that were used.
    pub(crate) next: u64,
    /// Processor time for one answer, of the server and of this process.
    pub(crate) server_cpu_us: Option<f64>,
    pub(crate) load_cpu_us: Option<f64>,
}

impl Pass {
    /// Requests a second.
    pub(crate) fn rate(&self) -> f64 {
        self.latencies_ns.len() as f64 / self.time.as_secs_f64()
    }

    /// In µs; `share` of the answers came faster.
    pub(crate) fn latency_us(&self, share: f64) -> f64 {
        f64::from(percentile(&self.latencies_ns, share)) / 1_000.0
    }

    fn add(&mut self, other: Pass) {
        self.latencies_ns.extend(other.latencies_ns);
        self.answers += other.answers;
        self.next = self.next.max(other.next);
    }
}

/// Of values that are sorted; 0 of none.
pub(crate) fn percentile(sorted: &[u32], share: f64) -> u32 {
    let at = (sorted.len() as f64 * share) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// One connection: requests `number`, `number + step`, ...
struct Lane {
    work: Work,
    fleet: Arc<Fleet>,
    number: u64,
    step: u64,
    until: Until,
    start: Arc<OnceLock<Instant>>,
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Load {
    /// Does `work` from the number `first` on.
    pub(crate) fn run(
        &self,
        address: SocketAddr,
        work: Work,
        fleet: &Arc<Fleet>,
        first: u64,
        until: Until,
    ) -> Result<Pass> {
        let barrier = Barrier::new(self.threads);
        let start = Arc::new(OnceLock::new());
        let mut pass =
            Pass { time: if let Until::After(_, time) = until { time } else { Duration::ZERO }, ..Pass::default() };
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..self.threads)
                .map(|thread| {
                    let (barrier, start) = (&barrier, &start);
                    scope.spawn(move || {
                        let lanes = (thread..self.connections).step_by(self.threads);
                        let numbers = lanes.map(|lane| first + lane as u64).collect();
                        self.thread(address, work, fleet, numbers, until, barrier, start)
                    })
                })
                .collect();
            for thread in threads {
                pass.add(thread.join().map_err(|_| "a thread of the load panicked")??);
            }
            Ok::<_, String>(())
        })?;
        pass.latencies_ns.sort_unstable();
        Ok(pass)
    }

    #[allow(clippy::too_many_arguments, reason = "the way of one thread out of `run`")]
    fn thread(
        &self,
        address: SocketAddr,
        work: Work,
        fleet: &Arc<Fleet>,
        numbers: Vec<u64>,
        until: Until,
        barrier: &Barrier,
        start: &Arc<OnceLock<Instant>>,
    ) -> Result<Pass> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        // All threads wait for each other, so nobody may leave before.
        let connected = runtime.map_err(|error| format!("no runtime: {error}")).and_then(|runtime| {
            let streams = runtime.block_on(connect(address, numbers.len()))?;
            Ok((runtime, streams))
        });
        barrier.wait();
        let (runtime, streams) = connected?;
        start.get_or_init(Instant::now);
        let lanes = streams.into_iter().zip(numbers).map(|(stream, number)| Lane {
            work,
            fleet: fleet.clone(),
            number,
            step: self.connections as u64,
            until,
            start: start.clone(),
            stream,
            buffer: Vec::with_capacity(BUFFER_BYTES),
        });
        let patience = PATIENCE + if let Until::After(warm_up, time) = until { warm_up + time } else { PATIENCE };
        runtime.block_on(async {
            let mut running: JoinSet<Result<Pass>> = lanes.map(Lane::run).collect();
            let ended = async {
                let mut pass = Pass::default();
                while let Some(ended) = running.join_next().await {
                    pass.add(ended.map_err(|_| "a connection of the load panicked")??);
                }
                Ok(pass)
            };
            tokio::time::timeout(patience, ended).await.map_err(|_| "the server is stuck")?
        })
    }
}

async fn connect(address: SocketAddr, count: usize) -> Result<Vec<TcpStream>> {
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        let stream = TcpStream::connect(address).await.map_err(|error| format!("can't connect: {error}"))?;
        stream.set_nodelay(true).map_err(|error| format!("can't connect: {error}"))?;
        streams.push(stream);
    }
    Ok(streams)
}

impl Lane {
    async fn run(mut self) -> Result<Pass> {
        let start = self.start.get().copied().ok_or("no start")?;
        let (mut made, mut pass) = (Vec::with_capacity(512), Pass::default());
        let fleet = self.fleet.clone();
        let (counts_from, end) = match self.until {
            Until::After(warm_up, time) => (start + warm_up, start + warm_up + time),
            Until::Number(_) => (start, start),
        };
        if let Until::After(_, time) = self.until {
            pass.latencies_ns.reserve((time.as_secs_f64() * 3_000.0) as usize);
        }
        loop {
            if let Until::Number(last) = self.until
                && self.number >= last
            {
                return Ok(pass);
            }
            let request = fleet.request(self.work, self.number, &mut made);
            let sent = Instant::now();
            self.stream.write_all(request).await.map_err(|error| format!("can't send: {error}"))?;
            let body = self.answer().await?;
            let received = Instant::now();
            let right = fleet.is_answer(self.work, self.number, self.buffer.get(body).unwrap_or_default());
            if !right {
                return Err(format!("wrong answer to {}: {}", shown(request), shown(&self.buffer)));
            }
            pass.answers += 1;
            self.number += self.step;
            pass.next = self.number;
            if stopping() {
                return Err("told to stop".into());
            }
            if let Until::After(..) = self.until {
                if received >= end {
                    return Ok(pass);
                }
                if received >= counts_from {
                    let ns = received.duration_since(sent).as_nanos();
                    pass.latencies_ns.push(u32::try_from(ns).unwrap_or(u32::MAX));
                }
            }
        }
    }

    /// Reads one answer; says where in the buffer its body is.
    async fn answer(&mut self) -> Result<std::ops::Range<usize>> {
        self.buffer.clear();
        let mut body = None;
        loop {
            let read = self.stream.read_buf(&mut self.buffer).await.map_err(|error| format!("can't read: {error}"))?;
            if read == 0 {
                return Err(format!("the server closed the connection after {}", shown(&self.buffer)));
            }
            if body.is_none() {
                body = body_range(&self.buffer)?;
            }
            let Some(body) = &body else { continue };
            match self.buffer.len() {
                length if length < body.end => {}
                length if length == body.end => return Ok(body.clone()),
                _ => return Err(format!("more than an answer: {}", shown(&self.buffer))),
            }
        }
    }
}

/// Where the body is, once the head is there. Any status but 200 is an error.
fn body_range(answer: &[u8]) -> Result<Option<std::ops::Range<usize>>> {
    const LENGTH: &[u8] = b"content-length:";
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return if answer.len() > BUFFER_BYTES { Err("a head without an end".into()) } else { Ok(None) };
    };
    let head = answer.get(..head).unwrap_or_default();
    if !head.starts_with(b"HTTP/1.1 200 ") {
        return Err(format!("not 200: {}", shown(answer)));
    }
    let value = head
        .split(|byte| *byte == b'\n')
        .find(|line| line.get(..LENGTH.len()).is_some_and(|name| name.eq_ignore_ascii_case(LENGTH)))
        .and_then(|line| std::str::from_utf8(line.get(LENGTH.len()..)?).ok()?.trim().parse::<usize>().ok())
        .filter(|length| *length <= MAX_ANSWER_BYTES);
    let length = value.ok_or_else(|| format!("no length: {}", shown(answer)))?;
    Ok(Some(head.len() + 4..head.len() + 4 + length))
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).chars().take(600).flat_map(char::escape_debug).collect()
}
