//! A long result of a device, which comes in pieces.

use std::mem;

use crate::domain::{CallFault, CallFaultCode};

/// A result that comes in pieces has so many bytes at most.
const MOST_BYTES: usize = 256 << 10;

/// A piece of a long result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Its place: 0, 1, 2 and so on.
    pub sequence: i64,
    /// A part of the result's JSON.
    pub text: String,
    /// Whether it is the last one.
    pub last: bool,
}

/// Those that have come.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    text: String,
    next: i64,
}

impl Pieces {
    /// Takes a piece; with the last one comes the whole, and with one that does not fit
    /// what is wrong.
    pub(super) fn add(&mut self, piece: &Piece) -> Option<Result<String, CallFault>> {
        if piece.sequence != self.next {
            return Some(Err(CallFault::may_have_run(
                CallFaultCode::Broken,
                "The pieces of its result came out of order.",
            )));
        }
        if self.text.len() + piece.text.len() > MOST_BYTES {
            return Some(Err(CallFault::may_have_run(
                CallFaultCode::Exhausted,
                format!("Its result is longer than {MOST_BYTES} bytes."),
            )));
        }
        self.text.push_str(&piece.text);
        self.next += 1;
        piece.last.then(|| Ok(mem::take(&mut self.text)))
    }
}
