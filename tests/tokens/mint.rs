//! Keys, certificates and tokens of any shape, made without the code under
//! test.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RsaEncoding, RsaKeyPair,
};
use aws_lc_rs::{hmac, signature::RSA_PKCS1_SHA256};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{CertificateParams, KeyPair, PKCS_RSA_SHA256, RsaKeySize, date_time_ymd};
use serde_json::{Value, json};

pub(crate) const PROJECT: &str = "demo-proactive";
pub(crate) const NOW: i64 = 1_800_000_000;

/// An RSA key and a certificate of it.
pub(crate) struct Key {
    pub(crate) kid: &'static str,
    pub(crate) certificate: String,
    pair: RsaKeyPair,
}

impl Key {
    fn new(kid: &'static str, expired: bool) -> Self {
        let pair = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        if expired {
            params.not_after = date_time_ymd(2001, 1, 1);
        }
        Self {
            kid,
            certificate: params.self_signed(&pair).unwrap().pem(),
            pair: RsaKeyPair::from_pkcs8(&pair.serialize_der()).unwrap(),
        }
    }

    pub(crate) fn jwk(&self) -> Value {
        let public = self.pair.public_key();
        json!({
            "kty": "RSA",
            "kid": self.kid,
            "n": encode(public.modulus().big_endian_without_leading_zero()),
            "e": encode(public.exponent().big_endian_without_leading_zero()),
        })
    }

    /// Adds the signature to two encoded segments.
    pub(crate) fn seal(&self, signed: &str) -> String {
        self.seal_with(&RSA_PKCS1_SHA256, signed)
    }

    pub(crate) fn seal_with(&self, encoding: &'static dyn RsaEncoding, signed: &str) -> String {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(
                encoding,
                &SystemRandom::new(),
                signed.as_bytes(),
                &mut signature,
            )
            .unwrap();
        format!("{signed}.{}", encode(&signature))
    }
}

/// All the keys of a test.
pub(crate) struct Keys {
    /// Listed; most tokens are signed with it.
    pub(crate) first: Key,
    /// Listed.
    pub(crate) second: Key,
    /// Listed, though its certificate ended long ago.
    pub(crate) expired: Key,
    /// Listed nowhere.
    pub(crate) stranger: Key,
    curve: EcdsaKeyPair,
    curve_certificate: String,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let curve = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        Self {
            first: Key::new("first", false),
            second: Key::new("second", false),
            expired: Key::new("expired", true),
            stranger: Key::new("stranger", false),
            curve_certificate: params.self_signed(&curve).unwrap().pem(),
            curve: EcdsaKeyPair::from_pkcs8(
                &ECDSA_P256_SHA256_FIXED_SIGNING,
                &curve.serialize_der(),
            )
            .unwrap(),
        }
    }

    /// The document as a map of key id to certificate.
    pub(crate) fn certificates(&self) -> String {
        let mut map = json!({"curve": self.curve_certificate});
        for key in [&self.first, &self.second, &self.expired] {
            map[key.kid] = key.certificate.clone().into();
        }
        map.to_string()
    }

    /// The document as a JWK set.
    pub(crate) fn jwks(&self) -> String {
        let keys = [&self.first, &self.second, &self.expired].map(Key::jwk);
        json!({ "keys": keys }).to_string()
    }

    /// Signs with the elliptic-curve key that is listed as `curve`.
    pub(crate) fn seal_with_curve(&self, signed: &str) -> String {
        let signature = self.curve.sign(&SystemRandom::new(), signed.as_bytes());
        format!("{signed}.{}", encode(signature.unwrap().as_ref()))
    }

    /// A valid token with these members of header and claims replaced.
    pub(crate) fn changed(&self, header: Value, claims: Value) -> String {
        self.first.seal(&signed(&header, &claims))
    }
}

/// HS256 with any secret: that of the "public key as a secret" trick.
pub(crate) fn seal_with_secret(secret: &[u8], signed: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    format!(
        "{signed}.{}",
        encode(hmac::sign(&key, signed.as_bytes()).as_ref())
    )
}

/// The encoded header and claims of a valid token of the first key, with these
/// members replaced; a member that becomes null is left out.
pub(crate) fn signed(header: &Value, claims: &Value) -> String {
    let header = merged(
        json!({"alg": "RS256", "kid": "first", "typ": "JWT"}),
        header,
    );
    let claims = merged(self::claims(), claims);
    format!(
        "{}.{}",
        encode(header.to_string()),
        encode(claims.to_string())
    )
}

pub(crate) fn claims() -> Value {
    json!({
        "iss": format!("https://securetoken.google.com/{PROJECT}"),
        "aud": PROJECT,
        "sub": "AbCdEfGhIjKlMnOpQrStUvWxYz12",
        "user_id": "AbCdEfGhIjKlMnOpQrStUvWxYz12",
        "auth_time": NOW - 600,
        "iat": NOW - 60,
        "exp": NOW + 3540,
        "firebase": {"identities": {}, "sign_in_provider": "anonymous"},
    })
}

fn merged(mut whole: Value, change: &Value) -> Value {
    let members = whole.as_object_mut().unwrap();
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            members.remove(name);
        } else {
            members.insert(name.clone(), value.clone());
        }
    }
    whole
}

pub(crate) fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) use aws_lc_rs::signature::{RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256};
