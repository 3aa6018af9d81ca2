//! Followers of a user's log on a stream of their own: what is new, and a sign of
//! life when nothing is. Free of any one wire format.

use std::time::Duration;

use futures::Stream;
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::domain::Principal;
use crate::events::{Error, News, Subscription};
use crate::session::Seat;
use crate::world::World;

/// Between two signs of life. Balancers allow at least 30 s of silence, most of them
/// 60.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(25);

/// Unread, so that a page of the log is read at once and no more.
const UNREAD: usize = 8;

/// How followers are served; cheap to clone.
#[derive(Clone)]
pub struct Followers {
    /// How long each may stay.
    pub options: Options,
    /// Time and chance.
    pub world: World,
    /// All are told to go then.
    pub stopping: CancellationToken,
    /// Where they run, so that their end can be awaited.
    pub running: TaskTracker,
}

/// How long a follower's stream may live.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whatever its token says.
    pub max_age: Duration,
    /// How long it may outlive the token that opened it.
    pub token_leeway: Duration,
    /// How long it may leave unread what it is told.
    pub slow_client_limit: Duration,
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
}

impl Followers {
    /// Everything the follower is told until its stream ends. Whoever leaves it unread
    /// for too long is told no more, and gives its place to others.
    pub(super) fn said(
        &self,
        subscription: Subscription,
        principal: &Principal,
        seat: Seat,
    ) -> impl Stream<Item = Said> + use<> {
        let (now, options) = (Instant::now(), self.options);
        let age = options.max_age - self.world.up_to(options.max_age / 10);
        let valid = principal.expires_at.duration_since(self.world.now());
        let valid = Duration::try_from(valid).unwrap_or_default();
        let mut beat = interval_at(now + HEARTBEAT, HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let listening = Listening {
            subscription,
            beat,
            ends: now + age.min(valid + options.token_leeway),
            stopping: self.stopping.clone(),
            _seat: seat,
        };
        let (tell, told) = mpsc::channel(UNREAD);
        let listening = listening.run(tell, options.slow_client_limit);
        self.running.spawn(listening.in_current_span());
        ReceiverStream::new(told)
    }
}

struct Listening {
    subscription: Subscription,
    beat: Interval,
    ends: Instant,
    stopping: CancellationToken,
    /// Its place among what the user, and everybody, may have open.
    _seat: Seat,
}

impl Listening {
    async fn run(mut self, tell: mpsc::Sender<Said>, limit: Duration) {
        loop {
            let said = tokio::select! {
                biased;
                // Nobody listens any more.
                () = tell.closed() => return,
                said = self.next() => said,
            };
            let last = matches!(said, Said::End(_));
            let sent = tell.send_timeout(said, limit).await;
            if last || sent.is_err() {
                return;
            }
        }
    }

    async fn next(&mut self) -> Said {
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => Said::End(End::Drained),
            () = sleep_until(self.ends) => Said::End(End::Expired),
            news = self.subscription.next() => {
                self.beat.reset();
                match news {
                    Ok(news) => Said::News(news),
                    Err(Error::Unavailable) => Said::End(End::Unreadable),
                    Err(Error::Closed) => Said::End(End::Drained),
                }
            }
            _ = self.beat.tick() => Said::Heartbeat,
        }
    }
}
