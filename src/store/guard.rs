//! Runs code that may panic or hang, and turns either into an error. Panics caught here stay out of stderr.

use std::{
    any::Any,
    cell::Cell,
    panic::{self, AssertUnwindSafe},
    sync::{Once, mpsc},
    thread,
    time::Duration,
};

use super::table::BACKGROUND_THREADS;

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// How a guarded call ended that did not return.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stopped {
    Panicked(String),
    TimedOut,
}

/// Runs `work`; a panic becomes its message.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    quieten();
    let before = QUIET.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    QUIET.set(before);
    result.map_err(|payload| message(payload.as_ref()))
}

/// Runs `work` in a thread of its own and waits for it at most `limit`; after that the thread is left to itself.
pub(super) fn limited<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Stopped> {
    let (done, result) = mpsc::sync_channel(1);
    let spawned = thread::Builder::new().name("nacre-store-guard".to_owned()).spawn(move || {
        // Nobody receives after a time-out: the value is dropped here then.
        let _ = done.send(caught(work));
    });
    if let Err(error) = spawned {
        return Err(Stopped::Panicked(format!("no thread to run in: {error}")));
    }
    match result.recv_timeout(limit) {
        Ok(result) => result.map_err(Stopped::Panicked),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(Stopped::TimedOut),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err(Stopped::Panicked("the thread ended".to_owned())),
    }
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "of unknown kind".to_owned());
    text.lines().next().unwrap_or_default().to_owned()
}

/// Puts a hook before the present one, once, which is silent for guarded code and logs the panics of sled's threads.
fn quieten() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if QUIET.try_with(Cell::get).unwrap_or(false) {
                return;
            }
            let thread = thread::current();
            let name = thread.name().unwrap_or_default();
            if BACKGROUND_THREADS.iter().any(|prefix| name.starts_with(prefix)) {
                tracing::error!(thread = name, "a thread of the store's engine panicked: {}", message(info.payload()));
                return;
            }
            before(info);
        }));
    });
}
