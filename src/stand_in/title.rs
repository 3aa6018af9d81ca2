//! Words a request as a task's title.

use jiff::civil::Date;

use super::screen::Request;
use super::text::{capitalised, content_words};
use crate::domain::clip;

/// Fewer words say too little about a task.
const FEWEST_WORDS: usize = 6;
/// Longest title, in characters.
const LONGEST: usize = 140;

/// Whether a request says what it is about, and not only "please help".
pub(super) fn names_enough(request: &Request) -> bool {
    content_words(&action(request)).len() > 1
}

/// The request as something to do: at least 6 words, with the names it holds.
/// A longer form, on request, also says when it is due and where it was asked.
pub(super) fn title(request: &Request, app: &str, due: Option<Date>, longer: bool) -> String {
    let mut title = capitalised(&clip(&action(request), LONGEST));
    if longer && let Some(due) = due {
        title.push_str(&due.strftime(" (%-d %B)").to_string());
    }
    let words = title.split_whitespace().count();
    if longer || words < FEWEST_WORDS || content_words(&title).len() < 2 {
        title.push_str(&origin(request, app));
    }
    title
}

fn action(request: &Request) -> String {
    match &request.sender {
        Some(sender) => from_the_users_side(&request.action, sender),
        None => request.action.clone(),
    }
}

/// ", as Anna asked in Slack": with any action at least 6 words.
fn origin(request: &Request, app: &str) -> String {
    match (&request.sender, app) {
        (Some(sender), "") => format!(", as {sender} asked on this screen"),
        (Some(sender), app) => format!(", as {sender} asked in {app}"),
        (None, "") => ", as asked on this screen".to_owned(),
        (None, app) => format!(", as asked in the {app} window"),
    }
}

/// "send me your slides" -> "send Anna my slides".
fn from_the_users_side(action: &str, sender: &str) -> String {
    let words = action.split(' ').map(|word| {
        let bare = word.trim_end_matches(|c: char| !c.is_alphanumeric());
        let stops = &word[bare.len()..];
        match bare {
            "me" | "mir" | "mich" => format!("{sender}{stops}"),
            "my" => format!("{sender}'s{stops}"),
            "your" => format!("my{stops}"),
            _ => word.to_owned(),
        }
    });
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stand_in::screen;

    fn of(screen: &str, app: &str) -> String {
        title(&screen::request(screen).unwrap(), app, None, false)
    }

    #[test]
    fn a25_titles_keep_the_names_and_have_six_words() {
        for (screen, app, expected) in [
            (
                "Hi, can you send the Berlin office the signed lease before Tuesday?",
                "Slack",
                "Send the Berlin office the signed lease before Tuesday",
            ),
            (
                "Anna: please call me",
                "Slack",
                "Call Anna, as Anna asked in Slack",
            ),
            (
                "Please review PR 42",
                "Teams",
                "Review PR 42, as asked in the Teams window",
            ),
            ("please call", "", "Call, as asked on this screen"),
            (
                "Anna: can you send me your slides for the offsite in Lisbon?",
                "Mail",
                "Send Anna my slides for the offsite in Lisbon",
            ),
        ] {
            let title = of(screen, app);
            assert_eq!(title, expected);
            assert!(title.split_whitespace().count() >= FEWEST_WORDS, "{title}");
        }
    }

    #[test]
    fn a_request_that_names_nothing_is_told_from_one_that_does() {
        let enough = |screen: &str| names_enough(&screen::request(screen).unwrap());
        for vague in ["Could you fix this?", "can you help me", "please call"] {
            assert!(!enough(vague), "{vague}");
        }
        for plain in [
            "Can you send me the report by tomorrow?",
            "Anna: please call me",
        ] {
            assert!(enough(plain), "{plain}");
        }
    }

    #[test]
    fn the_longer_form_says_who_asked_and_where() {
        let request =
            screen::request("Anna: can you send the signed lease to the Berlin office?").unwrap();
        assert_eq!(
            title(&request, "Slack", None, true),
            "Send the signed lease to the Berlin office, as Anna asked in Slack"
        );
        let request = screen::request("Can you send me the report by tomorrow?").unwrap();
        assert_eq!(
            title(&request, "", Some(Date::constant(2026, 11, 22)), true),
            "Send me the report by tomorrow (22 November), as asked on this screen"
        );
    }
}
