//! A whole conversation, printed both ways.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::domain::{CallFault, CallFaultCode, FrameId};
use crate::transport::proto::{
    AnalysisOutcome, Bill, ExtractedTask, MatchType, OutcomeKind, SearchResult, ServerError,
    SessionReady, TaskPriority, TaskStatus, ToolCallArguments, ToolCallRequest, ToolKind,
};

fn bill() -> Bill {
    Bill {
        model_asked: "gemini-3.5-flash-lite".into(),
        model_answered: "gemini-3.5-flash-lite-001".into(),
        model_calls: 2,
        prompt_tokens: 5_120,
        cached_tokens: 1_024,
        output_tokens: 143,
        thinking_tokens: 20,
        cost_micro_usd: 1_667,
        model_ms: 1_204,
        tool_ms: 3,
        total_ms: 1_212,
    }
}

fn sent(frame_id: &str, jpeg: usize) -> Step {
    Step::FrameSent {
        frame_id: frame_id.into(),
        file: None,
        app: "Huddle".into(),
        window: "#finance".into(),
        jpeg,
        characters: 1_003,
    }
}

fn conversation() -> Vec<Step> {
    let extract = AnalysisOutcome {
        outcome_kind: OutcomeKind::ExtractTask as i32,
        frame_id: "new-request".into(),
        task: Some(ExtractedTask {
            title: "Send the Q3 figures to the Berlin office".into(),
            description: "Marta needs them\nfor the \u{1b}[31mboard pack.".into(),
            priority: TaskPriority::PriorityHigh as i32,
            inferred_deadline: "2026-11-27".into(),
            confidence: 0.9,
            source_category: "direct_request".into(),
            source_subcategory: "message".into(),
            ..ExtractedTask::default()
        }),
        context_summary: "A team chat about the closing.".into(),
        bill: Some(bill()),
        ..AnalysisOutcome::default()
    };
    vec![
        Step::Ready(SessionReady {
            session_id: "0f4c2a7e-0000-4000-8000-000000000000".into(),
            protocol_version: "1.1".into(),
            max_model_iterations: 5,
            supported_tool_kinds: vec![1, 2],
            ..SessionReady::default()
        }),
        sent("new-request", 82_101),
        Step::SearchAsked(ToolCallRequest {
            request_id: "r1".into(),
            frame_id: "new-request".into(),
            tool_kind: ToolKind::SearchSimilar as i32,
            arguments: Some(ToolCallArguments {
                query: "send Q3 figures".into(),
            }),
            deadline_ms: 10_000,
            ..ToolCallRequest::default()
        }),
        Step::SearchAnswered {
            request_id: "r1".into(),
            frame_id: "new-request".into(),
            found: Ok(vec![SearchResult {
                task_id: 7,
                description: "Prepare the forecast".into(),
                status: TaskStatus::Active as i32,
                similarity: 0.266,
                match_type: MatchType::Vector as i32,
                relevance_score: 2,
            }]),
        },
        Step::Decided {
            outcome: Box::new(extract),
            kept_as: Some(12),
        },
        sent("second", 0),
        Step::Failed(ServerError {
            code: "RATE_LIMITED".into(),
            message: "The model's quota is used up.".into(),
            retryable: true,
            frame_id: "second".into(),
            ..ServerError::default()
        }),
    ]
}

fn printed(style: Style) -> (String, Sum) {
    let mut out = Vec::new();
    let mut printer = Printer::new(&mut out, style, 2);
    conversation().iter().for_each(|step| printer.step(step));
    let sum = printer.finish("That was all.").unwrap();
    (String::from_utf8(out).unwrap(), sum)
}

const TEXT: &str = "\
\x20 <- session ready    0f4c2a7e…, protocol 1.1, the model may be asked 5 times a frame

1/2  new-request  Huddle  #finance
  -> frame            JPEG of 82 KB, 1,003 characters of text
  <- search similar   \"send Q3 figures\"
  -> 1 found          0.27  Prepare the forecast (active)
  <- EXTRACT_TASK     Send the Q3 figures to the Berlin office
                      high priority, due 2026-11-27, direct_request/message, confidence 0.90
                      Marta needs them for the [31mboard pack.
                      kept as task 12
                      A team chat about the closing.
     bill             gemini-3.5-flash-lite, answered by gemini-3.5-flash-lite-001, 2 calls, $0.001667
                      5,120 tokens in (1,024 cached), 143 out, 20 thinking
                      1,204 ms in the model, 3 ms in searches, 1,212 ms in all

2/2  second  Huddle  #finance
  -> frame            no picture, 1,003 characters of text
  <- RATE_LIMITED     The model's quota is used up. (may be tried again)

total  2 frames: 1 EXTRACT_TASK, 1 without a decision; 2 model calls, 5,283 tokens, $0.001667, 1,212 ms
That was all.
";

#[test]
fn people_read_the_conversation_and_its_price_without_a_terminal_obeying_it() {
    let (text, sum) = printed(Style::Text { colour: false });
    assert_eq!(text, TEXT);
    assert_eq!((sum.frames, sum.extracted, sum.failed), (2, 1, 1));
}

fn call(result: Result<Value, CallFault>) -> Executed {
    let arguments = json!({"phrase": "next\n\u{1b}[31mFriday"});
    Executed {
        frame: FrameId::new("new-request"),
        tool: "resolve_date".to_owned(),
        arguments: Arc::new(arguments.as_object().unwrap().clone()),
        result,
        took: Duration::from_millis(1_204),
    }
}

fn calls() -> [Executed; 2] {
    let fault = CallFault::never_ran(CallFaultCode::Unavailable, "Nobody is there.");
    [call(Ok(json!({"date": "2026-11-27"}))), call(Err(fault))]
}

#[test]
fn people_read_what_a_worker_was_asked_and_what_came_of_it() {
    let mut out = Vec::new();
    let mut printer = Printer::new(&mut out, Style::Text { colour: false }, 1);
    calls().iter().for_each(|call| printer.executed(call));
    let expected = r#"     worker           resolve_date {"phrase":"next\n\u001b[31mFriday"}
                      -> {"date":"2026-11-27"} (1,204 ms)
     worker           resolve_date {"phrase":"next\n\u001b[31mFriday"}
                      -> unavailable: Nobody is there. (1,204 ms)
"#;
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

#[test]
fn programs_read_a_workers_call_as_a_line_of_its_own() {
    let mut out = Vec::new();
    let mut printer = Printer::new(&mut out, Style::Json, 1);
    calls().iter().for_each(|call| printer.executed(call));
    let text = String::from_utf8(out).unwrap();
    assert!(text.starts_with(r#"{"event":"worker_call","frame_id":"new-request","#));
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let [answered, failed] = &lines.collect::<Vec<Value>>()[..] else {
        panic!("two calls are two lines");
    };
    assert_eq!(answered["arguments"]["phrase"], "next\n\u{1b}[31mFriday");
    assert_eq!(answered["result"], json!({"date": "2026-11-27"}));
    assert_eq!(answered["status"], "answered");
    assert_eq!(answered["duration_ms"], 1_204);
    assert_eq!(failed["status"], "unavailable");
    assert_eq!(failed["error"], "Nobody is there.");
    assert_eq!(failed["result"], Value::Null);
}

#[test]
fn colour_adds_nothing_but_colour() {
    let (text, _) = printed(Style::Text { colour: true });
    assert!(text.contains("\x1b[1;32mEXTRACT_TASK"));
    let mut plain = String::new();
    for piece in text.split('\x1b') {
        let colour = piece
            .find('m')
            .filter(|_| piece.starts_with('['))
            .map_or(0, |end| end + 1);
        plain.push_str(&piece[colour..]);
    }
    assert_eq!(plain, TEXT);
}

#[test]
fn programs_read_a_line_for_each_step_the_last_of_a_frame_being_its_outcome() {
    let (text, _) = printed(Style::Json);
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let events: Vec<_> = lines
        .iter()
        .map(|line| line["event"].as_str().unwrap())
        .collect();
    assert_eq!(
        events,
        [
            "session_ready",
            "frame",
            "tool_call_request",
            "tool_result",
            "outcome",
            "frame",
            "error"
        ]
    );
    assert!(
        text.lines()
            .nth(4)
            .unwrap()
            .starts_with(r#"{"event":"outcome","outcome":"EXTRACT_TASK","#)
    );
    let outcome = &lines[4];
    assert_eq!(
        outcome["task"]["title"],
        "Send the Q3 figures to the Berlin office"
    );
    assert_eq!(outcome["task"]["priority"], "PRIORITY_HIGH");
    assert_eq!(outcome["bill"]["cost_micro_usd"], 1_667);
    assert_eq!(lines[2]["query"], "send Q3 figures");
    assert_eq!(lines[3]["results"][0]["match_type"], "MATCH_TYPE_VECTOR");
    assert_eq!(lines[6]["code"], "RATE_LIMITED");
}

#[test]
fn a_reader_who_leaves_ends_the_printing_and_a_full_disk_is_told() {
    struct Broken(io::ErrorKind);
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for (kind, fine) in [
        (io::ErrorKind::BrokenPipe, true),
        (io::ErrorKind::StorageFull, false),
    ] {
        let mut printer = Printer::new(Broken(kind), Style::Json, 2);
        conversation().iter().for_each(|step| printer.step(step));
        assert_eq!(printer.finish("").is_ok(), fine, "{kind}");
    }
}
