//! What people and programs read.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use super::*;
use crate::desk::fake::outcome;
use crate::transport::proto::{
    AnalysisOutcome, ExtractedTask, GoAway, OutcomeKind, Resumed, SearchResult, SessionReady,
    ToolCallArguments, ToolResult,
};

fn error(frame_id: &str) -> ServerError {
    ServerError {
        code: "GEMINI_ERROR".into(),
        message: "The operator has to look at it.".into(),
        frame_id: frame_id.into(),
        ..ServerError::default()
    }
}

fn postponed(again: Duration) -> Step {
    Step::Postponed {
        error: error("f"),
        again,
        aside: false,
    }
}

fn sent(frame_id: &str, file: &str) -> Step {
    Step::FrameSent {
        frame_id: frame_id.into(),
        file: Some(file.into()),
        app: String::new(),
        window: String::new(),
        jpeg: 1,
        characters: 2,
    }
}

fn steps() -> Vec<Step> {
    let mut outcome = outcome("f", OutcomeKind::ExtractTask);
    outcome.task = Some(ExtractedTask {
        title: "Call\u{1b}[2J Bo".into(),
        ..ExtractedTask::default()
    });
    vec![
        Step::Ready(SessionReady::default()),
        sent("f", "a.jpg"),
        Step::Decided {
            outcome: outcome.into(),
            kept_as: Some(7),
        },
        postponed(Duration::from_secs(59)),
        postponed(Duration::from_millis(300_500)),
        Step::Lost {
            why: "gone".into(),
            again: Duration::from_millis(1_500),
        },
    ]
}

/// A reader that reads nothing before it is let, and remembers all.
#[derive(Clone, Default)]
struct Reader {
    text: Arc<Mutex<Vec<u8>>>,
    stalled: Arc<Mutex<()>>,
}

impl Reader {
    fn text(&self) -> String {
        String::from_utf8(self.text.lock().unwrap().clone()).unwrap()
    }
}

impl Write for Reader {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        drop(self.stalled.lock().unwrap());
        self.text.lock().unwrap().write(text)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn told_of(steps: &[Step], style: Style) -> (Sum, String) {
    let reader = Reader::default();
    let out = Output::new(reader.clone()).unwrap();
    let mut reporter = Reporter::new(out, style, Backlog::default());
    steps.iter().for_each(|step| reporter.step(step));
    let (sum, out) = reporter.finish();
    out.finish().await.unwrap();
    (sum, reader.text())
}

async fn told(style: Style) -> String {
    let (sum, told) = told_of(&steps(), style).await;
    assert_eq!(sum.extracted, 1);
    told
}

#[tokio::test]
async fn people_see_one_line_kept_up_to_date_and_what_lasts_above_it() {
    let told = told(Style::Live { colour: false }).await;
    let states: Vec<_> = told.split("\r\x1b[K").skip(1).collect();
    assert_eq!(
        states,
        [
            "connecting: 0 waiting, 0 under way, 0 answered, 0 extracted, $0.000000",
            "connected: 0 waiting, 0 under way, 0 answered, 0 extracted, $0.000000",
            "connected: 0 waiting, 1 under way, 0 answered, 0 extracted, $0.000000",
            "task         7: Call [2J Bo (a.jpg)\n\
             connected: 0 waiting, 0 under way, 1 answered, 1 extracted, $0.000000",
            "connected: 0 waiting, 0 under way, 1 answered, 1 extracted, $0.000000",
            "later        GEMINI_ERROR: The operator has to look at it. Again in 5m.\n\
             connected: 0 waiting, 0 under way, 1 answered, 1 extracted, $0.000000",
            "no session   gone\n\
             next try in 2 s: 0 waiting, 0 under way, 1 answered, 1 extracted, $0.000000",
            "done: 0 waiting, 0 under way, 1 answered, 1 extracted, $0.000000\n",
        ]
    );
}

/// What a terminal is told of these steps.
async fn live(steps: &[Step]) -> String {
    told_of(steps, Style::Live { colour: false }).await.1
}

/// The lines that stay on a terminal.
async fn lasting_lines(steps: &[Step]) -> Vec<String> {
    let told = live(steps).await;
    let lines = told
        .split("\r\x1b[K")
        .flat_map(|state| state.rsplit_once('\n'));
    let lines = lines.map(|(lasting, _)| lasting.to_owned());
    let mut lines: Vec<_> = lines.collect();
    // The sum.
    lines.pop();
    lines
}

#[tokio::test]
async fn people_see_what_is_answered_for_another_session_or_a_job_and_what_came_of_it() {
    let call = |request_id: &str, query: &str| ToolCallRequest {
        request_id: request_id.into(),
        arguments: Some(ToolCallArguments {
            query: query.into(),
        }),
        ..ToolCallRequest::default()
    };
    let elsewhere = |call: ToolCallRequest| ToolCallRequest {
        session_id: "s".into(),
        ..call
    };
    let clipboard = |request_id: &str| ToolCallRequest {
        tool_name: "read_clipboard".into(),
        arguments_json: r#"{"most":3}"#.into(),
        ..elsewhere(call(request_id, ""))
    };
    let found = |request_id: &str, found: Result<usize, &str>| Step::SearchAnswered {
        request_id: request_id.into(),
        frame_id: "f".into(),
        found: match found {
            Ok(count) => Ok(vec![SearchResult::default(); count]),
            Err(why) => Err(why.into()),
        },
    };
    let executed = |request_id: &str, error: &str| {
        Step::ToolAnswered(ToolResult {
            request_id: request_id.into(),
            error: error.into(),
            ..ToolResult::default()
        })
    };
    let job = ToolCallRequest {
        job_id: "j".into(),
        ..call("3", &"long ".repeat(50))
    };
    let lines = lasting_lines(&[
        Step::SearchAsked(call("1", "own")),
        found("1", Ok(1)),
        Step::SearchAsked(elsewhere(call("2", "Berlin\u{1b}[2J office"))),
        found("2", Ok(2)),
        Step::SearchAsked(job),
        found("3", Err("the store is held")),
        Step::SearchAsked(clipboard("4")),
        Step::SearchAsked(clipboard("5")),
        executed("5", "the command failed (exit status: 3)"),
        executed("4", ""),
    ])
    .await;
    assert_eq!(
        lines[0],
        "search       for another session: \"Berlin [2J office\" -> 2 found"
    );
    let cut = lines[1]
        .strip_prefix("search       for a job: \"long long ")
        .unwrap();
    assert!(
        cut.ends_with("\" -> the store is held") && cut.len() < 90,
        "{cut}"
    );
    assert_eq!(
        lines[2..],
        [
            "tool         for another session: read_clipboard {\"most\":3} -> \
             the command failed (exit status: 3)",
            "tool         for another session: read_clipboard {\"most\":3} -> answered",
        ]
    );
}

#[tokio::test]
async fn people_see_why_a_frame_has_no_task_and_what_the_server_complains_of() {
    let decided = |kind, reason: &str, summary: &str| Step::Decided {
        outcome: Box::new(AnalysisOutcome {
            reason: reason.into(),
            context_summary: summary.into(),
            ..outcome("f", kind)
        }),
        kept_as: None,
    };
    let lines = lasting_lines(&[
        sent("f", "a.jpg"),
        decided(OutcomeKind::NoTaskFound, "Nobody is online.", "A mail."),
        decided(OutcomeKind::NoTaskFound, "", "A mail."),
        decided(OutcomeKind::NoTaskFound, "", ""),
        decided(OutcomeKind::RejectTask, "Already tracked.", "A mail."),
        Step::Complaint(error("")),
    ])
    .await;
    assert_eq!(
        lines,
        [
            "no task      a.jpg: Nobody is online.",
            "no task      A mail.",
            "rejected     Already tracked.",
            "warning      GEMINI_ERROR: The operator has to look at it.",
        ]
    );
}

#[tokio::test]
async fn each_frame_is_counted_once_whatever_becomes_of_it() {
    let decided = |frame_id: &str| Step::Decided {
        outcome: outcome(frame_id, OutcomeKind::NoTaskFound).into(),
        kept_as: None,
    };
    let lost = Step::Lost {
        why: "gone".into(),
        again: Duration::ZERO,
    };
    let steps = [
        sent("f", "a.jpg"),
        sent("g", "b.jpg"),
        postponed(Duration::from_secs(301)),
        lost,
        sent("g", "b.jpg"),
        // It was never sent.
        Step::Failed(error("too large")),
        decided("g"),
        sent("f", "a.jpg"),
        Step::Postponed {
            error: error("f"),
            again: Duration::from_secs(3_600),
            aside: true,
        },
    ];
    let told = live(&steps).await;
    let counts = told.split("\r\x1b[K").skip(2).map(|state| {
        let status = state.lines().last().unwrap();
        let (_, counts) = status.split_once(": ").unwrap();
        counts.split(" answered").next().unwrap()
    });
    assert_eq!(
        counts.collect::<Vec<_>>(),
        [
            "0 waiting, 1 under way, 0",
            "0 waiting, 2 under way, 0",
            "0 waiting, 1 under way, 1 later, 0",
            "1 waiting, 0 under way, 1 later, 0",
            "0 waiting, 1 under way, 1 later, 0",
            "0 waiting, 1 under way, 1 later, 1",
            "0 waiting, 0 under way, 1 later, 2",
            "0 waiting, 1 under way, 2",
            // The backlog counts what is put aside.
            "0 waiting, 0 under way, 2",
            "0 waiting, 0 under way, 2",
        ]
    );
    let later = "later        a.jpg: GEMINI_ERROR: The operator has to look at it. Again in 5m 1s.";
    assert!(told.contains(later), "{told}");
}

#[tokio::test]
async fn people_see_that_a_session_is_resumed_and_how_the_server_leaves_and_what_it_asks_for() {
    let go_away = |resumable| {
        Step::GoingAway(GoAway {
            reason: "It is time.".into(),
            resumable,
            ..GoAway::default()
        })
    };
    let resumed = |in_flight: &[&str], answered: &[&str]| {
        let ids = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect();
        Step::Ready(SessionReady {
            resumed: Some(Resumed {
                frames_in_flight: ids(in_flight),
                frames_answered: ids(answered),
            }),
            ..SessionReady::default()
        })
    };
    let asked = |again| Step::Postponed {
        error: ServerError {
            retry_after_ms: 1,
            ..error("f")
        },
        again: Duration::from_secs(again),
        aside: false,
    };
    let steps = [
        sent("f", "a.jpg"),
        sent("g", "b.jpg"),
        sent("h", "c.jpg"),
        Step::Lost {
            why: "gone".into(),
            again: Duration::from_secs(1),
        },
        resumed(&["f"], &["g", "old"]),
        go_away(true),
        resumed(&[], &[]),
        go_away(false),
        asked(4),
        asked(5),
    ];
    let reader = Reader::default();
    let out = Output::new(reader.clone()).unwrap();
    let style = Style::Live { colour: false };
    let mut reporter = Reporter::new(out, style, Backlog::default());
    steps.iter().for_each(|step| reporter.step(step));
    reporter.finish().1.finish().await.unwrap();
    let told = reader.text();
    let states = told.split("\r\x1b[K").skip(6);
    let states: Vec<_> = states
        .map(|state| state.split(" answered").next().unwrap())
        .collect();
    assert_eq!(
        states,
        [
            "resumed      the session goes on, 1 frame under way\n\
             connected: 1 waiting, 2 under way, 0",
            "go away      It is time.\n\
             changing streams: 1 waiting, 2 under way, 0",
            "resumed      the session goes on\n\
             connected: 1 waiting, 2 under way, 0",
            "go away      It is time.\n\
             the server goes away: 1 waiting, 2 under way, 0",
            "the server goes away: 1 waiting, 1 under way, 1 later, 0",
            "later        a.jpg: GEMINI_ERROR: The operator has to look at it. \
             Again in 5s, as the server asks.\n\
             the server goes away: 1 waiting, 1 under way, 1 later, 0",
            "done: 1 waiting, 1 under way, 1 later, 0",
        ]
    );
}

#[test]
fn programs_read_what_is_new_by_the_contracts_names_and_no_secret() {
    let read = |step: &Step| -> serde_json::Value {
        let line = json::line(step);
        assert!(!line.contains("s3cret"), "{line}");
        serde_json::from_str(&line).unwrap()
    };
    let ready = read(&Step::Ready(SessionReady {
        resume_secret: "s3cret".into(),
        resume_within_ms: 30_000,
        resumed: Some(Resumed {
            frames_in_flight: vec!["f".into()],
            frames_answered: vec!["g".into()],
        }),
        ..SessionReady::default()
    }));
    assert_eq!(ready["resume_within_ms"], 30_000);
    assert_eq!(ready["resumed"]["frames_in_flight"][0], "f");
    assert_eq!(ready["resumed"]["frames_answered"][0], "g");
    assert!(
        read(&Step::Ready(SessionReady::default()))
            .get("resumed")
            .is_none()
    );
    let go_away = GoAway {
        resumable: true,
        ..GoAway::default()
    };
    assert_eq!(read(&Step::GoingAway(go_away))["resumable"], true);
    let error = || ServerError {
        retry_after_ms: 34_000,
        answer_number: 7,
        ..error("f")
    };
    assert_eq!(read(&Step::Failed(error()))["answer_number"], 7);
    let postponed = read(&Step::Postponed {
        error: error(),
        again: Duration::from_secs(35),
        aside: false,
    });
    assert_eq!(
        (&postponed["retry_after_ms"], &postponed["delay_ms"]),
        (&34_000.into(), &35_000.into())
    );
}

#[tokio::test]
async fn programs_read_a_line_for_each_step_and_the_sum() {
    let told = told(Style::Json).await;
    let lines: Vec<serde_json::Value> = told
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let events: Vec<_> = lines.iter().map(|line| line["event"].as_str()).collect();
    let wanted = [
        "session_ready",
        "frame",
        "outcome",
        "retry",
        "retry",
        "disconnected",
        "done",
    ];
    assert_eq!(events, wanted.map(Some));
    assert_eq!(lines[1]["file"], "a.jpg");
    assert_eq!(lines[5]["reconnect_delay_ms"], 1_500);
    assert_eq!(lines[6]["extracted"], 1);
}

#[tokio::test]
async fn a_reader_who_leaves_is_noticed() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let out = Output::new(Closed).unwrap();
    let unread = out.unread();
    let mut reporter = Reporter::new(out, Style::Json, Backlog::default());
    reporter.step(&steps()[0]);
    unread.cancelled().await;
    assert!(reporter.finish().1.finish().await.is_ok());
}

#[tokio::test]
async fn a_reader_who_stalls_holds_nothing_up_and_is_told_what_it_missed() {
    for style in [Style::Json, Style::Live { colour: false }] {
        let reader = Reader::default();
        let out = Output::new(reader.clone()).unwrap();
        let mut reporter = Reporter::new(out, style, Backlog::default());
        let lost = Step::Lost {
            why: "x".repeat(200),
            again: Duration::ZERO,
        };
        const LINES: usize = 10_000;
        {
            let _stalled = reader.stalled.lock().unwrap();
            for _ in 0..LINES {
                reporter.step(&lost);
            }
        }
        let (_, out) = reporter.finish();
        out.finish().await.unwrap();
        let told = reader.text();
        let read = told.matches(&"x".repeat(200)).count();
        let last: Vec<_> = told.lines().rev().take(2).collect();
        let missed = LINES - read;
        assert!(read > 1_000 && missed > 1_000, "{read}");
        assert!(
            last[1].contains("left") && last[1].contains(&missed.to_string()),
            "{last:?}"
        );
        assert!(last[0].contains("done"), "{last:?}");
    }
}
