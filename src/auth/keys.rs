//! Reads a document of public keys, in either of Google's formats.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::sync::Arc;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rsa::{PublicKey, PublicKeyComponents};
use jsonwebtoken::jwk::{AlgorithmParameters, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{DecodingKey, DecodingKeyKind};
use serde_json::Value;

/// RS256 wants at least 2048 bits (RFC 7518 section 3.3); more than 8192 are
/// not verified.
const MODULUS_BYTES: RangeInclusive<usize> = 256..=1024;

/// Public keys by their id.
pub(super) type Keys = HashMap<String, Arc<DecodingKey>>;

/// A document without a single usable key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unusable {
    /// Ask the endpoint's owner: this is no key document.
    #[error("the document is neither a JWK set nor a map of key id to certificate")]
    Format,
    /// Ask the endpoint's owner: the document lists nothing we can verify with.
    #[error("none of the {0} entries of the document is an RSA key of at least 2048 bits")]
    NoKey(usize),
}

/// The keys of a JWK set (`{"keys": [...]}`) or of a map of key id to PEM
/// certificate. Entries of other kinds are passed over, as RFC 7517 section 5
/// wants it.
pub(super) fn read(document: &[u8]) -> Result<Keys, Unusable> {
    let document: Value = serde_json::from_slice(document).map_err(|_| Unusable::Format)?;
    let entries = document.as_object().ok_or(Unusable::Format)?;
    let (count, keys): (usize, Keys) = match entries.get("keys") {
        Some(Value::Array(set)) => (set.len(), set.iter().filter_map(from_jwk).collect()),
        _ => (
            entries.len(),
            entries.iter().filter_map(from_certificate).collect(),
        ),
    };
    if keys.is_empty() {
        return Err(Unusable::NoKey(count));
    }
    Ok(keys)
}

fn from_jwk(entry: &Value) -> Option<(String, Arc<DecodingKey>)> {
    let jwk: Jwk = serde::Deserialize::deserialize(entry).ok()?;
    let meant_for_us = matches!(jwk.algorithm, AlgorithmParameters::RSA(_))
        && matches!(
            jwk.common.public_key_use,
            None | Some(PublicKeyUse::Signature)
        )
        && matches!(jwk.common.key_algorithm, None | Some(KeyAlgorithm::RS256));
    if !meant_for_us {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    usable(jwk.common.key_id?, key)
}

/// Only the key counts: as for the Admin SDKs, the certificate's dates and
/// issuer do not.
fn from_certificate((kid, pem): (&String, &Value)) -> Option<(String, Arc<DecodingKey>)> {
    let key = DecodingKey::from_rsa_pem(pem.as_str()?.as_bytes()).ok()?;
    usable(kid.clone(), key)
}

/// The JWT crate parses a key only when it verifies with it, which is too late
/// to keep the keys that we have.
fn usable(kid: String, key: DecodingKey) -> Option<(String, Arc<DecodingKey>)> {
    let public = match key.kind() {
        DecodingKeyKind::SecretOrDer(der) => PublicKey::from_der(der),
        DecodingKeyKind::RsaModulusExponent { n, e } => {
            let der = PublicKeyComponents { n, e }.as_der().ok()?;
            PublicKey::from_der(der.as_ref())
        }
    };
    let sound = MODULUS_BYTES.contains(&public.ok()?.modulus_len());
    (sound && !kid.is_empty()).then(|| (kid, Arc::new(key)))
}
