//! An issuer of our own, for the demo and for tests: a fresh RSA key, its
//! public half as a document, and tokens signed with it.

use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::issuer;
use crate::world::World;

/// Mints tokens like Firebase's, for one project.
pub struct LocalIssuer {
    project_id: String,
    world: World,
    key: KeyPair,
    kid: String,
}

impl LocalIssuer {
    /// An issuer with a new key.
    pub fn new(project_id: impl Into<String>, world: World) -> Self {
        Self {
            project_id: project_id.into(),
            kid: world.uuid(),
            world,
            key: KeyPair::generate(KeySize::Rsa2048)
                .expect("the operating system has randomness for a key"),
        }
    }

    /// The id of the key.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The key itself, to make a certificate of it.
    #[cfg(test)]
    pub(super) fn private_key(&self) -> Vec<u8> {
        use aws_lc_rs::encoding::AsDer;
        let der = self.key.as_der().expect("a key that was made here");
        der.as_ref().to_vec()
    }

    /// The document to serve where the verifier looks for keys: a JWK set.
    pub fn jwks(&self) -> String {
        let key = self.key.public_key();
        json!({"keys": [{
            "kty": "RSA",
            "alg": "RS256",
            "use": "sig",
            "kid": self.kid,
            "n": URL_SAFE_NO_PAD.encode(key.modulus().big_endian_without_leading_zero()),
            "e": URL_SAFE_NO_PAD.encode(key.exponent().big_endian_without_leading_zero()),
        }]})
        .to_string()
    }

    /// A token of that user, valid from now for `ttl`.
    pub fn mint(&self, uid: &str, ttl: Duration, plan: Option<&str>) -> String {
        let mut claims = self.claims(uid, ttl);
        if let Some(plan) = plan {
            claims["plan"] = plan.into();
        }
        self.sign(&self.header(), &claims)
    }

    /// The header of a valid token, to be changed and given to
    /// [`sign`](Self::sign).
    pub fn header(&self) -> Value {
        json!({"alg": "RS256", "typ": "JWT", "kid": self.kid})
    }

    /// The claims of a valid token, to be changed and given to
    /// [`sign`](Self::sign).
    pub fn claims(&self, uid: &str, ttl: Duration) -> Value {
        let now = self.world.now().as_second();
        let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        json!({
            "iss": issuer(&self.project_id),
            "aud": self.project_id,
            "sub": uid,
            "user_id": uid,
            "iat": now,
            "auth_time": now,
            "exp": now.saturating_add(ttl),
            "firebase": {"identities": {}, "sign_in_provider": "custom"},
        })
    }

    /// Any header and claims, signed with the key.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        let [header, claims] =
            [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let signed = format!("{header}.{claims}");
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(
                &RSA_PKCS1_SHA256,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .expect("a 2048-bit key has room for a SHA-256 signature");
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
    }
}
