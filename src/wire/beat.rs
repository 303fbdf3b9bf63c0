//! The heart beat: what a client sends and what it is told (5.8).

use std::borrow::Cow;

use bytes::Bytes;

use super::object::{self, Scalar};
use super::{json, metadata};
use crate::error::{Error, Result};
use crate::model::{DEFAULT_BEAT_INTERVAL_MS, Metadata};

/// A full beat. What else the JSON holds (service name, load, ...) doesn't count and is not kept.
#[derive(Debug, Clone, PartialEq)]
pub struct Beat<'a> {
    /// Empty when missing. Such a beat must not register anything.
    pub ip: Cow<'a, str>,
    /// 0 when missing.
    pub port: i32,
    /// Empty when missing; when blank the parameter `clusterName` counts.
    pub cluster: Cow<'a, str>,
    /// As sent, not judged: may be negative, too large or infinite, never NaN. 0 when missing.
    pub weight: f64,
    /// True when missing.
    pub ephemeral: bool,
    /// `None` when missing.
    pub metadata: Option<Metadata>,
}

impl Default for Beat<'_> {
    fn default() -> Self {
        Self { ip: "".into(), port: 0, cluster: "".into(), weight: 0.0, ephemeral: true, metadata: None }
    }
}

impl<'a> Beat<'a> {
    /// Sets one member from its JSON text; names are case-sensitive, unknown ones are ignored.
    fn set(&mut self, name: &str, json: &'a str) -> Option<()> {
        match name {
            "ip" => self.ip = Scalar::of(json)?.into_text().unwrap_or_default(),
            "port" => self.port = Scalar::of(json)?.integer()?,
            "cluster" => self.cluster = Scalar::of(json)?.into_text().unwrap_or_default(),
            "weight" => self.weight = Scalar::of(json)?.decimal()?,
            "ephemeral" => self.ephemeral = Scalar::of(json)?.boolean(true)?,
            "metadata" if json == "null" => self.metadata = None,
            "metadata" => self.metadata = Some(metadata::object(json)?),
            _ => {}
        }
        Some(())
    }
}

/// Reads the parameter `beat`. `Ok(None)` is a light beat: blank text or the JSON `null`. Text after the object is
/// ignored, numbers may be texts. An unreadable one is refused; the message begins and ends like the reference's, the
/// runtime text in between is not reproduced.
pub fn parse(text: &str) -> Result<Option<Beat<'_>>> {
    if text.trim().is_empty() || object::is_null(text) {
        return Ok(None);
    }
    let mut beat = Beat::default();
    match object::members(text, |name, json| beat.set(&name, json)) {
        Some(()) => Ok(Some(beat)),
        None => Err(Error::Refused("errCode: 101, errMsg: Nacos deserialize for class [beat] failed.  ".into())),
    }
}

/// The answer to a beat that was taken: how often to beat (ms) and whether light beats are welcome.
pub fn beat_answer(interval_ms: u64, light_enabled: bool) -> Bytes {
    const USUAL: &[u8] = br#"{"clientBeatInterval":5000,"code":10200,"lightBeatEnabled":true}"#;
    if interval_ms == DEFAULT_BEAT_INTERVAL_MS && light_enabled {
        return Bytes::from_static(USUAL);
    }
    let mut out = Vec::with_capacity(USUAL.len() + 16);
    out.extend_from_slice(br#"{"clientBeatInterval":"#);
    json::unsigned(interval_ms, &mut out);
    out.extend_from_slice(br#","code":10200,"lightBeatEnabled":"#);
    json::boolean(light_enabled, &mut out);
    out.push(b'}');
    out.into()
}

/// The answer to a light beat for an unknown instance, code 20404: the client has to register again.
pub fn unknown_answer(interval_ms: u64) -> Bytes {
    const USUAL: &[u8] = br#"{"clientBeatInterval":5000,"code":20404}"#;
    if interval_ms == DEFAULT_BEAT_INTERVAL_MS {
        return Bytes::from_static(USUAL);
    }
    let mut out = Vec::with_capacity(USUAL.len() + 16);
    out.extend_from_slice(br#"{"clientBeatInterval":"#);
    json::unsigned(interval_ms, &mut out);
    out.extend_from_slice(br#","code":20404}"#);
    out.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn full(text: &str) -> Beat<'_> {
        parse(text).unwrap().unwrap()
    }

    #[test]
    fn a_beat_of_the_java_client() {
        let beat = full(
            r#"{"ip":"1.1.1.1","port":80,"weight":2.5,"metadata":{"a":"1"},"cluster":"DEFAULT","serviceName":"G@@s",
               "scheduled":true,"period":5000,"stopped":false,"future":{"x":[1]}}"#,
        );
        let metadata = Some([("a", "1")].into_iter().collect());
        let cluster = "DEFAULT".into();
        assert_eq!(beat, Beat { ip: "1.1.1.1".into(), port: 80, cluster, weight: 2.5, ephemeral: true, metadata });
        assert!(matches!((beat.ip, beat.cluster), (Cow::Borrowed(_), Cow::Borrowed(_))));
    }

    #[test]
    fn scalars_stand_in_for_each_other() {
        let beat =
            full(r#"{"ip": "1.1.1.1", "port": "81", "weight": "5", "metadata": {"n": 1, "t": true, "z": null}}"#);
        assert_eq!((beat.port, beat.weight), (81, 5.0));
        assert_eq!(beat.metadata, Some([("n", "1"), ("t", "true")].into_iter().collect()));
        assert!(!full(r#"{"ephemeral":false}"#).ephemeral);
        assert!(!full(r#"{"ephemeral":"false"}"#).ephemeral);
        assert_eq!(full(r#"{"ip":5}"#).ip, "5");
        assert_eq!(full(r#"{"weight":20000}"#).weight, 20000.0);
        assert_eq!(full(r#"{"weight":-1}"#).weight, -1.0);
    }

    #[test]
    fn what_is_missing_or_null_is_the_default() {
        for text in [
            "{}",
            r#"{"ip":null,"port":null,"cluster":null,"weight":null,"ephemeral":null,"metadata":null}"#,
            r#"{"IP":"1.1.1.1","Port":80,"load":"not a number"}"#,
            "{} trailing",
        ] {
            assert_eq!(full(text), Beat::default(), "{text}");
        }
        assert_eq!(full(r#"{"ip":"a","ip":"b"}"#).ip, "b");
    }

    #[test]
    fn light_beats() {
        for text in ["", " ", "null", " null\n"] {
            assert_eq!(parse(text), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn unreadable_beats() {
        for text in [
            "{",
            "[]",
            "1",
            "\"a\"",
            "nonsense",
            "nullx",
            r#"{"ip":"1.1.1.1","port":"x"}"#,
            r#"{"port":4294967296}"#,
            r#"{"port":true}"#,
            r#"{"ip":{}}"#,
            r#"{"weight":"NaN"}"#,
            r#"{"ephemeral":"maybe"}"#,
            r#"{"metadata":"a=1"}"#,
            r#"{"metadata":{"a":{}}}"#,
            r#"{"metadata":[]}"#,
        ] {
            let shown = format!("caused: {};", parse(text).unwrap_err());
            assert!(shown.starts_with("caused: errCode: 101, errMsg: Nacos deserialize for class ["), "{text}");
            assert!(shown.ends_with("] failed.  ;"), "{text}");
            assert!(matches!(parse(text), Err(Error::Refused(_))));
        }
    }

    #[test]
    fn answers() {
        assert_eq!(beat_answer(5000, true), r#"{"clientBeatInterval":5000,"code":10200,"lightBeatEnabled":true}"#);
        assert_eq!(beat_answer(0, true), r#"{"clientBeatInterval":0,"code":10200,"lightBeatEnabled":true}"#);
        assert_eq!(beat_answer(2500, false), r#"{"clientBeatInterval":2500,"code":10200,"lightBeatEnabled":false}"#);
        assert_eq!(unknown_answer(5000), r#"{"clientBeatInterval":5000,"code":20404}"#);
        assert_eq!(unknown_answer(4000), r#"{"clientBeatInterval":4000,"code":20404}"#);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(
            text in any::<String>(),
            name in "ip|port|cluster|weight|ephemeral|metadata",
            value in "[{}\\[\\]\",:a1 \\\\unltrefs.-]{0,20}",
        ) {
            let near = format!("{{\"{name}\":{value}}}");
            let _ = (parse(&text), parse(&near));
        }
    }
}
