//! How a client comes to its next stream, and back to its session.

use std::time::Duration;

use proactive::session::{ClientMessage, Hello, Input, Ready, Resume, ServerMessage, StreamEnd};
use tokio::time::{Instant, timeout};

use super::{BEAT, Client};
use crate::ledger::Book;
use crate::link::{Link, say};
use crate::network::{Cable, Heard};
use crate::server::Closed;
use crate::stage::Stage;

/// How long a server may take to say that it is ready.
const READY: Duration = Duration::from_secs(5);

impl Client {
    /// Opens the next stream, and comes back to the session, if there is one.
    pub(super) async fn open(&mut self, stage: &Stage) {
        self.moves = None;
        let Some(mut cable) = self.knock(stage) else {
            return;
        };
        if let Some(link) = &mut self.link {
            link.moving = true;
        }
        let book = self.link.as_mut().map(|link| &mut link.book);
        let book = book.or(self.broken.as_mut());
        let book = book.filter(|book| book.can_be_resumed());
        let resume = book.map(|book| book.confirms().clone());
        let resume = resume.unwrap_or_default();
        let named = resume.session.clone();
        let Some((said, ready)) = self.greet(&mut cable, resume, stage).await else {
            return;
        };
        let resume = ready.resume.as_ref();
        let resumed = resume.and_then(|resume| resume.resumed.as_ref());
        stage.note(&self.habits.name, || match resumed {
            Some(resumed) => format!("is back: {resumed:?}"),
            None => format!("has session {}: {}", self.sessions + 1, ready.session),
        });
        if (named == ready.session) != resumed.is_some() {
            stage.blame("the session is the same if and only if it was resumed");
        }
        if let Some(resume) = resume {
            stage.knows(&self.habits.uid, &ready.session, &resume.secret);
        }
        let before = self.link.take();
        let book = match resumed {
            Some(resumed) => {
                let book = before.map(|link| link.book).or(self.broken.take());
                let book = book.expect("a session was named");
                self.ledger.resumes(&book, resumed, stage);
                // What was worked on is asked for again.
                self.results.clear();
                book
            }
            None => {
                if let Some(book) = self.broken.take() {
                    self.ledger.gives_up(&book, stage);
                }
                if let Some(before) = before {
                    self.leave(stage);
                    self.old = Some(before);
                }
                self.sessions += 1;
                Book::new(self.sessions, &ready)
            }
        };
        self.link = Some(Link::new(cable, book, said));
        if self.habits.floods {
            self.ledger.shows(self.habits.frames);
        }
    }

    /// Shows a token at the door.
    fn knock(&mut self, stage: &Stage) -> Option<Cable> {
        let kept = self.token.take();
        let fresh = kept.is_none();
        let token = kept.unwrap_or_else(|| stage.token(&self.habits.uid, &mut self.dice));
        let terms = (self.speaks_1_1(), self.habits.floods);
        match stage.connect(&token, terms, &mut self.dice) {
            Ok(cable) => {
                self.token = Some(token);
                Some(cable)
            }
            Err(closed) => {
                stage.note(&self.habits.name, || format!("is refused: {closed:?}"));
                match closed {
                    Closed::Expired if fresh => stage.blame("a fresh token is refused"),
                    Closed::Expired => {}
                    Closed::Full | Closed::Nobody => self.token = Some(token),
                }
                self.moves = self.link.as_ref().map(|_| Instant::now() + BEAT);
                None
            }
        }
    }

    async fn greet(
        &mut self,
        cable: &mut Cable,
        resume: Resume,
        stage: &Stage,
    ) -> Option<(Instant, Ready)> {
        let hello = Hello {
            version: self.habits.version,
            context_version: "v1".to_owned(),
            context: Some(Box::default()),
            resume: self.habits.resumes.then(|| Box::new(resume)),
            heartbeat_interval: self.speaks_1_1().then_some(BEAT),
            ..Hello::default()
        };
        let hello = Input::Message(ClientMessage::Hello(hello));
        if !say(cable, hello).await {
            return None;
        }
        match timeout(READY, cable.from_server.recv()).await {
            Ok(Some(Heard::Said(said, message))) => match *message {
                ServerMessage::Ready(ready) => return Some((said, *ready)),
                other => stage.blame(&format!("before ready: {other:?}")),
            },
            Ok(Some(Heard::Ended(Some(StreamEnd::Drained)))) | Ok(None) | Err(_) => {}
            Ok(Some(Heard::Ended(end))) => stage.blame(&format!("instead of ready: {end:?}")),
        }
        None
    }
}
