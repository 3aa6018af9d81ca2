//! What operators see: metrics, spans and the log.

mod labels;
mod log;
mod metrics;
mod seldom;
mod spans;
mod traces;

pub use labels::{
    AuthResult, Discarded, EntryKind, EntryLoss, FrameResult, JobEnd, Limit, ModelCode, PayloadWay,
    SessionEnd, SessionReturn, TokenKind, ToolLabel, ToolResult, WorkerCall,
};
pub use log::{EnvFilter, LogFormat, init};
pub use metrics::{CircuitState, METRICS_CONTENT_TYPE, Metrics, RunningWorker, WorkerTool};
pub use seldom::Seldom;
pub use spans::{
    frame_span, job_span, model_answered, model_turn_span, session_span, span_failed,
    tool_call_span,
};
pub use traces::{TraceContext, TraceOptions, Traces};
