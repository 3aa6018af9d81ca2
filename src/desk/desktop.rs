//! The desktop's side of one session: says hello, shows frames, answers the searches
//! that the server asks for, hears how each frame ends.
//!
//! What happens is told to an observer as [`Step`]s, in order; this module
//! prints nothing. Every wait is bounded, see [`Patience`].

mod line;
mod link;
mod resumable;
mod wire;

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use secrecy::SecretString;
use tokio::time::{Instant, timeout_at};
use tonic::transport::Channel;

use super::store::{self, Store};
use super::{Error, Step, Verdict};
use crate::world::World;
pub(super) use link::{Greeting, Link, told_aside};
pub(super) use resumable::Resumable;

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

impl Patience {
    /// A frame has waited for its end for as long as this desktop waits.
    pub(super) fn unanswered(&self) -> Error {
        Error::TooSlow {
            what: "answer to the frame",
            waited: self.answer,
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

/// An open session that shows one frame after the other. `O` is told each [`Step`].
pub struct Desktop<'a, O> {
    link: Link,
    store: &'a mut Store,
    observe: O,
    patience: Patience,
}

impl<'a, O: FnMut(Step)> Desktop<'a, O> {
    /// Opens a session and says hello.
    ///
    /// # Errors
    /// [`Error::Refused`] if the server does not let it begin; any but
    /// [`Error::Connect`], [`Error::NoToken`], [`Error::Disowned`], [`Error::Ended`] and
    /// [`Error::TooLarge`].
    pub async fn open(
        channel: Channel,
        token: &SecretString,
        about: &About,
        store: &'a mut Store,
        world: World,
        patience: Patience,
        mut observe: O,
    ) -> Result<Self, Error> {
        let greeting = Greeting::new(about, store, world, None)?;
        let aside = |event| told_aside(event, &mut observe);
        let (link, ready) = Link::open(channel, token, greeting, &patience, aside).await?;
        observe(Step::Ready(ready));
        Ok(Self {
            link,
            store,
            observe,
            patience,
        })
    }

    /// Shows the server one frame, serves it until the frame has ended, and keeps that.
    ///
    /// # Errors
    /// [`Error::TooLarge`], after which the session goes on. After any other it is of no
    /// more use: [`Error::Ended`], [`Error::Closed`], [`Error::TooSlow`] if nothing came
    /// for as long as three heartbeats or the frame is not answered in time, and
    /// [`Error::Store`] if its end cannot be kept.
    pub async fn show(&mut self, screen: Screen) -> Result<Verdict, Error> {
        let Self {
            link,
            store,
            observe,
            ..
        } = self;
        let frame_id = screen.id.clone();
        link.send_frame(screen, store, observe).await?;
        let deadline = Instant::now() + self.patience.answer;
        loop {
            let event = timeout_at(deadline, link.hear()).await;
            let event = event.map_err(|_| self.patience.unanswered())??;
            if let Some(ending) = link.act(event, store, observe).await? {
                ending.keep(store, observe)?;
                if ending.frame_id == frame_id {
                    return Ok(ending.verdict);
                }
            }
        }
    }

    /// Closes this side and waits until the server has closed its own.
    ///
    /// # Errors
    /// [`Error::Ended`] if the stream ends with a status other than OK, or
    /// [`Error::TooSlow`].
    pub async fn close(self) -> Result<(), Error> {
        self.link.close().await
    }
}

#[cfg(test)]
mod tests;
