//! The tools: programs that talk to *any* server with the HTTP API of Nacos 1.x. They know nothing of this server but
//! what a client can see, so that what they measure of nacre and of Nacos can be compared.
//!
//! | module | what it holds |
//! |---|---|
//! | [`client`] | where the server is, the login, connections that send prepared requests and read any answer |
//! | [`fleet`] | the services and instances that a tool registers, and every request about them |
//! | [`scenario`] | what a connection sends next: pure, the same for the same seed |
//! | [`pace`] | when the next request is due: at once, or by the clock without coordinated omission |
//! | [`record`] | what came of the requests: latencies, rates, faults |
//! | [`engine`] | connections and threads that put a scenario through, and what the server acknowledged |
//! | [`verify`] | whether the lists have what was acknowledged |
//! | [`report`] | text for terminals, JSON files, pages with charts; everything from outside is escaped |
//! | [`load`] | `nacre load` |
//! | [`drill`] | `nacre drill` |
//! | [`bench`](mod@bench) | `nacre bench`, which starts servers of its own |

pub mod bench;
pub mod client;
pub mod drill;
pub mod engine;
pub mod fleet;
pub mod load;
pub mod pace;
pub mod record;
pub mod report;
pub mod scenario;
pub mod verify;

/// How a tool ended that could do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// All is as it should be.
    Good,
    /// The work was done and something that was found is not as it should be.
    Bad,
}

/// Exit code of a run that was ended by a second signal.
const INTERRUPTED: i32 = 130;

/// Waits for SIGINT or SIGTERM.
async fn signalled() {
    use tokio::signal::unix::{SignalKind, signal};
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    match (interrupt, terminate) {
        (Ok(mut interrupt), Ok(mut terminate)) => {
            tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
        }
        // Without handlers a signal ends the process anyway.
        _ => std::future::pending().await,
    }
}
