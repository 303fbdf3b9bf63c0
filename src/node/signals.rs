//! Signals: SIGTERM and SIGINT stop, a second one ends at once; SIGHUP reads the configuration again.

use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Result};

/// Exit code after a second signal: requests were cut off. The store is as a killed process leaves it.
const CUT_SHORT: i32 = 1;
/// For the last lines to reach the console and the files, which others write.
const LAST_LINES: Duration = Duration::from_millis(150);

fn listen(kind: SignalKind) -> Result<Signal> {
    signal(kind).map_err(|e| Error::Setup(format!("no signal handler: {e}")))
}

/// SIGHUP from here on; one that comes early waits. (Without a handler it would end the process.)
///
/// # Errors
/// [`Error::Setup`] when the system refuses.
pub(super) fn hang_ups(runtime: &Runtime) -> Result<Signal> {
    let _inside = runtime.enter();
    listen(SignalKind::hangup())
}

/// Ends when the process is asked to stop. A second request to stop then ends the process wherever it is, as long as the
/// runtime lives. To be called within it.
///
/// # Errors
/// [`Error::Setup`] when the system refuses.
pub(super) fn told_to_stop() -> Result<impl Future<Output = ()>> {
    let (mut terminate, mut interrupt) = (listen(SignalKind::terminate())?, listen(SignalKind::interrupt())?);
    Ok(async move {
        let name = either(&mut terminate, &mut interrupt).await;
        tracing::info!("{name}: stopping");
        tokio::spawn(async move {
            let name = either(&mut terminate, &mut interrupt).await;
            tracing::warn!("{name} again: ending at once");
            std::thread::sleep(LAST_LINES);
            std::process::exit(CUT_SHORT);
        });
    })
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
