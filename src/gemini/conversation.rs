//! A conversation as the request body it becomes: byte-stable instruction and
//! functions, then the session's text, the image, the frame's text, and the
//! turns so far. The image is never put into a JSON tree; it is encoded once and
//! shared by all bodies.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine;
use base64::engine::{Simd, general_purpose::PAD};
use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use serde::Serialize;
use serde_json::{Value, json};

use super::wire::{Call, Turn};
use crate::domain::Image;

/// A body is sent in pieces of this size. Each piece becomes one DATA frame,
/// which with its header of 9 bytes (RFC 9113, section 4.1) fills one TLS record
/// (2^14 bytes, RFC 8446, section 5.1) and takes one system call. A larger one
/// would be cut into a full record and a tiny one.
const PIECE: usize = (16 << 10) - 9;
/// Room for a text's JSON beyond its own length.
const ESCAPES: usize = 256;

/// What every conversation begins with: the instruction and the functions. Made
/// once per process.
#[derive(Clone, Debug)]
pub struct Brief(Bytes);

impl Brief {
    /// `functions` is the list of function declarations.
    pub fn new(instruction: &str, functions: &Value) -> Self {
        let instruction = json!({ "parts": [{ "text": instruction }] });
        let tools = json!([{ "functionDeclarations": functions }]);
        let head = format!(
            r#"{{"systemInstruction":{instruction},"tools":{tools},"contents":[{{"role":"user","parts":["#
        );
        Self(head.into())
    }
}

/// An image in base64, ready to be sent any number of times.
#[derive(Clone)]
pub struct InlineImage(Bytes);

impl InlineImage {
    /// Encodes the JPEG once, where it lies if there is room (see
    /// [`Image::room`]).
    pub fn encode(image: Image) -> Self {
        /// What is left for the end lies in its own way.
        const SMALL: usize = 3 * 64;
        let engine = Simd::standard(PAD);
        let mut data = BytesMut::from(image.into_bytes());
        let mut end = data.len();
        data.resize(Image::room(end), 0);
        // Three bytes become four, so the last quarter's encoding lies behind
        // everything that is still to be read; then the last quarter of the rest.
        while end > SMALL {
            let start = (end - end / 4).next_multiple_of(3);
            let (rest, room) = data[..Image::room(end)].split_at_mut(Image::room(start));
            engine
                .encode_slice(&rest[start..end], room)
                .expect("the room is as large as the encoding");
            end = start;
        }
        let mut first = [0; SMALL];
        first[..end].copy_from_slice(&data[..end]);
        engine
            .encode_slice(&first[..end], &mut data[..Image::room(end)])
            .expect("the room is as large as the encoding");
        Self(data.freeze())
    }
}

/// A conversation about one frame.
pub struct Conversation {
    brief: Bytes,
    /// The text before the image, and the image's JSON up to its data.
    opening: Bytes,
    image: Bytes,
    /// Everything after the image's data, up to the end of the last turn.
    tail: Vec<u8>,
    turns: usize,
}

/// What a function call is answered with: a part of the next turn, as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer(Vec<u8>);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Part<'a, T> {
    function_response: FunctionResponse<'a, T>,
}

#[derive(Serialize)]
struct FunctionResponse<'a, T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    name: &'a str,
    response: T,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Response<'a, T> {
    Output(T),
    Error(&'a str),
}

#[derive(Serialize)]
struct Text<'a> {
    text: &'a str,
}

impl Answer {
    /// The function's result.
    pub fn output(call: &Call, output: impl Serialize) -> Self {
        Self::new(call, Response::Output(output))
    }

    /// Why the function has no result.
    pub fn error(call: &Call, error: &str) -> Self {
        Self::new(call, Response::<()>::Error(error))
    }

    fn new(call: &Call, response: impl Serialize) -> Self {
        let function_response = FunctionResponse {
            id: call.id.as_deref(),
            name: &call.name,
            response,
        };
        let mut part = Vec::new();
        write(&mut part, &Part { function_response });
        Self(part)
    }
}

fn write(to: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(to, value).expect("our own structures are valid JSON");
}

impl Conversation {
    /// Opens with the user's turn: stable text, image, text of this frame.
    pub fn new(brief: &Brief, before: &str, image: Option<InlineImage>, after: &str) -> Self {
        let mut opening = Vec::with_capacity(before.len() + ESCAPES);
        let mut tail = Vec::with_capacity(after.len() + ESCAPES);
        write(&mut opening, &Text { text: before });
        let image = match image {
            Some(InlineImage(data)) => {
                opening.extend_from_slice(br#",{"inlineData":{"mimeType":"image/jpeg","data":""#);
                tail.extend_from_slice(br#""}}"#);
                data
            }
            None => Bytes::new(),
        };
        tail.push(b',');
        write(&mut tail, &Text { text: after });
        tail.extend_from_slice(b"]}");
        Self {
            brief: brief.0.clone(),
            opening: opening.into(),
            image,
            tail,
            turns: 0,
        }
    }

    /// Appends the model's turn as it came, and one user turn with an answer to
    /// each of its calls, in their order.
    pub fn answer(&mut self, turn: &Turn, answers: &[Answer]) {
        debug_assert_eq!(turn.calls.len(), answers.len(), "every call is answered");
        let tail = &mut self.tail;
        tail.push(b',');
        tail.extend_from_slice(turn.content().as_bytes());
        tail.extend_from_slice(br#",{"role":"user","parts":["#);
        for (at, Answer(part)) in answers.iter().enumerate() {
            if at > 0 {
                tail.push(b',');
            }
            tail.extend_from_slice(part);
        }
        tail.extend_from_slice(b"]}");
        self.turns += 1;
    }

    /// How many of the model's turns have been answered.
    pub fn turns(&self) -> usize {
        self.turns
    }

    /// The body of the next request. `settings` are further top-level members,
    /// as JSON without braces.
    pub(super) fn body(&self, settings: &str) -> Chunks {
        // Whole pieces of the image are shared; what is left of it at both ends
        // is copied to the text there.
        let before = self.brief.len() + self.opening.len();
        let fill = before.next_multiple_of(PIECE) - before;
        let (first, image) = self.image.split_at(fill.min(self.image.len()));
        let (image, last) = image.split_at(image.len() / PIECE * PIECE);
        Chunks([
            [&self.brief[..], &self.opening, first].concat().into(),
            self.image.slice_ref(image),
            [last, &self.tail, b"],", settings.as_bytes(), b"}"]
                .concat()
                .into(),
        ])
    }

    /// The body as one text, for tests.
    pub(super) fn text(&self) -> String {
        let pieces = [&self.brief[..], &self.opening, &self.image, &self.tail];
        String::from_utf8_lossy(&pieces.concat()).into_owned()
    }
}

/// A request body, its length known.
#[derive(Clone, Debug)]
pub struct Chunks([Bytes; 3]);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let next = self.0.iter_mut().find(|chunk| !chunk.is_empty());
        let piece = next.map(|chunk| chunk.split_to(PIECE.min(chunk.len())));
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.iter().all(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|chunk| chunk.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn pieces(mut chunks: Chunks) -> Vec<Bytes> {
        let mut body = Pin::new(&mut chunks);
        let mut context = Context::from_waker(Waker::noop());
        let mut next = || match body.as_mut().poll_frame(&mut context) {
            Poll::Ready(frame) => frame?.unwrap().into_data().ok(),
            Poll::Pending => panic!("a body is there at once"),
        };
        std::iter::from_fn(&mut next).collect()
    }

    fn whole(chunks: Chunks) -> Value {
        let hint = chunks.size_hint().exact().unwrap();
        let bytes = pieces(chunks).concat();
        assert_eq!(bytes.len() as u64, hint);
        serde_json::from_slice(&bytes).unwrap()
    }

    #[test]
    fn a11_the_image_goes_as_inline_data_between_the_two_texts() {
        let brief = Brief::new("Be \"good\".", &json!([{ "name": "f" }]));
        let jpeg = [0xFF, 0xD8, 0xFF, 0xE0, 0xFF, 0xD9];
        let image = Image::jpeg(Bytes::copy_from_slice(&jpeg)).unwrap();
        let conversation = Conversation::new(
            &brief,
            "be\nfore",
            Some(InlineImage::encode(image)),
            "af\"ter",
        );
        let body = whole(conversation.body(r#""toolConfig":{}"#));
        assert_eq!(
            body["systemInstruction"]["parts"][0]["text"],
            "Be \"good\"."
        );
        assert_eq!(body["tools"][0]["functionDeclarations"][0]["name"], "f");
        let parts = &body["contents"][0]["parts"];
        assert_eq!(parts[0], json!({ "text": "be\nfore" }));
        assert_eq!(parts[1]["inlineData"]["mimeType"], "image/jpeg");
        assert_eq!(parts[1]["inlineData"]["data"], STANDARD.encode(jpeg));
        assert_eq!(parts[2], json!({ "text": "af\"ter" }));
    }

    #[test]
    fn every_piece_of_a_body_but_the_last_fills_a_tls_record() {
        for size in [20_000, 100_000, 4 * PIECE, 300_001] {
            let mut jpeg = vec![7; size];
            jpeg[..3].copy_from_slice(&[0xFF, 0xD8, 0xFF]);
            jpeg[size - 2..].copy_from_slice(&[0xFF, 0xD9]);
            let image = InlineImage::encode(Image::jpeg(jpeg.into()).unwrap());
            let brief = Brief::new(&"x".repeat(size / 7), &json!([]));
            let conversation = Conversation::new(&brief, "before", Some(image), "after");
            let pieces = pieces(conversation.body(r#""x":1"#));
            let (last, full) = pieces.split_last().unwrap();
            assert!(!full.is_empty() && (1..=PIECE).contains(&last.len()));
            for piece in full {
                assert_eq!(piece.len(), PIECE, "of {size} bytes");
            }
        }
    }

    #[test]
    fn an_image_is_encoded_where_it_lies_whatever_its_length() {
        for size in [5, 6, 7, 3071, 3072, 3073, 3074, 6144, 100_001] {
            let mut jpeg: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
            jpeg[..3].copy_from_slice(&[0xFF, 0xD8, 0xFF]);
            jpeg[size - 2..].copy_from_slice(&[0xFF, 0xD9]);
            let mut message = BytesMut::with_capacity(Image::room(size + 20));
            message.extend_from_slice(b"before");
            message.extend_from_slice(&jpeg);
            message.extend_from_slice(b"behind");
            let message = message.freeze();
            let place = message[6..].as_ptr();
            let image = Image::jpeg(message.slice(6..6 + size)).unwrap();
            drop(message);
            let InlineImage(encoded) = InlineImage::encode(image);
            assert_eq!(encoded, STANDARD.encode(&jpeg), "{size} bytes");
            assert_eq!(encoded.as_ptr(), place, "{size} bytes were copied");
        }
    }

    #[test]
    fn a11_a_frame_without_an_image_is_two_texts() {
        let conversation = Conversation::new(&Brief::new("x", &json!([])), "a", None, "b");
        let parts = &whole(conversation.body(r#""x":1"#))["contents"][0]["parts"];
        assert_eq!(*parts, json!([{ "text": "a" }, { "text": "b" }]));
    }

    #[test]
    fn the_models_turn_is_echoed_verbatim_and_answered_in_one_user_turn() {
        let raw = r#"{"role":"model", "parts":[{"text":"hm"},{"functionCall":{"id":"1","name":"f","args":{"b":1,"a":2}},"thoughtSignature":"c2ln","new":[1.50]},{"functionCall":{"name":"g"}}]}"#;
        let body = format!(r#"{{"candidates":[{{"content":{raw},"finishReason":"STOP"}}]}}"#);
        let turn = super::super::wire::read(body.as_bytes()).verdict.unwrap();
        let mut conversation = Conversation::new(&Brief::new("x", &json!([])), "a", None, "b");
        let answers = [
            Answer::output(&turn.calls[0], json!(7)),
            Answer::error(&turn.calls[1], "no"),
        ];
        conversation.answer(&turn, &answers);
        assert!(
            conversation.text().contains(raw),
            "every byte of the turn survives"
        );
        let contents = &whole(conversation.body(r#""x":1"#))["contents"];
        assert_eq!(
            contents[2],
            json!({ "role": "user", "parts": [
                { "functionResponse": { "id": "1", "name": "f", "response": { "output": 7 } } },
                { "functionResponse": { "name": "g", "response": { "error": "no" } } },
            ] })
        );
    }
}
