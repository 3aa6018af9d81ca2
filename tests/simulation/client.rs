//! A desktop that obeys the contract, on a network that breaks.

mod opening;

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::OptionFuture;
use proactive::domain::{Frame, FrameId, Hit, MatchType, ScreenText, TaskStatus};
use proactive::session::{ClientMessage, Input, Refusal, RefusalCode, ServerMessage, Version};
use proactive::tools::ToolRequest;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep_until, timeout};

use super::ledger::{Book, Ledger};
use super::link::{Link, say};
use super::network::Heard;
use super::server::Token;
use super::stage::{Stage, never};

/// How often a client promises to be heard.
const BEAT: Duration = Duration::from_secs(5);
/// The server's heartbeats come every 20 s.
const PATIENCE: Duration = Duration::from_secs(60);
/// A stream that was closed, and on which nothing is owed, has ended by then.
const CLOSING: Duration = Duration::from_secs(2);

/// What a client is.
#[derive(Clone, Debug)]
pub(crate) struct Habits {
    pub(crate) name: String,
    pub(crate) uid: String,
    /// It may come back to its session, and confirms answers.
    pub(crate) resumes: bool,
    pub(crate) version: Version,
    pub(crate) frames: usize,
    /// It sends them all at once.
    pub(crate) floods: bool,
    pub(crate) acks: Acks,
    /// Now and then it closes its side with frames under way.
    pub(crate) closes: bool,
}

/// When answers are confirmed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Acks {
    AtOnce,
    /// With the next heartbeat.
    Late,
    Never,
}

pub(crate) struct Client {
    habits: Habits,
    dice: SmallRng,
    ledger: Ledger,
    token: Option<Token>,
    /// The stream that frames are sent on.
    link: Option<Link>,
    /// The one before it, which still brings answers.
    old: Option<Link>,
    /// The session whose stream broke.
    broken: Option<Book>,
    sessions: u64,
    /// Results that are not ready yet, and the streams they are for.
    results: BTreeMap<Instant, Vec<(u64, ClientMessage)>>,
    beat: Instant,
    next_frame: Instant,
    /// When the next stream is to be opened.
    moves: Option<Instant>,
}

impl Client {
    pub(crate) fn new(habits: Habits, seed: u64) -> Self {
        Self {
            ledger: Ledger::new(habits.name.clone(), habits.frames, habits.floods),
            habits,
            dice: SmallRng::seed_from_u64(seed),
            token: None,
            link: None,
            old: None,
            broken: None,
            sessions: 0,
            results: BTreeMap::new(),
            beat: Instant::now() + BEAT,
            next_frame: Instant::now(),
            moves: None,
        }
    }

    /// Lives until every frame is over.
    pub(crate) async fn live(mut self, stage: &Stage) {
        while !self.ledger.is_finished() {
            if self.link.is_none() {
                let pause = match self.dice.random_bool(0.9) {
                    true => self.millis(4_000),
                    // Now and then longer than a session waits.
                    false => self.millis(45_000),
                };
                self.pause(Instant::now() + pause, stage).await;
                self.open(stage).await;
            } else {
                self.step(stage).await;
            }
        }
        self.leave(stage);
        // What is still said is for nobody.
        let ended_by = Instant::now() + CLOSING;
        while let Some(link) = &mut self.link {
            link.cable.to_server = None;
            match timeout(PATIENCE, link.cable.from_server.recv()).await {
                Ok(heard) => {
                    if let Some(Heard::Said(said, _)) = &heard
                        && *said > ended_by
                        && !self.habits.floods
                        && !link.book.has_extras()
                    {
                        stage.blame("a stream goes on that its client has closed");
                    }
                    self.hear(heard, false, stage).await;
                }
                Err(_) => break,
            }
        }
        let books = self.link.iter().map(|link| &link.book);
        for book in books.chain(&self.broken) {
            self.ledger.audit(book, stage);
        }
    }

    /// Waits without a stream; the old one, if there is one, goes on.
    async fn pause(&mut self, until: Instant, stage: &Stage) {
        while Instant::now() < until {
            let old = self.old.as_mut().map(|old| old.cable.from_server.recv());
            tokio::select! {
                biased;
                Some(heard) = OptionFuture::from(old) => self.hear(heard, true, stage).await,
                () = sleep_until(until.min(self.beat)) => {}
            }
            self.beat_old(stage).await;
        }
    }

    /// A heartbeat on the old stream, if it is time for one.
    async fn beat_old(&mut self, stage: &Stage) {
        if self.beat <= Instant::now() {
            self.beat = Instant::now() + BEAT;
            if let Some(old) = &self.old
                && (old.heard.elapsed() > PATIENCE || !old.say(ClientMessage::Heartbeat).await)
            {
                self.leave(stage);
            }
        }
    }

    /// Nothing more is expected of the old stream.
    fn leave(&mut self, stage: &Stage) {
        if let Some(old) = self.old.take() {
            self.ledger.gives_up(&old.book, stage);
        }
    }

    /// The present stream is over; its session, if it may be, is not.
    fn lose(&mut self, stage: &Stage) {
        stage.note(&self.habits.name, || "has no stream".to_owned());
        self.moves = None;
        if let Some(link) = self.link.take() {
            self.broken = Some(link.book);
        }
    }

    /// Does what is due, or hears what comes first.
    async fn step(&mut self, stage: &Stage) {
        if !self.send_due(stage).await {
            return self.lose(stage);
        }
        let due = [
            Some(self.beat),
            Some(self.next_frame),
            self.moves,
            self.ledger.next_due(),
            self.results.keys().next().copied(),
        ];
        // What a leaving stream does not take waits for the next one.
        let due = due
            .into_iter()
            .flatten()
            .filter(|due| *due > Instant::now());
        let due = due.min().unwrap_or_else(never);
        let Some(link) = &mut self.link else { return };
        let old = self.old.as_mut().map(|old| old.cable.from_server.recv());
        tokio::select! {
            biased;
            Some(heard) = OptionFuture::from(old) => self.hear(heard, true, stage).await,
            heard = link.cable.from_server.recv() => self.hear(heard, false, stage).await,
            () = sleep_until(due) => {}
        }
        if self
            .link
            .as_ref()
            .is_some_and(|link| link.heard.elapsed() > PATIENCE)
        {
            self.lose(stage);
        }
        if self.moves.is_some_and(|at| at <= Instant::now()) {
            self.open(stage).await;
        }
    }

    async fn send_due(&mut self, stage: &Stage) -> bool {
        let now = Instant::now();
        if self.beat <= now {
            self.beat_old(stage).await;
            let Some(link) = &mut self.link else {
                return false;
            };
            if !link.say(ClientMessage::Heartbeat).await {
                return false;
            }
            if matches!(self.habits.acks, Acks::Late) {
                let ack = ClientMessage::Ack(link.book.confirms().received);
                if !link.say(ack).await {
                    return false;
                }
            }
        }
        while let Some(entry) = self.results.first_entry().filter(|it| *it.key() <= now) {
            for (session, result) in entry.remove() {
                let links = [&self.link, &self.old].into_iter().flatten();
                let mut links = links.filter(|link| link.book.number == session);
                if let Some(link) = links.next()
                    && !link.say(result).await
                    && self
                        .link
                        .as_ref()
                        .is_some_and(|it| it.book.number == session)
                {
                    return false;
                }
            }
        }
        if self.next_frame <= now {
            self.next_frame = now + self.millis(12_000) + Duration::from_millis(1);
            self.ledger.shows(1);
            if !self.have_a_whim(stage).await {
                return false;
            }
        }
        for id in self.ledger.due(now) {
            let Some(link) = self.link.as_mut().filter(|link| !link.leaving) else {
                break;
            };
            let copy = self.ledger.sends(&id, &link.book);
            stage.note(&self.habits.name, || format!("sends {id}, copy {copy}"));
            let mut sent = link.say(frame(&id, copy, &link.book)).await;
            if self.dice.random_bool(0.05) && !self.habits.floods {
                let copy = self.ledger.sends_extra(&id, &mut link.book);
                stage.note(&self.habits.name, || {
                    format!("sends {id} twice, copy {copy}")
                });
                sent = sent && link.say(frame(&id, copy, &link.book)).await;
            }
            if !sent {
                return false;
            }
        }
        true
    }

    /// Something that a client does now and then.
    async fn have_a_whim(&mut self, stage: &Stage) -> bool {
        let Some(link) = self.link.as_mut().filter(|link| !link.leaving) else {
            return true;
        };
        let name = &self.habits.name;
        match self.dice.random_range(0..100) {
            0..5 => {
                let Some((id, open)) = self.ledger.under_way(&link.book) else {
                    return true;
                };
                open.cancelled = true;
                stage.note(name, || format!("cancels {id}"));
                let id = id.clone();
                link.say(ClientMessage::CancelFrame(id)).await
            }
            // The store was locked, perhaps: what is decided is asked for again.
            5..20 => {
                let Some(id) = self.ledger.decided_by(&link.book) else {
                    return true;
                };
                let copy = self.ledger.sends_extra(&id, &mut link.book);
                stage.note(name, || {
                    format!("sends {id}, which is decided, copy {copy}")
                });
                link.say(frame(&id, copy, &link.book)).await
            }
            20..25 => {
                link.book.spoils();
                stage.note(name, || "says what cannot be used".to_owned());
                let input = match self.dice.random_bool(0.5) {
                    true => unusable(RefusalCode::InvalidEvent, None),
                    false => unusable(RefusalCode::InvalidFrame, Some(format!("{name}-spoilt"))),
                };
                say(&link.cable, input).await
            }
            25..45 if self.habits.closes => {
                stage.note(name, || "closes its side".to_owned());
                link.cable.to_server = None;
                link.leaving = true;
                true
            }
            _ => true,
        }
    }

    /// Takes in what the present stream brings, or the old one.
    async fn hear(&mut self, heard: Option<Heard>, old: bool, stage: &Stage) {
        let link = if old { &mut self.old } else { &mut self.link };
        let Some(mut link) = link.take() else { return };
        let whole = match heard {
            Some(Heard::Said(said, message)) => {
                match self.listen(&mut link, said, *message, old, stage) {
                    Some(reply) => link.say(reply).await,
                    None => true,
                }
            }
            Some(Heard::Ended(end)) => {
                stage.note(&self.habits.name, || format!("hears the end: {end:?}"));
                match end {
                    Some(end) => {
                        let (version, floods) = (self.habits.version, self.habits.floods);
                        if let Some(wrong) = link.wrong_end(end, version, floods) {
                            stage.blame(&format!("{}'s stream was {wrong}", self.habits.name));
                        }
                        if !link.cable.stalls {
                            self.ledger.ended(&link.book, end, stage);
                        }
                    }
                    None => stage.blame("a session crashed"),
                }
                false
            }
            None => false,
        };
        match old {
            true => self.old = Some(link),
            false => self.link = Some(link),
        }
        match (whole, old) {
            (true, _) => {}
            (false, true) => self.leave(stage),
            (false, false) => self.lose(stage),
        }
    }

    /// Takes a message in; what it makes the client say at once.
    fn listen(
        &mut self,
        link: &mut Link,
        said: Instant,
        message: ServerMessage,
        old: bool,
        stage: &Stage,
    ) -> Option<ClientMessage> {
        if !link.cable.stalls && !self.habits.floods {
            self.ledger.waits(link.heard, said, &link.book, stage);
        }
        link.heard = said;
        match message {
            ServerMessage::Answer(answer) => {
                let told = answer.result.as_ref().map(|_| "decided");
                let told = told.map_err(|fault| fault.code);
                let (id, number) = (&answer.frame, answer.number);
                stage.note(&self.habits.name, || {
                    format!("hears {id}: {told:?}, number {number}")
                });
                let soon = self.millis(6_000);
                self.ledger.answered(&mut link.book, &answer, soon, stage);
                if number > 0 && matches!(self.habits.acks, Acks::AtOnce) {
                    return Some(ClientMessage::Ack(link.book.confirms().received));
                }
            }
            ServerMessage::ToolCall(request) => {
                self.ledger.asked(&mut link.book, &request, stage);
                self.search(&request, link.book.number);
            }
            ServerMessage::CancelToolCall { request, frame, .. } => {
                let search = (&request, &frame);
                self.ledger.called_off(&link.book, search, said, stage);
            }
            ServerMessage::Refused(refusal) => self.ledger.refused(&mut link.book, &refusal, stage),
            ServerMessage::Ready(_) => stage.blame("ready, twice"),
            ServerMessage::Heartbeat(_) => {}
            ServerMessage::Log(_) => stage.blame("news of a log that nobody asked for"),
            ServerMessage::GoAway(go_away) => {
                stage.note(&self.habits.name, || format!("hears {go_away:?}"));
                link.go_away = true;
                link.leaving |= !go_away.resumable;
                if !old {
                    self.moves = Some(Instant::now() + go_away.reconnect_delay);
                }
            }
        }
        None
    }

    fn search(&mut self, request: &ToolRequest, session: u64) {
        let hit = Hit {
            task_id: 1,
            description: format!("for {}", marked(&request.frame)),
            status: Some(TaskStatus::Active),
            similarity: 0.5,
            match_type: Some(MatchType::Both),
            score: Some(1),
        };
        let result = || ClientMessage::ToolResult(request.id.clone(), Ok(vec![hit.clone()].into()));
        let delay = match self.dice.random_range(0..10) {
            // Never.
            0 => return,
            1..4 => 11_000,
            _ => 2_000,
        };
        let ready = Instant::now() + self.millis(delay);
        let copies = match self.dice.random_bool(0.05) {
            true => vec![(session, result()), (session, result())],
            false => vec![(session, result())],
        };
        self.results.entry(ready).or_default().extend(copies);
    }

    fn speaks_1_1(&self) -> bool {
        self.habits.version >= Version::V1_1
    }

    fn millis(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.dice.random_range(0..most))
    }
}

/// A frame's name, as nothing else is written.
fn marked(id: &FrameId) -> String {
    format!("<frame {id}>")
}

fn frame(id: &FrameId, copy: u64, book: &Book) -> ClientMessage {
    ClientMessage::Frame(Box::new(Frame {
        id: id.clone(),
        named: true,
        image: None,
        app: "Mail".to_owned(),
        window: format!("<session {}> {copy}", book.number),
        ocr: ScreenText(marked(id)),
        captured_at: None,
        utc_offset: None,
        device: None,
        context: None,
    }))
}

/// As the transport tells of what it cannot use.
fn unusable(code: RefusalCode, frame: Option<String>) -> Input {
    Input::Refused(Refusal {
        code,
        message: "It cannot be used.".to_owned(),
        frame: frame.map(FrameId::new),
        context: None,
    })
}
