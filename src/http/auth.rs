//! Who asks, and whether he may (`spec/auth.md`). The router asks [`Auth::admit`] before any handler sees a request.
//!
//! What each route needs stands in the table of routes; what that means, in [`access`]. Nothing is cached that could
//! outlive a change of users, roles or permissions: all of it counts from the next request on. The agent that a client
//! says it is and sessions play no part; the address it comes from counts for servers of a cluster alone (`peer`).

pub mod access;
pub mod gate;
mod hs;
mod lockout;
pub mod login;
mod page;
pub mod password;
mod peer;
pub mod permissions;
pub mod roles;
pub mod token;
pub mod users;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use hyper::header::{AUTHORIZATION, HeaderMap, HeaderName};
use parking_lot::RwLock;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::call::{Call, Caller, missing};
use super::reply::Reply;
use crate::error::{Error, Result};
use access::{Access, Refusal};
use gate::Gate;
use password::{Attempt, Passwords, Verdict};
use token::{Fault, Tokens};

/// Of the header that carries a token.
const BEARER: &str = "Bearer ";
/// No token and no user, or not the right password.
const UNKNOWN_USER: &str = "unknown user!";

/// How to tell who asks.
pub struct Options {
    /// Whether anybody is asked.
    pub enabled: bool,
    /// Key of the tokens, at least 32 bytes.
    pub token_key: Vec<u8>,
    /// Life of a token in seconds.
    pub token_ttl_s: u64,
    /// Header and value by which the servers of a cluster know each other; `None`: there are none.
    pub identity: Option<(String, String)>,
    /// Whether what servers of a cluster tell each other is taken from them alone.
    pub check_peers: bool,
}

/// See the module.
pub struct Auth {
    /// That of the rules, where every request can look at no cost.
    enabled: AtomicBool,
    rules: RwLock<Arc<Rules>>,
    passwords: Passwords,
    gate: Gate,
}

/// What may be replaced while the server runs.
struct Rules {
    enabled: bool,
    identity: Option<Identity>,
    check_peers: bool,
    tokens: Tokens,
}

impl Rules {
    fn new(options: Options) -> Result<Self> {
        let identity = options.identity.map(|(header, value)| {
            let header = HeaderName::try_from(&header);
            let header = header.map_err(|_| Error::Setup("the server identity is no header name".into()))?;
            Ok(Identity { header, digest: Sha256::digest(value.as_bytes()).into() })
        });
        let tokens = Tokens::new(&options.token_key, options.token_ttl_s);
        let Options { enabled, check_peers, .. } = options;
        Ok(Self { enabled, identity: identity.transpose()?, check_peers, tokens })
    }
}

/// What the servers of a cluster show each other.
struct Identity {
    header: HeaderName,
    digest: [u8; 32],
}

impl Identity {
    /// Compared by digest, so that neither place nor length of a difference shows in the time.
    fn is_shown(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(&self.header).map(|value| Sha256::digest(value.as_bytes()));
        shown.is_some_and(|digest| bool::from(digest.as_slice().ct_eq(&self.digest)))
    }
}

impl Auth {
    /// With nobody logged in.
    ///
    /// # Errors
    /// [`Error::Setup`] when the identity has no legal header name, or the system no random numbers.
    pub fn new(options: Options) -> Result<Self> {
        let rules = Rules::new(options)?;
        Ok(Self {
            enabled: AtomicBool::new(rules.enabled),
            rules: RwLock::new(Arc::new(rules)),
            passwords: Passwords::new()?,
            gate: Gate::default(),
        })
    }

    /// Replaces the options, for requests that come from now on. Tokens stay good as long as the key does.
    ///
    /// # Errors
    /// As for [`new`](Self::new); nothing has changed then.
    pub fn replace(&self, options: Options) -> Result<()> {
        let rules = Arc::new(Rules::new(options)?);
        let enabled = rules.enabled;
        *self.rules.write() = rules;
        self.enabled.store(enabled, Ordering::Release);
        Ok(())
    }

    /// Whether anybody is asked.
    pub fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Acquire)
    }

    fn rules(&self) -> Arc<Rules> {
        self.rules.read().clone()
    }

    /// Where slow work goes.
    pub fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Says who asks, if he may do what the route needs; `None` when that takes the check of a password.
    pub fn admit_at_once(&self, call: &Call<'_>, access: Access) -> Option<Result<Caller, Reply>> {
        self.examine(call, access).ok().map(|admitted| told(call, admitted))
    }

    /// Says who asks, if he may do what the route needs.
    ///
    /// # Errors
    /// The refusal to answer.
    pub async fn admit(&self, call: &Call<'_>, access: Access) -> Result<Caller, Reply> {
        let admitted = match self.examine(call, access) {
            Ok(admitted) => admitted,
            Err(attempt) => self.prove(call, access, attempt).await,
        };
        told(call, admitted)
    }

    /// What can be said without checking a password; else the password to check.
    fn examine(&self, call: &Call<'_>, access: Access) -> Result<Result<Caller, Reply>, Attempt> {
        Ok(match self.claim(call, access) {
            Ok(Claim::Password(attempt)) => return Err(attempt),
            Ok(Claim::Caller(caller)) => Ok(caller),
            Ok(Claim::User(user)) => permitted(call, access, user),
            Err(refusal) => Err(refusal),
        })
    }

    async fn prove(&self, call: &Call<'_>, access: Access, attempt: Attempt) -> Result<Caller, Reply> {
        let (app, now_ms) = (Arc::clone(call.app), call.app.clock.now_ms());
        let user = attempt.user.clone();
        let checked = self.gate.run(move || app.auth.passwords.check(&attempt, now_ms)).await;
        let verdict = checked.map_err(|error| Reply::error(&error))?;
        permitted(call, access, right(call, user, verdict)?)
    }

    fn claim(&self, call: &Call<'_>, access: Access) -> Result<Claim, Reply> {
        if access.is_of_peers() && call.app.cluster.is_some() {
            return match self.refuse_stranger(call.app, access, call.path, call.headers, call.peer) {
                Some(refusal) => Err(refusal),
                None if self.is_peer(call.app, call.headers, call.peer) => Ok(Claim::Caller(Caller::Peer)),
                None => self.identify(call),
            };
        }
        if !self.is_enabled() {
            if access.changes_accounts() {
                let message = "authentication is off: users, roles and permissions can only be changed while it is on";
                return Err(Reply::forbidden(message, call.path));
            }
            return Ok(Claim::Caller(Caller::Anybody));
        }
        if access == Access::Open {
            return Ok(Claim::Caller(Caller::Anybody));
        }
        if self.rules().identity.as_ref().is_some_and(|identity| identity.is_shown(call.headers)) {
            return Ok(Claim::Caller(Caller::Peer));
        }
        self.identify(call)
    }

    /// The user that the request names, and how he proves it (`spec/auth.md` 3.1).
    fn identify(&self, call: &Call<'_>) -> Result<Claim, Reply> {
        let header = call.headers.get(AUTHORIZATION).map(|value| String::from_utf8_lossy(value.as_bytes()));
        let in_header = header.as_ref().and_then(|text| text.strip_prefix(BEARER));
        if let Some(token) = in_header.or_else(|| call.params.given("accessToken")) {
            let user = self.rules().tokens.user(token, now_s()).map_err(|fault| {
                let message = if fault == Fault::Expired { "token expired!" } else { "token invalid!" };
                Reply::forbidden(message, call.path)
            });
            return user.map(Claim::User);
        }
        let user = call.params.raw("username").filter(|name| !name.is_empty());
        let user = user.ok_or_else(|| Reply::forbidden(UNKNOWN_USER, call.path))?;
        let attempt = attempt(call, user, call.params.raw("password").unwrap_or_default());
        match self.passwords.recall(&attempt, call.app.clock.now_ms()) {
            Some(verdict) => right(call, user.to_owned(), verdict).map(Claim::User),
            None => Ok(Claim::Password(attempt)),
        }
    }
}

/// Who a request says that it comes from.
enum Claim {
    /// Proven, or not asked for.
    Caller(Caller),
    /// Proven; what he may do is to be looked up.
    User(String),
    /// To be proven.
    Password(Attempt),
}

fn right(call: &Call<'_>, user: String, verdict: Verdict) -> Result<String, Reply> {
    match verdict {
        Verdict::Right => Ok(user),
        Verdict::Wrong => Err(Reply::forbidden(UNKNOWN_USER, call.path)),
        Verdict::Wait(wait_s) => Err(Reply::locked_out(wait_s)),
    }
}

fn permitted(call: &Call<'_>, access: Access, user: String) -> Result<Caller, Reply> {
    let forbidden = |refusal| {
        let message = match refusal {
            Refusal::Forbidden => "authorization failed!",
            Refusal::Unclear => "resource name invalid!",
        };
        Reply::forbidden(message, call.path)
    };
    access.decide(call.app.registry.settings(), &user, call).map_err(forbidden)?;
    Ok(Caller::User(user.into()))
}

/// Tells of a refusal in the log.
fn told(call: &Call<'_>, admitted: Result<Caller, Reply>) -> Result<Caller, Reply> {
    if admitted.is_err() {
        tracing::info!(peer = %call.peer, method = %call.method, path = call.path, "refused");
    }
    admitted
}

/// `password` against what is stored for `user`.
fn attempt(call: &Call<'_>, user: &str, password: &str) -> Attempt {
    let stored = login::stored_hash(call.app, user);
    Attempt { user: user.to_owned(), password: password.to_owned(), stored, address: call.peer }
}

/// Seconds of the epoch.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_secs()).unwrap_or_default()
}

/// A parameter that the administration of users needs, as it was given (`spec/auth.md` 6).
///
/// # Errors
/// [`Error::Refused`] when it is missing.
fn required<'c>(call: &'c Call<'_>, name: &str) -> Result<&'c str> {
    required_of(call, name, "String")
}

fn required_of<'c>(call: &'c Call<'_>, name: &str, kind: &str) -> Result<&'c str> {
    call.params.raw(name).ok_or_else(|| missing(name, kind))
}

/// A name that is made here: at least one sign that is no blank, at most `max_chars`, nothing that breaks a line.
///
/// # Errors
/// [`Error::Input`] with the rule.
fn check_name(what: &str, text: &str, max_chars: usize) -> Result<()> {
    let good = !text.trim().is_empty() && text.chars().count() <= max_chars && !text.contains(char::is_control);
    if good {
        return Ok(());
    }
    Err(Error::Input(format!("{what} must have 1 to {max_chars} characters, none of them a control character")))
}
