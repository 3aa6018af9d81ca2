//! What each target does with its bytes. A panic is a finding.

pub(crate) mod client_events;
pub(crate) mod house;
pub(crate) mod model_answers;
pub(crate) mod settings;
pub(crate) mod tokens;
pub(crate) mod websocket;
pub(crate) mod worker_events;

/// A line that parts the pieces of an input: a fuzzer can move them about, and a
/// person can write them.
const BETWEEN: &[u8] = b"\n----\n";

/// The pieces of an input, at most so many.
pub(crate) fn pieces(mut data: &[u8], most: usize) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    while pieces.len() + 1 < most {
        let end = data.windows(BETWEEN.len()).position(|it| it == BETWEEN);
        let Some(end) = end else { break };
        pieces.push(&data[..end]);
        data = &data[end + BETWEEN.len()..];
    }
    pieces.push(data);
    pieces
}
