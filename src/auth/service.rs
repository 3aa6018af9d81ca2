//! Tokens of the operator's own programs, which may send messages to users and work for
//! the server. Several are valid at once, so that they can be exchanged one by one.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};

use super::bearer;

/// A shorter one could be guessed: 32 characters of base64 are 24 random bytes.
pub const SHORTEST_TOKEN: usize = 32;

/// The tokens that are valid.
#[derive(Clone, Default)]
pub struct ServiceTokens {
    all: Vec<SecretString>,
    /// Of the workers that the server starts itself: good for their door alone.
    local_workers: Option<SecretString>,
}

/// Why a program is not let in. What it says is for its author.
#[derive(Debug, thiserror::Error)]
pub enum NotAdmitted {
    /// Send the token.
    #[error("There is no service token: send the header `authorization: Bearer <service token>`.")]
    NoToken,
    /// Send another token.
    #[error(
        "The token is none of the service tokens that are valid here; an ID token of a user is not one."
    )]
    Unknown,
    /// The operator must set one.
    #[error(
        "This server lets no programs in: neither SERVICE_TOKENS nor SERVICE_TOKENS_FILE is set."
    )]
    Closed,
}

impl ServiceTokens {
    /// Takes tokens that have been checked.
    pub fn new(tokens: Vec<SecretString>) -> Self {
        Self {
            all: tokens,
            local_workers: None,
        }
    }

    /// The same, and one more that lets in workers and nobody else.
    #[must_use]
    pub fn with_local_workers(self, token: SecretString) -> Self {
        Self {
            local_workers: Some(token),
            ..self
        }
    }

    /// How many the operator has set.
    pub fn len(&self) -> usize {
        self.all.len()
    }

    /// Whether there is none of those.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Judges an `authorization` header or metadata entry, in a time that tells
    /// nothing of the tokens but their lengths.
    ///
    /// # Errors
    /// Why its sender is not let in.
    pub fn admit(&self, authorization: Option<&str>) -> Result<(), NotAdmitted> {
        judge(&mut self.all.iter(), authorization)
    }

    /// The same at the workers' door, which is also open to those that the server starts
    /// itself.
    ///
    /// # Errors
    /// Why its sender is not let in.
    pub fn admit_worker(&self, authorization: Option<&str>) -> Result<(), NotAdmitted> {
        judge(
            &mut self.all.iter().chain(&self.local_workers),
            authorization,
        )
    }
}

fn judge(
    tokens: &mut dyn Iterator<Item = &SecretString>,
    authorization: Option<&str>,
) -> Result<(), NotAdmitted> {
    let mut tokens = tokens.peekable();
    if tokens.peek().is_none() {
        return Err(NotAdmitted::Closed);
    }
    let said = bearer(authorization)
        .map_err(|_| NotAdmitted::NoToken)?
        .as_bytes();
    let mut found = Choice::from(0);
    for token in tokens {
        found |= token.expose_secret().as_bytes().ct_eq(said);
    }
    match bool::from(found) {
        true => Ok(()),
        false => Err(NotAdmitted::Unknown),
    }
}

impl fmt::Debug for ServiceTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceTokens({})", self.all.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e04_any_of_the_tokens_is_valid_and_nothing_else() {
        let [old, new] = ["o", "n"].map(|letter| letter.repeat(SHORTEST_TOKEN));
        let tokens = ServiceTokens::new(vec![old.clone().into(), new.clone().into()]);
        let says = |token: &str| tokens.admit(Some(&format!("Bearer {token}")));
        says(&old).unwrap();
        says(&new).unwrap();
        let longer = format!("{new}n");
        for wrong in [&new[1..], &longer, &new.to_uppercase(), "", "x"] {
            let told = says(wrong).unwrap_err().to_string();
            assert!(!told.contains(&new[..8]), "{told}");
        }
        assert!(matches!(tokens.admit(None), Err(NotAdmitted::NoToken)));
        let none = ServiceTokens::default();
        let refused = none.admit(Some("Bearer ")).unwrap_err();
        assert!(matches!(refused, NotAdmitted::Closed), "{refused}");
        assert_eq!(format!("{tokens:?}"), "ServiceTokens(2)");
    }

    #[test]
    fn c09_the_token_of_local_workers_is_good_for_workers_alone() {
        let [set, local] = ["s", "l"].map(|letter| letter.repeat(SHORTEST_TOKEN));
        let [by_set, by_local] = [&set, &local].map(|token| format!("Bearer {token}"));
        let none = ServiceTokens::default();
        let refused = none.admit_worker(Some(&by_local)).unwrap_err();
        assert!(matches!(refused, NotAdmitted::Closed), "{refused}");
        let alone = none.with_local_workers(local.clone().into());
        alone.admit_worker(Some(&by_local)).unwrap();
        let refused = alone.admit(Some(&by_local)).unwrap_err();
        assert!(matches!(refused, NotAdmitted::Closed), "{refused}");
        let both = ServiceTokens::new(vec![set.into()]).with_local_workers(local.into());
        both.admit_worker(Some(&by_local)).unwrap();
        both.admit_worker(Some(&by_set)).unwrap();
        both.admit(Some(&by_set)).unwrap();
        let refused = both.admit(Some(&by_local)).unwrap_err();
        assert!(matches!(refused, NotAdmitted::Unknown), "{refused}");
        assert_eq!(both.len(), 1, "of those that the operator set");
    }
}
