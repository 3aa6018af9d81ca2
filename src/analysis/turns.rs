//! The loop: ask the model, answer its searches, take its decision.
//!
//! A turn may hold several calls, and all are answered in the next. Searches
//! come first: if a turn searches and decides at once, its decision was made
//! without the results, so the model is shown them and decides again. In the
//! last turn only a decision is allowed, and a search in it is ignored.

use std::time::Duration;

use futures::future::join_all;
use serde::Serialize;
use tokio::time::Instant;
use tracing::Instrument;

use super::budget::Budget;
use super::decision::Arguments;
use super::functions::{Function, TERMINAL};
use super::prompt::{Lines, neutral};
use super::{out_of_time, title};
use crate::domain::{
    Bill, Decision, Frame, FrameFault, FrameFaultCode, Hit, MatchType, Outcome, SearchKind,
    TaskStatus, Uid, clip,
};
use crate::gemini::{Answer, Ask, Call, Conversation, Error, Model, Spent, Turn};
use crate::telemetry::model_turn_span;
use crate::tools::{Desk, Miss};

/// Searches of one turn that go to the desktop; further ones are refused.
const SEARCHES_PER_TURN: usize = 4;
const QUERY_CHARS: usize = 512;
/// Results of one search that the model is shown.
const HITS: usize = 20;
const HIT_CHARS: usize = 300;
const REASON_CHARS: usize = 200;

/// One frame's loop.
pub(super) struct Deliberation<'a> {
    model: &'a dyn Model,
    desk: &'a Desk,
    user: &'a Uid,
    budget: &'a Budget,
    conversation: Conversation,
    frame: &'a Frame,
    spent: Spent,
    tool_time: Duration,
    /// A search of this frame succeeded, so a task may be proposed.
    searched: bool,
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
}

impl<'a> Deliberation<'a> {
    pub(super) fn new(
        model: &'a dyn Model,
        desk: &'a Desk,
        user: &'a Uid,
        budget: &'a Budget,
        conversation: Conversation,
        frame: &'a Frame,
    ) -> Self {
        Self {
            model,
            desk,
            user,
            budget,
            conversation,
            frame,
            spent: Spent::default(),
            tool_time: Duration::ZERO,
            searched: false,
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
                Step::Answer(answers) => self.conversation.answer(&turn, &answers),
            }
        }
        Ok(self.undecided())
    }

    async fn ask(&mut self, iteration: u32, last: bool, deadline: Instant) -> Result<Turn, Error> {
        let ask = Ask {
            user: self.user,
            conversation: &self.conversation,
            allowed: last.then_some(&TERMINAL),
            deadline,
        };
        let span = model_turn_span(iteration);
        self.model
            .generate(ask, &mut self.spent)
            .instrument(span)
            .await
    }

    /// If the model is out of order, and another one has the time for a call, that
    /// one is shown the frame as if nothing had been said: what a model says, with its
    /// signatures, makes sense to itself alone. So it searches again, if it wants to.
    fn begins_anew(&mut self, error: &Error) -> bool {
        let Some(fallback) = self.model.fallback().filter(|_| error.is_outage()) else {
            return false;
        };
        if self.budget.for_model().is_none() {
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
        self.searched = false;
        self.spent.model_answered.clear();
        true
    }

    async fn step(&mut self, turn: &Turn, last: bool) -> Step {
        let asked: Vec<_> = turn
            .calls
            .iter()
            .map(|call| Function::named(&call.name))
            .collect();
        if asked.is_empty() {
            return Step::End(self.nothing("The model called no function."));
        }
        if asked.iter().all(Option::is_none) {
            return Step::End(self.nothing("The model called an unknown function."));
        }
        let searching = asked
            .iter()
            .any(|function| matches!(function, Some(Function::Search(_))));
        if searching && !last {
            return self.search(&turn.calls, &asked).await;
        }
        let decisive = |function: &Option<Function>| {
            function.is_some_and(|function| !matches!(function, Function::Search(_)))
        };
        match asked.iter().position(decisive) {
            Some(at) => self.judge(&turn.calls, &asked, at, last),
            // Searches only, in the last turn.
            None => Step::End(self.undecided()),
        }
    }

    /// Takes the first decision of a turn, or tells the model why not.
    fn judge(&self, calls: &[Call], asked: &[Option<Function>], at: usize, last: bool) -> Step {
        let arguments = Arguments(&calls[at].args);
        let decision = match asked[at] {
            Some(Function::Reject) => Decision::Reject {
                reason: reason(&arguments),
            },
            Some(Function::Extract) => match self.task(&arguments) {
                Ok(task) => task,
                Err(why) if last => {
                    return Step::End(
                        self.nothing(format!("The model's task was not usable: {why}")),
                    );
                }
                Err(why) => return Step::Answer(self.refuse(calls, at, why)),
            },
            _ => Decision::NoTask {
                reason: String::new(),
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

    fn task(&self, arguments: &Arguments<'_>) -> Result<Decision, &'static str> {
        if !self.searched {
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

    fn refuse(&self, calls: &[Call], at: usize, why: &str) -> Vec<Answer> {
        let answer = |(i, call): (usize, &Call)| {
            Answer::error(
                call,
                if i == at {
                    why
                } else {
                    "Only one decision is taken per turn."
                },
            )
        };
        calls.iter().enumerate().map(answer).collect()
    }

    /// Carries out the searches of a turn, all at once.
    async fn search(&mut self, calls: &[Call], asked: &[Option<Function>]) -> Step {
        let started = Instant::now();
        let deadline = self.budget.for_search();
        if deadline <= started {
            return Step::End(self.nothing("The frame's time was over before it could search."));
        }
        let mut searches = 0;
        let results = calls.iter().zip(asked).map(|(call, function)| {
            let kind = match function {
                Some(Function::Search(kind)) => Ok(*kind),
                Some(_) => Err("Decide after you have seen the results of your searches."),
                None => Err("There is no such function."),
            };
            let kind = kind.and_then(|kind| {
                searches += 1;
                let within = searches <= SEARCHES_PER_TURN;
                within
                    .then_some(kind)
                    .ok_or("Too many searches in one turn; at most four.")
            });
            self.answer(call, kind, deadline)
        });
        let results = join_all(results).await;
        self.tool_time += started.elapsed();
        self.budget
            .give_back(Instant::now().saturating_duration_since(deadline));
        let mut answers = Vec::with_capacity(results.len());
        for result in results {
            match result {
                Ok((answer, found)) => {
                    self.searched |= found;
                    answers.push(answer);
                }
                Err(reason) => return Step::End(self.nothing(reason)),
            }
        }
        Step::Answer(answers)
    }

    /// The answer to one call, and whether it is a search that succeeded; or
    /// the reason why the frame ends.
    async fn answer(
        &self,
        call: &Call,
        kind: Result<SearchKind, &'static str>,
        deadline: Instant,
    ) -> Result<(Answer, bool), String> {
        let kind = match kind {
            Ok(kind) => kind,
            Err(why) => return Ok((Answer::error(call, why), false)),
        };
        let query = Arguments(&call.args).text("query", QUERY_CHARS);
        let query = neutral(&query, Lines::One).trim().to_owned();
        if query.is_empty() {
            return Ok((Answer::error(call, "The query is empty."), false));
        }
        let name = kind.function_name();
        match self.desk.search(kind, query, deadline).await {
            Ok(hits) => Ok((Answer::output(call, shown(&hits)), true)),
            Err(Miss::Failed(why)) => {
                let why = clip(&why, REASON_CHARS);
                let why = neutral(&why, Lines::One);
                let told =
                    format!("The search failed, so nothing is known of similar tasks: {why}");
                Ok((Answer::error(call, &told), false))
            }
            Err(Miss::TimedOut) => Err(format!(
                "The desktop did not answer {name} before its deadline."
            )),
            Err(Miss::Gone) => Err(format!(
                "The client closed its side of the stream, so nobody could answer {name}."
            )),
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

    fn app(&self) -> &str {
        match self.frame.app.as_str() {
            "" => "an unnamed application",
            app => app,
        }
    }

    fn summary(&self) -> String {
        match self.frame.window.as_str() {
            "" => format!("The screen shows {}.", self.app()),
            window => format!("The screen shows {}: {window}.", self.app()),
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

fn reason(arguments: &Arguments<'_>) -> String {
    let reason = arguments.sentence("reason");
    if reason.is_empty() {
        "The model gave no reason.".to_owned()
    } else {
        reason
    }
}

/// Search results as the model sees them.
#[derive(Serialize)]
struct Shown {
    count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    results: Vec<ShownHit>,
}

#[derive(Serialize)]
struct ShownHit {
    description: String,
    match_type: &'static str,
    score: Option<i32>,
    similarity: f64,
    status: &'static str,
    task_id: i64,
}

fn shown(hits: &[Hit]) -> Shown {
    let note = if hits.is_empty() {
        Some("Nothing similar was found among the user's tasks.".to_owned())
    } else {
        (hits.len() > HITS).then(|| format!("The {HITS} best are shown."))
    };
    Shown {
        count: hits.len(),
        note,
        results: hits.iter().take(HITS).map(hit).collect(),
    }
}

fn hit(hit: &Hit) -> ShownHit {
    let status = match hit.status {
        Some(TaskStatus::Active) => "active",
        Some(TaskStatus::Completed) => "completed",
        Some(TaskStatus::Deleted) => "deleted",
        None => "unknown",
    };
    let match_type = match hit.match_type {
        Some(MatchType::Vector) => "meaning",
        Some(MatchType::FullText) => "words",
        Some(MatchType::Both) => "meaning and words",
        None => "unknown",
    };
    ShownHit {
        description: neutral(&clip(&hit.description, HIT_CHARS), Lines::One).into_owned(),
        match_type,
        score: hit.score,
        similarity: (hit.similarity * 1000.0).round() / 1000.0,
        status,
        task_id: hit.task_id,
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
