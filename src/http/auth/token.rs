//! Tokens: JWT signed with a secret that all servers of a cluster share (`spec/auth.md` 3). Nothing is kept of them.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};

use super::hs;
use crate::error::{Error, Result};

/// What a token says.
#[derive(Serialize, Deserialize)]
struct Claims {
    /// Name of the user.
    sub: String,
    /// Not good from this second of the epoch on.
    exp: u64,
}

/// Why a token is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It was, once.
    Expired,
    /// It is none, or not signed with this key by a method that is taken.
    Invalid,
}

/// Makes and reads tokens.
pub struct Tokens {
    signing: EncodingKey,
    verifying: DecodingKey,
    validation: Validation,
    ttl_s: u64,
}

impl Tokens {
    /// With this key, of at least 32 bytes. New tokens live for `ttl_s` seconds and are HS256; HS384 and HS512 are taken
    /// too when the key is long enough for them.
    pub fn new(key: &[u8], ttl_s: u64) -> Self {
        hs::install();
        let mut validation = Validation::new(Algorithm::HS256);
        let longer = [(48, Algorithm::HS384), (64, Algorithm::HS512)];
        validation.algorithms.extend(longer.iter().filter(|(len, _)| key.len() >= *len).map(|(_, name)| *name));
        // The time is compared below, with the caller's clock and without grace.
        validation.validate_exp = false;
        validation.validate_aud = false;
        Self { signing: EncodingKey::from_secret(key), verifying: DecodingKey::from_secret(key), validation, ttl_s }
    }

    /// Life of a new token in seconds.
    pub fn ttl_s(&self) -> u64 {
        self.ttl_s
    }

    /// A token for `user`, made at `now_s` (epoch).
    ///
    /// # Errors
    /// [`Error::Refused`] when it can't be signed, which a key of bytes does not cause.
    pub fn issue(&self, user: &str, now_s: u64) -> Result<String> {
        // The reference names no type, and clients have been seen to compare headers.
        let header = Header { typ: None, ..Header::new(Algorithm::HS256) };
        let claims = Claims { sub: user.to_owned(), exp: now_s.saturating_add(self.ttl_s) };
        encode(&header, &claims, &self.signing).map_err(|_| Error::Refused("the token could not be signed".into()))
    }

    /// The user that `token` is for, at `now_s` (epoch).
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn user(&self, token: &str, now_s: u64) -> Result<String, Fault> {
        let claims = decode::<Claims>(token, &self.verifying, &self.validation).map_err(|_| Fault::Invalid)?.claims;
        if claims.exp <= now_s { Err(Fault::Expired) } else { Ok(claims.sub) }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::{Sha384, Sha512};

    use super::*;

    const KEY: &[u8] = b"0123456789abcdef0123456789abcdef";
    const LONG: &[u8] = &[7; 64];

    fn coded(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    #[test]
    fn a_token_has_the_members_of_the_reference_and_lives_its_time() {
        let tokens = Tokens::new(KEY, 18_000);
        let token = tokens.issue("nacos", 1_000).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        assert_eq!(parts[0], coded(r#"{"alg":"HS256"}"#));
        assert_eq!(parts[1], coded(r#"{"sub":"nacos","exp":19000}"#));
        assert_eq!(tokens.user(&token, 18_999), Ok("nacos".to_owned()));
        assert_eq!(tokens.user(&token, 19_000), Err(Fault::Expired));
        assert_eq!(Tokens::new(LONG, 1).user(&token, 1_000), Err(Fault::Invalid));
    }

    #[test]
    fn anything_forged_is_invalid() {
        let tokens = Tokens::new(KEY, 18_000);
        let token = tokens.issue("nacos", 1_000).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let other = coded(r#"{"sub":"nacos","exp":29000}"#);
        for forged in [
            String::new(),
            "bad".to_owned(),
            "a.b.c".to_owned(),
            "...".to_owned(),
            format!("{}.{other}.{}", parts[0], parts[2]),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{}.{}", parts[0], parts[1]),
            format!("{token}x"),
            format!("{token}.{}", parts[2]),
            format!("{}.{}.", coded(r#"{"alg":"none"}"#), parts[1]),
            format!("{}.{}.{}", coded(r#"{"alg":"None"}"#), parts[1], parts[2]),
            format!("{}.{}.{}", coded(r#"{"alg":"RS256"}"#), parts[1], parts[2]),
            format!("{}.{}.{}", coded(r#"{"alg":"HS256","jwk":{"kty":"oct","k":"AA"}}"#), parts[1], parts[2]),
        ] {
            assert_eq!(tokens.user(&forged, 1_000), Err(Fault::Invalid), "{forged}");
        }
    }

    #[test]
    fn longer_hashes_need_longer_keys() {
        let signed = |alg: &str, key: &[u8]| {
            let message = format!("{}.{}", coded(&format!(r#"{{"alg":"{alg}"}}"#)), coded(r#"{"sub":"u","exp":9}"#));
            let mac = match alg {
                "HS384" => Hmac::<Sha384>::new_from_slice(key).unwrap().chain_update(&message).finalize().into_bytes()
                    [..]
                    .to_vec(),
                _ => Hmac::<Sha512>::new_from_slice(key).unwrap().chain_update(&message).finalize().into_bytes()[..]
                    .to_vec(),
            };
            format!("{message}.{}", URL_SAFE_NO_PAD.encode(mac))
        };
        let taken = |alg: &str, key: &[u8]| Tokens::new(key, 1).user(&signed(alg, key), 1).is_ok();
        assert!(taken("HS384", LONG) && taken("HS512", LONG));
        assert!(taken("HS384", &LONG[..48]) && !taken("HS512", &LONG[..48]));
        assert!(!taken("HS384", KEY) && !taken("HS512", KEY));
    }
}
