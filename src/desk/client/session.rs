//! One session of a desktop that stays: frames go out as they come, and the server is
//! left when it wishes, for the next stream if there can be one already.

use futures::future::OptionFuture;
use jiff::tz::TimeZone;
use tokio::time::{Instant, sleep_until, timeout_at};
use tonic::transport::Channel;

use super::Client;
use super::frames::told;
use super::leave::{Leave, Old};
use crate::desk::desktop::{Greeting, Heard, Link, Resumable, told_aside};
use crate::desk::shots::Shot;
use crate::desk::{About, Error, Step, Verdict, backoff};
use crate::transport::proto::server_event::Event;
use crate::transport::proto::{GoAway, ServerError, SessionReady};
use crate::world::World;

/// Why a session was left in good order.
pub(super) enum Left {
    /// There is nothing more to do.
    Done,
    /// The server goes away; the next stream may be opened then.
    Until(Instant),
}

/// What woke a session.
enum Wake {
    Opened(Opened),
    HeardOld(Result<Heard, Error>),
    Heard(Result<Heard, Error>),
    Shot(Option<Shot>),
    Due,
}

/// What came of opening a stream.
type Opened = Result<(Link, SessionReady), Error>;

impl<D: AsyncFn() -> Result<Channel, Error>> Client<D> {
    /// From the opening of a stream until there is none.
    pub(super) async fn session(&mut self, observe: &mut impl FnMut(Step)) -> Result<Left, Error> {
        let mut earlier = self.session.take();
        let opened = match self.greeting(&mut earlier) {
            Ok(greeting) => {
                let aside = |event| told_aside(event, observe);
                self.door.open(greeting, aside).await
            }
            Err(error) => Err(error),
        };
        let opened = self.tried(opened, &mut earlier);
        self.session = earlier;
        let (mut link, mut ready) = opened?;
        link.take_up(&mut self.session, &mut ready);
        self.session = None;
        self.admit(&mut link, ready, observe);
        let left = self.hold(&mut link, observe).await;
        match left {
            // All is answered, whatever the server says to the goodbye.
            Ok(Left::Done) => drop(link.close().await),
            // So it is here: the server may hear of it while nobody waits.
            Ok(Left::Until(then)) if link.is_settled() => {
                drop(timeout_at(then, link.close()).await);
            }
            _ => self.session = link.session().take(),
        }
        left
    }

    /// Shows frames on a stream, and on those that take its place.
    async fn hold(
        &mut self,
        link: &mut Link,
        observe: &mut impl FnMut(Step),
    ) -> Result<Left, Error> {
        let longest = self.door.patience.answer;
        let mut opened = Instant::now();
        let mut leave: Option<Leave> = None;
        let mut old: Option<Old> = None;
        // There is one only while the stream is to be left.
        let mut next = None;
        loop {
            // A session that stands is no failure, however it ends.
            if opened.elapsed() >= backoff::MOST {
                self.backoff.reset();
            }
            self.frames.keep(&mut self.store, observe)?;
            self.attend(link).await?;
            self.attend_old(&mut old).await;
            if self.frames.held.is_empty() && self.frames.shots.are_exhausted() {
                return Ok(Left::Done);
            }
            match &mut leave {
                Some(leave) if next.is_none() && leave.is_over(self.frames.held.is_any_sent()) => {
                    return match leave.fatal.take() {
                        Some(fatal) => Err(fatal),
                        None => Ok(Left::Until(leave.open_next)),
                    };
                }
                Some(leave) if next.is_none() && leave.is_next_due() => {
                    let door = self.door.clone();
                    match self.greeting(link.session()) {
                        Ok(greeting) => {
                            let opening = async move { door.open(greeting, drop).await };
                            next = Some(Box::pin(opening));
                        }
                        Err(error) => self.put_off(error, leave),
                    }
                }
                Some(_) => {}
                None => {
                    if self.send_due(link, observe).await? {
                        continue;
                    }
                }
            }
            let frames = &mut self.frames;
            let send = frames.held.next_due().filter(|_| leave.is_none());
            let overdue = frames.held.oldest_sent().map(|sent| sent + longest);
            let turn = leave.as_ref().filter(|_| next.is_none()).map(Leave::turn);
            let end = old.as_ref().map(|old| old.ended_by);
            let beat = old.as_ref().map(|old| old.link.next_beat());
            let due = [send, overdue, turn, end, beat, frames.lock.until()]
                .into_iter()
                .flatten()
                .fold(link.next_beat(), Instant::min);
            let room = leave.is_none() && frames.have_room();
            let wake = tokio::select! {
                biased;
                Some(opened) = OptionFuture::from(next.as_mut()) => Wake::Opened(opened),
                Some(heard) = OptionFuture::from(old.as_mut().map(|old| old.link.hear())) => {
                    Wake::HeardOld(heard)
                }
                heard = link.hear() => Wake::Heard(heard),
                () = sleep_until(due) => Wake::Due,
                shot = frames.shots.next(), if room => Wake::Shot(shot),
            };
            match wake {
                Wake::Opened(result) => {
                    next = None;
                    match (self.tried(result, link.session()), &mut leave) {
                        (Ok(other), left) => {
                            let ended_by = left.take().map(|leave| leave.ended_by);
                            let former = self.change(link, other, ended_by, observe);
                            self.drop_old(&mut old);
                            old = former;
                            opened = Instant::now();
                        }
                        (Err(error), Some(leave)) => self.put_off(error, leave),
                        (Err(error), None) => return Err(error),
                    }
                }
                Wake::HeardOld(Ok(Heard::Event(Event::GoAway(_)))) => {}
                Wake::HeardOld(Ok(heard)) => {
                    if let Some(one) = &mut old
                        && self.deal(heard, &mut one.link, observe).await.is_err()
                    {
                        self.drop_old(&mut old);
                    }
                }
                Wake::HeardOld(Err(_)) => self.drop_old(&mut old),
                Wake::Heard(Ok(heard)) => {
                    if let Heard::Event(Event::GoAway(go_away)) = &heard {
                        let mut going = Leave::of(go_away);
                        // One that sends everybody away at once is not asked all the time.
                        if opened.elapsed() < backoff::MOST {
                            let pause = self.backoff.after_failure(&self.world);
                            going.open_next = going.open_next.max(Instant::now() + pause);
                        }
                        leave = Some(going);
                    }
                    if self.deal(heard, link, observe).await? && leave.is_none() {
                        // A server of protocol 1.0 does not say it otherwise.
                        leave = Some(Leave::of(&GoAway::default()));
                    }
                }
                Wake::Heard(Err(error)) => match (next.take(), leave.take()) {
                    // It ends as soon as the next one has taken its session up.
                    (Some(next), _) => {
                        let result = next.await;
                        self.drop_old(&mut old);
                        self.frames.held.turn_back_sent();
                        let other = self.tried(result, link.session())?;
                        self.change(link, other, None, observe);
                        opened = Instant::now();
                    }
                    (None, Some(leave)) => {
                        return match (error, leave.fatal) {
                            (_, Some(fatal)) => Err(fatal),
                            (Error::Ended(_) | Error::Closed(_), None) => {
                                Ok(Left::Until(leave.open_next))
                            }
                            (error, None) => Err(error),
                        };
                    }
                    (None, None) => return Err(error),
                },
                Wake::Due => {
                    let late = Instant::now()
                        .checked_sub(longest)
                        .map(|then| self.frames.held.sent_before(then));
                    if let Some(late) = late.filter(|late| !late.is_empty()) {
                        let error = self.door.patience.unanswered();
                        self.frames.fail(late, &error, observe);
                        // The others have no part in it.
                        self.frames.held.unsend_all();
                        // Nor is a session of more use that forgets its frames.
                        *link.session() = None;
                        return Err(error);
                    }
                }
                // The shots remember it.
                Wake::Shot(None) => {}
                Wake::Shot(Some(shot)) => {
                    self.frames.take_in(shot, &mut self.store, observe)?;
                }
            }
        }
    }

    /// What is said first on a stream that is to take this session up.
    fn greeting(&mut self, session: &mut Option<Resumable>) -> Result<Greeting, Error> {
        let about = About {
            utc_offset_minutes: Some(utc_offset_minutes(&self.world)),
            ..self.about.clone()
        };
        let held = &self.frames.held;
        let ended = |frame_id: &str| held.is_ended(frame_id);
        let resume = session.as_mut().map(|session| session.resume(ended));
        let resume = resume.unwrap_or_default();
        Greeting::new(&about, &mut self.store, self.world.clone(), resume)
    }

    /// Takes note of what came of opening a stream to take this session up.
    fn tried(&mut self, opened: Opened, session: &mut Option<Resumable>) -> Opened {
        match &opened {
            Ok(_) => {
                self.refusals = 0;
                self.tokenless = 0;
            }
            Err(Error::NoToken(_)) => {}
            Err(error) => {
                self.tokenless = 0;
                self.frames.held.acquit();
                if matches!(error, Error::Disowned(_)) {
                    *session = None;
                }
            }
        }
        opened
    }

    /// A stream is open that stands alone: it goes on with all that was sent.
    fn admit(&mut self, link: &mut Link, ready: SessionReady, observe: &mut impl FnMut(Step)) {
        let known = ready.resumed.clone().unwrap_or_default();
        self.welcome(ready, observe);
        self.frames.stream_opened(&known, observe);
        link.expect(self.frames.held.all_sent());
    }

    /// Tells of a session, and of what this desk offers it in vain.
    fn welcome(&self, ready: SessionReady, observe: &mut impl FnMut(Step)) {
        let known = &ready.executable_tools;
        let unknown = self.about.executes.unknown_to(known);
        // Once for each session; a server that does not list tools knows the searches alone.
        let is_news = ready.resumed.is_none() && !known.is_empty() && !unknown.is_empty();
        observe(Step::Ready(ready));
        if is_news {
            let message = format!(
                "The server knows no tool of this name: {}.",
                unknown.join(", ")
            );
            let code = "UNKNOWN_TOOL".to_owned();
            observe(Step::Complaint(ServerError {
                code,
                message,
                ..ServerError::default()
            }));
        }
    }

    /// Another stream takes the place of this one. If it has not taken the session up, but
    /// this one is still there, for so long, this one's frames are answered on it.
    fn change(
        &mut self,
        link: &mut Link,
        (mut other, mut ready): (Link, SessionReady),
        ended_by: Option<Instant>,
        observe: &mut impl FnMut(Step),
    ) -> Option<Old> {
        let is_taken_up = other.take_up(link.session(), &mut ready);
        match ended_by {
            Some(ended_by) if !is_taken_up => {
                self.welcome(ready, observe);
                let link = std::mem::replace(link, other);
                Some(Old { link, ended_by })
            }
            _ => {
                self.admit(&mut other, ready, observe);
                *link = other;
                None
            }
        }
    }

    /// The next stream could not be opened: it is tried again while there is this one,
    /// unless that is of no use.
    fn put_off(&mut self, error: Error, leave: &mut Leave) {
        if self.is_fatal(&error) {
            leave.overlaps = false;
            leave.fatal = Some(error);
        } else {
            leave.open_next = Instant::now() + self.backoff.after_failure(&self.world);
        }
    }

    /// A stream that was left is of no more use: what it owes is to be sent on the other.
    fn drop_old(&mut self, old: &mut Option<Old>) {
        let old = old.take();
        for frame_id in old.iter().flat_map(|old| old.link.unanswered()) {
            self.frames.held.turn_back(frame_id);
        }
    }

    /// Says on a stream that was left what is to be said, until it is of no more use.
    async fn attend_old(&mut self, old: &mut Option<Old>) {
        let Some(one) = old else { return };
        let attended = self.attend(&mut one.link).await;
        if one.link.is_settled() {
            one.link.finish();
        }
        if attended.is_err() || one.ended_by <= Instant::now() {
            self.drop_old(old);
        }
    }

    /// Says on a stream what is to be said by now, but frames.
    async fn attend(&mut self, link: &mut Link) -> Result<(), Error> {
        let held = &self.frames.held;
        link.confirm(|frame_id| held.is_ended(frame_id)).await?;
        link.beat().await
    }

    /// Deals with what was heard. Whether it says that its stream takes no more frames.
    async fn deal(
        &mut self,
        heard: Heard,
        link: &mut Link,
        observe: &mut impl FnMut(Step),
    ) -> Result<bool, Error> {
        let Some(ending) = link.act(heard, &mut self.store, observe).await? else {
            return Ok(false);
        };
        self.backoff.reset();
        Ok(self.frames.settle(ending, observe))
    }

    /// Sends the frames that are to be sent by now. Whether one ended by that, which is
    /// yet to be kept.
    async fn send_due(
        &mut self,
        link: &mut Link,
        observe: &mut impl FnMut(Step),
    ) -> Result<bool, Error> {
        let held = &mut self.frames.held;
        let mut is_any_ended = false;
        while let Some(screen) = held.due().cloned() {
            let id = screen.id.clone();
            match link.send_frame(screen, &mut self.store, observe).await {
                Ok(()) => held.sent(&id),
                Err(error @ Error::TooLarge { .. }) => {
                    let error = ServerError {
                        retryable: false,
                        ..told(&id, "MESSAGE_TOO_LARGE", &error)
                    };
                    held.end(&id, Verdict::Failed(error));
                    is_any_ended = true;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(is_any_ended)
    }
}

/// How far the user's clock is ahead of UTC, now.
fn utc_offset_minutes(world: &World) -> i32 {
    TimeZone::system().to_offset(world.now()).seconds() / 60
}
