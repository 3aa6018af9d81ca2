//! Reads past an event for which there is no room, and notes which frame it was:
//! its client must be told, by the frame's id.
//!
//! Of a FrameEvent only the two fields that make its id are kept, whatever
//! comes before them and however the bytes are cut.

use std::mem;

use crate::domain::{FrameId, clip};
use crate::transport::wire::inbound::{FRAME_ID_BYTES, frame_id};

/// ClientEvent.frame_event.
const FRAME: u64 = 2;
/// FrameEvent.frame_number and FrameEvent.screenshot_id.
const NUMBER: u64 = 6;
const ID: u64 = 7;

/// What has been seen of an event.
#[derive(Default)]
pub(super) struct Skim {
    at: At,
    is_frame: bool,
    number: i64,
    id: Vec<u8>,
}

enum At {
    Key(Varint),
    /// The value of a field that is a number.
    Number(u64, Varint),
    Length(u64, Varint),
    /// So much of a field's content is still to come.
    Content(u64, u64),
    /// No frame, or no protobuf.
    Nowhere,
}

impl Default for At {
    fn default() -> Self {
        Self::Key(Varint::default())
    }
}

/// The beginning of a number in base 128, lowest digits first.
#[derive(Clone, Copy, Default)]
struct Varint {
    value: u64,
    bits: u32,
}

enum Digit {
    More(Varint),
    Last(u64),
    TooMany,
}

impl Varint {
    fn with(self, byte: u8) -> Digit {
        let Self { value, bits } = self;
        if bits > 63 {
            return Digit::TooMany;
        }
        let value = value | u64::from(byte & 0x7F) << bits;
        match byte & 0x80 {
            0 => Digit::Last(value),
            _ => Digit::More(Self {
                value,
                bits: bits + 7,
            }),
        }
    }
}

impl Skim {
    /// Looks at the next bytes of the event.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while let Some((&byte, rest)) = bytes.split_first() {
            self.at = match mem::take(&mut self.at) {
                At::Nowhere => {
                    self.at = At::Nowhere;
                    return;
                }
                At::Content(field, left) => {
                    let count = left.min(bytes.len() as u64) as usize;
                    let (content, behind) = bytes.split_at(count);
                    self.keep(field, content);
                    bytes = behind;
                    self.at = match left - count as u64 {
                        0 => At::default(),
                        left => At::Content(field, left),
                    };
                    continue;
                }
                At::Key(begun) => match begun.with(byte) {
                    Digit::More(begun) => At::Key(begun),
                    Digit::Last(key) => self.behind(key),
                    Digit::TooMany => At::Nowhere,
                },
                At::Number(field, begun) => match begun.with(byte) {
                    Digit::More(begun) => At::Number(field, begun),
                    Digit::Last(value) => {
                        if field == NUMBER {
                            // As protobuf writes an int64.
                            self.number = value as i64;
                        }
                        At::default()
                    }
                    Digit::TooMany => At::Nowhere,
                },
                At::Length(field, begun) => match begun.with(byte) {
                    Digit::More(begun) => At::Length(field, begun),
                    Digit::Last(length) => self.content(field, length),
                    Digit::TooMany => At::Nowhere,
                },
            };
            bytes = rest;
        }
    }

    /// The frame's id, if it was a frame.
    pub(super) fn frame(self) -> Option<FrameId> {
        if !self.is_frame {
            return None;
        }
        let id = String::from_utf8(self.id).ok()?;
        Some(match id.len() > FRAME_ID_BYTES {
            true => FrameId::new(clip(&id, FRAME_ID_BYTES / 4)),
            false => frame_id(id, self.number),
        })
    }

    /// What comes behind a key.
    fn behind(&self, key: u64) -> At {
        let field = key >> 3;
        match key & 7 {
            0 => At::Number(field, Varint::default()),
            1 => At::Content(0, 8),
            2 => At::Length(field, Varint::default()),
            5 => At::Content(0, 4),
            _ => At::Nowhere,
        }
    }

    /// What comes behind a length.
    fn content(&mut self, field: u64, length: u64) -> At {
        if !self.is_frame {
            if field != FRAME {
                return At::Nowhere;
            }
            // From here on the fields are the frame's.
            self.is_frame = true;
            return At::default();
        }
        if field == ID {
            self.id.clear();
        }
        match length {
            0 => At::default(),
            length => At::Content(field, length),
        }
    }

    fn keep(&mut self, field: u64, content: &[u8]) {
        if field == ID {
            let room = (FRAME_ID_BYTES + 1).saturating_sub(self.id.len());
            self.id
                .extend_from_slice(&content[..content.len().min(room)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;
    use crate::transport::proto::client_event::Event;
    use crate::transport::proto::{
        ClientEvent, ClientHello, FrameEvent, Heartbeat, SessionContext, ToolResult,
    };

    fn skimmed(event: Event, piece: usize) -> Option<String> {
        let bytes = ClientEvent { event: Some(event) }.encode_to_vec();
        let mut skim = Skim::default();
        bytes.chunks(piece).for_each(|piece| skim.read(piece));
        skim.frame().map(|id| id.to_string())
    }

    fn frame(screenshot_id: &str, frame_number: i64) -> Event {
        Event::FrameEvent(FrameEvent {
            jpeg_bytes: vec![7; 3_000].into(),
            app_name: "Huddle".into(),
            ocr_text: "x".repeat(500),
            capture_time: Some(prost_types::Timestamp::default()),
            screenshot_id: screenshot_id.into(),
            frame_number,
            session_context: Some(SessionContext::default()),
            ..FrameEvent::default()
        })
    }

    #[test]
    fn a_frame_is_named_as_if_it_had_been_read_however_it_is_cut() {
        for piece in [1, 2, 7, 1_000, 10_000] {
            assert_eq!(skimmed(frame("shot", 7), piece).as_deref(), Some("shot"));
            assert_eq!(skimmed(frame("", 7), piece).as_deref(), Some("7"));
            assert_eq!(skimmed(frame("", -1), piece).as_deref(), Some("-1"));
            let long = skimmed(frame(&"x".repeat(1_000), 7), piece).unwrap();
            assert!(long.len() < 100, "{long}");
        }
    }

    #[test]
    fn what_is_no_frame_has_no_name() {
        let others = [
            Event::ClientHello(ClientHello {
                device_name: "desk".into(),
                ..ClientHello::default()
            }),
            Event::ToolResult(ToolResult {
                frame_id: "shot".into(),
                ..ToolResult::default()
            }),
            Event::Heartbeat(Heartbeat::default()),
        ];
        for event in others {
            assert_eq!(skimmed(event, 5), None);
        }
        for nonsense in [&[0xFF; 40][..], &[0x12, 0xFF, 0xFF, 0xFF, 0x0F, 0x3B], b""] {
            let mut skim = Skim::default();
            skim.read(nonsense);
            skim.read(nonsense);
            assert!(skim.frame().is_none_or(|id| id.as_str() == "0"));
        }
    }
}
