//! SQLite: what outlives the process, and what can be wrong with a disk.

mod disk;
mod lives;

use std::path::Path;

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::sweep::sweep;
use super::write::Call;
use super::{Hubs, OpenError, Options, Sqlite};
use crate::events::Log;
use crate::events::tests::house::Clock;
use crate::telemetry::Metrics;

/// The logs in a folder, and what tests alone do to them.
struct Opened {
    log: Log,
    metrics: Metrics,
    calls: mpsc::Sender<Call>,
}

fn options(folder: &Path) -> Options {
    Options {
        folder: Some(folder.to_owned()),
        wait: std::time::Duration::ZERO,
        ..Options::default()
    }
}

fn open_with(options: &Options, clock: &Clock, seed: u64) -> Result<Opened, OpenError> {
    let (world, metrics) = (clock.world(seed), Metrics::new());
    let hubs = Hubs::new(metrics.clone());
    let folder = options.folder.clone().unwrap();
    let engine = Sqlite::open(&folder, options, &world, &metrics, hubs.clone())?;
    let calls = engine.calls.clone();
    let log = Log::over(Box::new(engine), hubs, world, metrics.clone());
    Ok(Opened {
        log,
        metrics,
        calls,
    })
}

fn open(folder: &Path, clock: &Clock, seed: u64) -> Result<Opened, OpenError> {
    open_with(&options(folder), clock, seed)
}

/// Removes everything that is of the cutoff or before, beside whoever writes.
pub(in crate::events) fn sweep_all(folder: &Path, cutoff: i64) {
    let mut db = Connection::open(folder.join("logs.db")).unwrap();
    while sweep(&mut db, cutoff, false).unwrap().more {}
}

impl Opened {
    /// Does something on the connection that writes; what it came to.
    async fn meddle<T: Send + 'static>(
        &self,
        how: impl FnOnce(&mut Connection) -> T + Send + 'static,
    ) -> T {
        let (answer, answered) = oneshot::channel();
        let how = move |db: &mut Connection| drop(answer.send(how(db)));
        self.calls
            .send(Call::Meddle(Box::new(how)))
            .await
            .unwrap_or_else(|_| panic!("it is gone"));
        answered.await.unwrap()
    }

    /// Has the thread that writes stand still until what this gives is dropped.
    async fn hold(&self) -> std::sync::mpsc::Sender<()> {
        let (held, until) = std::sync::mpsc::channel();
        let hold = Call::Meddle(Box::new(move |_| {
            let _ = until.recv();
        }));
        let sent = self.calls.send(hold).await;
        sent.unwrap_or_else(|_| panic!("it is gone"));
        held
    }
}
