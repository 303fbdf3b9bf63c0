//! How log files are named, when a file is done with, and which old ones go. Pure: names, sizes and days go in.

use jiff::Span;
use jiff::civil::Date;

/// How much may be kept of one log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// A file is rolled before it is larger, bytes; at half of `total_bytes` at the latest.
    pub file_bytes: u64,
    /// Files older than this many days go; `None`: they stay.
    pub days: Option<u32>,
    /// All files of the log together, the current one included, bytes.
    pub total_bytes: u64,
}

impl Keep {
    /// The size at which a file is rolled.
    pub(super) fn roll_bytes(&self) -> u64 {
        self.file_bytes.min(self.total_bytes / 2).max(1)
    }
}

/// The files of one log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Series {
    name: &'static str,
    /// Whether the current file has the day in its name, as the access log does.
    dated: bool,
}

/// A file that was rolled: its day and which of that day it is.
type Rolled = (Date, u32);

impl Series {
    /// `NAME.log`, rolled to `NAME.log.YYYY-MM-DD.N`.
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, dated: false }
    }

    /// `NAME.YYYY-MM-DD.log`, rolled to `NAME.YYYY-MM-DD.log.N`.
    pub(super) fn dated(name: &'static str) -> Self {
        Self { name, dated: true }
    }

    /// The file that lines of `today` go to.
    pub(super) fn current(&self, today: Date) -> String {
        if self.dated { format!("{}.{today}.log", self.name) } else { format!("{}.log", self.name) }
    }

    /// Whether a file of `day` stands in the way of `today`'s, another day.
    pub(super) fn is_shared(&self, day: Date, today: Date) -> bool {
        day != today && !self.dated
    }

    /// What a file of `day` is renamed to when `names` are there already.
    pub(super) fn next<'n>(&self, day: Date, names: impl Iterator<Item = &'n str>) -> String {
        let numbers =
            names.filter_map(|name| self.rolled(name)).filter(|(of, number)| *of == day && *number < u32::MAX);
        let number = numbers.map(|(_, number)| number + 1).max().unwrap_or(0);
        if self.dated {
            format!("{}.{day}.log.{number}", self.name)
        } else {
            format!("{}.log.{day}.{number}", self.name)
        }
    }

    /// Day and number of a file of this log that gets no more lines once its day is over.
    fn rolled(&self, file: &str) -> Option<Rolled> {
        let rest = file.strip_prefix(self.name)?.strip_prefix('.')?;
        let (day, number) = if self.dated {
            match rest.split_once(".log")? {
                (day, "") => (day, None),
                (day, rest) => (day, Some(rest.strip_prefix('.')?)),
            }
        } else {
            let (day, number) = rest.strip_prefix("log.")?.split_once('.')?;
            (day, Some(number))
        };
        let number = match number {
            None => u32::MAX,
            Some(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok()?,
            Some(_) => return None,
        };
        // Nothing but the form that this writes: what else lies there is not ours to delete.
        Some((day.parse().ok().filter(|date: &Date| date.to_string() == day)?, number))
    }

    /// Which of `files` (names and sizes) have to go on `today`: the older first, never the current one. Room is left for
    /// the current file to grow.
    pub(super) fn doomed(&self, files: &[(String, u64)], today: Date, keep: &Keep) -> Vec<String> {
        let current = self.current(today);
        let mut rolled: Vec<(Rolled, &String, u64)> = files
            .iter()
            .filter(|(name, _)| *name != current)
            .filter_map(|(name, bytes)| Some((self.rolled(name)?, name, *bytes)))
            .collect();
        rolled.sort_unstable();
        let oldest = keep.days.and_then(|days| today.checked_sub(Span::new().try_days(i64::from(days)).ok()?).ok());
        let mut room = keep.total_bytes.saturating_sub(keep.roll_bytes());
        let mut doomed = Vec::new();
        for ((day, _), name, bytes) in rolled.into_iter().rev() {
            let kept = oldest.is_none_or(|oldest| day >= oldest) && bytes <= room;
            room = if kept { room - bytes } else { 0 };
            if !kept {
                doomed.push(name.clone());
            }
        }
        doomed.reverse();
        doomed
    }
}

/// How much of `bytes`, which begins and ends with lines, fits into `room` without cutting one. 0: not even one line.
pub(super) fn whole_lines(bytes: &[u8], room: u64) -> usize {
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    if bytes.len() <= room {
        return bytes.len();
    }
    let fits = bytes.get(..room).unwrap_or_default();
    let mut end = fits.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    // An empty line belongs to the one before it.
    if bytes.get(end) == Some(&b'\n') {
        end =
            fits.get(..end.saturating_sub(1)).and_then(|b| b.iter().rposition(|b| *b == b'\n')).map_or(0, |at| at + 1);
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn doomed(series: &Series, files: &[(&str, u64)], keep: &Keep) -> Vec<String> {
        let files: Vec<(String, u64)> = files.iter().map(|(name, bytes)| ((*name).to_owned(), *bytes)).collect();
        series.doomed(&files, day("2026-11-22"), keep)
    }

    const WIDE: Keep = Keep { file_bytes: 100, days: Some(7), total_bytes: 1_000_000 };

    #[test]
    fn names_are_those_of_the_reference() {
        let (log, access) = (Series::new("naming-event"), Series::dated("access_log"));
        let today = day("2026-11-22");
        assert_eq!(log.current(today), "naming-event.log");
        assert_eq!(access.current(today), "access_log.2026-11-22.log");
        let names =
            ["naming-event.log.2026-11-22.9", "naming-event.log.2026-11-22.10", "naming-event.log.2026-11-21.77"];
        assert_eq!(log.next(today, names.into_iter()), "naming-event.log.2026-11-22.11");
        assert_eq!(log.next(today, [].into_iter()), "naming-event.log.2026-11-22.0");
        let names = ["access_log.2026-11-22.log", "access_log.2026-11-22.log.0"];
        assert_eq!(access.next(today, names.into_iter()), "access_log.2026-11-22.log.1");
    }

    #[test]
    fn files_go_after_their_days() {
        let files = [
            ("nacos.log", 9),
            ("nacos.log.2026-11-14.0", 9),
            ("nacos.log.2026-11-15.0", 9),
            ("nacos.log.2024-02-29.3", 9),
        ];
        let log = Series::new("nacos");
        assert_eq!(doomed(&log, &files, &WIDE), ["nacos.log.2024-02-29.3", "nacos.log.2026-11-14.0"]);
        assert_eq!(doomed(&log, &files, &Keep { days: None, ..WIDE }), [] as [&str; 0]);
        let access =
            [("access_log.2026-11-01.log", 9), ("access_log.2026-11-22.log", 9), ("access_log.2026-11-01.log.4", 9)];
        let gone = doomed(&Series::dated("access_log"), &access, &WIDE);
        assert_eq!(gone, ["access_log.2026-11-01.log.4", "access_log.2026-11-01.log"]);
    }

    #[test]
    fn the_oldest_go_until_all_fits() {
        let keep = Keep { file_bytes: 100, days: None, total_bytes: 300 };
        let files = [
            ("nacos.log", 100),
            ("nacos.log.2026-11-22.10", 100),
            ("nacos.log.2026-11-22.9", 100),
            ("nacos.log.2026-11-22.8", 1),
            ("nacos.log.2026-11-21.0", 100),
        ];
        let log = Series::new("nacos");
        assert_eq!(doomed(&log, &files, &keep), ["nacos.log.2026-11-21.0", "nacos.log.2026-11-22.8"]);
        let narrow = Keep { total_bytes: 150, ..keep };
        assert_eq!(narrow.roll_bytes(), 75);
        assert_eq!(doomed(&log, &files, &narrow).len(), 4);
    }

    #[test]
    fn what_is_not_ours_stays() {
        let files = [
            ("nacos.log.2026-1-1.0", 9),
            ("nacos.log.2026-01-01.x", 9),
            ("nacos.log.2026-01-01.", 9),
            ("nacos.log.2026-01-01", 9),
            ("nacos.log.bak", 9),
            ("nacos.log.2026-01-01.0.gz", 9),
            ("naming-event.log.2026-01-01.0", 9),
            ("nacos2.log.2026-01-01.0", 9),
            ("access_log.2026-01-01.logs", 9),
        ];
        let none = Keep { file_bytes: 1, days: Some(0), total_bytes: 0 };
        for series in [Series::new("nacos"), Series::dated("access_log")] {
            assert_eq!(doomed(&series, &files, &none), [] as [&str; 0]);
        }
    }

    #[test]
    fn files_end_with_whole_lines() {
        assert_eq!(whole_lines(b"ab\ncd\n", 6), 6);
        assert_eq!(whole_lines(b"ab\ncd\n", 5), 3);
        assert_eq!(whole_lines(b"ab\ncd\n", 2), 0);
        assert_eq!(whole_lines(b"ab\n\ncd\n\n", 7), 4);
        assert_eq!(whole_lines(b"ab\n\ncd\n\n", 3), 0);
        assert_eq!(whole_lines(b"ab\n\ncd\n\nef\n\n", 11), 8);
    }
}
