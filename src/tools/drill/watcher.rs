//! Looks at all lists, again and again, and at the first moments of a server that starts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Deserialize;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::log::{Event, Log, Mark, Sweep};
use crate::tools::client::{Connection, Fault, Session};
use crate::tools::fleet::{self, Fleet, Kind, Requests};
use crate::tools::verify::Listed;

/// Lists that are read at the same time.
const READERS: u32 = 8;
const TIMEOUT: Duration = Duration::from_secs(3);
/// Between two tries of a server that starts.
const PROBE_PAUSE: Duration = Duration::from_millis(3);
const READY_PAUSE: Duration = Duration::from_millis(10);

/// Looks at all lists every so often.
pub(super) struct Watcher {
    pub(super) session: Arc<Session>,
    pub(super) fleet: Arc<Fleet>,
    pub(super) requests: Arc<Requests>,
    pub(super) log: Arc<Log>,
    pub(super) every: Duration,
    /// Somebody wants the next look at once.
    pub(super) at_once: Arc<Notify>,
}

impl Watcher {
    /// Never ends.
    pub(super) async fn live(self) {
        let readers = READERS.min(self.fleet.services);
        let connection = || Connection::new(Arc::clone(&self.session), TIMEOUT);
        let mut connections: Vec<Connection> = (0..readers).map(|_| connection()).collect();
        loop {
            let began = Instant::now();
            let mut looking = JoinSet::new();
            for (nth, connection) in connections.drain(..).enumerate() {
                let (fleet, requests) = (Arc::clone(&self.fleet), Arc::clone(&self.requests));
                let services = (nth as u32..fleet.services).step_by(readers as usize).collect();
                looking.spawn(look(connection, fleet, requests, services));
            }
            let mut sweep = Sweep::default();
            while let Some(looked) = looking.join_next().await {
                let Ok((connection, part)) = looked else { continue };
                connections.push(connection);
                sweep.served += part.served;
                sweep.refused += part.refused;
                sweep.missing += part.missing;
                sweep.unhealthy += part.unhealthy;
                sweep.empty += part.empty;
            }
            self.log.note(Event::Sweep(sweep));
            let pause = self.every.saturating_sub(began.elapsed());
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.at_once.notified() => {}
            }
        }
    }
}

async fn look(
    mut connection: Connection,
    fleet: Arc<Fleet>,
    requests: Arc<Requests>,
    services: Vec<u32>,
) -> (Connection, Sweep) {
    let (mut head, mut body) = (Vec::new(), Vec::new());
    let (mut sweep, mut slow) = (Sweep::default(), false);
    for service in services {
        requests.write(Kind::List, service, &mut head, &mut body);
        // A server that lets one wait would make this look last for ever.
        let answer = if slow { Err(Fault::Timeout) } else { connection.ask(&head, &body).await };
        slow |= answer == Err(Fault::Timeout);
        let listed = answer.ok().filter(|answer| answer.status == 200);
        match listed.and_then(|answer| serde_json::from_slice::<Listed>(answer.body).ok()) {
            Some(listed) => count(&fleet, service, &listed, &mut sweep),
            None => sweep.refused += 1,
        }
    }
    (connection, sweep)
}

fn count(fleet: &Fleet, service: u32, listed: &Listed, sweep: &mut Sweep) {
    let members = fleet.members(service).len();
    let mut there = vec![false; members];
    for host in &listed.hosts {
        let Some(instance) = fleet.instance_at(service, &host.ip, host.port) else { continue };
        sweep.unhealthy += u32::from(!host.healthy);
        if let Some(place) = there.get_mut((instance / fleet.services) as usize) {
            *place = true;
        }
    }
    sweep.served += 1;
    sweep.missing += there.iter().filter(|there| !**there).count() as u32;
    sweep.empty += u32::from(listed.hosts.is_empty());
}

#[derive(Deserialize)]
struct Metrics {
    status: String,
}

/// Whether the server calls itself UP.
pub(super) async fn is_up(connection: &mut Connection, session: &Session) -> bool {
    let request = fleet::get(session.server(), "/v1/ns/operator/metrics");
    let answer = connection.ask(&request, b"").await.ok().filter(|answer| answer.status == 200);
    answer.and_then(|answer| serde_json::from_slice::<Metrics>(answer.body).ok()).is_some_and(|it| it.status == "UP")
}

/// Notes when a starting server answers for the first time, when with a list, and asks for a look at all lists then.
pub(super) async fn first_answers(session: Arc<Session>, requests: Arc<Requests>, log: Arc<Log>, look: Arc<Notify>) {
    let mut connection = Connection::new(session, TIMEOUT);
    let (mut head, mut body) = (Vec::new(), Vec::new());
    requests.write(Kind::List, 0, &mut head, &mut body);
    let mut answered = false;
    loop {
        if let Ok(answer) = connection.ask(&head, &body).await {
            if !std::mem::replace(&mut answered, true) {
                log.note(Event::Mark(Mark::FirstAnswer));
            }
            if answer.status == 200 && serde_json::from_slice::<Listed>(answer.body).is_ok() {
                log.note(Event::Mark(Mark::FirstList));
                return look.notify_one();
            }
        }
        tokio::time::sleep(PROBE_PAUSE).await;
    }
}

/// Notes when a starting server calls itself UP.
pub(super) async fn first_up(session: Arc<Session>, log: Arc<Log>) {
    let mut connection = Connection::new(Arc::clone(&session), TIMEOUT);
    while !is_up(&mut connection, &session).await {
        tokio::time::sleep(READY_PAUSE).await;
    }
    log.note(Event::Mark(Mark::Ready));
}
