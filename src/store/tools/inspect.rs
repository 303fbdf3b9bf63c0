//! What is in a store.

use std::fmt;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::Serialize;

use super::kind::Counts;
use super::reading::{Reading, bytes_of, lock_as_it_is};
use super::{Bytes, Job};
use crate::error::Result;
use crate::store::folder::{Current, Folder};
use crate::store::sidecar::Found;

/// What [`inspect`] found; prints as text for people.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Inspection {
    dir: PathBuf,
    /// Of the generation in use.
    schema: Option<u8>,
    generations: Vec<Generation>,
    rows: u64,
    /// Of keys and values.
    live_bytes: u64,
    kinds: Counts,
    services: u64,
    namespaces: u64,
    /// Number of the last batch; `None` when that can't be read.
    sequence: Option<u64>,
    sidecar: SidecarSays,
    last_alive: Option<Time>,
    not_in_use_for_ms: Option<u64>,
    /// What a start would report.
    damage: Vec<String>,
    aside: Vec<Aside>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Generation {
    name: String,
    bytes: u64,
    /// Others are what an interrupted swap has left.
    in_use: bool,
}

/// What the record beside the store says of its last batches.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase", tag = "state")]
enum SidecarSays {
    Missing,
    Unreadable,
    /// It tells of the last batch.
    #[serde(rename_all = "camelCase")]
    Agrees {
        generation: u64,
        sequence: u64,
        rows: u64,
    },
    /// It is written after the store, and power was lost in between.
    #[serde(rename_all = "camelCase")]
    Behind {
        generation: u64,
        sequence: u64,
        rows: u64,
    },
    /// Acknowledged batches are missing from the store.
    #[serde(rename_all = "camelCase")]
    Ahead {
        generation: u64,
        sequence: u64,
        rows: u64,
    },
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Aside {
    name: String,
    bytes: u64,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Time {
    unix_ms: u64,
    utc: String,
}

/// Looks into the store without changing anything.
///
/// # Errors
/// [`Error::Setup`](crate::error::Error::Setup): there is no store, a server uses it, or it is of a later version.
pub fn inspect(job: &Job<'_>) -> Result<Inspection> {
    let lock = lock_as_it_is(&job.dir)?;
    let reading = Reading::open(job, lock)?;
    let folder = Folder::at(&job.dir);
    let generations = folder.generations()?.into_iter().map(|generation| Generation {
        name: Folder::name(generation),
        bytes: bytes_of(&folder.generation(generation)),
        in_use: reading.current == Current::Names(generation),
    });
    let report = &reading.report;
    // A damaged store was rewritten in the copy, under a number of its own.
    let sequence = reading.recovered.details.sequence;
    let sidecar = match reading.sidecar {
        Found::Missing => SidecarSays::Missing,
        Found::Unreadable => SidecarSays::Unreadable,
        Found::Record(side) => {
            let (generation, rows) = (side.generation, side.rows);
            match side.sequence {
                at if Some(at) > sequence => SidecarSays::Ahead { generation, sequence: at, rows },
                at if Some(at) < sequence => SidecarSays::Behind { generation, sequence: at, rows },
                at => SidecarSays::Agrees { generation, sequence: at, rows },
            }
        }
    };
    let time = |unix_ms: u64| {
        let utc = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
        Time { unix_ms, utc: utc.map_or_else(|| unix_ms.to_string(), |utc| utc.to_string()) }
    };
    Ok(Inspection {
        dir: job.dir.clone(),
        schema: reading.recovered.details.schema,
        generations: generations.collect(),
        rows: report.rows,
        live_bytes: report.bytes,
        kinds: reading.counts.clone(),
        services: reading.services,
        namespaces: reading.namespaces,
        sequence,
        sidecar,
        last_alive: report.last_alive_ms.map(time),
        not_in_use_for_ms: report.downtime_ms,
        damage: reading.recovered.details.damage.clone(),
        aside: aside(job),
    })
}

/// What starts have put aside.
fn aside(job: &Job<'_>) -> Vec<Aside> {
    let entries = std::fs::read_dir(&job.dir).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<_> = entries
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .filter(|(name, _)| name.starts_with("damaged-"))
        .map(|(name, path)| Aside { name, bytes: bytes_of(&path) })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}

impl fmt::Display for Inspection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "data folder  {}", self.dir.display())?;
        let schema = self.schema.map_or_else(|| "not readable".to_owned(), |schema| schema.to_string());
        writeln!(f, "schema       {schema}")?;
        for Generation { name, bytes, in_use } in &self.generations {
            let state = if *in_use { "in use" } else { "left behind, the next start clears it away" };
            writeln!(f, "generation   {name}: {} ({state})", Bytes(*bytes))?;
        }
        writeln!(f, "live rows    {} in {} rows", Bytes(self.live_bytes), self.rows)?;
        let sidecar = match &self.sidecar {
            SidecarSays::Missing => "its sidecar is missing".to_owned(),
            SidecarSays::Unreadable => "its sidecar is unreadable".to_owned(),
            SidecarSays::Agrees { .. } => "the sidecar says the same".to_owned(),
            SidecarSays::Behind { sequence, .. } => format!("the sidecar is behind, at {sequence}: power was lost"),
            SidecarSays::Ahead { sequence, rows, .. } => format!("the sidecar knows batch {sequence} with {rows} rows"),
        };
        let sequence = self.sequence.map_or_else(|| "not readable".to_owned(), |sequence| sequence.to_string());
        writeln!(f, "last batch   {sequence}; {sidecar}")?;
        if let Some(Time { utc, .. }) = &self.last_alive {
            writeln!(f, "last alive   {utc} ({} s ago)", self.not_in_use_for_ms.unwrap_or_default() / 1000)?;
        }
        for damage in &self.damage {
            writeln!(f, "damage       {damage}")?;
        }
        for Aside { name, bytes } in &self.aside {
            writeln!(f, "put aside    {name}: {}", Bytes(*bytes))?;
        }
        writeln!(f, "holds        {} services in {} namespaces", self.services, self.namespaces)?;
        self.kinds.iter().try_for_each(|(kind, rows)| writeln!(f, "             {rows} {}", kind.name()))
    }
}
