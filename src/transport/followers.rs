//! Followers of a user's log on a stream of their own: what is new, and a sign of
//! life when nothing is. Free of any one wire format.

use std::time::Duration;

use futures::{Stream, stream};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::domain::Principal;
use crate::events::{Error, News, Subscription};
use crate::session::Seat;
use crate::world::World;

/// Between two signs of life. Balancers allow at least 30 s of silence, most of them
/// 60.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(25);

/// How long a follower's stream may live.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Whatever its token says.
    pub max_age: Duration,
    /// How long it may outlive the token that opened it.
    pub token_leeway: Duration,
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

/// Everything the follower is told until its stream ends. It reads on when it is
/// asked for more, so whoever takes it slowly holds up nobody and nothing.
pub(super) fn said(
    subscription: Subscription,
    principal: &Principal,
    seat: Seat,
    options: Options,
    world: &World,
    stopping: CancellationToken,
) -> impl Stream<Item = Said> + use<> {
    let now = Instant::now();
    let age = options.max_age - world.up_to(options.max_age / 10);
    let valid = principal.expires_at.duration_since(world.now());
    let valid = Duration::try_from(valid).unwrap_or_default();
    let mut beat = interval_at(now + HEARTBEAT, HEARTBEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let listening = Listening {
        subscription,
        beat,
        ends: now + age.min(valid + options.token_leeway),
        stopping,
        _seat: seat,
    };
    stream::unfold(Some(listening), |listening| async move {
        let mut listening = listening?;
        let said = listening.next().await;
        let more = !matches!(said, Said::End(_));
        Some((said, more.then_some(listening)))
    })
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
