//! The body of a request, counted as it arrives like a message of any door.

use axum::body::Body;
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use crate::session::{Account, Held, NoRoom, Refusal, RefusalCode};
use crate::transport::arriving::{ARRIVAL, Arriving};
use crate::transport::problem::Problem;

/// A body that has arrived as text, and what is held for it.
pub(super) struct Text {
    bytes: Vec<u8>,
    held: Option<Held>,
}

impl Text {
    /// Reads a body of at most `most` bytes, which are counted in the account.
    pub(super) async fn read(
        mut body: Body,
        most: usize,
        account: &Account,
    ) -> Result<Self, Problem> {
        let whole_by = Instant::now() + ARRIVAL;
        let mut arriving = Arriving::new(most);
        loop {
            let frame = timeout_at(whole_by, body.frame());
            let frame = frame
                .await
                .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT))?;
            let piece = match frame {
                None => break,
                // Nobody is left to be told.
                Some(Err(_)) => return Err(Problem::new(StatusCode::BAD_REQUEST)),
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
            };
            if arriving.bytes().len() + piece.len() > most {
                let message =
                    format!("The body has more than the {most} bytes that are taken here.");
                return Err(Refusal::new(RefusalCode::MessageTooLarge, message).into());
            }
            arriving.take(&piece, most, account).map_err(no_room)?;
        }
        let (bytes, held) = arriving.finish();
        Ok(Self { bytes, held })
    }

    pub(super) fn text(&self) -> Result<&str, Problem> {
        text(&self.bytes)
    }

    /// Gives away what is held for it.
    pub(super) fn take_held(&mut self) -> Option<Held> {
        self.held.take()
    }
}

/// The text that a body is.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(bytes).map_err(|_| {
        let message = "The body is not UTF-8, so it is not JSON.";
        Refusal::new(RefusalCode::InvalidEvent, message).into()
    })
}

fn no_room(full: NoRoom) -> Problem {
    let message = format!("{full}; send it again later.");
    Refusal::new(RefusalCode::Overloaded(full), message).into()
}
