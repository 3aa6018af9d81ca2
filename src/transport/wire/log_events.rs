//! To the wire: users' logs and jobs, as LogEvents and Jobs. Cannot fail.

use std::sync::Arc;

use super::endings::{analysis_outcome, frame_fault, timestamp};
use crate::domain::{self, Decided, Job, JobState, Message};
use crate::events::{Entry, News, What};
use crate::transport::proto;
use crate::transport::proto::log_event::Event;

/// What a follower is told, in the wire's words.
pub(in crate::transport) fn event(news: News) -> proto::LogEvent {
    let News { cursor, what } = news;
    let (at, event) = match what {
        What::Start => (None, Event::Start(proto::LogStart {})),
        What::Gap => (None, Event::Gap(proto::LogGap {})),
        What::Entry(entry) => {
            let Entry {
                offset: _,
                at,
                event,
            } = Arc::unwrap_or_clone(entry);
            (Some(timestamp(at)), entry_event(event))
        }
    };
    proto::LogEvent {
        cursor: cursor.map(|it| it.to_string()).unwrap_or_default(),
        at,
        event: Some(event),
    }
}

fn entry_event(event: domain::Event) -> Event {
    match event {
        domain::Event::Decided(decided) => {
            let Decided {
                session,
                frame,
                outcome,
            } = *decided;
            Event::FrameDecided(proto::FrameDecided {
                session_id: session.to_string(),
                outcome: Some(analysis_outcome(&frame, true, outcome)),
            })
        }
        domain::Event::Job(job) => Event::Job(self::job(*job)),
        domain::Event::Message(message) => Event::Message(self::message(*message)),
    }
}

/// A job, as it is now.
pub(in crate::transport) fn job(job: Job) -> proto::Job {
    let Job {
        id,
        frame,
        state,
        submitted_at,
        changed_at,
    } = job;
    let told = match &state {
        JobState::Pending => proto::JobState::Pending,
        JobState::Streaming => proto::JobState::Streaming,
        JobState::Done(_) => proto::JobState::Done,
        JobState::Error(_) => proto::JobState::Error,
    };
    let (outcome, error) = match state {
        JobState::Pending | JobState::Streaming => (None, None),
        JobState::Done(outcome) => (Some(analysis_outcome(&frame, true, *outcome)), None),
        JobState::Error(fault) => (None, Some(frame_fault(&frame, true, *fault))),
    };
    proto::Job {
        job_id: id.to_string(),
        frame_id: frame.to_string(),
        state: told.into(),
        submitted_at: Some(timestamp(submitted_at)),
        changed_at: Some(timestamp(changed_at)),
        outcome,
        error,
    }
}

fn message(message: Message) -> proto::Message {
    let Message {
        id,
        kind,
        title,
        body,
        data,
        sent_at,
        expires_at,
    } = message;
    proto::Message {
        message_id: id.to_string(),
        kind,
        title,
        body,
        data,
        sent_at: Some(timestamp(sent_at)),
        expires_at: expires_at.map(timestamp),
    }
}
