//! Flags of `nacre load`.

use std::time::Duration;

use super::span::span;
use super::target::TargetFlags;

/// What the load consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Scenario {
    /// Register every instance, then all of them again, round and round
    Register,
    /// Full beats (with the instance in the body) of registered instances
    BeatFull,
    /// Light beats of registered instances
    BeatLight,
    /// Lists of random services, all instances registered
    List,
    /// What real clients send: one full beat, then a light one every 5 s; 3 lists every 10 s; a restart every 10 min
    #[default]
    Mixed,
    /// Register one, deregister one that was registered before, in turn
    Churn,
}

impl Scenario {
    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Register => "register",
            Self::BeatFull => "beat-full",
            Self::BeatLight => "beat-light",
            Self::List => "list",
            Self::Mixed => "mixed",
            Self::Churn => "churn",
        }
    }
}

/// Flags of `nacre load`. Numbers are within their limits; what they mean together, the tool checks.
#[derive(Debug, Clone, Default, PartialEq, clap::Args)]
pub struct LoadFlags {
    /// Which server, and who asks.
    #[command(flatten)]
    pub target: TargetFlags,
    /// What to send
    #[arg(long, value_enum, default_value_t)]
    pub scenario: Scenario,
    /// How many services
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub services: u32,
    /// Instances of each service
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub instances: u32,
    /// Connections, kept open
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4_096))]
    pub connections: u32,
    /// Threads that make the load [default: half of the cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=64))]
    pub threads: Option<u32>,
    /// Requests a second, sent when they are due however slow the answers are; latency counts from when a request was
    /// due [default: each connection sends the next request when it has its answer]
    #[arg(long, value_name = "N")]
    pub rate: Option<f64>,
    /// For how long to measure [default: 10s, unless --count]
    #[arg(long, value_name = "SPAN", value_parser = span, conflicts_with = "count")]
    pub duration: Option<Duration>,
    /// How many requests to measure
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=10_000_000_000))]
    pub count: Option<u64>,
    /// Time under load before measuring
    #[arg(long, value_name = "SPAN", default_value = "1s", value_parser = span)]
    pub warm_up: Duration,
    /// How long to wait for an answer
    #[arg(long, value_name = "SPAN", default_value = "10s", value_parser = span)]
    pub timeout: Duration,
    /// How long acknowledged changes may take to show in the lists
    #[arg(long, value_name = "SPAN", default_value = "5s", value_parser = span)]
    pub verify_wait: Duration,
    /// The same seed sends the same requests
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Leave the instances registered (without beats they stay for a day)
    #[arg(long)]
    pub keep: bool,
}
