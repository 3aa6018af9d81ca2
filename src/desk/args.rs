//! `proactive desk`: its arguments, and what they come to.

use std::io::{self, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tokio::time::timeout;

use super::address::{Unfit, UnfitRoots};
use super::client::{Client, Frames, Place};
use super::desktop::Door;
use super::output::Output;
use super::report::{Reporter, Style};
use super::shots::{Given, Shots};
use super::{
    About, Address, Error as SessionError, Executes, Patience, Roots, Store, Sum, TokenSource,
    Unknown, backoff, files, store,
};
use crate::world::World;

/// A desk that is told to leave waits so long for a store that another program holds, and
/// then for whoever reads what it prints.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What the desk connects to and shows. What it is for, the program says where it
/// lists it.
#[derive(Clone, Debug, clap::Args)]
#[command(group(
    clap::ArgGroup::new("frames").args(["watch", "frame", "ocr"]).required(true).multiple(true)
))]
#[command(after_help = "\
The store is SQLite and yours: `sqlite3 FILE \"INSERT INTO tasks (description) VALUES ('Call Bo')\"` \
adds a task, UPDATE changes its status (active, completed, deleted), also while a desk runs. What \
is in it leaves this machine only as answers to the server's searches, at most five tasks to each, unless \
--context-from-store is given.

A folder's picture is known by name, length and time of its last change. The store remembers \
those that were answered (the last 100,000), in whichever folder, and they are not sent again; \
what ended in an error that may pass is tried five times now, and again by the next run. A folder \
that is watched without end is not at the mercy of the next run: what was tried five times is put \
aside for an hour and then longer, five times, and if the model refuses everything, as it does \
with a wrong key, each try waits for five minutes.

When the connection breaks, the desk comes back to its session, so that frames under way go on; \
the session is known in memory only, and its secret is never printed.

Without a terminal, each step is a line of JSON: session_ready (resumed: what the server still \
has), frame, tool_call_request, \
tool_result, outcome (a decision; kept_as is the task's id in the store), error (no decision), \
retry (sent again after delay_ms; the server asked for retry_after_ms), skipped, store_held (another program holds the store: answers \
wait), warning, cancel_tool_request, go_away, disconnected (the next try after \
reconnect_delay_ms), left_out (so many lines that nobody read in time: the desk waits for no \
reader), done (the sum, last).

Examples:
  proactive desk --store tasks.db --watch ~/Screenshots --addr desk.example.com \\
      --token-command 'cat ~/.cache/desk-token'
  PROACTIVE_TOKEN=… proactive desk --store tasks.db --frame screen.jpg --ocr screen.txt

Exit status: 0 if every frame that was sent got a decision, 1 if one ended in an error, the \
server refuses for good, or --token-command fails five times in a row (with --watch alone it is \
run again without end), 64 if an argument or a file cannot be used. If not all given frames were \
answered: 130 or 143 after SIGINT or SIGTERM, which end --watch alone with 0; 141 if whoever read \
the output has left.")]
pub struct Args {
    /// The server: HOST or HOST:PORT. TLS for every host but this one; the port is
    /// 443 with TLS, 50051 without.
    #[arg(
        long,
        env = "PROACTIVE_ADDR",
        default_value = "127.0.0.1:50051",
        value_name = "HOST:PORT"
    )]
    addr: String,
    /// PEM certificates of a private authority, believed instead of the system's.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// A Firebase ID token. Better from the environment: other users of this machine
    /// may read a command line.
    #[arg(
        long,
        env = "PROACTIVE_TOKEN",
        hide_env_values = true,
        value_name = "TOKEN"
    )]
    token: Option<SecretString>,
    /// A shell command that prints a fresh token, run again for each connection, for
    /// 30 s at most; it cannot ask on the terminal. Wins over --token.
    #[arg(long, value_name = "COMMAND")]
    token_command: Option<String>,
    /// The user's tasks, and which frames were answered; made if there is none.
    #[arg(long, value_name = "FILE")]
    store: PathBuf,
    /// Sends each JPEG that is in this folder or comes into it, oldest first. A .txt
    /// beside it is its text: write that first, or within a second.
    #[arg(long, value_name = "DIR", conflicts_with_all = ["frame", "ocr"])]
    watch: Option<PathBuf>,
    /// Leaves when all that is in the folder was answered.
    #[arg(long, requires = "watch")]
    once: bool,
    /// A JPEG to send; may be given again. The desk leaves when all were answered.
    #[arg(long, value_name = "FILE.jpg")]
    frame: Vec<PathBuf>,
    /// The text on the frame, or a file that holds it; the first is for the first
    /// --frame, and so on. Without it, the .txt beside the frame.
    #[arg(long, value_name = "TEXT or FILE", allow_hyphen_values = true)]
    ocr: Vec<String>,
    /// The application in front.
    #[arg(
        long,
        value_name = "NAME",
        default_value = "",
        hide_default_value = true
    )]
    app: String,
    /// The title of its window.
    #[arg(
        long,
        value_name = "TITLE",
        default_value = "",
        hide_default_value = true
    )]
    window: String,
    /// Tells the server the tasks beforehand (the 100 most important active ones, 50
    /// completed, 50 deleted, 20 goals), and again when they change.
    #[arg(long)]
    context_from_store: bool,
    /// The tools that this desk executes: search_similar and search_keywords (both,
    /// without this), with commas between them; none; or NAME=COMMAND, for any other
    /// tool of the server. May be given again. The command is run by sh, with the
    /// arguments on its input as JSON; what it prints, JSON or text, is the result.
    #[arg(long, value_name = "TOOLS", conflicts_with = "web")]
    executes: Vec<String>,
    /// What tells this desk from its user's other ones, the same for all of its
    /// sessions.
    #[arg(long, value_name = "ID", default_value = "", hide_default_value = true)]
    device_id: String,
    /// What people call it.
    #[arg(long, value_name = "NAME", default_value = "proactive desk")]
    device_name: String,
    /// Says that it is a page in a browser: it executes nothing itself, and another desk
    /// of the user does, if the token lets it.
    #[arg(long)]
    web: bool,
}

/// The desk cannot do what it should.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address cannot be used.
    #[error("--addr: {0}")]
    Address(#[from] Unfit),
    /// The certificates cannot be used.
    #[error(transparent)]
    Roots(#[from] UnfitRoots),
    /// The tools cannot be meant.
    #[error("--executes: {0}")]
    Executes(#[from] Unknown),
    /// There is nothing to show who the user is.
    #[error("no token: set PROACTIVE_TOKEN, or give --token-command")]
    NoToken,
    /// There is no such folder.
    #[error("--watch {}: it is no folder that can be read", .0.display())]
    NoFolder(PathBuf),
    /// A frame cannot be used.
    #[error(transparent)]
    File(#[from] files::Error),
    /// The store cannot be used.
    #[error("--store: {0}")]
    Store(#[from] store::Error),
    /// Trying again would be of no use.
    #[error(transparent)]
    Session(#[from] SessionError),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl Error {
    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Address(_)
            | Self::Executes(_)
            | Self::Roots(_)
            | Self::NoToken
            | Self::NoFolder(_)
            | Self::File(_)
            | Self::Store(_) => 64,
            Self::Session(_) | Self::Output(_) => 1,
        }
    }
}

/// Everything a desk needs, read and checked.
pub struct Plan {
    address: Address,
    roots: Roots,
    tokens: TokenSource,
    store: Store,
    what: What,
    place: Place,
    about: About,
}

enum What {
    Folder { path: PathBuf, once: bool },
    Given(Vec<Given>),
}

/// How a desk ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended<S> {
    /// What its frames came to.
    pub sum: Sum,
    /// What stopped it before all frames that it was given were answered; an order to stop
    /// watching a folder without end does not count.
    pub stopped: Option<Stopped<S>>,
}

/// What stops a desk before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped<S> {
    /// An order.
    Ordered(S),
    /// Nobody reads what it prints.
    Unread,
}

impl Args {
    /// Reads and checks everything that was named.
    ///
    /// # Errors
    /// One sentence on the first thing that cannot be used.
    pub fn prepare(self) -> Result<Plan, Error> {
        let address = self.addr.parse()?;
        let roots = match &self.ca {
            Some(path) => Roots::read(path)?,
            None => Roots::System,
        };
        let token = self.token.filter(|token| !token.expose_secret().is_empty());
        let tokens = match (self.token_command, token) {
            (Some(command), _) => TokenSource::Command(command),
            (None, Some(token)) => TokenSource::Fixed(token),
            (None, None) => return Err(Error::NoToken),
        };
        let what = match self.watch {
            Some(path) if std::fs::read_dir(&path).is_err() => return Err(Error::NoFolder(path)),
            Some(path) => What::Folder {
                path,
                once: self.once,
            },
            None => What::Given(given(self.frame, self.ocr)?),
        };
        Ok(Plan {
            address,
            roots,
            tokens,
            store: Store::open(&self.store)?,
            what,
            place: Place {
                app: self.app,
                window: self.window,
            },
            about: About {
                device: self.device_name,
                utc_offset_minutes: None,
                tells_tasks: self.context_from_store,
                device_id: self.device_id,
                web: self.web,
                executes: Executes::read(&self.executes)?,
            },
        })
    }
}

impl Plan {
    /// Shows all frames and tells what happens. Ends when they are answered, when
    /// `stop` does, or when nobody reads the output any more.
    ///
    /// # Errors
    /// [`Error::Session`] or [`Error::Output`].
    pub async fn run<S>(
        self,
        world: World,
        out: impl Write + Send + 'static,
        style: Style,
        stop: impl Future<Output = S>,
    ) -> Result<Ended<S>, Error> {
        let Self { address, roots, .. } = self;
        let patience = Patience::default();
        let limit = patience.connect;
        let shots = match self.what {
            What::Folder { path, once } => Shots::of_folder(path, once, world.clone()),
            What::Given(given) => Shots::given(given),
        };
        let endless = !shots.are_finite();
        let out = Output::new(out)?;
        let unread = out.unread();
        let mut reporter = Reporter::new(out, style, shots.backlog());
        let mut client = Client {
            door: Rc::new(Door {
                dial: async || address.dial(&roots, limit).await,
                tokens: self.tokens,
                patience,
            }),
            store: self.store,
            frames: Frames::new(shots, self.place, world.clone()),
            about: self.about,
            world,
            backoff: backoff::usual(),
            refusals: 0,
            tokenless: 0,
            session: None,
        };
        let mut stop = pin!(stop);
        let (ended, stopped) = tokio::select! {
            biased;
            ended = client.run(|step| reporter.step(&step)) => (ended, None),
            order = &mut stop => (Ok(()), Some(Stopped::Ordered(order))),
            () = unread.cancelled() => (Ok(()), Some(Stopped::Unread)),
        };
        let kept = client.keep_last(LAST_WORDS, |step| reporter.step(&step));
        let ended = ended.and(kept.await);
        let is_any_left = client.frames.is_any_left();
        let (sum, out) = reporter.finish();
        match stopped {
            // Whoever reads slowly gets all of it, unless the desk is to leave.
            None => tokio::select! {
                written = out.finish() => written?,
                _ = &mut stop => {}
            },
            Some(_) => timeout(LAST_WORDS, out.finish()).await.unwrap_or(Ok(()))?,
        }
        ended?;
        let stopped = stopped.filter(|stopped| match stopped {
            // Whoever watches without end ends well in no other way.
            Stopped::Ordered(_) => is_any_left && !endless,
            Stopped::Unread => is_any_left,
        });
        Ok(Ended { sum, stopped })
    }
}

/// The frames in their order, each with its text. They are read once now, so that a
/// mistake is told before anything is sent.
fn given(frames: Vec<PathBuf>, texts: Vec<String>) -> Result<Vec<Given>, files::Error> {
    let count = frames.len().max(texts.len());
    let (mut frames, mut texts) = (frames.into_iter(), texts.into_iter());
    let pairs = std::iter::repeat_with(|| Given {
        picture: frames.next(),
        text: texts.next(),
    });
    let given: Vec<_> = pairs.take(count).collect();
    for frame in &given {
        frame.read()?;
    }
    Ok(given)
}

#[cfg(test)]
mod tests {
    use std::io::{ErrorKind, sink};

    use clap::Parser;
    use tempfile::TempDir;
    use tokio::sync::oneshot;

    use super::*;
    use crate::desk::fake::{Running, outcome, serve};
    use crate::transport::proto::{OutcomeKind, server_event::Event};

    #[derive(clap::Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn plan(server: &Running, folder: &TempDir, what: &[&str]) -> Plan {
        let (address, store) = (server.address.to_string(), folder.path().join("tasks.db"));
        let arguments = ["desk", "--addr", &address, "--token", "t", "--store"];
        let arguments = arguments.into_iter().chain([store.to_str().unwrap()]);
        let command = Command::try_parse_from(arguments.chain(what.iter().copied()));
        command.unwrap().args.prepare().unwrap()
    }

    #[tokio::test]
    async fn an_order_to_stop_that_comes_after_the_last_answer_stops_nothing() {
        let (tell, closing) = oneshot::channel();
        let server = serve(|mut peer| async move {
            peer.ready(0).await;
            let frame = peer.frame().await;
            let decision = outcome(&frame.screenshot_id, OutcomeKind::NoTaskFound);
            peer.say(Event::AnalysisOutcome(decision)).await;
            assert!(peer.events.message().await.unwrap().is_none());
            tell.send(()).unwrap();
            // It does not close its own side.
            std::future::pending::<()>().await;
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let plan = plan(&server, &folder, &["--ocr", "x y"]);
        let running = plan.run(World::real(), sink(), Style::Json, closing);
        let ended = running.await.unwrap();
        assert_eq!((ended.sum.frames, ended.stopped), (1, None));
    }

    #[tokio::test]
    async fn a_watched_folder_ends_well_by_an_order_alone() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let server = serve(|mut peer| async move {
            peer.ready(0).await;
            while let Ok(Some(_)) = peer.events.message().await {}
        })
        .await;
        let folder = tempfile::tempdir().unwrap();
        let what = ["--watch", folder.path().to_str().unwrap()];
        let ordered = plan(&server, &folder, &what);
        let ordered = ordered.run(World::real(), sink(), Style::Json, async {});
        assert_eq!(ordered.await.unwrap().stopped, None);
        let unread = plan(&server, &folder, &what);
        let never = std::future::pending::<()>();
        let unread = unread.run(World::real(), Closed, Style::Json, never);
        assert_eq!(unread.await.unwrap().stopped, Some(Stopped::Unread));
    }
}
