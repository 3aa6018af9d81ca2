//! `proactive serve --dev`, and what it prints: the commands work as pasted, and
//! the papers have the same ones.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use proactive::stand_in::{Options, StandIn};
use proactive::transport::proto::OutcomeKind;
use proactive::transport::proto::server_event::Event;
use proactive::world::World;
use serde_json::{Deserializer, Value};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Code;

use crate::process::{Ended, Running, proactive, run};
use crate::support::tools::{grpcurl, variable};
use crate::support::{Desk, connect};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const REQUEST: &str = "Hi, can you send the Berlin office the signed lease before Tuesday?";
const FREE_PORTS: [(&str, &str); 3] = [("GRPC_PORT", "0"), ("HTTP_PORT", "0"), ("ADMIN_PORT", "0")];
/// What the papers say where a terminal says a port that was free.
const USUAL: &str = "127.0.0.1:50051";

/// A server that runs, what it printed, and where its token is.
pub(crate) struct Dev {
    process: Running,
    pub(crate) page: String,
    grpc: String,
    folder: TempDir,
}

impl Dev {
    pub(crate) fn start(environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        let token = token.to_str().unwrap();
        let environment = [&FREE_PORTS[..], environment].concat();
        let arguments = ["serve", "--dev", "--dev-token-file", token];
        let mut process = Running::start(proactive(&arguments, &environment));
        let page = process.said("exec 9>&-");
        let (_, grpc) = page.split_once("gRPC at ").unwrap();
        let (grpc, _) = grpc.split_once(',').unwrap();
        Self {
            grpc: grpc.to_owned(),
            process,
            page,
            folder,
        }
    }

    pub(crate) fn token_file(&self) -> PathBuf {
        self.folder.path().join("token")
    }

    /// Where gRPC is.
    pub(crate) fn address(&self) -> &str {
        &self.grpc
    }

    /// Where the operators' pages are.
    pub(crate) fn admin(&self) -> &str {
        let (_, rest) = self.page.split_once("state at ").unwrap();
        rest.split_once("/readyz").unwrap().0
    }

    /// The next line of its log that says this.
    pub(crate) fn logged(&mut self, wanted: &str) -> String {
        self.process.logged(wanted)
    }

    async fn desk(&self) -> Desk {
        let token = fs::read_to_string(self.token_file()).unwrap();
        let channel = connect(&format!("http://{}", self.grpc)).await;
        let mut desk = Desk::open(channel, token.trim()).await.unwrap();
        desk.hello("1.1").await;
        desk.ready().await;
        desk
    }
}

/// The indented blocks of what was printed, each without its indentation.
fn printed(page: &str) -> Vec<String> {
    let mut blocks = vec![String::new()];
    for line in page.lines() {
        match line.strip_prefix("    ") {
            Some(command) => *blocks.last_mut().unwrap() += &format!("{command}\n"),
            None => blocks.push(String::new()),
        }
    }
    blocks.retain(|block| !block.is_empty());
    blocks
}

/// The shell blocks of a paper.
pub(crate) fn written(paper: &str) -> Vec<String> {
    let page = fs::read_to_string(Path::new(ROOT).join(paper)).unwrap();
    let blocks = page.split("```sh\n").skip(1);
    let blocks = blocks.map(|block| block.split("```").next().unwrap().to_owned());
    blocks.collect()
}

/// Pastes the block that gets the token and then this one into a shell.
fn paste(token: &str, block: &str) -> Ended {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(grpcurl().unwrap(), folder.path().join("grpcurl")).unwrap();
    let path = variable("PATH").unwrap();
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(format!("{token}\n{block}"));
    let path = format!("{}:{}", folder.path().display(), path.display());
    let ended = run({
        shell.env("PATH", path);
        shell
    });
    assert_eq!(ended.code, Some(0), "{block}\n{ended:?}");
    ended
}

fn events(text: &str) -> Vec<Value> {
    let events = Deserializer::from_str(text).into_iter();
    events.collect::<Result<_, _>>().unwrap()
}

/// Pastes one block after the other, and judges what each shows.
fn all_work(blocks: &[String]) {
    let [token, look, hello, code, request] = blocks else {
        panic!("five blocks: {blocks:#?}");
    };
    let shown = paste(token, look).stdout;
    let (services, health) = shown.split_once('{').unwrap();
    assert!(services.contains("proactive.v1.ProactiveAI\n"), "{shown}");
    assert!(health.contains("\"SERVING\""), "{shown}");

    let shown = events(&paste(token, hello).stdout);
    let [ready] = shown.as_slice() else {
        panic!("{shown:?}");
    };
    assert_eq!(ready["sessionReady"]["protocolVersion"], "1.1");

    let shown = events(&paste(token, code).stdout);
    let [_ready, answer] = shown.as_slice() else {
        panic!("{shown:?}");
    };
    let outcome = &answer["analysisOutcome"];
    assert_eq!(outcome["outcomeKind"], "NO_TASK_FOUND", "{answer}");

    // The loop sends what it shows past the answers.
    let shown = events(&paste(token, request).stderr);
    let kinds: Vec<_> = shown
        .iter()
        .map(|event| event.as_object().unwrap().keys().next().unwrap().as_str())
        .collect();
    let search = "toolCallRequest";
    let expected = ["sessionReady", search, search, "analysisOutcome"];
    assert_eq!(kinds, expected, "{shown:?}");
    let outcome = &shown[3]["analysisOutcome"];
    assert_eq!(outcome["outcomeKind"], "EXTRACT_TASK", "{outcome}");
}

#[test]
fn what_serve_dev_prints_works_as_pasted() {
    if grpcurl().is_none() {
        return;
    }
    let dev = Dev::start(&[]);
    let blocks = printed(&dev.page);
    all_work(&blocks);
    // The longest of them ends also when the server says no.
    let refused = paste("TOKEN=none", &blocks[4]).stderr;
    assert!(refused.contains("Unauthenticated"), "{refused}");
}

#[test]
fn the_commands_of_docs_probing_work_as_pasted() {
    if grpcurl().is_none() {
        return;
    }
    let dev = Dev::start(&[]);
    let file = dev.token_file();
    let here = |block: &String| {
        let block = block.replace(USUAL, &dev.grpc);
        block.replace("target/dev-token", file.to_str().unwrap())
    };
    // The first starts the server.
    let blocks: Vec<_> = written("docs/probing.md")[1..].iter().map(here).collect();
    all_work(&blocks);
}

#[test]
fn the_commands_of_the_charts_trial_work_as_pasted() {
    if grpcurl().is_none() {
        return;
    }
    let dev = Dev::start(&[]);
    let blocks = written("deploy/helm/proactive/README.md");
    let block = |with: &str| blocks.iter().find(|it| it.contains(with)).unwrap();

    let look = block("grpcurl").replace(USUAL, &dev.grpc);
    let shown = paste("", &look).stdout;
    assert!(shown.contains("\"SERVING\""), "{shown}");

    // In a folder of its own; the cluster's log is this server's, and cargo runs what it built.
    let folder = dev.folder.path().display();
    fs::write(dev.folder.path().join("log"), &dev.page).unwrap();
    let there = format!(
        "set -eu; cd {folder}; ln -s {ROOT}/examples .; export PROACTIVE_ADDR={}
         kubectl() {{ cat log; }}
         cargo() {{ shift 3; {} \"$@\"; }}",
        dev.grpc,
        env!("CARGO_BIN_EXE_proactive"),
    );
    let shown = paste(&there, block("desk --token-command")).stdout;
    assert!(shown.contains("EXTRACT_TASK"), "{shown}");
}

#[test]
fn the_papers_have_the_commands_that_serve_dev_prints() {
    let dev = Dev::start(&[]);
    let printed = printed(&dev.page.replace(&dev.grpc, USUAL));
    let [start, token, rest @ ..] = &written("docs/probing.md")[..] else {
        panic!("no commands");
    };
    let serve = "cargo run --locked -- serve --dev --dev-token-file target/dev-token\n";
    assert_eq!(start, serve);
    assert_eq!(token, "TOKEN=$(cat target/dev-token)\n");
    assert_eq!(rest, &printed[1..]);
    let readme = written("README.md").into_iter();
    for block in readme.filter(|block| block.contains("grpcurl")) {
        assert!(printed.contains(&block), "README.md: {block}");
    }
}

#[tokio::test]
async fn serve_dev_ends_on_sigterm_when_the_accepted_frames_are_answered() {
    let mut dev = Dev::start(&[]);
    let mut desk = dev.desk().await;
    desk.frame("accepted", REQUEST).await;
    let mut search = desk.search().await;
    dev.process.signal("TERM");
    assert!(matches!(desk.event().await, Event::GoAway(_)));
    // The stand-in goes on for as long as a frame needs it.
    let outcome = loop {
        desk.answer(&search, vec![]).await;
        match desk.event().await {
            Event::ToolCallRequest(next) => search = next,
            Event::AnalysisOutcome(outcome) => break outcome,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(outcome.outcome_kind(), OutcomeKind::ExtractTask);
    assert_eq!(desk.next().await.unwrap_err().code(), Code::Unavailable);
    let log = dev.process.logged("stopped");
    let ended = dev.process.end();
    assert_eq!(ended.code, Some(0), "{log}");
    assert!(ended.stderr.contains("NEVER IN PRODUCTION"));
    assert!(!ended.stderr.contains("eyJ"), "a token is in the log");
}

#[tokio::test]
async fn serve_dev_asks_the_real_model_if_there_is_a_key_for_it() {
    let model = StandIn::new(
        Options {
            record: true,
            ..Options::default()
        },
        World::real(),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let mut serving = JoinSet::new();
    serving.spawn(model.clone().serve(listener, stop.clone()));
    let dev = Dev::start(&[
        ("GOOGLE_API_KEY", "key-of-a-test"),
        ("GOOGLE_GEMINI_BASE_URL", &base),
    ]);
    assert!(dev.page.contains("The model is Gemini"), "{}", dev.page);
    assert!(!dev.page.contains("key-of-a-test"));
    let mut desk = dev.desk().await;
    desk.frame("one", "fn main() {}").await;
    desk.outcome().await;
    let [asked] = &model.recorded()[..] else {
        panic!("one call")
    };
    assert_eq!(asked.headers["x-goog-api-key"], "key-of-a-test");
    stop.cancel();
    serving.join_next().await.unwrap().unwrap().unwrap();
}

#[test]
fn serve_dev_leaves_loopback_only_for_an_address_that_was_given() {
    // What a deployment's environment would say is not for this.
    let mut dev = Dev::start(&[
        ("FIREBASE_PROJECT_ID", "production"),
        ("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099"),
        ("TLS_CERT_FILE", "/no/such/file.pem"),
    ]);
    assert!(dev.grpc.starts_with("127.0.0.1:"), "{}", dev.grpc);
    let serving = dev.process.logged("serving");
    assert!(serving.contains("grpc=127.0.0.1:"), "{serving}");
    dev.process.signal("INT");
    let ended = dev.process.end();
    assert_eq!(ended.code, Some(0));
    assert!(!ended.stderr.contains("OTHER MACHINES"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("UNSIGNED"), "{}", ended.stderr);

    let mut dev = Dev::start(&[("BIND_ADDRESS", "0.0.0.0")]);
    assert!(dev.grpc.starts_with("127.0.0.1:"), "{}", dev.grpc);
    dev.process
        .logged("BIND_ADDRESS LETS OTHER MACHINES CONNECT");
    let serving = dev.process.logged("serving");
    assert!(serving.contains("grpc=0.0.0.0:"), "{serving}");
}

#[test]
fn serve_dev_that_cannot_start_is_one_clear_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let log = ("RUST_LOG", "error");
    let environment = [&FREE_PORTS[..], &[log, ("GRPC_PORT", &port)]].concat();
    let ended = run(proactive(&["serve", "--dev"], &environment));
    let told = format!("proactive: GRPC_PORT: cannot listen on 127.0.0.1:{port}: ");
    assert!(ended.stderr.starts_with(&told), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("choose another port"),
        "{}",
        ended.stderr
    );
    let nowhere = ["serve", "--dev", "--dev-token-file", "/no/such/place"];
    let unwritten = run(proactive(&nowhere, &[&FREE_PORTS[..], &[log]].concat()));
    let told = "proactive: --dev-token-file: cannot write /no/such/place: No such file";
    assert!(unwritten.stderr.starts_with(told), "{}", unwritten.stderr);
    for ended in [ended, unwritten] {
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    for wrong in [
        &["--dev-token-file", "token"][..],
        &["--dev", "--check-config"],
    ] {
        let ended = run(proactive(&[&["serve"], wrong].concat(), &[]));
        assert_eq!(ended.code, Some(64), "{wrong:?}");
        assert!(ended.stderr.contains("--dev"), "{}", ended.stderr);
    }
}
