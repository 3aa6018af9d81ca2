//! Every span of the service, so that names and fields are the same everywhere.
//! Nothing in them is secret or personal: a uid shows its first 8 characters,
//! an id from a client its first 64.

use tracing::{Span, info_span};

use crate::domain::{FrameId, RequestId, SessionId, Uid, clip};

const CLIENT_ID_CHARS: usize = 64;

/// One stream of one desktop.
pub fn session_span(session: &SessionId, uid: &Uid, device: &str) -> Span {
    info_span!(
        "session",
        session.id = %session,
        user.id = %uid,
        device.id = %clip(device, CLIENT_ID_CHARS),
    )
}

/// The analysis of one frame.
pub fn frame_span(frame: &FrameId) -> Span {
    info_span!("frame", frame.id = %clip(frame.as_str(), CLIENT_ID_CHARS))
}

/// One question to the model, retries included.
pub fn model_turn_span(iteration: u32) -> Span {
    info_span!("model.turn", iteration)
}

/// One search on the desktop.
pub fn tool_call_span(request: &RequestId, tool: &'static str) -> Span {
    info_span!("tool.call", request.id = %request, tool.name = tool)
}
