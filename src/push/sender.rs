//! The thread that sends and listens. Nobody waits for it, and it waits for no subscriber.

use std::collections::{HashMap, VecDeque};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use jiff::tz::TimeZone;
use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};

use super::packet::Content;
use super::socket::PushSocket;
use super::state::numbering_ms;
use super::{Push, costs, life_ms, list};
use crate::commit::Commit;
use crate::error::{Error, Result};
use crate::model::ServiceKey;
use crate::model::command::Command;
use crate::registry::{ListKey, Registry};
use crate::wire::list::unknown_service;
use crate::wire::push as shape;

/// How often it is looked what is due.
const TICK: Duration = Duration::from_millis(50);
/// Datagrams that are sent before acknowledgements are looked at: these must not pile up meanwhile.
const BURST: usize = 64;
/// Subscriptions handed to `commit` in one command, and commands at one look: a flood must not fill its queue.
const HAND_OVER: (usize, usize) = (512, 4);
/// Largest acknowledgement in bytes.
const MAX_ACK_BYTES: usize = 64 << 10;

/// The running thread.
pub struct Sender {
    stop: Arc<Notify>,
    thread: JoinHandle<()>,
}

impl Sender {
    /// Starts to push what `push` is told, to subscribers that can be reached from `bind`, and to have them stored by
    /// `commit`.
    ///
    /// # Errors
    /// [`Error::Setup`] when there can be no thread or no socket.
    pub fn start(push: Push, registry: Arc<Registry>, commit: Commit, bind: Option<IpAddr>) -> Result<Self> {
        let failed = |what: &str, error: &dyn std::fmt::Display| Error::Setup(format!("no {what} for push: {error}"));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| failed("runtime", &e))?;
        let guard = runtime.enter();
        let socket = PushSocket::bind(bind).map_err(|e| failed("socket", &e))?;
        drop(guard);
        let stop = Arc::new(Notify::new());
        let stopping = stop.clone();
        let (queue, buffer, begun) = (VecDeque::new(), vec![0; MAX_ACK_BYTES], Instant::now());
        let mut work = Work { push, registry, commit, socket, queue, buffer, begun };
        let run = move || runtime.block_on(work.run(&stopping));
        let thread = std::thread::Builder::new().name("push".into()).spawn(run);
        Ok(Self { stop, thread: thread.map_err(|e| failed("thread", &e))? })
    }

    /// Ends the thread and waits for it.
    pub fn stop(self) {
        self.stop.notify_one();
        if self.thread.join().is_err() {
            tracing::error!("the push thread had panicked");
        }
    }
}

struct Work {
    push: Push,
    registry: Arc<Registry>,
    commit: Commit,
    socket: PushSocket,
    /// What is to be sent, oldest first. At most what is awaited: replaced ones are dropped when more comes.
    queue: VecDeque<(SocketAddr, i64, Bytes)>,
    buffer: Vec<u8>,
    /// Costs are measured by the time since then: the awake time is too coarse, and the wall clock may jump.
    begun: Instant,
}

impl Work {
    async fn run(&mut self, stop: &Notify) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let push = self.push.clone();
        loop {
            tokio::select! {
                () = stop.notified() => return self.hand_over(usize::MAX),
                () = push.told() => {}
                _ = self.socket.readable() => {}
                _ = self.socket.writable(), if !self.queue.is_empty() => {}
                _ = ticks.tick() => self.look_around(),
            }
            self.receive();
            for service in push.take_changed() {
                self.push_service(&service);
            }
            self.flush();
        }
    }

    fn look_around(&mut self) {
        let life_ms = life_ms(&self.registry.settings().switches());
        let (now_ms, wall_ms) = (self.push.now_ms(), wall_now_ms());
        let today = costs::date(wall_ms, &TimeZone::system());
        let (due, again) = {
            let mut state = self.push.state();
            state.tick(wall_ms, today);
            state.sweep(now_ms, life_ms);
            let all = (state.due(now_ms), state.late(now_ms));
            self.push.count(&state);
            all
        };
        self.queue.extend(again);
        for service in due {
            self.push_service(&service);
        }
        self.hand_over(HAND_OVER.1);
    }

    /// Has new subscriptions stored and ended ones removed, by at most `commands`. What the queue has no room for waits.
    fn hand_over(&self, commands: usize) {
        let post = |changes| self.commit.post(Command::Subscriptions(changes)).is_ok();
        for _ in 0..commands {
            let more = self.push.state().hand_over(HAND_OVER.0, post);
            if !more {
                break;
            }
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Queues the state of this moment for every living subscription. What subscriptions share is built once.
    fn push_service(&mut self, service: &ServiceKey) {
        let switches = self.registry.settings().switches();
        let (now_ms, floor_ms) = (self.push.now_ms(), self.registry.ref_floor_ms());
        let (wall_ms, numbering_ms) = (wall_now_ms().max(floor_ms), numbering_ms(wall_now_ms(), floor_ms));
        let targets = self.push.state().begin(service, now_ms, life_ms(&switches), numbering_ms);
        let mut contents: HashMap<(Arc<str>, bool), Option<Content>> = HashMap::new();
        let mut built: HashMap<(Arc<str>, bool, i64), Option<Bytes>> = HashMap::new();
        let mut ready = Vec::with_capacity(targets.len());
        for target in targets {
            let (clusters, grouped_names) = (target.key.clusters.clone(), target.grouped_names);
            let bytes = built.entry((clusters.clone(), grouped_names, target.number)).or_insert_with(|| {
                let content = contents.entry((clusters, grouped_names)).or_insert_with(|| {
                    let cache_ms = u64::try_from(switches.default_push_cache_millis).unwrap_or_default();
                    let clusters = &*target.key.clusters;
                    let key = ListKey { grouped_names, healthy_only: false, cache_ms, clusters };
                    Content::new(&self.list(service, &key, wall_ms))
                });
                content.as_mut().and_then(|content| content.datagram(target.number))
            });
            ready.push((bytes.clone(), target));
        }
        let ready_ms = self.elapsed_ms();
        let mut state = self.push.state();
        self.queue.retain(|(to, number, _)| state.is_awaited(*to, *number));
        for (bytes, target) in ready {
            state.sent(service, &target, bytes.clone(), now_ms, ready_ms);
            self.queue.extend(bytes.map(|bytes| (target.key.to, target.number, bytes)));
        }
    }

    fn list(&self, key: &ServiceKey, list_key: &ListKey<'_>, wall_ms: u64) -> Bytes {
        match self.registry.find_service(key) {
            Some(service) => list::list(&service, list_key, || wall_ms),
            None => unknown_service(&key.name, list_key.clusters, list_key.cache_ms).into(),
        }
    }

    /// Sends until all is sent or the system has no room for more.
    fn flush(&mut self) {
        while !self.queue.is_empty() {
            let burst = self.queue.len().min(BURST);
            {
                let state = self.push.state();
                let next: Vec<_> = self.queue.drain(..burst).collect();
                let wanted = next.into_iter().filter(|(to, number, _)| state.is_awaited(*to, *number));
                for one in wanted.rev() {
                    self.queue.push_front(one);
                }
            }
            for _ in 0..burst {
                let Some((to, number, bytes)) = self.queue.front() else { break };
                match self.socket.try_send(bytes, *to) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return self.receive(),
                    // Like a lost datagram: it is retried, then given up.
                    Err(error) => tracing::debug!(%to, number, %error, "a push could not be sent"),
                    Ok(()) => tracing::debug!(%to, number, bytes = bytes.len(), "pushed"),
                }
                self.queue.pop_front();
            }
            self.receive();
        }
    }

    /// Takes the acknowledgements that have come. Anything else is ignored.
    fn receive(&mut self) {
        for _ in 0..BURST * 4 {
            match self.socket.try_receive(&mut self.buffer) {
                Ok((length, from)) => {
                    let number = self.buffer.get(..length).and_then(shape::acknowledged);
                    if let Some(number) = number {
                        tracing::debug!(%from, number, "a push was acknowledged");
                        let (now_ms, at_ms) = (self.push.now_ms(), self.elapsed_ms());
                        let mut state = self.push.state();
                        state.renew(from, number, now_ms);
                        state.acknowledged(from, number, at_ms);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // An earlier datagram was refused by its destination.
                Err(error) => tracing::debug!(%error, "no acknowledgement"),
            }
        }
    }
}

fn wall_now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_millis() as u64).unwrap_or_default()
}
