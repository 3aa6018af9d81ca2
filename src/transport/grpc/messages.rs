//! Reads a gRPC request body message by message (the length-prefixed framing of
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
//!
//! tonic's own reader ends the stream at the first message that is too large or
//! cannot be parsed, and keeps a buffer as large as the largest message until
//! the stream ends. Here such a message costs only itself, and an idle stream
//! holds nothing.
//!
//! A message of more than 32 KiB is counted as it arrives, see `arriving`, and for
//! as long as the JPEG in it is kept. Where there is no room it is not waited
//! for, which could wait for ever: the rest is read and forgotten, and its client
//! told.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes};
use futures::{Stream, stream};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};
use tonic::body::Body;

use super::skim::Skim;
use crate::session::{Account, Input, NoRoom, Refusal, RefusalCode};
use crate::transport::arriving::{Arriving, SIGN_OF_LIFE, kept, overloaded};
use crate::transport::wire::inbound;

/// Of a gRPC message: one byte of flags, four of length.
const PREFIX: usize = 5;
/// The body of a request, on its way around tonic's reader. Taken once.
#[derive(Clone)]
pub(super) struct RawBody(Arc<Mutex<Option<Body>>>);

impl RawBody {
    pub(super) fn new(body: Body) -> Self {
        Self(Arc::new(Mutex::new(Some(body))))
    }

    pub(super) fn take(&self) -> Option<Body> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// What the client says, in order. Ends when the client closes its side.
pub fn inputs(body: Body, max_message: usize, account: Account) -> impl Stream<Item = Input> {
    let reader = Reader::new(body, max_message, account);
    stream::unfold(reader, |mut reader| async move {
        let input = match reader.next().await? {
            Read::Message(message) => inbound::input(message),
            Read::Else(input) => input,
        };
        Some((input, reader))
    })
}

/// The one message of a call.
///
/// # Errors
/// What to tell its client; `None` if it has gone.
pub(super) async fn only(
    body: Body,
    max_message: usize,
    account: Account,
) -> Result<Bytes, Option<Refusal>> {
    let mut reader = Reader::new(body, max_message, account);
    loop {
        match reader.next().await {
            Some(Read::Message(message)) => return Ok(message),
            Some(Read::Else(Input::Refused(refusal))) => return Err(Some(refusal)),
            Some(Read::Else(Input::Part)) => {}
            Some(Read::Else(_)) | None => return Err(None),
        }
    }
}

/// What comes next in a request body.
enum Read {
    Message(Bytes),
    /// Something else to tell, which is never a message.
    Else(Input),
}

struct Reader {
    /// `None` once the client has closed its side, or the connection broke.
    body: Option<Body>,
    /// What has been received and not yet looked at.
    chunk: Bytes,
    state: State,
    max_message: usize,
    account: Account,
    /// When the session last heard of something that arrived.
    told: Instant,
    /// It is not read any more, because an event did not arrive in time.
    stalled: bool,
}

enum State {
    Prefix {
        seen: usize,
        bytes: [u8; PREFIX],
    },
    Message {
        message: Arriving,
        left: usize,
    },
    /// A message for which there is no room.
    PassBy {
        left: usize,
        skim: Box<Skim>,
        full: NoRoom,
    },
    /// A message that cannot be used.
    Skip {
        left: usize,
        refusal: Refusal,
    },
}

impl Default for State {
    fn default() -> Self {
        Self::Prefix {
            seen: 0,
            bytes: [0; PREFIX],
        }
    }
}

impl Reader {
    fn new(body: Body, max_message: usize, account: Account) -> Self {
        Self {
            body: Some(body),
            chunk: Bytes::new(),
            state: State::default(),
            max_message,
            account,
            told: Instant::now(),
            stalled: false,
        }
    }

    async fn next(&mut self) -> Option<Read> {
        loop {
            if let Some(read) = self.advance() {
                self.told = Instant::now();
                return Some(read);
            }
            // Empty by now, but a part of what the connection reads into.
            self.chunk = Bytes::new();
            let whole_by = self.whole_by();
            let Some(body) = &mut self.body else {
                return mem::take(&mut self.stalled).then_some(Read::Else(Input::Stalled));
            };
            let frame = body.frame();
            let frame = match whole_by {
                None => Ok(frame.await),
                Some(time) => timeout_at(time, frame).await,
            };
            match frame {
                // Trailers carry nothing for us.
                Ok(Some(Ok(frame))) => {
                    self.chunk = frame.into_data().unwrap_or_default();
                    if let Some(read) = self.advance() {
                        return Some(read);
                    }
                    if self.told.elapsed() >= SIGN_OF_LIFE {
                        self.told = Instant::now();
                        return Some(Read::Else(Input::Part));
                    }
                }
                Ok(Some(Err(_))) => {
                    self.body = None;
                    return Some(Read::Else(Input::Lost));
                }
                Ok(None) => {
                    self.body = None;
                    return self.cut_off("The stream ended in the middle of an event.");
                }
                Err(_) => {
                    self.body = None;
                    self.stalled = true;
                    return self
                        .cut_off("The event took too long to arrive; nothing more is read.");
                }
            }
        }
    }

    /// Works through the chunk as far as the next message.
    fn advance(&mut self) -> Option<Read> {
        loop {
            match &mut self.state {
                State::Prefix { seen, bytes } => {
                    let count = (PREFIX - *seen).min(self.chunk.len());
                    self.chunk.copy_to_slice(&mut bytes[*seen..*seen + count]);
                    *seen += count;
                    if *seen < PREFIX {
                        return None;
                    }
                    self.state = begin(*bytes, self.max_message);
                }
                State::Message { message, left } => {
                    let piece = self.chunk.len().min(*left);
                    let whole = message.bytes().len() + *left;
                    if let Err(full) = message.take(&self.chunk[..piece], whole, &self.account) {
                        let mut skim = Box::<Skim>::default();
                        skim.read(message.bytes());
                        let left = *left;
                        self.state = State::PassBy { left, skim, full };
                        continue;
                    }
                    self.chunk.advance(piece);
                    *left -= piece;
                    if *left > 0 {
                        return None;
                    }
                    let (bytes, held) = mem::replace(message, Arriving::new(0)).finish();
                    self.state = State::default();
                    return Some(Read::Message(kept(bytes, held)));
                }
                State::PassBy { left, skim, full } => {
                    let piece = self.chunk.split_to(self.chunk.len().min(*left));
                    skim.read(&piece);
                    *left -= piece.len();
                    if *left > 0 {
                        return None;
                    }
                    let (full, skim) = (*full, mem::take(skim));
                    self.state = State::default();
                    return Some(Read::Else(Input::Refused(Refusal {
                        frame: skim.frame(),
                        ..overloaded(full)
                    })));
                }
                State::Skip { left, refusal } => {
                    let count = self.chunk.len().min(*left);
                    self.chunk.advance(count);
                    *left -= count;
                    if *left > 0 {
                        return None;
                    }
                    let refusal = refusal.clone();
                    self.state = State::default();
                    return Some(Read::Else(Input::Refused(refusal)));
                }
            }
        }
    }

    /// What to say of a message that the end of the stream cut off.
    fn cut_off(&mut self, why: &str) -> Option<Read> {
        match mem::take(&mut self.state) {
            State::Prefix { seen: 0, .. } => None,
            _ => Some(Read::Else(Input::Refused(Refusal::new(
                RefusalCode::InvalidEvent,
                why,
            )))),
        }
    }

    /// When the message under way must be whole, if it is counted.
    fn whole_by(&self) -> Option<Instant> {
        match &self.state {
            State::Message { message, .. } => message.whole_by(),
            _ => None,
        }
    }
}

fn begin([flags, length @ ..]: [u8; PREFIX], max_message: usize) -> State {
    let left = u32::from_be_bytes(length) as usize;
    let unusable = if left > max_message {
        let message = format!("The event has {left} bytes; at most {max_message} are taken.");
        Some(Refusal::new(RefusalCode::MessageTooLarge, message))
    } else if flags != 0 {
        let message = "The event is compressed, which this server does not take.".to_owned();
        Some(Refusal::new(RefusalCode::InvalidEvent, message))
    } else {
        None
    };
    match unusable {
        Some(refusal) => State::Skip { left, refusal },
        None => State::Message {
            message: Arriving::new(left),
            left,
        },
    }
}

#[cfg(test)]
mod tests;
