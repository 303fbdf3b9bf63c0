//! Compares a recorded JSON value with what came back: the rules of the recorded cases (tests/conformance/README.md).

use std::collections::BTreeSet;

use regex::Regex;
use serde_json::{Map, Value};

/// How one step compares.
#[derive(Debug, Default, Clone)]
pub(crate) struct Rules {
    /// Members compared by JSON type only, wherever they stand.
    pub(crate) volatile: BTreeSet<String>,
    /// Arrays in the recorded order, not as multisets.
    pub(crate) ordered: bool,
    /// Objects may have members that were not recorded.
    pub(crate) extra_members: bool,
}

/// The name of a value's JSON type.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// `Err` with the first difference.
pub(crate) fn compare(want: &Value, got: &Value, place: &str, rules: &Rules) -> Result<(), String> {
    if let Some((name, argument)) = want.as_object().and_then(loosened) {
        return compare_loosely(name, argument, got, place, rules);
    }
    match (want, got) {
        (Value::Object(want), Value::Object(got)) => compare_objects(want, got, place, rules),
        (Value::Array(want), Value::Array(got)) => compare_arrays(want, got, place, rules),
        _ if kind(want) != kind(got) => Err(format!("{place}: {} was recorded, {} came back", short(want), short(got))),
        _ if same(want, got) => Ok(()),
        _ => Err(format!("{place}: {want} was recorded, {got} came back")),
    }
}

/// `{"$match": ..}`, `{"$any": ..}` and `{"$contains": ..}`.
fn loosened(object: &Map<String, Value>) -> Option<(&'static str, &Value)> {
    if let Some(argument) = object.get("$contains") {
        return Some(("$contains", argument));
    }
    let only = |name: &'static str| object.get(name).filter(|_| object.len() == 1).map(|argument| (name, argument));
    only("$match").or_else(|| only("$any"))
}

fn compare_loosely(name: &str, argument: &Value, got: &Value, place: &str, rules: &Rules) -> Result<(), String> {
    match (name, argument, got) {
        ("$match", Value::String(pattern), _) => {
            let whole = Regex::new(&format!(r"(?s)\A(?:{pattern})\z")).map_err(|e| format!("{place}: {e}"))?;
            let text = got.as_str().map_or_else(|| got.to_string(), str::to_owned);
            if whole.is_match(&text) { Ok(()) } else { Err(format!("{place}: {got} does not match /{pattern}/")) }
        }
        ("$any", Value::String(wanted), _) => {
            if wanted == "any" || wanted == kind(got) {
                return Ok(());
            }
            Err(format!("{place}: a {wanted} was recorded, a {} came back: {got}", kind(got)))
        }
        ("$contains", Value::Object(inner), Value::Object(got)) => inner.iter().try_for_each(|(key, value)| {
            let found = got.get(key).ok_or_else(|| format!("{place}: member {key:?} is missing"))?;
            compare(value, found, &format!("{place}.{key}"), rules)
        }),
        ("$contains", Value::Array(inner), Value::Array(got)) => inner.iter().try_for_each(|item| {
            if got.iter().any(|candidate| compare(item, candidate, place, rules).is_ok()) {
                return Ok(());
            }
            Err(format!("{place}: no item matches {}", short(item)))
        }),
        ("$contains", Value::String(inner), Value::String(got)) if got.contains(inner.as_str()) => Ok(()),
        _ => Err(format!("{place}: {} does not contain {}", short(got), short(argument))),
    }
}

fn compare_objects(
    want: &Map<String, Value>,
    got: &Map<String, Value>,
    place: &str,
    rules: &Rules,
) -> Result<(), String> {
    let missing: Vec<&String> = want.keys().filter(|key| !got.contains_key(*key)).collect();
    let extra: Vec<&String> = got.keys().filter(|key| !want.contains_key(*key)).collect();
    if !missing.is_empty() || (!extra.is_empty() && !rules.extra_members) {
        return Err(format!("{place}: members missing {missing:?}, not in the recording {extra:?}"));
    }
    for (key, value) in want {
        let Some(found) = got.get(key) else { continue };
        // A recording that says how to compare a member wins over the rule for its name.
        let said = value.as_object().is_some_and(|object| object.keys().any(|key| key.starts_with('$')));
        if !rules.volatile.contains(key) || said {
            compare(value, found, &format!("{place}.{key}"), rules)?;
        } else if kind(value) != kind(found) {
            return Err(format!("{place}.{key}: a {} was recorded, a {} came back", kind(value), kind(found)));
        }
    }
    Ok(())
}

fn compare_arrays(want: &[Value], got: &[Value], place: &str, rules: &Rules) -> Result<(), String> {
    if want.len() != got.len() {
        let items = short(&Value::Array(got.to_vec()));
        return Err(format!("{place}: {} items were recorded, {} came back: {items}", want.len(), got.len()));
    }
    let (mut want, mut got): (Vec<&Value>, Vec<&Value>) = (want.iter().collect(), got.iter().collect());
    if !rules.ordered {
        want.sort_by_cached_key(|item| canonical(item, &rules.volatile));
        got.sort_by_cached_key(|item| canonical(item, &rules.volatile));
    }
    want.iter().zip(&got).enumerate().try_for_each(|(i, (a, b))| compare(a, b, &format!("{place}[{i}]"), rules))
}

/// A sort key that ignores volatile members and the order of arrays.
fn canonical(value: &Value, volatile: &BTreeSet<String>) -> String {
    match value {
        Value::Object(members) => {
            let mut members: Vec<String> = members
                .iter()
                .map(|(key, value)| {
                    let value =
                        if volatile.contains(key) { kind(value).to_owned() } else { canonical(value, volatile) };
                    format!("{key:?}: {value:?}")
                })
                .collect();
            members.sort();
            format!("{{{}}}", members.join(", "))
        }
        Value::Array(items) => {
            let mut items: Vec<String> = items.iter().map(|item| canonical(item, volatile)).collect();
            items.sort();
            format!("{items:?}")
        }
        scalar => scalar.to_string(),
    }
}

/// Equal scalars; 1 equals 1.0.
fn same(want: &Value, got: &Value) -> bool {
    want == got || (want.is_number() && got.is_number() && want.as_f64() == got.as_f64())
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(want: &Value, got: &Value, rules: &Rules) -> bool {
        compare(want, got, "body", rules).is_ok()
    }

    #[test]
    fn values_compare_by_the_rules_of_the_recordings() {
        let table = [
            (json!("ok"), json!("ok"), true),
            (json!("ok"), json!("OK"), false),
            (json!(1), json!(1.0), true),
            (json!(1), json!(true), false),
            (json!(1), json!("1"), false),
            (json!(null), json!(null), true),
            (json!({"a": 1}), json!({"a": 1}), true),
            (json!({"a": 1}), json!({"a": 1, "b": 2}), false),
            (json!({"a": 1, "b": 2}), json!({"a": 1}), false),
            (json!({"a": null}), json!({}), false),
            (json!([1, 2, 2]), json!([2, 1, 2]), true),
            (json!([1, 2, 2]), json!([2, 1, 1]), false),
            (json!([1]), json!([1, 1]), false),
            (
                json!([{"ip": "b", "t": 1}, {"ip": "a", "t": 2}]),
                json!([{"ip": "a", "t": 9}, {"ip": "b", "t": 0}]),
                true,
            ),
            (json!([["b", "a"], ["c"]]), json!([["c"], ["a", "b"]]), true),
            (json!({"t": 1}), json!({"t": 99}), true),
            (json!({"t": 1}), json!({"t": "99"}), false),
            (json!({"t": {"$match": "[0-9]"}}), json!({"t": 99}), false),
            (json!({"$match": "a.c"}), json!("a\nc"), true),
            (json!({"$match": "a.c"}), json!("xabc"), false),
            (json!({"$match": "a|ab"}), json!("ab"), true),
            (json!({"$match": "[0-9]+"}), json!(42), true),
            (json!({"$any": "number"}), json!(1.5), true),
            (json!({"$any": "number"}), json!(false), false),
            (json!({"$any": "any"}), json!(null), true),
            (json!({"$any": "number", "b": 1}), json!(1), false),
            (json!({"$contains": {"a": 1}}), json!({"a": 1, "b": 2}), true),
            (json!({"$contains": {"a": 1}}), json!({"a": 2}), false),
            (json!({"$contains": {"a": 1}}), json!({"b": 1}), false),
            (json!({"$contains": [2, {"a": {"$any": "string"}}]}), json!([{"a": "x"}, 3, 2]), true),
            (json!({"$contains": [4]}), json!([1, 2]), false),
            (json!({"$contains": "ell"}), json!("hello"), true),
            (json!({"$contains": "ell"}), json!("help"), false),
            (json!({"$contains": "1"}), json!(1), false),
        ];
        let rules = Rules { volatile: ["t".to_owned()].into(), ..Rules::default() };
        for (want, got, expected) in table {
            assert_eq!(holds(&want, &got, &rules), expected, "{want} against {got}");
        }
    }

    #[test]
    fn a_step_can_ask_for_order_and_allow_more_members() {
        let rules = Rules { ordered: true, extra_members: true, ..Rules::default() };
        assert!(!holds(&json!([1, 2]), &json!([2, 1]), &rules));
        assert!(holds(&json!([1, 2]), &json!([1, 2]), &rules));
        assert!(holds(&json!({"a": 1}), &json!({"a": 1, "b": 2}), &rules));
        assert!(!holds(&json!({"a": 1}), &json!({"b": 2}), &rules));
    }

    #[test]
    fn a_difference_says_where_it_is() {
        let text =
            compare(&json!({"hosts": [{"ip": "a"}]}), &json!({"hosts": [{"ip": "b"}]}), "body", &Rules::default());
        assert_eq!(text, Err("body.hosts[0].ip: \"a\" was recorded, \"b\" came back".to_owned()));
    }
}
