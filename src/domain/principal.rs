//! Who a session belongs to, as its verified token says.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

/// A Firebase user id: 1 to 128 characters. Shown to people and logs as its
/// first 8 characters only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Uid(Arc<str>);

impl Uid {
    /// Takes a uid that the caller has checked.
    pub fn new(uid: impl Into<Arc<str>>) -> Self {
        Self(uid.into())
    }

    /// The whole uid: a key for maps, never for logs.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().take(8).try_for_each(|c| write!(f, "{c}"))
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Uid({self}…)")
    }
}

/// A verified caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Whose session this is.
    pub uid: Uid,
    /// When the token that opened the session expires.
    pub expires_at: Timestamp,
    /// The custom claim `plan`, if the token has one; at most 32 characters.
    pub plan: Option<String>,
    /// The custom claim `devices` is true: it may use other devices of its user.
    pub devices: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a24_a_uid_shows_at_most_eight_characters() {
        let uid = Uid::new("AbCdEfGhIjKlMnOp");
        assert_eq!(uid.to_string(), "AbCdEfGh");
        assert_eq!(format!("{uid:?}"), "Uid(AbCdEfGh…)");
        assert_eq!(Uid::new("åäöåäöåäöåäö").to_string(), "åäöåäöåä");
    }
}
