//! A desktop that stays: it connects, and connects again without end, until every
//! frame has its answer or an error says that trying again is of no use.

mod frames;
mod leave;
mod lock;
mod session;

use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tonic::Code;
use tonic::transport::Channel;

use super::desktop::{Door, Resumable};
use super::{About, Error, Step, Store, store};
use crate::world::{Backoff, World};
pub(super) use frames::Frames;
use session::Left;

/// How often a finite run asks in a row for a token that is not to be had.
const MOST_TOKENLESS: u32 = 5;

/// What is in front of the user, as far as the desktop knows.
#[derive(Clone, Debug, Default)]
pub struct Place {
    /// The application.
    pub app: String,
    /// Its window's title.
    pub window: String,
}

/// Everything a desktop that stays needs. `D` opens a connection.
pub(super) struct Client<D> {
    pub(super) door: Rc<Door<D>>,
    pub(super) store: Store,
    pub(super) frames: Frames,
    /// What the server is told of this desk; the rest, as it is when it is told.
    pub(super) about: About,
    pub(super) world: World,
    /// Of connections.
    pub(super) backoff: Backoff,
    /// How often in a row the server did not take the token.
    pub(super) refusals: u32,
    /// How often in a row there was no token.
    pub(super) tokenless: u32,
    /// The session that the next stream is to take up.
    pub(super) session: Option<Resumable>,
}

impl<D: AsyncFn() -> Result<Channel, Error>> Client<D> {
    /// Runs until every frame has ended, which is never if frames may always come.
    ///
    /// # Errors
    /// The one that makes trying again useless.
    pub(super) async fn run(&mut self, mut observe: impl FnMut(Step)) -> Result<(), Error> {
        // Perhaps there is nothing to connect for.
        while self.frames.are_left(&mut self.store, &mut observe).await? {
            let left = self.session(&mut observe).await;
            match &left {
                Err(Error::Ended(_) | Error::Closed(_) | Error::TooSlow { .. }) => {
                    self.frames.held.suspect_sent();
                }
                Ok(Left::Until(_)) => self.frames.held.turn_back_sent(),
                _ => {}
            }
            // Nobody comes back for nothing.
            if !self.frames.are_left(&mut self.store, &mut observe).await? {
                break;
            }
            let (why, again) = match left {
                Ok(Left::Done) => return Ok(()),
                Ok(Left::Until(then)) => {
                    let asked = then.saturating_duration_since(Instant::now());
                    // One that sends everybody away at once is not asked all the time.
                    let again = asked.max(self.backoff.after_failure(&self.world));
                    ("the server asked to come back later".to_owned(), again)
                }
                Err(error) if self.is_fatal(&error) => return Err(error),
                Err(error) => (error.to_string(), self.backoff.after_failure(&self.world)),
            };
            observe(Step::Lost { why, again });
            self.rest(again, &mut observe).await?;
        }
        Ok(())
    }

    /// The desk is to leave: keeps the answers that wait for a store that is held, if it
    /// is let go within so long. What is not kept is shown again by the next run.
    ///
    /// # Errors
    /// [`Error::Store`].
    pub(super) async fn keep_last(
        &mut self,
        long: Duration,
        mut observe: impl FnMut(Step),
    ) -> Result<(), Error> {
        let (frames, store) = (&mut self.frames, &mut self.store);
        frames.keep_within(long, store, &mut observe).await
    }

    /// Waits for the next session, and keeps meanwhile what is yet to be kept.
    async fn rest(&mut self, long: Duration, observe: &mut impl FnMut(Step)) -> Result<(), Error> {
        let end = Instant::now() + long;
        loop {
            self.frames.keep(&mut self.store, observe)?;
            match self.frames.lock.until().filter(|until| *until < end) {
                Some(until) => sleep_until(until).await,
                None => {
                    sleep_until(end).await;
                    return Ok(());
                }
            }
        }
    }

    /// Whether trying again is of no use. Counts tokens that were not taken, since one
    /// that is printed anew for each connection gets a second chance; and those that
    /// could not be had, for which only who watches without end has time without end.
    fn is_fatal(&mut self, error: &Error) -> bool {
        match error {
            Error::Refused(status) => match status.code() {
                Code::Unauthenticated => {
                    self.refusals += 1;
                    !self.door.tokens.is_renewed() || self.refusals > 1
                }
                Code::PermissionDenied
                | Code::FailedPrecondition
                | Code::InvalidArgument
                | Code::Unimplemented => true,
                _ => false,
            },
            Error::Ended(status) => status.code() == Code::PermissionDenied,
            Error::NoToken(_) => {
                self.tokenless += 1;
                self.frames.shots.are_finite() && self.tokenless >= MOST_TOKENLESS
            }
            Error::Store(store::Error::Held) => false,
            Error::Token | Error::Store(_) => true,
            Error::Connect { .. }
            | Error::TooLarge { .. }
            | Error::Disowned(_)
            | Error::Closed(_)
            | Error::TooSlow { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests;
