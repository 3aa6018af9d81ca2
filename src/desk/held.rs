//! The frames in hand: each is kept until it has its one terminal event.

use std::time::Duration;

use tokio::time::Instant;

use super::shots::Later;
use super::{Ending, Screen, Verdict};
use crate::transport::proto::Resumed;
use crate::world::{Backoff, World};

/// Frames in hand at once. Servers analyse two of a session at a time, and of more
/// that wait keep only the newest.
const AT_ONCE: usize = 2;
/// How often a frame is sent until it is given up; and how many sessions may end over
/// it, which is counted apart.
const MOST_TRIES: u32 = 5;
/// How many sessions may end while it is under way if no other could be opened at once,
/// or if the server said that it goes away: that is an outage, or else a frame that takes
/// the only server with it.
const MOST_OUTAGES: u32 = 20;

/// All of them.
pub(super) struct Held {
    frames: Vec<Frame>,
    /// When the frame was sent that was sent last of all that got a decision.
    decided: Option<Instant>,
    /// Of each frame, before it fails.
    backoff: Backoff,
}

struct Frame {
    screen: Screen,
    /// What it can be put aside as.
    later: Option<Later>,
    failures: Backoff,
    /// Sessions that ended while it was under way, and were followed by another at once.
    /// If there are any, it is sent alone, so that it takes no other with it.
    broken: u32,
    /// Sessions that ended so, and nobody was there for a while, or that the server went
    /// away from.
    outages: u32,
    /// The last session ended while it was under way, and whether that was the
    /// network's end is yet to be seen.
    suspected: bool,
    /// It had an answer that made it be sent again.
    repeated: bool,
    /// When it was sent for the first time that the model refused it.
    refused: Option<Instant>,
    state: State,
}

/// A frame that was given up because too many sessions ended over it.
pub(super) struct Convict {
    pub(super) id: String,
    /// How many did.
    pub(super) times: u32,
    /// What it can be put aside as.
    pub(super) later: Option<Later>,
}

enum State {
    /// To be sent, from then on.
    Due(Instant),
    /// Sent, then.
    Sent(Instant),
    /// Ended like this, which is yet to be kept.
    Ended(Ending),
}

impl Held {
    /// None yet. A frame that failed waits for so long.
    pub(super) fn new(backoff: Backoff) -> Self {
        Self {
            frames: Vec::new(),
            decided: None,
            backoff,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether there is room for another.
    pub(super) fn has_room(&self) -> bool {
        self.frames.len() < AT_ONCE
    }

    /// Whether one of them has yet to end.
    pub(super) fn is_any_open(&self) -> bool {
        let open = |frame: &Frame| !matches!(frame.state, State::Ended(_));
        self.frames.iter().any(open)
    }

    /// Whether an answer is awaited.
    pub(super) fn is_any_sent(&self) -> bool {
        self.frames.iter().any(Frame::is_sent)
    }

    /// Those whose answers are awaited.
    pub(super) fn all_sent(&self) -> impl Iterator<Item = String> {
        let sent = self.frames.iter().filter(|frame| frame.is_sent());
        sent.map(|frame| frame.screen.id.clone())
    }

    /// Whether it has ended, which is yet to be kept.
    pub(super) fn is_ended(&self, id: &str) -> bool {
        let ended = |frame: &Frame| matches!(frame.state, State::Ended(_));
        self.frames
            .iter()
            .any(|frame| frame.screen.id == id && ended(frame))
    }

    /// Takes a frame in, to be sent at once; one that is here already is not taken
    /// twice.
    pub(super) fn add(&mut self, screen: Screen, later: Option<Later>) {
        if self.frames.iter().all(|frame| frame.screen.id != screen.id) {
            self.frames.push(Frame {
                screen,
                later,
                failures: self.backoff.clone(),
                broken: 0,
                outages: 0,
                suspected: false,
                repeated: false,
                refused: None,
                state: State::Due(Instant::now()),
            });
        }
    }

    /// A frame that is to be sent now.
    pub(super) fn due(&self) -> Option<&Screen> {
        let now = Instant::now();
        let due = self.sendable().filter(|(at, _)| *at <= now);
        let innocent_first = due.min_by_key(|(_, frame)| frame.broken);
        innocent_first.map(|(_, frame)| &frame.screen)
    }

    /// When the next frame is to be sent.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.sendable().map(|(at, _)| at).min()
    }

    /// Those that may be sent beside what is under way, and from when on.
    fn sendable(&self) -> impl Iterator<Item = (Instant, &Frame)> {
        let mut under_way = self.frames.iter().filter(|frame| frame.is_sent());
        let is_free = under_way.next().is_none();
        let is_shared = self
            .frames
            .iter()
            .all(|frame| !frame.is_sent() || frame.broken == 0);
        self.frames
            .iter()
            .filter_map(move |frame| match frame.state {
                State::Due(at) if is_free || is_shared && frame.broken == 0 => Some((at, frame)),
                _ => None,
            })
    }

    /// When the oldest of those that were sent was.
    pub(super) fn oldest_sent(&self) -> Option<Instant> {
        self.frames.iter().filter_map(Frame::sent).min()
    }

    pub(super) fn sent(&mut self, id: &str) {
        if let Some(frame) = self.frame(id) {
            frame.state = State::Sent(Instant::now());
        }
    }

    /// It has ended like this.
    pub(super) fn end(&mut self, id: &str, verdict: Verdict) {
        let Some(frame) = self.frame(id) else { return };
        let sent = frame
            .sent()
            .filter(|_| matches!(verdict, Verdict::Decided(_)));
        let frame_id = id.to_owned();
        frame.state = State::Ended(Ending { frame_id, verdict });
        self.decided = self.decided.max(sent);
    }

    /// The model refused it. Whether that may be no fault of the frame: it is one if
    /// another was decided on that was not sent earlier.
    pub(super) fn is_doubtful(&mut self, id: &str) -> bool {
        let decided = self.decided;
        let Some(frame) = self.frame(id) else {
            return false;
        };
        frame.refused = frame.refused.or(frame.sent());
        decided < frame.refused
    }

    /// An end that is to be kept.
    pub(super) fn ended(&self) -> Option<&Ending> {
        self.frames.iter().find_map(|frame| match &frame.state {
            State::Ended(ending) => Some(ending),
            State::Due(_) | State::Sent(_) => None,
        })
    }

    /// Its end is kept, or it is no longer wanted.
    pub(super) fn remove(&mut self, id: &str) {
        self.frames.retain(|frame| frame.screen.id != id);
    }

    /// The server goes away and has not looked at it.
    pub(super) fn turn_back(&mut self, id: &str) {
        if let Some(frame) = self.frame(id) {
            frame.outages += 1;
            frame.repeated = true;
            frame.state = State::Due(Instant::now());
        }
    }

    /// The server went away before it answered those that were sent, which may happen
    /// to them often, but not for ever.
    pub(super) fn turn_back_sent(&mut self) {
        for frame in self.frames.iter_mut().filter(|frame| frame.is_sent()) {
            frame.outages += 1;
        }
    }

    /// The session is of no more use: whatever was sent is to be sent again.
    pub(super) fn unsend_all(&mut self) {
        for frame in self.frames.iter_mut().filter(|frame| frame.is_sent()) {
            frame.state = State::Due(Instant::now());
        }
    }

    /// The stream ended, perhaps over one of those that were sent.
    pub(super) fn suspect_sent(&mut self) {
        for frame in self.frames.iter_mut().filter(|frame| frame.is_sent()) {
            frame.suspected = true;
        }
    }

    /// Another stream is open. Of those that were sent, the server answers on it what it
    /// knows of; the others are to be sent again.
    pub(super) fn sort_out(&mut self, known: &Resumed) {
        let now = Instant::now();
        for frame in self.frames.iter_mut().filter(|frame| frame.is_sent()) {
            let id = &frame.screen.id;
            // Of one that was sent again the answer before may be meant, which is here.
            let is_known = known.frames_in_flight.contains(id)
                || !frame.repeated && known.frames_answered.contains(id);
            if is_known {
                // The stream broke, but not the session.
                frame.outages += u32::from(std::mem::take(&mut frame.suspected));
                frame.state = State::Sent(now);
            } else {
                frame.state = State::Due(now);
            }
        }
    }

    /// No session can be opened now: the last one was most likely not ended by a frame.
    pub(super) fn acquit(&mut self) {
        for frame in &mut self.frames {
            frame.outages += u32::from(std::mem::take(&mut frame.suspected));
        }
    }

    /// The next session is open, so that the last one may have been ended by a frame.
    /// Those that this happened to too often; they are given up.
    pub(super) fn convict(&mut self) -> Vec<Convict> {
        for frame in &mut self.frames {
            frame.broken += u32::from(std::mem::take(&mut frame.suspected));
        }
        let too_often =
            |frame: &mut Frame| frame.broken >= MOST_TRIES || frame.outages >= MOST_OUTAGES;
        let given_up = self.frames.extract_if(.., too_often);
        given_up
            .map(|frame| Convict {
                id: frame.screen.id,
                times: frame.broken + frame.outages,
                later: frame.later,
            })
            .collect()
    }

    /// It failed, which may pass, but not before `least`. How long until it is sent
    /// again.
    ///
    /// # Errors
    /// It was tried often enough and is no longer here; what it can be put aside as.
    pub(super) fn postpone(
        &mut self,
        id: &str,
        least: Duration,
        world: &World,
    ) -> Result<Duration, Option<Later>> {
        let frame = self.frame(id).ok_or(None)?;
        let again = least + frame.failures.after_failure(world);
        if frame.failures.failures() >= MOST_TRIES {
            let later = frame.later.take();
            self.remove(id);
            return Err(later);
        }
        frame.repeated = true;
        frame.state = State::Due(Instant::now() + again);
        Ok(again)
    }

    /// Those that were sent before `then`.
    pub(super) fn sent_before(&self, then: Instant) -> Vec<String> {
        let early = |frame: &&Frame| frame.sent().is_some_and(|at| at <= then);
        let id = |frame: &Frame| frame.screen.id.clone();
        self.frames.iter().filter(early).map(id).collect()
    }

    fn frame(&mut self, id: &str) -> Option<&mut Frame> {
        self.frames.iter_mut().find(|frame| frame.screen.id == id)
    }
}

impl Frame {
    fn is_sent(&self) -> bool {
        self.sent().is_some()
    }

    /// When it was sent, if it is under way.
    fn sent(&self) -> Option<Instant> {
        match self.state {
            State::Sent(at) => Some(at),
            State::Due(_) | State::Ended(_) => None,
        }
    }
}
