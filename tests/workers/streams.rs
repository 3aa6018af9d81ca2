//! Results in parts, over the wire.

use std::time::Duration;

use proactive::domain::{CallFaultCode, Ran, Value};
use tokio::time::Instant;

use crate::producer::Producer;
use crate::worker::{Worker, result, whole};
use crate::{has, started, stream, workers};

#[tokio::test]
async fn c02_chunks_come_in_order_with_a_final_mark() {
    let app = started().await;
    let mut worker = Worker::with(&app, &["stream_n"]).await;
    let workers = workers(&app);
    has(&workers, "stream_n").await;
    let mut chunks = stream(&workers, "stream_n");
    let call = worker.call().await;
    for sequence in 0..50 {
        worker.chunk(&call, sequence, whole(sequence)).await;
    }
    worker.say(result(&call.call_id, None)).await;
    for sequence in 0..50 {
        assert_eq!(chunks.next().await, Some(Ok(Value::Integer(sequence))));
    }
    assert_eq!(chunks.next().await, None);
}

#[tokio::test]
async fn c02_a_worker_that_dies_in_the_middle_leaves_no_consumer_hanging() {
    let app = started().await;
    let mut worker = Worker::with(&app, &["stream_n"]).await;
    let workers = workers(&app);
    let mut chunks = stream(&workers, "stream_n");
    let call = worker.call().await;
    worker.chunk(&call, 0, whole(0)).await;
    assert_eq!(chunks.next().await, Some(Ok(Value::Integer(0))));
    drop(worker);
    let fault = chunks.next().await.unwrap().unwrap_err();
    assert_eq!(
        (fault.code, fault.ran),
        (CallFaultCode::Unavailable, Ran::Maybe)
    );
    assert_eq!(chunks.next().await, None);
}

/// A producer that obeys its credit sends as fast as it may; its consumer is slow.
#[tokio::test]
async fn c02_ten_thousand_chunks_go_through_a_slow_consumer_with_a_hundred_unread_at_most() {
    const CHUNKS: i64 = 10_000;
    let app = started().await;
    let worker = Worker::with(&app, &["stream_n"]).await;
    let workers = workers(&app);
    let mut chunks = stream(&workers, "stream_n");
    let producing = async {
        let mut producer = Producer::of(worker).await;
        assert!(producer.sends(CHUNKS, whole).await);
        producer.ends().await
    };
    let consuming = async {
        let (mut expected, mut most) = (0, 0);
        while let Some(chunk) = chunks.next().await {
            assert_eq!(chunk, Ok(Value::Integer(expected)));
            expected += 1;
            // What lies here beside the one that was taken.
            most = most.max(chunks.unread() + 1);
            if expected % 100 == 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        (expected, most)
    };
    let began = Instant::now();
    let ((taken, most), _worker) = tokio::join!(consuming, producing);
    assert_eq!(taken, CHUNKS);
    println!(
        "{CHUNKS} chunks in {:?}, at most {most} unread",
        began.elapsed()
    );
    assert!(most <= 100, "{most} lay unread");
}

#[tokio::test]
async fn c02_a_producer_is_told_within_a_second_that_its_consumer_has_gone() {
    let app = started().await;
    let mut worker = Worker::with(&app, &["stream_n"]).await;
    let workers = workers(&app);
    let mut chunks = stream(&workers, "stream_n");
    let call = worker.call().await;
    for sequence in 0..10 {
        worker.chunk(&call, sequence, whole(sequence)).await;
    }
    chunks.next().await.unwrap().unwrap();
    let began = Instant::now();
    drop(chunks);
    assert_eq!(worker.cancelled().await, call.call_id);
    println!("the producer was told after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(1));
}
