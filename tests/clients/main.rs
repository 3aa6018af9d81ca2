//! The clients of examples/clients, as somebody who copies them runs them, held
//! to what docs/clients.md asks of a desktop.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod scripted;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proactive::stand_in::Move;
use proactive::transport::Tls;
use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{Resume, Resumed, ServerError, SessionReady};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tonic::Status;

use scripted::{Scripted, Streams};
use support::tools::{node_with, passed, python_with};
use support::{App, PATIENCE, TestApp, jpeg, unsigned_token};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const REQUEST: &str = "Hi, can you send the Berlin office the signed lease before Tuesday?";
const KNOWN: &str = "Hi, can you renew the TLS certificate of the staging cluster?";
const CODE: &str = "fn main() {}";

/// One of the clients, ready to be run.
struct Client {
    start: Box<dyn Fn() -> Command>,
    /// Its own files: what was generated for it, and a picture.
    folder: TempDir,
}

impl Client {
    fn python() -> Option<Self> {
        let python = python_with("grpc, grpc_tools")?;
        let folder = tempfile::tempdir().unwrap();
        // As its README says.
        let mut generate = Command::new(&python);
        generate
            .args(["-m", "grpc_tools.protoc", "-I"])
            .arg(Path::new(ROOT).join("proto"))
            .args(["--python_out=.", "--grpc_python_out=."])
            .arg("proactive/v1/proactive.proto")
            .current_dir(folder.path());
        passed(&generate.output().unwrap());
        let generated = folder.path().to_owned();
        let start = move || {
            let mut command = Command::new(&python);
            command.arg("-B").arg(example("python/desktop.py"));
            command.env("PYTHONPATH", &generated);
            command
        };
        Some(Self::new(start, folder))
    }

    fn node() -> Option<Self> {
        node_with(&["@grpc/grpc-js", "@grpc/proto-loader"])?;
        let start = || {
            let mut command = node_with(&["@grpc/grpc-js", "@grpc/proto-loader"]).unwrap();
            command.arg(example("node/desktop.js"));
            command
        };
        Some(Self::new(start, tempfile::tempdir().unwrap()))
    }

    fn new(start: impl Fn() -> Command + 'static, folder: TempDir) -> Self {
        fs::write(folder.path().join("screen.jpg"), jpeg(1_000)).unwrap();
        Self {
            start: Box::new(start),
            folder,
        }
    }

    /// Shows this text and a picture to that server.
    fn show(&self, address: &str, token: &str, text: &str) -> Command {
        self.show_with(address, &format!("echo '{token}'"), text)
    }

    /// The same, with the token that this command prints.
    fn show_with(&self, address: &str, token_command: &str, text: &str) -> Command {
        let mut command = (self.start)();
        command
            .args(["--addr", address, "--ocr", text, "--app", "Huddle"])
            .arg("--frame")
            .arg(self.folder.path().join("screen.jpg"))
            .args(["--token-command", token_command]);
        command
    }
}

fn example(name: &str) -> PathBuf {
    Path::new(ROOT).join("examples/clients").join(name)
}

/// A client that runs; killed if the test ends first.
struct Running(Option<Child>);

impl Running {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(Some(command.spawn().unwrap()))
    }

    /// Waits for its end while the server goes on.
    async fn end(mut self) -> Output {
        let child = self.0.take().unwrap();
        let pid = child.id().to_string();
        let output = spawn_blocking(move || child.wait_with_output().unwrap());
        // Reconnecting has waits of its own.
        match timeout(3 * PATIENCE, output).await {
            Ok(output) => output.unwrap(),
            Err(_) => {
                Command::new("kill").arg(pid).status().unwrap();
                panic!("the client does not end");
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

async fn run(command: Command) -> Output {
    Running::start(command).end().await
}

/// The one line that it printed.
fn answer(output: &Output) -> Value {
    serde_json::from_str(&passed(output)).unwrap()
}

fn address(app: &App) -> String {
    app.service.grpc_addr().to_string()
}

async fn gets_each_decision(client: Client) {
    let app = TestApp::new().start().await;
    let token = app.service.token("client");
    for (text, kind) in [
        (REQUEST, "EXTRACT_TASK"),
        (KNOWN, "REJECT_TASK"),
        (CODE, "NO_TASK_FOUND"),
    ] {
        let output = run(client.show(&address(&app), &token, text)).await;
        let outcome = answer(&output);
        assert_eq!(outcome["outcome_kind"], kind, "{output:?}");
    }
    let image = STANDARD.encode(jpeg(1_000));
    for asked in app.model.recorded() {
        let body = String::from_utf8_lossy(&asked.body);
        assert!(body.contains(&image), "the picture was not sent");
        assert!(
            body.contains("Renew the TLS certificate of the staging cluster"),
            "the context was not sent"
        );
    }
}

async fn speaks_tls(client: Client) {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (signed.cert.pem(), signed.signing_key.serialize_pem());
    let authority = client.folder.path().join("ca.pem");
    fs::write(&authority, &certificate).unwrap();
    let tls = Tls::new(certificate, key.into()).unwrap();
    let tweak = TestApp::new().tweak(|config| config.grpc.tls = Some(tls));
    let app = tweak.start().await;
    let address = format!("localhost:{}", app.service.grpc_addr().port());
    let token = app.service.token("client");
    let mut command = client.show(&address, &token, CODE);
    command.arg("--ca").arg(authority);
    assert_eq!(answer(&run(command).await)["outcome_kind"], "NO_TASK_FOUND");
}

/// A server in emulator mode at that address, whose drains are over at once.
fn restarted(address: SocketAddr) -> TestApp {
    TestApp::new()
        .with(|settings| settings.drain_grace = "0s".to_owned())
        .tweak(move |config| {
            config.grpc.address = address;
            config.auth.emulator = true;
            config.session.reconnect_spread = Duration::ZERO;
        })
}

async fn keeps_its_frame_while_the_server_is_restarted(client: Client) {
    let first = restarted("127.0.0.1:0".parse().unwrap()).start().await;
    first.script([Move::hang()]);
    let place = first.service.grpc_addr();
    let token = unsigned_token("demo-proactive");
    let running = Running::start(client.show(&place.to_string(), &token, REQUEST));
    let mut traffic = first.model.traffic();
    let asked = timeout(PATIENCE, traffic.wait_for(|traffic| traffic.open == 1));
    asked.await.unwrap().unwrap();
    first.service.stop().await;
    let second = restarted(place).start().await;
    let output = running.end().await;
    let outcome = answer(&output);
    assert_eq!(outcome["outcome_kind"], "EXTRACT_TASK", "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    for step in ["the server goes away", "GOING_AWAY", "UNAVAILABLE"] {
        assert!(told.contains(step), "{step} is not in {told}");
    }
    let once = "proactive_frames_total{result=\"extract_task\"} 1";
    second.metric_becomes(once).await;
}

async fn obeys_what_errors_advise(client: Client) {
    let app = TestApp::new().start().await;
    let token = app.service.token("client");
    // Cut off, which may go better the next time; blocked, which will not.
    app.script([Move::finish("MAX_TOKENS"), Move::blocked("SAFETY")]);
    let output = run(client.show(&address(&app), &token, CODE)).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["code"], "GEMINI_ERROR", "{told}");
    assert_eq!(app.model.unplayed(), 0, "the frame was shown twice");
}

async fn leaves_a_server_that_is_silent_for_three_heartbeats(client: Client) {
    let beating = |heartbeat_interval_ms| SessionReady {
        heartbeat_interval_ms,
        ..SessionReady::default()
    };
    let server = Scripted::start(async move |mut streams: Streams| {
        let mut silent = streams.next().await;
        silent.greet(beating(100)).await;
        silent.frame().await;
        silent.until_closed().await;
        let mut peer = streams.next().await;
        peer.greet(beating(300_000)).await;
        let frame = peer.frame().await;
        peer.decide(&frame, 0).await;
        peer.until_closed().await;
    })
    .await;
    let output = run(client.show(&server.address, "a-token", CODE)).await;
    assert_eq!(answer(&output)["outcome_kind"], "NO_TASK_FOUND");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("the server is silent"), "{told}");
    server.finish().await;
}

/// A session that can be resumed.
fn resumable(resumed: Option<Resumed>) -> SessionReady {
    SessionReady {
        session_id: "s".into(),
        resume_secret: "s3cret".into(),
        resumed,
        ..SessionReady::default()
    }
}

async fn comes_back_to_its_session_and_confirms_its_answer(client: Client) {
    let server = Scripted::start(async move |mut streams: Streams| {
        let mut broken = streams.next().await;
        let hello = broken.greet(resumable(None)).await;
        assert_eq!(hello.heartbeat_interval_ms, 20_000);
        assert_eq!(hello.resume, Some(Resume::default()));
        let frame = broken.frame().await;
        broken.end(Status::unavailable("cut")).await;

        let mut peer = streams.next().await;
        let resumed = Resumed {
            frames_in_flight: vec![frame.clone()],
            ..Resumed::default()
        };
        let resume = peer.greet(resumable(Some(resumed))).await.resume.unwrap();
        assert_eq!((&*resume.session_id, &*resume.secret), ("s", "s3cret"));
        peer.decide(&frame, 1).await;
        // The frame does not come before that.
        let next = peer.next().await;
        let is_confirmed = matches!(&next, Some(Said::Ack(ack)) if ack.answer_number == 1);
        assert!(is_confirmed, "{next:?}");
        peer.until_closed().await;
    })
    .await;
    let output = run(client.show(&server.address, "a-token", CODE)).await;
    assert_eq!(answer(&output)["outcome_kind"], "NO_TASK_FOUND");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("the session goes on"), "{told}");
    assert!(!told.contains("s3cret"), "{told}");
    server.finish().await;
}

async fn waits_as_long_as_the_server_asks(client: Client) {
    let server = Scripted::start(async move |mut streams: Streams| {
        let mut peer = streams.next().await;
        peer.greet(resumable(None)).await;
        let frame = peer.frame().await;
        let asked = Instant::now();
        peer.say(Event::ServerError(ServerError {
            code: "OVERLOADED".into(),
            retryable: true,
            frame_id: frame.clone(),
            retry_after_ms: 3_000,
            answer_number: 1,
            ..ServerError::default()
        }))
        .await;
        let next = peer.next().await;
        assert!(matches!(next, Some(Said::Ack(_))), "{next:?}");
        assert_eq!(peer.frame().await, frame);
        // It would be after 2 s otherwise; their clocks need not agree on a millisecond.
        assert!(asked.elapsed() > Duration::from_millis(2_900));
        peer.decide(&frame, 2).await;
        peer.until_closed().await;
    })
    .await;
    let output = run(client.show(&server.address, "a-token", CODE)).await;
    assert_eq!(answer(&output)["outcome_kind"], "NO_TASK_FOUND");
    server.finish().await;
}

/// A command that fails, then prints what is no token, and then prints one.
fn at_the_third_try(folder: &Path, token: &str) -> String {
    let tries = folder.join("tries");
    format!(
        "echo x >> '{0}'; case $(wc -l < '{0}') in 1) exit 3;; 2) echo s3cret words;; *) echo '{token}';; esac",
        tries.display()
    )
}

async fn says_why_it_has_no_token_and_asks_again(client: Client) {
    let app = TestApp::new().start().await;
    let command = at_the_third_try(client.folder.path(), &app.service.token("client"));
    let output = run(client.show_with(&address(&app), &command, CODE)).await;
    assert_eq!(answer(&output)["outcome_kind"], "NO_TASK_FOUND");
    let told = String::from_utf8_lossy(&output.stderr);
    for step in [
        "--token-command ended with 3",
        "--token-command printed no token",
    ] {
        assert_eq!(told.matches(step).count(), 1, "{step} in {told}");
    }
    assert_eq!(told.matches("trying again").count(), 2, "{told}");
    assert!(!told.contains("s3cret"), "{told}");
}

async fn stops_when_the_token_command_does_not_exist(client: Client) {
    let output = run(client.show_with("127.0.0.1:1", "/no/such/program", CODE)).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("--token-command cannot be run"), "{told}");
    assert!(!told.contains("trying again"), "{told}");
}

async fn does_not_show_a_fixed_token_twice(client: Client) {
    let app = TestApp::new().start().await;
    let mut command = (client.start)();
    command.args(["--addr", &address(&app), "--token", "not-a-token"]);
    let output = run(command).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(told.matches("UNAUTHENTICATED").count(), 1, "{told}");
    assert!(told.contains("get a new one"), "{told}");
}

async fn tells_mistakes_in_one_line(client: Client) {
    let mut command = client.show("127.0.0.1:1", "t", CODE);
    command.args(["--frame", "/no/such/screen.jpg"]);
    let output = run(command).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(told.contains("/no/such/screen.jpg"), "{told}");
}

async fn says_nothing_of_the_screen_or_a_search(client: Client) {
    let app = TestApp::new().start().await;
    let token = app.service.token("client");
    let output = run(client.show(&address(&app), &token, REQUEST)).await;
    assert_eq!(answer(&output)["outcome_kind"], "EXTRACT_TASK");
    let told = String::from_utf8_lossy(&output.stderr).to_lowercase();
    assert!(told.contains("searched"), "{told}");
    for private in ["lease", "berlin", "tuesday", &token] {
        assert!(!told.contains(private), "{private} in {told}");
    }
}

async fn stops_when_a_fresh_token_is_refused_too(client: Client) {
    let app = TestApp::new().start().await;
    let command = client.show(&address(&app), "not-a-token", CODE);
    let output = run(command).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(told.matches("UNAUTHENTICATED").count(), 2, "{told}");
    assert!(told.contains("sign in again"), "{told}");
}

/// Each of these holds for both programs.
macro_rules! both {
    ($($behaviour:ident),+) => {
        mod python {
            $(#[tokio::test]
            async fn $behaviour() {
                if let Some(client) = super::Client::python() {
                    super::$behaviour(client).await;
                }
            })+
        }
        mod node {
            $(#[tokio::test]
            async fn $behaviour() {
                if let Some(client) = super::Client::node() {
                    super::$behaviour(client).await;
                }
            })+
        }
    };
}

both!(
    gets_each_decision,
    speaks_tls,
    keeps_its_frame_while_the_server_is_restarted,
    obeys_what_errors_advise,
    stops_when_a_fresh_token_is_refused_too,
    leaves_a_server_that_is_silent_for_three_heartbeats,
    says_why_it_has_no_token_and_asks_again,
    stops_when_the_token_command_does_not_exist,
    does_not_show_a_fixed_token_twice,
    tells_mistakes_in_one_line,
    says_nothing_of_the_screen_or_a_search,
    comes_back_to_its_session_and_confirms_its_answer,
    waits_as_long_as_the_server_asks
);

#[test]
fn the_clients_ask_for_the_versions_that_are_tested() {
    let read = |path: PathBuf| fs::read_to_string(path).unwrap();
    let tested = read(Path::new(ROOT).join("tests/python/requirements.txt"));
    for line in read(example("python/requirements.txt")).lines() {
        assert!(tested.lines().any(|other| other == line), "{line}");
    }
    let packages = |text: String| -> Value { serde_json::from_str(&text).unwrap() };
    let tested = packages(read(Path::new(ROOT).join("tests/node/package.json")));
    let asked = packages(read(example("node/package.json")));
    for (name, version) in asked["dependencies"].as_object().unwrap() {
        assert_eq!(tested["dependencies"][name], *version, "{name}");
    }
}
