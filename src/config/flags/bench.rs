//! Flags of `nacre bench`.

use std::path::PathBuf;
use std::time::Duration;

use super::span::span;

/// The most instances of one size, and in all.
const MAX_SCALE: u32 = 5_000_000;

/// What an acknowledged write survives, see `nacre serve --durability`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub enum Mode {
    /// Power loss
    Synced,
    /// A killed process
    Written,
    /// A clean stop; a crash costs an interval
    Interval,
    /// Nothing, as in Nacos
    Off,
}

impl Mode {
    /// All of them, from the most durable on.
    pub const ALL: [Self; 4] = [Self::Synced, Self::Written, Self::Interval, Self::Off];

    /// As `--durability` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Written => "written",
            Self::Interval => "interval",
            Self::Off => "off",
        }
    }
}

/// A part of the bench.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Rates, latencies, bytes and syncs of every mode
    Rates,
    /// Restart after a kill, memory and disk, by number of instances
    Scale,
    /// One service with 10,000 instances: register one more, read its list
    Service,
}

/// Flags of `nacre bench`. Numbers are within their limits.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub struct BenchFlags {
    /// How long each mode does each kind of work in a round
    #[arg(long, value_name = "SPAN", default_value = "2s", value_parser = span)]
    pub seconds: Duration,
    /// Rounds; each measures every mode with every kind of work, and medians count
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rounds: u32,
    /// Connections, kept open
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub connections: u32,
    /// Services that the registered instances are in
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub services: u32,
    /// Instances of each service that are there all the time
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub instances: u32,
    /// Durability modes to measure [default: all]
    #[arg(long, value_name = "MODE,...", value_enum, value_delimiter = ',')]
    pub modes: Vec<Mode>,
    /// Parts to do [default: all]
    #[arg(long, value_name = "PART,...", value_enum, value_delimiter = ',')]
    pub only: Vec<Part>,
    /// Numbers of instances to restart with [default: 10k,100k,1m]
    #[arg(long, value_name = "N,...", value_delimiter = ',', value_parser = scale)]
    pub scale: Vec<u32>,
    /// How often to restart with each number
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub restarts: u32,
    /// Wait after the last restart before memory at rest is read
    #[arg(long, value_name = "SPAN", default_value = "5s", value_parser = span)]
    pub rest: Duration,
    /// Folder on the disk to measure; the data are in a new folder in it, which goes at the end [default: .]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Measure this nacre instead of the one that runs
    #[arg(long, value_name = "FILE")]
    pub program: Option<PathBuf>,
    /// The same seed sends the same requests
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// A quick look that all works: little of everything, for a few seconds
    #[arg(long)]
    pub quick: bool,
    /// Write all figures as JSON to this file; - is standard output
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a page with charts to this file
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Be the server to compare with: it answers a constant, on a port that it prints, until its input ends
    #[arg(long, hide = true)]
    pub be_the_bare_server: bool,
}

/// Reads `10000`, `10k` or `1m`.
fn scale(text: &str) -> Result<u32, String> {
    let lower = text.to_ascii_lowercase();
    let with = |unit: char| lower.strip_suffix(unit);
    let (digits, unit) = match (with('k'), with('m')) {
        (Some(digits), _) => (digits, 1_000),
        (_, Some(digits)) => (digits, 1_000_000),
        _ => (lower.as_str(), 1),
    };
    let number = digits.parse::<u32>().ok().and_then(|number| number.checked_mul(unit));
    let good = number.filter(|number| (1..=MAX_SCALE).contains(number) && !digits.starts_with('+'));
    good.ok_or_else(|| format!("`{text}` is no number of instances up to 5m: write 10000, 10k or 1m"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_instances_are_read_with_their_units() {
        for (text, number) in [("1", 1), ("10k", 10_000), ("100K", 100_000), ("1m", 1_000_000), ("5000000", 5_000_000)]
        {
            assert_eq!(scale(text), Ok(number), "{text}");
        }
        for text in ["", "0", "k", "-1", "+1", "1.5k", "6m", "99999999999", "10 k", "1kk"] {
            assert!(scale(text).is_err(), "{text}");
        }
    }
}
