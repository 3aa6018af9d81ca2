//! Reads a client's WebSocket message by message, as `transport::messages` does
//! gRPC's: a message for which there is no room, or that is too large, costs only
//! itself, and an idle stream holds next to nothing.

use std::collections::VecDeque;
use std::mem;
use std::time::Duration;

use bytes::BytesMut;
use futures::{Stream, stream};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Instant, timeout_at};

use super::close::Close;
use super::frames::{Frames, Kind, Piece, Said};
use super::notes::{Ending, Notes};
use crate::session::{Account, Input, NoRoom, Refusal, RefusalCode};
use crate::transport::arriving::{Arriving, SIGN_OF_LIFE, overloaded};
use crate::transport::json::{self, Skim};

/// The largest message taken, in bytes. An event that fits through the gRPC door
/// fits: its screenshot is a third longer here, and some libraries write `\/` for
/// each of its slashes.
pub const MAX_MESSAGE: usize = 14 << 20;
/// A larger one is read past, but not without end.
const MAX_PASSED: u64 = 64 << 20;
/// What an idle stream has ready for the next bytes; most messages that are not
/// frames fit.
const IDLE_BUFFER: usize = 1 << 10;
/// While a message arrives.
const BUFFER: usize = 64 << 10;

/// What the client says, in order. Ends when nothing more is read; the notes say
/// why, and get the socket back. A client of which nothing is heard for as long as
/// `silence`, though it is asked with pings, is gone.
pub(super) fn inputs<R>(
    socket: R,
    account: Account,
    silence: Duration,
    notes: Notes<R>,
) -> impl Stream<Item = Input>
where
    R: AsyncRead + Unpin,
{
    let reader = Reader {
        socket: Some(socket),
        received: BytesMut::new(),
        frames: Frames::default(),
        message: None,
        account,
        told: Instant::now(),
        fresh: false,
        silent_at: Instant::now() + silence,
        silence,
        last: VecDeque::new(),
        notes,
    };
    stream::unfold(reader, |mut reader| async move {
        Some((reader.next().await?, reader))
    })
}

struct Reader<R> {
    /// `None` once nothing more is read.
    socket: Option<R>,
    /// What has been received and not yet looked at.
    received: BytesMut,
    frames: Frames,
    message: Option<Message>,
    account: Account,
    /// When the session last heard of something that arrived.
    told: Instant,
    /// Something has arrived since.
    fresh: bool,
    silent_at: Instant,
    silence: Duration,
    /// What is said when nothing more is read.
    last: VecDeque<Input>,
    notes: Notes<R>,
}

/// A message under way.
enum Message {
    Text(Arriving),
    /// One for which there is no room.
    PassBy {
        passed: u64,
        skim: Box<Skim>,
        full: NoRoom,
    },
    /// One that cannot be used.
    Skip {
        passed: u64,
        refusal: Refusal,
    },
}

impl<R: AsyncRead + Unpin> Reader<R> {
    async fn next(&mut self) -> Option<Input> {
        while self.socket.is_some() {
            match self.advance() {
                Ok(Some(input)) => {
                    self.told = Instant::now();
                    return Some(input);
                }
                Ok(None) if self.is_sign_of_life() => return Some(Input::Part),
                Ok(None) => self.read().await,
                Err(ending) => self.end(ending, [Input::Lost]),
            }
        }
        self.last.pop_front()
    }

    /// Reads more, if there is more. Cancel-safe.
    async fn read(&mut self) {
        let Some(socket) = &mut self.socket else {
            return;
        };
        let room = match self.frames.left() {
            0 => IDLE_BUFFER,
            left => usize::try_from(left)
                .unwrap_or(BUFFER)
                .clamp(IDLE_BUFFER, BUFFER),
        };
        let free = self.received.capacity() - self.received.len();
        if free == 0 || free > 2 * room {
            // Not one that was made for a long message, if there is none.
            let mut buffer = BytesMut::with_capacity(self.received.len() + room);
            buffer.extend_from_slice(&self.received);
            self.received = buffer;
        }
        let whole_by = match &self.message {
            Some(Message::Text(arriving)) => arriving.whole_by(),
            _ => None,
        };
        let until = whole_by.map_or(self.silent_at, |time| time.min(self.silent_at));
        match timeout_at(until, socket.read_buf(&mut self.received)).await {
            Ok(Ok(1..)) => {
                self.fresh = true;
                self.silent_at = Instant::now() + self.silence;
            }
            Ok(Ok(0) | Err(_)) => self.end(Ending::Gone, [Input::Lost]),
            Err(_) if self.silent_at <= Instant::now() => self.end(Ending::Gone, [Input::Lost]),
            Err(_) => {
                let message = "The event took too long to arrive; nothing more is read.";
                let late = refused(RefusalCode::InvalidEvent, message.to_owned());
                self.end(Ending::Ours(Close::Stalled), [late, Input::Stalled]);
            }
        }
    }

    /// Works through what has been received as far as the next input.
    fn advance(&mut self) -> Result<Option<Input>, Ending> {
        loop {
            let said = self.frames.next(&mut self.received);
            match said.map_err(|_| Ending::Ours(Close::Protocol))? {
                None => return Ok(None),
                Some(Said::Ping(payload)) => self.notes.answer(payload),
                Some(Said::Pong) => {}
                Some(Said::Close(code)) => return Err(Ending::Theirs(code)),
                Some(Said::Piece(piece)) => {
                    if let Some(input) = self.take(&piece)? {
                        return Ok(Some(input));
                    }
                }
            }
        }
    }

    /// Adds a piece to the message under way, and reads that if it is whole.
    fn take(&mut self, piece: &Piece) -> Result<Option<Input>, Ending> {
        let begun = match piece.begins {
            Some(kind) => Some(Message::begin(kind, piece)),
            None => self.message.take(),
        };
        // The frames have seen to it that there is one.
        let Some(begun) = begun else { return Ok(None) };
        let message = begun.with(piece, &self.account);
        if message.passed() + piece.left > MAX_PASSED {
            return Err(Ending::Ours(Close::TooBig));
        }
        if !piece.ends() {
            self.message = Some(message);
            return Ok(None);
        }
        message.read().map(Some)
    }

    /// Whether a message is on its way, and its session has not heard of it for a
    /// while.
    fn is_sign_of_life(&mut self) -> bool {
        let is_long = self.message.is_some() || self.frames.left() > 0;
        if !(mem::take(&mut self.fresh) && is_long) || self.told.elapsed() < SIGN_OF_LIFE {
            return false;
        }
        self.told = Instant::now();
        true
    }
}

impl<R> Reader<R> {
    /// Reads nothing more, and says this yet.
    fn end<const N: usize>(&mut self, ending: Ending, last: [Input; N]) {
        self.notes.end(ending);
        self.last.extend(last);
        self.message = None;
        self.received = BytesMut::new();
        self.give_back();
    }

    fn give_back(&mut self) {
        if let Some(socket) = self.socket.take() {
            self.notes.give_back(socket);
        }
    }
}

/// The session has ended the stream: what is still on its way is read elsewhere.
impl<R> Drop for Reader<R> {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Message {
    fn begin(kind: Kind, first: &Piece) -> Self {
        match kind {
            Kind::Text => Self::Text(Arriving::new(
                usize::try_from(first.bytes.len() as u64 + first.left).unwrap_or(MAX_MESSAGE),
            )),
            Kind::Binary => Self::Skip {
                passed: 0,
                refusal: Refusal::new(
                    RefusalCode::InvalidEvent,
                    "The message is binary; say it as JSON in a text message.".to_owned(),
                ),
            },
        }
    }

    fn with(self, piece: &Piece, account: &Account) -> Self {
        let more = piece.bytes.len() as u64;
        match self {
            Self::Text(mut arriving) => {
                let there = arriving.bytes().len() as u64;
                let size = there + more + piece.left;
                if size > MAX_MESSAGE as u64 {
                    let message = format!(
                        "The message has {size} bytes or more; at most {MAX_MESSAGE} are taken."
                    );
                    return Self::Skip {
                        passed: there + more,
                        refusal: Refusal::new(RefusalCode::MessageTooLarge, message),
                    };
                }
                let whole = match piece.is_last_frame {
                    true => size as usize,
                    false => MAX_MESSAGE,
                };
                let Err(full) = arriving.take(&piece.bytes, whole, account) else {
                    return Self::Text(arriving);
                };
                let mut skim = Box::<Skim>::default();
                skim.read(arriving.bytes());
                skim.read(&piece.bytes);
                Self::PassBy {
                    passed: there + more,
                    skim,
                    full,
                }
            }
            Self::PassBy {
                passed,
                mut skim,
                full,
            } => {
                skim.read(&piece.bytes);
                Self::PassBy {
                    passed: passed + more,
                    skim,
                    full,
                }
            }
            Self::Skip { passed, refusal } => Self::Skip {
                passed: passed + more,
                refusal,
            },
        }
    }

    /// How much of it has been read past.
    fn passed(&self) -> u64 {
        match self {
            Self::Text(_) => 0,
            Self::PassBy { passed, .. } | Self::Skip { passed, .. } => *passed,
        }
    }

    /// What the whole message says.
    fn read(self) -> Result<Input, Ending> {
        match self {
            Self::Text(arriving) => {
                let (bytes, held) = arriving.finish();
                // RFC 6455, 8.1: one that is not is the end.
                match std::str::from_utf8(&bytes) {
                    Ok(text) => Ok(json::input(text, held)),
                    Err(_) => Err(Ending::Ours(Close::NotText)),
                }
            }
            Self::PassBy { skim, full, .. } => Ok(Input::Refused(Refusal {
                frame: skim.frame(),
                ..overloaded(full)
            })),
            Self::Skip { refusal, .. } => Ok(Input::Refused(refusal)),
        }
    }
}

fn refused(code: RefusalCode, message: String) -> Input {
    Input::Refused(Refusal::new(code, message))
}

#[cfg(test)]
mod tests;
