//! What can be done with the data of a stopped server: look ([`inspect()`]), check ([`verify()`]), take out
//! ([`export()`]), put in ([`import()`]) and rewrite ([`compact()`]).
//!
//! Whoever only reads changes nothing: the engine writes into what it opens, so a copy is opened, in a scratch folder that
//! is removed afterwards, and by the very code that a start runs. So nothing that a start would report can be missed. What
//! is written goes to a fresh generation that takes the place of the old one when it is complete and on disk.
//!
//! All of it takes the lock of the data folder, and is refused while a server has it.

mod compact;
mod export;
mod import;
mod inspect;
mod kind;
mod line;
pub(in crate::store) mod log;
mod nacos;
mod reading;
mod rewrite;
mod verify;

use std::fmt;
use std::path::PathBuf;

pub use compact::{Compacted, compact};
pub use export::{Exported, export};
pub use import::{Imported, import};
pub use inspect::{Inspection, inspect};
pub use verify::{Verdict, verify};

/// What to work on.
pub struct Job<'a> {
    /// The data folder.
    pub dir: PathBuf,
    /// Where copies are made: room for the size of the store. `None` for the system's folder for temporary files.
    pub scratch: Option<PathBuf>,
    /// Is told what is being done, how much of it is done, and of how much.
    pub progress: &'a (dyn Fn(&str, u64, Option<u64>) + Sync),
}

/// A size for people.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = ["KiB", "MiB", "GiB", "TiB"];
        let (mut size, mut unit) = (self.0 as f64, "bytes");
        for larger in units {
            if size < 1024.0 {
                break;
            }
            (size, unit) = (size / 1024.0, larger);
        }
        if unit == "bytes" { write!(f, "{} bytes", self.0) } else { write!(f, "{size:.1} {unit}") }
    }
}
