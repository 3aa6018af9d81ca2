//! What a collector gets: one frame's spans, in the trace that its desktop began.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, Span};
use proactive::transport::proto::server_event::Event;
use proactive::transport::proto::{OutcomeKind, ToolCallRequest};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataValue;
use tonic::transport::Server as Tonic;
use tonic::{Request, Response, Status};

use crate::log::{a_whole_session_logged, outside, shows_nothing_secret_or_personal};
use crate::serve::Server;
use crate::support::{Desk, connect};

const REQUEST: &str = "Hi, can you send the Berlin office the signed lease before Tuesday?";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// Decodes OTLP and keeps what came.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ResourceSpans>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let came = request.into_inner().resource_spans;
        self.0.lock().unwrap().extend(came);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// Serves until the set is dropped.
    async fn start(&self) -> (String, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let serving = Tonic::builder()
            .add_service(TraceServiceServer::new(self.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        let mut servers = JoinSet::new();
        servers.spawn(async move { serving.await.unwrap() });
        (address, servers)
    }

    fn spans(&self) -> Vec<Span> {
        let came = self.0.lock().unwrap();
        let scopes = came.iter().flat_map(|came| &came.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attribute(span: &Span, name: &str) -> Value {
    let found = span.attributes.iter().find(|pair| pair.key == name);
    let found = found.unwrap_or_else(|| panic!("{} has no {name}: {span:?}", span.name));
    found.value.clone().unwrap().value.unwrap()
}

/// A session in protocol `version` with one frame that ends in a task; gives the
/// searches it was asked for.
async fn one_frame(server: &Server, token: &str, version: &str) -> Vec<ToolCallRequest> {
    let channel = connect(&format!("http://{}", server.grpc)).await;
    let bearer: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
    let parent: MetadataValue<_> = format!("00-{TRACE}-{PARENT}-01").parse().unwrap();
    let mut desk = Desk::open_with(channel, |request| {
        request.metadata_mut().insert("authorization", bearer);
        request.metadata_mut().insert("traceparent", parent);
    })
    .await
    .unwrap();
    desk.hello(version).await;
    desk.ready().await;
    desk.frame("shot", REQUEST).await;
    let mut searches = Vec::new();
    loop {
        match desk.event().await {
            Event::ToolCallRequest(request) => {
                desk.answer(&request, vec![]).await;
                searches.push(request);
            }
            Event::AnalysisOutcome(outcome) => {
                assert_eq!(outcome.outcome_kind(), OutcomeKind::ExtractTask);
                break;
            }
            other => panic!("{other:?}"),
        }
    }
    desk.close().await;
    while let Ok(Some(_)) = desk.next().await {}
    assert!(!searches.is_empty());
    searches
}

#[tokio::test(flavor = "multi_thread")]
async fn one_frame_is_followed_from_its_desktop_to_the_model_and_into_the_log() {
    let collector = Collector::default();
    let (endpoint, _servers) = collector.start().await;
    let outside = outside().await;
    let token = outside.token("someone");
    let seen = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test",
        ),
        ("LOG_FORMAT", "json"),
    ];
    let server = Server::start(&[&outside.environment()[..], &seen].concat());
    let searches = one_frame(&server, &token, "1.1").await;
    server.process.signal("TERM");
    let ended = server.process.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);

    let spans = collector.spans();
    assert!(spans.iter().all(|span| hex(&span.trace_id) == TRACE));
    let named =
        |name: &str| -> Vec<&Span> { spans.iter().filter(|span| span.name == name).collect() };
    let ([session], [frame]) = (&named("session")[..], &named("frame")[..]) else {
        panic!("{spans:?}")
    };
    assert_eq!(hex(&session.parent_span_id), PARENT);
    assert_eq!(session.kind(), SpanKind::Server);
    assert_eq!(frame.parent_span_id, session.span_id);
    let (turns, calls) = (named("model.turn"), named("tool.call"));
    assert_eq!(calls.len(), searches.len());
    assert!(turns.len() > 1);
    for inner in turns.iter().chain(&calls) {
        assert_eq!(inner.parent_span_id, frame.span_id);
        assert_eq!(inner.kind(), SpanKind::Client);
        let within = frame.start_time_unix_nano..=frame.end_time_unix_nano;
        assert!(within.contains(&inner.start_time_unix_nano));
        assert!(within.contains(&inner.end_time_unix_nano));
        assert!(inner.start_time_unix_nano < inner.end_time_unix_nano);
    }
    for turn in turns {
        let tokens = attribute(turn, "gen_ai.usage.input_tokens");
        assert!(matches!(tokens, Value::IntValue(1..)), "{tokens:?}");
        assert!(matches!(
            attribute(turn, "gen_ai.response.model"),
            Value::StringValue(name) if !name.is_empty()
        ));
    }
    // The desktop goes on with the trace where its search was waited for.
    for (call, search) in calls.iter().zip(&searches) {
        let parent = format!("00-{TRACE}-{}-01", hex(&call.span_id));
        assert_eq!(search.traceparent, parent);
    }
    let decided = ended
        .stderr
        .lines()
        .find(|line| line.contains("frame decided"));
    assert!(decided.unwrap().contains(TRACE), "{decided:?}");
    let resource = format!("{:?}", collector.0.lock().unwrap()[0].resource);
    for said in [
        "\"proactive\"",
        "deployment.environment.name",
        "service.version",
    ] {
        assert!(resource.contains(said), "{said} is not in {resource}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_protocol_1_0_is_told_nothing_of_traces() {
    let collector = Collector::default();
    let (endpoint, _servers) = collector.start().await;
    let outside = outside().await;
    let token = outside.token("someone");
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint);
    let server = Server::start(&[&outside.environment()[..], &[endpoint]].concat());
    for search in one_frame(&server, &token, "1.0").await {
        assert_eq!((&*search.traceparent, &*search.tracestate), ("", ""));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a24_traces_show_nothing_secret_or_personal() {
    let collector = Collector::default();
    let (endpoint, _servers) = collector.start().await;
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", &*endpoint);
    let (log, token) =
        a_whole_session_logged(&[endpoint, ("RUST_LOG", "error,proactive::app=info")]).await;
    shows_nothing_secret_or_personal(&log, &token);
    let spans = format!("{:#?}", collector.spans());
    assert!(
        spans.contains("uid12345") && spans.contains("Error"),
        "{spans}"
    );
    shows_nothing_secret_or_personal(&spans, &token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_spans_and_no_frame() {
    let outside = outside().await;
    let token = outside.token("someone");
    // Nobody listens there.
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1");
    let server = Server::start(&[&outside.environment()[..], &[endpoint]].concat());
    one_frame(&server, &token, "1.1").await;
    server.process.signal("TERM");
    let ended = server.process.end();
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert!(!ended.stderr.contains("otel."), "{}", ended.stderr);
    assert!(ended.stderr.contains("OTLP export"), "{}", ended.stderr);
}
