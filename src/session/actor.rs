//! The session's one task. Its inputs, in order of precedence:
//!
//! 1. the order to stop, at once or after the accepted frames;
//! 2. room for what is unsaid, or the news that the client is gone;
//! 3. errands of the frames: searches to ask for, or to call off;
//! 4. frames whose analysis is over;
//! 5. the heartbeat's tick;
//! 6. what the client says: not while too much is unsaid.
//!
//! Output comes before input, and nothing here waits for a frame or a client,
//! so a heartbeat or a search result never stands behind a frame.

use std::future;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use jiff::tz::Offset;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tracing::Instrument;

use super::frames::Frames;
use super::outbox::{Flush, Outbox};
use super::totals::Totals;
use super::{
    Caller, ClientMessage, GoAway, Hello, Input, Options, Ready, Refusal, RefusalCode,
    ServerMessage, Stop, Tools, Version,
};
use crate::analysis::Background;
use crate::domain::{
    Context, Frame, FrameFault, FrameFaultCode, FrameId, Outcome, RequestId, SearchKind, SessionId,
};
use crate::telemetry::{FrameResult, Metrics, SessionEnd, session_span};
use crate::tools::{Answer, Errand, Pending};

/// Errands that wait for the session; it takes them before anything a client
/// says, so a short queue is enough.
const ERRANDS: usize = 4;

/// One desktop's session.
pub struct Session {
    id: SessionId,
    caller: Caller,
    options: Options,
    tools: Tools,
    stop: Stop,
    version: Version,
    background: Option<Arc<Background>>,
    frames: Frames,
    pending: Pending,
    errands: mpsc::Receiver<Box<Errand>>,
    outbox: Outbox,
    heartbeat: Option<Interval>,
    /// The client has closed its side.
    input_closed: bool,
    /// When a drain that has begun is over: no more frames are taken.
    drain_ends: Option<Instant>,
    /// The client's clock, if it said how far that is from UTC.
    utc_offset: Option<Offset>,
    totals: Totals,
}

/// Why the session's task woke up.
enum Wake {
    Halt,
    Drain,
    Flush(Flush),
    Errand(Box<Errand>),
    Finished(FrameId, Result<Outcome, FrameFault>),
    Beat,
    Input(Option<Input>),
}

impl Session {
    /// A session that tells its client through `to_client`.
    pub fn new(
        caller: Caller,
        options: Options,
        tools: Tools,
        stop: Stop,
        to_client: mpsc::Sender<Box<ServerMessage>>,
    ) -> Self {
        let pending = Pending::default();
        let (errand, errands) = mpsc::channel(ERRANDS);
        Self {
            id: SessionId::new(tools.world.uuid()),
            caller,
            options,
            version: Version::default(),
            background: None,
            frames: Frames::new(
                options.frames_at_once,
                tools.clone(),
                pending.clone(),
                errand,
            ),
            tools,
            stop,
            pending,
            errands,
            outbox: Outbox::new(to_client, options.slow_client_limit),
            heartbeat: None,
            input_closed: false,
            drain_ends: None,
            utc_offset: None,
            totals: Totals::new(),
        }
    }

    /// The table of unanswered searches, to watch it from outside.
    pub fn pending(&self) -> Pending {
        self.pending.clone()
    }

    /// Runs until the client has gone or the server stops it. When this
    /// returns, nothing of the session is left.
    ///
    /// (Not an `async fn`: those keep their arguments twice, and this future is
    /// most of what an idle session costs.)
    pub fn run(
        mut self,
        mut inputs: impl Stream<Item = Input> + Unpin,
    ) -> impl Future<Output = SessionEnd> {
        let trace = self.caller.trace.take();
        let span = session_span(
            &self.id,
            &self.caller.principal.uid,
            &self.caller.device,
            trace.as_deref(),
        );
        async move {
            let mut open = Open::new(self.tools.metrics.clone());
            let Caller {
                platform,
                app_version,
                ..
            } = &self.caller;
            tracing::info!(
                app.platform = platform,
                app.version = app_version,
                "session opened"
            );
            let end = self.serve(&mut inputs).await;
            self.pending.close();
            for id in self.frames.abandon().await {
                self.leave_unanswered(id, end);
            }
            self.outbox.say_what_fits();
            self.totals.log(end);
            open.end = end;
            end
        }
        .instrument(span)
    }

    async fn serve(&mut self, inputs: &mut (impl Stream<Item = Input> + Unpin)) -> SessionEnd {
        loop {
            match self.wake(inputs).await {
                Wake::Halt => return SessionEnd::Drained,
                Wake::Drain => self.drain(),
                Wake::Flush(Flush::Sent) => {}
                Wake::Flush(Flush::Lost) => return SessionEnd::Lost,
                Wake::Flush(Flush::Stuck) => return SessionEnd::SlowClient,
                Wake::Errand(errand) => self.run_errand(*errand),
                Wake::Finished(id, result) => {
                    // On another thread its last errand may have come after
                    // ours were read; it goes before the answer.
                    while let Ok(errand) = self.errands.try_recv() {
                        self.run_errand(*errand);
                    }
                    self.answer(id, result);
                }
                Wake::Beat => self
                    .outbox
                    .push(ServerMessage::Heartbeat(self.tools.world.now())),
                Wake::Input(Some(Input::Message(message))) => self.take(message),
                Wake::Input(Some(Input::Refused(refusal))) => self.refuse(refusal),
                Wake::Input(Some(Input::Lost)) => return SessionEnd::Lost,
                Wake::Input(None) => {
                    self.input_closed = true;
                    // Nobody can answer a search any more.
                    self.pending.close();
                }
            }
            if self.frames.is_empty() && self.outbox.is_empty() {
                if self.input_closed {
                    return SessionEnd::Closed;
                }
                if self.drain_ends.is_some() {
                    return SessionEnd::Drained;
                }
            }
        }
    }

    async fn wake(&mut self, inputs: &mut (impl Stream<Item = Input> + Unpin)) -> Wake {
        let listening = !self.input_closed && !self.outbox.is_full();
        tokio::select! {
            biased;
            () = self.stop.hard.cancelled() => Wake::Halt,
            () = self.stop.soft.cancelled(), if self.drain_ends.is_none() => Wake::Drain,
            flush = self.outbox.flush() => Wake::Flush(flush),
            Some(errand) = self.errands.recv() => Wake::Errand(errand),
            (id, result) = self.frames.finished() => Wake::Finished(id, result),
            () = beat(&mut self.heartbeat) => Wake::Beat,
            input = inputs.next(), if listening => Wake::Input(input),
        }
    }

    fn take(&mut self, message: ClientMessage) {
        match message {
            ClientMessage::Hello(hello) => self.greet(hello),
            ClientMessage::Frame(frame) => self.accept(*frame),
            ClientMessage::ToolResult(id, answer) => self.resolve(&id, answer),
            ClientMessage::Heartbeat => {}
            ClientMessage::CancelFrame(id) => self.cancel(id),
        }
    }

    fn greet(&mut self, hello: Hello) {
        self.version = hello.version;
        self.utc_offset = hello.utc_offset;
        self.heartbeat = (hello.version >= Version::V1_1).then(|| {
            let period = self.options.heartbeat_interval;
            let mut beat = interval_at(Instant::now() + period, period);
            beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
            beat
        });
        // A hello without tasks keeps those it names by their version.
        let known = self.background.take();
        self.background = match hello.context {
            Some(context) => Some(Arc::new(Background::new(*context))),
            None => known.filter(|known| known.version == hello.context_version),
        };
        self.outbox.push(ServerMessage::Ready(Box::new(Ready {
            session: self.id.clone(),
            version: hello.version,
            context_version: hello.context_version,
            max_iterations: self.tools.analyst.options().max_iterations,
            searches: SearchKind::ALL,
            heartbeat_interval: self.options.heartbeat_interval,
        })));
        if let Some(ends) = self.drain_ends {
            self.say_goodbye(ends);
        }
    }

    fn accept(&mut self, mut frame: Frame) {
        self.totals.frames += 1;
        frame.utc_offset = self.utc_offset;
        self.adopt(frame.context.take());
        if self.frames.contains(&frame.id) {
            // The answer under way serves both.
            self.totals.duplicates += 1;
            self.tools.metrics.duplicate_frame();
            return;
        }
        let id = frame.id.clone();
        if self.drain_ends.is_some() {
            return self.answer(id, Err(going_away()));
        }
        let Some(background) = self.background.clone() else {
            let message = "No task context has come yet: send a session_context with the hello or \
                           with the frame.";
            let fault = FrameFault::new(FrameFaultCode::NoContext, message, true);
            return self.answer(id, Err(fault));
        };
        let held = match self.caller.seat.admit(&frame) {
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
        self.tools.metrics.frame_ended(self.totals.ended(&result));
        self.outbox.push(match result {
            Ok(outcome) => ServerMessage::Outcome(id, self.version, Box::new(outcome)),
            Err(mut fault) => {
                if self.version < Version::V1_1 {
                    fault.retry_after = None;
                }
                ServerMessage::Fault(id, Box::new(fault))
            }
        });
    }

    /// The session ends first: told if the server is the cause, counted if
    /// nobody is left to tell.
    fn leave_unanswered(&mut self, id: FrameId, end: SessionEnd) {
        if end == SessionEnd::Drained {
            return self.answer(id, Err(going_away()));
        }
        self.totals.abandoned += 1;
        self.tools.metrics.frame_ended(FrameResult::Abandoned);
    }

    fn resolve(&mut self, id: &RequestId, answer: Answer) {
        if !self.pending.resolve(id, answer) {
            self.totals.discarded_results += 1;
            self.tools.metrics.tool_result_discarded();
            // Once: a client that floods its session must not flood the log.
            if self.totals.discarded_results == 1 {
                tracing::warn!("a tool result came that nobody waits for; it is discarded");
            }
        }
    }

    fn cancel(&mut self, id: FrameId) {
        if !self.frames.cancel(&id) {
            return;
        }
        for request in self.pending.give_up(&id) {
            let (frame, reason) = (id.clone(), "the frame was cancelled".into());
            self.outbox.push(ServerMessage::CancelSearch {
                request,
                frame,
                reason,
            });
        }
        let message = "The client gave this frame up.";
        self.answer(
            id,
            Err(FrameFault::new(FrameFaultCode::Cancelled, message, true)),
        );
    }

    fn refuse(&mut self, mut refusal: Refusal) {
        self.totals.refused_events += 1;
        self.tools.metrics.event_refused();
        self.adopt(refusal.context.take());
        if let Some(id) = &refusal.frame {
            if self.frames.contains(id) {
                // Telling it would be a second answer to the frame in flight.
                tracing::debug!("an unusable frame has the id of one in flight; it is ignored");
                return;
            }
            if let RefusalCode::Overloaded(full) = refusal.code {
                let fault = self.caller.seat.overloaded(full);
                return self.answer(id.clone(), Err(fault));
            }
            if refusal.code == RefusalCode::InvalidFrame {
                self.tools.metrics.frame_ended(FrameResult::Invalid);
            }
        }
        self.outbox.push(ServerMessage::Refused(Box::new(refusal)));
    }

    fn run_errand(&mut self, errand: Errand) {
        match errand {
            // The task of a frame just cancelled may still be running on
            // another thread.
            Errand::Search(request) if !self.frames.contains(&request.frame) => {}
            Errand::Search(mut request) if self.pending.ask(&request.id) => {
                self.totals.searches += 1;
                if self.version < Version::V1_1 {
                    request.trace = None;
                }
                self.outbox.push(ServerMessage::Search(Box::new(request)));
            }
            // Its frame ended before the desktop was asked.
            Errand::Search(_) => {}
            Errand::Cancel {
                request,
                frame,
                reason,
            } => {
                let reason = reason.into();
                self.outbox.push(ServerMessage::CancelSearch {
                    request,
                    frame,
                    reason,
                });
            }
        }
    }

    fn drain(&mut self) {
        let ends = Instant::now() + self.options.drain_grace;
        self.drain_ends = Some(ends);
        self.say_goodbye(ends);
    }

    fn say_goodbye(&mut self, ends: Instant) {
        if self.version >= Version::V1_1 {
            self.outbox.push(ServerMessage::GoAway(Box::new(GoAway {
                reason: "The server is shutting down.",
                time_left: ends.saturating_duration_since(Instant::now()),
                reconnect_delay: self.tools.world.up_to(self.options.reconnect_spread),
            })));
        }
    }
}

async fn beat(heartbeat: &mut Option<Interval>) {
    match heartbeat {
        Some(interval) => drop(interval.tick().await),
        None => future::pending().await,
    }
}

fn going_away() -> FrameFault {
    let message = "The server is shutting down; send the frame again on a new stream.";
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
