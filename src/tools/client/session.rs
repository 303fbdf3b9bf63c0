//! A server and the login there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Deserialize;

use super::{Connection, Server, encoded};
use crate::error::{Error, Result};

/// A login that fails is tried again after this time.
const RETRY: Duration = Duration::from_secs(5);
const TIMEOUT: Duration = Duration::from_secs(10);
/// A shorter life of a token is taken for this one, so that nobody logs in all the time.
const MIN_LIFE_S: u64 = 2;

/// Where to send requests, and as whom. Shared by all connections.
#[derive(Debug)]
pub struct Session {
    server: Server,
    credentials: Option<Credentials>,
    /// Headers that every request has, up to and with the blank line.
    tail: Mutex<Arc<[u8]>>,
    version: AtomicU64,
    life: Mutex<Duration>,
}

struct Credentials {
    username: String,
    password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("username", &self.username).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Token {
    #[serde(rename = "accessToken")]
    access_token: String,
    /// In seconds.
    #[serde(rename = "tokenTtl")]
    token_ttl: u64,
}

impl Session {
    /// A session as nobody.
    pub fn anonymous(server: Server) -> Self {
        let tail = Mutex::new(Arc::from(&b"\r\n"[..]));
        Self { server, credentials: None, tail, version: AtomicU64::new(1), life: Mutex::default() }
    }

    /// A session as that user; log in with [`login`](Self::login) once the server runs.
    pub fn of_user(server: Server, username: &str, password: &str) -> Self {
        let credentials = Some(Credentials { username: username.to_owned(), password: password.to_owned() });
        Self { credentials, ..Self::anonymous(server) }
    }

    /// Where.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Asks for a token; nothing to do for nobody.
    ///
    /// # Errors
    /// [`Error::Denied`] when the server refuses, [`Error::Unavailable`] when it does not answer as it should.
    pub async fn login(self: &Arc<Self>) -> Result<()> {
        let Some(credentials) = &self.credentials else { return Ok(()) };
        let Server { host, context, .. } = &self.server;
        let body = format!("username={}&password={}", encoded(&credentials.username), encoded(&credentials.password));
        // The same in the query would end in access logs.
        let head = format!(
            "POST {context}/v1/auth/users/login HTTP/1.1\r\nHost: {host}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
            body.len()
        );
        // The token in use, if there is one, may be the one that is too old.
        let nobody = Arc::new(Self::anonymous(self.server.clone()));
        let mut connection = Connection::new(nobody, TIMEOUT);
        let answer = connection.ask(head.as_bytes(), body.as_bytes()).await;
        let answer = answer.map_err(|fault| Error::Unavailable(format!("no login: {fault}")))?;
        if answer.status != 200 {
            let text = String::from_utf8_lossy(answer.body);
            return Err(Error::Denied(format!("no login: the server says {} {text}", answer.status)));
        }
        let token: Token = serde_json::from_slice(answer.body)
            .map_err(|_| Error::Unavailable("no login: the answer is not that of a Nacos server".into()))?;
        if token.access_token.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(Error::Unavailable("no login: the token can't be sent as a header".into()));
        }
        *self.life.lock() = Duration::from_secs(token.token_ttl.clamp(MIN_LIFE_S, 365 * 86_400));
        *self.tail.lock() = format!("Authorization: Bearer {}\r\n\r\n", token.access_token).into_bytes().into();
        self.version.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Renews the token before it is too old, as clients do: when a tenth of its life is left. Never ends.
    pub async fn keep_fresh(self: Arc<Self>) {
        if self.credentials.is_none() {
            std::future::pending::<()>().await;
        }
        let mut pause = *self.life.lock();
        loop {
            tokio::time::sleep(pause.mul_f64(0.9).max(Duration::from_secs(1))).await;
            pause = if self.login().await.is_ok() { *self.life.lock() } else { RETRY };
        }
    }

    /// Puts the headers of every request into `tail` when they are not those of `version`.
    pub(super) fn refresh(&self, version: &mut u64, tail: &mut Arc<[u8]>) {
        let now = self.version.load(Ordering::Acquire);
        if *version != now {
            *version = now;
            *tail = self.tail.lock().clone();
        }
    }
}
