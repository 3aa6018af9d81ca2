//! `proactive desk` against a real server.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, UNIX_EPOCH};

use proactive::desk::Store;
use proactive::transport::Tls;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::process::{Ended, Running, proactive, run};
use crate::signal::signal;
use crate::support::{App, PATIENCE, TestApp, jpeg};

/// Ten screens that ask for ten different things.
const REQUESTS: [&str; 10] = [
    "Hi, can you send the Berlin office the signed lease before Tuesday?",
    "Could you order new badges for the Lisbon team?",
    "Please renew the TLS certificate of the staging cluster by Friday.",
    "Can you book the dentist appointment for Marta?",
    "Please review the pricing page draft from Priya.",
    "Could you translate the Porto venue contract into English?",
    "Can you pay the invoice of the Hamburg caterer?",
    "Please water the ficus in the Madrid lobby.",
    "Could you update the onboarding slides for Kenji?",
    "Can you repair the projector in the Oslo meeting room?",
];

/// A user's machine: a folder of screenshots, a store, and how to get a token.
struct Machine {
    home: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join("shots")).unwrap();
        Self { home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Puts the ten screens into the folder, under names that begin so, as if a
    /// while ago.
    fn screens(&self, prefix: &str) {
        let then = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        for (nth, request) in REQUESTS.iter().enumerate() {
            let shot = self.path(&format!("shots/{prefix}-{nth}.jpg"));
            fs::write(&shot, jpeg(20_000 + nth)).unwrap();
            fs::write(shot.with_extension("txt"), request).unwrap();
            for file in [shot.with_extension("txt"), shot] {
                let file = File::options().write(true).open(file).unwrap();
                file.set_modified(then).unwrap();
            }
        }
    }

    /// Makes the token command print this.
    fn token(&self, token: &str) {
        fs::write(self.path("token"), token).unwrap();
    }

    fn desk(&self, server: SocketAddr, more: &[&str]) -> Command {
        let token = format!(
            "echo run >> '{}'; cat '{}'",
            self.path("runs").display(),
            self.path("token").display()
        );
        let (store, addr) = (self.path("tasks.db"), server.to_string());
        let always = ["desk", "--store", store.to_str().unwrap(), "--addr", &addr];
        let token = ["--token-command", &token];
        proactive(&[&always[..], &token, more].concat(), &[])
    }

    fn watching(&self, server: SocketAddr) -> Command {
        let shots = self.path("shots");
        self.desk(server, &["--watch", shots.to_str().unwrap(), "--once"])
    }

    fn tasks(&self) -> usize {
        let store = Store::open(&self.path("tasks.db")).unwrap();
        store.count().unwrap()
    }
}

/// A server whose model takes a moment, on this port or any.
async fn server(port: u16, machine: &Machine) -> App {
    let app = TestApp::new()
        .model(|model| model.latency = Duration::from_millis(50))
        .tweak(move |config| {
            config.grpc.address.set_port(port);
            config.session.reconnect_spread = Duration::from_millis(100);
        })
        .start()
        .await;
    machine.token(&app.service.token("desk-user"));
    app
}

/// Runs it beside the server.
async fn ended(command: Command) -> Ended {
    spawn_blocking(|| run(command)).await.unwrap()
}

fn lines(ended: &Ended, event: &str) -> Vec<Value> {
    let lines = ended.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["event"] == event)
        .collect()
}

fn outcomes(ended: &Ended) -> Vec<String> {
    let kind = |line: &Value| line["outcome"].as_str().unwrap().to_owned();
    lines(ended, "outcome").iter().map(kind).collect()
}

/// The frames that got an answer; each of them one.
fn answered(ended: &Ended) -> BTreeSet<String> {
    let outcomes = lines(ended, "outcome");
    let ids: BTreeSet<_> = outcomes
        .iter()
        .map(|line| line["frame_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), outcomes.len(), "one answer a frame");
    ids
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_screenshots_become_ten_tasks_and_the_same_requests_again_are_rejected() {
    let machine = Machine::new();
    let app = server(0, &machine).await;
    let addr = app.service.grpc_addr();
    machine.screens("first");

    let first = ended(machine.watching(addr)).await;
    assert_eq!((first.code, &*first.stderr), (Some(0), ""), "{first:?}");
    assert_eq!(outcomes(&first), ["EXTRACT_TASK"; 10]);
    assert_eq!(answered(&first).len(), 10);
    assert_eq!(machine.tasks(), 10);
    let sent: Vec<_> = lines(&first, "frame");
    assert_eq!(sent[0]["file"], "first-0.jpg");
    assert!(!first.stdout.contains("first-0.txt"));
    let done = &lines(&first, "done")[0];
    assert_eq!(
        (&done["frames"], &done["extracted"]),
        (&10.into(), &10.into())
    );

    let idle = ended(machine.watching(addr)).await;
    assert_eq!(idle.code, Some(0));
    assert_eq!(
        idle.stdout.lines().count(),
        1,
        "only its sum: {}",
        idle.stdout
    );
    assert_eq!(lines(&idle, "done")[0]["frames"], 0);

    machine.screens("second");
    let second = ended(machine.watching(addr)).await;
    assert_eq!(outcomes(&second), ["REJECT_TASK"; 10], "{}", second.stdout);
    assert_eq!(machine.tasks(), 10);
    let runs = fs::read_to_string(machine.path("runs")).unwrap();
    assert_eq!(runs.lines().count(), 2, "no token without a connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn b07_a_server_restarted_in_the_middle_loses_and_doubles_no_frame() {
    let machine = Machine::new();
    let app = server(0, &machine).await;
    let addr = app.service.grpc_addr();
    machine.screens("shot");
    let mut desk = Running::start(machine.watching(addr));
    let desk = spawn_blocking(move || {
        desk.prints("\"event\":\"outcome\"", 3);
        desk
    });
    let desk = desk.await.unwrap();
    app.service.stop().await;
    let again = server(addr.port(), &machine).await;
    assert_eq!(again.service.grpc_addr(), addr);
    let ended = spawn_blocking(|| desk.end()).await.unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(
        lines(&ended, "session_ready").len() >= 2,
        "{}",
        ended.stdout
    );
    assert_eq!(answered(&ended).len(), 10);
    assert_eq!(outcomes(&ended), ["EXTRACT_TASK"; 10]);
    assert_eq!(machine.tasks(), 10);
    let runs = fs::read_to_string(machine.path("runs")).unwrap();
    let sessions = lines(&ended, "session_ready").len();
    assert!(
        runs.lines().count() >= sessions,
        "a token for each connection"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_are_given_by_name_with_their_texts_and_what_comes_later_is_watched_for() {
    let machine = Machine::new();
    let app = server(0, &machine).await;
    let addr = app.service.grpc_addr();
    machine.screens("shot");
    let name = |name: &str| machine.path(name).to_str().unwrap().to_owned();
    let (beside, other) = (name("shots/shot-0.jpg"), name("shots/shot-1.jpg"));
    let given = [
        "--frame",
        &other,
        "--ocr",
        "fn main() {}",
        "--frame",
        &beside,
    ];
    let app_and_window = ["--app", "Mail", "--window", "Inbox", "--context-from-store"];
    let given = [&given[..], &app_and_window].concat();
    let shown = ended(machine.desk(addr, &given)).await;
    assert_eq!(shown.code, Some(0), "{shown:?}");
    let mut kinds = outcomes(&shown);
    kinds.sort();
    assert_eq!(kinds, ["EXTRACT_TASK", "NO_TASK_FOUND"]);
    assert_eq!(lines(&shown, "frame")[0]["app_name"], "Mail");
    assert_eq!(machine.tasks(), 1);

    let watched = machine.path("empty");
    fs::create_dir(&watched).unwrap();
    let mut desk = Running::start(machine.desk(addr, &["--watch", watched.to_str().unwrap()]));
    let shot = watched.join("late.jpg");
    let desk = spawn_blocking(move || {
        desk.prints("session_ready", 1);
        fs::write(watched.join("screen.png"), b"\x89PNG").unwrap();
        desk.prints("\"event\":\"skipped\",\"file\":\"screen.png\"", 1);
        // Written in two pieces, as a slow program does.
        fs::write(&shot, &jpeg(5_000)[..2_000]).unwrap();
        fs::write(shot.with_extension("txt"), REQUESTS[3]).unwrap();
        fs::write(&shot, jpeg(5_000)).unwrap();
        desk.prints("\"event\":\"outcome\"", 1);
        desk.signal("INT");
        desk.end()
    });
    let watched = desk.await.unwrap();
    assert_eq!(watched.code, Some(0), "{watched:?}");
    assert_eq!(outcomes(&watched), ["EXTRACT_TASK"]);
    assert_eq!(lines(&watched, "frame").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_for_good_ends_it_with_the_servers_sentence() {
    let machine = Machine::new();
    let app = server(0, &machine).await;
    machine.token("secret.not.valid");
    let refused = ended(machine.desk(app.service.grpc_addr(), &["--ocr", "x y"])).await;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("Unauthenticated"), "{refused:?}");
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    assert!(!format!("{refused:?}").contains("secret"));
    assert_eq!(
        lines(&refused, "disconnected").len(),
        1,
        "one fresh token more"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_spoken_and_only_those_believed_who_should_be() {
    let machine = Machine::new();
    let [right, wrong] = [(); 2].map(|()| {
        let names = ["localhost".to_owned()];
        rcgen::generate_simple_self_signed(names).unwrap()
    });
    for (name, signed) in [("right.pem", &right), ("wrong.pem", &wrong)] {
        fs::write(machine.path(name), signed.cert.pem()).unwrap();
    }
    let key = right.signing_key.serialize_pem();
    let tls = Tls::new(right.cert.pem(), key.into()).unwrap();
    let app = TestApp::new()
        .tweak(move |config| config.grpc.tls = Some(tls))
        .start()
        .await;
    machine.token(&app.service.token("desk-user"));
    let addr = app.service.grpc_addr();
    let over_tls = |ca: &str| {
        let addr = format!("https://localhost:{}", addr.port());
        let (ca, store) = (machine.path(ca), machine.path("tasks.db"));
        let (ca, store) = (ca.to_str().unwrap(), store.to_str().unwrap());
        let token = format!("cat '{}'", machine.path("token").display());
        let server = ["--addr", &addr, "--ca", ca, "--token-command", &token];
        let frame = ["--store", store, "--ocr", REQUESTS[0]];
        proactive(&[&["desk"][..], &server, &frame].concat(), &[])
    };
    let believed = ended(over_tls("right.pem")).await;
    assert_eq!(outcomes(&believed), ["EXTRACT_TASK"], "{believed:?}");

    let mut desk = Running::start(over_tls("wrong.pem"));
    let refused = spawn_blocking(move || {
        desk.prints("invalid peer certificate", 2);
        desk.signal("INT");
        desk.end()
    });
    let refused = refused.await.unwrap();
    assert_eq!(refused.code, Some(130), "its frame was not answered");
    assert_eq!(outcomes(&refused), [""; 0]);

    // Without TLS the same server is not spoken to, but tried again.
    let mut desk = Running::start(machine.desk(addr, &["--ocr", REQUESTS[0]]));
    let clear = spawn_blocking(move || {
        desk.prints("disconnected", 1);
        desk.signal("TERM");
        desk.end()
    });
    assert_eq!(clear.await.unwrap().code, Some(143));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_of_everything_shows_neither_token_nor_screen_nor_task() {
    let machine = Machine::new();
    let app = server(0, &machine).await;
    let mut desk = machine.desk(app.service.grpc_addr(), &["--ocr", REQUESTS[0]]);
    desk.env("RUST_LOG", "trace");
    let traced = ended(desk).await;
    assert_eq!(outcomes(&traced), ["EXTRACT_TASK"], "{}", traced.stdout);
    assert!(traced.stderr.contains("TRACE"));
    let token = fs::read_to_string(machine.path("token")).unwrap();
    let signature = token.rsplit('.').next().unwrap();
    for private in [&token, signature, "signed lease", "Berlin"] {
        assert!(!traced.stderr.contains(private), "{private} is logged");
    }
    assert!(!traced.stdout.contains(signature));
}

/// A process whose output is the test's to read, or not to.
fn unread(command: Command, stdout: Stdio) -> Child {
    let mut command = tokio::process::Command::from(command);
    let quiet = command.stdin(Stdio::null()).stderr(Stdio::null());
    quiet.stdout(stdout).kill_on_drop(true).spawn().unwrap()
}

async fn code(mut desk: Child) -> Option<i32> {
    timeout(PATIENCE, desk.wait())
        .await
        .unwrap()
        .unwrap()
        .code()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_stalls_stops_neither_the_desk_nor_its_end() {
    let machine = Machine::new();
    let app = server(0, &machine).await;
    machine.screens("shot");
    let (reader, mut writer) = std::io::pipe().unwrap();
    let shots = machine.path("shots");
    let desk = machine.desk(
        app.service.grpc_addr(),
        &["--watch", shots.to_str().unwrap()],
    );
    let desk = unread(desk, writer.try_clone().unwrap().into());
    // The pipe is filled by another and never emptied.
    thread::spawn(move || while writer.write_all(&[b' '; 4_096]).is_ok() {});
    app.metric_becomes("proactive_frames_total{result=\"extract_task\"} 10")
        .await;
    signal("TERM", desk.id().unwrap());
    assert_eq!(
        code(desk).await,
        Some(0),
        "whoever watches without end stops so"
    );
    drop(reader);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_who_leaves_ends_it_with_a_code_that_tells_of_unanswered_frames() {
    let machine = Machine::new();
    let app = TestApp::new()
        .model(|model| model.latency = Duration::from_secs(1))
        .start()
        .await;
    machine.token(&app.service.token("desk-user"));
    machine.screens("shot");
    let mut desk = unread(machine.watching(app.service.grpc_addr()), Stdio::piped());
    // As `| head -1` does.
    let output = desk.stdout.take().unwrap();
    let mut output = BufReader::new(output).lines();
    let first = timeout(PATIENCE, output.next_line())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    assert!(first.contains("session_ready"), "{first}");
    drop(output);
    assert_eq!(
        code(desk).await,
        Some(128 + 13),
        "as if SIGPIPE had ended it"
    );
}

#[test]
fn what_cannot_be_used_is_told_in_one_sentence_with_code_64() {
    let machine = Machine::new();
    let file = machine.path("file");
    fs::write(
        &file,
        "text that is no database, and long enough to be sure".repeat(9),
    )
    .unwrap();
    let (file, store) = (file.to_str().unwrap(), machine.path("t.db"));
    let store = store.to_str().unwrap();
    let cases: [(&[&str], &str); 9] = [
        (
            &[
                "--store",
                store,
                "--ocr",
                "x",
                "--addr",
                "http://desk.example.com",
            ],
            "in the clear",
        ),
        (&["--store", store, "--ocr", "x", "--addr", "a b"], "--addr"),
        (
            &["--store", store, "--ocr", "x", "--ca", file],
            "no PEM certificate",
        ),
        (&["--store", file, "--ocr", "x"], "a file of something else"),
        (&["--store", store, "--watch", file], "no folder"),
        (&["--store", store, "--frame", file], "not a whole JPEG"),
        (
            &["--store", store, "--frame", "no-such.jpg"],
            "cannot read no-such.jpg",
        ),
        (&["--store", store, "--ocr", "no-such.txt"], "no such file"),
        (&["--store", store, "--ocr", " "], "the frame is empty"),
    ];
    for (arguments, told) in cases {
        let token = [("PROACTIVE_TOKEN", "secret")];
        let ended = run(proactive(&[&["desk"][..], arguments].concat(), &token));
        assert_eq!(ended.code, Some(64), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
    let ended = run(proactive(&["desk", "--store", store, "--ocr", "x"], &[]));
    assert_eq!(ended.code, Some(64));
    assert!(ended.stderr.contains("PROACTIVE_TOKEN"), "{}", ended.stderr);
    let ended = run(proactive(&["desk", "--store", store], &[]));
    assert_eq!(ended.code, Some(64), "nothing to show");
}
