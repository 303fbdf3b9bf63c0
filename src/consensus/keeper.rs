//! The thread that the ledger lives on. It answers when what it was asked for is on disk; a failing disk it tries again and
//! again, by writing the whole ledger afresh, and whoever waits goes on waiting.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::types::{Fault, read_fault, write_fault};
use crate::error::{Error, Result};
use crate::store::ledger::{Content, Ledger, Snapshot, Writing};

/// Requests that may wait; openraft asks for one at a time, and what is lazy is left out when there is no room.
const QUEUE_LEN: usize = 64;
/// First and longest pause between tries to heal the ledger.
const HEAL_BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));

enum Request {
    Write(Writing, Option<oneshot::Sender<()>>),
    Keep(Snapshot, oneshot::Sender<Result<(), String>>),
    Snapshot(oneshot::Sender<Result<Option<Snapshot>, String>>),
    Forget(oneshot::Sender<Result<(), String>>),
    Content(oneshot::Sender<Content>),
    Close(oneshot::Sender<()>),
}

/// The way to the ledger. The thread ends when it is told to, or when the last one goes.
#[derive(Clone)]
pub(super) struct Keeper {
    requests: mpsc::Sender<Request>,
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`Error::Setup`] when there can be none.
    pub(super) fn start(ledger: Ledger) -> Result<Self> {
        let (requests, mut asked) = mpsc::channel(QUEUE_LEN);
        let run = move || {
            let mut ledger = ledger;
            while let Some(request) = asked.blocking_recv() {
                if let Request::Close(done) = request {
                    asked.close();
                    drop(ledger);
                    let _ = done.send(());
                    return;
                }
                answer(&mut ledger, request, &asked);
            }
        };
        let thread = std::thread::Builder::new().name("raft-log".into()).spawn(run);
        thread.map_err(|error| Error::Setup(format!("no thread for the raft log: {error}")))?;
        Ok(Self { requests })
    }

    /// Waits until `writing` is on disk.
    pub(super) async fn write(&self, writing: Writing) -> Result<(), Fault> {
        let (done, written) = oneshot::channel();
        let sent = self.requests.send(Request::Write(writing, Some(done))).await;
        sent.map_err(|_| write_fault("the raft log is closed"))?;
        written.await.map_err(|_| write_fault("the raft log is closed"))
    }

    /// Hands over what is not worth a wait, and may be forgotten.
    pub(super) fn note(&self, writing: Writing) {
        // When there is no room the next note says it, and more.
        let _ = self.requests.try_send(Request::Write(Writing { lazy: true, ..writing }, None));
    }

    /// Waits until `snapshot` is on disk.
    pub(super) async fn keep(&self, snapshot: Snapshot) -> Result<(), Fault> {
        let (done, kept) = oneshot::channel();
        let sent = self.requests.send(Request::Keep(snapshot, done)).await;
        sent.map_err(|_| write_fault("the raft log is closed"))?;
        kept.await.map_err(|_| write_fault("the raft log is closed"))?.map_err(write_fault)
    }

    /// The snapshot that was kept last.
    pub(super) async fn snapshot(&self) -> Result<Option<Snapshot>, Fault> {
        let (done, found) = oneshot::channel();
        let sent = self.requests.send(Request::Snapshot(done)).await;
        sent.map_err(|_| read_fault("the raft log is closed"))?;
        found.await.map_err(|_| read_fault("the raft log is closed"))?.map_err(read_fault)
    }

    /// Waits until no snapshot is on disk.
    pub(super) async fn forget(&self) -> Result<(), Fault> {
        let (done, gone) = oneshot::channel();
        let sent = self.requests.send(Request::Forget(done)).await;
        sent.map_err(|_| write_fault("the raft log is closed"))?;
        gone.await.map_err(|_| write_fault("the raft log is closed"))?.map_err(write_fault)
    }

    /// All that the ledger holds but the snapshot.
    pub(super) async fn content(&self) -> Result<Content, Fault> {
        let (done, content) = oneshot::channel();
        let sent = self.requests.send(Request::Content(done)).await;
        sent.map_err(|_| read_fault("the raft log is closed"))?;
        content.await.map_err(|_| read_fault("the raft log is closed"))
    }

    /// Ends the thread after what it was asked for before, and waits until the folder is free, for at most this long.
    pub(super) async fn close(&self, limit: Duration) {
        let (done, closed) = oneshot::channel();
        let closing = async { self.requests.send(Request::Close(done)).await.is_ok() && closed.await.is_ok() };
        if tokio::time::timeout(limit, closing).await != Ok(true) {
            tracing::warn!("the raft log was not closed in time, or was closed already");
        }
    }
}

fn answer(ledger: &mut Ledger, request: Request, asked: &mpsc::Receiver<Request>) {
    match request {
        Request::Write(writing, done) => {
            if let Err(reason) = ledger.write(writing)
                && !heal(ledger, &reason, asked)
            {
                return;
            }
            if let Some(done) = done {
                // Who asked may have gone; it is written all the same.
                let _ = done.send(());
            }
        }
        Request::Keep(snapshot, done) => drop(done.send(ledger.keep(snapshot))),
        Request::Snapshot(done) => drop(done.send(ledger.snapshot())),
        Request::Forget(done) => drop(done.send(ledger.forget_snapshot())),
        Request::Content(done) => drop(done.send(ledger.content().clone())),
        Request::Close(done) => drop(done.send(())),
    }
}

/// Whether the ledger is whole again; it is not when everybody has gone meanwhile.
fn heal(ledger: &mut Ledger, reason: &str, asked: &mpsc::Receiver<Request>) -> bool {
    tracing::error!(reason, "the raft log can't be written; this server takes no part until it can");
    let mut pause = HEAL_BACKOFF.0;
    while !asked.is_closed() {
        std::thread::sleep(pause);
        match ledger.heal() {
            Ok(()) => {
                tracing::warn!("the raft log is healed");
                return true;
            }
            Err(reason) => tracing::warn!(reason, "the raft log could not be healed yet"),
        }
        pause = (pause * 2).min(HEAL_BACKOFF.1);
    }
    false
}
