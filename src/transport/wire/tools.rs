//! From the wire: what a client says of tools. Bounds and tolerance stand in
//! [`super::inbound`].

use super::bounds::{clipped, score};
use crate::domain::{DeviceId, Hit, MatchType, RequestId, Runtime, TaskStatus};
use crate::session::ClientMessage;
use crate::tools::{Answer, Output, Piece, Profile};
use crate::transport::proto;

const MAX_HITS: usize = 50;
const HIT_CHARS: usize = 300;
const ERROR_CHARS: usize = 300;
const RESULT_BYTES: usize = 256 << 10;
const DEVICE_CHARS: usize = 128;
const NAME_CHARS: usize = 64;
const MAX_TOOLS: usize = 64;
const LOCALE_CHARS: usize = 35;

/// What a client says of itself; `None` if it says nothing.
pub(super) fn profile(
    runtime: i32,
    (device_id_said, device_name): (String, String),
    executes: Option<proto::ToolSupport>,
    preferences: Option<proto::ToolPreferences>,
    (locale, time_zone): (String, String),
) -> Option<Box<Profile>> {
    let runtime = match proto::Runtime::try_from(runtime) {
        Ok(proto::Runtime::Desktop) => Some(Runtime::Desktop),
        Ok(proto::Runtime::Web) => Some(Runtime::Web),
        Ok(proto::Runtime::Unspecified) | Err(_) => None,
    };
    let proto::ToolPreferences {
        no_device_tools,
        disabled_tools,
        device_id: bound,
    } = preferences.unwrap_or_default();
    let profile = Profile {
        runtime,
        device: device_id(device_id_said),
        device_name: clipped(device_name, NAME_CHARS),
        executes: executes.map(|proto::ToolSupport { tools }| names(tools)),
        opted_out: no_device_tools,
        disabled: names(disabled_tools),
        bound: device_id(bound),
        locale: word(locale, LOCALE_CHARS, "-"),
        time_zone: word(time_zone, NAME_CHARS, "-_/+"),
    };
    (profile != Profile::default()).then(|| Box::new(profile))
}

pub(super) fn device_id(said: String) -> Option<DeviceId> {
    (!said.is_empty()).then(|| DeviceId::new(clipped(said, DEVICE_CHARS)))
}

fn names(said: Vec<String>) -> Vec<String> {
    let names = said.into_iter().take(MAX_TOOLS);
    let mut names: Vec<_> = names.map(|name| clipped(name, NAME_CHARS)).collect();
    // It is the list that was said, with all of its room.
    names.shrink_to_fit();
    names
}

/// A word of an ASCII alphabet, or nothing.
fn word(said: String, most: usize, signs: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || signs.contains(c);
    match said.len() <= most && said.chars().all(fits) {
        true => said,
        false => String::new(),
    }
}

pub(super) fn progress(said: proto::ToolProgress) -> ClientMessage {
    let proto::ToolProgress {
        request_id,
        message: _,
        fraction: _,
    } = said;
    ClientMessage::ToolProgress(RequestId::new(request_id))
}

pub(super) fn piece(said: proto::ToolResultChunk) -> ClientMessage {
    let proto::ToolResultChunk {
        request_id,
        sequence,
        data,
        last,
    } = said;
    let piece = Piece {
        sequence,
        text: data,
        last,
    };
    ClientMessage::ToolPiece(RequestId::new(request_id), piece)
}

pub(super) fn result(sent: proto::ToolResult) -> ClientMessage {
    // The request's id alone decides whose answer it is.
    let proto::ToolResult {
        request_id,
        result,
        error,
        frame_id: _,
        result_json,
        execution_ms: _,
    } = sent;
    let answer: Answer = match (error.is_empty(), result_json.is_empty()) {
        (false, _) => Err(clipped(error, ERROR_CHARS)),
        (true, false) if result.as_ref().is_none_or(|it| it.items.is_empty()) => json(&result_json),
        (true, _) => {
            let items = result.map(|result| result.items).unwrap_or_default();
            let hits: Vec<_> = items.into_iter().take(MAX_HITS).map(hit).collect();
            Ok(hits.into())
        }
    };
    ClientMessage::ToolResult(RequestId::new(request_id), answer)
}

fn json(text: &str) -> Answer {
    if text.len() > RESULT_BYTES {
        return Err(format!("Its result is longer than {RESULT_BYTES} bytes."));
    }
    Output::of_json(text)
}

fn hit(found: proto::SearchResult) -> Hit {
    let status = match found.status() {
        proto::TaskStatus::Unspecified => None,
        proto::TaskStatus::Active => Some(TaskStatus::Active),
        proto::TaskStatus::Completed => Some(TaskStatus::Completed),
        proto::TaskStatus::Deleted => Some(TaskStatus::Deleted),
    };
    let match_type = match found.match_type() {
        proto::MatchType::Unspecified => None,
        proto::MatchType::Vector => Some(MatchType::Vector),
        proto::MatchType::Fts => Some(MatchType::FullText),
        proto::MatchType::Both => Some(MatchType::Both),
    };
    let proto::SearchResult {
        task_id,
        description,
        status: _,
        similarity,
        match_type: _,
        relevance_score,
    } = found;
    Hit {
        task_id,
        description: clipped(description, HIT_CHARS),
        status,
        // NaN fails both comparisons of a clamp.
        similarity: if similarity.is_nan() {
            0.0
        } else {
            similarity.clamp(0.0, 1.0)
        },
        match_type,
        score: score(relevance_score),
    }
}
