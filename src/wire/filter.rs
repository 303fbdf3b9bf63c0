//! The selector that a list of services is filtered by (`spec/service-api.md` 2.5). It looks like the selector of a
//! service and means something else.

use super::selector::{members_of, unknown_type};
use crate::error::{Error, Result};
use crate::model::Metadata;

/// Which services of a list to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// All.
    All,
    /// Those with an instance whose metadata have this value at this key.
    Instance(Pair),
    /// Those whose own metadata have it.
    Service(Pair),
}

/// A key and the value it must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    key: String,
    value: String,
}

impl Pair {
    /// Whether `metadata` have it.
    pub fn is_in(&self, metadata: &Metadata) -> bool {
        metadata.get(&self.key) == Some(self.value.as_str())
    }
}

/// Reads the parameter `selector`; blank keeps all.
///
/// # Errors
/// [`Error::Refused`] when it is no JSON object with `type` and `expression`, or the expression no comparison;
/// [`Error::Input`] for an unknown type.
pub fn parse(text: &str) -> Result<Filter> {
    if text.trim().is_empty() {
        return Ok(Filter::All);
    }
    let (kind, expression) = members_of(text)?;
    let labelled = match kind.as_str() {
        "label" => true,
        "none" | "unknown" => false,
        other => return Err(unknown_type(other)),
    };
    let expression = expression.ok_or_else(|| Error::Refused("selector without expression".into()))?;
    if labelled && !expression.trim().is_empty() { comparison(&expression) } else { Ok(Filter::All) }
}

/// `LEVEL[.anything].KEY = VALUE`; what follows a second `=` is ignored, quotes around the value too.
fn comparison(expression: &str) -> Result<Filter> {
    let compact: String = expression.chars().filter(|c| !c.is_whitespace()).collect();
    let mut sides = compact.trim_end_matches('=').split('=');
    let (Some(left), Some(right)) = (sides.next(), sides.next()) else {
        return Err(Error::Refused("the expression of the selector is no comparison".into()));
    };
    let left = left.trim_end_matches('.');
    let key = left.rsplit('.').next().unwrap_or_default().to_owned();
    let pair = Pair { key, value: right.replace('\'', "") };
    Ok(match left.split('.').next() {
        Some("INSTANCE") => Filter::Instance(pair),
        Some("SERVICE") => Filter::Service(pair),
        _ => Filter::All,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(expression: &str) -> Result<Filter> {
        parse(&serde_json::json!({"type": "label", "expression": expression}).to_string())
    }

    fn pair(key: &str, value: &str) -> Pair {
        Pair { key: key.into(), value: value.into() }
    }

    #[test]
    fn the_first_part_is_the_level_and_the_last_the_key() {
        assert_eq!(of("SERVICE.metadata.env = 'prod'"), Ok(Filter::Service(pair("env", "prod"))));
        assert_eq!(of("SERVICE.env=test=x"), Ok(Filter::Service(pair("env", "test"))));
        assert_eq!(of("INSTANCE.metadata.a='b c'"), Ok(Filter::Instance(pair("a", "bc"))));
        assert_eq!(of("INSTANCE=x"), Ok(Filter::Instance(pair("INSTANCE", "x"))));
        assert_eq!(of("CONSUMER.label.A=PROVIDER.label.A"), Ok(Filter::All));
        for nothing in ["A", "A=", "=", "=="] {
            assert!(matches!(of(nothing), Err(Error::Refused(_))), "{nothing}");
        }
    }

    #[test]
    fn other_selectors_keep_all_or_are_refused() {
        for all in ["", " ", r#"{"type":"none","expression":"x"}"#, r#"{"type":"label","expression":" "}"#] {
            assert_eq!(parse(all), Ok(Filter::All), "{all}");
        }
        for refused in ["x", "[]", "{}", r#"{"type":"none"}"#, r#"{"type":"label"}"#, r#"{"expression":"a=b"}"#] {
            assert!(matches!(parse(refused), Err(Error::Refused(_))), "{refused}");
        }
        assert_eq!(parse(r#"{"type":"bogus"}"#), Err(unknown_type("bogus")));
    }

    #[test]
    fn a_value_must_be_the_same() {
        let metadata: Metadata = [("env", "prod")].into_iter().collect();
        assert!(pair("env", "prod").is_in(&metadata));
        assert!(!pair("env", "pro").is_in(&metadata) && !pair("x", "").is_in(&metadata));
    }
}
