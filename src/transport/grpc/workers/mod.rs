//! `proactive.workers.v1.ToolWorkers`: workers come in with a service token.

mod codes;
mod inbound;
mod outbound;
mod serving;
mod values;

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream};
use futures::{FutureExt, Stream, StreamExt};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tonic::{Request, Response, Status, Streaming};

use super::methods::bearer;
use crate::auth::ServiceTokens;
use crate::telemetry::Seldom;
use crate::tools::workers::{Accepts, Refused, Workers};
use crate::transport::proto::workers::tool_workers_server::{ToolWorkers, ToolWorkersServer};
use crate::transport::proto::workers::{WorkerCommand, WorkerEvent};
use crate::world::World;
use serving::{End, Serving};

/// Told and not taken by the connection. What waits for a place here has not been
/// handed to the worker.
const UNREAD: usize = 8;
/// Between two lines of the log about workers that were refused.
const LINES: Duration = Duration::from_secs(10);

/// What the door for workers needs; cheap to clone.
#[derive(Clone)]
pub struct Behind {
    /// Who may come in.
    pub tokens: ServiceTokens,
    /// Where workers are given calls.
    pub workers: Workers,
    /// What is to be said against tools that are in order by themselves.
    pub accepts: Arc<Accepts>,
    /// Time and chance.
    pub world: World,
    /// No more streams are taken.
    pub stopping: CancellationToken,
    /// Streams are to end: nobody calls tools any more.
    pub leaving: CancellationToken,
    /// Where streams run, so that their end can be awaited.
    pub running: TaskTracker,
}

impl Behind {
    /// One worker's stream, whatever carries it, and the status that it ends with; `None`:
    /// OK. (As the door serves it, for `tests/fuzz`.)
    pub async fn serve(
        &self,
        events: impl Stream<Item = Result<WorkerEvent, Status>> + Unpin,
        tell: mpsc::Sender<WorkerCommand>,
    ) -> Option<Status> {
        self.serving().serve(events, tell).await.status()
    }

    fn serving(&self) -> Serving {
        Serving {
            workers: self.workers.clone(),
            world: self.world.clone(),
            accepts: self.accepts.clone(),
            leaving: self.leaving.clone(),
        }
    }
}

#[derive(Clone)]
pub(super) struct WorkersDoor {
    behind: Behind,
    refused: Arc<Seldom>,
}

/// The service.
pub(super) fn service(behind: Behind) -> ToolWorkersServer<WorkersDoor> {
    let refused = Arc::new(Seldom::new(LINES));
    let door = WorkersDoor { behind, refused };
    ToolWorkersServer::new(door).max_decoding_message_size(inbound::MAX_EVENT)
}

impl WorkersDoor {
    fn log_refusal(&self, why: &str) {
        if let Some(others) = self.refused.line() {
            tracing::warn!(why, others, "a tool worker was refused");
        }
    }
}

#[tonic::async_trait]
impl ToolWorkers for WorkersDoor {
    type ServeStream = BoxStream<'static, Result<WorkerCommand, Status>>;

    async fn serve(
        &self,
        request: Request<Streaming<WorkerEvent>>,
    ) -> Result<Response<Self::ServeStream>, Status> {
        let behind = &self.behind;
        if let Err(refused) = behind.tokens.admit_worker(bearer(request.metadata())) {
            self.log_refusal(&refused.to_string());
            return Err(Status::unauthenticated(refused.to_string()));
        }
        if behind.stopping.is_cancelled() {
            return Err(Status::unavailable(Refused::ShuttingDown.to_string()));
        }
        let place = behind.workers.place();
        let place = place.map_err(|full| Status::resource_exhausted(full.to_string()))?;
        let serving = behind.serving();
        let (tell, told) = mpsc::channel(UNREAD);
        let (ended, end) = oneshot::channel();
        let (events, door) = (request.into_inner(), self.clone());
        behind.running.spawn(async move {
            let end = serving.serve(events, tell).await;
            drop(place);
            if let End::NotIn(refused) = &end {
                door.log_refusal(&refused.to_string());
            }
            // Nobody listens if the worker has gone.
            let _ = ended.send(end);
        });
        Ok(Response::new(answers(told, end).boxed()))
    }
}

/// What a worker is told, and how its stream ends.
fn answers(
    told: mpsc::Receiver<WorkerCommand>,
    end: oneshot::Receiver<End>,
) -> impl Stream<Item = Result<WorkerCommand, Status>> {
    let farewell = end.map(|end| {
        let status = match end {
            Ok(end) => end.status(),
            Err(_) => Some(Status::internal("The server failed; reconnect.")),
        };
        stream::iter(status.map(Err))
    });
    ReceiverStream::new(told)
        .map(Ok)
        .chain(farewell.flatten_stream())
}
