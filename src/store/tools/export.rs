//! A store as lines of JSON: a header, one row a line in order of keys, a trailer that tells when all of it is there.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Job;
use super::kind::Counts;
use super::line::Line;
use super::reading::{Reading, lock_as_it_is};
use crate::error::{Error, Result};
use crate::store::codec;
use crate::store::folder::sync_dir;

/// The form that is written.
pub(super) const FORMAT: u32 = 1;
/// Between two signs of progress.
const TELL_EVERY: u64 = 1000;

/// The first line.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Header<'a> {
    nacre: &'static str,
    format: u32,
    version: &'static str,
    schema: u8,
    time: String,
    last_alive_ms: Option<u64>,
    rows: u64,
    kinds: &'a Counts,
}

/// What of the first line is looked at when it is read; the rest is for people.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct HeaderRead {
    pub(super) nacre: String,
    pub(super) format: u32,
    pub(super) last_alive_ms: Option<u64>,
    pub(super) rows: u64,
}

/// The last line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trailer {
    pub(super) nacre: String,
    pub(super) rows: u64,
    /// Of all bytes before, as eight hexadecimal digits.
    pub(super) crc32: String,
}

/// What an [`export`] wrote.
#[derive(Debug, Clone)]
pub struct Exported {
    rows: u64,
    to: PathBuf,
    left_out: Option<String>,
}

/// Writes all rows to `to`, or to standard output. A file is there when it is complete and on disk, and only this user can
/// read it: hashes of passwords are in it. Nothing in the data folder changes.
///
/// # Errors
/// As for [`verify()`](super::verify()); [`Error::Storage`] when it can't be written, and when the store is damaged, unless
/// `despite_damage` asks for the sound rows.
pub fn export(job: &Job<'_>, to: Option<&Path>, despite_damage: bool) -> Result<Exported> {
    let lock = lock_as_it_is(&job.dir)?;
    let reading = Reading::open(job, lock)?;
    if !despite_damage {
        reading.must_be_sound()?;
    }
    let rows = match to {
        None => write(&reading, job, &mut io::stdout().lock()),
        Some(path) => write_file(&reading, job, path),
    }?;
    let to = to.map_or_else(|| PathBuf::from("standard output"), Path::to_owned);
    Ok(Exported { rows, to, left_out: reading.report.damage })
}

fn write_file(reading: &Reading, job: &Job<'_>, path: &Path) -> Result<u64> {
    let failed = |error: io::Error| Error::Storage(format!("{} can't be written: {error}", path.display()));
    if fs::metadata(path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
        // A pipe or a device.
        let mut file = File::options().write(true).open(path).map_err(failed)?;
        return write(reading, job, &mut file);
    }
    let mut new: OsString = path.as_os_str().to_owned();
    new.push(".new");
    let new = PathBuf::from(new);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&new).map_err(failed)?;
    let written = write(reading, job, &mut file).and_then(|rows| {
        file.sync_all().and_then(|()| fs::rename(&new, path)).map_err(failed)?;
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_dir(parent.unwrap_or(Path::new("."))).map_err(failed)?;
        Ok(rows)
    });
    if written.is_err() {
        // It is of no use; what matters is the error.
        let _ = fs::remove_file(&new);
    }
    written
}

fn write(reading: &Reading, job: &Job<'_>, to: &mut dyn Write) -> Result<u64> {
    let mut out = Sums { to: BufWriter::new(to), crc: crc32fast::Hasher::new(), line: Vec::new() };
    let rows = reading.report.rows;
    out.line(&Header {
        nacre: "export",
        format: FORMAT,
        version: env!("CARGO_PKG_VERSION"),
        schema: codec::SCHEMA,
        time: Timestamp::now().to_string(),
        last_alive_ms: reading.report.last_alive_ms,
        rows,
        kinds: &reading.counts,
    })?;
    let mut done: u64 = 0;
    reading.each(|_, row| {
        let line = Line::of(&row).ok_or_else(|| Error::Storage("a row that can't be exported".into()))?;
        out.line(&line)?;
        done += 1;
        if done.is_multiple_of(TELL_EVERY) {
            (job.progress)("writing", done, Some(rows));
        }
        Ok(())
    })?;
    let crc32 = format!("{:08x}", out.crc.clone().finalize());
    out.line(&Trailer { nacre: "end".to_owned(), rows, crc32 })?;
    out.to.flush().map_err(unwritten)?;
    Ok(rows)
}

fn unwritten(error: io::Error) -> Error {
    Error::Storage(format!("the export can't be written: {error}"))
}

/// Writes lines and sums them up.
struct Sums<W: Write> {
    to: BufWriter<W>,
    crc: crc32fast::Hasher,
    line: Vec<u8>,
}

impl<W: Write> Sums<W> {
    fn line(&mut self, content: &impl Serialize) -> Result<()> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, content).map_err(|error| unwritten(error.into()))?;
        self.line.push(b'\n');
        self.crc.update(&self.line);
        self.to.write_all(&self.line).map_err(unwritten)
    }
}

impl fmt::Display for Exported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "exported {} rows to {}", self.rows, self.to.display())?;
        self.left_out.iter().try_for_each(|damage| writeln!(f, "damaged rows were left out: {damage}"))
    }
}
