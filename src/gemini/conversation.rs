//! A conversation as the request body it becomes: byte-stable instruction and
//! functions, then the session's text, the image, the frame's text, and the
//! turns so far. The image is never put into a JSON tree; it is encoded once, in
//! pieces that all bodies share.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::iter;
use std::pin::Pin;
use std::task::{Context, Poll};

use base64_simd::STANDARD;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use serde::Serialize;
use serde_json::{Value, json};

use super::wire::{Call, Turn};
use crate::domain::Image;

/// A body is sent in pieces of this size. Each becomes one DATA frame, which with
/// its header of 9 bytes (RFC 9113, section 4.1) fills one TLS record (2^14 bytes,
/// RFC 8446, section 5.1) and takes one system call; a larger one would be cut
/// into a full record and a tiny one. A multiple of 4, where base64 can be cut.
const PIECE: usize = ((16 << 10) - 9) & !3;
/// An image is held in blocks of so many pieces: they fill 128 KiB, which is a
/// size that allocators have. One block for all would be rounded up by a fifth.
const BLOCK: usize = 8 * PIECE;
const IMAGE_OPENING: &[u8] = br#",{"inlineData":{"mimeType":"image/jpeg","data":""#;
const IMAGE_END: &[u8] = br#""}}"#;
/// Room for the JSON around a text, and for what needs escaping in it.
const ROOM: usize = 512;

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

/// A text as one part of a request. Encoded once, however many requests begin with
/// it.
#[derive(Clone)]
pub struct TextPart(Bytes);

impl TextPart {
    /// The part that is this text.
    pub fn new(text: &str) -> Self {
        let mut part = Vec::with_capacity(text.len() + ROOM);
        write(&mut part, &Text { text });
        part.shrink_to_fit();
        Self(part.into())
    }

    /// How much of memory it takes.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }
}

/// A conversation about one frame.
pub struct Conversation {
    brief: Bytes,
    background: Bytes,
    /// In base64: first what fills up the piece that the text before it began,
    /// then blocks. Empty if there is no image.
    image: Vec<Bytes>,
    /// Everything after the image's data, up to the end of the last turn.
    tail: Vec<u8>,
    /// Of that, what belongs to the user's first turn.
    opening: usize,
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
        let mut part = Vec::with_capacity(ROOM);
        write(&mut part, &Part { function_response });
        Self(part)
    }
}

fn write(to: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(to, value).expect("our own structures are valid JSON");
}

impl Conversation {
    /// Opens with the user's turn: stable text, image, text of this frame.
    pub fn new(brief: &Brief, background: &TextPart, image: Option<Image>, frame: &str) -> Self {
        let (Brief(brief), TextPart(background)) = (brief, background);
        let mut tail = Vec::with_capacity(frame.len() + ROOM);
        let image = image.map_or_else(Vec::new, |image| {
            tail.extend_from_slice(IMAGE_END);
            let text = brief.len() + background.len() + IMAGE_OPENING.len();
            encode(image.bytes(), text)
        });
        tail.push(b',');
        write(&mut tail, &Text { text: frame });
        tail.extend_from_slice(b"]}");
        Self {
            brief: brief.clone(),
            background: background.clone(),
            image,
            opening: tail.len(),
            tail,
            turns: 0,
        }
    }

    /// What it begins with from the next request on: other functions may be called.
    pub fn set_brief(&mut self, brief: &Brief) {
        self.brief = brief.0.clone();
    }

    /// Appends the model's turn as it came, and one user turn with an answer to
    /// each of its calls, in their order.
    pub fn answer(&mut self, turn: &Turn, answers: &[Answer]) {
        debug_assert_eq!(turn.calls.len(), answers.len(), "every call is answered");
        let tail = &mut self.tail;
        let parts: usize = answers.iter().map(|Answer(part)| part.len() + 1).sum();
        tail.reserve(turn.content().len() + parts + ROOM);
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

    /// Back to the user's first turn, for another model.
    pub fn begin_anew(&mut self) {
        self.tail.truncate(self.opening);
        self.turns = 0;
    }

    /// How many of the model's turns have been answered.
    pub fn turns(&self) -> usize {
        self.turns
    }

    /// The body of the next request. `settings` are further top-level members,
    /// as JSON without braces.
    pub(super) fn body(&self, settings: &str) -> Chunks {
        // The image's ends travel with the text there.
        let mut image = self.image.iter().cloned();
        let first = image.next().unwrap_or_default();
        let mut chunks = VecDeque::with_capacity(self.image.len() + 2);
        let head = [&self.brief, &self.background, self.image_opening(), &first];
        chunks.push_back(head.concat().into());
        chunks.extend(image);
        let last = chunks.back_mut().expect("there is a first one");
        let last = last.split_off(last.len() / PIECE * PIECE);
        let end = [&last, &self.tail[..], b"],", settings.as_bytes(), b"}"];
        chunks.push_back(end.concat().into());
        chunks.retain(|chunk| !chunk.is_empty());
        Chunks(chunks)
    }

    /// The body as one text, for tests.
    pub(super) fn text(&self) -> String {
        let (opening, image) = (self.image_opening(), self.image.concat());
        let text = [&self.brief, &self.background, opening, &image, &self.tail];
        String::from_utf8_lossy(&text.concat()).into_owned()
    }

    /// The image's JSON up to its data.
    fn image_opening(&self) -> &'static [u8] {
        if self.image.is_empty() {
            b""
        } else {
            IMAGE_OPENING
        }
    }
}

/// The image in base64, to be sent behind a text of this length.
fn encode(jpeg: &[u8], text: usize) -> Vec<Bytes> {
    let room = text.next_multiple_of(PIECE) - text;
    // Three bytes become four.
    let (first, rest) = jpeg.split_at(jpeg.len().min(room / 4 * 3));
    let encode = |bytes: &[u8]| Bytes::from(STANDARD.encode_to_string(bytes));
    iter::once(first)
        .chain(rest.chunks(BLOCK / 4 * 3))
        .map(encode)
        .collect()
}

/// A request body, its length known.
#[derive(Clone)]
pub struct Chunks(VecDeque<Bytes>);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = match self.0.front_mut() {
            Some(chunk) if chunk.len() > PIECE => Some(chunk.split_to(PIECE)),
            _ => self.0.pop_front(),
        };
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.iter().map(|chunk| chunk.len() as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    fn pieces(mut chunks: Chunks) -> Vec<Bytes> {
        let mut body = Pin::new(&mut chunks);
        let mut context = Context::from_waker(Waker::noop());
        let mut next = || match body.as_mut().poll_frame(&mut context) {
            Poll::Ready(frame) => frame?.unwrap().into_data().ok(),
            Poll::Pending => panic!("a body is there at once"),
        };
        iter::from_fn(&mut next).collect()
    }

    fn without_image() -> Conversation {
        Conversation::new(&Brief::new("x", &json!([])), &TextPart::new("a"), None, "b")
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
        let conversation =
            Conversation::new(&brief, &TextPart::new("be\nfore"), Some(image), "af\"ter");
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
        for size in [5, 6, 7, 9_000, 20_000, 100_000, 3 * PIECE, 300_001] {
            let mut jpeg: Vec<u8> = (0..size).map(|at| (at * 31 % 251) as u8).collect();
            jpeg[..3].copy_from_slice(&[0xFF, 0xD8, 0xFF]);
            jpeg[size - 2..].copy_from_slice(&[0xFF, 0xD9]);
            let image = Image::jpeg(Bytes::copy_from_slice(&jpeg)).unwrap();
            for before in [0, 9_000, PIECE, 20_001] {
                let brief = Brief::new(&"x".repeat(before), &json!([]));
                let text = TextPart::new("b");
                let conversation = Conversation::new(&brief, &text, Some(image.clone()), "a");
                let chunks = conversation.body(r#""x":1"#);
                let body = whole(chunks.clone());
                let sent = &body["contents"][0]["parts"][1]["inlineData"]["data"];
                assert_eq!(*sent, STANDARD.encode(&jpeg), "{size} behind {before}");
                let pieces = pieces(chunks);
                let (last, full) = pieces.split_last().unwrap();
                assert!((1..=PIECE).contains(&last.len()));
                // Base64 is cut at multiples of 4, the text before it is not.
                let filled = |piece: &Bytes| (PIECE - 3..=PIECE).contains(&piece.len());
                assert!(full.iter().all(filled), "{size} behind {before}");
            }
        }
    }

    #[test]
    fn a11_a_frame_without_an_image_is_two_texts() {
        let conversation = without_image();
        let parts = &whole(conversation.body(r#""x":1"#))["contents"][0]["parts"];
        assert_eq!(*parts, json!([{ "text": "a" }, { "text": "b" }]));
    }

    #[test]
    fn the_models_turn_is_echoed_verbatim_and_answered_in_one_user_turn() {
        let raw = r#"{"role":"model", "parts":[{"text":"hm"},{"functionCall":{"id":"1","name":"f","args":{"b":1,"a":2}},"thoughtSignature":"c2ln","new":[1.50]},{"functionCall":{"name":"g"}}]}"#;
        let body = format!(r#"{{"candidates":[{{"content":{raw},"finishReason":"STOP"}}]}}"#);
        let turn = super::super::wire::read(body.as_bytes()).verdict.unwrap();
        let mut conversation = without_image();
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
        conversation.begin_anew();
        assert_eq!(conversation.text(), without_image().text());
    }
}
