//! What both readers of the wire bring into bounds.

use std::borrow::Cow;

use crate::domain::clip;

pub(super) fn score(score: i32) -> Option<i32> {
    (score > 0).then_some(score)
}

pub(super) fn clipped(text: String, limit: usize) -> String {
    match clip(&text, limit) {
        Cow::Borrowed(_) => text,
        Cow::Owned(short) => short,
    }
}
