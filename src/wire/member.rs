//! Members of the cluster as JSON (`spec/operator-api.md` 5.1 and 5.3).

use serde::Deserialize;

use super::json;
use crate::error::{Error, Result};
use crate::model::member::Member;

/// A member that is up. `version` is that of the API.
pub fn write(member: &Member, version: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"ip\":");
    json::string(&member.ip, out);
    out.extend_from_slice(b",\"port\":");
    json::unsigned(u64::from(member.port), out);
    out.extend_from_slice(b",\"state\":\"UP\",\"extendInfo\":{");
    if let Some(refreshed_ms) = member.extend.refreshed_ms {
        out.extend_from_slice(b"\"lastRefreshTime\":");
        json::unsigned(refreshed_ms, out);
        out.push(b',');
    }
    out.extend_from_slice(format!("\"raftPort\":\"{}\",\"version\":", member.raft_port()).as_bytes());
    json::string(version, out);
    out.extend_from_slice(b"},\"address\":");
    json::string(&member.address(), out);
    out.extend_from_slice(b",\"failAccessCnt\":0}");
}

/// What a member reports about itself.
#[derive(Debug, Deserialize)]
struct Report {
    ip: Option<String>,
    port: Option<i32>,
    address: Option<String>,
    /// Only read to refuse what is no state: the reporter counts as up, whatever it says.
    #[serde(rename = "state")]
    _state: Option<State>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum State {
    Starting,
    Up,
    Suspicious,
    Down,
    Isolation,
}

/// The address in a report; `None` when the report lacks something.
///
/// # Errors
/// [`Error::Refused`] when `body` is no JSON object of a member; members that are not known are ignored.
pub fn reported_address(body: &[u8]) -> Result<Option<String>> {
    let wrong = |fault| Error::Refused(format!("the report is not readable: {fault}"));
    let report: Report = serde_json::from_slice(body).map_err(wrong)?;
    let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
    let port = report.port.filter(|port| *port >= 0);
    Ok(given(report.ip).zip(port).and(given(report.address)))
}

/// A list of addresses.
///
/// # Errors
/// [`Error::Refused`] when `body` is no JSON array of texts.
pub fn addresses(body: &[u8]) -> Result<Vec<String>> {
    serde_json::from_slice(body).map_err(|fault| Error::Refused(format!("no list of addresses: {fault}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_the_members_of_the_reference() {
        let text = |member: &Member| {
            let mut out = Vec::new();
            write(member, "1.4.8", &mut out);
            String::from_utf8(out).unwrap()
        };
        let member = Member::new("10.0.0.1", 8848);
        assert_eq!(
            text(&member),
            "{\"ip\":\"10.0.0.1\",\"port\":8848,\"state\":\"UP\",\"extendInfo\":{\"raftPort\":\"7848\",\
             \"version\":\"1.4.8\"},\"address\":\"10.0.0.1:8848\",\"failAccessCnt\":0}"
        );
        let member =
            Member { extend: crate::model::member::Extend { refreshed_ms: Some(5), ..Default::default() }, ..member };
        assert!(text(&member).contains("{\"lastRefreshTime\":5,\"raftPort\":\"7848\","));
    }

    #[test]
    fn reports() {
        let address = |text: &str| reported_address(text.as_bytes());
        let good = r#"{"ip":"a","port":1,"address":"a:1","state":"DOWN","extendInfo":{"x":[1]},"more":null}"#;
        assert_eq!(address(good), Ok(Some("a:1".into())));
        for lacking in
            ["{}", r#"{"ip":"a","port":1}"#, r#"{"ip":" ","port":1,"address":"a"}"#, r#"{"ip":"a","address":"a"}"#]
        {
            assert_eq!(address(lacking), Ok(None), "{lacking}");
        }
        for wrong in ["", "[]", "null", "1", r#"{"ip":"a","port":1,"address":"a:1","state":"GONE"}"#] {
            assert!(matches!(address(wrong), Err(Error::Refused(_))), "{wrong}");
        }
        assert_eq!(addresses(br#"["a:1"]"#), Ok(vec!["a:1".to_owned()]));
        assert!(matches!(addresses(b"{}"), Err(Error::Refused(_))));
    }
}
