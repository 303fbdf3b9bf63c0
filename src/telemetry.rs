//! Logging: `tracing` events to standard error, as text for people or as JSON for programs, and to the log files of
//! Nacos below `HOME/logs` (`spec/configuration.md` 7). And figures: how they are counted ([`histogram`], [`daily`]),
//! what the system knows ([`host`], [`process`]), how they are shown ([`page`]).
//!
//! Text lines stay one line each whatever a client sends: control characters in messages and values are escaped. Nobody
//! who logs waits for a disk or a terminal, and what is logged over and over is limited: the last line of a minute says
//! how many more there were.

pub mod access;
mod category;
pub mod daily;
mod escape;
mod files;
pub mod histogram;
pub mod host;
pub mod levels;
mod limit;
pub mod page;
pub mod performance;
pub mod process;
pub mod progress;
mod roll;
#[cfg(test)]
mod tests;
mod writer;

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::time::Instant;

use tracing::{Event, Subscriber};
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::fmt::format::{Writer as Output, debug_fn};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer, reload};

use crate::error::{Error, Result};
use escape::{DebugAsDisplay, Escaped};
use levels::Levels;
use limit::{LimitLayer, Limiter};
pub use roll::Keep;
pub use writer::FileSettings;
use writer::{Lines, Queue, Writer};

/// Lines that may wait for standard error; more are dropped, which is told of. (In files they are still found.)
const CONSOLE_LINES: usize = 10_000;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Time (UTC), level, target, message, `name=value`; with colours or without. In files: see [`FileSettings`].
    Text {
        /// Whether to use ANSI colours on standard error.
        colours: bool,
    },
    /// One JSON object a line, in files too (not in the access log).
    Json,
}

impl Style {
    /// Text, in colours when standard error is a terminal.
    pub fn text() -> Self {
        Self::Text { colours: io::stderr().is_terminal() }
    }
}

/// Logging, until it is dropped: then what waits is written, and no more after that.
#[must_use]
pub struct Logging {
    writer: Option<Writer>,
    console: Option<WorkerGuard>,
}

impl Drop for Logging {
    fn drop(&mut self) {
        self.writer.take().into_iter().for_each(Writer::stop);
        drop(self.console.take());
    }
}

/// Starts logging to standard error, and to files if there are `files`, for the whole process. `directives` are those of
/// `RUST_LOG`, such as `info,nacre::store=debug`; see [`directives`]. No file is made before its first line.
///
/// # Errors
/// When the directives can't be understood, there can be no thread, and when called twice.
pub fn start(directives: &str, style: Style, files: Option<&FileSettings>) -> Result<Logging> {
    let start = Instant::now();
    let clock = move || u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    let limiter = Arc::new(Limiter::new(Box::new(clock)));
    let queue = writer::queue();
    let builder = NonBlockingBuilder::default().buffered_lines_limit(CONSOLE_LINES).thread_name("console");
    let (stderr, console) = builder.finish(io::stderr());
    let lost = stderr.error_counter();
    let (subscriber, levels) = subscriber(directives, style, stderr, files.map(|_| queue.clone()), &limiter)?;
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|_| Error::Setup("logging is started already".to_owned()))?;
    levels.install();
    if files.is_some_and(|files| files.access.is_some()) {
        access::install(queue.clone());
    }
    let writer = Writer::start(queue, files, limiter, Box::new(move || lost.dropped_lines() as u64))?;
    Ok(Logging { writer: Some(writer), console: Some(console) })
}

/// Directives for one level (`off`, `error`, ... `trace`): ours from that level on, libraries from `warn` on at most.
/// openraft is silent below `debug`: it complains of a server that is away with every message to it, and what matters
/// of that the rooms say themselves.
pub fn directives(level: &str) -> String {
    match level {
        "off" | "error" => level.to_owned(),
        "debug" | "trace" => format!("warn,nacre={level}"),
        _ => format!("warn,openraft=off,nacre={level}"),
    }
}

/// Takes log lines.
type Takes = Box<dyn Subscriber + Send + Sync>;
/// One way that lines go.
type Way<S> = Box<dyn Layer<S> + Send + Sync>;

/// What [`start`] installs, writing to `console` and into `files`, and the levels that can be changed later.
fn subscriber<W>(
    directives: &str,
    style: Style,
    console: W,
    files: Option<Arc<Queue>>,
    limiter: &Arc<Limiter>,
) -> Result<(Takes, Levels)>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(directives).map_err(|fault| {
        let (directives, fault) = (Escaped(&directives).to_string(), Escaped(&fault).to_string());
        Error::Setup(format!("RUST_LOG={directives}: must be such as info or info,nacre::store=debug ({fault})"))
    })?;
    let (filter, handle) = reload::Layer::new(filter);
    // Without files everything is for the console.
    let both = files.is_none();
    let console = layer(style, console)
        .with_filter(filter_fn(move |metadata| both || !category::is_for_files(metadata.target())));
    let files = files.map(|queue| file_layer(style, Lines(queue)));
    let registry = tracing_subscriber::registry().with(filter).with(LimitLayer(limiter.clone()));
    Ok((Box::new(registry.with(console).with(files)), Levels::new(directives, handle)))
}

/// Lines as people and programs at a console want them.
fn layer<S, W>(style: Style, writer: W) -> Way<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    match style {
        Style::Json => layer.json().flatten_event(true).boxed(),
        Style::Text { colours } => layer.with_ansi(colours).fmt_fields(fields()).boxed(),
    }
}

/// Lines as programs that read the files of Nacos want them; or JSON.
fn file_layer<S>(style: Style, lines: Lines) -> Way<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    match style {
        Style::Json => layer(style, lines),
        Style::Text { .. } => {
            tracing_subscriber::fmt::layer().with_writer(lines).event_format(FileFormat).fmt_fields(fields()).boxed()
        }
    }
}

/// `message name=value`, escaped.
fn fields() -> impl for<'w> FormatFields<'w> + 'static {
    let field = debug_fn(|out: &mut Output<'_>, field: &tracing::field::Field, value: &dyn fmt::Debug| {
        if field.name() != "message" {
            write!(out, "{}=", field.name())?;
        }
        write!(out, "{}", Escaped(&DebugAsDisplay(value)))
    });
    field.delimited(" ")
}

/// `2021-03-04 05:06:07,890 LEVEL message`, in local time, and an empty line.
struct FileFormat;

impl<S, N> FormatEvent<S, N> for FileFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'w> FormatFields<'w> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Output<'_>, event: &Event<'_>) -> fmt::Result {
        let time = jiff::Zoned::now();
        write!(out, "{} {} ", time.strftime("%Y-%m-%d %H:%M:%S,%3f"), event.metadata().level())?;
        context.format_fields(out.by_ref(), event)?;
        out.write_str("\n\n")
    }
}
