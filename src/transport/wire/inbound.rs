//! From the wire: every field checked or brought within its bound.
//!
//! | field | tolerance |
//! |---|---|
//! | app_name, window_title | clipped to 200 and 500 characters |
//! | ocr_text | clipped to 20,000 characters |
//! | context_version | clipped to 256 characters, also where it is echoed |
//! | screenshot_id | over 256 bytes: INVALID_FRAME |
//! | jpeg_bytes | not a JPEG: INVALID_FRAME; empty: a frame of text alone |
//! | heartbeat_interval_ms | brought into 1 to 300 s; 0 or less: as if absent |
//! | answer_number, answers_received | less than 0: 0 |
//! | utc_offset_minutes | more than 25 h 59 min: as if absent |
//! | capture_time | out of range: as if absent |
//! | session_context | bounded, see `Context::bounded` |
//! | tool results | 50 are read, clipped to 300 characters; NaN similarity is 0 |
//! | result_json | over 256 KiB, or no JSON of at most 32 levels: the call fails |
//! | device_id, device_name | clipped to 128 and 64 characters |
//! | locale, time_zone | over 35 and 64 characters, or not of their alphabet: as if absent |
//! | executes.tools, disabled_tools | the first 64 are read, clipped to 64 characters |
//! | unknown enum values | as if absent |
//! | any list | over 10,000 entries: INVALID_EVENT, before it is built, see `weigh` |

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use jiff::tz::Offset;
use prost::Message;

use super::bounds::{clipped, score};
use super::tools;
use super::weigh::{self, Excess, MAX_ENTRIES};
use crate::domain::{
    ActiveTask, Context, Frame, FrameId, Goal, Image, PastTask, ResumeSecret, ScreenText,
    SessionId, clip,
};
use crate::events::Start;
use crate::session::{ClientMessage, Follow, Hello, Input, Refusal, RefusalCode, Resume, Version};
use crate::transport::proto::client_event::Event;
use crate::transport::proto::{self, ClientEvent};

pub(in crate::transport) const FRAME_ID_BYTES: usize = 256;
const APP_CHARS: usize = 200;
const WINDOW_CHARS: usize = 500;
const OCR_CHARS: usize = 20_000;
const VERSION_CHARS: usize = 256;
const FASTEST_BEAT: Duration = Duration::from_secs(1);
const SLOWEST_BEAT: Duration = Duration::from_secs(300);

/// Reads one encoded ClientEvent.
pub(in crate::transport) fn input(message: Bytes) -> Input {
    let size = message.len();
    match decode(message).and_then(|event| client_message(alone(event, size))) {
        Ok(message) => Input::Message(message),
        Err(refusal) => Input::Refused(refusal),
    }
}

/// The JPEG is a part of the message, and keeps all of it: it gets memory of its
/// own where that is most of what is kept.
fn alone(mut event: Event, size: usize) -> Event {
    if let Event::FrameEvent(frame) = &mut event
        && frame.jpeg_bytes.len() < size / 2
    {
        frame.jpeg_bytes = Bytes::copy_from_slice(&frame.jpeg_bytes);
    }
    event
}

fn decode(message: Bytes) -> Result<Event, Refusal> {
    const NOT_ONE: &str = "The event is not a ClientEvent of proactive.v1.";
    weighed(&message, weigh::CLIENT_EVENT, NOT_ONE)?;
    let ClientEvent { event } = ClientEvent::decode(message).map_err(|_| invalid_event(NOT_ONE))?;
    event
        .ok_or_else(|| invalid_event("The event is empty, or of a kind this server does not know."))
}

/// Reads one encoded SubmitFrameRequest.
pub(in crate::transport) fn submission(
    message: Bytes,
) -> Result<proto::SubmitFrameRequest, Refusal> {
    const NOT_ONE: &str = "The message is not a SubmitFrameRequest of proactive.v1.";
    weighed(&message, weigh::SUBMIT_FRAME, NOT_ONE)?;
    proto::SubmitFrameRequest::decode(message).map_err(|_| invalid_event(NOT_ONE))
}

fn weighed(message: &[u8], holders: weigh::Holders, not_one: &str) -> Result<(), Refusal> {
    weigh::check(message, holders).map_err(|excess| match excess {
        Excess::Entries => {
            let message = format!("A list in the event has more than {MAX_ENTRIES} entries.");
            invalid_event(&message)
        }
        Excess::Malformed => invalid_event(not_one),
    })
}

/// The same checks for every door.
pub(in crate::transport) fn client_message(event: Event) -> Result<ClientMessage, Refusal> {
    match event {
        Event::ClientHello(said) => Ok(ClientMessage::Hello(hello(said))),
        Event::FrameEvent(sent) => frame(sent).map(|frame| ClientMessage::Frame(Box::new(frame))),
        Event::ToolResult(result) => Ok(tools::result(result)),
        Event::Heartbeat(proto::Heartbeat { sent_at: _ }) => Ok(ClientMessage::Heartbeat),
        Event::CancelFrame(proto::CancelFrame { frame_id }) => {
            Ok(ClientMessage::CancelFrame(FrameId::new(frame_id)))
        }
        Event::Ack(proto::Ack { answer_number }) => Ok(ClientMessage::Ack(count(answer_number))),
        Event::ToolProgress(said) => Ok(tools::progress(said)),
        Event::ToolResultChunk(said) => Ok(tools::piece(said)),
    }
}

fn hello(said: proto::ClientHello) -> Hello {
    let proto::ClientHello {
        protocol_version,
        client_instance_id: _,
        app_version: _,
        os_version: _,
        device_name,
        context_version,
        session_context,
        utc_offset_minutes,
        resume: come_back,
        heartbeat_interval_ms,
        follow: wish,
        runtime,
        device_id,
        executes,
        tool_preferences,
        locale,
        time_zone,
    } = said;
    let profile = tools::profile(
        runtime,
        (device_id, device_name),
        executes,
        tool_preferences,
        (locale, time_zone),
    );
    let context_version = clipped(context_version, VERSION_CHARS);
    let version = Version::negotiate(&protocol_version);
    let since_1_1 = version >= Version::V1_1;
    let beats = since_1_1 && heartbeat_interval_ms > 0;
    Hello {
        version,
        resume: come_back.filter(|_| since_1_1).map(resume),
        follow: wish.filter(|_| since_1_1).map(follow),
        profile: profile.filter(|_| since_1_1),
        heartbeat_interval: beats.then(|| {
            Duration::from_millis(count(heartbeat_interval_ms)).clamp(FASTEST_BEAT, SLOWEST_BEAT)
        }),
        context: session_context.map(|tasks| context(&context_version, tasks)),
        context_version,
        utc_offset: utc_offset_minutes.and_then(utc_offset),
    }
}

fn follow(said: proto::Follow) -> Follow {
    let proto::Follow { cursor } = said;
    start(&cursor).map_or(Follow::Unreadable, Follow::From)
}

/// Where to begin in a log: a cursor, or a word for it. `None`: it is neither.
pub(in crate::transport) fn start(said: &str) -> Option<Start> {
    match said.trim() {
        "" => Some(Start::Now),
        "oldest" => Some(Start::Oldest),
        cursor => cursor.parse().ok().map(Start::After),
    }
}

fn resume(said: proto::Resume) -> Box<Resume> {
    let proto::Resume {
        session_id,
        secret,
        answers_received,
    } = said;
    Box::new(Resume {
        session: SessionId::new(session_id),
        secret: ResumeSecret::new(secret),
        received: count(answers_received),
    })
}

pub(in crate::transport) fn frame(sent: proto::FrameEvent) -> Result<Frame, Refusal> {
    let proto::FrameEvent {
        jpeg_bytes,
        app_name,
        window_title,
        ocr_text,
        capture_time,
        frame_number,
        screenshot_id,
        context_version,
        session_context,
        device_id,
    } = sent;
    let context_version = clipped(context_version, VERSION_CHARS);
    let context = session_context.map(|tasks| context(&context_version, tasks));
    let refused = |id: FrameId, message: &str, context| Refusal {
        frame: Some(id),
        context,
        ..Refusal::new(RefusalCode::InvalidFrame, message)
    };
    if screenshot_id.len() > FRAME_ID_BYTES {
        let id = FrameId::new(clip(&screenshot_id, FRAME_ID_BYTES / 4));
        let message = format!("screenshot_id is longer than {FRAME_ID_BYTES} bytes.");
        return Err(refused(id, &message, context));
    }
    let named = !screenshot_id.is_empty();
    let id = frame_id(screenshot_id, frame_number);
    let image = match jpeg_bytes.is_empty() {
        true => None,
        false => match Image::jpeg(jpeg_bytes) {
            Ok(image) => Some(image),
            Err(_) => {
                let message = "jpeg_bytes (jpeg_base64 in JSON) is not a whole JPEG image.";
                return Err(refused(id, message, context));
            }
        },
    };
    Ok(Frame {
        id,
        named,
        image,
        app: clipped(app_name, APP_CHARS),
        window: clipped(window_title, WINDOW_CHARS),
        ocr: ScreenText(clipped(ocr_text, OCR_CHARS)),
        captured_at: capture_time.and_then(timestamp),
        utc_offset: None,
        device: tools::device_id(device_id),
        context,
    })
}

fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or_default()
}

/// A frame's name in every event about it.
pub(in crate::transport) fn frame_id(screenshot_id: String, frame_number: i64) -> FrameId {
    match screenshot_id.is_empty() {
        true => FrameId::new(frame_number.to_string()),
        false => FrameId::new(screenshot_id),
    }
}

fn context(version: &str, tasks: proto::SessionContext) -> Box<Context> {
    let proto::SessionContext {
        active_tasks,
        completed_tasks,
        deleted_tasks,
        goals,
        generated_at: _,
    } = tasks;
    let active = active_tasks.into_iter().map(|task| {
        let proto::ActiveTask {
            task_id,
            description,
            priority,
            relevance_score,
            staged,
        } = task;
        ActiveTask {
            id: task_id,
            description,
            priority,
            score: score(relevance_score),
            staged,
        }
    });
    let past = |tasks: Vec<proto::HistoricalTask>| {
        let past = tasks.into_iter().map(
            |proto::HistoricalTask {
                 task_id,
                 description,
             }| {
                PastTask {
                    id: task_id,
                    description,
                }
            },
        );
        past.collect()
    };
    let goals = goals.into_iter().map(|goal| {
        let proto::Goal {
            goal_id: _,
            title,
            description,
        } = goal;
        Goal { title, description }
    });
    let (completed, deleted) = (past(completed_tasks), past(deleted_tasks));
    Box::new(Context::bounded(
        version,
        active.collect(),
        completed,
        deleted,
        goals.collect(),
    ))
}

pub(in crate::transport) fn utc_offset(minutes: i32) -> Option<Offset> {
    Offset::from_seconds(minutes.checked_mul(60)?).ok()
}

fn timestamp(stamp: prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(stamp.seconds, stamp.nanos).ok()
}

pub(in crate::transport) fn invalid_event(message: &str) -> Refusal {
    Refusal::new(RefusalCode::InvalidEvent, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::Output;

    fn sent(frame: proto::FrameEvent) -> Result<Frame, Refusal> {
        let message = ClientEvent {
            event: Some(Event::FrameEvent(frame)),
        }
        .encode_to_vec();
        match input(message.into()) {
            Input::Message(ClientMessage::Frame(frame)) => Ok(*frame),
            Input::Refused(refusal) => Err(refusal),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a05_the_frame_id_is_the_screenshot_id_or_else_the_number() {
        let id = |screenshot_id: &str, frame_number| {
            let frame = proto::FrameEvent {
                screenshot_id: screenshot_id.into(),
                frame_number,
                ..proto::FrameEvent::default()
            };
            sent(frame).map(|frame| frame.id.to_string())
        };
        assert_eq!(id("shot", 7).unwrap(), "shot");
        assert_eq!(id("", 7).unwrap(), "7");
        assert_eq!(id("", -1).unwrap(), "-1");
        assert_eq!(id(&"é".repeat(128), 7).unwrap().len(), 256);
        let refusal = id(&"x".repeat(257), 7).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::InvalidFrame);
        assert!(refusal.frame.is_some() && refusal.message.contains("screenshot_id"));
    }

    #[test]
    fn ten_mebibytes_of_empty_tasks_are_refused_with_the_limit() {
        // A list entry is its tag and a length of none.
        let list = [10, 0].repeat(5 << 20);
        let field = |tag: u8, content: &[u8]| {
            let mut field = vec![tag << 3 | 2];
            prost::encode_length_delimiter(content.len(), &mut field).unwrap();
            [&field, content].concat()
        };
        for event in [
            field(1, &field(7, &list)),
            field(2, &field(9, &list)),
            field(3, &field(2, &list)),
        ] {
            let Input::Refused(refusal) = input(event.into()) else {
                panic!("ten million bytes of nothing were taken")
            };
            assert_eq!(refusal.code, RefusalCode::InvalidEvent);
            assert!(refusal.message.contains("10000"), "{}", refusal.message);
        }
    }

    #[test]
    fn a11_a_frame_without_an_image_is_legal_and_a_wrong_image_is_not() {
        let with = |jpeg: &'static [u8]| {
            let jpeg_bytes = Bytes::from_static(jpeg);
            sent(proto::FrameEvent {
                jpeg_bytes,
                ..proto::FrameEvent::default()
            })
        };
        assert!(with(b"").unwrap().image.is_none());
        assert!(with(b"\xff\xd8\xff\xe0\xff\xd9").unwrap().image.is_some());
        assert!(with(b"GIF89a").unwrap_err().message.contains("jpeg_bytes"));
    }

    #[test]
    fn gigantic_strings_and_absurd_values_are_brought_within_their_bounds() {
        let giant = "ö".repeat(100_000);
        let frame = sent(proto::FrameEvent {
            app_name: giant.clone(),
            window_title: giant.clone(),
            ocr_text: giant.clone(),
            context_version: giant.clone(),
            session_context: Some(proto::SessionContext::default()),
            capture_time: Some(prost_types::Timestamp {
                seconds: i64::MAX,
                nanos: -5,
            }),
            ..proto::FrameEvent::default()
        })
        .unwrap();
        let chars = [&frame.app, &frame.window, &frame.ocr.0].map(|text| text.chars().count());
        assert_eq!(chars, [200, 500, 20_000]);
        assert_eq!(frame.captured_at, None);
        assert_eq!(frame.context.unwrap().version.chars().count(), 256);
        let said = proto::ClientHello {
            context_version: giant.clone(),
            ..proto::ClientHello::default()
        };
        assert_eq!(hello(said).context_version.chars().count(), 256);
        let found = proto::SearchResult {
            description: giant,
            similarity: f64::NAN,
            status: 77,
            relevance_score: -3,
            ..proto::SearchResult::default()
        };
        let result = proto::SearchResults {
            items: vec![found; 1_000],
        };
        let sent = proto::ToolResult {
            result: Some(result),
            ..proto::ToolResult::default()
        };
        let ClientMessage::ToolResult(_, Ok(Output::Hits(hits))) = tools::result(sent) else {
            panic!("a result without an error is an answer")
        };
        assert_eq!(hits.len(), 50);
        assert_eq!(
            (hits[0].similarity, hits[0].status, hits[0].score),
            (0.0, None, None)
        );
    }
}
