//! One process at a time in a data folder.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Write},
    path::Path,
};

use crate::error::{Error, Result};

/// The lock on a data folder, held until dropped; the system drops it with the process.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing alone would leave it to a child process that is just being started and still shares the handle.
        let _ = self.0.unlock();
    }
}

impl Lock {
    /// Takes the lock of `dir` without changing anything in it; `None` when no process ever took it.
    ///
    /// # Errors
    /// As for [`take`](Self::take).
    pub(super) fn take_as_it_is(dir: &Path) -> Result<Option<Self>> {
        let path = dir.join("lock");
        match File::open(&path) {
            Ok(file) => Self::hold(file, dir).map(|file| Some(Self(file))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::Setup(format!("the data folder {} can't be used: {error}", dir.display()))),
        }
    }

    /// Takes the lock of `dir`, or says which process has it.
    pub(super) fn take(dir: &Path) -> Result<Self> {
        let path = dir.join("lock");
        let unusable = |error| Error::Setup(format!("the data folder {} can't be used: {error}", dir.display()));
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(unusable)?;
        let mut file = Self::hold(file, dir)?;
        file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(unusable)?;
        Ok(Self(file))
    }

    fn hold(mut file: File, dir: &Path) -> Result<File> {
        let unusable = |error| Error::Setup(format!("the data folder {} can't be used: {error}", dir.display()));
        match file.try_lock() {
            Ok(()) => Ok(file),
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                // Only for the message, which does without as well.
                let _ = (&mut file).take(20).read_to_string(&mut pid);
                let holder = if pid.trim().is_empty() { String::new() } else { format!(" (process {})", pid.trim()) };
                Err(Error::Setup(format!("the data folder {} is in use by another process{holder}", dir.display())))
            }
            Err(TryLockError::Error(error)) => Err(unusable(error)),
        }
    }
}
