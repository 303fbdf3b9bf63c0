//! What is said between members, counted.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::message::Request;

/// Names of kinds of calls, in the order of [`kind`].
const KINDS: [&str; 11] =
    ["report", "own", "push", "changes", "checksums", "fetch", "snapshot", "status", "statuses", "leave", "forward"];

/// The number of what is passed on for clients.
pub(super) const FORWARD: usize = KINDS.len() - 1;

/// The number of a kind of calls.
pub(super) fn kind(request: &Request) -> usize {
    match request {
        Request::Report(_) => 0,
        Request::Own => 1,
        Request::Push(_) => 2,
        Request::Changes(_) => 3,
        Request::Checksums { .. } => 4,
        Request::Fetch { .. } => 5,
        Request::Snapshot { .. } => 6,
        Request::Status { .. } => 7,
        Request::Statuses(_) => 8,
        Request::Leave(_) => 9,
    }
}

/// Calls to members since the start, by kind.
#[derive(Debug, Default)]
pub struct Figures([Counts; KINDS.len()]);

#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    failures: AtomicU64,
    sent_bytes: AtomicU64,
    received_bytes: AtomicU64,
}

/// Calls of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calls {
    /// Which.
    pub kind: &'static str,
    /// How many have ended.
    pub calls: u64,
    /// How many of them without an answer.
    pub failures: u64,
    /// Bytes of the bodies that were sent.
    pub sent_bytes: u64,
    /// Bytes of the bodies that came back.
    pub received_bytes: u64,
}

impl Figures {
    /// A call has ended; `received_bytes` is `None` when there was no answer.
    pub(super) fn note(&self, kind: usize, sent_bytes: usize, received_bytes: Option<usize>) {
        let Some(counts) = self.0.get(kind) else { return };
        counts.calls.fetch_add(1, Relaxed);
        counts.sent_bytes.fetch_add(sent_bytes as u64, Relaxed);
        match received_bytes {
            Some(bytes) => counts.received_bytes.fetch_add(bytes as u64, Relaxed),
            None => counts.failures.fetch_add(1, Relaxed),
        };
    }

    /// Everything counted.
    pub fn all(&self) -> Vec<Calls> {
        let calls = |(kind, counts): (&&'static str, &Counts)| Calls {
            kind,
            calls: counts.calls.load(Relaxed),
            failures: counts.failures.load(Relaxed),
            sent_bytes: counts.sent_bytes.load(Relaxed),
            received_bytes: counts.received_bytes.load(Relaxed),
        };
        KINDS.iter().zip(&self.0).map(calls).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_counted_by_kind() {
        let figures = Figures::default();
        figures.note(kind(&Request::Snapshot { full: true }), 0, Some(700));
        figures.note(kind(&Request::Snapshot { full: true }), 0, None);
        figures.note(FORWARD, 10, Some(2));
        let all = figures.all();
        let of = |kind| *all.iter().find(|calls| calls.kind == kind).unwrap();
        let snapshot = Calls { kind: "snapshot", calls: 2, failures: 1, sent_bytes: 0, received_bytes: 700 };
        let forward = Calls { kind: "forward", calls: 1, failures: 0, sent_bytes: 10, received_bytes: 2 };
        assert_eq!((of("snapshot"), of("forward"), of("leave").calls), (snapshot, forward, 0));
    }
}
