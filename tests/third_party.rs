//! Programs that nobody here wrote speak to a running server: grpcurl, a Python
//! client generated from the contract, and buf.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::io::{BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;

use serde_json::{Deserializer, Value, json};
use tokio::task::spawn_blocking;

use support::tools::{buf, grpcurl, passed, python_with, script};
use support::{App, PATIENCE, TestApp};

const SESSION: &str = "proactive.v1.ProactiveAI/Session";
const REQUEST: &str = "Hi, can you send the Berlin office the signed lease before Tuesday?";
const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const CONTRACT: &str = "proactive/v1/proactive.proto";
const PROTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");

/// Runs it to its end while the server goes on.
async fn run(mut command: Command) -> Output {
    command.stdin(Stdio::null());
    let output = spawn_blocking(move || command.output());
    output.await.unwrap().expect("the program starts")
}

/// grpcurl, which knows of the service only what reflection says.
fn curl(program: &OsStr, flags: &[&str], app: &App, rest: &[&str]) -> Command {
    let mut command = Command::new(program);
    let address = app.service.grpc_addr().to_string();
    command.args(["-plaintext", "-max-time", "20"]).args(flags);
    command.arg(address).args(rest);
    command
}

fn bearer(app: &App) -> String {
    format!("authorization: Bearer {}", app.service.token("grpcurl"))
}

/// Everything grpcurl printed: a JSON object an event.
fn events(text: &str) -> Vec<Value> {
    let events = Deserializer::from_str(text).into_iter();
    events.collect::<Result<_, _>>().unwrap()
}

#[tokio::test]
async fn grpcurl_lists_and_describes_the_service_and_asks_for_its_health() {
    let Some(grpcurl) = grpcurl() else { return };
    let app = TestApp::new().start().await;
    let ask =
        async |flags: &[&str], rest: &[&str]| passed(&run(curl(&grpcurl, flags, &app, rest)).await);
    let listed = ask(&[], &["list"]).await;
    for service in ["proactive.v1.ProactiveAI", "grpc.health.v1.Health"] {
        assert!(listed.lines().any(|line| line == service), "{listed}");
    }
    let described = ask(&[], &["describe", "proactive.v1.ProactiveAI"]).await;
    let method = "rpc Session ( stream .proactive.v1.ClientEvent ) returns ( stream .proactive.v1.ServerEvent )";
    assert!(described.contains(method), "{described}");
    let health = "grpc.health.v1.Health/Watch";
    // SERVING follows soon after the first tokens can be judged.
    let flags = ["-d", r#"{"service": "proactive.v1.ProactiveAI"}"#];
    let mut watching = Talk::start(curl(&grpcurl, &flags, &app, &[health]));
    while watching.event().await["status"] != "SERVING" {}
    drop(watching);
    let checked = ask(&flags, &["grpc.health.v1.Health/Check"]).await;
    assert_eq!(events(&checked), [json!({"status": "SERVING"})]);
}

#[tokio::test]
async fn a_half_closed_grpcurl_session_gets_its_frame_answered_and_ends_well() {
    let Some(grpcurl) = grpcurl() else { return };
    let app = TestApp::new().start().await;
    let said = r#"
        {"client_hello": {"protocol_version": "1.0", "session_context": {}}}
        {"heartbeat": {}}
        {"frame_event": {"frame_number": "7", "ocr_text": "fn main() {}"}}"#;
    let bearer = bearer(&app);
    let flags = ["-H", &bearer, "-d", said];
    let output = run(curl(&grpcurl, &flags, &app, &[SESSION])).await;
    let told = events(&passed(&output));
    let [ready, answer] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(ready["sessionReady"]["maxModelIterations"], 5, "{ready}");
    let outcome = &answer["analysisOutcome"];
    assert_eq!(outcome["outcomeKind"], "NO_TASK_FOUND", "{answer}");
    assert_eq!(outcome["frameId"], "7");
}

#[tokio::test]
async fn a_grpcurl_session_that_stays_open_answers_the_searches_it_is_asked() {
    let Some(grpcurl) = grpcurl() else { return };
    let app = TestApp::new().start().await;
    let bearer = bearer(&app);
    let flags = ["-H", &bearer, "-d", "@"];
    let mut talk = Talk::start(curl(&grpcurl, &flags, &app, &[SESSION]));
    talk.say(json!({"client_hello": {"protocol_version": "1.1", "session_context": {}}}));
    assert_eq!(talk.event().await["sessionReady"]["protocolVersion"], "1.1");
    talk.say(json!({"frame_event": {"screenshot_id": "shot", "ocr_text": REQUEST}}));
    let mut searches = 0;
    let outcome = loop {
        let mut event = talk.event().await;
        match event["toolCallRequest"]["requestId"].take() {
            Value::Null => break event["analysisOutcome"].take(),
            id => talk.say(json!({"tool_result": {"request_id": id, "result": {}}})),
        }
        searches += 1;
    };
    assert!(searches >= 1);
    assert_eq!(outcome["outcomeKind"], "EXTRACT_TASK", "{outcome}");
    let title = outcome["task"]["title"].as_str().unwrap();
    assert!(
        title.contains("Berlin") && title.contains("lease"),
        "{title}"
    );
    assert_eq!(talk.end().await, Some(0));
}

#[tokio::test]
async fn a02_grpcurl_with_a_bad_token_is_told_unauthenticated_before_any_event() {
    let Some(grpcurl) = grpcurl() else { return };
    let app = TestApp::new().start().await;
    let said = r#"{"client_hello": {"session_context": {}}}"#;
    for bad in ["authorization: Bearer not-a-token", "x-nothing: at all"] {
        let flags = ["-H", bad, "-d", said];
        let output = run(curl(&grpcurl, &flags, &app, &[SESSION])).await;
        // grpcurl ends with 64 and the gRPC code; UNAUTHENTICATED is 16.
        assert_eq!(output.status.code(), Some(80));
        assert!(output.stdout.is_empty());
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(
            told.contains("Unauthenticated") && !told.contains("not-a-token"),
            "{told}"
        );
    }
}

#[tokio::test]
async fn a_python_client_generated_from_the_contract_does_all_a_desktop_does() {
    let Some(python) = python_with("grpc, grpc_tools, grpc_health, grpc_reflection") else {
        return;
    };
    let app = TestApp::new().start().await;
    let mut client = script(&python, "grpc_client.py");
    client.arg(PROTO).arg(app.service.grpc_addr().to_string());
    client.arg(app.service.token("python"));
    let told = passed(&run(client).await);
    assert!(told.starts_with("ok: "), "{told}");
}

#[tokio::test]
async fn buf_holds_a_session_by_the_newer_reflection() {
    let Some(buf) = buf() else { return };
    let app = TestApp::new().start().await;
    let said = r#"{"clientHello": {"protocolVersion": "1.1", "sessionContext": {}}}
                  {"frameEvent": {"frameNumber": "7", "ocrText": "fn main() {}"}}"#;
    let mut command = Command::new(buf);
    let folder = tempfile::tempdir().unwrap();
    command
        .current_dir(folder.path())
        // Nothing of the real home is read or written.
        .env("HOME", folder.path())
        .env("XDG_CACHE_HOME", folder.path())
        .args(["curl", "--protocol", "grpc", "--http2-prior-knowledge"])
        .args([
            "--reflect-protocol",
            "grpc-v1",
            "--no-keepalive",
            "--timeout",
            "20s",
        ])
        .args(["-H", &bearer(&app), "-d", said])
        .arg(format!("http://{}/{SESSION}", app.service.grpc_addr()));
    let told = events(&passed(&run(command).await));
    let [ready, answer] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(ready["sessionReady"]["protocolVersion"], "1.1", "{ready}");
    assert_eq!(answer["analysisOutcome"]["outcomeKind"], "NO_TASK_FOUND");
}

/// buf in this folder, by the buf.yaml there; nothing of the real home is read.
fn buf_in(folder: &Path, buf: &OsStr, arguments: &[&str]) -> Command {
    let home = folder.join("target/tmp");
    let mut command = Command::new(buf);
    command.current_dir(folder).args(arguments);
    command.env("HOME", &home).env("XDG_CACHE_HOME", &home);
    command
}

/// What was released, oldest first: one folder a version.
fn released() -> Vec<PathBuf> {
    let folder = Path::new(ROOT).join("docs/contract");
    let entries = fs::read_dir(folder).unwrap();
    let mut released: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    released.sort();
    released
}

#[tokio::test]
async fn a01_the_contract_passes_bufs_lint() {
    let Some(buf) = buf() else { return };
    passed(&run(buf_in(Path::new(ROOT), &buf, &["lint"])).await);
}

#[tokio::test]
async fn a01_the_contract_breaks_nothing_that_was_released() {
    let Some(buf) = buf() else { return };
    let released = released();
    assert!(!released.is_empty(), "nothing to compare with");
    for version in &released {
        let arguments = ["breaking", "--against", version.to_str().unwrap()];
        passed(&run(buf_in(Path::new(ROOT), &buf, &arguments)).await);
    }
}

#[tokio::test]
async fn a01_a_contract_that_breaks_clients_is_refused_with_the_reason() {
    let Some(buf) = buf() else { return };
    let released = released();
    let last = released.last().unwrap().to_str().unwrap();
    let contract = Path::new(PROTO).join(CONTRACT);
    let contract = fs::read_to_string(contract).unwrap();
    // Each breaks something else: the wire, JSON, and only generated code.
    for (good, broken, reason) in [
        (
            "int64 frame_number = 6;",
            "int64 frame_number = 26;",
            "Previously present field \"6\" with name \"frame_number\" on message \"FrameEvent\" was deleted",
        ),
        (
            "string ocr_text = 4;",
            "bytes ocr_text = 4;",
            "Field \"4\" with name \"ocr_text\" on message \"FrameEvent\" changed type",
        ),
        (
            "string window_title = 3;",
            "string window = 3;",
            "changed name from \"window_title\" to \"window\"",
        ),
        (
            "  PRIORITY_LOW = 3;\n",
            "",
            "Previously present enum value \"3\" on enum \"TaskPriority\" was deleted",
        ),
        (
            "int64 task_id = 1;",
            "optional int64 task_id = 1;",
            "changed cardinality",
        ),
    ] {
        assert!(contract.contains(good), "{good}");
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("proto").join(CONTRACT);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::write(copy, contract.replace(good, broken)).unwrap();
        let config = Path::new(ROOT).join("buf.yaml");
        fs::copy(config, folder.path().join("buf.yaml")).unwrap();
        let arguments = ["breaking", "--against", last];
        let output = run(buf_in(folder.path(), &buf, &arguments)).await;
        let told = String::from_utf8_lossy(&output.stdout);
        // buf ends with 100 if it judged, and with 1 if it could not.
        assert_eq!(output.status.code(), Some(100), "{broken}: {output:?}");
        assert!(told.contains(reason), "{broken}: {told}");
    }
}

/// A program that is spoken to line by line, and ended if the test does.
struct Talk {
    child: Child,
    told: Option<Receiver<Value>>,
}

impl Talk {
    fn start(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (tell, told) = channel();
        let out = BufReader::new(child.stdout.take().unwrap());
        // Ends with the program.
        thread::spawn(move || {
            for event in Deserializer::from_reader(out).into_iter() {
                if tell.send(event.unwrap()).is_err() {
                    break;
                }
            }
        });
        Self {
            child,
            told: Some(told),
        }
    }

    fn say(&mut self, event: Value) {
        let stdin = self.child.stdin.as_mut().unwrap();
        writeln!(stdin, "{event}").unwrap();
    }

    /// The next thing it printed; `None` when its output is over.
    async fn next(&mut self) -> Option<Value> {
        let told = self.told.take().unwrap();
        let (told, event) = spawn_blocking(move || {
            let event = told.recv_timeout(PATIENCE);
            (told, event)
        })
        .await
        .unwrap();
        self.told = Some(told);
        match event {
            Ok(event) => Some(event),
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("nothing came"),
        }
    }

    async fn event(&mut self) -> Value {
        self.next().await.expect("the program ended")
    }

    /// Ends its input and waits until it leaves, with what code.
    async fn end(mut self) -> Option<i32> {
        drop(self.child.stdin.take());
        assert_eq!(self.next().await, None);
        self.child.wait().unwrap().code()
    }
}

impl Drop for Talk {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
