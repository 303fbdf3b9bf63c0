//! One population, from its registration to the return of a server that has lost its store.

use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, form};
use crate::figures::{Sample, at, ms};
use crate::servers::{self, Server};
use crate::{Options, Result};

const LOADERS: usize = 16;
/// For a state that all three reach.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two changes: each is told by itself.
const PAUSE: Duration = Duration::from_millis(20);
/// A round of checksums, by default.
const ROUND: Duration = Duration::from_secs(5);
/// The goal of a server without a store.
const GOAL: Duration = Duration::from_secs(5);
const AGENT: &str = "Nacos-Java-Client:v1.4.2";

/// How many services of how many instances.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) services: u64,
    pub(crate) size: u64,
}

impl Shape {
    fn all(self) -> u64 {
        self.services * self.size
    }
}

/// Instance `number`; nobody beats for it, so it says that it may be silent for long.
fn pairs(shape: Shape, number: u64, version: u64) -> Vec<(&'static str, String)> {
    let (service, slot) = (number % shape.services, number / shape.services);
    let ip = format!("10.{}.{}.{}", slot >> 16 & 255, slot >> 8 & 255, slot & 255);
    let metadata = format!(
        r#"{{"preserved.heart.beat.timeout":"3600000","preserved.ip.delete.timeout":"3600000","version":"{version}"}}"#
    );
    vec![
        ("serviceName", format!("cluster-{service:05}")),
        ("ip", ip),
        ("port", "8080".to_owned()),
        ("metadata", metadata),
    ]
}

fn register(client: &mut Client, shape: Shape, number: u64, version: u64) -> Result<()> {
    let target = format!("/nacos/v1/ns/instance?{}", form(&pairs(shape, number, version)));
    let headers = [("User-Agent".to_owned(), AGENT.to_owned())];
    let answer = client.send("POST", &target, &headers, None).map_err(|error| format!("a registration: {error}"))?;
    if answer.status == 200 { Ok(()) } else { Err(format!("a registration: {} {}", answer.status, answer.text())) }
}

/// The version of an instance as a server shows it; 0 when it doesn't know it.
fn version(client: &mut Client, shape: Shape, number: u64) -> Result<u64> {
    let mut query = pairs(shape, number, 0);
    query.pop();
    let answer = client.get(&format!("/nacos/v1/ns/instance?{}", form(&query))).map_err(|error| error.to_string())?;
    let body: Option<serde_json::Value> = serde_json::from_slice(&answer.body).ok();
    let text = body.as_ref().and_then(|body| body.get("metadata")?.get("version")?.as_str());
    Ok(text.and_then(|text| text.parse().ok()).unwrap_or_default())
}

fn count(server: &Server) -> Option<u64> {
    let answer = Client::new(server.address).get("/nacos/v1/ns/operator/metrics").ok()?;
    serde_json::from_slice::<serde_json::Value>(&answer.body).ok()?.get("instanceCount")?.as_u64()
}

fn wait_all(servers: &[Server], wanted: u64) -> Result<Duration> {
    let began = Instant::now();
    while !servers.iter().all(|server| count(server) == Some(wanted)) {
        if began.elapsed() > PATIENCE {
            let counts: Vec<_> = servers.iter().map(count).collect();
            return Err(format!("not {wanted} instances on all servers: {counts:?}"));
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(began.elapsed())
}

/// For the homes of servers.
pub(crate) fn folder() -> Result<tempfile::TempDir> {
    let place = env!("CARGO_TARGET_TMPDIR");
    let folder = fs::create_dir_all(place).and_then(|()| tempfile::Builder::new().prefix("cluster-").tempdir_in(place));
    folder.map_err(|error| format!("no folder for the data: {error}"))
}

/// Measures all and prints it.
pub(crate) fn measure(shape: Shape, options: &Options) -> Result<()> {
    let folder = folder()?;
    let mut servers = servers::start(folder.path(), 3)?;
    println!("## {} services of {} instances", shape.services, shape.size);
    fill(&servers, shape)?;
    let idle = rest(&servers, options)?;
    change(&servers, shape, options, &idle)?;
    lose_a_store(&mut servers, shape, options)
}

fn fill(servers: &[Server], shape: Shape) -> Result<()> {
    let (began, before) = (Instant::now(), Sample::take(servers)?);
    let (next, fault) = (AtomicU64::new(0), Mutex::new(None));
    thread::scope(|scope| {
        for (number, server) in (0..LOADERS).zip(servers.iter().cycle()) {
            let (next, fault) = (&next, &fault);
            scope.spawn(move || {
                let mut client = Client::new(server.address);
                loop {
                    let one = next.fetch_add(1, Ordering::Relaxed);
                    if one >= shape.all() {
                        return;
                    }
                    if let Err(why) = register(&mut client, shape, one, 1) {
                        next.store(shape.all(), Ordering::Relaxed);
                        if let Ok(mut fault) = fault.lock() {
                            *fault = Some(format!("connection {number}: {why}"));
                        }
                        return;
                    }
                }
            });
        }
    });
    if let Some(why) = fault.into_inner().ok().flatten() {
        return Err(why);
    }
    let registered = began.elapsed();
    let late = wait_all(servers, shape.all())?;
    let told = Sample::take(servers)?.since(&before);
    let each = |sum: u64| sum as f64 / shape.all() as f64;
    println!(
        "- registered through all servers: {:.0}/s; on all servers {} after the last; {:.0} bytes told and {:.0} us of \
         processor an instance",
        shape.all() as f64 / registered.as_secs_f64(),
        ms(late),
        each(told.of(&["changes", "fetch", "checksums"])),
        each(told.cpu_us)
    );
    println!("  bytes by kind: {:?}", told.bytes);
    Ok(())
}

/// An idle cluster: what rounds of checksums cost.
fn rest(servers: &[Server], options: &Options) -> Result<Sample> {
    // The last changes may still be compared.
    thread::sleep(if options.smoke { Duration::ZERO } else { 2 * ROUND });
    let before = Sample::take(servers)?;
    thread::sleep(options.idle);
    let idle = Sample::take(servers)?.since(&before);
    let rounds = options.idle.as_secs_f64() / ROUND.as_secs_f64();
    let fetched = idle.of(&["fetch", "changes", "snapshot"]);
    println!(
        "- a round of checksums (every 5 s, all three servers): {:.1} KiB, {:.1} ms of processor, all that idles included; \
         {fetched} bytes of lists in {rounds:.1} rounds",
        idle.of(&["checksums"]) as f64 / 1024.0 / rounds,
        idle.cpu_us as f64 / 1e3 / rounds
    );
    if fetched > 0 && !options.smoke {
        println!("  lists went although nothing had changed: {:?}", idle.calls);
    }
    Ok(idle)
}

/// One change after the other, each until all three show it.
fn change(servers: &[Server], shape: Shape, options: &Options, idle: &Sample) -> Result<()> {
    let mut clients: Vec<Client> = servers.iter().map(|server| Client::new(server.address)).collect();
    let mut times = Vec::new();
    let (began, before) = (Instant::now(), Sample::take(servers)?);
    for change in 0..options.changes {
        let number = change * 7_919 % shape.all();
        let sent = Instant::now();
        let taker = clients.get_mut(change as usize % servers.len()).ok_or("no server")?;
        register(taker, shape, number, change + 2)?;
        for client in &mut clients {
            while version(client, shape, number)? != change + 2 {
                if sent.elapsed() > PATIENCE {
                    return Err(format!("change {change} does not arrive"));
                }
                thread::sleep(Duration::from_millis(1));
            }
        }
        times.push(sent.elapsed());
        thread::sleep(PAUSE);
    }
    let took = began.elapsed();
    let cost = Sample::take(servers)?.since(&before);
    times.sort_unstable();
    let idle_us = idle.cpu_us as f64 / options.idle.as_secs_f64() * took.as_secs_f64();
    let each = |sum: f64| sum / options.changes as f64;
    println!(
        "- a change (metadata of one instance) is visible on all three: p50 {}, p90 {}, p99 {}, last {}",
        ms(at(&times, 0.5)),
        ms(at(&times, 0.9)),
        ms(at(&times, 0.99)),
        ms(at(&times, 1.0))
    );
    println!(
        "  it costs {:.0} bytes told, {:.0} bytes passed on or fetched, {:.2} ms of processor with the polls of this \
         program (without what idles)",
        each(cost.of(&["changes", "push"]) as f64),
        each(cost.of(&["forward", "fetch"]) as f64),
        each((cost.cpu_us as f64 - idle_us) / 1e3)
    );
    Ok(())
}

/// A server comes back without its data.
fn lose_a_store(servers: &mut [Server], shape: Shape, options: &Options) -> Result<()> {
    let lost = servers.get_mut(1).ok_or("no server")?;
    lost.kill();
    lost.forget()?;
    let began = Instant::now();
    lost.spawn()?;
    lost.wait()?;
    let serves = began.elapsed();
    let first = count(lost);
    wait_all(servers, shape.all())?;
    let complete = began.elapsed();
    println!(
        "- a server that has lost its store: serves {} after its start, with {} of {} instances; complete after {}",
        ms(serves),
        first.unwrap_or_default(),
        shape.all(),
        ms(complete)
    );
    if first != Some(shape.all()) {
        return Err("it served before it had everything".to_owned());
    }
    if complete > GOAL && !options.smoke {
        println!("  slower than the goal of {}", ms(GOAL));
    }
    Ok(())
}
