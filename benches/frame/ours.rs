//! Our server, as `proactive serve` runs it.

use std::process::ExitCode;

use clap::Parser;
use proactive::app;
use proactive::config::{LogSettings, Settings};
use proactive::telemetry;
use proactive::world::World;

use super::Result;
use super::process;

pub(crate) const ROLE: &str = "ours";
pub(crate) const PROJECT: &str = "bench";

#[derive(Parser)]
struct Command {
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    log: LogSettings,
}

/// `further` settings stand behind those that all servers of the bench have.
pub(crate) fn run(model_url: &str, keys_url: &str, further: &[&str]) -> Result<ExitCode> {
    let settings = [
        "proactive",
        "--gemini-api-key=bench",
        "--gemini-model=bench",
        "--gemini-prices=bench=0.3/2.5/0.03",
        &format!("--google-gemini-base-url={model_url}"),
        &format!("--firebase-project-id={PROJECT}"),
        &format!("--firebase-keys-url={keys_url}"),
        "--bind-address=127.0.0.1",
        "--grpc-port=0",
        "--http-port=0",
        "--admin-port=0",
        // The desks are as many users, and each sends far more than a user does.
        "--frames-per-minute=1000000",
        // So that parked frames stay until they have been measured.
        "--tool-timeout=4m",
        "--frame-timeout=8m",
    ];
    let command = Command::parse_from(settings.iter().chain(further));
    let config = command.settings.check()?;
    let (format, filter) = command.log.check("info")?;
    telemetry::init(format, filter, false, None);
    let runtime = process::runtime()?;
    let running = runtime.block_on(app::start(config, World::real()))?;
    process::listens_at(running.grpc_addr())
}
