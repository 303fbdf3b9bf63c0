//! Follows `conf/cluster.conf` while the server runs.
//!
//! The system tells of changes in the folder. It does not everywhere (network file systems, exhausted limits, a folder
//! that is replaced), so the file is also read every few seconds; what was read decides, not what the system said.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;

use crate::config::{self, Member};
use crate::error::{Error, Result};

/// Between two looks when the system says nothing.
const POLL: Duration = Duration::from_secs(5);
/// An editor has finished when nothing happens for so long.
const QUIET: Duration = Duration::from_millis(100);
/// What goes on for longer is not waited for.
const LONGEST: Duration = Duration::from_millis(500);

/// What the file says: its members (none when there is no file), or what is wrong with it.
pub(super) type List = Result<Vec<Member>, String>;

/// Tells of every change of `conf`/cluster.conf, which named `known` before, until nobody listens.
///
/// # Errors
/// [`Error::Setup`] when the system refuses a thread.
pub(super) fn follow(conf: PathBuf, known: Vec<Member>) -> Result<mpsc::Receiver<List>> {
    follow_every(conf, known, POLL)
}

fn follow_every(conf: PathBuf, known: Vec<Member>, poll: Duration) -> Result<mpsc::Receiver<List>> {
    let (sender, lists) = mpsc::channel(1);
    let (tell, told) = sync_channel(1);
    let watch = Watch { conf, seen: Ok(known), watching: None, tell, told, complained: false };
    let thread = thread::Builder::new().name("members".into());
    thread.spawn(move || watch.run(&sender, poll)).map_err(|e| Error::Setup(format!("no thread for members: {e}")))?;
    Ok(lists)
}

struct Watch {
    conf: PathBuf,
    seen: List,
    /// The folder that is watched (its device and inode: another one may take its place), and by what.
    watching: Option<((u64, u64), RecommendedWatcher)>,
    tell: SyncSender<()>,
    told: Receiver<()>,
    complained: bool,
}

impl Watch {
    fn run(mut self, lists: &mpsc::Sender<List>, poll: Duration) {
        while !lists.is_closed() {
            self.keep_watching();
            let found = config::read_members(&self.conf.join("cluster.conf"));
            let found = found.map(Option::unwrap_or_default).map_err(|error| error.message().to_owned());
            if found != self.seen {
                self.seen.clone_from(&found);
                if lists.blocking_send(found).is_err() {
                    return;
                }
            }
            if self.told.recv_timeout(poll).is_ok() {
                let end = Instant::now() + LONGEST;
                while Instant::now() < end && self.told.recv_timeout(QUIET).is_ok() {}
            }
        }
    }

    /// Watches the folder as soon as it is there, and again when it is another one.
    fn keep_watching(&mut self) {
        let Ok(folder) = fs::metadata(&self.conf).map(|folder| (folder.dev(), folder.ino())) else {
            self.watching = None;
            return;
        };
        if self.watching.as_ref().is_some_and(|(watched, _)| *watched == folder) {
            return;
        }
        self.watching = None;
        match self.watcher(&self.conf) {
            Ok(watcher) => self.watching = Some((folder, watcher)),
            Err(error) if !self.complained => {
                self.complained = true;
                let (conf, every_s) = (self.conf.display(), POLL.as_secs());
                tracing::warn!("{conf} can't be watched, it is read every {every_s} s instead: {error}");
            }
            Err(_) => {}
        }
    }

    fn watcher(&self, conf: &Path) -> notify::Result<RecommendedWatcher> {
        let tell = self.tell.clone();
        // Any change in the folder: the file may be a link to one beside it.
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_change(event.kind)) {
                // Full: one more look is due anyway.
                let _ = tell.try_send(());
            }
        })?;
        watcher.watch(conf, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    }
}

/// Whether something may have been written: to read the file is an event too.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Duration = Duration::from_secs(3_600);
    const LIMIT: Duration = Duration::from_secs(2);

    fn names(list: List) -> String {
        list.map_or_else(|fault| fault, |list| list.iter().map(Member::to_string).collect::<Vec<_>>().join(" "))
    }

    /// The next list within the time in which a change has to be in effect.
    fn next(lists: &mut mpsc::Receiver<List>) -> Option<String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let next = runtime.block_on(async { tokio::time::timeout(LIMIT, lists.recv()).await });
        next.ok().map(|list| names(list.expect("somebody who reads")))
    }

    #[test]
    fn tells_of_every_way_to_change_the_file_once() {
        let folder = tempfile::tempdir().unwrap();
        let conf = folder.path().join("conf");
        fs::create_dir(&conf).unwrap();
        let file = conf.join("cluster.conf");
        fs::write(&file, "a:1").unwrap();
        let mut lists = follow_every(conf.clone(), Vec::new(), NEVER).unwrap();
        assert_eq!(next(&mut lists).as_deref(), Some("a:1"), "changed between the start and now");
        fs::write(&file, "a:1\nb:2").unwrap();
        assert_eq!(next(&mut lists).as_deref(), Some("a:1 b:2"), "written in place");
        fs::write(conf.join("cluster.conf~"), "c:3").unwrap();
        fs::rename(conf.join("cluster.conf~"), &file).unwrap();
        assert_eq!(next(&mut lists).as_deref(), Some("c:3"), "renamed");
        fs::write(&file, "c:x").unwrap();
        assert!(next(&mut lists).is_some_and(|fault| fault.contains("cluster.conf line 1: c:x must be host:port")));
        fs::write(&file, "# another comment\nc:3").unwrap();
        assert_eq!(next(&mut lists).as_deref(), Some("c:3"), "right again");
        fs::write(&file, "c:3 # the same").unwrap();
        fs::write(conf.join("other"), "d:4").unwrap();
        assert_eq!(next(&mut lists), None, "nothing that matters");
        // As Kubernetes mounts it: a link to a folder that is replaced.
        fs::create_dir(conf.join("..1")).unwrap();
        fs::write(conf.join("..1/cluster.conf"), "d:4").unwrap();
        std::os::unix::fs::symlink("..1", conf.join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/cluster.conf", conf.join("link")).unwrap();
        fs::rename(conf.join("link"), &file).unwrap();
        assert_eq!(next(&mut lists).as_deref(), Some("d:4"), "a link");
        fs::create_dir(conf.join("..2")).unwrap();
        fs::write(conf.join("..2/cluster.conf"), "e:5").unwrap();
        std::os::unix::fs::symlink("..2", conf.join("..next")).unwrap();
        fs::rename(conf.join("..next"), conf.join("..data")).unwrap();
        assert_eq!(next(&mut lists).as_deref(), Some("e:5"), "what it links to is replaced");
        fs::remove_file(&file).unwrap();
        assert_eq!(next(&mut lists).as_deref(), Some(""), "removed");
    }

    #[test]
    fn looks_for_itself_where_the_system_tells_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let conf = folder.path().join("conf");
        let mut lists = follow_every(conf.clone(), Vec::new(), Duration::from_millis(200)).unwrap();
        assert_eq!(next(&mut lists), None, "there is no folder");
        fs::create_dir(&conf).unwrap();
        fs::write(conf.join("cluster.conf"), "a:1").unwrap();
        assert_eq!(next(&mut lists).as_deref(), Some("a:1"));
        fs::rename(&conf, folder.path().join("old")).unwrap();
        assert_eq!(next(&mut lists).as_deref(), Some(""));
        fs::create_dir(&conf).unwrap();
        fs::write(conf.join("cluster.conf"), "b:2").unwrap();
        assert_eq!(next(&mut lists).as_deref(), Some("b:2"), "another folder of that name");
    }
}
