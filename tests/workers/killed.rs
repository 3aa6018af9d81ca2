//! What becomes of calls when workers are killed under load: real processes, in Python,
//! and SIGKILL.

use std::cell::Cell;
use std::convert::Infallible;
use std::ffi::OsStr;
use std::fs;
use std::future::pending;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use proactive::local_workers::{Command, Options};
use tempfile::TempDir;
use tokio::process::Child;
use tokio::time::sleep;

use crate::accounts::{Begun, balance};
use crate::signal::signal;
use crate::started;
use crate::support::outside::SERVICE_TOKEN;
use crate::support::tools::{python_with_worker, script, variable};
use crate::support::{App, TestApp};

/// What the worker is made of.
const SCRIPT: &str = "killed_worker.py";

/// Where worker processes write down which calls they begin.
struct Journal {
    file: PathBuf,
    _folder: TempDir,
    /// How many lines there were when somebody was killed last.
    read: Cell<usize>,
}

impl Journal {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self {
            file: folder.path().join("begun"),
            _folder: folder,
            read: Cell::new(0),
        }
    }

    /// Processes, and the calls that they began.
    fn lines(&self) -> Vec<(u32, i64)> {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        let lines = text.lines().map(|line| {
            let (process, number) = line.split_once(' ').unwrap();
            (process.parse().unwrap(), number.parse().unwrap())
        });
        lines.collect()
    }

    fn begun(&self) -> Begun {
        let mut begun = Begun::new();
        for (_, number) in self.lines() {
            *begun.entry(number).or_default() += 1;
        }
        begun
    }

    /// Waits until a process, this one if one is named, has begun so many calls since
    /// somebody was killed last: which one.
    async fn has_begun(&self, calls: usize, process: Option<u32>) -> u32 {
        loop {
            let lines = self.lines();
            let last = lines.last().map(|line| line.0);
            if let Some(process) = process.or(last) {
                let since = lines[self.read.get()..].iter();
                if since.filter(|line| line.0 == process).count() >= calls {
                    self.read.set(lines.len());
                    return process;
                }
            }
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A worker's process, killed if the test ends first.
fn start(python: &OsStr, app: &App, journal: &Path) -> Child {
    let mut command = script(python, SCRIPT);
    command
        .arg(journal)
        .env("PROACTIVE_ADDR", app.service.grpc_addr().to_string())
        .env("PROACTIVE_SERVICE_TOKEN", SERVICE_TOKEN)
        .env_remove("PROACTIVE_CA")
        .stdin(Stdio::null())
        // It says what becomes of each call.
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut command = tokio::process::Command::from(command);
    command.kill_on_drop(true).spawn().unwrap()
}

/// Has so many workers, of which one after the other is killed when it has begun so many
/// calls more, and started again at once.
async fn are_killed_in_turns(
    workers: usize,
    life: usize,
    start: impl Fn() -> Child,
    journal: &Journal,
    kills: &Cell<u32>,
) -> Infallible {
    let mut running: Vec<_> = (0..workers).map(|_| start()).collect();
    loop {
        for worker in &mut running {
            journal.has_begun(life, worker.id()).await;
            // SIGKILL, and waits for it.
            worker.kill().await.unwrap();
            kills.set(kills.get() + 1);
            *worker = start();
        }
    }
}

#[tokio::test]
async fn c08_a_workers_process_is_killed_during_a_thousand_calls_and_none_hangs_or_runs_twice() {
    let Some(python) = python_with_worker() else {
        return;
    };
    for (what, workers, life) in [
        ("one process, killed again and again", 1, 100),
        ("three processes, killed in turns", 3, 40),
    ] {
        let app = started().await;
        let (journal, kills) = (Journal::new(), Cell::new(0));
        let start = || start(&python, &app, &journal.file);
        let killing = are_killed_in_turns(workers, life, start, &journal, &kills);
        balance(what, &app, killing, &kills, || journal.begun()).await;
    }
}

/// A server that starts the worker itself, and again when it has ended.
async fn with_a_local_worker(python: &OsStr, journal: &Path) -> App {
    let command = script(python, SCRIPT);
    let arguments = command.get_args().chain([journal.as_os_str()]);
    let arguments = arguments.map(|it| it.to_str().unwrap().to_owned());
    let options = Options {
        commands: vec![Command {
            program: python.to_str().unwrap().to_owned(),
            arguments: arguments.collect(),
        }],
        guard: env!("CARGO_BIN_EXE_proactive").into(),
        environment: vec![("PATH".into(), variable("PATH").unwrap_or_default())],
    };
    let app = TestApp::new().tweak(|config| config.local_workers = options);
    app.start().await
}

#[tokio::test]
async fn c08_a_local_worker_is_killed_during_a_thousand_calls_and_comes_back_by_itself() {
    let Some(python) = python_with_worker() else {
        return;
    };
    let (journal, kills) = (Journal::new(), Cell::new(0));
    let app = with_a_local_worker(&python, &journal.file).await;
    let killing = async {
        for _ in 0..2 {
            signal("KILL", journal.has_begun(200, None).await);
            kills.set(kills.get() + 1);
        }
        pending::<Infallible>().await
    };
    let what = "a local worker, killed twice";
    balance(what, &app, killing, &kills, || journal.begun()).await;
    let mut processes: Vec<_> = journal.lines().iter().map(|line| line.0).collect();
    processes.dedup();
    assert_eq!(processes.len(), 3, "{processes:?}");
    app.service.stop().await;
}
