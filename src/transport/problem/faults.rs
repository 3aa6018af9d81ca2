//! Why a request is refused, as problems. Each has a name that programs compare.

use std::time::Duration;

use http::StatusCode;
use http::header::WWW_AUTHENTICATE;

use super::{Problem, TOO_LARGE};
use crate::auth::NotAdmitted;
use crate::domain::FrameFaultCode;
use crate::jobs::Refused;
use crate::session::{Full, Refusal, RefusalCode};
use crate::transport::calls::Fault;
use crate::transport::guard::Denied;

/// There is no room for what was sent, whoever finds that.
const OVERLOADED: &str = "urn:proactive:overloaded";
/// When to come back to a server that is full, or cannot judge tokens.
const COME_BACK: Duration = Duration::from_secs(10);

impl Problem {
    /// The server has not done in time what was asked of it.
    pub(in crate::transport) fn late() -> Self {
        let sentence = "The server took too long, and may do it yet: come back later, under the \
                        same idempotency_key.";
        unavailable(sentence.to_owned())
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Unauthenticated(sentence) => unauthenticated(sentence),
            Denied::Unavailable(sentence) => unavailable(sentence),
        }
    }
}

impl From<NotAdmitted> for Problem {
    fn from(refused: NotAdmitted) -> Self {
        unauthenticated(refused.to_string())
    }
}

impl From<Full> for Problem {
    fn from(full: Full) -> Self {
        let sentence = full.to_string();
        match full {
            Full::User(_) => {
                too_many("urn:proactive:too-many-sessions", sentence).retry_after(COME_BACK)
            }
            Full::Server => unavailable(sentence),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let sentence = refusal.message;
        match refusal.code {
            RefusalCode::InvalidEvent | RefusalCode::InvalidFrame => invalid(sentence),
            RefusalCode::MessageTooLarge => {
                Self::named(StatusCode::PAYLOAD_TOO_LARGE, TOO_LARGE, sentence)
            }
            RefusalCode::Overloaded(_) => too_many(OVERLOADED, sentence).retry_after(COME_BACK),
        }
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let sentence = fault.to_string();
        match fault {
            Fault::Invalid(_) | Fault::Refused(Refused::NoContext) => invalid(sentence),
            Fault::NoSuchJob => {
                Self::named(StatusCode::NOT_FOUND, "urn:proactive:no-such-job", sentence)
            }
            Fault::Full(full) => full.into(),
            Fault::Busy(_) => {
                too_many("urn:proactive:too-many-calls", sentence).retry_after(COME_BACK)
            }
            Fault::Refused(Refused::UserFull(_)) => {
                too_many("urn:proactive:too-many-jobs", sentence).retry_after(COME_BACK)
            }
            Fault::Refused(Refused::Fault(fault)) => {
                let wait = fault.retry_after.unwrap_or(COME_BACK);
                let name = match fault.code {
                    FrameFaultCode::Overloaded => OVERLOADED,
                    _ => "urn:proactive:too-many-frames",
                };
                too_many(name, sentence).retry_after(wait)
            }
            Fault::Refused(Refused::Full | Refused::ShuttingDown | Refused::Log(_))
            | Fault::Log(_)
            | Fault::ShuttingDown => unavailable(sentence),
        }
    }
}

fn invalid(sentence: String) -> Problem {
    Problem::named(StatusCode::BAD_REQUEST, "urn:proactive:invalid", sentence)
}

fn unauthenticated(sentence: String) -> Problem {
    let (status, name) = (StatusCode::UNAUTHORIZED, "urn:proactive:unauthenticated");
    Problem::named(status, name, sentence).header(WWW_AUTHENTICATE, "Bearer")
}

fn too_many(name: &'static str, sentence: String) -> Problem {
    Problem::named(StatusCode::TOO_MANY_REQUESTS, name, sentence)
}

fn unavailable(sentence: String) -> Problem {
    let (status, name) = (StatusCode::SERVICE_UNAVAILABLE, "urn:proactive:unavailable");
    Problem::named(status, name, sentence).retry_after(COME_BACK)
}
