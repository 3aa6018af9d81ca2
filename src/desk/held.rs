//! The frames in hand: each is kept until it has its one terminal event.

use std::time::Duration;

use tokio::time::Instant;

use super::{Backoff, Ending, Screen, Verdict};
use crate::world::World;

/// Frames in hand at once. Servers analyse two of a session at a time, and of more
/// that wait keep only the newest.
const AT_ONCE: usize = 2;
/// How often a frame is sent until it is given up; and how many sessions may end over
/// it, which is counted apart.
pub(super) const MOST_TRIES: u32 = 5;

/// All of them.
pub(super) struct Held {
    frames: Vec<Frame>,
    /// Of each frame, before it fails.
    backoff: Backoff,
}

struct Frame {
    screen: Screen,
    failures: Backoff,
    /// Sessions that ended while it was under way. If there are any, it is sent alone,
    /// so that it takes no other with it.
    broken: u32,
    /// The last session ended while it was under way, and whether that was the
    /// network's end is yet to be seen.
    suspected: bool,
    state: State,
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
        let frames = Vec::new();
        Self { frames, backoff }
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

    /// Takes a frame in, to be sent at once; one that is here already is not taken
    /// twice.
    pub(super) fn add(&mut self, screen: Screen) {
        if self.frames.iter().all(|frame| frame.screen.id != screen.id) {
            self.frames.push(Frame {
                screen,
                failures: self.backoff.clone(),
                broken: 0,
                suspected: false,
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
        let sent = |frame: &Frame| match frame.state {
            State::Sent(at) => Some(at),
            State::Due(_) | State::Ended(_) => None,
        };
        self.frames.iter().filter_map(sent).min()
    }

    pub(super) fn sent(&mut self, id: &str) {
        if let Some(frame) = self.frame(id) {
            frame.state = State::Sent(Instant::now());
        }
    }

    /// It has ended like this.
    pub(super) fn end(&mut self, id: &str, verdict: Verdict) {
        if let Some(frame) = self.frame(id) {
            let frame_id = id.to_owned();
            frame.state = State::Ended(Ending { frame_id, verdict });
        }
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

    /// It did not end, through no fault of its own.
    pub(super) fn unsend(&mut self, id: &str) {
        if let Some(frame) = self.frame(id) {
            frame.state = State::Due(Instant::now());
        }
    }

    /// The session was left: whatever was sent is to be sent again.
    pub(super) fn unsend_all(&mut self) {
        for frame in self.frames.iter_mut().filter(|frame| frame.is_sent()) {
            frame.state = State::Due(Instant::now());
        }
    }

    /// The session ended, perhaps over one of those that were sent: all are to be sent
    /// again.
    pub(super) fn suspect_sent(&mut self) {
        for frame in self.frames.iter_mut().filter(|frame| frame.is_sent()) {
            frame.suspected = true;
        }
        self.unsend_all();
    }

    /// No session can be opened now: the last one was not ended by a frame.
    pub(super) fn acquit(&mut self) {
        for frame in &mut self.frames {
            frame.suspected = false;
        }
    }

    /// The next session is open, so that the last one may have been ended by a frame.
    /// Those that this happened to too often; they are given up.
    pub(super) fn convict(&mut self) -> Vec<String> {
        for frame in &mut self.frames {
            frame.broken += u32::from(std::mem::take(&mut frame.suspected));
        }
        let given_up = self
            .frames
            .extract_if(.., |frame| frame.broken >= MOST_TRIES);
        given_up.map(|frame| frame.screen.id).collect()
    }

    /// It failed, which may pass, but not before `least`. How long until it is sent
    /// again; `None` if it was tried often enough: it has ended then.
    pub(super) fn postpone(
        &mut self,
        id: &str,
        least: Duration,
        world: &World,
    ) -> Option<Duration> {
        let frame = self.frame(id)?;
        let again = least + frame.failures.after_failure(world);
        if frame.failures.failures() >= MOST_TRIES {
            self.remove(id);
            return None;
        }
        frame.state = State::Due(Instant::now() + again);
        Some(again)
    }

    /// Those that were sent before `then`, or all of them.
    pub(super) fn sent_before(&self, then: Option<Instant>) -> Vec<String> {
        let early = |frame: &&Frame| match (&frame.state, then) {
            (State::Sent(at), Some(then)) => *at <= then,
            (State::Sent(_), None) => true,
            (State::Due(_) | State::Ended(_), _) => false,
        };
        let id = |frame: &Frame| frame.screen.id.clone();
        self.frames.iter().filter(early).map(id).collect()
    }

    fn frame(&mut self, id: &str) -> Option<&mut Frame> {
        self.frames.iter_mut().find(|frame| frame.screen.id == id)
    }
}

impl Frame {
    fn is_sent(&self) -> bool {
        matches!(self.state, State::Sent(_))
    }
}
