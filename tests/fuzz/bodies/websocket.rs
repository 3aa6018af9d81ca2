//! What a client of the WebSocket door sends. The first byte says how: bit 0,
//! whether the rest is what the socket brings, or pieces that are each a text
//! message.

use std::io::Cursor;

use futures::StreamExt;
use proactive::domain::Uid;
use proactive::session::{Input, Limits, Quota};
use proactive::telemetry::Metrics;
use proactive::transport::websocket::inputs;
use tokio::runtime::Builder;

use super::house::world;
use super::pieces;

const MESSAGES: usize = 24;

pub(crate) fn run(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else {
        return;
    };
    let bytes = match how & 1 == 1 {
        true => rest.to_vec(),
        false => pieces(rest, MESSAGES)
            .into_iter()
            .flat_map(framed)
            .collect(),
    };
    let quota = Quota::new(Limits::default(), world(), Metrics::new());
    let seat = quota.open(&Uid::new("somebody")).expect("there is room");
    let idle = quota.bytes();
    let runtime = Builder::new_current_thread().enable_time().build();
    let runtime = runtime.expect("a runtime without I/O needs nothing");
    let inputs = inputs(Cursor::new(bytes), seat.account().clone());
    let heard: Vec<_> = runtime.block_on(inputs.collect());
    // The bytes end in the middle of the day.
    assert!(matches!(heard.last(), Some(Input::Lost)), "{heard:?}");
    drop(heard);
    assert_eq!(quota.bytes(), idle, "something is still counted");
}

/// A text message whose mask changes nothing.
fn framed(text: &[u8]) -> Vec<u8> {
    let length = text.len() as u64;
    [&[0x81, 0xFF][..], &length.to_be_bytes(), &[0; 4], text].concat()
}
