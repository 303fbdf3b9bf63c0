//! Rates of the server next to a bare hyper server that answers a constant, all measured in one run.
//!
//! `cargo bench --bench rates -- [--seconds N] [--rounds N] [--connections N] [--threads N] [--services N]
//! [--only TEXT] [--json FILE] [--smoke]`
//!
//! One server a durability mode and the bare one run side by side, on default settings, each in a process of its own;
//! the load comes from this process. All share the cores. A round measures every work once, so that whatever else the
//! machine does hits all of them alike; the medians of the rounds count. Every answer is read and compared: one that
//! is wrong ends the run. Without `--bench` (that is, from `cargo test`) it only takes a quick look that all works.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program whose output is its purpose")]

#[path = "rates/load.rs"]
mod load;
#[path = "rates/options.rs"]
mod options;
#[path = "rates/report.rs"]
mod report;
#[path = "rates/work.rs"]
mod work;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use load::{Load, Pass, Until};
use nacre::error::Error;
use nacre::tools::bench::machine::fdatasync_times;
use nacre::tools::bench::process::{Process, cpu_us};
use options::Options;
use report::{Facts, Line};
use work::{Fleet, Work};

/// The server has it too; the bare one shall not be slower for the lack of it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const MODES: [&str; 4] = ["synced", "written", "interval", "off"];
/// Instances become unhealthy without a beat for 15 s.
const BEAT_EVERY: Duration = Duration::from_secs(5);
const SYNCS: usize = 400;

type Result<T> = std::result::Result<T, String>;

/// One thing that is measured.
struct Subject {
    name: String,
    server: usize,
    work: Work,
}

/// The servers, the instances that all of them know, and when those last beat.
struct Field {
    load: Load,
    /// The bare server, then one for each of [`MODES`].
    servers: Vec<Process>,
    fleet: Arc<Fleet>,
    beaten: Instant,
    /// Numbers of instances that were registered as new ones so far, by server.
    used: Vec<u64>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    // Test runners ask for the tests of a binary; this one has none that could be chosen.
    if args.iter().any(|arg| arg == "--list") {
        return ExitCode::SUCCESS;
    }
    match Options::read(&args).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rates: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    load::stop_on_signals()?;
    let place = env!("CARGO_TARGET_TMPDIR");
    fs::create_dir_all(place).map_err(|error| format!("no folder for the data: {error}"))?;
    let folder = tempfile::Builder::new().prefix("rates-").tempdir_in(place);
    let folder = folder.map_err(|error| format!("no folder for the data: {error}"))?;
    let syncs = if options.smoke { 20 } else { SYNCS };
    let fdatasync_us =
        fdatasync_us(folder.path(), syncs).map_err(|error| format!("can't measure fdatasync: {error}"))?;
    let mut field = Field::prepare(options, folder.path())?;
    let subjects: Vec<Subject> = subjects().into_iter().filter(|one| options.wants(&one.name)).collect();
    let mut passes: HashMap<&str, Vec<Pass>> = HashMap::new();
    for round in 1..=options.rounds {
        for subject in &subjects {
            let pass = field.measure(subject, options)?;
            eprintln!("round {round}: {:<26} {:>8.0} /s", subject.name, pass.rate());
            passes.entry(&subject.name).or_default().push(pass);
        }
    }
    field.still_alive()?;
    let lines = subjects.iter().filter_map(|one| Some(Line::new(&one.name, passes.get(one.name.as_str())?)));
    let lines = report::shares(lines.collect());
    let facts = Facts::of(options, fdatasync_us);
    print!("{}", report::markdown(&lines, &facts));
    match &options.json {
        Some(file) => {
            fs::write(file, report::json(&lines, &facts)).map_err(|error| format!("{}: {error}", file.display()))
        }
        None => Ok(()),
    }
}

fn subjects() -> Vec<Subject> {
    let subject = |name: &str, server, work| Subject { name: name.into(), server, work };
    let mut all = vec![subject(report::BARE, 0, Work::Bare)];
    // What the size of its request alone costs a beat.
    all.push(subject("the same, sent a light beat", 0, Work::BareBeat));
    all.push(subject("light beat", 1, Work::Beat));
    all.push(subject("list of 10 instances", 1, Work::List));
    for (at, mode) in MODES.iter().enumerate() {
        all.push(subject(&format!("register {mode}, new"), at + 1, Work::New));
        all.push(subject(&format!("register {mode}, existing"), at + 1, Work::Existing));
    }
    all
}

impl Field {
    /// Starts all servers and registers the known instances.
    fn prepare(options: &Options, folder: &Path) -> Result<Self> {
        let load = Load { connections: options.connections, threads: options.threads };
        let program = Path::new(env!("CARGO_BIN_EXE_nacre"));
        let text = |error: Error| error.message().to_owned();
        let mut servers = vec![Process::bare(program).map_err(text)?];
        for mode in MODES {
            servers.push(Process::nacre(program, &folder.join(mode), mode, &load::stop_flag()).map_err(text)?);
        }
        let fleet = Arc::new(Fleet::new(options.services));
        let used = vec![0; servers.len()];
        let mut field = Self { load, servers, fleet, beaten: Instant::now(), used };
        field.all_servers(Work::Existing)?;
        field.beaten = Instant::now();
        Ok(field)
    }

    /// Does `work` once for each known instance, on all servers but the bare one.
    fn all_servers(&mut self, work: Work) -> Result<()> {
        let until = Until::Number(self.fleet.known());
        for server in self.servers.iter().skip(1) {
            self.load.run(server.address, work, &self.fleet, 0, until)?;
        }
        Ok(())
    }

    /// Lets all instances beat if it is time to, as their clients would.
    fn keep_alive(&mut self) -> Result<()> {
        if self.beaten.elapsed() >= BEAT_EVERY {
            self.beaten = Instant::now();
            self.all_servers(Work::Beat)?;
        }
        Ok(())
    }

    fn measure(&mut self, subject: &Subject, options: &Options) -> Result<Pass> {
        self.keep_alive()?;
        let (Some(server), Some(used)) = (self.servers.get(subject.server), self.used.get_mut(subject.server)) else {
            return Err(format!("no server for {}", subject.name));
        };
        let fleet = &self.fleet;
        let first = if subject.work == Work::New { *used } else { 0 };
        let (before, own_before) = (cpu_us(Some(server.id())), cpu_us(None));
        let mut pass = self
            .load
            .run(server.address, subject.work, fleet, first, Until::After(options.warm_up(), options.seconds))
            .map_err(|error| format!("{}: {error}", subject.name))?;
        let per_answer = |from: Option<u64>, to: Option<u64>| Some((to? - from?) as f64 / pass.answers as f64);
        let server_cpu = per_answer(before, cpu_us(Some(server.id())));
        let load_cpu = per_answer(own_before, cpu_us(None));
        (pass.server_cpu_us, pass.load_cpu_us) = (server_cpu, load_cpu);
        if subject.work == Work::New {
            // They would turn the lists of 10 into lists of thousands.
            *used = pass.next;
            self.load.run(server.address, Work::Remove, fleet, first, Until::Number(pass.next))?;
        }
        Ok(pass)
    }

    fn still_alive(&mut self) -> Result<()> {
        self.servers.iter_mut().try_for_each(Process::still_alive).map_err(|error| error.message().to_owned())
    }
}

/// Times of `count` syncs, each after 4 KiB were appended to a file in `folder`, in µs, sorted.
fn fdatasync_us(folder: &Path, count: usize) -> std::io::Result<Vec<u32>> {
    let path = folder.join("syncs");
    let times = fdatasync_times(&path, count)?;
    fs::remove_file(path)?;
    let mut times: Vec<u32> = times.iter().map(|time| u32::try_from(time.as_micros()).unwrap_or(u32::MAX)).collect();
    times.sort_unstable();
    Ok(times)
}
