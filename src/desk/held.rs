//! The frames in hand: each is kept until it has its one terminal event.

use std::time::Duration;

use tokio::time::Instant;

use super::{Backoff, Ending, Screen, Verdict};
use crate::world::World;

/// Frames in hand at once. Servers analyse two of a session at a time, and of more
/// that wait keep only the newest.
const AT_ONCE: usize = 2;
/// How often a frame is sent until it is given up. Sendings that ended because the
/// session did are not counted.
const MOST_TRIES: u32 = 5;

/// All of them.
pub(super) struct Held {
    frames: Vec<Frame>,
    /// Of each frame, before it fails.
    backoff: Backoff,
}

struct Frame {
    screen: Screen,
    failures: Backoff,
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
                state: State::Due(Instant::now()),
            });
        }
    }

    /// A frame that is to be sent now.
    pub(super) fn due(&self) -> Option<&Screen> {
        let now = Instant::now();
        let due = |frame: &&Frame| matches!(frame.state, State::Due(at) if at <= now);
        self.frames.iter().find(due).map(|frame| &frame.screen)
    }

    /// When the next frame is to be sent.
    pub(super) fn next_due(&self) -> Option<Instant> {
        let due = |frame: &Frame| match frame.state {
            State::Due(at) => Some(at),
            State::Sent(_) | State::Ended(_) => None,
        };
        self.frames.iter().filter_map(due).min()
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

    /// The session ended: whatever was sent is to be sent again.
    pub(super) fn unsend_all(&mut self) {
        for frame in self.frames.iter_mut().filter(|frame| frame.is_sent()) {
            frame.state = State::Due(Instant::now());
        }
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
