//! The MYSQL check (`spec/health.md` 2.6): log in, run a command, leave.

use std::time::{Duration, Instant};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Error, OptsBuilder, Row, Value};
use tokio::time::timeout;

use super::target;
use super::verdict::Finding;

/// From connecting to the end of the login.
const LOGIN_LIMIT: Duration = Duration::from_millis(1_500);
/// The command.
const COMMAND_LIMIT: Duration = Duration::from_secs(1);
/// A polite end is not waited for longer than this.
const LEAVE_LIMIT: Duration = Duration::from_millis(500);
/// With exactly this command the answer `ON` means a replica, which is not what is wanted.
const READ_ONLY_QUERY: &str = "show global variables where variable_name='read_only'";
/// Largest packet accepted.
const MAX_PACKET: usize = 1 << 20;
/// Of the session, so that nobody has to ask the server for its own value; seconds.
const SESSION_TIMEOUT_S: usize = 28_800;

/// Who logs in and what is run; `None` counts as empty.
#[derive(Debug, Clone, Copy)]
pub(super) struct Login<'a> {
    pub(super) user: Option<&'a str>,
    pub(super) password: Option<&'a str>,
    pub(super) command: Option<&'a str>,
}

/// Checks `host` (address or name) at `port`. A connection per check, unlike the reference, which keeps one open.
pub(super) async fn check(host: &str, port: i32, login: Login<'_>) -> Finding {
    let checked = async {
        let address = target::address(host, port).await?;
        let options = OptsBuilder::default()
            .ip_or_hostname(address.ip().to_string())
            .tcp_port(address.port())
            .user(login.user)
            .pass(login.password)
            .prefer_socket(false)
            .stmt_cache_size(0)
            .max_allowed_packet(Some(MAX_PACKET))
            .wait_timeout(Some(SESSION_TIMEOUT_S));
        let start = Instant::now();
        let connected = timeout(LOGIN_LIMIT, Conn::new(options)).await.map_err(|_| Finding::Busy)?;
        let mut connection = connected.map_err(|error| finding_of(&error, address.is_ipv4()))?;
        let command = login.command.unwrap_or_default();
        let answered = timeout(COMMAND_LIMIT, connection.query_first::<Row, _>(command)).await;
        let elapsed_ms = start.elapsed().as_secs_f64() * 1_000.0;
        let first = answered.map_err(|_| Finding::Busy)?.map_err(|error| finding_of(&error, address.is_ipv4()))?;
        // The command has been answered: how the session ends says nothing more.
        let _ = timeout(LEAVE_LIMIT, connection.disconnect()).await;
        Ok(judge(command, first.as_ref(), elapsed_ms))
    };
    checked.await.unwrap_or_else(|finding| finding)
}

fn judge(command: &str, first: Option<&Row>, elapsed_ms: f64) -> Finding {
    let second = first.and_then(|row| row.as_ref(1));
    let replica = command == READ_ONLY_QUERY && matches!(second, Some(Value::Bytes(text)) if text == b"ON");
    if replica { Finding::Fail } else { Finding::Ok(elapsed_ms) }
}

/// A refused login is an SQL error like any other; a refused connection is one for the reference's client too.
fn finding_of(error: &Error, ipv4: bool) -> Finding {
    match error {
        Error::Server(_) => Finding::FailNow,
        Error::Io(mysql_async::IoError::Io(error)) => target::finding_of(error, ipv4),
        _ => Finding::Fail,
    }
}

#[cfg(test)]
mod tests;
