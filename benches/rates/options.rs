//! The command line.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::{Result, report};

/// Part of a measurement's time by which its start is left out.
const WARM_UP: f64 = 0.15;

/// What to measure and how long.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) seconds: Duration,
    pub(crate) rounds: usize,
    pub(crate) connections: usize,
    pub(crate) threads: usize,
    pub(crate) services: usize,
    pub(crate) only: Option<String>,
    pub(crate) json: Option<PathBuf>,
    pub(crate) smoke: bool,
}

impl Options {
    fn full() -> Self {
        let seconds = Duration::from_secs(2);
        Self { seconds, rounds: 5, connections: 64, threads: 2, services: 1_000, only: None, json: None, smoke: false }
    }

    fn smoke() -> Self {
        Self { seconds: Duration::from_millis(200), rounds: 1, services: 20, smoke: true, ..Self::full() }
    }

    /// `cargo bench` adds `--bench`. What `cargo test` hands over is meant for tests: nothing of it counts here.
    pub(crate) fn read(args: &[String]) -> Result<Self> {
        let smoke = args.iter().any(|arg| arg == "--smoke");
        if !smoke && !args.iter().any(|arg| arg == "--bench") {
            return Ok(Self::smoke());
        }
        let mut options = if smoke { Self::smoke() } else { Self::full() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--bench" | "--smoke" => {}
                "--seconds" => options.seconds = seconds(number(arg, args.next())?)?,
                "--rounds" => options.rounds = at_least_1(arg, args.next())?,
                "--connections" => options.connections = at_least_1(arg, args.next())?,
                "--threads" => options.threads = at_least_1(arg, args.next())?,
                "--services" => options.services = at_least_1(arg, args.next())?.min(50_000),
                "--only" => options.only = Some(number(arg, args.next())?),
                "--json" => options.json = Some(number(arg, args.next())?),
                _ => return Err(format!("unknown argument {arg}")),
            }
        }
        Ok(options)
    }

    /// The bare server is always measured: the others are compared with it.
    pub(crate) fn wants(&self, name: &str) -> bool {
        name == report::BARE || self.only.as_ref().is_none_or(|text| name.contains(text))
    }

    pub(crate) fn warm_up(&self) -> Duration {
        self.seconds.mul_f64(WARM_UP)
    }
}

fn number<T: FromStr>(name: &str, text: Option<&String>) -> Result<T> {
    text.and_then(|text| text.parse().ok()).ok_or_else(|| format!("{name} needs a value"))
}

fn at_least_1(name: &str, text: Option<&String>) -> Result<usize> {
    number(name, text).map(|number: usize| number.max(1))
}

fn seconds(number: f64) -> Result<Duration> {
    let seconds = Duration::try_from_secs_f64(number).ok().filter(|seconds| !seconds.is_zero());
    seconds.ok_or_else(|| "--seconds needs a time above 0".into())
}
