//! Switches as JSON, and the texts that change them (`spec/operator-api.md` 1.6 and 2).

use std::collections::BTreeMap;

use serde_json::Value;

use super::number;
use crate::error::{Error, Result};
use crate::model::command::{PushLanguage, Switch};
use crate::model::settings::{CheckParams, Switches};
use crate::model::status::ServerStatus;

const MIN_PUSH_CACHE_MS: i64 = 10_000;
const MIN_CACHE_MS: i64 = 1_000;
const MIN_SERVICE_STATUS_MS: i64 = 5_000;
const MIN_SERVER_STATUS_MS: i64 = 1_000;
/// Bounds of the intervals between HTTP and TCP checks: least `min`, least `max`, in ms.
const MIN_CHECK_MS: (i32, i32) = (500, 3_000);
/// Statuses that can end a request; a 1xx would not.
const STATUSES: std::ops::RangeInclusive<i32> = 200..=599;

/// All switches.
///
/// # Errors
/// [`Error::Storage`] when they have no JSON form, which values that [`parse`] made always have.
pub fn json(switches: &Switches) -> Result<Vec<u8>> {
    serde_json::to_vec(switches).map_err(|fault| Error::Storage(format!("switches can't be shown: {fault}")))
}

/// What setting `entry` to `value` means; `None` when it means nothing: an unknown entry, one that never changes, an
/// empty map of limited URLs.
///
/// # Errors
/// [`Error::Input`] with the text of the reference when the value is not for this entry; [`Error::Refused`] where the
/// reference fails.
pub fn parse(entry: &str, value: &str) -> Result<Option<Switch>> {
    let strict = || number::strict_bool(value);
    Ok(Some(match entry {
        "batch" => Switch::All(Box::new(all(value)?)),
        "distroThreshold" => Switch::DistroThreshold(threshold(value)?),
        "clientBeatInterval" => Switch::ClientBeatInterval(long(value)?),
        "pushVersion" => push_version(value)?,
        "pushCacheMillis" => {
            let text = "min cache time for http or tcp is too small(<10000)";
            Switch::DefaultPushCacheMillis(at_least(MIN_PUSH_CACHE_MS, value, text)?)
        }
        "defaultCacheMillis" => {
            let text = "min default cache time  is too small(<1000)";
            Switch::DefaultCacheMillis(at_least(MIN_CACHE_MS, value, text)?)
        }
        "masters" => Switch::Masters(split(value, ',').map(str::to_owned).collect()),
        "distro" => Switch::DistroEnabled(strict()),
        "check" => Switch::HealthCheckEnabled(strict()),
        "pushEnabled" => Switch::PushEnabled(strict()),
        "serviceStatusSynchronizationPeriodMillis" => {
            let text = "serviceStatusSynchronizationPeriodMillis is too small(<5000)";
            Switch::ServiceStatusSynchronizationPeriodMillis(at_least(MIN_SERVICE_STATUS_MS, value, text)?)
        }
        "serverStatusSynchronizationPeriodMillis" => {
            // The number in the text is not the bound: that is how the reference has it.
            let text = "serverStatusSynchronizationPeriodMillis is too small(<15000)";
            Switch::ServerStatusSynchronizationPeriodMillis(at_least(MIN_SERVER_STATUS_MS, value, text)?)
        }
        "healthCheckTimes" => Switch::CheckTimes(number::integer(value).ok_or_else(|| no_number(value))?),
        "disableAddIP" => Switch::DisableAddIp(strict()),
        "sendBeatOnly" => Switch::SendBeatOnly(strict()),
        "limitedUrlMap" if value.is_empty() => return Ok(None),
        "limitedUrlMap" => Switch::LimitedUrlMap(limited_urls(value)?),
        "overriddenServerStatus" => Switch::OverriddenServerStatus(status(value)?),
        "defaultInstanceEphemeral" => Switch::DefaultInstanceEphemeral(strict()),
        "distroServerExpiredMillis" => Switch::DistroServerExpiredMillis(long(value)?),
        "lightBeatEnabled" => Switch::LightBeatEnabled(number::word(value)),
        "autoChangeHealthCheckEnabled" => Switch::AutoChangeHealthCheckEnabled(number::word(value)),
        // `enableStandalone` is a known one that never changes.
        _ => return Ok(None),
    }))
}

fn no_number(text: &str) -> Error {
    Error::Input(format!("For input string: \"{text}\""))
}

fn input<T>(text: impl Into<String>) -> Result<T> {
    Err(Error::Input(text.into()))
}

fn long(text: &str) -> Result<i64> {
    text.parse().map_err(|_| no_number(text))
}

fn at_least(least: i64, text: &str, too_small: &str) -> Result<i64> {
    let value = long(text)?;
    if value < least { input(too_small) } else { Ok(value) }
}

/// Parts as Java splits them: empty ones at the end don't count, and no text is one empty part.
fn split(text: &str, at: char) -> impl Iterator<Item = &str> {
    let kept = if text.is_empty() { text } else { text.trim_end_matches(at) };
    let none = kept.is_empty() && !text.is_empty();
    kept.split(at).take(if none { 0 } else { usize::MAX })
}

fn threshold(text: &str) -> Result<f32> {
    // JSON has no infinity.
    let value = number::float(text).filter(|value| value.is_finite()).ok_or_else(|| no_number(text))?;
    if value > 0.0 {
        return Ok(value);
    }
    let mut shown = Vec::new();
    number::java_float(value, &mut shown);
    input(format!("distroThreshold can not be zero or negative: {}", String::from_utf8_lossy(&shown)))
}

fn push_version(text: &str) -> Result<Switch> {
    let mut parts = split(text, ':');
    let (Some(language), Some(version)) = (parts.next(), parts.next()) else {
        return Err(Error::Refused("pushVersion must be such as java:1.2.3".into()));
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if version.split('.').count() != 3 || !version.split('.').all(digits) {
        return input("illegal version, must match: [0-9]+\\.[0-9]+\\.[0-9]+");
    }
    let language = match language {
        "java" => PushLanguage::Java,
        "python" => PushLanguage::Python,
        "go" => PushLanguage::Go,
        "c" => PushLanguage::C,
        _ => return input(format!("unsupported client type: {language}")),
    };
    Ok(Switch::PushVersion(language, version.to_owned()))
}

fn limited_urls(text: &str) -> Result<BTreeMap<String, i32>> {
    let mut map = BTreeMap::new();
    for entry in split(text, ',') {
        let mut parts = split(entry, ':');
        let (Some(url), Some(status)) = (parts.next(), parts.next()) else {
            return input("invalid input for limited urls");
        };
        let status = || number::integer(status).ok_or_else(|| no_number(status));
        check_limited(url, status)?;
        map.insert(url.to_owned(), status()?);
    }
    Ok(map)
}

fn check_limited(url: &str, status: impl FnOnce() -> Result<i32>) -> Result<()> {
    if url.is_empty() {
        return input("url can not be empty, url: ");
    }
    match status()? {
        status if STATUSES.contains(&status) => Ok(()),
        status => input(format!("illegal normal status code: {status}")),
    }
}

/// `null` and blanks: not overridden. What is no status is refused: the reference would take it and get stuck.
fn status(text: &str) -> Result<Option<ServerStatus>> {
    if text == "null" || text.trim().is_empty() {
        return Ok(None);
    }
    let unknown = || Error::Input(format!("unknown server status: {text}"));
    ServerStatus::parse(text).map(Some).ok_or_else(unknown)
}

/// The switches in a JSON object: what is missing or null has its default, what is unknown is ignored.
fn all(text: &str) -> Result<Switches> {
    let wrong = |fault: serde_json::Error| Error::Refused(format!("the switches are not readable: {fault}"));
    let mut members: serde_json::Map<String, Value> = serde_json::from_str(text).map_err(wrong)?;
    members.retain(|_, value| !value.is_null());
    let switches: Switches = serde_json::from_value(Value::Object(members)).map_err(wrong)?;
    for params in [switches.http_health_params, switches.tcp_health_params] {
        check_params(params)?;
    }
    if !switches.mysql_health_params.factor.is_finite() {
        return input("malformed factor");
    }
    if !switches.distro_threshold.is_finite() {
        return input("distroThreshold is not a number");
    }
    for (url, value) in &switches.limited_url_map {
        check_limited(url, || Ok(*value))?;
    }
    switches.overridden_server_status.as_deref().map_or(Ok(None), status)?;
    Ok(switches)
}

fn check_params(params: CheckParams) -> Result<()> {
    if params.min < MIN_CHECK_MS.0 {
        return input("min check time for http or tcp is too small(<500)");
    }
    if params.max < MIN_CHECK_MS.1 {
        return input("max check time for http or tcp is too small(<3000)");
    }
    if !(0.0..=1.0).contains(&params.factor) {
        return input("malformed factor");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
