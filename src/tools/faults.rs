//! Why a device has not answered, in words for the model and for people.

use crate::domain::{CallFault, CallFaultCode, Ran};

fn ran(asked: bool) -> Ran {
    match asked {
        true => Ran::Maybe,
        false => Ran::Never,
    }
}

/// The one who was to execute it has gone.
pub(super) fn gone(tool: &str, asked: bool) -> CallFault {
    CallFault {
        code: CallFaultCode::Unavailable,
        message: format!(
            "The client closed its side of the stream, so nobody could answer {tool}."
        ),
        ran: ran(asked),
    }
}

pub(super) fn timed_out(tool: &str, asked: bool) -> CallFault {
    CallFault {
        code: CallFaultCode::Timeout,
        message: format!("The desktop did not answer {tool} before its deadline."),
        ran: ran(asked),
    }
}

/// The device says that it failed.
pub(super) fn failed(why: String) -> CallFault {
    CallFault::may_have_run(CallFaultCode::Failed, why)
}
