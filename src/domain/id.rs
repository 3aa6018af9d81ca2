//! Identifiers, each its own type so that none is taken for another.

use std::fmt;
use std::sync::Arc;

use subtle::ConstantTimeEq;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes the text as it is.
            pub fn new(text: impl Into<Arc<str>>) -> Self {
                Self(text.into())
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id! {
    /// Names one session of one desktop: a UUID, made by the server.
    SessionId
}
id! {
    /// Names one frame within its session: the client's screenshot id, or else
    /// its frame number in decimal.
    FrameId
}
id! {
    /// Names one call that a device was asked for: a UUID, made by the server.
    RequestId
}
id! {
    /// Names one device among those of its user: what its client calls it, or else the
    /// id of its session.
    DeviceId
}

id! {
    /// Names one job: a UUID, made by the server.
    JobId
}
id! {
    /// Names one message of another program: a UUID, made by the server.
    MessageId
}

id! {
    /// Names one call of a tool that a worker executes: a UUID, made by the server.
    CallId
}

/// What a client proves with that a session is its own: made by the server, told
/// to nobody else, and not shown by `Debug`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ResumeSecret(Arc<str>);

impl ResumeSecret {
    /// Takes the text as it is.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The secret itself: for the client it belongs to.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether both are the same, in a time that does not tell how much of them is.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl fmt::Debug for ResumeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeSecret")
    }
}
