//! The framing of RFC 6455, as a client sends it: pieces of messages as they
//! arrive, however long the frames are and however the bytes are cut. Nothing is
//! collected here but what is in front of a frame, and control frames.

use std::io::Cursor;

use bytes::{Buf, Bytes, BytesMut};
use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

/// RFC 6455, 5.5.
const MOST_OF_CONTROL: u64 = 125;

/// What came next.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// A part of a message.
    Piece(Piece),
    /// To be answered with a pong that says the same.
    Ping(Bytes),
    /// The answer to a ping.
    Pong,
    /// The client is leaving; without a code if it gave none.
    Close(Option<u16>),
}

/// A part of a message: as much of one frame as has arrived.
#[derive(Debug, PartialEq)]
pub(super) struct Piece {
    /// What the message is, in its first piece.
    pub(super) begins: Option<Kind>,
    pub(super) bytes: BytesMut,
    /// How much of the frame is still to come.
    pub(super) left: u64,
    /// Whether the message ends with this frame.
    pub(super) is_last_frame: bool,
}

impl Piece {
    /// Whether the message is whole.
    pub(super) fn ends(&self) -> bool {
        self.is_last_frame && self.left == 0
    }
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Binary,
}

/// What no client sends that keeps to RFC 6455. Nothing behind it can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Violation;

/// Reads frames.
#[derive(Default)]
pub(super) struct Frames {
    current: Option<Current>,
    /// The frames of a message are not over.
    in_message: bool,
}

/// The frame whose payload is being read.
struct Current {
    header: FrameHeader,
    left: u64,
    /// Turned as far as the payload has been read.
    mask: [u8; 4],
    begins: Option<Kind>,
}

impl Frames {
    /// The next thing that is there; `None`: more bytes are needed.
    ///
    /// # Errors
    /// [`Violation`]; it is not to be asked again then.
    pub(super) fn next(&mut self, received: &mut BytesMut) -> Result<Option<Said>, Violation> {
        let mut current = match self.current.take() {
            Some(current) => current,
            None => match self.begin(received)? {
                Some(current) => current,
                None => return Ok(None),
            },
        };
        match current.header.opcode {
            OpCode::Control(control) => {
                if (received.len() as u64) < current.left {
                    self.current = Some(current);
                    return Ok(None);
                }
                let payload = current.take(received).freeze();
                match control {
                    Control::Ping => Ok(Some(Said::Ping(payload))),
                    Control::Pong => Ok(Some(Said::Pong)),
                    Control::Close => close_code(payload).map(|code| Some(Said::Close(code))),
                    Control::Reserved(_) => Err(Violation),
                }
            }
            OpCode::Data(_) => {
                if received.is_empty() && current.left > 0 {
                    self.current = Some(current);
                    return Ok(None);
                }
                let piece = Piece {
                    begins: current.begins.take(),
                    bytes: current.take(received),
                    left: current.left,
                    is_last_frame: current.header.is_final,
                };
                if current.left > 0 {
                    self.current = Some(current);
                }
                Ok(Some(Said::Piece(piece)))
            }
        }
    }

    /// How much of the frame under way is still to come.
    pub(super) fn left(&self) -> u64 {
        self.current.as_ref().map_or(0, |current| current.left)
    }

    /// Reads what stands in front of a frame.
    fn begin(&mut self, received: &mut BytesMut) -> Result<Option<Current>, Violation> {
        let mut cursor = Cursor::new(&received[..]);
        let parsed = FrameHeader::parse(&mut cursor).map_err(|_| Violation)?;
        let Some((header, left)) = parsed else {
            return Ok(None);
        };
        let length = cursor.position() as usize;
        received.advance(length);
        // Without an extension there are no reserved bits; RFC 6455, 5.2.
        let is_plain = !(header.rsv1 || header.rsv2 || header.rsv3);
        // Nor has a length its highest bit.
        let Some(mask) = header.mask.filter(|_| is_plain && left >> 63 == 0) else {
            return Err(Violation);
        };
        let begins = match header.opcode {
            OpCode::Control(_) => {
                if !header.is_final || left > MOST_OF_CONTROL {
                    return Err(Violation);
                }
                None
            }
            OpCode::Data(data) => {
                let begins = match data {
                    Data::Text => Some(Kind::Text),
                    Data::Binary => Some(Kind::Binary),
                    Data::Continue => None,
                    Data::Reserved(_) => return Err(Violation),
                };
                // A message goes on, or begins, but not in the middle of another.
                if begins.is_some() == self.in_message {
                    return Err(Violation);
                }
                self.in_message = !header.is_final;
                begins
            }
        };
        Ok(Some(Current {
            header,
            left,
            mask,
            begins,
        }))
    }
}

impl Current {
    /// As much of the payload as is there.
    fn take(&mut self, received: &mut BytesMut) -> BytesMut {
        let there = received.len() as u64;
        let count = self.left.min(there) as usize;
        let mut bytes = received.split_to(count);
        unmask(&mut bytes, self.mask);
        self.mask.rotate_left(count % 4);
        self.left -= count as u64;
        bytes
    }
}

/// Eight bytes at a time, which the compiler makes as many as the machine has.
fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = bytes.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= mask;
    }
}

/// RFC 6455, 5.5.1 and 7.4: nothing, or a code that may be sent and a reason in
/// UTF-8.
fn close_code(payload: Bytes) -> Result<Option<u16>, Violation> {
    let (code, reason) = match payload.split_first_chunk::<2>() {
        Some((code, reason)) => (u16::from_be_bytes(*code), reason),
        None if payload.is_empty() => return Ok(None),
        None => return Err(Violation),
    };
    let may_be_sent = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
    match may_be_sent && std::str::from_utf8(reason).is_ok() {
        true => Ok(Some(code)),
        false => Err(Violation),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame as a client sends it.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [0x37, 0xFA, 0x21, 0x3D];
        let mut frame = vec![first];
        match payload.len() {
            0..126 => frame.push(0x80 | payload.len() as u8),
            126..0x1_0000 => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&(payload.len() as u16).to_be_bytes());
            }
            _ => {
                frame.push(0x80 | 127);
                frame.extend_from_slice(&(payload.len() as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(&mask);
        let masked = payload.iter().zip(mask.iter().cycle());
        frame.extend(masked.map(|(byte, mask)| byte ^ mask));
        frame
    }

    /// What is read when the bytes arrive in pieces; messages are put together.
    fn read(bytes: &[u8], piece: usize) -> Vec<Result<String, Violation>> {
        let (mut frames, mut received) = (Frames::default(), BytesMut::new());
        let (mut all, mut message) = (Vec::new(), Vec::new());
        for piece in bytes.chunks(piece) {
            received.extend_from_slice(piece);
            loop {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                match frames.next(&mut received) {
                    Ok(None) => break,
                    Ok(Some(Said::Piece(piece))) => {
                        message.extend_from_slice(&piece.bytes);
                        if piece.ends() {
                            all.push(Ok(text(&std::mem::take(&mut message))));
                        }
                    }
                    Ok(Some(Said::Ping(said))) => all.push(Ok(format!("ping {}", text(&said)))),
                    Ok(Some(Said::Pong)) => all.push(Ok("pong".into())),
                    Ok(Some(Said::Close(code))) => all.push(Ok(format!("close {code:?}"))),
                    Err(violation) => {
                        all.push(Err(violation));
                        return all;
                    }
                }
            }
        }
        all
    }

    #[test]
    fn messages_are_put_together_however_they_are_cut_and_whatever_comes_in_between() {
        let long = "abcdefg".repeat(10_000);
        let bytes = [
            frame(0x81, b"whole"),
            frame(0x01, b"in "),
            frame(0x89, b"are you there"),
            frame(0x00, b""),
            frame(0x00, b"four "),
            frame(0x8A, b""),
            frame(0x80, b"frames"),
            frame(0x81, b""),
            frame(0x81, &long.as_bytes()[..300]),
            frame(0x82, long.as_bytes()),
            frame(0x88, b"\x03\xe8bye"),
        ]
        .concat();
        let expected = [
            "whole",
            "ping are you there",
            "pong",
            "in four frames",
            "",
            &long[..300],
            &long,
            "close Some(1000)",
        ]
        .map(|text| Ok(text.to_owned()));
        for piece in [1, 2, 3, 5, 7, 1_000, bytes.len()] {
            assert_eq!(read(&bytes, piece), expected, "{piece}");
        }
        assert_eq!(read(&frame(0x88, b""), 1), [Ok("close None".into())]);
    }

    #[test]
    fn what_no_client_may_send_is_a_violation() {
        let mut unmasked = frame(0x81, b"x");
        unmasked[1] &= 0x7F;
        for wrong in [
            unmasked,
            frame(0xC1, b"compressed"),
            frame(0xA1, b""),
            frame(0x91, b""),
            frame(0x83, b"reserved"),
            [&[0x81, 0xFF][..], &[0xFF; 8], &[0; 4]].concat(),
            frame(0x8B, b"reserved"),
            frame(0x80, b"goes on, but nothing has begun"),
            [frame(0x01, b"begun"), frame(0x81, b"begun again")].concat(),
            [frame(0x81, b"whole"), frame(0x80, b"goes on")].concat(),
            frame(0x09, b"a ping in pieces"),
            frame(0x89, &[b'x'; 126]),
            frame(0x88, b"\x03"),
            frame(0x88, b"\x03\xed"),
            frame(0x88, b"\x00\x00"),
            frame(0x88, b"\x03\xe8\xFF"),
        ] {
            for piece in [1, wrong.len()] {
                assert_eq!(read(&wrong, piece).pop(), Some(Err(Violation)), "{wrong:?}");
            }
        }
    }
}
