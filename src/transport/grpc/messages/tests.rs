//! Messages in all pieces, sizes and states of want.

use std::time::Duration;

use futures::{FutureExt, StreamExt};
use http_body::Frame;
use http_body_util::StreamBody;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::*;
use crate::domain::Uid;
use crate::session::{Limits, Quota, Seat};
use crate::telemetry::Metrics;
use crate::transport::arriving::{ARRIVAL, FREE};
use crate::transport::proto::{ClientEvent, FrameEvent, Heartbeat, client_event::Event};
use crate::transport::tests::kind;
use crate::world::World;

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
    let (_, seat) = quota(1 << 20);
    let kinds = inputs(body, 1_000, seat.account().clone()).map(|input| kind(&input));
    kinds.collect().await
}

/// A user who may have so many bytes under way.
fn quota(bytes_per_user: usize) -> (Quota, Seat) {
    let limits = Limits {
        bytes_per_user,
        ..Limits::default()
    };
    let quota = Quota::new(limits, World::real(), Metrics::new());
    let seat = quota.open(&Uid::new("somebody")).unwrap();
    (quota, seat)
}

fn shot(id: &str, size: usize) -> Vec<u8> {
    let mut jpeg = vec![0x5A; size];
    jpeg[..4].copy_from_slice(&[0xFF, 0xD8, 0xFF, 0xE0]);
    jpeg[size - 2..].copy_from_slice(&[0xFF, 0xD9]);
    let frame = FrameEvent {
        screenshot_id: id.into(),
        jpeg_bytes: jpeg.into(),
        ..FrameEvent::default()
    };
    let event = Some(Event::FrameEvent(frame));
    framed(&ClientEvent { event }.encode_to_vec())
}

/// A body whose bytes come as they are sent.
fn body() -> (mpsc::Sender<Bytes>, Body) {
    let (send, sent) = mpsc::channel(64);
    let chunks = ReceiverStream::new(sent).map(|chunk| Ok::<_, Status>(Frame::data(chunk)));
    (send, Body::new(StreamBody::new(chunks)))
}

#[tokio::test(start_paused = true)]
async fn a_message_is_counted_as_it_arrives_and_until_its_jpeg_is_dropped() {
    let (quota, seat) = quota(1 << 20);
    let idle = quota.bytes();
    let (send, body) = body();
    let mut inputs = Box::pin(inputs(body, 10 << 20, seat.account().clone()));
    let shot = shot("shot", 200_000);
    let whole = shot.len() - PREFIX;
    send.send(Bytes::copy_from_slice(&shot[..FREE]))
        .await
        .unwrap();
    assert!(futures::poll!(inputs.next()).is_pending());
    assert_eq!(quota.bytes(), idle, "little is not counted");
    send.send(Bytes::copy_from_slice(&shot[FREE..150_000]))
        .await
        .unwrap();
    assert!(futures::poll!(inputs.next()).is_pending());
    assert_eq!(quota.bytes(), idle + whole);
    send.send(Bytes::copy_from_slice(&shot[150_000..]))
        .await
        .unwrap();
    let input = inputs.next().await.unwrap();
    assert_eq!(
        (kind(&input).as_str(), quota.bytes()),
        ("shot", idle + whole)
    );
    drop(input);
    assert_eq!(quota.bytes(), idle);
}

#[tokio::test(start_paused = true)]
async fn a_frame_for_which_there_is_no_room_is_named_and_the_next_one_read() {
    let (quota, seat) = quota(400_000);
    let idle = quota.bytes();
    let (send, body) = body();
    let mut inputs = Box::pin(inputs(body, 10 << 20, seat.account().clone()));
    let all = [
        shot("large", 900_000),
        frame("small"),
        shot("fits", 300_000),
    ]
    .concat();
    for piece in all.chunks(40_000) {
        send.send(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    for told in ["OVERLOADED large", "small", "fits"] {
        let input = inputs.next().await.unwrap();
        assert_eq!(kind(&input), told);
    }
    assert_eq!(quota.bytes(), idle);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_long_in_coming_is_a_sign_of_life_every_second() {
    let (_, seat) = quota(1 << 20);
    let (send, body) = body();
    let mut inputs = Box::pin(inputs(body, 10 << 20, seat.account().clone()));
    let shot = shot("shot", 100_000);
    let mut told = Vec::new();
    for piece in shot.chunks(10_000) {
        send.send(Bytes::copy_from_slice(piece)).await.unwrap();
        while let std::task::Poll::Ready(Some(input)) = futures::poll!(inputs.next()) {
            told.push(kind(&input));
        }
        tokio::time::advance(Duration::from_millis(600)).await;
    }
    assert_eq!(told.last().map(String::as_str), Some("shot"));
    let parts = told.iter().filter(|told| *told == "part").count();
    assert!((4..=6).contains(&parts), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn half_a_message_gives_its_memory_back_after_a_minute() {
    let (quota, seat) = quota(1 << 20);
    let idle = quota.bytes();
    let (send, body) = body();
    let mut inputs = Box::pin(inputs(body, 10 << 20, seat.account().clone()));
    let shot = shot("shot", 200_000);
    send.send(Bytes::copy_from_slice(&shot[..100_000]))
        .await
        .unwrap();
    let began = Instant::now();
    let told = inputs.next().await.unwrap();
    assert_eq!(
        (kind(&told).as_str(), began.elapsed()),
        ("INVALID_EVENT", ARRIVAL)
    );
    assert_eq!(quota.bytes(), idle);
    assert_eq!(kind(&inputs.next().await.unwrap()), "stalled");
    assert!(inputs.next().await.is_none(), "nothing more is read");
    // Silence between two messages is not limited.
    let (send, body) = self::body();
    let mut inputs = Box::pin(super::inputs(body, 10 << 20, seat.account().clone()));
    assert!(futures::poll!(inputs.next()).is_pending());
    tokio::time::advance(10 * ARRIVAL).await;
    send.send(shot.into()).await.unwrap();
    assert_eq!(kind(&inputs.next().await.unwrap()), "shot");
}

#[tokio::test]
async fn a_small_jpeg_does_not_keep_a_large_message() {
    let (quota, seat) = quota(1 << 20);
    let idle = quota.bytes();
    let event = Event::FrameEvent(FrameEvent {
        ocr_text: "x".repeat(300_000),
        jpeg_bytes: b"\xff\xd8\xff\xe0\xff\xd9"[..].into(),
        ..FrameEvent::default()
    });
    let (send, body) = body();
    let event = Some(event);
    let message = framed(&ClientEvent { event }.encode_to_vec());
    send.send(message.into()).await.unwrap();
    let mut inputs = Box::pin(inputs(body, 10 << 20, seat.account().clone()));
    let input = inputs.next().await.unwrap();
    assert_eq!((kind(&input).as_str(), quota.bytes()), ("0", idle));
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

#[tokio::test]
async fn what_a_message_came_in_is_let_go_before_the_next_one_is_waited_for() {
    let (send, body) = body();
    let (_, seat) = quota(1 << 20);
    let mut inputs = Box::pin(inputs(body, 1_000, seat.account().clone()));
    let room: Arc<[u8]> = frame("a").into();
    send.send(Bytes::from_owner(room.clone())).await.unwrap();
    assert!(inputs.next().await.is_some());
    assert!(inputs.next().now_or_never().is_none(), "no more has come");
    assert_eq!(Arc::strong_count(&room), 1);
}
