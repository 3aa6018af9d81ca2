//! One worker's stream, from its hello to its end: a reader and a writer that know of
//! each other only what the table of calls has.

use std::sync::Arc;
use std::time::Duration;

use futures::{Stream, StreamExt};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendError;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::inbound::{self, Heard};
use super::outbound;
use crate::tools::workers::{Accepts, Connected, Refused, SentAway, Workers};
use crate::transport::proto::workers::{WorkerCommand, WorkerEvent};
use crate::world::World;

/// So many signs of life may be missing.
const MISSED: u32 = 3;
/// Workers come back to other servers spread over so long.
const RECONNECT_SPREAD: Duration = Duration::from_secs(5);

/// What every stream needs; cheap to clone.
#[derive(Clone)]
pub(super) struct Serving {
    pub(super) workers: Workers,
    pub(super) world: World,
    /// What else is to be said of tools.
    pub(super) accepts: Arc<Accepts>,
    /// Streams are to end, and calls under way have a little time.
    pub(super) leaving: CancellationToken,
}

/// Why a stream ends.
#[derive(Debug)]
pub(super) enum End {
    /// The worker closed its side.
    Closed,
    /// The connection broke: nobody is left to tell.
    Lost,
    /// Nothing came in time.
    NoHello,
    /// The first event was none that lets a worker in.
    NotIn(Refused),
    /// It sent what cannot be read.
    Unreadable(String),
    /// It was silent for too long.
    Silent,
    /// It does not read.
    Unread,
    /// It said what cannot be, again and again.
    SentAway(SentAway),
    /// The server is shutting down.
    Drained,
}

/// Nobody listens.
struct Gone;

impl<T> From<SendError<T>> for Gone {
    fn from(_: SendError<T>) -> Self {
        Self
    }
}

impl Serving {
    /// Serves the worker whose events these are, until there is a reason not to.
    pub(super) async fn serve(
        self,
        mut events: impl Stream<Item = Result<WorkerEvent, Status>> + Unpin,
        tell: mpsc::Sender<WorkerCommand>,
    ) -> End {
        let options = *self.workers.options();
        let first = tokio::select! {
            biased;
            () = tell.closed() => return End::Lost,
            () = self.leaving.cancelled() => return End::Drained,
            first = timeout(options.hello_timeout, events.next()) => first,
        };
        let hello = match first {
            Err(_) => return End::NoHello,
            Ok(None) => return End::Closed,
            Ok(Some(Err(status))) => return broken(&status),
            Ok(Some(Ok(event))) => match inbound::hello(event) {
                Ok(hello) => hello,
                Err(told) => return End::NotIn(Refused::Invalid(told.to_owned())),
            },
        };
        let worker = match self.workers.connect(hello, &*self.accepts) {
            Ok(worker) => worker,
            Err(refused) => return End::NotIn(refused),
        };
        let beat = options.heartbeat;
        let end = tokio::select! {
            biased;
            end = write(&worker, &tell, beat, options.unread_limit) => end,
            end = read(&worker, events, beat * MISSED) => end,
            end = self.goodbye(&worker, &tell, options.goodbye) => end,
        };
        worker.part(end.why());
        end
    }

    /// Ends the stream when the server has done its work: what is still under way has a
    /// little time.
    async fn goodbye(
        &self,
        worker: &Connected,
        tell: &mpsc::Sender<WorkerCommand>,
        left: Duration,
    ) -> End {
        self.leaving.cancelled().await;
        worker.leave();
        let reconnect = self.world.up_to(RECONNECT_SPREAD);
        let ended = async {
            let said = tell.send(outbound::go_away(left, reconnect)).await;
            while said.is_ok() && worker.under_way() > 0 {
                sleep(Duration::from_millis(50)).await;
            }
        };
        // Whoever does not take it is told by the end of the stream.
        let _ = timeout(left, ended).await;
        End::Drained
    }
}

/// Tells the worker what there is, and that the server lives.
async fn write(
    worker: &Connected,
    tell: &mpsc::Sender<WorkerCommand>,
    beat: Duration,
    limit: Duration,
) -> End {
    let writing = async {
        tell.send(outbound::ready(worker, beat)).await?;
        let mut beats = interval_at(Instant::now() + beat, beat);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let due = tokio::select! {
                biased;
                () = worker.pending() => false,
                _ = beats.tick() => true,
            };
            // A call is taken from the table only when it can go out: until then it
            // has not been handed to anybody.
            let Ok(place) = timeout(limit, tell.reserve()).await else {
                return Ok(());
            };
            let place = place?;
            if due {
                place.send(outbound::heartbeat());
            } else if let Some(command) = worker.next() {
                place.send(outbound::told(command));
            }
        }
    };
    tokio::select! {
        biased;
        () = tell.closed() => End::Lost,
        end = writing => match end {
            Ok(()) => End::Unread,
            Err(Gone) => End::Lost,
        },
    }
}

/// Takes in what the worker says, as long as it is heard.
async fn read(
    worker: &Connected,
    mut events: impl Stream<Item = Result<WorkerEvent, Status>> + Unpin,
    silence: Duration,
) -> End {
    loop {
        let event = match timeout(silence, events.next()).await {
            Err(_) => return End::Silent,
            Ok(None) => return End::Closed,
            Ok(Some(Err(status))) => return broken(&status),
            Ok(Some(Ok(event))) => event,
        };
        match inbound::heard(event) {
            Heard::Heartbeat => {}
            Heard::Said(said) => {
                if let Err(sent_away) = worker.said(said).await {
                    return End::SentAway(sent_away);
                }
            }
        }
    }
}

/// What has become of a stream that cannot be read on.
fn broken(status: &Status) -> End {
    match status.code() {
        // An event that is too large, or none.
        tonic::Code::OutOfRange | tonic::Code::Internal | tonic::Code::ResourceExhausted => {
            End::Unreadable(status.message().to_owned())
        }
        _ => End::Lost,
    }
}

impl End {
    /// As the log has it.
    fn why(&self) -> &'static str {
        match self {
            Self::Closed => "it closed its stream",
            Self::Lost => "the connection broke",
            Self::NoHello => "it did not say hello",
            Self::NotIn(_) => "it was not let in",
            Self::Unreadable(_) => "it sent what cannot be read",
            Self::Silent => "it was silent for too long",
            Self::Unread => "it does not read what it is told",
            Self::SentAway(_) => "it said what cannot be, again and again",
            Self::Drained => "the server is shutting down",
        }
    }

    /// What the stream ends with; `None`: OK.
    pub(super) fn status(self) -> Option<Status> {
        Some(match self {
            Self::Closed | Self::Lost => return None,
            Self::NoHello => Status::deadline_exceeded("There was no hello in time."),
            Self::NotIn(refused) => {
                let told = refused.to_string();
                match refused {
                    Refused::Invalid(_) => Status::invalid_argument(told),
                    Refused::Full => Status::resource_exhausted(told),
                    Refused::ShuttingDown => Status::unavailable(told),
                }
            }
            Self::Unreadable(why) => Status::invalid_argument(format!(
                "An event could not be read; one may have 1 MiB. {why}"
            )),
            Self::Silent => Status::unavailable("The worker was silent for too long; reconnect."),
            Self::Unread => Status::resource_exhausted(
                "The worker left unread for too long what it was told; reconnect.",
            ),
            Self::SentAway(sent_away) => Status::failed_precondition(sent_away.to_string()),
            Self::Drained => Status::unavailable("The server is shutting down; reconnect."),
        })
    }
}

#[cfg(test)]
mod tests;
