//! gRPC's status codes in words of the domain: the one place that knows both.

use tonic::Code;

use crate::domain::CallFaultCode;
use crate::tools::workers::VariableFault;

/// What a worker means that gives this code for a failure. `None`: OK is no failure.
pub(super) fn fault(code: Code) -> Option<CallFaultCode> {
    Some(match code {
        Code::Ok => return None,
        Code::Cancelled => CallFaultCode::Cancelled,
        Code::InvalidArgument | Code::OutOfRange => CallFaultCode::InvalidArguments,
        Code::DeadlineExceeded => CallFaultCode::Timeout,
        Code::NotFound => CallFaultCode::NotFound,
        Code::PermissionDenied | Code::Unauthenticated => CallFaultCode::NotAllowed,
        Code::ResourceExhausted => CallFaultCode::Exhausted,
        Code::Unimplemented => CallFaultCode::Unimplemented,
        Code::Unavailable => CallFaultCode::Unavailable,
        // The worker is out of order, not the tool.
        Code::Internal | Code::DataLoss => CallFaultCode::Broken,
        // gRPC's own word for a program that raised.
        Code::Unknown | Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted => {
            CallFaultCode::Failed
        }
    })
}

/// What a request for variables that comes to nothing is answered with.
pub(super) fn of_variables(fault: &VariableFault) -> Code {
    match fault {
        VariableFault::Invalid(_) => Code::InvalidArgument,
        VariableFault::NotFound => Code::NotFound,
        VariableFault::OtherVersion(_) => Code::FailedPrecondition,
        VariableFault::Full(_) => Code::ResourceExhausted,
        VariableFault::NotYours => Code::PermissionDenied,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c07_every_status_code_is_a_failure_of_the_domain_but_ok() {
        let faults: Vec<_> = (0..=16).map(|code| fault(Code::from_i32(code))).collect();
        assert_eq!(faults[0], None);
        assert!(faults[1..].iter().all(Option::is_some));
        for (code, meaning) in [
            (2, CallFaultCode::Failed),
            (3, CallFaultCode::InvalidArguments),
            (4, CallFaultCode::Timeout),
            (5, CallFaultCode::NotFound),
            (7, CallFaultCode::NotAllowed),
            (8, CallFaultCode::Exhausted),
            (12, CallFaultCode::Unimplemented),
            (13, CallFaultCode::Broken),
            (14, CallFaultCode::Unavailable),
        ] {
            assert_eq!(faults[code], Some(meaning), "{code}");
        }
    }
}
