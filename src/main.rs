//! The `proactive` command.

use std::ffi::OsString;
use std::io::{IsTerminal, Write, stderr, stdout};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use proactive::app::Running;
use proactive::config::{
    EXIT_USAGE, LogSettings, Mistakes, Settings, TraceSettings, worker_commands,
};
use proactive::dev::Trial;
use proactive::embedded::Embedded;
use proactive::lifecycle::Signals;
use proactive::stand_in::{self, StandIn};
use proactive::telemetry::Traces;
use proactive::world::World;
use proactive::{app, demo, desk, inventory, local_workers, telemetry};
use tokio_util::sync::CancellationToken;

/// The load is bursts of large blocks: glibc's allocator keeps what one frees, or
/// pays for the next in page faults. This one gives it back after ten seconds.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What servers log unless they are told otherwise.
const SERVER_LOG: &str = "info";
/// What is logged beside output of its own.
const CLIENT_LOG: &str = "error";

/// How long the demo waits for its worker, which may have to load libraries first.
const WORKER_STARTS: Duration = Duration::from_secs(30);

/// As if SIGPIPE had ended it, as it does other programs whose reader leaves.
const EXIT_UNREAD: u8 = 128 + 13;

/// ProactiveAI: a desktop's frames go in, one decision per frame comes out.
#[derive(Parser)]
#[command(name = "proactive", version, max_term_width = 100)]
struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
#[expect(clippy::large_enum_variant, reason = "there is one, for a moment")]
enum Verb {
    /// Serves desktops over gRPC, WebSocket and HTTP, until SIGTERM or SIGINT.
    ///
    /// Every setting can come from the environment; a flag wins over it.
    Serve(Serve),
    /// Plays frames through the whole service, in one process.
    ///
    /// Without arguments it plays three bundled screens: a new request, the same
    /// request already tracked, and a screen without one. Gemini is asked if
    /// GEMINI_API_KEY (or GOOGLE_API_KEY) or GOOGLE_GENAI_USE_VERTEXAI is set;
    /// otherwise a stand-in decides by simple rules over the text. A picture given
    /// with --frame is sent to whichever of them is asked.
    Demo(Demo),
    /// The reference desktop: shows frames to a server, answers its searches, keeps
    /// the tasks it finds.
    ///
    /// Shows the JPEGs of a folder as they come, or those given, to any server, and
    /// connects again without end when a connection is lost: after 2 s, doubling to
    /// 32 s, each wait a random part of that. Each frame is kept until it has its one
    /// answer.
    Desk(DeskArgs),
    /// Lists the tools that a server knows, and who could execute them now.
    ///
    /// Asks the operators' port of a server that runs.
    Tools(inventory::Args),
    /// Serves a stand-in for Gemini, for tests and benchmarks: simple rules
    /// over the screen's text, no model.
    ///
    /// Point GOOGLE_GEMINI_BASE_URL at it.
    StandIn(StandInArgs),
    /// Runs a local worker's program, and ends it when the server is gone. The server does
    /// that by itself.
    #[command(hide = true)]
    Guard(GuardArgs),
}

#[derive(Args)]
struct Serve {
    /// Prints the configuration in force, secrets masked, and leaves.
    #[arg(long, conflicts_with = "dev")]
    check_config: bool,
    /// To try it, without any account: keys of its own, a stand-in for Gemini if
    /// none is to be asked, and on standard output a token, the address of a page
    /// that shows it at work in a browser, and grpcurl commands to paste. Listens on 127.0.0.1 alone, without TLS, unless
    /// BIND_ADDRESS is given. Never in production.
    #[arg(long)]
    dev: bool,
    /// With --dev: writes the token to this file, too, anew every half hour. Only
    /// its owner can read it.
    #[arg(long, value_name = "FILE", requires = "dev")]
    dev_token_file: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    traces: TraceSettings,
    #[command(flatten)]
    log: LogSettings,
}

#[derive(Args)]
struct Demo {
    #[command(flatten)]
    demo: demo::Args,
    #[command(flatten)]
    log: LogSettings,
}

#[derive(Args)]
struct DeskArgs {
    #[command(flatten)]
    desk: desk::Args,
    #[command(flatten)]
    log: LogSettings,
}

#[derive(Args)]
struct StandInArgs {
    /// The port on 127.0.0.1; 0 means any free one, told in the log.
    #[arg(long, default_value_t = 8089)]
    port: u16,
    /// How long each answer takes.
    #[arg(long, default_value = "0s", value_name = "DURATION", value_parser = humantime::parse_duration)]
    latency: Duration,
    #[command(flatten)]
    log: LogSettings,
}

#[derive(Args)]
struct GuardArgs {
    #[arg(long, value_name = "PROCESS")]
    child_of: Option<i32>,
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Why the process ends before its work is done.
struct Failure {
    code: u8,
    sentences: Vec<String>,
}

impl Failure {
    fn new(error: impl ToString) -> Self {
        Self {
            code: 1,
            sentences: error.to_string().lines().map(str::to_owned).collect(),
        }
    }
}

impl From<Mistakes> for Failure {
    fn from(Mistakes(sentences): Mistakes) -> Self {
        Self {
            code: EXIT_USAGE,
            sentences,
        }
    }
}

fn main() -> ExitCode {
    let verb = match Command::try_parse() {
        Ok(Command { verb }) => verb,
        Err(told) => {
            // Help and version are no errors; nobody reads a closed terminal.
            let _ = told.print();
            return ExitCode::from(if told.use_stderr() { EXIT_USAGE } else { 0 });
        }
    };
    let done = match verb {
        Verb::Serve(args) => run(serve(args)),
        Verb::Demo(args) => run(play(args)),
        Verb::Desk(args) => run(show_to_a_server(args)),
        Verb::Tools(args) => run(list_tools(args)),
        Verb::StandIn(args) => run(stand_in_for_gemini(args)),
        // Must be alone in its process, without other threads.
        Verb::Guard(args) => Ok(local_workers::guard(&args.command, args.child_of)),
    };
    done.unwrap_or_else(|Failure { code, sentences }| {
        for sentence in sentences {
            eprintln!("proactive: {sentence}");
        }
        ExitCode::from(code)
    })
}

fn run(verb: impl Future<Output = Result<ExitCode, Failure>>) -> Result<ExitCode, Failure> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().build().map_err(Failure::new)?;
    let done = runtime.block_on(verb);
    // Dropping it would wait for a look-up of a host's name, which
    // nothing can interrupt and a dead resolver holds for many seconds.
    runtime.shutdown_background();
    done
}

fn log(settings: &LogSettings, usual: &str) -> Result<(), Mistakes> {
    let (format, filter) = settings.check(usual)?;
    telemetry::init(format, filter, settings.colour(&stderr()), None);
    Ok(())
}

async fn serve(args: Serve) -> Result<ExitCode, Failure> {
    let stand_in = args.dev && !args.settings.has_model();
    let settings = match args.dev {
        true => args.settings.dev(),
        false => args.settings,
    };
    let checked = (
        settings.check(),
        args.traces.check(),
        args.log.check(SERVER_LOG),
    );
    let (config, traces, log) = match checked {
        (Ok(config), Ok(traces), Ok(log)) => (config, traces, log),
        (config, traces, log) => {
            let wrong = [config.err(), traces.err(), log.err()];
            let wrong = wrong.into_iter().flatten();
            return Err(Mistakes(wrong.flat_map(|mistakes| mistakes.0).collect()).into());
        }
    };
    if args.check_config {
        for warning in config.warnings() {
            eprintln!("proactive: warning: {warning}");
        }
        let config = config.show(&settings);
        let (traces, log) = (args.traces.show(), args.log.show(SERVER_LOG));
        // Nobody reads a closed pipe.
        let _ = write!(stdout(), "{config}{traces}{log}");
        return Ok(ExitCode::SUCCESS);
    }
    let traces = traces.as_ref().map(Traces::new).transpose();
    let traces = traces.map_err(Failure::new)?;
    let (format, filter) = log;
    let colour = args.log.colour(&stderr());
    telemetry::init(format, filter, colour, traces.as_ref());
    let mut signals = Signals::listen().map_err(Failure::new)?;
    if args.dev {
        let mut trial = Trial::start(config, stand_in, args.dev_token_file)
            .await
            .map_err(Failure::new)?;
        // Nobody reads a closed terminal.
        let _ = write!(stdout(), "{}", trial.page());
        until_stopped(&mut signals, trial.failed()).await?;
        return leave(signals, trial.stop(), traces).await;
    }
    let mut running = app::start(config, World::real())
        .await
        .map_err(Failure::new)?;
    until_stopped(&mut signals, running.failed()).await?;
    leave(signals, running.stop(), traces).await
}

/// Waits for the order to stop.
async fn until_stopped(
    signals: &mut Signals,
    failed: impl Future<Output = app::Error>,
) -> Result<(), Failure> {
    tokio::select! {
        order = signals.next() => {
            tracing::info!(?order, "told to stop");
            Ok(())
        }
        error = failed => Err(Failure::new(error)),
    }
}

/// Drains, and sends off what there is of traces; a second order ends that, too.
async fn leave(
    mut signals: Signals,
    stop: impl Future<Output = ()>,
    traces: Option<Traces>,
) -> Result<ExitCode, Failure> {
    let stopped = async {
        stop.await;
        if let Some(traces) = traces {
            traces.flush().await;
        }
    };
    tokio::select! {
        () = stopped => Ok(ExitCode::SUCCESS),
        order = signals.next() => {
            tracing::warn!(?order, "told to stop again: leaving at once");
            Ok(ExitCode::from(order.exit_code()))
        }
    }
}

async fn play(args: Demo) -> Result<ExitCode, Failure> {
    log(&args.log, CLIENT_LOG)?;
    let told = |error: demo::Error| Failure {
        code: error.exit_code(),
        ..Failure::new(error)
    };
    let play = args.demo.prepare().map_err(told)?;
    let settings = Settings::from_environment()?;
    let world = World::real();
    let stand_in =
        (!settings.has_model()).then(|| StandIn::new(stand_in::Options::default(), world.clone()));
    let by_stand_in = stand_in.is_some();
    let settings = settings.embedded();
    let mut config = settings.check()?;
    if let Some(worker) = play.worker() {
        config.local_workers = worker_commands("--worker", worker)?;
    }
    let commands = config.local_workers.commands.len();
    let mut service = Embedded::start(config, stand_in, world.clone())
        .await
        .map_err(Failure::new)?;
    let next = match play.deploys() {
        true => Some(service.successor().await.map_err(Failure::new)?),
        false => None,
    };
    let mut workers = None;
    if commands > 0 {
        let (tell, calls) = mpsc::channel();
        for server in [Some(&service.server), next.as_ref()].into_iter().flatten() {
            workers_come(server, commands).await?;
            server.workers().watch(tell.clone());
        }
        let offered = service.server.workers().tools().into_iter();
        let offered = offered.map(|it| it.tool.name.clone()).collect();
        workers = Some(demo::Workers::new(offered, calls));
    }
    let endpoints = demo::Endpoints {
        grpc: service.grpc_addr(),
        next: next.as_ref().map(Running::grpc_addr),
        token: service.token("demo-user").into(),
        stand_in: by_stand_in,
    };
    let colour = args.log.colour(&stdout());
    let leave = async {
        if let Some(next) = next {
            service.replace(next).await;
        }
    };
    let sum = play
        .play(&endpoints, world, stdout(), colour, leave, workers)
        .await
        .map_err(told)?;
    service.stop().await;
    Ok(ExitCode::from(u8::from(sum.failed > 0)))
}

/// Waits until the workers that were started have something to offer, or one of them has
/// ended: its command is wrong then, and would be the next time.
async fn workers_come(server: &Running, commands: usize) -> Result<(), Failure> {
    let come = async {
        while server.workers().connected() < commands {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::select! {
        biased;
        () = come => Ok(()),
        ended = server.local_workers().ended() => {
            let mut told = format!("--worker: it ended before it connected ({})", ended.how);
            for line in &ended.last_words {
                told.push_str("\n  ");
                told.push_str(line);
            }
            Err(Failure::new(told))
        }
        () = tokio::time::sleep(WORKER_STARTS) => Err(Failure::new(format!(
            "--worker: it has not connected within {} s; run its command by hand, or see the log \
             with RUST_LOG=info",
            WORKER_STARTS.as_secs()
        ))),
    }
}

async fn list_tools(args: inventory::Args) -> Result<ExitCode, Failure> {
    let page = args.page().await.map_err(Failure::new)?;
    // Nobody reads a closed pipe.
    let _ = write!(stdout(), "{page}");
    Ok(ExitCode::SUCCESS)
}

async fn show_to_a_server(args: DeskArgs) -> Result<ExitCode, Failure> {
    log(&args.log, CLIENT_LOG)?;
    let told = |error: desk::Failure| Failure {
        code: error.exit_code(),
        ..Failure::new(error)
    };
    let plan = args.desk.prepare().map_err(told)?;
    let mut signals = Signals::listen().map_err(Failure::new)?;
    let style = match stdout().is_terminal() {
        true => desk::Style::Live {
            colour: args.log.colour(&stdout()),
        },
        false => desk::Style::Json,
    };
    let ended = plan.run(World::real(), stdout(), style, signals.next());
    let desk::Ended { sum, stopped } = ended.await.map_err(told)?;
    Ok(match stopped {
        Some(desk::Stopped::Ordered(order)) => ExitCode::from(order.exit_code()),
        Some(desk::Stopped::Unread) => ExitCode::from(EXIT_UNREAD),
        None => ExitCode::from(u8::from(sum.failed > 0)),
    })
}

async fn stand_in_for_gemini(args: StandInArgs) -> Result<ExitCode, Failure> {
    log(&args.log, SERVER_LOG)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let listener = app::bind("--port", address).await.map_err(Failure::new)?;
    let mut signals = Signals::listen().map_err(Failure::new)?;
    let options = stand_in::Options {
        latency: args.latency,
        ..stand_in::Options::default()
    };
    let stop = CancellationToken::new();
    let serving = StandIn::new(options, World::real()).serve(listener, stop.clone());
    let mut serving = std::pin::pin!(serving);
    tokio::select! {
        served = &mut serving => return served.map(|()| ExitCode::SUCCESS).map_err(Failure::new),
        _ = signals.next() => stop.cancel(),
    }
    serving
        .await
        .map(|()| ExitCode::SUCCESS)
        .map_err(Failure::new)
}
