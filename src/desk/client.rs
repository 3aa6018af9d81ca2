//! A desktop that stays: it connects, and connects again without end, until every
//! frame has its answer or an error says that trying again is of no use.

use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::time::{Instant, sleep, sleep_until};
use tonic::Code;
use tonic::transport::Channel;

use super::held::Held;
use super::shots::{Shot, Shots, Taken};
use super::{About, Backoff, Desktop, Ending, Error, Patience, Step, Store, TokenSource, Verdict};
use crate::transport::proto::server_event::Event;
use crate::transport::proto::{GoAway, ServerError};
use crate::world::World;

/// Between two heartbeats to a server that does not say what it wishes.
const USUAL_HEARTBEAT: Duration = Duration::from_secs(30);
/// More often than this no server is told, whatever it wishes.
const LEAST_HEARTBEAT: Duration = Duration::from_secs(1);
const RATE_LIMITED: &str = "RATE_LIMITED";
/// A quota is counted by the minute; other frames wait behind those that met it.
const QUOTA_PAUSE: Duration = Duration::from_secs(30);
/// A server that goes away may ask for no longer wait than this.
const LONGEST_LEAVE: Duration = Duration::from_secs(60);
/// How long a stream is kept beyond the time that the server said it would end by.
const LEAVE_MARGIN: Duration = Duration::from_secs(5);

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
    pub(super) dial: D,
    pub(super) tokens: TokenSource,
    pub(super) store: Store,
    pub(super) shots: Shots,
    pub(super) place: Place,
    /// Whether the server is told the tasks beforehand.
    pub(super) tells_tasks: bool,
    pub(super) patience: Patience,
    pub(super) world: World,
    /// Of connections.
    pub(super) backoff: Backoff,
    /// Frames in hand.
    pub(super) held: Held,
    /// How often in a row the server did not take the token.
    pub(super) refusals: u32,
}

/// Why a session was left in good order.
enum Left {
    /// There is nothing more to do.
    Done,
    /// The server goes away; the next session may be opened then.
    Until(Instant),
}

/// The server said that it goes away.
struct Leave {
    open_next: Instant,
    ended_by: Instant,
}

/// What woke a session.
#[expect(
    clippy::large_enum_variant,
    reason = "one lives at a time, for a moment"
)]
enum Wake {
    Heard(Result<Event, Error>),
    Shot(Option<Shot>),
    Due,
}

impl<D: AsyncFnMut() -> Result<Channel, Error>> Client<D> {
    /// Runs until every frame has ended, which is never if frames may always come.
    ///
    /// # Errors
    /// The one that makes trying again useless.
    pub(super) async fn run(&mut self, mut observe: impl FnMut(Step)) -> Result<(), Error> {
        loop {
            // Perhaps there is nothing to connect for.
            if self.shots.are_finite() && !self.has_work(&mut observe).await? {
                return Ok(());
            }
            let (why, again) = match self.session(&mut observe).await {
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
            self.held.unsend_all();
            observe(Step::Lost { why, again });
            sleep(again).await;
        }
    }

    /// Whether there is a frame to show.
    async fn has_work(&mut self, observe: &mut impl FnMut(Step)) -> Result<bool, Error> {
        while self.held.is_empty()
            && let Some(shot) = self.shots.next().await
        {
            let taken = shot.take(&mut self.store, &self.place, &self.world)?;
            take_in(taken, &mut self.held, observe);
        }
        Ok(!self.held.is_empty())
    }

    /// One session, from the token to its end.
    async fn session<O: FnMut(Step)>(&mut self, observe: &mut O) -> Result<Left, Error> {
        let token = self.tokens.token().await?;
        let channel = (self.dial)().await?;
        let about = About {
            device: "proactive desk".to_owned(),
            utc_offset_minutes: Some(utc_offset_minutes(&self.world)),
            tells_tasks: self.tells_tasks,
        };
        let (world, patience) = (&self.world, self.patience.clone());
        let (store, held) = (&mut self.store, &mut self.held);
        let longest = patience.answer;
        let opening = Desktop::open(
            channel,
            &token,
            &about,
            store,
            world.clone(),
            patience,
            observe,
        );
        let mut desktop = opening.await?;
        self.refusals = 0;
        let opened = Instant::now();
        let heartbeat = desktop.heartbeat().unwrap_or(USUAL_HEARTBEAT);
        let heartbeat = heartbeat.max(LEAST_HEARTBEAT);
        let mut beat = opened + heartbeat;
        let mut leave: Option<Leave> = None;
        let mut crashed = false;
        loop {
            // A session that stands is no failure, however it ends.
            if opened.elapsed() >= Backoff::MOST {
                self.backoff.reset();
            }
            match &leave {
                Some(leave) if !held.is_any_sent() || leave.ended_by <= Instant::now() => {
                    return Ok(Left::Until(leave.open_next));
                }
                Some(_) => {}
                None => send_due(&mut desktop, held).await?,
            }
            if held.is_empty() && self.shots.are_exhausted() {
                // All is answered, whatever the server says to the goodbye.
                let _ = desktop.close().await;
                return Ok(Left::Done);
            }
            let send = held.next_due().filter(|_| leave.is_none());
            let overdue = held.oldest_sent().map(|sent| sent + longest);
            let end = leave.as_ref().map(|leave| leave.ended_by);
            let due = [send, overdue, end]
                .into_iter()
                .flatten()
                .fold(beat, Instant::min);
            let room = leave.is_none() && held.has_room() && !self.shots.are_exhausted();
            let wake = tokio::select! {
                biased;
                heard = desktop.hear() => Wake::Heard(heard),
                () = sleep_until(due) => Wake::Due,
                shot = self.shots.next(), if room => Wake::Shot(shot),
            };
            match wake {
                Wake::Heard(Ok(event)) => {
                    match &event {
                        Event::GoAway(go_away) => leave = Some(leave_for(go_away)),
                        // The session's own failure, perhaps over one of these frames.
                        Event::ServerError(error) if is_crash(error) => crashed = true,
                        _ => {}
                    }
                    if let Some(ending) = desktop.act(event).await? {
                        self.backoff.reset();
                        if settle(ending, &mut desktop, held, world)? && leave.is_none() {
                            // A server of protocol 1.0 does not say it otherwise.
                            leave = Some(leave_for(&GoAway::default()));
                        }
                    }
                }
                Wake::Heard(Err(error)) => {
                    if crashed {
                        fail(
                            held.sent_before(None),
                            &error,
                            held,
                            world,
                            &mut desktop.observe,
                        );
                    }
                    return match (error, leave) {
                        (Error::Ended(_) | Error::Closed(_), Some(leave)) => {
                            Ok(Left::Until(leave.open_next))
                        }
                        (error, _) => Err(error),
                    };
                }
                Wake::Due => {
                    let now = Instant::now();
                    if beat <= now {
                        desktop.beat().await?;
                        beat = now + heartbeat;
                    }
                    let late = now
                        .checked_sub(longest)
                        .map(|then| held.sent_before(Some(then)));
                    if let Some(late) = late.filter(|late| !late.is_empty()) {
                        let error = desktop.unanswered_in_time();
                        fail(late, &error, held, world, &mut desktop.observe);
                        return Err(error);
                    }
                }
                // The shots remember it.
                Wake::Shot(None) => {}
                Wake::Shot(Some(shot)) => {
                    let taken = shot.take(desktop.store, &self.place, world)?;
                    take_in(taken, held, &mut desktop.observe);
                }
            }
        }
    }

    /// Whether trying again is of no use. Counts tokens that were not taken: one that
    /// is printed anew for each connection gets a second chance.
    fn is_fatal(&mut self, error: &Error) -> bool {
        match error {
            Error::Refused(status) => match status.code() {
                Code::Unauthenticated => {
                    self.refusals += 1;
                    !self.tokens.is_renewed() || self.refusals > 1
                }
                Code::PermissionDenied
                | Code::FailedPrecondition
                | Code::InvalidArgument
                | Code::Unimplemented => true,
                _ => false,
            },
            Error::Ended(status) => status.code() == Code::PermissionDenied,
            Error::Token | Error::Store(_) => true,
            Error::Connect { .. }
            | Error::NoToken(_)
            | Error::TooLarge { .. }
            | Error::Closed(_)
            | Error::TooSlow { .. } => false,
        }
    }
}

/// Sends what is to be sent by now.
async fn send_due<O: FnMut(Step)>(
    desktop: &mut Desktop<'_, O>,
    held: &mut Held,
) -> Result<(), Error> {
    while let Some(screen) = held.due().cloned() {
        let id = screen.id.clone();
        match desktop.send_frame(screen).await {
            Ok(()) => held.sent(&id),
            Err(error @ Error::TooLarge { .. }) => {
                held.remove(&id);
                let code = "MESSAGE_TOO_LARGE";
                desktop.store.give_up(&id, code)?;
                (desktop.observe)(Step::Failed(told(&id, code, &error)));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Deals with the terminal event of a frame. Whether it says that the session takes
/// no more frames.
fn settle<O: FnMut(Step)>(
    ending: Ending,
    desktop: &mut Desktop<'_, O>,
    held: &mut Held,
    world: &World,
) -> Result<bool, Error> {
    let Ending { frame_id, verdict } = ending;
    match verdict {
        Verdict::Decided(_) => held.remove(&frame_id),
        Verdict::Failed(error) if error.code == "GOING_AWAY" => {
            held.unsend(&frame_id);
            return Ok(true);
        }
        // A quota that is used up for today is no fault of the frame: the next run
        // shows it again.
        Verdict::Failed(error) if error.retryable || error.code == RATE_LIMITED => {
            (desktop.observe)(postponed(error, held, world));
        }
        Verdict::Failed(error) => {
            held.remove(&frame_id);
            desktop.store.give_up(&frame_id, &error.code)?;
            (desktop.observe)(Step::Failed(error));
        }
    }
    Ok(false)
}

/// These frames failed with their session.
fn fail(
    frames: Vec<String>,
    why: &Error,
    held: &mut Held,
    world: &World,
    observe: &mut impl FnMut(Step),
) {
    for id in frames {
        observe(postponed(told(&id, "NO_ANSWER", why), held, world));
    }
}

/// The frame of this error is to be sent again later, unless it was sent too often.
fn postponed(error: ServerError, held: &mut Held, world: &World) -> Step {
    let least = match error.code == RATE_LIMITED {
        true => QUOTA_PAUSE,
        false => Duration::ZERO,
    };
    match held.postpone(&error.frame_id, least, world) {
        Some(again) => Step::Postponed { error, again },
        None => Step::Failed(error),
    }
}

fn take_in(taken: Taken, held: &mut Held, observe: &mut impl FnMut(Step)) {
    match taken {
        Taken::Screen(screen) => held.add(*screen),
        Taken::Answered => {}
        Taken::Skipped { file, why } => observe(Step::Skipped { file, why }),
    }
}

/// An error that this desktop tells of a frame itself.
fn told(frame_id: &str, code: &str, why: &Error) -> ServerError {
    ServerError {
        code: code.to_owned(),
        message: why.to_string(),
        retryable: true,
        frame_id: frame_id.to_owned(),
        request_id: String::new(),
    }
}

fn is_crash(error: &ServerError) -> bool {
    error.code == "INTERNAL" && error.frame_id.is_empty()
}

fn leave_for(go_away: &GoAway) -> Leave {
    let millis = |millis| Duration::from_millis(u64::try_from(millis).unwrap_or_default());
    let now = Instant::now();
    Leave {
        open_next: now + millis(go_away.reconnect_delay_ms).min(LONGEST_LEAVE),
        ended_by: now + millis(go_away.time_left_ms).min(LONGEST_LEAVE) + LEAVE_MARGIN,
    }
}

/// How far the user's clock is ahead of UTC, now.
fn utc_offset_minutes(world: &World) -> i32 {
    TimeZone::system().to_offset(world.now()).seconds() / 60
}

#[cfg(test)]
mod tests;
