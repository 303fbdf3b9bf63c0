//! What this process takes of the machine, from `/proc` (Linux).

use std::fs;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use super::host::cpu_times;

/// Shares of time over less than this many clock ticks of the machine (10 ms each, of all processors) say little: the
/// share before them is told again.
const LEAST_TICKS: u64 = 20;

/// What one look finds. What is not known is `None`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// Share of all processors that is in use by anybody since the look before, 0 to 1.
    pub system_cpu: Option<f64>,
    /// Share of all processors that this process had since the look before, 0 to 1.
    pub process_cpu: Option<f64>,
    /// Memory in bytes that this process has now.
    pub memory_bytes: Option<u64>,
    /// The same with what is swapped out.
    pub committed_bytes: Option<u64>,
    /// Memory in bytes that it may have: that of the machine, or the limit of its control group.
    pub max_memory_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// File descriptors in use.
    pub open_files: Option<u64>,
    /// Most file descriptors that it may use.
    pub max_files: Option<u64>,
    /// Seconds since [`Watch::start`].
    pub uptime_s: f64,
    /// Unix time of the start in seconds.
    pub started_s: f64,
}

/// Looks again and again.
pub struct Watch {
    started: Instant,
    started_s: f64,
    last: Mutex<Option<Look>>,
}

#[derive(Clone, Copy)]
struct Look {
    ticks: Ticks,
    system: Option<f64>,
    process: Option<f64>,
}

/// In clock ticks, all processors together.
#[derive(Clone, Copy)]
struct Ticks {
    busy: u64,
    total: u64,
    process: u64,
}

impl Watch {
    /// Begins now.
    pub fn start() -> Self {
        let last = ticks().map(|ticks| Look { ticks, system: None, process: None });
        let started_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |passed| passed.as_secs_f64());
        Self { started: Instant::now(), started_s, last: Mutex::new(last) }
    }

    /// Looks now. Reads files: not for threads that answer requests.
    pub fn look(&self) -> Figures {
        let (system_cpu, process_cpu) = self.shares(ticks());
        let status = read("/proc/self/status");
        let limits = read("/proc/self/limits");
        let memory_bytes = kib(&status, "VmRSS:");
        Figures {
            system_cpu,
            process_cpu,
            memory_bytes,
            committed_bytes: memory_bytes.map(|bytes| bytes + kib(&status, "VmSwap:").unwrap_or(0)),
            max_memory_bytes: max_memory(&read("/proc/meminfo"), &read("/sys/fs/cgroup/memory.max")),
            threads: field(&status, "Threads:"),
            // Reading the folder takes one itself.
            open_files: fs::read_dir("/proc/self/fd").ok().map(|files| (files.count() as u64).saturating_sub(1)),
            max_files: limits.lines().find_map(|line| line.strip_prefix("Max open files")).and_then(first_number),
            uptime_s: self.started.elapsed().as_secs_f64(),
            started_s: self.started_s,
        }
    }

    fn shares(&self, now: Option<Ticks>) -> (Option<f64>, Option<f64>) {
        let mut last = self.last.lock();
        let Some(now) = now else { return (None, None) };
        let before = *last.get_or_insert(Look { ticks: now, system: None, process: None });
        let passed = now.total.saturating_sub(before.ticks.total);
        if passed < LEAST_TICKS && (passed == 0 || before.system.is_some()) {
            return (before.system, before.process);
        }
        let share = |ticks: u64, earlier: u64| Some((ticks.saturating_sub(earlier) as f64 / passed as f64).min(1.0));
        let system = share(now.busy, before.ticks.busy);
        let process = share(now.process, before.ticks.process);
        *last = Some(Look { ticks: now, system, process });
        (system, process)
    }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn ticks() -> Option<Ticks> {
    let (busy, total) = cpu_times(&read("/proc/stat"))?;
    Some(Ticks { busy, total, process: process_ticks(&read("/proc/self/stat"))? })
}

/// User and system time: the 12th and 13th field behind the name, which ends with the last parenthesis.
fn process_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map_while(|field| field.parse::<u64>().ok());
    Some(times.next()? + times.next()?)
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)).and_then(first_number)
}

fn kib(text: &str, name: &str) -> Option<u64> {
    field(text, name).map(|kib| kib * 1_024)
}

fn max_memory(meminfo: &str, control_group: &str) -> Option<u64> {
    let (machine, group) = (kib(meminfo, "MemTotal:"), first_number(control_group));
    machine.into_iter().chain(group).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_proc_are_read() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194560 1 2 3 4 55 66 8 9 20 0 5 0 100 1 2\n";
        assert_eq!(process_ticks(stat), Some(121));
        assert_eq!(process_ticks("7 (a) S 1"), None);
        assert_eq!(kib("VmPeak:\t 9 kB\nVmRSS:\t   12 kB\n", "VmRSS:"), Some(12_288));
        assert_eq!(max_memory("MemTotal:  4 kB\n", "max\n"), Some(4_096));
        assert_eq!(max_memory("MemTotal:  4 kB\n", "2048\n"), Some(2_048));
        assert_eq!(max_memory("", ""), None);
    }

    #[test]
    fn shares_are_of_the_time_between_two_looks() {
        let watch = Watch { started: Instant::now(), started_s: 0.0, last: Mutex::new(None) };
        let ticks = |busy, total, process| Some(Ticks { busy, total, process });
        assert_eq!(watch.shares(None), (None, None));
        assert_eq!(watch.shares(ticks(100, 1_000, 10)), (None, None));
        assert_eq!(watch.shares(ticks(150, 1_100, 20)), (Some(0.5), Some(0.1)));
        assert_eq!(watch.shares(ticks(151, 1_101, 21)), (Some(0.5), Some(0.1)), "too little has passed");
        assert_eq!(watch.shares(ticks(150, 1_300, 20)), (Some(0.0), Some(0.0)));
    }

    #[test]
    fn this_process_has_figures() {
        let watch = Watch::start();
        let figures = watch.look();
        let max_bytes = figures.max_memory_bytes.unwrap();
        assert!((1 << 20..max_bytes).contains(&figures.memory_bytes.unwrap()), "{figures:?}");
        assert!(figures.committed_bytes >= figures.memory_bytes);
        assert!(
            figures.threads.unwrap() >= 1 && (3..figures.max_files.unwrap()).contains(&figures.open_files.unwrap())
        );
        assert!(figures.started_s > 1.7e9 && (0.0..60.0).contains(&figures.uptime_s));
    }
}
