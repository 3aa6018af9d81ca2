//! Turns a Firebase ID token into a [`Principal`], or says why not.
//!
//! The rules and their order are those of the Firebase Admin SDKs; where ours
//! are stricter, `tests/tokens` lists the difference and its reason. Nothing
//! is left to the JWT crate's defaults: it reads keys and checks signatures,
//! the claims are checked here.

mod error;
mod keyring;
mod keys;
pub mod local;
mod service;
#[cfg(test)]
mod tests;
mod token;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::Principal;
use crate::world::World;

pub use error::Error;
use keyring::Keyring;
pub use service::{NotAdmitted, SHORTEST_TOKEN, ServiceTokens};
use token::Token;

/// Google's public keys for Firebase ID tokens, as a JWK set. The certificates
/// at `/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com` on the
/// same host are the same keys and serve as well.
pub const DEFAULT_KEYS_URL: &str =
    "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com";

/// Clocks differ by less than this between machines that ask for the time.
pub const DEFAULT_CLOCK_SKEW: Duration = Duration::from_secs(10);

/// As much as the Admin SDKs allow.
pub const MAX_CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Google announces a key a day or more before it signs with it, so keys that
/// are some hours too old still know nearly every token.
pub const DEFAULT_MAX_STALE: Duration = Duration::from_secs(6 * 60 * 60);

/// What a [`Verifier`] needs to know.
#[derive(Clone, Debug)]
pub struct Options {
    /// The Firebase project whose tokens are accepted.
    pub project_id: String,
    /// Where the public keys are: a JWK set or a map of key id to certificate,
    /// told apart by their content. See [`DEFAULT_KEYS_URL`].
    pub keys_url: String,
    /// Accept the unsigned tokens of the Firebase Auth emulator, and only
    /// those. Never in production: anybody can write one.
    pub emulator: bool,
    /// How far an issuer's clock may be off; more than [`MAX_CLOCK_SKEW`] counts
    /// as that.
    pub clock_skew: Duration,
    /// How long known keys are used beyond their expiry while the endpoint
    /// cannot be reached.
    pub max_stale: Duration,
}

/// Verifies tokens; cheap to clone, and all clones share their keys.
///
/// Somebody must run [`keep_fresh`](Self::keep_fresh): it alone fetches keys,
/// so that callers who hang up cannot abort a fetch that others wait for.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    project_id: String,
    issuer: String,
    emulator: bool,
    clock_skew: Duration,
    world: World,
    keyring: Keyring,
}

impl Verifier {
    /// A verifier without keys yet. `http` fetches them: its redirect policy
    /// holds (reqwest's default is at most 10); timeout and size are bounded
    /// here.
    pub fn new(options: Options, http: reqwest::Client, world: World) -> Self {
        Self(Arc::new(Inner {
            issuer: issuer(&options.project_id),
            project_id: options.project_id,
            emulator: options.emulator,
            clock_skew: options.clock_skew.min(MAX_CLOCK_SKEW),
            keyring: Keyring::new(options.keys_url, options.max_stale, http, world.clone()),
            world,
        }))
    }

    /// The caller that a token names. Waits only if the token's key is not
    /// known, and then for one fetch at most (6 s).
    ///
    /// # Errors
    /// Why the token is refused, or [`Error::KeysUnavailable`] if that cannot be
    /// told now.
    pub async fn verify(&self, token: &str) -> Result<Principal, Error> {
        let it = &*self.0;
        let token = Token::read(token)?;
        token.refuse_custom_audience()?;
        if it.emulator {
            token.check_unsigned()?;
            token.check_names(&it.project_id, &it.issuer)?;
        } else {
            let kid = token.key_id()?;
            token.check_names(&it.project_id, &it.issuer)?;
            let key = it.keyring.find(kid).await?;
            token.check_signature(&key)?;
        }
        token.principal(it.world.now(), it.clock_skew)
    }

    /// Whether tokens can be judged: there are keys that are not too old, or none
    /// are needed.
    pub fn ready(&self) -> bool {
        self.0.emulator || self.0.keyring.usable().is_some()
    }

    /// Ends when [`ready`](Self::ready) becomes true.
    pub async fn until_ready(&self) {
        if !self.0.emulator {
            self.0.keyring.until_usable().await;
        }
    }

    /// Ends when [`ready`](Self::ready) becomes false.
    pub async fn until_unready(&self) {
        if self.0.emulator {
            std::future::pending::<()>().await;
        }
        self.0.keyring.until_unusable().await;
    }

    /// Fetches the keys at once and again before they expire, until dropped.
    /// Run it once for all clones.
    pub async fn keep_fresh(&self) {
        if self.0.emulator {
            // The emulator has no keys to fetch.
            std::future::pending::<()>().await;
        }
        self.0.keyring.keep_fresh().await;
    }
}

/// The token in the value of an `authorization` header or metadata entry.
///
/// # Errors
/// [`Error::Missing`] without a token, [`Error::NotBearer`] with another scheme.
pub fn bearer(authorization: Option<&str>) -> Result<&str, Error> {
    let value = authorization.ok_or(Error::Missing)?;
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(Error::NotBearer);
    }
    match token.trim() {
        "" => Err(Error::Missing),
        token => Ok(token),
    }
}

fn issuer(project_id: &str) -> String {
    format!("https://securetoken.google.com/{project_id}")
}
