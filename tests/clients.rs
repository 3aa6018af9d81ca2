//! The clients of examples/clients, as somebody who copies them runs them, held
//! to what docs/clients.md asks of a desktop.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proactive::stand_in::Move;
use proactive::transport::grpc::Tls;
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

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
        node_with(["@grpc/grpc-js", "@grpc/proto-loader"])?;
        let start = || {
            let mut command = node_with(["@grpc/grpc-js", "@grpc/proto-loader"]).unwrap();
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
        let mut command = (self.start)();
        command
            .args(["--addr", address, "--ocr", text, "--app", "Huddle"])
            .arg("--frame")
            .arg(self.folder.path().join("screen.jpg"))
            .args(["--token-command", &format!("echo '{token}'")]);
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
    stops_when_a_fresh_token_is_refused_too
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
