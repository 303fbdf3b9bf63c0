//! Regular expressions over names of services. Matching takes time in proportion to the name, whatever the expression
//! (the reference can be made to take exponential time); what only a backtracking engine has (look-around, references
//! back) is refused. Classes such as `\w` are those of ASCII, as in Java.

use regex::bytes::{Regex, RegexBuilder};

use crate::error::{Error, Result};

/// Bytes that a compiled expression may take.
const MAX_COMPILED_BYTES: usize = 256 << 10;

/// An expression that services are matched with, all of `group@@name:[]` (the text that the reference matches; the
/// brackets are its list of owners).
#[derive(Debug)]
pub(super) struct Pattern {
    /// `None` matches everything.
    whole: Option<Regex>,
}

impl Pattern {
    /// Matches what contains `expression`.
    ///
    /// # Errors
    /// [`Error::Input`] when it is no expression of the supported kind.
    pub(super) fn containing(expression: &str) -> Result<Self> {
        match expression {
            "" => Ok(Self { whole: None }),
            other => Self::of(&format!(".*{other}.*")),
        }
    }

    /// Matches groups and plain names that contain these; a blank one is contained everywhere.
    ///
    /// # Errors
    /// [`Error::Input`] when one is no expression of the supported kind.
    pub(super) fn of_parts(group: &str, name: &str) -> Result<Self> {
        let or_any = |text| if str::trim(text).is_empty() { ".*" } else { text };
        match group.trim().is_empty() && name.trim().is_empty() {
            true => Ok(Self { whole: None }),
            false => Self::of(&format!(".*{}.*@@.*{}.*", or_any(group), or_any(name))),
        }
    }

    fn of(expression: &str) -> Result<Self> {
        let build = |text: &str| RegexBuilder::new(text).unicode(false).size_limit(MAX_COMPILED_BYTES).build();
        // First alone: `a)(b` must not become an expression by the brackets put around it.
        let built = build(expression).and_then(|_| build(&format!("^(?:{expression})$")));
        let whole = built.map_err(|fault| Error::Input(format!("not a supported regular expression: {fault}")))?;
        Ok(Self { whole: Some(whole) })
    }

    /// Whether the service of this grouped name matches.
    pub(super) fn matches(&self, grouped: &str) -> bool {
        self.whole.as_ref().is_none_or(|whole| whole.is_match(&[grouped.as_bytes(), b":[]"].concat()))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn what_contains_the_expression_matches() {
        let matches = |expression: &str, name: &str| Pattern::containing(expression).unwrap().matches(name);
        assert!(matches("", "G@@a"));
        assert!(matches("ab", "G@@xabx") && matches("a.c", "G@@abc") && matches("^G", "G@@abc"));
        assert!(matches("G1", "G1@@only"), "the group is searched too");
        assert!(matches(r"\[\]", "G@@a"), "so is what follows the name");
        assert!(!matches("AB", "G@@ab") && !matches("a$", "G@@a"));
        assert!(matches("x|G", "G@@abc") && !matches("x|a", "G@@abc"), "alternatives reach to the ends, as in Java");
        assert!(!matches(r"\d", "G@@\u{0661}") && matches("\u{e9}", "G@@\u{e9}"));
    }

    #[test]
    fn parts_match_on_their_side_of_the_separator() {
        let matches = |group: &str, name: &str| Pattern::of_parts(group, name).unwrap().matches("G1@@orders");
        assert!(matches("", "") && matches("G", "") && matches(" ", "ord") && matches("1", "s"));
        assert!(!matches("", "G1") && !matches("ord", "") && !matches("G", "x") && !matches("", "s$"));
    }

    #[test]
    fn broken_and_unsupported_expressions_are_refused() {
        for expression in ["[", "a)(b", "(?<=a)b", r"(a)\1", "(", "a{99999}{99999}", "(?x)#"] {
            let found = Pattern::containing(expression);
            assert!(matches!(found, Err(Error::Input(_))), "{expression}: {found:?}");
        }
    }

    #[test]
    fn no_expression_takes_exponential_time() {
        let name = format!("G@@{}", "a".repeat(2_000));
        let begun = Instant::now();
        for expression in ["(a+)+b", "(a|aa)+$b", "(a|a)*c", "(.*)*x"] {
            assert!(!Pattern::containing(expression).unwrap().matches(&name), "{expression}");
        }
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}
