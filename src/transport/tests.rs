//! What tests of several doors share.

use crate::session::{ClientMessage, Input, Refusal};

/// What a client said, in a word.
pub(super) fn kind(input: &Input) -> String {
    match input {
        Input::Message(ClientMessage::Frame(frame)) => frame.id.to_string(),
        Input::Message(ClientMessage::Heartbeat) => "heartbeat".into(),
        Input::Message(_) => "other".into(),
        Input::Refused(Refusal { code, frame, .. }) => match frame {
            Some(frame) => format!("{} {frame}", code.as_str()),
            None => code.as_str().into(),
        },
        Input::Part => "part".into(),
        Input::Stalled => "stalled".into(),
        Input::Lost => "lost".into(),
    }
}
