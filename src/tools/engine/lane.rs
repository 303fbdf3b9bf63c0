//! One connection at work.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde::Deserialize;

use crate::config::flags::Scenario;
use crate::tools::client::{Answer, Connection, Fault};
use crate::tools::fleet::{Fleet, Kind, Requests};
use crate::tools::pace::{Pace, Turn};
use crate::tools::record::Record;
use crate::tools::scenario::{Expect, Script, Step, Work};

/// After a connection that could not be made, so that a dead server costs no core.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);
/// Codes of beats.
const KNOWN: i64 = 10_200;
const UNKNOWN: i64 = 20_404;

/// What is left of a connection at the end.
pub(super) struct Done {
    pub(super) script: Script,
    pub(super) expect: Vec<Expect>,
}

/// A connection with its part of the work.
pub(super) struct Lane {
    script: Script,
    /// By place.
    expect: Vec<Expect>,
    connection: Connection,
    requests: Arc<Requests>,
    record: Arc<Mutex<Record>>,
    head: Vec<u8>,
    body: Vec<u8>,
    reader: Reader,
}

/// Tells right answers from others.
struct Reader {
    /// The last right answer to a beat: nearly all of them are the same.
    beat: Vec<u8>,
    /// Whether lists must be complete, and for how many instances.
    complete: Option<Fleet>,
}

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
enum Judged {
    Good,
    /// The instance is not known.
    Forgotten,
    Wrong(String),
}

#[derive(Deserialize)]
struct Beat {
    code: Option<i64>,
}

impl Lane {
    pub(super) fn new(
        work: Work,
        fleet: &Fleet,
        script: Script,
        expect: Vec<Expect>,
        connection: Connection,
        requests: Arc<Requests>,
        record: Arc<Mutex<Record>>,
    ) -> Self {
        // In other scenarios instances come and go.
        let complete = (work == Work::Scenario(Scenario::List)).then(|| fleet.clone());
        let reader = Reader { beat: Vec::new(), complete };
        let (head, body) = (Vec::with_capacity(512), Vec::with_capacity(512));
        Self { script, expect, connection, requests, record, head, body, reader }
    }

    pub(super) async fn open(&mut self) -> Result<(), Fault> {
        self.connection.open().await
    }

    pub(super) async fn run(mut self, pace: Arc<Pace>) -> Done {
        while let Some(turn) = pace.turn().await {
            let Some(step) = self.script.next(&self.expect) else { break };
            self.requests.write(step.kind, step.number, &mut self.head, &mut self.body);
            let sent = Instant::now();
            let answer = self.connection.ask(&self.head, &self.body).await;
            let done = Instant::now();
            let latency = done.saturating_duration_since(turn.due);
            let mut pause = false;
            match answer {
                Ok(answer) => {
                    let judged = self.reader.judge(step, answer);
                    note(&mut self.expect, step, &judged);
                    let forgotten = judged == Judged::Forgotten;
                    let lost = forgotten && self.expect.get(step.slot as usize) == Some(&Expect::Present);
                    if turn.counts {
                        let mut record = self.record.lock();
                        match judged {
                            Judged::Good => record.good(step.kind, latency, answer.body.len()),
                            Judged::Forgotten => {
                                record.fault(step.kind, "code 20404".into(), Some(latency), answer.body);
                            }
                            Judged::Wrong(what) => record.fault(step.kind, what, Some(latency), answer.body),
                        }
                    }
                    if forgotten {
                        self.record.lock().forgotten += u64::from(lost);
                        self.script.forgotten(step.slot);
                    }
                }
                Err(fault) => {
                    if changes(step.kind)
                        && fault.may_have_arrived()
                        && let Some(expect) = self.expect.get_mut(step.slot as usize)
                    {
                        *expect = expect.failed(true);
                    }
                    if turn.counts {
                        let slow = (fault == Fault::Timeout).then_some(latency);
                        self.record.lock().fault(step.kind, fault.to_string(), slow, b"");
                    }
                    pause = !fault.may_have_arrived();
                }
            }
            self.stretch(&pace, turn, sent, done);
            if pause {
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
        Done { script: self.script, expect: self.expect }
    }

    fn stretch(&self, pace: &Pace, turn: Turn, sent: Instant, done: Instant) {
        if turn.counts {
            let mut record = self.record.lock();
            record.waited.add(sent.saturating_duration_since(turn.due));
            record.stretch(pace.since_start(turn.due), pace.since_start(done));
        }
    }
}

/// Whether a request of this kind changes who is there.
fn changes(kind: Kind) -> bool {
    matches!(kind, Kind::Register | Kind::Deregister | Kind::BeatFull)
}

fn note(expect: &mut [Expect], step: Step, judged: &Judged) {
    let Some(expect) = expect.get_mut(step.slot as usize).filter(|_| changes(step.kind)) else { return };
    *expect = match judged {
        Judged::Good => expect.acknowledged(step.kind != Kind::Deregister),
        Judged::Forgotten => *expect,
        Judged::Wrong(_) => expect.failed(false),
    };
}

/// What a request that was never chosen would most likely have been.
pub(super) fn usual_kind(work: Work) -> Kind {
    match work {
        Work::Clean => Kind::Deregister,
        Work::Prepare | Work::Scenario(Scenario::Register | Scenario::Churn) => Kind::Register,
        Work::Scenario(Scenario::BeatFull) => Kind::BeatFull,
        Work::Scenario(Scenario::BeatLight) => Kind::BeatLight,
        Work::Scenario(Scenario::List | Scenario::Mixed) => Kind::List,
    }
}

impl Reader {
    fn judge(&mut self, step: Step, answer: Answer<'_>) -> Judged {
        if answer.status != 200 {
            return Judged::Wrong(format!("status {}", answer.status));
        }
        match step.kind {
            Kind::Register | Kind::Deregister if answer.body == b"ok" => Judged::Good,
            Kind::Register | Kind::Deregister => Judged::Wrong("unexpected answer".into()),
            Kind::BeatFull | Kind::BeatLight if !self.beat.is_empty() && answer.body == self.beat => Judged::Good,
            Kind::BeatFull | Kind::BeatLight => {
                let Ok(beat) = serde_json::from_slice::<Beat>(answer.body) else {
                    return Judged::Wrong("unexpected answer".into());
                };
                match beat.code {
                    // Old servers have no code.
                    None | Some(KNOWN) => {
                        self.beat.clear();
                        self.beat.extend_from_slice(answer.body);
                        Judged::Good
                    }
                    Some(UNKNOWN) => Judged::Forgotten,
                    Some(code) => Judged::Wrong(format!("code {code}")),
                }
            }
            Kind::List => self.list(step.number, answer.body),
        }
    }

    fn list(&self, service: u32, body: &[u8]) -> Judged {
        if memchr::memmem::find(body, br#""hosts""#).is_none() {
            return Judged::Wrong("unexpected answer".into());
        }
        let Some(fleet) = &self.complete else { return Judged::Good };
        let listed = memchr::memmem::find_iter(body, br#""instanceId""#).count();
        let wanted = fleet.members(service).len();
        if listed < wanted { Judged::Wrong("short list".into()) } else { Judged::Good }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(complete: Option<u32>) -> Reader {
        Reader { beat: Vec::new(), complete: complete.map(|instances| Fleet::nameless(1, instances)) }
    }

    fn judged(reader: &mut Reader, kind: Kind, status: u16, body: &str) -> Judged {
        reader.judge(Step { kind, number: 0, slot: 0 }, Answer { status, body: body.as_bytes() })
    }

    #[test]
    fn only_right_answers_count() {
        let mut reader = reader(Some(2));
        let wrong = |what: &str| Judged::Wrong(what.to_owned());
        for (kind, status, body, wanted) in [
            (Kind::Register, 200, "ok", Judged::Good),
            (Kind::Register, 200, "ok\n", wrong("unexpected answer")),
            (Kind::Deregister, 500, "ok", wrong("status 500")),
            (Kind::BeatLight, 200, r#"{"code":10200,"clientBeatInterval":5000}"#, Judged::Good),
            (Kind::BeatLight, 200, r#"{"code":10200,"clientBeatInterval":5000}"#, Judged::Good),
            (Kind::BeatLight, 200, r#"{"code":20404}"#, Judged::Forgotten),
            (Kind::BeatFull, 200, r#"{"code":20400}"#, wrong("code 20400")),
            (Kind::BeatFull, 200, r#"{"clientBeatInterval":5000}"#, Judged::Good),
            (Kind::BeatFull, 200, "", wrong("unexpected answer")),
            (Kind::List, 200, r#"{"hosts":[{"instanceId":"a"},{"instanceId":"b"}]}"#, Judged::Good),
            (Kind::List, 200, r#"{"hosts":[{"instanceId":"a"}]}"#, wrong("short list")),
            (Kind::List, 200, "<html>", wrong("unexpected answer")),
        ] {
            assert_eq!(judged(&mut reader, kind, status, body), wanted, "{kind:?} {status} {body}");
        }
        reader.complete = None;
        assert_eq!(judged(&mut reader, Kind::List, 200, r#"{"hosts":[]}"#), Judged::Good);
    }
}
