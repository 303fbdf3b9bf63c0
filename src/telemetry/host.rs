//! How busy the machine is, from `/proc` (`spec/operator-api.md` 1.1).

use std::fs;

use parking_lot::Mutex;

/// Load of the machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HostLoad {
    /// Share of CPU time in use since the last look, 0 to 1; `None` at the first look and where it is not known.
    pub cpu: Option<f32>,
    /// Load average over 1 minute; -1 where it is not known.
    pub load: f32,
    /// Used memory, caches included, 0 to 1; 0 where it is not known.
    pub memory: f32,
}

/// Busy and total CPU time at the last look.
static LAST: Mutex<Option<(u64, u64)>> = Mutex::new(None);

/// Looks now.
pub fn read() -> HostLoad {
    let text = |name| fs::read_to_string(format!("/proc/{name}")).unwrap_or_default();
    let now = cpu_times(&text("stat"));
    let mut last = LAST.lock();
    let cpu = now.zip(*last).and_then(|(now, last)| share(last, now));
    *last = now.or(*last);
    drop(last);
    HostLoad { cpu, load: load_average() as f32, memory: used_memory(&text("meminfo")).unwrap_or(0.0) }
}

/// Load average over 1 minute; -1 where it is not known.
pub fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(-1.0)
}

pub(super) fn cpu_times(stat: &str) -> Option<(u64, u64)> {
    let numbers: Vec<u64> = stat.lines().next()?.split_whitespace().skip(1).filter_map(|n| n.parse().ok()).collect();
    let total: u64 = numbers.iter().sum();
    // Fourth and fifth: idle, and idle while waiting for a disk.
    let idle: u64 = numbers.iter().skip(3).take(2).sum();
    Some((total.checked_sub(idle)?, total))
}

fn share((busy_before, total_before): (u64, u64), (busy, total): (u64, u64)) -> Option<f32> {
    let passed = total.checked_sub(total_before).filter(|passed| *passed > 0)?;
    Some((busy.saturating_sub(busy_before) as f32 / passed as f32).clamp(0.0, 1.0))
}

fn used_memory(meminfo: &str) -> Option<f32> {
    let number = |name: &str| {
        let line = meminfo.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    let total = number("MemTotal:").filter(|total| *total > 0)?;
    Some(1.0 - number("MemFree:")? as f32 / total as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_texts_are_read() {
        let before = cpu_times("cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3 4\n");
        let after = cpu_times("cpu  150 0 150 750 150 0 0 0 0 0\n");
        assert_eq!(before, Some((200, 1000)));
        assert_eq!(share(before.unwrap(), after.unwrap()), Some(0.5));
        assert_eq!(share(after.unwrap(), after.unwrap()), None);
        assert_eq!(used_memory("MemTotal:       1000 kB\nMemFree:         250 kB\n"), Some(0.75));
        assert_eq!(used_memory(""), None);
    }
}
