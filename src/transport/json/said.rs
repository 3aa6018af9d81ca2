//! What a client says in JSON, as an input of its session: every type of message,
//! with the checks of the gRPC door.

use std::borrow::Cow;

use serde::Deserialize;

use super::fields::{
    Ack, CancelFrame, ClientHello, FrameEvent, Heartbeat, Submission, ToolProgress, ToolResult,
    ToolResultChunk,
};
use super::object::{Object, TOO_MANY, is_flat};
use super::skim::Skim;
use super::surrogates::mended;
use crate::domain::{FrameId, clip};
use crate::session::{ClientMessage, Held, Input, Refusal, RefusalCode};
use crate::transport::arriving::{MAX_MESSAGE, kept};
use crate::transport::proto;
use crate::transport::proto::client_event::Event;
use crate::transport::wire::MAX_ENTRIES;
use crate::transport::wire::inbound::{client_message, invalid_event};

/// Characters of the place of a mistake that are told.
const PLACE_CHARS: usize = 100;

/// What is looked at first of every message.
#[derive(Deserialize)]
struct Any<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
}

/// Reads one message; `held` is what is held for its bytes.
pub(in crate::transport) fn input(text: &str, held: Option<Held>) -> Input {
    match message(&mended(text), held) {
        Ok(message) => Input::Message(message),
        Err(refusal) => Input::Refused(refusal),
    }
}

fn message(text: &str, held: Option<Held>) -> Result<ClientMessage, Refusal> {
    if !is_flat(text) {
        return Err(invalid_event("The message is nested too deeply."));
    }
    let Any { kind } = read(text)?;
    match kind.as_deref() {
        Some("client_hello") => {
            let hello: ClientHello = read(text)?;
            client_message(Event::ClientHello(hello.into()))
        }
        Some("frame_event") => frame(text, held),
        Some("tool_result") => {
            let result: ToolResult = read(text)?;
            client_message(Event::ToolResult(result.into()))
        }
        Some("tool_progress") => {
            let progress: ToolProgress = read(text)?;
            client_message(Event::ToolProgress(progress.into()))
        }
        Some("tool_result_chunk") => {
            let chunk: ToolResultChunk = read(text)?;
            client_message(Event::ToolResultChunk(chunk.into()))
        }
        Some("heartbeat") => {
            let beat: Heartbeat = read(text)?;
            client_message(Event::Heartbeat(beat.into()))
        }
        Some("cancel_frame") => {
            let cancel: CancelFrame = read(text)?;
            client_message(Event::CancelFrame(cancel.into()))
        }
        Some("ack") => {
            let ack: Ack = read(text)?;
            client_message(Event::Ack(ack.into()))
        }
        Some(_) => Err(invalid_event(
            "The message is of a type that this server does not know.",
        )),
        None => Err(invalid_event("The message does not say its type.")),
    }
}

/// A frame that cannot be used is named wherever it has a name.
fn frame(text: &str, held: Option<Held>) -> Result<ClientMessage, Refusal> {
    let sent: FrameEvent = read(text).map_err(|refusal| {
        let mut skim = Skim::default();
        skim.read(text.as_bytes());
        match skim.frame() {
            Some(id) => invalid_frame(id, refusal.message),
            None => refusal,
        }
    })?;
    let (event, unusable) = whole(sent, held);
    let message = client_message(Event::FrameEvent(event))?;
    match (unusable, message) {
        (None, message) => Ok(message),
        // The context it brings counts all the same.
        (Some(unusable), ClientMessage::Frame(frame)) => Err(Refusal {
            context: frame.context,
            ..invalid_frame(frame.id, unusable)
        }),
        (Some(unusable), _) => Err(invalid_event(&unusable)),
    }
}

/// The frame with its image, or without it and why. What is held for the text is from
/// now on held for the image alone.
fn whole(sent: FrameEvent, held: Option<Held>) -> (proto::FrameEvent, Option<String>) {
    let (mut event, image) = sent.split();
    let unusable = match image {
        Ok(image) if image.len() <= MAX_MESSAGE => {
            let held = held.filter(|_| !image.is_empty()).map(|mut held| {
                held.shrink(image.len());
                held
            });
            event.jpeg_bytes = kept(image, held);
            return (event, None);
        }
        Ok(_) => format!("The image has more than {MAX_MESSAGE} bytes."),
        Err(()) => "jpeg_base64 is not base64 (RFC 4648, section 4, with padding).".to_owned(),
    };
    (event, Some(unusable))
}

/// Reads a frame that is submitted; `held` is what is held for its bytes.
pub(in crate::transport) fn submission(
    text: &str,
    held: Option<Held>,
) -> Result<proto::SubmitFrameRequest, Refusal> {
    let Submission {
        frame,
        idempotency_key,
        utc_offset_minutes,
    } = object(&mended(text))?;
    let frame = frame.map(|Object(sent)| match whole(sent, held) {
        (event, None) => Ok(event),
        (_, Some(unusable)) => Err(invalid_event(&unusable)),
    });
    Ok(proto::SubmitFrameRequest {
        frame: frame.transpose()?,
        idempotency_key: idempotency_key.unwrap_or_default(),
        utc_offset_minutes,
    })
}

/// Reads one object of the contract that was sent as a whole.
pub(in crate::transport) fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Refusal> {
    match is_flat(text) {
        true => read(text),
        false => Err(invalid_event("The message is nested too deeply.")),
    }
}

/// Reads an object of this kind.
fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Refusal> {
    let mut json = serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize(&mut json);
    let Object(value) = read.map_err(|error| unreadable(&error))?;
    match json.end() {
        Ok(()) => Ok(value),
        Err(error) => Err(not_json(&error)),
    }
}

/// Says where the mistake is. What the reader says of it is not told: it quotes the
/// text.
fn unreadable(error: &serde_path_to_error::Error<serde_json::Error>) -> Refusal {
    let (place, error) = (error.path().to_string(), error.inner());
    if !error.is_data() {
        return not_json(error);
    }
    if error.to_string().starts_with(TOO_MANY) {
        let message = format!("A list in the event has more than {MAX_ENTRIES} entries.");
        return invalid_event(&message);
    }
    let place = clip(&place, PLACE_CHARS);
    let (line, column) = (error.line(), error.column());
    let place = match &*place {
        "." => "The message",
        place => place,
    };
    let message = format!(
        "{place} is not what the contract says, or has a field twice (line {line}, column {column})."
    );
    invalid_event(&message)
}

fn not_json(error: &serde_json::Error) -> Refusal {
    let (line, column) = (error.line(), error.column());
    invalid_event(&format!(
        "The message is not JSON (line {line}, column {column})."
    ))
}

fn invalid_frame(id: FrameId, message: String) -> Refusal {
    Refusal {
        frame: Some(id),
        ..Refusal::new(RefusalCode::InvalidFrame, message)
    }
}

#[cfg(test)]
mod tests;
