//! Logging: `tracing` events to standard error, as text for people or as JSON for programs. And figures: how they are
//! counted ([`histogram`], [`daily`]), what the system knows ([`host`], [`process`]), how they are shown ([`page`]).
//!
//! Text lines stay one line each whatever a client sends: control characters in messages and values are escaped.

pub mod daily;
pub mod histogram;
pub mod host;
pub mod levels;
pub mod page;
pub mod process;

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _};

use tracing::Subscriber;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{Writer, debug_fn};
use tracing_subscriber::prelude::*;
use tracing_subscriber::{EnvFilter, reload};

use crate::error::{Error, Result};
use levels::Levels;

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Time (UTC), level, target, message, `name=value`; with colours or without.
    Text {
        /// Whether to use ANSI colours.
        colours: bool,
    },
    /// One JSON object a line.
    Json,
}

impl Style {
    /// Text, in colours when standard error is a terminal.
    pub fn text() -> Self {
        Self::Text { colours: io::stderr().is_terminal() }
    }
}

/// Starts logging to standard error for the whole process. `directives` are those of `RUST_LOG`, such as
/// `info,nacre::store=debug`; see [`directives`]. Fails when they can't be understood and when called twice.
pub fn start(directives: &str, style: Style) -> Result<()> {
    let (subscriber, levels) = subscriber(directives, style, io::stderr)?;
    tracing::subscriber::set_global_default(subscriber)
        .map_err(|_| Error::Setup("logging is started already".to_owned()))?;
    levels.install();
    Ok(())
}

/// Directives for one level (`off`, `error`, ... `trace`): ours from that level on, libraries from `warn` on at most.
pub fn directives(level: &str) -> String {
    match level {
        "off" | "error" => level.to_owned(),
        _ => format!("warn,nacre={level}"),
    }
}

/// Takes log lines.
type Logging = Box<dyn Subscriber + Send + Sync>;

/// What [`start`] installs, writing to `writer`, and the levels that can be changed later.
pub fn subscriber<W>(directives: &str, style: Style, writer: W) -> Result<(Logging, Levels)>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder().parse(directives).map_err(|fault| {
        let (directives, fault) = (Escaped(&directives).to_string(), Escaped(&fault).to_string());
        Error::Setup(format!("RUST_LOG={directives}: must be such as info or info,nacre::store=debug ({fault})"))
    })?;
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    let (filter, handle) = reload::Layer::new(filter);
    let registry = tracing_subscriber::registry().with(filter);
    let logging: Logging = match style {
        Style::Json => Box::new(registry.with(layer.json().flatten_event(true))),
        Style::Text { colours } => {
            let fields = debug_fn(|out: &mut Writer<'_>, field, value| {
                if field.name() != "message" {
                    write!(out, "{}=", field.name())?;
                }
                write!(out, "{}", Escaped(&DebugAsDisplay(value)))
            });
            Box::new(registry.with(layer.with_ansi(colours).fmt_fields(fields.delimited(" "))))
        }
    };
    Ok((logging, Levels::new(directives, handle)))
}

/// A value whose display form is the debug form of another.
struct DebugAsDisplay<'a>(&'a dyn fmt::Debug);

impl fmt::Display for DebugAsDisplay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

/// Shows a value with its control characters escaped, so that it can neither end a line nor steer a terminal.
struct Escaped<'a, T: ?Sized>(&'a T);

impl<T: fmt::Display + ?Sized> fmt::Display for Escaped<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escaping(f), "{}", self.0)
    }
}

struct Escaping<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for part in text.split_inclusive(char::is_control) {
            match part.chars().next_back().filter(|c| c.is_control()) {
                None => self.0.write_str(part)?,
                Some(c) => {
                    self.0.write_str(part.get(..part.len() - c.len_utf8()).unwrap_or_default())?;
                    write!(self.0, "{}", c.escape_default())?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::filter::LevelFilter;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(directives: &str, style: Style, log: impl FnOnce()) -> String {
        let lines = Lines::default();
        let into = lines.clone();
        let (subscriber, _levels) = subscriber(directives, style, move || into.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = lines.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    const TEXT: Style = Style::Text { colours: false };

    #[test]
    fn text_lines_stay_one_line_each() {
        let bad = "a\nERROR forged\r\u{1b}[31m\u{85}é";
        let lines = logged("info", TEXT, || tracing::warn!(service = %bad, count = 3, quoted = bad, "from {bad}"));
        assert_eq!(lines.lines().count(), 1, "{lines}");
        let shown = r"a\nERROR forged\r\u{1b}[31m\u{85}é";
        assert!(lines.ends_with('\n') && !lines.contains('\u{1b}'), "{lines:?}");
        assert!(lines.contains(&format!("from {shown} service={shown} count=3 quoted=\"")), "{lines}");
        assert!(lines.contains(" WARN nacre::telemetry"), "{lines}");
    }

    #[test]
    fn colours_only_when_wanted() {
        let log = || tracing::info!("hello");
        assert!(logged("info", Style::Text { colours: true }, log).contains('\u{1b}'));
        assert!(!logged("info", TEXT, log).contains('\u{1b}'));
    }

    #[test]
    fn json_lines_are_json() {
        let lines = logged("info", Style::Json, || tracing::info!(rows = 2, name = "a\nb", "restored"));
        let line: serde_json::Value = serde_json::from_str(&lines).unwrap();
        assert_eq!((&line["message"], &line["rows"], &line["name"]), (&"restored".into(), &2.into(), &"a\nb".into()));
        assert_eq!(line["level"], "INFO");
    }

    #[test]
    fn the_level_counts_for_us_and_libraries_are_quieter() {
        let log = || {
            tracing::debug!("ours");
            tracing::info!(target: "sled", "theirs");
            tracing::error!(target: "sled", "serious");
        };
        let lines = logged(&directives("debug"), TEXT, log);
        assert!(lines.contains("ours") && lines.contains("serious") && !lines.contains("theirs"), "{lines}");
        assert!(!logged(&directives("info"), TEXT, log).contains("ours"));
        assert_eq!(logged(&directives("off"), TEXT, log), "");
    }

    #[test]
    fn levels_change_while_logging_and_the_longest_target_counts() {
        let lines = Lines::default();
        let into = lines.clone();
        let (subscriber, levels) = subscriber(&directives("info"), TEXT, move || into.clone()).unwrap();
        let logged = || {
            tracing::debug!(target: "nacre::push::udp", "pushed");
            tracing::info!(target: "nacre::http", "served");
            tracing::debug!(target: "nacre::http", "detail");
            let bytes = std::mem::take(&mut *lines.0.lock().unwrap());
            let text = String::from_utf8(bytes).unwrap();
            ["pushed", "served", "detail"].map(|word| text.contains(word))
        };
        tracing::subscriber::with_default(subscriber, || {
            assert_eq!(logged(), [false, true, false]);
            levels.set(&["nacre::push"], LevelFilter::DEBUG).unwrap();
            assert_eq!(logged(), [true, true, false]);
            levels.set(&["nacre"], LevelFilter::OFF).unwrap();
            assert_eq!(logged(), [true, false, false]);
            levels.set(&["nacre"], LevelFilter::TRACE).unwrap();
            levels.set(&["nacre::push"], LevelFilter::OFF).unwrap();
            assert_eq!(logged(), [false, true, true]);
        });
    }

    #[test]
    fn bad_directives_are_one_line() {
        let error = subscriber("info,nacre=\nloud", TEXT, io::sink).err().unwrap();
        assert!(error.message().starts_with(r"RUST_LOG=info,nacre=\nloud: must be"), "{error}");
        assert!(!error.message().contains('\n'), "{error}");
    }
}
