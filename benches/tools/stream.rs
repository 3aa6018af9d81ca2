//! The other yardstick: calls and answers on one stream of tonic's, as workers have
//! them, and nothing else. Who calls has a number and waits for its answer. No
//! deadline, no credit, no line, no check of what comes, no metrics.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use http::uri::PathAndQuery;
use proactive::transport::proto::workers::{CallResult, ToolCall};
use proactive::transport::{Keepalive, grpc};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::Endpoint;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

use super::{Result, worker};

const METHOD: &str = "/bench.Stream/Serve";
/// Said and not taken by the connection.
const UNSENT: usize = 64;

type Calls = BoxStream<'static, std::result::Result<ToolCall, Status>>;

/// A server of this process with one stream, and who calls on it; cheap to clone.
#[derive(Clone)]
pub(crate) struct Stream {
    say: mpsc::Sender<ToolCall>,
    waiting: Waiting,
}

#[derive(Clone, Default)]
struct Waiting(Arc<Mutex<Table>>);

#[derive(Default)]
struct Table {
    count: u64,
    calls: HashMap<String, oneshot::Sender<CallResult>>,
}

impl Waiting {
    fn begin(&self) -> (String, oneshot::Receiver<CallResult>) {
        let (answer, answered) = oneshot::channel();
        let mut table = self.lock();
        table.count += 1;
        let id = table.count.to_string();
        table.calls.insert(id.clone(), answer);
        (id, answered)
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stream {
    /// Starts the server, and whoever answers.
    pub(crate) async fn start(tasks: &TaskTracker) -> Result<Self> {
        let (say, calls) = mpsc::channel(UNSENT);
        let waiting = Waiting::default();
        let served = Served {
            calls: Arc::new(Mutex::new(Some(calls))),
            waiting: waiting.clone(),
            tasks: tasks.clone(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = grpc::server(Keepalive::USUAL).add_service(served);
        tasks.spawn(server.serve_with_incoming(incoming));
        let endpoint = Endpoint::from_shared(url)?.tcp_nodelay(true);
        let mut client = tonic::client::Grpc::new(endpoint.connect().await?);
        client.ready().await?;
        let (answer, answers) = mpsc::channel(UNSENT);
        let codec = ProstCodec::<CallResult, ToolCall>::default();
        let answers = Request::new(ReceiverStream::new(answers));
        let method = PathAndQuery::from_static(METHOD);
        let mut told = client.streaming(answers, method, codec).await?.into_inner();
        tasks.spawn(async move {
            while let Ok(Some(call)) = told.message().await {
                if answer.send(worker::answer(call)).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self { say, waiting })
    }

    pub(crate) async fn call(&self, mut call: ToolCall) -> Result<CallResult> {
        let (id, answered) = self.waiting.begin();
        call.call_id = id;
        self.say.send(call).await?;
        Ok(answered.await?)
    }
}

#[derive(Clone)]
struct Served {
    /// For the one stream that there is.
    calls: Arc<Mutex<Option<mpsc::Receiver<ToolCall>>>>,
    waiting: Waiting,
    tasks: TaskTracker,
}

impl Served {
    fn serve(
        &self,
        request: Request<Streaming<CallResult>>,
    ) -> std::result::Result<Response<Calls>, Status> {
        let calls = self
            .calls
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let calls = calls.ok_or_else(|| Status::resource_exhausted("there is a stream"))?;
        let (mut answers, waiting) = (request.into_inner(), self.waiting.clone());
        self.tasks.spawn(async move {
            while let Ok(Some(answer)) = answers.message().await {
                let waiter = waiting.lock().calls.remove(&answer.call_id);
                if let Some(waiter) = waiter {
                    // Who calls has not gone.
                    let _ = waiter.send(answer);
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(calls).map(Ok).boxed()))
    }
}

impl NamedService for Served {
    const NAME: &'static str = "bench.Stream";
}

/// Every method is the stream.
impl Service<http::Request<Body>> for Served {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, std::result::Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let served = self.clone();
        let answering = async move {
            let serve = service_fn(move |said| ready(served.serve(said)));
            let mut server = tonic::server::Grpc::new(ProstCodec::default());
            Ok(server.streaming(serve, request).await)
        };
        answering.boxed()
    }
}
