//! The JSON of users' logs and jobs, read by hand.

use jiff::Timestamp;
use proactive::transport::proto::log_event::Event as What;
use proactive::transport::proto::{
    FrameDecided, Job, JobState, LogEvent, LogGap, LogStart, Message,
};
use serde_json::Value;

use super::json::{analysis_outcome, server_error, since_1_1, text};

/// Something in a user's log.
pub fn log_event(told: &Value) -> LogEvent {
    let event = match told["event"].as_str().unwrap() {
        "frame_decided" => {
            let decided = &told["frame_decided"];
            What::FrameDecided(FrameDecided {
                session_id: text(decided, "session_id"),
                outcome: Some(analysis_outcome(&decided["outcome"])),
            })
        }
        "job" => What::Job(job(&told["job"])),
        "message" => What::Message(message(&told["message"])),
        "gap" => What::Gap(LogGap {}),
        "start" => What::Start(LogStart {}),
        other => panic!("{other} is no event of a log"),
    };
    LogEvent {
        cursor: text(told, "cursor"),
        at: time(&told["at"]),
        event: Some(event),
    }
}

/// A job.
pub fn job(told: &Value) -> Job {
    let state = match told["state"].as_str().unwrap() {
        "pending" => JobState::Pending,
        "streaming" => JobState::Streaming,
        "done" => JobState::Done,
        "error" => JobState::Error,
        other => panic!("{other} is no state"),
    };
    let (outcome, error) = (&told["outcome"], &told["error"]);
    Job {
        job_id: text(told, "job_id"),
        frame_id: text(told, "frame_id"),
        state: state.into(),
        submitted_at: time(&told["submitted_at"]),
        changed_at: time(&told["changed_at"]),
        outcome: outcome.as_object().map(|_| analysis_outcome(outcome)),
        error: error.as_object().map(|_| server_error(error)),
    }
}

fn message(told: &Value) -> Message {
    let data = &told["data"];
    Message {
        message_id: text(told, "message_id"),
        kind: text(told, "kind"),
        title: text(told, "title"),
        body: text(told, "body"),
        data: match data {
            Value::Null => since_1_1(told, "data"),
            data => data.to_string(),
        },
        sent_at: time(&told["sent_at"]),
        expires_at: time(&told["expires_at"]),
    }
}

fn time(told: &Value) -> Option<prost_types::Timestamp> {
    let time: Timestamp = told.as_str()?.parse().unwrap();
    Some(prost_types::Timestamp {
        seconds: time.as_second(),
        nanos: time.subsec_nanosecond(),
    })
}
