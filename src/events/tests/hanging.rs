//! An engine that answers nothing, as on a disk that hangs.

use futures::FutureExt;
use futures::future::{BoxFuture, pending};
use tokio::time::Instant;

use super::house::{Clock, decided, uid};
use crate::domain::{Event, FrameId, Job, JobId, JobState, Uid};
use crate::events::hub::Hubs;
use crate::events::{Appended, Engine, Error, Key, Log, Page, Start, Submitted};
use crate::telemetry::Metrics;

struct Hanging;

/// Logs that answer nothing.
pub(crate) fn hanging_log(metrics: Metrics) -> Log {
    let hubs = Hubs::new(metrics.clone());
    Log::over(Box::new(Hanging), hubs, Clock::new().world(1), metrics)
}

impl Engine for Hanging {
    fn append(&self, _: &Uid, _: Event, _: Option<Key>) -> BoxFuture<'_, Result<Appended, Error>> {
        pending().boxed()
    }

    fn read(&self, _: &Uid, _: Start, _: usize) -> BoxFuture<'_, Result<Page, Error>> {
        pending().boxed()
    }

    fn submit(
        &self,
        _: &Uid,
        _: JobId,
        _: FrameId,
        _: Option<Key>,
    ) -> BoxFuture<'_, Result<Submitted, Error>> {
        pending().boxed()
    }

    fn submitted(&self, _: &Uid, _: &Key) -> BoxFuture<'_, Result<Option<Job>, Error>> {
        pending().boxed()
    }

    fn advance(
        &self,
        _: &Uid,
        _: &JobId,
        _: JobState,
    ) -> BoxFuture<'_, Result<Option<Job>, Error>> {
        pending().boxed()
    }

    fn job(&self, _: &Uid, _: &JobId) -> BoxFuture<'_, Result<Option<Job>, Error>> {
        pending().boxed()
    }

    fn jobs(&self, _: &Uid, _: Option<JobId>, _: usize) -> BoxFuture<'_, Result<Vec<Job>, Error>> {
        pending().boxed()
    }

    fn crashed(&self) -> BoxFuture<'_, ()> {
        pending().boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        pending().boxed()
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_calls_a_log_that_hangs_is_told_so_after_ten_seconds_and_it_counts_as_failed() {
    let metrics = Metrics::new();
    let log = hanging_log(metrics.clone());
    let (ada, id, key) = (uid("ada"), JobId::new("j"), Key::new("k"));
    let mut follower = log.follow(&ada, Start::Oldest);
    let began = Instant::now();
    let told = tokio::join!(
        log.append(&ada, decided(1), None).map(Result::err),
        log.read(&ada, Start::Oldest, 1).map(Result::err),
        log.submit(&ada, id.clone(), FrameId::new("f"), None)
            .map(Result::err),
        log.submitted(&ada, &key).map(Result::err),
        log.advance(&ada, &id, JobState::Streaming).map(Result::err),
        log.job(&ada, &id).map(Result::err),
        log.jobs(&ada, None, 1).map(Result::err),
        follower.next().map(Result::err),
    );
    let unavailable = Some(Error::Unavailable);
    let all = (unavailable, unavailable, unavailable, unavailable);
    assert_eq!((told.0, told.1, told.2, told.3), all);
    assert_eq!((told.4, told.5, told.6, told.7), all);
    assert_eq!(began.elapsed().as_secs(), 10);
    let page = metrics.render();
    assert!(page.contains("proactive_log_failures_total 8"), "{page}");
}
