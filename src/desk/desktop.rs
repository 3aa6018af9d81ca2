//! The desktop's side of one session: says hello, shows frames, answers the searches
//! that the server asks for, hears how each frame ends.
//!
//! What happens is told to an observer as [`Step`]s, in order; this module
//! prints nothing. Every wait is bounded, see [`Patience`].

mod line;
mod wire;

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use prost::Message;
use secrecy::SecretString;
use tokio::time::{Instant, timeout_at};
use tonic::transport::Channel;

use super::store::{self, Store};
use super::{Error, Step, Verdict};
use crate::transport::proto::{
    ClientEvent, FrameEvent, Heartbeat, SearchResults, ToolCallRequest, ToolKind, ToolResult,
    client_event, server_event,
};
use crate::world::World;
use line::Line;
use wire::{context, context_version, event, hello, stamp};

/// The contract's limit of one message, both ways.
pub(super) const MOST_BYTES: usize = 10 * 1024 * 1024;

/// How long the desktop waits, and for what.
#[derive(Clone, Debug)]
pub struct Patience {
    /// For the connection.
    pub connect: Duration,
    /// For the answer to a hello, and for the end of the stream at the close.
    pub handshake: Duration,
    /// For room to send an event.
    pub send: Duration,
    /// For a frame's terminal event. Longer than the server's own deadline of
    /// 60 s, so that its answer is not given up just before it comes.
    pub answer: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            handshake: Duration::from_secs(10),
            send: Duration::from_secs(10),
            answer: Duration::from_secs(90),
        }
    }
}

/// What the desktop says of itself.
#[derive(Clone, Debug)]
pub struct About {
    /// Its name in the server's eyes.
    pub device: String,
    /// Minutes its user's clock is ahead of UTC; `None`: dates are understood by UTC.
    pub utc_offset_minutes: Option<i32>,
    /// Whether the server is told the tasks beforehand; otherwise it hears of them
    /// only as answers to its searches.
    pub tells_tasks: bool,
}

/// One look at the screen, as this desktop captured it.
#[derive(Clone)]
pub struct Screen {
    /// Names it in every event about it; not empty, at most 256 bytes.
    pub id: String,
    /// The file it was made of, for the observer alone.
    pub file: Option<String>,
    /// The application in front.
    pub app: String,
    /// Its window's title.
    pub window: String,
    /// The text on it.
    pub text: String,
    /// Its picture, or empty.
    pub jpeg: Bytes,
    /// When it looked like this; `None`: just now.
    pub captured: Option<Timestamp>,
}

/// The one terminal event of a frame, which is yet to be kept.
#[derive(Clone, Debug)]
pub struct Ending {
    /// Which frame.
    pub frame_id: String,
    /// What became of it.
    pub verdict: Verdict,
}

impl Ending {
    /// Keeps it, and then tells it.
    ///
    /// # Errors
    /// The store's; nothing is kept or told then.
    pub(super) fn keep(
        &self,
        store: &mut Store,
        observe: &mut impl FnMut(Step),
    ) -> Result<(), store::Error> {
        let step = match &self.verdict {
            Verdict::Decided(outcome) => Step::Decided {
                kept_as: store.keep(&self.frame_id, outcome)?,
                outcome: outcome.clone(),
            },
            Verdict::Failed(error) => {
                store.give_up(&self.frame_id, &error.code)?;
                Step::Failed(error.clone())
            }
        };
        observe(step);
        Ok(())
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

/// An open session. `O` is told each [`Step`].
pub struct Desktop<'a, O> {
    line: Line,
    pub(super) store: &'a mut Store,
    pub(super) observe: O,
    tells_tasks: bool,
    /// The state of the store that the server knows.
    told: String,
    frames: i64,
    /// Frames that were sent and have no terminal event yet.
    unanswered: HashSet<String>,
    patience: Patience,
    world: World,
}

impl<'a, O: FnMut(Step)> Desktop<'a, O> {
    /// Opens a session and says hello.
    ///
    /// # Errors
    /// [`Error::Refused`] if the server does not let it begin; any but
    /// [`Error::Connect`], [`Error::NoToken`], [`Error::Ended`] and
    /// [`Error::TooLarge`].
    pub async fn open(
        channel: Channel,
        token: &SecretString,
        about: &About,
        store: &'a mut Store,
        world: World,
        patience: Patience,
        observe: O,
    ) -> Result<Self, Error> {
        let told = context_version(store, about.tells_tasks)?;
        let hello = hello(about, &told, store, &world)?;
        let line = Line::open(channel, token, hello, patience.clone()).await?;
        let mut desktop = Self {
            line,
            store,
            observe,
            tells_tasks: about.tells_tasks,
            told,
            frames: 0,
            unanswered: HashSet::new(),
            patience,
            world,
        };
        desktop.await_ready().await?;
        Ok(desktop)
    }

    /// Shows the server one frame, serves it until the frame has ended, and keeps that.
    ///
    /// # Errors
    /// As [`Self::send_frame`] and [`Self::hear`], [`Error::TooSlow`] if the frame is
    /// not answered in time, and [`Error::Store`] if its end cannot be kept.
    pub async fn show(&mut self, screen: Screen) -> Result<Verdict, Error> {
        let frame_id = screen.id.clone();
        self.send_frame(screen).await?;
        let deadline = Instant::now() + self.patience.answer;
        loop {
            let event = timeout_at(deadline, self.hear()).await;
            let event = event.map_err(|_| self.unanswered_in_time())??;
            if let Some(ending) = self.act(event).await? {
                ending.keep(self.store, &mut self.observe)?;
                if ending.frame_id == frame_id {
                    return Ok(ending.verdict);
                }
            }
        }
    }

    /// Sends a frame. Its end comes out of [`Self::act`].
    ///
    /// # Errors
    /// [`Error::TooLarge`], after which the session goes on. After any other it is
    /// of no more use.
    pub async fn send_frame(&mut self, screen: Screen) -> Result<(), Error> {
        let sent = Step::FrameSent {
            frame_id: screen.id.clone(),
            file: screen.file.clone(),
            app: screen.app.clone(),
            window: screen.window.clone(),
            jpeg: screen.jpeg.len(),
            characters: screen.text.chars().count(),
        };
        let frame_id = screen.id.clone();
        let frame = self.frame(screen)?;
        self.line.send(frame).await?;
        self.unanswered.insert(frame_id);
        (self.observe)(sent);
        Ok(())
    }

    /// The next event that this version of the contract knows. Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Ended`], [`Error::Closed`], or [`Error::TooSlow`] if nothing came for
    /// as long as three heartbeats.
    pub async fn hear(&mut self) -> Result<server_event::Event, Error> {
        self.line.hear().await
    }

    /// Does what an event asks for, and says which frame it ended, if any.
    ///
    /// # Errors
    /// As [`Self::hear`].
    pub async fn act(&mut self, event: server_event::Event) -> Result<Option<Ending>, Error> {
        match event {
            server_event::Event::ToolCallRequest(call) => {
                self.search(call).await?;
                Ok(None)
            }
            server_event::Event::AnalysisOutcome(outcome)
                if self.unanswered.remove(&outcome.frame_id) =>
            {
                Ok(Some(Ending {
                    frame_id: outcome.frame_id.clone(),
                    verdict: Verdict::Decided(outcome.into()),
                }))
            }
            // An error that names a call is about the call alone.
            server_event::Event::ServerError(error)
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
                self.aside(other);
                Ok(None)
            }
        }
    }

    /// Tells the server that this desktop is alive.
    ///
    /// # Errors
    /// As [`Self::hear`].
    pub async fn beat(&mut self) -> Result<(), Error> {
        let sent_at = Some(stamp(self.world.now()));
        let beat = Heartbeat { sent_at };
        let beat = event(client_event::Event::Heartbeat(beat));
        self.line.send(beat).await
    }

    /// Between two heartbeats, as the server wishes; `None` if it did not say.
    pub fn heartbeat(&self) -> Option<Duration> {
        self.line.heartbeat()
    }

    /// Closes this side and waits until the server has closed its own.
    ///
    /// # Errors
    /// [`Error::Ended`] if the stream ends with a status other than OK, or
    /// [`Error::TooSlow`].
    pub async fn close(self) -> Result<(), Error> {
        self.line.close().await
    }

    /// A frame has waited for its end for as long as this desktop waits.
    pub(super) fn unanswered_in_time(&self) -> Error {
        Error::TooSlow {
            what: "answer to the frame",
            waited: self.patience.answer,
        }
    }

    async fn await_ready(&mut self) -> Result<(), Error> {
        let deadline = Instant::now() + self.patience.handshake;
        loop {
            match self.line.hear_before_ready(deadline).await? {
                server_event::Event::SessionReady(ready) => {
                    self.line.is_ready(&ready);
                    (self.observe)(Step::Ready(ready));
                    return Ok(());
                }
                other => self.aside(other),
            }
        }
    }

    /// Takes note of an event that neither asks for anything nor ends a wait.
    fn aside(&mut self, event: server_event::Event) {
        match event {
            server_event::Event::CancelToolRequest(cancel) => {
                (self.observe)(Step::SearchCancelled(cancel));
            }
            server_event::Event::ServerError(error) => (self.observe)(Step::Complaint(error)),
            server_event::Event::GoAway(go_away) => (self.observe)(Step::GoingAway(go_away)),
            // Heartbeats have done their work by coming; the others answer
            // nothing that is asked right now.
            server_event::Event::ServerHeartbeat(_)
            | server_event::Event::SessionReady(_)
            | server_event::Event::ToolCallRequest(_)
            | server_event::Event::AnalysisOutcome(_) => {}
        }
    }

    fn frame(&mut self, screen: Screen) -> Result<ClientEvent, Error> {
        self.frames += 1;
        let version = context_version(self.store, self.tells_tasks)?;
        // Tasks travel only when they changed since the server last heard.
        let session_context = match version == self.told {
            true => None,
            false => Some(context(self.store, self.tells_tasks)?),
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
        }));
        match frame.encoded_len() {
            size if size > MOST_BYTES => Err(Error::TooLarge { id, size }),
            _ => {
                self.told = version;
                Ok(frame)
            }
        }
    }

    async fn search(&mut self, call: ToolCallRequest) -> Result<(), Error> {
        (self.observe)(Step::SearchAsked(call.clone()));
        let query = call
            .arguments
            .as_ref()
            .map_or("", |arguments| &arguments.query);
        let found = match call.tool_kind() {
            // The tasks are told for a frame that was shown, and for nothing else.
            _ if !self.unanswered.contains(&call.frame_id) => {
                Err(Unfound::from("no frame of that frame_id is being analysed"))
            }
            ToolKind::SearchSimilar => self.store.search_similar(query).map_err(Unfound::from),
            ToolKind::SearchKeywords => self.store.search_keywords(query).map_err(Unfound::from),
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
        }));
        self.line.send(result).await?;
        (self.observe)(Step::SearchAnswered {
            request_id: call.request_id,
            frame_id: call.frame_id,
            found: found.map_err(|unfound| unfound.why),
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
