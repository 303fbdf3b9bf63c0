//! Reading JSON objects as the reference's reader (Jackson) does: members in any order, the last of equal ones counts,
//! scalars stand in for each other, text after the object is ignored.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::number;

/// Calls `each` with name and JSON text of every member of the object that `text` begins with, in their order.
/// `None` when there is no such object, its syntax is broken, or `each` refuses a member. Doesn't recurse.
pub(super) fn members<'a>(text: &'a str, each: impl FnMut(Cow<'a, str>, &'a str) -> Option<()>) -> Option<()> {
    serde_json::Deserializer::from_str(text).deserialize_map(Members(each)).ok()
}

struct Members<F>(F);

impl<'de, F: FnMut(Cow<'de, str>, &'de str) -> Option<()>> Visitor<'de> for Members<F> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            let value: &'de RawValue = map.next_value()?;
            (self.0)(name, value.get()).ok_or_else(|| A::Error::custom("refused"))?;
        }
        Ok(())
    }
}

/// A member's name, borrowed unless it has escapes.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        source.deserialize_str(Text)
    }
}

/// Whether `text` is the JSON null and nothing else.
pub(super) fn is_null(text: &str) -> bool {
    text.trim_matches([' ', '\t', '\r', '\n']) == "null"
}

/// A JSON value that is neither object nor array.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Scalar<'a> {
    /// `null`.
    Null,
    /// A text, unescaped.
    Text(Cow<'a, str>),
    /// A number or truth value as it stands in the source.
    Bare(&'a str),
}

impl<'a> Scalar<'a> {
    /// Of a JSON text that [`members`] gave out.
    pub(super) fn of(json: &'a str) -> Option<Self> {
        match json.bytes().next()? {
            b'{' | b'[' => None,
            b'n' => Some(Scalar::Null),
            b'"' if !json.contains('\\') => json.get(1..json.len() - 1).map(|text| Scalar::Text(text.into())),
            b'"' => serde_json::from_str::<String>(json).ok().map(|text| Scalar::Text(text.into())),
            _ => Some(Scalar::Bare(json)),
        }
    }

    /// As a text: numbers and truth values are their own source. `None` for null.
    pub(super) fn into_text(self) -> Option<Cow<'a, str>> {
        match self {
            Scalar::Null => None,
            Scalar::Text(text) => Some(text),
            Scalar::Bare(text) => Some(text.into()),
        }
    }

    /// As a 32-bit integer. Null and the blank text are 0; fractions are cut off.
    pub(super) fn integer(&self) -> Option<i32> {
        match self {
            Scalar::Null => Some(0),
            Scalar::Text(text) => match number::java_trim(text) {
                "" => Some(0),
                text => number::integer(text),
            },
            Scalar::Bare(text) => number::integer(text).or_else(|| {
                let value = number::decimal(text)?;
                (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&value).then_some(value as i32)
            }),
        }
    }

    /// As a double. Null and the blank text are 0.
    pub(super) fn decimal(&self) -> Option<f64> {
        match self {
            Scalar::Null => Some(0.0),
            Scalar::Text(text) if number::java_trim(text).is_empty() => Some(0.0),
            Scalar::Text(text) => number::decimal(text),
            Scalar::Bare(text) => number::decimal(text),
        }
    }

    /// As a truth value: `true`, `false`, the same as texts in lower, upper or title case, whole numbers (0 is false).
    /// Null and the blank text are `missing`.
    pub(super) fn boolean(&self, missing: bool) -> Option<bool> {
        let text = match self {
            Scalar::Null => return Some(missing),
            Scalar::Bare(text) => text,
            Scalar::Text(text) => number::java_trim(text),
        };
        match (text, self) {
            ("true" | "True" | "TRUE", _) => Some(true),
            ("false" | "False" | "FALSE", _) => Some(false),
            ("", _) => Some(missing),
            (number, Scalar::Bare(_)) => number.parse::<i64>().ok().map(|value| value != 0),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Vec<(String, String)>> {
        let mut seen = Vec::new();
        members(text, |name, value| {
            seen.push((name.into_owned(), value.to_owned()));
            Some(())
        })?;
        Some(seen)
    }

    #[test]
    fn gives_out_members_as_they_stand() {
        let seen = read(" {\"a\\u0062\" : 1.50 , \"c\":{\"d\":[null]},\"e\": \"x\\n\" } and more").unwrap();
        let expected = [("ab", "1.50"), ("c", "{\"d\":[null]}"), ("e", "\"x\\n\"")];
        assert_eq!(seen, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn refuses_what_is_no_object() {
        for text in ["", "{", "[]", "1", "\"a\"", "null", "{\"a\"}", "{\"a\":1,}", "{a:1}", "{\"a\":01}", "{\"a\":1x}"]
        {
            assert_eq!(read(text), None, "{text:?}");
        }
        assert_eq!(members("{\"a\":1}", |_, _| None), None);
    }

    #[test]
    fn deep_nesting_is_no_recursion() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000));
        assert_eq!(read(&deep).unwrap().len(), 1);
        assert_eq!(read(&deep[..100_000]), None);
    }

    #[test]
    fn scalars_stand_in_for_each_other() {
        let of = |json| Scalar::of(json).unwrap();
        for (json, value) in
            [("80", Some(80)), ("\"81\"", Some(81)), ("\" 81 \"", Some(81)), ("null", Some(0)), ("\"\"", Some(0))]
        {
            assert_eq!(of(json).integer(), value, "{json}");
        }
        for (json, value) in
            [("80.9", Some(80)), ("1e2", Some(100)), ("\"x\"", None), ("true", None), ("2147483648", None)]
        {
            assert_eq!(of(json).integer(), value, "{json}");
        }
        for (json, value) in [("2.5", Some(2.5)), ("\"5\"", Some(5.0)), ("null", Some(0.0)), ("\"NaN\"", None)] {
            assert_eq!(of(json).decimal(), value, "{json}");
        }
        for (json, value) in [("true", Some(true)), ("\"False\"", Some(false)), ("0", Some(false)), ("2", Some(true))] {
            assert_eq!(of(json).boolean(true), value, "{json}");
        }
        assert_eq!(of("null").boolean(true), Some(true));
        assert_eq!(of("\"yes\"").boolean(true), None);
        assert_eq!(of("\"1\"").boolean(true), None);
        assert_eq!(Scalar::of("{}"), None);
        assert_eq!(Scalar::of("[]"), None);
        assert_eq!(of("1.50").into_text().as_deref(), Some("1.50"));
        assert_eq!(of("null").into_text(), None);
        assert!(matches!(of("\"plain\""), Scalar::Text(Cow::Borrowed("plain"))));
        assert_eq!(of("\"a\\\"b\"").into_text().as_deref(), Some("a\"b"));
        assert_eq!(Scalar::of("\"\\ud800\""), None);
    }
}
