//! What `nacos.core.auth.*` and `nacre.auth.*` say (`spec/auth.md` 1).

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::sources::Sources;
use super::{NoteLevel, keys, value, whole};
use crate::error::{Error, Result};

/// Shortest key of tokens.
const MIN_KEY_BYTES: usize = 32;
/// Keys in configurations and manuals that everybody can read.
const KNOWN_KEYS: [&str; 2] = [
    "SecretKey012345678901234567890123456789012345678901234567890123456789",
    "VGhpc0lzTXlDdXN0b21TZWNyZXRLZXkwMTIzNDU2Nzg=",
];
/// Identities in images and manuals that everybody can read.
const KNOWN_IDENTITIES: [(&str, &str); 3] =
    [("serverIdentity", "security"), ("example", "example"), ("nacos", "nacos")];
/// A shorter identity value is warned of.
const GOOD_IDENTITY_BYTES: usize = 16;
const MAX_TTL_S: u64 = 10 * 365 * 24 * 3_600;

/// A value that must not come into a log: its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(pub T);

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// See [`Config::auth`](super::Config::auth).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthSettings {
    /// Whether clients are asked for a login (`nacos.core.auth.enabled`).
    pub enabled: bool,
    /// Key of the tokens, at least 32 bytes (`nacos.core.auth.default.token.secret.key`); `None` to make one, and with
    /// authentication off.
    pub token_key: Option<Secret<Vec<u8>>>,
    /// Life of a token in seconds (`nacos.core.auth.default.token.expire.seconds`).
    pub token_ttl_s: u64,
    /// Header and value that servers show each other (`nacos.core.auth.server.identity.key` and `.value`). With
    /// authentication off, a pair that would be refused counts as none.
    pub identity: Option<(String, Secret<String>)>,
    /// Whether what servers tell each other is taken from servers of the cluster alone (`nacre.cluster.check-peers`).
    pub check_peers: bool,
    /// For the user that the first start makes (`nacre.auth.admin.password`); `None` for a random one.
    pub admin_password: Option<Secret<String>>,
}

impl AuthSettings {
    pub(super) fn read(sources: &mut Sources) -> Result<Self> {
        let enabled = sources.read(&keys::AUTH, value::boolean)?;
        sources.read(&keys::AUTH_TYPE, |text| match text {
            "nacos" => Ok(()),
            _ if !enabled => Ok(()),
            _ => Err("nacos, the only kind there is".to_owned()),
        })?;
        // A key that nothing is signed with may be as bad as it likes: shipped files carry such.
        let token_key = |text: &str| if enabled { token_key(text).map(Some) } else { Ok(None) };
        let token_key = sources.read_optional(&keys::TOKEN_KEY, token_key)?.flatten();
        let token_ttl_s = sources.read(&keys::TOKEN_TTL, |text| whole(text, 1, MAX_TTL_S))?;
        sources.read(&keys::AUTH_CACHING, value::boolean)?;
        let identity = identity(sources, enabled)?;
        if sources.read(&keys::AGENT_WHITE, value::boolean)? {
            let text = format!("{}=true has no effect: no client is trusted for its name", keys::AGENT_WHITE.name);
            sources.note(NoteLevel::Warn, text);
        }
        let admin_password = sources.read_optional(&keys::ADMIN_PASSWORD, |text| Ok(Secret(text.to_owned())))?;
        let check_peers = sources.read(&keys::CHECK_PEERS, value::boolean)?;
        if !check_peers {
            let text = "in a cluster, whoever reaches this server may change and read all lists as its members do";
            sources.note(NoteLevel::Warn, format!("{}=false: {text}", keys::CHECK_PEERS.name));
        }
        Ok(Self { enabled, token_key, token_ttl_s, identity, check_peers, admin_password })
    }
}

fn token_key(text: &str) -> Result<Secret<Vec<u8>>, String> {
    let engine = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    let unpadded = |text: &str| text.trim_end_matches('=').to_owned();
    if KNOWN_KEYS.iter().any(|known| unpadded(known) == unpadded(text)) {
        return Err("a key of your own: this one is known to everybody".to_owned());
    }
    let key = engine.decode(text).ok().filter(|key| key.len() >= MIN_KEY_BYTES);
    key.map(Secret)
        .ok_or_else(|| format!("Base64 of at least {MIN_KEY_BYTES} bytes, such as openssl rand -base64 32 makes"))
}

fn identity(sources: &mut Sources, enabled: bool) -> Result<Option<(String, Secret<String>)>> {
    let sign = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let header = sources.read_optional(&keys::IDENTITY_KEY, |text| {
        if text.bytes().all(sign) { Ok(text.to_owned()) } else { Err("the name of an HTTP header".to_owned()) }
    })?;
    let visible = |text: &str| text.bytes().all(|b| (0x20..0x7f).contains(&b));
    let secret = sources.read_optional(&keys::IDENTITY_VALUE, |text| {
        if visible(text) { Ok(text.to_owned()) } else { Err("of visible ASCII characters".to_owned()) }
    })?;
    // Shipped files carry pairs that nobody chose; nothing is guarded by them while authentication is off.
    let refused = |fault: &str| {
        if !enabled {
            return Ok(None);
        }
        let names = [keys::IDENTITY_KEY.name, keys::IDENTITY_VALUE.name].join(" and ");
        Err(Error::Setup(format!("{names}: {fault}")))
    };
    match (header, secret) {
        (None, None) => Ok(None),
        (Some(header), Some(secret)) => {
            let known = |(a, b): &(&str, &str)| a.eq_ignore_ascii_case(&header) && *b == secret;
            if KNOWN_IDENTITIES.iter().any(known) {
                return refused("choose your own, this pair is known to everybody");
            }
            if secret.len() < GOOD_IDENTITY_BYTES {
                let text = format!("{} is short: who guesses it may do everything", keys::IDENTITY_VALUE.name);
                sources.note(NoteLevel::Warn, text);
            }
            Ok(Some((header, Secret(secret))))
        }
        _ => refused("set both or neither"),
    }
}
