//! `proactive demo`: the main job, without a key, a service or a network.

use std::fs;

use serde_json::Value;

use crate::process::{Ended, proactive, run};

const FRAME: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/examples/frames/no-request.jpg"
);
const REQUEST: &str = "Hi, can you send the Berlin office the signed lease before Tuesday?";

/// The last step that `--json` printed, which must be the outcome.
fn outcome(ended: &Ended) -> Value {
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let last = ended.stdout.lines().last().unwrap();
    let last: Value = serde_json::from_str(last).unwrap();
    assert_eq!(last["event"], "outcome", "{}", ended.stdout);
    last
}

fn shown(text: &str, more: &[&str]) -> Ended {
    let frame = ["demo", "--frame", FRAME, "--ocr", text, "--json"];
    run(proactive(&[&frame, more].concat(), &[]))
}

#[test]
fn a_request_on_any_jpeg_is_extracted_by_its_name() {
    let last = outcome(&shown(REQUEST, &[]));
    assert_eq!(last["outcome"], "EXTRACT_TASK");
    let title = last["task"]["title"].as_str().unwrap();
    assert!(
        title.contains("Berlin") && title.contains("lease"),
        "{title}"
    );
}

#[test]
fn a_request_that_is_already_a_task_is_rejected() {
    let folder = tempfile::tempdir().unwrap();
    let tasks = folder.path().join("tasks.json");
    for tracked in [
        "Send the signed lease to the Berlin office",
        "Send Berlin the signed office lease by Tuesday",
    ] {
        let file = serde_json::json!([{"description": tracked}]);
        fs::write(&tasks, file.to_string()).unwrap();
        let last = outcome(&shown(REQUEST, &["--tasks", tasks.to_str().unwrap()]));
        assert_eq!(last["outcome"], "REJECT_TASK", "{tracked}");
        assert_ne!(last["reason"], "");
    }
}

#[test]
fn code_on_the_screen_is_no_task() {
    let last = outcome(&shown("fn main() {}", &[]));
    assert_eq!(last["outcome"], "NO_TASK_FOUND");
}

#[test]
fn the_bundled_frames_show_each_decision_once_wherever_it_is_started() {
    let empty = tempfile::tempdir().unwrap();
    // None of this may matter: there is no key, and nothing but loopback.
    let surroundings: [&[(&str, &str)]; 4] = [
        &[],
        &[("GOOGLE_GEMINI_BASE_URL", "http://127.0.0.1:1")],
        &[
            ("HTTP_PROXY", "http://127.0.0.1:1"),
            ("http_proxy", "http://127.0.0.1:1"),
            ("ALL_PROXY", "http://127.0.0.1:1"),
        ],
        &[
            ("GRPC_PORT", "taken"),
            ("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:1"),
            ("FIREBASE_KEYS_URL", "http://127.0.0.1:1"),
            ("TLS_CERT_FILE", "/no/such/file"),
        ],
    ];
    for surroundings in surroundings {
        let mut command = proactive(&["demo", "--json"], surroundings);
        command.current_dir(empty.path());
        let ended = run(command);
        assert_eq!(ended.code, Some(0), "{surroundings:?}: {}", ended.stderr);
        let steps = ended
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap());
        let decided: Vec<_> = steps
            .filter(|step: &Value| step["event"] == "outcome")
            .map(|step| step["outcome"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(decided, ["EXTRACT_TASK", "REJECT_TASK", "NO_TASK_FOUND"]);
        assert_eq!(ended.stderr, "");
        assert_eq!(fs::read_dir(empty.path()).unwrap().count(), 0);
    }
}

#[test]
fn people_read_the_same_in_order() {
    let ended = run(proactive(&["demo"], &[]));
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    let words = [
        "EXTRACT_TASK",
        "REJECT_TASK",
        "NO_TASK_FOUND",
        "total",
        "stand-in",
    ];
    let mut rest = ended.stdout.as_str();
    for word in words {
        let found = rest.find(word);
        let found = found.unwrap_or_else(|| panic!("no {word} in order in {}", ended.stdout));
        rest = &rest[found..];
    }
}

/// What it tells as JSON when all goes well.
fn steps(line: &[&str]) -> Vec<Value> {
    let ended = run(proactive(line, &[]));
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let read = |line| serde_json::from_str(line).unwrap();
    ended.stdout.lines().map(read).collect()
}

/// The steps of this kind.
fn all<'a>(steps: &'a [Value], event: &str) -> Vec<&'a Value> {
    steps.iter().filter(|step| step["event"] == event).collect()
}

#[test]
fn a_connection_that_is_cut_in_the_first_search_costs_nothing() {
    let steps = steps(&["demo", "--cut", "--json"]);
    let events: Vec<_> = steps.iter().map(|step| &step["event"]).collect();
    // The search is asked again on the stream that takes the session up.
    let beginning = "session_ready frame tool_call_request tool_result disconnected \
                     session_ready tool_call_request";
    let beginning: Vec<_> = beginning.split_whitespace().collect();
    assert_eq!(events[..beginning.len()], beginning, "{steps:?}");
    assert_eq!(steps[2]["request_id"], steps[6]["request_id"]);
    let count = |what| all(&steps, what).len();
    assert_eq!((count("frame"), count("outcome")), (3, 3));

    let text = run(proactive(&["demo", "--cut"], &[])).stdout;
    assert!(
        text.contains("<- session resumed  1 frame under way"),
        "{text}"
    );
    assert!(
        text.contains("total  3 frames: 1 EXTRACT_TASK, 1 REJECT_TASK"),
        "{text}"
    );
}

#[test]
fn a_server_that_is_replaced_in_the_first_search_finishes_the_frame_and_the_next_goes_on() {
    let steps = steps(&["demo", "--deploy", "--json"]);
    let place = |what: &str| {
        steps
            .iter()
            .position(|step| step["event"] == *what)
            .unwrap()
    };
    assert!(place("tool_call_request") < place("go_away"));
    assert!(place("go_away") < place("outcome"), "{steps:?}");
    // One session with each server, and nothing that was lost between them.
    let sessions = all(&steps, "session_ready");
    assert_eq!(sessions.len(), 2, "{steps:?}");
    assert_ne!(sessions[0]["session_id"], sessions[1]["session_id"]);
    let count = |what| all(&steps, what).len();
    let counts = (count("frame"), count("outcome"), count("disconnected"));
    assert_eq!(counts, (3, 3, 0));

    let text = run(proactive(&["demo", "--deploy"], &[])).stdout;
    assert!(
        text.contains("<- going away       The server is shutting down. The next stream in "),
        "{text}"
    );
}

#[test]
fn what_cannot_be_shown_is_told_in_one_sentence_with_code_64() {
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("tasks.json");
    fs::write(&broken, "[{]").unwrap();
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
    let cases = [
        (["--frame", "no-such.jpg"], "cannot read no-such.jpg"),
        (["--frame", source], "is not a whole JPEG"),
        (["--ocr", " "], "the frame is empty"),
        (["--ocr", "no-such.txt"], "no such file"),
        (["--tasks", broken.to_str().unwrap()], "line 1"),
    ];
    for (arguments, told) in cases {
        let ended = run(proactive(&[&["demo"][..], &arguments].concat(), &[]));
        assert_eq!(ended.code, Some(64), "{arguments:?}");
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
    let ended = run(proactive(&["demo", "--app", "Mail"], &[]));
    assert_eq!(ended.code, Some(64), "an app of no frame");
}
