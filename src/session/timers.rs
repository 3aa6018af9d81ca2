//! What is due on a stream, and when. One sleep serves them all.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A client that promised to be heard is given up after so many of its intervals.
const SILENT_INTERVALS: u32 = 3;

/// Something that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// A heartbeat to the client.
    Beat,
    /// Neither a hello nor a frame has come.
    NoHello,
    /// The client has been silent for too long.
    Silent,
    /// The stream will soon have to end.
    GoAway,
    /// The stream has to end.
    End,
}

pub(super) struct Timers {
    sleep: Pin<Box<Sleep>>,
    beat: Option<(Duration, Instant)>,
    hello_by: Option<Instant>,
    /// How long the client may be silent.
    patience: Option<Duration>,
    heard: Instant,
    go_away: Option<Instant>,
    end: Instant,
}

impl Timers {
    /// Those of a stream: it must begin by then, may live so long from now on, and its
    /// end is told `notice` before.
    pub(super) fn new(hello_by: Instant, life: Duration, notice: Duration) -> Self {
        let now = Instant::now();
        let end = now + life;
        Self {
            sleep: Box::pin(sleep_until(hello_by.min(end))),
            beat: None,
            hello_by: Some(hello_by),
            patience: None,
            heard: now,
            go_away: Some(now + life.saturating_sub(notice)),
            end,
        }
    }

    /// The client said something.
    pub(super) fn heard(&mut self) {
        self.heard = Instant::now();
    }

    /// The client has begun: a hello or a frame came.
    pub(super) fn begun(&mut self) {
        self.hello_by = None;
    }

    /// A heartbeat is sent every `beat`; the client promised one every `promised`.
    pub(super) fn set_heartbeats(&mut self, beat: Option<Duration>, promised: Option<Duration>) {
        self.beat = beat.map(|period| (period, Instant::now() + period));
        self.patience = promised.map(|interval| interval * SILENT_INTERVALS);
        self.rearm();
    }

    /// The client has closed its side: nothing more is to be heard.
    pub(super) fn expect_silence(&mut self) {
        self.patience = None;
        self.rearm();
    }

    /// How long the stream has left.
    pub(super) fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    /// What is due next. Cancel-safe.
    pub(super) async fn due(&mut self) -> Due {
        loop {
            self.sleep.as_mut().await;
            let due = self.take(Instant::now());
            self.rearm();
            if let Some(due) = due {
                return due;
            }
        }
    }

    fn take(&mut self, now: Instant) -> Option<Due> {
        if self.end <= now {
            return Some(Due::End);
        }
        if self.hello_by.is_some_and(|by| by <= now) {
            return Some(Due::NoHello);
        }
        if self.silent_at().is_some_and(|at| at <= now) {
            return Some(Due::Silent);
        }
        if self.go_away.take_if(|at| *at <= now).is_some() {
            return Some(Due::GoAway);
        }
        let (period, at) = self.beat.as_mut()?;
        if *at > now {
            return None;
        }
        *at = now + *period;
        Some(Due::Beat)
    }

    fn silent_at(&self) -> Option<Instant> {
        self.patience.map(|patience| self.heard + patience)
    }

    fn rearm(&mut self) {
        let next = [
            self.beat.map(|(_, at)| at),
            self.hello_by,
            self.silent_at(),
            self.go_away,
        ];
        let next = next.into_iter().flatten().fold(self.end, Instant::min);
        self.sleep.as_mut().reset(next);
    }
}
