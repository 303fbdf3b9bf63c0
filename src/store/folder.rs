//! The data folder.
//!
//! | name | what |
//! |---|---|
//! | `lock` | locked while a process uses the folder; holds its id |
//! | `CURRENT` | one line: the name of the generation in use |
//! | `store-NNNNNN/` | a generation: one sled database |
//! | `sidecar` | see [`super::sidecar`] |
//! | `damaged-<UTC time>-store-NNNNNN[-N]/` | a generation that was moved aside; never deleted by the store |
//!
//! `CURRENT` changes only after the generation it is to name is on disk, so at every moment it names a complete one.
//! Other generations are leftovers of an interrupted swap and are removed at the next open. A generation found
//! damaged is marked (a file `DAMAGED` in it) before it is replaced, so that it is never taken for a leftover.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
};

use jiff::Timestamp;

use crate::error::{Error, Result};

const CURRENT: &str = "CURRENT";
const CURRENT_NEW: &str = "CURRENT.new";
const GENERATION: &str = "store-";
const DAMAGED: &str = "DAMAGED";

/// What `CURRENT` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Current {
    Missing,
    Unreadable,
    Names(u64),
}

/// A data folder.
#[derive(Debug, Clone)]
pub(super) struct Folder {
    dir: PathBuf,
}

impl Folder {
    /// The folder `dir`, created if missing.
    pub(super) fn create(dir: &Path) -> Result<Self> {
        let unusable = |error| Error::Setup(format!("the data folder {} can't be used: {error}", dir.display()));
        fs::create_dir_all(dir).map_err(unusable)?;
        fs::read_dir(dir).map_err(unusable)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// The folder `dir` as it is.
    pub(super) fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Its path.
    pub(super) fn path(&self) -> &Path {
        &self.dir
    }

    /// Path of the sidecar.
    pub(super) fn sidecar(&self) -> PathBuf {
        self.dir.join("sidecar")
    }

    /// Name of a generation.
    pub(super) fn name(generation: u64) -> String {
        format!("{GENERATION}{generation:06}")
    }

    /// Path of a generation.
    pub(super) fn generation(&self, generation: u64) -> PathBuf {
        self.dir.join(Self::name(generation))
    }

    /// All generations, ascending.
    pub(super) fn generations(&self) -> Result<Vec<u64>> {
        let mut found: Vec<u64> = fs::read_dir(&self.dir)
            .map_err(|error| Error::Setup(format!("the data folder {} can't be read: {error}", self.dir.display())))?
            .filter_map(|entry| parse(entry.ok()?.file_name().to_str()?))
            .collect();
        found.sort_unstable();
        Ok(found)
    }

    /// A number above those of all generations, present and moved aside.
    pub(super) fn next_generation(&self) -> Result<u64> {
        Ok(self.generations()?.last().copied().unwrap_or(0) + 1)
    }

    /// Reads `CURRENT`.
    pub(super) fn current(&self) -> Current {
        match fs::read_to_string(self.dir.join(CURRENT)) {
            Ok(text) => text.strip_suffix('\n').and_then(parse).map_or(Current::Unreadable, Current::Names),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Current::Missing,
            Err(_) => Current::Unreadable,
        }
    }

    /// Makes `generation` the one in use, durably.
    pub(super) fn set_current(&self, generation: u64) -> io::Result<()> {
        let new = self.dir.join(CURRENT_NEW);
        let mut file = File::create(&new)?;
        writeln!(file, "{}", Self::name(generation))?;
        file.sync_all()?;
        fs::rename(&new, self.dir.join(CURRENT))?;
        #[cfg(test)]
        if let Ok(why) = fs::read_to_string(self.dir.join("refuse-current")) {
            return Err(io::Error::other(why));
        }
        sync_dir(&self.dir)
    }

    /// Marks a generation as damaged, durably.
    pub(super) fn mark_damaged(&self, generation: u64, why: &str) -> io::Result<()> {
        let dir = self.generation(generation);
        let mut file = File::create(dir.join(DAMAGED))?;
        writeln!(file, "{why}")?;
        file.sync_all()?;
        sync_dir(&dir)
    }

    /// Moves a generation aside under a dated name, and says where it is now.
    pub(super) fn move_aside(&self, generation: u64, wall_now_ms: u64) -> io::Result<PathBuf> {
        let base = format!("damaged-{}-{}", utc(wall_now_ms), Self::name(generation));
        let mut aside = self.dir.join(&base);
        let mut more = 1;
        while aside.exists() {
            more += 1;
            aside = self.dir.join(format!("{base}-{more}"));
        }
        fs::rename(self.generation(generation), &aside)?;
        sync_dir(&self.dir)?;
        Ok(aside)
    }

    /// Clears away every generation but `current`, and says which of them had been found damaged before. To be called
    /// when `CURRENT` is known to be right.
    pub(super) fn clear_leftovers(&self, current: u64, wall_now_ms: u64) -> Vec<Damaged> {
        let leftovers = self.generations().unwrap_or_default().into_iter().filter(|generation| *generation != current);
        leftovers.filter_map(|generation| self.retire(generation, wall_now_ms)).collect()
    }

    /// Clears away a generation that is not in use: one marked as damaged is moved aside, any other removed.
    pub(super) fn retire(&self, generation: u64, wall_now_ms: u64) -> Option<Damaged> {
        let name = Self::name(generation);
        let unable = |error: &io::Error| tracing::warn!("{name} is no longer in use but stays: {error}");
        let Ok(why) = fs::read_to_string(self.generation(generation).join(DAMAGED)) else {
            match fs::remove_dir_all(self.generation(generation)) {
                Ok(()) => tracing::info!("{name} is no longer in use and was removed"),
                Err(error) => unable(&error),
            }
            return None;
        };
        let aside = self.move_aside(generation, wall_now_ms).inspect_err(unable).ok();
        Some(Damaged { why: format!("{name}: {}", why.trim_end()), aside })
    }
}

/// A generation that an earlier start found damaged.
#[derive(Debug)]
pub(super) struct Damaged {
    /// Its name and what was found.
    pub(super) why: String,
    /// Where it is now.
    pub(super) aside: Option<PathBuf>,
}

fn parse(name: &str) -> Option<u64> {
    let digits = name.strip_prefix(GENERATION)?;
    (digits.len() >= 6 && digits.bytes().all(|b| b.is_ascii_digit())).then(|| digits.parse().ok())?
}

/// Makes the names in `dir` durable.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

pub(super) fn utc(wall_ms: u64) -> String {
    i64::try_from(wall_ms)
        .ok()
        .and_then(|ms| Timestamp::from_millisecond(ms).ok())
        .map_or_else(|| wall_ms.to_string(), |at| at.strftime("%Y%m%dT%H%M%SZ").to_string())
}
