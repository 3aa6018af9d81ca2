//! What a session came to, in one log line when it ends.

use tokio::time::Instant;

use crate::domain::{Bill, Decision, FrameFault, FrameFaultCode, Outcome};
use crate::telemetry::{FrameResult, SessionEnd};

/// Counts of one session.
pub(super) struct Totals {
    opened: Instant,
    pub(super) frames: u64,
    pub(super) duplicates: u64,
    pub(super) resumes: u64,
    pub(super) searches: u64,
    pub(super) discarded_results: u64,
    pub(super) refused_events: u64,
    extracted: u64,
    rejected: u64,
    nothing: u64,
    faults: u64,
    pub(super) abandoned: u64,
    model_calls: u64,
    cost_micro_usd: u64,
}

impl Totals {
    pub(super) fn new() -> Self {
        Self {
            opened: Instant::now(),
            frames: 0,
            duplicates: 0,
            resumes: 0,
            searches: 0,
            discarded_results: 0,
            refused_events: 0,
            extracted: 0,
            rejected: 0,
            nothing: 0,
            faults: 0,
            abandoned: 0,
            model_calls: 0,
            cost_micro_usd: 0,
        }
    }

    /// Counts a frame's end and names it for the metrics.
    pub(super) fn ended(&mut self, result: &Result<Outcome, FrameFault>) -> FrameResult {
        match result {
            Ok(Outcome { decision, bill, .. }) => {
                self.billed(bill);
                match decision {
                    Decision::Extract(_) => {
                        self.extracted += 1;
                        FrameResult::ExtractTask
                    }
                    Decision::Reject { .. } => {
                        self.rejected += 1;
                        FrameResult::RejectTask
                    }
                    Decision::NoTask { .. } => {
                        self.nothing += 1;
                        FrameResult::NoTaskFound
                    }
                }
            }
            Err(fault) => {
                self.faults += 1;
                if let Some(bill) = &fault.bill {
                    self.billed(bill);
                }
                match fault.code {
                    FrameFaultCode::NoContext => FrameResult::NoContext,
                    FrameFaultCode::InvalidFrame => FrameResult::Invalid,
                    FrameFaultCode::Superseded => FrameResult::Superseded,
                    FrameFaultCode::Cancelled => FrameResult::Cancelled,
                    FrameFaultCode::GeminiError => FrameResult::GeminiError,
                    FrameFaultCode::RateLimited => FrameResult::RateLimited,
                    FrameFaultCode::Throttled => FrameResult::Throttled,
                    FrameFaultCode::Overloaded => FrameResult::Overloaded,
                    FrameFaultCode::FrameTimeout => FrameResult::Timeout,
                    FrameFaultCode::GoingAway => FrameResult::GoingAway,
                    FrameFaultCode::Internal => FrameResult::Internal,
                }
            }
        }
    }

    fn billed(&mut self, bill: &Bill) {
        self.model_calls += u64::from(bill.model_calls);
        self.cost_micro_usd = self.cost_micro_usd.saturating_add(bill.cost_micro_usd);
    }

    pub(super) fn log(&self, end: SessionEnd) {
        tracing::info!(
            end = end.as_str(),
            duration_ms = self.opened.elapsed().as_millis() as u64,
            frames = self.frames,
            extracted = self.extracted,
            rejected = self.rejected,
            no_task = self.nothing,
            faults = self.faults,
            abandoned = self.abandoned,
            duplicates = self.duplicates,
            resumes = self.resumes,
            searches = self.searches,
            discarded_results = self.discarded_results,
            refused_events = self.refused_events,
            // Without frames that ended from outside; the metrics count all.
            model_calls = self.model_calls,
            cost_micro_usd = self.cost_micro_usd,
            "session ended"
        );
    }
}
