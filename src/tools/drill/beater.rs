//! A client with one instance, as the Java client 1.4.2 is (`spec/clients.md` 3.1): the first beat is full, later ones
//! are light where the server allows it; a beat that is answered with 20404 leads to a registration, and the next beat
//! is full; every request is tried three times at once.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use super::log::{Event, Log};
use crate::tools::client::{Connection, Session};
use crate::tools::fleet::{Kind, Requests};

const TRIES: u32 = 3;
/// For an answer. Clients wait longer (50 s); a server that takes so long has failed here.
const TIMEOUT: Duration = Duration::from_secs(5);
const UNKNOWN: i64 = 20_404;
/// Whatever the server says, beats come no faster and no slower than this.
const INTERVALS_MS: std::ops::RangeInclusive<u64> = 50..=3_600_000;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Beat {
    code: Option<i64>,
    client_beat_interval: Option<u64>,
    #[serde(default)]
    light_beat_enabled: bool,
}

/// One client.
pub(super) struct Beater {
    instance: u32,
    connection: Connection,
    requests: Arc<Requests>,
    log: Arc<Log>,
    interval: Duration,
    light: bool,
    head: Vec<u8>,
    body: Vec<u8>,
}

impl Beater {
    pub(super) fn new(
        instance: u32,
        session: &Arc<Session>,
        requests: &Arc<Requests>,
        log: &Arc<Log>,
        interval: Duration,
    ) -> Self {
        Self {
            instance,
            connection: Connection::new(Arc::clone(session), TIMEOUT),
            requests: Arc::clone(requests),
            log: Arc::clone(log),
            interval,
            light: false,
            head: Vec::new(),
            body: Vec::new(),
        }
    }

    /// The body of an answer with status 200, or what was wrong the last time.
    async fn ask(&mut self, kind: Kind) -> Result<Vec<u8>, String> {
        self.requests.write(kind, self.instance, &mut self.head, &mut self.body);
        let mut last = String::new();
        for _ in 0..TRIES {
            match self.connection.ask(&self.head, &self.body).await {
                Ok(answer) if answer.status == 200 => return Ok(answer.body.to_vec()),
                Ok(answer) => last = format!("status {} {}", answer.status, String::from_utf8_lossy(answer.body)),
                Err(fault) => last = fault.to_string(),
            }
        }
        Err(last)
    }

    /// Registers; what was wrong otherwise.
    pub(super) async fn register(&mut self) -> Result<(), String> {
        self.ask(Kind::Register).await.map(|_| ())
    }

    /// Deregisters; what was wrong otherwise.
    pub(super) async fn deregister(&mut self) -> Result<(), String> {
        self.ask(Kind::Deregister).await.map(|_| ())
    }

    /// Beats for ever, for the first time after `phase`.
    pub(super) async fn live(mut self, phase: Duration) {
        tokio::time::sleep(phase).await;
        loop {
            self.beat().await;
            tokio::time::sleep(self.interval).await;
        }
    }

    async fn beat(&mut self) {
        let kind = if self.light { Kind::BeatLight } else { Kind::BeatFull };
        let answer = self.ask(kind).await.ok().and_then(|body| serde_json::from_slice::<Beat>(&body).ok());
        let Some(beat) = answer else { return self.log.note(Event::BeatFailed) };
        self.light = beat.light_beat_enabled;
        if let Some(ms) = beat.client_beat_interval.filter(|ms| INTERVALS_MS.contains(ms)) {
            self.interval = Duration::from_millis(ms);
        }
        if beat.code == Some(UNKNOWN) {
            self.log.note(Event::Unknown);
            let registered = self.register().await;
            self.log.note(if registered.is_ok() { Event::Reregistered } else { Event::RegistrationFailed });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use parking_lot::Mutex;

    use super::*;
    use crate::tools::client::Server;
    use crate::tools::client::fake::Fake;
    use crate::tools::fleet::Fleet;

    #[tokio::test]
    async fn a_client_does_as_the_java_client_does() {
        let (seen, beats) = (Arc::new(Mutex::new(Vec::new())), AtomicUsize::new(0));
        let noted = Arc::clone(&seen);
        let fake = Fake::start(move |request| {
            let full = request.contains("\r\n\r\nbeat=");
            let method = request.split(' ').next().unwrap_or_default();
            noted.lock().push(format!("{method}{}", if full { " full" } else { "" }));
            match (method, beats.load(Ordering::Relaxed)) {
                ("POST", _) => return Fake::ok("ok"),
                (_, nth) => beats.store(nth + 1, Ordering::Relaxed),
            }
            match beats.load(Ordering::Relaxed) {
                3 => Fake::ok(r#"{"clientBeatInterval":50,"code":20404}"#),
                5..=7 => "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n".into(),
                _ => Fake::ok(r#"{"clientBeatInterval":50,"code":10200,"lightBeatEnabled":true}"#),
            }
        })
        .await;
        let session = Arc::new(Session::anonymous(Server::parse(&fake.url(), false).unwrap()));
        let fleet = Fleet {
            services: 1,
            instances: 1,
            prefix: "p".into(),
            namespace: "public".into(),
            group: "G".into(),
            metadata: "{}".into(),
            period_ms: 50,
        };
        let (requests, log) = (Arc::new(Requests::new(&fleet, session.server())), Arc::new(Log::new()));
        let mut beater = Beater::new(0, &session, &requests, &log, Duration::from_secs(5));
        for _ in 0..6 {
            beater.beat().await;
        }
        let wanted = ["PUT full", "PUT", "PUT", "POST", "PUT full", "PUT", "PUT", "PUT", "PUT"];
        assert_eq!(*seen.lock(), wanted);
        let events: Vec<Event> = log.since(Duration::ZERO).unwrap().into_iter().map(|(_, event)| event).collect();
        assert_eq!(events, [Event::Unknown, Event::Reregistered, Event::BeatFailed]);
        assert_eq!(beater.interval, Duration::from_millis(50));
    }
}
