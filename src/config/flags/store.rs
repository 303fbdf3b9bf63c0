//! What `nacre store` is told on its command line.

use std::path::PathBuf;

/// Examples below the help of `nacre store`.
const EXAMPLES: &str = "\
All of them work on the data of a stopped server and are refused while one runs. inspect, verify and export change
nothing: they look into a copy, which needs as much room in the folder for temporary files (or --scratch DIR).

Examples:
  nacre store inspect data                     what is in it
  nacre store verify --home /srv/nacre         every check of a start, with the place of each damage; 1 if damaged
  nacre store export data - | gzip > all.gz    all rows as lines of JSON, with hashes of passwords: keep it safe
  zcat all.gz | nacre store import new-data -  into an empty folder; all of it or nothing
  nacre store import new-data /srv/nacos/data/naming    persistent data of a Nacos 1.x server
  nacre store compact data                     rewrite the file without what no longer counts

Exit codes: 0 done, or sound; 1 damaged, in use, or failed (one line says why); 2 wrong usage";

/// Look at, check and move the data of a stopped server
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct StoreFlags {
    /// What to do.
    #[command(subcommand)]
    pub command: StoreCommand,
}

/// What `nacre store` can do.
#[derive(Debug, Clone, PartialEq, Eq, clap::Subcommand)]
pub enum StoreCommand {
    /// Show what is in a store: counts, sizes, schema, last batch, when it was last alive
    Inspect {
        /// Data folder
        dir: Option<PathBuf>,
        /// Where.
        #[command(flatten)]
        place: Place,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Check everything that a start checks; exit code 1 on damage. Changes nothing: a copy is opened
    Verify {
        /// Data folder
        dir: Option<PathBuf>,
        /// Where.
        #[command(flatten)]
        place: Place,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Write all rows as lines of JSON. Hashes of passwords are among them: a file is made readable for its owner only
    Export {
        /// Data folder (not with --home), then a file or - for standard output [default: -]
        #[arg(value_name = "DIR [FILE]", num_args = 0..=2)]
        paths: Vec<PathBuf>,
        /// Where.
        #[command(flatten)]
        place: Place,
        /// Export what is sound of a damaged store
        #[arg(long)]
        despite_damage: bool,
    },
    /// Read an export, or the data/naming folder of a Nacos server, into an empty data folder: all of it or nothing
    Import {
        /// Data folder (not with --home), then a file, - for standard input, or a folder of Nacos
        #[arg(value_name = "DIR FROM", num_args = 1..=2, required = true)]
        paths: Vec<PathBuf>,
        /// Where.
        #[command(flatten)]
        place: Place,
        /// Into what is there already; rows of the same names are replaced
        #[arg(long)]
        merge: bool,
    },
    /// Rewrite the store, so that its file holds only what lives
    Compact {
        /// Data folder
        dir: Option<PathBuf>,
        /// Where.
        #[command(flatten)]
        place: Place,
    },
}

/// Where the data are, and where copies go.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args)]
pub struct Place {
    /// Work on the data folder of the server with this home, instead of DIR
    #[arg(long, value_name = "DIR")]
    pub home: Option<PathBuf>,
    /// Folder for the copy that is looked into [default: that for temporary files]
    #[arg(long, value_name = "DIR")]
    pub scratch: Option<PathBuf>,
}

impl StoreCommand {
    /// Where, the data folder as it was given, and the file or folder besides, `-` left out.
    ///
    /// # Errors
    /// What is missing or too much.
    pub fn paths(&self) -> Result<(&Place, Option<PathBuf>, Option<PathBuf>), String> {
        let (place, mut given, others) = match self {
            StoreCommand::Inspect { dir, place, .. }
            | StoreCommand::Verify { dir, place, .. }
            | StoreCommand::Compact { dir, place } => (place, dir.iter().cloned().collect(), 0),
            StoreCommand::Export { paths, place, .. } | StoreCommand::Import { paths, place, .. } => {
                (place, paths.clone(), 1)
            }
        };
        let dir = match &place.home {
            None if given.is_empty() => return Err("name the data folder, or --home".to_owned()),
            None => Some(given.remove(0)),
            Some(_) => None,
        };
        if given.len() > others {
            return Err("--home says where the data are: name no data folder".to_owned());
        }
        if given.is_empty() && matches!(self, StoreCommand::Import { .. }) {
            return Err("name what to import: a file, - for standard input, or a folder of Nacos".to_owned());
        }
        Ok((place, dir, given.pop().filter(|path| path.as_os_str() != "-")))
    }
}
