//! The machine that was measured on: what it has, and how fast its disk says that something is there.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::process::number_after;
use crate::tools::record::{Latencies, LatencySummary};
use crate::tools::report::plain;

/// Bytes of an append before its sync.
const APPEND: [u8; 4_096] = [7; 4_096];
const UNKNOWN: &str = "unknown";

/// What was measured on.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Machine {
    /// That this process may use.
    pub(super) cores: usize,
    pub(super) cpu: String,
    pub(super) memory_bytes: u64,
    pub(super) kernel: String,
    /// Of the data folder.
    pub(super) file_system: String,
}

impl Machine {
    /// This one; `folder` is where the data are.
    pub(super) fn with(folder: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let cpu = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(':').map(|(_, name)| plain(name.trim())))
            .unwrap_or_else(|| UNKNOWN.into());
        let kernel = match read("/proc/sys/kernel/osrelease").trim() {
            "" => UNKNOWN.into(),
            release => format!("{} {}", std::env::consts::OS, plain(release)),
        };
        let file_system =
            fs::canonicalize(folder).ok().and_then(|path| file_system(&read("/proc/self/mountinfo"), &path));
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            cpu,
            memory_bytes: number_after(&read("/proc/meminfo"), "MemTotal:").unwrap_or_default() * 1_024,
            kernel,
            file_system: file_system.unwrap_or_else(|| UNKNOWN.into()),
        }
    }

    /// Whether the data folder is in memory, where a sync costs nothing.
    pub(super) fn is_without_disk(&self) -> bool {
        matches!(self.file_system.as_str(), "tmpfs" | "ramfs")
    }
}

/// Kind of the file system that `path` is on, from the text of `/proc/self/mountinfo`.
fn file_system(mounts: &str, path: &Path) -> Option<String> {
    let mounted = mounts.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let point = PathBuf::from(left.split(' ').nth(4)?.replace("\\040", " "));
        path.starts_with(&point).then(|| (point.components().count(), right.split(' ').next().unwrap_or_default()))
    });
    // Of two mounts at one point the later one is seen.
    mounted.max_by_key(|(depth, _)| *depth).map(|(_, kind)| plain(kind))
}

/// Times of `count` syncs (fdatasync), each after an append of 4 KiB to a file in `folder`.
pub(super) fn syncs(folder: &Path, count: usize) -> io::Result<LatencySummary> {
    let path = folder.join("syncs");
    let mut all = Latencies::new();
    fdatasync_times(&path, count)?.into_iter().for_each(|time| all.add(time));
    fs::remove_file(path)?;
    Ok(all.summary())
}

/// Times of `count` syncs (fdatasync), each after an append of 4 KiB to `file`, which is made and stays.
///
/// # Errors
/// Whatever the file system says.
pub fn fdatasync_times(file: &Path, count: usize) -> io::Result<Vec<Duration>> {
    let mut file = File::create(file)?;
    let mut times = Vec::with_capacity(count);
    for _ in 0..count {
        file.write_all(&APPEND)?;
        let start = Instant::now();
        file.sync_data()?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// What the files below `folder` have in all: their length, and what they take on the disk.
pub fn disk_bytes(folder: &Path) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt as _;
    let (mut length, mut taken) = (0, 0);
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        // What goes meanwhile is not there.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(data) = entry.metadata() else { continue };
            if data.is_dir() {
                open.push(entry.path());
            }
            length += if data.is_file() { data.len() } else { 0 };
            taken += data.blocks() * 512;
        }
    }
    (length, taken)
}

/// A folder of our own, which goes with everything in it when this is dropped.
#[derive(Debug)]
pub(super) struct Folder(PathBuf);

impl Folder {
    /// A new one in `place`.
    pub(super) fn new(place: &Path) -> io::Result<Self> {
        let nanos = Duration::from_nanos(u64::from(jiff::Timestamp::now().subsec_nanosecond().unsigned_abs()));
        let path = place.join(format!("nacre-bench-{}-{}", std::process::id(), nanos.as_micros()));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_system_is_that_of_the_deepest_mount() {
        let mounts = "1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 0:2 / /tmp rw,x shared:1 - tmpfs tmpfs rw\n\
                      3 1 0:2 / /a\\040b rw - xfs /dev/b rw\nrubbish\n";
        for (path, kind) in [("/data", "ext4"), ("/tmp/x", "tmpfs"), ("/tmpx", "ext4"), ("/a b/c", "xfs")] {
            assert_eq!(file_system(mounts, Path::new(path)).as_deref(), Some(kind), "{path}");
        }
        assert_eq!(file_system("", Path::new("/")), None);
    }

    #[test]
    fn a_folder_goes_with_what_is_in_it() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::new(place.path()).unwrap();
        fs::create_dir(folder.path().join("a")).unwrap();
        fs::write(folder.path().join("a/b"), [1; 10_000]).unwrap();
        let (length, taken) = disk_bytes(folder.path());
        assert_eq!(length, 10_000);
        assert!(taken >= 4_096 || taken == 0, "{taken}");
        assert!(syncs(folder.path(), 3).unwrap().max_ms > 0.0);
        drop(folder);
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
