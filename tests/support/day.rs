//! When tests of the session's core play.

use jiff::Timestamp;

/// The day of all tests.
pub(crate) fn now() -> Timestamp {
    "2026-11-21T10:00:00Z".parse().expect("a valid time")
}
