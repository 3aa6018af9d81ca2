//! One stream of a client, and what the client makes of how it ends.

use std::time::Duration;

use proactive::session::{ClientMessage, Input, StreamEnd, Version};
use tokio::time::{Instant, timeout};

use super::ledger::Book;
use super::network::Cable;

/// A stream that was younger is too young for a word about its age.
const YOUNG: Duration = Duration::from_secs(1);

pub(crate) struct Link {
    pub(crate) cable: Cable,
    pub(crate) book: Book,
    /// When what was heard last was said.
    pub(crate) heard: Instant,
    opened: Instant,
    /// The server has said that the stream will end.
    pub(crate) go_away: bool,
    /// Another has been opened to take its place, which may not have got through.
    pub(crate) moving: bool,
    /// No more frames go here.
    pub(crate) leaving: bool,
}

impl Link {
    /// A stream whose session was ready at that time.
    pub(crate) fn new(cable: Cable, mut book: Book, ready: Instant) -> Self {
        book.streams(cable.taken.clone(), ready);
        Self {
            cable,
            book,
            heard: ready,
            opened: ready,
            go_away: false,
            moving: false,
            leaving: false,
        }
    }

    /// `false` if the stream is broken.
    pub(crate) async fn say(&self, message: ClientMessage) -> bool {
        say(&self.cable, Input::Message(message)).await
    }

    /// What is wrong with how the server ended it.
    pub(crate) fn wrong_end(&self, end: StreamEnd, version: Version, floods: bool) -> Option<&str> {
        // Of what does not fit any more when a stream ends, a GoAway may be the last.
        let crowded = floods || self.cable.stalls;
        let told = self.go_away || version < Version::V1_1 || crowded;
        match end {
            StreamEnd::Closed if self.cable.to_server.is_some() => Some("closed by nobody"),
            StreamEnd::Closed => None,
            StreamEnd::Drained | StreamEnd::Expired if told => None,
            StreamEnd::Expired if self.opened.elapsed() < YOUNG => None,
            StreamEnd::Drained | StreamEnd::Expired => Some("ended without a GoAway"),
            StreamEnd::SlowClient if self.cable.stalls => None,
            StreamEnd::Silent if floods => None,
            StreamEnd::TakenUp if self.moving => None,
            StreamEnd::TakenUp => Some("taken up by nobody"),
            StreamEnd::SlowClient => Some("ended as too slow, and was not"),
            StreamEnd::Silent => Some("ended as silent, and was not"),
            StreamEnd::NoHello => Some("ended without a hello, which was said"),
            StreamEnd::Lost => Some("ended as lost, and was not"),
            StreamEnd::NotYours => Some("ended as another's"),
        }
    }
}

/// `false` if the stream is broken.
pub(crate) async fn say(cable: &Cable, input: Input) -> bool {
    let Some(to_server) = &cable.to_server else {
        return true;
    };
    let sent = timeout(
        Duration::from_secs(10),
        to_server.send((Instant::now(), input)),
    )
    .await;
    matches!(sent, Ok(Ok(())))
}
