//! The yardstick: a unary call of tonic's, and nothing else. No table of calls, no
//! deadline, no token, no metrics; the answer is the arguments, as our worker's is.
//!
//! With tonic's own codec, and with our HTTP/2 settings.

use std::convert::Infallible;
use std::future::ready;
use std::task::{Context, Poll};

use futures::FutureExt;
use futures::future::BoxFuture;
use http::uri::PathAndQuery;
use proactive::transport::proto::workers::{CallResult, ToolCall};
use proactive::transport::{Keepalive, grpc};
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

use super::{Result, worker};

const METHOD: &str = "/bench.Bare/Call";

/// A client of a server of this process; cheap to clone.
#[derive(Clone)]
pub(crate) struct Bare(tonic::client::Grpc<Channel>);

impl Bare {
    /// Starts the server, and connects.
    pub(crate) async fn start(tasks: &TaskTracker) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
        let server = grpc::server(Keepalive::USUAL).add_service(Served);
        tasks.spawn(server.serve_with_incoming(incoming));
        let endpoint = Endpoint::from_shared(url)?.tcp_nodelay(true);
        Ok(Self(tonic::client::Grpc::new(endpoint.connect().await?)))
    }

    pub(crate) async fn call(&mut self, call: ToolCall) -> Result<CallResult> {
        self.0.ready().await?;
        let codec = ProstCodec::<ToolCall, CallResult>::default();
        let method = PathAndQuery::from_static(METHOD);
        let answered = self.0.unary(Request::new(call), method, codec).await?;
        Ok(answered.into_inner())
    }
}

#[derive(Clone)]
struct Served;

impl NamedService for Served {
    const NAME: &'static str = "bench.Bare";
}

/// Every method is the call.
impl Service<http::Request<Body>> for Served {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, std::result::Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let answer = service_fn(|call: Request<ToolCall>| {
            ready(Ok(Response::new(worker::answer(call.into_inner()))))
        });
        let answering = async move {
            let mut server = tonic::server::Grpc::new(ProstCodec::default());
            Ok(server.unary(answer, request).await)
        };
        answering.boxed()
    }
}
