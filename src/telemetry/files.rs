//! The files of one log on the disk. What is rolled and what goes is decided in [`super::roll`].

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::roll::{Keep, Series, whole_lines};

/// One log: the file that grows, and those that were rolled.
pub(super) struct LogFiles {
    dir: PathBuf,
    series: Series,
    keep: Keep,
    current: Option<Current>,
}

struct Current {
    file: File,
    day: Date,
    bytes: u64,
    /// The last write broke off in the middle of a line.
    torn: bool,
}

impl LogFiles {
    /// Touches nothing yet.
    pub(super) fn new(dir: &Path, series: Series, keep: Keep) -> Self {
        Self { dir: dir.to_owned(), series, keep, current: None }
    }

    /// Appends whole lines, rolling before a file gets too large.
    ///
    /// # Errors
    /// What the system says; some of the lines may have been written.
    pub(super) fn append(&mut self, mut lines: &[u8], today: Date) -> io::Result<()> {
        while !lines.is_empty() {
            let roll_bytes = self.keep.roll_bytes();
            let current = self.open(today)?;
            let room = roll_bytes.saturating_sub(current.bytes);
            let mut count = whole_lines(lines, room);
            if count == 0 && current.bytes > 0 {
                self.roll()?;
                continue;
            }
            if count == 0 {
                // One line that is larger than a file may be.
                count = 1 + lines.iter().position(|byte| *byte == b'\n').unwrap_or(lines.len() - 1);
            }
            let (now, rest) = lines.split_at_checked(count).unwrap_or((lines, &[]));
            current.write(now)?;
            lines = rest;
        }
        Ok(())
    }

    /// The file for today, opened if need be.
    fn open(&mut self, today: Date) -> io::Result<&mut Current> {
        if let Some(current) = self.current.as_ref().filter(|current| current.day != today) {
            if self.series.is_shared(current.day, today) {
                self.roll()?;
            }
            self.current = None;
            self.clear(today)?;
        }
        match &mut self.current {
            Some(current) => Ok(current),
            none => {
                fs::create_dir_all(&self.dir)?;
                let path = self.dir.join(self.series.current(today));
                let day = day_of(&path).unwrap_or(today);
                if self.series.is_shared(day, today) {
                    rename(&self.dir, &self.series, &path, day)?;
                }
                let file = File::options().create(true).append(true).open(&path)?;
                let bytes = file.metadata()?.len();
                Ok(none.insert(Current { file, day: today, bytes, torn: false }))
            }
        }
    }

    /// Puts the current file away; the next line opens another.
    fn roll(&mut self) -> io::Result<()> {
        let Some(current) = self.current.take() else { return Ok(()) };
        let path = self.dir.join(self.series.current(current.day));
        rename(&self.dir, &self.series, &path, current.day)?;
        self.clear(current.day)
    }

    /// Removes what is too old or too much.
    pub(super) fn clear(&self, today: Date) -> io::Result<()> {
        let files = match files(&self.dir) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            files => files?,
        };
        for name in self.series.doomed(&files, today, &self.keep) {
            match fs::remove_file(self.dir.join(name)) {
                // Somebody else was faster.
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Lets go of a file that somebody has moved or removed, so that lines don't go where nobody finds them.
    pub(super) fn look(&mut self) {
        let Some(current) = &self.current else { return };
        let path = self.dir.join(self.series.current(current.day));
        let same = fs::metadata(path).and_then(|there| {
            let own = current.file.metadata()?;
            Ok((own.dev(), own.ino(), own.len()) == (there.dev(), there.ino(), there.len())
                && own.len() >= current.bytes)
        });
        if !same.unwrap_or(false) {
            self.current = None;
        }
    }
}

impl Current {
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if std::mem::take(&mut self.torn) {
            self.file.write_all(b"\n").inspect_err(|_| self.torn = true)?;
            self.bytes += 1;
        }
        self.file.write_all(lines).inspect_err(|_| self.torn = true)?;
        self.bytes += lines.len() as u64;
        Ok(())
    }
}

/// The day of the last line of a file that isn't empty.
fn day_of(path: &Path) -> Option<Date> {
    let there = fs::metadata(path).ok().filter(|there| there.len() > 0)?;
    let written = jiff::Timestamp::try_from(there.modified().ok()?).ok()?;
    Some(written.to_zoned(TimeZone::system()).date())
}

fn rename(dir: &Path, series: &Series, path: &Path, day: Date) -> io::Result<()> {
    let files = files(dir)?;
    let next = dir.join(series.next(day, files.iter().map(|(name, _)| name.as_str())));
    match fs::rename(path, next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Names and sizes.
fn files(dir: &Path) -> io::Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if let (Ok(name), Ok(meta)) = (entry.file_name().into_string(), entry.metadata())
            && meta.is_file()
        {
            files.push((name, meta.len()));
        }
    }
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEP: Keep = Keep { file_bytes: 10, days: Some(7), total_bytes: 60 };

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> = files(dir).unwrap().into_iter().map(|(name, _)| name).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn files_roll_by_size_and_the_total_holds() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("logs");
        let mut log = LogFiles::new(&dir, Series::new("nacos"), KEEP);
        let today = jiff::Zoned::now().date();
        for line in ["one\n", "two\n", "three\n", "longer than a file\n", "x\n", "y\n"] {
            log.append(line.as_bytes(), today).unwrap();
        }
        let read = |name: &str| fs::read_to_string(dir.join(name)).unwrap();
        assert_eq!(read("nacos.log"), "x\ny\n");
        assert_eq!(read(&format!("nacos.log.{today}.0")), "one\ntwo\n");
        assert_eq!(read(&format!("nacos.log.{today}.2")), "longer than a file\n");
        for number in 0..100 {
            log.append(format!("{number:08}\n").repeat(3).as_bytes(), today).unwrap();
            let total: u64 = files(&dir).unwrap().iter().map(|(_, bytes)| bytes).sum();
            assert!(total <= KEEP.total_bytes + 9, "{total}");
        }
        assert_eq!(read("nacos.log"), "00000099\n");
    }

    #[test]
    fn files_roll_by_day_and_go_after_days() {
        let home = tempfile::tempdir().unwrap();
        let keep = Keep { file_bytes: 1 << 20, days: Some(2), total_bytes: 1 << 30 };
        for (series, old, gone) in [
            (Series::new("nacos"), "nacos.log.2026-11-20.0", "nacos.log.2026-11-17.0"),
            (Series::dated("access_log"), "access_log.2026-11-20.log", "access_log.2026-11-17.log"),
        ] {
            fs::write(home.path().join(gone), "old\n").unwrap();
            let mut log = LogFiles::new(home.path(), series, keep);
            for text in ["2026-11-20", "2026-11-21", "2026-11-22"] {
                log.append(format!("{text}\n").as_bytes(), day(text)).unwrap();
            }
            log.clear(day("2026-11-22")).unwrap();
            assert!(names(home.path()).contains(&old.to_owned()), "{:?}", names(home.path()));
            assert!(!names(home.path()).contains(&gone.to_owned()));
        }
    }

    #[test]
    fn what_an_earlier_run_left_is_put_away_by_its_own_day() {
        let home = tempfile::tempdir().unwrap();
        let today = jiff::Zoned::now().date();
        fs::write(home.path().join("nacos.log"), "before\n").unwrap();
        let mut log = LogFiles::new(home.path(), Series::new("nacos"), Keep { file_bytes: 1000, ..KEEP });
        log.append(b"again\n", today).unwrap();
        assert_eq!(fs::read_to_string(home.path().join("nacos.log")).unwrap(), "before\nagain\n");
        drop(log);
        let tomorrow = today.tomorrow().unwrap();
        let mut log = LogFiles::new(home.path(), Series::new("nacos"), KEEP);
        log.append(b"new\n", tomorrow).unwrap();
        assert_eq!(names(home.path()), ["nacos.log".to_owned(), format!("nacos.log.{today}.0")]);
    }

    #[test]
    fn a_file_that_was_taken_away_is_made_again() {
        let home = tempfile::tempdir().unwrap();
        let today = day("2026-11-22");
        let mut log = LogFiles::new(home.path(), Series::new("nacos"), Keep { file_bytes: 1000, ..KEEP });
        log.append(b"a\n", today).unwrap();
        log.look();
        log.append(b"b\n", today).unwrap();
        let path = home.path().join("nacos.log");
        assert_eq!(fs::read_to_string(&path).unwrap(), "a\nb\n");
        fs::rename(&path, home.path().join("taken")).unwrap();
        log.look();
        log.append(b"c\n", today).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "c\n");
    }

    #[test]
    fn a_folder_that_cannot_be_is_an_error_each_time() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        let mut log = LogFiles::new(&file, Series::new("nacos"), KEEP);
        assert!(log.append(b"a\n", day("2026-11-22")).is_err());
        fs::remove_file(&file).unwrap();
        log.append(b"a\n", day("2026-11-22")).unwrap();
    }
}
