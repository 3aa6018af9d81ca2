//! The desks: each a process with a user, a folder of pictures and a store of its own.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant, UNIX_EPOCH};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{ChildStdout, Command};
use tokio::select;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::support::jpeg;

/// What the screens ask for, each with a number.
const REQUESTS: [&str; 5] = [
    "Hi, can you send the signed lease number {} to the Berlin office before Tuesday?",
    "Could you order new badges for team {} in Lisbon?",
    "Please renew the TLS certificate of staging cluster {} by Friday.",
    "Can you pay invoice {} of the Hamburg caterer?",
    "Could you translate the Porto venue contract {} into English?",
];
/// Bytes of a picture.
const PICTURE: usize = 60_000;

/// What is told to all of them.
pub(crate) struct Call {
    /// What their command begins with, if not with the program itself.
    pub(crate) inside: Vec<OsString>,
    /// The balancer, as a URL.
    pub(crate) address: String,
    /// Whom to believe that it is the balancer.
    pub(crate) certificate: PathBuf,
}

/// They end when they have nothing more to show, or with the experiment.
pub(crate) struct Desks {
    running: JoinSet<Shown>,
    decided: watch::Receiver<usize>,
    end: CancellationToken,
}

/// What a desk left behind.
pub(crate) struct Shown {
    pub(crate) store: PathBuf,
    /// What it printed, and when.
    pub(crate) lines: Vec<(Instant, Value)>,
    /// `None` if it was ended.
    pub(crate) code: Option<i32>,
}

impl Desks {
    /// Starts one for each token, with so many pictures. All that it keeps and says is
    /// in this folder.
    pub(crate) fn start(call: &Call, tokens: &[String], pictures: usize, folder: &Path) -> Self {
        let (tell, decided) = watch::channel(0);
        let end = CancellationToken::new();
        let mut running = JoinSet::new();
        for (nth, token) in tokens.iter().enumerate() {
            let home = folder.join(format!("desk-{nth}"));
            draw(&home, pictures);
            let command = command(call, token, &home);
            running.spawn(show(command, home, tell.clone(), end.clone()));
        }
        Self {
            running,
            decided,
            end,
        }
    }

    /// Waits until so many frames have a decision, unless no other gets one for so long.
    pub(crate) async fn have_decided(&self, frames: usize, patience: Duration) {
        let mut decided = self.decided.clone();
        while *decided.borrow_and_update() < frames {
            match timeout(patience, decided.changed()).await {
                Ok(Ok(())) => {}
                // Or all have left.
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }

    /// Waits until all have left by themselves; once no frame gets a decision for so
    /// long, the others are ended.
    pub(crate) async fn left(self, patience: Duration) -> Vec<Shown> {
        let all = usize::MAX;
        self.have_decided(all, patience).await;
        self.end.cancel();
        self.running.join_all().await
    }
}

/// Puts pictures into a folder, as if a while ago.
fn draw(home: &Path, pictures: usize) {
    let shots = home.join("shots");
    fs::create_dir_all(&shots).unwrap();
    let then = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    for nth in 0..pictures {
        let shot = shots.join(picture(nth));
        let request = REQUESTS[nth % REQUESTS.len()].replace("{}", &(100 + nth).to_string());
        fs::write(&shot, jpeg(PICTURE + nth)).unwrap();
        fs::write(shot.with_extension("txt"), request).unwrap();
        for file in [shot.with_extension("txt"), shot] {
            let file = File::options().write(true).open(file).unwrap();
            file.set_modified(then).unwrap();
        }
    }
}

/// The name of a picture's file.
pub(crate) fn picture(nth: usize) -> String {
    format!("shot-{nth:03}.jpg")
}

fn command(call: &Call, token: &str, home: &Path) -> Command {
    let program = OsString::from(env!("CARGO_BIN_EXE_proactive"));
    let mut words = call.inside.iter().chain([&program]);
    let mut command = Command::new(words.next().expect("the program at least"));
    command.args(words);
    command.args(["desk", "--once", "--addr", &call.address, "--ca"]);
    command.arg(&call.certificate);
    command.arg("--store").arg(home.join("tasks.db"));
    command.arg("--watch").arg(home.join("shots"));
    let log = File::create(home.join("log")).unwrap();
    command
        .env("PROACTIVE_TOKEN", token)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .kill_on_drop(true);
    command
}

/// Runs a desk to its end.
async fn show(
    mut command: Command,
    home: PathBuf,
    decided: watch::Sender<usize>,
    end: CancellationToken,
) -> Shown {
    let mut process = command.spawn().unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut lines = Vec::new();
    let leaves = async {
        read(&mut output, &mut lines, &decided).await;
        process.wait().await.unwrap()
    };
    let left = select! {
        status = leaves => Some(status),
        () = end.cancelled() => None,
    };
    if left.is_none() {
        process.kill().await.unwrap();
    }
    // What it printed before it was ended.
    read(&mut output, &mut lines, &decided).await;
    let printed: String = lines.iter().map(|(_, line)| format!("{line}\n")).collect();
    fs::write(home.join("printed"), printed).unwrap();
    Shown {
        store: home.join("tasks.db"),
        lines,
        code: left.and_then(|status| status.code()),
    }
}

/// Reads what it prints to the end. Cancel-safe.
async fn read(
    output: &mut Lines<BufReader<ChildStdout>>,
    lines: &mut Vec<(Instant, Value)>,
    decided: &watch::Sender<usize>,
) {
    while let Some(line) = output.next_line().await.unwrap() {
        let line: Value = serde_json::from_str(&line).unwrap();
        let is_decision = line["event"] == "outcome";
        lines.push((Instant::now(), line));
        decided.send_if_modified(|decided| {
            *decided += usize::from(is_decision);
            is_decision
        });
    }
}
