//! Results that come in parts.

use tokio::time::advance;

use super::*;

/// A stream that has been asked for, and its worker's name for it.
fn begun(workers: &Workers, worker: &Connected) -> (Chunks, CallId) {
    let deadline = Instant::now() + 10 * SECOND;
    let chunks = workers.stream(call("stream"), deadline, deadline).unwrap();
    let Some(Command::Execute { id, credit, .. }) = worker.next() else {
        panic!("no call")
    };
    assert_eq!(credit, Some(100));
    (chunks, id)
}

fn chunk(worker: &Connected, id: &CallId, sequence: i64) -> Result<(), SentAway> {
    let chunk = Said::Chunk {
        id: id.clone(),
        sequence,
        value: Value::Integer(sequence),
    };
    say(worker, chunk)
}

fn end(worker: &Connected, id: &CallId) {
    let id = id.clone();
    say(worker, Said::Result { id, value: None }).unwrap();
}

#[tokio::test(start_paused = true)]
async fn c02_chunks_come_in_order_and_then_the_final_mark() {
    let workers = workers();
    let worker = join(&workers, &["stream"], 1);
    let (mut chunks, id) = begun(&workers, &worker);
    for sequence in 0..3 {
        chunk(&worker, &id, sequence).unwrap();
    }
    end(&worker, &id);
    // All of them, also after the worker has gone.
    drop(worker);
    for sequence in 0..3 {
        assert_eq!(chunks.next().await, Some(Ok(Value::Integer(sequence))));
    }
    assert_eq!(chunks.next().await, None);
    assert_eq!(chunks.next().await, None);
    is_clean(&workers);
}

#[tokio::test(start_paused = true)]
async fn c02_a_failure_ends_the_stream_after_what_has_come() {
    let workers = workers();
    let worker = join(&workers, &["stream"], 1);
    let (mut chunks, id) = begun(&workers, &worker);
    chunk(&worker, &id, 0).unwrap();
    fail(&worker, &id, CallFaultCode::Failed, false);
    assert!(matches!(chunks.next().await, Some(Ok(_))));
    let fault = chunks.next().await.unwrap();
    assert_eq!(kind(fault), (CallFaultCode::Failed, Ran::Maybe));
    assert_eq!(chunks.next().await, None);
    // As does a worker that goes away, or is never heard of again.
    let (mut chunks, _id) = begun(&workers, &worker);
    let fault = chunks.next().await.unwrap();
    assert_eq!(kind(fault), (CallFaultCode::Timeout, Ran::Maybe));
    let (mut chunks, id) = begun_after(&workers, &worker);
    chunk(&worker, &id, 0).unwrap();
    drop(worker);
    assert!(matches!(chunks.next().await, Some(Ok(_))));
    let fault = chunks.next().await.unwrap();
    assert_eq!(kind(fault), (CallFaultCode::Unavailable, Ran::Maybe));
    is_clean(&workers);
}

/// The same where a cancel is still to be told.
fn begun_after(workers: &Workers, worker: &Connected) -> (Chunks, CallId) {
    assert_eq!(cancelled(worker).len(), 1);
    begun(workers, worker)
}

#[tokio::test(start_paused = true)]
async fn c02_at_most_a_hundred_chunks_lie_unread_and_credit_comes_as_they_are_taken() {
    let workers = workers();
    let worker = join(&workers, &["stream"], 1);
    let (mut chunks, id) = begun(&workers, &worker);
    for sequence in 0..100 {
        chunk(&worker, &id, sequence).unwrap();
    }
    assert_eq!(chunks.unread(), 100);
    for _ in 0..24 {
        chunks.next().await.unwrap().unwrap();
    }
    assert!(worker.next().is_none(), "in parts");
    for _ in 0..26 {
        chunks.next().await.unwrap().unwrap();
    }
    // Two parts, told as one.
    let told = worker.next();
    let Some(Command::Credit { id: of, more: 50 }) = told else {
        panic!("{told:?}")
    };
    assert_eq!(of, id);
    assert!(worker.next().is_none());
    for sequence in 100..150 {
        chunk(&worker, &id, sequence).unwrap();
    }
    chunk(&worker, &id, 150).unwrap();
    let mut last = None;
    while let Some(next) = chunks.next().await {
        last = Some(next);
    }
    let fault = last.unwrap();
    assert_eq!(kind(fault), (CallFaultCode::Broken, Ran::Maybe));
    assert_eq!(cancelled(&worker), [id]);
}

#[tokio::test(start_paused = true)]
async fn c02_a_producer_is_told_at_once_that_its_consumer_has_gone() {
    let workers = workers();
    let worker = join(&workers, &["stream"], 1);
    let (chunks, id) = begun(&workers, &worker);
    chunk(&worker, &id, 0).unwrap();
    drop(chunks);
    assert_eq!(cancelled(&worker), std::slice::from_ref(&id));
    // What was on the way is no lie.
    for sequence in 1..50 {
        chunk(&worker, &id, sequence).unwrap();
    }
    is_clean(&workers);
}

#[tokio::test(start_paused = true)]
async fn c05_a_consumer_that_reads_on_and_on_meets_the_deadline_as_well() {
    let workers = workers();
    let worker = join(&workers, &["stream"], 1);
    let (mut chunks, id) = begun(&workers, &worker);
    let mut taken = 0;
    let fault = loop {
        chunk(&worker, &id, taken).unwrap();
        match chunks.next().await.unwrap() {
            Ok(_) => taken += 1,
            Err(fault) => break fault,
        }
        advance(SECOND).await;
    };
    assert_eq!(fault.code, CallFaultCode::Timeout);
    assert!((9..=11).contains(&taken), "{taken}");
    is_clean(&workers);
}

#[tokio::test(start_paused = true)]
async fn c02_who_wants_all_at_once_gets_a_list_as_large_as_a_result_may_be() {
    let workers = workers();
    let worker = join(&workers, &["stream"], 1);
    let calling = ask(&workers, "stream");
    let id = one(&worker);
    for sequence in 0..2 {
        chunk(&worker, &id, sequence).unwrap();
    }
    end(&worker, &id);
    let all = Value::List(vec![Value::Integer(0), Value::Integer(1)]);
    assert_eq!(calling.await, Ok(all));
    let calling = ask(&workers, "stream");
    let id = one(&worker);
    for sequence in 0..18 {
        let chunk = Said::Chunk {
            id: id.clone(),
            sequence,
            value: Value::Text("x".repeat(60 << 10)),
        };
        say(&worker, chunk).unwrap();
    }
    assert_eq!(kind(calling.await), (CallFaultCode::Exhausted, Ran::Maybe));
    assert_eq!(cancelled(&worker), [id]);
    is_clean(&workers);
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_does_not_stream_has_one_chunk() {
    let workers = workers();
    let worker = join(&workers, &["add"], 1);
    let deadline = Instant::now() + SECOND;
    let mut chunks = workers.stream(call("add"), deadline, deadline).unwrap();
    answer(&worker, &one(&worker), "done");
    assert_eq!(chunks.next().await, Some(text("done")));
    assert_eq!(chunks.next().await, None);
}
