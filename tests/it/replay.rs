//! Replays a recorded conversation against a server. The format is described in tests/conformance/README.md.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::sync::LazyLock;
use std::thread;
use std::time::{Duration, Instant};

use regex::{Captures, Regex};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use crate::client::{Answer, Client, form};
use crate::compare::{Rules, compare};
use crate::dice::Dice;

/// Context path of the server under test.
const CONTEXT: &str = "/nacos";
/// How long an answer may take to become the expected one when the step names no time.
const WITHIN_S: f64 = 2.0;
const PAUSE: Duration = Duration::from_millis(100);
/// An answer that comes later than that was held up by the machine, and some cases have limits of a second.
const HELD_UP: Duration = Duration::from_millis(400);
/// Members whose value changes from run to run.
const VOLATILE: &[&str] = &[
    "lastRefTime",
    "lastBeat",
    "lastRefreshTime",
    "lastModifiedMillis",
    "timestamp",
    "checksum",
    "accessToken",
    "tokenTtl",
    "port_volatile",
    "load",
    "cpu",
    "mem",
    "path",
];

/// One file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    #[serde(rename = "about")]
    _about: String,
    /// Changes global state: runs by itself after the others.
    #[serde(default)]
    pub(crate) alone: bool,
    #[serde(default)]
    volatile: Vec<String>,
    steps: Vec<Step>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Step {
    about: Option<String>,
    request: Option<Request>,
    expect: Expect,
    within_s: Option<f64>,
    not_before_s: Option<(String, f64)>,
    mark: Option<String>,
    sleep_s: Option<f64>,
    save: BTreeMap<String, String>,
    ordered: bool,
    extra_members: bool,
    always: bool,
    volatile: Vec<String>,
    /// For recording only.
    #[serde(rename = "fixed")]
    _fixed: bool,
    #[serde(rename = "settle_s")]
    _settle_s: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Request {
    method: Option<String>,
    path: String,
    /// The path stands for itself, without the context path.
    absolute: bool,
    query: Option<Pairs>,
    form: Option<Pairs>,
    json: Option<Value>,
    body: Option<String>,
    headers: Pairs,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Expect {
    status: Option<u16>,
    r#type: Option<String>,
    #[serde(deserialize_with = "present")]
    body: Option<Value>,
}

/// `"body": null` expects a null; a missing body expects nothing.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// Names and values in the order of the file: an object, or a list of pairs when a name comes twice.
#[derive(Debug, Default, Clone)]
struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Pairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts and numbers or a list of pairs")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    pairs.push((name, text));
                }
                Ok(Pairs(pairs))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = seq.next_element()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_any(Visit)
    }
}

/// Values for `${name}`.
struct Names(HashMap<String, Value>);

impl Names {
    fn text(&self, text: &str) -> String {
        static NAME: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\$\{(\w+)\}").expect("a valid expression"));
        let value = |found: &Captures<'_>| match self.0.get(&found[1]) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => found[0].to_owned(),
        };
        NAME.replace_all(text, value).into_owned()
    }

    fn pairs(&self, pairs: &Pairs) -> Vec<(String, String)> {
        pairs.0.iter().map(|(name, value)| (self.text(name), self.text(value))).collect()
    }

    fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(members) => members.iter().map(|(k, v)| (self.text(k), self.value(v))).collect(),
            other => other.clone(),
        }
    }
}

/// How long answers took, each with all that was done since the one before, but for what was slept on purpose.
struct Pace {
    since: Instant,
    longest: Duration,
}

impl Pace {
    fn answered(&mut self) {
        self.longest = self.longest.max(self.since.elapsed());
        self.since = Instant::now();
    }

    fn sleep(&mut self, time: Duration) {
        self.answered();
        thread::sleep(time);
        // A sleep that is too long counts.
        self.since += time;
    }
}

/// Why a step does not hold.
enum Fault {
    /// The answer differs; it may still become the expected one.
    Differs(String),
    /// Asking again is of no use: no connection, or nothing to save.
    Broken(String),
}

impl Request {
    fn method(&self) -> &str {
        self.method.as_deref().unwrap_or("GET")
    }

    /// Sends it on a connection of its own, as the recordings were made.
    fn send(&self, server: SocketAddr, names: &Names) -> Result<Answer, Fault> {
        let mut target = if self.absolute { String::new() } else { CONTEXT.to_owned() };
        target += &names.text(&self.path);
        if let Some(query) = &self.query {
            target += &format!("?{}", form(&names.pairs(query)));
        }
        let mut headers = names.pairs(&self.headers);
        let mut typed = |value: &str| {
            if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("Content-Type")) {
                headers.push(("Content-Type".to_owned(), value.to_owned()));
            }
        };
        let body = if let Some(pairs) = &self.form {
            typed("application/x-www-form-urlencoded");
            Some(form(&names.pairs(pairs)))
        } else if let Some(json) = &self.json {
            typed("application/json");
            Some(names.value(json).to_string())
        } else {
            self.body.as_ref().map(|body| names.text(body))
        };
        Client::new(server)
            .send(self.method(), &target, &headers, body.as_deref().map(str::as_bytes))
            .map_err(|error| Fault::Broken(error.to_string()))
    }
}

/// JSON value of a body, whatever its declared type; the text itself when it is not JSON.
fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

impl Step {
    fn label(&self, number: usize) -> String {
        self.about.as_ref().map_or_else(|| format!("step {number}"), |about| format!("step {number} ({about})"))
    }

    fn check(&self, answer: &Answer, names: &mut Names, rules: &Rules) -> Result<(), Fault> {
        let text = answer.text();
        if let Some(status) = self.expect.status.filter(|status| *status != answer.status) {
            let start: String = text.chars().take(300).collect();
            return Err(Fault::Differs(format!(
                "status {status} was recorded, {} came back: {start:?}",
                answer.status
            )));
        }
        let came = answer.header("Content-Type").unwrap_or_default().split(';').next().unwrap_or_default().trim();
        if let Some(wanted) =
            self.expect.r#type.as_ref().map(|wanted| names.text(wanted)).filter(|wanted| wanted != came)
        {
            return Err(Fault::Differs(format!("type {wanted:?} was recorded, {came:?} came back")));
        }
        let body = parse(&text);
        if let Some(wanted) = &self.expect.body {
            compare(&names.value(wanted), &body, "body", rules).map_err(Fault::Differs)?;
        }
        for (name, pointer) in &self.save {
            let found = body.pointer(pointer).ok_or_else(|| Fault::Broken(format!("nothing to save at {pointer}")))?;
            names.0.insert(name.clone(), found.clone());
        }
        Ok(())
    }

    /// Sends the request until the answer is the expected one or the time is over.
    fn run(&self, to: (&Request, SocketAddr), names: &mut Names, rules: &Rules, pace: &mut Pace) -> Result<(), Fault> {
        let (request, server) = to;
        let deadline = Instant::now() + Duration::from_secs_f64(self.within_s.unwrap_or(WITHIN_S));
        loop {
            let answer = request.send(server, names);
            pace.answered();
            match answer.and_then(|answer| self.check(&answer, names, rules)) {
                Err(Fault::Differs(_)) if Instant::now() <= deadline => pace.sleep(PAUSE),
                outcome => return outcome,
            }
        }
    }
}

/// `Err` with the first step that does not hold. A case that is about time gets a second chance when the machine held
/// it up: an instance that a beat has made healthy may have been silent for too long before anybody could look.
pub(crate) fn replay(server: SocketAddr, case: &Case) -> Result<(), String> {
    let (outcome, longest) = replay_once(server, case);
    let is_timed = case.steps.iter().any(|step| step.not_before_s.is_some());
    match outcome {
        Err(reason) if is_timed && longest > HELD_UP => {
            println!("again, after an answer that took {longest:?}: {reason}");
            replay_once(server, case).0
        }
        outcome => outcome,
    }
}

/// The first step that does not hold, and how long the slowest answer took. Steps marked `always` run even after a
/// failure.
fn replay_once(server: SocketAddr, case: &Case) -> (Result<(), String>, Duration) {
    let run = format!("r{:010x}", Dice::fresh().next() & 0xff_ffff_ffff);
    let mut names = Names(HashMap::from([
        ("run".to_owned(), Value::String(run)),
        ("host".to_owned(), Value::String(server.ip().to_string())),
        ("port".to_owned(), Value::from(server.port())),
    ]));
    let mut marks: HashMap<&str, Instant> = HashMap::new();
    let mut failure = None;
    let mut pace = Pace { since: Instant::now(), longest: Duration::ZERO };
    for (index, step) in case.steps.iter().enumerate() {
        if failure.is_some() && !step.always {
            continue;
        }
        if let Some(mark) = &step.mark {
            marks.insert(mark, Instant::now());
        }
        pace.sleep(Duration::from_secs_f64(step.sleep_s.unwrap_or_default()));
        let Some(request) = &step.request else { continue };
        let volatile = VOLATILE.iter().map(|name| (*name).to_owned());
        let rules = Rules {
            volatile: volatile.chain(case.volatile.iter().cloned()).chain(step.volatile.iter().cloned()).collect(),
            ordered: step.ordered,
            extra_members: step.extra_members,
        };
        let outcome = step.run((request, server), &mut names, &rules, &mut pace).and_then(|()| {
            let Some((mark, least)) = &step.not_before_s else { return Ok(()) };
            let set = marks.get(mark.as_str()).ok_or_else(|| Fault::Broken(format!("no mark {mark}")))?;
            let elapsed = set.elapsed().as_secs_f64();
            if elapsed >= *least {
                return Ok(());
            }
            Err(Fault::Differs(format!("held after {elapsed:.1} s, no sooner than {least} s was recorded")))
        });
        if let Err(Fault::Differs(reason) | Fault::Broken(reason)) = outcome {
            let path = names.text(&request.path);
            failure.get_or_insert(format!("{}: {} {path}: {reason}", step.label(index + 1), request.method()));
        }
    }
    (failure.map_or(Ok(()), Err), pace.longest)
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::sync::{Arc, Mutex};

    use serde_json::json;

    use super::*;

    /// An answer that takes its time.
    const LATE: &str = "late";

    /// A server that gives each answer once and the last one for ever; it keeps what it was sent.
    fn scripted(answers: &[&str]) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let answers: Vec<String> = answers.iter().map(|answer| (*answer).to_owned()).collect();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&seen);
        thread::spawn(move || {
            for (index, stream) in listener.incoming().enumerate() {
                let mut stream = BufReader::new(stream.expect("a connection"));
                let (mut head, mut length) = (String::new(), 0);
                while !head.ends_with("\r\n\r\n") {
                    let start = head.len();
                    stream.read_line(&mut head).expect("a line");
                    length = head[start..]
                        .strip_prefix("Content-Length: ")
                        .map_or(length, |n| n.trim().parse().expect("a number"));
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).expect("the body");
                kept.lock().expect("a lock").push(head + &String::from_utf8_lossy(&body));
                let body = &answers[index.min(answers.len() - 1)];
                thread::sleep(if body == LATE { HELD_UP * 2 } else { Duration::ZERO });
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/plain;charset=UTF-8\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                stream.get_mut().write_all((head + body).as_bytes()).expect("the answer goes out");
            }
        });
        (address, seen)
    }

    fn outcome(answers: &[&str], steps: Value) -> (Result<(), String>, Vec<String>) {
        let case: Case = serde_json::from_value(json!({"about": "x", "steps": steps})).expect("a case");
        let (server, seen) = scripted(answers);
        let outcome = replay(server, &case);
        let seen = seen.lock().expect("a lock").clone();
        (outcome, seen)
    }

    #[test]
    fn a_request_is_repeated_until_its_answer_is_the_expected_one() {
        let step =
            json!([{"request": {"path": "/a"}, "expect": {"status": 200, "type": "text/plain", "body": {"n": 3}}}]);
        let (held, seen) = outcome(&["{\"n\":1}", "later", "{\"n\":3}"], step);
        assert_eq!((held, seen.len()), (Ok(()), 3));
        let step = json!([{"within_s": 0.15, "request": {"path": "/a"}, "expect": {"body": "never"}}]);
        let (held, seen) = outcome(&["no"], step);
        assert_eq!(held, Err("step 1: GET /a: body: \"never\" was recorded, \"no\" came back".to_owned()));
        assert!((2..=4).contains(&seen.len()), "{}", seen.len());
    }

    #[test]
    fn names_are_put_in_and_values_are_saved() {
        let steps = json!([
            {"request": {"path": "/${run}"}, "expect": {"status": 200}, "save": {"token": "/list/1"}},
            {"request": {"method": "PUT", "path": "/b", "query": [["z", "${token} é"], ["a", "&"], ["z", "${other}"]],
                         "form": {"k": "v w"}, "headers": {"X-A": "${port}"}},
             "expect": {"body": {"list": ["t1", "${token}"]}}},
        ]);
        let (held, seen) = outcome(&["{\"list\":[\"t1\",\"t2\"]}"], steps);
        assert_eq!(held, Ok(()));
        assert!(
            Regex::new(r"^GET /nacos/r[0-9a-f]{10} HTTP/1.1\r\n").expect("valid").is_match(&seen[0]),
            "{}",
            seen[0]
        );
        assert!(seen[1].starts_with("PUT /nacos/b?z=t2+%C3%A9&a=%26&z=%24%7Bother%7D HTTP/1.1\r\n"), "{}", seen[1]);
        assert!(seen[1].contains("Content-Type: application/x-www-form-urlencoded\r\n"), "{}", seen[1]);
        assert!(seen[1].ends_with("\r\n\r\nk=v+w") && !seen[1].contains("${port}"), "{}", seen[1]);
    }

    #[test]
    fn what_comes_too_early_does_not_hold() {
        let steps = |least: f64| json!([{"mark": "t0"}, {"sleep_s": 0.1, "not_before_s": ["t0", least], "request": {"path": "/"}, "expect": {"body": "x"}}]);
        assert_eq!(outcome(&["x"], steps(0.1)).0, Ok(()));
        let early = outcome(&["x"], steps(9.0)).0.expect_err("too early");
        assert!(early.ends_with("no sooner than 9 s was recorded"), "{early}");
    }

    #[test]
    fn a_timed_case_that_was_held_up_is_replayed_once_more() {
        let step = json!({"within_s": 0, "request": {"path": "/${run}"}, "expect": {"body": "x"}});
        let mut late = step.clone();
        late["not_before_s"] = json!(["t0", 0]);
        let (timed, untimed) = (json!([{"mark": "t0"}, late]), json!([step]));
        for (answers, steps, held, asked) in [
            (&[LATE, "x"], &timed, true, 2),
            (&[LATE, "y"], &timed, false, 2),
            (&["y", "x"], &timed, false, 1),
            (&[LATE, "x"], &untimed, false, 1),
        ] {
            let (outcome, seen) = outcome(answers, steps.clone());
            assert_eq!((outcome.is_ok(), seen.len()), (held, asked), "{answers:?} {steps}");
            assert_ne!(seen.first(), seen.get(1), "it is a case of its own");
        }
    }

    #[test]
    fn after_a_failure_only_the_steps_that_put_things_back_run() {
        let failing = json!({"within_s": 0, "request": {"path": "/1"}, "expect": {"status": 500}});
        let other = json!({"request": {"path": "/2"}, "expect": {}});
        let always = json!({"always": true, "request": {"path": "/3"}, "expect": {}});
        let (held, seen) = outcome(&["x"], json!([failing, other, always]));
        assert!(held.expect_err("step 1 fails").starts_with("step 1: GET /1: status 500 was recorded, 200 came back"));
        let lines: Vec<&str> = seen.iter().map(|head| head.split(' ').nth(1).expect("a target")).collect();
        assert_eq!(lines.last(), Some(&"/nacos/3"));
        assert!(!lines.contains(&"/nacos/2"), "{lines:?}");
    }

    #[test]
    fn a_missing_value_to_save_fails_at_once() {
        let (held, seen) = outcome(&["{}"], json!([{"request": {"path": "/"}, "expect": {}, "save": {"a": "/b"}}]));
        assert_eq!((held, seen.len()), (Err("step 1: GET /: nothing to save at /b".to_owned()), 1));
    }
}
