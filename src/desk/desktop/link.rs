//! One stream of a session, and the frames that were sent on it.

use std::collections::HashSet;
use std::time::Duration;

use prost::Message;
use secrecy::SecretString;
use tokio::time::Instant;
use tonic::transport::Channel;

use super::commands::Commands;
use super::line::Line;
use super::resumable::Resumable;
use super::wire::{MOST_HEARTBEAT, context, context_version, event, hello, stamp};
use super::{About, Ending, MOST_BYTES, Patience, Screen};
use crate::desk::store::{self, Store};
use crate::desk::{Error, Executes, Step, Verdict};
use crate::transport::proto::server_event::Event;
use crate::transport::proto::{
    Ack, ClientEvent, FrameEvent, Heartbeat, Resume, SearchResults, SessionReady, ToolCallRequest,
    ToolKind, ToolResult, client_event,
};
use crate::world::World;

/// More often than this no server is told that the desktop is alive, whatever it wishes.
const LEAST_HEARTBEAT: Duration = Duration::from_secs(1);

/// What is said first on a stream.
pub(in crate::desk) struct Greeting {
    hello: ClientEvent,
    /// The state of the store that the server learns by it.
    told: String,
    tells_tasks: bool,
    names_session: bool,
    executes: Executes,
    world: World,
}

impl Greeting {
    /// With what it would resume, which is nothing at first.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(in crate::desk) fn new(
        about: &About,
        store: &mut Store,
        world: World,
        resume: Resume,
    ) -> Result<Self, Error> {
        let tells_tasks = about.tells_tasks;
        let told = context_version(store, tells_tasks)?;
        Ok(Self {
            names_session: !resume.session_id.is_empty(),
            hello: hello(about, &told, store, &world, resume)?,
            told,
            tells_tasks,
            executes: about.executes.clone(),
            world,
        })
    }
}

/// What a stream brings.
#[expect(
    clippy::large_enum_variant,
    reason = "one lives at a time, while it is dealt with"
)]
pub(in crate::desk) enum Heard {
    /// What the server says.
    Event(Event),
    /// What one of this desktop's commands came to, of which the server was told.
    Executed(ToolResult),
}

/// Both sides of one stream.
pub(in crate::desk) struct Link {
    line: Line,
    /// The session, if another stream can take it up.
    session: Option<Resumable>,
    tells_tasks: bool,
    /// The state of the store that the server knows.
    told: String,
    frames: i64,
    /// Frames that the server owes an answer on this stream.
    unanswered: HashSet<String>,
    /// Between two heartbeats of this side.
    heartbeat: Duration,
    next_beat: Instant,
    /// Tools that are being executed.
    commands: Commands,
    world: World,
}

impl Link {
    /// Opens a stream and says hello. What else the server says before it answers that
    /// goes `aside`. In the answer there is no secret any more.
    ///
    /// # Errors
    /// [`Error::Refused`] if the server does not let it begin, [`Error::Disowned`] if
    /// only not with the session that was named; any but [`Error::Connect`],
    /// [`Error::NoToken`], [`Error::Ended`] and [`Error::TooLarge`].
    pub(in crate::desk) async fn open(
        channel: Channel,
        token: &SecretString,
        greeting: Greeting,
        patience: &Patience,
        mut aside: impl FnMut(Event),
    ) -> Result<(Self, SessionReady), Error> {
        let disowned = |error| match error {
            Error::Refused(status)
                if greeting.names_session && status.code() == tonic::Code::PermissionDenied =>
            {
                Error::Disowned(status)
            }
            other => other,
        };
        let opening = Line::open(channel, token, greeting.hello, patience.clone());
        let mut line = opening.await.map_err(disowned)?;
        let deadline = Instant::now() + patience.handshake;
        let mut ready = loop {
            match line.hear_before_ready(deadline).await.map_err(disowned)? {
                Event::SessionReady(ready) => break ready,
                other => aside(other),
            }
        };
        line.is_ready(&ready);
        let heartbeat = line.heartbeat().unwrap_or(MOST_HEARTBEAT);
        let heartbeat = heartbeat.clamp(LEAST_HEARTBEAT, MOST_HEARTBEAT);
        let link = Self {
            line,
            session: Resumable::of(&mut ready),
            tells_tasks: greeting.tells_tasks,
            told: greeting.told,
            frames: 0,
            unanswered: HashSet::new(),
            heartbeat,
            next_beat: Instant::now() + heartbeat,
            commands: Commands::new(greeting.executes),
            world: greeting.world,
        };
        Ok((link, ready))
    }

    /// Goes on with an earlier session if the server says that this stream has taken it
    /// up, and whether it does.
    pub(in crate::desk) fn take_up(
        &mut self,
        earlier: &mut Option<Resumable>,
        ready: &mut SessionReady,
    ) -> bool {
        match earlier.take_if(|earlier| earlier.is_taken_up(ready)) {
            Some(mut earlier) => {
                earlier.taken_up(self.session.take());
                self.session = Some(earlier);
                true
            }
            None => {
                // Whatever it takes up is nothing that this desktop knows.
                ready.resumed = None;
                false
            }
        }
    }

    /// The session, if another stream can take it up.
    pub(in crate::desk) fn session(&mut self) -> &mut Option<Resumable> {
        &mut self.session
    }

    /// The server owes these frames an answer, too: they were sent on another stream.
    pub(in crate::desk) fn expect(&mut self, frames: impl IntoIterator<Item = String>) {
        self.unanswered.extend(frames);
    }

    /// The frames that the server owes an answer.
    pub(in crate::desk) fn unanswered(&self) -> impl Iterator<Item = &str> {
        self.unanswered.iter().map(String::as_str)
    }

    /// Sends a frame. Its end comes out of [`Self::act`].
    ///
    /// # Errors
    /// [`Error::TooLarge`], after which the stream goes on. After any other it is
    /// of no more use.
    pub(in crate::desk) async fn send_frame(
        &mut self,
        screen: Screen,
        store: &mut Store,
        observe: &mut impl FnMut(Step),
    ) -> Result<(), Error> {
        let sent = Step::FrameSent {
            frame_id: screen.id.clone(),
            file: screen.file.clone(),
            app: screen.app.clone(),
            window: screen.window.clone(),
            jpeg: screen.jpeg.len(),
            characters: screen.text.chars().count(),
        };
        let frame_id = screen.id.clone();
        let frame = self.frame(screen, store)?;
        self.line.send(frame).await?;
        self.unanswered.insert(frame_id);
        observe(sent);
        Ok(())
    }

    /// The next event that this version of the contract knows, or result that the server
    /// was told. Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Ended`], [`Error::Closed`], or [`Error::TooSlow`] if nothing came for
    /// as long as three heartbeats.
    pub(in crate::desk) async fn hear(&mut self) -> Result<Heard, Error> {
        tokio::select! {
            biased;
            result = self.commands.next() => {
                let told = client_event::Event::ToolResult(result.clone());
                self.line.send(event(told)).await?;
                self.commands.is_told();
                Ok(Heard::Executed(result))
            }
            event = self.line.hear() => event.map(Heard::Event),
        }
    }

    /// Does what was heard asks for, and says which frame it ended, if any.
    ///
    /// # Errors
    /// As [`Self::hear`].
    pub(in crate::desk) async fn act(
        &mut self,
        heard: Heard,
        store: &mut Store,
        observe: &mut impl FnMut(Step),
    ) -> Result<Option<Ending>, Error> {
        let event = match heard {
            Heard::Event(event) => event,
            Heard::Executed(result) => {
                observe(Step::ToolAnswered(result));
                return Ok(None);
            }
        };
        if let Some(session) = &mut self.session
            && !session.is_new(&event)
        {
            return Ok(None);
        }
        match event {
            Event::ToolCallRequest(call) if call.tool_name.is_empty() => {
                self.search(call, store, observe).await?;
                Ok(None)
            }
            Event::ToolCallRequest(call) => {
                observe(Step::SearchAsked(call.clone()));
                let is_known = self.is_known(&call);
                self.commands.begin(call, is_known);
                Ok(None)
            }
            Event::CancelToolRequest(cancel) => {
                self.commands.call_off(&cancel.request_id);
                observe(Step::SearchCancelled(cancel));
                Ok(None)
            }
            Event::AnalysisOutcome(outcome) if self.unanswered.remove(&outcome.frame_id) => {
                Ok(Some(Ending {
                    frame_id: outcome.frame_id.clone(),
                    verdict: Verdict::Decided(outcome.into()),
                }))
            }
            // An error that names a call is about the call alone.
            Event::ServerError(error)
                if error.request_id.is_empty() && self.unanswered.remove(&error.frame_id) =>
            {
                if error.code == "NO_CONTEXT" {
                    self.told.clear();
                }
                Ok(Some(Ending {
                    frame_id: error.frame_id.clone(),
                    verdict: Verdict::Failed(error),
                }))
            }
            other => {
                told_aside(other, observe);
                Ok(None)
            }
        }
    }

    /// Tells the server which answers are kept: those of all frames but those that wait
    /// for it.
    ///
    /// # Errors
    /// As [`Self::hear`].
    pub(in crate::desk) async fn confirm(
        &mut self,
        but: impl Fn(&str) -> bool,
    ) -> Result<(), Error> {
        let Some(session) = &mut self.session else {
            return Ok(());
        };
        session.are_kept(but);
        if let Some(answer_number) = session.next_to_confirm() {
            let ack = client_event::Event::Ack(Ack { answer_number });
            self.line.send(event(ack)).await?;
        }
        Ok(())
    }

    /// Whether nothing is owed any more, on either side.
    pub(in crate::desk) fn is_settled(&self) -> bool {
        let session = self.session.as_ref();
        self.unanswered.is_empty() && session.is_none_or(Resumable::is_all_confirmed)
    }

    /// Tells the server that this desktop is alive, if it is time to.
    ///
    /// # Errors
    /// As [`Self::hear`].
    pub(in crate::desk) async fn beat(&mut self) -> Result<(), Error> {
        let now = Instant::now();
        if self.next_beat > now {
            return Ok(());
        }
        self.next_beat = now + self.heartbeat;
        let sent_at = Some(stamp(self.world.now()));
        let beat = Heartbeat { sent_at };
        let beat = event(client_event::Event::Heartbeat(beat));
        self.line.send(beat).await
    }

    /// When it is time to tell the server that this desktop is alive.
    pub(in crate::desk) fn next_beat(&self) -> Instant {
        self.next_beat
    }

    /// Closes this side; what the server still says is heard.
    pub(in crate::desk) fn finish(&mut self) {
        self.line.finish();
    }

    /// Closes this side and waits until the server has closed its own.
    ///
    /// # Errors
    /// [`Error::Ended`] if the stream ends with a status other than OK, or
    /// [`Error::TooSlow`].
    pub(in crate::desk) async fn close(self) -> Result<(), Error> {
        self.line.close().await
    }

    fn frame(&mut self, screen: Screen, store: &mut Store) -> Result<ClientEvent, Error> {
        self.frames += 1;
        let version = context_version(store, self.tells_tasks)?;
        // Tasks travel only when they changed since the server last heard.
        let session_context = match version == self.told {
            true => None,
            false => Some(context(store, self.tells_tasks)?),
        };
        let id = screen.id.clone();
        let frame = event(client_event::Event::FrameEvent(FrameEvent {
            jpeg_bytes: screen.jpeg,
            app_name: screen.app,
            window_title: screen.window,
            ocr_text: screen.text,
            capture_time: Some(stamp(screen.captured.unwrap_or_else(|| self.world.now()))),
            frame_number: self.frames,
            screenshot_id: screen.id,
            context_version: version.clone(),
            session_context,
            device_id: String::new(),
        }));
        match frame.encoded_len() {
            size if size > MOST_BYTES => Err(Error::TooLarge { id, size }),
            _ => {
                self.told = version;
                Ok(frame)
            }
        }
    }

    async fn search(
        &mut self,
        call: ToolCallRequest,
        store: &mut Store,
        observe: &mut impl FnMut(Step),
    ) -> Result<(), Error> {
        observe(Step::SearchAsked(call.clone()));
        let query = call
            .arguments
            .as_ref()
            .map_or("", |arguments| &arguments.query);
        let found = match call.tool_kind() {
            // The tasks are told for a frame that was shown here or by another session of
            // this user, or for a job, and for nothing else.
            _ if !self.is_known(&call) => {
                Err(Unfound::from("no frame of that frame_id is being analysed"))
            }
            kind if !self.commands.executes.searches(kind) => {
                Err(Unfound::from("this desktop has no such search"))
            }
            ToolKind::SearchSimilar => store.search_similar(query).map_err(Unfound::from),
            ToolKind::SearchKeywords => store.search_keywords(query).map_err(Unfound::from),
            ToolKind::Unspecified => Err(Unfound::from("this desktop has no such search")),
        };
        let (result, error) = match &found {
            Ok(items) => {
                let items = items.clone();
                (Some(SearchResults { items }), "")
            }
            Err(unfound) => (None, unfound.told),
        };
        let result = event(client_event::Event::ToolResult(ToolResult {
            request_id: call.request_id.clone(),
            result,
            error: error.to_owned(),
            frame_id: call.frame_id.clone(),
            ..ToolResult::default()
        }));
        self.line.send(result).await?;
        observe(Step::SearchAnswered {
            request_id: call.request_id,
            frame_id: call.frame_id,
            found: found.map_err(|unfound| unfound.why),
        });
        Ok(())
    }
}

impl Link {
    /// Whether it is for a frame of this link, or for something else of its user.
    fn is_known(&self, call: &ToolCallRequest) -> bool {
        let elsewhere = !call.job_id.is_empty() || !call.session_id.is_empty();
        elsewhere || self.unanswered.contains(&call.frame_id)
    }
}

/// Tells of an event that neither asks for anything nor ends a wait.
pub(in crate::desk) fn told_aside(event: Event, observe: &mut impl FnMut(Step)) {
    match event {
        Event::CancelToolRequest(cancel) => observe(Step::SearchCancelled(cancel)),
        Event::ServerError(error) => observe(Step::Complaint(error)),
        Event::GoAway(go_away) => observe(Step::GoingAway(go_away)),
        // Heartbeats have done their work by coming; the others answer
        // nothing that is asked right now.
        Event::ServerHeartbeat(_)
        | Event::SessionReady(_)
        | Event::ToolCallRequest(_)
        | Event::AnalysisOutcome(_)
        | Event::LogEvent(_) => {}
    }
}

/// Why nothing could be looked for.
struct Unfound {
    /// For the server.
    told: &'static str,
    /// For the user.
    why: String,
}

impl From<&'static str> for Unfound {
    fn from(told: &'static str) -> Self {
        let why = told.to_owned();
        Self { told, why }
    }
}

impl From<store::Error> for Unfound {
    fn from(error: store::Error) -> Self {
        // What SQLite says, of paths perhaps, is nothing for a server.
        let told = match error {
            store::Error::Held => "another program holds the task store",
            store::Error::Database(_) | store::Error::SameId(_) | store::Error::Unusable { .. } => {
                "the task store cannot be searched now"
            }
        };
        let why = error.to_string();
        Self { told, why }
    }
}
