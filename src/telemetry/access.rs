//! The access log: one line for each request, in the form that the reference's shipped file sets
//! (`spec/configuration.md` 7), without the secrets that its query may hold.

use std::borrow::Cow;
use std::cell::RefCell;
use std::io::Write as _;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::writer::{ACCESS, Queue};

/// Parameters whose values are nobody's business, in any case. `content` is a configuration that somebody publishes.
const SECRETS: &[&str] = &[
    "accesstoken",
    "access_token",
    "token",
    "password",
    "newpassword",
    "oldpassword",
    "passwd",
    "pwd",
    "secret",
    "content",
];
/// Lengths of their names.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 3..=13;
/// Holds the password of a MYSQL check, or what an HTTP check shows to be let in: in its headers or its path.
const CHECKER: &str = "healthchecker";
const CHECKER_SECRETS: [&str; 3] = ["pwd", "headers", "path"];
/// What a secret is shown as.
const HIDDEN: &[u8] = b"***";
/// Most that is shown of a target and of a header, in bytes.
const MAX_TARGET_BYTES: usize = 2 << 10;
const MAX_HEADER_BYTES: usize = 256;

/// Takes the lines, once logging has started with an access log.
static LOG: OnceLock<Arc<Queue>> = OnceLock::new();

/// Makes this the access log of the process.
pub(super) fn install(queue: Arc<Queue>) {
    // Only the first start of logging succeeds, and this comes after it.
    let _ = LOG.set(queue);
}

/// A request that was answered.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Who asked.
    pub peer: IpAddr,
    /// Such as `GET`.
    pub method: &'a str,
    /// Path and query as they were sent.
    pub target: &'a str,
    /// Such as `HTTP/1.1`.
    pub version: &'a str,
    /// The header `User-Agent`.
    pub agent: Option<&'a [u8]>,
    /// The header `Request-Source`.
    pub source: Option<&'a [u8]>,
    /// Of the answer.
    pub status: u16,
    /// Of the answer, without its head.
    pub bytes: u64,
}

/// Whether anybody wants [`log`].
pub fn is_on() -> bool {
    LOG.get().is_some()
}

/// Writes the line of a request that was begun at `begun`. Never waits for the disk.
pub fn log(request: &Request<'_>, begun: Instant) {
    thread_local! {
        static LINE: RefCell<(Vec<u8>, Start)> = RefCell::default();
    }
    let Some(queue) = LOG.get() else { return };
    let ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
    LINE.with_borrow_mut(|(line, start)| {
        line.clear();
        line.extend_from_slice(start.of(request.peer, wall_s()));
        write(request, ms, line);
        queue.push(ACCESS, line);
    });
}

fn wall_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_secs()).unwrap_or_default()
}

/// The target of a request as it may be seen in a log: secrets hidden, long ones cut.
pub fn shown(path_and_query: &str) -> String {
    let mut line = Vec::new();
    target(path_and_query, &mut line);
    String::from_utf8_lossy(&line).into_owned()
}

/// How a line begins: the client and the time. Mostly the same as in the line before.
#[derive(Default)]
struct Start {
    made_for: Option<(IpAddr, u64)>,
    text: String,
}

impl Start {
    fn of(&mut self, peer: IpAddr, second: u64) -> &[u8] {
        if self.made_for != Some((peer, second)) {
            self.text = start(peer, second, TimeZone::system());
            self.made_for = Some((peer, second));
        }
        self.text.as_bytes()
    }
}

fn start(peer: IpAddr, second: u64, zone: TimeZone) -> String {
    let time = Timestamp::from_second(i64::try_from(second).unwrap_or(0)).unwrap_or_default().to_zoned(zone);
    format!("{} - - [{}] \"", peer.to_canonical(), time.strftime("%d/%b/%Y:%H:%M:%S %z"))
}

/// Appends the rest of the line. By hand: this is done for every request, and formatting costs more than the beat that
/// the line tells of.
fn write(request: &Request<'_>, ms: u64, line: &mut Vec<u8>) {
    line.extend_from_slice(request.method.as_bytes());
    line.push(b' ');
    target(request.target, line);
    line.push(b' ');
    line.extend_from_slice(request.version.as_bytes());
    line.extend_from_slice(b"\" ");
    number(request.status.into(), line);
    line.push(b' ');
    match request.bytes {
        0 => line.push(b'-'),
        bytes => number(bytes, line),
    }
    line.push(b' ');
    number(ms, line);
    line.push(b' ');
    header(request.agent, line);
    line.push(b' ');
    header(request.source, line);
    line.push(b'\n');
}

fn number(number: u64, line: &mut Vec<u8>) {
    if number >= 10 {
        self::number(number / 10, line);
    }
    line.push(b'0' + (number % 10) as u8);
}

fn header(value: Option<&[u8]>, line: &mut Vec<u8>) {
    match value {
        None | Some([]) => line.push(b'-'),
        Some(value) => escape(value, MAX_HEADER_BYTES, line),
    }
}

/// The target of a request with its secrets hidden.
fn target(target: &str, line: &mut Vec<u8>) {
    let start = line.len();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if target.len() <= MAX_TARGET_BYTES && is_plain(target.as_bytes()) && !query.split('&').any(is_secret) {
        return line.extend_from_slice(target.as_bytes());
    }
    escape(path.as_bytes(), MAX_TARGET_BYTES, line);
    let mut between = b'?';
    for part in query.split('&').filter(|part| !part.is_empty()) {
        line.push(between);
        between = b'&';
        let room = MAX_TARGET_BYTES.saturating_sub(line.len() - start);
        if room == 0 {
            return line.extend_from_slice(b"...");
        }
        match part.split_once('=').filter(|_| is_secret(part)) {
            Some((name, _)) => {
                escape(name.as_bytes(), room, line);
                line.push(b'=');
                line.extend_from_slice(HIDDEN);
            }
            None => escape(part.as_bytes(), room, line),
        }
    }
}

/// Whether a pair of a query has a value that is not to be seen.
fn is_secret(pair: &str) -> bool {
    // Most names are neither that long nor escaped.
    let is_near = |name: &[u8]| SECRET_BYTES.contains(&name.len()) || name.iter().any(|b| matches!(b, b'%' | b'+'));
    let Some((name, value)) =
        pair.split_once('=').filter(|(name, value)| !value.is_empty() && is_near(name.as_bytes()))
    else {
        return false;
    };
    let name = decoded(name);
    let is = |known: &str| known.eq_ignore_ascii_case(name.trim());
    if is(CHECKER) {
        let value = decoded(value).to_ascii_lowercase();
        // A backslash may hide anything in the name of a member.
        return CHECKER_SECRETS.iter().any(|name| value.contains(name)) || value.contains('\\');
    }
    SECRETS.iter().any(|known| is(known))
}

/// What a server reads in a name or value: `%41` as `A`, `+` as a blank.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return text.into();
    }
    let hex = |byte: Option<&u8>| byte.and_then(|byte| char::from(*byte).to_digit(16));
    let (bytes, mut read, mut at) = (text.as_bytes(), Vec::with_capacity(text.len()), 0);
    while let Some(byte) = bytes.get(at) {
        let pair = hex(bytes.get(at + 1)).zip(hex(bytes.get(at + 2))).filter(|_| *byte == b'%');
        at += if pair.is_some() { 3 } else { 1 };
        read.push(match pair {
            Some((high, low)) => (high << 4 | low) as u8,
            None if *byte == b'+' => b' ',
            None => *byte,
        });
    }
    String::from_utf8_lossy(&read).into_owned().into()
}

fn is_plain_byte(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\')
}

/// Whether nothing is to be escaped. Without an early end: so it is done for many bytes at a time.
fn is_plain(text: &[u8]) -> bool {
    text.iter().fold(true, |plain, byte| plain & is_plain_byte(*byte))
}

/// Appends at most `room` bytes of `text`, with everything escaped that could end a line or a quoted part, or steer a
/// terminal.
fn escape(text: &[u8], room: usize, line: &mut Vec<u8>) {
    let shown = text.get(..room).unwrap_or(text);
    if is_plain(shown) {
        line.extend_from_slice(shown);
    } else {
        for byte in shown {
            match byte {
                b'"' | b'\\' => line.extend_from_slice(&[b'\\', *byte]),
                byte if is_plain_byte(*byte) => line.push(*byte),
                byte => _ = write!(line, "\\x{byte:02x}"),
            }
        }
    }
    if shown.len() < text.len() {
        line.extend_from_slice(b"...");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: Request<'_> = Request {
        peer: IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
        method: "GET",
        target: "/nacos/v1/core/cluster/simple/nodes",
        version: "HTTP/1.1",
        agent: Some(b"curl/7.88.1"),
        source: None,
        status: 200,
        bytes: 65,
    };

    fn line_of(request: &Request<'_>) -> String {
        let utc_s = 1_795_303_943;
        let mut line = start(request.peer, utc_s, TimeZone::UTC).into_bytes();
        write(request, 2, &mut line);
        String::from_utf8(line).unwrap()
    }

    fn of(target: &str) -> String {
        let line = line_of(&Request { target, ..REQUEST });
        line.split_once("\"GET ").unwrap().1.split_once(" HTTP/1.1\" 200 65 2 ").unwrap().0.to_owned()
    }

    #[test]
    fn the_line_is_that_of_the_reference() {
        let want = "127.0.0.1 - - [21/Nov/2026:23:32:23 +0000] \"GET /nacos/v1/core/cluster/simple/nodes HTTP/1.1\" 200 65 2 \
                    curl/7.88.1 -\n";
        assert_eq!(line_of(&REQUEST), want);
        let peer = "::ffff:10.0.0.1".parse().unwrap();
        let line = line_of(&Request { peer, agent: None, source: Some(b"Nacos-Server"), bytes: 0, ..REQUEST });
        assert!(line.starts_with("10.0.0.1 - - [") && line.ends_with("\" 200 - 2 - Nacos-Server\n"), "{line}");
    }

    #[test]
    fn secrets_are_hidden_however_they_are_spelled() {
        assert_eq!(of("/a?accessToken=abc&x=1"), "/a?accessToken=***&x=1");
        assert_eq!(of("/a?x=1&PASSWORD=abc&newPassword=d"), "/a?x=1&PASSWORD=***&newPassword=***");
        assert_eq!(of("/a?access%54oken=abc&+password=x"), "/a?access%54oken=***&+password=***");
        assert_eq!(of("/a?token=a=b"), "/a?token=***");
        assert_eq!(of("/a?password=&tokens=1&token"), "/a?password=&tokens=1&token");
        let checker = "/c?healthChecker=%7B%22type%22:%22MYSQL%22,%22p%77d%22:%22geheim%22%7D";
        assert_eq!(of(checker), "/c?healthChecker=***");
        assert_eq!(of(r"/c?healthChecker={%22p\u0077d%22:%22geheim%22}"), "/c?healthChecker=***");
        for member in ["%22headers%22:%22Cookie:geheim%22", "%22path%22:%22/up?key=geheim%22"] {
            assert_eq!(of(&format!("/c?healthChecker={{%22type%22:%22HTTP%22,{member}}}")), "/c?healthChecker=***");
        }
        assert_eq!(of("/a?dataId=x&content=geheim"), "/a?dataId=x&content=***");
        assert_eq!(of("/c?healthChecker={'type':'TCP'}"), "/c?healthChecker={'type':'TCP'}");
    }

    #[test]
    fn nothing_forges_a_line() {
        assert_eq!(of("/a?b=\"é\\"), r#"/a?b=\"\xc3\xa9\\"#);
        let line = line_of(&Request { agent: Some(b"a\n127.0.0.1 \x1b[31m\t\x7f\xff"), ..REQUEST });
        assert_eq!(line.lines().count(), 1);
        assert!(line.ends_with("a\\x0a127.0.0.1 \\x1b[31m\\x09\\x7f\\xff -\n"), "{line}");
    }

    #[test]
    fn lines_have_a_longest_length() {
        let long = format!("/a?metadata={}&password=abc", "x".repeat(20_000));
        let line = of(&long);
        assert!(line.len() < MAX_TARGET_BYTES + 20 && line.ends_with("..."), "{}", line.len());
        let many = format!("/a?{}", "b&".repeat(20_000));
        assert!(of(&many).len() < MAX_TARGET_BYTES + 20);
        let agent = [b'a'; 10_000];
        assert!(line_of(&Request { agent: Some(&agent), ..REQUEST }).len() < 500);
    }
}
