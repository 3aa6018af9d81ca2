//! Traces over OTLP, and the W3C context that ties them to other people's.
//! <https://www.w3.org/TR/trace-context/>

use std::time::Duration;

use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{TraceContextExt, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithTonicConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider};
use tonic::transport::ClientTlsConfig;
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";
/// What the standard asks to carry on at least; a longer one is dropped.
const TRACESTATE_BYTES: usize = 512;
/// The last spans may take so long to leave.
const FLUSH: Duration = Duration::from_secs(3);

/// Where spans go. The rest is said by the `OTEL_…` variables that the SDK reads
/// itself: headers, resource attributes, sampler, batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceOptions {
    /// The collector's OTLP endpoint for gRPC, such as `http://localhost:4317`.
    pub endpoint: String,
    /// What this service is called there.
    pub service: String,
}

/// The way of this process's spans to a collector.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Connects when the first spans leave; a collector that is away costs spans,
    /// never a frame. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// A sentence on what of the set-up cannot be used.
    pub fn new(options: &TraceOptions) -> Result<Self, String> {
        let mut exporter = SpanExporter::builder()
            .with_tonic()
            .with_endpoint(&options.endpoint);
        if options.endpoint.starts_with("https:") {
            exporter = exporter.with_tls_config(ClientTlsConfig::new().with_native_roots());
        }
        let exporter = exporter
            .build()
            // Its text quotes the endpoint, in which a key may stand.
            .map_err(|_| "OTEL_EXPORTER_OTLP_ENDPOINT: no spans can be sent there".to_owned())?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder()
            .with_service_name(options.service.clone())
            .with_attribute(version)
            .build();
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource)
            .build();
        Ok(Self(provider))
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.0.tracer("proactive")
    }

    /// Sends what is left, for at most three seconds.
    pub async fn flush(self) {
        let flushed = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(FLUSH));
        if !matches!(flushed.await, Ok(Ok(()))) {
            tracing::warn!("the last spans did not reach the collector");
        }
    }
}

/// The W3C trace context that travels with a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TraceContext {
    /// Version, trace, parent span and flags, as the standard writes them.
    pub traceparent: String,
    /// What tracing systems add for themselves; often empty.
    pub tracestate: String,
}

impl TraceContext {
    /// What the headers of a request say; `None` if it is part of no trace.
    pub fn of_headers<'a>(header: impl Fn(&str) -> Option<&'a str>) -> Option<Box<Self>> {
        let tracestate = header(TRACESTATE).filter(|state| state.len() <= TRACESTATE_BYTES);
        Some(Box::new(Self {
            traceparent: header(TRACEPARENT)?.to_owned(),
            tracestate: tracestate.unwrap_or_default().to_owned(),
        }))
    }

    /// What to hand on from this span; `None` if there are no traces.
    pub fn of_span(span: &Span) -> Option<Box<Self>> {
        let within = span.context();
        within.span().span_context().is_valid().then(|| {
            let mut context = Box::<Self>::default();
            TraceContextPropagator::new().inject_context(&within, &mut *context);
            context
        })
    }

    /// As a parent for a span; an empty one if it is malformed.
    pub(super) fn remote(&self) -> Context {
        TraceContextPropagator::new().extract(self)
    }
}

impl Extractor for TraceContext {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => Some(&self.traceparent),
            TRACESTATE => Some(&self.tracestate),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}

impl Injector for TraceContext {
    fn set(&mut self, key: &str, value: String) {
        match key {
            TRACEPARENT => self.traceparent = value,
            TRACESTATE => self.tracestate = value,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn context(traceparent: &str, tracestate: &str) -> Option<Box<TraceContext>> {
        TraceContext::of_headers(|name| match name {
            TRACEPARENT => Some(traceparent),
            TRACESTATE => Some(tracestate),
            _ => None,
        })
    }

    #[test]
    fn a_parent_is_taken_from_the_headers_and_a_malformed_one_is_none() {
        let parent = context(PARENT, "vendor=1").unwrap().remote();
        let parent = parent.span().span_context().clone();
        assert_eq!(
            parent.trace_id().to_string(),
            "4bf92f3577b34da6a3ce929d0e0e4736"
        );
        assert!(parent.is_remote() && parent.is_sampled());
        assert_eq!(parent.trace_state().header(), "vendor=1");
        let malformed = context("00-xyz", "").unwrap().remote();
        assert!(!malformed.span().span_context().is_valid());
        assert_eq!(TraceContext::of_headers(|_| None), None);
    }

    #[test]
    fn a_long_tracestate_is_dropped_and_its_trace_kept() {
        let context = context(PARENT, &"x".repeat(513)).unwrap();
        assert_eq!((&*context.traceparent, &*context.tracestate), (PARENT, ""));
    }

    #[test]
    fn without_traces_there_is_nothing_to_hand_on() {
        assert_eq!(TraceContext::of_span(&tracing::info_span!("a span")), None);
    }
}
