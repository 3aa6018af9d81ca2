//! Reads a gRPC request body message by message (the length-prefixed framing of
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
//!
//! tonic's own reader ends the stream at the first message that is too large or
//! cannot be parsed, and keeps a buffer as large as the largest message until
//! the stream ends. Here such a message costs only itself, and an idle stream
//! holds nothing.
//!
//! A message of more than 32 KiB is counted as it arrives, among its user's
//! bytes under way and everybody's, and for as long as the JPEG in it is kept.
//! Where there is no room it is not waited for, which could wait for ever: the
//! rest is read and forgotten, and its client told.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, stream};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};
use tonic::body::Body;

use super::inbound;
use super::skim::Skim;
use crate::session::{Account, Held, Input, NoRoom, Refusal, RefusalCode};

/// While an event arrives, the session hears so often that it does.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);
/// Of a gRPC message: one byte of flags, four of length.
const PREFIX: usize = 5;
/// A stream may hold so much of a message that is not counted: a hello, or the
/// answer to a search, is not refused for want of room unless it is very long.
const FREE: usize = 32 << 10;
/// More is counted, and given memory, in steps of so much: a screenshot in one.
/// Memory for all of a message that has hardly begun would cost nothing as long
/// as it is fresh, but is real where the allocator has used it before.
const STEP: usize = 512 << 10;
/// A message that is counted must be whole after so long: a frame of 10 MiB
/// comes at 1.4 Mbit/s.
const ARRIVAL: Duration = Duration::from_secs(60);

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
        bytes: BytesMut,
        left: usize,
        counted: Option<Counted>,
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

/// What is held for a message that is not small.
struct Counted {
    held: Held,
    whole_by: Instant,
}

/// A message that is counted until the last piece of it is dropped.
struct Message {
    bytes: BytesMut,
    _held: Held,
}

impl AsRef<[u8]> for Message {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
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
                State::Message {
                    bytes,
                    left,
                    counted,
                } => {
                    let piece = self.chunk.len().min(*left);
                    let (size, whole) = (bytes.len() + piece, bytes.len() + *left);
                    if let Err(full) = count(&self.account, counted, size, whole) {
                        let mut skim = Box::<Skim>::default();
                        skim.read(bytes);
                        let left = *left;
                        self.state = State::PassBy { left, skim, full };
                        continue;
                    }
                    if size > bytes.capacity() {
                        let room = counted.as_ref().map_or(size, |it| it.held.bytes());
                        bytes.reserve(room - bytes.len());
                    }
                    let piece = self.chunk.split_to(piece);
                    bytes.extend_from_slice(&piece);
                    *left -= piece.len();
                    if *left > 0 {
                        return None;
                    }
                    let bytes = mem::take(bytes);
                    let message = match counted.take() {
                        None => bytes.freeze(),
                        Some(Counted { held: _held, .. }) => {
                            Bytes::from_owner(Message { bytes, _held })
                        }
                    };
                    self.state = State::default();
                    return Some(Read::Message(message));
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
                        ..refusal(
                            RefusalCode::Overloaded(full),
                            format!("{full}; send the event again later."),
                        )
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
            _ => Some(Read::Else(Input::Refused(refusal(
                RefusalCode::InvalidEvent,
                why.to_owned(),
            )))),
        }
    }

    /// When the message under way must be whole, if it is counted.
    fn whole_by(&self) -> Option<Instant> {
        match &self.state {
            State::Message { counted, .. } => counted.as_ref().map(|counted| counted.whole_by),
            _ => None,
        }
    }
}

/// Counts a message of which so many bytes have arrived.
fn count(
    account: &Account,
    counted: &mut Option<Counted>,
    size: usize,
    whole: usize,
) -> Result<(), NoRoom> {
    if size <= FREE {
        return Ok(());
    }
    let size = size.next_multiple_of(STEP).min(whole);
    match counted {
        Some(Counted { held, .. }) if held.bytes() >= size => {}
        Some(Counted { held, .. }) => held.grow(size - held.bytes())?,
        None => {
            *counted = Some(Counted {
                held: account.hold(size)?,
                whole_by: Instant::now() + ARRIVAL,
            });
        }
    }
    Ok(())
}

fn begin([flags, length @ ..]: [u8; PREFIX], max_message: usize) -> State {
    let left = u32::from_be_bytes(length) as usize;
    let unusable = if left > max_message {
        let message = format!("The event has {left} bytes; at most {max_message} are taken.");
        Some(refusal(RefusalCode::MessageTooLarge, message))
    } else if flags != 0 {
        let message = "The event is compressed, which this server does not take.".to_owned();
        Some(refusal(RefusalCode::InvalidEvent, message))
    } else {
        None
    };
    match unusable {
        Some(refusal) => State::Skip { left, refusal },
        None => State::Message {
            bytes: BytesMut::with_capacity(left.min(FREE)),
            left,
            counted: None,
        },
    }
}

fn refusal(code: RefusalCode, message: String) -> Refusal {
    Refusal {
        code,
        message,
        frame: None,
        context: None,
    }
}

#[cfg(test)]
mod tests;
