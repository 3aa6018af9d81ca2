//! Google's error bodies.

use serde_json::{Value, json};

/// An HTTP status with the error body that Google would send.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) body: Value,
}

impl Refusal {
    /// An error of that status; the canonical name follows from it.
    pub(super) fn new(status: u16, message: impl Into<String>) -> Self {
        let body = json!({"error": {
            "code": status,
            "message": message.into(),
            "status": canonical_name(status),
        }});
        Self { status, body }
    }

    /// A request that is wrong in itself.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(400, message)
    }

    /// A request that does not fit the message types, as Google's parser says
    /// it.
    pub(super) fn field(path: &str, what: &str) -> Self {
        let mut refusal = Self::invalid(format!("Invalid JSON payload received. {what}"));
        refusal.body["error"]["details"] = json!([{
            "@type": "type.googleapis.com/google.rpc.BadRequest",
            "fieldViolations": [{"field": path, "description": what}],
        }]);
        refusal
    }

    /// A key that Google does not know. Never says which.
    pub(super) fn bad_key() -> Self {
        let mut refusal = Self::invalid("API key not valid. Please pass a valid API key.");
        refusal.body["error"]["details"] = json!([{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
            "metadata": {"service": "generativelanguage.googleapis.com"},
        }]);
        refusal
    }

    /// The sentence in the body.
    #[cfg(test)]
    pub(super) fn message(&self) -> &str {
        self.body["error"]["message"].as_str().unwrap_or_default()
    }
}

/// The canonical name that goes with an HTTP status in Google's errors.
fn canonical_name(status: u16) -> &'static str {
    match status {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        402 => "FAILED_PRECONDITION",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        408 | 504 => "DEADLINE_EXCEEDED",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        500 => "INTERNAL",
        501 => "UNIMPLEMENTED",
        502 | 503 => "UNAVAILABLE",
        _ => "UNKNOWN",
    }
}
