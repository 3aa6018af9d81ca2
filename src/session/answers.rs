//! The last answers of a session: given again to a frame that is sent again, and
//! said again to a client that came back before it confirmed them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{FrameAnswer, Version};
use crate::domain::{FrameFault, FrameId, Outcome};

/// So many are kept. A desktop has three frames in flight, so this is long enough
/// to cover what it may send again; an answer is one or two kilobytes.
const KEPT: usize = 32;

/// What a session has answered.
#[derive(Default)]
pub(super) struct Answers {
    /// Oldest first.
    kept: VecDeque<Arc<FrameAnswer>>,
    /// The number of the newest; `None` in a session that cannot be resumed.
    last: Option<u64>,
    /// The client has kept all up to this one.
    confirmed: u64,
}

impl Answers {
    /// Whether answers are numbered from now on, and kept until they are confirmed.
    pub(super) fn number(&mut self, whether: bool) {
        match whether {
            true => {
                self.last.get_or_insert(0);
            }
            false if self.last.is_some() => *self = Self::default(),
            false => {}
        }
    }

    /// Takes a frame's answer in.
    pub(super) fn add(
        &mut self,
        frame: FrameId,
        version: Version,
        result: Result<Outcome, FrameFault>,
    ) -> Arc<FrameAnswer> {
        let number = self.last.map_or(0, |last| last + 1);
        self.last = self.last.map(|_| number);
        let answer = Arc::new(FrameAnswer {
            frame,
            number,
            version,
            result,
        });
        // A fault is kept only until it is confirmed.
        if number > 0 || answer.result.is_ok() {
            self.kept.retain(|kept| kept.frame != answer.frame);
            self.kept.push_back(answer.clone());
            if self.kept.len() > KEPT {
                self.kept.pop_front();
            }
        }
        answer
    }

    /// The decision about a frame that is sent again, to be said once more: under its
    /// number if the client may not have it, else under a new one. `None`: the frame
    /// is as good as new. (Whoever sends a frame again that failed has heard of that,
    /// and hopes for more.)
    pub(super) fn again(&mut self, frame: &FrameId) -> Option<Arc<FrameAnswer>> {
        let at = self.kept.iter().position(|kept| kept.frame == *frame)?;
        if self.kept[at].result.is_ok() && self.kept[at].number > self.confirmed {
            return Some(self.kept[at].clone());
        }
        let FrameAnswer {
            frame,
            version,
            result,
            ..
        } = Arc::unwrap_or_clone(self.kept.remove(at)?);
        result.is_ok().then(|| self.add(frame, version, result))
    }

    /// The client has kept every answer up to this number.
    pub(super) fn confirm(&mut self, number: u64) {
        let Some(last) = self.last else { return };
        self.confirmed = self.confirmed.max(number.min(last));
    }

    /// Those that the client may not have, oldest first.
    pub(super) fn unconfirmed(&self) -> impl Iterator<Item = &Arc<FrameAnswer>> {
        let confirmed = self.confirmed;
        self.kept.iter().filter(move |kept| kept.number > confirmed)
    }

    /// How much of memory they take.
    pub(super) fn bytes(&self) -> usize {
        let of = |kept: &Arc<FrameAnswer>| {
            let texts = match &kept.result {
                Ok(outcome) => outcome.bytes(),
                Err(fault) => fault.message.len(),
            };
            size_of::<FrameAnswer>() + kept.frame.as_str().len() + texts
        };
        self.kept.iter().map(of).sum()
    }

    /// The frames that need not be sent again, newest last.
    pub(super) fn frames(&self) -> Vec<FrameId> {
        let told = |kept: &&Arc<FrameAnswer>| kept.number > self.confirmed || kept.result.is_ok();
        let frames = self.kept.iter().filter(told);
        frames.map(|kept| kept.frame.clone()).collect()
    }
}
