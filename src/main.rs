//! The command line.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
use nacre::config::{self, Config, Flags, LogFormat, NoteLevel, Source};
use nacre::error::Result;
use nacre::node;
use nacre::telemetry::{self, FileSettings, Keep, Logging, Style};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Could not start or failed while running.
const FAILED: u8 = 1;
/// Wrong usage or configuration: starting again changes nothing.
const MISCONFIGURED: u8 = 2;

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
    match cli.command.unwrap_or(Command::Serve(Box::new(cli.flags))) {
        Command::Serve(flags) => serve(*flags),
        Command::Completions { shell } => print(|out| {
            clap_complete::generate(shell, &mut Cli::command(), "nacre", out);
            Ok(())
        }),
        Command::Man => print(|out| clap_mangen::Man::new(Cli::command()).render(out)),
    }
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
