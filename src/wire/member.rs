//! Members of the cluster as JSON (`spec/members.md` 2 and 4, `spec/operator-api.md` 5).

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::json;
use super::object::{self, Scalar};
use crate::error::{Error, Result};
use crate::model::member::{Extend, Member, State};
use crate::model::peer::{Gap, Phase, Standing};

/// The most that a member may say beside its address, in bytes.
const MAX_EXTEND_BYTES: usize = 64 * 1024;
/// The most things that a member may say beside its address.
const MAX_EXTEND_ENTRIES: usize = 64;
/// What a report without `extendInfo` counts as saying.
const DEFAULT_OTHERS: [(&str, &str); 3] = [("adWeight", "\"0\""), ("site", "\"unknow\""), ("weight", "\"1\"")];
/// Codes by which a member says that all is well.
const GOOD_CODES: [i64; 2] = [0, 200];

/// A member. `version` is that of the API for the own record; of others (`None`) it is what they reported.
pub fn write(member: &Member, version: Option<&str>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"ip\":");
    json::string(&member.ip, out);
    out.extend_from_slice(b",\"port\":");
    json::unsigned(u64::from(member.port), out);
    out.extend_from_slice(b",\"state\":");
    json::string(state_word(member.state), out);
    out.extend_from_slice(b",\"extendInfo\":{");
    json::separated(extend(member, version), out, |(name, value), out| {
        json::string(name, out);
        out.push(b':');
        out.extend_from_slice(&value);
    });
    out.extend_from_slice(b"},\"address\":");
    json::string(&member.address(), out);
    out.extend_from_slice(b",\"failAccessCnt\":");
    json::unsigned(u64::from(member.failures), out);
    out.push(b'}');
}

/// As members say it.
pub fn state_word(state: State) -> &'static str {
    match state {
        State::Starting => "STARTING",
        State::Up => "UP",
        State::Suspicious => "SUSPICIOUS",
        State::Down => "DOWN",
        State::Isolation => "ISOLATION",
    }
}

/// Names and JSON values of all that a member says of itself, in order of names.
fn extend<'a>(member: &'a Member, version: Option<&'a str>) -> Vec<(&'a str, Cow<'a, [u8]>)> {
    let text = |value: &str| {
        let mut out = Vec::with_capacity(value.len() + 2);
        json::string(value, &mut out);
        Cow::Owned(out)
    };
    let said = &member.extend;
    let mut all: Vec<(&str, Cow<'_, [u8]>)> =
        said.others.iter().map(|(name, value)| (name.as_str(), value.as_bytes().into())).collect();
    let raft_port = said.raft_port.clone().unwrap_or_else(|| member.raft_port().to_string());
    all.push(("raftPort", text(&raft_port)));
    all.extend(said.refreshed_ms.map(|ms| ("lastRefreshTime", ms.to_string().into_bytes().into())));
    all.extend(said.standing.map(|standing| ("nacre", text(&standing_text(standing)))));
    all.extend(said.raft_meta.as_ref().map(|value| ("raftMetaData", value.as_bytes().into())));
    all.extend(version.or(said.version.as_deref()).map(|version| ("version", text(version))));
    all.sort_by_key(|(name, _)| *name);
    all
}

/// A standing as members tell it each other: phase, start and end of the gap.
fn standing_text(standing: Standing) -> String {
    let phase = match standing.phase {
        Phase::Loading => "loading",
        Phase::Restored => "restored",
        Phase::Ready => "ready",
    };
    format!("{phase};{};{}", standing.gap.from_ms, standing.gap.to_ms)
}

/// What follows the third part is of later versions.
fn standing_of(text: &str) -> Option<Standing> {
    let mut parts = text.split(';');
    let phase = match parts.next()? {
        "loading" => Phase::Loading,
        "restored" => Phase::Restored,
        "ready" => Phase::Ready,
        _ => return None,
    };
    let mut ms = || parts.next()?.parse().ok();
    Some(Standing { phase, gap: Gap { from_ms: ms()?, to_ms: ms()? } })
}

/// What a member says about itself.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report<'a> {
    ip: Option<String>,
    port: Option<i32>,
    address: Option<String>,
    state: Option<StateWord>,
    #[serde(borrow)]
    extend_info: Option<&'a RawValue>,
    fail_access_cnt: Option<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum StateWord {
    Starting,
    Up,
    Suspicious,
    Down,
    Isolation,
}

impl Report<'_> {
    /// `Ok(None)` when it lacks something. The address tells who it is, whatever ip and port say.
    fn member(self) -> Result<Option<Member>> {
        let given = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let port = self.port.and_then(|port| u16::try_from(port).ok());
        let (Some(_), Some(port), Some(address)) = (given(self.ip), port, given(self.address)) else {
            return Ok(None);
        };
        let bracketed = address.ends_with(']');
        let named = address.rsplit_once(':').filter(|_| !bracketed);
        let named = named.and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = named.unwrap_or((&address, port));
        let state = match self.state {
            Some(StateWord::Starting) => State::Starting,
            Some(StateWord::Up) | None => State::Up,
            Some(StateWord::Suspicious) => State::Suspicious,
            Some(StateWord::Down) => State::Down,
            Some(StateWord::Isolation) => State::Isolation,
        };
        let failures = self.fail_access_cnt.unwrap_or(0).clamp(0, u32::MAX.into());
        Ok(Some(Member {
            state,
            failures: u32::try_from(failures).unwrap_or(u32::MAX),
            extend: extend_of(self.extend_info.map(RawValue::get))?,
            ..Member::new(host, port)
        }))
    }
}

/// Reads an `extendInfo`.
fn extend_of(text: Option<&str>) -> Result<Extend> {
    let Some(text) = text else {
        let others = DEFAULT_OTHERS.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        return Ok(Extend { others, ..Extend::default() });
    };
    if text.len() > MAX_EXTEND_BYTES {
        return Err(refused(format!("an extendInfo of {} bytes is more than {MAX_EXTEND_BYTES}", text.len())));
    }
    let mut said = Extend::default();
    let mut entries = 0;
    object::members(text, |name, value| {
        entries += 1;
        if entries > MAX_EXTEND_ENTRIES {
            return None;
        }
        let text = || Scalar::of(value).and_then(Scalar::into_text).map(Cow::into_owned);
        match name.as_ref() {
            "lastRefreshTime" => said.refreshed_ms = text().and_then(|ms| ms.parse().ok()),
            "raftPort" => said.raft_port = text(),
            "version" => said.version = text(),
            "raftMetaData" => said.raft_meta = (value != "null").then(|| compact(value)),
            "nacre" => said.standing = text().as_deref().and_then(standing_of),
            _ => {
                said.others.retain(|(known, _)| *known != *name);
                said.others.push((name.into_owned(), compact(value)));
            }
        }
        Some(())
    })
    .ok_or_else(|| refused(format!("extendInfo is no object of at most {MAX_EXTEND_ENTRIES} entries")))?;
    Ok(said)
}

/// Without the white space between tokens.
fn compact(json: &str) -> String {
    let (mut quoted, mut escaped) = (false, false);
    let keep = |&c: &char| {
        let kept = quoted || !c.is_ascii_whitespace();
        quoted ^= c == '"' && !escaped;
        escaped = quoted && c == '\\' && !escaped;
        kept
    };
    json.chars().filter(keep).collect()
}

fn refused(fault: impl std::fmt::Display) -> Error {
    Error::Refused(format!("the report is not readable: {fault}"))
}

/// The member that reports itself; `None` when it lacks something.
///
/// # Errors
/// [`Error::Refused`] when `body` is no JSON object of a member, or says more than 64 things or 64 KiB about it.
pub fn report(body: &[u8]) -> Result<Option<Member>> {
    serde_json::from_slice::<Report<'_>>(body).map_err(refused)?.member()
}

/// An answer of `core`, see [`super::wrapped`].
#[derive(Debug, Deserialize)]
struct Wrapped<'a> {
    code: i64,
    message: Option<String>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

fn unwrapped(body: &[u8]) -> Result<Option<&str>> {
    let unreadable = |fault| Error::Refused(format!("the answer is not readable: {fault}"));
    let answer: Wrapped<'_> = serde_json::from_slice(body).map_err(unreadable)?;
    if GOOD_CODES.contains(&answer.code) {
        return Ok(answer.data.map(RawValue::get));
    }
    Err(Error::Refused(format!("code {}: {}", answer.code, answer.message.unwrap_or_default())))
}

/// The member that `core/cluster/self` answered.
///
/// # Errors
/// [`Error::Refused`] when the answer is not readable, says that it failed, or is no complete member.
pub fn own(body: &[u8]) -> Result<Member> {
    let incomplete = || Error::Refused("the answer holds no complete member".into());
    report(unwrapped(body)?.ok_or_else(incomplete)?.as_bytes())?.ok_or_else(incomplete)
}

/// Whether the receiver of a report has the sender in its list.
///
/// # Errors
/// [`Error::Refused`] when the answer is not readable or says that it failed.
pub fn report_answer(body: &[u8]) -> Result<bool> {
    let data = unwrapped(body)?.and_then(Scalar::of);
    Ok(data.and_then(Scalar::into_text).is_some_and(|data| data == "true"))
}

/// A list of addresses as JSON.
pub fn write_addresses(addresses: &[String], out: &mut Vec<u8>) {
    out.push(b'[');
    json::separated(addresses, out, |address, out| json::string(address, out));
    out.push(b']');
}

/// A list of addresses.
///
/// # Errors
/// [`Error::Refused`] when `body` is no JSON array of texts.
pub fn addresses(body: &[u8]) -> Result<Vec<String>> {
    serde_json::from_slice(body).map_err(|fault| Error::Refused(format!("no list of addresses: {fault}")))
}

#[cfg(test)]
mod tests;
