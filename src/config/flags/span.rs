//! Spans of time as people write them on a command line.

use std::time::Duration;

/// No span is longer: a day.
const MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Reads `250ms`, `30s`, `1.5s`, `2m`, `1h` or a bare number of seconds, up to a day.
///
/// # Errors
/// The text says what a span looks like.
pub(super) fn span(text: &str) -> Result<Duration, String> {
    let fault = || format!("`{text}` is no span of time up to 24h: write 500ms, 30s, 2m or 1h");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = text.get(digits.len()..).unwrap_or_default();
    let seconds = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err(fault()),
    };
    let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let number: f64 = digits.parse().ok().filter(|_| plain).ok_or_else(fault)?;
    let span = Duration::try_from_secs_f64(number * seconds).map_err(|_| fault())?;
    if span <= MAX { Ok(span) } else { Err(fault()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_with_their_units() {
        for (text, ms) in
            [("0", 0), ("250ms", 250), ("30s", 30_000), ("1.5s", 1_500), ("2m", 120_000), ("24h", 86_400_000)]
        {
            assert_eq!(span(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for text in ["", "s", "-1s", "1d", "1 s", "25h", "1e3", "inf", "1..2", "99999999999999999999h"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
