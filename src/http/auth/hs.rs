//! HMAC-SHA for tokens, as the crate that reads and writes them wants it. Its own back ends bring RSA and elliptic
//! curves along, which nobody here needs.

use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{self, ErrorKind};
use jsonwebtoken::signature::{Error as SignatureError, Signer, Verifier};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, EncodingKey};
use sha2::{Sha256, Sha384, Sha512};

static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key: &EncodingKey| {
        let hs = Hs::new(*algorithm, key.family(), key.as_bytes())?;
        Ok(Box::new(hs) as Box<dyn JwtSigner>)
    },
    verifier_factory: |algorithm, key: &DecodingKey| {
        let hs = Hs::new(*algorithm, key.family(), key.try_get_as_bytes()?)?;
        Ok(Box::new(hs) as Box<dyn JwtVerifier>)
    },
    key_utils: KeyUtils::new_unimplemented(),
};

/// Makes tokens work in this process; doing it again changes nothing.
pub(super) fn install() {
    // An error says that it has been done before.
    let _ = PROVIDER.install_default();
}

/// One keyed hash of the family.
enum Hs {
    Hs256(Hmac<Sha256>),
    Hs384(Hmac<Sha384>),
    Hs512(Hmac<Sha512>),
}

impl Hs {
    fn new(algorithm: Algorithm, family: AlgorithmFamily, key: &[u8]) -> errors::Result<Self> {
        if family != AlgorithmFamily::Hmac {
            return Err(ErrorKind::InvalidKeyFormat.into());
        }
        let unusable = |_| ErrorKind::InvalidKeyFormat;
        Ok(match algorithm {
            Algorithm::HS256 => Hs::Hs256(Hmac::new_from_slice(key).map_err(unusable)?),
            Algorithm::HS384 => Hs::Hs384(Hmac::new_from_slice(key).map_err(unusable)?),
            Algorithm::HS512 => Hs::Hs512(Hmac::new_from_slice(key).map_err(unusable)?),
            _ => return Err(ErrorKind::InvalidAlgorithm.into()),
        })
    }

    fn name(&self) -> Algorithm {
        match self {
            Hs::Hs256(_) => Algorithm::HS256,
            Hs::Hs384(_) => Algorithm::HS384,
            Hs::Hs512(_) => Algorithm::HS512,
        }
    }
}

impl Signer<Vec<u8>> for Hs {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, SignatureError> {
        Ok(match self {
            Hs::Hs256(mac) => mac.clone().chain_update(message).finalize().into_bytes().to_vec(),
            Hs::Hs384(mac) => mac.clone().chain_update(message).finalize().into_bytes().to_vec(),
            Hs::Hs512(mac) => mac.clone().chain_update(message).finalize().into_bytes().to_vec(),
        })
    }
}

impl Verifier<Vec<u8>> for Hs {
    /// In a time that does not depend on where the signatures differ.
    fn verify(&self, message: &[u8], signature: &Vec<u8>) -> Result<(), SignatureError> {
        let verified = match self {
            Hs::Hs256(mac) => mac.clone().chain_update(message).verify_slice(signature),
            Hs::Hs384(mac) => mac.clone().chain_update(message).verify_slice(signature),
            Hs::Hs512(mac) => mac.clone().chain_update(message).verify_slice(signature),
        };
        verified.map_err(|_| SignatureError::new())
    }
}

impl JwtSigner for Hs {
    fn algorithm(&self) -> Algorithm {
        self.name()
    }
}

impl JwtVerifier for Hs {
    fn algorithm(&self) -> Algorithm {
        self.name()
    }
}
