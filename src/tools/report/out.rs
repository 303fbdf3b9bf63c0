//! Where reports go.

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::Path;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::error::{Error, Result};

/// Writes text to standard output, or to standard error when that is taken by something else.
///
/// # Errors
/// [`Error::Setup`] when it can't be written (a pipe that nobody reads).
pub fn text(text: &str, stdout_is_taken: bool) -> Result<()> {
    let written = if stdout_is_taken {
        io::stderr().lock().write_all(text.as_bytes())
    } else {
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush())
    };
    written.map_err(|error| Error::Setup(format!("the report can't be written: {error}")))
}

/// Whether a file stands for standard output.
pub fn is_stdout(file: &Path) -> bool {
    file == Path::new("-")
}

/// Writes a report as JSON to a file, or to standard output for `-`.
///
/// # Errors
/// [`Error::Setup`] when it can't be written.
pub fn json(file: &Path, report: &impl Serialize) -> Result<()> {
    let fault = |error: &dyn std::fmt::Display| Error::Setup(format!("{} can't be written: {error}", file.display()));
    let mut bytes = serde_json::to_vec_pretty(report).map_err(|error| fault(&error))?;
    bytes.push(b'\n');
    if is_stdout(file) {
        return text(&String::from_utf8_lossy(&bytes), false);
    }
    fs::write(file, bytes).map_err(|error| fault(&error))
}

/// Writes a page to a file.
///
/// # Errors
/// [`Error::Setup`] when it can't be written.
pub fn page(file: &Path, page: &str) -> Result<()> {
    fs::write(file, page).map_err(|error| Error::Setup(format!("{} can't be written: {error}", file.display())))
}

/// One line on a terminal that says how it goes; nothing elsewhere.
#[derive(Debug)]
pub struct Line {
    bar: ProgressBar,
}

impl Line {
    /// A line of a tool.
    pub fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        if !io::stderr().is_terminal() {
            bar.set_draw_target(ProgressDrawTarget::hidden());
        }
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
            bar.set_style(style);
        }
        Self { bar }
    }

    /// Says this instead of what was said before. `text` must be plain.
    pub fn say(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
        self.bar.tick();
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
