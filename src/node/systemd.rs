//! What the service manager is told (`sd_notify`), and the watchdog. Without `NOTIFY_SOCKET` nothing is.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sd_notify::NotifyState;

use super::restore::phase;
use crate::commit::Commit;
use crate::model::clock::AwakeClock;
use crate::registry::Registry;
use crate::store::Progress;

/// How often the service manager hears that the restore goes on, and for how long that is to hold; the same for closing.
const EXTEND_EVERY: Duration = Duration::from_secs(2);
const EXTEND_FOR: Duration = Duration::from_secs(20);
/// Looks within the watchdog's time: one that comes late must not count as a fault.
const LOOKS: u32 = 4;
/// What did not move for this long, or the watchdog's time if that is more, counts as stuck.
const LEAST_PATIENCE: Duration = Duration::from_secs(1);

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the service manager could not be told");
    }
}

/// The port answers, and all data are there.
pub(super) fn ready(status: &str) {
    tell(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The configuration is read again; [`ready`] ends it.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// A stop has begun: requests have `drain` to finish, and the store has time after that to be closed.
pub(super) fn stopping(drain: Duration) {
    let status = NotifyState::Status("finishing requests, closing the store");
    tell(&[NotifyState::Stopping, extend(drain.saturating_add(EXTEND_FOR)), status]);
}

/// The time limit of the service manager ends no sooner than after that time.
fn extend(time: Duration) -> NotifyState<'static> {
    NotifyState::ExtendTimeoutUsec(u32::try_from(time.as_micros()).unwrap_or(u32::MAX))
}

/// One line about what is served.
pub(super) fn status(registry: &Registry, commit: &Commit) -> String {
    let (services, instances) = (registry.service_count(), registry.instance_count());
    let writes = commit.status().failure().map(|reason| format!("; writes are refused: {reason}")).unwrap_or_default();
    format!("{services} services, {instances} instances{writes}")
}

/// While it lives, the start-up time limit of the service manager is put off and the status shows how far the restore is.
pub(super) struct Restoring {
    progress: Arc<Mutex<Option<Progress>>>,
    thread: Option<(SyncSender<()>, JoinHandle<()>)>,
}

impl Restoring {
    pub(super) fn start() -> Self {
        let progress = Arc::new(Mutex::new(None));
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return Self { progress, thread: None };
        }
        let seen = progress.clone();
        let (stop, stopped) = sync_channel::<()>(0);
        let run = move || {
            loop {
                let status = seen.lock().map_or_else(|| "starting".to_owned(), |progress| shown(&progress));
                tell(&[extend(EXTEND_FOR), NotifyState::Status(&status)]);
                if stopped.recv_timeout(EXTEND_EVERY) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        };
        // Without the thread a start that takes too long is ended by the service manager: no reason not to start.
        let thread = std::thread::Builder::new().name("notify".into()).spawn(run).ok();
        Self { progress, thread: thread.map(|thread| (stop, thread)) }
    }

    pub(super) fn show(&self, progress: Progress) {
        if self.thread.is_some() {
            *self.progress.lock() = Some(progress);
        }
    }
}

impl Drop for Restoring {
    fn drop(&mut self) {
        if let Some((stop, thread)) = self.thread.take() {
            drop(stop);
            // A panic of the thread has been printed already.
            let _ = thread.join();
        }
    }
}

fn shown(progress: &Progress) -> String {
    let of = progress.expected_rows.map(|rows| format!(" of {rows}")).unwrap_or_default();
    format!("{}: {}{of} rows", phase(progress.phase), progress.rows)
}

/// Tells the service manager that all is well, several times within its limit, for as long as the committer and the clock
/// of health move. That this task is run at all shows that the runtime does. A disk that hangs stops the committer too,
/// and no restart helps against that: it has half as long again as the watchdog's time. Returns at once without one.
pub(super) async fn watch(registry: Arc<Registry>, commit: Commit, clock: AwakeClock) {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else { return };
    let (every, patience) = rhythm(limit);
    let mut committer = Pulse::new(commit.status().turns());
    let mut health = Pulse::new(clock.now_ms());
    loop {
        let now = Instant::now();
        let parts = [
            ("committer", committer.is_alive(commit.status().turns(), now, patience)),
            ("health thread", health.is_alive(clock.now_ms(), now, patience)),
        ];
        match parts.iter().find(|(_, alive)| !alive) {
            None => tell(&[NotifyState::Watchdog, NotifyState::Status(&status(&registry, &commit))]),
            Some((part, _)) => {
                tracing::error!(part, "stuck: the service manager is no longer told that all is well");
                tell(&[NotifyState::Status(&format!("stuck: the {part} does not move"))]);
            }
        }
        tokio::time::sleep(every).await;
    }
}

/// How often to look, and how long something may stand still, for a watchdog of that time.
fn rhythm(limit: Duration) -> (Duration, Duration) {
    (limit / LOOKS, limit.max(LEAST_PATIENCE))
}

/// Whether something that counts still does.
struct Pulse {
    last: u64,
    moved: Option<Instant>,
}

impl Pulse {
    fn new(last: u64) -> Self {
        Self { last, moved: None }
    }

    /// Whether `count` has changed within `patience` before `now`. The first look starts the time.
    fn is_alive(&mut self, count: u64, now: Instant, patience: Duration) -> bool {
        if count != self.last || self.moved.is_none() {
            self.last = count;
            self.moved = Some(now);
        }
        self.moved.is_some_and(|moved| now.duration_since(moved) <= patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pulse_that_stops_is_seen_and_may_come_back() {
        let (start, patience) = (Instant::now(), Duration::from_secs(2));
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pulse = Pulse::new(7);
        let looks = [(7, 100, true), (7, 102, true), (7, 103, false), (8, 104, true), (8, 106, true), (8, 107, false)];
        for (count, seconds, alive) in looks {
            assert_eq!(pulse.is_alive(count, at(seconds), patience), alive, "{count} at {seconds}");
        }
    }

    /// The longest time without a word to the service manager, in ms, when nothing moves from `still_ms` to `moves_ms`,
    /// and each look comes a little late.
    fn longest_silence_ms(limit: Duration, still_ms: u64, moves_ms: u64) -> u64 {
        let (start, (every, patience)) = (Instant::now(), rhythm(limit));
        let (mut pulse, mut at_ms, mut told_ms, mut longest) = (Pulse::new(0), 0, 0, 0);
        while at_ms < moves_ms + 1_000_000 {
            let turns = if (still_ms..moves_ms).contains(&at_ms) { still_ms } else { at_ms } / 100;
            if pulse.is_alive(turns, start + Duration::from_millis(at_ms), patience) {
                longest = longest.max(at_ms - told_ms);
                told_ms = at_ms;
            }
            at_ms += every.as_millis() as u64 + 3;
        }
        longest
    }

    #[test]
    fn a_stall_is_not_taken_for_the_end() {
        let limit = Duration::from_secs(60);
        let limit_ms = limit.as_millis() as u64;
        for still_ms in (0..100_000).step_by(500) {
            let silence_ms = longest_silence_ms(limit, still_ms, still_ms + 85_000);
            assert!(silence_ms < limit_ms, "{silence_ms} ms after {still_ms}");
            assert!(longest_silence_ms(limit, still_ms, still_ms + 200_000) > limit_ms, "it is stuck");
        }
    }
}
