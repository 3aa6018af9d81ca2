//! The `proactive` command.

use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use proactive::app;
use proactive::config::{EXIT_USAGE, LogSettings, Mistakes, Settings};
use proactive::lifecycle::Signals;
use proactive::telemetry;
use proactive::world::World;

/// ProactiveAI: a desktop's frames go in, one decision per frame comes out.
#[derive(Parser)]
#[command(name = "proactive", version, max_term_width = 100)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Serves desktops over gRPC, until SIGTERM or SIGINT.
    ///
    /// Every setting can come from the environment; a flag wins over it.
    Serve(Serve),
}

#[derive(Args)]
struct Serve {
    /// Prints the configuration in force, secrets masked, and leaves.
    #[arg(long)]
    check_config: bool,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    log: LogSettings,
}

fn main() -> ExitCode {
    let Command { verb } = Command::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no threads could be started: {error}"), 1),
    };
    match verb {
        Verb::Serve(args) => runtime.block_on(serve(args)),
    }
}

async fn serve(args: Serve) -> ExitCode {
    let (log, config) = match (args.log.check(), args.settings.check()) {
        (Ok(log), Ok(config)) => (log, config),
        (log, config) => {
            let wrong = [config.err(), log.err()].into_iter().flatten();
            return usage(&Mistakes(wrong.flat_map(|mistakes| mistakes.0).collect()));
        }
    };
    if args.check_config {
        print!("{}", config.show());
        return ExitCode::SUCCESS;
    }
    let (format, filter) = log;
    telemetry::init(format, filter, args.log.colour(&std::io::stderr()));
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return fail(&format!("signals cannot be listened to: {error}"), 1),
    };
    let mut running = match app::start(config, World::real()).await {
        Ok(running) => running,
        Err(error) => return fail(&error.to_string(), 1),
    };
    tokio::select! {
        order = signals.next() => tracing::info!(?order, "told to stop"),
        error = running.failed() => return fail(&error.to_string(), 1),
    }
    tokio::select! {
        () = running.stop() => ExitCode::SUCCESS,
        order = signals.next() => {
            tracing::warn!(?order, "told to stop again: leaving at once");
            ExitCode::from(order.exit_code())
        }
    }
}

fn usage(mistakes: &Mistakes) -> ExitCode {
    for mistake in &mistakes.0 {
        eprintln!("proactive: {mistake}");
    }
    ExitCode::from(EXIT_USAGE)
}

fn fail(sentence: &str, code: u8) -> ExitCode {
    eprintln!("proactive: {sentence}");
    ExitCode::from(code)
}
