//! Messages in all pieces and sizes, and connections in all states of want.

use futures::{FutureExt, StreamExt};
use tokio::io::{AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;

use super::*;
use crate::domain::Uid;
use crate::session::{Limits, Quota, Seat};
use crate::telemetry::Metrics;
use crate::transport::arriving::{ARRIVAL, FREE};
use crate::transport::tests::kind;
use crate::transport::websocket::notes::News;
use crate::world::World;

const SILENCE: Duration = Duration::from_secs(40);

/// A frame whose mask changes nothing; `first` has its kind.
fn framed(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len() as u64;
    let head = [&[first, 0xFF][..], &length.to_be_bytes(), &[0; 4]].concat();
    [&head, payload].concat()
}

fn text(payload: &str) -> Vec<u8> {
    framed(0x81, payload.as_bytes())
}

/// A frame event of about this size.
fn shot(id: &str, size: usize) -> Vec<u8> {
    let mut jpeg = vec![0x5A; size / 4 * 3];
    let end = jpeg.len() - 2;
    jpeg[..4].copy_from_slice(&[0xFF, 0xD8, 0xFF, 0xE0]);
    jpeg[end..].copy_from_slice(&[0xFF, 0xD9]);
    let image = base64_simd::STANDARD.encode_to_string(&jpeg);
    text(&format!(
        r#"{{"type":"frame_event","jpeg_base64":"{image}","screenshot_id":"{id}"}}"#
    ))
}

/// A client at the other end of a stream, whose user may have so many bytes under
/// way.
struct Client {
    socket: DuplexStream,
    heard: mpsc::UnboundedReceiver<Input>,
    notes: Notes<DuplexStream>,
    quota: Quota,
    idle: usize,
    _seat: Seat,
    _reading: tokio::task::JoinSet<()>,
}

impl Client {
    fn new(bytes_per_user: usize) -> Self {
        let limits = Limits {
            bytes_per_user,
            ..Limits::default()
        };
        let quota = Quota::new(limits, World::real(), Metrics::new());
        let seat = quota.open(&Uid::new("somebody")).unwrap();
        let idle = quota.bytes();
        let (socket, theirs) = duplex(1 << 10);
        let notes = Notes::new();
        let inputs = inputs(theirs, seat.account().clone(), SILENCE, notes.clone());
        let (tell, heard) = mpsc::unbounded_channel();
        let mut reading = tokio::task::JoinSet::new();
        reading.spawn(async move {
            let mut inputs = Box::pin(inputs);
            while let Some(input) = inputs.next().await {
                let _ = tell.send(input);
            }
        });
        Self {
            socket,
            heard,
            notes,
            quota,
            idle,
            _seat: seat,
            _reading: reading,
        }
    }

    async fn say(&mut self, bytes: &[u8]) {
        self.socket.write_all(bytes).await.unwrap();
    }

    /// The next input that is more than a sign of life, which a slow machine has many of.
    async fn input(&mut self) -> Option<Input> {
        loop {
            match self.heard.recv().await {
                Some(Input::Part) => {}
                other => return other,
            }
        }
    }

    async fn next(&mut self) -> Option<String> {
        self.input().await.map(|input| kind(&input))
    }

    fn counted(&self) -> usize {
        self.quota.bytes() - self.idle
    }
}

#[tokio::test]
async fn what_is_said_is_heard_in_order_and_what_cannot_be_used_costs_only_itself() {
    let mut client = Client::new(32 << 20);
    let all = [
        text(r#"{"type":"heartbeat"}"#),
        shot("small", 1_000),
        framed(0x82, b"binary"),
        shot("large", 200_000),
        text("nonsense"),
        framed(0x01, b"{\"type\":"),
        framed(0x89, b"ping"),
        framed(0x80, b"\"heartbeat\"}"),
    ]
    .concat();
    client.say(&all).await;
    for expected in [
        "heartbeat",
        "small",
        "INVALID_EVENT",
        "large",
        "INVALID_EVENT",
        "heartbeat",
    ] {
        assert_eq!(client.next().await.unwrap(), expected);
    }
    assert!(matches!(client.notes.news().await, News::Pong(said) if &*said == b"ping"));
    client.say(&framed(0x88, &[0x03, 0xE9])).await;
    assert_eq!(client.next().await.as_deref(), Some("lost"));
    assert_eq!(client.next().await, None);
    assert_eq!(client.notes.ending(), Some(Ending::Theirs(Some(1001))));
    client.notes.socket().await;
    assert_eq!(client.counted(), 0);
}

#[tokio::test]
async fn a_message_too_large_is_read_past_and_one_without_end_is_not() {
    let mut client = Client::new(32 << 20);
    client.say(&shot("fits", 10 << 20)).await;
    assert_eq!(client.next().await.unwrap(), "fits");
    client.say(&text(&" ".repeat(MAX_MESSAGE + 1))).await;
    assert_eq!(client.next().await.unwrap(), "MESSAGE_TOO_LARGE");
    // In pieces, so that nobody knows before.
    client.say(&framed(0x01, b"{")).await;
    for _ in 0..15 {
        client.say(&framed(0x00, &[b' '; 1 << 20])).await;
    }
    client.say(&framed(0x80, b"}")).await;
    assert_eq!(client.next().await.unwrap(), "MESSAGE_TOO_LARGE");
    client.say(&text(r#"{"type":"heartbeat"}"#)).await;
    assert_eq!(client.next().await.unwrap(), "heartbeat");
    let announced = MAX_PASSED + 1;
    let head = [&[0x81, 0xFF][..], &announced.to_be_bytes(), &[0; 4], b"x"].concat();
    client.say(&head).await;
    assert_eq!(client.next().await.unwrap(), "lost");
    assert_eq!(client.notes.ending(), Some(Ending::Ours(Close::TooBig)));
}

#[tokio::test]
async fn a_message_is_counted_as_it_arrives_and_one_without_room_is_named_and_passed() {
    let mut client = Client::new(600_000);
    let frame = shot("first", 400_000);
    client.say(&frame[..FREE]).await;
    assert_eq!(client.counted(), 0, "a little of it is free");
    client.say(&frame[FREE..100_000]).await;
    while client.counted() == 0 {
        tokio::task::yield_now().await;
    }
    client.say(&frame[100_000..]).await;
    let first = client.input().await.unwrap();
    assert_eq!(kind(&first), "first");
    assert!(
        (299_000..301_000).contains(&client.counted()),
        "the image alone"
    );
    client.say(&shot("second", 400_000)).await;
    assert_eq!(client.next().await.unwrap(), "OVERLOADED second");
    drop(first);
    assert_eq!(client.counted(), 0);
    client.say(&shot("third", 400_000)).await;
    assert_eq!(client.next().await.unwrap(), "third");
}

#[tokio::test(start_paused = true)]
async fn a_slow_message_is_a_sign_of_life_and_given_up_after_a_minute() {
    let mut client = Client::new(32 << 20);
    let frame = shot("slow", 400_000);
    client.say(&frame[..100_000]).await;
    let began = Instant::now();
    let mut parts = 0;
    for piece in frame[100_000..].chunks(1_000) {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        if client.socket.write_all(piece).await.is_err() {
            break;
        }
        while let Ok(input) = client.heard.try_recv() {
            match &*kind(&input) {
                "part" => parts += 1,
                other => assert_eq!(other, "INVALID_EVENT"),
            }
            if !matches!(input, Input::Part) {
                assert_eq!(client.next().await.unwrap(), "stalled");
                assert_eq!(client.next().await, None);
                assert!(began.elapsed() >= ARRIVAL && parts > 20, "{parts}");
                assert_eq!(client.notes.ending(), Some(Ending::Ours(Close::Stalled)));
                assert_eq!(client.counted(), 0);
                return;
            }
        }
    }
    panic!("it was never given up");
}

#[tokio::test(start_paused = true)]
async fn a_peer_of_which_nothing_is_heard_is_gone_and_one_that_answers_pings_is_not() {
    let mut client = Client::new(32 << 20);
    let began = Instant::now();
    for _ in 0..5 {
        tokio::time::sleep(Duration::from_secs(30)).await;
        client.say(&framed(0x8A, b"")).await;
    }
    assert_eq!(client.next().await.unwrap(), "lost");
    assert_eq!(began.elapsed(), Duration::from_secs(150) + SILENCE);
    assert_eq!(client.notes.ending(), Some(Ending::Gone));
}

#[tokio::test]
async fn what_is_no_websocket_or_no_text_ends_the_stream_with_its_code() {
    for (bytes, close) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], Close::Protocol),
        (&framed(0x81, b"\xFF\xFE"), Close::NotText),
    ] {
        let mut client = Client::new(1 << 20);
        client.say(bytes).await;
        assert_eq!(client.next().await.unwrap(), "lost");
        assert_eq!(client.notes.ending(), Some(Ending::Ours(close)));
    }
    let mut broken = Client::new(1 << 20);
    broken.say(&text("cut")[..10]).await;
    let (socket, _) = duplex(1);
    drop(mem::replace(&mut broken.socket, socket));
    assert_eq!(broken.next().await.unwrap(), "lost");
    assert_eq!(broken.notes.ending(), Some(Ending::Gone));
}

#[tokio::test]
async fn a_flood_of_pings_fills_nothing_and_the_newest_is_answered() {
    let mut client = Client::new(1 << 20);
    for number in 0..10_000 {
        client
            .say(&framed(0x89, format!("{number}").as_bytes()))
            .await;
    }
    client.say(&text(r#"{"type":"heartbeat"}"#)).await;
    assert_eq!(client.next().await.unwrap(), "heartbeat");
    assert!(matches!(client.notes.news().await, News::Pong(said) if &*said == b"9999"));
    let more = client.notes.news();
    assert!(more.now_or_never().is_none());
}

#[tokio::test]
async fn b04_what_the_session_does_not_take_stays_in_the_socket() {
    const SOCKET: usize = 4 << 10;
    let (mut client, theirs) = duplex(SOCKET);
    let quota = Quota::new(Limits::default(), World::real(), Metrics::new());
    let seat = quota.open(&Uid::new("somebody")).unwrap();
    let mut inputs = Box::pin(inputs(
        theirs,
        seat.account().clone(),
        SILENCE,
        Notes::new(),
    ));
    let mut said = 0;
    let mut flood = async || {
        let beat = text(r#"{"type":"heartbeat"}"#);
        while client.write_all(&beat).now_or_never().is_some() {
            said += beat.len();
        }
        said
    };
    assert!(flood().await <= SOCKET);
    for _ in 0..3 {
        assert_eq!(kind(&inputs.next().await.unwrap()), "heartbeat");
        let taken = flood().await - SOCKET;
        assert!(taken <= IDLE_BUFFER, "{taken} bytes are taken at once");
    }
}
