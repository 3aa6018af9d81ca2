//! How many calls a user may have under way at once, apart from streams: each reads a
//! log that others want to read too, and has an answer in memory until it is taken.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
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
        Some(turn) => response.map(|body| {
            let (last, _turn) = (None, turn);
            boxed(Kept { body, last, _turn })
        }),
        None => response,
    }
}

/// The body of an answer, whose turn is over when it has gone.
///
/// An HTTP/2 connection takes any piece for which its peer has room for one byte, and
/// keeps it until there is more room. So the last byte of a piece comes by itself: it is
/// taken when the peer has all the others.
pub(super) struct Kept<B> {
    body: B,
    last: Option<Bytes>,
    _turn: Turn,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Kept<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(last) = self.last.take() {
            return Poll::Ready(Some(Ok(Frame::data(last))));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let frame = frame.map(|frame| {
            frame.map(|frame| {
                frame.map_data(|mut data| {
                    let rest = data.len().saturating_sub(1);
                    if rest > 0 {
                        self.last = Some(data.split_off(rest));
                    }
                    data
                })
            })
        });
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.last.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let last = u64::from(self.last.is_some());
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + last);
        }
        hint.set_lower(hint.lower() + last);
        hint
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use http_body_util::{BodyExt, Full};

    use super::*;

    #[test]
    fn a_turn_lasts_until_the_body_of_its_answer_has_gone() {
        let (turns, ada, bob) = (Turns::default(), Uid::new("ada"), Uid::new("bob"));
        let mut taken: Vec<_> = (0..MOST_AT_ONCE)
            .map(|_| turns.take(&ada).unwrap())
            .collect();
        assert_eq!(turns.take(&ada).unwrap_err(), TooMany);
        turns.take(&bob).unwrap();
        let mut response = http::Response::new(Full::new(Bytes::from_static(b"said")));
        response.extensions_mut().insert(taken.pop().unwrap());
        let mut bodies = Vec::new();
        let response = keep(response, |kept| {
            assert_eq!(kept.size_hint().exact(), Some(4));
            bodies.push(kept);
            Full::default()
        });
        drop(response);
        assert_eq!(turns.take(&ada).unwrap_err(), TooMany);
        let mut body = bodies.pop().unwrap();
        for piece in ["sai", "d"] {
            assert!(!body.is_end_stream());
            let left = if piece == "d" { 1 } else { 4 };
            assert_eq!(body.size_hint().exact(), Some(left));
            let frame = body.frame().now_or_never().unwrap().unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), piece);
        }
        assert!(body.is_end_stream());
        assert_eq!(turns.take(&ada).unwrap_err(), TooMany);
        drop(body);
        drop(turns.take(&ada).unwrap());
        drop(taken);
        assert!(turns.calls().is_empty(), "nobody is remembered");
    }
}
