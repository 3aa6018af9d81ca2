//! One worker: started, watched, started again.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::process::Child;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::backoff;
use super::{Command, Ended, guard, output};
use crate::telemetry::Metrics;
use crate::world::World;

/// How long a guard may take to end its program and itself.
const GUARDS_PATIENCE: Duration = guard::PATIENCE
    .saturating_add(guard::LAST)
    .saturating_add(Duration::from_secs(1));

/// A worker that is to run for as long as the server does.
pub(super) struct Worker {
    /// For the log.
    pub(super) name: String,
    pub(super) command: Command,
    /// The guard's program.
    pub(super) guard: PathBuf,
    /// All of its variables.
    pub(super) environment: Arc<[(OsString, OsString)]>,
    pub(super) world: World,
    pub(super) metrics: Metrics,
    /// Where it is told how one ended by itself.
    pub(super) ends: watch::Sender<Option<Ended>>,
    /// The order to end.
    pub(super) closing: CancellationToken,
}

impl Worker {
    pub(super) async fn run(self) {
        let mut waits = backoff::usual();
        loop {
            let began = Instant::now();
            let (ended, last_words) = self.once().await;
            if self.closing.is_cancelled() {
                tracing::info!(
                    worker.name = %self.name,
                    "a local worker ended, as it was told"
                );
                return;
            }
            let ran = began.elapsed();
            let wait = backoff::after(ran, &mut waits, &self.world);
            let how = ended.map_or_else(|error| error.to_string(), |ended| ended.to_string());
            tracing::warn!(
                worker.name = %self.name,
                ended = %how,
                ran_s = ran.as_secs(),
                again_in_ms = wait.as_millis() as u64,
                "a local worker ended by itself, and is started again"
            );
            self.ends.send_replace(Some(Ended { how, last_words }));
            if self
                .closing
                .run_until_cancelled(sleep(wait))
                .await
                .is_none()
            {
                return;
            }
        }
    }

    /// Runs it until it ends, or is told to and does: how, and the last that it said.
    async fn once(&self) -> (io::Result<ExitStatus>, Vec<String>) {
        let mut child = match self.start() {
            Ok(child) => child,
            Err(error) => return (Err(error), Vec::new()),
        };
        let _counted = self.metrics.local_worker();
        tracing::info!(
            worker.name = %self.name,
            guard = child.id(),
            "a local worker was started"
        );
        let outputs = (child.stdout.take(), child.stderr.take());
        let gone = CancellationToken::new();
        let ended = async {
            let ended = self.wait(child).await;
            gone.cancel();
            ended
        };
        let said = async {
            match outputs {
                (Some(out), Some(err)) => output::log(&self.name, out, err, &gone).await,
                _ => Vec::new(),
            }
        };
        tokio::join!(ended, said)
    }

    /// Its guard, that is, which starts it.
    fn start(&self) -> io::Result<Child> {
        let Command { program, arguments } = &self.command;
        let mut command = tokio::process::Command::new(&self.guard);
        command
            .arg0("worker-guard")
            .args(["guard", "--", program])
            .args(arguments)
            .env_clear()
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Control-C at a terminal is for the server, which then drains.
            .process_group(0);
        command.spawn()
    }

    async fn wait(&self, mut child: Child) -> io::Result<ExitStatus> {
        // As long as this is open, the guard knows that there is a server.
        let pipe = child.stdin.take();
        let ended = self.closing.run_until_cancelled(child.wait()).await;
        if let Some(ended) = ended {
            return ended;
        }
        drop(pipe);
        if let Ok(ended) = timeout(GUARDS_PATIENCE, child.wait()).await {
            return ended;
        }
        // The kernel ends its program with it.
        child.start_kill()?;
        timeout(guard::LAST, child.wait()).await?
    }
}
