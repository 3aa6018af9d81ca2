//! A desktop that stays: it says hello, keeps its promise of heartbeats, answers
//! searches, confirms answers, obeys GoAways, and comes back by the rules of
//! docs/clients.md, with the reference desktop's backoff. That desktop itself keeps
//! its tasks in SQLite and is too much to be had ten thousand times; this one keeps
//! the one frame that it has under way, until it is answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Bytes;
use proactive::auth::local::LocalIssuer;
use proactive::desk::backoff;
use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::proactive_ai_client::ProactiveAiClient;
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{
    Ack, ClientEvent, ClientHello, FrameEvent, GoAway, Heartbeat, Resume, SearchResults,
    ServerError, ServerEvent, SessionContext, SessionReady, ToolResult,
};
use proactive::world::{Backoff, World};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Request, Streaming};

use super::Result;
use super::tally::Tally;

/// For the answer to a hello.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// For a frame's answer.
const LONGEST: Duration = Duration::from_secs(90);
const HEARTBEAT: Duration = Duration::from_secs(20);
/// A session that has stood so long is no failure.
const STANDS: Duration = backoff::MOST;
const FIRST_RETRY: Duration = Duration::from_secs(2);
const TOKEN_LIFE: Duration = Duration::from_secs(3600);
/// Whether there may be frames again is looked at so often.
const PAUSE: Duration = Duration::from_millis(500);

/// What all desktops share.
pub(crate) struct Common {
    pub(crate) world: World,
    pub(crate) issuer: Arc<LocalIssuer>,
    pub(crate) tally: Tally,
    /// The connections that streams are opened on, each desktop by its number.
    pub(crate) routes: watch::Receiver<Vec<Channel>>,
    /// No frame is begun meanwhile.
    pub(crate) paused: AtomicBool,
    pub(crate) stop: CancellationToken,
    pub(crate) context: SessionContext,
    pub(crate) found: SearchResults,
    pub(crate) jpeg: Bytes,
    pub(crate) text: String,
}

pub(crate) struct Desk {
    common: Arc<Common>,
    number: usize,
    user: String,
    /// Between two frames, on average; `None`: it has none.
    pace: Option<Duration>,
    token: Option<(String, Instant)>,
    session: Option<Known>,
    frame: Option<Frame>,
    next_frame: Instant,
    backoff: Backoff,
}

/// A session that can be resumed.
struct Known {
    id: String,
    secret: String,
    received: i64,
}

/// What is on the screen, until it is answered.
struct Frame {
    id: String,
    began: Option<Instant>,
    /// Whether the server has it, as far as is known.
    sent: bool,
    /// If it has to be sent again, not before that.
    not_before: Instant,
    tries: u32,
}

/// Both sides of a stream.
pub(crate) struct Line {
    pub(crate) to_server: mpsc::Sender<ClientEvent>,
    pub(crate) from_server: Streaming<ServerEvent>,
    silence: Duration,
}

/// Why a stream is no more.
enum Left {
    /// The server asked for it, and to be left alone until then.
    Asked(Instant),
    Broken(String),
}

/// What the server's GoAway says.
struct Leave {
    open_next: Instant,
    ended_by: Instant,
}

impl Common {
    /// A frame, apart from its id.
    pub(crate) fn screen(&self) -> FrameEvent {
        FrameEvent {
            jpeg_bytes: self.jpeg.clone(),
            app_name: "Mail".to_owned(),
            window_title: "Inbox - Maria Keller - The Berlin office".to_owned(),
            ocr_text: self.text.clone(),
            context_version: "v1".to_owned(),
            ..FrameEvent::default()
        }
    }
}

impl Desk {
    pub(crate) fn new(
        common: Arc<Common>,
        number: usize,
        user: String,
        pace: Option<Duration>,
    ) -> Self {
        Self {
            common,
            number,
            user,
            pace,
            token: None,
            session: None,
            frame: None,
            next_frame: Instant::now(),
            backoff: backoff::usual(),
        }
    }

    /// Until all are to stop.
    pub(crate) async fn run(mut self, begin: Duration) {
        let stop = self.common.stop.clone();
        if stop.run_until_cancelled(sleep(begin)).await.is_none() {
            return;
        }
        self.plan();
        loop {
            let left = stop.run_until_cancelled(self.session()).await;
            if let Some(frame) = &mut self.frame {
                frame.sent = false;
            }
            let wait = match left {
                None => return,
                Some(Left::Asked(then)) => {
                    let asked = then.saturating_duration_since(Instant::now());
                    asked.max(self.backoff.after_failure(&self.common.world))
                }
                Some(Left::Broken(why)) => {
                    self.common.tally.note(|seen| seen.trouble(why));
                    self.backoff.after_failure(&self.common.world)
                }
            };
            if stop.run_until_cancelled(sleep(wait)).await.is_none() {
                return;
            }
        }
    }

    /// One stream, from its opening to its end.
    async fn session(&mut self) -> Left {
        let (mut line, ready) = match timeout(HANDSHAKE, self.open()).await {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return Left::Broken(error.to_string()),
            Err(_) => return Left::Broken("streams were not answered".to_owned()),
        };
        self.arrive(ready);
        let opened = Instant::now();
        let (mut heard, mut beat) = (opened, opened + HEARTBEAT);
        let mut leave: Option<Leave> = None;
        loop {
            let now = Instant::now();
            if now - opened >= STANDS {
                self.backoff.reset();
            }
            if beat <= now {
                beat += HEARTBEAT;
                line.say(Said::Heartbeat(Heartbeat::default())).await;
            }
            if heard + line.silence <= now {
                return Left::Broken("servers were silent".to_owned());
            }
            let awaited = self.frame.as_ref().filter(|frame| frame.sent);
            let overdue = awaited.and_then(|frame| Some(frame.began? + LONGEST));
            if overdue.is_some_and(|overdue| overdue <= now) {
                self.session = None;
                return Left::Broken("frames were not answered in time".to_owned());
            }
            let send = match &leave {
                Some(leave) if awaited.is_none() || leave.ended_by <= now => {
                    return Left::Asked(leave.open_next);
                }
                Some(_) => None,
                None => self.send(&line).await,
            };
            let due = [send, overdue, leave.as_ref().map(|leave| leave.ended_by)];
            let due = due.into_iter().flatten();
            let due = due.fold(beat.min(heard + line.silence), Instant::min);
            let event = tokio::select! {
                event = line.from_server.message() => event,
                () = sleep_until(due) => continue,
            };
            heard = Instant::now();
            match event.map(|event| event.and_then(|event| event.event)) {
                Ok(Some(Event::GoAway(said))) => {
                    let mut going = Leave::of(&said);
                    if heard - opened < STANDS {
                        let pause = self.backoff.after_failure(&self.common.world);
                        going.open_next = going.open_next.max(heard + pause);
                    }
                    leave = Some(going);
                }
                Ok(Some(event)) => self.act(event, &line).await,
                Ok(None) | Err(_) if leave.is_some() => {
                    return Left::Asked(leave.map_or(heard, |leave| leave.open_next));
                }
                Ok(None) => return Left::Broken("streams ended".to_owned()),
                Err(status) => return Left::Broken(format!("streams ended: {:?}", status.code())),
            }
        }
    }

    /// Opens a stream and says hello.
    pub(crate) async fn open(&mut self) -> Result<(Line, SessionReady)> {
        let (to_server, said) = mpsc::channel(4);
        let resume = match &self.session {
            Some(known) => Resume {
                session_id: known.id.clone(),
                secret: known.secret.clone(),
                answers_received: known.received,
            },
            None => Resume::default(),
        };
        let hello = ClientHello {
            protocol_version: "1.1".to_owned(),
            context_version: "v1".to_owned(),
            session_context: Some(self.common.context.clone()),
            resume: Some(resume),
            heartbeat_interval_ms: HEARTBEAT.as_millis() as i64,
            ..ClientHello::default()
        };
        let mut request = Request::new(ReceiverStream::new(said));
        let bearer = MetadataValue::try_from(format!("Bearer {}", self.token()))?;
        request.metadata_mut().insert("authorization", bearer);
        let event = Some(Said::ClientHello(hello));
        to_server.send(ClientEvent { event }).await?;
        let channel = {
            let routes = self.common.routes.borrow();
            routes[self.number % routes.len()].clone()
        };
        let refused = |status: tonic::Status| format!("streams refused: {:?}", status.code());
        let opened = ProactiveAiClient::new(channel).session(request).await;
        let mut from_server = opened.map_err(refused)?.into_inner();
        loop {
            let event = from_server.message().await.map_err(refused)?;
            let event = event.ok_or("streams closed before they were ready")?;
            let Some(Event::SessionReady(ready)) = event.event else {
                continue;
            };
            let every = Duration::from_millis(u64::try_from(ready.heartbeat_interval_ms)?);
            let line = Line {
                to_server,
                from_server,
                silence: 3 * every,
            };
            return Ok((line, ready));
        }
    }

    /// As the SDK does it: the same for a while, then a fresh one.
    fn token(&mut self) -> &str {
        let now = Instant::now();
        self.token.take_if(|(_, until)| *until <= now);
        let mint = || {
            let token = self.common.issuer.mint(&self.user, TOKEN_LIFE, None);
            (token, now + TOKEN_LIFE / 2)
        };
        &self.token.get_or_insert_with(mint).0
    }

    /// Takes note of what the server knows.
    fn arrive(&mut self, ready: SessionReady) {
        let resumed = ready.resumed.is_some();
        if let Some(resumed) = ready.resumed {
            if let Some(frame) = &mut self.frame {
                // One that was answered with an error and sent again may stand there for that.
                let is_answered = frame.tries == 0 && resumed.frames_answered.contains(&frame.id);
                frame.sent = is_answered || resumed.frames_in_flight.contains(&frame.id);
            }
        } else {
            self.session = None;
        }
        let received = self.session.as_ref().map_or(0, |known| known.received);
        self.session = Some(Known {
            id: ready.session_id,
            secret: ready.resume_secret,
            received,
        });
        let now = Instant::now();
        self.common.tally.note(|seen| {
            seen.arrivals.entry(self.number).or_insert((now, resumed));
        });
    }

    /// Decides when there will be something new on the screen.
    fn plan(&mut self) {
        if let Some(pace) = self.pace {
            self.next_frame = Instant::now() + self.common.world.up_to(2 * pace);
        }
    }

    /// Sends the frame, if there is one to be sent by now. Until when there is none.
    async fn send(&mut self, line: &Line) -> Option<Instant> {
        self.pace?;
        let now = Instant::now();
        if self.frame.is_none() {
            if self.next_frame > now {
                return Some(self.next_frame);
            }
            if self.common.paused.load(Ordering::Relaxed) {
                return Some(now + PAUSE);
            }
            self.common.tally.frame_begins();
        }
        let frame = self.frame.get_or_insert_with(|| Frame {
            id: self.common.world.uuid(),
            began: None,
            sent: false,
            not_before: now,
            tries: 0,
        });
        if frame.sent {
            return None;
        }
        if frame.not_before > now {
            return Some(frame.not_before);
        }
        let event = FrameEvent {
            screenshot_id: frame.id.clone(),
            ..self.common.screen()
        };
        frame.sent = true;
        let again = frame.began.is_some();
        frame.began.get_or_insert(now);
        self.common.tally.note(|seen| match again {
            true => seen.sent_again += 1,
            false => seen.sent += 1,
        });
        line.say(Said::FrameEvent(event)).await;
        None
    }

    async fn act(&mut self, event: Event, line: &Line) {
        match event {
            Event::ServerHeartbeat(_) => self.common.tally.note(|seen| seen.heartbeats += 1),
            Event::ToolCallRequest(call) => {
                let result = ToolResult {
                    request_id: call.request_id,
                    result: Some(self.common.found.clone()),
                    frame_id: call.frame_id,
                    ..ToolResult::default()
                };
                line.say(Said::ToolResult(result)).await;
            }
            Event::AnalysisOutcome(outcome) => {
                let frame_id = &outcome.frame_id;
                self.ends(outcome.answer_number, frame_id, None, line).await;
            }
            Event::ServerError(error) => {
                let frame_id = &error.frame_id;
                self.ends(error.answer_number, frame_id, Some(&error), line)
                    .await;
            }
            _ => {}
        }
    }

    /// Whether an answer comes for the first time. It is confirmed.
    async fn is_new(&mut self, number: i64, line: &Line) -> bool {
        let Some(known) = self.session.as_mut().filter(|_| number > 0) else {
            return true;
        };
        let is_new = number > known.received;
        known.received = known.received.max(number);
        let answer_number = known.received;
        line.say(Said::Ack(Ack { answer_number })).await;
        if !is_new {
            self.common.tally.note(|seen| seen.repeated += 1);
        }
        is_new
    }

    async fn ends(
        &mut self,
        number: i64,
        frame_id: &str,
        error: Option<&ServerError>,
        line: &Line,
    ) {
        if !self.is_new(number, line).await {
            return;
        }
        let tally = &self.common.tally;
        if let Some(error) = error {
            tally.note(|seen| seen.trouble(format!("frames: {}", error.code)));
        }
        let Some(frame) = self.frame.as_mut().filter(|frame| frame.id == frame_id) else {
            return tally.note(|seen| seen.answered_twice += 1);
        };
        if let Some(error) = error.filter(|error| error.retryable) {
            let asked = Duration::from_millis(u64::try_from(error.retry_after_ms).unwrap_or(0));
            let usual = FIRST_RETRY * (1 << frame.tries.min(4));
            let wait = if asked.is_zero() { usual } else { asked };
            frame.not_before = Instant::now() + wait;
            frame.tries += 1;
            // GOING_AWAY waits for the next stream, which its GoAway announced.
            frame.sent = false;
            return;
        }
        let waited = frame.began.map(|began| began.elapsed());
        tally.note(|seen| {
            match error {
                None => seen.answered += 1,
                Some(_) => seen.failed += 1,
            }
            seen.waits.extend(waited);
        });
        tally.frame_ends();
        self.frame = None;
        self.backoff.reset();
        self.plan();
    }
}

impl Line {
    pub(crate) async fn say(&self, event: Said) {
        // If nobody takes it, the other side tells why.
        let _ = self
            .to_server
            .send(ClientEvent { event: Some(event) })
            .await;
    }
}

impl Leave {
    fn of(said: &GoAway) -> Self {
        let millis = |millis| Duration::from_millis(u64::try_from(millis).unwrap_or_default());
        let now = Instant::now();
        Self {
            open_next: now + millis(said.reconnect_delay_ms),
            ended_by: now + millis(said.time_left_ms),
        }
    }
}
