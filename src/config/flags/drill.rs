//! Flags of `nacre drill`.

use std::path::PathBuf;
use std::time::Duration;

use super::span::span;
use super::target::TargetFlags;

/// Flags of `nacre drill`. Numbers are within their limits; what they mean together, the tool checks.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub struct DrillFlags {
    /// Which server, and who asks.
    #[command(flatten)]
    pub target: TargetFlags,
    /// Command (for sh) that starts the server; it may stay in the foreground
    #[arg(long, value_name = "CMD")]
    pub start: String,
    /// Command (for sh) that stops the server [default: a signal]
    #[arg(long, value_name = "CMD", conflicts_with = "kill")]
    pub stop: Option<String>,
    /// Signal that stops the server: KILL, TERM, INT, QUIT, HUP or ABRT
    #[arg(long, value_name = "SIGNAL", default_value = "KILL")]
    pub kill: String,
    /// The server runs already as this process; the first round stops it
    #[arg(long, value_name = "PID", value_parser = clap::value_parser!(i32).range(2..), conflicts_with = "pid_file")]
    pub pid: Option<i32>,
    /// File with the process id of the running server, read before every signal
    #[arg(long, value_name = "FILE")]
    pub pid_file: Option<PathBuf>,
    /// The server runs already; the first round stops it with --stop
    #[arg(long, requires = "stop")]
    pub running: bool,
    /// Leave the server running at the end
    #[arg(long)]
    pub leave_running: bool,
    /// File for the server's output [default: a temporary one, kept when the drill could not be run]
    #[arg(long, value_name = "FILE")]
    pub server_log: Option<PathBuf>,
    /// Beating clients, each with one instance
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=5_000))]
    pub clients: u32,
    /// Services that the clients are in
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub services: u32,
    /// Time between two beats of a client
    #[arg(long, value_name = "SPAN", default_value = "5s", value_parser = span)]
    pub beat_interval: Duration,
    /// Time between two looks at all lists
    #[arg(long, value_name = "SPAN", default_value = "250ms", value_parser = span)]
    pub poll: Duration,
    /// How often to stop and start
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=20))]
    pub rounds: u32,
    /// Time to beat before the first round [default: the beat interval + 1s]
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub warm: Option<Duration>,
    /// Time between the end of the server and its start
    #[arg(long, value_name = "SPAN", default_value = "0s", value_parser = span)]
    pub down: Duration,
    /// How long lists must stay complete before a round ends [default: the beat interval + 3s]
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub settle: Option<Duration>,
    /// How long the server may take to stop, and to be complete again
    #[arg(long, value_name = "SPAN", default_value = "120s", value_parser = span)]
    pub patience: Duration,
    /// Fail when more instances than this are missing from the lists at once
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_missing: u32,
    /// Fail when clients have to register again more often than this
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub max_reregistrations: u32,
    /// Fail when the lists are not all served and complete within this many ms after the server was stopped
    /// [default: any time]
    #[arg(long, value_name = "MS")]
    pub max_gap_ms: Option<u64>,
    /// Fail when more pushes than this are lost [default: any number]
    #[arg(long, value_name = "N")]
    pub max_lost_pushes: Option<u32>,
    /// The same seed gives clients the same names and the same phases
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Name of the server in the reports
    #[arg(long, value_name = "TEXT")]
    pub label: Option<String>,
    /// Write a page with charts to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}
