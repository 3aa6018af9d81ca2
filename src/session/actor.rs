//! The session's one task. Its inputs, in order of precedence:
//!
//! 1. the order to stop, at once or after the accepted frames;
//! 2. its client coming back on another stream, or the end of waiting for that;
//! 3. room for what is unsaid, or the news that the client is gone;
//! 4. errands of the frames: calls to ask for, or to call off;
//! 5. frames whose analysis is over;
//! 6. what is due: heartbeats, and the end of a stream's life;
//! 7. what is new in the user's log: not while too much is unsaid;
//! 8. what the client says: not while too much is unsaid.
//!
//! Output comes before input, and nothing here waits for a frame or a client,
//! so a heartbeat or a tool result never stands behind a frame.
//!
//! Between two streams the frames go on; what they have to say waits.

mod calls;
mod streams;

use std::sync::Arc;

use futures::StreamExt;
use futures::future::OptionFuture;
use jiff::tz::Offset;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument;

use super::answers::Answers;
use super::following::Following;
use super::frames::Frames;
use super::line::Line;
use super::lobby::{Call, Lobby, Registered};
use super::outbox::Flush;
use super::timers::Due;
use super::totals::Totals;
use super::{
    Caller, ClientMessage, Connection, Input, Refusal, RefusalCode, ServerMessage, StreamEnd,
    Version,
};
use crate::analysis::Background;
use crate::domain::{Context, Frame, FrameFault, FrameFaultCode, FrameId, Outcome, SessionId, Uid};
use crate::events::News;
use crate::telemetry::{FrameResult, Metrics, SessionEnd, session_span};
use crate::tools::{Contact, Errand, Pending, Profile};

/// Errands that wait for the session; it takes them before anything a client
/// says, so a short queue is enough.
const ERRANDS: usize = 4;

/// One desktop's session.
pub struct Session {
    id: SessionId,
    uid: Uid,
    /// Whether whoever opened the stream may use other devices of the user.
    may_use_devices: bool,
    /// With what it shares with all sessions.
    lobby: Lobby,
    /// How its client is talked to; `None` while it has no stream.
    line: Option<Line>,
    /// How its client can come back, if it said that it may.
    registered: Option<Registered>,
    /// Without a stream: until when it waits for one.
    away_until: Option<Instant>,
    version: Version,
    background: Option<Arc<Background>>,
    frames: Frames,
    pending: Pending,
    errands: mpsc::Receiver<Box<Errand>>,
    answers: Answers,
    /// What its client is told of its user's log.
    following: Following,
    /// The server is shutting down.
    drain: Option<Drain>,
    /// The client's clock, if it said how far that is from UTC.
    utc_offset: Option<Offset>,
    totals: Totals,
}

/// How a session leaves with its server.
struct Drain {
    /// When the client is told. Until then all goes on, so that the clients of a
    /// server do not all leave at once.
    told_at: Instant,
    told: bool,
    /// When all is over.
    ends: Instant,
}

/// Why the session's task woke up.
enum Wake {
    Halt,
    Drain,
    GoodBye,
    Call(Call),
    GraceOver,
    Flush(Flush),
    Errand(Box<Errand>),
    Finished(FrameId, Result<Outcome, FrameFault>),
    Due(Due),
    News(News),
    Input(Option<Input>),
}

impl Session {
    /// A session of this caller, in the lobby through which it came.
    pub fn new(caller: &Caller, lobby: &Lobby) -> Self {
        let pending = Pending::default();
        let (errand, errands) = mpsc::channel(ERRANDS);
        let id = SessionId::new(lobby.tools().world.uuid());
        let contact = Contact {
            pending: pending.clone(),
            errands: errand,
        };
        let uid = caller.principal.uid.clone();
        let router = &lobby.tools().router;
        let may_use_devices = router.permits(&caller.principal);
        let asker = router.asker(uid.clone(), id.clone(), false, Profile::default());
        Self {
            id: id.clone(),
            uid: uid.clone(),
            may_use_devices,
            lobby: lobby.clone(),
            line: None,
            registered: None,
            away_until: None,
            version: Version::default(),
            background: None,
            frames: Frames::new(lobby.clone(), id, uid, contact, asker),
            pending,
            errands,
            answers: Answers::default(),
            following: Following::default(),
            drain: None,
            utc_offset: None,
            totals: Totals::new(),
        }
    }

    /// The table of unanswered searches, to watch it from outside.
    pub fn pending(&self) -> Pending {
        self.pending.clone()
    }

    /// Runs until the client has gone for good or the server stops it. When this
    /// returns, nothing of the session is left. What the client has said already
    /// comes as `first`.
    ///
    /// (Not an `async fn`: those keep their arguments twice, and this future is
    /// most of what an idle session costs. So what comes first is done before it.)
    pub fn run(
        mut self,
        connection: Connection,
        first: Option<Input>,
    ) -> impl Future<Output = SessionEnd> {
        let caller = &connection.caller;
        let device = caller.shown_device(first.as_ref());
        let span = session_span(&self.id, &self.uid, &device, caller.trace.as_deref());
        let (open, over) = span.in_scope(|| {
            let open = Open::new(self.lobby.tools().metrics.clone());
            (open, self.begin(connection, first))
        });
        async move {
            let mut open = open;
            let end = match over {
                Some(end) => end,
                None => self.serve().await,
            };
            // Nobody comes back from now on.
            self.registered = None;
            if let Some(line) = &mut self.line {
                line.listed = None;
            }
            self.pending.close();
            let (decided, unanswered) = self.frames.abandon().await;
            for (id, result) in decided {
                self.answer(id, result);
            }
            for id in unanswered {
                self.leave_unanswered(id, end);
            }
            self.end_stream(streams::end_with(end));
            self.totals.log(end);
            open.end = end;
            end
        }
        .instrument(span)
    }

    /// With its first stream, and what came of its first word.
    fn begin(&mut self, connection: Connection, first: Option<Input>) -> Option<SessionEnd> {
        let Caller {
            platform,
            app_version,
            ..
        } = &connection.caller;
        tracing::info!(
            app.platform = platform,
            app.version = app_version,
            "session opened"
        );
        let (options, world) = (self.lobby.options(), &self.lobby.tools().world);
        self.line = Some(Line::new(connection, options, world));
        first.and_then(|first| self.hear(first))
    }

    async fn serve(&mut self) -> SessionEnd {
        loop {
            let end = match self.wake().await {
                Wake::Halt => Some(SessionEnd::Drained),
                Wake::Drain => self.begin_drain(),
                Wake::GoodBye => {
                    self.say_goodbye();
                    None
                }
                Wake::Call(Call::TakeUp(arrival)) => {
                    self.welcome_back(*arrival);
                    self.list();
                    None
                }
                // Only who has no stream can be in the others' way.
                Wake::Call(Call::GiveUp) => self.line.is_none().then_some(SessionEnd::Lost),
                Wake::GraceOver => Some(SessionEnd::Lost),
                Wake::Flush(Flush::Sent) => None,
                Wake::Flush(Flush::Lost) => self.lose_stream(StreamEnd::Lost),
                Wake::Flush(Flush::Stuck) => Some(SessionEnd::SlowClient),
                Wake::Errand(errand) => {
                    self.run_errand(*errand);
                    None
                }
                Wake::Finished(id, result) => {
                    // On another thread its last errand may have come after
                    // ours were read; it goes before the answer.
                    while let Ok(errand) = self.errands.try_recv() {
                        self.run_errand(*errand);
                    }
                    self.tell_called_off();
                    self.answer(id, result);
                    None
                }
                Wake::Due(due) => self.attend_to(due),
                Wake::News(news) => {
                    self.say(ServerMessage::Log(Box::new(news)));
                    None
                }
                Wake::Input(Some(input)) => self.hear(input),
                Wake::Input(None) => {
                    self.half_close();
                    None
                }
            };
            if let Some(end) = end.or_else(|| self.is_over()) {
                return end;
            }
        }
    }

    async fn wake(&mut self) -> Wake {
        let call = self.registered.as_mut().map(Registered::call);
        let goodbye = self.drain.as_ref().filter(|drain| !drain.told);
        let (flush, due, news, input) = match &mut self.line {
            Some(line) => {
                let has_room = !line.outbox.is_full();
                let listening = has_room && !line.half_closed;
                (
                    Some(line.outbox.flush()),
                    Some(line.timers.due()),
                    has_room.then(|| self.following.news()),
                    listening.then(|| line.inputs.next()),
                )
            }
            None => (None, None, None, None),
        };
        // What is not there never happens.
        tokio::select! {
            biased;
            () = self.lobby.stop().hard.cancelled() => Wake::Halt,
            () = self.lobby.stop().soft.cancelled(), if self.drain.is_none() => Wake::Drain,
            Some(()) = OptionFuture::from(goodbye.map(|drain| sleep_until(drain.told_at))) => Wake::GoodBye,
            Some(call) = OptionFuture::from(call) => Wake::Call(call),
            Some(()) = OptionFuture::from(self.away_until.map(sleep_until)) => Wake::GraceOver,
            Some(flush) = OptionFuture::from(flush) => Wake::Flush(flush),
            Some(errand) = self.errands.recv() => Wake::Errand(errand),
            (id, result) = self.frames.finished() => Wake::Finished(id, result),
            Some(due) = OptionFuture::from(due) => Wake::Due(due),
            Some(news) = OptionFuture::from(news) => Wake::News(news),
            Some(input) = OptionFuture::from(input) => Wake::Input(input),
        }
    }

    /// Whether everything has been said that the session is still there for.
    fn is_over(&self) -> Option<SessionEnd> {
        let line = self.line.as_ref()?;
        // A search may be for a job, which would find nobody else in a drain.
        if !self.frames.is_empty() || !line.outbox.is_empty() || !self.pending.is_empty() {
            return None;
        }
        match line.half_closed {
            true => Some(SessionEnd::Closed),
            false => self.is_leaving().then_some(SessionEnd::Drained),
        }
    }

    fn hear(&mut self, input: Input) -> Option<SessionEnd> {
        if let Some(line) = &mut self.line {
            line.timers.heard();
        }
        match input {
            Input::Message(message) => self.take(message),
            Input::Refused(refusal) => self.refuse(refusal),
            Input::Part => {}
            Input::Stalled => return self.stall(),
            Input::Lost => return self.lose_stream(StreamEnd::Lost),
        }
        None
    }

    fn take(&mut self, message: ClientMessage) {
        match message {
            ClientMessage::Hello(hello) => {
                self.greet(hello, None);
                self.list();
            }
            ClientMessage::Frame(frame) => self.accept(*frame),
            ClientMessage::ToolResult(id, answer) => {
                let awaited = self.pending.resolve(&id, answer);
                self.note(awaited);
            }
            ClientMessage::ToolProgress(id) => {
                let awaited = self.pending.extend(&id);
                self.note(awaited);
            }
            ClientMessage::ToolPiece(id, piece) => {
                let awaited = self.pending.piece(&id, piece);
                self.note(awaited);
            }
            ClientMessage::Heartbeat => {}
            ClientMessage::CancelFrame(id) => self.cancel(id),
            ClientMessage::Ack(number) => self.answers.confirm(number),
        }
    }

    fn say(&mut self, message: ServerMessage) {
        if let Some(line) = &mut self.line {
            line.outbox.push(message);
        }
    }

    fn accept(&mut self, mut frame: Frame) {
        self.totals.frames += 1;
        frame.utc_offset = self.utc_offset;
        self.adopt(frame.context.take());
        if self.frames.contains(&frame.id) {
            // The answer under way serves both.
            self.totals.duplicates += 1;
            self.lobby.tools().metrics.duplicate_frame();
            return;
        }
        if let Some(line) = &mut self.line {
            line.timers.begun();
        }
        if frame.named
            && let Some(answer) = self.answers.again(&frame.id)
        {
            self.lobby.tools().metrics.duplicate_frame();
            return self.say(ServerMessage::Answer(answer));
        }
        let id = frame.id.clone();
        if self.is_leaving() {
            return self.answer(id, Err(going_away()));
        }
        let Some(background) = self.background.clone() else {
            let message = "No task context has come yet: send a session_context with the hello or \
                           with the frame.";
            let fault = FrameFault::new(FrameFaultCode::NoContext, message, true);
            return self.answer(id, Err(fault));
        };
        let Some(line) = &self.line else { return };
        let held = match line.seat.account().admit(&frame) {
            Ok(held) => held,
            Err(fault) => return self.answer(id, Err(fault)),
        };
        if let Some(older) = self.frames.admit(frame, background, held) {
            let message = "A newer frame took this one's place in the queue.";
            let fault = FrameFault::new(FrameFaultCode::Superseded, message, true);
            self.answer(older, Err(fault));
        }
    }

    /// Replaces the context by one of another version.
    fn adopt(&mut self, brought: Option<Box<Context>>) {
        let known = self.background.as_ref().map(|known| &known.version);
        if let Some(context) = brought.filter(|new| known != Some(&new.version)) {
            self.background = Some(Arc::new(Background::new(*context)));
        }
    }

    /// The one place where a frame gets its terminal event. Whoever calls it
    /// has taken the frame out of `frames`, or never put it in.
    fn answer(&mut self, id: FrameId, result: Result<Outcome, FrameFault>) {
        self.lobby
            .tools()
            .metrics
            .frame_ended(self.totals.ended(&result));
        let answer = self.answers.add(id, self.version, result);
        self.say(ServerMessage::Answer(answer));
    }

    /// The session ends first: told if the server is the cause, counted if
    /// nobody is left to tell.
    fn leave_unanswered(&mut self, id: FrameId, end: SessionEnd) {
        match end {
            SessionEnd::Drained | SessionEnd::Expired if self.line.is_some() => {
                self.answer(id, Err(going_away()));
            }
            _ => {
                self.totals.abandoned += 1;
                self.lobby
                    .tools()
                    .metrics
                    .frame_ended(FrameResult::Abandoned);
            }
        }
    }

    fn cancel(&mut self, id: FrameId) {
        if !self.frames.cancel(&id) {
            return;
        }
        self.pending.give_up(&id, "the frame was cancelled");
        self.tell_called_off();
        let message = "The client gave this frame up.";
        self.answer(
            id,
            Err(FrameFault::new(FrameFaultCode::Cancelled, message, true)),
        );
    }

    fn refuse(&mut self, mut refusal: Refusal) {
        self.totals.refused_events += 1;
        self.lobby.tools().metrics.event_refused();
        self.adopt(refusal.context.take());
        if let Some(id) = &refusal.frame {
            if self.frames.contains(id) {
                // Telling it would be a second answer to the frame in flight.
                tracing::debug!("an unusable frame has the id of one in flight; it is ignored");
                return;
            }
            if let RefusalCode::Overloaded(full) = refusal.code
                && let Some(line) = &self.line
            {
                let fault = line.seat.account().overloaded(full);
                return match self.answers.again(id) {
                    Some(answer) => self.say(ServerMessage::Answer(answer)),
                    None => self.answer(id.clone(), Err(fault)),
                };
            }
            if refusal.code == RefusalCode::InvalidFrame {
                self.lobby.tools().metrics.frame_ended(FrameResult::Invalid);
            }
        }
        self.say(ServerMessage::Refused(Box::new(refusal)));
    }
}

fn going_away() -> FrameFault {
    let message = "The stream ends; send the frame again on a new one.";
    FrameFault::new(FrameFaultCode::GoingAway, message, true)
}

/// Counts a session for as long as it lives, also if it crashes.
struct Open {
    metrics: Metrics,
    end: SessionEnd,
}

impl Open {
    fn new(metrics: Metrics) -> Self {
        metrics.session_opened();
        Self {
            metrics,
            end: SessionEnd::Crashed,
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.metrics.session_ended(self.end);
    }
}
