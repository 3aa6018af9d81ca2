//! What the way to tools costs: `cargo bench --bench tools`.
//!
//! A worker's call beside a bare unary call of tonic's that takes the same arguments and
//! gives the same answer, and beside one on a bare stream, in turns. Then where a
//! frame's tools run, decided with few devices connected and with many. Linux only.

mod bare;
mod calls;
#[path = "../frame/report.rs"]
mod report;
mod routing;
#[path = "../frame/seen.rs"]
#[expect(dead_code, reason = "how much memory is not asked here")]
mod seen;
mod stream;
mod worker;

use std::error::Error;
use std::process::ExitCode;

use report::Report;

/// As in `proactive` itself.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> ExitCode {
    report::exit("tools", measure().await)
}

async fn measure() -> Result<ExitCode> {
    let mut report = Report::default();
    calls::measure(&mut report).await?;
    routing::measure(&mut report)?;
    Ok(report.verdict())
}
