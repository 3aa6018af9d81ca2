//! `proactive demo`: a desktop with its tasks, the frames it shows, and the
//! conversation as people or programs read it.

pub mod input;
pub mod print;
mod wire;
mod workers;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use secrecy::SecretString;
use tokio::join;
use tokio::sync::oneshot;

use crate::desk::words::counted;
use crate::desk::{
    self, About, Address, Desktop, Door, Patience, Roots, Screen, Step, Store, Sum, TokenSource,
    Verdict,
};
use crate::world::World;
use print::{Printer, Style};
use wire::Wire;

pub use workers::Workers;

/// What the demo shows. What it is for, the program says where it lists it.
#[derive(Clone, Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("own").args(["frame", "ocr"]).multiple(true)))]
#[command(after_help = "\
Examples:
  proactive demo
  proactive demo --ocr \"Can you send the Berlin office the signed lease before Tuesday?\"
  proactive demo --cut
  proactive demo --deploy
  proactive demo --worker 'venv/bin/python -m proactive_worker.examples.dates'
  proactive demo --frame screen.jpg --ocr screen.txt --app Mail --json

Exit status: 0 if every frame got a decision, 1 if one ended in an error, 64 if \
an argument or a file cannot be used.")]
pub struct Args {
    /// A JPEG of a screen, instead of the bundled ones.
    #[arg(long, value_name = "FILE.jpg")]
    frame: Option<PathBuf>,
    /// The text on the screen, or a file that holds it. The stand-in reads only
    /// this; Gemini sees the picture too.
    #[arg(
        long,
        value_name = "TEXT or FILE",
        group = "own",
        allow_hyphen_values = true
    )]
    ocr: Option<String>,
    /// The application in front.
    #[arg(
        long,
        value_name = "NAME",
        requires = "own",
        default_value = "",
        hide_default_value = true
    )]
    app: String,
    /// The title of its window.
    #[arg(
        long,
        value_name = "TITLE",
        requires = "own",
        default_value = "",
        hide_default_value = true
    )]
    window: String,
    /// The user's tasks: {"tasks": [{"description": "...", "status":
    /// "active|completed|deleted", "id": 1, "priority": "high",
    /// "relevance_score": 1}], "goals": [{"title": "..."}]}. Only the
    /// description is needed, and a bare list of tasks will do.
    #[arg(long, value_name = "FILE.json")]
    tasks: Option<PathBuf>,
    /// Cut the connection when the first search is asked, as networks do: the session
    /// outlives its stream, the search is asked again on the next one, and nothing is
    /// lost.
    #[arg(long)]
    cut: bool,
    /// Replace the server when the first search is asked, as deploys do: the old one says
    /// that it goes away and finishes the frame, and the desktop shows the next one to
    /// the new one.
    #[arg(long, conflicts_with = "cut")]
    deploy: bool,
    /// Start a worker beside the server, and let the model have its tools: a command line,
    /// such as "python3 -m proactive_worker.examples.dates". No shell is run.
    #[arg(long, value_name = "COMMAND")]
    worker: Option<String>,
    /// Print a JSON object for each step; the last of each frame is its outcome.
    #[arg(long)]
    json: bool,
}

/// The servers to play against.
#[derive(Debug)]
pub struct Endpoints {
    /// Where the service listens.
    pub grpc: SocketAddr,
    /// Where the server listens that replaces it, if one does.
    pub next: Option<SocketAddr>,
    /// A token that it accepts.
    pub token: SecretString,
    /// Whether the model is the stand-in.
    pub stand_in: bool,
}

/// The demo cannot be played to its end.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An argument or a file cannot be used; correct it.
    #[error(transparent)]
    Input(#[from] input::Error),
    /// The session broke; the server's log says more.
    #[error(transparent)]
    Session(#[from] desk::Error),
    /// There is no way to the server.
    #[error("no loopback port could be had: {0}")]
    Wire(io::Error),
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl Error {
    /// What the process ends with.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Input(_) => 64,
            Self::Session(_) | Self::Wire(_) | Self::Output(_) => 1,
        }
    }
}

/// Everything the demo will show, read and checked.
pub struct Play {
    screens: Vec<Screen>,
    store: Store,
    strike: Option<Strike>,
    worker: Option<String>,
    json: bool,
}

/// What happens when the first search is asked.
#[derive(Clone, Copy)]
enum Strike {
    Cut,
    Deploy,
}

impl Args {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Error::Input`] says in one sentence what is wrong with which.
    pub fn prepare(&self) -> Result<Play, Error> {
        let screens = if self.frame.is_none() && self.ocr.is_none() {
            input::bundled_screens()
        } else {
            let (frame, ocr) = (self.frame.as_deref(), self.ocr.as_deref());
            vec![input::own_screen(frame, ocr, &self.app, &self.window)?]
        };
        Ok(Play {
            screens,
            store: input::tasks(self.tasks.as_deref())?,
            strike: match (self.cut, self.deploy) {
                (true, _) => Some(Strike::Cut),
                (_, true) => Some(Strike::Deploy),
                (false, false) => None,
            },
            worker: self.worker.clone(),
            json: self.json,
        })
    }
}

impl Play {
    /// Whether the server is to be replaced in the middle.
    pub fn deploys(&self) -> bool {
        matches!(self.strike, Some(Strike::Deploy))
    }

    /// The command line of the worker that is to be started beside the server.
    pub fn worker(&self) -> Option<&str> {
        self.worker.as_deref()
    }

    /// Plays all frames in one session and prints what happens. Whether each got
    /// a decision is in the sum: then `failed` is 0. If the server is to be replaced,
    /// `leave` stops the old one; the next one is ready. What `workers` are asked is told,
    /// if there are any.
    ///
    /// # Errors
    /// Any but [`Error::Input`].
    pub async fn play(
        self,
        endpoints: &Endpoints,
        world: World,
        out: impl Write,
        colour: bool,
        leave: impl Future<Output = ()>,
        mut workers: Option<Workers>,
    ) -> Result<Sum, Error> {
        let style = if self.json {
            Style::Json
        } else {
            Style::Text { colour }
        };
        let mut printer = Printer::new(out, style, self.screens.len());
        let tasks = self.store.count().map_err(desk::Error::from)?;
        printer.remark(&opening(tasks, self.screens.len(), endpoints.grpc));
        if endpoints.stand_in && self.screens.iter().any(|screen| screen.text.is_empty()) {
            printer.remark("The stand-in model reads only text: add it with --ocr.");
        }
        let wire = match self.strike {
            Some(_) => Some(Wire::to(endpoints.grpc).await.map_err(Error::Wire)?),
            None => None,
        };
        let address = wire.as_ref().map_or(endpoints.grpc, Wire::address);
        let (order, ordered) = oneshot::channel();
        // Gone with the conversation, and the order with it.
        let strike = self.strike.zip(wire.as_ref()).map(|(strike, wire)| {
            move || match strike {
                Strike::Cut => wire.cut(),
                Strike::Deploy => {
                    wire.lead_to(endpoints.next.unwrap_or(endpoints.grpc));
                    let _ = order.send(());
                }
            }
        });
        let left = async {
            if ordered.await.is_ok() {
                leave.await;
            }
        };
        let token = endpoints.token.clone();
        let observers = (strike, &mut workers, &mut printer);
        let conversed = self.converse(address, token, world, observers);
        join!(conversed, left).0?;
        if let Some(mut workers) = workers {
            workers.tell(&mut printer);
            printer.remark(&workers.summary());
        }
        let sum = printer.finish(note(endpoints.stand_in))?;
        Ok(sum)
    }

    async fn converse<W: Write>(
        mut self,
        address: SocketAddr,
        token: SecretString,
        world: World,
        (mut strike, workers, printer): (
            Option<impl FnOnce()>,
            &mut Option<Workers>,
            &mut Printer<W>,
        ),
    ) -> Result<(), Error> {
        let (address, patience) = (Address::from(address), Patience::default());
        let limit = patience.connect;
        let door = Door {
            dial: async || address.dial(&Roots::System, limit).await,
            tokens: TokenSource::Fixed(token),
            patience,
        };
        let observe = |step| {
            // They ended before the server said this.
            if let Some(workers) = workers {
                workers.tell(printer);
            }
            printer.step(&step);
            if let Step::SearchAsked(_) = step
                && let Some(strike) = strike.take()
            {
                strike();
            }
        };
        let about = About {
            device: "demo desktop".to_owned(),
            utc_offset_minutes: None,
            tells_tasks: true,
            ..About::default()
        };
        let mut desktop = Desktop::open(door, about, &mut self.store, world, observe).await?;
        for screen in self.screens {
            match desktop.show(screen).await? {
                // The printer has told it.
                Verdict::Decided(_) | Verdict::Failed(_) => {}
            }
        }
        desktop.close().await?;
        Ok(())
    }
}

/// What there is to see.
fn opening(tasks: usize, screens: usize, server: SocketAddr) -> String {
    let tasks = counted(tasks, "task");
    let frames = if screens == 1 { "a frame" } else { "frames" };
    format!("A desktop with {tasks} shows {frames} of its screen to the service at {server}.")
}

/// What of the demo was real.
fn note(stand_in: bool) -> &'static str {
    if stand_in {
        "Real: the gRPC session, the token check, the searches, the HTTP calls. A stand-in: the model,\n\
         which follows simple rules over the text; set GEMINI_API_KEY to ask Gemini itself."
    } else {
        "Real: the gRPC session, the token check, the searches, and Gemini. Local: the token's issuer."
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use jiff::Timestamp;

    use clap::{Args as _, Command, FromArgMatches as _};

    use super::*;
    use crate::desk::fake;
    use crate::transport::proto::server_event::Event;
    use crate::transport::proto::{AnalysisOutcome, ExtractedTask, OutcomeKind, ServerError};

    fn args(line: &[&str]) -> Result<Args, clap::Error> {
        let command = Args::augment_args(Command::new("demo").no_binary_name(true));
        Args::from_arg_matches(&command.try_get_matches_from(line)?)
    }

    #[test]
    fn the_arguments_choose_what_is_shown() {
        let play = |line: &[&str]| args(line).unwrap().prepare().unwrap();
        let names: Vec<_> = play(&[])
            .screens
            .into_iter()
            .map(|screen| screen.id)
            .collect();
        assert_eq!(names, ["new-request", "already-tracked", "no-request"]);
        let own = play(&[
            "--ocr",
            "--- hi ---",
            "--app",
            "Mail",
            "--window",
            "Inbox",
            "--json",
        ]);
        assert_eq!(own.screens.len(), 1);
        assert_eq!(
            (&*own.screens[0].app, &*own.screens[0].window),
            ("Mail", "Inbox")
        );
        assert!(own.json);
        let frame = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/examples/frames/no-request.jpg"
        );
        let both = play(&["--frame", frame, "--ocr", "fn main() {}"]);
        assert_eq!(both.screens[0].text, "fn main() {}");
        assert!(!both.screens[0].jpeg.is_empty());
    }

    #[test]
    fn an_app_without_a_frame_and_unusable_files_are_usage_errors() {
        assert!(
            args(&["--app", "Mail"])
                .unwrap_err()
                .to_string()
                .contains("--frame")
        );
        assert!(args(&["--tasks"]).is_err());
        let missing = args(&["--frame", "/no/such.jpg"])
            .unwrap()
            .prepare()
            .err()
            .unwrap();
        assert_eq!(missing.exit_code(), 64);
        assert!(
            missing
                .to_string()
                .starts_with("cannot read /no/such.jpg: ")
        );
    }

    #[test]
    fn the_opening_counts_as_people_do() {
        let server = SocketAddr::from(([127, 0, 0, 1], 1));
        let one = opening(1, 1, server);
        assert!(
            one.starts_with("A desktop with 1 task shows a frame of"),
            "{one}"
        );
        let more = opening(11, 3, server);
        assert!(
            more.starts_with("A desktop with 11 tasks shows frames of"),
            "{more}"
        );
    }

    #[tokio::test]
    async fn the_bundled_screens_are_played_in_one_session_and_the_second_knows_the_first() {
        let server = fake::serve(|mut peer| async move {
            peer.ready(0).await;
            let first = peer.frame().await;
            let title = "Send the Q3 figures to the Berlin office";
            let extracted = AnalysisOutcome {
                task: Some(ExtractedTask {
                    title: title.into(),
                    ..ExtractedTask::default()
                }),
                ..fake::outcome(&first.screenshot_id, OutcomeKind::ExtractTask)
            };
            peer.say(Event::AnalysisOutcome(extracted)).await;
            let second = peer.frame().await;
            let known = second.session_context.unwrap().active_tasks;
            let known = known
                .iter()
                .any(|task| task.description == title && task.staged);
            let kind = if known {
                OutcomeKind::RejectTask
            } else {
                OutcomeKind::ExtractTask
            };
            peer.say(Event::AnalysisOutcome(fake::outcome(
                &second.screenshot_id,
                kind,
            )))
            .await;
            let third = peer.frame().await;
            let error = ServerError {
                code: "GEMINI_ERROR".into(),
                frame_id: third.screenshot_id,
                ..ServerError::default()
            };
            peer.say(Event::ServerError(error)).await;
            while let Ok(Some(_)) = peer.events.message().await {}
        })
        .await;
        let endpoints = Endpoints {
            grpc: server.address,
            next: None,
            token: "right".into(),
            stand_in: true,
        };
        let mut out = Vec::new();
        let world = World::fixed(Timestamp::UNIX_EPOCH, 1);
        let play = args(&[]).unwrap().prepare().unwrap();
        let sum = play.play(&endpoints, world, &mut out, false, pending(), None);
        let sum = sum.await.unwrap();
        assert_eq!((sum.extracted, sum.rejected, sum.failed), (1, 1, 1));
        let out = String::from_utf8(out).unwrap();
        let order = [
            "11 tasks shows frames",
            "1/3  new-request",
            "kept as task 12",
            "2/3",
            "3/3",
            "GEMINI_ERROR",
            "\ntotal",
            "A stand-in: the model",
        ];
        let places: Vec<_> = order.iter().map(|text| out.find(text).unwrap()).collect();
        assert!(places.is_sorted(), "{out}");
    }
}
