//! Tokens of the operator's own programs, which may send messages to users and execute
//! tools. Several are valid at once, so that they can be exchanged one by one.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use subtle::{Choice, ConstantTimeEq};

use super::bearer;

/// A shorter one could be guessed: 32 characters of base64 are 24 random bytes.
pub const SHORTEST_TOKEN: usize = 32;

/// The tokens that are valid.
#[derive(Clone, Default)]
pub struct ServiceTokens(Vec<SecretString>);

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
        Self(tokens)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none, so that nobody is let in.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Judges an `authorization` header or metadata entry, in a time that tells
    /// nothing of the tokens but their lengths.
    ///
    /// # Errors
    /// Why its sender is not let in.
    pub fn admit(&self, authorization: Option<&str>) -> Result<(), NotAdmitted> {
        if self.is_empty() {
            return Err(NotAdmitted::Closed);
        }
        let said = bearer(authorization)
            .map_err(|_| NotAdmitted::NoToken)?
            .as_bytes();
        let mut found = Choice::from(0);
        for token in &self.0 {
            found |= token.expose_secret().as_bytes().ct_eq(said);
        }
        match bool::from(found) {
            true => Ok(()),
            false => Err(NotAdmitted::Unknown),
        }
    }
}

impl fmt::Debug for ServiceTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceTokens({})", self.0.len())
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
}
