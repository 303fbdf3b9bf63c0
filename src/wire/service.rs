//! Answers about services (`spec/service-api.md` 2), and the report of health that servers send to each other (2.9,
//! `spec/members.md` 6).

use std::borrow::Cow;
use std::sync::Arc;

use super::object::Scalar;
use super::selector::{self, text_of};
use super::{checker, json, metadata, object};
use crate::error::{Error, Result};
use crate::model::{ClusterSettings, DEFAULT_NAMESPACE, ServiceKey, ServiceSettings};

/// The answer about one service (2.4). Clusters in the order given, with their names.
pub fn detail<'a>(
    key: &ServiceKey,
    settings: &ServiceSettings,
    clusters: impl IntoIterator<Item = (&'a str, &'a ClusterSettings)>,
) -> Vec<u8> {
    let mut out = br#"{"name":"#.to_vec();
    json::string(key.plain_name(), &mut out);
    out.extend_from_slice(br#","namespaceId":"#);
    json::string(&key.namespace, &mut out);
    out.extend_from_slice(br#","protectThreshold":"#);
    json::float(settings.protect_threshold, &mut out);
    out.extend_from_slice(br#","metadata":"#);
    metadata::write_map(&settings.metadata, &mut out);
    out.extend_from_slice(br#","selector":"#);
    selector::write_json(&settings.selector, &mut out);
    out.extend_from_slice(br#","groupName":"#);
    json::string(key.group(), &mut out);
    out.extend_from_slice(br#","clusters":["#);
    json::separated(clusters, &mut out, |(name, settings), out| {
        out.extend_from_slice(br#"{"name":"#);
        json::string(name, out);
        out.extend_from_slice(br#","healthChecker":"#);
        checker::write_json(&settings.checker, out);
        out.extend_from_slice(br#","metadata":"#);
        metadata::write_map(&settings.metadata, out);
        out.push(b'}');
    });
    out.extend_from_slice(b"]}");
    out
}

/// A page of names and how many there are in all (2.5).
pub fn names<T: AsRef<str>>(page: impl IntoIterator<Item = T>, count: usize) -> Vec<u8> {
    let mut out = br#"{"doms":["#.to_vec();
    json::separated(page, &mut out, |name, out| json::string(name.as_ref(), out));
    out.extend_from_slice(br#"],"count":"#);
    json::unsigned(count as u64, &mut out);
    out.push(b'}');
    out
}

/// Plain names by namespace (2.6). The count is that of the namespaces.
pub fn names_by_namespace<'a, N>(namespaces: &'a [(impl AsRef<str>, N)]) -> Vec<u8>
where
    &'a N: IntoIterator<Item: AsRef<str>>,
{
    let mut out = br#"{"services":{"#.to_vec();
    json::separated(namespaces, &mut out, |(namespace, names), out| {
        json::string(namespace.as_ref(), out);
        out.extend_from_slice(b":[");
        json::separated(names, out, |name, out| json::string(name.as_ref(), out));
        out.push(b']');
    });
    out.extend_from_slice(br#"},"count":"#);
    json::unsigned(namespaces.len() as u64, &mut out);
    out.push(b'}');
    out
}

/// Grouped names of services and their checksums.
pub type ServiceSums = Vec<(Arc<str>, Arc<str>)>;

/// Appends the report of `sender`, an address, on services of `namespace`. Receivers URL-decode the whole of it, so what
/// that would change is written as JSON escapes, which come out right with and without it.
pub fn write_report(sender: &str, namespace: &str, sums: &[(Arc<str>, Arc<str>)], out: &mut Vec<u8>) {
    let mut statuses = br#"{"namespaceId":"#.to_vec();
    json::string(namespace, &mut statuses);
    statuses.extend_from_slice(br#","serviceName2Checksum":{"#);
    json::separated(sums, &mut statuses, |(name, sum), out| {
        json::string(name, out);
        out.push(b':');
        json::string(sum, out);
    });
    statuses.extend_from_slice(b"}}");
    let mut report = br#"{"clientIP":"#.to_vec();
    json::string(sender, &mut report);
    report.extend_from_slice(br#","statuses":"#);
    json::string(&String::from_utf8_lossy(&statuses), &mut report);
    report.push(b'}');
    out.reserve(report.len());
    for byte in report {
        match byte {
            b'%' => out.extend_from_slice(br"\u0025"),
            b'+' => out.extend_from_slice(br"\u002B"),
            _ => out.push(byte),
        }
    }
}

/// What another server says of the health of its services (2.9).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusReport {
    /// Checksums of services as a JSON text.
    pub statuses: String,
    /// Address of the server that sent it.
    pub sender: String,
}

impl StatusReport {
    /// Reads the body, already URL-decoded.
    ///
    /// # Errors
    /// [`Error::Refused`] when it is no JSON object or has not both members.
    pub fn parse(text: &str) -> Result<Self> {
        let (mut statuses, mut sender) = (None, None);
        object::members(text, |name: Cow<'_, str>, value| {
            match name.as_ref() {
                "statuses" => statuses = Some(text_of(value)?),
                "clientIP" => sender = Some(text_of(value)?),
                _ => {}
            }
            Some(())
        });
        match (statuses, sender) {
            (Some(statuses), Some(sender)) => Ok(Self { statuses, sender }),
            _ => Err(Error::Refused("a report is a JSON object with the members statuses and clientIP".into())),
        }
    }

    /// Namespace and checksums of services that the sender owns. `None` when its statuses are not readable, which the
    /// reference passes over. Services with a null for a checksum are left out.
    pub fn sums(&self) -> Option<(Arc<str>, ServiceSums)> {
        let (mut namespace, mut sums): (Arc<str>, _) = (DEFAULT_NAMESPACE.into(), Vec::new());
        object::members(&self.statuses, |name, value| {
            match name.as_ref() {
                "namespaceId" => namespace = Scalar::of(value)?.into_text()?.into(),
                "serviceName2Checksum" => {
                    sums.clear();
                    object::members(value, |name, sum| {
                        sums.extend(Scalar::of(sum)?.into_text().map(|sum| (Arc::from(name), Arc::from(sum))));
                        Some(())
                    })?;
                }
                _ => {}
            }
            Some(())
        })?;
        Some((namespace, sums))
    }

    /// Whether it says nothing: its statuses are the JSON null.
    pub fn is_null(&self) -> bool {
        object::is_null(&self.statuses)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{HealthChecker, Selector};

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_service_shows_its_settings_and_clusters_but_no_password() {
        let settings = ServiceSettings {
            protect_threshold: 0.35,
            metadata: [("a", "b\"")].into_iter().collect(),
            selector: Selector::Label { expression: String::new(), labels: Vec::new() },
        };
        let checker = HealthChecker::Mysql { user: None, pwd: Some("secret".into()), cmd: None };
        let clusters = ClusterSettings { checker, ..ClusterSettings::default() };
        let shown = text(detail(&ServiceKey::new("n", "G@@s"), &settings, [("C1", &clusters)]));
        assert_eq!(
            shown,
            concat!(
                r#"{"name":"s","namespaceId":"n","protectThreshold":0.35,"metadata":{"a":"b\""},"#,
                r#""selector":{"type":"label","expression":"","labels":[]},"groupName":"G","clusters":["#,
                r#"{"name":"C1","healthChecker":{"type":"MYSQL","pwd":"******"},"metadata":{}}]}"#
            )
        );
    }

    #[test]
    fn lists_of_names() {
        assert_eq!(text(names(["a", "\""], 5)), r#"{"doms":["a","\""],"count":5}"#);
        let all = [("public", vec!["a", "b"]), ("dev", vec![])];
        assert_eq!(text(names_by_namespace(&all)), r#"{"services":{"public":["a","b"],"dev":[]},"count":2}"#);
        assert_eq!(text(names_by_namespace::<Vec<&str>>(&[] as &[(&str, _)])), r#"{"services":{},"count":0}"#);
    }

    fn report(sender: &str, namespace: &str, sums: &[(Arc<str>, Arc<str>)]) -> String {
        let mut out = Vec::new();
        write_report(sender, namespace, sums, &mut out);
        text(out)
    }

    #[test]
    fn a_report_is_that_of_a_real_node() {
        let sums = [(Arc::from("DEFAULT_GROUP@@capb-2"), Arc::from("3b93"))];
        let captured = concat!(
            r#"{"clientIP":"127.0.0.1:18311","statuses":"{\"namespaceId\":\"public\","#,
            r#"\"serviceName2Checksum\":{\"DEFAULT_GROUP@@capb-2\":\"3b93\"}}"}"#
        );
        assert_eq!(report("127.0.0.1:18311", "public", &sums), captured);
        let read = StatusReport::parse(captured).unwrap();
        assert_eq!((read.sender.as_str(), read.sums()), ("127.0.0.1:18311", Some(("public".into(), sums.to_vec()))));
        assert_eq!(
            report("a", "n", &[]),
            r#"{"clientIP":"a","statuses":"{\"namespaceId\":\"n\",\"serviceName2Checksum\":{}}"}"#
        );
    }

    #[test]
    fn url_decoding_changes_nothing_in_a_report() {
        let sums = [(Arc::from("G@@s%20\"\\"), Arc::from("+1"))];
        let written = report("h+%41:1", "a+b %2B é", &sums);
        assert!(!written.contains(['%', '+']), "{written}");
        let read = StatusReport::parse(&written).unwrap();
        assert_eq!((read.sender.as_str(), read.sums()), ("h+%41:1", Some(("a+b %2B é".into(), sums.to_vec()))));
    }

    #[test]
    fn statuses_of_a_report() {
        let sums = |statuses: &str| StatusReport { statuses: statuses.into(), sender: String::new() }.sums();
        let one = |namespace: &str| Some((Arc::from(namespace), vec![(Arc::from("s"), Arc::from("1"))]));
        assert_eq!(sums(r#"{"serviceName2Checksum":{"s":1,"t":null}}"#), one("public"));
        assert_eq!(sums(r#"{"serviceName2Checksum":{"s":"1"},"more":[],"namespaceId":"n"}"#), one("n"));
        assert_eq!(sums("{}"), Some(("public".into(), Vec::new())));
        for wrong in ["", "null", "[]", r#"{"serviceName2Checksum":[]}"#, r#"{"serviceName2Checksum":{"s":{}}}"#] {
            assert_eq!(sums(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn reports_need_both_members() {
        let report = StatusReport::parse(r#"{"statuses":"{}","clientIP":"1.1.1.1:8848","x":[]}"#).unwrap();
        assert_eq!((report.statuses.as_str(), report.sender.as_str()), ("{}", "1.1.1.1:8848"));
        assert!(!report.is_null());
        for null in [r#"{"statuses":null,"clientIP":""}"#, r#"{"statuses":"null","clientIP":""}"#] {
            assert!(StatusReport::parse(null).unwrap().is_null(), "{null}");
        }
        for wrong in ["", "x", "[]", "{}", r#"{"statuses":"{}"}"#, r#"{"clientIP":"x"}"#] {
            assert!(matches!(StatusReport::parse(wrong), Err(Error::Refused(_))), "{wrong}");
        }
    }
}
