//! The selector of a service as text (`spec/service-api.md` 1.6).

use super::json;
use super::object::{self, Scalar};
use crate::error::{Error, Result};
use crate::model::Selector;

/// Reads the parameter `selector`, already URL-decoded as often as the operation asks for. Blank is none.
pub fn parse(text: &str) -> Result<Selector> {
    if text.trim().is_empty() {
        return Ok(Selector::None);
    }
    let (kind, expression) = members_of(text)?;
    match kind.as_str() {
        "none" => Ok(Selector::None),
        "label" => label(expression.ok_or_else(|| Error::Refused("label selector without expression".into()))?),
        "unknown" => Err(Error::Refused("not match any type of selector!".into())),
        other => Err(unknown_type(other)),
    }
}

/// The members `type`, which must be there, and `expression`.
pub(super) fn members_of(text: &str) -> Result<(String, Option<String>)> {
    let (mut kind, mut expression) = (None, None);
    object::members(text, |name, value| {
        match name.as_ref() {
            "type" => kind = Some(text_of(value)?),
            "expression" => expression = Some(text_of(value)?),
            _ => {}
        }
        Some(())
    })
    .ok_or_else(|| Error::Refused("selector is not a JSON object".into()))?;
    Ok((kind.ok_or_else(|| Error::Refused("selector without type".into()))?, expression))
}

/// The error of a type that there is not.
pub(super) fn unknown_type(name: &str) -> Error {
    Error::Input(format!("No enum constant com.alibaba.nacos.api.selector.SelectorType.{name}"))
}

/// A member as the reference takes it for a text: null is the word, objects and arrays are empty.
pub(super) fn text_of(value: &str) -> Option<String> {
    if value.starts_with(['{', '[']) {
        return Some(String::new());
    }
    Some(Scalar::of(value)?.into_text().map_or_else(|| "null".to_owned(), Into::into))
}

fn label(expression: String) -> Result<Selector> {
    let compact: String = expression.chars().filter(|c| !c.is_whitespace()).collect();
    let mut labels: Vec<String> = Vec::new();
    if !compact.is_empty() {
        for condition in compact.split('&') {
            let name = compared_label(condition).ok_or_else(|| Error::Refused("parse expression failed!".into()))?;
            labels.push(name.to_owned());
        }
    }
    labels.sort_unstable();
    labels.dedup();
    Ok(Selector::Label { expression, labels })
}

/// The NAME of `CONSUMER.label.NAME=PROVIDER.label.NAME`.
fn compared_label(condition: &str) -> Option<&str> {
    let (consumer, provider) = condition.split_once('=')?;
    let name = consumer.strip_prefix("CONSUMER.label.")?;
    (!name.is_empty() && provider.strip_prefix("PROVIDER.label.")? == name).then_some(name)
}

/// Prints the selector as JSON, `type` first.
pub fn write_json(selector: &Selector, out: &mut Vec<u8>) {
    match selector {
        Selector::None => out.extend_from_slice(br#"{"type":"none"}"#),
        Selector::Label { expression, labels } => {
            out.extend_from_slice(br#"{"type":"label","expression":"#);
            json::string(expression, out);
            out.extend_from_slice(br#","labels":["#);
            json::separated(labels, out, |label, out| json::string(label, out));
            out.extend_from_slice(b"]}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn printed(selector: &Selector) -> String {
        let mut out = Vec::new();
        write_json(selector, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn selectors_read() {
        for (text, json) in [
            ("", r#"{"type":"none"}"#),
            (" ", r#"{"type":"none"}"#),
            (r#"{"type":"none","expression":"x"}"#, r#"{"type":"none"}"#),
            (
                r#"{"type":"label","expression":"CONSUMER.label.A=PROVIDER.label.A"}"#,
                r#"{"type":"label","expression":"CONSUMER.label.A=PROVIDER.label.A","labels":["A"]}"#,
            ),
            (
                concat!(
                    r#"{"type":"label","#,
                    r#""expression":"CONSUMER.label.A = PROVIDER.label.A & CONSUMER.label.B=PROVIDER.label.B","#,
                    r#""labels":["no"]}"#
                ),
                concat!(
                    r#"{"type":"label","#,
                    r#""expression":"CONSUMER.label.A = PROVIDER.label.A & CONSUMER.label.B=PROVIDER.label.B","#,
                    r#""labels":["A","B"]}"#
                ),
            ),
            (
                concat!(
                    r#"{"type":"label","#,
                    r#""expression":"CONSUMER.label.B=PROVIDER.label.B&CONSUMER.label.B=PROVIDER.label.B"}"#
                ),
                concat!(
                    r#"{"type":"label","#,
                    r#""expression":"CONSUMER.label.B=PROVIDER.label.B&CONSUMER.label.B=PROVIDER.label.B","#,
                    r#""labels":["B"]}"#
                ),
            ),
            (r#"{"type":"label","expression":""}"#, r#"{"type":"label","expression":"","labels":[]}"#),
            (r#"{"type":"label","expression":" "}"#, r#"{"type":"label","expression":" ","labels":[]}"#),
        ] {
            assert_eq!(printed(&parse(text).unwrap()), json, "{text}");
        }
    }

    #[test]
    fn expressions_refused() {
        for expression in [
            "CONSUMER.label.A=PROVIDER.label.B",
            "CONSUMER.label.A>PROVIDER.label.A",
            "CONSUMER.label.A!=PROVIDER.label.A",
            "CONSUMER.label.A==PROVIDER.label.A",
            "CONSUMER.label.A=PROVIDER.label.A&",
            "&CONSUMER.label.A=PROVIDER.label.A",
            "CONSUMER.label.A=PROVIDER.label.A&&CONSUMER.label.B=PROVIDER.label.B",
            "CONSUMER.label.A=PROVIDER.label.A|CONSUMER.label.B=PROVIDER.label.B",
            "PROVIDER.label.A=CONSUMER.label.A",
            "CONSUMER.label.=PROVIDER.label.",
            "CONSUMER.label.A",
            "&",
            "x",
        ] {
            let text = format!(r#"{{"type":"label","expression":"{expression}"}}"#);
            assert_eq!(parse(&text), Err(Error::Refused("parse expression failed!".into())), "{expression}");
        }
    }

    #[test]
    fn types_refused() {
        let wrong = |name: &str| {
            Err(Error::Input(format!("No enum constant com.alibaba.nacos.api.selector.SelectorType.{name}")))
        };
        assert_eq!(parse(r#"{"type":"unknown"}"#), Err(Error::Refused("not match any type of selector!".into())));
        assert_eq!(parse(r#"{"type":"bogus"}"#), wrong("bogus"));
        assert_eq!(parse(r#"{"type":"NONE"}"#), wrong("NONE"));
        assert_eq!(parse(r#"{"type":null}"#), wrong("null"));
        for text in ["x", "{", "[]", "null", "{}", r#"{"expression":"x"}"#, r#"{"type":"label"}"#] {
            assert!(matches!(parse(text), Err(Error::Refused(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in any::<String>(), near in "[A-Z.=&| a-z]{0,40}") {
            let _ = (parse(&text), parse(&format!(r#"{{"type":"label","expression":"{near}"}}"#)));
        }
    }
}
