//! Calls that a device was asked and that nobody waits for any more: what it is to be told
//! of them, and to be told again if it may not have heard it.

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{FrameId, RequestId};

/// A stream may have been dead for so long before anybody notices; what was said on it is
/// said again on the next one. (A client that does not know a call ignores it.)
const UNHEARD: Duration = Duration::from_secs(120);
/// Of those, the newest.
const MOST_UNHEARD: usize = 32;

/// A call that is no longer waited for, though the device has been asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CalledOff {
    /// Which.
    pub request: RequestId,
    /// For which frame it was.
    pub frame: FrameId,
    /// Why, for people.
    pub reason: &'static str,
}

/// Those of one device.
#[derive(Debug, Default)]
pub(super) struct AllCalledOff {
    /// Not told yet. Bounded as the calls are that a device has been asked, and the
    /// session tells it before it asks for more.
    news: Vec<CalledOff>,
    /// Told, and when.
    told: VecDeque<(Instant, CalledOff)>,
}

impl AllCalledOff {
    pub(super) fn add(&mut self, call: Option<CalledOff>) {
        self.news.extend(call);
    }

    pub(super) fn has_news(&self) -> bool {
        !self.news.is_empty()
    }

    /// What is now to be told.
    pub(super) fn tell(&mut self) -> Vec<CalledOff> {
        let now = Instant::now();
        let news = mem::take(&mut self.news);
        self.told
            .extend(news.iter().map(|call| (now, call.clone())));
        let surplus = self.told.len().saturating_sub(MOST_UNHEARD);
        self.told.drain(..surplus);
        news
    }

    /// There is another stream.
    pub(super) fn tell_again(&mut self) {
        let told = mem::take(&mut self.told).into_iter();
        let unheard = told.filter(|(told, _)| told.elapsed() < UNHEARD);
        self.news.splice(..0, unheard.map(|(_, call)| call));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(number: usize) -> CalledOff {
        CalledOff {
            request: RequestId::new(number.to_string()),
            frame: FrameId::new("f"),
            reason: "it is over",
        }
    }

    fn numbers(calls: Vec<CalledOff>) -> Vec<usize> {
        let numbers = calls.iter().map(|call| call.request.as_str().parse());
        numbers.collect::<Result<_, _>>().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_said_to_a_stream_that_may_have_been_dead_is_said_again() {
        let mut calls = AllCalledOff::default();
        calls.add(Some(call(0)));
        assert_eq!(numbers(calls.tell()), [0]);
        assert!(calls.tell().is_empty(), "once to each stream");
        tokio::time::advance(UNHEARD).await;
        calls.add(Some(call(1)));
        calls.tell();
        calls.add(Some(call(2)));
        calls.tell_again();
        assert_eq!(
            numbers(calls.tell()),
            [1, 2],
            "the first was heard long ago"
        );
    }

    #[test]
    fn the_newest_are_kept() {
        let mut calls = AllCalledOff::default();
        for number in 0..100 {
            calls.add(Some(call(number)));
            calls.tell();
        }
        calls.tell_again();
        let kept: Vec<_> = (100 - MOST_UNHEARD..100).collect();
        assert_eq!(numbers(calls.tell()), kept);
    }
}
