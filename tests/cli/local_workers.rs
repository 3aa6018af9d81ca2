//! Workers that `serve` starts itself: little programs that only have to live, speak and die.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use proactive::transport::grpc::ALIVE;
use proactive::transport::proto::server_event::Event;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::process::{Running, proactive, run};
use crate::serve::{Server, field, in_the_middle_of_a_frame};
use crate::signal::signal;
use crate::support::tools::python_with_worker;
use crate::support::{PATIENCE, connect};

/// Tells its process, and lives until it is ended. SIGTERM ends it, which it tells as well.
const OBEDIENT: &str = r#"sh -c "
    trap 'echo told to go; exit 0' TERM
    echo process=$$ is there
    while :; do sleep 0.05; done""#;
/// Tells its process and that of a child, neither of which SIGTERM ends.
const STUBBORN: &str = r#"sh -c "
    trap '' TERM
    sleep 1000 &
    echo process=$$ child=$! stays
    while :; do sleep 0.05; done""#;

/// A server with these local workers, with the variables of a machine around it.
fn with_workers(commands: &[&str], more: &[(&str, &str)]) -> Server {
    let commands = commands.join("\n");
    let environment = [("LOCAL_WORKERS", commands.as_str()), ("PATH", PATH)];
    Server::start(&[&environment, more].concat())
}

const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

fn processes(line: &str, names: &[&str]) -> Vec<u32> {
    let numbers = names.iter().map(|name| field(line, name).parse().unwrap());
    numbers.collect()
}

/// Whether it runs: one that nobody has waited for is gone as well.
fn runs(process: u32) -> bool {
    let told = fs::read_to_string(format!("/proc/{process}/stat"));
    told.is_ok_and(|told| !told.rsplit(')').next().unwrap().starts_with(" Z"))
}

fn until_gone(processes: &[u32]) {
    let began = Instant::now();
    while processes.iter().any(|process| runs(*process)) {
        assert!(began.elapsed() < PATIENCE, "{processes:?} are still there");
        sleep(Duration::from_millis(10));
    }
}

/// The parent of a process: of a worker, its guard.
fn parent(process: u32) -> u32 {
    let told = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let mut fields = told.rsplit(')').next().unwrap().split_whitespace();
    fields.nth(1).unwrap().parse().unwrap()
}

#[test]
fn c09_local_workers_are_started_with_the_server_and_what_they_say_is_in_its_log() {
    let says = "sh -c 'echo I look for $PROACTIVE_ADDR; echo or not >&2; exec sleep 1000'";
    let mut server = with_workers(&[says], &[]);
    let mut lines = vec![server.process.logged("a local worker was started")];
    let wanted = format!("I look for {}", server.grpc);
    while !(lines.concat().contains(&wanted) && lines.concat().contains("or not")) {
        lines.push(server.process.logged("worker.name"));
    }
    let of = |wanted: &str| lines.iter().find(|line| line.contains(wanted)).unwrap();
    assert!(of(&wanted).contains(" INFO "), "{lines:?}");
    assert!(of("or not").contains(" WARN "), "{lines:?}");
    for line in &lines {
        assert_eq!(field(line, "worker.name"), "sh-1");
    }
}

/// One of its tools has a name that is taken.
const IN_PYTHON: &str = r#"
from proactive_worker import Worker

worker = Worker(name="rooms")


@worker.tool
async def free_room() -> str:
    """Finds a free room."""
    return "4.12"


@worker.tool
async def search_similar(query: str) -> str:
    """Searches."""
    return query


worker.run()
"#;

#[test]
fn c09_what_a_python_worker_says_is_logged_as_it_is_meant_and_what_is_refused_as_well() {
    let Some(python) = python_with_worker() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("rooms.py");
    fs::write(&program, IN_PYTHON).unwrap();
    let command = format!("{} {}", python.display(), program.display());
    let mut server = with_workers(&[&command], &[]);
    let connected = server.process.logged("a tool worker is connected");
    assert!(
        connected.contains("refused=\"search_similar: "),
        "{connected}"
    );
    let usual = server.process.logged("connected as worker");
    assert!(usual.contains(" INFO "), "{usual}");
    assert!(
        usual.contains(" INFO proactive_worker: connected"),
        "{usual}"
    );
    let worse = server.process.logged("the server refuses the tool");
    assert!(worse.contains(" WARN "), "{worse}");
}

#[test]
fn c09_a_local_worker_that_ends_is_started_again_and_the_log_says_how_it_ended() {
    let mut server = with_workers(&["sh -c 'echo here I am; exit 3'"], &[]);
    for _ in 0..3 {
        server.process.logged("here I am");
        let told = server
            .process
            .logged("ended by itself, and is started again");
        assert!(told.contains("exit status: 3"), "{told}");
        let wait: u64 = field(&told, "again_in_ms").parse().unwrap();
        assert!(wait <= 4_000, "{told}");
    }
}

#[test]
fn c09_what_a_local_worker_leaves_behind_is_ended_before_it_is_started_again() {
    let leaves = "sh -c 'sleep 1000 & echo child=$! is left; exit 0'";
    let mut server = with_workers(&[leaves], &[]);
    let first = processes(&server.process.logged("is left"), &["child"]);
    server.process.logged("ended by itself");
    until_gone(&first);
    server.process.logged("is left");
}

#[test]
fn c09_local_workers_end_with_the_server_those_that_do_not_want_to_as_well() {
    let mut server = with_workers(&[OBEDIENT, STUBBORN], &[]);
    let mut there = Vec::new();
    while there.len() < 3 {
        let line = server.process.logged("process=");
        there.push(processes(&line, &["process"])[0]);
        if line.contains("child=") {
            there.extend(processes(&line, &["child"]));
        }
    }
    assert!(there.iter().all(|process| runs(*process)));
    server.process.signal("TERM");
    let ended = server.process.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("told to go"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("started again"), "{}", ended.stderr);
    // When the server has gone they already have.
    assert!(!there.iter().any(|process| runs(*process)), "{there:?}");
}

#[tokio::test]
async fn c09_local_workers_stay_until_the_frames_that_are_being_finished_are() {
    let environment = [("LOCAL_WORKERS", OBEDIENT), ("PATH", PATH)];
    let (_model, mut server, mut desk, search) = in_the_middle_of_a_frame(&environment).await;
    // Searches can be asked before a worker is up.
    let worker = processes(&server.process.logged("is there"), &["process"]);
    server.process.signal("TERM");
    assert!(matches!(desk.event().await, Event::GoAway(_)));
    assert!(runs(worker[0]));
    desk.answer(&search, vec![]).await;
    loop {
        match desk.event().await {
            Event::ToolCallRequest(search) => desk.answer(&search, vec![]).await,
            Event::AnalysisOutcome(_) => break,
            other => panic!("{other:?}"),
        }
    }
    let ended = server.process.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("told to go"), "{}", ended.stderr);
    until_gone(&worker);
}

#[tokio::test]
async fn c09_local_workers_end_when_the_server_is_told_to_leave_at_once() {
    let environment = [("LOCAL_WORKERS", STUBBORN), ("PATH", PATH)];
    let (_model, mut server, mut desk, _search) = in_the_middle_of_a_frame(&environment).await;
    let there = processes(&server.process.logged("stays"), &["process", "child"]);
    server.process.signal("TERM");
    assert!(matches!(desk.event().await, Event::GoAway(_)));
    server.process.signal("TERM");
    assert_eq!(server.process.end().code, Some(143));
    until_gone(&there);
}

#[test]
fn c09_after_kill_9_of_the_server_nothing_of_its_workers_is_left() {
    let mut server = with_workers(&[STUBBORN, OBEDIENT], &[]);
    let mut there = Vec::new();
    for _ in 0..2 {
        let line = server.process.logged("process=");
        let worker = processes(&line, &["process"])[0];
        there.extend([worker, parent(worker)]);
        if line.contains("child=") {
            there.extend(processes(&line, &["child"]));
        }
    }
    assert_eq!(there.len(), 5);
    assert!(there.iter().all(|process| runs(*process)), "{there:?}");
    server.process.signal("KILL");
    until_gone(&there);
}

#[test]
fn c09_a_worker_whose_guard_is_killed_dies_and_is_started_again() {
    let mut server = with_workers(&[OBEDIENT], &[]);
    let worker = processes(&server.process.logged("is there"), &["process"])[0];
    signal("KILL", parent(worker));
    until_gone(&[worker]);
    let told = server.process.logged("ended by itself");
    assert!(told.contains("signal: 9"), "{told}");
    server.process.logged("is there");
}

#[test]
fn c09_a_local_worker_sees_no_secret_of_the_server_and_what_is_meant_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("variables");
    let write = format!(
        "sh -c 'env > {0}.new; mv {0}.new {0}; exec sleep 1000'",
        file.display()
    );
    let service_token = "t".repeat(32);
    let mut server = with_workers(
        &[&write],
        &[
            ("SERVICE_TOKENS", &service_token),
            ("WORKER_DATABASE", "where-it-is"),
            ("PYTHONPATH", "/lib"),
            ("LC_ALL", "C"),
            ("AWS_SECRET_ACCESS_KEY", "nobody-may-see"),
        ],
    );
    server.process.logged("a local worker was started");
    let seen = until_written(&file);
    let variables: Vec<_> = seen
        .lines()
        .filter_map(|line| line.split_once('='))
        .collect();
    let value = |name: &str| variables.iter().find(|(it, _)| *it == name).map(|it| it.1);
    assert_eq!(value("PROACTIVE_ADDR"), Some(server.grpc.as_str()));
    assert_eq!(value("PROACTIVE_SERVICE_TOKEN").unwrap().len(), 64);
    assert_eq!(value("WORKER_DATABASE"), Some("where-it-is"));
    let mut names: Vec<_> = variables.iter().map(|(name, _)| *name).collect();
    // The shell's own, and those of a measured build.
    names.retain(|name| !["PWD", "SHLVL", "_", "OLDPWD"].contains(name));
    names.sort_unstable();
    let expected = [
        "LC_ALL",
        "PATH",
        "PROACTIVE_ADDR",
        "PROACTIVE_SERVICE_TOKEN",
        "PYTHONPATH",
        "WORKER_DATABASE",
    ];
    assert_eq!(names, expected);
    // Nor does the log tell the token.
    server.process.signal("TERM");
    let ended = server.process.end();
    let token = value("PROACTIVE_SERVICE_TOKEN").unwrap();
    assert!(!ended.stderr.contains(token), "{}", ended.stderr);
}

fn until_written(file: &Path) -> String {
    let began = Instant::now();
    loop {
        if let Ok(text) = fs::read_to_string(file) {
            return text;
        }
        assert!(began.elapsed() < PATIENCE);
        sleep(Duration::from_millis(10));
    }
}

#[tokio::test]
async fn c09_with_tls_local_workers_have_a_way_in_that_needs_no_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let signed = rcgen::generate_simple_self_signed(["api.example.com".to_owned()]).unwrap();
    let [certificate, key] = [
        ("certificate.pem", signed.cert.pem()),
        ("key.pem", signed.signing_key.serialize_pem()),
    ]
    .map(|(name, text)| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    });
    let files = [("TLS_CERT_FILE", &*certificate), ("TLS_KEY_FILE", &*key)];
    let says = "sh -c 'echo way=$PROACTIVE_ADDR; exec sleep 1000'";
    let mut server = with_workers(&[says], &files);
    let way = field(&server.process.logged("way="), "way");
    assert_ne!(way, server.grpc);
    assert!(way.starts_with("127.0.0.1:"), "{way}");
    let mut health = HealthClient::new(connect(&format!("http://{way}")).await);
    let service = ALIVE.to_owned();
    health.check(HealthCheckRequest { service }).await.unwrap();
}

#[test]
fn c09_the_configuration_tells_local_workers_without_their_arguments() {
    let environment = [
        ("GEMINI_API_KEY", "key"),
        ("FIREBASE_PROJECT_ID", "p"),
        ("PATH", PATH),
        ("LOCAL_WORKERS", "sh -c 'nobody-may-see'; /bin/sh"),
    ];
    let shown = run(proactive(&["serve", "--check-config"], &environment));
    let line = "\nLOCAL_WORKERS=sh (2 arguments); /bin/sh (0 arguments)\n";
    assert!(shown.stdout.contains(line), "{}", shown.stdout);
    for arguments in [["serve", "--check-config"], ["serve", "--help"]] {
        let shown = run(proactive(&arguments, &environment)).stdout;
        assert!(!shown.contains("nobody-may-see"), "{shown}");
    }
}

#[test]
fn a_guard_that_somebody_runs_by_hand_says_why_not() {
    let by_hand = run(proactive(&["guard", "--", "sh"], &[]));
    assert_eq!(by_hand.code, Some(127));
    assert!(
        by_hand.stderr.contains("not started: "),
        "{}",
        by_hand.stderr
    );
    let mut nothing = Running::start(proactive(&["guard"], &[]));
    nothing.logged("<COMMAND>");
    assert_eq!(nothing.end().code, Some(64));
    let help = run(proactive(&["--help"], &[])).stdout;
    assert!(!help.contains("guard"), "{help}");
}
