//! Every span of the service, so that names and fields are the same everywhere.
//! Nothing in them is secret or personal: a uid shows its first 8 characters,
//! an id from a client its first 64. What somebody else chose is recorded as a
//! string, never with `%`: the text log then puts it between quotes and escapes
//! control characters, so that it cannot pass for a line or a field of ours.

use std::borrow::Cow;

use opentelemetry::trace::{Status, TraceContextExt};
use tracing::field::Empty;
use tracing::{Span, debug_span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use super::TraceContext;
use crate::domain::{FrameId, JobId, RequestId, SessionId, Uid, Usage, clip};

const CLIENT_ID_CHARS: usize = 64;

/// An id that a client chose, as spans record it.
fn from_client(id: &str) -> Cow<'_, str> {
    clip(id, CLIENT_ID_CHARS)
}

/// One stream of one desktop, in the trace that its client began, if it did. The
/// trace's id stands in every line that the log has of the session.
pub fn session_span(
    session: &SessionId,
    uid: &Uid,
    device: &str,
    trace: Option<&TraceContext>,
) -> Span {
    let span = info_span!(
        "session",
        otel.kind = "server",
        session.id = %session,
        user.id = &*uid.to_string(),
        device.id = &*from_client(device),
        trace_id = Empty,
    );
    if let Some(trace) = trace {
        // Refused where there are no traces.
        let _ = span.set_parent(trace.remote());
    }
    let context = span.context();
    let context = context.span().span_context().clone();
    if context.is_valid() {
        span.record("trace_id", context.trace_id().to_string());
    }
    span
}

/// One job, from its submission to its end.
pub fn job_span(job: &JobId, uid: &Uid) -> Span {
    info_span!("job", job.id = %job, user.id = &*uid.to_string())
}

/// The analysis of one frame.
pub fn frame_span(frame: &FrameId) -> Span {
    info_span!("frame", frame.id = &*from_client(frame.as_str()))
}

/// One question to the model, retries included. In traces; in the log only where
/// DEBUG is asked for.
pub fn model_turn_span(iteration: u32) -> Span {
    debug_span!("model.turn", otel.kind = "client", iteration)
}

/// Adds to the current span what a call to the model came to, by OpenTelemetry's
/// names for generative AI. In traces only.
pub fn model_answered(asked: &str, answered: &str, usage: Usage) {
    let span = Span::current();
    let say = |name: &'static str, value: opentelemetry::Value| span.set_attribute(name, value);
    say("gen_ai.request.model", asked.to_owned().into());
    say("gen_ai.response.model", answered.to_owned().into());
    say("gen_ai.usage.input_tokens", count(usage.prompt));
    say(
        "gen_ai.usage.output_tokens",
        count(usage.output.saturating_add(usage.thinking)),
    );
}

fn count(tokens: u64) -> opentelemetry::Value {
    i64::try_from(tokens).unwrap_or(i64::MAX).into()
}

/// Marks the span as failed, in traces only.
pub fn span_failed(span: &Span, why: &str) {
    span.set_status(Status::error(why.to_owned()));
}

/// One call of a tool; as [`model_turn_span`].
pub fn tool_call_span(request: &RequestId, tool: &str) -> Span {
    debug_span!("tool.call", otel.kind = "client", request.id = %request, tool.name = tool)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a24_what_a_client_calls_itself_can_forge_no_line_and_no_field() {
        let forged = "x\n2026-01-01T00:00:00Z ERROR\u{1b}[2J user.id=admin\u{2028}\u{202e}";
        let spans = || {
            let session = session_span(&SessionId::new("s-1"), &Uid::new(forged), forged, None);
            let frame = session.in_scope(|| frame_span(&FrameId::new(forged)));
            (session, frame)
        };
        // Known to tracing before there is a subscriber: if another test's thread
        // were the first to reach them, they would be off for good.
        let _ = spans();
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || {
            let (session, frame) = spans();
            let _entered = (session.entered(), frame.entered());
            tracing::info!(app.version = forged, "hello");
        });
        let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        assert_eq!(log.matches('\n').count(), 1, "{log}");
        for sign in ['\u{1b}', '\u{2028}', '\u{202e}'] {
            assert!(!log.contains(sign), "{sign:?} in {log}");
        }
        assert!(log.contains("session.id=s-1"), "{log}");
        // Between quotes, a field's name is part of a value.
        let values = log.split('"').skip(1).step_by(2);
        let quoted = values.filter(|value| value.contains("user.id="));
        assert_eq!(
            (quoted.count(), log.matches("user.id=").count()),
            (3, 4),
            "{log}"
        );
    }
}
