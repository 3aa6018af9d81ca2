//! The commands of docs/clients.md for whoever has no gRPC, as they stand there: curl
//! at the HTTP door, and the WebSocket client of examples/clients.

use std::fs;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::dev::{Dev, written};
use crate::process::{Ended, Running, run};
use crate::support::tools::{curl, node_with_websocket};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const USUAL: &str = "http://127.0.0.1:8080";

/// A server as the page starts it, and a place where the page's commands find what
/// they name.
struct Tried {
    dev: Dev,
    http: String,
    folder: TempDir,
    blocks: Vec<String>,
}

impl Tried {
    fn start() -> Self {
        let blocks = written("docs/clients.md");
        let first = blocks.iter().position(|it| it.contains("service-token"));
        let blocks = blocks[first.unwrap()..].to_vec();
        let folder = tempfile::tempdir().unwrap();
        let (token, serve) = blocks[0].trim_end().split_once('\n').unwrap();
        let made = shell(&folder, token);
        assert_eq!(run(made).code, Some(0));
        let (variable, serve) = serve.split_once(' ').unwrap();
        let started = "cargo run --locked -- serve --dev --dev-token-file target/dev-token";
        assert_eq!(serve, started);
        let (name, file) = variable.split_once('=').unwrap();
        let file = folder.path().join(file);
        let dev = Dev::start(&[(name, file.to_str().unwrap())]);
        fs::copy(dev.token_file(), folder.path().join("target/dev-token")).unwrap();
        std::os::unix::fs::symlink(format!("{ROOT}/examples"), folder.path().join("examples"))
            .unwrap();
        let (_, http) = dev.page.split_once("HTTP at ").unwrap();
        let (http, _) = http.split_once(',').unwrap();
        Self {
            http: http.to_owned(),
            dev,
            folder,
            blocks,
        }
    }

    /// The page's command with these words, behind the one that gets the tokens.
    fn command(&self, with: &str) -> Command {
        let block = self.blocks[2..].iter().find(|block| block.contains(with));
        let block = block.unwrap_or_else(|| panic!("no command has {with}"));
        let script = "websocket.mjs";
        let there = format!("{script} --url {}", self.socket());
        let block = block.replace(USUAL, &self.http).replace(script, &there);
        shell(&self.folder, &format!("{}\n{block}", self.blocks[1]))
    }

    fn socket(&self) -> String {
        format!("{}/v1/proactive", self.http.replace("http", "ws"))
    }

    fn paste(&self, with: &str) -> Ended {
        let ended = run(self.command(with));
        assert_eq!(ended.code, Some(0), "{with}: {ended:?}");
        ended
    }
}

fn shell(folder: &TempDir, commands: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(commands).current_dir(folder.path());
    shell
}

fn json(ended: &Ended) -> Value {
    serde_json::from_str(&ended.stdout).unwrap_or_else(|_| panic!("{ended:?}"))
}

#[test]
fn the_commands_of_docs_clients_for_curl_work_as_pasted() {
    if curl().is_none() {
        return;
    }
    let tried = Tried::start();
    let mut follower = Running::start(tried.command("curl -N"));
    follower.prints("event: start", 1);
    let job = json(&tried.paste("/v1/frames"));
    assert_eq!(
        (&job["frame_id"], &job["state"]),
        (&"shot-1".into(), &"pending".into())
    );
    follower.prints("\"state\":\"done\"", 1);
    let again = json(&tried.paste("/v1/frames"));
    assert_eq!(again["job_id"], job["job_id"]);
    assert_eq!(again["outcome"]["outcome_kind"], "no_task_found");
    let fired = json(&tried.paste("/v1/messages"));
    assert_eq!(fired["listeners"], 1, "{fired}");
    follower.prints("\"title\":\"The report is ready\"", 1);
    drop(follower);
    // Whoever comes later is told all of it.
    let mut late = Running::start(tried.command("curl -N"));
    late.prints("\"title\":\"The report is ready\"", 1);
}

#[test]
fn the_websocket_client_of_docs_clients_works_as_pasted() {
    let Some(node) = node_with_websocket() else {
        return;
    };
    let tried = Tried::start();
    let ended = tried.paste("websocket.mjs");
    let outcome = json(&ended);
    assert_eq!(outcome["outcome_kind"], "extract_task", "{outcome}");
    assert!(
        ended.stderr.contains("searched: search_similar, 0 found"),
        "{ended:?}"
    );
    let client = |token: &str, arguments: &[&str]| {
        let mut client = Command::new(&node);
        let script = format!("{ROOT}/examples/clients/websocket.mjs");
        client.args([
            "--experimental-websocket",
            &script,
            "--url",
            &tried.socket(),
        ]);
        client.args(arguments).env("TOKEN", token);
        run(client)
    };
    let token = fs::read_to_string(tried.dev.token_file()).unwrap();
    for (text, kind) in [
        (
            "Hi, can you renew the TLS certificate of the staging cluster?",
            "reject_task",
        ),
        ("fn main() {}", "no_task_found"),
    ] {
        let ended = client(token.trim(), &["--ocr", text, "--app", "Huddle"]);
        assert_eq!(json(&ended)["outcome_kind"], kind, "{ended:?}");
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
    // Mistakes and refusals are one line, and name neither token nor screen.
    for (token, arguments, told) in [
        ("", &[][..], "TOKEN is not set"),
        ("not-a-token", &["--ocr", "s3cret"], "no decision: "),
        ("not-a-token", &["--frame", "/no/such.jpg"], "/no/such.jpg"),
    ] {
        let ended = client(token, arguments);
        assert_eq!(
            (ended.code, ended.stdout.as_str()),
            (Some(1), ""),
            "{ended:?}"
        );
        let lines = ended
            .stderr
            .lines()
            .filter(|line| !line.contains("Warning") && !line.starts_with("(Use"));
        let lines: Vec<_> = lines.collect();
        assert!(lines.len() == 1 && lines[0].contains(told), "{ended:?}");
        assert!(!ended.stderr.contains("not-a-token") && !ended.stderr.contains("s3cret"));
    }
}
