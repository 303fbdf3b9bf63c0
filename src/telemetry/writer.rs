//! From whoever logs to the files, without anybody waiting for the disk: lines go into memory of a bounded size, and one
//! thread takes them from there. What finds no room is dropped, counted and reported.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::civil::Date;
use parking_lot::{Condvar, Mutex};
use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use super::category::{self, LOGS};
use super::files::LogFiles;
use super::limit::Limiter;
use super::roll::{Keep, Series};
use crate::error::{Error, Result};

/// Memory for lines that wait to be written.
const MAX_WAITING_BYTES: usize = 8 << 20;
/// With that much waiting it is written at once; otherwise a little later, together with what comes meanwhile.
const SOON_BYTES: usize = 1 << 20;
const LATER: Duration = Duration::from_millis(50);
/// How often it is looked after dropped lines, moved files and the day.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is told of lines that standard error did not take.
const TELL_EVERY: Duration = Duration::from_secs(60);
/// After a failed write nothing is tried for this long.
const FAULT_PAUSE: Duration = Duration::from_secs(5);
/// Longest line of a log; the rest of it is cut. The access log sees to its own.
const MAX_LINE_BYTES: usize = 4 << 10;
/// Memory that a buffer keeps for its next use.
const KEPT_BYTES: usize = 3 << 19;

/// Index of the access log, behind all others.
pub(super) const ACCESS: usize = LOGS.len();
const COUNT: usize = ACCESS + 1;

/// Lines of one log that wait.
#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    /// Lines that were dropped for lack of room.
    dropped: u64,
}

#[derive(Default)]
struct State {
    logs: Vec<Waiting>,
    bytes: usize,
    stopping: bool,
}

/// Where lines wait.
pub(super) struct Queue {
    state: Mutex<State>,
    wake: Condvar,
    max_bytes: usize,
}

impl Queue {
    pub(super) fn new(max_bytes: usize) -> Self {
        let logs = (0..COUNT).map(|_| Waiting::default()).collect();
        Self { state: Mutex::new(State { logs, ..State::default() }), wake: Condvar::new(), max_bytes }
    }

    /// Adds a line, with the end of line, or drops it when there is no room.
    pub(super) fn push(&self, log: usize, line: &[u8]) {
        let mut state = self.state.lock();
        let full = state.bytes + line.len() > self.max_bytes;
        let Some(waiting) = state.logs.get_mut(log) else { return };
        if full {
            waiting.dropped += 1;
            return;
        }
        waiting.bytes.extend_from_slice(line);
        let before = state.bytes;
        state.bytes += line.len();
        if before == 0 || (before < SOON_BYTES && state.bytes >= SOON_BYTES) {
            self.wake.notify_one();
        }
    }

    /// Waits until there is something to do, and takes all that waits, into `taken`. True when there will be no more.
    fn take(&self, taken: &mut Vec<Waiting>) -> bool {
        let mut state = self.state.lock();
        if state.bytes == 0 && !state.stopping {
            self.wake.wait_for(&mut state, LOOK_EVERY);
        }
        if state.bytes > 0 && state.bytes < SOON_BYTES && !state.stopping {
            self.wake.wait_for(&mut state, LATER);
        }
        std::mem::swap(&mut state.logs, taken);
        state.bytes = 0;
        state.stopping
    }

    fn stop(&self) {
        self.state.lock().stopping = true;
        self.wake.notify_one();
    }
}

/// What is to be kept where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSettings {
    /// Folder of all files; made when it is missing.
    pub dir: PathBuf,
    /// Of each log but the access log.
    pub keep: Keep,
    /// Of the access log; `None`: there is none.
    pub access: Option<Keep>,
}

/// Gives each line to the log that its target belongs to.
pub(super) struct Lines(pub(super) Arc<Queue>);

/// Takes the lines of one log.
pub(super) struct Line<'q> {
    queue: &'q Queue,
    log: usize,
}

impl<'q> MakeWriter<'q> for Lines {
    type Writer = Line<'q>;

    fn make_writer(&'q self) -> Line<'q> {
        Line { queue: &self.0, log: 0 }
    }

    fn make_writer_for(&'q self, metadata: &Metadata<'_>) -> Line<'q> {
        Line { queue: &self.0, log: category::log_of(metadata.target()) }
    }
}

impl io::Write for Line<'_> {
    /// A line as a whole, as formatters hand it over.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match cut(line) {
            None => self.queue.push(self.log, line),
            Some(cut) => self.queue.push(self.log, &cut),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A shorter line in place of one that is too long.
fn cut(line: &[u8]) -> Option<Vec<u8>> {
    if line.len() <= MAX_LINE_BYTES {
        return None;
    }
    if line.starts_with(b"{") {
        // Half an object helps nobody.
        return Some(format!("{{\"message\":\"a line of {} bytes was left out\"}}\n", line.len()).into_bytes());
    }
    let end = (MAX_LINE_BYTES - 3..=MAX_LINE_BYTES).rev().find(|at| line.get(*at).is_some_and(|b| b & 0xC0 != 0x80));
    let mut cut = line.get(..end.unwrap_or(0)).unwrap_or_default().to_vec();
    cut.extend_from_slice(b"...");
    cut.extend(line.iter().rev().take_while(|byte| **byte == b'\n'));
    Some(cut)
}

/// The running thread.
pub(super) struct Writer {
    queue: Arc<Queue>,
    thread: JoinHandle<()>,
}

impl Writer {
    /// Starts writing what comes into `queue`; without `settings` it only tells of dropped lines, also of those that
    /// `lost_on_console` counts.
    pub(super) fn start(
        queue: Arc<Queue>,
        settings: Option<&FileSettings>,
        limiter: Arc<Limiter>,
        lost_on_console: Count,
    ) -> Result<Self> {
        let mut work = Work {
            queue: queue.clone(),
            limiter,
            logs: settings.map(logs).unwrap_or_default(),
            today: None,
            fault: None,
            looked: Instant::now(),
            console: Console { lost: lost_on_console, told: 0, told_at: None },
        };
        let thread = std::thread::Builder::new().name("logs".into()).spawn(move || work.run());
        let thread = thread.map_err(|error| Error::Setup(format!("no thread for log files: {error}")))?;
        Ok(Self { queue, thread })
    }

    /// Writes what waits and ends the thread.
    pub(super) fn stop(self) {
        self.queue.stop();
        // A panic has been reported already, and there is nothing left to do.
        let _ = self.thread.join();
    }
}

fn logs(settings: &FileSettings) -> Vec<LogFiles> {
    let named = LOGS.iter().map(|name| LogFiles::new(&settings.dir, Series::new(name), settings.keep));
    let access = settings.access.map(|keep| LogFiles::new(&settings.dir, Series::dated("access_log"), keep));
    named.chain(access).collect()
}

struct Work {
    queue: Arc<Queue>,
    limiter: Arc<Limiter>,
    logs: Vec<LogFiles>,
    /// `None` before the first look.
    today: Option<Date>,
    fault: Option<Fault>,
    looked: Instant,
    console: Console,
}

/// How many there were so far.
pub(super) type Count = Box<dyn Fn() -> u64 + Send>;

/// Lines that standard error did not take.
struct Console {
    lost: Count,
    told: u64,
    told_at: Option<Instant>,
}

impl Console {
    fn look(&mut self, at_once: bool) {
        let is_early = self.told_at.is_some_and(|told| told.elapsed() < TELL_EVERY);
        let lost = (self.lost)().saturating_sub(self.told);
        if lost == 0 || (is_early && !at_once) {
            return;
        }
        tracing::warn!(lost, "standard error did not take lines fast enough, they were dropped there");
        // A terminal that stands still drops this line too, which is not told of in turn.
        self.told = (self.lost)();
        self.told_at = Some(Instant::now());
    }
}

/// While nothing can be written.
struct Fault {
    since: Instant,
    lost_lines: u64,
}

impl Work {
    fn run(&mut self) {
        let mut taken: Vec<Waiting> = (0..COUNT).map(|_| Waiting::default()).collect();
        loop {
            let stopping = self.queue.take(&mut taken);
            self.write(&mut taken);
            if stopping {
                break;
            }
            if self.looked.elapsed() >= LOOK_EVERY {
                self.looked = Instant::now();
                self.limiter.tell(false);
                self.console.look(false);
                self.logs.iter_mut().for_each(LogFiles::look);
            }
        }
        self.limiter.tell(true);
        self.console.look(true);
        // Twice: that lines were dropped is a line itself.
        for _ in 0..2 {
            self.queue.take(&mut taken);
            self.write(&mut taken);
        }
        if let Some(fault) = self.fault.take() {
            tracing::warn!(lost = fault.lost_lines, "lines were lost: the log files could not be written to the end");
        }
    }

    fn write(&mut self, taken: &mut [Waiting]) {
        let today = jiff::Zoned::now().date();
        if self.today != Some(today) {
            self.today = Some(today);
            let cleared = self.logs.iter().try_for_each(|log| log.clear(today));
            cleared.unwrap_or_else(|error| self.fail(&error, 0));
        }
        let mut dropped = 0;
        for (index, waiting) in taken.iter_mut().enumerate() {
            dropped += std::mem::take(&mut waiting.dropped);
            if !waiting.bytes.is_empty() {
                self.append(index, &waiting.bytes, today);
            }
            waiting.bytes.clear();
            waiting.bytes.shrink_to(KEPT_BYTES);
        }
        if dropped > 0 {
            tracing::warn!(dropped, "log lines were dropped: they came faster than they could be written");
        }
    }

    fn append(&mut self, index: usize, lines: &[u8], today: Date) {
        let Some(log) = self.logs.get_mut(index) else { return };
        if let Some(fault) = self.fault.as_mut().filter(|fault| fault.since.elapsed() < FAULT_PAUSE) {
            fault.lost_lines += count(lines);
            return;
        }
        match log.append(lines, today) {
            Err(error) => self.fail(&error, count(lines)),
            Ok(()) => {
                if let Some(fault) = self.fault.take() {
                    tracing::warn!(lost = fault.lost_lines, "log files can be written again; lines were lost");
                }
            }
        }
    }

    /// The server goes on without its logs. Standard error hears of it once.
    fn fail(&mut self, error: &io::Error, lost_lines: u64) {
        let now = Instant::now();
        match &mut self.fault {
            Some(fault) => {
                fault.since = now;
                fault.lost_lines += lost_lines;
            }
            none => {
                *none = Some(Fault { since: now, lost_lines });
                tracing::error!(%error, "log files can't be written; the server goes on without");
            }
        }
    }
}

fn count(lines: &[u8]) -> u64 {
    // An empty line belongs to the one before it.
    lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count() as u64
}

/// For tests and for those who have no thread.
pub(super) fn queue() -> Arc<Queue> {
    Arc::new(Queue::new(MAX_WAITING_BYTES))
}

#[cfg(test)]
impl Queue {
    /// The lines that wait, by name of the log, and how many were dropped.
    pub(super) fn waiting(&self, name: &str) -> (String, u64) {
        let index = LOGS.iter().position(|known| *known == name).unwrap_or(ACCESS);
        let mut state = self.state.lock();
        let waiting = std::mem::take(&mut state.logs[index]);
        state.bytes -= waiting.bytes.len();
        (String::from_utf8(waiting.bytes).unwrap(), waiting.dropped)
    }

    /// All bytes that wait; forgets them.
    pub(super) fn drain(&self) -> usize {
        let mut state = self.state.lock();
        state.logs.iter_mut().for_each(|waiting| waiting.bytes.clear());
        std::mem::take(&mut state.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Keep = Keep { file_bytes: 1 << 20, days: None, total_bytes: 1 << 30 };

    #[test]
    fn what_finds_no_room_is_dropped_and_counted() {
        let queue = Queue::new(10);
        for _ in 0..5 {
            queue.push(0, b"1234\n");
        }
        assert_eq!(queue.waiting("nacos"), ("1234\n1234\n".to_owned(), 3));
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        assert_eq!(cut(&[b'a'; MAX_LINE_BYTES]), None);
        let mut line = "é".repeat(MAX_LINE_BYTES).into_bytes();
        line.extend_from_slice(b"\n\n");
        let text = String::from_utf8(cut(&line).unwrap()).unwrap();
        assert!(text.ends_with("é...\n\n") && text.len() <= MAX_LINE_BYTES + 5, "{}", text.len());
        line.splice(0..0, *b"{");
        let object: serde_json::Value = serde_json::from_slice(&cut(&line).unwrap()).unwrap();
        assert!(object["message"].as_str().unwrap().contains("left out"));
    }

    #[test]
    fn all_that_waits_is_written_at_the_end() {
        let home = tempfile::tempdir().unwrap();
        let (queue, limiter) = (queue(), Arc::new(Limiter::new(Box::new(|| 0))));
        let settings = FileSettings { dir: home.path().join("logs"), keep: KEEP, access: Some(KEEP) };
        let writer = Writer::start(queue.clone(), Some(&settings), limiter, Box::new(|| 0)).unwrap();
        queue.push(0, b"a\n");
        queue.push(ACCESS, b"b\n");
        writer.stop();
        assert_eq!(std::fs::read_to_string(settings.dir.join("nacos.log")).unwrap(), "a\n");
        let today = jiff::Zoned::now().date();
        let access = settings.dir.join(format!("access_log.{today}.log"));
        assert_eq!(std::fs::read_to_string(access).unwrap(), "b\n");
        assert!(!settings.dir.join("naming-event.log").exists());
    }

    #[test]
    fn a_folder_that_cannot_be_written_loses_lines_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("file");
        std::fs::write(&dir, "").unwrap();
        let settings = FileSettings { dir: dir.clone(), keep: KEEP, access: None };
        let mut work = Work {
            queue: queue(),
            limiter: Arc::new(Limiter::new(Box::new(|| 0))),
            logs: logs(&settings),
            today: None,
            fault: None,
            looked: Instant::now(),
            console: Console { lost: Box::new(|| 0), told: 0, told_at: None },
        };
        let today = jiff::Zoned::now().date();
        work.append(0, b"a\n\nb\n\n", today);
        work.append(0, b"c\n\n", today);
        work.append(ACCESS, b"there is none\n", today);
        assert_eq!(work.fault.as_ref().unwrap().lost_lines, 3);
        std::fs::remove_file(&dir).unwrap();
        work.fault.as_mut().unwrap().since = Instant::now().checked_sub(FAULT_PAUSE).unwrap();
        work.append(0, b"d\n\n", today);
        assert!(work.fault.is_none());
        assert_eq!(std::fs::read_to_string(dir.join("nacos.log")).unwrap(), "d\n\n");
    }

    #[test]
    fn lines_that_the_console_did_not_take_are_told_of_now_and_then() {
        use std::sync::atomic::{AtomicU64, Ordering};

        use crate::telemetry::tests::{TEXT, logged};

        let lost = Arc::new(AtomicU64::new(0));
        let count = lost.clone();
        // The line about it is lost too.
        let count = Box::new(move || count.fetch_add(1, Ordering::Relaxed));
        let mut console = Console { lost: count, told: 0, told_at: None };
        let mut look = |more: u64, at_once: bool| {
            lost.fetch_add(more, Ordering::Relaxed);
            logged("warn", TEXT, || console.look(at_once))
        };
        assert_eq!(look(0, true), "", "nothing was lost");
        assert!(look(6, false).contains("lost=7"));
        assert_eq!(look(5, false), "", "not within the same minute");
        assert!(look(0, true).contains("lost=7"), "but at the end");
    }
}
