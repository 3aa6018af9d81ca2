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

/// What becomes of a frame that is sent again.
pub(super) enum Again {
    /// It is as good as new.
    New,
    /// Its answer is on its way.
    OnItsWay,
    /// Its answer, to be said once more.
    Say(Arc<FrameAnswer>),
}

impl Answers {
    /// From now on answers are numbered, and kept until they are confirmed.
    pub(super) fn number(&mut self) {
        self.last.get_or_insert(0);
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
        // Whoever cannot confirm it may send such a frame again at any time.
        if number > 0 || is_final(&answer) {
            self.kept.retain(|kept| kept.frame != answer.frame);
            self.kept.push_back(answer.clone());
            if self.kept.len() > KEPT {
                self.kept.pop_front();
            }
        }
        answer
    }

    /// What becomes of a frame that was sent, perhaps again.
    pub(super) fn again(&mut self, frame: &FrameId) -> Again {
        let at = self.kept.iter().position(|kept| kept.frame == *frame);
        let Some(answer) = at.and_then(|at| self.kept.remove(at)) else {
            return Again::New;
        };
        // Who sends it again has heard of the passing fault.
        if !is_final(&answer) {
            return Again::New;
        }
        if answer.number > self.confirmed {
            self.kept.insert(at.unwrap_or_default(), answer);
            return Again::OnItsWay;
        }
        let FrameAnswer {
            frame,
            version,
            result,
            ..
        } = Arc::unwrap_or_clone(answer);
        Again::Say(self.add(frame, version, result))
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

    /// The frames that need not be sent again, newest last.
    pub(super) fn frames(&self) -> Vec<FrameId> {
        let told = |kept: &&Arc<FrameAnswer>| kept.number > self.confirmed || is_final(kept);
        let frames = self.kept.iter().filter(told);
        frames.map(|kept| kept.frame.clone()).collect()
    }
}

/// Whether the same frame would end so again.
fn is_final(answer: &FrameAnswer) -> bool {
    answer
        .result
        .as_ref()
        .map_or_else(|fault| !fault.retryable, |_| true)
}
