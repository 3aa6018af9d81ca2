//! One stream of a session's client, in force until it breaks, ends or another
//! takes its place.

use std::pin::Pin;
use std::time::Duration;

use futures::Stream;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::outbox::Outbox;
use super::timers::Timers;
use super::{Caller, Input, Options, Seat, ServerMessage};
use crate::tools::Listed;
use crate::world::World;

/// What the client says, in order; it ends when the client closes its side.
pub type Inputs = Pin<Box<dyn Stream<Item = Input> + Send>>;

/// A stream that a transport has opened, as it hands it over.
pub struct Connection {
    pub(super) caller: Caller,
    pub(super) inputs: Inputs,
    pub(super) to_client: mpsc::Sender<Box<ServerMessage>>,
    opened: Instant,
    /// Until then its token is good, whatever becomes of the clock that said so.
    good_until: Instant,
    ended: oneshot::Sender<StreamEnd>,
}

impl Connection {
    /// One that is opened now. `ended` learns how it is to end, after `to_client` is
    /// dropped; it is dropped without a word, if the session crashed.
    pub(super) fn new(
        caller: Caller,
        inputs: Inputs,
        to_client: mpsc::Sender<Box<ServerMessage>>,
        ended: oneshot::Sender<StreamEnd>,
        world: &World,
    ) -> Self {
        let opened = Instant::now();
        let valid = caller.principal.expires_at.duration_since(world.now());
        Self {
            caller,
            inputs,
            to_client,
            opened,
            good_until: opened + Duration::try_from(valid).unwrap_or_default(),
            ended,
        }
    }

    /// Ends the stream.
    pub(super) fn end(self, end: StreamEnd) {
        drop(self.to_client);
        // Nobody listens if the client is gone.
        let _ = self.ended.send(end);
    }
}

/// How a stream ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// The client closed its side, and everything was answered.
    Closed,
    /// The connection broke: nobody is left to tell.
    Lost,
    /// The server is shutting down.
    Drained,
    /// The client left its answers unread for too long.
    SlowClient,
    /// Neither a hello nor a frame came in time.
    NoHello,
    /// The client broke its promise to be heard.
    Silent,
    /// The stream has grown old, or the token that opened it.
    Expired,
    /// Another stream of the client has taken the session up.
    TakenUp,
    /// It asked for another user's session.
    NotYours,
}

/// The stream in force.
pub(super) struct Line {
    pub(super) inputs: Inputs,
    pub(super) outbox: Outbox,
    pub(super) timers: Timers,
    /// Its place among what the user, and everybody, may have open. Given back with
    /// the stream, so that whoever comes back to the session finds one.
    pub(super) seat: Seat,
    /// Its entry among the desktops that can be asked to search.
    pub(super) listed: Option<Listed>,
    ended: oneshot::Sender<StreamEnd>,
    /// The client has closed its side.
    pub(super) half_closed: bool,
}

impl Line {
    /// Takes a stream over. Its token, and the age that any stream may reach, bound
    /// its life from now on.
    pub(super) fn new(connection: Connection, options: &Options, world: &World) -> Self {
        let Connection {
            caller,
            inputs,
            to_client,
            opened,
            good_until,
            ended,
        } = connection;
        let valid = good_until.saturating_duration_since(Instant::now());
        let life = options.life(valid, world);
        Self {
            inputs,
            outbox: Outbox::new(to_client, options.slow_client_limit),
            timers: Timers::new(
                opened + options.hello_timeout,
                life,
                options.go_away_notice.min(life / 4),
            ),
            seat: caller.seat,
            listed: None,
            ended,
            half_closed: false,
        }
    }

    /// Says what still fits, and ends the stream.
    pub(super) fn end(mut self, end: StreamEnd) {
        self.outbox.say_what_fits();
        drop(self.outbox);
        // Nobody listens if the client is gone.
        let _ = self.ended.send(end);
    }
}
