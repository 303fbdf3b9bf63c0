//! Text that stays on one line, whatever a client has sent.

use std::fmt::{self, Write as _};

/// A value whose display form is the debug form of another.
pub(super) struct DebugAsDisplay<'a>(pub(super) &'a dyn fmt::Debug);

impl fmt::Display for DebugAsDisplay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

/// Shows a value with its control characters escaped, so that it can neither end a line nor steer a terminal.
pub(super) struct Escaped<'a, T: ?Sized>(pub(super) &'a T);

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
