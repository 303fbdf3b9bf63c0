//! Registrations a second, of persistent instances (a majority agrees on each) and of ephemeral ones (the owner of the service
//! takes them), on one server and on three. Connections are spread over the servers, and so is who owns what.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::figures::at;
use crate::servers::{self, Server};
use crate::{Options, Result, run};

const CONNECTIONS: [usize; 3] = [1, 16, 64];
const SERVICES: u64 = 100;
/// A group needs a moment to be made.
const FIRST_WRITE: Duration = Duration::from_secs(30);

/// Numbers no instance twice.
static NUMBER: AtomicU64 = AtomicU64::new(0);

fn register(client: &mut Client, persistent: bool) -> Result<()> {
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let (service, slot) = (number % SERVICES, number / SERVICES);
    let ip = format!("10.{}.{}.{}", slot >> 16 & 255, slot >> 8 & 255, slot & 255);
    let kind = format!("writes-{persistent}-{service}");
    let target = format!("/nacos/v1/ns/instance?serviceName={kind}&ip={ip}&port=80&ephemeral={}", !persistent);
    let answer = client.send("POST", &target, &[], None).map_err(|error| format!("a registration: {error}"))?;
    if answer.status == 200 { Ok(()) } else { Err(format!("a registration: {} {}", answer.status, answer.text())) }
}

fn wait_for_leader(servers: &[Server]) -> Result<()> {
    let began = Instant::now();
    for server in servers {
        while let Err(fault) = register(&mut Client::new(server.address), true) {
            if began.elapsed() > FIRST_WRITE {
                return Err(fault);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(())
}

/// How long each registration of one connection took.
fn write(server: &Server, persistent: bool, ends: &AtomicBool) -> Result<Vec<Duration>> {
    let mut client = Client::new(server.address);
    let mut took = Vec::new();
    while !ends.load(Ordering::Relaxed) {
        let began = Instant::now();
        register(&mut client, persistent)?;
        took.push(began.elapsed());
    }
    Ok(took)
}

fn round(servers: &[Server], persistent: bool, connections: usize, lasts: Duration) -> Result<()> {
    let ends = AtomicBool::new(false);
    let began = Instant::now();
    let took: Result<Vec<Vec<Duration>>> = thread::scope(|scope| {
        let server = |number: usize| servers.get(number % servers.len()).ok_or("no server");
        let mut writers = Vec::new();
        for number in 0..connections {
            let (server, ends) = (server(number)?, &ends);
            writers.push(scope.spawn(move || write(server, persistent, ends)));
        }
        thread::sleep(lasts);
        ends.store(true, Ordering::Relaxed);
        writers.into_iter().map(|writer| writer.join().map_err(|_| "a writer panicked".to_owned())?).collect()
    });
    let seconds = began.elapsed().as_secs_f64();
    let mut took: Vec<Duration> = took?.into_iter().flatten().collect();
    took.sort_unstable();
    println!(
        "{} server(s), {}, {connections:>2} connections: {:>6.0}/s, p50 {}, p99 {}",
        servers.len(),
        if persistent { "persistent" } else { "ephemeral " },
        took.len() as f64 / seconds,
        short(at(&took, 0.5)),
        short(at(&took, 0.99)),
    );
    Ok(())
}

fn short(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}

/// All of them.
pub(crate) fn measure(options: &Options) -> Result<()> {
    for count in [1, 3] {
        let folder = run::folder()?;
        let servers = servers::start(folder.path(), count)?;
        wait_for_leader(&servers)?;
        for persistent in [true, false] {
            for connections in CONNECTIONS {
                round(&servers, persistent, connections, options.writes)?;
            }
        }
    }
    Ok(())
}
