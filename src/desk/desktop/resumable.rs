//! A session that another stream can take up: its name and secret, and which of its
//! answers this desktop has.

use secrecy::{ExposeSecret, SecretString};

use crate::transport::proto::server_event::Event;
use crate::transport::proto::{AnalysisOutcome, Resume, ServerError, SessionReady};

/// In memory only: a desktop that starts anew begins a session of its own.
pub(in crate::desk) struct Resumable {
    id: String,
    secret: SecretString,
    /// The highest number of an answer that came.
    received: i64,
    /// Those of them that are yet to be kept, with their frames; lowest first.
    unkept: Vec<(i64, String)>,
    /// Up to this one the server was told, on this stream, that they are kept.
    confirmed: i64,
}

impl Resumable {
    /// The session of this answer to a hello, if it can be resumed. The secret is taken
    /// out, so that nobody else sees it.
    pub(super) fn of(ready: &mut SessionReady) -> Option<Self> {
        let secret = SecretString::from(std::mem::take(&mut ready.resume_secret));
        (!secret.expose_secret().is_empty()).then(|| Self {
            id: ready.session_id.clone(),
            secret,
            received: 0,
            unkept: Vec::new(),
            confirmed: 0,
        })
    }

    /// What a hello says to come back to it. All answers are kept but those to frames that
    /// wait for it.
    pub(in crate::desk) fn resume(&mut self, but: impl Fn(&str) -> bool) -> Resume {
        self.are_kept(but);
        Resume {
            session_id: self.id.clone(),
            secret: self.secret.expose_secret().to_owned(),
            answers_received: self.kept(),
        }
    }

    /// Whether this answer to a hello says that its stream has taken the session up.
    pub(super) fn is_taken_up(&self, ready: &SessionReady) -> bool {
        ready.resumed.is_some() && ready.session_id == self.id
    }

    /// Another stream has taken it up, and perhaps a new secret was given.
    pub(super) fn taken_up(&mut self, again: Option<Self>) {
        if let Some(again) = again {
            self.secret = again.secret;
        }
        // The last confirmation may have been lost with the stream before.
        self.confirmed = 0;
    }

    /// Takes note of an answer. Whether it comes for the first time.
    pub(super) fn is_new(&mut self, event: &Event) -> bool {
        let (number, frame_id) = match event {
            Event::AnalysisOutcome(AnalysisOutcome {
                answer_number,
                frame_id,
                ..
            })
            | Event::ServerError(ServerError {
                answer_number,
                frame_id,
                ..
            }) if *answer_number > 0 => (*answer_number, frame_id),
            _ => return true,
        };
        let is_new = number > self.received;
        if is_new {
            self.received = number;
            self.unkept.push((number, frame_id.clone()));
        } else {
            // The server has not heard that it is kept, or will hear when it is.
            self.confirmed = self.confirmed.min(number - 1);
        }
        is_new
    }

    /// Takes note of what was kept: the ends of all frames but those that wait for it.
    pub(super) fn are_kept(&mut self, but: impl Fn(&str) -> bool) {
        self.unkept.retain(|(_, frame_id)| but(frame_id));
    }

    /// The number up to which the server is yet to be told that all answers are kept.
    pub(super) fn next_to_confirm(&mut self) -> Option<i64> {
        let kept = self.kept();
        (kept > self.confirmed).then(|| {
            self.confirmed = kept;
            kept
        })
    }

    /// Whether the server knows of each answer that it is kept.
    pub(super) fn is_all_confirmed(&self) -> bool {
        self.confirmed == self.received
    }

    /// All answers up to this one are kept.
    fn kept(&self) -> i64 {
        match self.unkept.first() {
            Some((number, _)) => number - 1,
            None => self.received,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desk::fake::outcome;
    use crate::transport::proto::{OutcomeKind, Resumed};

    fn ready() -> SessionReady {
        SessionReady {
            session_id: "s".into(),
            resume_secret: "s3cret".into(),
            ..SessionReady::default()
        }
    }

    fn answer(frame_id: &str, answer_number: i64) -> Event {
        Event::AnalysisOutcome(AnalysisOutcome {
            answer_number,
            ..outcome(frame_id, OutcomeKind::NoTaskFound)
        })
    }

    #[test]
    fn an_answer_is_confirmed_when_it_and_all_before_it_are_kept() {
        let mut session = Resumable::of(&mut ready()).unwrap();
        assert!(session.is_new(&answer("a", 1)) && session.is_new(&answer("b", 2)));
        // Both wait, and then one of them.
        session.are_kept(|_| true);
        assert_eq!(session.next_to_confirm(), None);
        let resume = session.resume(|frame_id| frame_id == "a");
        assert_eq!(
            (session.next_to_confirm(), resume.answers_received),
            (None, 0)
        );
        assert!(!session.is_all_confirmed());
        let resume = session.resume(|_| false);
        assert_eq!(resume.answers_received, 2);
        assert_eq!(session.next_to_confirm(), Some(2));
        assert_eq!(session.next_to_confirm(), None);
        assert!(session.is_all_confirmed());
    }

    #[test]
    fn an_answer_that_comes_again_is_not_new_and_is_confirmed_again_once_it_is_kept() {
        let mut session = Resumable::of(&mut ready()).unwrap();
        assert!(session.is_new(&answer("a", 1)) && !session.is_new(&answer("a", 1)));
        session.are_kept(|_| true);
        assert_eq!(session.next_to_confirm(), None);
        session.are_kept(|_| false);
        assert_eq!(session.next_to_confirm(), Some(1));
        assert!(!session.is_new(&answer("a", 1)));
        assert_eq!(session.next_to_confirm(), Some(1));
        session.taken_up(None);
        assert_eq!(session.next_to_confirm(), Some(1));
        assert!(
            session.is_new(&answer("a", 0)),
            "an answer without a number"
        );
    }

    #[test]
    fn a_session_is_taken_up_if_the_server_says_so_of_the_same_one() {
        let mut told = ready();
        let mut session = Resumable::of(&mut told).unwrap();
        assert_eq!(told.resume_secret, "", "nobody else sees it");
        assert!(!session.is_taken_up(&told));
        told.resumed = Some(Resumed::default());
        assert!(session.is_taken_up(&told));
        told.resume_secret = "other".into();
        session.taken_up(Resumable::of(&mut told));
        assert_eq!(session.resume(|_| false).secret, "other");
        session.taken_up(Resumable::of(&mut told));
        assert_eq!(session.resume(|_| false).secret, "other", "none was given");
        told.session_id = "t".into();
        assert!(!session.is_taken_up(&told));
    }
}
