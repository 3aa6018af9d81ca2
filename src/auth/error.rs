//! Why a token does not open a session.

/// Why a token was refused. The sentences are for the client; they are ours
/// alone, and never hold a byte of the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Send the metadata or header `authorization`.
    #[error("there is no ID token: send the header `authorization: Bearer <Firebase ID token>`")]
    Missing,
    /// Send the token under the scheme Bearer.
    #[error("the authorization header does not say Bearer: send `Bearer <Firebase ID token>`")]
    NotBearer,
    /// Send an ID token; this is something else, or padded on purpose.
    #[error("the token is longer than 16 KiB, which no Firebase ID token is")]
    TooLong,
    /// Send the token unchanged, as the Firebase SDK gave it.
    #[error("the token is not a JSON Web Token of three segments")]
    Malformed,
    /// Exchange the custom token for an ID token first.
    #[error(
        "this is a custom token, not an ID token: exchange it with signInWithCustomToken, and send the ID token of the signed-in user"
    )]
    CustomToken,
    /// Send a Firebase ID token; those name their key.
    #[error("the token names no key (kid), so it is not a Firebase ID token")]
    NoKid,
    /// Send a Firebase ID token; those are signed with RS256.
    #[error("the token is not signed with RS256")]
    WrongAlgorithm,
    /// Emulator mode: send a token of the emulator.
    #[error("this server accepts only the unsigned tokens of the Firebase Auth emulator")]
    NotFromEmulator,
    /// Sign in to the project that this server serves.
    #[error("the token was made for another Firebase project (aud)")]
    WrongAudience,
    /// Sign in to the project that this server serves.
    #[error("the token was not issued by this server's Firebase project (iss)")]
    WrongIssuer,
    /// Sign in again; the token names no user.
    #[error("the token names no user (sub)")]
    EmptySubject,
    /// Sign in again; no Firebase uid is that long.
    #[error("the token's user id (sub) is longer than 128 characters")]
    SubjectTooLong,
    /// Get a fresh token and try again.
    #[error("the token is signed with none of the public keys in force: get a fresh ID token")]
    UnknownKey,
    /// Sign in again; the token was changed or forged.
    #[error("the token's signature does not fit")]
    BadSignature,
    /// Sign in again.
    #[error("the token does not say in whole seconds when it was issued (iat)")]
    NoIssueTime,
    /// Set the clock; the issuer's or this server's is off.
    #[error("the token was issued in the future (iat): compare the clocks")]
    NotYetValid,
    /// Sign in again.
    #[error("the token does not say in whole seconds when it expires (exp)")]
    NoExpiry,
    /// Get a fresh token and try again.
    #[error("the token has expired: get a fresh ID token")]
    Expired,
    /// Sign in again.
    #[error("the token does not say in whole seconds when its user signed in (auth_time)")]
    BadAuthTime,
    /// Set the clock; the issuer's or this server's is off.
    #[error("the token's user signs in only in the future (auth_time): compare the clocks")]
    SignedInLater,
    /// Try again in a few seconds; nothing is known against the token.
    #[error("Google's public keys cannot be had at the moment: try again in a few seconds")]
    KeysUnavailable,
}

impl Error {
    /// Whether the fault is not the token's: gRPC UNAVAILABLE instead of
    /// UNAUTHENTICATED.
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::KeysUnavailable)
    }
}
