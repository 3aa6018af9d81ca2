//! Streams that the server will end.

use std::time::Duration;

use tokio::time::Instant;

use crate::desk::Error;
use crate::desk::desktop::Link;
use crate::desk::millis;
use crate::transport::proto::GoAway;

/// A server that goes away may ask for no longer wait than this.
const LONGEST: Duration = Duration::from_secs(60);
/// How long a stream is kept beyond the time that the server said it would end by.
const MARGIN: Duration = Duration::from_secs(5);

/// The server said that it will end the stream.
pub(super) struct Leave {
    pub(super) open_next: Instant,
    pub(super) ended_by: Instant,
    /// Whether the next stream is opened while there is this one.
    pub(super) overlaps: bool,
    /// Why there will be no other.
    pub(super) fatal: Option<Error>,
}

/// A stream that was left, and is listened to until its frames are answered: the next one
/// has not taken its session up.
pub(super) struct Old {
    pub(super) link: Link,
    pub(super) ended_by: Instant,
}

impl Leave {
    pub(super) fn of(go_away: &GoAway) -> Self {
        let now = Instant::now();
        Self {
            open_next: now + millis(go_away.reconnect_delay_ms).min(LONGEST),
            ended_by: now + millis(go_away.time_left_ms).min(LONGEST) + MARGIN,
            overlaps: go_away.resumable,
            fatal: None,
        }
    }

    /// When there is something to be done.
    pub(super) fn turn(&self) -> Instant {
        match self.overlaps {
            true => self.open_next.min(self.ended_by),
            false => self.ended_by,
        }
    }

    /// Whether the next stream is to be opened now.
    pub(super) fn is_next_due(&self) -> bool {
        self.overlaps && self.open_next <= Instant::now()
    }

    /// Whether the stream is of no more use.
    pub(super) fn is_over(&self, is_any_sent: bool) -> bool {
        let is_idle = !self.overlaps && !is_any_sent;
        is_idle || self.ended_by <= Instant::now()
    }
}
