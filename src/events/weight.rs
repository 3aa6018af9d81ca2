//! How much memory an entry takes: counted, not measured.

use crate::domain::{Decided, Event, FrameFault, Job, JobState, Message};

/// An entry and its event apart from their texts, and its place in a queue.
const ENTRY: usize = 256;
/// An outcome or a fault apart from its texts, with its bill.
const ENDING: usize = 512;

/// Bytes of an entry that says this.
pub(super) fn entry(event: &Event) -> usize {
    let said = match event {
        Event::Decided(decided) => {
            let Decided {
                session,
                frame,
                outcome,
            } = &**decided;
            session.as_str().len() + frame.as_str().len() + ENDING + outcome.bytes()
        }
        Event::Job(of) => job(of),
        Event::Message(message) => {
            let Message {
                id,
                kind,
                title,
                body,
                data,
                sent_at: _,
                expires_at: _,
            } = &**message;
            id.as_str().len() + kind.len() + title.len() + body.len() + data.len()
        }
    };
    ENTRY + said
}

/// Bytes of a job.
pub(super) fn job(job: &Job) -> usize {
    let ending = match &job.state {
        JobState::Pending | JobState::Streaming => 0,
        JobState::Done(outcome) => ENDING + outcome.bytes(),
        JobState::Error(fault) => ENDING + fault_text(fault),
    };
    ENTRY + job.id.as_str().len() + job.frame.as_str().len() + ending
}

fn fault_text(fault: &FrameFault) -> usize {
    fault.message.len()
}
