//! Puts the rows of an [`export`](super::export()), or the persistent data of a real Nacos, into a store.

use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::export::{FORMAT, HeaderRead, Trailer};
use super::kind::{Counts, count};
use super::line::Line;
use super::reading::{Reading, is_empty, wall_now_ms};
use super::rewrite::{Rewrite, make_empty};
use super::{Job, nacos};
use crate::error::{Error, Result};
use crate::model::Row;
use crate::model::settings::{Setting, SettingKey};
use crate::store::folder::Folder;
use crate::store::index::Index;
use crate::store::key;
use crate::store::lock::Lock;

/// No line is longer: a row has at most 64 KiB, which JSON may need to write six times as long.
const MAX_LINE_BYTES: u64 = 1 << 20;
/// Weights of instances (`spec/instance-api.md` 2).
const MAX_WEIGHT: f64 = 10_000.0;
/// Between two signs of progress.
const TELL_EVERY: u64 = 1000;

/// What an [`import`] did.
#[derive(Debug, Clone)]
pub struct Imported {
    from: PathBuf,
    kinds: Counts,
    /// All that is there now.
    rows: u64,
}

/// Puts in what `from` holds: an export (a file, or `None` for standard input), or the folder `data/naming` of a Nacos
/// server. Into an empty data folder, or with `merge` to what is there, whose rows of the same names are replaced (in a member of a
/// cluster only those of ephemeral instances last). Every
/// row is checked; all come in, or nothing changes.
///
/// # Errors
/// [`Error::Setup`]: the folder is in use, or not empty without `merge`. [`Error::Input`] with the place of what is wrong
/// in `from`. [`Error::Storage`]: there is no room, or what is there is damaged.
pub fn import(job: &Job<'_>, from: Option<&Path>, merge: bool) -> Result<Imported> {
    let folder = Folder::create(&job.dir)?;
    let mut lock = Some(Lock::take(folder.path())?);
    let dir = job.dir.display();
    let base = if is_empty(&job.dir)? {
        make_empty(&job.dir)?;
        None
    } else {
        let reading = Reading::open(job, lock.take())?;
        reading.must_be_sound()?;
        if reading.report.rows > 0 && !merge {
            let text = format!("there is a store in {dir} already: import into an empty folder or --merge");
            return Err(Error::Setup(text));
        }
        Some(reading)
    };
    let before = base.as_ref().map_or(0, |base| base.report.sequence);
    let mut target =
        Target { rewrite: Rewrite::begin(&job.dir, before + 1)?, seen: Index::default(), kinds: Counts::new(), job };
    if let Some(base) = &base {
        target.rewrite.copy(base, |rows| (job.progress)("copying rows", rows, Some(base.report.rows)))?;
    }
    let alive_ms = match from {
        Some(path) if path.is_dir() => {
            nacos::read(path, &mut |row, place| target.take(&row, place))?;
            None
        }
        Some(path) => {
            let unreadable = |error| Error::Input(format!("{} can't be read: {error}", path.display()));
            read_export(&mut BufReader::new(File::open(path).map_err(unreadable)?), &mut target)?
        }
        None => read_export(&mut io::stdin().lock(), &mut target)?,
    };
    if base.is_some() {
        target.disagree()?;
    }
    let kept_ms =
        base.as_ref().filter(|base| base.report.rows > 0).map(|base| base.report.last_alive_ms.unwrap_or_default());
    let last_alive_ms = kept_ms.or(alive_ms).unwrap_or_else(wall_now_ms);
    let written = target.rewrite.finish(last_alive_ms)?;
    let from = from.map_or_else(|| PathBuf::from("standard input"), Path::to_owned);
    drop((base, lock));
    Ok(Imported { from, kinds: target.kinds, rows: written.rows })
}

/// Where rows go that have been checked.
struct Target<'a, 'j> {
    rewrite: Rewrite,
    /// Rows that came in.
    seen: Index,
    kinds: Counts,
    job: &'a Job<'j>,
}

impl Target<'_, '_> {
    /// Rows that came to those of a member of a cluster are nothing that the others have agreed on: at its next start it takes
    /// back from its snapshot and its log what is.
    fn disagree(&mut self) -> Result<()> {
        let position = Row::Setting(SettingKey::Agreed, Some(Arc::new(Setting::Agreed("merged".into()))));
        if self.rewrite.has(&position) { self.rewrite.put(&position) } else { Ok(()) }
    }

    /// `place` says where the row stands.
    fn take(&mut self, row: &Row, place: &dyn fmt::Display) -> Result<()> {
        let wrong = |what: &str| Error::Input(format!("{place}: {what}"));
        check(row).map_err(wrong)?;
        let key = key::encode(row);
        let entry = self.seen.hasher().entry(&key, 0, Some(0));
        if self.seen.position(entry.hash()).is_some() {
            return Err(wrong("the same row stands here twice"));
        }
        self.seen.put(entry);
        count(&mut self.kinds, row);
        let rows = self.seen.sums().rows;
        if rows.is_multiple_of(TELL_EVERY) {
            (self.job.progress)("importing rows", rows, None);
        }
        self.rewrite.put(row).map_err(|error| match error {
            Error::Limit(text) => wrong(&text),
            other => other,
        })
    }
}

/// What the types don't say about a row.
fn check(row: &Row) -> Result<(), &'static str> {
    match row {
        Row::Instance(_, Some(instance)) if !(0.0..=MAX_WEIGHT).contains(&instance.weight) => {
            Err("a weight has to be from 0 to 10000")
        }
        Row::Service(_, Some(settings)) if !settings.protect_threshold.is_finite() => Err("the threshold is no number"),
        Row::Setting(key, Some(setting)) if !setting.fits(key) => Err("a setting under the key of another"),
        Row::Instance(..) | Row::Service(..) | Row::Cluster(..) | Row::Setting(..) | Row::Subscription(..) => Ok(()),
    }
}

/// Reads an export; answers when its store was last alive.
fn read_export(from: &mut dyn BufRead, target: &mut Target<'_, '_>) -> Result<Option<u64>> {
    let (mut line, mut number, mut crc) = (Vec::new(), 1_u64, crc32fast::Hasher::new());
    let wrong = |number: u64, what: &dyn fmt::Display| Error::Input(format!("line {number}: {what}"));
    read_line(from, &mut line).map_err(|error| wrong(1, &error))?;
    let header: Option<HeaderRead> = serde_json::from_slice(&line).ok();
    let header = header.filter(|header| header.nacre == "export");
    let header = header.ok_or_else(|| wrong(1, &"not the first line of an export"))?;
    if header.format != FORMAT {
        let text = format!("an export of format {}, and this version reads {FORMAT}", header.format);
        return Err(wrong(1, &text));
    }
    crc.update(&line);
    for _ in 0..header.rows {
        number += 1;
        read_line(from, &mut line).map_err(|error| wrong(number, &error))?;
        let row: Line<'_> = serde_json::from_slice(&line).map_err(|error| wrong(number, &short(&error)))?;
        target.take(&row.into_row(), &format_args!("line {number}"))?;
        crc.update(&line);
    }
    number += 1;
    read_line(from, &mut line).map_err(|error| wrong(number, &error))?;
    let trailer: Trailer =
        serde_json::from_slice(&line).map_err(|_| wrong(number, &"not the last line, which should be here"))?;
    let sum = format!("{:08x}", crc.finalize());
    if trailer.nacre != "end" || trailer.rows != header.rows || trailer.crc32 != sum {
        let text = format!("what was read is not what was written (checksum {sum}); was it edited?");
        return Err(wrong(number, &text));
    }
    let rest = from.fill_buf().map_err(|error| wrong(number, &error))?;
    if !rest.is_empty() {
        return Err(wrong(number + 1, &"something follows the last line"));
    }
    Ok(header.last_alive_ms)
}

/// Without the place in the line's own numbering of lines.
fn short(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.rsplit_once(" at line ").map_or(text.clone(), |(text, _)| text.to_owned())
}

fn read_line(from: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<()> {
    line.clear();
    from.take(MAX_LINE_BYTES).read_until(b'\n', line)?;
    match line.last() {
        Some(b'\n') => Ok(()),
        _ if line.len() as u64 >= MAX_LINE_BYTES => Err(io::Error::other("longer than any line of an export")),
        _ => Err(io::Error::other("the export ends before its last line")),
    }
}

impl fmt::Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let came: u64 = self.kinds.values().sum();
        writeln!(f, "imported {came} rows from {}, the store has {} now", self.from.display(), self.rows)?;
        self.kinds.iter().try_for_each(|(kind, rows)| writeln!(f, "  {rows} {}", kind.name()))
    }
}
