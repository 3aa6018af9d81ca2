//! The searches of one frame: checked, sent to the desktop, and remembered.
//!
//! A model that asks the same again would learn nothing new, so it is answered
//! from memory and told so; a third time ends the frame. Two queries are the
//! same if they differ in case or white space only, for no search of words or
//! meanings tells those apart. A search that failed was not answered: it is
//! forgotten after its turn, and may be asked again.

use std::time::Duration;

use futures::future::join_all;
use serde::Serialize;
use tokio::time::Instant;

use crate::analysis::decision::Arguments;
use crate::analysis::functions::Function;
use crate::analysis::neutral::{Lines, for_model};
use crate::domain::{Hit, MatchType, SearchKind, TaskStatus, clip};
use crate::gemini::{Answer, Call};
use crate::telemetry::Metrics;
use crate::tools::{Desk, Miss};

/// Searches of one turn that go to the desktop; further ones are refused.
const PER_TURN: usize = 4;
const QUERY_CHARS: usize = 512;
/// Results of one search that the model is shown.
const HITS: usize = 20;
const HIT_CHARS: usize = 300;
const REASON_CHARS: usize = 200;

const AGAIN: &str = "You have made this search before, and this is what it found then. Do not \
                     make it again: a third time ends the analysis of this screen without a task.";

/// The searches of one frame. At most [`PER_TURN`] of each turn are kept.
pub(in crate::analysis) struct Searches<'a> {
    desk: &'a Desk,
    metrics: &'a Metrics,
    made: Vec<Made>,
}

/// A search that was made.
struct Made {
    kind: SearchKind,
    /// As [`same`] makes it.
    query: String,
    /// How often the model asked for it.
    times: u32,
    /// `None` while the desktop is being asked; else what it found, or what the
    /// model is told of its failure.
    answer: Option<Result<Found, String>>,
}

/// Why the searches of a turn end the frame.
pub(super) enum Over {
    /// There is no task, for this reason.
    NoTask(String),
    /// The server is leaving, and nobody is left to ask.
    GoingAway,
}

/// What becomes of one call of a turn.
enum Plan {
    /// Told to the model as an error.
    Refused(&'static str),
    /// Answered by this search in `made`.
    Search { at: usize, again: bool },
}

impl<'a> Searches<'a> {
    /// None made yet.
    pub(in crate::analysis) fn new(desk: &'a Desk, metrics: &'a Metrics) -> Self {
        let made = Vec::new();
        Self {
            desk,
            metrics,
            made,
        }
    }

    /// How long time has stood still by now for whoever searches.
    pub(super) fn stood_still(&self) -> Duration {
        self.desk.stood_still()
    }

    /// Another model is asked, which knows of none.
    pub(super) fn begin_anew(&mut self) {
        self.made.clear();
    }

    /// Whether one was answered, so that something is known of similar tasks.
    pub(super) fn have_succeeded(&self) -> bool {
        !self.made.is_empty()
    }

    /// Carries out the searches of a turn, all at once, and answers all its
    /// calls.
    ///
    /// # Errors
    /// Why the frame ends.
    pub(super) async fn carry_out(
        &mut self,
        calls: &[Call],
        asked: &[Option<Function>],
        deadline: Instant,
    ) -> Result<Vec<Answer>, Over> {
        let mut queries = Vec::new();
        let mut plans = Vec::with_capacity(calls.len());
        for (call, function) in calls.iter().zip(asked) {
            plans.push(match function {
                Some(Function::Search(kind)) => {
                    self.plan(call, *kind, &mut queries).map_err(Over::NoTask)?
                }
                Some(_) => {
                    Plan::Refused("Decide after you have seen the results of your searches.")
                }
                None => Plan::Refused("There is no such function."),
            });
        }
        let desk = self.desk;
        let ask = |(kind, query)| async move { (kind, desk.search(kind, query, deadline).await) };
        let results = join_all(queries.into_iter().map(ask)).await;
        // Those that were asked now are the last ones, in the same order.
        let first = self.made.len() - results.len();
        for (made, (kind, result)) in self.made[first..].iter_mut().zip(results) {
            made.answer = Some(answer(kind, result)?);
        }
        let calls = calls.iter().zip(plans);
        let answers = calls.map(|(call, plan)| self.tell(call, plan)).collect();
        self.made.retain(|made| matches!(made.answer, Some(Ok(_))));
        Ok(answers)
    }

    fn plan(
        &mut self,
        call: &Call,
        kind: SearchKind,
        queries: &mut Vec<(SearchKind, String)>,
    ) -> Result<Plan, String> {
        let query = Arguments(&call.args).text("query", QUERY_CHARS);
        if query.is_empty() {
            return Ok(Plan::Refused("The query is empty."));
        }
        let same = same(&query);
        let known = |made: &Made| made.kind == kind && made.query == same;
        if let Some(at) = self.made.iter().position(known) {
            let made = &mut self.made[at];
            made.times += 1;
            return match made.times {
                ..=2 => Ok(Plan::Search { at, again: true }),
                _ => Err(format!(
                    "The model asked for the same {} a third time.",
                    kind.function_name()
                )),
            };
        }
        if queries.len() == PER_TURN {
            return Ok(Plan::Refused(
                "Too many searches in one turn; at most four.",
            ));
        }
        queries.push((kind, query));
        self.made.push(Made {
            kind,
            query: same,
            times: 1,
            answer: None,
        });
        Ok(Plan::Search {
            at: self.made.len() - 1,
            again: false,
        })
    }

    fn tell(&self, call: &Call, plan: Plan) -> Answer {
        let (at, again) = match plan {
            Plan::Refused(why) => return Answer::error(call, why),
            Plan::Search { at, again } => (at, again),
        };
        let answer = self.made[at].answer.as_ref();
        match answer.expect("what was asked has been answered") {
            Ok(found) => {
                if again {
                    self.metrics.search_repeated();
                }
                Answer::output(call, found.shown(again))
            }
            Err(told) => Answer::error(call, told),
        }
    }
}

/// What two queries that ask the same have in common.
fn same(query: &str) -> String {
    let words: Vec<_> = query.split_whitespace().map(str::to_lowercase).collect();
    words.join(" ")
}

/// What a search found, or what the model is told of its failure; or why the frame
/// ends.
fn answer(kind: SearchKind, result: Result<Vec<Hit>, Miss>) -> Result<Result<Found, String>, Over> {
    let name = kind.function_name();
    let reason = match result {
        Ok(hits) => return Ok(Ok(Found::new(&hits))),
        Err(Miss::Failed(why)) => {
            let why = clip(&why, REASON_CHARS);
            let why = for_model(&why, Lines::One);
            return Ok(Err(format!(
                "The search failed, so nothing is known of similar tasks: {why}"
            )));
        }
        Err(Miss::GoingAway) => return Err(Over::GoingAway),
        Err(Miss::TimedOut) => format!("The desktop did not answer {name} before its deadline."),
        Err(Miss::NoDesktop) => format!(
            "None of the user's desktops was connected in time, so nobody could answer {name}."
        ),
        Err(Miss::Gone) => {
            format!("The client closed its side of the stream, so nobody could answer {name}.")
        }
    };
    Err(Over::NoTask(reason))
}

/// Search results as they are remembered.
struct Found {
    count: usize,
    results: Vec<ShownHit>,
}

/// Search results as the model sees them.
#[derive(Serialize)]
struct Shown<'a> {
    count: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
    results: &'a [ShownHit],
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

impl Found {
    fn new(hits: &[Hit]) -> Self {
        Self {
            count: hits.len(),
            results: hits.iter().take(HITS).map(hit).collect(),
        }
    }

    fn shown(&self, again: bool) -> Shown<'_> {
        let mut notes = Vec::new();
        if again {
            notes.push(AGAIN.to_owned());
        }
        if self.count == 0 {
            notes.push("Nothing similar was found among the user's tasks.".to_owned());
        }
        if self.count > HITS {
            notes.push(format!("The {HITS} best are shown."));
        }
        Shown {
            count: self.count,
            note: (!notes.is_empty()).then(|| notes.join(" ")),
            results: &self.results,
        }
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
        description: for_model(&clip(&hit.description, HIT_CHARS), Lines::One).into_owned(),
        match_type,
        score: hit.score,
        similarity: (hit.similarity * 1000.0).round() / 1000.0,
        status,
        task_id: hit.task_id,
    }
}
