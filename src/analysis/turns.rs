//! The loop: ask the model, have its calls carried out, take its decision.
//!
//! A turn may hold several calls, and all are answered in the next. Tools come
//! first: if a turn calls one and decides at once, its decision was made without the
//! results, so the model is shown them and decides again. In the last turn only a
//! decision is allowed, and any other call in it is ignored.

mod calls;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::Instrument;

use super::brief::{Briefs, Terminal};
use super::budget::Budget;
use super::decision::Arguments;
use super::neutral::{Lines, for_people};
use super::prompt::{unsearchable, why_not};
use super::{going_away, out_of_time, title};
use crate::domain::{Bill, Decision, Frame, FrameFault, FrameFaultCode, Outcome, Uid};
use crate::gemini::{Answer, Ask, Call, Conversation, Error, Model, Spent, Turn};
use crate::telemetry::model_turn_span;
use crate::tools::{Offer, Place, Tool};

use calls::Over;

pub(super) use calls::Calls;

/// One frame's loop.
pub(super) struct Deliberation<'a> {
    model: &'a dyn Model,
    user: &'a Uid,
    calls: Calls<'a>,
    budget: &'a Budget,
    briefs: &'a Briefs,
    /// What the model may call in this turn.
    offer: Arc<Offer>,
    conversation: Conversation,
    frame: &'a Frame,
    spent: Spent,
    tool_time: Duration,
}

/// What a call of the model asks for.
#[derive(Clone, Copy)]
enum Asked<'o> {
    /// A tool that somebody executes.
    Tool(&'o Place),
    /// The end.
    End(Terminal, &'o Tool),
    /// A tool that there is, but that cannot be called now, for this reason.
    Withheld(&'static str),
    /// Nothing that was offered.
    Unknown,
}

impl Asked<'_> {
    /// Why it is not done; `otherwise` for what could be, in another turn.
    fn refusal(&self, otherwise: &'static str) -> Cow<'static, str> {
        match self {
            Self::Withheld(why) => format!("This cannot be called now: {why}.").into(),
            Self::Unknown => "There is no such function.".into(),
            Self::Tool(_) | Self::End(..) => otherwise.into(),
        }
    }
}

/// How a frame ends.
struct Ending {
    decision: Decision,
    context_summary: String,
    current_activity: String,
}

/// What a turn comes to.
enum Step {
    End(Ending),
    Answer(Vec<Answer>),
    Fail(FrameFault),
}

impl<'a> Deliberation<'a> {
    pub(super) fn new(
        model: &'a dyn Model,
        user: &'a Uid,
        calls: Calls<'a>,
        budget: &'a Budget,
        (briefs, offer): (&'a Briefs, Offer),
        conversation: Conversation,
        frame: &'a Frame,
    ) -> Self {
        Self {
            model,
            user,
            calls,
            budget,
            briefs,
            offer: Arc::new(offer),
            conversation,
            frame,
            spent: Spent::default(),
            tool_time: Duration::ZERO,
        }
    }

    /// Runs the loop. With the result comes the time spent waiting for others.
    pub(super) async fn decide(mut self) -> (Result<Outcome, FrameFault>, Duration) {
        let ending = self.ending().await;
        let waited = self.spent.time + self.tool_time;
        let bill = self.bill();
        let outcome = match ending {
            Ok(ending) => Ok(Outcome {
                decision: ending.decision,
                context_summary: ending.context_summary,
                current_activity: ending.current_activity,
                bill,
            }),
            Err(fault) => Err(FrameFault {
                bill: Some(Box::new(bill)),
                retryable: fault.retryable && !self.budget.has_changed(),
                ..fault
            }),
        };
        (outcome, waited)
    }

    async fn ending(&mut self) -> Result<Ending, FrameFault> {
        let turns = self.budget.max_iterations();
        let mut iteration = 0;
        while iteration < turns {
            iteration += 1;
            let last = iteration == turns;
            let deadline = self.budget.for_model().ok_or_else(out_of_time)?;
            let turn = match self.ask(iteration, last, deadline).await {
                Ok(turn) => turn,
                Err(error) if self.begins_anew(&error) => {
                    iteration = 0;
                    continue;
                }
                Err(error) => return Err(fault(&error)),
            };
            match self.step(&turn, last).await {
                Step::End(ending) => return Ok(ending),
                Step::Answer(answers) => {
                    self.conversation.answer(&turn, &answers);
                    self.offer_anew();
                }
                Step::Fail(fault) => return Err(fault),
            }
        }
        Ok(self.undecided())
    }

    async fn ask(&mut self, iteration: u32, last: bool, deadline: Instant) -> Result<Turn, Error> {
        let terminal = self.offer.terminal.iter().map(|tool| &*tool.name);
        let terminal = last.then(|| terminal.collect::<Vec<_>>());
        let ask = Ask {
            user: self.user,
            conversation: &self.conversation,
            allowed: terminal.as_deref(),
            deadline,
        };
        let span = model_turn_span(iteration);
        self.model
            .generate(ask, &mut self.spent)
            .instrument(span)
            .await
    }

    /// A device may have come, gone, or been chosen since.
    fn offer_anew(&mut self) {
        let mut offer = self.calls.offer();
        offer.remember(&self.offer);
        for tool in &self.offer.terminal {
            // What was found stays found, though nobody may be left to search.
            if self.calls.has_succeeded_any(&tool.after_any) {
                offer.keep(tool);
            }
        }
        self.conversation.set_brief(&self.briefs.of(&offer));
        self.offer = Arc::new(offer);
    }

    /// If the model is out of order, and another one has the time for a call, that
    /// one is shown the frame as if nothing had been said: what a model says, with its
    /// signatures, makes sense to itself alone. So it searches again, if it wants to.
    fn begins_anew(&mut self, error: &Error) -> bool {
        let Some(fallback) = self.model.fallback().filter(|_| error.is_outage()) else {
            return false;
        };
        // What was changed would be changed again, by a model that knows nothing of it.
        if self.budget.has_changed() || self.budget.for_model().is_none() {
            return false;
        }
        tracing::info!(
            %error,
            model = self.model.name(),
            fallback = fallback.name(),
            "the frame is begun anew with the fallback model"
        );
        self.model = fallback;
        self.conversation.begin_anew();
        self.calls.begin_anew();
        self.spent.model_answered.clear();
        true
    }

    async fn step(&mut self, turn: &Turn, last: bool) -> Step {
        let offer = self.offer.clone();
        let asked: Vec<_> = turn.calls.iter().map(|call| asked(&offer, call)).collect();
        if asked.is_empty() {
            return Step::End(self.nothing("The model called no function."));
        }
        if asked.iter().all(|asked| matches!(asked, Asked::Unknown)) {
            return Step::End(self.nothing("The model called an unknown function."));
        }
        let calls_a_tool = asked.iter().any(|asked| matches!(asked, Asked::Tool(_)));
        let ends = asked
            .iter()
            .enumerate()
            .find_map(|(at, asked)| match asked {
                Asked::End(terminal, tool) => Some((at, *terminal, *tool)),
                Asked::Tool(_) | Asked::Withheld(_) | Asked::Unknown => None,
            });
        match ends {
            Some(end) if last || !calls_a_tool => self.judge(&turn.calls, &asked, end, last),
            // Other tools only, in the last turn.
            None if last => Step::End(self.undecided()),
            _ => self.carry_out(&offer, &turn.calls, &asked).await,
        }
    }

    /// Takes the first decision of a turn, or tells the model why not.
    fn judge(
        &self,
        calls: &[Call],
        asked: &[Asked<'_>],
        (at, terminal, tool): (usize, Terminal, &Tool),
        last: bool,
    ) -> Step {
        let arguments = Arguments(&calls[at].args);
        let decision = match terminal {
            Terminal::Reject => Decision::Reject {
                reason: reason(&arguments),
            },
            Terminal::Extract => match self.task(&arguments, tool) {
                Ok(task) => task,
                Err(why) if last => {
                    return Step::End(
                        self.nothing(format!("The model's task was not usable: {why}")),
                    );
                }
                Err(why) => return Step::Answer(refuse(calls, asked, at, why)),
            },
            Terminal::NoTask => Decision::NoTask {
                reason: self.unsearched(),
            },
        };
        let mut ending = Ending {
            decision,
            context_summary: arguments.sentence("context_summary"),
            current_activity: arguments.sentence("current_activity"),
        };
        if ending.context_summary.is_empty() {
            ending.context_summary = self.summary();
        }
        if ending.current_activity.is_empty() {
            ending.current_activity = self.activity();
        }
        Step::End(ending)
    }

    /// Why the model could propose no task, if it could not.
    fn unsearched(&self) -> String {
        let why = self.offer.barred().and_then(why_not);
        why.map_or_else(String::new, unsearchable)
    }

    fn task(&self, arguments: &Arguments<'_>, tool: &Tool) -> Result<Decision, &'static str> {
        if !self.calls.has_succeeded_any(&tool.after_any) {
            return Err(
                "No search of this screen has succeeded, so nothing is known of similar tasks. \
                 Search first; if that is not possible, do not propose a task.",
            );
        }
        let task = arguments.task(&self.frame.app);
        match title::flaw(&task.title) {
            Some(flaw) => Err(flaw),
            None => Ok(Decision::Extract(Box::new(task))),
        }
    }

    async fn carry_out(&mut self, offer: &Offer, calls: &[Call], asked: &[Asked<'_>]) -> Step {
        let started = Instant::now();
        if self.budget.for_tool(None) <= started {
            return Step::End(self.nothing("The frame's time was over before it could search."));
        }
        self.budget.begins_to_search(self.calls.stood_still());
        let answers = self.calls.carry_out(offer, calls, asked, self.budget).await;
        self.tool_time += started.elapsed();
        self.budget.has_searched(self.calls.stood_still());
        match answers {
            Ok(answers) => Step::Answer(answers),
            Err(Over::NoTask(reason)) => Step::End(self.nothing(reason)),
            Err(Over::GoingAway) => Step::Fail(going_away()),
        }
    }

    fn undecided(&self) -> Ending {
        let turns = self.budget.max_iterations();
        self.nothing(format!(
            "The model came to no decision within {turns} turns."
        ))
    }

    /// Ends the frame without the model's decision.
    fn nothing(&self, reason: impl Into<String>) -> Ending {
        Ending {
            decision: Decision::NoTask {
                reason: reason.into(),
            },
            context_summary: self.summary(),
            current_activity: self.activity(),
        }
    }

    fn app(&self) -> String {
        match for_people(&self.frame.app, Lines::One).trim() {
            "" => "an unnamed application".to_owned(),
            app => app.to_owned(),
        }
    }

    fn summary(&self) -> String {
        let app = self.app();
        match for_people(&self.frame.window, Lines::One).trim() {
            "" => format!("The screen shows {app}."),
            window => format!("The screen shows {app}: {window}."),
        }
    }

    fn activity(&self) -> String {
        format!("Using {}", self.app())
    }

    fn bill(&mut self) -> Bill {
        let spent = &mut self.spent;
        Bill {
            model_asked: self.model.name().to_owned(),
            model_answered: std::mem::take(&mut spent.model_answered),
            model_calls: spent.calls,
            usage: spent.usage,
            cost_micro_usd: spent.cost_micro_usd.round() as u64,
            model_time: spent.time,
            tool_time: self.tool_time,
            total_time: self.budget.since_accepted(),
        }
    }
}

fn asked<'o>(offer: &'o Offer, call: &Call) -> Asked<'o> {
    if let Some(place) = offer.place(&call.name) {
        return Asked::Tool(place);
    }
    let terminal = Terminal::named(&call.name).zip(offer.terminal(&call.name));
    if let Some((terminal, tool)) = terminal {
        return Asked::End(terminal, tool);
    }
    let why = offer.withheld(&call.name).and_then(why_not);
    why.map_or(Asked::Unknown, Asked::Withheld)
}

/// Answers the calls of a turn whose decision is not taken, for this reason.
fn refuse(calls: &[Call], asked: &[Asked<'_>], decision: usize, why: &str) -> Vec<Answer> {
    let answers = calls.iter().zip(asked).enumerate();
    let answers = answers.map(|(at, (call, asked))| match at == decision {
        true => Answer::error(call, why),
        false => Answer::error(call, &asked.refusal("Only one decision is taken per turn.")),
    });
    answers.collect()
}

fn reason(arguments: &Arguments<'_>) -> String {
    let reason = arguments.sentence("reason");
    if reason.is_empty() {
        "The model gave no reason.".to_owned()
    } else {
        reason
    }
}

fn fault(error: &Error) -> FrameFault {
    let code = match error {
        Error::RateLimited { .. } | Error::DailyQuota => FrameFaultCode::RateLimited,
        Error::Overloaded { .. } => FrameFaultCode::Overloaded,
        Error::Unavailable { .. }
        | Error::Connection
        | Error::Timeout
        | Error::NoToken
        | Error::Outage { .. }
        | Error::NoAccess
        | Error::Rejected { .. }
        | Error::Blocked { .. }
        | Error::Truncated
        | Error::Malformed { .. }
        | Error::Inconsistent => FrameFaultCode::GeminiError,
    };
    match error {
        Error::Inconsistent => tracing::error!(%error, "a frame got no decision from the model"),
        _ => tracing::warn!(%error, "a frame got no decision from the model"),
    }
    FrameFault::new(code, error.to_string(), error.retryable()).retry_after(error.retry_after())
}
