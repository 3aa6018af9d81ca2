//! The metrics of one server, in a registry of its own, so that two servers in
//! one process do not add to each other's numbers. Label values come from
//! enums; the one exception is the configured model's name.

mod before_model;
mod jobs;
mod local_workers;
mod user_logs;
mod workers;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{
    AuthResult, FrameResult, Limit, ModelCode, SessionEnd, SessionReturn, TokenKind, ToolLabel,
    ToolResult,
};
use crate::domain::Usage;
use before_model::BeforeModel;
pub use before_model::CircuitState;
use jobs::Jobs;
use local_workers::LocalWorkers;
pub use local_workers::RunningWorker;
use user_logs::UserLogs;
pub use workers::WorkerTool;
use workers::Workers;

/// The content type of [`Metrics::render`]: OpenMetrics 1.0 text.
pub const METRICS_CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A model call or a search: 10 ms to 40 s.
const WAIT_BUCKETS: [f64; 12] = [
    0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 40.0,
];
/// A frame from acceptance to its end: 100 ms to a minute.
const FRAME_BUCKETS: [f64; 10] = [0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0];
/// Our own time per frame: 100 µs to 1 s.
const OVERHEAD_BUCKETS: [f64; 10] = [
    0.0001, 0.0003, 0.001, 0.002, 0.004, 0.008, 0.02, 0.1, 0.3, 1.0,
];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EndLabels {
    end: SessionEnd,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FrameLabels {
    result: FrameResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: Arc<str>,
    code: ModelCode,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    model: Arc<str>,
    kind: TokenKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabel {
    model: Arc<str>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReturnLabels {
    result: SessionReturn,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ToolLabels {
    tool: ToolLabel,
    result: ToolResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AuthLabels {
    result: AuthResult,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: Limit,
}

/// A handle to the metrics of one server, cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    registry: Registry,
    sessions: Gauge,
    session_ends: Family<EndLabels, Counter>,
    sessions_away: Gauge,
    session_returns: Family<ReturnLabels, Counter>,
    frames_in_flight: Gauge,
    frames: Family<FrameLabels, Counter>,
    duplicate_frames: Counter,
    refused_events: Counter,
    model_calls: Family<ModelLabels, Counter>,
    before_model: BeforeModel,
    user_logs: UserLogs,
    jobs: Jobs,
    local_workers: LocalWorkers,
    workers: Workers,
    tokens: Family<TokenLabels, Counter>,
    cost: Family<ModelLabel, Counter<f64, AtomicU64>>,
    tools: Family<ToolLabels, Counter>,
    discarded_tool_results: Counter,
    repeated_searches: Counter,
    auth: Family<AuthLabels, Counter>,
    keys_usable: Gauge,
    limits: Family<LimitLabels, Counter>,
    connections: Gauge,
    memory: Gauge,
    memory_ceiling: Gauge,
    model_seconds: Histogram,
    tool_seconds: Histogram,
    frame_seconds: Histogram,
    overhead_seconds: Histogram,
}

impl Metrics {
    /// All metrics at zero.
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("proactive");
        let r = &mut registry;
        let inner = Inner {
            sessions: put(r, "sessions", "Sessions open now", Gauge::default()),
            session_ends: put(
                r,
                "sessions_ended",
                "Sessions ended, by reason",
                Family::default(),
            ),
            sessions_away: put(
                r,
                "sessions_away",
                "Sessions whose stream broke and that can still be taken up",
                Gauge::default(),
            ),
            session_returns: put(
                r,
                "session_returns",
                "Clients that came back to a session, by what became of it",
                Family::default(),
            ),
            frames_in_flight: put(
                r,
                "frames_in_flight",
                "Frames being analysed now",
                Gauge::default(),
            ),
            frames: put(r, "frames", "Frames ended, by result", Family::default()),
            duplicate_frames: put(
                r,
                "duplicate_frames",
                "Frames sent again while they were in flight, or after their answer",
                Counter::default(),
            ),
            refused_events: put(
                r,
                "refused_events",
                "Events that could not be used",
                Counter::default(),
            ),
            model_calls: put(
                r,
                "model_calls",
                "Calls to the model, retries included, by HTTP status or fault",
                Family::default(),
            ),
            before_model: BeforeModel::new(r),
            user_logs: UserLogs::new(r),
            jobs: Jobs::new(r),
            local_workers: LocalWorkers::new(r),
            workers: Workers::new(r),
            tokens: put(
                r,
                "model_tokens",
                "Tokens billed, by kind",
                Family::default(),
            ),
            cost: put(
                r,
                "model_cost_usd",
                "US dollars spent on the model, by the configured price table",
                Family::default(),
            ),
            tools: put(
                r,
                "tool_calls",
                "Calls that users' devices were asked for, by tool and result",
                Family::default(),
            ),
            discarded_tool_results: put(
                r,
                "discarded_tool_results",
                "Tool results that nobody waited for",
                Counter::default(),
            ),
            repeated_searches: put(
                r,
                "repeated_searches",
                "Calls that the model repeated, answered from memory",
                Counter::default(),
            ),
            auth: put(
                r,
                "stream_auth",
                "Tokens of new streams, by verdict",
                Family::default(),
            ),
            keys_usable: put(
                r,
                "keys_usable",
                "1 while tokens can be judged, 0 while the public keys cannot be had",
                Gauge::default(),
            ),
            limits: put(
                r,
                "limits_met",
                "Streams, frames, events and connections refused, by limit",
                Family::default(),
            ),
            connections: put(
                r,
                "connections",
                "Connections open now, on both ports",
                Gauge::default(),
            ),
            memory: put_bytes(
                r,
                "accounted",
                "What sessions, messages and frames under way take of MEMORY_CEILING now",
            ),
            memory_ceiling: put_bytes(
                r,
                "accounted_most",
                "MEMORY_CEILING: at so many, new frames are refused",
            ),
            model_seconds: put_seconds(r, "model", "Time of one model call", &WAIT_BUCKETS),
            tool_seconds: put_seconds(
                r,
                "tool",
                "Time of one call on a user's device",
                &WAIT_BUCKETS,
            ),
            frame_seconds: put_seconds(
                r,
                "frame",
                "Time of a frame from acceptance to the end of its analysis",
                &FRAME_BUCKETS,
            ),
            overhead_seconds: put_seconds(
                r,
                "frame_overhead",
                "Time of a frame's analysis outside the model and the tools",
                &OVERHEAD_BUCKETS,
            ),
            registry,
        };
        inner.begin_at_zero();
        Self(Arc::new(inner))
    }

    /// All metrics as [`METRICS_CONTENT_TYPE`].
    pub fn render(&self) -> String {
        let mut page = String::new();
        text::encode(&mut page, &self.0.registry).expect("writing to a String cannot fail");
        page
    }

    /// A session opened.
    pub fn session_opened(&self) {
        self.0.sessions.inc();
    }

    /// A session ended.
    pub fn session_ended(&self, end: SessionEnd) {
        self.0.sessions.dec();
        self.0.session_ends.get_or_create(&EndLabels { end }).inc();
    }

    /// So many sessions have no stream now.
    pub fn sessions_away(&self, now: usize) {
        self.0
            .sessions_away
            .set(i64::try_from(now).unwrap_or(i64::MAX));
    }

    /// A client came back to a session.
    pub fn session_return(&self, result: SessionReturn) {
        let labels = ReturnLabels { result };
        self.0.session_returns.get_or_create(&labels).inc();
    }

    /// A frame's analysis began.
    pub fn frame_started(&self) {
        self.0.frames_in_flight.inc();
    }

    /// A frame's analysis is over.
    pub fn frame_stopped(&self) {
        self.0.frames_in_flight.dec();
    }

    /// A frame got its terminal event, or never will.
    pub fn frame_ended(&self, result: FrameResult) {
        self.0.frames.get_or_create(&FrameLabels { result }).inc();
    }

    /// A frame came whose id was in flight.
    pub fn duplicate_frame(&self) {
        self.0.duplicate_frames.inc();
    }

    /// An event came that could not be used.
    pub fn event_refused(&self) {
        self.0.refused_events.inc();
    }

    /// A call to the model ended.
    pub fn model_call(&self, model: &Arc<str>, code: ModelCode, time: Duration) {
        let model = model.clone();
        self.0
            .model_calls
            .get_or_create(&ModelLabels { model, code })
            .inc();
        self.0.model_seconds.observe(time.as_secs_f64());
    }

    /// A call to the model was billed.
    pub fn model_billed(&self, model: &Arc<str>, usage: Usage, cost_micro_usd: f64) {
        let counts = [
            (TokenKind::Prompt, usage.prompt.saturating_sub(usage.cached)),
            (TokenKind::Cached, usage.cached),
            (TokenKind::Output, usage.output),
            (TokenKind::Thinking, usage.thinking),
        ];
        for (kind, count) in counts {
            let model = model.clone();
            self.0
                .tokens
                .get_or_create(&TokenLabels { model, kind })
                .inc_by(count);
        }
        let model = model.clone();
        self.0
            .cost
            .get_or_create(&ModelLabel { model })
            .inc_by(cost_micro_usd / 1e6);
    }

    /// A call that a device was asked for ended.
    pub fn tool_call(&self, tool: ToolLabel, result: ToolResult, time: Duration) {
        self.0
            .tools
            .get_or_create(&ToolLabels { tool, result })
            .inc();
        self.0.tool_seconds.observe(time.as_secs_f64());
    }

    /// A tool result came that nobody waited for.
    pub fn tool_result_discarded(&self) {
        self.0.discarded_tool_results.inc();
    }

    /// The model made a call again and was answered from memory.
    pub fn search_repeated(&self) {
        self.0.repeated_searches.inc();
    }

    /// The token of a new stream was judged.
    pub fn stream_auth(&self, result: AuthResult) {
        self.0.auth.get_or_create(&AuthLabels { result }).inc();
    }

    /// Whether tokens can be judged.
    pub fn keys_usable(&self, usable: bool) {
        self.0.keys_usable.set(usable.into());
    }

    /// A limit was met, and something refused for it.
    pub fn limit_met(&self, limit: Limit) {
        self.0.limits.get_or_create(&LimitLabels { limit }).inc();
    }

    /// A connection was taken.
    pub fn connection_opened(&self) {
        self.0.connections.inc();
    }

    /// A connection is over.
    pub fn connection_closed(&self) {
        self.0.connections.dec();
    }

    /// How much memory may be taken.
    pub fn memory_ceiling(&self, bytes: usize) {
        self.0.memory_ceiling.set(whole(bytes));
    }

    /// Something took memory.
    pub fn memory_taken(&self, bytes: usize) {
        self.0.memory.inc_by(whole(bytes));
    }

    /// Something gave memory back.
    pub fn memory_given_back(&self, bytes: usize) {
        self.0.memory.dec_by(whole(bytes));
    }

    /// A frame's analysis is over, this long after the frame was accepted.
    pub fn frame_took(&self, time: Duration) {
        self.0.frame_seconds.observe(time.as_secs_f64());
    }

    /// A frame's analysis took this long outside the model and the tools.
    pub fn frame_overhead(&self, time: Duration) {
        self.0.overhead_seconds.observe(time.as_secs_f64());
    }
}

impl Inner {
    /// A counter that appears with its first count has not increased, as Prometheus
    /// sees it. Calls to the model are named by what servers answer, which nobody
    /// knows beforehand.
    fn begin_at_zero(&self) {
        for &end in SessionEnd::ALL {
            let _ = self.session_ends.get_or_create(&EndLabels { end });
        }
        for &result in SessionReturn::ALL {
            let labels = ReturnLabels { result };
            let _ = self.session_returns.get_or_create(&labels);
        }
        for &result in FrameResult::ALL {
            let _ = self.frames.get_or_create(&FrameLabels { result });
        }
        for &result in AuthResult::ALL {
            let _ = self.auth.get_or_create(&AuthLabels { result });
        }
        for &limit in Limit::ALL {
            let _ = self.limits.get_or_create(&LimitLabels { limit });
        }
        for &tool in ToolLabel::ALL {
            for &result in ToolResult::ALL {
                let _ = self.tools.get_or_create(&ToolLabels { tool, result });
            }
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn put<M>(registry: &mut Registry, name: &str, help: &str, metric: M) -> M
where
    M: prometheus_client::registry::Metric + Clone,
{
    registry.register(name, help, metric.clone());
    metric
}

fn put_seconds(registry: &mut Registry, name: &str, help: &str, buckets: &[f64]) -> Histogram {
    let metric = Histogram::new(buckets.iter().copied());
    registry.register_with_unit(name, help, Unit::Seconds, metric.clone());
    metric
}

fn put_bytes(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let metric = Gauge::default();
    registry.register_with_unit(name, help, Unit::Bytes, metric.clone());
    metric
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
