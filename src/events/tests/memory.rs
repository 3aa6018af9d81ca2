//! What is bounded in memory, and how.

use super::house::{Clock, decided, uid};
use crate::domain::{FrameId, JobId, JobState};
use crate::events::{Log, Options, Start};
use crate::telemetry::Metrics;

/// Each entry with this is a little more than that.
const KILO: usize = 1_000;

async fn log(bytes: usize) -> (Log, Metrics) {
    let options = Options {
        memory: bytes,
        ..Options::default()
    };
    let metrics = Metrics::new();
    let log = Log::open(options, Clock::new().world(1), metrics.clone());
    (log.await.unwrap(), metrics)
}

#[tokio::test]
async fn e07_the_user_written_to_longest_ago_loses_its_oldest_entries_first() {
    let (log, metrics) = log(100 * KILO).await;
    let (ada, bob) = (uid("ada"), uid("bob"));
    for user in [&ada, &bob] {
        for _ in 0..20 {
            let text = "x".repeat(KILO);
            log.append(user, decided(text), None).await.unwrap();
        }
    }
    let of_ada = log.read(&ada, Start::Oldest, 100).await.unwrap();
    for _ in 0..20 {
        let text = "x".repeat(KILO);
        log.append(&bob, decided(text), None).await.unwrap();
    }
    let left = log.read(&ada, Start::Oldest, 100).await.unwrap();
    assert!(
        (1..20).contains(&left.entries.len()),
        "{}",
        left.entries.len()
    );
    assert_eq!(left.cursor, of_ada.cursor, "the newest are left");
    let of_bob = log.read(&bob, Start::Oldest, 100).await.unwrap();
    assert_eq!(of_bob.entries[0].offset, 1, "all of them");

    for _ in 0..40 {
        let text = "x".repeat(KILO);
        log.append(&bob, decided(text), None).await.unwrap();
    }
    // Ada's log went as a whole. Its cursors are not good for the next one.
    let left = log
        .read(&ada, Start::After(of_ada.cursor.clone()), 100)
        .await;
    assert!(left.unwrap().gap);
    let again = log.append(&ada, decided(1), None).await.unwrap();
    assert_ne!(again.cursor.epoch, of_ada.cursor.epoch);
    let page = metrics.render();
    assert!(!page.contains("proactive_log_entries_swept_total{why=\"memory\"} 0"));
}

#[tokio::test]
async fn jobs_under_way_are_never_evicted() {
    let (log, _) = log(10 * KILO).await;
    let ada = uid("ada");
    let id = JobId::new("j");
    log.submit(&ada, id.clone(), FrameId::new("f"), None)
        .await
        .unwrap();
    for n in 0..100 {
        let text = "x".repeat(KILO);
        let bob = uid(&format!("bob {}", n % 7));
        log.append(&bob, decided(text), None).await.unwrap();
    }
    let moved = log.advance(&ada, &id, JobState::Streaming).await.unwrap();
    assert_eq!(moved.unwrap().state, JobState::Streaming);
}
