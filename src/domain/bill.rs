//! What one frame cost.

use std::ops::AddAssign;
use std::time::Duration;

/// Tokens of one or more model calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompts, cached ones included.
    pub prompt: u64,
    /// Of those, tokens served from the model's cache.
    pub cached: u64,
    /// Tokens of the answers, without thinking.
    pub output: u64,
    /// Tokens of the model's thinking; billed as output.
    pub thinking: u64,
}

impl AddAssign for Usage {
    fn add_assign(&mut self, more: Self) {
        self.prompt = self.prompt.saturating_add(more.prompt);
        self.cached = self.cached.saturating_add(more.cached);
        self.output = self.output.saturating_add(more.output);
        self.thinking = self.thinking.saturating_add(more.thinking);
    }
}

/// What one frame cost, told to clients of protocol 1.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bill {
    /// The model that was asked; of two, the one that was asked last.
    pub model_asked: String,
    /// The model that says it answered; empty if it did not say.
    pub model_answered: String,
    /// Calls sent to the model, retries included.
    pub model_calls: u32,
    /// Tokens of all of them.
    pub usage: Usage,
    /// Millionths of a US dollar, by the configured price table.
    pub cost_micro_usd: u64,
    /// Time spent waiting for the model.
    pub model_time: Duration,
    /// Time spent waiting for the desktop's searches.
    pub tool_time: Duration,
    /// Time from acceptance to the answer, waiting for a turn included.
    pub total_time: Duration,
}
