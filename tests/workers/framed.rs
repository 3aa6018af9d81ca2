//! Streaming tools in a frame's loop: what the model is shown of them, and when they stop.

use std::time::Duration;

use proactive::stand_in::{Call, Move};
use proactive::transport::proto::client_event::Event as Said;
use proactive::transport::proto::workers::Value;
use proactive::transport::proto::workers::value::Kind;
use proactive::transport::proto::{CancelFrame, OutcomeKind};
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use crate::producer::Producer;
use crate::support::outside::SERVICE_TOKEN;
use crate::support::{App, Desk, TestApp};
use crate::worker::{Worker, whole};
use crate::{has, started, workers};

const CHUNKS: i64 = 10_000;
/// How slow the model is, in each of its turns.
const THINKS: Duration = Duration::from_millis(300);
const SECOND: Duration = Duration::from_secs(1);
/// Characters that a model is shown of a result.
const SHOWN: usize = 16_000;
/// A result is read until it has more characters than this, as JSON.
const ENOUGH: usize = 32 << 10;

/// So small that all of them are shown. Seven has no factor in common with any number
/// in which chunks are counted: none can be lost or change its place unseen.
fn digit(sequence: i64) -> Value {
    whole(sequence % 7)
}

/// So large that their beginning is enough.
fn line(sequence: i64) -> String {
    format!("line {sequence:05} of a long result")
}

fn text(sequence: i64) -> Value {
    let kind = Some(Kind::Text(line(sequence)));
    Value { kind }
}

/// A call of the streaming tool, each another one.
fn streams(n: i64) -> Call {
    Call::new("stream_n", json!({ "n": n }))
}

fn ends() -> Move {
    Move::call("no_task_found", json!({})).after(THINKS)
}

/// A worker with the streaming tool, which can be asked.
async fn worker(app: &App) -> Worker {
    let worker = Worker::with(app, &["stream_n"]).await;
    has(&workers(app), "stream_n").await;
    worker
}

/// What the model was told of the streaming tool's calls, in order, by its last request.
fn told(app: &App) -> Vec<Json> {
    let requests = app.model.recorded();
    let last: Json = serde_json::from_slice(&requests.last().unwrap().body).unwrap();
    let contents = last["contents"].as_array().unwrap().iter();
    let parts = contents.flat_map(|it| it["parts"].as_array().unwrap());
    let answers = parts.filter_map(|part| part.get("functionResponse"));
    let answers = answers.filter(|it| it["name"] == "stream_n");
    answers.map(|it| it["response"]["output"].clone()).collect()
}

#[tokio::test]
async fn c02_ten_thousand_chunks_reach_a_slow_model_in_order_in_each_of_its_turns() {
    let app = started().await;
    let search = Call::new("search_similar", json!({ "query": "the lease" }));
    app.script([
        Move::calls([streams(1)]).after(THINKS),
        Move::calls([search, streams(2)]).after(THINKS),
        Move::calls([streams(3)]).after(THINKS),
        ends(),
    ]);
    let mut worker = worker(&app).await;
    let mut desk = app.greeted().await;
    let began = Instant::now();
    let producing = async {
        for _ in 0..3 {
            let mut producer = Producer::of(worker).await;
            assert!(producer.sends(CHUNKS, digit).await, "all are wanted");
            worker = producer.ends().await;
        }
        worker
    };
    let deciding = async {
        desk.frame("f", "x").await;
        let search = desk.search().await;
        desk.answer(&search, vec![]).await;
        desk.outcome().await
    };
    let (_worker, outcome) = tokio::join!(producing, deciding);
    assert_eq!(outcome.outcome_kind(), OutcomeKind::NoTaskFound);
    let told = told(&app);
    println!(
        "a model that was slow in four turns was shown {CHUNKS} chunks {} times in {:?}",
        told.len(),
        began.elapsed()
    );
    assert_eq!(told.len(), 3);
    let all: Vec<_> = (0..CHUNKS).map(|sequence| sequence % 7).collect();
    for result in told {
        assert_eq!(result, json!({ "result": all }));
    }
}

#[tokio::test]
async fn c02_a_model_is_shown_the_beginning_of_a_long_stream_and_the_rest_is_not_produced() {
    let app = started().await;
    app.script([Move::calls([streams(1)]).after(THINKS), ends()]);
    let worker = worker(&app).await;
    let mut desk = app.greeted().await;
    // With its quotation marks.
    let enough = (ENOUGH / (line(0).len() + 2) + 1) as i64;
    let producing = async {
        let mut producer = Producer::of(worker).await;
        assert!(producer.sends(enough, text).await, "more is wanted");
        let since = Instant::now();
        let goes_on = producer.sends(CHUNKS, text).await;
        assert!(!goes_on, "it was never told to stop");
        (producer.sent, since.elapsed())
    };
    let deciding = async {
        desk.frame("f", "x").await;
        desk.outcome().await
    };
    let ((sent, waited), _) = tokio::join!(producing, deciding);
    let told = &told(&app)[0];
    let shown = told["result"].as_array().unwrap();
    let shown: Vec<_> = shown.iter().map(|it| it.as_str().unwrap()).collect();
    let characters = shown.concat().len();
    println!(
        "of {CHUNKS} chunks {} were shown, {enough} read, {sent} sent; the producer was told to \
         stop {waited:?} after there was enough",
        shown.len()
    );
    assert!(waited < SECOND);
    assert!(sent <= enough + 100, "{sent} sent, {enough} read");
    assert!(
        told["note"]
            .as_str()
            .unwrap()
            .contains("this is its beginning")
    );
    assert!((SHOWN / 2..=SHOWN).contains(&characters), "{characters}");
    // The last one is cut where the room ends.
    let (last, whole) = shown.split_last().unwrap();
    assert!(line(whole.len() as i64).starts_with(last.trim_end_matches('…')));
    for (sequence, shown) in (0..).zip(whole) {
        assert_eq!(*shown, line(sequence));
    }
}

/// A frame whose stream is under way: a part is read, there will be more.
async fn in_a_stream(app: &App) -> (Desk, Producer) {
    app.script([Move::calls([streams(1)])]);
    let worker = worker(app).await;
    let desk = app.greeted().await;
    desk.frame("f", "x").await;
    let mut producer = Producer::of(worker).await;
    // More than may lie unread.
    assert!(producer.sends(500, digit).await);
    (desk, producer)
}

#[tokio::test]
async fn c02_a_frame_that_is_cancelled_stops_the_producer_of_its_stream() {
    let app = started().await;
    let (mut desk, mut producer) = in_a_stream(&app).await;
    let since = Instant::now();
    let frame_id = "f".to_owned();
    desk.say(Said::CancelFrame(CancelFrame { frame_id })).await;
    producer.is_stopped().await;
    let waited = since.elapsed();
    println!("the producer was told {waited:?} after its frame was cancelled");
    assert!(waited < SECOND);
    assert_eq!(desk.error().await.code, "CANCELLED");
}

#[tokio::test]
async fn c02_a_client_that_goes_away_stops_the_producer_of_its_frames_stream() {
    let app = started().await;
    let (desk, mut producer) = in_a_stream(&app).await;
    let since = Instant::now();
    drop(desk);
    producer.is_stopped().await;
    let waited = since.elapsed();
    println!("the producer was told {waited:?} after its client went away");
    assert!(waited < SECOND);
}

#[tokio::test]
async fn c02_a_call_whose_time_is_over_stops_the_producer_of_its_stream() {
    let app = TestApp::new();
    let app = app.with(|settings| settings.work.service_tokens = Some(SERVICE_TOKEN.into()));
    // Shorter than any setting makes it.
    let app = app.tweak(|config| config.analysis.frame_timeout = 6 * SECOND);
    let app = app.start().await;
    let (mut desk, mut producer) = in_a_stream(&app).await;
    let began = Instant::now();
    let answered = async {
        assert_eq!(desk.error().await.code, "FRAME_TIMEOUT");
        began.elapsed()
    };
    let stopped = async {
        producer.is_stopped().await;
        began.elapsed()
    };
    let (answered, stopped) = tokio::join!(answered, stopped);
    println!("a frame was out of time after {answered:?}, its producer told after {stopped:?}");
    assert!(stopped < answered + SECOND);
}
