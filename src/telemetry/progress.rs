//! A progress bar on standard error when that is a terminal; nothing elsewhere.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// See the module. Gone when dropped.
pub struct Bar(Option<(ProgressBar, AtomicBool)>);

impl Bar {
    /// A bar if there is a terminal to show it on.
    pub fn on_terminal() -> Self {
        if !std::io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new_spinner();
        bar.enable_steady_tick(Duration::from_millis(100));
        Self(Some((bar, AtomicBool::new(false))))
    }

    /// What is being done, how much of it is done, and of how much if that is known.
    pub fn show(&self, what: &str, done: u64, of: Option<u64>) {
        let Some((bar, is_styled)) = &self.0 else { return };
        bar.set_message(what.to_owned());
        if let Some(of) = of {
            bar.set_length(of);
        }
        if is_styled.swap(of.is_some(), Ordering::Relaxed) != of.is_some() {
            let measured = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len}, {eta} left");
            bar.set_style(match measured {
                Ok(measured) if of.is_some() => measured,
                _ => ProgressStyle::default_spinner(),
            });
        }
        bar.set_position(done);
    }

    /// Takes it off the terminal.
    pub fn clear(&self) {
        if let Some((bar, _)) = &self.0 {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}
