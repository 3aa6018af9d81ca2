//! Tool workers as their authors meet them: a real server, and workers that a real
//! gRPC client plays, some of which lie, stall or die.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod accounts;
mod calls;
mod experiments;
mod framed;
mod killed;
mod lies;
mod producer;
mod routed;
#[path = "../support/signal.rs"]
mod signal;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod variables;
mod worker;

use std::time::Duration;

use jiff::Timestamp;
use proactive::domain::{CallFault, SessionId, Value};
use proactive::tools::workers::{Call, CallContext, Chunks, Workers};
use support::outside::SERVICE_TOKEN;
use support::{App, TestApp};
use tokio::time::Instant;

/// No call of these tests takes so long.
const LONG: Duration = Duration::from_secs(20);

async fn started() -> App {
    let app = TestApp::new();
    let app = app.with(|settings| settings.work.service_tokens = Some(SERVICE_TOKEN.into()));
    app.start().await
}

fn workers(app: &App) -> Workers {
    app.service.server.workers()
}

fn made(tool: &str, arguments: Value) -> Call {
    Call {
        tool: tool.to_owned(),
        arguments: [("n".to_owned(), arguments)].into(),
        context: CallContext {
            session: SessionId::new("a-session"),
            locale: "de-DE".to_owned(),
            time_zone: "Europe/Berlin".to_owned(),
            utc_offset: None,
            now: Timestamp::UNIX_EPOCH,
        },
        trace: None,
    }
}

/// A call of this tool, with as much time as there is.
async fn call(workers: &Workers, tool: &str, n: Value) -> Result<Value, CallFault> {
    let deadline = Instant::now() + LONG;
    workers.call(made(tool, n), deadline, deadline).await
}

fn stream(workers: &Workers, tool: &str) -> Chunks {
    let deadline = Instant::now() + 5 * LONG;
    workers
        .stream(made(tool, Value::Null), deadline, deadline)
        .unwrap()
}

/// Waits until somebody can be asked.
async fn has(workers: &Workers, tool: &str) {
    let found = async {
        while !workers.has(tool) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(LONG, found).await.unwrap();
}
