//! One token, taken apart, and the rules it must keep.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Error;
use crate::domain::{Principal, Uid};

/// Firebase ID tokens are about 1 KiB; custom claims add at most 1000 bytes
/// (Firebase's own limit). Longer ones are refused before any parsing.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
const MAX_UID_CHARS: usize = 128;
const MAX_PLAN_BYTES: usize = 32;

/// What the Admin SDKs put into `aud` of a custom token.
const CUSTOM_TOKEN_AUDIENCE: &str =
    "https://identitytoolkit.googleapis.com/google.identity.identitytoolkit.v1.IdentityToolkit";

/// A token whose header and claims could be read; nothing is verified yet.
pub(super) struct Token<'a> {
    signed: &'a str,
    signature: &'a str,
    header: Header,
    claims: Claims,
}

/// Values of any type: a claim of a wrong type is that claim's fault, not
/// the whole token's. A claim given twice is refused by the derived reader.
#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Header {
    alg: Value,
    kid: Value,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Claims {
    aud: Value,
    iss: Value,
    sub: Value,
    iat: Value,
    exp: Value,
    auth_time: Value,
    plan: Value,
    devices: Value,
    /// Version and data of a legacy custom token.
    v: Value,
    d: Value,
}

impl<'a> Token<'a> {
    /// Splits and decodes, without judging.
    pub(super) fn read(token: &'a str) -> Result<Self, Error> {
        if token.is_empty() {
            return Err(Error::Missing);
        }
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Error::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(Error::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Error::Malformed)?;
        Ok(Self {
            signed,
            signature,
            header: segment(header)?,
            claims: segment(claims)?,
        })
    }

    /// Custom tokens are the commonest mistake, so they get their own hint.
    pub(super) fn refuse_custom_audience(&self) -> Result<(), Error> {
        if self.claims.aud == CUSTOM_TOKEN_AUDIENCE {
            return Err(Error::CustomToken);
        }
        Ok(())
    }

    /// The id of the key that a token of the right algorithm is signed with.
    pub(super) fn key_id(&self) -> Result<&str, Error> {
        let kid = self.header.kid.as_str().unwrap_or_default();
        if kid.is_empty() {
            let legacy = self.header.alg == "HS256"
                && self.claims.v == 0
                && self.claims.d.get("uid").is_some();
            return Err(if legacy {
                Error::CustomToken
            } else {
                Error::NoKid
            });
        }
        if self.header.alg != "RS256" {
            return Err(Error::WrongAlgorithm);
        }
        Ok(kid)
    }

    /// Emulator mode: exactly what the emulator makes. The Admin SDKs differ
    /// here: Python's takes any signature unchecked, Node's only unsigned tokens.
    /// A signed token comes from somewhere else, so we side with Node's.
    pub(super) fn check_unsigned(&self) -> Result<(), Error> {
        if self.header.alg == "none" && self.signature.is_empty() {
            Ok(())
        } else {
            Err(Error::NotFromEmulator)
        }
    }

    /// Audience (never a list), issuer and subject.
    pub(super) fn check_names(&self, project_id: &str, issuer: &str) -> Result<(), Error> {
        if self.claims.aud != project_id {
            return Err(Error::WrongAudience);
        }
        if self.claims.iss != issuer {
            return Err(Error::WrongIssuer);
        }
        let uid = self.uid();
        if uid.is_empty() {
            return Err(Error::EmptySubject);
        }
        if uid.chars().count() > MAX_UID_CHARS {
            return Err(Error::SubjectTooLong);
        }
        Ok(())
    }

    pub(super) fn check_signature(&self, key: &DecodingKey) -> Result<(), Error> {
        // An error is an undecodable signature; our keys are checked when they
        // are read.
        let fits = jsonwebtoken::crypto::verify(
            self.signature,
            self.signed.as_bytes(),
            key,
            Algorithm::RS256,
        );
        if fits.unwrap_or(false) {
            Ok(())
        } else {
            Err(Error::BadSignature)
        }
    }

    /// Checks the times and makes the principal. The last step, for tokens that
    /// passed all others.
    pub(super) fn principal(&self, now: Timestamp, skew: Duration) -> Result<Principal, Error> {
        let now = now.as_second();
        let skew = i64::try_from(skew.as_secs()).expect("the skew is at most 60 s");
        let latest = now.saturating_add(skew);

        let issued = self.claims.iat.as_i64().ok_or(Error::NoIssueTime)?;
        if issued > latest {
            return Err(Error::NotYetValid);
        }
        let expires = self.claims.exp.as_i64().ok_or(Error::NoExpiry)?;
        if expires.saturating_add(skew) < now {
            return Err(Error::Expired);
        }
        // Absent in no real token, and not demanded by the Admin SDKs.
        if !self.claims.auth_time.is_null() {
            let signed_in = self.claims.auth_time.as_i64().ok_or(Error::BadAuthTime)?;
            if signed_in > latest {
                return Err(Error::SignedInLater);
            }
        }
        Ok(Principal {
            uid: Uid::new(self.uid()),
            // Beyond the year 9999 is not a time.
            expires_at: Timestamp::from_second(expires).map_err(|_| Error::NoExpiry)?,
            plan: self.plan(),
            devices: self.claims.devices == true,
        })
    }

    fn uid(&self) -> &str {
        self.claims.sub.as_str().unwrap_or_default()
    }

    /// The custom claim, if it is fit to be shown and compared.
    fn plan(&self) -> Option<String> {
        let plan = self.claims.plan.as_str()?;
        let fit = (1..=MAX_PLAN_BYTES).contains(&plan.len())
            && plan
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        fit.then(|| plan.to_owned())
    }
}

/// A JSON object in unpadded base64url.
fn segment<T: DeserializeOwned>(text: &str) -> Result<T, Error> {
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::Malformed)?;
    // serde would take an array for a struct.
    if !json.trim_ascii_start().starts_with(b"{") {
        return Err(Error::Malformed);
    }
    serde_json::from_slice(&json).map_err(|_| Error::Malformed)
}
