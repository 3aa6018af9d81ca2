//! The frames of a desktop that stays: taken in, two in hand, each dealt with as it
//! ends. Knows no session.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::lock::Lock;
use crate::desk::held::{Convict, Held};
use crate::desk::shots::{Later, Shot, Shots, Taken};
use crate::desk::{Ending, Error, Place, Step, Store, Verdict, backoff, millis, store};
use crate::transport::proto::{Resumed, ServerError};
use crate::world::World;

const RATE_LIMITED: &str = "RATE_LIMITED";
const GEMINI_ERROR: &str = "GEMINI_ERROR";
/// What no second mends, such as a quota of the day or the server's key for the model,
/// is waited for in longer steps by who watches without end.
const TROUBLE_PAUSE: Duration = Duration::from_secs(300);
/// No server may ask for a longer wait than this; the contract has no longer one.
const LONGEST_ASKED: Duration = Duration::from_secs(86_400);
/// Between two tries to keep an answer before the desk leaves.
const LAST_PAUSE: Duration = Duration::from_millis(100);
/// This desktop's own code, for a frame whose server says nothing of it.
const NO_ANSWER: &str = "NO_ANSWER";
/// A quota is counted by the minute; other frames wait behind those that met it.
pub(super) const QUOTA_PAUSE: Duration = Duration::from_secs(30);

/// All frames that there are, and will be.
pub(in crate::desk) struct Frames {
    pub(super) shots: Shots,
    /// In hand.
    pub(super) held: Held,
    /// Whether another program holds the store.
    pub(super) lock: Lock,
    place: Place,
    world: World,
}

impl Frames {
    pub(in crate::desk) fn new(shots: Shots, place: Place, world: World) -> Self {
        Self {
            shots,
            held: Held::new(backoff::usual()),
            lock: Lock::default(),
            place,
            world,
        }
    }

    /// Whether there is a frame to show, or may be. Keeps what can be kept.
    pub(super) async fn are_left(
        &mut self,
        store: &mut Store,
        observe: &mut impl FnMut(Step),
    ) -> Result<bool, Error> {
        loop {
            self.keep(store, observe)?;
            if self.held.is_any_open() || !self.shots.are_finite() {
                return Ok(true);
            }
            if self.lock.is_on() {
                self.lock.wait().await;
            } else if let Some(shot) = self.shots.next().await {
                self.take_in(shot, store, observe)?;
            } else {
                return Ok(false);
            }
        }
    }

    /// Whether one that is known, or may come, has yet to be answered or skipped.
    pub(in crate::desk) fn is_any_left(&self) -> bool {
        !self.held.is_empty() || !self.shots.are_finite() || !self.shots.are_exhausted()
    }

    /// Whether another one would be taken in now.
    pub(super) fn have_room(&self) -> bool {
        self.held.has_room() && !self.shots.are_exhausted() && !self.lock.is_on()
    }

    /// Takes one in, unless its store is held: then it is the next one again.
    pub(super) fn take_in(
        &mut self,
        shot: Shot,
        store: &mut Store,
        observe: &mut impl FnMut(Step),
    ) -> Result<(), Error> {
        let taken = shot.take(store, &self.place, &self.world);
        match self.lock.tried(taken, observe)? {
            Some(Taken::Screen { screen, later }) => self.held.add(*screen, later),
            Some(Taken::Answered) => {}
            Some(Taken::Skipped { file, why }) => observe(Step::Skipped { file, why }),
            None => self.shots.put_back(shot),
        }
        Ok(())
    }

    /// Keeps and tells how frames have ended, unless the store is held.
    pub(super) fn keep(
        &mut self,
        store: &mut Store,
        observe: &mut impl FnMut(Step),
    ) -> Result<(), Error> {
        while !self.lock.is_on()
            && let Some(kept) = self.keep_next(store, observe)
        {
            self.lock.tried(kept, observe)?;
        }
        Ok(())
    }

    /// Keeps and tells how frames have ended, though their store be held for so long.
    pub(super) async fn keep_within(
        &mut self,
        long: Duration,
        store: &mut Store,
        observe: &mut impl FnMut(Step),
    ) -> Result<(), Error> {
        let end = Instant::now() + long;
        while let Some(kept) = self.keep_next(store, observe) {
            match kept {
                Err(store::Error::Held) if Instant::now() >= end => break,
                Err(store::Error::Held) => sleep(LAST_PAUSE).await,
                kept => kept?,
            }
        }
        Ok(())
    }

    /// Keeps and tells how one frame has ended, if one has; it stays if that fails.
    fn keep_next(
        &mut self,
        store: &mut Store,
        observe: &mut impl FnMut(Step),
    ) -> Option<Result<(), store::Error>> {
        let ending = self.held.ended()?;
        let id = ending.frame_id.clone();
        let kept = ending.keep(store, observe);
        if kept.is_ok() {
            self.held.remove(&id);
        }
        Some(kept)
    }

    /// Deals with the terminal event of a frame. Whether it says that the session
    /// takes no more frames.
    pub(super) fn settle(&mut self, ending: Ending, observe: &mut impl FnMut(Step)) -> bool {
        let Ending { frame_id, verdict } = ending;
        match verdict {
            Verdict::Failed(error) if error.code == "GOING_AWAY" => {
                self.held.turn_back(&frame_id);
                return true;
            }
            // A quota that is used up for today is no fault of the frame: the next run
            // shows it again.
            Verdict::Failed(error) if error.retryable || error.code == RATE_LIMITED => {
                observe(self.postponed(error));
            }
            // The model may refuse this frame, or all of them, which is the operator's
            // trouble. The next run shows it again, or this one if it watches.
            Verdict::Failed(error)
                if error.code == GEMINI_ERROR && self.held.is_doubtful(&frame_id) =>
            {
                if self.shots.are_finite() {
                    self.held.remove(&frame_id);
                    observe(Step::Failed(error));
                } else {
                    observe(self.postponed(error));
                }
            }
            ended => self.held.end(&frame_id, ended),
        }
        false
    }

    /// These frames were not answered in time.
    pub(super) fn fail(
        &mut self,
        frames: Vec<String>,
        why: &Error,
        observe: &mut impl FnMut(Step),
    ) {
        for id in frames {
            observe(self.postponed(told(&id, NO_ANSWER, why)));
        }
    }

    /// A stream is open, on which the server answers what it knows of. Gives up the
    /// frames that too many streams before it ended over.
    pub(super) fn stream_opened(&mut self, known: &Resumed, observe: &mut impl FnMut(Step)) {
        self.held.sort_out(known);
        for Convict { id, times, later } in self.held.convict() {
            let why = format!("{times} sessions ended while this frame was under way");
            observe(self.given_up(told(&id, NO_ANSWER, &why), later));
        }
    }

    /// The frame of this error is to be sent again later, unless it was sent too often.
    fn postponed(&mut self, error: ServerError) -> Step {
        let asked = asked(&error);
        let is_finite = self.shots.are_finite();
        if is_finite && asked > TROUBLE_PAUSE {
            // Nobody wants to wait for so long; the next run shows it again.
            self.held.remove(&error.frame_id);
            return Step::Failed(error);
        }
        let least = match error.retryable {
            false if !is_finite => TROUBLE_PAUSE,
            _ if error.code == RATE_LIMITED => QUOTA_PAUSE,
            _ => Duration::ZERO,
        };
        let least = least.max(asked);
        match self.held.postpone(&error.frame_id, least, &self.world) {
            Ok(again) => Step::Postponed {
                error,
                again,
                aside: false,
            },
            Err(later) => self.given_up(error, later),
        }
    }

    /// The frame of this error was sent too often: it is put aside, if more is to come, so
    /// that others have its place.
    fn given_up(&mut self, error: ServerError, later: Option<Later>) -> Step {
        let put_aside = |later| self.shots.put_aside(later, asked(&error));
        match later.and_then(put_aside) {
            Some(again) => Step::Postponed {
                error,
                again,
                aside: true,
            },
            None => Step::Failed(error),
        }
    }
}

/// How long the server wants its frame not to be sent again.
fn asked(error: &ServerError) -> Duration {
    millis(error.retry_after_ms).min(LONGEST_ASKED)
}

/// An error that this desktop tells of a frame itself.
pub(super) fn told(frame_id: &str, code: &str, why: &impl Display) -> ServerError {
    ServerError {
        code: code.to_owned(),
        message: why.to_string(),
        retryable: true,
        frame_id: frame_id.to_owned(),
        ..ServerError::default()
    }
}
