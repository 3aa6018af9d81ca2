//! Workers on the server's own machine: programs that the server starts, watches,
//! starts again when they end, and takes along when it ends itself.

mod backoff;
mod environment;
mod guard;
mod output;
mod worker;

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Metrics;
use crate::world::World;
use worker::Worker;

pub use environment::passes;
pub use guard::guard;

/// More of them are the work of an orchestrator.
pub const MOST: usize = 16;
/// How long all of them together may take to end: a guard has 6 s for its program, and is
/// killed a second later.
const ENDING: Duration = Duration::from_secs(9);

/// What is run, and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What is run, each once; usually nothing.
    pub commands: Vec<Command>,
    /// A program that does what [`guard()`] does when it is given `guard -- PROGRAM ARGUMENTS`:
    /// this very executable, unless it is another one that embeds the server.
    pub guard: PathBuf,
    /// The variables that workers get, beside how they reach the server: of the server's
    /// those that [`passes`] lets through.
    pub environment: Vec<(OsString, OsString)>,
}

/// A command line. Shown without its arguments, which may hold secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// The program, by its path or to be found on PATH.
    pub program: String,
    /// What it is given.
    pub arguments: Vec<String>,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { program, arguments } = self;
        match arguments.len() {
            1 => write!(f, "{program} (1 argument)"),
            count => write!(f, "{program} ({count} arguments)"),
        }
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Command({self})")
    }
}

/// How a worker ended that was not told to.
#[derive(Clone)]
pub struct Ended {
    /// With which code, or why it could not be started.
    pub how: String,
    /// What it wrote last to its standard error: ten lines at most, each bounded.
    pub last_words: Vec<String>,
}

/// A token for the local workers of one server: 64 characters, known to nobody else.
pub fn token(world: &World) -> SecretString {
    let halves = [(); 2].map(|()| world.uuid().replace('-', ""));
    halves.concat().into()
}

/// The local workers of a server. Dropping this ends them as well, though nobody waits
/// for it then.
pub struct LocalWorkers {
    tasks: JoinSet<()>,
    closing: CancellationToken,
    ends: watch::Receiver<Option<Ended>>,
}

impl LocalWorkers {
    /// Starts them; `server` is where they reach gRPC in plaintext, `token` what lets
    /// them in there.
    pub fn start(
        options: Options,
        server: SocketAddr,
        token: &SecretString,
        world: &World,
        metrics: &Metrics,
    ) -> Self {
        let Options {
            commands,
            guard,
            mut environment,
        } = options;
        let ours = [
            ("PROACTIVE_ADDR", server.to_string()),
            ("PROACTIVE_SERVICE_TOKEN", token.expose_secret().to_owned()),
        ];
        environment.extend(ours.map(|(name, value)| (name.into(), value.into())));
        let environment: Arc<[_]> = environment.into();
        let closing = CancellationToken::new();
        let (told, ends) = watch::channel(None);
        let mut tasks = JoinSet::new();
        for (at, command) in commands.into_iter().enumerate() {
            let worker = Worker {
                name: name(&command.program, at + 1),
                command,
                guard: guard.clone(),
                environment: environment.clone(),
                world: world.clone(),
                metrics: metrics.clone(),
                ends: told.clone(),
                closing: closing.clone(),
            };
            tasks.spawn(worker.run());
        }
        Self {
            tasks,
            closing,
            ends,
        }
    }

    /// None at all.
    pub fn none() -> Self {
        Self {
            tasks: JoinSet::new(),
            closing: CancellationToken::new(),
            ends: watch::channel(None).1,
        }
    }

    /// Ends when one of them has ended by itself, and says how: it is started again all the
    /// same, but whoever waits for its tools may have waited enough.
    pub async fn ended(&self) -> Ended {
        let mut ends = self.ends.clone();
        let found = ends.wait_for(Option::is_some).await;
        match found.ok().and_then(|ended| ended.clone()) {
            Some(ended) => ended,
            // There are none.
            None => std::future::pending().await,
        }
    }

    /// Ends only by a fault of the server: if one of them is not watched any more.
    pub async fn failed(&mut self) {
        if self.tasks.join_next().await.is_none() {
            std::future::pending().await
        }
    }

    /// Ends them all, in good order if they let it: a few seconds at most.
    pub async fn end(mut self) {
        self.closing.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(ENDING, ended).await.is_err() {
            tracing::warn!("some local workers cannot be ended, not even by SIGKILL");
        }
    }
}

/// What it is called in the log: its program without folders, and its place in the list,
/// for a program may be there twice.
fn name(program: &str, place: usize) -> String {
    let program = program.rsplit('/').next().unwrap_or(program);
    format!("{program}-{place}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_never_shown_with_its_arguments() {
        let mut command = Command {
            program: "python3".to_owned(),
            arguments: vec!["--key=nobody-may-see".to_owned()],
        };
        assert_eq!(command.to_string(), "python3 (1 argument)");
        command.arguments.clear();
        assert_eq!(format!("{command:?}"), "Command(python3 (0 arguments))");
    }

    #[test]
    fn workers_of_one_program_have_names_of_their_own() {
        assert_eq!(name("/opt/venv/bin/python3", 1), "python3-1");
        assert_eq!(name("python3", 2), "python3-2");
    }

    #[test]
    fn no_two_tokens_are_the_same_and_none_can_be_guessed() {
        let world = World::real();
        let [one, two] = [(); 2].map(|()| token(&world));
        assert_ne!(one.expose_secret(), two.expose_secret());
        assert_eq!(one.expose_secret().len(), 64);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_without_local_workers_waits_for_none() {
        let mut none = LocalWorkers::none();
        let failed = timeout(Duration::from_secs(3600), none.failed()).await;
        assert!(failed.is_err());
        none.end().await;
    }
}
