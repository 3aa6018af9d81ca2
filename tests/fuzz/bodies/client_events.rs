//! A request's body into a session. The first byte says how: bit 0, whether a
//! hello with tasks goes first; bit 1, whether the rest is the body as it stands,
//! or pieces that are each framed as an event; the others, in how small chunks it
//! arrives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, stream};
use http_body::Frame;
use http_body_util::StreamBody;
use proactive::domain::{FrameId, Uid};
use proactive::session::{ClientMessage, Input, Limits, Quota, RefusalCode, ServerMessage};
use proactive::telemetry::{Metrics, SessionEnd};
use proactive::transport::grpc::inputs;
use proactive::transport::proto::client_event::Event;
use proactive::transport::proto::{ActiveTask, ClientEvent, ClientHello, SessionContext};
use prost::Message;
use serde_json::json;
use tonic::Status;
use tonic::body::Body;

use super::house::{call, play, world};
use super::pieces;

const EVENTS: usize = 24;
const MOST_BYTES: usize = 1 << 20;

pub(crate) fn run(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else {
        return;
    };
    let mut chunks = Vec::new();
    if how & 1 == 1 {
        chunks.push(framed(hello()));
    }
    match how & 2 == 2 {
        true => chunks.push(rest.to_vec()),
        false => chunks.extend(pieces(rest, EVENTS).into_iter().map(framed)),
    }
    let size = usize::from(how >> 2) * 64 + 1;
    let chunks: Vec<_> = chunks
        .iter()
        .flat_map(|chunk| chunk.chunks(size))
        .map(Bytes::copy_from_slice)
        .collect();
    // A little time between two chunks, so that frames get on meanwhile.
    let body = stream::iter(chunks).then(|chunk| async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        Ok::<_, Status>(Frame::data(chunk))
    });
    let heard = Arc::new(Mutex::new(BTreeMap::new()));
    let hearing = heard.clone();
    let quota = Quota::new(Limits::default(), world(), Metrics::new());
    let seat = quota.open(&Uid::new("somebody")).expect("there is room");
    let body = Body::new(StreamBody::new(body));
    let inputs = Box::pin(inputs(body, MOST_BYTES, seat.account().clone()));
    let inputs = inputs.inspect(move |input| {
        if let Some(frame) = frame_of(input) {
            *hearing
                .lock()
                .expect("unpoisoned")
                .entry(frame)
                .or_insert(0) += 1;
        }
    });

    let search = |name: &str, query: &str| call(name, json!({ "query": query }));
    let title = "Send the signed lease to the Berlin office";
    let says = [
        vec![
            search("search_similar", "lease"),
            search("search_keywords", "lease"),
        ],
        vec![call("extract_task", json!({ "title": title }))],
    ];
    let says = says.map(|calls| Ok(proactive::gemini::Turn::of_calls(calls)));
    let (end, told) = play(says.into(), |_| inputs.boxed());

    assert_eq!(end, SessionEnd::Closed);
    let mut answered = BTreeMap::new();
    for message in told {
        let frame = match message {
            ServerMessage::Answer(answer) => answer.frame.clone(),
            ServerMessage::Refused(refusal) => match refusal.frame {
                Some(frame) => frame,
                None => continue,
            },
            _ => continue,
        };
        *answered.entry(frame.to_string()).or_insert(0) += 1;
    }
    // One that is in flight is not answered twice.
    let heard = heard.lock().expect("unpoisoned");
    for (frame, times) in &*heard {
        let answers = answered.get(frame).copied().unwrap_or(0);
        assert!(
            (1..=*times).contains(&answers),
            "{answers} answers to {times}"
        );
    }
    assert_eq!(heard.len(), answered.len(), "an answer to no frame");
}

/// The frame that an input is about.
fn frame_of(input: &Input) -> Option<String> {
    let id: &FrameId = match input {
        Input::Message(ClientMessage::Frame(frame)) => &frame.id,
        Input::Refused(refusal) if refusal.code == RefusalCode::InvalidFrame => {
            refusal.frame.as_ref()?
        }
        _ => return None,
    };
    Some(id.to_string())
}

fn hello() -> Vec<u8> {
    let task = ActiveTask {
        task_id: 1,
        description: "Water the plants".to_owned(),
        ..ActiveTask::default()
    };
    let hello = ClientHello {
        protocol_version: "1.1".to_owned(),
        context_version: "v1".to_owned(),
        session_context: Some(SessionContext {
            active_tasks: vec![task],
            ..SessionContext::default()
        }),
        ..ClientHello::default()
    };
    let event = Some(Event::ClientHello(hello));
    ClientEvent { event }.encode_to_vec()
}

/// As gRPC frames a message.
fn framed(message: impl AsRef<[u8]>) -> Vec<u8> {
    let message = message.as_ref();
    let length = u32::try_from(message.len()).expect("a fuzzer's input is short");
    [&[0][..], &length.to_be_bytes(), message].concat()
}
