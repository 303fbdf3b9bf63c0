//! `/v1/cs`: what clients ask of a configuration service, answered by a server that is none (`spec/clients.md` 5).
//!
//! Dubbo 2.7 takes its registry for its configuration and metadata centre too. It finds no configuration here, waits
//! for changes that never come, and is told in a way that it does not repeat for ever that nothing was stored.

use std::time::Duration;

use hyper::header::HeaderName;

use super::call::{Call, Step, not_a_number};
use super::reply::Reply;
use crate::error::Result;

/// How long a client wants to wait for a change, in ms.
const LONG_PULLING_TIMEOUT: HeaderName = HeaderName::from_static("long-pulling-timeout");
/// `true`: it does not want to wait this time.
const NO_HANGUP: HeaderName = HeaderName::from_static("long-pulling-timeout-no-hangup");
/// Answered so much sooner than the client asks for, so that it does not give up first; as in the reference.
const AHEAD: Duration = Duration::from_micros(500_000);
/// Nobody waits for less (as in the reference), nor, whatever a client asks for, for more.
const SHORTEST: Duration = Duration::from_secs(10);
const LONGEST: Duration = Duration::from_secs(60);
/// In the names under which Dubbo publishes what is known of its providers and consumers:
/// `INTERFACE:VERSION:GROUP:SIDE:APPLICATION`.
const DUBBO_SIDES: [&str; 2] = [":provider:", ":consumer:"];

/// GET `configs`: there is none.
///
/// # Errors
/// None.
pub fn show(_: &Call<'_>) -> Result<Step> {
    Ok(Step::Answer(Reply::no_config()))
}

/// POST `configs`: nothing is stored, and the answer says so. Dubbo repeats what it publishes for its metadata every 3 s
/// until the status is 200, and nothing of its own depends on it: it gets `false`, the word for "not published". All
/// others get an error, because the Java client reports any 200 as a success.
///
/// # Errors
/// [`Error::Input`](crate::error::Error::Input) when no `dataId` is given.
pub fn publish(call: &Call<'_>) -> Result<Step> {
    let name = call.params.required("dataId")?;
    let metadata = DUBBO_SIDES.iter().any(|side| name.contains(side));
    Ok(Step::Answer(if metadata { Reply::json("false") } else { Reply::no_config_service() }))
}

/// POST `configs/listener`: nothing ever changes, which is answered when the client's time is nearly over.
///
/// # Errors
/// [`Error::Input`](crate::error::Error::Input) when no configuration is named, or the time is no number.
pub fn listen(call: &Call<'_>) -> Result<Step> {
    call.params.required("Listening-Configs")?;
    let header = |name| call.headers.get(name).and_then(|value| value.to_str().ok());
    let unchanged = Reply::text("");
    let Some(asked) = header(LONG_PULLING_TIMEOUT).filter(|_| header(NO_HANGUP) != Some("true")) else {
        return Ok(Step::Answer(unchanged));
    };
    Ok(Step::Later(wait(asked)?, unchanged))
}

fn wait(asked: &str) -> Result<Duration> {
    let asked_ms = asked.trim().parse().map_err(|_| not_a_number(asked))?;
    Ok(Duration::from_millis(asked_ms).saturating_sub(AHEAD).clamp(SHORTEST, LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;

    #[test]
    fn the_wait_is_half_a_second_less_than_asked_for_within_bounds() {
        for (asked, wait_ms) in [
            ("30000", 29_500),
            (" 45000 ", 44_500),
            ("0", 10_000),
            ("10499", 10_000),
            ("60500", 60_000),
            ("18446744073709551615", 60_000),
        ] {
            assert_eq!(wait(asked).unwrap(), Duration::from_millis(wait_ms), "{asked}");
        }
        for asked in ["", "-1", "30s", "18446744073709551616"] {
            assert!(matches!(wait(asked), Err(Error::Input(_))), "{asked}");
        }
    }
}
