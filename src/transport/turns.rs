//! How many calls a user may have under way at once, apart from streams: each reads a
//! log that others want to read too, and has an answer in memory until it is taken.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};

use crate::domain::Uid;

/// More than any client needs that does not wait for its answers, and few enough that
/// one user does not keep the others from their logs.
pub(super) const MOST_AT_ONCE: usize = 16;

/// The calls of all users that are under way; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<Mutex<HashMap<Uid, usize>>>);

/// The user has too many calls under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("This user has {MOST_AT_ONCE} calls under way; wait for an answer, and try again.")]
pub(super) struct TooMany;

/// One call that is under way, until its answer has been taken.
#[derive(Clone, Debug)]
pub(super) struct Turn(#[expect(dead_code, reason = "it is there until it is dropped")] Arc<Taken>);

#[derive(Debug)]
struct Taken {
    turns: Turns,
    user: Uid,
}

impl Turns {
    /// Begins a call.
    ///
    /// # Errors
    /// The user has too many already.
    pub(super) fn take(&self, user: &Uid) -> Result<Turn, TooMany> {
        let mut calls = self.calls();
        let count = calls.entry(user.clone()).or_default();
        if *count == MOST_AT_ONCE {
            return Err(TooMany);
        }
        *count += 1;
        let (turns, user) = (self.clone(), user.clone());
        Ok(Turn(Arc::new(Taken { turns, user })))
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<Uid, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut calls = self.turns.calls();
        if let Some(count) = calls.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                calls.remove(&self.user);
            }
        }
    }
}

/// Whatever turn is among the response's extensions goes with its body.
pub(super) fn keep<B>(
    mut response: http::Response<B>,
    boxed: impl FnOnce(Kept<B>) -> B,
) -> http::Response<B> {
    match response.extensions_mut().remove::<Turn>() {
        Some(turn) => response.map(|body| boxed(Kept { body, _turn: turn })),
        None => response,
    }
}

/// The body of an answer, whose turn is over when it has gone. It never says beforehand
/// that it is at its end: an HTTP/2 connection takes a last piece at once, but asks for
/// what comes after it when its peer has taken that piece.
pub(super) struct Kept<B> {
    body: B,
    _turn: Turn,
}

impl<B: Body + Unpin> Body for Kept<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[test]
    fn a_turn_lasts_until_the_body_of_its_answer_has_gone() {
        let (turns, ada, bob) = (Turns::default(), Uid::new("ada"), Uid::new("bob"));
        let mut taken: Vec<_> = (0..MOST_AT_ONCE)
            .map(|_| turns.take(&ada).unwrap())
            .collect();
        assert_eq!(turns.take(&ada).unwrap_err(), TooMany);
        turns.take(&bob).unwrap();
        let mut response = http::Response::new(Full::new(&b"said"[..]));
        response.extensions_mut().insert(taken.pop().unwrap());
        let mut bodies = Vec::new();
        let response = keep(response, |kept| {
            assert!(!kept.is_end_stream());
            assert_eq!(kept.size_hint().exact(), Some(4));
            bodies.push(kept);
            Full::default()
        });
        drop(response);
        assert_eq!(turns.take(&ada).unwrap_err(), TooMany);
        drop(bodies);
        drop(turns.take(&ada).unwrap());
        drop(taken);
        assert!(turns.calls().is_empty(), "nobody is remembered");
    }
}
