//! Reads a gRPC request body message by message (the length-prefixed framing of
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).
//!
//! tonic's own reader ends the stream at the first message that is too large or
//! cannot be parsed, and keeps a buffer as large as the largest message until
//! the stream ends. Here such a message costs only itself, and an idle stream
//! holds nothing.

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, stream};
use http_body_util::BodyExt;
use tonic::body::Body;

use super::inbound;
use crate::session::{Input, Refusal, RefusalCode};

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
pub fn inputs(body: Body, max_message: usize) -> impl Stream<Item = Input> {
    let reader = Reader {
        body: Some(body),
        chunk: Bytes::new(),
        state: State::default(),
        max_message,
    };
    stream::unfold(reader, |mut reader| async move {
        Some((reader.next().await?, reader))
    })
}

struct Reader {
    /// `None` once the client has closed its side, or the connection broke.
    body: Option<Body>,
    /// What has been received and not yet looked at.
    chunk: Bytes,
    state: State,
    max_message: usize,
}

enum State {
    Prefix {
        seen: usize,
        bytes: [u8; PREFIX],
    },
    Message {
        bytes: BytesMut,
        left: usize,
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
    async fn next(&mut self) -> Option<Input> {
        loop {
            if let Some(input) = self.advance() {
                return Some(input);
            }
            match self.body.as_mut()?.frame().await {
                // Trailers carry nothing for us.
                Some(Ok(frame)) => self.chunk = frame.into_data().unwrap_or_default(),
                Some(Err(_)) => {
                    self.body = None;
                    return Some(Input::Lost);
                }
                None => {
                    self.body = None;
                    return self.cut_off();
                }
            }
        }
    }

    /// Works through the chunk as far as the next input.
    fn advance(&mut self) -> Option<Input> {
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
                State::Message { bytes, left } => {
                    let piece = self.chunk.split_to(self.chunk.len().min(*left));
                    bytes.extend_from_slice(&piece);
                    *left -= piece.len();
                    if *left > 0 {
                        return None;
                    }
                    let message = mem::take(bytes).freeze();
                    self.state = State::default();
                    return Some(inbound::input(message));
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
                    return Some(Input::Refused(refusal));
                }
            }
        }
    }

    /// What to say of a message that the end of the stream cut off.
    fn cut_off(&mut self) -> Option<Input> {
        match mem::take(&mut self.state) {
            State::Prefix { seen: 0, .. } => None,
            _ => Some(Input::Refused(refusal(
                RefusalCode::InvalidEvent,
                "The stream ended in the middle of an event.".to_owned(),
            ))),
        }
    }
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
            bytes: BytesMut::with_capacity(left),
            left,
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
mod tests {
    use futures::StreamExt;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use prost::Message;
    use tonic::Status;

    use super::*;
    use crate::session::ClientMessage;
    use crate::transport::proto::{ClientEvent, FrameEvent, Heartbeat, client_event::Event};

    fn framed(message: &[u8]) -> Vec<u8> {
        let length = u32::try_from(message.len()).unwrap();
        [&[0][..], &length.to_be_bytes(), message].concat()
    }

    fn frame(id: &str) -> Vec<u8> {
        let frame = FrameEvent {
            screenshot_id: id.into(),
            ..FrameEvent::default()
        };
        framed(
            &ClientEvent {
                event: Some(Event::FrameEvent(frame)),
            }
            .encode_to_vec(),
        )
    }

    /// The kinds of inputs that come out when the bytes arrive in pieces.
    async fn read(bytes: &[u8], piece: usize, broken: bool) -> Vec<String> {
        let chunks: Vec<_> = bytes
            .chunks(piece)
            .map(|c| Ok(Frame::data(Bytes::copy_from_slice(c))))
            .collect();
        let end = broken.then(|| Err(Status::cancelled("")));
        let body = Body::new(StreamBody::new(stream::iter(chunks.into_iter().chain(end))));
        let kinds = inputs(body, 1_000).map(|input| match input {
            Input::Message(ClientMessage::Frame(frame)) => frame.id.to_string(),
            Input::Message(ClientMessage::Heartbeat) => "heartbeat".into(),
            Input::Message(_) => "other".into(),
            Input::Refused(refusal) => refusal.code.as_str().into(),
            Input::Lost => "lost".into(),
        });
        kinds.collect().await
    }

    #[tokio::test]
    async fn a_bad_or_oversize_message_costs_only_itself() {
        let beat = Event::Heartbeat(Heartbeat::default());
        let bytes = [
            frame("one"),
            framed(b"\xff\xff\xff"),
            framed(&[7; 1_001]),
            framed(b""),
            [&[1, 0, 0, 0, 2][..], b"gz"].concat(),
            framed(&ClientEvent { event: Some(beat) }.encode_to_vec()),
            frame("two"),
        ]
        .concat();
        let expected = [
            "one",
            "INVALID_EVENT",
            "MESSAGE_TOO_LARGE",
            "INVALID_EVENT",
            "INVALID_EVENT",
            "heartbeat",
            "two",
        ];
        for piece in [1, 3, 5, 64, 100_000] {
            assert_eq!(
                read(&bytes, piece, false).await,
                expected,
                "in pieces of {piece}"
            );
        }
    }

    #[tokio::test]
    async fn a_broken_connection_is_told_apart_from_a_closed_side() {
        assert_eq!(read(&frame("a"), 4, true).await, ["a", "lost"]);
        assert_eq!(read(&frame("a")[..9], 4, false).await, ["INVALID_EVENT"]);
        assert!(read(&[], 1, false).await.is_empty());
    }
}
