//! What all frames came to.

use super::Step;
use crate::transport::proto::{AnalysisOutcome, OutcomeKind};

/// What all frames came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// Frames that ended.
    pub frames: usize,
    /// Frames that became a task.
    pub extracted: usize,
    /// Frames whose request was not to become one.
    pub rejected: usize,
    /// Frames without a request.
    pub without: usize,
    /// Frames that ended in an error.
    pub failed: usize,
    /// Calls of the model.
    pub model_calls: i64,
    /// Tokens in and out.
    pub tokens: i64,
    /// Millionths of a dollar.
    pub cost_micro_usd: i64,
    /// Milliseconds from acceptance to answer.
    pub total_ms: i64,
}

impl Sum {
    /// Counts a step that ends a frame.
    pub fn count(&mut self, step: &Step) {
        match step {
            Step::Decided { outcome, .. } => self.add(outcome),
            Step::Failed(_) => {
                self.frames += 1;
                self.failed += 1;
            }
            _ => {}
        }
    }

    fn add(&mut self, outcome: &AnalysisOutcome) {
        self.frames += 1;
        match outcome.outcome_kind() {
            OutcomeKind::ExtractTask => self.extracted += 1,
            OutcomeKind::RejectTask => self.rejected += 1,
            OutcomeKind::NoTaskFound => self.without += 1,
            // A kind of a later contract is no decision that this one knows.
            OutcomeKind::Unspecified => self.failed += 1,
        }
        if let Some(bill) = &outcome.bill {
            grow(&mut self.model_calls, bill.model_calls.into());
            for tokens in [bill.prompt_tokens, bill.output_tokens, bill.thinking_tokens] {
                grow(&mut self.tokens, tokens);
            }
            grow(&mut self.cost_micro_usd, bill.cost_micro_usd);
            grow(&mut self.total_ms, bill.total_ms);
        }
    }
}

/// Adds what a server claims, which need not be sensible.
fn grow(sum: &mut i64, more: i64) {
    *sum = sum.saturating_add(more);
}
