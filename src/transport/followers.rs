//! Followers of a user's log on a stream of their own: what is new, and a sign of
//! life when nothing is. Free of any one wire format.

use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::domain::Principal;
use crate::events::{Error, News, Subscription};
use crate::session::{Options, Seat};
use crate::world::World;

/// Between two signs of life. Balancers allow at least 30 s of silence, most of them
/// 60.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(25);

/// Unread, so that a page of the log is read at once and no more.
const UNREAD: usize = 8;

/// How followers are served; cheap to clone.
#[derive(Clone)]
pub struct Followers {
    /// What holds for sessions' streams holds for theirs.
    pub options: Options,
    /// Time and chance.
    pub world: World,
    /// All are told to go then.
    pub stopping: CancellationToken,
    /// Where they run, so that their end can be awaited.
    pub running: TaskTracker,
}

/// What a follower is told.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// Something in the log.
    News(News),
    /// A sign of life.
    Heartbeat,
    /// The last word.
    End(End),
}

/// Why a follower's stream ends. It goes on with its last cursor on another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The server is shutting down.
    Drained,
    /// The stream has grown old, or the token that opened it.
    Expired,
    /// The log cannot be read now.
    Unreadable,
    /// It was left unread for too long.
    Slow,
}

impl Followers {
    /// Everything the follower is told until its stream ends. Whoever leaves it unread
    /// for too long is told no more. Its place is free when the stream is dropped: one
    /// that its client does not read, but keeps open, costs what it holds.
    pub(super) fn said(
        &self,
        subscription: Subscription,
        principal: &Principal,
        // Its place among what the user, and everybody, may have open.
        seat: Seat,
    ) -> impl Stream<Item = Said> + use<> {
        let now = Instant::now();
        let valid = principal.expires_at.duration_since(self.world.now());
        let valid = Duration::try_from(valid).unwrap_or_default();
        let mut beat = interval_at(now + HEARTBEAT, HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let listening = Listening {
            subscription,
            beat,
            ends: now + self.options.life(valid, &self.world),
            drained: self.drained().boxed(),
        };
        let (tell, told) = mpsc::channel(UNREAD);
        let (ended, end) = oneshot::channel();
        let limit = self.options.slow_client_limit;
        let listening = async move {
            let end = listening.run(tell, limit).await;
            // Nobody listens if the follower has gone.
            let _ = ended.send(end);
        };
        self.running.spawn(listening.in_current_span());
        // It is dropped without a word if the task crashed.
        let last = end.map(|end| Said::End(end.unwrap_or(End::Unreadable)));
        let said = ReceiverStream::new(told).chain(last.into_stream());
        said.inspect(move |_| {
            let _its_place = &seat;
        })
    }

    /// When this one is told to go: each at a moment of its own, so that they do not all
    /// come to the other servers at once.
    fn drained(&self) -> impl Future<Output = ()> + use<> {
        let (stopping, share) = (
            self.stopping.clone(),
            self.world.up_to(self.options.drain_spread),
        );
        async move {
            stopping.cancelled().await;
            sleep(share).await;
        }
    }
}

struct Listening {
    subscription: Subscription,
    beat: Interval,
    ends: Instant,
    /// Its moment of the drain.
    drained: BoxFuture<'static, ()>,
}

impl Listening {
    /// Tells what there is, until there is a reason not to.
    async fn run(mut self, tell: mpsc::Sender<Said>, limit: Duration) -> End {
        loop {
            let said = tokio::select! {
                biased;
                // Nobody hears the reason.
                () = tell.closed() => return End::Slow,
                said = self.next() => said,
            };
            match said {
                Ok(said) => {
                    if tell.send_timeout(said, limit).await.is_err() {
                        return End::Slow;
                    }
                }
                Err(end) => return end,
            }
        }
    }

    async fn next(&mut self) -> Result<Said, End> {
        tokio::select! {
            biased;
            () = &mut self.drained => Err(End::Drained),
            () = sleep_until(self.ends) => Err(End::Expired),
            news = self.subscription.next() => {
                self.beat.reset();
                match news {
                    Ok(news) => Ok(Said::News(news)),
                    Err(Error::Unavailable) => Err(End::Unreadable),
                    Err(Error::Closed) => Err(End::Drained),
                }
            }
            _ = self.beat.tick() => Ok(Said::Heartbeat),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::future::join_all;
    use jiff::{SignedDuration, Timestamp};

    use super::*;
    use crate::domain::{Event, Message, MessageId, Uid};
    use crate::events::{self, Log, Start, What};
    use crate::session::{Limits, Quota};
    use crate::telemetry::Metrics;

    fn message(number: usize) -> Event {
        Event::Message(Box::new(Message {
            id: MessageId::new(number.to_string()),
            kind: "k".to_owned(),
            title: "t".to_owned(),
            body: String::new(),
            data: String::new(),
            sent_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
        }))
    }

    /// A user's log, its followers, and their places.
    fn house(options: Options) -> (Log, Followers, Quota) {
        let (world, metrics) = (World::fixed(Timestamp::UNIX_EPOCH, 7), Metrics::new());
        let log = Log::in_memory(events::Options::default(), world.clone(), metrics.clone());
        let quota = Quota::new(Limits::default(), world.clone(), metrics);
        let followers = Followers {
            options,
            world,
            stopping: CancellationToken::new(),
            running: TaskTracker::new(),
        };
        (log, followers, quota)
    }

    fn ada() -> Principal {
        Principal {
            uid: Uid::new("ada"),
            expires_at: Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1),
            plan: None,
            devices: false,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn in_a_drain_each_follower_is_told_to_go_at_a_moment_of_its_own() {
        let spread = Duration::from_secs(10);
        let options = Options {
            drain_spread: spread,
            ..Options::default()
        };
        let (log, followers, quota) = house(options);
        let principal = ada();
        let mut last_words = Vec::new();
        for _ in 0..8 {
            let seat = quota.open(&principal.uid).unwrap();
            let subscription = log.subscribe(&principal.uid, Start::Now);
            let said = followers.said(subscription, &principal, seat);
            last_words.push(async move {
                let told: Vec<_> = said.collect().await;
                assert_eq!(told.last(), Some(&Said::End(End::Drained)));
                Instant::now()
            });
        }
        let began = Instant::now();
        followers.stopping.cancel();
        let last_words = join_all(last_words).await;
        let mut moments: Vec<_> = last_words.into_iter().map(|it| it - began).collect();
        moments.sort();
        moments.dedup();
        assert!(moments.len() > 4, "{moments:?}");
        assert!(
            moments.iter().all(|moment| *moment <= spread),
            "{moments:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn e02_a_follower_that_reads_nothing_is_told_why_and_no_more_and_keeps_its_place_as_its_stream()
     {
        let (log, followers, quota) = house(Options::default());
        let principal = ada();
        let ada = principal.uid.clone();
        let seat = quota.open(&ada).unwrap();
        let said = followers.said(log.subscribe(&ada, Start::Now), &principal, seat);
        for number in 0..100 {
            sleep(Duration::from_millis(1)).await;
            log.append(&ada, message(number), None).await.unwrap();
        }
        sleep(Duration::from_secs(11)).await;
        assert_ne!(quota.bytes(), 0, "its stream is open yet");
        let mut said = Box::pin(said);
        let told: Vec<_> = said.by_ref().collect().await;
        let start = |said: &Said| matches!(said, Said::News(news) if news.what == What::Start);
        assert!(start(&told[0]), "{told:?}");
        assert_eq!(
            told.len(),
            UNREAD + 1,
            "what was read for it, and the reason"
        );
        assert_eq!(told.last(), Some(&Said::End(End::Slow)));
        drop(said);
        assert_eq!(quota.bytes(), 0, "its place is free");
    }
}
