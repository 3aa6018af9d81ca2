//! Decides like a careful model, by simple rules: no request, no task; a
//! request is searched for before it becomes one.

use jiff::civil::Date;
use serde_json::{Value, json};

use super::dates;
use super::prompt::{Found, Prompt};
use super::screen::{self, Request};
use super::text::{content_words, likeness};
use super::title::{self, title};
use crate::domain::clip;
use crate::world::World;

/// A task found at least this much like the request is the same one.
const CLOSE: f64 = 0.6;
/// Longest search query, in words.
const QUERY_WORDS: usize = 8;

const SIMILAR: &str = "search_similar";
const KEYWORDS: &str = "search_keywords";
const RESOLVE: &str = "resolve_date";
const EXTRACT: &str = "extract_task";
const REJECT: &str = "reject_task";
const NO_TASK: &str = "no_task_found";

/// A call of one of the functions.
struct Step {
    name: &'static str,
    args: Value,
}

/// The answer to a request, without usage and ids.
pub(super) fn decide(request: &Value, world: &World) -> Value {
    let prompt = Prompt::read(request, world);
    let step = steps(&prompt)
        .into_iter()
        .find(|step| prompt.callable.contains(&step.name));
    let call = match (step, prompt.callable.first()) {
        (Some(step), _) => json!({"name": step.name, "args": step.args}),
        // Functions that the rules do not know.
        (None, Some(name)) => json!({"name": name, "args": {}}),
        (None, None) => return turn(json!({"text": "A stand-in decides by calling functions."})),
    };
    let mut call = call;
    call["id"] = world.uuid()[..8].into();
    turn(json!({"functionCall": call}))
}

fn turn(part: Value) -> Value {
    let content = json!({"role": "model", "parts": [part]});
    json!({"candidates": [{"index": 0, "content": content, "finishReason": "STOP"}]})
}

/// What to do, best first; the rest is for when that may not be called.
fn steps(prompt: &Prompt<'_>) -> Vec<Step> {
    let Some(request) = screen::request(prompt.screen) else {
        return vec![no_task(prompt, "It asks the user for nothing.")];
    };
    let vague = "It asks for something, but does not name what.";
    if !title::names_enough(&request) {
        return vec![no_task(prompt, vague)];
    }
    let found = prompt.found();
    let close = found.iter().find(|found| is_close(found, &request));
    if let Some(found) = close {
        return vec![
            reject(prompt, &request, found),
            no_task(prompt, "It asks for something that is already known."),
        ];
    }
    let searched = [SIMILAR, KEYWORDS]
        .iter()
        .any(|name| prompt.answers_of(name).any(|answer| !answer.failed()));
    let tried = |name| prompt.answers_of(name).next().is_some();
    let refusals = prompt.answers_of(EXTRACT).count();
    let mut steps = Vec::new();
    if !tried(SIMILAR) {
        steps.push(search(SIMILAR, &request));
    }
    if !tried(KEYWORDS) && found.is_empty() {
        steps.push(search(KEYWORDS, &request));
    }
    if let Some(phrase) = dates::phrase(&request.sentence, prompt.today)
        && prompt.callable.contains(&RESOLVE)
        && searched
        && !tried(RESOLVE)
    {
        steps.push(Step {
            name: RESOLVE,
            args: json!({ "phrase": phrase }),
        });
    }
    // One that was refused is worded anew once.
    if searched && refusals < 2 {
        steps.push(extract(prompt, &request, refusals > 0));
    }
    steps.push(no_task(
        prompt,
        match refusals {
            0 => "It asks for something, but the user's tasks could not be searched.",
            _ => vague,
        },
    ));
    steps
}

fn is_close(found: &Found<'_>, request: &Request) -> bool {
    found.similarity >= CLOSE || likeness(found.description, &request.action) >= CLOSE
}

fn search(name: &'static str, request: &Request) -> Step {
    let mut words = content_words(&request.action);
    words.truncate(QUERY_WORDS);
    Step {
        name,
        args: json!({"query": words.join(" ")}),
    }
}

fn no_task(prompt: &Prompt<'_>, why: &str) -> Step {
    Step {
        name: NO_TASK,
        args: json!({
            "context_summary": format!("{} {why}", place(prompt)),
            "current_activity": activity(prompt.app),
        }),
    }
}

fn reject(prompt: &Prompt<'_>, request: &Request, found: &Found<'_>) -> Step {
    let task = clip(found.description, 200);
    let status = found.status.to_lowercase();
    let reason = if status.contains("completed") {
        format!("Already done: the completed task \"{task}\" is the same.")
    } else if status.contains("deleted") {
        format!("The user deleted the task \"{task}\", which is the same.")
    } else {
        format!("Already tracked: the active task \"{task}\" is the same.")
    };
    Step {
        name: REJECT,
        args: json!({
            "reason": reason,
            "context_summary": summary(prompt, request),
            "current_activity": activity(prompt.app),
        }),
    }
}

fn extract(prompt: &Prompt<'_>, request: &Request, longer: bool) -> Step {
    let deadline = resolved(prompt);
    let deadline = deadline.or_else(|| dates::deadline(&request.sentence, prompt.today));
    let priority = priority(prompt.screen, &request.sentence, deadline, prompt.today);
    let mut description = clip(&request.sentence, 400).into_owned();
    if let Some(sender) = &request.sender {
        description = format!("{sender} wrote: {description}");
    }
    let (category, subcategory) = source(prompt, request);
    Step {
        name: EXTRACT,
        args: json!({
            "title": title(request, prompt.app, deadline, longer),
            "description": description,
            "priority": priority,
            "tags": tags(prompt, request),
            "source_app": prompt.app,
            "inferred_deadline": deadline.map(|date| date.to_string()).unwrap_or_default(),
            "confidence": if request.sender.is_some() { 0.9 } else { 0.75 },
            "source_category": category,
            "source_subcategory": subcategory,
            "relevance_score": match priority { "high" => 5, "medium" => 25, _ => 60 },
            "context_summary": summary(prompt, request),
            "current_activity": activity(prompt.app),
        }),
    }
}

/// The day that was worked out by whoever could.
fn resolved(prompt: &Prompt<'_>) -> Option<Date> {
    let mut answers = prompt.answers_of(RESOLVE);
    answers.find_map(|answer| {
        let date = answer.response.pointer("/output/result/date")?;
        date.as_str()?.parse().ok()
    })
}

fn priority(screen: &str, sentence: &str, deadline: Option<Date>, today: Date) -> &'static str {
    let says = |text: &str, words: &[&str]| {
        let text = text.to_lowercase();
        words.iter().any(|word| text.contains(word))
    };
    let near = deadline.is_some_and(|day| (day - today).get_days() <= 2);
    let urgent = [
        "urgent",
        "asap",
        "immediately",
        "right away",
        "critical",
        "blocker",
        "dringend",
    ];
    let idle = [
        "no rush",
        "whenever",
        "when you have time",
        "at some point",
        "eilt nicht",
    ];
    if near || says(sentence, &urgent) {
        "high"
    } else if says(screen, &idle) {
        "low"
    } else {
        "medium"
    }
}

/// source_category and source_subcategory.
fn source(prompt: &Prompt<'_>, request: &Request) -> (&'static str, &'static str) {
    let app = prompt.app.to_lowercase();
    let is = |names: &[&str]| names.iter().any(|name| app.contains(name));
    if request.reminder {
        ("direct_request", "reminder")
    } else if is(&["jira", "linear", "github", "gitlab", "asana", "trello"]) {
        ("external_system", "project_tool")
    } else if is(&["calendar", "kalender", "zoom", "meet"]) {
        ("direct_request", "meeting")
    } else {
        ("direct_request", "message")
    }
}

/// The application and the longest words of the request.
fn tags(prompt: &Prompt<'_>, request: &Request) -> Vec<String> {
    let mut words = content_words(&request.action);
    words.sort_by_key(|word| std::cmp::Reverse(word.chars().count()));
    words.truncate(3);
    let app = (!prompt.app.is_empty()).then_some(prompt.app);
    let tags = app.into_iter().chain(words);
    tags.map(str::to_lowercase).collect()
}

/// "Slack (general) is open."
fn place(prompt: &Prompt<'_>) -> String {
    match (prompt.app, prompt.window) {
        ("", "") => "A screen is open.".to_owned(),
        (app, "") => format!("{app} is open."),
        ("", window) => format!("A window ({}) is open.", clip(window, 80)),
        (app, window) => format!("{app} ({}) is open.", clip(window, 80)),
    }
}

fn summary(prompt: &Prompt<'_>, request: &Request) -> String {
    let who = request.sender.as_deref().unwrap_or("Somebody");
    let what = clip(&request.action, 160);
    format!("{} {who} asks the user to do this: {what}.", place(prompt))
}

fn activity(app: &str) -> String {
    let name = app.to_lowercase();
    let is = |names: &[&str]| names.iter().any(|known| name.contains(known));
    if app.is_empty() {
        "Looking at the screen".to_owned()
    } else if is(&[
        "slack", "teams", "mail", "outlook", "messages", "discord", "whatsapp",
    ]) {
        format!("Reading messages in {app}")
    } else if is(&["code", "vim", "emacs", "xcode", "idea", "terminal"]) {
        format!("Writing code in {app}")
    } else if is(&["chrome", "firefox", "safari", "edge"]) {
        format!("Browsing in {app}")
    } else {
        format!("Working in {app}")
    }
}

#[cfg(test)]
mod tests;
