//! The body of a request, bounded in size and time; a large one is counted as it
//! arrives, like a message of any door.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt;
use http::header::EXPECT;
use http::{StatusCode, Version};
use http_body::{Frame, SizeHint};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout_at};

use super::PAGE_TIMEOUT;
use crate::session::{Account, Held, NoRoom, Refusal, RefusalCode};
use crate::transport::arriving::{ARRIVAL, Arriving};
use crate::transport::problem::Problem;

/// Of the body of a request that is refused, so much is heard: more than any may have,
/// for so long.
const HEARD: usize = 16 << 20;
const HEARING: Duration = Duration::from_secs(2);

/// A body that has arrived as text, and what is held for it.
pub(super) struct Text {
    bytes: Vec<u8>,
    held: Option<Held>,
}

impl Text {
    /// Reads a body of at most `most` bytes, which are counted in the account.
    pub(super) async fn read(body: Body, most: usize, account: &Account) -> Result<Self, Problem> {
        let mut pieces = Pieces::new(body, most, ARRIVAL);
        let mut arriving = Arriving::new(most);
        while let Some(piece) = pieces.next().await? {
            arriving.take(&piece, most, account).map_err(no_room)?;
        }
        let (bytes, held) = arriving.finish();
        Ok(Self { bytes, held })
    }

    /// Reads a body of at most `most` bytes, so few that nobody counts them.
    pub(super) async fn read_small(body: Body, most: usize) -> Result<Self, Problem> {
        let mut pieces = Pieces::new(body, most, PAGE_TIMEOUT);
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next().await? {
            bytes.extend_from_slice(&piece);
        }
        Ok(Self { bytes, held: None })
    }

    /// What it says.
    pub(super) fn text(&self) -> Result<&str, Problem> {
        std::str::from_utf8(&self.bytes).map_err(|_| {
            let message = "The body is not UTF-8, so it is not JSON.";
            Refusal::new(RefusalCode::InvalidEvent, message).into()
        })
    }

    /// Gives away what is held for it.
    pub(super) fn take_held(&mut self) -> Option<Held> {
        self.held.take()
    }
}

/// A body as it comes.
struct Pieces {
    body: BodyDataStream,
    most: usize,
    left: usize,
    whole_by: Instant,
}

impl Pieces {
    fn new(body: Body, most: usize, within: Duration) -> Self {
        Self {
            body: body.into_data_stream(),
            most,
            left: most,
            whole_by: Instant::now() + within,
        }
    }

    /// The next one, if there is one.
    async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        let piece = timeout_at(self.whole_by, self.body.next()).await;
        let piece = piece.map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT))?;
        // Of a body that breaks off nobody is left to be told; one may be no HTTP.
        let piece = piece.transpose();
        let piece = piece.map_err(|_| Problem::new(StatusCode::BAD_REQUEST))?;
        let size = piece.as_ref().map_or(0, Bytes::len);
        match self.left.checked_sub(size) {
            Some(left) => self.left = left,
            None => return Err(too_large(self.most)),
        }
        Ok(piece)
    }
}

fn too_large(most: usize) -> Problem {
    let message = format!("The body has more than the {most} bytes that are taken here.");
    Refusal::new(RefusalCode::MessageTooLarge, message).into()
}

fn no_room(full: NoRoom) -> Problem {
    let message = format!("{full}; send it again later.");
    Refusal::new(RefusalCode::Overloaded(full), message).into()
}

/// Reads what is still on its way of a request that was refused: a connection that is
/// closed with bytes unread is reset, and the client might never see why. Over HTTP/2
/// it would, and who waits to be told to go on has sent nothing.
pub(super) async fn hear_out(request: Request, next: Next) -> Response {
    if request.version() != Version::HTTP_11 || request.headers().contains_key(EXPECT) {
        return next.run(request).await;
    }
    let (give_back, mut back) = oneshot::channel();
    let request = request.map(|body| {
        Body::new(Lent {
            body,
            give_back: Some(give_back),
        })
    });
    let response = next.run(request).await;
    let is_refused = response.status().is_client_error() || response.status().is_server_error();
    if is_refused && let Ok(unread) = back.try_recv() {
        let mut unread = Pieces::new(unread, HEARD, HEARING);
        while let Ok(Some(_)) = unread.next().await {}
    }
    response
}

/// A body that is given back when nobody reads it any more.
struct Lent {
    body: Body,
    give_back: Option<oneshot::Sender<Body>>,
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        if let Some(give_back) = self.give_back.take() {
            // Whoever lent it may have gone.
            let _ = give_back.send(mem::take(&mut self.body));
        }
    }
}
