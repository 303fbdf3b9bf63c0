//! Values of members as the reference's reader (Jackson) takes them: scalars stand in for each other.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};

use super::super::number;
use crate::model::Metadata;

/// A JSON value that is neither object nor array, borrowed where it can be.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Loose<'a> {
    /// Missing, or null.
    #[default]
    Absent,
    Text(Cow<'a, str>),
    Whole(i64),
    Real(f64),
    Truth(bool),
}

impl<'a> Loose<'a> {
    /// As a text; `None` when absent.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        Some(match self {
            Loose::Absent => return None,
            Loose::Text(text) => text,
            Loose::Whole(number) => number.to_string().into(),
            Loose::Real(number) => {
                let mut digits = Vec::new();
                number::java_double(number, &mut digits);
                String::from_utf8_lossy(&digits).into_owned().into()
            }
            Loose::Truth(truth) => truth.to_string().into(),
        })
    }

    /// As a whole number; fractions are cut off. 0 when absent or blank.
    pub(super) fn whole(&self) -> Option<i64> {
        match self {
            Loose::Absent => Some(0),
            Loose::Whole(number) => Some(*number),
            // 2^63 and more would be cut to something else.
            Loose::Real(number) => (number.abs() < 9.2e18).then_some(*number as i64),
            Loose::Text(text) => match number::java_trim(text) {
                "" => Some(0),
                digits => digits.parse().ok(),
            },
            Loose::Truth(_) => None,
        }
    }

    /// As a number; `missing` when absent or blank.
    pub(super) fn real(&self, missing: f64) -> Option<f64> {
        match self {
            Loose::Absent => Some(missing),
            Loose::Whole(number) => Some(*number as f64),
            Loose::Real(number) => Some(*number),
            Loose::Text(text) if number::java_trim(text).is_empty() => Some(missing),
            Loose::Text(text) => number::decimal(text),
            Loose::Truth(_) => None,
        }
    }

    /// As a truth value; `missing` when absent or blank.
    pub(super) fn truth(&self, missing: bool) -> Option<bool> {
        match self {
            Loose::Absent => Some(missing),
            Loose::Truth(truth) => Some(*truth),
            Loose::Whole(number) => Some(*number != 0),
            Loose::Real(_) => None,
            Loose::Text(text) => match number::java_trim(text) {
                "" => Some(missing),
                "true" | "True" | "TRUE" => Some(true),
                "false" | "False" | "FALSE" => Some(false),
                _ => None,
            },
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Loose<'a> {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Loose<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text, a number or a truth value")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Loose::Text(text.into()))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Loose::Text(text.to_owned().into()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Loose::Whole(number))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(i64::try_from(number).map_or(Loose::Real(number as f64), Loose::Whole))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
                Ok(Loose::Real(number))
            }

            fn visit_bool<E>(self, truth: bool) -> Result<Self::Value, E> {
                Ok(Loose::Truth(truth))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Loose::Absent)
            }
        }
        source.deserialize_any(Any)
    }
}

/// Metadata of an instance: missing is an empty map, null stays null, a pair with a null value is none.
#[derive(Debug, PartialEq)]
pub(super) struct Pairs(pub(super) Option<Metadata>);

impl Default for Pairs {
    fn default() -> Self {
        Self(Some(Metadata::default()))
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_unit<E>(self) -> Result<Pairs, E> {
                Ok(Pairs(None))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs: Vec<(Cow<'de, str>, Cow<'de, str>)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<Loose<'de>, Loose<'de>>()? {
                    let name = name.text().ok_or_else(|| A::Error::custom("a name is missing"))?;
                    if let Some(value) = value.text() {
                        pairs.push((name, value));
                    }
                }
                Ok(Pairs(Some(if pairs.is_empty() { Metadata::default() } else { pairs.into_iter().collect() })))
            }
        }
        source.deserialize_any(Map)
    }
}
