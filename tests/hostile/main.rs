//! Screens that try to command the model or the server, and what becomes of
//! them: `screens/` holds each trick as a file, and beside it what the model and
//! the desktop were told, written anew by `UPDATE=1 cargo test --test hostile`.
//! Here stands what must be true of all of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod characters;
mod corpus;
mod shown;
mod snapshots;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeSet;
use std::fs;

use proactive::transport::proto::OutcomeKind;
use serde_json::Value;

use characters::{flaw, flaw_of, is_mark};
use corpus::{folder, screens};
use shown::{SHOWN, Shown};

/// Our two marks, and everything that may be taken for them.
const MARKS: &str = "⟦⟧〚〛⟬⟭⁅⁆⦋⦌⦍⦎⦏⦐〖〗〘〙［］︗︘﹇﹈";

/// The fences of a prompt about the user, and of one about a frame.
const OF_THE_USER: [&str; 4] = ["active_tasks", "completed_tasks", "deleted_tasks", "goals"];
const OF_THE_FRAME: [&str; 3] = ["app", "window", "screen_text"];

/// All screens of which this says what is wrong, with what it says.
fn wrong(judge: impl Fn(&Shown) -> Option<String>) -> Vec<String> {
    let wrong = SHOWN.iter().filter_map(|shown| {
        let why = judge(shown)?;
        Some(format!("{}: {why}", shown.screen.name))
    });
    wrong.collect()
}

/// What is wrong holds for no screen.
#[track_caller]
fn none(judge: impl Fn(&Shown) -> Option<String>) {
    let wrong = wrong(judge);
    assert!(
        wrong.is_empty(),
        "{} screens:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// What stands in each fence, and what is left without it; or why that cannot
/// be told.
fn taken_apart<'a>(text: &'a str, fences: &[&str]) -> Result<(Vec<&'a str>, String), String> {
    let mut inside = Vec::new();
    let mut left = String::new();
    let mut rest = text;
    for name in fences {
        let (open, close) = (format!("⟦{name}⟧"), format!("⟦/{name}⟧"));
        let (before, after) = rest.split_once(&open).ok_or(format!("no {open}"))?;
        let (data, after) = after.split_once(&close).ok_or(format!("no {close}"))?;
        left.extend([before, &open, &close]);
        inside.push(data);
        rest = after;
    }
    left.push_str(rest);
    match left.chars().filter(|c| MARKS.contains(*c)).count() == 4 * fences.len() {
        true => Ok((inside, left)),
        false => Err(format!("a mark outside of the fences: {left}")),
    }
}

/// Every text of a JSON value, keys included.
fn texts<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => {
            for (name, field) in fields {
                found.push(name);
                texts(field, found);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn there_are_many_screens_and_each_says_what_it_tries() {
    let screens = screens();
    assert!(screens.len() >= 60, "only {}", screens.len());
    let tricks: BTreeSet<_> = screens.iter().map(|screen| &screen.trick).collect();
    assert_eq!(tricks.len(), screens.len(), "a trick is told twice");
    for screen in &screens {
        assert!(screen.trick.ends_with('.'), "{}", screen.name);
    }
}

#[test]
fn a_screens_file_shows_what_is_in_it() {
    for screen in screens() {
        let file = fs::read_to_string(folder().join(format!("{}.json", screen.name))).unwrap();
        let spoken = screen.name.starts_with("languages/");
        let hidden = |c: &char| flaw(*c).is_some() || (is_mark(*c) && !spoken);
        let hidden = file.chars().find(hidden);
        assert_eq!(hidden, None, "{}: write it as \\u", screen.name);
    }
}

#[test]
fn a10_no_fence_is_closed_or_opened_from_inside() {
    none(|shown| {
        let user = taken_apart(shown.about_user(), &OF_THE_USER);
        let frame = taken_apart(shown.about_frame(), &OF_THE_FRAME);
        let inside = match (user, frame) {
            (Ok((user, _)), Ok((frame, _))) => [user, frame].concat(),
            (Err(why), _) | (_, Err(why)) => return Some(why),
        };
        let open = inside
            .iter()
            .find(|data| data.contains(|c| MARKS.contains(c)));
        let touched = inside.iter().find(|data| data.starts_with(is_mark));
        match (open, touched) {
            (Some(_), _) => Some("a mark inside of a fence".to_owned()),
            (_, Some(_)) => Some("a combining mark on our own mark".to_owned()),
            (None, None) => None,
        }
    });
}

#[test]
fn what_stands_outside_of_the_fences_is_the_same_whatever_the_screen_says() {
    let outside = |shown: &Shown| {
        let user = taken_apart(shown.about_user(), &OF_THE_USER).unwrap().1;
        let counted = user
            .lines()
            .filter(|line| !line.ends_with("a search finds them.)"));
        let user = counted.collect::<Vec<_>>().join("\n");
        (
            user,
            taken_apart(shown.about_frame(), &OF_THE_FRAME).unwrap().1,
        )
    };
    let (user, frame) = outside(&SHOWN[0]);
    let expected = "Today is Saturday, 2026-11-21 (UTC; if the screen shows the user's own date, \
                    that one counts).\nThe screen, as the desktop describes it:\n⟦app⟧⟦/app⟧\n\
                    ⟦window⟧⟦/window⟧\n⟦screen_text⟧⟦/screen_text⟧\nDecide about this screen: \
                    call a function.";
    assert_eq!(frame, expected);
    none(|shown| (outside(shown) != (user.clone(), frame.clone())).then(|| "differs".to_owned()));
}

#[test]
fn a10_each_entry_of_a_list_is_one_line_and_so_are_app_and_title() {
    none(|shown| {
        let (lists, _) = taken_apart(shown.about_user(), &OF_THE_USER).unwrap();
        let context = shown.screen.context();
        let counts = [
            context.active_tasks.len().min(100),
            context.completed_tasks.len().min(50),
            context.deleted_tasks.len().min(50),
            context.goals.len().min(20),
        ];
        for (list, count) in lists.iter().zip(counts) {
            let lines: Vec<_> = list.trim_matches('\n').lines().collect();
            let entries = lines.iter().filter(|line| line.starts_with("- ")).count();
            let empty = count == 0 && lines == ["(none)"];
            if !empty && (entries, lines.len()) != (count, count) {
                return Some(format!("{count} entries in\n{list}"));
            }
        }
        let (frame, _) = taken_apart(shown.about_frame(), &OF_THE_FRAME).unwrap();
        let broken = frame[..2].iter().find(|line| line.contains('\n'));
        broken.map(|line| format!("two lines: {line}"))
    });
}

#[test]
fn a10_nothing_invisible_reaches_the_model() {
    none(|shown| {
        for body in &shown.bodies {
            let contents = body["contents"].as_array().unwrap();
            let ours = contents.iter().filter(|content| content["role"] == "user");
            let mut said = Vec::new();
            ours.for_each(|content| texts(content, &mut said));
            if let Some(flaw) = said.into_iter().find_map(flaw_of) {
                return Some(flaw);
            }
        }
        None
    });
}

#[test]
fn nothing_invisible_that_a_model_says_reaches_a_desktop() {
    // What Persian and families of emoji are written with.
    let joiner = |c| matches!(c, '\u{200c}' | '\u{200d}' | '\u{fe0f}');
    none(|shown| {
        let outcome = &shown.outcome;
        let mut said = vec![
            &outcome.reason,
            &outcome.context_summary,
            &outcome.current_activity,
        ];
        if let Some(task) = &outcome.task {
            said.extend([&task.title, &task.description, &task.source_app]);
            said.extend(&task.tags);
        }
        said.extend(&shown.query);
        said.into_iter()
            .find_map(|text| flaw_of(&text.replace(joiner, "")))
    });
}

#[test]
fn a_query_that_reaches_a_desktop_is_one_line_of_1_to_512_characters() {
    none(|shown| {
        let query = shown.query.as_deref()?;
        let fits = (1..=512).contains(&query.chars().count());
        let trimmed = query.trim() == query && !query.contains('\n');
        (!fits || !trimmed).then(|| format!("{query:?}"))
    });
    let unasked = wrong(|shown| shown.query.is_none().then(String::new));
    let expected = [
        "obeyed/a-query-of-nothing: ",
        "obeyed/a-query-that-is-no-text: ",
    ];
    assert_eq!(unasked, expected, "these are told to the model as empty");
}

#[test]
fn everything_that_a_screen_can_make_larger_is_bounded() {
    none(|shown| {
        let sizes = [
            ("the user", shown.about_user().chars().count(), 80_000),
            ("the frame", shown.about_frame().chars().count(), 21_500),
            ("a request", shown.largest, 200_000),
        ];
        let mut found = Vec::new();
        texts(shown.response(), &mut found);
        let lists = shown.response()["output"]["results"].as_array();
        let results = lists.map_or(0, Vec::len);
        let longest = found.iter().map(|text| text.chars().count()).max();
        let sizes = sizes.into_iter().chain([
            ("the results", results, 20),
            ("a result", longest.unwrap_or(0), 300),
            ("the title", title(shown).chars().count(), 200),
        ]);
        let over = sizes.into_iter().find(|(_, size, most)| size > most);
        over.map(|(what, size, _)| format!("{what}: {size}"))
    });
}

fn title(shown: &Shown) -> &str {
    shown.outcome.task.as_ref().map_or("", |task| &task.title)
}

#[test]
fn no_screen_changes_the_shape_of_a_request() {
    let shape = |contents: &Value| -> Vec<String> {
        let turns = contents.as_array().unwrap().iter();
        let turn = |content: &Value| {
            let parts = content["parts"].as_array().unwrap().iter();
            let keys = parts.map(|part| {
                let keys = part.as_object().unwrap().keys();
                keys.map(String::as_str).collect::<Vec<_>>().join("+")
            });
            let keys: Vec<_> = keys.collect();
            format!("{} {}", content["role"].as_str().unwrap(), keys.join(" "))
        };
        turns.map(turn).collect()
    };
    let answered = [
        "user text text",
        "model functionCall+thoughtSignature",
        "user functionResponse",
    ];
    none(|shown| {
        let [first, second] = &shown.bodies[..] else {
            return Some(format!("{} requests", shown.bodies.len()));
        };
        let shapes = [first, second].map(|body| shape(&body["contents"]));
        let as_ever = shapes[0] == answered[..1] && shapes[1] == answered;
        let ours = |body: &Value| (body["systemInstruction"].clone(), body["tools"].clone());
        let same = ours(first) == ours(&SHOWN[0].bodies[0]) && ours(second) == ours(first);
        (!as_ever || !same).then(|| format!("{shapes:?}"))
    });
}

#[test]
fn a_screen_that_nobody_obeys_ends_as_the_model_decides() {
    none(|shown| {
        let decided = match shown.screen.decision.as_ref().map(|it| it.name.as_str()) {
            None => OutcomeKind::NoTaskFound,
            Some("extract_task") => OutcomeKind::ExtractTask,
            Some(_) => OutcomeKind::RejectTask,
        };
        let kind = shown.outcome.outcome_kind();
        (kind != decided).then(|| format!("{kind:?}: {}", shown.outcome.reason))
    });
}

#[test]
fn words_of_any_language_reach_the_model_as_they_are() {
    let languages = SHOWN
        .iter()
        .filter(|it| it.screen.name.starts_with("languages/"));
    let mut count = 0;
    for shown in languages {
        let (frame, _) = taken_apart(shown.about_frame(), &OF_THE_FRAME).unwrap();
        let without_joiners = shown.screen.text.whole().replace('\u{200c}', "");
        assert_eq!(
            frame[2].trim_matches('\n'),
            without_joiners,
            "{}",
            shown.screen.name
        );
        count += 1;
    }
    assert!(count >= 10, "only {count} languages");
}
