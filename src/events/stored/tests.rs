//! What is written is read as it was, and what was written long ago as well.

use std::time::Duration;

use super::{Unreadable, read_ending, read_event, write_ending, write_event};
use crate::domain::{
    Bill, Category, Decided, Decision, Event, FrameFault, FrameFaultCode, FrameId, Job, JobId,
    JobState, Message, MessageId, Outcome, Priority, SessionId, Subcategory, Task, Usage,
};

fn bill() -> Bill {
    Bill {
        model_asked: "one".to_owned(),
        model_answered: "other".to_owned(),
        model_calls: 3,
        usage: Usage {
            prompt: 1,
            cached: 2,
            output: 3,
            thinking: u64::MAX,
        },
        cost_micro_usd: 5,
        model_time: Duration::from_nanos(1_000_000_007),
        tool_time: Duration::ZERO,
        total_time: Duration::from_millis(1_500),
    }
}

fn outcome(decision: Decision) -> Outcome {
    Outcome {
        decision,
        context_summary: "\"Quotes\" and\nlines, åäö 🙂".to_owned(),
        current_activity: String::new(),
        bill: bill(),
    }
}

fn decisions() -> [Decision; 3] {
    let task = Task {
        title: "Send the Berlin office the signed lease".to_owned(),
        description: "Before Tuesday".to_owned(),
        priority: Priority::High,
        tags: vec!["a".to_owned(), String::new()],
        source_app: "Mail".to_owned(),
        deadline: Some(jiff::civil::date(2025, 11, 25)),
        confidence: 0.1 + 0.2,
        category: Category::DirectRequest,
        subcategory: Subcategory::ProjectTool,
        score: -1,
    };
    let reason = "a reason".to_owned();
    [
        Decision::Extract(Box::new(task)),
        Decision::Reject {
            reason: reason.clone(),
        },
        Decision::NoTask { reason },
    ]
}

fn states() -> Vec<JobState> {
    let fault = FrameFault {
        bill: Some(Box::new(bill())),
        ..FrameFault::new(FrameFaultCode::Throttled, "Too many.", true)
            .retry_after(Some(Duration::from_millis(2_500)))
    };
    let plain = FrameFault::new(FrameFaultCode::Internal, "", false);
    let mut states = vec![JobState::Pending, JobState::Streaming];
    states.extend(decisions().map(|decision| JobState::Done(Box::new(outcome(decision)))));
    states.extend([fault, plain].map(|fault| JobState::Error(Box::new(fault))));
    states
}

#[test]
fn every_event_is_read_as_it_was_written() {
    let at = "2025-11-22T07:00:00.123456789Z".parse().unwrap();
    let mut events = Vec::new();
    for decision in decisions() {
        events.push(Event::Decided(Box::new(Decided {
            session: SessionId::new("s"),
            frame: FrameId::new("f"),
            outcome: outcome(decision),
        })));
    }
    for state in states() {
        let ending = write_ending(&state);
        assert_eq!(ending.is_some(), state.is_terminal());
        if let Some(ending) = ending {
            assert_eq!(read_ending(&ending), Ok(state.clone()));
        }
        events.push(Event::Job(Box::new(Job {
            id: JobId::new("j"),
            frame: FrameId::default(),
            state,
            submitted_at: at,
            changed_at: at,
        })));
    }
    for expires_at in [None, Some(at)] {
        events.push(Event::Message(Box::new(Message {
            id: MessageId::new("m"),
            kind: "k".to_owned(),
            title: "t".to_owned(),
            body: "b".to_owned(),
            data: "{}".to_owned(),
            sent_at: at,
            expires_at,
        })));
    }
    for event in events {
        let text = write_event(&event);
        assert_eq!(read_event(&text), Ok(event), "{text}");
    }
}

#[test]
fn unknown_fields_are_left_out_and_what_cannot_be_read_is_said() {
    let known = r#"{"v":1,"more":[1],"job":{"id":"j","frame":"f","more":{},
        "submitted_at":"2025-11-22T07:00:00Z","changed_at":"2025-11-22T07:00:01Z",
        "state":{"pending":{"more":1}}}}"#;
    assert!(matches!(read_event(known), Ok(Event::Job(_))));
    for unreadable in [
        "",
        "{}",
        "{\"v\":1}",
        &known.replace("\"v\":1", "\"v\":2"),
        &known.replace("\"job\":", "\"something_new\":"),
        &known.replace("2025", "later"),
        &known[..known.len() - 1],
    ] {
        assert_eq!(read_event(unreadable), Err(Unreadable), "{unreadable}");
    }
}
