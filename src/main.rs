//! The command line.

use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use nacre::config::flags::{BenchFlags, DrillFlags, LoadFlags};
use nacre::config::{self, Config, Flags, LogFormat, NoteLevel, Source, StoreCommand, StoreFlags};
use nacre::error::{Error, Result};
use nacre::node;
use nacre::store::tools::{self, Job};
use nacre::telemetry::progress::Bar;
use nacre::telemetry::{self, FileSettings, Keep, Logging, Style};
use nacre::tools::Verdict;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Could not start or failed while running.
const FAILED: u8 = 1;
/// Wrong usage or configuration: starting again changes nothing.
const MISCONFIGURED: u8 = 2;
/// A tool has done its work, and what it found is not good.
const NOT_GOOD: u8 = 1;
/// A tool could not do its work.
const NOT_DONE: u8 = 3;

const EPILOGUE: &str = "\
Examples:
  nacre                                    serve on port 8848, store in ./data
  nacre --home /srv/nacre --port 8849      another folder and port
  nacre --durability written               faster writes that survive a kill, not a power loss
  nacre --check-config                     show what is in effect and where it comes from
  SERVER_PORT=8849 nacre                   any property as an environment variable

Configuration, first wins: flags, environment, HOME/conf/application.properties, defaults.
The file uses the names of Nacos; the one that is shipped lists every property with its default.

Where things are: HOME/conf/application.properties and cluster.conf, HOME/data (the store; locked while in use),
HOME/logs (Nacos' log files, rolled and limited). Logs go to standard error too;
RUST_LOG=info,nacre::store=debug changes what is logged.

Stop with SIGTERM or Ctrl-C: requests under way are finished and the store is closed; a second one ends at once. SIGHUP
reads the configuration again. conf/nacre.service is a unit for systemd.

Exit codes:
  0  stopped as told, or --check-config found nothing wrong
  1  could not start or failed while running (port in use, data folder locked or not readable, ...)
  2  wrong flags or configuration; one line on standard error says what and where";

const LOAD_EPILOGUE: &str = "\
Examples:
  nacre load --server http://127.0.0.1:8848                             what real clients send, as fast as possible
  nacre load --server http://127.0.0.1:8848 --scenario beat-light --connections 64 --duration 30s
  nacre load --server http://127.0.0.1:8848 --scenario register --rate 20000 --json load.json

Registers instances in services `nacre-load-SEED-*` and removes them at the end (unless --keep). At the end all lists
are read: a registration that was acknowledged must be there, a deregistration must not.

Exit codes:
  0  all that was acknowledged is there
  1  something acknowledged is missing, or nothing was acknowledged
  2  wrong flags; one line on standard error says what
  3  the load could not be made (no server, login refused, ...)";

const DRILL_EPILOGUE: &str = "\
Examples:
  nacre drill --server http://127.0.0.1:8848 --start 'nacre serve --home /srv/nacre --port 8848' --html drill.html
  nacre drill --server http://127.0.0.1:8848 --start 'nacre serve --durability off' --clients 500 --rounds 3
  nacre drill --server http://127.0.0.1:8848 --start 'bash nacos/bin/startup.sh -m standalone' --kill TERM --down 2s

Clients beat as the Java client 1.4.2 does and register again on code 20404; a subscriber takes UDP pushes. The server
that the drill starts belongs to it: it is stopped at the end (unless --leave-running).

Exit codes:
  0  within the limits (--max-missing, --max-reregistrations, --max-gap-ms, --max-lost-pushes)
  1  a limit is exceeded, or the lists did not become complete again
  2  wrong flags; one line on standard error says what
  3  the drill could not be run (the server does not start, the port is taken, ...)";

const BENCH_EPILOGUE: &str = "\
Examples:
  nacre bench                                                everything, a table on the terminal
  nacre bench --html bench.html --json bench.json            the same with a page to look at
  nacre bench --only rates --modes synced,off --rounds 9     what durability costs, more exactly
  nacre bench --only scale --scale 10k,100k,1m               restarts, memory and disk by number of instances
  nacre bench --only service                                 one service with 10,000 instances

Starts servers of its own on free ports of the loopback interface, with the data in a new folder in the working
directory (--dir for another disk), and removes both at the end.

Exit codes:
  0  measured
  1  measured, and something acknowledged was missing afterwards
  2  wrong flags; one line on standard error says what
  3  could not be measured (a server does not start or ends, a wrong answer, interrupted, ...)";

/// A service registry for Nacos 1.x clients that does not forget its instances when it restarts
#[derive(Debug, Parser)]
#[command(name = "nacre", version, after_help = EPILOGUE, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server (the default)
    #[command(after_help = EPILOGUE)]
    Serve(Box<Flags>),
    /// Put load on any server with this API and verify what it acknowledged
    #[command(after_help = LOAD_EPILOGUE)]
    Load(Box<LoadFlags>),
    /// Kill and restart any server with this API and measure what its clients see
    #[command(after_help = DRILL_EPILOGUE)]
    Drill(Box<DrillFlags>),
    /// Measure what each durability mode costs on this machine
    #[command(after_help = BENCH_EPILOGUE)]
    Bench(Box<BenchFlags>),
    /// Look at, check and move the data of a stopped server
    Store(StoreFlags),
    /// Print a completion script for a shell
    #[command(after_help = "nacre completions bash > /usr/share/bash-completion/completions/nacre")]
    Completions {
        /// Which
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = "nacre man | man -l -")]
    Man,
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    match cli.command.unwrap_or_else(|| Command::Serve(Box::new(cli.flags))) {
        Command::Serve(flags) => serve(*flags),
        Command::Load(flags) => judged(nacre::tools::load::run(&flags)),
        Command::Drill(flags) => judged(nacre::tools::drill::run(&flags)),
        Command::Bench(flags) => judged(nacre::tools::bench::run(&flags)),
        Command::Store(flags) => store(&flags.command),
        Command::Completions { shell } => print(|out| {
            clap_complete::generate(shell, &mut Cli::command(), "nacre", out);
            Ok(())
        }),
        Command::Man => print(|out| clap_mangen::Man::new(Cli::command()).render(out)),
    }
}

/// The exit code of a tool.
fn judged(verdict: Result<Verdict>) -> ExitCode {
    match verdict {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::from(NOT_GOOD),
        Err(Error::Input(text)) => fail(MISCONFIGURED, &text),
        Err(error) => fail(NOT_DONE, error.message()),
    }
}

/// Runs one of the tools for data of a stopped server.
fn store(command: &StoreCommand) -> ExitCode {
    let (place, dir, other) = match command.paths() {
        Ok(paths) => paths,
        Err(text) => return fail(MISCONFIGURED, &format!("{text} (see nacre store --help)")),
    };
    let flags = Flags { home: place.home.clone(), ..Flags::default() };
    let dir = dir.map_or_else(|| Config::load(&flags, config::environment()).map(|config| config.data_dir), Ok);
    let dir = match dir {
        Ok(dir) => dir,
        Err(error) => return fail(MISCONFIGURED, error.message()),
    };
    let bar = Bar::on_terminal();
    let job = Job { dir, scratch: place.scratch.clone(), progress: &|what, done, of| bar.show(what, done, of) };
    let done = run_store(command, &job, other.as_deref());
    bar.clear();
    match done {
        Ok((text, code)) => {
            let printed = if matches!(command, StoreCommand::Export { .. }) {
                // Standard output may be the export.
                io::stderr().lock().write_all(text.as_bytes())
            } else {
                io::stdout().lock().write_all(text.as_bytes())
            };
            if printed.is_ok() { code } else { ExitCode::from(FAILED) }
        }
        Err(error) => fail(FAILED, error.message()),
    }
}

/// What is to be printed, and the exit code.
fn run_store(command: &StoreCommand, job: &Job<'_>, other: Option<&Path>) -> Result<(String, ExitCode)> {
    let text = match command {
        StoreCommand::Inspect { json, .. } => {
            let found = tools::inspect(job)?;
            if *json { json_of(&found)? } else { found.to_string() }
        }
        StoreCommand::Verify { json, .. } => {
            let found = tools::verify(job)?;
            let code = if found.is_sound() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) };
            return Ok((if *json { json_of(&found)? } else { found.to_string() }, code));
        }
        StoreCommand::Export { despite_damage, .. } => tools::export(job, other, *despite_damage)?.to_string(),
        StoreCommand::Import { merge, .. } => tools::import(job, other, *merge)?.to_string(),
        StoreCommand::Compact { .. } => tools::compact(job)?.to_string(),
    };
    Ok((text, ExitCode::SUCCESS))
}

fn json_of(found: &impl serde::Serialize) -> Result<String> {
    let json = serde_json::to_string_pretty(found).map_err(|error| Error::Storage(error.to_string()))?;
    Ok(json + "\n")
}

/// Prints what `write` writes.
fn print(write: impl FnOnce(&mut Vec<u8>) -> io::Result<()>) -> ExitCode {
    let mut text = Vec::new();
    let printed = write(&mut text).and_then(|()| io::stdout().lock().write_all(&text));
    // Whoever reads may have seen enough.
    let enough = printed.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::BrokenPipe);
    if printed.is_ok() || enough { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

fn serve(flags: Flags) -> ExitCode {
    let (config, logging) = match configure(&flags) {
        Ok(both) => both,
        Err(error) => return fail(MISCONFIGURED, error.message()),
    };
    if flags.check_config {
        return if show(&config).is_ok() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) };
    }
    log_notes(&config);
    let served = node::run(config, flags);
    // The last word is on standard error, behind what was logged.
    drop(logging);
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, error.message()),
    }
}

/// Reads the configuration and starts logging as it says.
fn configure(flags: &Flags) -> Result<(Config, Logging)> {
    let config = Config::load(flags, config::environment())?;
    let style = if config.log.format == LogFormat::Json { Style::Json } else { Style::text() };
    let files = config.log.files.as_ref().map(|files| {
        let keep = |days, total_bytes| Keep { file_bytes: files.file_bytes, days, total_bytes };
        FileSettings {
            dir: files.dir.clone(),
            keep: keep(files.days, files.total_bytes),
            access: files.access.then(|| keep(files.access_days, files.access_total_bytes)),
        }
    });
    let logging = telemetry::start(&node::log_directives(&config), style, files.as_ref())?;
    Ok((config, logging))
}

fn log_notes(config: &Config) {
    for note in &config.notes {
        match note.level {
            NoteLevel::Warn => tracing::warn!("{}", note.text),
            NoteLevel::Debug => tracing::debug!("{}", note.text),
        }
    }
}

/// Answer of `--check-config`: every property, with the source of those that somebody set.
fn show(config: &Config) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "# configuration is good; home {}, data {}", config.home.display(), config.data_dir.display())?;
    for note in config.notes.iter().filter(|note| note.level == NoteLevel::Warn) {
        writeln!(out, "# warning: {}", note.text)?;
    }
    for setting in &config.settings {
        match &setting.source {
            Source::Default => writeln!(out, "{}={}", setting.key, setting.value)?,
            source => writeln!(out, "{}={}    (from {source})", setting.key, setting.value)?,
        }
    }
    out.flush()
}

/// Prints help and version as they are, and anything wrong as one line.
fn usage(error: &clap::Error) -> ExitCode {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return if error.print().is_ok() { ExitCode::SUCCESS } else { ExitCode::from(FAILED) };
    }
    let text = error.to_string();
    let told: Vec<&str> = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty())
        .collect();
    let told = told.join("; ");
    fail(MISCONFIGURED, &format!("{} (see nacre --help)", told.strip_prefix("error: ").unwrap_or(&told)))
}

/// One line on standard error. When even that can't be written, the exit code has to do.
fn fail(code: u8, text: &str) -> ExitCode {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let _ = writeln!(io::stderr().lock(), "nacre: {line}");
    ExitCode::from(code)
}
