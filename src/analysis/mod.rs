//! One frame's analysis: a prompt, a conversation with the model, and a
//! decision, within a budget of time and turns.

mod brief;
mod budget;
mod decision;
mod instruction;
mod neutral;
mod prompt;
mod shown;
mod title;
mod turns;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::domain::{
    Context, Decision, Frame, FrameFault, FrameFaultCode, Outcome, ScreenText, Uid,
};
use crate::gemini::{Conversation, Model, TextPart};
use crate::telemetry::Metrics;
use crate::tools::Desk;
use crate::world::World;

use brief::Briefs;
use budget::Budget;
use turns::{Calls, Deliberation};

/// Limits of one frame's analysis. They nest: a search and a model call each
/// fit into the frame, and are shortened by what is left of it.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many turns the model gets; in the last it must decide.
    pub max_iterations: u32,
    /// How long a desktop may take for one search.
    pub tool_timeout: Duration,
    /// How long a frame may take from acceptance to its answer.
    pub frame_timeout: Duration,
    /// How much longer, if no client was connected while it searched.
    pub longest_pause: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            max_iterations: 5,
            tool_timeout: Duration::from_secs(10),
            frame_timeout: Duration::from_secs(60),
            longest_pause: Duration::from_secs(30),
        }
    }
}

/// What the model is told of a user, whatever the screen shows. Made once for all
/// frames that share a context.
pub struct Background {
    /// The client's name for the context.
    pub version: String,
    part: TextPart,
}

impl Background {
    /// What this context says.
    pub fn new(context: Context) -> Self {
        let part = TextPart::new(&prompt::about_user(&context));
        let version = context.version;
        Self { version, part }
    }

    /// How much of memory it takes.
    pub fn bytes(&self) -> usize {
        self.version.len() + self.part.bytes()
    }
}

/// Analyses frames; cheap to clone.
#[derive(Clone)]
pub struct Analyst(Arc<Inner>);

struct Inner {
    options: Options,
    briefs: Briefs,
    model: Arc<dyn Model>,
    world: World,
    metrics: Metrics,
}

impl Analyst {
    /// An analyst that asks this model.
    pub fn new(options: Options, model: Arc<dyn Model>, world: World, metrics: Metrics) -> Self {
        Self(Arc::new(Inner {
            options,
            briefs: Briefs::default(),
            model,
            world,
            metrics,
        }))
    }

    /// The limits in force.
    pub fn options(&self) -> Options {
        self.0.options
    }

    /// Comes to exactly one decision or error about this user's frame, within
    /// `frame_timeout`. Dropping the future cancels whatever is under way. The frame's
    /// image and text are taken from it: it may be in flight for long.
    ///
    /// # Errors
    /// A [`FrameFault`] that can be told to the client as it is.
    pub async fn analyse(
        &self,
        user: &Uid,
        frame: &mut Frame,
        background: &Background,
        desk: &Desk,
        accepted: Instant,
    ) -> Result<Outcome, FrameFault> {
        let inner = &*self.0;
        let budget = Budget::new(inner.options, accepted);
        let image = frame.image.take();
        let calls = Calls::new(desk, &inner.metrics);
        let offer = calls.offer();
        let now = inner.world.now();
        let conversation = Conversation::new(
            &inner.briefs.of(&offer),
            &background.part,
            image,
            &prompt::about_frame(frame, now, offer.barred()),
        );
        frame.ocr = ScreenText::default();
        let offered = (&inner.briefs, offer);
        let deliberation = Deliberation::new(
            &*inner.model,
            user,
            calls,
            &budget,
            offered,
            conversation,
            frame,
        );
        let mut deciding = pin!(deliberation.decide());
        let mut deadline = budget.deadline(Duration::ZERO);
        let result = loop {
            let result = timeout_at(deadline, deciding.as_mut()).await;
            // Its clock may have stood still, or do so.
            let later = budget.deadline(desk.stood_still());
            if result.is_ok() || later <= deadline {
                break result;
            }
            deadline = later;
        };
        inner.metrics.frame_took(budget.since_accepted());
        let (outcome, waited) = result.map_err(|_| FrameFault {
            retryable: !budget.has_changed(),
            ..out_of_time()
        })?;
        inner
            .metrics
            .frame_overhead(budget.elapsed().saturating_sub(waited));
        outcome.inspect(log_decision)
    }
}

fn log_decision(outcome: &Outcome) {
    let Outcome { decision, bill, .. } = outcome;
    let decision = match decision {
        Decision::Extract(_) => "extract_task",
        Decision::Reject { .. } => "reject_task",
        Decision::NoTask { .. } => "no_task_found",
    };
    tracing::info!(
        decision,
        model.asked = bill.model_asked,
        model.answered = bill.model_answered,
        model_calls = bill.model_calls,
        cost_micro_usd = bill.cost_micro_usd,
        model_ms = bill.model_time.as_millis() as u64,
        tool_ms = bill.tool_time.as_millis() as u64,
        total_ms = bill.total_time.as_millis() as u64,
        "frame decided"
    );
}

/// What a job ends with that the server cannot see through, because it is leaving.
pub fn going_away() -> FrameFault {
    let message =
        "The server shut down before this was decided; submit it again, under another key.";
    FrameFault::new(FrameFaultCode::GoingAway, message, true)
}

fn out_of_time() -> FrameFault {
    let message = "The frame could not be decided within its time; send it again.";
    FrameFault::new(FrameFaultCode::FrameTimeout, message, true)
}
