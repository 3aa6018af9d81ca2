//! One session of a desktop that stays: frames go out as they come, and the server is
//! left when it wishes.

use std::time::Duration;

use jiff::tz::TimeZone;
use tokio::time::{Instant, sleep_until};
use tonic::transport::Channel;

use super::Client;
use super::frames::told;
use crate::desk::held::Held;
use crate::desk::shots::Shot;
use crate::desk::{About, Backoff, Desktop, Error, Step, Verdict};
use crate::transport::proto::server_event::Event;
use crate::transport::proto::{GoAway, ServerError};
use crate::world::World;

/// Between two heartbeats, unless the server wishes more of them: balancers cut streams
/// that are silent upstream.
const MOST_HEARTBEAT: Duration = Duration::from_secs(20);
/// More often than this no server is told, whatever it wishes.
const LEAST_HEARTBEAT: Duration = Duration::from_secs(1);
/// A server that goes away may ask for no longer wait than this.
const LONGEST_LEAVE: Duration = Duration::from_secs(60);
/// How long a stream is kept beyond the time that the server said it would end by.
const LEAVE_MARGIN: Duration = Duration::from_secs(5);

/// Why a session was left in good order.
pub(super) enum Left {
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
    /// One session, from the token to its end.
    pub(super) async fn session(&mut self, observe: &mut impl FnMut(Step)) -> Result<Left, Error> {
        let token = self.tokens.token().await?;
        self.tokenless = 0;
        let frames = &mut self.frames;
        let dialled = (self.dial)().await;
        let channel = dialled.inspect_err(|_| frames.held.acquit())?;
        let about = About {
            device: "proactive desk".to_owned(),
            utc_offset_minutes: Some(utc_offset_minutes(&self.world)),
            tells_tasks: self.tells_tasks,
        };
        let longest = self.patience.answer;
        let opening = Desktop::open(
            channel,
            &token,
            &about,
            &mut self.store,
            self.world.clone(),
            self.patience.clone(),
            observe,
        );
        let mut desktop = opening.await.inspect_err(|_| frames.held.acquit())?;
        self.refusals = 0;
        frames.session_opened(&mut desktop.observe);
        let opened = Instant::now();
        let heartbeat = desktop.heartbeat().unwrap_or(MOST_HEARTBEAT);
        let heartbeat = heartbeat.clamp(LEAST_HEARTBEAT, MOST_HEARTBEAT);
        let mut beat = opened + heartbeat;
        let mut leave: Option<Leave> = None;
        loop {
            // A session that stands is no failure, however it ends.
            if opened.elapsed() >= Backoff::MOST {
                self.backoff.reset();
            }
            frames.keep(desktop.store, &mut desktop.observe)?;
            match &leave {
                Some(leave) if !frames.held.is_any_sent() || leave.ended_by <= Instant::now() => {
                    return Ok(Left::Until(leave.open_next));
                }
                Some(_) => {}
                None => send_due(&mut desktop, &mut frames.held).await?,
            }
            if frames.held.is_empty() && frames.shots.are_exhausted() {
                // All is answered, whatever the server says to the goodbye.
                let _ = desktop.close().await;
                return Ok(Left::Done);
            }
            let send = frames.held.next_due().filter(|_| leave.is_none());
            let overdue = frames.held.oldest_sent().map(|sent| sent + longest);
            let end = leave.as_ref().map(|leave| leave.ended_by);
            let due = [send, overdue, end, frames.lock.until()]
                .into_iter()
                .flatten()
                .fold(beat, Instant::min);
            let room = leave.is_none() && frames.have_room();
            let wake = tokio::select! {
                biased;
                heard = desktop.hear() => Wake::Heard(heard),
                () = sleep_until(due) => Wake::Due,
                shot = frames.shots.next(), if room => Wake::Shot(shot),
            };
            match wake {
                Wake::Heard(Ok(event)) => {
                    if let Event::GoAway(go_away) = &event {
                        leave = Some(leave_for(go_away));
                    }
                    if let Some(ending) = desktop.act(event).await? {
                        self.backoff.reset();
                        if frames.settle(ending, &mut desktop.observe) && leave.is_none() {
                            // A server of protocol 1.0 does not say it otherwise.
                            leave = Some(leave_for(&GoAway::default()));
                        }
                    }
                }
                Wake::Heard(Err(error)) => {
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
                        .map(|then| frames.held.sent_before(then));
                    if let Some(late) = late.filter(|late| !late.is_empty()) {
                        let error = desktop.unanswered_in_time();
                        frames.fail(late, &error, &mut desktop.observe);
                        // The others have no part in it.
                        frames.held.unsend_all();
                        return Err(error);
                    }
                }
                // The shots remember it.
                Wake::Shot(None) => {}
                Wake::Shot(Some(shot)) => {
                    frames.take_in(shot, desktop.store, &mut desktop.observe)?;
                }
            }
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
                let error = ServerError {
                    retryable: false,
                    ..told(&id, "MESSAGE_TOO_LARGE", &error)
                };
                held.end(&id, Verdict::Failed(error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
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
