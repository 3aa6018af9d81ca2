//! `proactive serve` from its start to its end.

use std::net::{TcpListener, TcpStream};
use std::process::Command;

use proactive::transport::grpc::ALIVE;
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{OutcomeKind, ToolCallRequest};
use tokio::time::timeout;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::process::{Running, proactive, run};
use crate::support::{Desk, PATIENCE, connect, unsigned_token};

const REQUEST: &str = "Hi, can you send the Berlin office the signed lease before Tuesday?";
pub(crate) const PROJECT: &str = "demo-test";
const BASIS: [(&str, &str); 7] = [
    ("GEMINI_API_KEY", "key-of-a-test"),
    ("FIREBASE_PROJECT_ID", PROJECT),
    ("BIND_ADDRESS", "127.0.0.1"),
    ("GRPC_PORT", "0"),
    ("HTTP_PORT", "0"),
    ("ADMIN_PORT", "0"),
    // Nobody listens there.
    ("FIREBASE_KEYS_URL", "http://127.0.0.1:1/"),
];

/// A server in another process, and its addresses.
pub(crate) struct Server {
    pub(crate) process: Running,
    pub(crate) grpc: String,
    pub(crate) http: String,
    pub(crate) admin: String,
}

impl Server {
    /// Starts it on free ports, with these variables on top.
    pub(crate) fn start(environment: &[(&str, &str)]) -> Self {
        let environment = [&BASIS[..], environment].concat();
        Self::of(proactive(&["serve"], &environment))
    }

    fn of(command: Command) -> Self {
        let mut process = Running::start(command);
        let line = process.logged("serving");
        Self {
            grpc: field(&line, "grpc"),
            http: field(&line, "http"),
            admin: field(&line, "admin"),
            process,
        }
    }
}

/// `name=value` of a line of text, or `"name":"value"` of one of JSON.
pub(crate) fn field(line: &str, name: &str) -> String {
    let plain = line
        .replace(['"', ',', '}'], " ")
        .replace(" : ", "=")
        .replace(" :", "=");
    let start = format!("{name}=");
    let value = plain
        .split_whitespace()
        .find_map(|word| word.strip_prefix(&start));
    value
        .unwrap_or_else(|| panic!("no {name} in {line}"))
        .to_owned()
}

#[tokio::test]
async fn gone_a_server_that_cannot_start() {
    let server = Server::start(&[]);
    connect(&format!("http://{}", server.grpc)).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let alive = http.get(format!("http://{}/healthz", server.admin));
    assert_eq!(alive.send().await.unwrap().status(), 200);
    server.process.signal("TERM");
    let ended = server.process.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(ended.stdout, "", "the log is on standard error");
    let first = ended.stderr.lines().next().unwrap();
    assert!(first.contains("serving"), "{first}");
}

#[tokio::test]
async fn a_server_that_may_open_no_more_files_says_so_and_goes_on_when_it_may() {
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 64 && exec \"$0\" serve"])
        .arg(env!("CARGO_BIN_EXE_proactive"))
        .env_clear()
        .envs(BASIS)
        .env("MAX_CONNECTIONS", "64");
    let mut server = Server::of(command);
    let connections: Vec<_> = (0..80)
        .map(|_| TcpStream::connect(&server.grpc).unwrap())
        .collect();
    server.process.logged("no connection can be accepted");
    drop(connections);
    let channel = connect(&format!("http://{}", server.grpc)).await;
    let mut health = HealthClient::new(channel);
    let request = HealthCheckRequest {
        service: ALIVE.to_owned(),
    };
    let told = timeout(PATIENCE, health.check(request)).await.unwrap();
    assert_eq!(told.unwrap().into_inner().status(), ServingStatus::Serving);
}

#[test]
fn a_port_that_is_taken_is_one_clear_line_with_advice_and_code_1() {
    let advice = "stop what listens there, or choose another port (0: any free one)\n";
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    for name in ["GRPC_PORT", "HTTP_PORT", "ADMIN_PORT"] {
        let environment = [&BASIS[..], &[(name, port.as_str())]].concat();
        let ended = run(proactive(&["serve"], &environment));
        assert_eq!(ended.code, Some(1));
        let told = format!("proactive: {name}: cannot listen on 127.0.0.1:{port}: ");
        assert!(ended.stderr.starts_with(&told), "{}", ended.stderr);
        assert!(ended.stderr.ends_with(advice), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    // A second server beside the first meets them all.
    let others = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [two, three] = others
        .each_ref()
        .map(|other| other.local_addr().unwrap().port().to_string());
    let all = [
        ("GRPC_PORT", port.as_str()),
        ("HTTP_PORT", &two),
        ("ADMIN_PORT", &three),
    ];
    let ended = run(proactive(&["serve"], &[&BASIS[..], &all].concat()));
    let lines: Vec<_> = ended.stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    for ((name, _), line) in all.iter().zip(lines) {
        let told = format!("proactive: {name}: cannot listen on ");
        assert!(line.starts_with(&told), "{line}");
    }
    let ended = run(proactive(&["stand-in", "--port", &port], &[]));
    assert_eq!(ended.code, Some(1));
    let told = format!("proactive: --port: cannot listen on 127.0.0.1:{port}: ");
    assert!(ended.stderr.starts_with(&told), "{}", ended.stderr);
    assert!(ended.stderr.ends_with(advice), "{}", ended.stderr);
}

#[test]
fn an_address_of_another_machine_is_told_by_its_variable() {
    // Set aside for documentation (RFC 5737).
    let environment = [&BASIS[..], &[("BIND_ADDRESS", "192.0.2.1")]].concat();
    let ended = run(proactive(&["serve"], &environment));
    assert_eq!(ended.code, Some(1));
    let told = "proactive: GRPC_PORT: cannot listen on 192.0.2.1:0: ";
    assert!(ended.stderr.starts_with(told), "{}", ended.stderr);
    let advice = "BIND_ADDRESS must be an address of this machine, or 0.0.0.0 for all\n";
    assert!(ended.stderr.ends_with(advice), "{}", ended.stderr);
}

/// A server in emulator mode with the stand-in behind it, each a process of its
/// own; and a frame of a session there that waits for a search.
pub(crate) async fn in_the_middle_of_a_frame(
    environment: &[(&str, &str)],
) -> (Running, Server, Desk, ToolCallRequest) {
    let arguments = ["stand-in", "--port", "0", "--latency", "100ms"];
    let mut model = Running::start(proactive(&arguments, &[]));
    let base = format!("http://{}", field(&model.logged("STAND-IN"), "address"));
    let basis = [
        ("GOOGLE_GEMINI_BASE_URL", base.as_str()),
        ("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099"),
    ];
    let server = Server::start(&[&basis, environment].concat());
    let channel = connect(&format!("http://{}", server.grpc)).await;
    let mut desk = Desk::open(channel, &unsigned_token(PROJECT)).await.unwrap();
    desk.hello("1.1").await;
    desk.ready().await;
    desk.frame("accepted", REQUEST).await;
    let search = desk.search().await;
    (model, server, desk, search)
}

async fn an_accepted_frame_is_finished(signal: &str) {
    let (model, server, mut desk, search) = in_the_middle_of_a_frame(&[]).await;
    server.process.signal(signal);
    assert!(matches!(desk.event().await, Event::GoAway(_)));
    desk.answer(&search, vec![]).await;
    let outcome = loop {
        match desk.event().await {
            Event::ToolCallRequest(search) => desk.answer(&search, vec![]).await,
            Event::AnalysisOutcome(outcome) => break outcome,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(outcome.outcome_kind(), OutcomeKind::ExtractTask);
    assert_eq!(desk.next().await.unwrap_err().code(), Code::Unavailable);
    let ended = server.process.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("UNSIGNED TOKENS ARE ACCEPTED"));
    model.signal(signal);
    assert_eq!(model.end().code, Some(0));
}

#[tokio::test]
async fn gone_shutdown_only_on_ctrl_c_and_not_sigterm() {
    an_accepted_frame_is_finished("TERM").await;
}

#[tokio::test]
async fn sigint_ends_it_as_well_as_sigterm() {
    an_accepted_frame_is_finished("INT").await;
}

#[tokio::test]
async fn a_second_signal_leaves_at_once_with_the_code_of_that_signal() {
    for (first, second, code) in [
        ("TERM", "TERM", 143),
        ("TERM", "INT", 130),
        ("INT", "INT", 130),
    ] {
        // The frame would hold the drain until its search's deadline.
        let (_model, server, mut desk, _search) = in_the_middle_of_a_frame(&[]).await;
        server.process.signal(first);
        assert!(matches!(desk.event().await, Event::GoAway(_)));
        server.process.signal(second);
        let ended = server.process.end();
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert!(!ended.stderr.contains("grace period is over"));
        assert!(!ended.stderr.contains("stopped"), "{}", ended.stderr);
    }
}
