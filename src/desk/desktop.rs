//! The desktop's side of one session: says hello, shows frames, answers the searches
//! that the server asks for, hears how each frame ends.
//!
//! What happens is told to an observer as [`Step`]s, in order; this module
//! prints nothing. Every wait is bounded, see [`Patience`].

mod commands;
mod door;
mod line;
mod link;
mod resumable;
mod wire;

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::transport::Channel;

use super::store::{self, Store};
use super::{Error, Executes, Step, Verdict};
use crate::transport::proto::Resume;
use crate::transport::proto::server_event::Event;
use crate::world::World;
pub use door::Door;
pub(super) use link::{Greeting, Heard, Link, told_aside};
pub(super) use resumable::Resumable;
pub(crate) use wire::millis;

/// For the sake of one frame a session is taken up so often.
const MOST_RETURNS: u32 = 3;

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
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Its name in the server's eyes.
    pub device: String,
    /// Minutes its user's clock is ahead of UTC; `None`: dates are understood by UTC.
    pub utc_offset_minutes: Option<i32>,
    /// Whether the server is told the tasks beforehand; otherwise it hears of them
    /// only as answers to its searches.
    pub tells_tasks: bool,
    /// How its user tells it from others, the same for all of its sessions; may be
    /// empty.
    pub device_id: String,
    /// It is a page in a browser, and so executes no tool.
    pub web: bool,
    /// The tools that it executes.
    pub executes: Executes,
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
pub struct Desktop<'a, D, O> {
    door: Door<D>,
    about: About,
    link: Link,
    store: &'a mut Store,
    world: World,
    observe: O,
    /// The server will end the stream: when the next one is to be opened.
    move_at: Option<Instant>,
}

impl<'a, D: AsyncFn() -> Result<Channel, Error>, O: FnMut(Step)> Desktop<'a, D, O> {
    /// Opens a session and says hello.
    ///
    /// # Errors
    /// [`Error::Refused`] if the server does not let it begin; any but
    /// [`Error::Disowned`], [`Error::Ended`] and [`Error::TooLarge`].
    pub async fn open(
        door: Door<D>,
        about: About,
        store: &'a mut Store,
        world: World,
        mut observe: O,
    ) -> Result<Self, Error> {
        let greeting = Greeting::new(&about, store, world.clone(), Resume::default())?;
        let aside = |event| told_aside(event, &mut observe);
        let (link, ready) = door.open(greeting, aside).await?;
        observe(Step::Ready(ready));
        Ok(Self {
            door,
            about,
            link,
            store,
            world,
            observe,
            move_at: None,
        })
    }

    /// Shows the server one frame, serves it until the frame has ended, and keeps that. A
    /// stream that breaks meanwhile, or that the server is about to end, is followed by
    /// another, which takes the session up.
    ///
    /// # Errors
    /// [`Error::TooLarge`], after which the session goes on. After any other it is of no
    /// more use: [`Error::TooSlow`] if the frame is not answered in time,
    /// [`Error::Ended`], [`Error::Closed`] or [`Error::TooSlow`] if the stream breaks and
    /// the session cannot be taken up, [`Error::Disowned`] or what [`Self::open`] fails
    /// with if the next one is refused, and [`Error::Store`] if the frame's end cannot be kept.
    pub async fn show(&mut self, screen: Screen) -> Result<Verdict, Error> {
        let deadline = Instant::now() + self.door.patience.answer;
        let seen_through = timeout_at(deadline, self.see_through(screen)).await;
        seen_through.map_err(|_| self.door.patience.unanswered())?
    }

    /// Closes this side and waits until the server has closed its own.
    ///
    /// # Errors
    /// [`Error::Ended`] if the stream ends with a status other than OK, or
    /// [`Error::TooSlow`].
    pub async fn close(mut self) -> Result<(), Error> {
        self.link.confirm(|_| false).await?;
        match self.link.close().await {
            // It was about to.
            Err(Error::Ended(_)) if self.move_at.is_some() => Ok(()),
            closed => closed,
        }
    }

    /// Shows a frame until it has ended, on as many streams as that takes.
    async fn see_through(&mut self, screen: Screen) -> Result<Verdict, Error> {
        match self.move_at {
            Some(_) => self.come_back(&screen).await?,
            None => self.send(screen.clone()).await?,
        }
        let mut returns = 0;
        loop {
            match self.verdict(&screen.id).await {
                Err(broken) if returns < MOST_RETURNS && self.can_return_after(&broken) => {
                    returns += 1;
                    (self.observe)(Step::Lost {
                        why: broken.to_string(),
                        again: Duration::ZERO,
                    });
                    self.come_back(&screen).await?;
                }
                verdict => return verdict,
            }
        }
    }

    async fn send(&mut self, screen: Screen) -> Result<(), Error> {
        let Self {
            link,
            store,
            observe,
            ..
        } = self;
        link.send_frame(screen, store, observe).await
    }

    /// Serves the stream until this frame has ended, and keeps that.
    async fn verdict(&mut self, frame_id: &str) -> Result<Verdict, Error> {
        let Self {
            link,
            store,
            observe,
            move_at,
            ..
        } = self;
        loop {
            link.confirm(|_| false).await?;
            let next_beat = link.next_beat();
            let heard = tokio::select! {
                heard = link.hear() => heard?,
                () = sleep_until(next_beat) => {
                    link.beat().await?;
                    continue;
                }
            };
            if let Heard::Event(Event::GoAway(go_away)) = &heard {
                *move_at = Some(Instant::now() + millis(go_away.reconnect_delay_ms));
            }
            if let Some(ending) = link.act(heard, store, observe).await? {
                ending.keep(store, observe)?;
                if ending.frame_id == frame_id {
                    return Ok(ending.verdict);
                }
            }
        }
    }

    /// Whether a stream broke that another one can follow.
    fn can_return_after(&mut self, error: &Error) -> bool {
        matches!(
            error,
            Error::Ended(_) | Error::Closed(_) | Error::TooSlow { .. }
        ) && self.link.session().is_some()
    }

    /// Takes the session up on a new stream. The frame is sent there if the server does
    /// not know it.
    async fn come_back(&mut self, screen: &Screen) -> Result<(), Error> {
        if let Some(at) = self.move_at.take() {
            sleep_until(at).await;
        }
        let observe = &mut self.observe;
        let mut session = self.link.session().take();
        let resume = session.as_mut().map(|session| session.resume(|_| false));
        let resume = resume.unwrap_or_default();
        let greeting = Greeting::new(&self.about, self.store, self.world.clone(), resume)?;
        let aside = |event| told_aside(event, observe);
        let (mut link, mut ready) = self.door.open(greeting, aside).await?;
        link.take_up(&mut session, &mut ready);
        let known = ready.resumed.clone().unwrap_or_default();
        observe(Step::Ready(ready));
        self.link = link;
        let mut known = known.frames_in_flight.iter().chain(&known.frames_answered);
        if known.any(|id| *id == screen.id) {
            self.link.expect([screen.id.clone()]);
            Ok(())
        } else {
            self.send(screen.clone()).await
        }
    }
}

#[cfg(test)]
mod tests;
