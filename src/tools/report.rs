//! How tools tell what they found: text for terminals, JSON files, pages with charts. Whatever comes from a server, a
//! file or a command line goes through [`plain`] or [`html::escaped`] on its way out.

pub mod bars;
pub mod chart;
pub mod facts;
pub mod html;
pub mod out;
pub mod table;

/// `text` without anything that a terminal would obey or that would turn the direction of the text: such characters
/// become spaces.
pub fn plain(text: &str) -> String {
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turns(c) { ' ' } else { c }).collect()
}

/// 1234567.8 as `1,234,568`.
pub fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut out = String::with_capacity(digits.len() + 6);
    if number <= -0.5 {
        out.push('-');
    }
    for (nth, digit) in digits.chars().enumerate() {
        if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in
            [(0.0, "0"), (999.4, "999"), (999.5, "1,000"), (1_234_567.8, "1,234,568"), (-12_345.0, "-12,345")]
        {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn terminals_are_not_told_what_to_do() {
        assert_eq!(plain("a\x1b[2Jb\r\n\u{9b}c\u{202e}d é"), "a [2Jb   c d é");
    }
}
