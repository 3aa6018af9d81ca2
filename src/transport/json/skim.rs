//! Looks through JSON that is not read, for the frame that it is about: its client
//! must be told, by the frame's id. Whatever comes before that and however the
//! text is cut; nothing is kept but the three values in question.

use serde::de::DeserializeOwned;

use crate::domain::{FrameId, clip};
use crate::transport::wire::inbound::{FRAME_ID_BYTES, frame_id};

/// What is kept of a value, as it is written: each byte of an id may be written in
/// six.
const MOST_KEPT: usize = 6 * FRAME_ID_BYTES + 8;

/// What has been seen of a message.
#[derive(Default)]
pub(in crate::transport) struct Skim {
    depth: usize,
    text: Text,
    is_value: bool,
    key: Vec<u8>,
    kind: Vec<u8>,
    id: Vec<u8>,
    number: Vec<u8>,
}

/// Whether a byte stands in a string.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Text {
    #[default]
    Outside,
    Inside,
    /// Behind a backslash.
    Escaped,
}

impl Skim {
    /// Looks at the next bytes.
    pub(in crate::transport) fn read(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            let was = self.text;
            self.text = match (was, byte) {
                (Text::Outside, b'"') | (Text::Escaped, _) => Text::Inside,
                (Text::Inside, b'"') | (Text::Outside, _) => Text::Outside,
                (Text::Inside, b'\\') => Text::Escaped,
                (Text::Inside, _) => Text::Inside,
            };
            if was == Text::Outside {
                match byte {
                    b'{' | b'[' => self.depth += 1,
                    b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                    b',' if self.depth == 1 => {
                        self.is_value = false;
                        self.key.clear();
                    }
                    b':' if self.depth == 1 => self.is_value = true,
                    _ if self.depth == 1 => self.keep(byte),
                    _ => {}
                }
            } else if self.depth == 1 {
                self.keep(byte);
            }
        }
    }

    /// The frame's id, if it was a frame.
    pub(in crate::transport) fn frame(&self) -> Option<FrameId> {
        if written::<String>(&self.kind)? != "frame_event" {
            return None;
        }
        let id: String = written(&self.id).unwrap_or_default();
        let number: i64 = written(&self.number).unwrap_or_default();
        Some(match id.len() > FRAME_ID_BYTES {
            true => FrameId::new(clip(&id, FRAME_ID_BYTES / 4)),
            false => frame_id(id, number),
        })
    }

    /// A byte of a key of the message itself, or of a value behind one.
    fn keep(&mut self, byte: u8) {
        let place = match (self.is_value, &*self.key) {
            (false, _) => &mut self.key,
            (true, b"\"type\"") => &mut self.kind,
            (true, b"\"screenshot_id\"") => &mut self.id,
            (true, b"\"frame_number\"") => &mut self.number,
            (true, _) => return,
        };
        if place.len() < MOST_KEPT && !(byte.is_ascii_whitespace() && self.text == Text::Outside) {
            place.push(byte);
        }
    }
}

/// What a value says; nothing, if it is another kind of value.
fn written<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    serde_json::from_slice(json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skimmed(text: &str, piece: usize) -> Option<String> {
        let mut skim = Skim::default();
        text.as_bytes()
            .chunks(piece)
            .for_each(|piece| skim.read(piece));
        skim.frame().map(|id| id.to_string())
    }

    #[test]
    fn a_frame_is_named_as_if_it_had_been_read_however_it_is_cut() {
        let before = r#"{ "jpeg_base64" : "//8\/\"", "session_context":{"screenshot_id":"no","l":[{"type":"x"}]},"#;
        for piece in [1, 2, 7, 1_000] {
            for (rest, id) in [
                (
                    r#""type":"frame_event","screenshot_id":"shot","frame_number":7}"#,
                    "shot",
                ),
                (r#" "frame_number" : 7 , "type" : "frame_event" }"#, "7"),
                (
                    r#""screenshot_id":"","frame_number":-1,"type":"frame_event"}"#,
                    "-1",
                ),
                (
                    r#""type":"frame\u005fevent","screenshot_id":"\u00e9\"{,:"}"#,
                    "é\"{,:",
                ),
                (
                    r#""type":"frame_event","frame_number":7,"ocr_text":"cut o"#,
                    "7",
                ),
                (r#""type":"frame_event""#, "0"),
            ] {
                let text = format!("{before}{rest}");
                assert_eq!(skimmed(&text, piece).as_deref(), Some(id), "{text}");
            }
        }
        let long = format!(
            r#"{{"type":"frame_event","screenshot_id":"{}"}}"#,
            "x".repeat(300)
        );
        assert!(skimmed(&long, 7).unwrap().len() < 100);
    }

    #[test]
    fn what_is_no_frame_has_no_name() {
        for text in [
            r#"{"type":"tool_result","screenshot_id":"shot"}"#,
            r#"{"screenshot_id":"shot","nested":{"type":"frame_event"}}"#,
            r#"["type","frame_event"]"#,
            r#""type":"frame_event""#,
            "}}}}]]]",
            "",
        ] {
            assert_eq!(skimmed(text, 3), None, "{text}");
        }
    }
}
