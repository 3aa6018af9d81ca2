//! The calls of one frame: checked, sent to whoever executes them, and remembered.
//!
//! A model that asks the same again would learn nothing new, so it is answered
//! from memory and told so; a third time ends the frame. Two queries are the
//! same if they differ in case or white space only, for no search of words or
//! meanings tells those apart. A call that failed was not answered: it is
//! forgotten after its turn, and may be made again. What changes something is made once
//! for a frame, whichever model asks: also if it may have run.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use serde_json::{Map, Value};

use super::Asked;
use crate::analysis::budget::Budget;
use crate::analysis::neutral::{Lines, for_people};
use crate::analysis::shown::Shown;
use crate::domain::{CallFault, CallFaultCode, Ran, clip};
use crate::gemini::{Answer, Call};
use crate::telemetry::Metrics;
use crate::tools::catalogue::Assistant;
use crate::tools::{Desk, Offer, Output, Place, Tool};

/// Calls of one turn that are carried out; further ones are refused.
const PER_TURN: usize = 4;
/// A text among the arguments has so many characters, if its tool does not say less.
const TEXT_CHARS: usize = 4_000;
/// All arguments of a call, as JSON.
const ARGUMENTS: usize = 16 << 10;
const REASON_CHARS: usize = 200;

/// The calls of one frame. At most [`PER_TURN`] of each turn are kept.
pub(in crate::analysis) struct Calls<'a> {
    desk: &'a Desk,
    metrics: &'a Metrics,
    made: Vec<Made>,
    /// The tools that change something, and what they were asked: those that ran, or may
    /// have. For all models.
    changes: Vec<(Arc<str>, String)>,
}

/// A call that was made.
struct Made {
    tool: Arc<str>,
    /// What was asked, as [`same`] makes it.
    asked: String,
    /// How often the model asked for it.
    times: u32,
    /// `None` while it is carried out; else what came of it, or what the model is told
    /// of its failure.
    answer: Option<Result<Shown, String>>,
}

/// Why the calls of a turn end the frame.
pub(super) enum Over {
    /// There is no task, for this reason.
    NoTask(String),
    /// The server is leaving, and nobody is left to ask.
    GoingAway,
}

/// What becomes of one call of a turn.
enum Plan {
    /// Told to the model as an error.
    Refused(Cow<'static, str>),
    /// Answered by this one in `made`.
    Made { at: usize, again: bool },
}

/// A call to be carried out now.
struct Asking<'o> {
    place: &'o Place,
    /// Whether a terminal tool depends on it.
    is_needed: bool,
    arguments: Arc<Map<String, Value>>,
}

impl<'a> Calls<'a> {
    /// None made yet.
    pub(in crate::analysis) fn new(desk: &'a Desk, metrics: &'a Metrics) -> Self {
        let made = Vec::new();
        Self {
            desk,
            metrics,
            made,
            changes: Vec::new(),
        }
    }

    /// What the model may call now.
    pub(in crate::analysis) fn offer(&self) -> Offer {
        self.desk.offer(Assistant::Task)
    }

    /// How long time has stood still by now for whoever calls.
    pub(super) fn stood_still(&self) -> Duration {
        self.desk.stood_still()
    }

    /// Another model is asked, which knows of none.
    pub(super) fn begin_anew(&mut self) {
        self.made.clear();
    }

    /// Whether one of these tools has answered.
    pub(super) fn has_succeeded_any(&self, tools: &[Arc<str>]) -> bool {
        self.made.iter().any(|made| tools.contains(&made.tool))
    }

    /// Carries out the calls of a turn, all at once, and answers all of them.
    ///
    /// # Errors
    /// Why the frame ends.
    pub(super) async fn carry_out(
        &mut self,
        offer: &Offer,
        calls: &[Call],
        asked: &[Asked<'_>],
        budget: &Budget,
    ) -> Result<Vec<Answer>, Over> {
        let mut now = Vec::new();
        let mut plans = Vec::with_capacity(calls.len());
        for (call, asked) in calls.iter().zip(asked) {
            plans.push(match asked {
                Asked::Tool(place) => {
                    let is_needed = offer.is_needed(&place.tool);
                    self.plan(call, place, is_needed, &mut now)
                        .map_err(Over::NoTask)?
                }
                other => Plan::Refused(
                    other.refusal("Decide after you have seen the results of your searches."),
                ),
            });
        }
        let desk = self.desk;
        let asking = now.iter().map(async |asking| {
            let tool = &asking.place.tool;
            let deadline = budget.for_tool(tool.deadline);
            let latest = budget
                .for_tool(tool.longest.or(tool.deadline))
                .max(deadline);
            desk.call(asking.place, &asking.arguments, deadline, latest)
                .await
        });
        budget.changes(!self.changes.is_empty());
        let results = join_all(asking).await;
        // Those that were made now are the last ones, in the same order.
        let first = self.made.len() - results.len();
        for (made, result) in self.made[first..].iter().zip(&results) {
            if matches!(result, Err(fault) if fault.ran == Ran::Never) {
                let was = |(tool, asked): &(_, _)| (tool, asked) == (&made.tool, &made.asked);
                self.changes.retain(|change| !was(change));
            }
        }
        budget.changes(!self.changes.is_empty());
        let results = now.iter().zip(results);
        for (made, (asking, result)) in self.made[first..].iter_mut().zip(results) {
            made.answer = Some(answer(asking.is_needed, result)?);
        }
        let calls = calls.iter().zip(plans);
        let answers = calls.map(|(call, plan)| self.tell(call, plan)).collect();
        self.made.retain(|made| matches!(made.answer, Some(Ok(_))));
        Ok(answers)
    }

    fn plan<'o>(
        &mut self,
        call: &Call,
        place: &'o Place,
        is_needed: bool,
        now: &mut Vec<Asking<'o>>,
    ) -> Result<Plan, String> {
        let tool = &place.tool;
        let arguments = match arguments(&call.args, tool, is_needed) {
            Ok(arguments) => arguments,
            Err(flaw) => return Ok(Plan::Refused(flaw.into())),
        };
        let asked = same(&arguments, is_needed);
        let known = |made: &Made| made.tool == tool.name && made.asked == asked;
        let change = (tool.name.clone(), asked.clone());
        if tool.changes_device && self.changes.contains(&change) {
            return Ok(Plan::Refused(
                "This has been done, or may have been; it is not done again.".into(),
            ));
        }
        if !tool.changes_device
            && let Some(at) = self.made.iter().position(known)
        {
            let made = &mut self.made[at];
            made.times += 1;
            return match made.times {
                ..=2 => Ok(Plan::Made { at, again: true }),
                _ => Err(format!(
                    "The model asked for the same {} a third time.",
                    tool.name
                )),
            };
        }
        if now.len() == PER_TURN {
            return Ok(Plan::Refused(
                "Too many calls in one turn; at most four.".into(),
            ));
        }
        if tool.changes_device {
            self.changes.push(change);
        }
        now.push(Asking {
            place,
            is_needed,
            arguments: Arc::new(arguments),
        });
        self.made.push(Made {
            tool: tool.name.clone(),
            asked,
            times: 1,
            answer: None,
        });
        Ok(Plan::Made {
            at: self.made.len() - 1,
            again: false,
        })
    }

    fn tell(&self, call: &Call, plan: Plan) -> Answer {
        let (at, again) = match plan {
            Plan::Refused(why) => return Answer::error(call, &why),
            Plan::Made { at, again } => (at, again),
        };
        let answer = self.made[at].answer.as_ref();
        match answer.expect("what was asked has been answered") {
            Ok(shown) => {
                if again {
                    self.metrics.search_repeated();
                }
                Answer::output(call, shown.told(again))
            }
            Err(told) => Answer::error(call, told),
        }
    }
}

/// The arguments as they leave: of those that the tool declares, texts without what
/// cannot be seen and no longer than they may be, and all that they fit its schema.
fn arguments(
    said: &Map<String, Value>,
    tool: &Tool,
    one_line: bool,
) -> Result<Map<String, Value>, String> {
    let declared = &tool.schema.declared()["properties"];
    let mut arguments = Map::new();
    for (name, value) in said {
        let property = &declared[name.as_str()];
        if property.is_null() {
            continue;
        }
        let most = property["maxLength"]
            .as_u64()
            .map_or(TEXT_CHARS, |most| most as usize);
        let lines = if one_line { Lines::One } else { Lines::Kept };
        let value = match value {
            // A number is as good a text as any.
            Value::Number(_) | Value::Bool(_) if property["type"] == "STRING" => {
                value.to_string().into()
            }
            value => value.clone(),
        };
        arguments.insert(name.clone(), visible(value, most, lines));
    }
    tool.schema.check(&arguments)?;
    match serde_json::to_string(&arguments) {
        Ok(text) if text.len() <= ARGUMENTS => Ok(arguments),
        _ => Err(format!("The arguments are longer than {ARGUMENTS} bytes.")),
    }
}

fn visible(value: Value, most: usize, lines: Lines) -> Value {
    match value {
        Value::String(text) => {
            let text = clip(text.trim(), most);
            for_people(&text, lines).trim().into()
        }
        Value::Array(items) => {
            let items = items.into_iter().map(|it| visible(it, most, lines));
            items.collect()
        }
        Value::Object(fields) => {
            let fields = fields.into_iter();
            let fields = fields.map(|(name, it)| (name, visible(it, most, lines)));
            Value::Object(fields.collect())
        }
        value => value,
    }
}

/// What two calls that ask the same have in common.
fn same(arguments: &Map<String, Value>, is_search: bool) -> String {
    let text = serde_json::to_string(arguments).unwrap_or_default();
    if !is_search {
        return text;
    }
    let words: Vec<_> = text.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ")
}

/// What came of a call, or what the model is told of its failure; or why the frame
/// ends: without what a task depends on, none can be proposed.
fn answer(
    is_needed: bool,
    result: Result<Output, CallFault>,
) -> Result<Result<Shown, String>, Over> {
    let fault = match result {
        Ok(output) => return Ok(Ok(Shown::new(output))),
        Err(fault) => fault,
    };
    match (is_needed, fault.code) {
        (true, CallFaultCode::GoingAway) => Err(Over::GoingAway),
        (true, CallFaultCode::Timeout | CallFaultCode::Unavailable) => {
            Err(Over::NoTask(fault.message))
        }
        _ => Ok(Err(told(is_needed, &fault))),
    }
}

/// What the model is told of a failure: also whether it may have run (D10).
fn told(is_needed: bool, fault: &CallFault) -> String {
    let why = Shown::line(&clip(&fault.message, REASON_CHARS));
    if is_needed {
        return format!("The search failed, so nothing is known of similar tasks: {why}");
    }
    match fault.ran {
        Ran::Never => format!("It did not run, and may be called again: {why}"),
        Ran::Maybe => format!("It may have run; do not call it again: {why}"),
    }
}
