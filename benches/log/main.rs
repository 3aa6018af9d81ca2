//! What users' logs cost: `cargo bench --bench log`.
//!
//! Appends beside a bare loop over SQLite that does the same to the same tables, in
//! groups of the same size, on the same disk; they take turns. Then a thousand
//! followers of one user, beside a channel of tokio's that hands on the same, and
//! what followers who wait take of memory. Linux only.

mod appends;
mod followers;
#[path = "../frame/report.rs"]
mod report;
#[path = "../frame/seen.rs"]
mod seen;

use std::error::Error;
use std::process::ExitCode;

use jiff::Timestamp;
use proactive::domain::{
    Bill, Decided, Decision, Event, FrameId, Outcome, SessionId, Task, Uid, Usage,
};
use proactive::domain::{Category, Priority, Subcategory};
use proactive::events::{Log, Options};
use proactive::telemetry::Metrics;
use proactive::world::World;

use report::Report;

/// As in `proactive` itself.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    report::exit("log", measure().await)
}

async fn measure() -> Result<ExitCode> {
    let mut report = Report::default();
    followers::waiting(&report).await?;
    appends::measure(&mut report).await?;
    followers::crowd(&report).await?;
    Ok(report.verdict())
}

async fn log(options: Options) -> Result<(Log, Metrics)> {
    let metrics = Metrics::new();
    let log = Log::open(options, World::real(), metrics.clone()).await?;
    Ok((log, metrics))
}

fn user(number: usize) -> Uid {
    Uid::new(format!("user-{number:012}-of-the-bench"))
}

/// A decision of usual length.
fn event() -> Event {
    let task = Task {
        title: "Send the Berlin office the signed lease before Tuesday".to_owned(),
        description: "Maria Keller asks for the signed lease; the landlord wants it by Tuesday."
            .to_owned(),
        priority: Priority::High,
        tags: vec!["office".to_owned(), "lease".to_owned()],
        source_app: "Mail".to_owned(),
        deadline: Some(jiff::civil::date(2025, 11, 25)),
        confidence: 0.92,
        category: Category::DirectRequest,
        subcategory: Subcategory::Message,
        score: 3,
    };
    let bill = Bill {
        model_asked: "gemini-3.5-flash-lite".to_owned(),
        model_answered: "gemini-3.5-flash-lite".to_owned(),
        model_calls: 2,
        usage: Usage {
            prompt: 3_120,
            cached: 1_024,
            output: 210,
            thinking: 0,
        },
        cost_micro_usd: 1_461,
        ..Bill::default()
    };
    Event::Decided(Box::new(Decided {
        session: SessionId::new("9f1d6c1e-7c0a-4a55-9d0e-0d9f1f1f6a11"),
        frame: FrameId::new("5f0b1c9e-33a1-4bb0-8b5a-6cdb1c4ffb0d"),
        outcome: Outcome {
            decision: Decision::Extract(Box::new(task)),
            context_summary: "A mail from Maria Keller about the lease of the Berlin office."
                .to_owned(),
            current_activity: "Reading mail".to_owned(),
            bill,
        },
    }))
}

fn now() -> Timestamp {
    World::real().now()
}
